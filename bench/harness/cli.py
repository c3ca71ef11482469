"""The command line, and the order in which things are measured."""

from __future__ import annotations

import argparse
import datetime
import os
import resource
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from . import cold, fleet, live, machine, memory, report, startup, throughput
from .cells import Table
from .context import FULL, QUICK, Context
from .loadgen import LoadGenerator
from .servers import Deno, Selvedge, Server, Workerd
from .toolchain import BENCH, ROOT, SetupFailed, Toolchain, from_root, prepare
from .workloads import WORKLOADS

SERVERS = ["selvedge", "workerd", "deno"]
MEASURES = [*(workload.key for workload in WORKLOADS), "cold", "memory", "startup", "live", "fleet"]
WORK = BENCH / ".work"
# More than this at the start means that someone else uses the cores.
QUIET_LOAD_AVERAGE = 0.5
OPEN_FILES = 16_384


def main() -> int:
    """Runs the benchmark. The status is 0 if it ran, whatever it found; 1 if it could not; 2 for wrong arguments."""
    options = _parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return _run(options)
    except SetupFailed as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(options: argparse.Namespace) -> int:
    load_before = machine.load_average()
    shutil.rmtree(WORK / "run", ignore_errors=True)
    (WORK / "run").mkdir(parents=True)
    toolchain = prepare(WORK / "run")
    cores = _pin(options.cores)
    context = _context(options, toolchain)
    began = time.monotonic()
    _measure(context, options.only)
    facts = _facts(options, context, cores, time.monotonic() - began, load_before)
    print(report.plain(*report.render_table(context.table)))
    out: Path = options.out or _default_out(options)
    out.write_text(report.markdown(context.table, facts))
    print(f"\nwritten to {from_root(str(out))}")
    shutil.rmtree(WORK / "run", ignore_errors=True)
    return 0


def _measure(context: Context, only: list[str]) -> None:
    throughput.measure(context, [workload for workload in WORKLOADS if workload.key in only])
    if "cold" in only:
        cold.measure(context)
    if "memory" in only:
        memory.measure(context)
    if "startup" in only:
        startup.measure(context)
    if "live" in only:
        live.measure(context)
    if "fleet" in only:
        fleet.measure(context)


def _context(options: argparse.Namespace, toolchain: Toolchain) -> Context:
    makers: dict[str, Callable[[], Server]] = {
        "selvedge": lambda: Selvedge(options.selvedge.resolve(), shlex.split(options.selvedge_args)),
        "workerd": Workerd,
        "deno": lambda: Deno(WORK / "deno-cache"),
    }
    servers: list[Server] = [makers[name]() for name in options.servers]
    return Context(
        scale=QUICK if options.quick else FULL,
        servers=servers,
        generator=LoadGenerator(toolchain.load, toolchain.wrk),
        bundles=toolchain.bundles,
        work=WORK / "run",
        table=Table(options.servers),
    )


def _facts(
    options: argparse.Namespace, context: Context, cores: list[int], seconds: float, load_before: float
) -> report.Facts:
    versions = [(server.name, server.version()) for server in context.servers]
    if context.selvedge:
        versions.append(("repository", machine.revision()))
    remarks = []
    if options.quick:
        remarks.append("A quick run: one short round, fewer workers. Not for the record.")
    if load_before > QUIET_LOAD_AVERAGE:
        remarks.append(f"The machine was not quiet: load average {load_before:.1f} before the run. Not for the record.")
    late = context.generator_late_p99_ms
    if late > 0:
        remarks.append(f"At half load the client itself was up to {late:.3f} ms late (worst p99 of any run).")
    return report.Facts(
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        command=shlex.join(["bench/run", *(from_root(argument) for argument in sys.argv[1:])]),
        duration_seconds=seconds,
        machine=machine.describe(cores),
        versions=versions,
        commands={case: from_root(command) for case, command in context.commands.items()},
        remarks=remarks,
    )


def _default_out(options: argparse.Namespace) -> Path:
    """The record is written by complete runs only; others leave it alone."""
    complete = not options.quick and options.only == MEASURES and options.servers == SERVERS
    return BENCH / "RESULTS.md" if complete else WORK / "RESULTS.md"


def _pin(cores: list[int] | None) -> list[int]:
    """Keeps this process, and so all it starts, on these cores; and allows it enough connections."""
    if cores:
        os.sched_setaffinity(0, cores)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    soft = OPEN_FILES if limit == resource.RLIM_INFINITY else min(OPEN_FILES, limit)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, limit))
    return sorted(os.sched_getaffinity(0))


def _listed(allowed: list[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        if unknown := [name for name in chosen if name not in allowed]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not among {', '.join(allowed)}")
        return [name for name in allowed if name in chosen]

    return parse


def _cores(text: str) -> list[int]:
    cores = sorted({int(core) for core in text.split(",")})
    if not set(cores) <= os.sched_getaffinity(0):
        raise argparse.ArgumentTypeError(f"{text}: not all of these cores are there")
    return cores


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench/run",
        description="Measures selvedge, workerd and deno side by side, in one run on one machine.",
        epilog="A full run takes under 30 minutes and writes bench/RESULTS.md; a quick or partial run takes less and "
        "writes bench/.work/RESULTS.md. Example: bench/run --quick --only hello,cold --servers selvedge,workerd",
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="one short round, fewer workers: under 6 minutes")
    add("--only", type=_listed(MEASURES), default=MEASURES, metavar="LIST", help=f"some of {','.join(MEASURES)}")
    add("--servers", type=_listed(SERVERS), default=SERVERS, metavar="LIST", help=f"some of {','.join(SERVERS)}")
    binary = ROOT / "target" / "release" / "selvedge"
    add("--selvedge", type=Path, default=binary, metavar="PATH", help="the binary (target/release/selvedge)")
    add("--selvedge-args", default="", metavar="ARGS", help="more arguments for `selvedge dev`")
    add("--cores", type=_cores, metavar="LIST", help="cores for servers and client together (all)")
    add("--out", type=Path, metavar="FILE", help="where to write the results")
    return parser.parse_args()
