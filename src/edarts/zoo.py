"""Published cells as data. Names are `architecture.source`."""

from dataclasses import dataclass

from edarts.errors import unknown
from edarts.genotype import Genotype

_DARTS_V1 = """Genotype(
normal=[('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 0), ('sep_conv_3x3', 1),
        ('skip_connect', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 2)],
normal_concat=[2, 3, 4, 5],
reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 0),
        ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('avg_pool_3x3', 0)],
reduce_concat=[2, 3, 4, 5])"""

_DARTS_V2 = """Genotype(
normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1),
        ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)],
normal_concat=[2, 3, 4, 5],
reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1),
        ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)],
reduce_concat=[2, 3, 4, 5])"""


@dataclass(frozen=True)
class Entry:
    """One published cell: where it was read, and the paper's numbers (errors in %, M = 1e6)."""

    genotype: Genotype
    source: str
    paper: str
    c10_error: float
    c100_error: float
    parameters_m: float
    gpu_days: float


_DARTS = ("quark0/darts cnn/genotypes.py @f276dd3", "Liu et al., ICLR 2019")

ZOO: dict[str, Entry] = {
    "darts.v1": Entry(Genotype.parse(_DARTS_V1), *_DARTS, 3.00, 17.76, 3.3, 1.5),
    "darts.v2": Entry(Genotype.parse(_DARTS_V2), *_DARTS, 2.76, 17.54, 3.3, 4.0),
}


def get(name: str) -> Entry:
    """The entry called `name`; raises UsageError with the nearest names."""
    if name not in ZOO:
        raise unknown("genotype", name, ZOO)
    return ZOO[name]
