"""Any labelled images in one argument -> uint8 tensors, split without leaks.

A source (data/sources/) lists images in a catalogue without decoding them; `open_data` opens one
and decodes a split when it is asked for, so a search or a training never even opens a test image.
Shapes: N images, H x W pixels, C channels (1..4).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edarts.data.batches import Loader, Transform
    from edarts.data.catalogue import Catalogue
    from edarts.data.dataset import Dataset
    from edarts.data.decoding import read_image, to_pixels
    from edarts.data.opened import Data, Opened, load, open_data
    from edarts.data.splits import stratified_split

_HOME = {
    "batches": ("Loader", "Transform"),
    "catalogue": ("Catalogue",),
    "dataset": ("Dataset",),
    "decoding": ("read_image", "to_pixels"),
    "opened": ("Data", "Opened", "load", "open_data"),
    "splits": ("stratified_split",),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "Catalogue",
    "Data",
    "Dataset",
    "Loader",
    "Opened",
    "Transform",
    "load",
    "open_data",
    "read_image",
    "stratified_split",
    "to_pixels",
]


def __getattr__(name: str) -> Any:
    """Import on first use, so that the sources can be listed without waiting for torch."""
    if name not in _MODULE:
        raise AttributeError(f"module 'edarts.data' has no attribute '{name}'")
    return getattr(import_module(f"edarts.data.{_MODULE[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
