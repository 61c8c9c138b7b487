"""What the page of a search or training says: sentences, curves, accuracies by class, drawing."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edarts.config import shown
from edarts.reporting import pictures, race_content, trust_content
from edarts.reporting.drawing import Drawable
from edarts.reporting.model import Column, Plot, Series, Summary, Table
from edarts.reporting.trust import Overlap, Trust
from edarts.runs.folder import Run
from edarts.space import architecture

Line = Mapping[str, Any]
"""One line of metrics.jsonl: an epoch, or a trial of a black-box search, with its `phase`."""

CURVES = {"accuracy": "accuracy, %", "loss": "loss", "score": "score"}


def summarise(run: Run, settings: Mapping[str, Any], lines: Sequence[Line]) -> Summary:
    """What a run of these settings has found so far, from its files. Raises EdartsError."""
    result: dict[str, Any] = {}
    for name in ("model.json", "evaluation.json"):
        result |= run.read_json(name) or {}
    title = f"{settings.get('method', 'training')} on {shown(settings['data'])}"
    trust = Trust.from_dict(result["trust"]) if "trust" in result else None
    sentences = [*_accuracy(result, trust), *_size(result), *_phases(lines)]
    tables, curves = _classes(result, trust), _curves(lines)
    if race := run.read_json("race.json"):
        sentences[1:1] = race_content.sentences(race)
        tables, curves = (
            [*race_content.tables(race), *tables],
            [*race_content.plots(race), *curves],
        )
    if trust is not None:
        curves = [*curves, *trust_content.plots(trust)]
    return Summary(title, sentences, tables, curves, galleries=_galleries(run))


def _galleries(run: Run) -> list[pictures.Gallery]:
    """What goes wrong first, then what the classes look like."""
    files = (pictures.TESTED, pictures.TRAINED)
    return [pictures.Gallery.from_dict(one) for name in files for one in run.read_json(name) or ()]


def found(run: Run, replayed: bool) -> dict[str, Drawable]:
    """The architecture of the run, by its caption; nothing before there is one.

    `replayed`: whether the page shows a search epoch by epoch, so that its cell is there already.
    """
    path = run.path / "genotype.json"
    if not path.exists():
        return {}
    design = architecture.load(path)
    if replayed and design.sized:
        return {}
    return {"kept" if replayed else "found": design}


# -- sentences -----------------------------------------------------------------------------------


def _accuracy(result: Mapping[str, Any], trust: Trust | None) -> Iterator[str]:
    if "test_accuracy" in result:
        low, high = result["test_accuracy_ci95"]
        yield (
            f"Test accuracy {result['test_accuracy']:.2%}, 95 % interval {low:.2%} to {high:.2%}"
            f" ({result['test_images']} images, one seed)."
        )
        if "duplicates" in result:
            yield from Overlap.from_dict(result["duplicates"]).sentences()
        if trust is not None:
            yield from trust_content.sentences(trust)


def _size(result: Mapping[str, Any]) -> Iterator[str]:
    if "parameters" in result:
        yield f"{result['parameters']:,} parameters, {result['flops']:,} multiply-adds per image."


def _phases(lines: Sequence[Line]) -> Iterator[str]:
    phases: dict[str, list[Line]] = {}
    for line in lines:
        phases.setdefault(line["phase"], []).append(line)
    for name, part in phases.items():
        tell = _trials if "score" in part[-1] else _epochs
        yield f"{name}: {tell(part)}."


def _trials(lines: Sequence[Line]) -> str:
    """The trials of a black-box search; older runs number them as epochs."""
    last = lines[-1]
    scores = [line["score"] for line in lines if line.get("score") is not None]
    best = f", best score {max(scores):.4f}" if scores else ""
    return f"{last.get('trial', last.get('epoch')) + 1} trials{best}"


def _epochs(lines: Sequence[Line]) -> str:
    last = lines[-1]
    words = [f"{last['epoch'] + 1} epochs in {last['seconds']:.0f} s"]
    words += [f"training accuracy {last['accuracy']:.2%} (augmented images)"]
    if "valid_accuracy" in last:
        words += [f"validation accuracy {last['valid_accuracy']:.2%}"]
    return ", ".join(words)


# -- tables and curves ---------------------------------------------------------------------------


def _classes(result: Mapping[str, Any], trust: Trust | None) -> list[Table]:
    if trust is not None:
        return trust_content.tables(trust)
    rows = list(result.get("per_class", {}).items())
    return (
        [Table("Test accuracy by class", (Column("class"), Column("accuracy", "share")), rows)]
        if rows
        else []
    )


def _curves(lines: Sequence[Line]) -> list[Plot]:
    """A plot of each measure for the search, and one for the training, where there are values."""
    plots = []
    for name, title in CURVES.items():
        for kind in ("search", "train"):
            part = [line for line in lines if str(line["phase"]).startswith(kind)]
            series = [_curve(part, name), _curve(part, f"valid_{name}")]
            full = [one for one in series if one.x]
            if full:
                x = "trial" if name == "score" else "epoch"
                plots.append(Plot(f"{kind}-{name}", f"{kind}: {name}", x, title, full))
    return plots


def _curve(lines: Sequence[Line], key: str) -> Series:
    """The values of `key` in the lines that have it; accuracies in percent."""
    known = {n: line[key] for n, line in enumerate(lines, start=1) if line.get(key) is not None}
    scale = 100 if key.endswith("accuracy") else 1
    values = [scale * value for value in known.values()]
    return Series(key.replace("_", " "), list(known), values, line=True)
