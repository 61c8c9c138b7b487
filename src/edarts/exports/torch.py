"""A `torch.export` program with a batch of any size: (N, C, H, W) float32, normalised -> logits."""

import io
from pathlib import Path
from typing import ClassVar

import torch
from torch.export import Dim

from edarts.exports.base import Export
from edarts.runs.files import write_bytes
from edarts.training.models import TrainedModel


class TorchProgram(Export):
    """Opened anywhere by `torch.export.load(FILE).module()`, without this library.

    What its input has to be normalised by, and the names of its classes, lie beside its graph in
    the extra files `mean`, `std` and `classes`, a line each; `white` is the value of a pixel that
    counts as 1 before that, and `temperature` what the logits are divided by before the softmax.
    """

    suffix: ClassVar[str] = ".pt2"

    def write(self, model: TrainedModel, out: Path) -> list[Path]:
        network = model.network.cpu().eval()
        example = torch.zeros(2, *model.image)
        program = torch.export.export(
            network, (example,), dynamic_shapes=({0: Dim("batch", min=1)},), strict=False
        )
        for module in program.graph_module.modules():  # which would tell where its sources lie
            for node in getattr(getattr(module, "graph", None), "nodes", ()):
                node.meta.pop("stack_trace", None)
        extra = {
            "mean": "\n".join(map(str, model.transform.mean)),
            "std": "\n".join(map(str, model.transform.std)),
            "classes": "\n".join(model.classes),
            "white": str(model.white or 255),
            "temperature": str(model.calibration.temperature if model.calibration else 1.0),
        }
        file = io.BytesIO()
        torch.export.save(program, file, extra_files=extra)
        write_bytes(out, file.getbuffer())
        return [out]


PLUGIN = TorchProgram
