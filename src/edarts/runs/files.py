"""Files of a run: each is written as a whole or not at all, and known again by its digest.

`digests.json` holds the SHA-256 of every file that is loaded again: of its present content and,
because a kill may come between the two, of the one before. Runs of older versions have none.
"""

import errno
import hashlib
import json
import os
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from edarts.config.reading import AT_ONCE, NO_LINK, open_regular, parse_json
from edarts.errors import EdartsError

DIGESTS = "digests.json"
SHOWN = {".svg", ".png", ".html", ".csv"}  # of files that are never loaded, but made again
CHANGING = {"environment.json", "metrics.jsonl", DIGESTS}  # shown, or appended to
CONFIG = "config.yaml"  # what makes a folder a run's
LARGEST = 2**30  # bytes that the arrays of a file of a run unpack to


# -- writing -------------------------------------------------------------------------------------


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Replace a file as a whole: written aside, synced, renamed. Raises EdartsError."""
    aside = path.with_name(path.name + ".new")
    with disk_errors(path):
        try:
            aside.unlink(missing_ok=True)  # cut off by a kill, or a link to somewhere else
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        except BaseException:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def write_kept(path: Path, content: bytes | memoryview) -> None:
    """The same for a file of a run, whose digest is written before it. Raises EdartsError."""
    if path.suffix not in SHOWN and path.name not in CHANGING:
        known, new = read_digests(path.parent), hashlib.sha256(content).hexdigest()
        before = known.get(path.name, [])[-1:]
        if before != [new]:
            known[path.name] = [*before, new]
            write_bytes(path.with_name(DIGESTS), json.dumps(known, indent=2).encode())
    write_bytes(path, content)


def append_line(path: Path, line: str) -> None:
    """Add a line to a file, below one that a kill has cut off. Raises EdartsError."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | AT_ONCE | NO_LINK
    with disk_errors(path), os.fdopen(os.open(path, flags, 0o666), "r+b", 0) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise EdartsError(f"{path}: no regular file, so nothing is written to it")
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 1))
        torn = file.read(1) not in (b"", b"\n")
        content = memoryview((b"\n" if torn else b"") + line.encode() + b"\n")
        while content:
            content = content[file.write(content) :]
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """The new name of a file outlives a power cut too, where the system can promise it."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns what the system says of a file inside the block into an EdartsError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise EdartsError(
                f"{path}: no space left on the disk; free some and repeat the command, it resumes"
            ) from None
        if error.errno == errno.ELOOP:
            raise EdartsError(f"{path}: a link, which is not followed; delete it") from None
        raise EdartsError(f"{path}: cannot be written: {error.strerror or error}") from None


# -- reading -------------------------------------------------------------------------------------


def read_kept(path: Path) -> bytes:
    """The content of a file; one of a run's folder is no link, and what was written there.

    Raises EdartsError if it is not, and OSError.
    """
    in_run = path.name == CONFIG or path.with_name(CONFIG).exists()
    with open_regular(path, links=not in_run) as file:
        content = file.read()
    known = read_digests(path.parent).get(path.name)
    if known is not None and hashlib.sha256(content).hexdigest() not in known:
        again = "" if path.name == CONFIG else ", or delete it and repeat the run's command"
        raise EdartsError(
            f"{path}: damaged: not what was written there; restore it from a copy{again} (if the"
            f" change is meant, delete {DIGESTS} beside it)"
        )
    return content


def check_unpacked(content: BinaryIO, path: Path, most: int = LARGEST) -> None:
    """Raises EdartsError for a zip archive, as NumPy and PyTorch write, of more than `most` bytes.

    Before any is unpacked; what is no such archive is for its reader to say.
    """
    try:
        with zipfile.ZipFile(content) as archive:
            size = sum(one.file_size for one in archive.infolist())
    except Exception:  # zipfile raises many kinds for a damaged one
        size = 0
    content.seek(0)
    if size > most:
        raise EdartsError(f"{path}: damaged: it would unpack to {size / 2**30:.1f} GiB; delete it")


def is_kept(path: Path) -> bool:
    """Whether the file is there as it was written, as far as that is known."""
    try:
        read_kept(path)
    except (EdartsError, OSError):
        return False
    return True


def read_digests(folder: Path) -> dict[str, list[str]]:
    """Name of a file -> the digests that it may have. Raises EdartsError if that is damaged."""
    path = folder / DIGESTS
    try:
        with open_regular(path, links=False) as file:
            found = parse_json(file.read())
        if not all(
            isinstance(name, str) and set(map(type, d)) <= {str} for name, d in found.items()
        ):
            raise ValueError("no digests")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise EdartsError(f"{path}: damaged ({error}); delete it") from None
    return dict(found)


# -- beside the runs -----------------------------------------------------------------------------


def user_cache() -> Path:
    """The folder of what this user's commands can make again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edarts"
