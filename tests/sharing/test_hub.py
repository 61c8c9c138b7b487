"""A run goes to a hub on this machine and comes back; nothing of it says where it was made."""

import getpass
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import edarts
from edarts.sharing.card import name_of
from sharing.fake_hub import FakeHub, hub_of
from support import fails, run, write_images

OWNER = "someone"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """The hub that huggingface_hub speaks to, with a token that may write."""
    with hub_of(tmp_path, monkeypatch) as served:
        yield served


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run of find on photographs in a folder, with duplicates across its splits."""
    home = tmp_path_factory.mktemp("home")
    for split, count in (("train", 40), ("test", 15)):
        write_images(home / "photos" / split, {"cat": count, "dog|wolf": count})
    search = edarts.SearchConfig.of("edarts", cells=2, channels=4, epochs=1)
    train = edarts.TrainConfig(cells=2, channels=4, epochs=3, valid_fraction=0.4)
    session = edarts.Session(out=home / "run", device="cpu")
    data = str(home / "photos")
    return edarts.find(data, search, train, session, candidates="convnet,linear")


def test_what_is_pushed_is_loaded(
    found: Any, hub: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command; with the same answers, also of `predict` and of the estimator."""
    argv = ["push", str(found.run), f"{OWNER}/pets", "--private", "--license", "mit"]
    said = run(capsys, *argv, "--json", "--quiet")
    assert said["url"].startswith(f"{hub.url}/{OWNER}/pets/commit/")
    files = hub.repositories[f"{OWNER}/pets"]
    assert set(said["files"]) == set(files)
    assert set(files) == {
        *("README.md", "config.json", "model.safetensors", "calibration.safetensors", "cell.png"),
    }
    assert hub.private == {f"{OWNER}/pets": True}

    model = edarts.load_model(f"hf:{OWNER}/pets")
    mine = edarts.load_model(found.run)
    assert model.architecture == mine.architecture
    assert model.data == "photos"
    photos = found.run.parent / "photos" / "test"
    assert np.array_equal(model.predict_proba(photos), mine.predict_proba(photos))
    again = edarts.predict(f"hf:{OWNER}/pets", [photos])
    assert again.to_dict() == edarts.predict(found.run, [photos]).to_dict()
    estimator = edarts.Classifier.from_run(f"hf:{OWNER}/pets", device="cpu")
    assert estimator.classes_.tolist() == ["cat", "dog|wolf"]


def test_nothing_that_is_pushed_says_where_it_was_made(found: Any, hub: FakeHub) -> None:
    edarts.push(found.run, f"{OWNER}/pets")
    assert found.overlap is not None and found.overlap.identical > 0  # its names stay here
    secrets = [str(found.run.parent), str(Path.home()), "0.png", str(Path.cwd()), sys.prefix]
    if getpass.getuser() not in ("user", "root"):  # which are words, too
        secrets.append(getpass.getuser())
    for name, content in hub.repositories[f"{OWNER}/pets"].items():
        for secret in secrets:
            assert secret.encode() not in content, (name, secret)
    assert b'"data": "photos"' in hub.repositories[f"{OWNER}/pets"]["config.json"]


def test_the_card_says_what_the_run_has_shown(found: Any, hub: FakeHub) -> None:
    edarts.push(found.run, f"{OWNER}/pets", license="mit")
    text = hub.repositories[f"{OWNER}/pets"]["README.md"].decode()
    _, head, body = text.split("---\n", 2)
    metadata = yaml.safe_load(head)
    assert metadata["license"] == "mit"
    assert metadata["library_name"] == "edarts"
    assert metadata["pipeline_tag"] == "image-classification"
    (result,) = metadata["model-index"][0]["results"]
    assert result["metrics"][0]["value"] == round(found.test_accuracy, 4)
    assert result["dataset"]["name"] == "photos"
    low, high = found.test_accuracy_ci95
    known = json.loads((found.run / "model.json").read_text())
    twice = found.overlap.identical
    for part in (
        "| data | photos |",
        known["fingerprint"],
        f"{found.test_accuracy:.2%}, 95 % interval {low:.2%} to {high:.2%} (30 images)",
        "expected error",
        "sets of classes",
        f"{twice} test images are training images too ({twice} identical, 0 nearly), so the",
        "| dog/wolf | 15 |",  # what divides the cells of a table cannot be part of a name
        f"{found.verdict[1:]}.",
        *(f"| {one.name} | {one.accuracy.value:.2%}" for one in found.candidates),
        f'edarts.load_model("hf:{OWNER}/pets")',
        f"edarts export hf:{OWNER}/pets --format onnx --out model.onnx",
        "--format python",
        "onnxruntime.InferenceSession",
        f"divided by {known['calibration']['temperature']:.4g}",
    ):
        assert part in body, part


def test_an_estimator_is_pushed_too(hub: FakeHub, tmp_path: Path) -> None:
    """It was not evaluated, and was trained on numbers; both stand in the card."""
    images = np.random.default_rng(0).normal(size=(40, 8, 8))
    images[:20] += 1
    made = edarts.Classifier("linear", epochs=3, device="cpu")
    made.fit(images, np.arange(40) // 20)
    edarts.push(made.save(tmp_path / "model"), f"{OWNER}/numbers")
    text = hub.repositories[f"{OWNER}/numbers"]["README.md"].decode()
    assert "| data | arrays |" in text
    assert "It was not evaluated" in text
    assert "trained on arrays of numbers" in text
    loaded = edarts.load_model(f"hf:{OWNER}/numbers")
    assert np.array_equal(loaded.predict(images), made.predict(images))
    assert np.array_equal(loaded.predict_proba(images), made.predict_proba(images))


def test_a_later_push_is_loaded_anew(hub: FakeHub, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    for epochs in (1, 2):
        made = edarts.Classifier("linear", epochs=epochs, device="cpu")
        made.fit(images, np.arange(40) // 20)
        edarts.push(made.save(tmp_path / "model"), f"{OWNER}/model")
        loaded = edarts.load_model(f"hf:{OWNER}/model")
        assert np.array_equal(loaded.predict_proba(images), made.predict_proba(images))


def test_what_goes_wrong_is_one_line(
    found: Any,
    hub: FakeHub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    message = fails(capsys, 2, "push", str(found.run), "pets")
    assert "pets: no repository of the hub; give OWNER/NAME" in message
    message = fails(capsys, 1, "push", str(tmp_path / "none"), f"{OWNER}/pets")
    assert "none: no such run folder" in message
    assert hub.repositories == {}
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    message = fails(capsys, 1, "push", str(found.run), f"{OWNER}/pets")
    assert f"{OWNER}/pets: cannot be pushed: " in message
    assert "`hf auth login`" in message
    with pytest.raises(edarts.EdartsError, match=f"hf:{OWNER}/none: cannot be loaded"):
        edarts.load_model(f"hf:{OWNER}/none")
    hub.repositories[f"{OWNER}/data"] = {"README.md": b"no model"}
    with pytest.raises(edarts.EdartsError, match=f"hf:{OWNER}/data: holds no config.json"):
        edarts.load_model(f"hf:{OWNER}/data")


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("digits", "digits"),
        ("hf:owner/name", "hf:owner/name"),
        ("/home/someone/photos", "photos"),
        ("../data/cifar10/", "cifar10"),
        ("photos.zip", "photos.zip"),
        ("arrays sha256:0123", "arrays"),
        ("dataset sha256:0123", "arrays"),
    ],
)
def test_data_are_called_by_name(data: str, name: str) -> None:
    assert name_of(data) == name
