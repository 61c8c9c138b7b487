"""The estimator: scikit-learn's own checks, then images as people have them."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import edarts
from edarts.sharing import estimator
from support import write_images

FAST = edarts.TrainConfig(epochs=6, batch_size=64)
X, Y = load_digits(n_class=3, return_X_y=True)  # 537 rows of 64 numbers, 0 to 16


@parametrize_with_checks([edarts.Classifier("linear", train_config=FAST, device="cpu")])
def test_scikit_learns_checks(estimator: Any, check: Any) -> None:
    """All of them, none is expected to fail."""
    check(estimator)


@pytest.fixture(scope="module")
def fitted() -> edarts.Classifier:
    """A small network for zeros, ones and twos as images of integers."""
    images = X.reshape(-1, 8, 8).astype(np.int64)
    return edarts.Classifier("convnet", epochs=3, device="cpu").fit(images[:400], Y[:400])


def test_it_learns_images(fitted: edarts.Classifier) -> None:
    images = X.reshape(-1, 8, 8).astype(np.int64)
    assert fitted.classes_.tolist() == [0, 1, 2]
    assert fitted.score(images[400:], Y[400:]) > 0.9
    said = fitted.predict_proba(images[400:])
    assert said.shape == (137, 3)
    assert np.allclose(said.sum(axis=1), 1)
    assert np.array_equal(fitted.predict(images[400:]), said.argmax(axis=1))
    assert fitted.model_.image == (1, 8, 8)


def test_what_is_saved_is_loaded(fitted: edarts.Classifier, tmp_path: Path) -> None:
    """The same answers, of the type that y had, by any of the ways back."""
    images = X.reshape(-1, 8, 8).astype(np.int64)[400:]
    folder = fitted.save(tmp_path / "model")
    names = {"model.json", "model.safetensors", "digests.json"}
    assert {file.name for file in folder.iterdir()} == names
    again = edarts.Classifier.from_run(folder, device="cpu")
    loaded = edarts.load_model(folder)
    copied = pickle.loads(pickle.dumps(fitted))
    for one in (again, loaded, copied):
        assert np.array_equal(one.predict_proba(images), fitted.predict_proba(images))
        answers = one.predict(images)
        assert np.array_equal(answers, fitted.predict(images))
        assert answers.dtype == np.int64
    assert again.score(images, Y[400:]) == fitted.score(images, Y[400:])
    with pytest.raises(edarts.UsageError, match="X holds bytes, 0 to 255"):
        loaded.predict(images.astype(np.uint8))
    file = write_images(tmp_path / "photos", {"x": 1}, (8, 8)) / "x" / "0.png"
    with pytest.raises(edarts.UsageError, match="was trained on arrays of numbers"):
        edarts.predict(folder, [file])
    (tmp_path / "file").touch()
    with pytest.raises(edarts.EdartsError, match="file: cannot be written"):
        fitted.save(tmp_path / "file")


def test_in_a_pipeline_and_cross_validated() -> None:
    linear = edarts.Classifier("linear", epochs=5, device="cpu")
    scores = cross_val_score(make_pipeline(StandardScaler(), linear), X[:300], Y[:300], cv=3)
    assert scores.min() > 0.9
    search = GridSearchCV(linear, {"architecture": ["linear", "convnet"], "epochs": [1]}, cv=2)
    assert search.fit(X[:120], Y[:120]).best_score_ > 0.5
    assert set(search.cv_results_["param_architecture"]) == {"linear", "convnet"}


def test_a_race_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All images are learned from, nothing is written."""
    monkeypatch.chdir(tmp_path)
    search = edarts.SearchConfig.of("edarts", cells=2, channels=4, data_fraction=1.0)
    train = edarts.TrainConfig(cells=2, channels=4, batch_size=64)
    made = edarts.Classifier(
        candidates="found,linear", epochs=1, search_config=search, train_config=train, device="cpu"
    )
    images = X.reshape(-1, 8, 8)[:120]
    made.fit(images, Y[:120])
    assert {one.name for one in made.candidates_} <= {"found-4", "found-8", "linear"}
    assert len(made.candidates_) == 3
    assert made.verdict_
    assert made.predict(images).shape == (120,)
    assert list(tmp_path.iterdir()) == []


def test_too_few_images_to_compare_networks_by() -> None:
    names = np.array(["one", "two"])
    made = edarts.Classifier(epochs=2, device="cpu").fit(X[:8], names[np.arange(8) % 2])
    assert str(made.model_.architecture) == "linear classifier on the pixels"
    assert made.verdict_ == "a class has 4 images: too few to compare networks by"
    assert set(made.predict(X[:8])) <= {"one", "two"}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_images(tmp_path / "photos", {"cat": 20, "dog": 20})


def test_files_folders_and_datasets(photos: Path) -> None:
    files = sorted(map(str, photos.glob("*/*.png")))
    names = [Path(file).parent.name for file in files]
    made = edarts.Classifier("linear", epochs=10, device="cpu").fit(files, names)
    assert made.classes_.tolist() == ["cat", "dog"]
    assert made.score(files, names) > 0.9
    assert made.predict(files[:1]).tolist() == ["cat"]
    assert made.predict(photos / "dog").tolist() == ["dog"] * 20  # all files of a folder
    pixels = np.stack([np.asarray(Image.open(file)) for file in files])
    assert np.array_equal(made.predict(pixels), made.predict(files))
    assert np.array_equal(made.predict(pixels / 255.0), made.predict(files))
    whole = edarts.Classifier("linear", epochs=10, device="cpu").fit(str(photos))
    assert whole.model_.data == str(photos)
    assert whole.score(edarts.load(str(photos), "test")) > 0.9
    same = edarts.Classifier("linear", epochs=10, device="cpu").fit(edarts.load(str(photos)))
    assert np.array_equal(same.predict_proba(files), whole.predict_proba(files))


def test_a_run_opens_as_one(photos: Path, tmp_path: Path) -> None:
    session = edarts.Session(out=tmp_path / "run", device="cpu")
    report = edarts.train("convnet", str(photos), edarts.TrainConfig(epochs=3), session)
    made = edarts.Classifier.from_run(report.run, device="cpu")
    test = edarts.load(str(photos), "test")
    assert made.score(test) == edarts.evaluate(report.run).test_accuracy
    said = edarts.predict(report.run, [photos])
    assert made.predict(photos).tolist() == [one.class_name for one in said]
    with pytest.raises(edarts.EdartsError, match="a run is there; give another folder"):
        made.save(report.run)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"minutes": 1, "budget": edarts.Budget(minutes=2)}, "minutes are given twice"),
        ({"epochs": 1, "train_config": edarts.TrainConfig(epochs=2)}, "epochs are given twice"),
        ({"architecture": "lineal"}, "lineal"),
        ({"candidates": "found,found"}, "candidates names found twice"),
        ({"image_shape": (4, 4)}, "does not hold the 64 numbers of a row"),
        ({"search_config": edarts.SearchConfig("random_search")}, "find searches with one-shot"),
        ({"architecture": "linear", "budget": edarts.Budget(max_macs=9)}, "budget is for a race"),
        ({"architecture": "linear", "candidates": "linear"}, "candidates is for a race"),
        (
            {"architecture": "linear", "search_config": edarts.SearchConfig()},
            "search_config is for a race",
        ),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        edarts.Classifier(device="cpu", **options).fit(X[:60], Y[:60])


def test_labels_where_they_do_not_belong_are_refused(photos: Path) -> None:
    made = edarts.Classifier("linear", device="cpu")
    with pytest.raises(edarts.UsageError, match="y is for arrays and files; str has its labels"):
        made.fit(str(photos), [0, 1])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        made.fit(sorted(photos.glob("*/*.png")), [0, 1])


def test_minutes_end_a_training(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float | None] = []
    monkeypatch.setattr(estimator.training, "fit", lambda *given: limits.append(given[4]) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        edarts.Classifier("linear", minutes=0.5, device="cpu").fit(X[:60], Y[:60])
    assert limits == [30.0]
