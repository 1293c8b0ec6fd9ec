"""One figure of the benchmark, and a table of them."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """One figure; None where the relay cannot do what is measured. `bar` is what it should be at most; None where a
    figure only explains another."""

    part: str
    what: str
    value: float | None
    unit: str
    bar: float | None = None

    @property
    def rounded(self) -> float | None:
        """The figure as it is saved."""
        return None if self.value is None else round(self.value, 3)

    @property
    def verdict(self) -> str:
        """Whether the bar holds."""
        if self.value is None:
            return "not built"
        if self.bar is None:
            return ""
        return "holds" if self.value <= self.bar else "MISSED"


def table(facts: dict[str, str], rows: list[Row]) -> str:
    """The rows as text."""
    lines = [f"{name:<9} {text}" for name, text in facts.items()]
    lines += ["", f"{'':<56} {'figure':>12} {'bar':>10}"]
    for row in rows:
        bar = "" if row.bar is None else f"<= {row.bar:g}"
        value = "-" if row.value is None else f"{row.value:.2f}"
        lines.append(f"{row.what:<56} {value:>9} {row.unit:<6} {bar:>7} {row.verdict}".rstrip())
    return "\n".join(lines)
