"""Plots that leave no room for their labels."""

import warnings

import pytest

from edarts.reporting.model import Plot, Series
from edarts.reporting.plots import draw


@pytest.mark.pictures
def test_labels_without_room_are_drawn_without_a_warning() -> None:
    """Else a page of a run with odd names says more than the one line of its error."""
    names = [f"{number} " + "a very long name " * 40 for number in range(3)]
    plot = Plot("long", "title", "x " * 400, "y " * 400, [Series("s", names, [1.0, 2.0, 3.0])])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = draw(plot)
    assert drawn.png.startswith(b"\x89PNG")
