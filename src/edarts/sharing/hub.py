"""The Hugging Face hub: a trained run goes there with its card, and comes back as a model."""

import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edarts import __version__
from edarts.config.reading import open_regular
from edarts.errors import EdartsError, UsageError, one_line
from edarts.runs.folder import read_json
from edarts.sharing.card import card, name_of
from edarts.training.models import CALIBRATION, DESCRIBED, HUB, WEIGHTS, load_model

CONFIG = DESCRIBED[1]  # what the hub counts downloads by
FILES = (CONFIG, WEIGHTS, CALIBRATION)  # what a model is read from
PICTURE = "cell.png"


@dataclass(frozen=True)
class PushReport:
    """What was put on the hub: `files` of the `repository`, in one commit at `url`."""

    repository: str
    url: str
    files: tuple[str, ...]

    def summary(self) -> str:
        """The report as text for a terminal."""
        load = f'edarts.load_model("{HUB}{self.repository}")'
        return f"{self.url}\n{', '.join(self.files)}\nopens by {load}"

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready fields."""
        return {"repository": self.repository, "url": self.url, "files": list(self.files)}


def push(
    run: str | Path, repository: str, private: bool = False, license: str | None = None
) -> PushReport:
    """Put a trained run, or what `Classifier.save` has written, on the Hugging Face hub.

    `repository`: OWNER/NAME, made if it is not there; `private`: whether only its owner sees one
    made now. `license`: what the card says that others may do with it, such as apache-2.0. Beside
    the weights and config.json goes a model card; nothing of it holds a path. Raises EdartsError.
    """
    from huggingface_hub import HfApi

    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise UsageError(f"{repository}: no repository of the hub; give OWNER/NAME")
    with tempfile.TemporaryDirectory() as folder:
        files = stage(Path(run), Path(folder), repository, license)
        try:
            api = HfApi()
            api.create_repo(repository, private=private or None, exist_ok=True)
            done = api.upload_folder(
                repo_id=repository, folder_path=folder, commit_message=f"edarts {__version__}"
            )
        except Exception as error:  # the hub's client raises many kinds
            raise EdartsError(
                f"{repository}: cannot be pushed: {one_line(error)}; check the network, and that"
                " `hf auth login` has kept a token that may write there"
            ) from None
    return PushReport(repository, str(done.commit_url), tuple(files))


def stage(run: Path, folder: Path, repository: str, license: str | None) -> list[str]:
    """Write what goes to the hub into an empty folder; returns the names of the files."""
    model = load_model(run)  # names what is missing or damaged
    fields = read_json(run / DESCRIBED[0]) | {"data": name_of(model.data)}
    (folder / CONFIG).write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
    kept = [WEIGHTS, CALIBRATION] if model.calibration is not None else [WEIGHTS]
    for name in [*kept, *([PICTURE] if (run / PICTURE).exists() else [])]:
        with open_regular(run / name, links=False) as file:  # no file of others goes to the hub
            (folder / name).write_bytes(file.read())
    text = card(run, model, repository, license, picture=(run / PICTURE).exists())
    (folder / "README.md").write_text(text, encoding="utf-8")
    return sorted(file.name for file in folder.iterdir())


def download(source: str) -> Path:
    """The folder with the model of hf:OWNER/NAME, downloaded if it is new. Raises EdartsError."""
    from huggingface_hub import HfApi

    try:
        found = HfApi().snapshot_download(source.removeprefix(HUB), allow_patterns=list(FILES))
    except Exception as error:  # the hub's client raises many kinds
        raise EdartsError(
            f"{source}: cannot be loaded: {one_line(error)}; check the name and the network"
        ) from None
    if not (Path(found) / CONFIG).exists():
        raise EdartsError(f"{source}: holds no {CONFIG}; give a model that `edarts push` has made")
    return Path(found)
