"""Parquet in the Hugging Face layout."""

from pathlib import Path

import pytest

from edarts import DataConfig, EdartsError, load
from support import counts, table


def test_parquet_file_folder_and_labels_out_of_range(tmp_path: Path) -> None:
    table(15, ["x", "y", "z"]).to_parquet(tmp_path / "train-00000-of-00001.parquet")
    alone = load(str(tmp_path / "train-00000-of-00001.parquet"))
    assert len(alone) == 12
    table(6, ["x", "y", "z"]).to_parquet(tmp_path / "test-00000-of-00001.parquet")
    assert len(load(str(tmp_path))) == 15
    assert len(load(str(tmp_path), "test")) == 6
    assert alone.classes == ("x", "y", "z")
    assert alone.shape == (3, 9, 10)
    bad = tmp_path / "other.parquet"
    table(15, ["x", "y", "z"], first_label=-1).to_parquet(bad)
    with pytest.raises(EdartsError, match=r"label -1 of image 0 is out of range 0\.\.2"):
        load(str(bad))
    with pytest.raises(EdartsError, match="no label column kind"):
        load(DataConfig.of(str(bad), label_column="kind"))
    bad.write_bytes(b"PAR1 but not really")
    with pytest.raises(EdartsError, match=r"other\.parquet: cannot be read as parquet"):
        load(str(bad))


def test_a_label_column_by_name(tmp_path: Path) -> None:
    path = str(tmp_path / "kinds.parquet")
    table(15, ["x", "y", "z"]).rename_column("label", "kind").to_parquet(path)
    with pytest.raises(EdartsError, match="no label column label, labels, fine_label"):
        load(path)
    assert len(load(DataConfig.of(path, label_column="kind"))) == 12


def test_cifar10(cifar10: Path) -> None:
    train = load(DataConfig(str(cifar10), limit=500))
    assert train.shape == (3, 32, 32)
    assert len(train.classes) == 10
    assert counts(train.labels) == [50] * 10
    assert train.flip
