"""Cold start: the first request to each of many distinct deployed workers, in random order."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable
from pathlib import Path

from .cells import Row, Unit
from .context import START_TIMEOUT_SECONDS, Context
from .process import ServerProcess
from .servers import Deployment, Server, generate_workers

# Between two first requests, when they do not come back to back. A guess at a calm minute: 100 per second at most.
PAUSE_MS = 10.0
# Deno has no cold start inside a process: one process start for each of so many workers, full and quick alike.
DENO_STARTS_MAX = 100
SEED = 20_261_117

# Key part, pause in milliseconds, title.
MODES = [("paused", PAUSE_MS, f"one every {PAUSE_MS:.0f} ms"), ("packed", 0.0, "back to back")]


def rows(count: int) -> list[Row]:
    """The rows for `count` workers."""
    found = []
    for mode, _, title in MODES:
        for percentile in ("p50", "p99"):
            text = f"first request to each of {count:,} workers, {title}: {percentile}"
            found.append(Row(f"cold.{mode}.{percentile}", text, Unit.MILLISECONDS))
    found.append(Row("cold.again.p50", "second request to each of them: p50", Unit.MILLISECONDS))
    found.append(Row("cold.deploy", f"start-up per worker, {count:,} deployed", Unit.MILLISECONDS))
    return found


def measure(context: Context) -> None:
    """Each server in its own way; the notes of the report say how the ways differ."""
    declared = rows(context.scale.cold_workers)
    context.table.declare(declared)
    modules = generate_workers(context.scale.cold_workers, context.work / "cold")
    for round_number in range(context.scale.cold_rounds):
        for server in context.rotated(round_number):
            if server is context.selvedge:
                deploy = context.selvedge.deploy
                _measure_lazy(context, server, modules, round_number, deploy)
                _measure_deploy(context, server, modules, deploy)
            elif server is context.workerd:
                _measure_lazy(context, server, modules, round_number, context.workerd.deploy_lazily)
                _measure_deploy(context, server, modules, context.workerd.deploy)
    if context.deno is not None:
        _measure_deno(context, modules)


Deploy = Callable[[list[Path], Path], Deployment]


def _measure_lazy(context: Context, server: Server, modules: list[Path], round_number: int, deploy: Deploy) -> None:
    """First requests to workers that are deployed and not loaded. Each mode needs a fresh process."""
    for mode, pause_ms, title in MODES:
        keys = [f"cold.{mode}.p50", f"cold.{mode}.p99"]
        if mode == "packed":
            keys.append("cold.again.p50")
        if not context.table.is_open(keys, server.name):
            continue
        with context.measuring(server.name, keys, f"cold start, {title}, round {round_number + 1}"):
            with context.folder() as work:
                deployment = deploy(modules, work)
                context.note_command(f"{server.name}, cold start", deployment.launch)
                targets = list(deployment.targets)
                random.Random(SEED + round_number).shuffle(targets)
                with ServerProcess(deployment.launch) as process:
                    process.wait_answer(context.scale.start_many_timeout_seconds)
                    first = context.generator.each(targets, pause_ms)
                    process.check_alive()
                    again = context.generator.each(targets, 0.0) if mode == "packed" else None
            context.table.add(keys[0], server.name, first.p50_ms)
            context.table.add(keys[1], server.name, first.p99_ms)
            if again is not None:
                context.table.add("cold.again.p50", server.name, again.p50_ms)


def _measure_deploy(context: Context, server: Server, modules: list[Path], deploy: Deploy) -> None:
    """How much longer start-up takes for each worker that is deployed: all of them against the first."""
    key = "cold.deploy"
    if not context.table.is_open([key], server.name):
        return
    with context.measuring(server.name, [key], f"start-up with {len(modules)} workers"):
        seconds = []
        for chosen in (modules[:1], modules):
            with context.folder() as work:
                deployment = deploy(chosen, work)
                context.note_command(f"{server.name}, many workers", deployment.launch)
                with ServerProcess(deployment.launch) as process:
                    seconds.append(process.wait_answer(context.scale.start_many_timeout_seconds))
        context.table.add(key, server.name, (seconds[1] - seconds[0]) * 1e3 / (len(modules) - 1))


def _measure_deno(context: Context, modules: list[Path]) -> None:
    """A process for each worker: its start, up to the first answer."""
    server = context.deno
    assert server is not None
    packed = ["cold.packed.p50", "cold.packed.p99"]
    others = [row.key for row in rows(len(modules)) if row.key not in packed]
    context.table.skip(others, server.name, "one program per process: its cold start is a process start")
    chosen = random.Random(SEED).sample(modules, min(DENO_STARTS_MAX, len(modules)))
    with context.measuring(server.name, packed, f"cold start, {len(chosen)} processes"):
        times = []
        for module in chosen:
            with context.folder() as work, ServerProcess(server.serve(module, work)) as process:
                times.append(process.wait_answer(START_TIMEOUT_SECONDS) * 1e3)
        context.table.add(packed[0], server.name, statistics.median(times))
        context.table.add(packed[1], server.name, statistics.quantiles(times, n=100, method="inclusive")[98])
