"""The command line: each verb turns its options into configs and calls one library function.

Nothing here imports torch before a verb runs, so --help is quick.
"""

import dataclasses
import json
import os
import re
import shlex
import sys
import time
import types
import typing
from argparse import HelpFormatter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser, Namespace, set_parsing_settings

from edarts import __version__
from edarts.config import DataConfig, SearchConfig, TrainConfig, read_yaml
from edarts.errors import EdartsError, Interrupted, UsageError, one_line, unknown
from edarts.methods.blackbox import registry_ as samplers
from edarts.methods.oneshot import registry_ as methods
from edarts.training import distributed as ranks

if typing.TYPE_CHECKING:
    from edarts.api import Session

set_parsing_settings(docstring_parse_attribute_docstrings=True)

DESCRIPTION = "Finds a convolutional network for any labelled images, and says how far to trust it."
EPILOG = "Begin with: edarts find"
VERBS: dict[str, str] = {
    "find": "search an architecture, train it, evaluate it, draw and save it: the main job",
    "search": "search an architecture only: writes its genotype",
    "train": "train the network of a genotype from scratch",
    "evaluate": "accuracy of a trained run on its test split, with interval",
    "predict": "class and probability of image files",
    "study": "which parts of a cell matter: depth, operations, topology or skips, over seeds",
    "compare": "methods and published cells, trained alike, beside random cells of equal cost",
    "report": "the web page of runs and studies, drawn again: report.html in each folder",
    "bench": "steps of searching and training against their textbook form, timed here",
    "zoo": "published cells and networks: list, show NAME, draw NAME",
}
ZOO_ACTIONS = ("list", "show", "draw")
LAST_WORDS = 5.0  # seconds that the first of many processes has to tell why all end
PARALLEL = ("find", "search", "train")  # what torchrun can run in many processes
STUDIES = ("depth", "operations", "topology", "skips")
# Option of a study -> (type, help). A study refuses those that it has not.
STUDY_OPTIONS: dict[str, tuple[Any, str]] = {
    "cells": (str, "depth: cells of the supernets, with commas; default: 5,8,11,14,17,20"),
    "subsets": (str, "operations: subsets with commas, or SS1..SS8, the default"),
    "operation": (str, "topology: the one on every edge; default: sep_conv_3x3"),
    "topologies": (str, "topology: all 180, or indices such as 0-9,43; default: all"),
    "halving": (bool, "topology: stop hopeless ones early, by successive halving"),
    "beside": (str, "topology: folder of a study on other data, to compare the rankings with"),
    "subset": (float, "skips: share of the images in the rows with a data subset; default: 1/6"),
}
COMPARE_OPTIONS: dict[str, tuple[Any, str]] = {
    "methods": (str, "names with commas; default: edarts,darts,random_ws"),
    "zoo": (str, "published cells with commas, see edarts zoo list; default: none"),
    "random_cells": (
        int,
        "random cells that each method and seed is compared with; default: as many as its search"
        " and training together could have trained",
    ),
}
BENCH_HELP = (
    "step: of the supernets; train: of the networks; search: a whole search, and how it scales;"
    " ledger: 100,000 genotypes, 20,000 trials"
)


class Parser(ArgumentParser):
    """Options are spelled with dashes; errors are raised, to be printed as one line."""

    def format_help(self, formatter: HelpFormatter | None = None) -> str:
        return re.sub(
            r"--[a-z_.]+", lambda match: match[0].replace("_", "-"), super().format_help(formatter)
        )


def build_parsers() -> dict[str, Parser]:  # noqa: PLR0915 - a list, not a procedure
    """The parser of every verb."""
    parsers = {}
    for verb, text in VERBS.items():
        parser = Parser(prog=f"edarts {verb}", description=text, exit_on_error=False)
        if verb == "train":
            parser.add_argument(
                "genotype",
                nargs="?",
                help="JSON file, run folder, or zoo name such as darts.v2 (see edarts zoo list)",
            )
        if verb == "bench":
            parser.add_argument(
                "group", type=Literal["step", "search", "train", "ledger"], help=BENCH_HELP
            )
            parser.add_argument("--rounds", type=int, default=5, help="steps timed on each side")
        if verb in ("evaluate", "predict"):
            parser.add_argument("run", help="folder of a trained run")
        if verb == "study":
            parser.add_argument("kind", type=Literal[STUDIES], help="what is varied")
        if verb in ("study", "compare"):
            _add_study_options(parser, STUDY_OPTIONS if verb == "study" else COMPARE_OPTIONS)
        if verb == "zoo":
            parser.add_argument(
                "action",
                nargs="?",
                default="list",
                help="list: the comparison table of the eDARTS slides, with the parameters counted"
                " here; show: all that is known of one; draw: NAME.svg and NAME.png",
            )
            parser.add_argument("name", nargs="?", help="zoo name, to show or draw")
            parser.add_argument("--out", help="draw: folder of the drawing; default: this one")
        elif verb == "report":
            parser.add_argument("runs", nargs="+", help="folders of runs or studies")
        elif verb == "predict":
            parser.add_argument("images", nargs="+", help="image files")
        elif verb == "evaluate":
            parser.add_argument(
                "data", nargs="?", help="other data to evaluate on; default: the run's"
            )
        elif verb != "bench":
            parser.add_argument("data", nargs="?", default="digits", help=_help_of_data())
            parser.add_class_arguments(DataConfig, skip={"data"})
            if verb in ("find", "search"):
                parser.add_class_arguments(SearchConfig)
            if verb == "search":
                parser.add_argument(
                    "--storage",
                    help="black-box: URL of the database with the ledger of trials, for many"
                    " machines, such as postgresql+psycopg://USER@HOST/NAME; default: a file of the"
                    " run folder",
                )
            if verb in ("search", "study", "compare"):
                what = "black-box: trials" if verb == "search" else "runs"
                parser.add_argument(
                    "--workers", type=int, default=1, help=f"{what} at once, by Ray; default: 1"
                )
                parser.add_argument(
                    "--ray_address", help="the Ray cluster of the workers; default: this machine"
                )
            if verb == "train":
                parser.add_class_arguments(TrainConfig)
            if verb in ("study", "compare"):
                varied = {"method"} if verb == "compare" else set()
                parser.add_class_arguments(SearchConfig, "search", skip=varied)
            if verb in ("find", "study", "compare"):
                parser.add_class_arguments(TrainConfig, "train")
            if verb == "study":
                parser.set_defaults({"search.method": "darts"})
            if verb in ("study", "compare"):
                parser.set_defaults({"train.valid_fraction": 0.2})
            parser.add_argument("--config", help="YAML file with options, e.g. a run's config.yaml")
            parser.add_argument("--out", help="run folder; default: one below runs/")
            if verb not in ("study", "compare"):
                parser.add_argument(
                    "--seed", type=int, default=0, help="seed of everything but splits"
                )
            parser.add_argument(
                "--checkpoint_seconds",
                type=float,
                default=10.0,
                help="the most work, in seconds, that a killed run repeats",
            )
        if verb not in ("zoo", "report"):
            parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
        if verb in ("find", "search", "train"):
            parser.add_argument(
                "--precision",
                type=Literal["fp32", "bf16", "fp16"],
                default="fp32",
                help="of convolutions and products; weights stay in fp32. fp16 needs a GPU",
            )
            parser.add_argument(
                "--compile",
                action="store_true",
                help="pass networks through torch.compile; needs a C compiler",
            )
        parser.add_argument("--json", action="store_true", help="a JSON object as the last line")
        parser.add_argument("--quiet", action="store_true", help="no progress and no summary")
        parsers[verb] = parser
    return parsers


def _add_study_options(parser: Parser, options: dict[str, tuple[Any, str]]) -> None:
    for name, (kind, text) in options.items():
        if kind is bool:
            parser.add_argument(f"--{name}", action="store_true", help=text)
        else:
            parser.add_argument(f"--{name}", type=kind | None, default=None, help=text)
    parser.add_argument(
        "--seeds",
        type=int | None,
        default=None,
        help="how many: 0, 1, ...; default: 1 for topology, 4 for skips, else 3",
    )
    parser.add_argument(
        "--dry_run",
        action="store_true",
        help="the plan: how many runs, and how long by the first one, which is timed and kept",
    )


def _help_of_data() -> str:
    return (
        "digits, a folder of class folders (with or without train/ and test/), a parquet file or"
        " folder, hf:OWNER/NAME, or an .npz file"
    )


# -- verbs ---------------------------------------------------------------------------------------


def run_find(options: Namespace) -> tuple[Any, str]:
    """`edarts find`: --epochs counts for both phases unless --train.epochs is given."""
    from edarts.api import find

    nested = options.train.as_dict()
    if nested["epochs"] is None and options.epochs is not None:
        nested["epochs"] = options.epochs
    result = find(
        _config(DataConfig, options),
        _config(SearchConfig, options),
        TrainConfig(**nested),
        _session(options),
    )
    return result, _summary_of_find(result)


def run_search(options: Namespace) -> tuple[Any, str]:
    """`edarts search`."""
    from edarts.api import search

    result = search(_config(DataConfig, options), _config(SearchConfig, options), _session(options))
    run, skips = shlex.quote(result["run"]), result["skips"]
    if "trials" in result:
        return result, _summary_of_trials(result, options.data)
    steps, passes = result["steps"], result["passes"]
    return result, "\n".join(
        [
            *_cells(result["genotype"]),
            f"skip connections  {skips['normal']} normal, {skips['reduce']} reduction",
            f"steps             {steps['weight']} weight, {steps['architecture']} architecture",
            f"passes            {passes['forward']} forward, {passes['backward']} backward;"
            f" {result['images_seen']} images seen",
            f"seconds           {_seconds(result['seconds'])}",
            f"run               {result['run']}   (cells drawn in cell.png)",
            f"next              edarts train {run} {shlex.quote(options.data)}",
        ]
    )


def run_train(options: Namespace) -> tuple[Any, str]:
    """`edarts train`."""
    from edarts.api import train_genotype

    if options.genotype is None:
        raise UsageError("train needs a genotype: a JSON file, a run folder or a zoo name")
    result = train_genotype(
        options.genotype,
        _config(DataConfig, options),
        _config(TrainConfig, options),
        _session(options),
    )
    run = shlex.quote(result["run"])
    held = (
        [f"valid accuracy    {result['valid_accuracy']:.2%} (held out of the training split)"]
        if "valid_accuracy" in result
        else []
    )
    return result, "\n".join(
        [
            *_cells(result["genotype"]),
            f"train accuracy    {result['train_accuracy']:.2%} (augmented images, last epoch)",
            *held,
            *_size(result),
            f"seconds           {_seconds(result['seconds'])}",
            f"run               {result['run']}",
            f"next              edarts evaluate {run}",
        ]
    )


def run_evaluate(options: Namespace) -> tuple[Any, str]:
    """`edarts evaluate`."""
    from edarts.api import evaluate_run

    result = evaluate_run(options.run, options.data, _session(options))
    return result, "\n".join([_accuracy(result), *_size(result)])


def run_predict(options: Namespace) -> tuple[Any, str]:
    """`edarts predict`."""
    from edarts.api import predict

    rows = predict(options.run, options.images, _session(options))
    return rows, "\n".join(f"{r['file']}  {r['class']}  {r['probability']:.4f}" for r in rows)


def run_study(options: Namespace) -> tuple[Any, str]:
    """`edarts study`."""
    return _study(options.kind, options, STUDY_OPTIONS)


def run_compare(options: Namespace) -> tuple[Any, str]:
    """`edarts compare`."""
    return _study("compare", options, COMPARE_OPTIONS)


def _study(
    name: str, options: Namespace, known: dict[str, tuple[Any, str]]
) -> tuple[dict[str, Any], str]:
    from edarts import registry
    from edarts.runs.progress import clock
    from edarts.studies.adapters import study
    from edarts.studies.base import Recipe

    given = {key: options[key] for key in known if options[key]}
    taken = {f.name for f in dataclasses.fields(registry.get("studies", name).Options)}
    for key in given:
        if key not in taken:
            raise UsageError(f"study {name} takes no --{key.replace('_', '-')}")
    search = {key: value for key, value in options.search.as_dict().items() if value is not None}
    recipe = Recipe(SearchConfig(**search), TrainConfig(**options.train.as_dict()), options.seeds)
    report = study(
        name,
        _config(DataConfig, options),
        recipe,
        _session(options),
        dry_run=options.dry_run,
        **given,
    )
    plan = report.plan
    left = "unknown time" if plan.seconds_left is None else clock(plan.seconds_left)
    going = [] if plan.finished == plan.runs else [f"; about {left} to go"]
    return report.to_dict(), "\n".join(
        [
            *report.sentences,
            f"runs              {plan.finished} of {plan.runs}, {len(report.failed)} failed"
            + "".join(going),
            *(f"failed            {row.name}: {row.reason}" for row in report.failed),
            f"study             {report.run}   (report.html, rows.csv, study.json)",
        ]
    )


def run_report(options: Namespace) -> tuple[Any, str]:
    """`edarts report`."""
    from edarts.studies.driver import write_report

    paths = [str(write_report(Path(run))) for run in options.runs]
    return {"files": paths}, "\n".join(paths)


def run_bench(options: Namespace) -> tuple[Any, str]:
    """`edarts bench`."""
    from edarts.bench.steps import bench
    from edarts.runs.progress import Progress

    if options.rounds < 1:
        raise UsageError(f"rounds must be at least 1, got {options.rounds}")
    progress = Progress(quiet=options.quiet)
    if options.group == "ledger":
        from edarts.bench.ledger import bench_ledger

        result = bench_ledger(options.rounds, progress)
        lines = [f"{r['what']:48}{r['seconds']:10.4f} s" for r in result["rows"]]
        return result, "\n".join([_machine_line(result["machine"]), *lines])
    result = bench(options.group, options.rounds, options.device, progress)
    lines = [
        _machine_line(result["machine"]),
        f"{'':24}{'seconds':>20}{'':8}{'MiB':>17}{'':8}{'error':>9}{'rounding':>10}{'images/s':>10}{'GFLOP/s':>9}",
        f"{'':24}{'textbook':>10}{'ours':>10}{'ratio':>8}{'textbook':>9}{'ours':>8}{'ratio':>8}",
    ]
    lines += [
        f"{r['what']:24}{r['textbook_s']:10.3f}{r['ours_s']:10.3f}{r['time_ratio']:8.2f}"
        f"{r['textbook_mib']:9.0f}{r['ours_mib']:8.0f}{r['memory_ratio']:8.2f}"
        f"{r['max_relative_error']:9.0e}{r['rounding']:10.0e}{r['images_per_second']:10.0f}{r['gflops']:9.1f}"
        for r in result["rows"]
    ]
    lines += [
        f"{r['what'] + ' ' + str(r['value']):24}{r['epoch_s']:20.2f} s for an epoch"
        for r in result["scaling"]
    ]
    return result, "\n".join(lines)


def _machine_line(machine: dict[str, Any]) -> str:
    return (
        f"{machine['device']}, {machine['threads']} threads, torch {machine['torch']},"
        f" numba {machine['numba']}; a large matrix product: {machine['matrix_product_gflops']}"
        " GFLOP/s"
    )


def run_zoo(options: Namespace) -> tuple[Any, str]:
    """`edarts zoo`."""
    from edarts.reporting import drawing as report
    from edarts.space import zoo

    action, name = options.action, options.name
    if action not in ZOO_ACTIONS:
        raise unknown("zoo action", action, ZOO_ACTIONS)
    if (action == "list") != (name is None):
        raise UsageError(
            f"zoo {action} needs a name; `edarts zoo list` lists them"
            if name is None
            else f"zoo list takes no name; `edarts zoo show {name}` shows one"
        )
    if options.out is not None and action != "draw":
        raise UsageError(f"--out is for zoo draw; zoo {action} writes no file")
    if action == "list":
        rows = zoo.rows()
        return rows, zoo.table(rows)
    entry = zoo.get(name)
    if action == "show":
        return entry.to_dict(), entry.describe()
    paths = report.draw(entry.architecture, Path(options.out or "."), title=name, stem=name)
    return {"name": name, "files": [str(p) for p in paths]}, "\n".join(map(str, paths))


ACTIONS: dict[str, Callable[[Namespace], tuple[Any, str]]] = {
    "find": run_find,
    "search": run_search,
    "train": run_train,
    "evaluate": run_evaluate,
    "predict": run_predict,
    "study": run_study,
    "compare": run_compare,
    "report": run_report,
    "bench": run_bench,
    "zoo": run_zoo,
}


# -- from options, to text -----------------------------------------------------------------------


def _config(kind: Any, options: Namespace) -> Any:
    return kind(**{f.name: options[f.name] for f in dataclasses.fields(kind)})


def _session(options: Namespace) -> "Session":
    from edarts.api import Session
    from edarts.runs.progress import Progress

    names = {f.name for f in dataclasses.fields(Session)} & set(vars(options))
    return Session(
        **{name: options[name] for name in names}, progress=Progress(quiet=options.quiet)
    )


def _summary_of_find(result: dict[str, Any]) -> str:
    run, skips = shlex.quote(result["run"]), result["skips"]
    return "\n".join(
        [
            *_cells(result["genotype"]),
            f"skip connections  {skips['normal']} normal, {skips['reduce']} reduction",
            _accuracy(result),
            *_size(result),
            f"seconds           {_seconds(result['seconds'])}",
            f"run               {result['run']}   (cells drawn in cell.png, model in"
            " model.safetensors)",
            f"next              edarts predict {run} IMAGE...",
            f"                  edarts evaluate {run} OTHER_DATA",
            f"                  edarts train {run} DATA --size full",
        ]
    )


def _summary_of_trials(result: dict[str, Any], data: str) -> str:
    trials, run = result["trials"], shlex.quote(result["run"])
    return "\n".join(
        [
            *_cells(result["genotype"]),
            f"score             {result['score']:.4f} (best of the search, so too good a guess)",
            f"trials            {trials['scored']} scored, {trials['known']} known already,"
            f" {trials['failed']} failed",
            f"seconds           {_seconds(result['seconds'])}, of all trials together",
            f"ledger            {result['storage']}, study {result['study']}",
            f"run               {result['run']}   (cells drawn in cell.png)",
            f"next              edarts train {run} {shlex.quote(data)}",
        ]
    )


def _cells(fields: dict[str, Any]) -> list[str]:
    from edarts.space import architecture
    from edarts.space.genotype import Genotype

    genotype = architecture.from_dict(fields)
    if not isinstance(genotype, Genotype):
        return [f"network           {genotype}"]
    return [
        f"normal cell       {genotype.describe('normal')}",
        f"reduction cell    {genotype.describe('reduce')}",
    ]


def _accuracy(result: dict[str, Any]) -> str:
    low, high = result["test_accuracy_ci95"]
    return (
        f"test accuracy     {result['test_accuracy']:.2%}, 95 % interval {low:.2%} to {high:.2%}"
        f" ({result['test_images']} images)"
    )


def _size(result: dict[str, Any]) -> list[str]:
    return [
        f"parameters        {result['parameters']:,}",
        f"FLOPs             {result['flops']:,} multiply-adds per image",
    ]


def _seconds(seconds: dict[str, float]) -> str:
    return ", ".join(f"{phase} {value:.1f}" for phase, value in seconds.items())


# -- parsing -------------------------------------------------------------------------------------


def parse(argv: Sequence[str]) -> tuple[str, Namespace]:
    """The verb and its options. Raises UsageError; exits after --help."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_overview())
        sys.exit(0 if argv else 2)
    if argv[0] == "--version":
        print(f"edarts {__version__}")
        sys.exit(0)
    verb = argv[0]
    if verb not in VERBS:
        raise unknown("option" if verb.startswith("-") else "verb", verb, VERBS)
    parser = build_parsers()[verb]
    words = _known_options(_joined_score(argv[1:]), parser)
    _take_config(words, parser, verb)
    try:
        return verb, parser.parse_args(words)
    except Exception as error:  # jsonargparse wraps argparse's in its own
        raise UsageError(_readable(str(error))) from None


def _joined_score(words: Sequence[str]) -> list[str]:
    """`--score table FILE` becomes `--score=table:FILE`, the form that config.yaml has."""
    result = list(words)
    for place, (word, kind) in enumerate(pairwise(words)):
        file = words[place + 2 : place + 3]
        if word == "--score" and kind in ("supernet", "table") and file:
            result[place : place + 3] = [f"--score={kind}:{file[0]}"]
    return result


def _known_options(words: Sequence[str], parser: Parser) -> list[str]:
    """Dashes to underscores; an option that the verb does not have is refused by name."""
    known = {
        option.lstrip("-").replace("_", "-")
        for option in parser._option_string_actions
        if option.startswith("--")
    }
    result: list[str] = []
    for place, word in enumerate(words):
        if word == "--":
            return [*result, *words[place:]]
        if word.startswith("--"):
            name, sign, value = word.partition("=")
            plain = name[2:].replace("_", "-")
            if plain not in known:
                hidden = ("print-config",)
                raise unknown("option", name, [f"--{k}" for k in known if k not in hidden])
            following = words[place + 1] if place + 1 < len(words) else ""
            if not sign and _is_switch(plain) and following not in ("true", "false", "null"):
                sign, value = "=", "true"
            word = "--" + plain.replace("-", "_") + sign + value  # noqa: PLW2901
        result.append(word)
    return result


def _is_switch(option: str) -> bool:
    """Whether an option of the configs is true or false, so that it may stand alone."""
    return _expected(option.replace("-", "_")) == "true or false"


def _take_config(words: list[str], parser: Parser, verb: str) -> None:
    """Make the values of --config FILE the defaults, so that options given beside it win."""
    for place, word in enumerate(words):
        if word == "--config" and place + 1 < len(words):
            path = words[place + 1]
        elif word.startswith("--config="):
            path = word.partition("=")[2]
        else:
            continue
        settings = read_yaml(path)
        if verb == "search":
            settings.pop("train", None)  # the config of `find` holds a training as well
        flat: dict[str, Any] = {}
        for key, value in settings.items():
            flat |= (
                {f"{key}.{k}": v for k, v in value.items()}
                if isinstance(value, dict)
                else {str(key): value}
            )
        known = set(vars(parser.get_defaults().as_flat()))
        for key in flat:
            if key.replace("-", "_") not in known:
                raise UsageError(f"{path}: {unknown('option', key, known)}")
        parser.set_defaults({key.replace("-", "_"): value for key, value in flat.items()})


def _readable(message: str) -> str:
    """jsonargparse's message in one line, with the option's name and what it takes."""
    text = " ".join(message.split())
    key = re.search(r'[Pp]arser key "([\w.]+)"', text)
    value = re.search(r"(?:Given value|Got value): (.*)$", text)
    if key is None or value is None:
        return text.removeprefix("error: ")
    return f"--{key[1].replace('_', '-')}: expected {_expected(key[1])}, got {value[1].strip()}"


def _expected(key: str) -> str:
    """In words, what the option of that name takes."""
    kinds: dict[str, Any] = {"seed": int, "checkpoint_seconds": float, "workers": int}
    for config in (TrainConfig, SearchConfig, DataConfig):
        kinds |= typing.get_type_hints(config)
    kind = kinds.get(key.rpartition(".")[2], str)
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        kind = next(k for k in typing.get_args(kind) if k is not type(None))
    if typing.get_origin(kind) is Literal:
        return " or ".join(map(str, typing.get_args(kind)))
    names = {int: "a whole number", float: "a number", bool: "true or false"}
    return names.get(kind, "text")


def _overview() -> str:
    rows = [f"  {verb:10}{text}" for verb, text in VERBS.items()]
    return "\n".join(
        [
            "usage: edarts VERB [options]   (edarts VERB --help lists them)",
            "",
            DESCRIPTION,
            "",
            *rows,
            "",
            f"one-shot methods: {', '.join(methods.names())}",
            f"black-box methods: {', '.join(samplers.names())}, optuna:NAME",
            EPILOG,
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    if ranks.first():
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
        if ranks.count() > 1 and verb not in PARALLEL:
            raise UsageError(f"{verb} runs in one process; torchrun is for {', '.join(PARALLEL)}")
        result, summary = ACTIONS[verb](options)
        if not options.quiet:
            print(summary, flush=True)
        if options.json:
            print(json.dumps(result), flush=True)
    except Interrupted as stop:
        print(f"edarts: {stop}; to continue: {_again(words)}", file=sys.stderr)
        return stop.exit_code
    except KeyboardInterrupt:
        print(f"edarts: interrupted; to continue: {_again(words)}", file=sys.stderr)
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
    return 0


def _again(words: Sequence[str]) -> str:
    """The command that was given."""
    many = f"torchrun --nproc-per-node {ranks.count()} -m " if ranks.count() > 1 else ""
    return many + shlex.join(["edarts", *words])


def _unforeseen(error: Exception) -> str:
    text = one_line(error)
    if isinstance(error, MemoryError) or "out of memory" in text or "can't allocate" in text:
        return "out of memory; give a smaller --batch-size, --channels or --image-size"
    return f"{type(error).__name__}: {text} (a bug; EDARTS_DEBUG=1 shows where)"
