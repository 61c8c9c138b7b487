"""The drawing of an architecture, as data: boxes with labels, lines and texts at known places.

An architecture's `draw` makes a `Picture`; `edarts.reporting.drawing` turns it into SVG and PNG.
Everything is placed here, once, so that both look alike. Lengths are in units of the drawing, of
which an operation's label is `SIZE` high; x grows to the right and y upwards. Colours are those of
the web, `#rrggbb`.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Point = tuple[float, float]
Curve = tuple[Point, Point, Point]
"""Start, control point and end of a quadratic Bezier curve."""
Bounds = tuple[float, float, float, float]
Anchor = Literal["start", "middle", "end"]

SIZE = 0.24
INK, GREY, WHITE = "#374151", "#9ca3af", "#ffffff"
COLOURS = {
    "sep_": "#1b6ca8",
    "dil_": "#7b3fa0",
    "skip_": "#2e8b57",
    "max_": "#c05621",
    "avg_": "#b7791f",
}
CHARACTER, LEADING = 0.6, 1.25  # width of a character and height of a line, in sizes of the text
PADDING: Point = (0.09, 0.05)  # between a box and its label
MARGIN = 0.05  # around a box, for a line that passes by
GAP = 0.02  # between a line's tip and the box that it points to
HEAD = 0.15  # length of an arrow's head
BENDS = (0.0, *(sign * size / 20 for size in range(1, 11) for sign in (1, -1)))


@dataclass(frozen=True)
class Text:
    """One line of text; `at` is its left end, middle or right end, as `anchor` says.

    `size` is the height of the letters' line, in units.
    """

    at: Point
    text: str
    size: float = SIZE
    anchor: Anchor = "middle"
    colour: str = "#000000"

    @property
    def baseline(self) -> float:
        """The height on which the letters stand, so that they are centred on `at`."""
        return self.at[1] - 0.35 * self.size


@dataclass(frozen=True)
class Box:
    """A label of one or more lines in a rounded box around `at`; the box is as large as needed.

    `fill`, `edge`, `text`: colours of the area, the border and the label.
    """

    at: Point
    label: str
    fill: str = WHITE
    edge: str = INK
    text: str = "#000000"
    size: float = SIZE

    @property
    def width(self) -> float:
        """The width of the box with its padding, in units."""
        longest = max(map(len, self.label.split("\n")))
        return 2 * PADDING[0] + CHARACTER * self.size * longest

    @property
    def height(self) -> float:
        """The height of the box with its padding, in units."""
        return 2 * PADDING[1] + LEADING * self.size * len(self.label.split("\n"))

    @property
    def texts(self) -> list[Text]:
        """The lines of the label, each where it stands."""
        lines, (x, y) = self.label.split("\n"), self.at
        step = LEADING * self.size
        top = y + step * (len(lines) - 1) / 2
        return [
            Text((x, top - n * step), line, self.size, colour=self.text)
            for n, line in enumerate(lines)
        ]

    def area(self, margin: float = MARGIN) -> Bounds:
        """Left, bottom, right and top of the box with `margin` around it."""
        (x, y), width, height = self.at, self.width / 2 + margin, self.height / 2 + margin
        return x - width, y - height, x + width, y + height

    def covers(self, point: Point, margin: float = MARGIN) -> bool:
        """Whether `point` lies in the box, or within `margin` of it."""
        left, bottom, right, top = self.area(margin)
        return left < point[0] < right and bottom < point[1] < top


@dataclass(frozen=True)
class Line:
    """A quadratic Bezier curve from `start` by way of `control` to `end`.

    `head`: the corners of the arrow's head, the tip first; None for a line without one.
    """

    start: Point
    control: Point
    end: Point
    colour: str = INK
    dashed: bool = False
    head: tuple[Point, Point, Point] | None = None


@dataclass(frozen=True)
class Panel:
    """One part of a picture: lines lie beneath boxes, and boxes beneath texts.

    `bounds`: left, bottom, right and top of the area to show.
    """

    caption: str
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    texts: tuple[Text, ...]
    bounds: Bounds

    @property
    def width(self) -> float:
        """The width of the area to show, in units."""
        return self.bounds[2] - self.bounds[0]

    @property
    def height(self) -> float:
        """The height of the area to show, in units."""
        return self.bounds[3] - self.bounds[1]

    def moved(self, x: float, y: float) -> "Panel":
        """The same panel, everything shifted by x and y."""

        def move(point: Point) -> Point:
            return point[0] + x, point[1] + y

        left, bottom, right, top = self.bounds
        return Panel(
            self.caption,
            tuple(replace(box, at=move(box.at)) for box in self.boxes),
            tuple(_moved(line, x, y) for line in self.lines),
            tuple(replace(text, at=move(text.at)) for text in self.texts),
            (left + x, bottom + y, right + x, top + y),
        )


def _moved(line: Line, x: float, y: float) -> Line:
    start, control, end, *head = (
        (px + x, py + y) for px, py in (line.start, line.control, line.end, *(line.head or ()))
    )
    corners = (head[0], head[1], head[2]) if head else None
    return replace(line, start=start, control=control, end=end, head=corners)


@dataclass(frozen=True)
class Picture:
    """Panels in rows of `columns`, a title above all of them and a note of some lines below."""

    title: str
    panels: tuple[Panel, ...]
    columns: int = 1
    note: str = ""

    def sheet(self) -> Panel:
        """The whole picture as one panel: every panel under its caption, with title and note."""
        texts: list[Text] = []
        placed: list[Panel] = []
        width = y = 0.0
        if self.title:
            y -= 0.5
            texts.append(Text((0.1, y + 0.2), self.title, 0.3, "start"))
        for first in range(0, len(self.panels), self.columns):
            row = self.panels[first : first + self.columns]
            below = y - (0.5 if any(panel.caption for panel in row) else 0.0)
            x = 0.0
            for panel in row:
                texts.append(Text((x + 0.1, below + 0.2), panel.caption, 0.26, "start"))
                placed.append(panel.moved(x - panel.bounds[0], below - panel.bounds[3]))
                x += panel.width
            width, y = max(width, x), min(panel.bounds[1] for panel in placed)
        for line in self.note.split("\n") if self.note else ():
            y -= 0.36
            texts.append(Text((0.1, y + 0.12), line, SIZE, "start"))
        return Panel(
            self.title,
            tuple(box for panel in placed for box in panel.boxes),
            tuple(line for panel in placed for line in panel.lines),
            (*(text for panel in placed for text in panel.texts), *(t for t in texts if t.text)),
            (0.0, y - 0.1, width, 0.0),
        )


def colour_of(operation: str) -> str:
    """The colour of an operation, by its name; dark grey for all but the families of DARTS."""
    return next((c for prefix, c in COLOURS.items() if operation.startswith(prefix)), INK)


# -- lines ---------------------------------------------------------------------------------------


def connect(
    start: Box,
    end: Box,
    boxes: Iterable[Box] = (),
    colour: str = INK,
    *,
    dashed: bool = False,
    arrow: bool = True,
) -> Line:
    """The line from `start` to `end`, bent around the other `boxes`.

    It gets the smallest bend that keeps it off them, else the one that touches them least. It
    joins the middles of both boxes, which lie above lines and so hide its ends; an arrow ends at
    the border of `end`.
    """
    others = [box for box in boxes if box.at not in (start.at, end.at)]
    control = _control(start.at, end.at, _bend(start.at, end.at, others))
    if not arrow:
        return Line(start.at, control, end.at, colour, dashed)
    curve = _until((start.at, control, end.at), lambda point: end.covers(point, GAP))
    tip = curve[2]
    # The stroke ends inside of the head, so that the tip stays sharp.
    stroke = _until(curve, lambda point: math.dist(point, tip) < HEAD / 2)
    return Line(*stroke, colour, dashed, _head(curve[1], tip))


def hits(line: Line, boxes: Sequence[Box]) -> int:
    """How many of 40 points on the line lie in one of `boxes`, or above or below all of them."""
    return _hits((line.start, line.control, line.end), boxes)


def _bend(start: Point, end: Point, boxes: Sequence[Box]) -> float:
    scores: dict[float, int] = {}
    for size in BENDS:  # the smallest first
        scores[size] = _hits((start, _control(start, end, size), end), boxes)
        if scores[size] == 0:
            break
    return min(scores, key=lambda size: (scores[size], abs(size)))


def _control(start: Point, end: Point, bend: float) -> Point:
    """The control point beside the middle, `bend` lengths of the line to the side."""
    (x0, y0), (x1, y1) = start, end
    return (x0 + x1) / 2 + bend * (y1 - y0), (y0 + y1) / 2 - bend * (x1 - x0)


def _hits(curve: Curve, boxes: Sequence[Box]) -> int:
    start, _, end = curve
    heights = [box.at[1] for box in boxes] + [start[1], end[1]]
    lowest, highest = min(heights), max(heights)
    areas = [box.area() for box in boxes]
    count = 0
    for step in range(1, 41):
        x, y = _part(*curve, step / 41)[2]
        inside = any(x0 < x < x1 and y0 < y < y1 for x0, y0, x1, y1 in areas)
        count += inside or not lowest <= y <= highest
    return count


def _part(start: Point, control: Point, end: Point, t: float) -> Curve:
    """The curve up to its point at `t`, 0 to 1, by de Casteljau's construction."""
    middle = _mix(start, control, t)
    return start, middle, _mix(middle, _mix(control, end, t), t)


def _mix(one: Point, other: Point, t: float) -> Point:
    return one[0] + t * (other[0] - one[0]), one[1] + t * (other[1] - one[1])


def _until(curve: Curve, reached: Callable[[Point], bool]) -> Curve:
    """The part of the curve before its second half first enters a place, found by bisection."""
    low, high = 0.5, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(_part(*curve, middle)[2]) else (middle, high)
    return _part(*curve, low)


def _head(before: Point, tip: Point) -> tuple[Point, Point, Point]:
    length = max(1e-9, math.dist(before, tip))
    dx, dy = (HEAD * (tip[i] - before[i]) / length for i in range(2))
    left = (tip[0] - dx - dy / 2, tip[1] - dy + dx / 2)
    right = (tip[0] - dx + dy / 2, tip[1] - dy - dx / 2)
    return tip, left, right
