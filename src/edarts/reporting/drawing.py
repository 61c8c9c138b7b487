"""Drawings for people: a picture of `edarts.space.picture` as SVG and as PNG."""

import io
from html import escape
from pathlib import Path
from typing import Any, Protocol

from edarts.config.reading import open_regular
from edarts.errors import EdartsError, UsageError
from edarts.runs.folder import Run
from edarts.space.picture import Box, Line, Panel, Picture, Point, Text

UNIT = 46.0  # pixels of a unit of a picture, in SVG
INCHES = 0.85  # of a unit of a picture, in PNG
DPI = 110
ENDS = {".svg": b"</svg>\n", ".png": b"IEND\xaeB`\x82"}  # of files that are whole
STROKE, THIN = 0.035, 0.022  # widths of lines, and of dashed lines, in units


class Drawable(Protocol):
    """Whatever says how it looks: every architecture."""

    def draw(self, title: str = "") -> Picture:
        """The picture of it, under `title`. Raises UsageError if nobody has said how it looks."""


def draw(
    architecture: Drawable, folder: Path | Run, title: str = "", stem: str = "cell"
) -> list[Path]:
    """Write `stem`.svg and `stem`.png and return their paths.

    Each is written aside and renamed. A `folder` that is not there is made; a run's folder is
    written to by the run itself. The same architecture gives the same bytes; one that does not say
    how it looks gives no file. Raises EdartsError if a file cannot be written.
    """
    picture = picture_of(architecture, title)
    if picture is None:
        return []
    files = {f"{stem}.svg": svg(picture).encode(), f"{stem}.png": png(picture)}
    if isinstance(folder, Path):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EdartsError(f"{folder}: cannot be written: {error.strerror or error}") from None
        folder = Run(folder)
    return [folder.write_bytes(name, content) for name, content in files.items()]


def is_drawn(folder: Path, since: Path, stem: str = "cell") -> bool:
    """Whether the files of `draw` are there, whole, and no older than what they show."""
    try:
        written = since.stat().st_mtime_ns
        return all(
            (folder / f"{stem}{suffix}").stat().st_mtime_ns >= written
            and _content(folder / f"{stem}{suffix}").endswith(end)
            for suffix, end in ENDS.items()
        )
    except (OSError, EdartsError):
        return False


def _content(path: Path) -> bytes:
    with open_regular(path, links=False) as file:
        return file.read()


def picture_of(architecture: Drawable, title: str = "") -> Picture | None:
    """The drawing of an architecture; None for a plug-in's that does not say how it looks."""
    try:
        return architecture.draw(title)
    except UsageError:
        return None


def _sheet(picture: Picture | Panel) -> Panel:
    return picture.sheet() if isinstance(picture, Picture) else picture


# -- SVG -----------------------------------------------------------------------------------------


def svg(picture: Picture | Panel) -> str:
    """The picture as one `<svg>` element, for a file or inline in a page; all text is escaped.

    A panel is drawn without its caption, which becomes the element's name for screen readers.
    """
    panel = _sheet(picture)
    left, _, _, top = panel.bounds
    width, height = panel.width * UNIT, panel.height * UNIT
    label = escape(panel.caption or "drawing")
    body = "\n".join(
        (
            *map(_svg_line, panel.lines),
            *map(_svg_box, panel.boxes),
            *map(_svg_text, panel.texts),
        )
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}"'
        f' viewBox="{left * UNIT:.0f} {-top * UNIT:.0f} {width:.0f} {height:.0f}" role="img"'
        f' aria-label="{label}" font-family="DejaVu Sans, Verdana, sans-serif"'
        f' text-anchor="middle">\n{body}\n</svg>\n'
    )


def _svg_line(line: Line) -> str:
    style = ' stroke-dasharray="4 3"' if line.dashed else ""
    head = ""
    if line.head is not None:
        corners = " L".join(map(_at, line.head))
        head = f'<path d="M{corners} Z" fill="{line.colour}"/>'
    return (
        f'<path d="M{_at(line.start)} Q{_at(line.control)} {_at(line.end)}" fill="none"'
        f' stroke="{line.colour}" stroke-width="{_width(line) * UNIT:.1f}"{style}/>{head}'
    )


def _svg_box(box: Box) -> str:
    x, y = box.at[0] - box.width / 2, box.at[1] + box.height / 2
    rect = (
        f'<rect x="{x * UNIT:.1f}" y="{-y * UNIT:.1f}" width="{box.width * UNIT:.1f}"'
        f' height="{box.height * UNIT:.1f}" rx="4" fill="{box.fill}" stroke="{box.edge}"/>'
    )
    return rect + "".join(map(_svg_text, box.texts))


def _svg_text(text: Text) -> str:
    anchor = "" if text.anchor == "middle" else f' text-anchor="{text.anchor}"'
    return (
        f'<text x="{text.at[0] * UNIT:.1f}" y="{-text.baseline * UNIT:.1f}" fill="{text.colour}"'
        f' font-size="{text.size * UNIT:.1f}"{anchor}>{escape(text.text)}</text>'
    )


def _at(point: Point) -> str:
    return f"{point[0] * UNIT:.1f} {-point[1] * UNIT:.1f}"


def _width(line: Line) -> float:
    return THIN if line.dashed else STROKE


# -- PNG -----------------------------------------------------------------------------------------


def png(picture: Picture | Panel) -> bytes:
    """The picture as a PNG file, 93.5 pixels to a unit; the caption of a panel is left out."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    panel = _sheet(picture)
    left, bottom, right, top = panel.bounds
    with rc_context({"font.family": "DejaVu Sans", "text.parse_math": False}):
        figure = Figure(figsize=(panel.width * INCHES, panel.height * INCHES))
        axis: Any = figure.add_axes((0, 0, 1, 1))
        axis.set_axis_off()
        axis.set_xlim(left, right)
        axis.set_ylim(bottom, top)
        for line in panel.lines:
            _png_line(axis, line)
        for box in panel.boxes:
            _png_box(axis, box)
        for text in panel.texts:
            _png_text(axis, text)
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=DPI)
    return file.getvalue()


def _png_line(axis: Any, line: Line) -> None:
    from matplotlib.patches import PathPatch, Polygon
    from matplotlib.path import Path as Curve

    curve = Curve((line.start, line.control, line.end), (Curve.MOVETO, Curve.CURVE3, Curve.CURVE3))
    style: dict[str, Any] = {"linestyle": (0, (4, 3))} if line.dashed else {}
    width = _width(line) * INCHES * 72
    axis.add_patch(PathPatch(curve, fill=False, edgecolor=line.colour, linewidth=width, **style))
    if line.head is not None:
        axis.add_patch(Polygon(line.head, facecolor=line.colour, linewidth=0))


def _png_box(axis: Any, box: Box) -> None:
    from matplotlib.patches import FancyBboxPatch

    corner = (box.at[0] - box.width / 2, box.at[1] - box.height / 2)
    style = "round,pad=0,rounding_size=0.09"
    patch = FancyBboxPatch(
        corner, box.width, box.height, boxstyle=style, facecolor=box.fill, edgecolor=box.edge
    )
    axis.add_patch(patch)
    for text in box.texts:
        _png_text(axis, text)


def _png_text(axis: Any, text: Text) -> None:
    axis.text(
        text.at[0],
        text.baseline,
        text.text,
        ha={"start": "left", "middle": "center", "end": "right"}[text.anchor],
        va="baseline",
        fontsize=text.size * INCHES * 72,
        color=text.colour,
    )
