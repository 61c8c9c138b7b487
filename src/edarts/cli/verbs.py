"""The verbs, each of which calls one function of the library, and the arguments that they have."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edarts import registry
from edarts.cli.parser import Options, Parser, names_or_text, peek
from edarts.config import DataConfig, NoOptions, SearchConfig, TrainConfig, method_class
from edarts.runs.progress import Progress
from edarts.runtime import Session

RUN = ("out", "seed", "checkpoint_seconds", "device", "precision", "compile")
POOL = ("storage", "workers", "ray_address")
STUDY = ("out", "checkpoint_seconds", "device", "workers", "ray_address")
RANKED = {"valid_fraction": 0.2}  # a study ranks cells on training images that it holds out


@dataclass(frozen=True)
class Verb:
    """One verb. `call`: the function, which takes what is named below by the same names.

    `words`: positional arguments, (name, what it is, how many). `options`: further ones, (name,
    type, default, what it is). `configs`: of `data`, `search` and `train`, with the prefix of each.
    `plugin`: the group of the plug-in whose own options are taken, and the argument that names it.
    `session`: what it takes of one. `parallel`: whether torchrun may run it in many processes.
    """

    help: str
    call: str
    words: tuple[tuple[str, str, str | None], ...] = ()
    options: tuple[tuple[str, Any, Any, str], ...] = ()
    configs: tuple[tuple[str, str], ...] = ()
    plugin: tuple[str, str] | None = None
    session: tuple[str, ...] = ()
    parallel: bool = False

    @property
    def studies(self) -> bool:
        """Whether it does a study."""
        return self.plugin is not None and self.plugin[0] == "studies"

    def own(self) -> list[str]:
        """The names of its words and options."""
        return [word[0] for word in self.words] + [option[0] for option in self.options]

    def arguments(self, parser: Parser, words: Sequence[str]) -> None:
        """Add them; `words`: what was typed, to know whose options are asked for."""
        for name, text, many in self.words:
            known = names_or_text(names_for(name)) if many != "+" else str
            parser.add_argument(name, nargs=many, type=known, help=text)
        for name, kind, default, text in self.options:
            parser.option(name, kind, default, text)
        if self.plugin is not None:
            self._plugin_arguments(parser, words, *self.plugin)
        methods = (
            (peek(words, "methods") or "").split(",") if self.plugin == ("studies", "") else []
        )
        for part, prefix in self.configs:
            if part == "data":
                data_arguments(parser, words)
            elif part == "search":
                search_arguments(parser, words, prefix, [name for name in methods if name])
            else:
                train_arguments(parser, words, prefix, RANKED if self.studies else {})
        if "out" in self.session:
            parser.option("config", str, None, "YAML file with options, e.g. a run's config.yaml")
        parser.fields_of(Session, "session", usual=vars(Session()), only=self.session)

    def _plugin_arguments(
        self, parser: Parser, words: Sequence[str], group: str, argument: str
    ) -> None:
        """Own options of the plug-in that an argument names, or that the verb itself is."""
        named = peek(words, argument) if argument else "compare"
        named = named or next((word for word in words if word in registry.names(group)), None)
        default = next((value for name, _, value, _ in self.options if name == argument), None)
        if named or (default and not wants_help(words)):
            plugin_arguments(parser, registry.get(group, named or default), "own")

    def run(self, options: Options) -> Any:
        """The report, or a list of them."""
        mine: dict[str, Any] = {name: options[name] for name in self.own()}
        search, train = options.part("search"), options.part("train")
        for part, prefix in self.configs:
            if part == "data":
                mine["data"] = DataConfig.of(**options.part("data"))
            elif part == "search":
                make = SearchConfig.of_many if self.plugin == ("studies", "") else SearchConfig.of
                usual = (
                    {} if prefix == "" or self.plugin == ("studies", "") else {"method": "darts"}
                )
                mine["search_config"] = make(**usual | search)
            else:
                if not self.plugin and "epochs" in search:  # of find: they count for both phases
                    train.setdefault("epochs", search["epochs"])
                mine["train_config"] = TrainConfig.of(**(RANKED if self.studies else {}) | train)
        if self.session:
            progress = Progress(quiet=bool(options["quiet"]))
            mine["session"] = Session(**options.part("session"), progress=progress)
        return registry.locate(self.call)(**mine, **options.part("own"))


def names_for(argument: str) -> list[str]:
    """What completion offers for a positional argument."""
    if argument in ("architecture", "name"):
        zoo = registry.locate("edarts.space.zoo:names")()
        return [*zoo, *(registry.names("baselines") if argument == "architecture" else [])]
    return [name for name in registry.names("studies") if name != "compare"] * (argument == "kind")


def data_arguments(parser: Parser, words: Sequence[str]) -> None:
    """DATA, how it is split, and the options of the source that reads it."""
    from edarts.data.sources import help_of_data, options_for

    parser.add_argument("data", nargs="?", default="digits", help=help_of_data())
    parser.sections["data"] = "data"
    parser.fields_of(DataConfig, "data", skip=("data", "options", "handed_in"))
    for word in dict.fromkeys([*words, peek(words, "data") or "digits"]):
        if not word.startswith("-") and (kind := options_for(word)) is not None:
            parser.fields_of(kind, "data")


def search_arguments(
    parser: Parser, words: Sequence[str], prefix: str = "", others: Iterable[str] = ()
) -> None:
    """What methods share, and the own options of the method and space that are asked for.

    `others`: further methods whose options are taken. A help that names no method imports none.
    """
    method = peek(words, f"{prefix}method")
    names = [*registry.names("methods"), *registry.names("samplers")]
    text = f"one of {', '.join(names)}:NAME; --method NAME --help shows its options and defaults"
    parser.option(f"{prefix}method", names_or_text(names), None, text, "search")
    spaces = registry.names("spaces")
    text = f"what may be returned: {', '.join(spaces)}; if not given, the method's"
    parser.option(f"{prefix}space", names_or_text(spaces), None, text, "search")
    owners = [method_class(name) for name in ([method] if method else []) + list(others)]
    if not owners and not wants_help(words):
        owners = [method_class("darts" if prefix else "edarts")]
    usual = owners[0].taken() if owners else {}
    skip = ("method", "space", "own", "options", "space_options")
    parser.fields_of(SearchConfig, "search", prefix, usual, skip)
    space = peek(words, f"{prefix}space") or (owners[0].SPACE if owners else "darts")
    for plugin in [*owners, registry.get("spaces", space)]:
        plugin_arguments(parser, plugin, "search", prefix, usual)


def train_arguments(
    parser: Parser, words: Sequence[str], prefix: str = "", usual: Mapping[str, Any] | None = None
) -> None:
    """What recipes share, and the own options of the recipe that is asked for.

    `usual`: the verb's own defaults, for the help.
    """
    recipe, names = peek(words, f"{prefix}recipe"), registry.names("recipes")
    text = f"how a network is trained: {', '.join(names)} (default: shallow)"
    parser.option(f"{prefix}recipe", names_or_text(names), None, text, "train")
    parser.fields_of(TrainConfig, "train", prefix, usual, skip=("recipe", "options"))
    if recipe is not None or not wants_help(words):
        plugin_arguments(parser, registry.get("recipes", recipe or "shallow"), "train", prefix)


def plugin_arguments(
    parser: Parser, plugin: Any, section: str, prefix: str = "", usual: dict[str, Any] | None = None
) -> None:
    """A plug-in's own options, with the defaults that hold."""
    kind = getattr(plugin, "Options", NoOptions)
    values = {name: value for name, value in (usual or {}).items() if value is not None}
    parser.fields_of(kind, section, prefix, vars(kind()) | values)


def wants_help(words: Sequence[str]) -> bool:
    """Whether the help was asked for."""
    return bool({"-h", "--help"} & set(words))


A_RUN = ("run", "folder of a trained run", None)
SEEDS = (
    ("seeds", int, None, "how many seeds: 0, 1, ...; default: the study's"),
    ("dry_run", bool, False, "the plan: how many runs, and how long by the first, which is kept"),
)
VERBS: dict[str, Verb] = {
    "find": Verb(
        "search an architecture, train it, evaluate it, draw and save it: the main job",
        "edarts.api:find",
        configs=(("data", ""), ("search", ""), ("train", "train.")),
        session=RUN,
        parallel=True,
    ),
    "search": Verb(
        "search an architecture only: writes its genotype",
        "edarts.api:search",
        configs=(("data", ""), ("search", "")),
        session=(*RUN, *POOL),
        parallel=True,
    ),
    "train": Verb(
        "train the network of an architecture from scratch",
        "edarts.api:train",
        words=(
            ("architecture", "JSON file, run folder, zoo name such as darts.v2, or baseline", "?"),
        ),
        configs=(("data", ""), ("train", "")),
        session=RUN,
        parallel=True,
    ),
    "evaluate": Verb(
        "accuracy of a trained run on its test split, with interval",
        "edarts.api:evaluate",
        words=(A_RUN, ("data", "other data to evaluate on; default: the run's", "?")),
        session=("device",),
    ),
    "predict": Verb(
        "class and probability of image files",
        "edarts.api:predict",
        words=(A_RUN, ("images", "image files", "+")),
        session=("device",),
    ),
    "export": Verb(
        "write a trained run's network in a format that others can run",
        "edarts.api:export",
        words=(A_RUN,),
        options=(
            ("format", str, "torch", f"one of {', '.join(registry.names('exports'))}"),
            ("out", str, None, "file or folder to write; default: in the run folder"),
        ),
        plugin=("exports", "format"),
    ),
    "study": Verb(
        "which parts of a cell matter: depth, operations, topology or skips, over seeds",
        "edarts.api:study",
        words=(("kind", "what is varied; KIND --help shows its options", None),),
        options=SEEDS,
        configs=(("data", ""), ("search", "search."), ("train", "train.")),
        plugin=("studies", "kind"),
        session=STUDY,
    ),
    "compare": Verb(
        "methods and published cells, trained alike, beside random cells of equal cost",
        "edarts.api:compare",
        options=SEEDS,
        configs=(("data", ""), ("search", "search."), ("train", "train.")),
        plugin=("studies", ""),
        session=STUDY,
    ),
    "report": Verb(
        "the web page of runs and studies, drawn again: report.html in each folder",
        "edarts.api:report",
        words=(("runs", "folders of runs or studies", "+"),),
    ),
    "bench": Verb(
        "steps of searching and training against their textbook form, timed here",
        "edarts.bench:bench",
        words=(("group", "step, train, search (a whole one, and how it scales) or ledger", None),),
        options=(("rounds", int, 5, "steps timed on each side"),),
        session=("device",),
    ),
    "zoo": Verb(
        "published cells and networks: list, show NAME, draw NAME",
        "edarts.reporting.zoo:zoo",
        words=(
            (
                "action",
                "list: the slides' comparison table; show: all of one; draw: a picture",
                "?",
            ),
            ("name", "zoo name, to show or draw", "?"),
        ),
        options=(("out", str, None, "draw: folder of the drawing; default: this one"),),
    ),
    "check": Verb(
        "the contract tests of a plug-in, of this project or installed: what passed, in a line",
        "edarts.testing.check:check",
        words=(("plugin", "its name, perhaps with the group before it, as recipes.fast", None),),
    ),
}
