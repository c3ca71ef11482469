"""Runs the load generators: our own (`bench/load`) and, as an independent check, wrk."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE
from typing import Any

from .cells import MeasureFailed

CONNECTIONS = 64
# What a run may take beyond its window: connecting, draining, slow first requests.
GRACE_SECONDS = 60.0


@dataclass(frozen=True)
class Target:
    """One worker to ask once: its port, its Host header, and what its answer begins with."""

    port: int
    host: str
    expected: str


@dataclass(frozen=True)
class Latency:
    """What one run of the load generator found."""

    requests: int
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    late_p99_ms: float


class LoadGenerator:
    """The two programs, and how to read what they say."""

    def __init__(self, load: Path, wrk: str | None) -> None:
        self._load = str(load)
        self._wrk = wrk

    def closed(self, port: int, path: str, seconds: float, host: str = "") -> Latency:
        """CONNECTIONS connections, each always with one request in flight."""
        return self._run(["closed", *_where(port, path, host), "--seconds", str(seconds)], seconds)

    def open(self, port: int, path: str, seconds: float, rate: float, host: str = "") -> Latency:
        """A constant `rate` (req/s) over CONNECTIONS connections; latency counts from when a request was due."""
        arguments = ["open", *_where(port, path, host), "--seconds", str(seconds), "--rate", f"{rate:.3f}"]
        return self._run(arguments, seconds)

    def watch(self, port: int, path: str, seconds_max: float, host: str, changed: Callable[[], None]) -> Watcher:
        """One connection that asks without a pause until it is told to stop. `changed` is called when the answer did."""
        arguments = ["watch", *_where(port, path, host), "--seconds", str(seconds_max)]
        return Watcher([self._load, *arguments], changed)

    def each(self, targets: list[Target], pause_ms: float) -> Latency:
        """One request to each target in turn, with a pause after each answer."""
        lines = "".join(f"{target.port} {target.host} {target.expected}\n" for target in targets)
        seconds = len(targets) * (pause_ms / 1e3 + 0.1)
        return self._run(["each", "--pause-ms", str(pause_ms)], seconds, lines)

    def wrk(self, port: int, path: str, seconds: float) -> float:
        """Throughput (req/s) by wrk, with one thread."""
        if self._wrk is None:
            raise MeasureFailed("wrk is not installed: apt-get install wrk")
        whole_seconds = max(1, round(seconds))
        url = f"http://127.0.0.1:{port}{path}"
        argv = [self._wrk, "-t1", f"-c{CONNECTIONS}", f"-d{whole_seconds}s", "-H", f"Host: localhost:{port}", url]
        text = _output(argv, whole_seconds + GRACE_SECONDS)
        for symptom in ("Non-2xx", "Socket errors"):
            if line := re.search(rf"^\s*{symptom}.*$", text, re.MULTILINE):
                raise MeasureFailed(f"wrk: {' '.join(line.group(0).split())}")
        rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
        if rate is None:
            raise MeasureFailed("wrk printed no rate")
        return float(rate.group(1))

    def _run(self, arguments: list[str], seconds: float, stdin: str = "") -> Latency:
        return _latency(json.loads(_output([self._load, *arguments], seconds + GRACE_SECONDS, stdin)))


@dataclass(frozen=True)
class Change:
    """An answer other than the one before: when it was complete (`time.monotonic_ns`), its body, why it is none."""

    at_ns: int
    body: str
    error: str | None


class Watcher:
    """A client that asks without a pause. Use it as a context manager: leaving ends it."""

    def __init__(self, argv: list[str], changed: Callable[[], None]) -> None:
        self.changes: list[Change] = []
        self._report: dict[str, Any] | None = None
        self._changed = changed
        self._child = subprocess.Popen(argv, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        self._child.wait()

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            found = json.loads(line)
            if "requests" in found:
                self._report = found
            else:
                self.changes.append(Change(found["at_ns"], found["body"], found["error"]))
            self._changed()

    def check_alive(self) -> None:
        """Raises MeasureFailed if it ended by itself."""
        if self._child.poll() is not None:
            raise MeasureFailed(f"the client ended: {self._last_words()}")

    def stop(self) -> Latency:
        """Has it end, and gives what it found; a request that failed is a MeasureFailed."""
        assert self._child.stdin is not None
        self._child.stdin.close()
        try:
            self._child.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise MeasureFailed("the client did not end") from error
        self._reader.join()
        if self._report is None:
            raise MeasureFailed(f"the client gave no report: {self._last_words()}")
        return _latency(self._report)

    def _last_words(self) -> str:
        assert self._child.stderr is not None
        return self._child.stderr.read().strip() or f"status {self._child.returncode}"


def _latency(found: dict[str, Any]) -> Latency:
    """What a report says, if every request was answered well."""
    if found["errors"]:
        errors = ", ".join(f"{count} × {kind}" for kind, count in found["errors"].items())
        raise MeasureFailed(f"{errors} (besides {found['requests']} successes)")
    if found["requests"] == 0:
        raise MeasureFailed("no request was answered in the window")
    return Latency(
        requests=found["requests"],
        requests_per_second=found["requests_per_second"],
        p50_ms=found["p50_us"] / 1e3,
        p99_ms=found["p99_us"] / 1e3,
        late_p99_ms=found["late_p99_us"] / 1e3,
    )


def _where(port: int, path: str, host: str) -> list[str]:
    where = ["--port", str(port), "--path", path, "--connections", str(CONNECTIONS)]
    return [*where, "--host", host] if host else where


def _output(argv: list[str], timeout_seconds: float, stdin: str = "") -> str:
    name = Path(argv[0]).name
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=timeout_seconds)
    except subprocess.TimeoutExpired as error:
        raise MeasureFailed(f"{name} did not end in {timeout_seconds:.0f} s") from error
    if done.returncode != 0:
        raise MeasureFailed(done.stderr.strip() or f"{name} ended with status {done.returncode}")
    return done.stdout
