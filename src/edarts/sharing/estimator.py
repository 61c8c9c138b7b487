"""Classifier: `find` and `train` as an estimator of scikit-learn, in memory."""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import check_array, check_random_state, check_X_y
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from edarts.config import CANDIDATES, Budget, DataConfig, SearchConfig, TrainConfig
from edarts.data import Dataset, open_data
from edarts.data.decoding import decode
from edarts.data.fingerprint import listing
from edarts.data.preprocessing import Preprocessing, array_images
from edarts.data.sources.arrays import hand_in
from edarts.errors import EdartsError, UsageError
from edarts.race import driver as race
from edarts.race import plan as planning
from edarts.reporting.reports import Entrant
from edarts.runs.clock import Clock
from edarts.runs.folder import Run
from edarts.runs.progress import Progress
from edarts.runtime import Runtime, Session
from edarts.space import named
from edarts.space.base import Architecture, Size
from edarts.training import device
from edarts.training import fit as training
from edarts.training.fit import FitResult
from edarts.training.models import TrainedModel, is_files, load_model, save_model

FEWEST = 5  # images of a class, below which there are none to hold out, so no network to prefer
PLAIN = "linear"  # what is trained then


@dataclass(frozen=True)
class _Given:
    """What `fit` was given: images, the values that stand for the classes, and who they are.

    `flip_open`: whether nobody has said if a mirrored image keeps its meaning.
    """

    data: Dataset
    values: NDArray[Any]
    name: str
    fingerprint: str
    flip_open: bool
    preprocessing: Preprocessing | None = None


class Classifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The best small network for labelled images, as a classifier of scikit-learn.

    `fit` does what `edarts.find` does, or with an `architecture` what `edarts.train` does, but for
    the test split: all images are learned from, and nothing is written. Where a class has fewer
    than 5 images no networks can be compared, and the linear classifier is trained.

    Parameters
    ----------
    architecture : str, Architecture or None
        What is trained: a zoo name, a baseline, a JSON file, a run folder; None: what wins a race.
    minutes : float or None
        Minutes of a fit at most; None: as long as the configs say.
    epochs : int or None
        Passes over the images, of the search and of the training; None: as the configs say.
    candidates : str
        Who races, with commas: found (the cell that a search finds), baselines, zoo names.
    budget : Budget or None
        Limits of the network that wins the race.
    search_config : SearchConfig or None
        How the cell is searched.
    train_config : TrainConfig or None
        How networks are trained.
    image_shape : tuple or None
        (H, W) or (H, W, C) of the image that a row of a two-dimensional X is; None: the numbers of
        a row fill the smallest square, line by line.
    flip : bool or None
        Whether a mirrored image keeps its meaning; None: yes in colour, no in grey, unless the race
        measures otherwise.
    random_state : int, RandomState or None
        Seed of everything; the same one gives the same network on the same CPU.
    device : str
        auto, cpu, cuda or mps.
    verbose : bool
        Whether to show progress.

    Attributes
    ----------
    classes_ : ndarray (K,)
        The classes as they stand in y, or their names.
    model_ : TrainedModel
        The network with all that its use needs.
    candidates_ : tuple of Entrant
        Who took part in the race, from best to worst, with accuracy on images held out.
    verdict_ : str
        What the race has shown, in a sentence; empty without a race.
    """

    def __init__(
        self,
        architecture: str | Architecture | None = None,
        *,
        minutes: float | None = None,
        epochs: int | None = None,
        candidates: str = CANDIDATES,
        budget: Budget | None = None,
        search_config: SearchConfig | None = None,
        train_config: TrainConfig | None = None,
        image_shape: Sequence[int] | None = None,
        flip: bool | None = None,
        random_state: Any = 0,
        device: str = "auto",
        verbose: bool = False,
    ) -> None:
        self.architecture = architecture
        self.minutes = minutes
        self.epochs = epochs
        self.candidates = candidates
        self.budget = budget
        self.search_config = search_config
        self.train_config = train_config
        self.image_shape = image_shape
        self.flip = flip
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    # -- fit -------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None) -> "Classifier":
        """Find and train a network for the images X of the classes y.

        `X`: images (N, H, W), (N, H, W, C) or (N, C, H, W), rows of numbers (N, F), or paths of
        image files, each with `y` (N,), whole numbers or text; or without `y` a Dataset, or what
        DATA is for `edarts.find`, whose training split is taken. Raises UsageError, a ValueError,
        for values and options, EdartsError for files.
        """
        started = time.monotonic()
        if self.architecture is not None:
            self._check_unused("budget", "candidates", "search_config")
        given = self._given(X, y)
        runtime = device.runtime(self._session())
        smallest = int(given.data.labels.bincount(minlength=len(given.data.classes)).min())
        self.candidates_: tuple[Entrant, ...] = ()
        self.verdict_ = ""
        if self.architecture is not None:
            found = self._trained(self.architecture, given.data, runtime)
        elif smallest < FEWEST:
            self.verdict_ = f"a class has {smallest} images: too few to compare networks by"
            found = self._trained(PLAIN, given.data, runtime)
        else:
            found = self._raced(given, runtime, started)
        self.model_ = _model(given, *found)
        self.classes_: NDArray[Any] = given.values
        return self

    def _given(self, X: Any, y: Any) -> _Given:
        if isinstance(X, Dataset | str | Path):
            if y is not None:
                raise UsageError(f"y is for arrays and files; {type(X).__name__} has its labels")
            return self._of_data(X)
        if is_files(X):
            _, y = check_X_y(np.zeros((len(X), 1)), y)
            return self._of_images(X, y, None)
        if np.asarray(X).ndim <= 2:
            X, y = validate_data(self, X, y, dtype=None)
            X = check_array(X, dtype="numeric")
        else:
            X, y = check_X_y(X, y, allow_nd=True, dtype=None)
        return self._of_images(X, y, Preprocessing.learned(X, self.image_shape))

    def _of_data(self, data: Any) -> _Given:
        """Of a Dataset, or of the training split that DATA names."""
        if isinstance(data, Dataset):
            handed = hand_in(data)
            mark = listing(handed.catalogue).fingerprint
            return _Given(data, np.asarray(data.classes), handed.name, mark, False)
        opened = open_data(DataConfig.of(str(data), flip=self.flip))
        train, name = opened.train, opened.config.data
        mark = opened.listing.fingerprint
        return _Given(train, np.asarray(train.classes), name, mark, opened.flip_open)

    def _of_images(self, X: Any, y: Any, preprocessing: Preprocessing | None) -> _Given:
        """Of arrays, or of the paths of files."""
        check_classification_targets(y)
        values, labels = np.unique(y, return_inverse=True)
        if len(values) < 2:
            raise UsageError(f"y holds one class, {values[0]}; a classifier needs two classes")
        white, labels = None, labels.astype(np.int64)
        if is_files(X):
            found = decode([Path(file) for file in X], labels, DataConfig(), None)
            pixels, white = found.pixels, found.white
        else:
            pixels = array_images(X, None, preprocessing)
        data = Dataset(
            torch.from_numpy(pixels),
            torch.from_numpy(labels),
            tuple(map(str, values)),
            "arrays",
            flip=pixels.shape[-1] >= 3 if self.flip is None else self.flip,
            white=white,
        )
        handed = hand_in(data)
        mark = listing(handed.catalogue).fingerprint
        return _Given(data, values, handed.name, mark, self.flip is None, preprocessing)

    def _raced(
        self, given: _Given, runtime: Runtime, started: float
    ) -> tuple[Architecture, TrainConfig, FitResult]:
        """What wins the race, trained."""
        search = self._with_epochs(self.search_config or SearchConfig())
        train = self._with_epochs(self.train_config or TrainConfig())
        budget = self.budget or Budget()
        if self.minutes is not None:
            if budget.minutes is not None:
                raise UsageError("minutes are given twice, in budget too; leave one out")
            budget = dataclasses.replace(budget, minutes=self.minutes)
        wanted = planning.wanted(self.candidates, search, train)
        plan, _, _ = planning.Plan.of(
            given.data, wanted, budget, search, train, flip_open=given.flip_open
        )
        found = race.find(plan, runtime, Clock(budget.seconds, started=started))
        if plan.races:
            self.candidates_, self.verdict_ = found.entrants(), found.verdict
        return found.kept.architecture, found.config, found.fitted

    def _trained(
        self, architecture: str | Architecture, data: Dataset, runtime: Runtime
    ) -> tuple[Architecture, TrainConfig, FitResult]:
        """One architecture, trained."""
        design = named.architecture(architecture) if isinstance(architecture, str) else architecture
        config = training.resolve_config(
            self._with_epochs(self.train_config or TrainConfig()),
            len(data),
            whole=not design.sized,
            whitens=design.whitens,
        )
        network = training.build(design, config, data, runtime.seed)
        limit = Budget(minutes=self.minutes).seconds
        return design, config, training.fit(network, data, config, runtime, limit)

    def _check_unused(self, *names: str) -> None:
        """Raises UsageError for a parameter that only a race uses."""
        usual = Classifier().get_params(deep=False)
        for name in names:
            if getattr(self, name) != usual[name]:
                raise UsageError(f"{name} is for a race; with an architecture leave it out")

    def _with_epochs(self, config: Any) -> Any:
        if self.epochs is None:
            return config
        if config.epochs is not None:
            raise UsageError("epochs are given twice, in a config too; leave one out")
        return dataclasses.replace(config, epochs=self.epochs)

    def _session(self) -> Session:
        seed = self.random_state
        if not isinstance(seed, int | np.integer):
            seed = check_random_state(seed).randint(2**31 - 1)
        return Session(int(seed), self.device, progress=Progress(quiet=not self.verbose))

    # -- answers ---------------------------------------------------------------------------------

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """The probability of each class for each image, (N, K), in the order of `classes_`.

        `X`: as in `fit`, or a folder of image files; images of another size are resized. Raises
        UsageError, a ValueError, for values, EdartsError for files.
        """
        check_is_fitted(self)
        if not (isinstance(X, Dataset | str | Path) or is_files(X)):
            rows = np.asarray(X).ndim <= 2
            X = validate_data(self, X, reset=False) if rows else check_array(X, allow_nd=True)
        return self.model_.predict_proba(X, self.device)

    def predict(self, X: Any) -> NDArray[Any]:
        """The class of each image, (N,), as it stands in `classes_`: see `predict_proba`."""
        best = self.predict_proba(X).argmax(axis=1)  # which says so where nothing was fitted
        found: NDArray[Any] = self.classes_[best]
        return found

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """The share of right answers, 0..1; of a Dataset without `y`."""
        if isinstance(X, Dataset):
            y = self.classes_[X.in_classes(self.model_.classes).labels.numpy()]
        return float(accuracy_score(y, self.predict(X), sample_weight=sample_weight))

    # -- files -----------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write the network into a folder, for `edarts.load_model` and `from_run`.

        Raises EdartsError where a run is, or what cannot be written.
        """
        check_is_fitted(self)
        folder = Path(path)
        if (folder / "config.yaml").exists():
            raise EdartsError(f"{folder}: a run is there; give another folder")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EdartsError(f"{folder}: cannot be written: {error.strerror or error}") from None
        save_model(Run(folder), self.model_)
        return folder

    @classmethod
    def from_run(cls, run: str | Path, device: str = "auto") -> "Classifier":
        """The estimator of a run of `find` or `train`, of a folder that `save` has written, or of
        hf:OWNER/NAME. Its classes are names, unless y held others. Raises EdartsError.
        """
        made = cls(device=device)
        model = load_model(run)
        made.model_ = model
        made.classes_ = np.asarray(model.classes if model.labels is None else model.labels)
        return made


def _model(
    given: _Given, design: Architecture, config: TrainConfig, fitted: FitResult
) -> TrainedModel:
    """The trained network with all that its use needs."""
    data, values = given.data, given.values.tolist()
    model = TrainedModel.of(
        fitted.network,
        design,
        training.size_of(config) if design.sized else Size(),
        fitted.transform,
        data.classes,
        data.shape,
        given.name,
        data.white,
        given.fingerprint,
        fitted.calibration,
    )
    numbers = all(isinstance(value, bool | int | float) for value in values)
    return dataclasses.replace(
        model, preprocessing=given.preprocessing, labels=tuple(values) if numbers else None
    )
