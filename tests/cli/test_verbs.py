"""The verbs: their help, whose options they take, what they call, and shell completion."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from edarts import registry
from edarts.cli.parser import Given
from edarts.cli.verbs import VERBS
from support import fails, help_of

COMPLETE = """
source $0
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}; COMP_TYPE=9
function=$(complete -p edarts | sed 's/.*-F \\([^ ]*\\).*/\\1/')
$function edarts "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""
HEAVY = ("torch", "optuna", "numba", "matplotlib", "scipy", "datasets", "sklearn")


def test_help_imports_nothing_heavy() -> None:
    """Of the root and of every verb: so it takes less than half a second."""
    code = f"""
import contextlib, io, sys
from edarts.cli.main import main
from edarts.cli.verbs import VERBS
for verb in ["", *VERBS, *(["study", kind] for kind in ("depth", "skips", "topology"))]:
    words = [verb] if isinstance(verb, str) else verb
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        main([*filter(None, words), "--help"])
    assert out.getvalue().startswith("usage: edarts"), verb
    heavy = set({HEAVY}) & set(sys.modules)
    assert not heavy, (verb, heavy)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_root_help_lists_verbs_and_methods(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(capsys)
    for name, verb in VERBS.items():
        assert f"{name} {verb.help}" in text
    for name in (*registry.names("methods"), *registry.names("samplers")):
        assert name in text


def test_help_shows_the_options_of_a_method_with_its_papers_values(
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain = help_of(capsys, "search")
    assert "Share of the training images" in plain
    assert "--data-fraction" in plain
    assert "fair_darts" in plain
    assert "--threshold" not in plain
    text = help_of(capsys, "search", "--method", "pc_darts")
    for part in (
        "--batch-size N Images per step. (default: 256)",
        "(such as 0.25); the rest goes around them. (default: 0.25)",
        "--lr-min X Learning rate that the cosine ends at. (default: 0)",
        "--warm-up X Share of the epochs, in each stage, that train the weights alone (0..1, 1"
        " excluded). (default: 0.3)",
        "space darts: --operations TEXT",
        "NORMAL/REDUCE. (default: all)",
        "--arch-update step|epoch|joint",
    ):
        assert part in text
    text = help_of(capsys, "search", "--method=fair_darts")
    assert "method fair_darts: --zero-one X Factor of the loss" in text
    assert "drives weights to zero or one. (default: 10)" in text
    assert "--threshold X Least weight of an operation that is kept (0..1). (default: 0.85)" in text
    assert "sep_conv_3x3,sep_conv_5x5" in text.replace(" ", "")  # its own operations, not DARTS'
    text = help_of(capsys, "search", "--method", "regularized_evolution", "--space", "motifs")
    assert "--population N" in text
    assert "space motifs:" in text


def test_help_shows_the_options_of_other_plug_ins(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = help_of(capsys, "study", "topology")
    assert "study topology: --operation TEXT" in text
    assert "--halving [true|false]" in text
    assert "--train.valid-fraction X" in text
    assert "(default: 0.2)" in text
    assert "--operation " not in help_of(capsys, "study", "depth")
    assert "--methods TEXT Methods, one-shot or black-box" in help_of(capsys, "compare")
    assert "--search.method" not in help_of(capsys, "compare")
    assert "--train.method" not in help_of(capsys, "find")
    text = help_of(capsys, "train", "--recipe", "darts")
    assert (
        "--auxiliary X Weight of the auxiliary head's loss; 0 builds none. (default: 0.4)" in text
    )
    text = help_of(capsys, "export", "--format", "torch")
    assert "One of onnx, python, space, torch. (default: torch)" in text and "--int8" not in text
    assert "--int8 [true|false]" in help_of(capsys, "export", "--format", "onnx")
    data = tmp_path / "x.parquet"
    data.touch()
    assert "--label-column TEXT" in help_of(capsys, "search", str(data))
    assert "--label-column" not in help_of(capsys, "search", "digits")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["search", "--threshold", "0.5"],
            "takes no --threshold here (methods that do: fair_darts)",
        ),
        (["find", "--constraint", "mild"], "takes no --constraint here (methods that do: snas)"),
        (["search", "--trials", "5"], "takes no --trials here (samplers that do: hierarchical_evo"),
        (
            ["search", "--method", "enas", "--topology", "1"],
            "--topology here (spaces that do: darts",
        ),
        (["study", "topology", "--cells", "5"], "takes no --cells here (studies that do: depth)"),
        (
            ["study", "depth", "--search.threshold", "1"],
            "takes no --search.threshold here (methods",
        ),
        (["search", "--label-column", "x"], "takes no --label-column here (sources that do: "),
        (["search", "--thresold", "0.5"], "unknown option '--thresold'; did you mean"),
        (["search", "--bach-size", "5"], "unknown option '--bach-size'; did you mean --batch-size"),
        (["train", "--threshold", "0.5"], "unknown option '--threshold'"),
        (["zoo", "list", "--seed", "1"], "unknown option '--seed'"),
        (["evaluate", "x", "--precision", "bf16"], "unknown option '--precision'; did you mean"),
    ],
)
def test_an_option_of_others_is_refused_with_those_that_have_it(
    capsys: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    assert message in fails(capsys, 2, *argv)


@pytest.mark.parametrize("name", [name for name in VERBS if name != "check"])
def test_a_verb_is_called_with_what_its_function_takes(name: str) -> None:
    verb = VERBS[name]
    function = registry.locate(verb.function or f"edarts:{name}")
    taken = inspect.signature(function).parameters
    given = {option.name for option in verb.own} | {part.argument for part in verb.parts}
    if name == "compare":  # whose others are those of `study`
        taken = inspect.signature(registry.locate("edarts.api:study")).parameters
    assert given | ({"session"} if verb.session else set()) <= set(taken)
    parser = verb.parser(name, Given([]))
    assert set(parser.sections.values()) <= {"own", "shown", "session", *given}


def test_torchrun_is_for_some_verbs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    line = fails(capsys, 2, "zoo", "list")
    assert "zoo runs in one process; torchrun is for find, search, train" in line


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The completion script for bash."""
    path = tmp_path_factory.mktemp("completion") / "edarts.bash"
    command = [sys.executable, "-m", "edarts", "--print-completion", "bash"]
    path.write_text(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return path


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["se"], {"search"}),
        (["search", "--method", "p"], {"p_darts", "pc_darts", "proxyless", "pnas"}),
        (["search", "--space", "e"], {"enas"}),
        (["search", "--arch-update", "j"], {"joint"}),
        (["search", "--arch-l"], {"--arch-lr"}),
        (["train", "--recipe", "s"], {"shallow"}),
        (["train", "pc"], {"pc_darts.cifar10"}),
        (["train", "densenet_bc"], {"densenet_bc", "densenet_bc.l100_k12", "densenet_bc.l190_k40"}),
        (["zoo", "show", "darts."], {"darts.v1", "darts.v2"}),
        (["study", "to"], {"topology"}),
        (["find", "--train.recipe", "f"], {"fast"}),
    ],
)
def test_bash_completes(script: Path, words: list[str], expected: set[str]) -> None:
    command = ["bash", "--norc", "-c", COMPLETE, str(script), "edarts", *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert set(done.stdout.split()) == expected


def test_zsh_has_a_script_too(capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-m", "edarts", "--print-completion=zsh"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.startswith("#compdef edarts")
    assert "pc_darts.cifar10" in done.stdout
