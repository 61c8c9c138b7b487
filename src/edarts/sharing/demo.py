"""A local page on which people try a trained run with images of their own (extra `demo`)."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from edarts.errors import EdartsError, UsageError
from edarts.nn.activation import activation_map
from edarts.reporting.predictions import Prediction
from edarts.runtime import Runtime, Session
from edarts.training import device
from edarts.training.models import TrainedModel, load_model

SHOWN = 320  # pixels of the longer side of the picture in which the map lies over the image
LARGEST = "50mb"  # file that the page takes
FONTS = ("system-ui", "sans-serif")  # the reader's own: no page loads any from elsewhere


@dataclass(frozen=True)
class Answer:
    """What the page says of one image: the prediction, a probability for each class, the map.

    `picture`: the image as the network sees it, with the class activation map over it, (H, W, 3)
    uint8.
    """

    prediction: Prediction
    probabilities: dict[str, float]
    picture: NDArray[np.uint8]

    def note(self) -> str:
        """What else there is to know of the answer; nothing if there is nothing."""
        found, notes = self.prediction, []
        if found.unlike:
            notes.append("This image is unlike the training data: do not rely on the answer.")
        others = [name for name in found.classes or () if name != found.class_name]
        if others:
            notes.append(f"It may also be {', '.join(others)}.")
        return " ".join(notes)


@dataclass(frozen=True)
class DemoReport:
    """Where the page was: `url`, of the run's folder."""

    url: str
    run: Path

    def summary(self) -> str:
        """For a terminal."""
        return f"the demo of {self.run} has ended"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"url": self.url, "run": str(self.run)}


def demo(
    run: str | Path, session: Session | None = None, host: str = "127.0.0.1", port: int = 7860
) -> DemoReport:
    """Serve the page of a trained run until it is interrupted.

    `host`: the address that it listens at; the usual one is for this machine alone, 0.0.0.0 lets
    others of the network in. Raises EdartsError if the run has no model, the extra `demo` is not
    installed, or the port is taken.
    """
    session = session or Session()
    model, runtime = load_model(run), device.runtime(session)
    page, look = build(model, runtime, Path(run).name)
    try:
        _, url, _ = page.launch(
            server_name=host,
            server_port=port,
            max_file_size=LARGEST,
            prevent_thread_lock=True,
            quiet=True,
            **look,
        )
    except OSError:
        raise EdartsError(f"--port {port}: taken by another program; give another") from None
    runtime.progress.note(f"open {url} in a browser; Ctrl-C ends it")
    try:
        page.block_thread()
    except KeyboardInterrupt:
        pass
    finally:
        page.close()
    return DemoReport(url, Path(run))


def answer(model: TrainedModel, runtime: Runtime, path: Path) -> Answer:
    """To an image file. Raises EdartsError if it is none."""
    pixels = torch.from_numpy(model.read([path])[0][0])
    found = model.answers(pixels[None], runtime)
    (prediction,) = model.predictions([path], found)
    x = model.transform.normalise(pixels[None].to(runtime.device))
    where = activation_map(model.network, x, model.classes.index(prediction.class_name))
    named = dict(zip(model.classes, map(float, found.probabilities[0]), strict=True))
    return Answer(prediction, named, _overlay(pixels.numpy(), where.cpu().numpy()))


def _overlay(pixels: NDArray[np.uint8], where: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The (H, W, C) image in grey, and in orange where the map (H, W) is high; enlarged."""
    colours = 1 if pixels.shape[2] < 3 else 3  # what follows them is transparency
    grey = pixels[:, :, :colours].mean(axis=2, keepdims=True)
    strength = where[:, :, None]
    mixed = grey * (1 - 0.6 * strength) + 0.6 * strength * np.array([255.0, 120.0, 0.0])
    image = Image.fromarray(mixed.round().clip(0, 255).astype(np.uint8))
    factor = max(1, SHOWN // max(image.size))
    return np.asarray(image.resize((factor * image.width, factor * image.height)))


def build(model: TrainedModel, runtime: Runtime, title: str) -> tuple[Any, dict[str, Any]]:
    """The page, as Gradio's Blocks, and how it is to be launched.

    Raises UsageError where Gradio is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when it is imported
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import gradio
    except ImportError:
        raise UsageError(
            "demo needs Gradio: pip install -c constraints.txt '.[demo]' in a clone"
        ) from None

    def answered(path: str | None) -> tuple[Any, str, Any]:
        if path is None:
            return None, "", None
        try:
            found = answer(model, runtime, Path(path))
        except EdartsError as error:
            raise gradio.Error(str(error).replace(path, Path(path).name)) from None
        return found.probabilities, found.note(), found.picture

    with gradio.Blocks(title=title, analytics_enabled=False) as page:
        gradio.Markdown(f"# {title}\n\nDrop an image, or take one: {', '.join(model.classes)}?")
        with gradio.Row():
            image = gradio.Image(
                type="filepath", label="Image", sources=["upload", "webcam"], height=SHOWN
            )
            with gradio.Column():
                label = gradio.Label(label="Class", num_top_classes=5)
                note = gradio.Markdown()
                where = gradio.Image(
                    label="Where the network looked", interactive=False, buttons=["fullscreen"]
                )
        image.change(answered, image, [label, note, where], api_name="predict")
    look = {"theme": gradio.themes.Base(font=FONTS, font_mono=("monospace",)), "footer_links": []}
    return page, {**look, "share": False, "ssr_mode": False}
