"""The folder of a Space: its page answers as the model does, where this library is not."""

import json
from pathlib import Path

import numpy as np
import pytest

from edarts.data.decoding import read_image, to_pixels
from edarts.exports.space import Space
from edarts.space.base import Size
from edarts.training.models import TrainedModel
from exporting import agrees, elsewhere, found, photographs, probabilities, trained

for needed in ("onnx", "onnxruntime", "onnxscript", "gradio"):
    pytest.importorskip(needed)

ASK = """
import json, runpy, sys
page = runpy.run_path(sys.argv[1])
print(json.dumps([page["classify"](file) for file in sys.argv[2:]]))
"""


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    return trained(found(), Size(2, 4), (3, 9, 7), mirrored=True, data="/home/somebody/photos")


@pytest.mark.processes
def test_its_page_answers_as_predict_does(model: TrainedModel, tmp_path: Path) -> None:
    files = Space().write(model, tmp_path / "space")
    names = ["app.py", "requirements.txt", "README.md", "model.onnx"]
    assert [file.name for file in files] == names == [f.name for f in files if f.exists()]
    assert sorted(names) == sorted(path.name for path in (tmp_path / "space").iterdir())
    agrees(Space().open(tmp_path / "space"), model)
    (tmp_path / "photos").mkdir()
    images = photographs(tmp_path / "photos")
    (tmp_path / "ask.py").write_text(ASK)
    said = elsewhere("ask.py", "space/app.py", *map(str, images), cwd=tmp_path)
    pixels = [
        to_pixels(read_image(file, model.image[1:]), model.image, model.white) for file in images
    ]
    expected = probabilities(model, np.stack(pixels))
    for found_here, row in zip(json.loads(said.splitlines()[-1]), expected, strict=True):
        assert list(found_here) == list(model.classes)
        np.testing.assert_allclose(list(found_here.values()), row, atol=1e-4)


def test_it_tells_no_path(model: TrainedModel, tmp_path: Path) -> None:
    Space().write(model, tmp_path / "space")
    text = (tmp_path / "space" / "README.md").read_text(encoding="utf-8")
    assert text.startswith('---\ntitle: "Images as in photos"\nsdk: gradio\napp_file: app.py\n')
    for file in (tmp_path / "space").iterdir():
        assert b"somebody" not in file.read_bytes()
