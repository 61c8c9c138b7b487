"""The command line: from words to a verb, and from its report to text, JSON and an exit code.

Nothing here imports torch before a verb runs, so --help is quick.
"""

import json
import os
import shlex
import sys
import time
from collections.abc import Sequence
from typing import Any

from edarts import __version__, registry
from edarts.cli.parser import Options, Parser, peek
from edarts.cli.verbs import VERBS, Verb
from edarts.config import flat_config
from edarts.errors import EdartsError, Interrupted, UsageError, one_line, unknown
from edarts.runs.processes import is_main, world_size

DESCRIPTION = "Finds a convolutional network for any labelled images, and says how far to trust it."
LAST_WORDS = 5.0  # seconds that the first of many processes has to tell why all end


def build(words: Sequence[str], *verbs: str) -> tuple[Parser, dict[str, Parser]]:
    """The parser of the command, and those of its verbs: full for those named, else bare."""
    methods = f"one-shot methods: {', '.join(registry.names('methods'))}"
    samplers = f"black-box methods: {', '.join(registry.names('samplers'))}:NAME"
    root = Parser(prog="edarts", description=DESCRIPTION, epilog=f"{methods}. {samplers}.")
    root.add_argument("--version", action="version", version=f"edarts {__version__}")
    text = "print the completion script of a shell: bash or zsh"
    root.add_argument("--print-completion", metavar="SHELL", help=text)
    subcommands = root.add_subcommands(dest="verb", required=False)
    parsers = {}
    for name, verb in VERBS.items():
        parser = Parser(prog=f"edarts {name}", description=verb.help)
        if name in verbs:
            verb.arguments(parser, words)
            parser.option("json", bool, False, "a JSON object as the last line")
            parser.option("quiet", bool, False, "no progress and no summary")
        subcommands.add_subcommand(name, parser, help=verb.help)
        parsers[name] = parser
    return root, parsers


def parse(words: Sequence[str]) -> tuple[Verb, Options]:
    """The verb and its options. Raises UsageError; exits after --help and the like."""
    name, _, value = words[0].partition("=") if words else ("", "", "")
    if name in ("", "-h", "--help", "help"):
        print(build(())[0].format_help())
        sys.exit(0 if name else 2)
    if name == "--version":
        print(f"edarts {__version__}")
        sys.exit(0)
    if name.replace("_", "-") == "--print-completion":
        print(completion(value or "".join(words[1:2])))
        sys.exit(0)
    if name not in VERBS:
        raise unknown("option" if name.startswith("-") else "verb", name, VERBS)
    root, parsers = build(words[1:], name)
    parser = parsers[name]
    rest = parser.spell(words[1:])
    if (path := peek(rest, "config")) is not None:
        parser.take_config(path, flat_config(path), foreign="train." if name == "search" else None)
    try:
        found = root.parse_args([name, *rest])
    except Exception as error:  # jsonargparse wraps argparse's in its own
        raise UsageError(parser.readable(str(error))) from None
    return VERBS[name], Options(vars(found[name].as_flat()), parser.sections)


def completion(shell: str) -> str:
    """The completion script of a shell. Raises UsageError."""
    if shell not in ("bash", "zsh"):
        raise unknown("shell", shell, ("bash", "zsh"))
    script: str = build(("--help",), *VERBS)[0].get_completion_script(f"shtab-{shell}")
    return script


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    if is_main():
        return _main(words)
    # One process speaks for all; torchrun ends it as soon as another has failed.
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    code = _main(words)
    if code:
        time.sleep(LAST_WORDS)
    return code


def _main(words: list[str]) -> int:
    try:
        verb, options = parse(words)
        if world_size() > 1 and not verb.parallel:
            some = ", ".join(name for name, other in VERBS.items() if other.parallel)
            raise UsageError(f"{words[0]} runs in one process; torchrun is for {some}")
        report = verb.run(options)
        if not options["quiet"]:
            print(_text(report), flush=True)
        if options["json"]:
            print(json.dumps(_plain(report)), flush=True)
        return int(getattr(report, "exit_code", 0))
    except (Interrupted, KeyboardInterrupt) as stop:
        again = _again(words)
        print(f"edarts: {one_line(stop)}; to continue: {again}", file=sys.stderr)
        return Interrupted.exit_code
    except EdartsError as error:
        print(f"edarts: error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # the reader left; Python would complain at its own flush
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if os.environ.get("EDARTS_DEBUG"):
            raise
        print(f"edarts: error: {_unforeseen(error)}", file=sys.stderr)
        return 1


def _text(report: Any) -> str:
    """What a person reads of a report, or of a list of them."""
    return "\n".join(map(_text, report)) if isinstance(report, list) else str(report.summary())


def _plain(report: Any) -> Any:
    """The JSON form of a report, or of a list of them."""
    return [part.to_dict() for part in report] if isinstance(report, list) else report.to_dict()


def _again(words: Sequence[str]) -> str:
    """The command that was given."""
    many = f"torchrun --nproc-per-node {world_size()} -m " if world_size() > 1 else ""
    return many + shlex.join(["edarts", *words])


def _unforeseen(error: Exception) -> str:
    text = one_line(error)
    if isinstance(error, MemoryError) or "out of memory" in text or "can't allocate" in text:
        return "out of memory; give a smaller --batch-size, --channels or --image-size"
    return f"{type(error).__name__}: {text} (a bug; EDARTS_DEBUG=1 shows where)"
