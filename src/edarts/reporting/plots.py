"""Plots of a page: as inline SVG, whose points the page's script finds, and as PNG."""

import io
import warnings
from typing import Any, NamedTuple

from edarts.reporting.model import Plot, Series
from edarts.reporting.stats import Estimate

COLOURS = ("#1b6ca8", "#c05621", "#2e8b57", "#7b3fa0", "#b7791f", "#4b5563", "#be185d", "#0e7490")


class Drawn(NamedTuple):
    """A drawn plot. `texts`: id of a group of points in `svg` -> what each of them says."""

    svg: str
    png: bytes
    texts: dict[str, list[str]]


def draw(plot: Plot) -> Drawn:
    """Draw a plot; the same plot gives the same bytes."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    style: Any = {
        "svg.hashsalt": f"edarts-{plot.name}",
        "svg.fonttype": "none",
        "font.size": 9.0,
        "text.parse_math": False,
    }
    with rc_context(style), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of labels that leave no room: they are drawn as they are
        figure = Figure(figsize=(5.4, 3.5), layout="constrained")
        axis = figure.subplots()
        _fill(axis, plot)
        svg, png = io.StringIO(), io.BytesIO()
        figure.savefig(svg, format="svg", metadata={"Date": None})
        axis.set_title(plot.title)
        figure.savefig(png, format="png", dpi=150)
    text = svg.getvalue()
    texts = {
        _mark(plot, index): [_text(series, point) for point in range(len(series.x))]
        for index, series in enumerate(plot.series)
    }
    return Drawn(text[text.index("<svg") :], png.getvalue(), texts)


def _fill(axis: Any, plot: Plot) -> None:
    words = list(dict.fromkeys(x for s in plot.series for x in s.x if isinstance(x, str)))
    many = max((len(series.x) for series in plot.series), default=0) > 40
    for index, series in enumerate(plot.series):
        x = [words.index(value) if isinstance(value, str) else value for value in series.x]
        y = [v.value if isinstance(v, Estimate) else v for v in series.y]
        colour = COLOURS[index % len(COLOURS)]
        label = series.name if len(plot.series) > 1 else None
        size = 12 if many else 26
        axis.scatter(x, y, size, colour, gid=_mark(plot, index), label=label, zorder=3, alpha=0.8)
        if series.line:
            axis.plot(x, y, color=colour, linewidth=1.2, zorder=2)
        for at, value in zip(x, series.y, strict=True):
            if isinstance(value, Estimate) and value.low is not None:
                axis.plot([at, at], [value.low, value.high], color=colour, linewidth=2, zorder=1)
    if plot.log:
        axis.set_xscale("log")
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


def _mark(plot: Plot, index: int) -> str:
    return f"points-{plot.name}-{index}"


def _text(series: Series, point: int) -> str:
    if series.texts:
        return series.texts[point]
    x, y = series.x[point], series.y[point]
    value = y.value if isinstance(y, Estimate) else y
    return f"{series.name}: {x if isinstance(x, str) else f'{x:.4g}'}, {value:.4g}"
