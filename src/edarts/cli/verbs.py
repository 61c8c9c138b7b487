"""The verbs as data: what each is called with, and the function of the library that it calls."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from edarts import registry
from edarts.cli.parser import Given, Parser, Values
from edarts.config import CANDIDATES, Budget, DataConfig, SearchConfig, TrainConfig, options
from edarts.config.options import Option
from edarts.runs.progress import Progress
from edarts.runtime import Session

RUN = ("out", "seed", "checkpoint_seconds", "device", "precision", "compile", "log")
POOL = ("storage", "workers", "ray_address")
STUDY = ("out", "checkpoint_seconds", "device", "workers", "ray_address")


@dataclass(frozen=True)
class Part:
    """Options that become one argument of the library's function, by `of`, and begin with `prefix`.

    `options` lists them, by what is given; plug-ins of `groups` have some. `usual`: the verb's own.
    """

    argument: str
    of: Callable[..., Any]
    options: Callable[["Part", Given], Iterable[Option]]
    groups: tuple[str, ...]
    prefix: str = ""
    usual: Mapping[str, Any] = field(default_factory=dict)


def _search(part: Part, given: Given) -> Iterable[Option]:
    method = given.get(f"{part.prefix}method", part.usual["method"])
    return options.of_search([method], given.get(f"{part.prefix}space"))


def _searches(part: Part, given: Given) -> Iterable[Option]:
    methods = given.get("methods", registry.get("studies", "compare").Options.methods).split(",")
    return options.of_search(methods, given.get(f"{part.prefix}space"), skip=("method",))


def _train(part: Part, given: Given) -> Iterable[Option]:
    return options.of_training(given.get(f"{part.prefix}recipe", TrainConfig.recipe), part.usual)


METHODS = ("methods", "samplers", "spaces")
DATA = Part("data", DataConfig.of, lambda _, given: options.of_data(given.plain), ("sources",))
SEARCH = Part("search_config", SearchConfig.of, _search, METHODS, usual={"method": "edarts"})
SEARCHES = Part("search_config", SearchConfig.of_many, _searches, METHODS, "search.")
TRAIN = Part("train_config", TrainConfig.of, _train, ("recipes",))
BUDGET = Part("budget", Budget, lambda *_: options.of_fields(Budget, "limits"), ())
# A study ranks cells on training images that it holds out.
TRAINED = replace(TRAIN, prefix="train.", usual={"valid_fraction": 0.2})


@dataclass(frozen=True)
class Verb:
    """One verb: what is typed becomes the arguments of a function, `edarts.NAME` unless said.

    `help`: what it does. `own`: arguments and options of its own. `parts`: further ones. `plugin`:
    the group of a plug-in whose options it takes too, and its name, by what is given. `session`:
    what it takes of a Session. `parallel`: whether torchrun may run it in many processes.
    """

    help: str
    own: tuple[Option, ...] = ()
    parts: tuple[Part, ...] = ()
    plugin: tuple[str, Callable[[Given], str]] | None = None
    session: tuple[str, ...] = ()
    parallel: bool = False
    function: str = ""

    def parser(self, name: str, given: Given) -> Parser:
        """What reads its arguments, in view of what is given."""
        groups = [group for part in self.parts for group in part.groups]
        called = f"edarts {name}"
        parser = Parser(groups, prog=called, usage=f"{called} [options]", description=self.help)
        parser.add("own", self.own)
        if self.plugin is not None:
            group, plugin = self.plugin[0], self.plugin[1](given)
            groups.append(group)
            parser.add("own", options.of_plugin(group, plugin) if plugin else ())
        for part in self.parts:
            parser.add(part.argument, part.options(part, given), part.prefix)
        session = (o for o in options.of_fields(Session, "options") if o.name in self.session)
        parser.add("session", session)
        parser.add("shown", (FILE, JSON, QUIET) if "out" in self.session else (JSON, QUIET))
        return parser

    def run(self, name: str, values: Values) -> Any:
        """Call the function with what was given; returns its report."""
        arguments = dict(values["own"])
        if name == "find" and "epochs" in values["search_config"]:  # they count for both phases
            values["train_config"].setdefault("epochs", values["search_config"]["epochs"])
        for part in self.parts:
            arguments[part.argument] = part.of(**{**part.usual, **values[part.argument]})
        if self.session:
            progress = Progress(values["shown"].get("quiet", False), notes=True)
            arguments["session"] = Session(**values["session"], progress=progress)
        return registry.locate(self.function or f"edarts:{name}")(**arguments)


def _kind(given: Given) -> str:
    return next((w for w in given.plain if w in registry.names("studies")), given.get("kind"))


FILE = Option("config", "YAML file with options, such as a run's config.yaml.")
JSON = Option("json", "A JSON object as the last line.", bool)
QUIET = Option("quiet", "No progress and no summary; notes on the data stay.", bool)
NO_CONFIG = Option("without_config", "Leave config.yaml out of the page.", bool)
A_RUN = Option("run", "Folder of a trained run.", many="1")
ARCHITECTURE = "JSON file, run folder, zoo name such as darts.v2, baseline, or timm:NAME."
SEEDS = Option("seeds", "How many seeds: 0, 1, ...; if not given, the study's number.", int)
DRY_RUN = Option("dry_run", "The plan alone: what would be run, and about how long.", bool)

VERBS: dict[str, Verb] = {
    "find": Verb(
        "search, race with plain networks, train, evaluate, draw and save the best: the main job",
        (Option("candidates", "Who races: found, baselines, zoo names.", default=CANDIDATES),),
        (DATA, SEARCH, replace(TRAIN, prefix="train."), BUDGET),
        session=RUN,
        parallel=True,
    ),
    "search": Verb(
        "search an architecture only: writes its genotype",
        (DRY_RUN,),
        (DATA, SEARCH),
        session=(*RUN, *POOL),
        parallel=True,
    ),
    "train": Verb(
        "train the network of an architecture from scratch",
        (Option("architecture", ARCHITECTURE, many="?", known=("zoo", "baselines")),),
        (DATA, TRAIN),
        session=RUN,
        parallel=True,
    ),
    "evaluate": Verb(
        "accuracy of a trained run on its test split, with interval",
        (A_RUN, Option("data", "Other data to evaluate on (default: the run's)", many="?")),
        session=("device",),
    ),
    "predict": Verb(
        "class and probability of image files",
        (
            A_RUN,
            Option("images", "Image files, folders, or patterns such as 'new/*.png'.", many="+"),
            Option("out", "File to write them to: .csv or .json."),
        ),
        session=("device",),
    ),
    "export": Verb(
        "write a trained run's network in a format that others can run",
        (
            A_RUN,
            Option("format", "What to write.", known=("exports",), default="torch"),
            Option("out", "File or folder to write; if not given, in the run folder."),
        ),
        plugin=("exports", lambda given: given.get("format", "torch")),
    ),
    "push": Verb(
        "put a trained run on the Hugging Face hub, with a model card",
        (
            A_RUN,
            Option("repository", "OWNER/NAME on the hub; made if it is not there.", many="1"),
            Option("private", "Whether only its owner sees a repository made now.", bool),
            Option("license", "What the card says that others may do, such as apache-2.0."),
        ),
    ),
    "demo": Verb(
        "a local page to try a trained run with images of one's own",
        (
            A_RUN,
            Option("host", "Address it listens at; 0.0.0.0: for others too.", default="127.0.0.1"),
            Option("port", "Port of the page.", int, default=7860),
        ),
        session=("device",),
    ),
    "study": Verb(
        "which parts of a cell matter: depth, operations, topology or skips, over seeds",
        (Option("kind", "What is varied.", many="?", known=("studies",)), SEEDS, DRY_RUN),
        (DATA, replace(SEARCH, prefix="search.", usual={"method": "darts"}), TRAINED),
        ("studies", _kind),
        STUDY,
    ),
    "compare": Verb(
        "methods and published cells, trained alike, beside random cells of equal cost",
        (SEEDS, DRY_RUN),
        (DATA, SEARCHES, TRAINED),
        ("studies", lambda given: "compare"),
        STUDY,
    ),
    "report": Verb(
        "the web page of runs and studies, drawn again; runs compared image by image",
        (Option("runs", "Folders of runs or studies.", many="+"), NO_CONFIG),
    ),
    "bench": Verb(
        "steps of searching and training against their textbook form, timed here",
        (
            Option(
                "group",
                "step, train, search (how it scales), answer (to one image), profile or ledger.",
                many="1",
            ),
            Option("rounds", "Steps timed on each side.", int, default=5),
        ),
        session=("device",),
        function="edarts.bench:bench",
    ),
    "zoo": Verb(
        "published cells and networks: list, show NAME, draw NAME",
        (
            Option("action", "list: the slides' table; show: all of one; draw: it.", many="?"),
            Option("name", "Zoo name, to show or draw.", many="?", known=("zoo",)),
            Option("out", "draw: folder of the drawing; if not given, this one."),
        ),
    ),
    "check": Verb(
        "the contract tests of a plug-in, of this project or installed: what passed, in a line",
        (Option("plugin", "Its name, perhaps with its group, as recipes.fast.", many="1"),),
    ),
}
