"""From exec to the first answered request of the hello worker."""

from __future__ import annotations

import statistics

from .cells import Row, Unit
from .context import START_TIMEOUT_SECONDS, Context
from .process import ServerProcess
from .servers import Server

P50 = Row("startup.p50", "start-up to first answer, hello: p50", Unit.MILLISECONDS)
MAX = Row("startup.max", "start-up to first answer, hello: slowest", Unit.MILLISECONDS)
KEYS = [P50.key, MAX.key]


def measure(context: Context) -> None:
    """Starts each server several times, after one start that fills its caches and is not counted."""
    context.table.declare([P50, MAX])
    for server in context.servers:
        with context.measuring(server.name, KEYS, f"start-up, {context.scale.startups} times"):
            times = _start_up_ms(context, server)
            context.table.add(P50.key, server.name, statistics.median(times))
            context.table.add(MAX.key, server.name, max(times))


def _start_up_ms(context: Context, server: Server) -> list[float]:
    times = []
    with context.folder() as work:
        for _ in range(context.scale.startups + 1):
            launch = server.serve(context.bundles / "hello.js", work)
            with ServerProcess(launch) as process:
                times.append(process.wait_answer(START_TIMEOUT_SECONDS) * 1e3)
    return times[1:]
