"""The command line: from words to a verb, from its report to text or JSON and an exit code."""

import json
import os
import sys
from collections.abc import Sequence

from edarts import __doc__ as description
from edarts import __version__, registry
from edarts.cli.parser import Given, Parser, Values
from edarts.cli.verbs import VERBS
from edarts.errors import EdartsError, Interrupted, UsageError, again, one_line, unforeseen, unknown
from edarts.runs.clock import command
from edarts.runs.processes import launcher, listen, speak, world_size
from edarts.runs.progress import tell
from edarts.runs.stop import terminable


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    speak()
    try:
        with command(), terminable():
            name, values = parse(words)
            report = VERBS[name].run(name, values)
        if not values["shown"].get("quiet"):
            tell(report.summary())
        if values["shown"].get("json"):
            tell(json.dumps(report.to_dict()))
        return int(getattr(report, "exit_code", 0))
    except (Exception, KeyboardInterrupt) as error:
        return _explain(error, words)


def parse(words: Sequence[str]) -> tuple[str, Values]:
    """The verb and what was given to it. Raises UsageError; exits after --help and the like."""
    name, _, value = words[0].partition("=") if words else ("", "", "")
    if name in VERBS:
        if world_size() > 1 and not VERBS[name].parallel:
            some = ", ".join(other for other, verb in VERBS.items() if verb.parallel)
            raise UsageError(f"{name} runs in one process; torchrun is for {some}")
        given = Given(words[1:])
        return name, VERBS[name].parser(name, given).read(given)
    if name in ("", "-h", "--help", "help"):
        print(_root().format_help())
    elif name == "--version":
        print(f"edarts {__version__}")
    elif name.replace("_", "-") == "--print-completion":
        shell = value or "".join(words[1:2])
        if shell not in ("bash", "zsh"):
            raise unknown("shell", shell, ("bash", "zsh"))
        print(_root(full=True).get_completion_script(f"shtab-{shell}"))
    else:
        known = ("--help", "--version", "--print-completion") if name[0] == "-" else VERBS
        raise unknown("option" if name[0] == "-" else "verb", name, known)
    sys.exit(0 if name else 2)


def _root(full: bool = False) -> Parser:
    """The parser of all verbs for its help; `full`: with their options, for the completion."""
    methods = f"one-shot methods: {', '.join(registry.names('methods'))}"
    samplers = f"black-box methods: {', '.join(registry.names('samplers'))}"
    root = Parser(prog="edarts", description=description, epilog=f"{methods}. {samplers}.")
    root.add_argument("--version", action="store_true", help="Print the version.")
    root.add_argument("--print-completion", metavar="SHELL", help="The script of bash or zsh.")
    verbs = root.add_subcommands(dest="verb", required=False)
    for name, verb in VERBS.items():
        parser = verb.parser(name, Given(["--help"])) if full else Parser()
        verbs.add_subcommand(name, parser, help=verb.help)
    return root


def _explain(error: BaseException, argv: Sequence[str]) -> int:
    """Say in one line why the command ended; returns the exit code."""
    code = error.exit_code if isinstance(error, EdartsError) else 1
    if isinstance(error, Interrupted | KeyboardInterrupt):
        code = Interrupted.exit_code
        print(f"edarts: {one_line(error)}; to continue: {launcher()}{again(argv)}", file=sys.stderr)
    elif isinstance(error, BrokenPipeError):  # the reader left; Python would complain as it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    elif os.environ.get("EDARTS_DEBUG") and not isinstance(error, EdartsError):
        raise error
    else:
        print(f"edarts: error: {unforeseen(error)}", file=sys.stderr)
    listen()
    return code
