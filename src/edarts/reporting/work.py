"""What the verbs that make a run share: the run's settings, its folder, its page."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from edarts.data import Dataset, Opened
from edarts.data.catalogue import few
from edarts.data.fingerprint import Listing
from edarts.errors import EdartsError, UsageError
from edarts.reporting import drawing, page
from edarts.runs.folder import Run, default_path, open_run, read_settings
from edarts.runs.loggers import logging
from edarts.runs.processes import is_main
from edarts.runs.stop import Stop
from edarts.runtime import Runtime, Session
from edarts.space import architecture as architectures
from edarts.space.base import Architecture

LISTING = "data.npz"  # of a run's folder: every image that it was made of, and its label


def refuse(verb: str, session: Session, *names: str) -> None:
    """Raises UsageError if the session sets one of these, which the verb cannot use."""
    for name in names:
        if getattr(session, name) != getattr(Session, name):
            raise UsageError(f"{verb} cannot use --{name.replace('_', '-')}; leave it out")


def all_but(*used: str) -> list[str]:
    """The names of what a session has beside these."""
    return [f.name for f in fields(Session) if f.name not in used]


@dataclass(frozen=True)
class Work:
    """What the parts of a verb share: the data, and the runtime with its open run."""

    opened: Opened
    runtime: Runtime
    run: Run

    @property
    def dataset(self) -> Dataset:
        """The training split."""
        return self.opened.train


def settings_of(opened: Opened, session: Session, config: Mapping[str, Any]) -> dict[str, Any]:
    """For config.yaml: data, seed, device, what of the session is unusual, and the config."""
    given = {name: getattr(session, name) for name in ("precision", "compile")}
    unusual = {name: value for name, value in given.items() if value != getattr(Session, name)}
    how = {"seed": session.seed, "device": session.device, **unusual}
    return {
        **opened.config.to_settings(),
        "fingerprint": opened.listing.fingerprint,
        **how,
        **config,
    }


def check_content(folder: Path, opened: Opened) -> None:
    """Raises EdartsError if the run in a folder was made of these data when they were others.

    It names what has changed since. A run of before this was kept is taken as it is.
    """
    if not (folder / "config.yaml").exists():
        return
    known = read_settings(folder)
    mine = opened.config.to_settings()["data"]
    if known.get("data") != mine or "fingerprint" not in known:
        return
    if known["fingerprint"] != opened.listing.fingerprint:
        old = Listing.read(folder / LISTING)
        what = old.changes(opened.listing) if old is not None else "other images or labels"
        raise EdartsError(
            f"{folder}: the data {mine} have changed since: {what}; give another --out, or the data"
            " as they were"
        )


def without_unknown(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, less the fingerprint where the run in the folder is older than these."""
    older = (folder / "config.yaml").exists() and "fingerprint" not in read_settings(folder)
    return {k: v for k, v in settings.items() if not (older and k == "fingerprint")}


@contextmanager
def working(
    verb: str,
    opened: Opened,
    session: Session,
    runtime: Runtime,
    settings: Mapping[str, Any],
    notes: Sequence[str] = (),
    free: Sequence[str] = (),
) -> Iterator[Work]:
    """Open the run folder, say what the data are, turn Ctrl-C and SIGTERM into a stop.

    `free`: settings that may differ from one time to the next.
    """
    fixed = {name: value for name, value in settings.items() if name not in free}
    name = opened.config.data
    folder = Path(session.out) if session.out is not None else default_path(verb, name, fixed)
    check_content(folder, opened)
    settings = without_unknown(folder, settings)
    with (
        open_run(folder, settings, session.checkpoint_seconds, free) as run,
        Stop().listening() as stop,
        logging(run, session.log, settings, runtime.progress.warn),
    ):
        if is_main() and not (run.path / LISTING).exists():
            run.write_bytes(LISTING, opened.listing.to_bytes())
        _say_data(runtime, opened.train, notes)
        yield Work(opened, replace(runtime, run=run, stop=stop), run)
        if is_main():
            page.write_run(run)


def _say_data(runtime: Runtime, dataset: Dataset, notes: Sequence[str]) -> None:
    channels, height, width = dataset.shape
    runtime.progress.say(
        f"data: {dataset.name}, {len(dataset)} training images of {height} x {width} x {channels}"
        f" in {len(dataset.classes)} classes: {few(dataset.classes)}"
    )
    for note in [*dataset.notes, *notes]:
        runtime.progress.note(f"data: {note}")


def keep_architecture(run: Run, design: Architecture, *, replace_other: bool = False) -> None:
    """Write and draw what the run is about: genotype.json, and its picture.

    Raises EdartsError if another one is there.
    """
    if not is_main():
        return
    path = run.path / "genotype.json"
    known = architectures.load(path) if path.exists() else None
    if known is not None and known != design and not replace_other:
        raise EdartsError(f"{path}: holds another genotype; give another --out")
    if known != design:
        run.write_text("genotype.json", design.to_json())
    if not drawing.is_drawn(run.path, since=path):
        drawing.draw(design, run)
