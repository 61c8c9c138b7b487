"""Hub: a data set of the Hugging Face hub, downloaded at the first use."""

from edarts.config import DataConfig
from edarts.data.catalogue import TEST_NAMES, TRAIN_NAMES, Catalogue
from edarts.data.sources.table import Options, catalogue_of, test_of
from edarts.errors import EdartsError, one_line


class Hub:
    """Downloads a data set of the hub; DATA is `hf:OWNER/NAME`."""

    describe = "hf:OWNER/NAME"
    Options = Options

    def accepts(self, data: str) -> bool:
        """Whether DATA begins with `hf:`."""
        return data.startswith("hf:")

    def open(self, data: str, config: DataConfig) -> Catalogue:
        """Raises EdartsError if it cannot be loaded or has no train split."""
        import datasets

        datasets.disable_progress_bars()
        name = data.removeprefix("hf:")
        options = config.options if isinstance(config.options, Options) else Options()
        try:
            splits = datasets.load_dataset(name)
        except Exception as error:  # the hub client raises many kinds
            raise EdartsError(
                f"{data}: cannot be loaded: {one_line(error)}; check the name and the network"
            ) from None
        train = next((splits[n] for n in TRAIN_NAMES if n in splits), None)
        if train is None:
            raise EdartsError(f"{data}: no train split; it has {', '.join(splits)}")
        catalogue = catalogue_of(train, name, data, options)
        test = next((n for n in TEST_NAMES if n in splits), None)
        if test is not None:
            catalogue.test = test_of(splits[test], name, f"{data} ({test})", options, catalogue)
        return catalogue


PLUGIN = Hub()
