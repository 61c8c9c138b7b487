"""A package of plug-ins: with it, without it, and one that cannot be imported."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

import edarts
import lab_plugins
from edarts import registry
from edarts.config import SearchConfig, TrainConfig
from edarts.runs.progress import Progress
from edarts.runtime import Session
from processes import Forked
from support import write_images

LAB = {  # group -> name and where it is
    "methods": ("lab_sharp", "lab_plugins:Sharp"),
    "samplers": ("lab_climb", "lab_plugins:Climb"),
    "operations": ("lab_conv", "lab_plugins:SQUARE"),
    "spaces": ("lab_chain", "lab_plugins:ChainSpace"),
    "sources": ("lab_stripes", "lab_plugins:Stripes"),
    "recipes": ("lab_brisk", "lab_plugins:Brisk"),
    "baselines": ("lab_plain", "lab_plugins:Plain"),
    "studies": ("lab_widths", "lab_plugins:Widths"),
    "exports": ("lab_numbers", "lab_plugins:Numbers"),
}
MADE = "lab-plugins 1.0"
BROKEN = {group: (f"broken_{group}", "broken_plugins:Absent") for group in LAB}

TINY = "--cells 2 --channels 4 --epochs 1 --batch-size 16 --device cpu"
SEARCH = f"search stripes:2 --noise 30 {TINY} --data-fraction 1"
TRAIN = "--recipe lab_brisk --ramp 2 --device cpu --out"
STUDY = "--train.recipe lab_brisk --train.cells 2 --device cpu"
HELP = {  # command -> what its help shows
    "search --help": "lab_sharp lab_climb lab_chain stripes:N",
    "train --help": "lab_brisk",
    "study --help": "lab_widths",
    "export --help": "lab_numbers",
    "search --method lab_sharp --help": "--sharpness",
    "search --method lab_climb --help": "--first",
    "search --space lab_chain --help": "--layers",
    "search stripes:3 --help": "--noise",
    "train --recipe lab_brisk --help": "--ramp",
    "study lab_widths --help": "--widths",
    "export --format lab_numbers --help": "--digits",
}
REFUSED = {  # command -> the names that its error lists
    "train nonsense_plain": "lab_plain",
    "search --operations lab_con": "lab_conv",
}
RUNS = {
    "method": f"{SEARCH} --method lab_sharp --sharpness 3 --out method --topology 0"
    " --operations skip_connect,lab_conv",
    "space": f"{SEARCH} --method lab_sharp --space lab_chain --layers 2 --out space",
    "sampler": f"{SEARCH} --method lab_climb --trials 3 --first 2 --space lab_chain --out sampler",
    "network": f"train method stripes:2 {TRAIN} network",
    "chain": f"train space stripes:2 {TRAIN} chain",
    "baseline": f"train lab_plain stripes:2 {TRAIN} baseline",
    "data": "train darts.v2 stripes:2 --recipe lab_brisk --device cpu --out data",
    "study": f"study lab_widths stripes:2 --widths 2,3 {STUDY} --out study",
}
AGAIN = (
    "evaluate network",
    "evaluate baseline",
    "predict chain image.png",
    "predict baseline image.png",
    "export network --format lab_numbers --digits 3 --out weights.txt",
    RUNS["method"],  # resumed: it is done
    "report method sampler study",
)
MISSING = {  # command without the package -> the plug-in of the run that is missing
    "evaluate network": "network: operation lab_conv",
    "evaluate chain": "chain: space lab_chain",
    "evaluate baseline": "baseline: baseline lab_plain",
    "evaluate data": "data: data source lab_stripes",
    "predict baseline image.png": "baseline: baseline lab_plain",
    "export chain": "chain: space lab_chain",
    "train method digits": "method: operation lab_conv",
    "report study": "study: study lab_widths",
}
# Many commands in one process, so that torch starts once.
MANY = """
import contextlib, io, json, sys
from edarts.cli.main import main
for words in sys.argv[1:]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(words.split())
        except SystemExit as end:
            code = end.code
    print(json.dumps([code, out.getvalue(), err.getvalue()]), file=sys.__stdout__, flush=True)
"""
Result = tuple[int, str, str]
"""Exit code, what was printed, and what went to stderr."""
Points = Mapping[str, tuple[str, str]]
"""Group -> name and path of an entry point."""


def install(folder: Path, package: str, module: str, source: str, points: Points) -> Path:
    """A folder that holds a package, version 1.0, as pip installs it; returns `folder`."""
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / f"{module}.py").write_text(source, encoding="utf-8")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"[edarts.{group}]\n{name} = {path}\n" for group, (name, path) in points.items()]
    (info / "entry_points.txt").write_text("".join(lines))
    return folder


def commands(folder: Path, words: Sequence[str], *packages: Path) -> list[Result]:
    """The results of some commands, in a process of their own, with these packages installed."""
    many = folder / "many.py"
    many.write_text(MANY)
    found = Forked([str(many), *words], folder, packages=packages)
    code = found.wait()
    results = [tuple(json.loads(line)) for line in found.out.splitlines()]
    assert code == 0 and len(results) == len(words), found.err
    return results


def shown(words: Sequence[str], results: Sequence[Result]) -> list[str]:
    """What each command printed; all went well."""
    for command, (code, _, err) in zip(words, results, strict=True):
        assert code == 0, f"{command}: {err}"
    return [out for _, out, _ in results]


def told(result: Result, code: int = 1) -> str:
    """What a command that failed said, on its one line."""
    assert result[0] == code, result
    notice = "compiling the fast loops"  # where they are not in the cache yet
    lines = [line for line in result[2].splitlines() if not line.startswith(notice)]
    assert len(lines) == 1, lines
    return lines[0]


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    source = Path(__file__).with_name("lab_plugins.py").read_text(encoding="utf-8")
    return install(tmp_path / "lab", "lab-plugins", "lab_plugins", source, LAB)


@pytest.mark.processes
def test_a_package_adds_one_of_each_group(tmp_path: Path, lab: Path) -> None:
    """Listed, run, saved, loaded in a new process; without the package a run says what it needs."""
    write_images(tmp_path / "images", {"one": 1}, (8, 8))
    (tmp_path / "images" / "one" / "0.png").rename(tmp_path / "image.png")
    words = [*HELP, *REFUSED, *(f"{run} --json --quiet" for run in RUNS.values())]
    results = commands(tmp_path, words, lab)
    helps = shown([*HELP], results[: len(HELP)])
    for (command, names), text in zip(HELP.items(), helps, strict=True):
        assert all(name in text for name in names.split()), f"{command}: {text}"
    runs = results[len(HELP) + len(REFUSED) :]
    for name, result in zip(REFUSED.values(), results[len(HELP) :], strict=False):
        assert name in told(result, 2)
    reports = map(json.loads, shown([*RUNS], runs))
    check_runs(tmp_path, dict(zip(RUNS, reports, strict=True)))
    again = [f"{command} --json --quiet" for command in AGAIN]
    check_again(tmp_path, [json.loads(o) for o in shown(again, commands(tmp_path, again, lab))])
    for (command, what), result in zip(
        MISSING.items(), commands(tmp_path, [*MISSING]), strict=True
    ):
        assert told(result) == (
            f"edarts: error: {what} is not here; this run was made with {MADE}:"
            " pip install lab-plugins"
        ), command


def check_runs(folder: Path, reports: Mapping[str, Any]) -> None:
    """Each run keeps the options of its plug-ins, and which package they came from."""
    for run, plugins in {
        "method": ("methods lab_sharp", "operations lab_conv", "sources lab_stripes"),
        "space": ("methods lab_sharp", "spaces lab_chain"),
        "sampler": ("samplers lab_climb", "spaces lab_chain"),
        "network": ("recipes lab_brisk", "operations lab_conv"),
        "baseline": ("baselines lab_plain",),
        "study": ("studies lab_widths",),
    }.items():
        recorded = json.loads((folder / run / "environment.json").read_text())["plugins"]
        assert {name: recorded.get(name) for name in plugins} == dict.fromkeys(plugins, MADE)
    for run, settings in {
        "method": {"method": "lab_sharp", "sharpness": 3.0, "noise": 30},
        "space": {"space": "lab_chain", "layers": 2},
        "sampler": {"method": "lab_climb", "first": 2, "layers": 3},
        "network": {"recipe": "lab_brisk", "ramp": 2, "noise": 20},
        "study": {"study": "lab_widths", "widths": "2,3"},
    }.items():
        kept = yaml.safe_load((folder / run / "config.yaml").read_text())
        assert {name: kept.get(name) for name in settings} == settings
    model = json.loads((folder / "baseline" / "model.json").read_text())
    assert model["genotype"] == {"format": "baselines.lab_plain/1", "width": 8}
    assert model["plugins"]["baselines lab_plain"] == MADE
    chain = json.loads((folder / "space" / "genotype.json").read_text())
    assert chain["format"] == "spaces.lab_chain/1"
    assert len(chain["layers"]) == 2
    assert sum(reports["sampler"]["trials"].values()) == 3
    assert [row["width"] for row in reports["study"]["rows"]] == [2, 3]


def check_again(folder: Path, reports: Sequence[Any]) -> None:
    """What another process made of the runs."""
    network, baseline, (chain,), (plain,) = reports[:4]
    for evaluated in (network, baseline):
        assert 0 <= evaluated["test_accuracy"] <= 1
        assert evaluated["test_images"] == 12
    for predicted in (chain, plain):
        assert predicted["class"] in ("period 2", "period 4")
    numbers = (folder / "weights.txt").read_text().splitlines()
    model = json.loads((folder / "network" / "model.json").read_text())
    assert len(numbers) == model["parameters"]
    for run in ("method", "sampler", "study"):
        assert (folder / run / "report.html").exists()


@pytest.mark.processes
def test_a_plugin_that_raises_is_named_and_the_rest_works(tmp_path: Path, lab: Path) -> None:
    source = "raise RuntimeError('the licence has\\nexpired')\n"
    broken = install(tmp_path / "broken", "broken-lab", "broken_plugins", source, BROKEN)
    why = "of package broken-lab 1.0 cannot be imported: RuntimeError: the licence has expired"
    refused = {
        "search --method broken_methods": "method broken_methods",
        "search --method broken_samplers": "black-box method broken_samplers",
        "search --space broken_spaces": "space broken_spaces",
        "search --operations skip_connect,broken_operations": "operation broken_operations",
        "train darts.v2 --recipe broken_recipes": "recipe broken_recipes",
        "train broken_baselines": "baseline broken_baselines",
        "study broken_studies": "study broken_studies",
    }
    works = [
        "search --help",
        "train --help",
        f"train darts.v2 stripes:2 {TRAIN} well --cells 2",
        "export well --format lab_numbers",
        *(f"check {group}.{LAB[group][0]}" for group in ("operations", "spaces", "baselines")),
    ]
    last = ["export well --format broken_exports", "train darts.v2 nowhere:1"]
    checked = [f"check {name} --json" for name, _ in BROKEN.values()]
    results = commands(tmp_path, [*refused, *works, *last, *checked], broken, lab)
    for (command, what), result in zip(refused.items(), results, strict=False):
        assert told(result) == f"edarts: error: {what} {why}", command
    results = results[len(refused) :]
    printed = shown(works, results[: len(works)])
    assert "broken_methods" in printed[0]
    export, nowhere = map(told, results[len(works) : len(works) + len(last)])
    assert export == f"edarts: error: export format broken_exports {why}"
    assert f"data source broken_sources {why}" in nowhere
    for (group, (name, _)), (code, out, err) in zip(
        BROKEN.items(), results[len(works) + len(last) :], strict=True
    ):
        assert code == 1, err
        (check,) = json.loads(out.splitlines()[-1])["checks"]
        assert (check["plugin"], check["check"]) == (f"{group}.{name}", "import")
        assert check["outcome"] == "failed"
        assert why in check["reason"]


def test_objects_are_handed_in_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each stands where its name would stand; a process without them says that they are missing."""

    def session(name: str) -> Session:
        return Session(out=tmp_path / name, device="cpu", progress=Progress(quiet=True))

    registry.add("sources", lab_plugins.Stripes())
    registry.add("operations", lab_plugins.SQUARE)
    registry.add("baselines", lab_plugins.Plain)
    data = edarts.DataConfig.of("stripes:2", noise=5)
    tiny: dict[str, Any] = {"cells": 1, "channels": 4, "epochs": 1, "batch_size": 24}
    config = SearchConfig.of(lab_plugins.Sharp, space=lab_plugins.ChainSpace, sharpness=3, **tiny)
    found = edarts.search(data, config, session("search"))
    assert isinstance(found.genotype, lab_plugins.Chain)
    sampler = SearchConfig.of(lab_plugins.Climb, space=lab_plugins.ChainSpace, trials=2, **tiny)
    assert edarts.search(data, sampler, session("sampler")).genotype in lab_plugins.ChainSpace()
    recipe = TrainConfig.of(lab_plugins.Brisk, ramp=1, epochs=1)
    edarts.train(found.genotype, data, recipe, session("chain"))
    edarts.train(lab_plugins.Plain(4), data, recipe, session("plain"))
    assert edarts.load_model(tmp_path / "plain").architecture == lab_plugins.Plain(4)
    (file,) = edarts.export(tmp_path / "chain", lab_plugins.Numbers, digits=2).files
    assert file.exists()
    ranked = TrainConfig.of(lab_plugins.Brisk, epochs=1, valid_fraction=0.2)
    asked: Any = lab_plugins.Widths
    report = edarts.study(asked, data, None, ranked, session("study"), widths="2")
    assert [row.get("width") for row in report.rows] == [2]
    assert set(registry.used()) == {
        "sources Stripes",
        "operations lab_conv",
        "baselines lab_plain",
        "methods Sharp",
        "spaces lab_chain",
        "samplers Climb",
        "recipes Brisk",
        "exports Numbers",
        "studies Widths",
    }
    registry._handed_in.clear()
    with pytest.raises(
        edarts.EdartsError, match="chain: space lab_chain is not here; this run was"
    ) as e:
        edarts.load_model(tmp_path / "chain")
    made = "this run was made with an object handed in from Python"
    assert str(e.value).endswith(f"{made}: give it to edarts.registry.add first")
