# SPDX-License-Identifier: Apache-2.0
"""Draws docs/architecture.svg from the imports of the sources: python docs/draw_architecture.py.

Rooms stand above those they import. An arrow that follows from others (a -> c beside a -> b -> c) is left out, and so
are those to the foundation, which all rooms may use.
"""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

DOCS = Path(__file__).resolve().parent
PACKAGE = DOCS.parent / "zipvoice"
LEFT_OUT = {"__init__", "__main__", "endings"}
FOUNDATION = ("config", "utterances", "seeds", "cores", "heap", "weights", "weight_names", "files", "builtin")
WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 128, 40, 36, 56, 16


def room_of(path: Path) -> str:
    """The room that a source file of the package stands in."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports() -> dict[str, set[str]]:
    """The rooms that each room imports, at any depth of its functions."""
    sources = sorted(PACKAGE.rglob("*.py"))
    rooms = {room_of(path) for path in sources} - LEFT_OUT
    found: dict[str, set[str]] = {room: set() for room in rooms}
    for path in sources:
        if room_of(path) in LEFT_OUT:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for name in _imported(node):
                target = name.split(".")[1] if name.startswith("zipvoice.") else ""
                if target in rooms - {room_of(path)}:
                    found[room_of(path)].add(target)
    return found


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    """All rooms below `start`."""
    return graph[start].union(*(reachable(graph, room) for room in graph[start]))


def layers(graph: dict[str, set[str]]) -> list[list[str]]:
    """Rooms by the longest way down from them, those that import nothing last."""
    depth: dict[str, int] = {}
    for room in TopologicalSorter(graph).static_order():  # raises CycleError where rooms import each other
        depth[room] = 1 + max((depth[below] for below in graph[room]), default=-1)
    return [sorted(r for r in graph if depth[r] == level) for level in range(max(depth.values()), -1, -1)]


def svg(graph: dict[str, set[str]]) -> str:
    """The picture."""
    graph = {room: below - set(FOUNDATION) for room, below in graph.items() if room not in FOUNDATION}
    rows = layers(graph)
    wide = max(len(row) * (WIDTH + GAP_X) - GAP_X for row in [*rows, FOUNDATION]) + 2 * MARGIN
    high = (len(rows) + 1) * (HEIGHT + GAP_Y) - GAP_Y + 2 * MARGIN
    places: dict[str, tuple[float, float]] = {}
    for y, row in enumerate([*rows, FOUNDATION]):
        left = (wide - len(row) * (WIDTH + GAP_X) + GAP_X) / 2
        places |= {room: (left + x * (WIDTH + GAP_X), MARGIN + y * (HEIGHT + GAP_Y)) for x, room in enumerate(row)}
    arrows = [
        arrow(places[room], places[target])
        for room, below in sorted(graph.items())
        for target in sorted(below - set().union(*(reachable(graph, other) for other in below)))
    ]
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:g} {high:g}" '
        'font-family="sans-serif" font-size="15">',
        '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#888"/></marker>',
        f'<rect width="{wide:g}" height="{high:g}" fill="#fff"/>',
        *arrows,
        *(box(room, *places[room], room in FOUNDATION) for room in sorted(places)),
    ]
    return "\n".join([*lines, "</svg>", ""])


def arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    """From the lower edge of a box to the upper edge of another."""
    (x1, y1), (x2, y2) = ((x + WIDTH / 2, y) for x, y in (start, end))
    y1 += HEIGHT
    path = f"M{x1:g} {y1:g} C{x1:g} {y1 + GAP_Y:g} {x2:g} {y2 - GAP_Y:g} {x2:g} {y2:g}"
    return f'<path d="{path}" fill="none" stroke="#888" stroke-width="1.3" marker-end="url(#tip)"/>'


def box(room: str, x: float, y: float, is_foundation: bool) -> str:
    """A room."""
    fill, stroke = ("#f4f4f4", "#999") if is_foundation else ("#eef3fb", "#4a6fa5")
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="7" fill="{fill}" stroke="{stroke}"/>'
        f'<text x="{x + WIDTH / 2:g}" y="{y + HEIGHT / 2 + 5:g}" text-anchor="middle" fill="#1c2b45">{room}</text>'
    )


if __name__ == "__main__":
    (DOCS / "architecture.svg").write_text(svg(imports()), encoding="utf-8")
