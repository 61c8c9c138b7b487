"""The memory of this process, as Linux tells it; other systems raise OSError."""

from pathlib import Path


def reset_peak() -> None:
    """Count the peak anew, from what is held now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def mib(name: str) -> float:
    """A size in MiB: `VmRSS` now, `VmHWM` at its peak.

    The peak that getrusage tells begins with that of the parent process.
    """
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def pages() -> int:
    """How many pages of memory were handed out, on their first use, since the process began."""
    fields = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(") ")[2].split()
    return int(fields[7])  # minflt
