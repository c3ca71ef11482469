"""The table as text, and bench/RESULTS.md."""

from __future__ import annotations

from dataclasses import dataclass

from .cells import Cell, Table, Unit
from .notes import NOTES


@dataclass(frozen=True)
class Facts:
    """What stands around the table."""

    date: str
    command: str
    duration_seconds: float
    machine: list[tuple[str, str]]
    versions: list[tuple[str, str]]
    commands: dict[str, str]
    # Remarks on this very run: a busy machine, a short run.
    remarks: list[str]


class Footnotes:
    """Reasons, numbered in the order of first use; the same reason gets the same number."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def mark(self, text: str) -> str:
        """The mark to put into the cell."""
        if text not in self.texts:
            self.texts.append(text)
        return f"[{self.texts.index(text) + 1}]"


def render_table(table: Table) -> tuple[list[list[str]], list[str]]:
    """Lines of cells, the first being the heading; and the footnotes."""
    footnotes = Footnotes()
    compares = {"selvedge", "workerd"} <= set(table.servers)
    lines = [["measure", "unit", *table.servers, *(["selvedge ÷ workerd"] if compares else [])]]
    for row in table.rows.values():
        cells = [table.cells[row.key, server] for server in table.servers]
        line = [row.title, row.unit.value, *(_cell(cell, row.unit, footnotes) for cell in cells)]
        if compares:
            ours, theirs = table.cells[row.key, "selvedge"].median, table.cells[row.key, "workerd"].median
            line.append(f"{ours / theirs:.2f}" if ours is not None and theirs else "–")
        lines.append(line)
    return lines, footnotes.texts


def plain(lines: list[list[str]], footnotes: list[str]) -> str:
    """For the terminal."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    out = []
    for line in lines:
        rest = (text.rjust(width) for text, width in zip(line[1:], widths[1:]))
        out.append("  ".join([line[0].ljust(widths[0]), *rest]))
    out.extend(f"[{number}] {text}" for number, text in enumerate(footnotes, 1))
    return "\n".join(out)


def markdown(table: Table, facts: Facts) -> str:
    """The whole of RESULTS.md."""
    lines, footnotes = render_table(table)
    out = ["# Side-by-side results", "", f"Written by `{facts.command}`; `README.md` says how to read it.", ""]
    out += [f"**{remark}**\n" for remark in facts.remarks]
    out += [_markdown_row(lines[0]), _markdown_row(["---", "---", *["---:"] * (len(lines[0]) - 2)])]
    out += [_markdown_row(line) for line in lines[1:]]
    out += ["", *(f"{number}. {_escape(text)}" for number, text in enumerate(footnotes, 1))]
    out += ["", "## Machine and versions", ""]
    minutes = f"{facts.duration_seconds / 60:.1f} min"
    pairs = [("Date", facts.date), ("Took", minutes), *facts.machine, *facts.versions]
    out += [f"- {name}: {value}" for name, value in pairs]
    out += ["", "## Commands", "", "Each in a folder that holds the modules and, for workerd, its configuration.", ""]
    out += [f"- {case}: `{command}`" for case, command in facts.commands.items()]
    out += ["", "## Notes", "", *(f"- {note}" for note in NOTES), ""]
    return "\n".join(out)


def _cell(cell: Cell, unit: Unit, footnotes: Footnotes) -> str:
    if cell.failure:
        return f"failed {footnotes.mark(cell.failure)}"
    if cell.not_applicable:
        return f"n/a {footnotes.mark(cell.not_applicable)}"
    if cell.median is None:
        return "–"
    spread = cell.spread_percent
    return _number(cell.median, unit) + (f" ±{spread:.0f}%" if spread is not None else "")


def _number(value: float, unit: Unit) -> str:
    if unit is Unit.REQUESTS_PER_SECOND or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}"


def _markdown_row(cells: list[str]) -> str:
    return f"| {' | '.join(_escape(cell) for cell in cells)} |"


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("[", "\\[")
