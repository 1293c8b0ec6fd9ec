"""Draws where a relayed call's time goes, from a profiler's collapsed stacks, as an SVG.

py-spy record --native -p PID -d 6 -r 300 -f raw -o stacks.txt       while calls flow
python benchmarks/picture.py stacks.txt > docs/images/relayed-call.svg
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

WIDTH, ROW = 1180, 17
LEAST = 0.006
"""Share of the whole below which nothing is drawn."""
COLOURS = {"a2a_relay": "#8ecae6", ".so": "#e0e0e0", ".c": "#e0e0e0", ".h": "#e0e0e0", "": "#ffe0a3"}


@dataclass
class Frame:
    """A function, how often it or something below it was seen, and what it called."""

    samples: int = 0
    below: dict[str, Frame] = field(default_factory=dict)


def read(file: Path) -> Frame:
    """The stacks as a tree, from the event loop on, without the loop's own plumbing."""
    root = Frame()
    for line in file.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        names = [name.rpartition(":")[0] or name for name in stack.split(";")]
        names = [name + ")" if "(" in name and not name.endswith(")") else name for name in names]
        start = next((n for n, name in enumerate(names) if name.startswith("uv_run")), None)
        if start is None:
            continue
        frame = root
        frame.samples += int(count)
        for name in _without_plumbing(names[start:]):
            frame = frame.below.setdefault(name, Frame())
            frame.samples += int(count)
    return root


def _without_plumbing(names: list[str]) -> Iterator[str]:
    last = ""
    for name in names:
        is_native = name.endswith((".c)", ".h)", ".so)")) or name.startswith("0x") or ".so." in name
        if is_native and not name.startswith(("write", "read", "epoll", "json_", "uv__read")):
            continue
        if name != last:
            yield name
        last = name


def drawn(frame: Frame, name: str, left: float, depth: int, unit: float, whole: int) -> Iterator[str]:
    """Rectangles of a frame and of all below it."""
    width = frame.samples * unit
    colour = next(colour for mark, colour in COLOURS.items() if mark in name)
    share = 100 * frame.samples / whole
    label = escape(name)[: max(0, int(width / 6.2))]
    yield (
        f'<g><title>{escape(name)}: {share:.1f}%</title><rect x="{left:.1f}" y="{depth * ROW}" width="{width:.1f}" '
        f'height="{ROW - 1}" fill="{colour}"/><text x="{left + 3:.1f}" y="{depth * ROW + 12}">{label}</text></g>'
    )
    for below, child in sorted(frame.below.items(), key=lambda item: -item[1].samples):
        if child.samples / whole >= LEAST:
            yield from drawn(child, below, left, depth + 1, unit, whole)
            left += child.samples * unit


def depth_of(frame: Frame, whole: int) -> int:
    """How many rows are drawn."""
    shown = [child for child in frame.below.values() if child.samples / whole >= LEAST]
    return 1 + max((depth_of(child, whole) for child in shown), default=0)


def main() -> None:
    root = read(Path(sys.argv[1]))
    height = depth_of(root, root.samples) * ROW
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="monospace"', end="")
    print(' font-size="10">')
    print("\n".join(drawn(root, "event loop", 0, 0, WIDTH / root.samples, root.samples)))
    print("</svg>")


if __name__ == "__main__":
    main()
