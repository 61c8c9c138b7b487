"""`python narrow.py TEST...`: tests as on a processor without AVX-512, with vectors of eight."""

import sys

import pytest
from llvmlite import binding

binding.get_host_cpu_features = dict

if __name__ == "__main__":
    from edarts.nn.kernels.loops.vectors import WIDTH

    assert WIDTH == 8
    sys.exit(pytest.main(["-n0", *sys.argv[1:]]))
