"""A trained network with all that its use needs, written into a run folder and read from it."""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from edarts import registry
from edarts.data import Opened
from edarts.data.batches import Transform
from edarts.data.catalogue import Pixels
from edarts.data.dataset import Dataset
from edarts.data.preprocessing import Preprocessing, array_images, file_images
from edarts.data.sources.folder import image_files
from edarts.errors import EdartsError, UsageError, one_line
from edarts.nn.mirrored import Mirrored
from edarts.nn.operations import count_flops, count_parameters
from edarts.nn.planned import planned
from edarts.reporting.predictions import Prediction
from edarts.runs.files import disk_errors, read_kept
from edarts.runs.folder import Run, names, read_json, reading
from edarts.runtime import Runtime, Session
from edarts.space import architecture
from edarts.space.base import Architecture, Image, Size
from edarts.training import device as devices
from edarts.training import evaluation
from edarts.training.calibration import Answers, Calibration

FORMAT = "edarts.model/1"
DESCRIBED = "model.json", "config.json"  # what describes a model: in a run folder, on the hub
WEIGHTS = "model.safetensors"
HUB = "hf:"  # begins the name of a model of the Hugging Face hub
CALIBRATION = "calibration.safetensors"  # what is long of it; its numbers stand in model.json
TOLD = {
    **dict.fromkeys(("parameters", "flops"), int),
    **dict.fromkeys(("data", "fingerprint"), str),
    **dict.fromkeys(("classes", "mean", "std"), list),
}
"""What of model.json is only told on, and must be of this kind."""
NUMBERS = ("images", "temperature", "threshold", "farthest")


@dataclass(frozen=True)
class TrainedModel:
    """A network and how it is fed.

    `network`: images (B, C, H, W), normalised by `transform`, -> logits (B, classes); it may be
    `Mirrored`, whose multiply-adds are those of both images. `classes`:
    their names in the order of the logits. `flops`: multiply-adds of one image. `data`: what it was
    trained on. `white`: the value of images of more than 8 bits that becomes 255; None if it was
    trained on no such images. `fingerprint`: of the data's content. `calibration`: what images held
    out have taught of its answers, if there were any. `preprocessing`: how arrays become its
    images; None: as `find` reads arrays. `labels`: what the classes are called in answers, where
    that is no text, as the numbers in an array of labels.
    """

    network: nn.Module
    architecture: Architecture
    size: Size
    transform: Transform
    classes: tuple[str, ...]
    image: Image
    parameters: int
    flops: int
    data: str
    white: float | None = None
    fingerprint: str = ""
    calibration: Calibration | None = None
    preprocessing: Preprocessing | None = None
    labels: tuple[Any, ...] | None = None

    def is_of(self, opened: Opened) -> bool:
        """Whether it was trained on these data; models of old are known by their path alone."""
        if self.fingerprint:
            return self.fingerprint == opened.listing.fingerprint
        return self.data in (opened.config.data, opened.config.shown)

    @classmethod
    def of(
        cls,
        network: nn.Module,
        design: Architecture,
        size: Size,
        transform: Transform,
        classes: tuple[str, ...],
        image: Image,
        data: str,
        white: float | None = None,
        fingerprint: str = "",
        calibration: Calibration | None = None,
    ) -> "TrainedModel":
        """The model of these parts; its parameters and multiply-adds are counted here."""
        counts = count_parameters(network), count_flops(network, image)
        made = cls(network, design, size, transform, classes, image, *counts, data)
        return replace(made, white=white, fingerprint=fingerprint, calibration=calibration)

    def answers(self, images: Tensor, runtime: Runtime) -> Answers:
        """Its answers to (N, H, W, C) uint8 images. Raises EdartsError if they are no numbers."""
        said = evaluation.predict(self._planned, images, self.transform, runtime, self.calibration)
        return said.checked()

    @cached_property
    def _planned(self) -> nn.Module:
        """The network, fast with single images."""
        return planned(self.network)

    def predictions(self, files: Sequence[str | Path], answers: Answers) -> list[Prediction]:
        """What the answers to (N,) image files say, for people."""
        return [
            Prediction.of(
                str(file),
                self.classes,
                answers.probabilities[n].numpy(),
                None if answers.sets is None else answers.sets[n].numpy(),
                None if answers.unlike is None else bool(answers.unlike[n]),
            )
            for n, file in enumerate(files)
        ]

    def predict_proba(self, images: Any, device: str = "auto") -> NDArray[np.float64]:
        """The probability of each class for each image, (N, classes), in the order of `classes`.

        `images`: an array as those that it was trained on, image files, a folder of them, or a
        Dataset; see `pixels`. Raises EdartsError.
        """
        runtime = devices.runtime(Session(device=device))
        pixels = torch.from_numpy(self.pixels(images))
        said = self.answers(pixels, runtime).probabilities.double()
        found: NDArray[np.float64] = (said / said.sum(dim=1, keepdim=True)).numpy()
        return found

    def predict(self, images: Any, device: str = "auto") -> NDArray[Any]:
        """The class of each image, (N,): see `predict_proba`."""
        names = np.asarray(self.classes if self.labels is None else self.labels)
        found: NDArray[Any] = names[self.predict_proba(images, device).argmax(axis=1)]
        return found

    def pixels(self, images: Any) -> Pixels:
        """(N, H, W, C) uint8, of its own size, of an array, files, a folder, or a Dataset.

        Raises EdartsError naming the file or value.
        """
        if isinstance(images, Dataset):
            return array_images(images.images.numpy(), self.image, None)
        if isinstance(images, str | Path):
            images = [images]
        if is_files(images):
            return self.read([Path(file) for file in images])[0]
        return array_images(np.asarray(images), self.image, self.preprocessing)

    def read(self, places: Sequence[str | Path]) -> tuple[Pixels, list[Path], list[str]]:
        """What image files hold, the files, and notes on them: see `image_files`.

        Raises EdartsError naming the file.
        """
        if self.preprocessing is not None:
            raise UsageError("this model was trained on arrays of numbers, so it takes no files")
        files = image_files(places)
        pixels, notes = file_images(files, self.image, self.white)
        return pixels, files, notes


def is_files(values: Any) -> bool:
    """Whether these are paths of files, of which there is at least one."""
    some = values.tolist() if isinstance(values, np.ndarray) and values.ndim == 1 else values
    return (
        isinstance(some, list | tuple)
        and bool(some)
        and all(isinstance(value, str | Path) for value in some)
    )


def save_model(run: Run, model: TrainedModel) -> bool:
    """Write model.safetensors, then model.json: it is written last, as the commit marker.

    The auxiliary head helps training only and is left out. Returns whether there was no such model,
    or another or a damaged one, of which an evaluation says nothing: that is deleted.
    """
    mirrored = isinstance(model.network, Mirrored)
    network: Any = model.network.network if mirrored else model.network
    tensors: dict[str, Tensor] = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in network.state_dict().items()
        if not name.startswith("auxiliary")
    }
    if _is_saved(run.path, tensors):
        return False
    with disk_errors(run.path):
        (run.path / "evaluation.json").unlink(missing_ok=True)
    run.write_bytes(WEIGHTS, save_tensors(tensors))
    if model.calibration is not None:
        run.write_bytes(CALIBRATION, save_tensors({"references": model.calibration.references}))
    run.write_json(DESCRIBED[0], _told(model, mirrored))
    return True


def _is_saved(folder: Path, tensors: Mapping[str, Tensor]) -> bool:
    """Whether the folder holds a whole model with these tensors."""
    try:
        kept = load_tensors(read_kept(folder / WEIGHTS))
        load_model(folder)
    except Exception:  # there is none, or it is damaged in any way
        return False
    return kept.keys() == tensors.keys() and all(
        torch.equal(kept[name], tensor) for name, tensor in tensors.items()
    )


def _told(model: TrainedModel, mirrored: bool) -> dict[str, Any]:
    """The content of model.json."""
    learned, used = model.calibration, registry.used()
    return {
        "format": FORMAT,
        "genotype": model.architecture.to_dict(),
        "cells": model.size.cells,
        "channels": model.size.channels,
        "whitening": model.size.whitening,
        "mirrored": mirrored,
        "image": list(model.image),
        "classes": list(model.classes),
        "mean": list(model.transform.mean),
        "std": list(model.transform.std),
        "parameters": model.parameters,
        "flops": model.flops,
        "data": model.data,
        "fingerprint": model.fingerprint,
        **({} if model.white is None else {"white": model.white}),
        "calibration": None if learned is None else {k: getattr(learned, k) for k in NUMBERS},
        **({} if model.preprocessing is None else {"preprocessing": vars(model.preprocessing)}),
        **({} if model.labels is None else {"labels": list(model.labels)}),
        **({"plugins": used} if used else {}),
    }


def save_predictions(run: Run, probabilities: Tensor, labels: Tensor) -> None:
    """Write predictions.npz: (N, classes) probabilities and (N,) labels of the test images."""
    file = io.BytesIO()
    np.savez_compressed(file, probabilities=probabilities.numpy(), labels=labels.numpy())
    run.write_bytes("predictions.npz", file.getvalue())


def load_model(run: str | Path) -> TrainedModel:
    """The trained network of a run folder, or of hf:OWNER/NAME. Raises EdartsError that names what
    is missing.
    """
    if str(run).startswith(HUB):
        folder: Path = registry.locate("edarts.sharing.hub:download")(str(run))
    else:
        folder = Path(run)
    if not folder.is_dir():
        raise EdartsError(f"{folder}: no such run folder")
    described = next((folder / name for name in DESCRIBED if (folder / name).exists()), None)
    if described is None:
        raise EdartsError(f"{run}: no trained model; `edarts train {run}` makes one")
    fields = read_json(described)
    weights = folder / WEIGHTS
    with reading(folder):
        try:
            return _read(fields, weights)
        except Exception as error:  # safetensors, torch and the parsers each raise their own
            if isinstance(error, registry.UnknownPlugin) or names(error, folder):
                raise
            raise EdartsError(
                f"{weights}: damaged model ({one_line(error)[:200]}); repeat the command that made"
                " the run: it writes the model again"
            ) from None


def _read(fields: Mapping[str, Any], weights: Path) -> TrainedModel:
    design = architecture.from_dict(fields["genotype"])
    size = Size(fields["cells"], fields["channels"], whitening=fields.get("whitening", False))
    for name, kind in TOLD.items():
        if not isinstance(fields.get(name, kind()), kind):
            raise ValueError(f"{name} is {fields[name]!r:.40}")
    channels, height, width = fields["image"]
    classes, mean, std = (tuple(fields[name]) for name in ("classes", "mean", "std"))
    for name, kind in {"image": int, "classes": str}.items():
        if {*map(type, fields[name])} != {kind}:
            raise ValueError(f"{name} is {fields[name]!r:.40}")
    if not len(mean) == len(std) == channels or not all(map(_is_number, mean + std)):
        raise ValueError(f"mean and std are {mean!r:.40} and {std!r:.40}")
    white = fields.get("white")
    if white is not None and not _is_number(white):
        raise ValueError(f"white is {white!r:.40}")
    network = design.build(size, (channels, height, width), len(classes))
    network.load_state_dict(load_tensors(read_kept(weights)))
    return TrainedModel(
        Mirrored(network) if fields.get("mirrored") else network,
        design,
        size,
        Transform(mean, std),
        classes,
        (channels, height, width),
        fields["parameters"],
        fields["flops"],
        fields["data"],
        white,
        fields.get("fingerprint", ""),
        _calibration(fields.get("calibration"), weights.with_name(CALIBRATION)),
        _preprocessing(fields.get("preprocessing")),
        None if fields.get("labels") is None else tuple(fields["labels"]),
    )


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _preprocessing(fields: Mapping[str, Any] | None) -> Preprocessing | None:
    return None if fields is None else Preprocessing.from_dict(fields)


def _calibration(numbers: Mapping[str, Any] | None, path: Path) -> Calibration | None:
    if numbers is None:
        return None
    for name in NUMBERS:
        if not _is_number(numbers[name]) or (name == "images" and type(numbers[name]) is not int):
            raise ValueError(f"{name} is {numbers[name]!r:.40}")
    references = load_tensors(read_kept(path))["references"]
    return Calibration(**{name: numbers[name] for name in NUMBERS}, references=references)
