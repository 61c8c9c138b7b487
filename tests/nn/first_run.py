"""What the compiled loops compute, as bits: `python first_run.py FILE` writes it as it compiles.

`make loops` runs it; `test_first_run_equals_those_after_it` compares. FILE is left as it is where
nothing had to be compiled. Without FILE it is printed.
"""

import hashlib
import sys
from pathlib import Path

import torch

from edarts.nn import kernels
from edarts.nn.kernels import FeatureMap, SeparableStage, Term


def results() -> str:
    """A line of hashes for a few and for many channels: a node's value and its gradients."""
    torch.manual_seed(0)
    lines = []
    for channels in (3, 16):
        x = torch.randn(4, channels, 9, 9, requires_grad=True)
        stages, held = [], [x]
        norms = [torch.nn.BatchNorm2d(channels) for _ in range(2)]
        for kernel, dilation in ((5, 1), (3, 2)):
            wide = torch.randn(channels, 1, kernel, kernel, requires_grad=True)
            narrow = torch.randn(channels, channels, 1, 1, requires_grad=True)
            held += [wide, narrow]
            before = norms[0] if stages else None
            stages.append(SeparableStage(wide, narrow, 1, dilation, before))
        terms = [Term(FeatureMap(x)), Term(FeatureMap(x), tuple(stages), norms[1])]
        y = kernels.node(terms, [torch.tensor(0.3)] * 2)
        (y * y).sum().backward()
        gradients = [tensor.grad for tensor in held if tensor.grad is not None]
        lines.append(" ".join(map(_bits, [y, *gradients])))
    return "\n".join(lines)


def _bits(tensor: torch.Tensor) -> str:
    return hashlib.sha256(tensor.detach().numpy().tobytes()).hexdigest()[:8]


def main(file: str | None = None) -> None:
    notices: list[str] = []
    kernels.warm_up(notices.append)
    found = results()
    if file is None:
        print(found)
    elif notices:
        print(*notices)
        Path(file).write_text(found, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
