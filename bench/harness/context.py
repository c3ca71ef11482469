"""What all measures share: the servers, the load generator, the table, the bounds of this run."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .cells import MeasureFailed, Table
from .loadgen import LoadGenerator
from .process import Launch
from .servers import Deno, Selvedge, Server, Workerd

START_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Scale:
    """How much is measured. Times in seconds."""

    rounds: int
    load_seconds: float
    warm_up_seconds: float
    cold_workers: int
    cold_rounds: int
    memory_counts: tuple[int, ...]
    startups: int
    limit_seconds: float
    start_many_timeout_seconds: float
    live_deploys: int
    fleet_counts: tuple[int, ...]
    fleet_deploys: int


FULL = Scale(
    rounds=3,
    load_seconds=5.0,
    warm_up_seconds=1.5,
    cold_workers=1000,
    cold_rounds=3,
    memory_counts=(1, 100, 1000),
    startups=20,
    limit_seconds=30 * 60,
    start_many_timeout_seconds=120,
    live_deploys=200,
    fleet_counts=(1, 1000, 10_000),
    fleet_deploys=100,
)
QUICK = Scale(
    rounds=1,
    load_seconds=2.0,
    warm_up_seconds=0.5,
    cold_workers=200,
    cold_rounds=1,
    memory_counts=(1, 100),
    startups=5,
    limit_seconds=6 * 60,
    start_many_timeout_seconds=40,
    live_deploys=30,
    fleet_counts=(1, 100, 1000),
    fleet_deploys=20,
)


@dataclass
class Context:
    """One run."""

    scale: Scale
    servers: list[Server]
    generator: LoadGenerator
    bundles: Path
    work: Path
    table: Table
    # One command line for each kind of launch, in the order of first use.
    commands: dict[str, str] = field(default_factory=dict)
    # The worst value, over all half-load runs, of how late the generator itself was. Milliseconds.
    generator_late_p99_ms: float = 0.0
    _began: float = field(default_factory=time.monotonic)

    @property
    def selvedge(self) -> Selvedge | None:
        """Selvedge, if it is measured."""
        return next((server for server in self.servers if isinstance(server, Selvedge)), None)

    @property
    def workerd(self) -> Workerd | None:
        """workerd, if it is measured."""
        return next((server for server in self.servers if isinstance(server, Workerd)), None)

    @property
    def deno(self) -> Deno | None:
        """Deno, if it is measured."""
        return next((server for server in self.servers if isinstance(server, Deno)), None)

    def rotated(self, round_number: int) -> list[Server]:
        """The servers, another one first in each round."""
        first = round_number % len(self.servers)
        return self.servers[first:] + self.servers[:first]

    def note_command(self, case: str, launch: Launch) -> None:
        """Keeps the first command line of each case for the report; the middle of a long one is left out."""
        argv = launch.argv if len(launch.argv) < 16 else [*launch.argv[:4], "…", *launch.argv[-3:]]
        self.commands.setdefault(case, " ".join(argv))

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """An empty folder for one launch."""
        with tempfile.TemporaryDirectory(dir=self.work) as name:
            yield Path(name)

    @contextmanager
    def measuring(self, server: str, keys: Iterable[str], what: str) -> Iterator[None]:
        """Says what is going on; a failure inside marks `keys` of this server and ends there."""
        keys = list(keys)
        print(f"[{time.monotonic() - self._began:5.0f} s] {server}: {what}", file=sys.stderr, flush=True)
        try:
            if time.monotonic() - self._began > self.scale.limit_seconds:
                raise MeasureFailed(f"not measured: the run's limit of {self.scale.limit_seconds / 60:.0f} min is over")
            yield
        except MeasureFailed as failure:
            print(f"          failed: {failure}", file=sys.stderr, flush=True)
            self.table.fail(keys, server, str(failure))
