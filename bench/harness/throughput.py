"""Throughput, and latency at full and at half load, for each workload."""

from __future__ import annotations

from .cells import Row, Unit
from .context import START_TIMEOUT_SECONDS, Context
from .process import ServerProcess
from .servers import Server
from .workloads import Workload

# Which workload wrk repeats, to check our own generator against a tool that others know.
CHECKED_BY_WRK = "hello"


def rows(workload: Workload) -> list[Row]:
    """The rows of one workload."""
    key, title = workload.key, workload.title
    found = [Row(f"{key}.rate", f"{title}: throughput", Unit.REQUESTS_PER_SECOND)]
    if key == CHECKED_BY_WRK:
        found.append(Row(f"{key}.wrk", f"{title}: throughput, by wrk", Unit.REQUESTS_PER_SECOND))
    for load in ("full", "half"):
        for percentile in ("p50", "p99"):
            found.append(Row(f"{key}.{load}.{percentile}", f"{title}: {percentile} at {load} load", Unit.MILLISECONDS))
    return found


def measure(context: Context, workloads: list[Workload]) -> None:
    """Every workload on every server in every round."""
    for workload in workloads:
        declared = rows(workload)
        context.table.declare(declared)
        keys = [row.key for row in declared]
        for server in context.servers:
            if reason := workload.not_applicable.get(server.name):
                context.table.skip(keys, server.name, reason)
    for round_number in range(context.scale.rounds):
        for workload in workloads:
            keys = [row.key for row in rows(workload)]
            for server in context.rotated(round_number):
                if context.table.is_open(keys, server.name):
                    what = f"{workload.title}, round {round_number + 1} of {context.scale.rounds}"
                    with context.measuring(server.name, keys, what):
                        _measure_once(context, workload, server)


def _measure_once(context: Context, workload: Workload, server: Server) -> None:
    scale, generator, table = context.scale, context.generator, context.table
    with context.folder() as work:
        if workload.files is not None:
            launch = server.serve_files(workload.files, work)
            context.note_command(f"{server.name}, static files", launch)
        else:
            launch = server.serve(context.bundles / f"{workload.key}.js", work)
            context.note_command(f"{server.name}, one worker", launch)
        with ServerProcess(launch) as process:
            process.wait_answer(START_TIMEOUT_SECONDS)
            workload.verify(launch.port)
            generator.closed(launch.port, workload.path, scale.warm_up_seconds)
            full = generator.closed(launch.port, workload.path, scale.load_seconds)
            process.check_alive()
            rate = full.requests_per_second / 2
            half = generator.open(launch.port, workload.path, scale.load_seconds, rate)
            process.check_alive()
            wrk = None
            if workload.key == CHECKED_BY_WRK:
                wrk = generator.wrk(launch.port, workload.path, scale.load_seconds)
            workload.verify(launch.port)
    context.generator_late_p99_ms = max(context.generator_late_p99_ms, half.late_p99_ms)
    table.add(f"{workload.key}.rate", server.name, full.requests_per_second)
    if wrk is not None:
        table.add(f"{workload.key}.wrk", server.name, wrk)
    for name, found in (("full", full), ("half", half)):
        table.add(f"{workload.key}.{name}.p50", server.name, found.p50_ms)
        table.add(f"{workload.key}.{name}.p99", server.name, found.p99_ms)
