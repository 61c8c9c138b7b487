"""A folder with plain PyTorch source of one network, its weights, and a script that predicts.

It needs torch, safetensors, NumPy and Pillow, and nothing of this library.
"""

import json
import runpy
import textwrap
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save

from edarts.exports.base import Answer, Export, card, check_place, classifier, unwritable
from edarts.exports.source import source_of
from edarts.training.models import TrainedModel


class PythonFolder(Export):
    """`network.py`, `model.safetensors`, `model.json` and `predict.py`.

    The source is checked as it is written: the weights fit into the network that it builds.
    """

    suffix: ClassVar[str] = "-python"

    def write(self, model: TrainedModel, out: Path) -> list[Path]:
        check_place(out)
        network, about = classifier(model), card(model, self.facts)
        weights = {k: v.contiguous() for k, v in network.state_dict().items()}
        files = {
            "network.py": (_head(about) + source_of(network)).encode(),
            "model.safetensors": save(weights),
            "model.json": (json.dumps(about, indent=2, ensure_ascii=False) + "\n").encode(),
            "predict.py": script("predict_python"),
        }
        try:
            out.mkdir(exist_ok=True)
            for name, content in files.items():
                (out / name).write_bytes(content)
        except OSError as error:
            raise unwritable(out, error) from None
        return [out / name for name in files]

    def open(self, out: Path) -> Answer:
        network = runpy.run_path(str(out / "network.py"))["build"]().eval()
        network.load_state_dict(load_file(out / "model.safetensors"))

        def answer(images: NDArray[np.uint8]) -> Any:
            with torch.inference_mode():
                return network(torch.from_numpy(images)).numpy()

        return answer


def _head(about: Mapping[str, Any]) -> str:
    """The docstring of network.py."""
    channels, height, width = about["image"]
    told = (
        f"{about['network']}. For uint8 images of {height} x {width} x {channels} in"
        f" {len(about['classes'])} classes: model.json has their names, predict.py shows how the"
        f" network is used. Written by {about['made_by']}; needs PyTorch alone."
    )
    plain = told.replace("\\", "/").replace('"', "'")  # the name of a network may hold anything
    return f'"""{textwrap.fill(plain, 96)}\n"""\n\n'


def script(name: str) -> bytes:
    """The text of a script that lies beside an export."""
    return resources.files("edarts.exports").joinpath("scripts", f"{name}.txt").read_bytes()


PLUGIN = PythonFolder
