"""What a user can set, as dataclasses: a sentence and a unit under every field, checked when made.

A field left open takes the default of the method (SearchConfig) or of the recipe (TrainConfig); the
run folder's config.yaml holds the resolved values. Nothing here imports torch.
"""

from edarts.config.budget import CANDIDATES, Budget
from edarts.config.data import DataConfig, shown
from edarts.config.fields import (
    UNSET,
    Between,
    NoOptions,
    check_fields,
    docs,
    option_names,
    resolve,
    takers,
)
from edarts.config.files import parse_yaml, read_options, read_yaml, to_yaml, upgraded
from edarts.config.search import (
    OPTUNA,
    SHARED,
    SearchConfig,
    is_black_box,
    method_class,
    parse_attention,
    untaken,
)
from edarts.config.train import TrainConfig

__all__ = [
    "CANDIDATES",
    "OPTUNA",
    "SHARED",
    "UNSET",
    "Between",
    "Budget",
    "DataConfig",
    "NoOptions",
    "SearchConfig",
    "TrainConfig",
    "check_fields",
    "docs",
    "is_black_box",
    "method_class",
    "option_names",
    "parse_attention",
    "parse_yaml",
    "read_options",
    "read_yaml",
    "resolve",
    "shown",
    "takers",
    "to_yaml",
    "untaken",
    "upgraded",
]
