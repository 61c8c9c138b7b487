"""What is said of an error that is none of ours."""

import errno
import os

import pytest

from edarts.errors import EdartsError, shortage, unforeseen


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        ImportError("x.so: failed to map segment from shared object"),
        SystemError("error return without exception set"),
    ],
)
def test_no_memory(error: Exception) -> None:
    assert unforeseen(error).startswith("out of memory; give a smaller --batch-size")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_no_descriptors(number: int) -> None:
    told = unforeseen(OSError(number, os.strerror(number), "x.png"))
    assert told == "too many open files; raise the limit (`ulimit -n`), and repeat the command"


def test_anything_else() -> None:
    assert shortage(ValueError("five")) is shortage(OSError(errno.ENOENT, "none")) is None
    assert unforeseen(EdartsError("said")) == "said"
    assert unforeseen(ValueError("five\nsix")).endswith("(a bug; EDARTS_DEBUG=1 shows where)")
    assert "\n" not in unforeseen(ValueError("five\nsix"))
