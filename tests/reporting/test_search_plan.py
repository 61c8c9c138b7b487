"""What a dry run of a search tells."""

import pytest

from edarts.reporting.search_plan import SearchPlan


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(90, "0.025"), (7272, "2.02"), (359_000, "99.7"), (4_500_000, "1,250")],
)
def test_hours_without_exponents(seconds: float, told: str) -> None:
    plan = SearchPlan({"preset": "paper", "cells": 20}, {"preset": "", "cells": 8}, seconds)
    lines = [" ".join(line.split()) for line in plan.summary().splitlines()]
    assert lines == [
        "preset paper",
        "cells 20 (default: 8)",
        f"time about {told} hours on this machine",
    ]
