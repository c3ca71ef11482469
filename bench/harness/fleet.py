"""Many workers deployed: what each costs the others, the start-up, the memory and the next deploy."""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .cells import MeasureFailed, Row, Unit
from .context import Context
from .loadgen import Target
from .memory import MEGABYTE, available_bytes
from .platform import Client, Platform, running
from .process import Launch, ServerProcess
from .servers import Server, UpLaunch, generate_workers

# Clients that deploy at the same time.
DEPLOYERS = 4
# How many workers answer a request each, once loaded.
OTHERS = 100
KILOBYTE = 1000
SEED = 20_261_117
# What a configured worker takes of workerd, for a check before many are started. Measured: 2.4 MB.
WORKERD_WORKER_BYTES = 2_400_000

# Key, title, unit. One worker is asked, unless the title says otherwise.
MEASURES = [
    ("rate", "{} deployed: throughput of one", Unit.REQUESTS_PER_SECOND),
    ("p50", "{} deployed: latency of one at the same rate, p50", Unit.MILLISECONDS),
    ("p99", "{} deployed: latency of one at the same rate, p99", Unit.MILLISECONDS),
    ("others", f"{{}} deployed: latency of {OTHERS} loaded ones in turn, p50", Unit.MILLISECONDS),
    ("ready", "{} deployed: start-up to ready", Unit.MILLISECONDS),
    ("answer", "{} deployed: start-up to first answer", Unit.MILLISECONDS),
    ("memory", "{} deployed: memory of the routing process after a start", Unit.MEGABYTES),
    ("busy", "{} deployed: memory of the routing process after their deploys", Unit.MEGABYTES),
    ("all", "{} deployed: memory of all processes after their deploys", Unit.MEGABYTES),
    ("deploy.p50", "{} deployed: one more deploy, p50", Unit.MILLISECONDS),
    ("deploy.p99", "{} deployed: one more deploy, p99", Unit.MILLISECONDS),
]
# What only a platform has.
OF_PLATFORM = ["ready", "busy", "all", "deploy.p50", "deploy.p99"]
DEPLOY_RATE = "fleet.deploys"
EACH = "fleet.each"


def rows(counts: tuple[int, ...]) -> list[Row]:
    """A row for each measure and count; how fast the most were deployed, and what each takes."""
    found = [
        Row(_key(count, key), title.format(f"{count:,}"), unit) for key, title, unit in MEASURES for count in counts
    ]
    found.append(Row(EACH, "memory of the routing process for each one deployed", Unit.KILOBYTES))
    found.append(Row(DEPLOY_RATE, f"deploys by {DEPLOYERS} clients at once", Unit.REQUESTS_PER_SECOND))
    return found


def measure(context: Context) -> None:
    """One platform that grows; workerd with as many workers in its configuration."""
    counts = context.scale.fleet_counts
    declared = rows(counts)
    context.table.declare(declared)
    modules = generate_workers(max(counts), context.work / "fleet")
    for server in context.servers:
        if server is context.selvedge:
            with context.folder() as work:
                _Fleet(context, server, modules).measure(context.selvedge.up(work, modules[0].stem))
        elif server is context.workerd:
            _measure_workerd(context, modules)
        else:
            keys = [row.key for row in declared]
            context.table.skip(keys, server.name, "one program per process")


def _key(count: int, key: str) -> str:
    return f"fleet.{count}.{key}"


class _Fleet:
    """What both servers are measured by."""

    def __init__(self, context: Context, server: Server, modules: list[Path]) -> None:
        self._context = context
        self._name = server.name
        self._modules = modules
        # Requests per second at which latency is measured: half of the throughput with the fewest workers.
        self._rate: float | None = None

    # === Selvedge ===

    def measure(self, up: UpLaunch) -> None:
        """Deploys up to each of the counts, and measures there."""
        deployed, counts = 0, self._context.scale.fleet_counts
        for count in counts:
            keys = [_key(count, key) for key, _, _ in MEASURES] + ([DEPLOY_RATE, EACH] if count == max(counts) else [])
            with self._measuring(count, keys):
                if deployed < 0:
                    raise MeasureFailed("not measured: fewer workers failed already")
                before, deployed = deployed, -1
                with running(up) as platform:
                    platform.wait_ready(self._context.scale.start_many_timeout_seconds)
                    self._deploy_up_to(platform, before, count)
                for _ in range(self._context.scale.rounds):
                    with running(up) as platform:
                        ready = platform.wait_ready(self._context.scale.start_many_timeout_seconds)
                        self._add(count, "ready", ready * 1e3)
                        self._weigh_and_ask(platform.process, platform.host, count)
                    with ServerProcess(up.launch) as process:
                        self._wait_answer(process, count)
                deployed = count
        self.add_each()

    def _deploy_up_to(self, platform: Platform, before: int, count: int) -> None:
        chosen = self._modules[before:count]
        began = time.perf_counter()
        _deploy_all(platform, chosen)
        seconds = time.perf_counter() - began
        platform.process.check_alive()
        self._add(count, "busy", platform.process.settled_own_bytes() / MEGABYTE)
        self._add(count, "all", platform.process.memory_bytes() / MEGABYTE)
        if count == max(self._context.scale.fleet_counts):
            self._context.table.add(DEPLOY_RATE, self._name, len(chosen) / seconds)
        chosen = random.Random(SEED).choices(self._modules[:count], k=self._context.scale.fleet_deploys)
        times = []
        with platform.client() as client:
            for number, module in enumerate(chosen):
                began = time.perf_counter()
                client.put_worker(module.stem, f"// Again, {number}.\n{module.read_text()}")
                times.append((time.perf_counter() - began) * 1e3)
        self._add(count, "deploy.p50", statistics.median(times))
        self._add(count, "deploy.p99", statistics.quantiles(times, n=100, method="inclusive")[98])

    # === both ===

    def measure_started(self, count: int, launch: Launch) -> None:
        """Start-up, memory and routing of a server whose workers come with its start."""
        with self._measuring(count, [_key(count, key) for key, _, _ in MEASURES if key not in OF_PLATFORM]):
            for _ in range(self._context.scale.rounds):
                with ServerProcess(launch) as process:
                    self._wait_answer(process, count)
                    self._weigh_and_ask(process, lambda worker: f"{worker}.localhost:{launch.port}", count)

    @contextmanager
    def _measuring(self, count: int, keys: list[str]) -> Iterator[None]:
        with self._context.measuring(self._name, keys, f"{count} workers deployed"):
            yield

    def _add(self, count: int, key: str, sample: float) -> None:
        self._context.table.add(_key(count, key), self._name, sample)

    def _wait_answer(self, process: ServerProcess, count: int) -> None:
        seconds = process.wait_answer(self._context.scale.start_many_timeout_seconds)
        self._add(count, "answer", seconds * 1e3)

    def add_each(self) -> None:
        """What one more deployed worker takes, where the memory of two counts is known."""
        cells = self._context.table.cells
        medians = {count: cells[_key(count, "memory"), self._name].median for count in self._context.scale.fleet_counts}
        known = {count: median for count, median in medians.items() if median is not None}
        fewest, most = min(known, default=0), max(known, default=0)
        if fewest < most:
            each = (known[most] - known[fewest]) * MEGABYTE / (most - fewest)
            self._context.table.add(EACH, self._name, each / KILOBYTE)

    def _weigh_and_ask(self, process: ServerProcess, host_of: Callable[[str], str], count: int) -> None:
        """Its memory; then routing, with the workers that are asked loaded beforehand."""
        self._add(count, "memory", process.settled_own_bytes() / MEGABYTE)
        port = process.launch.port
        scale, generator = self._context.scale, self._context.generator
        modules = random.Random(SEED).choices(self._modules[:count], k=OTHERS)
        targets = [Target(port, host_of(module.stem), module.stem) for module in modules]
        generator.each(targets, 0.0)
        self._add(count, "others", generator.each(targets, 0.0).p50_ms)
        host = host_of(self._modules[0].stem)
        generator.closed(port, "/", scale.warm_up_seconds, host)
        full = generator.closed(port, "/", scale.load_seconds, host)
        self._rate = self._rate or full.requests_per_second / 2
        half = generator.open(port, "/", scale.load_seconds, self._rate, host)
        process.check_alive()
        self._context.generator_late_p99_ms = max(self._context.generator_late_p99_ms, half.late_p99_ms)
        self._add(count, "rate", full.requests_per_second)
        self._add(count, "p50", half.p50_ms)
        self._add(count, "p99", half.p99_ms)


def _deploy_all(platform: Platform, modules: list[Path]) -> None:
    """Deploys each by one of some clients at the same time. The first failure ends it."""
    left = iter(modules)
    turn = threading.Lock()
    failures: list[MeasureFailed] = []

    def take() -> Path | None:
        with turn:
            return None if failures else next(left, None)

    def deploy(client: Client) -> None:
        while (module := take()) is not None:
            try:
                client.put_worker(module.stem, module.read_text())
                client.open_worker(module.stem)
            except MeasureFailed as failure:
                failures.append(failure)

    def run() -> None:
        with platform.client() as client:
            deploy(client)

    clients = [threading.Thread(target=run, daemon=True) for _ in range(DEPLOYERS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    if failures:
        raise failures[0]


def _measure_workerd(context: Context, modules: list[Path]) -> None:
    server = context.workerd
    assert server is not None
    counts = context.scale.fleet_counts
    no_platform = "no deploys: it serves what its configuration says, once it has started"
    context.table.skip([DEPLOY_RATE], server.name, no_platform)
    for count in counts:
        context.table.skip([_key(count, key) for key in OF_PLATFORM], server.name, no_platform)
    fleet = _Fleet(context, server, modules)
    for count in counts:
        needed, free = count * WORKERD_WORKER_BYTES, available_bytes()
        if free < 1.2 * needed:
            reason = f"it loads all at its start: about {needed / 1e9:.0f} GB; {free / 1e9:.0f} GB are free"
            keys = [_key(count, key) for key, _, _ in MEASURES if key not in OF_PLATFORM]
            context.table.skip(keys, server.name, reason)
            continue
        with context.folder() as work:
            launch = server.deploy_behind_router(modules[:count], work)
            context.note_command(f"{server.name}, many workers behind a router", launch)
            fleet.measure_started(count, launch)
    fleet.add_each()
