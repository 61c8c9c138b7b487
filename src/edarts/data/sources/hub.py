"""Hub: a data set of the Hugging Face hub, downloaded at the first use."""

import glob
import sys
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from edarts.config import DataConfig
from edarts.data.catalogue import Catalogue, order_of, split_of
from edarts.data.sources.folder import Folder
from edarts.data.sources.parquet import catalogue_of_files, splits_of
from edarts.data.sources.table import Options
from edarts.errors import EdartsError, UsageError, one_line

CONVERTED = "refs/convert/parquet"  # the branch in which the hub keeps what it has made as parquet
PARTIAL = "partial-"  # begins the name of a split of which the hub has converted only a part
CARD = "README.md"
USUAL = "default"
IMAGES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

Splits = dict[str, list[str]]
"""Name of a split -> its parquet files in the repository."""


@dataclass(frozen=True)
class HubOptions(Options):
    """What only data sets of the hub take."""

    config_name: str | None = None
    """Which config of a hub data set that has several; if not given: its default, or the only
    one."""


class Hub:
    """Downloads a data set of the hub; DATA is `hf:OWNER/NAME`."""

    describe = "hf:OWNER/NAME"
    Options = HubOptions

    def accepts(self, data: str) -> bool:
        """Whether DATA begins with `hf:`."""
        return data.startswith("hf:")

    def open(self, data: str, config: DataConfig) -> Catalogue:
        """Its parquet files, or those that the hub has made of it; else class folders of images.

        Of several splits only the training and the test split are downloaded. Raises EdartsError.
        """
        options = config.options if isinstance(config.options, HubOptions) else HubOptions()
        repository = _Repository(data)
        card = _card(repository)
        for revision in (None, CONVERTED):
            files = repository.files(revision)
            configs = _converted(files) if revision else _own(files, card)
            if not any(configs.values()):
                continue
            name = _chosen({*configs, *card.patterns}, card, options.config_name, data)
            if splits := configs.get(name):
                return _from_splits(repository, revision, splits, config)
        return _from_folders(repository, config)


def _from_splits(
    repository: "_Repository", revision: str | None, splits: Splits, config: DataConfig
) -> Catalogue:
    whole = {name.removeprefix(PARTIAL): name for name in splits}
    train = next((name for name in whole if split_of(name) == "train"), None)
    tests = sorted((name for name in whole if split_of(name) == "test"), key=order_of)
    if train is None:
        raise EdartsError(f"{repository.data}: no train split; it has {', '.join(whole)}")
    used = {name: splits[whole[name]] for name in (train, *tests[:1])}
    folder = repository.fetch([glob.escape(f) for files in used.values() for f in files], revision)
    first, second = (
        [folder / file for name in names for file in used[name]] for names in ([train], tests[:1])
    )
    catalogue = catalogue_of_files(first, second, repository.name, config, folder)
    catalogue.notes += [
        f"{name} split: the hub has made parquet files of a part of it only"
        for name in used
        if whole[name] != name
    ]
    return catalogue


def _from_folders(repository: "_Repository", config: DataConfig) -> Catalogue:
    if not any("/" in file and file.lower().endswith(IMAGES) for file in repository.files()):
        if repository.away is not None:
            raise repository.refused(repository.away)
        raise EdartsError(
            f"{repository.data}: has no parquet files, also none that the hub has made of it, and"
            " no folders of images; download it, and give the folder or a .csv"
        )
    if config.options is not None:
        raise UsageError(
            f"{repository.data}: has no parquet files, which options of columns and configs are for"
        )
    folder = repository.fetch([f"*{case}" for end in IMAGES for case in (end, end.upper())])
    catalogue = Folder().open(str(folder), config)
    catalogue.name = repository.name
    return catalogue


# -- which files ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Card:
    """What a README says of the configs of a data set.

    `patterns`: config -> split -> patterns of its files; without splits, "" stands for all.
    `default`: the config that it names so.
    """

    patterns: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    default: str | None = None


def _card(repository: "_Repository") -> _Card:
    """Raises EdartsError for a README that describes no configs where it should."""
    if CARD not in repository.files():
        return _Card()
    from huggingface_hub.repocard import metadata_load

    try:
        listed = (metadata_load(repository.fetch([CARD]) / CARD) or {}).get("configs") or []
        named = {_text(one.get("config_name", USUAL)): one for one in listed}
        patterns = {name: _patterns(one) for name, one in named.items()}
        return _Card(patterns, next((name for name in named if named[name].get("default")), None))
    except EdartsError:
        raise
    except Exception as error:  # YAML of anybody
        raise EdartsError(
            f"{repository.data}: the configs in its {CARD} cannot be read: {one_line(error)}"
        ) from None


def _patterns(config: Mapping[str, Any]) -> dict[str, list[str]]:
    """Split -> patterns of a config, which says `data_files` in four ways, or `data_dir`."""
    root = PurePosixPath(_text(config.get("data_dir") or "."))
    given = config.get("data_files") or {"": "**"}
    if isinstance(given, Mapping):
        pairs = list(given.items())
    elif isinstance(given, list) and all(isinstance(one, Mapping) for one in given):
        pairs = [(one["split"], one["path"]) for one in given]
    else:
        pairs = [("train", given)]
    lists = [(_text(split), some if isinstance(some, list) else [some]) for split, some in pairs]
    return {split: [str(root / _text(path)) for path in paths] for split, paths in lists}


def _text(value: Any) -> str:
    """Raises TypeError for anything but a word: YAML of a few lines may stand for gigabytes."""
    if not isinstance(value, str | int):
        raise TypeError(f"a text is needed, not a {type(value).__name__}")
    return str(value)


def _own(files: Sequence[str], card: _Card) -> dict[str, Splits]:
    """The configs of a repository's own parquet files, if any: as its README has them, or one."""
    tables = [file for file in files if file.endswith(".parquet")]
    found: dict[str, Splits] = {}
    for config, patterns in (card.patterns or {USUAL: {"": ["**"]}}).items():
        splits = {
            split: [file for file in tables if any(_matches(file, one) for one in some)]
            for split, some in patterns.items()
        }
        if "" in splits:
            splits = _by_name(splits[""])
        found[config] = {split: some for split, some in splits.items() if some}
    return found


def _matches(file: str, pattern: str) -> bool:
    """Whether a pattern names a file: `*` stands within a folder, `**` also across folders."""
    if "**" in pattern:
        return fnmatchcase(file, pattern.replace("**/", "*").replace("**", "*"))
    return PurePosixPath("/", file).match(f"/{pattern}")


def _by_name(files: Sequence[str]) -> Splits:
    train, test = splits_of([PurePosixPath(file) for file in files])
    return {"train": list(map(str, train)), "test": list(map(str, test))}


def _converted(files: Sequence[str]) -> dict[str, Splits]:
    """The configs of the hub's own parquet files: CONFIG/SPLIT/0000.parquet."""
    found: dict[str, Splits] = {}
    for file in sorted(files):
        match file.split("/"):
            case [config, split, name] if name.endswith(".parquet"):
                found.setdefault(config, {}).setdefault(split, []).append(file)
    return found


def _chosen(configs: Set[str], card: _Card, asked: str | None, data: str) -> str:
    """The name of the config that is to be read. Raises EdartsError unless it is clear."""
    several = f"{data}: has the configs {', '.join(sorted(configs))}"
    if asked is not None and asked not in configs:
        raise EdartsError(f"{several}; none is called {asked}")
    usual = asked or card.default or (USUAL if USUAL in configs else None)
    if usual is None and len(configs) > 1:
        raise EdartsError(f"{several}; choose one with --config-name")
    return usual or next(iter(configs))


# -- the repository ------------------------------------------------------------------------------


class _Repository:
    """A repository of the hub; without a network what was downloaded from it before."""

    def __init__(self, data: str) -> None:
        self.data, self.name = data, data.removeprefix("hf:")
        self.away: Exception | None = None  # why the hub cannot be asked
        self._files: dict[str | None, list[str]] = {}

    def files(self, revision: str | None = None) -> list[str]:
        """The paths of its files; none for a branch that is not there. Raises EdartsError."""
        if revision not in self._files:
            self._files[revision] = sorted(self._listed(revision))
        return self._files[revision]

    def fetch(self, patterns: Sequence[str], revision: str | None = None) -> Path:
        """The folder with the files that match, downloaded if they are new. Raises EdartsError."""
        from huggingface_hub import snapshot_download
        from huggingface_hub.utils.tqdm import tqdm

        class Bar(tqdm):
            """Shows how far it is at a terminal only."""

            def __init__(self, *args: Any, **options: Any) -> None:
                disable = options.pop("disable", False) or not sys.stderr.isatty()
                super().__init__(*args, disable=disable, **options)  # type: ignore[no-untyped-call]

        try:
            folder = snapshot_download(
                self.name,
                repo_type="dataset",
                revision=revision,
                allow_patterns=list(patterns),
                tqdm_class=Bar,
                local_files_only=self.away is not None,
            )
        except Exception as error:  # the hub's client raises many kinds
            raise self.refused(self.away or error) from None
        return Path(folder)

    def _listed(self, revision: str | None) -> list[str]:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

        try:
            found = HfApi().dataset_info(self.name, revision=revision)
            return [one.rfilename for one in found.siblings or ()]
        except RevisionNotFoundError:
            return []
        except RepositoryNotFoundError as error:  # which it is also called where it is gated
            raise self.refused(error) from None
        except Exception as error:  # no network, or the hub is down
            self.away = error
        try:
            folder = self.fetch([], revision)
        except EdartsError:
            return []
        return [str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()]

    def refused(self, error: Exception) -> EdartsError:
        """Why the repository cannot be read, on one line."""
        from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

        if isinstance(error, GatedRepoError):
            why = "its owners ask who wants it: agree on its page of the hub, then `hf auth login`"
        elif isinstance(error, RepositoryNotFoundError):
            why = "no such data set on the hub; check the name, or `hf auth login` if it is private"
        else:
            why = f"cannot be loaded: {one_line(error)}; check the name and the network"
        return EdartsError(f"{self.data}: {why}")


PLUGIN = Hub()
