"""Which source reads what; a source from elsewhere; options that only some sources take."""

import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import numpy as np
import pytest

from edarts import DataConfig, EdartsError, UsageError, load, registry
from edarts.data import Catalogue, sources
from edarts.data.sources.hub import HubOptions
from support import grey, parquet_bytes, save_npz, table, write_images


@dataclass(frozen=True)
class Speed:
    """What tapes take."""

    speed: Annotated[int, "metres per second"] = 2


class Tapes:
    """A source from elsewhere: tape:NUMBER is so many grey images, each as bright as its class."""

    name = "tapes"
    describe = "tape:NUMBER"
    Options = Speed

    def accepts(self, data: str) -> bool:
        return data.startswith("tape:") or data.endswith(".tape")

    def open(self, data: str, config: DataConfig) -> Catalogue:
        options = config.options or Speed()
        assert isinstance(options, Speed)
        labels = np.arange(int(data.removeprefix("tape:"))) % 3
        images = np.full((len(labels), 8, 8, 1), options.speed, np.uint8)
        return Catalogue("tape", ("a", "b", "c"), images, labels, notes=["from a tape"])


@pytest.fixture
def tapes() -> Tapes:
    """In the registry, for one test."""
    found: Tapes = registry.add("sources", Tapes())
    return found


def test_the_source_of_each_kind_of_data(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(parquet_bytes(table(3)))
    (folder.parent / "deep.parquet").write_bytes(parquet_bytes(table(3)))
    npz = save_npz(tmp_path / "a.npz", images=grey(3))
    cases = {
        "digits": "digits",
        "hf:a/b": "hub",
        "arrays sha256:0123456789abcdef": "arrays",
        npz: "npz",
        str(tmp_path / "a.parquet"): "parquet",
        str(tmp_path): "parquet",
        str(folder): "folder",
    }
    assert {data: sources.source_of(data)[0] for data in cases} == cases


def test_help_names_every_kind_without_torch_or_datasets() -> None:
    code = (
        "import sys, edarts.data.sources as s; print(s.help_of_data());"
        "print({'torch', 'datasets', 'sklearn'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    text, heavy = ran.stdout.splitlines()
    assert text == (
        "digits, a folder of class folders (with or without train/ and test/), also as a .zip, a"
        " .csv of file names and labels (or a folder with metadata.csv), a parquet file or folder"
        " in the Hugging Face layout, an .npz file, or hf:OWNER/NAME"
    )
    assert heavy == "set()"


@pytest.mark.usefixtures("tapes")
def test_a_source_from_python(tmp_path: Path) -> None:
    train = load("tape:30")
    assert len(train) == 24 and train.notes[0] == "from a tape"
    assert load(DataConfig.of("tape:30", speed=7, limit=6)).images.unique().tolist() == [7]
    assert DataConfig.of("tape:30").to_settings()["speed"] == 2
    settings = DataConfig.of("tape:30", speed=7).to_settings()
    assert DataConfig.from_settings(settings) == DataConfig.of("tape:30", speed=7)
    assert sources.help_of_data().endswith("hf:OWNER/NAME, or tape:NUMBER (plug-in tapes)")
    # A plug-in comes before what a path says, and after our prefixes.
    write_images(tmp_path / "a.tape", {"a": 3})
    assert sources.source_of(str(tmp_path / "a.tape"))[0] == "tapes"
    assert sources.source_of("hf:a/b.tape")[0] == "hub"
    with pytest.raises(EdartsError, match=r"/nix: no such file.*give digits.*\(plug-in tapes\)$"):
        load("/nix")


def test_a_source_of_an_installed_package(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("tapes_package")
    module.PLUGIN = Tapes  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tapes_package", module)
    found = {
        name: metadata.EntryPoint(name, f"{home}:PLUGIN", "edarts.sources")
        for name, home in (("broken", "no_such_package"), ("tapes", "tapes_package"))
    }
    monkeypatch.setattr(registry, "_entry_points", lambda group: found)
    assert len(load("tape:30")) == 24
    assert "sources tapes" in registry.used()
    with pytest.raises(EdartsError, match=r"no such file.*data source broken .*cannot be imported"):
        load("/nix")


def test_options_go_to_the_source_that_takes_them(folder: Path, tmp_path: Path) -> None:
    config = DataConfig.of("hf:a/b", label_column="kind", limit=9)
    assert config == DataConfig("hf:a/b", limit=9, options=HubOptions("kind"))
    assert DataConfig.of("hf:a/b", label_column=None) == DataConfig("hf:a/b", options=HubOptions())
    with pytest.raises(
        UsageError, match=r"label_column is an option of the source csv or hub or parquet"
    ):
        DataConfig.of(str(folder), label_column="kind")
    with pytest.raises(UsageError, match=f"{folder} is read by the source folder"):
        load(DataConfig(str(folder), options=HubOptions("kind")))
    assert DataConfig.of(str(folder), label_column=None) == DataConfig(str(folder))
    with pytest.raises(UsageError, match="unknown option of data 'label_colum'; did"):
        DataConfig.of(str(folder), label_colum="kind")
    with pytest.raises(EdartsError, match="no such file or folder"):
        DataConfig.of(str(tmp_path / "nix"), label_column="kind")


OLD: dict[str, Any] = {
    "data": "hf:a/b",
    "split_seed": 3,
    "test_fraction": 0.1,
    "limit": 50,
    "test_limit": None,
    "image_size": 16,
    "flip": True,
    "label_column": "kind",
    "skip_bad": True,
}


def test_settings_are_flat_and_old_ones_are_read() -> None:
    config = DataConfig.from_settings(OLD | {"seed": 1, "method": "darts"})
    assert config == DataConfig.of(**OLD)
    assert config.to_settings() == OLD | {"image_column": None, "config_name": None}
    assert DataConfig.from_settings({}) == DataConfig()
    assert DataConfig("hf:a/b").to_settings()["label_column"] is None
    digits = OLD | {"data": "digits"}
    assert "label_column" not in DataConfig.from_settings(digits).to_settings()
    assert DataConfig.from_settings(OLD | {"data": "/nix"}).limit == 50
