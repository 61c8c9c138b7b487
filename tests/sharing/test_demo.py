"""The demo: what it says of an image, and the page in a browser with a real upload."""

import socket
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import edarts
from edarts import EdartsError
from edarts.runtime import Session
from edarts.sharing import demo
from edarts.training import device
from support import write_images


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear classifier of dark, grey and bright images."""
    folder = tmp_path_factory.mktemp("demo")
    data = write_images(folder / "photos", {"dark": 60, "grey": 60, "light": 60})
    config = edarts.TrainConfig(epochs=20, valid_fraction=0.3, batch_size=16)
    edarts.train("linear", str(data), config, Session(out=folder / "run", device="cpu"))
    return folder / "run"


def image_of(path: Path, level: int) -> Path:
    """A file of the brightness of a class, as `write_images` makes them."""
    rng = np.random.default_rng(9)
    pixels = rng.integers(0, 60, (10, 12, 3)) + level
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def test_an_answer_is_what_predict_says(run: Path, tmp_path: Path) -> None:
    model, runtime = edarts.load_model(run), device.runtime(Session(device="cpu"))
    file = image_of(tmp_path / "new.png", 120)
    said = demo.answer(model, runtime, file)
    (predicted,) = edarts.predict(run, [file], Session(device="cpu"))
    assert said.prediction == predicted and predicted.class_name == "light"
    assert list(said.probabilities) == ["dark", "grey", "light"]
    assert sum(said.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert said.picture.dtype == np.uint8 and said.picture.shape == (260, 312, 3)
    assert (said.picture[..., 0] != said.picture[..., 2]).any()  # the map is there


def test_what_is_unlike_is_said(run: Path, tmp_path: Path) -> None:
    model, runtime = edarts.load_model(run), device.runtime(Session(device="cpu"))
    file = image_of(tmp_path / "new.png", 120)
    assert demo.answer(model, runtime, file).note() == ""
    assert model.calibration is not None
    strict = replace(model.calibration, farthest=-1.0, threshold=0.0)
    said = demo.answer(replace(model, calibration=strict), runtime, file)
    unlike, also = said.note().split(" It may also be ")
    assert unlike == "This image is unlike the training data: do not rely on the answer."
    assert sorted(also.removesuffix(".").split(", ")) == ["dark", "grey"]


def test_a_file_that_is_no_image(run: Path, tmp_path: Path) -> None:
    (tmp_path / "note.png").write_text("no image")
    model, runtime = edarts.load_model(run), device.runtime(Session(device="cpu"))
    with pytest.raises(EdartsError, match=r"note\.png"):
        demo.answer(model, runtime, tmp_path / "note.png")


def test_a_taken_port(run: Path) -> None:
    pytest.importorskip("gradio")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(EdartsError, match=f"--port {port}: taken"):
            demo.demo(run, Session(device="cpu"), port=port)


@pytest.fixture
def url(run: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The address of a demo that is served while the test lasts."""
    gradio = pytest.importorskip("gradio")
    end, urls = threading.Event(), list[str]()
    monkeypatch.setattr(gradio.Blocks, "block_thread", lambda self: end.wait())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    report: list[demo.DemoReport] = []

    def serve() -> None:
        report.append(demo.demo(run, Session(device="cpu"), port=port))

    thread = threading.Thread(target=serve)
    thread.start()
    urls.append(f"http://127.0.0.1:{port}/")
    for _ in range(100):
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    yield urls[0]
    end.set()
    thread.join(timeout=30)
    assert report[0].url == urls[0]


@pytest.mark.processes
def test_the_page(browser: Any, url: str, tmp_path: Path) -> None:
    """An upload is answered; nothing is asked of any other machine."""
    asked: list[str] = []
    tab = browser.new_page()
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(url)
    tab.set_input_files("input[type=file]", str(image_of(tmp_path / "new.png", 120)))
    tab.wait_for_selector("text=light")
    tab.wait_for_selector("img[src*='/file=']")
    tab.get_by_test_id("label-output-value").wait_for()
    assert tab.get_by_test_id("label-output-value").inner_text().strip() == "light"
    elsewhere = [a for a in asked if not a.startswith((url, "data:", "blob:"))]
    assert elsewhere == []
    tab.screenshot(path=str(tmp_path / "page.png"), full_page=True)
    tab.close()
