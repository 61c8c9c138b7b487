"""Pictures for the page of a run, small and embedded: what a class looks like, and what goes wrong.

Each run keeps them in files of JSON beside the page, so that the page can be drawn again without
the data.
"""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TRAINED, TESTED = "pictures-train.json", "pictures-test.json"  # of a run's folder
LARGEST = 64  # pixels of a longer side; larger images are shrunk
PREFIX = "data:image/png;base64,"
CLASSES, PAIRS, OF_A_PAIR, MISTAKES, DOUBTED = 100, 8, 4, 16, 40  # that are shown at most

Pixels = NDArray[np.uint8]
Place = Callable[[int], str]
"""Number of an image -> what it is called."""


@dataclass(frozen=True)
class Shown:
    """Images that stand together, as data URIs of PNG, with what they show."""

    caption: str
    images: tuple[str, ...]


@dataclass(frozen=True)
class Gallery:
    """A section of the page."""

    title: str
    note: str
    shown: tuple[Shown, ...]

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Gallery":
        """The inverse of `asdict`, from JSON; what is no picture of ours is passed over."""
        shown = (
            Shown(one["caption"], tuple(uri for uri in one["images"] if uri.startswith(PREFIX)))
            for one in fields["shown"]
        )
        return cls(fields["title"], fields["note"], tuple(shown))


def to_json(galleries: Sequence[Gallery]) -> list[dict[str, Any]]:
    """For a file."""
    return [asdict(gallery) for gallery in galleries if gallery.shown]


def of_training(
    images: Pixels,
    labels: NDArray[np.int64],
    classes: Sequence[str],
    margins: NDArray[np.floating[Any]],
    place: Place,
) -> list[Gallery]:
    """From training images (N, H, W, C), and the mean margin (N,) of each; NaN where unknown."""
    known = np.flatnonzero(~np.isnan(margins))
    order = known[np.argsort(margins[known], kind="stable")]
    typical = []
    for k, name in enumerate(classes[:CLASSES]):
        mine = order[labels[order] == k]
        if len(mine):
            typical.append(Shown(name, (uri(images[mine[-1]]),)))
    doubted = [
        Shown(f"{place(int(n))}: labelled {classes[labels[n]]}", (uri(images[n]),))
        for n in order[:DOUBTED]
    ]
    return [
        Gallery(
            "The classes",
            "Of each class the training image that the network learned most easily.",
            tuple(typical),
        ),
        Gallery(
            "Training labels that the network disbelieves most",
            "It learned these latest and against all others (area under the margin); look whether"
            " the labels are right. Even in clean data some image is the last.",
            tuple(doubted),
        ),
    ]


def of_test(
    images: Pixels,
    labels: NDArray[np.int64],
    classes: Sequence[str],
    probabilities: NDArray[np.floating[Any]],
    place: Place,
) -> list[Gallery]:
    """From test images (N, H, W, C) and the (N, K) answers to them."""
    said, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(said != labels)
    wrong = wrong[np.argsort(-sure[wrong], kind="stable")]
    pairs: dict[tuple[int, int], list[int]] = {}
    for n in wrong:
        pairs.setdefault((int(labels[n]), int(said[n])), []).append(int(n))
    most = sorted(pairs.items(), key=lambda pair: -len(pair[1]))[:PAIRS]
    confused = [
        Shown(
            f"{classes[true]} taken for {classes[answer]}: {len(members)} of"
            f" {int((labels == true).sum())}",
            tuple(uri(images[n]) for n in members[:OF_A_PAIR]),
        )
        for (true, answer), members in most
    ]
    mistakes = []
    for n in wrong[:MISTAKES]:
        answer = f"taken for {classes[said[n]]}, {sure[n]:.1%} sure"
        mistakes.append(
            Shown(f"{place(int(n))}: {classes[labels[n]]}, {answer}", (uri(images[n]),))
        )
    return [
        Gallery("Classes that are most often confused", "On test images.", tuple(confused)),
        Gallery(
            "The surest mistakes",
            "Wrong answers to test images, the surest first; some may be wrong labels.",
            tuple(mistakes),
        ),
    ]


def uri(image: Pixels) -> str:
    """An (H, W, C) image as a PNG of at most `LARGEST` pixels on its longer side."""
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    picture.thumbnail((LARGEST, LARGEST))
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return PREFIX + base64.b64encode(file.getvalue()).decode()
