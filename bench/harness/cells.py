"""The table: rows are measures, columns are servers, a cell is samples or the reason why there are none."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum


class Unit(Enum):
    """What a row counts in. Samples are kept in this unit."""

    REQUESTS_PER_SECOND = "req/s"
    MILLISECONDS = "ms"
    MEGABYTES = "MB"  # 10^6 bytes
    KILOBYTES = "kB"  # 10^3 bytes


class MeasureFailed(Exception):
    """A measure gave no number; the message says why, for the reader of the table."""


@dataclass(frozen=True)
class Row:
    """One measure."""

    key: str
    title: str
    unit: Unit


@dataclass
class Cell:
    """The samples of one measure of one server, one per round; or why there is no number."""

    samples: list[float] = field(default_factory=list)
    failure: str | None = None
    not_applicable: str | None = None

    @property
    def median(self) -> float | None:
        """The median of the rounds, unless a round failed."""
        if self.failure or self.not_applicable or not self.samples:
            return None
        return statistics.median(self.samples)

    @property
    def spread_percent(self) -> float | None:
        """Half the range of the rounds, in percent of the median."""
        median = self.median
        if median is None or len(self.samples) < 2 or median == 0:
            return None
        return 100 * (max(self.samples) - min(self.samples)) / 2 / abs(median)


class Table:
    """Rows in the order in which they are declared."""

    def __init__(self, servers: list[str]) -> None:
        self.servers = servers
        self.rows: dict[str, Row] = {}
        self.cells: dict[tuple[str, str], Cell] = {}

    def declare(self, rows: Iterable[Row]) -> None:
        """Adds rows, each with an empty cell for every server."""
        for row in rows:
            self.rows[row.key] = row
            for server in self.servers:
                self.cells[row.key, server] = Cell()

    def add(self, key: str, server: str, sample: float) -> None:
        """Adds one round's sample, in the row's unit."""
        self.cells[key, server].samples.append(sample)

    def fail(self, keys: Iterable[str], server: str, reason: str) -> None:
        """Marks cells as failed. The first reason stays."""
        for key in keys:
            cell = self.cells[key, server]
            cell.failure = cell.failure or reason

    def skip(self, keys: Iterable[str], server: str, reason: str) -> None:
        """Marks cells as not applicable to this server."""
        for key in keys:
            self.cells[key, server].not_applicable = reason

    def is_open(self, keys: Iterable[str], server: str) -> bool:
        """True if none of the cells has failed or is not applicable: the measure is worth another round."""
        cells = [self.cells[key, server] for key in keys]
        return not any(cell.failure or cell.not_applicable for cell in cells)
