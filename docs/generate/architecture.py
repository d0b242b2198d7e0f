"""Draws docs/images/architecture.svg from tests/architecture.yaml and the first sentence of each room of dfa_cli/.

.venv/bin/python docs/generate/architecture.py            writes the picture
.venv/bin/python docs/generate/architecture.py --check    writes nothing; exit code 1 when the picture is out of date
"""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
TABLE, PICTURE = ROOT / "tests" / "architecture.yaml", ROOT / "docs" / "images" / "architecture.svg"
COMMAND = ".venv/bin/python docs/generate/architecture.py"

# The place of each room: a side has rows, and a row has rooms with their widths in columns. A name that is repeated in
# the next row makes a box that is two rows high.
COLUMNS = {"face": 4, "above": 4, "reading": 1, "training": 3, "ground": 3}
PLACES: dict[str, list[list[tuple[str, int]]]] = {
    "face": [[("face", 3), ("results", 1)]],
    "above": [[("cli", 1), ("commands", 1), ("sweeps", 1), ("launch", 1)], [("planner", 2), ("beam", 2)]],
    "reading": [[("views", 1)], [("plots", 1)], [("comparison", 1)], [("records", 1)]],
    "training": [
        [("experiment", 3)],
        [("parallel", 3)],
        [("training", 3)],
        [("data", 1), ("rules", 1), ("benchmark", 1)],
        [("data", 1), ("models", 1), ("devices", 1)],
    ],
    "ground": [
        [("config", 1), ("console", 1), ("kernels", 1)],
        [("machine", 3)],
        [("errors", 1), ("version", 1), ("seeding", 1)],
    ],
}
LEVELS = [["face"], ["above"], ["reading", "training"], ["ground"]]  # from top to bottom
HEADS = {
    "face": ("The face", "what other programs import"),
    "above": ("Above both wings", "the only rooms that may use both"),
    "reading": ("Reading wing", "no torch, no hydra"),
    "training": ("Training wing", "imports torch"),
    "ground": ("Ground", "imports nothing that stands on it"),
}

WIDTH, MARGIN, PAD, GAP = 900, 20, 16, 24  # of the picture, around it, inside a side, between boxes
NARROW = 262  # the width of the reading wing
ABOVE, BESIDE = 36, 62  # between sides, enough for an arrow and its label
HEAD, TITLE, LINE = 36, 24, 15  # heights of a side's heading, a room's name, and a line of its sentence
LETTER = 6.3  # mean width of a letter in the widest of the fonts
NOTE = "An arrow: may import. Arrows that others imply are left out; tests/architecture.yaml has the whole table."

STYLE = """
  svg { font-family: system-ui, -apple-system, "Segoe UI", "Helvetica Neue", "DejaVu Sans", Arial, sans-serif }
  .paper { fill: #ffffff; stroke: #d9dee3 }
  .side { fill: #f5f7f9 }
  .room { fill: #ffffff; stroke-width: 1.2 }
  .head { font-weight: 600; font-size: 13px; fill: #24292f }
  .aside { font-weight: 400; fill: #66707a }
  .name { font: 600 13px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace }
  .words { font-size: 11.5px; fill: #4b545d }
  .label { font-size: 11.5px; fill: #66707a }
  .arrow { stroke: #8a949e; stroke-width: 1.4; fill: none; marker-end: url(#tip) }
  .tip { fill: #8a949e }
  .face .room { stroke: #b9a3e3 }     .face .name { fill: #6b46c1 }
  .above .room { stroke: #b9a3e3 }    .above .name { fill: #6b46c1 }
  .reading .room { stroke: #8fbbe8 }  .reading .name { fill: #0b5cad }
  .training .room { stroke: #e3b27c } .training .name { fill: #9a5205 }
  .ground .room { stroke: #b9c2ca }   .ground .name { fill: #3d4751 }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117; stroke: #30363d }
    .side { fill: #161b22 }
    .room { fill: #0d1117 }
    .head { fill: #e6edf3 }
    .aside, .label { fill: #919ba5 }
    .words { fill: #b4bdc6 }
    .arrow { stroke: #6e7781 }
    .tip { fill: #6e7781 }
    .face .room { stroke: #6e56a8 }     .face .name { fill: #c8b0ff }
    .above .room { stroke: #6e56a8 }    .above .name { fill: #c8b0ff }
    .reading .room { stroke: #2f6298 }  .reading .name { fill: #84c1ff }
    .training .room { stroke: #8a5a21 } .training .name { fill: #f2b26b }
    .ground .room { stroke: #48515a }   .ground .name { fill: #c9d1d9 }
  }
"""


@dataclass(frozen=True)
class Box:
    """A rectangle in the picture."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height


Arrows = dict[str, set[str]]


def arrows_between(table: Mapping[str, Mapping[str, dict[str, list[str]]]]) -> Arrows:
    """Map each room to the rooms that it may import. A file of a room counts as the room."""
    return {
        room: {entry.partition(".")[0] for entry in held["imports"]}
        for rooms in table.values()
        for room, held in rooms.items()
    }


def transitive_reduction(arrows: Arrows) -> Arrows:
    """Leave out the arrows that others imply: `a -> c` where there are `a -> b` and `b -> c`. There are no cycles."""

    def reachable(room: str) -> set[str]:
        return arrows[room].union(*(reachable(end) for end in arrows[room]))

    return {
        room: {end for end in ends if not any(end in reachable(other) for other in ends - {end})}
        for room, ends in arrows.items()
    }


def sentence(room: str) -> str:
    """Return the first sentence of a room's docstring, which says what belongs there."""
    package = ROOT / "dfa_cli"
    if room == "face":
        path = package / "__init__.py"
    else:
        path = package / room / "__init__.py" if (package / room).is_dir() else package / f"{room}.py"
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return re.split(r"\.(?:\s|$)", text, maxsplit=1)[0].replace("`", "").replace("\n", " ")


def title(room: str) -> str:
    if room == "face":
        return "dfa_cli"
    return f"{room}/" if (ROOT / "dfa_cli" / room).is_dir() else f"{room}.py"


def lines(room: str, width: float) -> list[str]:
    return textwrap.wrap(sentence(room), int((width - 20) / LETTER))


class Side:
    """One side of the architecture, such as a wing: its box and the boxes of its rooms."""

    def __init__(self, name: str, x: float, y: float, width: float, between: float = GAP):
        self.name, self.between, columns = name, between, COLUMNS[name]
        column = (width - 2 * PAD - (columns - 1) * GAP) / columns
        self.rooms: dict[str, Box] = {}
        top = y + HEAD
        for row in PLACES[name]:
            spans = [span * column + (span - 1) * GAP for _, span in row]
            tall = [len(lines(room, wide)) for (room, _), wide in zip(row, spans, strict=True)]
            single = [n for (room, _), n in zip(row, tall, strict=True) if not self._is_tall(room)]
            height = TITLE + LINE * max(single) + 8
            left = x + PAD
            for (room, _), wide in zip(row, spans, strict=True):
                first = self.rooms.get(room, Box(left, top, wide, 0))
                self.rooms[room] = Box(left, first.y, wide, top + height - first.y)
                left += wide + GAP
            top += height + between
        self.box = Box(x, y, width, top - between + PAD - y)

    def as_high_as(self, height: float) -> Side:
        """Return the same side with this height, and more space between its rows."""
        rows = len(PLACES[self.name])
        more = (height - self.box.height) / max(1, rows - 1)
        return Side(self.name, self.box.x, self.box.y, self.box.width, self.between + more)

    def _is_tall(self, room: str) -> bool:
        return sum(room == other for row in PLACES[self.name] for other, _ in row) > 1

    def __iter__(self) -> Iterator[str]:
        """Yield the side as lines of SVG, without its arrows."""
        box, (head, aside) = self.box, HEADS[self.name]
        yield f'<g class="{self.name}">'
        yield _rectangle("side", box, 10)
        yield (
            f'<text class="head" x="{box.x + PAD:g}" y="{box.y + 22:g}">{escape(head)}'
            f'<tspan class="aside" dx="8">{escape(aside)}</tspan></text>'
        )
        for room, one in self.rooms.items():
            yield _rectangle("room", one, 6)
            yield f'<text class="name" x="{one.x + 10:g}" y="{one.y + 19:g}">{escape(title(room))}</text>'
            for number, line in enumerate(lines(room, one.width)):
                y = one.y + TITLE + 12 + LINE * number
                yield f'<text class="words" x="{one.x + 10:g}" y="{y:g}">{escape(line)}</text>'
        yield "</g>"


def _rectangle(kind: str, box: Box, radius: int) -> str:
    return (
        f'<rect class="{kind}" x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}" '
        f'rx="{radius}"/>'
    )


def arrow(start: Box, end: Box) -> str:
    """Draw an arrow between the edges of two boxes: straight where they face each other, else around a corner."""
    if end.y >= start.bottom:  # below
        left, right = max(start.x, end.x), min(start.right, end.right)
        if right > left:
            x = (left + right) / 2
            return _path((x, start.bottom), (x, end.y - 2))
        x, middle = (end.x + 24, (start.bottom + end.y) / 2)
        begin = start.right - 24
        return _path((begin, start.bottom), (begin, middle), (x, middle), (x, end.y - 2))
    y = (max(start.y, end.y) + min(start.bottom, end.bottom)) / 2
    if end.x >= start.right:
        return _path((start.right, y), (end.x - 2, y))
    return _path((start.x, y), (end.right + 2, y))


def _path(*points: tuple[float, float]) -> str:
    return f'<path class="arrow" d="M{" L".join(f"{x:g} {y:g}" for x, y in points)}"/>'


def label(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text class="label" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(words)}</text>'


def picture() -> str:
    """Return the whole picture as SVG."""
    table = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    for side, rooms in table.items():
        placed = {room for row in PLACES[side] for room, _ in row}
        if missing := placed ^ set(rooms):
            names = ", ".join(sorted(missing))
            raise SystemExit(
                f"{names} must be both in {TABLE.relative_to(ROOT)} and in PLACES of {COMMAND.split()[1]}."
            )
    arrows = arrows_between(table)
    sides: dict[str, Side] = {}
    y = float(MARGIN)
    for level in LEVELS:
        x = float(MARGIN)
        for name in level:
            width = WIDTH - 2 * MARGIN
            if len(level) > 1:
                width = NARROW if name == "reading" else width - NARROW - BESIDE
            sides[name] = Side(name, x, y, width)
            x += width + BESIDE
        highest = max(sides[name].box.height for name in level)
        for name in level:
            sides[name] = sides[name].as_high_as(highest)
        y += highest + ABOVE
    height = y - ABOVE + MARGIN + 22
    parts = [line for side in sides.values() for line in side]
    parts += _arrows_within(sides, arrows)
    parts += _arrows_across(sides, arrows, table)
    parts.append(label(WIDTH / 2, height - 18, NOTE, "middle"))
    body = "\n".join(parts)
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" height="{height:g}" role="img">
<title>The rooms of dfa_cli and which may import which</title>
<desc>Drawn by docs/generate/architecture.py from tests/architecture.yaml; an arrow means "may import".</desc>
<style>{STYLE}</style>
<defs>
<marker id="tip" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="8" markerHeight="8" orient="auto"
 markerUnits="userSpaceOnUse"><path class="tip" d="M0 0.5 L7 4 L0 7.5 z"/></marker>
</defs>
<rect class="paper" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1:g}" rx="12"/>
{body}
</svg>
"""


def _arrows_within(sides: Mapping[str, Side], arrows: Arrows) -> Iterator[str]:
    for side in sides.values():
        inside = {room: arrows[room] & set(side.rooms) for room in side.rooms}
        for room, ends in transitive_reduction(inside).items():
            for end in sorted(ends):
                yield arrow(side.rooms[room], side.rooms[end])


def _arrows_across(
    sides: Mapping[str, Side], arrows: Arrows, table: Mapping[str, Mapping[str, dict[str, list[str]]]]
) -> Iterator[str]:
    """Draw one arrow from each side to the side below it and, between the wings, one to each imported room."""
    level = {name: number for number, names in enumerate(LEVELS) for name in names}
    side_of = {room: name for name, side in sides.items() for room in side.rooms}
    reached = {name: set().union(*(arrows[room] for room in side.rooms)) for name, side in sides.items()}
    down = {
        name: {side_of[room] for room in rooms if level[side_of[room]] > level[name]}
        for name, rooms in reached.items()
    }
    for name, ends in transitive_reduction(down).items():
        for end in sorted(ends):
            yield arrow(sides[name].box, sides[end].box)
    for name, rooms in reached.items():
        for room in sorted(rooms):
            if side_of[room] != name and level[side_of[room]] == level[name]:
                end = sides[side_of[room]].rooms[room]
                yield arrow(sides[name].box, end)
                yield label(
                    (sides[name].box.x + end.right + PAD) / 2, end.y + end.height / 2 - 8, "writes", "middle"
                )
    reading = sides["reading"].box
    entries = dict.fromkeys(entry for held in table["reading"].values() for entry in held["imports"])
    files = [entry.partition(".")[2] for entry in entries if entry.startswith("config.")]
    yield label(
        reading.x + reading.width / 2 + 12, reading.bottom + 22, f"of config/ only {', '.join(files)}"
    )


def main() -> int:
    text = picture()
    if "--check" in sys.argv[1:]:
        if PICTURE.is_file() and PICTURE.read_text(encoding="utf-8") == text:
            return 0
        print(
            f"{PICTURE.relative_to(ROOT)} is out of date: {TABLE.relative_to(ROOT)} or a room has changed. "
            f"Draw it again with {COMMAND}",
            file=sys.stderr,
        )
        return 1
    PICTURE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
