"""The folder that a Hugging Face Space starts from: a page to try the network, run by onnxruntime.

It needs Gradio, onnxruntime, NumPy and Pillow, and nothing of this library (extra `export`).
"""

import json
from pathlib import Path
from typing import ClassVar

from edarts.exports.base import Answer, Export, card, check_place, unwritable
from edarts.exports.onnx import Onnx
from edarts.exports.python import script
from edarts.training.models import TrainedModel

REQUIREMENTS = "numpy\nonnxruntime\npillow\n"  # Gradio comes with the Space


class Space(Export):
    """`app.py`, `model.onnx`, `requirements.txt`, and `README.md` with what the hub reads."""

    suffix: ClassVar[str] = "-space"

    def write(self, model: TrainedModel, out: Path) -> list[Path]:
        check_place(out)
        about = card(model, self.facts)
        texts = {
            "app.py": script("app").decode(),
            "requirements.txt": REQUIREMENTS,
            "README.md": _readme(about["data"], about["classes"]),
        }
        try:
            out.mkdir(exist_ok=True)
            for name, text in texts.items():
                (out / name).write_text(text, encoding="utf-8")
        except OSError as error:
            raise unwritable(out, error) from None
        network, beside = Onnx(facts=self.facts).write(model, out / "model.onnx")
        beside.unlink()  # app.py does what it does
        return [*(out / name for name in texts), network]

    def open(self, out: Path) -> Answer:
        return Onnx().open(out / "model.onnx")


def _readme(data: str, classes: list[str]) -> str:
    """What the hub shows, and how it starts the Space."""
    title = json.dumps(f"Images as in {data}", ensure_ascii=False)
    return (
        f"---\ntitle: {title}\nsdk: gradio\napp_file: app.py\npinned: false\n---\n\n"
        f"A small network tells {len(classes)} classes of images apart: {', '.join(classes)}.\n\n"
        "To try it here: `pip install gradio -r requirements.txt`, then `python app.py`.\n"
    )


PLUGIN = Space
