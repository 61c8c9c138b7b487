"""The web page of a run or a study: one file that opens from disk, and its plots as PNG.

Plots and drawings are inline SVG and the page's script is 80 lines of plain JavaScript: a plotting
library would add megabytes to every run's page and do no more. Jinja escapes all that is inserted,
and the page's content security policy lets its own script run alone, and no request.
"""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from edarts.config import shown
from edarts.config.reading import open_regular
from edarts.errors import escaped
from edarts.reporting import plots, replay, run_content
from edarts.reporting.drawing import Drawable, picture_of, svg
from edarts.reporting.model import Column, Summary, Table
from edarts.reporting.stats import Estimate
from edarts.runs.folder import Run, read_metrics, read_settings, reading

FOLDERS = re.compile(r"(?<![\w.~])(?:~|[A-Za-z]:)?(?:[/\\]+[^\s/\\'\":,;]+)+[/\\]+")
"""The folders of a path that begins at a root, or at somebody's home."""
FILES = ("config.yaml", "environment.json")


def write_study(
    run: Run,
    summary: Summary,
    rows: Mapping[str, Mapping[str, Any]],
    units: Mapping[str, str] | None = None,
    config: bool = True,
) -> Path:
    """Write the report.html of a study, and a PNG of each plot; returns the page's path.

    `rows`: name of a run -> the columns of its row; a row whose `run` names a folder links to that
    run's page. `units`: of the columns that have one. `config`: see `write_run`. Raises
    EdartsError.
    """
    names = list(dict.fromkeys(key for row in rows.values() for key in row))
    told = [name for name in names if name not in ("genotype", "run")]
    every = Table(
        "Every run",
        [Column(name, (units or {}).get(name, "")) for name in told],
        [[row.get(name) for name in told] for row in rows.values()],
    )
    links = {
        row["name"]: f"{quote(row['run'])}/report.html"
        for row in rows.values()
        if is_inside(row.get("run"))
    }
    settings = read_settings(run.path)
    subtitle = f"{len(rows)} runs on {shown(settings['data'])}; study in {run.path.name}"
    tables = [*summary.tables, every]
    return _write(run, summary, tables, subtitle, summary.architectures, links=links, config=config)


def is_inside(run: object) -> bool:
    """Whether this names a folder of the study's runs, not anything else that a link can be."""
    return isinstance(run, str) and run.startswith("runs/") and ".." not in run.split("/")


def write_run(run: Run, config: bool = True) -> Path:
    """Write the report.html of a search or training, finished or not, and a PNG of each plot.

    `config`: whether config.yaml stands on it. Returns the page's path. Raises EdartsError.
    """
    settings = read_settings(run.path)
    lines = read_metrics(run.path)
    with reading(run.path):
        replayed = replay.replay(settings, lines)
        found = run_content.found(run, replayed is not None)
        summary = run_content.summarise(run, settings, lines)
        subtitle = f"seed {settings['seed']}, run in {run.path.name}"
        return _write(
            run, summary, summary.tables, subtitle, found, replayed=replayed, config=config
        )


def _write(
    run: Run,
    summary: Summary,
    tables: Sequence[Table],
    subtitle: str,
    architectures: Mapping[str, Drawable],
    links: Mapping[str, str] | None = None,
    replayed: replay.Replay | None = None,
    config: bool = True,
) -> Path:
    drawn = [plots.draw(plot) for plot in summary.plots]
    for plot, picture in zip(summary.plots, drawn, strict=True):
        run.write_bytes(f"{plot.name}.png", picture.png)
    drawings = [_drawing(caption, one) for caption, one in architectures.items()]
    files = {name: run.path / name for name in (FILES if config else FILES[1:])}
    text = _template().render(
        title=summary.title,
        subtitle=subtitle,
        sentences=[FOLDERS.sub(".../", sentence) for sentence in summary.sentences],
        plots=[
            {"name": plot.name, "title": plot.title, "svg": Markup(picture.svg)}
            for plot, picture in zip(summary.plots, drawn, strict=True)
        ],
        data={
            "texts": {mark: texts for one in drawn for mark, texts in one.texts.items()},
            "replay": replayed and replayed.frames,
        },
        replay=replayed,
        script=Markup(_script()),
        policy=Markup(_policy()),
        panels=[panel for panels, _ in drawings for panel in panels],
        notes=dict.fromkeys(note for _, note in drawings if note),
        tables=[_table(table, links or {}) for table in tables],
        galleries=summary.galleries,
        files={name: _text(path) for name, path in files.items() if path.exists()},
    )
    return run.write_text("report.html", text)


def _text(path: Path) -> str:
    """A file of the run to show; what is no text in it is escaped, of a path its end is left."""
    with open_regular(path, links=False) as file:
        text = escaped(file.read().decode(errors="backslashreplace"), keep="\n\t")
    return FOLDERS.sub(".../", text)


@cache
def _script() -> str:
    return resources.files("edarts.reporting").joinpath("page.js").read_text("utf-8")


def _policy() -> str:
    """The page's own script may run, by its hash, and nothing else; no request is made."""
    digest = base64.b64encode(hashlib.sha256(_script().encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline';"
        " img-src data:; base-uri 'none'; form-action 'none'"
    )


def _drawing(caption: str, architecture: Drawable) -> tuple[list[dict[str, str]], str]:
    """The panels of an architecture's drawing and its note; none where it does not say how."""
    picture = picture_of(architecture)
    if picture is None:
        return [], ""
    panels = [
        {"caption": f"{caption}, {panel.caption}", "svg": Markup(svg(panel))}
        for panel in picture.panels
    ]
    return panels, picture.note


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
        entry |= {"text": FOLDERS.sub(".../", str(value)), "href": href}
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
