"""A `torch.export` program with a batch of any size: uint8 images (N, H, W, C) -> probabilities."""

import io
import json
from pathlib import Path
from typing import ClassVar

import torch
from torch.export import Dim, ExportedProgram

from edarts.exports.base import Answer, Export, card, check_place, classifier
from edarts.runs.files import write_bytes
from edarts.training.models import TrainedModel

CARD = "model.json"


class TorchProgram(Export):
    """Opened anywhere by `torch.export.load(FILE).module()`, without this library.

    The extra file `model.json` has the names of the classes, the size of the images, and what else
    is known of the network.
    """

    suffix: ClassVar[str] = ".pt2"

    def write(self, model: TrainedModel, out: Path) -> list[Path]:
        check_place(out)
        file = io.BytesIO()
        extra = {CARD: json.dumps(card(model, self.facts))}
        torch.export.save(program(model), file, extra_files=extra)
        write_bytes(out, file.getbuffer())
        return [out]

    def open(self, out: Path) -> Answer:
        network = torch.export.load(out).module()
        return lambda images: network(torch.from_numpy(images)).numpy()


def program(model: TrainedModel) -> ExportedProgram:
    """The model's classifier as a graph of torch's own operations, for any number of images.

    It tells nothing of the machine: where the sources of its operations lie is left out.
    """
    channels, height, width = model.image
    example = torch.zeros(2, height, width, channels, dtype=torch.uint8)
    made = torch.export.export(
        classifier(model), (example,), dynamic_shapes=({0: Dim("N", min=1)},), strict=False
    )
    for module in made.graph_module.modules():
        for node in getattr(getattr(module, "graph", None), "nodes", ()):
            node.meta.pop("stack_trace", None)
    return made


PLUGIN = TorchProgram
