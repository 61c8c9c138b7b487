"""eDARTS: DARTS' softmax on a fixed topology, more attention to important operations, seldom
updated, in a shallow supernet on a subset of the data (Siddiqui, Kyrkou, Theocharides, ICPR 2020).

Only the abstract and slides are public, so the details are this project's reading:
- topology: each cell has 8 edges instead of 14, and an operation is chosen by argmax on each; the
  default is topology 1 of 180, that of DARTS' published normal cells. The best by rank over two
  data sets in our study, 12, is no better with more seeds (results/topology-confirm-*);
- attention: alpha starts at the logarithm of an operation's share, plus noise; operations without
  a share (`none`, average pooling, all of 5x5) are not built. That separable convolutions get more
  is the paper's conclusion; 5x5 ones are left out because our study (results/operations-cifar10)
  shows no gain from them and they cost the most; on other data the cells are no better for it, nor
  shown to be worse, and a search takes a quarter less time (results/attention-digits);
- sparse update: first-order updates at the end of each epoch only, with a learning rate that lets
  alpha travel as far as in DARTS' search (see `driver.resolve_config`).
Every part is an option that other methods take too.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from edarts.methods.oneshot.alphas import FirstOrder
from edarts.methods.oneshot.base import DARTS


class EDarts(FirstOrder):
    """alpha (E, K) for each group, started at log(share); weights are its softmax.

    On the fixed topology its genotype is the strongest operation on every edge.
    """

    DEFAULTS: ClassVar[Mapping[str, Any]] = DARTS | {
        "cells": 5,
        "operations": None,  # those of attention
        "topology": "1",
        "attention": "sep_conv_3x3=4,dil_conv_3x3=1,skip_connect=1,max_pool_3x3=1",
        "data_fraction": 1 / 6,
        "arch_update": "epoch",
    }


PLUGIN = EDarts
