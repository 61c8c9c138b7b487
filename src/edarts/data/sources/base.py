"""What a data source is."""

from typing import Any, Protocol

from edarts.config import DataConfig
from edarts.data.catalogue import Catalogue


class Source(Protocol):
    """Reads one kind of data. `PLUGIN` of a source's file is such an object, or its class.

    What this source alone takes stands in a frozen dataclass `Options` of the object, every field
    with a default; the options chosen are `config.options`, or None for the defaults. It may have
    an `example`, DATA that it opens on any machine, for the contract tests.
    """

    describe: str
    """What DATA may be, in a few words for --help: "an .npz file"."""

    def accepts(self, data: str) -> bool:
        """Whether this source reads `data`. Looks at the name, or at what a path holds; fast."""
        ...

    def open(self, data: str, config: DataConfig) -> Catalogue:
        """List the images of `data` without decoding them.

        Raises EdartsError that names the file, class or value. Splits, limits and sizes of
        `config` are no business of a source.
        """
        ...


def options_of(source: Any) -> type | None:
    """The `Options` of a source, if it takes any."""
    kind: type | None = getattr(source, "Options", None)
    return kind
