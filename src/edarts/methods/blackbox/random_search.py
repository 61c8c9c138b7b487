"""Random search: every genotype is drawn uniformly, whatever the others scored: the baseline."""

import random
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial

from edarts.config import SearchConfig
from edarts.methods.blackbox.ledger import LedgerSampler
from edarts.space.encoding import CellEncoding

DEFAULTS: dict[str, Any] = {"topology": "all"}


def encoding(config: SearchConfig) -> CellEncoding:
    """The space that the config names."""
    return CellEncoding.of(config)


class RandomSearch(LedgerSampler):
    """Draws from `encoding` with no memory."""

    def propose(
        self, study: Study, trial: FrozenTrial, draw: random.Random
    ) -> dict[str, int | str]:
        return self.encoding.sample(draw)


PLUGIN = RandomSearch
