"""One line for each thing that can be wrong with classes."""

from pathlib import Path

import numpy as np
import pytest

from edarts import EdartsError, load
from support import save_npz


def test_too_many_classes(tmp_path: Path) -> None:
    labels = np.arange(3003) % 1001
    path = save_npz(tmp_path / "m.npz", images=np.zeros((3003, 8, 8), np.uint8), labels=labels)
    with pytest.raises(EdartsError, match="1001 classes"):
        load(path)
