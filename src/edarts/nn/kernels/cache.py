"""The cache of compiled loops: only what is whole is loaded, and only where no other can write.

Numba keeps an index and pickles beside the sources, and loads whatever lies there; a file that was
cut off would end every later run. Here each loop is one file that begins with the SHA-256 of its
rest; one that does not fit is deleted, and the loop compiled again.
"""

import hashlib
import os
import pickle
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from numba.core.caching import IndexDataCacheFile
from numba.core.serialize import dumps

from edarts.runs.files import user_cache

Say = Callable[[str], None]
SIZE = hashlib.sha256().digest_size
_told: set[Path] = set()  # folders of which something damaged was said


class Checked(IndexDataCacheFile):
    """In place of numba's file of one function: a file for each of its signatures."""

    say: Say | None = None

    def load(self, key: Any) -> Any:
        """What was saved for the key; None if there is nothing, or nothing whole."""
        path = self._path(key)
        try:
            content = path.read_bytes()
            if hashlib.sha256(content[SIZE:]).digest() != content[:SIZE]:
                raise ValueError("not what was written there")
            return pickle.loads(content[SIZE:])
        except OSError:
            return None
        except Exception:  # a pickle can fail in any way
            self._drop(path)
            return None

    def save(self, key: Any, data: Any) -> None:
        """Keep it for the key; files of an older source go. A disk that is full keeps nothing."""
        content: bytes = dumps(data)  # type: ignore[no-untyped-call]
        path = self._path(key)
        for old in path.parent.glob(f"{self._base}.*.loop"):
            if old.name.split(".")[-3] != path.name.split(".")[-3]:
                old.unlink(missing_ok=True)
        with suppress(OSError), self._open_for_write(str(path)) as file:
            file.write(hashlib.sha256(content).digest() + content)

    @property
    def _base(self) -> str:
        return str(self._index_name).removesuffix(".nbi")

    def _path(self, key: Any) -> Path:
        marks = [
            hashlib.sha256(repr(part).encode()).hexdigest()[:12]
            for part in ((self._version, self._source_stamp), key)
        ]
        return Path(self._cache_path) / f"{self._base}.{'.'.join(marks)}.loop"

    def _drop(self, path: Path) -> None:
        with suppress(OSError):
            path.unlink()
        if self.say is not None and path.parent not in _told:
            _told.add(path.parent)
            self.say(f"{path}: damaged; deleted, and compiled again")


def guard(modules: Sequence[ModuleType], say: Say | None = None) -> None:
    """Let the compiled functions of modules use such files; `say`: told about damaged ones.

    The modules call each other: when one of their sources has changed, all are compiled again.
    """
    stamp = [hashlib.sha256(Path(str(module.__file__)).read_bytes()).digest() for module in modules]
    for function in (value for module in modules for value in vars(module).values()):
        cache: Any = getattr(function, "_cache", None)
        if not isinstance(getattr(cache, "_cache_file", None), IndexDataCacheFile):
            continue
        file: Any = cache._cache_file
        file.__class__, file.say, file._source_stamp = Checked, say, stamp
        folder = next(filter(_is_own, (Path(file._cache_path), _private())), None)
        if folder is None:
            cache.disable()
        else:
            file._cache_path = str(folder)


def _private() -> Path:
    """A folder of this user's alone."""
    return user_cache() / "loops"


def _is_own(folder: Path) -> bool:
    """Whether the folder is there, or can be made, and nobody else can write to it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = folder.stat()
    except OSError:
        return False
    if not hasattr(os, "geteuid"):  # not POSIX: folders of users are their own
        return True
    return state.st_uid in (os.geteuid(), 0) and not state.st_mode & 0o022
