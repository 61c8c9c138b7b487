"""The web page of a run or a study: one file that opens from disk, and its plots as PNG.

Plots and cells are inline SVG and the page's script is 80 lines of plain JavaScript: a plotting
library would add megabytes to every run's page and do no more. Jinja escapes all that is inserted,
and the page's content security policy allows no request.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from edarts.config import read_yaml
from edarts.reporting import drawing as report
from edarts.reporting.model import Column, Plot, Series, Summary, Table
from edarts.reporting.stats import Estimate
from edarts.runs.folder import Run, read_lines
from edarts.space import architecture
from edarts.space.darts import Space
from edarts.space.genotype import KINDS, Edge, Genotype

COLOURS = ("#1b6ca8", "#c05621", "#2e8b57", "#7b3fa0", "#b7791f", "#4b5563", "#be185d", "#0e7490")
UNIT = 46.0  # pixels of a unit of a cell's layout
FILES = ("config.yaml", "environment.json")


def write_study(
    run: Run,
    summary: Summary,
    rows: Mapping[str, Mapping[str, Any]],
    units: Mapping[str, str] | None = None,
) -> Path:
    """report.html of a study, and a PNG of each plot. Raises EdartsError.

    `rows`: name -> what the row holds, JSON-ready; `units` of the columns that have one.
    """
    names = list(dict.fromkeys(key for row in rows.values() for key in row))
    shown = [name for name in names if name not in ("genotype", "run")]
    every = Table(
        "Every run",
        [Column(name, (units or {}).get(name, "")) for name in shown],
        [[row.get(name) for name in shown] for row in rows.values()],
    )
    links = {row["name"]: f"{row['run']}/report.html" for row in rows.values() if "run" in row}
    settings = read_yaml(run.path / "config.yaml")
    subtitle = f"{len(rows)} runs on {settings['data']}; study in {run.path.name}"
    return _write(run, summary, [*summary.tables, every], subtitle, links=links)


def write_run(run: Run) -> Path:
    """report.html of a search or training, finished or not, and a PNG of each plot.

    Raises EdartsError.
    """
    settings = read_yaml(run.path / "config.yaml")
    lines = read_lines(run.path / "metrics.jsonl")
    result: dict[str, Any] = {}
    for name in ("model.json", "evaluation.json"):
        result |= run.read_json(name) or {}
    replay = _replay(settings, lines)
    summary = Summary(
        f"{settings.get('method', 'training')} on {settings['data']}",
        _sentences(result, lines),
        [],
        _curves(lines),
        {} if replay else _cells(run.path / "genotype.json"),
    )
    classes = [(name, value) for name, value in result.get("per_class", {}).items()]
    by_class = Table(
        "Test accuracy by class", (Column("class"), Column("accuracy", "share")), classes
    )
    tables = [by_class] if classes else []
    subtitle = f"seed {settings['seed']}, run in {run.path.name}"
    return _write(run, summary, tables, subtitle, replay=replay)


def _write(
    run: Run,
    summary: Summary,
    tables: Sequence[Table],
    subtitle: str,
    links: Mapping[str, str] | None = None,
    replay: dict[str, Any] | None = None,
) -> Path:
    plots: list[dict[str, Any]] = []
    texts: dict[str, list[str]] = {}
    for plot in summary.plots:
        svg, png = draw(plot)
        run.write_bytes(f"{plot.name}.png", png)
        plots.append({"name": plot.name, "title": plot.title, "svg": Markup(svg)})
        texts |= {
            _mark(plot, place): [_text(series, point) for point in range(len(series.x))]
            for place, series in enumerate(plot.series)
        }
    files = {name: run.path / name for name in FILES}
    text = _template().render(
        title=summary.title,
        subtitle=subtitle,
        sentences=summary.sentences,
        plots=plots,
        texts=texts,
        replay=replay,
        cells=[
            {"caption": f"{caption}, {name} cell", "svg": cell_svg(g.edges(kind), g.concat(kind))}
            for caption, g in summary.cells.items()
            for kind, name in zip(KINDS, ("normal", "reduction"), strict=True)
        ],
        tables=[_table(table, links or {}) for table in tables],
        files={n: p.read_text(encoding="utf-8") for n, p in files.items() if p.exists()},
    )
    return run.write_text("report.html", text)


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(
        resources.files("edarts.reporting").joinpath("page.html").read_text("utf-8")
    )


# -- tables --------------------------------------------------------------------------------------


def _table(table: Table, links: Mapping[str, str]) -> dict[str, Any]:
    rows = [
        [_entry(column, value, links) for column, value in zip(table.columns, row, strict=True)]
        for row in table.rows
    ]
    names = [column.name for column in table.columns]
    return {"title": table.title, "columns": names, "rows": rows, "note": table.note}


def _entry(column: Column, value: Any, links: Mapping[str, str]) -> dict[str, Any]:
    """`text` and `interval` to show, the number to sort by, the page that it names."""
    entry: dict[str, Any] = {"text": "", "interval": "", "key": None, "href": None}
    if isinstance(value, Estimate):
        entry |= {"text": _number(value.value, column.unit), "key": value.value}
        if value.low is not None and value.high is not None:
            low, high = _number(value.low, column.unit), _number(value.high, column.unit)
            entry["interval"] = f"{low} to {high}"
    elif isinstance(value, bool | str):
        href = links.get(str(value)) if column.name == "name" else None
        entry |= {"text": str(value), "href": href}
    elif value is not None:
        entry |= {"text": _number(value, column.unit), "key": value}
    return entry


def _number(value: float, unit: str = "") -> str:
    """Shares are shown in percent, differences of shares in percentage points with their sign."""
    if unit == "share":
        return f"{100 * value:.2f} %"
    if unit == "points":
        return f"{100 * value:+.2f} points"
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


# -- plots ---------------------------------------------------------------------------------------


def draw(plot: Plot) -> tuple[str, bytes]:
    """The plot as inline SVG, whose points the page's script finds, and as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    style: Any = {"svg.hashsalt": f"edarts-{plot.name}", "svg.fonttype": "none", "font.size": 9.0}
    with matplotlib.rc_context(style):
        figure, axis = pyplot.subplots(figsize=(5.4, 3.5), layout="constrained")
        try:
            _fill(axis, plot)
            svg, png = io.StringIO(), io.BytesIO()
            figure.savefig(svg, format="svg", metadata={"Date": None})
            axis.set_title(plot.title)
            figure.savefig(png, format="png", dpi=150)
        finally:
            pyplot.close(figure)
    text = svg.getvalue()
    return text[text.index("<svg") :], png.getvalue()


def _fill(axis: Any, plot: Plot) -> None:
    words = list(dict.fromkeys(x for s in plot.series for x in s.x if isinstance(x, str)))
    many = max((len(series.x) for series in plot.series), default=0) > 40
    for place, series in enumerate(plot.series):
        x = [words.index(value) if isinstance(value, str) else value for value in series.x]
        y = [v.value if isinstance(v, Estimate) else v for v in series.y]
        colour = COLOURS[place % len(COLOURS)]
        label = series.name if len(plot.series) > 1 else None
        size = 12 if many else 26
        axis.scatter(x, y, size, colour, gid=_mark(plot, place), label=label, zorder=3, alpha=0.8)
        if series.line:
            axis.plot(x, y, color=colour, linewidth=1.2, zorder=2)
        for at, value in zip(x, series.y, strict=True):
            if isinstance(value, Estimate) and value.low is not None:
                axis.plot([at, at], [value.low, value.high], color=colour, linewidth=2, zorder=1)
    axis.set_xlabel(plot.x)
    axis.set_ylabel(plot.y)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    if words:
        turn = {"rotation": 25, "ha": "right"} if max(map(len, words)) > 6 else {}
        axis.set_xticks(range(len(words)), words, **turn)
        axis.set_xlim(-0.5, len(words) - 0.5)
    if len(plot.series) > 1:
        axis.legend(fontsize=8, framealpha=0.6)


def _mark(plot: Plot, place: int) -> str:
    return f"points-{plot.name}-{place}"


def _text(series: Series, point: int) -> str:
    if series.texts:
        return series.texts[point]
    x, y = series.x[point], series.y[point]
    value = y.value if isinstance(y, Estimate) else y
    return f"{series.name}: {x if isinstance(x, str) else f'{x:.4g}'}, {value:.4g}"


# -- runs ----------------------------------------------------------------------------------------


def _sentences(result: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> list[str]:
    found = []
    if "test_accuracy" in result:
        low, high = result["test_accuracy_ci95"]
        found.append(
            f"Test accuracy {result['test_accuracy']:.2%}, 95 % interval {low:.2%} to {high:.2%}"
            f" ({result['test_images']} images, one seed)."
        )
    if "parameters" in result:
        found.append(
            f"{result['parameters']:,} parameters, {result['flops']:,} multiply-adds per image."
        )
    for phase in dict.fromkeys(line["phase"] for line in lines):
        last = [line for line in lines if line["phase"] == phase][-1]
        if "score" in last:  # a trial of a black-box search
            scores = [line["score"] for line in lines if line.get("score") is not None]
            best = f", best score {max(scores):.4f}" if scores else ""
            found.append(f"{phase}: {last['epoch'] + 1} trials{best}.")
            continue
        words = [f"{phase}: {last['epoch'] + 1} epochs in {last['seconds']:.0f} s"]
        words += [f"training accuracy {last['accuracy']:.2%} (augmented images)"]
        if "valid_accuracy" in last:
            words.append(f"validation accuracy {last['valid_accuracy']:.2%}")
        found.append(", ".join(words) + ".")
    return found


def _curves(lines: Sequence[Mapping[str, Any]]) -> list[Plot]:
    plots = []
    for name, title in (("accuracy", "accuracy, %"), ("loss", "loss"), ("score", "score")):
        for kind in ("search", "train"):
            part = [line for line in lines if str(line["phase"]).startswith(kind)]
            series = [
                Series(
                    key.replace("_", " "),
                    [n + 1 for n, line in enumerate(part) if line.get(key) is not None],
                    [
                        (100 if name == "accuracy" else 1) * line[key]
                        for line in part
                        if line.get(key) is not None
                    ],
                    line=True,
                )
                for key in (name, f"valid_{name}")
            ]
            full = [one for one in series if one.x]
            if full:
                x = "trial" if name == "score" else "epoch"
                plots.append(Plot(f"{kind}-{name}", f"{kind}: {name}", x, title, full))
    return plots


def _cells(path: Path) -> dict[str, Genotype]:
    design = architecture.load(path) if path.exists() else None
    return {"found": design} if isinstance(design, Genotype) else {}


def _replay(
    settings: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]
) -> dict[str, Any] | None:
    """What the slider shows: a frame per epoch, and each different cell drawn once."""
    search = [line for line in lines if "weights" in line]
    if not search:
        return None
    space = Space.parse(settings["operations"], settings["topology"])
    drawn: dict[str, dict[Any, int]] = {kind: {} for kind in KINDS}
    frames = []
    for line in search:
        genotype = Genotype.from_dict(line["genotype"])
        cell = {}
        for kind in KINDS:
            design = (genotype.edges(kind), genotype.concat(kind))
            cell[kind] = drawn[kind].setdefault(design, len(drawn[kind]))
        label = f"{line['phase']}, epoch {line['epoch'] + 1}"
        frames.append({"label": label, "weights": line["weights"], "cell": cell})
    return {
        "frames": frames,
        "cells": {kind: [cell_svg(*design) for design in drawn[kind]] for kind in KINDS},
        "operations": space.operations,
        "edges": {kind: [f"{j} to {n}" for j, n in space.topology(kind)] for kind in KINDS},
    }


# -- cells ---------------------------------------------------------------------------------------


def cell_svg(edges: tuple[Edge, ...], concat: tuple[int, ...]) -> Markup:
    """One cell as inline SVG, laid out as in cell.svg."""
    plan = report.layout(edges, concat)
    parts = []
    for start, end, edge in plan.lines:
        colour = "#9ca3af" if edge is None else report.colour_of(edge.operation)
        curve = _curve(start, end, plan.boxes)
        style = ' stroke-dasharray="4 3"' if edge is None else ""
        parts.append(
            f'<path d="M{_at(curve[0])} Q{_at(curve[1])} {_at(curve[2])}" fill="none"'
            f' stroke="{colour}" stroke-width="1.6"{style}/>'
        )
        if edge is None or end == plan.nodes[edge.node]:
            parts.append(_arrow(curve[1], curve[2], colour))
    inputs = {plan.nodes[node] for node in plan.nodes if node < 2}
    for at, label in plan.boxes.items():
        half = (report.half_width(label) - 0.05) * UNIT
        x, y = at[0] * UNIT, -at[1] * UNIT
        fill = "#dbeafe" if at in inputs else "#fde68a" if at == plan.out else "#ffffff"
        fill = "#e5e7eb" if label.isdigit() else fill
        parts.append(
            f'<rect x="{x - half:.1f}" y="{y - 9:.1f}" width="{2 * half:.1f}" height="18" rx="4"'
            f' fill="{fill}" stroke="#374151"/><text x="{x:.1f}" y="{y + 4:.1f}">{label}</text>'
        )
    right = plan.out[0] + 0.6
    height = max(2.25, *(abs(y) + 0.35 for _, y in plan.boxes))
    box = [value * UNIT for value in (-1.4, -height, right + 1.4, 2 * height)]
    view = " ".join(f"{value:.0f}" for value in box)
    return Markup(
        f'<svg viewBox="{view}" role="img" font-family="sans-serif" font-size="12"'
        f' text-anchor="middle">{"".join(parts)}</svg>'
    )


Point = tuple[float, float]


def _curve(start: Point, end: Point, boxes: dict[Point, str]) -> tuple[Point, Point, Point]:
    """The quadratic Bezier curve from `start` up to the box of `end`, around the others."""
    size = report.bend(start, end, boxes)
    (x0, y0), (x1, y1) = start, end
    middle = ((x0 + x1) / 2 + size * (y1 - y0), (y0 + y1) / 2 - size * (x1 - x0))

    def mix(a: Point, b: Point, t: float) -> Point:
        return (a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1]))

    t = 1.0
    half = report.half_width(boxes[end]) - 0.04
    while t > 0.5:
        point = mix(mix(start, middle, t), mix(middle, end, t), t)
        if abs(point[0] - x1) > half or abs(point[1] - y1) > 0.22:
            break
        t -= 0.01
    return start, mix(start, middle, t), mix(mix(start, middle, t), mix(middle, end, t), t)


def _arrow(before: Point, tip: Point, colour: str) -> str:
    dx, dy = tip[0] - before[0], tip[1] - before[1]
    length = max(1e-9, (dx * dx + dy * dy) ** 0.5)
    dx, dy = 0.17 * dx / length, 0.17 * dy / length
    left = (tip[0] - dx - dy / 2, tip[1] - dy + dx / 2)
    right = (tip[0] - dx + dy / 2, tip[1] - dy - dx / 2)
    return f'<path d="M{_at(tip)} L{_at(left)} L{_at(right)} Z" fill="{colour}"/>'


def _at(point: Iterable[float]) -> str:
    x, y = point
    return f"{x * UNIT:.1f} {-y * UNIT:.1f}"
