"""Randomness as a pure function of (seed, names, numbers): a resumed run needs no saved state."""

import hashlib

import torch
from torch import Tensor


def derive(seed: int, *key: object) -> int:
    """A 63-bit seed for one use of `seed`; the same in every process and on every machine."""
    digest = hashlib.sha256(repr((seed, *key)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def seed_all(seed: int, *key: object) -> None:
    """Seed torch's generators on every device for one use of `seed`."""
    torch.manual_seed(derive(seed, *key))


def permutation(count: int, seed: int, *key: object) -> Tensor:
    """A permutation of 0..count - 1 (count,) int64, drawn on the CPU."""
    generator = torch.Generator().manual_seed(derive(seed, *key))
    return torch.randperm(count, generator=generator)
