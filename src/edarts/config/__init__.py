"""What a user can set, as dataclasses: a sentence and a unit under every field, checked when made.

A field left open takes the default of the method (SearchConfig) or of the recipe (TrainConfig); the
run folder's config.yaml holds the resolved values. Nothing here imports torch.
"""

from edarts.config.data import DataConfig
from edarts.config.fields import (
    UNSET,
    Between,
    NoOptions,
    check_fields,
    docs,
    given,
    option_names,
    resolve,
)
from edarts.config.files import options_of, read_yaml, upgraded, write_yaml
from edarts.config.files import options_of as flat_config
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
    "OPTUNA",
    "SHARED",
    "UNSET",
    "Between",
    "DataConfig",
    "NoOptions",
    "SearchConfig",
    "TrainConfig",
    "check_fields",
    "docs",
    "given",
    "is_black_box",
    "method_class",
    "option_names",
    "options_of",
    "parse_attention",
    "read_yaml",
    "resolve",
    "untaken",
    "upgraded",
    "write_yaml",
]
