"""Marginal resident memory of idle isolates."""

from __future__ import annotations

from pathlib import Path

from .cells import MeasureFailed, Row, Unit
from .context import Context
from .process import ServerProcess
from .servers import Deployment, Server, generate_workers

MEGABYTE = 1_000_000
# What one of Deno's web workers may need, for a check before many are started. Measured: 8.7 MB.
WEB_WORKER_BYTES = 12_000_000


def rows(counts: tuple[int, ...]) -> list[Row]:
    """One row for each count, and the memory that is there before."""
    found = [Row("memory.base", "memory of the server with one worker loaded", Unit.MEGABYTES)]
    for count in counts:
        found.append(Row(_key(count), f"memory per idle isolate, {count:,} of them", Unit.MEGABYTES))
    return found


def measure(context: Context) -> None:
    """Loads 1, then more workers by one request each, and weighs the process tree before and after."""
    counts = context.scale.memory_counts
    context.table.declare(rows(counts))
    modules = generate_workers(max(counts), context.work / "memory")
    for count in counts:
        for server in context.servers:
            keys = [_key(count)] if count > 1 else [_key(count), "memory.base"]
            if not context.table.is_open(keys, server.name):
                continue
            with context.measuring(server.name, keys, f"memory of {count} isolates"):
                base, loaded = _weigh(context, server, modules[:count])
                context.table.add(_key(count), server.name, (loaded - base) / count / MEGABYTE)
                if count == 1:
                    context.table.add("memory.base", server.name, base / MEGABYTE)


def _key(count: int) -> str:
    return f"memory.{count}"


def _weigh(context: Context, server: Server, modules: list[Path]) -> tuple[int, int]:
    """Bytes without an isolate for these workers, and with."""
    if server is context.workerd:
        # It has no state "deployed, not loaded": the base is another process, with the same sockets.
        with context.folder() as work:
            base, _ = _weigh_around(context, context.workerd.deploy_sockets(len(modules), work), lazy=False)
        with context.folder() as work:
            _, loaded = _weigh_around(context, context.workerd.deploy(modules, work), lazy=False)
        return base, loaded
    with context.folder() as work:
        return _weigh_around(context, _deploy(context, server, modules, work), lazy=True)


def _deploy(context: Context, server: Server, modules: list[Path], work: Path) -> Deployment:
    if context.selvedge is not None and server is context.selvedge:
        return context.selvedge.deploy(modules, work)
    assert context.deno is not None
    needed = len(modules) * WEB_WORKER_BYTES
    if (free := available_bytes()) < 1.2 * needed:
        raise MeasureFailed(f"needs about {needed / 1e9:.0f} GB, {free / 1e9:.0f} GB are available")
    return context.deno.deploy_web_workers(modules, work)


def _weigh_around(context: Context, deployment: Deployment, lazy: bool) -> tuple[int, int]:
    """Bytes before and after one request to each worker. Connections are closed by then.

    `lazy` servers load a worker upon its first request, which therefore takes much longer than the next, unless
    the worker is gone again by then."""
    with ServerProcess(deployment.launch) as process:
        process.wait_answer(context.scale.start_many_timeout_seconds)
        before = process.settled_memory_bytes()
        if not deployment.targets:
            return before, before
        first = context.generator.each(deployment.targets, 0.0)
        after = process.settled_memory_bytes()
        again = context.generator.each(deployment.targets, 0.0)
        if lazy and len(deployment.targets) >= 100 and again.p50_ms > first.p50_ms / 2:
            raise MeasureFailed(
                "isolates were evicted before they were weighed: the second request to each took "
                f"{again.p50_ms:.2f} ms, the first {first.p50_ms:.2f} ms"
            )
        return before, after


def available_bytes() -> int:
    """What processes may still take."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0
