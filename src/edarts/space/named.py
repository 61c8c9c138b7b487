"""What the name of an architecture stands for: a file, a run folder, a zoo entry or a baseline."""

from pathlib import Path

from edarts import registry
from edarts.errors import EdartsError, unknown
from edarts.runs.folder import reading
from edarts.space import zoo
from edarts.space.architecture import load
from edarts.space.base import Architecture

TIMM = "timm:"  # before the name of a model of timm


def architecture(name: str) -> Architecture:
    """What is in a JSON file or a run folder, or has this name: zoo entry, baseline, timm:MODEL.

    Raises EdartsError, UsageError.
    """
    if name.startswith(TIMM):
        model: Architecture = registry.locate("edarts.nn.timm:Timm")(name.removeprefix(TIMM))
        return model
    path = Path(name)
    if path.is_dir():
        if not (path / "genotype.json").exists():
            raise EdartsError(f"{name}: has no genotype.json; a search writes one when it is done")
        with reading(path):
            return load(path / "genotype.json")
    if path.exists():
        return load(path)
    if name in zoo.names():
        return zoo.get(name).architecture
    for known in registry.names("baselines"):
        if name.startswith(known):
            baseline: Architecture = registry.get("baselines", known)()
            # A race calls resnet by its depth, resnet8.
            if name in (known, getattr(baseline, "label", known)):
                return baseline
    if path.suffix == ".json" or len(path.parts) > 1:
        raise EdartsError(f"{name}: no such file or run folder")
    every = [*zoo.names(), *registry.names("baselines")]
    raise unknown("architecture (a file, run folder, zoo name or baseline)", name, every)
