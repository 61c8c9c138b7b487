"""Random search: every genotype is drawn uniformly, whatever the others scored: the baseline."""

import random
from collections.abc import Mapping
from typing import Any, ClassVar

from optuna.study import Study
from optuna.trial import FrozenTrial

from edarts.methods.blackbox.base import LedgerSampler


class RandomSearch(LedgerSampler):
    """Draws from the space with no memory."""

    PLANTED: ClassVar[Mapping[str, Any] | None] = None
    DEFAULTS: ClassVar[Mapping[str, Any]] = {"operations": "all", "topology": "all"}

    def propose(
        self, study: Study, trial: FrozenTrial, draw: random.Random
    ) -> dict[str, int | str]:
        return self.space.sample_decisions(draw)


PLUGIN = RandomSearch
