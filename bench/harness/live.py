"""From the API's answer to a deploy until clients that ask without a pause see what was deployed, and nothing else."""

from __future__ import annotations

import statistics
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field

from .cells import MeasureFailed, Row, Unit
from .context import START_TIMEOUT_SECONDS, Context
from .loadgen import Latency, Watcher
from .platform import Client, Platform, running
from .servers import COMPATIBILITY_DATE

WORKER = "busy"
# The clients: which path each asks for. The first two ask the code, which asks for the static file in its turn; the
# third asks for the static file, which no code answers.
MIXED, ASSET = "/mixed", "/number.txt"
PATHS = [MIXED, MIXED, ASSET]
# After this long a deploy counts as never seen.
LIVE_TIMEOUT_SECONDS = 30.0
# What the whole run of the clients may take.
WATCH_SECONDS_MAX = 600.0


@dataclass
class _Found:
    """One sample for each deploy, in milliseconds; and what the clients saw."""

    deploy_ms: list[float] = field(default_factory=list)
    live_ms: list[float] = field(default_factory=list)
    clients: list[Latency] = field(default_factory=list)


def rows(deploys: int) -> list[Row]:
    """The rows for so many deploys."""
    of = f"{deploys} deploys under load"
    return [
        Row("live.p50", f"{of}, answer to live: p50", Unit.MILLISECONDS),
        Row("live.p99", f"{of}, answer to live: p99", Unit.MILLISECONDS),
        Row("live.max", f"{of}, answer to live: slowest", Unit.MILLISECONDS),
        Row("live.deploy.p50", f"{of}, upload to answer: p50", Unit.MILLISECONDS),
        Row("live.deploy.p99", f"{of}, upload to answer: p99", Unit.MILLISECONDS),
        Row("live.rate", f"{of}, requests answered meanwhile, none wrong", Unit.REQUESTS_PER_SECOND),
        Row("live.request.p99", f"{of}, latency meanwhile: p99", Unit.MILLISECONDS),
    ]


def measure(context: Context) -> None:
    """Only Selvedge takes in a deploy while it runs."""
    deploys = context.scale.live_deploys
    declared = rows(deploys)
    keys = [row.key for row in declared]
    context.table.declare(declared)
    for server in context.servers:
        if server is not context.selvedge:
            context.table.skip(keys, server.name, "no deploys: it serves what its command line or configuration says")
    if context.selvedge is None:
        return
    name = context.selvedge.name
    with context.measuring(name, keys, f"{deploys} deploys under load"):
        with context.folder() as work:
            up = context.selvedge.up(work, WORKER)
            context.note_command(f"{name}, platform", up.launch)
            with running(up) as platform:
                platform.wait_ready(START_TIMEOUT_SECONDS)
                found = _deploy_under_load(context, platform)
        add = context.table.add
        for key, samples in (("live", found.live_ms), ("live.deploy", found.deploy_ms)):
            add(f"{key}.p50", name, statistics.median(samples))
            add(f"{key}.p99", name, statistics.quantiles(samples, n=100, method="inclusive")[98])
        add("live.max", name, max(found.live_ms))
        add("live.rate", name, sum(client.requests_per_second for client in found.clients))
        add("live.request.p99", name, max(client.p99_ms for client in found.clients))


def _deploy_under_load(context: Context, platform: Platform) -> _Found:
    found = _Found()
    with platform.client() as client, ExitStack() as stack:
        client.put_worker(WORKER, "export default { fetch: () => new Response('0 0 0 0') };")
        client.open_worker(WORKER)
        _deploy(client, 1)
        platform.process.wait_success(platform.port, platform.host(WORKER), MIXED, START_TIMEOUT_SECONDS)
        changed = threading.Condition()
        watchers = []
        for path in PATHS:
            watcher = context.generator.watch(
                platform.port, path, WATCH_SECONDS_MAX, platform.host(WORKER), lambda: _notify(changed)
            )
            watchers.append(stack.enter_context(watcher))
        checks = [_Check(watcher, path) for watcher, path in zip(watchers, PATHS)]
        _wait_live(checks, 1, changed)
        for number in range(2, context.scale.live_deploys + 2):
            began_ns = time.monotonic_ns()
            _deploy(client, number)
            answered_ns = time.monotonic_ns()
            live_ns = _wait_live(checks, number, changed)
            platform.process.check_alive()
            found.deploy_ms.append((answered_ns - began_ns) / 1e6)
            found.live_ms.append(max(0, live_ns - answered_ns) / 1e6)
        found.clients = [watcher.stop() for watcher in watchers]
        for check in checks:
            check.look()
    return found


def _notify(changed: threading.Condition) -> None:
    with changed:
        changed.notify_all()


def _deploy(client: Client, number: int) -> None:
    """Assets, version, deployment: as wrangler does. The number is in each of the parts."""
    assets = client.put_assets(WORKER, {ASSET: f"{number}\n".encode(), "/same.txt": b"the same in all versions\n"})
    metadata = {
        "main_module": "index.js",
        "compatibility_date": COMPATIBILITY_DATE,
        "bindings": [{"name": "ASSETS", "type": "assets"}, {"name": "VERSION", "type": "version_metadata"}],
        "annotations": {"workers/tag": str(number)},
        "assets": {"jwt": assets, "config": {"run_worker_first": [MIXED]}},
    }
    source = (
        'import { number } from "./number.js";\n'
        "export default {\n"
        "  async fetch(request, env) {\n"
        f'    const asset = await env.ASSETS.fetch("http://assets{ASSET}");\n'
        f"    return new Response(`{number} ${{number}} ${{(await asset.text()).trim()}} ${{env.VERSION.tag}}`);\n"
        "  },\n"
        "};\n"
    )
    modules = {"index.js": source, "number.js": f"export const number = {number};\n"}
    client.deploy(WORKER, client.put_version(WORKER, metadata, modules))


class _Check:
    """What one client may see: whole versions, each newer than the one before."""

    def __init__(self, watcher: Watcher, path: str) -> None:
        self._watcher = watcher
        self._path = path
        self._looked = 0
        # The newest version that it saw, and when that was first.
        self.number = 0
        self.at_ns = 0

    def look(self) -> None:
        """Takes in what it saw since; what may not be is a MeasureFailed."""
        for change in self._watcher.changes[self._looked :]:
            self._looked += 1
            if change.error is not None:
                raise MeasureFailed(f"{self._path} during deploys: {change.error}: {change.body}")
            words = change.body.split()
            if len(words) != (4 if self._path == MIXED else 1) or len(set(words)) != 1 or not words[0].isdigit():
                raise MeasureFailed(f"{self._path} mixed versions: {change.body}")
            if int(words[0]) < self.number:
                raise MeasureFailed(f"{self._path} went back from version {self.number} to {words[0]}")
            self.number, self.at_ns = int(words[0]), change.at_ns

    def check_alive(self) -> None:
        """Raises MeasureFailed if the client ended."""
        self._watcher.check_alive()


def _wait_live(checks: list[_Check], number: int, changed: threading.Condition) -> int:
    """Waits until every client saw the version. Gives when the last one first did."""
    deadline = time.monotonic() + LIVE_TIMEOUT_SECONDS
    with changed:
        while True:
            for check in checks:
                check.look()
            if all(check.number == number for check in checks):
                return max(check.at_ns for check in checks)
            if time.monotonic() > deadline:
                seen = ", ".join(str(check.number) for check in checks)
                raise MeasureFailed(f"version {number} was not seen in {LIVE_TIMEOUT_SECONDS:.0f} s, but {seen}")
            for check in checks:
                check.check_alive()
            changed.wait(1.0)
