"""The errors a user can cause, each one line that names what is wrong and what to do."""

import difflib
import errno
import re
import shlex
import unicodedata
from collections.abc import Iterable, Sequence

SECRETS = re.compile(r"(://[^\s:/@]*:)\S*(@)|([?&](?:password|passwd|pwd)=)[^&\s]*")

# What PyTorch, the loader of compiled modules, and Python, where a library has lost its error, say
# where there is no memory left.
MEMORY = (
    "out of memory",
    "can't allocate",
    "failed to map segment",
    "Cannot allocate memory",
    "error return without exception set",
)
CONTROLS = ("Cc", "Cf", "Cs", "Zl", "Zp")  # kinds of characters that are no text, of Unicode


class EdartsError(Exception):
    """Something in the data, the run folder or the machine; the command line exits with 1."""

    exit_code = 1


class UsageError(EdartsError, ValueError):
    """A wrong option, name or value; the command line exits with 2."""

    exit_code = 2


class Interrupted(EdartsError):
    """Stopped by the user after a checkpoint; the command line exits with 130."""

    exit_code = 130


class NotFinite(EdartsError):
    """A loss or gradient became NaN or infinite."""


def one_line(error: BaseException) -> str:
    """What an error says, on one line; its type if it says nothing.

    What a library says is wrapped anywhere; in ours a new line can only be that of a name.
    """
    text = str(error) if isinstance(error, EdartsError) else " ".join(str(error).split())
    return escaped(text) or type(error).__name__


def escaped(text: str, keep: str = "") -> str:
    """A text that a terminal only shows: control characters and lone surrogates become escapes.

    `keep`: characters that stay as they are.
    """
    return "".join(
        c if c in keep or unicodedata.category(c) not in CONTROLS else _escape(c) for c in text
    )


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def reason_of(error: BaseException) -> str:
    """Why a run or trial failed, on one line: with the error's type unless it is one of ours."""
    text = one_line(error)
    return text if isinstance(error, EdartsError) else f"{type(error).__name__}: {text}"


def unforeseen(error: BaseException) -> str:
    """What a user can do about an error that may be none of ours."""
    text = one_line(error)
    if isinstance(error, EdartsError):
        return text
    bug = f"{type(error).__name__}: {masked(text)} (a bug; EDARTS_DEBUG=1 shows where)"
    return shortage(error) or bug


def shortage(error: BaseException) -> str | None:
    """What this machine has too little of, if that is why an error was raised, and what to do."""
    text, number = str(error), getattr(error, "errno", None)
    if number in (errno.EMFILE, errno.ENFILE):  # of the process, of the system
        return "too many open files; raise the limit (`ulimit -n`), and repeat the command"
    if (
        isinstance(error, MemoryError)
        or number == errno.ENOMEM
        or any(words in text for words in MEMORY)
    ):
        return "out of memory; give a smaller --batch-size, --channels or --image-size"
    return None


def masked(text: str) -> str:
    """The text with *** for the password of every URL in it, `//USER:PASSWORD@` or `?password=`."""
    return SECRETS.sub(lambda m: f"{m[1]}***{m[2]}" if m[1] else f"{m[3]}***", text)


def again(words: Sequence[str]) -> str:
    """The command to type once more, for people to read: without passwords."""
    return shlex.join(["edarts", *map(masked, words)])


def unknown(what: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a `name` that is none of `known`: the nearest ones first, else all."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}"
    return UsageError(f"unknown {what} '{name}'; {hint}")
