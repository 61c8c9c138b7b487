"""`python narrow.py TEST...`: tests as on a processor without AVX-512, with vectors of eight."""

import sys

import pytest
from llvmlite import binding

whole = binding.get_host_cpu_features


def narrow() -> binding.targets.FeatureMap:
    """What this processor has, without AVX-512."""
    features = whole()
    for name in features:
        if name.startswith("avx512"):
            features[name] = False
    return features


binding.get_host_cpu_features = narrow

if __name__ == "__main__":
    code = pytest.main(["-n0", *sys.argv[1:]])
    from edarts.nn.kernels.loops.vectors import WIDTH

    assert WIDTH == 8
    sys.exit(code)
