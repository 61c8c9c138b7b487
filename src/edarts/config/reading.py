"""Reading files that may come from anybody: regular ones alone, and none that make the reader wait.

A pipe would be waited for, a device never ends, and a link in a folder that was received leads to a
file of the reader's own.
"""

import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

from edarts.errors import EdartsError

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a link",
}
# Not there on every system; without waiting, and to the file itself.
AT_ONCE, NO_LINK = getattr(os, "O_NONBLOCK", 0), getattr(os, "O_NOFOLLOW", 0)


def check_regular(path: str | Path, links: bool = True) -> None:
    """Raises EdartsError for what is there and is no regular file; `links`: may lead to one."""
    try:
        _check(path, os.stat(path, follow_symlinks=links))
    except FileNotFoundError:
        return


def check_no_link(folder: Path) -> None:
    """Raises EdartsError for a folder that is a link, where the program makes its own."""
    if folder.is_symlink():
        raise EdartsError(f"{folder}: a link, which is not followed; delete it")


def open_regular(path: str | Path, links: bool = True) -> BinaryIO:
    """Open a regular file to read its bytes; `links`: the path may be a link to one.

    Raises EdartsError for anything else than a file, and OSError.
    """
    _check(path, os.stat(path, follow_symlinks=links))
    flags = os.O_RDONLY | AT_ONCE | (0 if links else NO_LINK) | getattr(os, "O_BINARY", 0)
    file = os.fdopen(os.open(path, flags), "rb")
    try:
        _check(path, os.fstat(file.fileno()))  # it may have been replaced
    except EdartsError:
        file.close()
        raise
    return file


def read_text(path: str | Path, links: bool = True) -> str:
    """The text of a regular file in UTF-8. Raises EdartsError, OSError, UnicodeDecodeError."""
    with open_regular(path, links) as file:
        return file.read().decode()


def parse_json(text: str | bytes) -> Any:
    """What the JSON says; raises ValueError, also for brackets in brackets without end."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("too many brackets in brackets") from None


def _check(path: str | Path, state: os.stat_result) -> None:
    if not stat.S_ISREG(state.st_mode):
        kind = KINDS.get(stat.S_IFMT(state.st_mode), "no file")
        raise EdartsError(f"{path}: {kind}, where a regular file is needed")
