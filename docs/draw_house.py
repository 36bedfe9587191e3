"""Draw `house.svg` from the floor table of `tests/test_architecture.py`: `python docs/draw_house.py`.

A part stands above the parts that it may use; an arrow leads to a part that it uses directly. `tests/test_docs.py`
compares the drawing with the table.
"""

import sys
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "house.svg"
WIDTH, BOX, GAP, ROW = 1180, 34, 10, 64
COLOURS = {"room": "#eef5fb", "part": "#d6e9f8", "ground": "#e3f3ec", "outside": "#fbe3cf"}
OUTSIDE_WORDS = {
    "__init__": "names of all rooms, when used",
    "__main__": "commands by their names",
    "demo": "commands by their names",
    "doors": "what nnU-Net looks up in trainers",
}
Table = Mapping[str, set[str]]


def levels(table: Table) -> dict[str, int]:
    """Floor of each part: 0 where it uses no other, else one above the highest that it uses."""
    found: dict[str, int] = {}
    while len(found) < len(table):
        for name, uses in table.items():
            if name not in found and uses <= set(found):
                found[name] = 1 + max((found[other] for other in uses), default=-1)
    return found


def direct(table: Table, name: str) -> set[str]:
    """Parts that `name` uses and that no other part which it uses reaches."""
    return {other for other in table[name] if not any(other in reach(table, via) for via in table[name] - {other})}


def reach(table: Table, name: str) -> set[str]:
    """Everything that a part uses, also through others."""
    return set(table[name]).union(*(reach(table, other) for other in table[name]))


class Drawing:
    """Elements of a picture, in the order in which they are painted."""

    def __init__(self) -> None:
        self.below: list[str] = []
        self.above: list[str] = []

    def box(self, x: float, y: float, width: float, text: str, colour: str, hint: str) -> None:
        """A rounded box with its name; `hint` shows when the pointer rests on it."""
        self.above.append(
            f'<g><title>{escape(hint)}</title><rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{BOX}" rx="5" '
            f'fill="{COLOURS[colour]}" stroke="#555"/><text x="{x + width / 2:.1f}" y="{y + BOX / 2 + 5:.1f}" '
            f'text-anchor="middle">{escape(text)}</text></g>'
        )

    def room(self, x: float, y: float, width: float, height: float, title: str, note: str) -> None:
        """The walls of a room, its name, and below the name a line in small letters."""
        self.below.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="8" fill="{COLOURS["room"]}" '
            f'stroke="#0072B2" stroke-width="1.5"/><text x="{x + 10:.1f}" y="{y + 22:.1f}" class="title">'
            f'{escape(title)}</text><text x="{x + 10:.1f}" y="{y + 40:.1f}" class="small">{escape(note)}</text>'
        )

    def arrow(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """A thin line from one box down to another."""
        (x1, y1), (x2, y2) = start, end
        self.below.append(f'<path d="M{x1:.1f} {y1:.1f} L{x2:.1f} {y2 - 5:.1f}" class="arrow"/>')

    def svg(self, height: float) -> str:
        """The whole picture."""
        style = (
            "text{font:13px sans-serif;fill:#222}.title{font-weight:bold}.small{font-size:11.5px;fill:#444}"
            ".arrow{stroke:#666;fill:none;marker-end:url(#head)}"
        )
        tip = '<path d="M0 0L8 4L0 8z" fill="#666"/>'
        head = f'<marker id="head" markerWidth="8" markerHeight="8" refX="4" refY="4" orient="auto">{tip}</marker>'
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img">',
            "<title>The house: four rooms above a ground floor that all may use</title>",
            f"<style>{style}</style><defs>{head}</defs>",
            f'<rect width="{WIDTH}" height="{height:.0f}" fill="#fff"/>',
            *self.below,
            *self.above,
            "</svg>",
        ]
        return "\n".join(lines) + "\n"


def parts(drawing: Drawing, table: Table, x: float, top: float, width: float, colour: str) -> None:
    """Boxes of one table within a column, the highest floor on top, and arrows to what each uses directly."""
    floor = levels(table)
    highest = max(floor.values())
    place: dict[str, tuple[float, float, float]] = {}
    for level in range(highest + 1):
        names = sorted(name for name in table if floor[name] == level)
        room, letters, left = width - GAP * (len(names) - 1), sum(4 + len(name) for name in names), x
        for name in names:
            place[name] = (left, top + (highest - level) * ROW, room * (4 + len(name)) / letters)
            left += place[name][2] + GAP
    users = {name: sorted(o for o in table if name in direct(table, o)) for name in table}
    for name, (left, y, each) in place.items():
        drawing.box(left, y, each, name, colour, f"{name} may use: {', '.join(sorted(table[name])) or 'nothing'}")
        for other in sorted(direct(table, name)):
            there, order = place[other], users[other].index(name) + 1  # arrows end side by side
            end = there[0] + there[2] * order / (len(users[other]) + 1)
            drawing.arrow((left + each / 2, y + BOX), (end, there[1]))


def share(rooms: Mapping[str, Table]) -> Iterator[tuple[str, float, float]]:
    """Name, left edge and width of each room; a room is as wide as its widest floor needs."""
    widest = {
        name: max(sum(4 + len(p) for p in t if levels(t)[p] == level) for level in range(1 + max(levels(t).values())))
        for name, t in rooms.items()
    }
    whole, left = WIDTH - 2 * GAP - GAP * (len(rooms) - 1), float(GAP)
    for name, characters in widest.items():
        width = whole * characters / sum(widest.values())
        yield name, left, width
        left += width + GAP


def house(ground: Table, rooms: Mapping[str, Table], outside: Table) -> str:
    """The drawing of the floor table."""
    drawing = Drawing()
    each = (WIDTH - 2 * GAP - GAP * (len(outside) - 1)) / len(outside)
    for number, (name, uses) in enumerate(sorted(outside.items())):
        text = f"{name.strip('_')}: {OUTSIDE_WORDS.get(name) or ', '.join(sorted(uses))}"
        drawing.box(
            GAP + number * (each + GAP), GAP, each, text, "outside", f"{name} may use: {', '.join(sorted(uses))}"
        )
    top = 2 * GAP + BOX
    floors = {name: 1 + max(levels(table).values()) for name, table in rooms.items()}
    height = 54 + ROW * max(floors.values())
    for name, left, width in share(rooms):
        drawing.room(left, top, width, height, name, "its other files see all of it")
        down = top + 54 + ROW * (max(floors.values()) - floors[name])
        parts(drawing, rooms[name], left + GAP, down, width - 2 * GAP, "part")
    ground_top = top + height + GAP
    ground_height = 54 + ROW * (1 + max(levels(ground).values()))
    drawing.room(
        GAP, ground_top, WIDTH - 2 * GAP, ground_height, "ground floor", "every room may use it, it uses no room"
    )
    parts(drawing, ground, 2 * GAP, ground_top + 54, WIDTH - 4 * GAP, "ground")
    return drawing.svg(ground_top + ground_height + GAP)


def picture() -> str:
    """The drawing of this package's house."""
    sys.path.insert(0, str(ROOT))
    from tests.test_architecture import GROUND, OUTSIDE, ROOMS

    return house(GROUND, ROOMS, OUTSIDE)


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8", newline="\n")
