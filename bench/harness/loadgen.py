"""Runs the load generators: our own (`bench/load`) and, as an independent check, wrk."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

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

    def closed(self, port: int, path: str, seconds: float) -> Latency:
        """CONNECTIONS connections, each always with one request in flight."""
        return self._run(["closed", *_where(port, path), "--seconds", str(seconds)], seconds)

    def open(self, port: int, path: str, seconds: float, rate: float) -> Latency:
        """A constant `rate` (req/s) over CONNECTIONS connections; latency counts from when a request was due."""
        arguments = ["open", *_where(port, path), "--seconds", str(seconds), "--rate", f"{rate:.3f}"]
        return self._run(arguments, seconds)

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
        found = json.loads(_output([self._load, *arguments], seconds + GRACE_SECONDS, stdin))
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


def _where(port: int, path: str) -> list[str]:
    return ["--port", str(port), "--path", path, "--connections", str(CONNECTIONS)]


def _output(argv: list[str], timeout_seconds: float, stdin: str = "") -> str:
    name = Path(argv[0]).name
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=timeout_seconds)
    except subprocess.TimeoutExpired as error:
        raise MeasureFailed(f"{name} did not end in {timeout_seconds:.0f} s") from error
    if done.returncode != 0:
        raise MeasureFailed(done.stderr.strip() or f"{name} ended with status {done.returncode}")
    return done.stdout
