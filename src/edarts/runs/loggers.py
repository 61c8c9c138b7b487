"""Loggers beside metrics.jsonl: TensorBoard, Weights & Biases and MLflow, by accelerate's trackers.

None of them may stop a run: one that fails is named once, and the run goes on without it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edarts.config.reading import check_no_link
from edarts.errors import UsageError, one_line, unknown
from edarts.runs.processes import group, is_main, world_size

if TYPE_CHECKING:
    from edarts.runs.folder import Run

LOGGERS = ("tensorboard", "wandb", "mlflow")
PROJECT = "edarts"  # what Weights & Biases and MLflow collect runs under


def names(text: str) -> tuple[str, ...]:
    """The names of a comma-separated list. Raises UsageError for one unknown, or given twice."""
    found = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in found:
        if name not in LOGGERS:
            raise unknown("logger", name, LOGGERS)
        if found.count(name) > 1:
            raise UsageError(f"log names {name} twice")
    return found


@contextmanager
def logging(
    run: "Run", log: str, settings: Mapping[str, Any], warn: Callable[[str], None]
) -> Iterator[None]:
    """What `run` records inside the block goes to the loggers named by `log` too.

    `settings`: of the run, which they show beside it. `warn`: is told of one that fails.
    """
    if not (names(log) and is_main()):
        yield
        return
    group(cpu=None if world_size() > 1 else True)  # accelerate's trackers ask it who they are
    run.loggers = Loggers(warn)
    for name in names(log):
        run.loggers.add(name, run, settings)
    try:
        yield
    finally:
        run.loggers.close()
        run.loggers = None


class Loggers:
    """Those that have not failed, by name."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._trackers: dict[str, Any] = {}

    def add(self, name: str, run: "Run", settings: Mapping[str, Any]) -> None:
        """Begin to log a run: TensorBoard's files lie in its folder, others where theirs do."""
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        where: dict[str, dict[str, Any]] = {
            "tensorboard": {"run_name": "tensorboard", "logging_dir": run.path},
            "wandb": {"run_name": PROJECT, "name": run.path.name, "dir": str(run.path)},
            "mlflow": {"experiment_name": PROJECT, "run_name": run.path.name},
        }
        with self._spared(name):
            check_no_link(run.path / name)
            tracker = LOGGER_TYPE_TO_CLASS[name](**where[name])
            tracker.start()
            self._trackers[name] = tracker
            tracker.store_init_configuration({key: str(value) for key, value in settings.items()})

    def log(self, metrics: Mapping[str, Any]) -> None:
        """The numbers of a line of metrics.jsonl, each under its phase; a step is an epoch or a
        trial.
        """
        phase = str(metrics["phase"]).replace(":", "")  # which MLflow does not take
        step = metrics.get("epoch", metrics.get("trial"))
        numbers = {
            f"{phase}/{name}": value
            for name, value in metrics.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }
        for name, tracker in [*self._trackers.items()]:
            with self._spared(name):
                # Weights & Biases has one count for all phases, which may not fall.
                tracker.log(numbers, step=None if name == "wandb" else step)

    def close(self) -> None:
        """End them."""
        for name, tracker in [*self._trackers.items()]:
            with self._spared(name):
                tracker.finish()

    @contextmanager
    def _spared(self, name: str) -> Iterator[None]:
        """The run goes on without a logger that fails in the block."""
        try:
            yield
        except Exception as error:  # each of them raises its own
            self._trackers.pop(name, None)
            missing = isinstance(error, ImportError)
            why = f"install {name}" if missing else f"{type(error).__name__}: {one_line(error)}"
            self._warn(f"logger {name} has failed ({why}); the run goes on without it")
