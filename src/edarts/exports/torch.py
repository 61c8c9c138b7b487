"""A `torch.export` program with a batch of any size: uint8 images (N, H, W, C) -> probabilities."""

import json
from pathlib import Path
from typing import ClassVar

import torch
from torch.export import Dim, ExportedProgram

from edarts.exports.base import Answer, Export, card, check_place, classifier, unwritable
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
        extra = {CARD: json.dumps(card(model, self.facts))}
        made = program(model)
        aside = out.with_name(f"new-{out.name}")
        try:
            torch.export.save(made, aside, extra_files=extra)
            aside.replace(out)
        except (OSError, RuntimeError) as error:
            raise unwritable(out, error) from None
        finally:
            if aside.exists():
                aside.unlink()
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
    for node in made.graph.nodes:
        node.meta.pop("stack_trace", None)
    return made


PLUGIN = TorchProgram
