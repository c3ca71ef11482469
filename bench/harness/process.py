"""A server's processes: started on their own, watched, measured, and always ended."""

from __future__ import annotations

import atexit
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .cells import MeasureFailed
from .http import Answer, get
from .toolchain import from_root

STOP_TIMEOUT_SECONDS = 5.0
LOG_TAIL_CHUNKS = 16
LOG_CHUNK_BYTES = 4096
REASON_CHARACTERS_MAX = 240
# Ports below the range from which the kernel takes the client's own.
FIRST_PORT = 20_000
LAST_PORT = 31_999


@dataclass(frozen=True)
class Launch:
    """How to start a server: the command, its folder, what it adds to the environment, the port it listens on; and the
    name of the worker that shows that it is up, where hosts have names."""

    argv: list[str]
    cwd: Path
    port: int
    env: dict[str, str] = field(default_factory=dict)
    worker: str = ""

    @property
    def host(self) -> str:
        """The Host header of the worker that shows that it is up."""
        return f"{self.worker}.localhost:{self.port}" if self.worker else f"localhost:{self.port}"


_running: list[ServerProcess] = []


class ServerProcess:
    """A started server, in a session of its own. Use it as a context manager: leaving ends all its processes."""

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self.started_at = time.perf_counter()
        self._tail: deque[bytes] = deque(maxlen=LOG_TAIL_CHUNKS)
        try:
            self._child = subprocess.Popen(
                launch.argv,
                cwd=launch.cwd,
                env={**os.environ, "NO_COLOR": "1", **launch.env},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise MeasureFailed(f"cannot start: {error.strerror}") from error
        _running.append(self)
        threading.Thread(target=self._read_log, daemon=True).start()

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        try:
            # That the server died explains more than what its client then saw.
            if isinstance(error, MeasureFailed):
                self.check_alive()
        finally:
            self.stop()

    def _read_log(self) -> None:
        """Keeps the end of the output, so that a chatty server neither blocks nor fills the disk."""
        assert self._child.stdout is not None
        while chunk := os.read(self._child.stdout.fileno(), LOG_CHUNK_BYTES):
            self._tail.append(chunk)

    def log_tail(self) -> str:
        """The last lines of the output as one short line."""
        text = b"".join(self._tail).decode(errors="replace")
        text = re.sub(r"\x1b\[[0-9;]*m", "", text)
        line = from_root(" ".join(text.split()))
        return line[-REASON_CHARACTERS_MAX:]

    def check_alive(self) -> None:
        """Raises MeasureFailed if the server's first process has ended."""
        code = self._child.poll()
        if code is None:
            return
        time.sleep(0.05)  # the reader thread takes in the last words
        how = f"killed by signal {-code}" if code < 0 else f"ended with status {code}"
        raise MeasureFailed(f"server {how}: {self.log_tail() or 'no output'}")

    def wait_answer(self, timeout_seconds: float) -> float:
        """Waits until that worker answers a GET of / with success. Returns seconds since the start."""
        return self.wait_success(self.launch.port, self.launch.host, "/", timeout_seconds)

    def wait_success(self, port: int, host: str, path: str, timeout_seconds: float) -> float:
        """Waits until a GET is answered with success. Returns seconds since the start."""
        deadline = self.started_at + timeout_seconds
        last = "no connection"
        while time.perf_counter() < deadline:
            self.check_alive()
            try:
                answer: Answer = get(port, host, path, timeout_seconds=10)
            except OSError as error:
                last = error.strerror or type(error).__name__
                time.sleep(0.0005)
                continue
            if answer.is_success:
                return time.perf_counter() - self.started_at
            last = f"status {answer.status}: {answer.body[:120]!r}"
            if answer.status not in (404, 503):  # neither "not yet" nor "not yet known"
                break
            time.sleep(0.005)
        raise MeasureFailed(f"no successful answer in {timeout_seconds:.0f} s, last: {last}")

    def process_ids(self) -> list[int]:
        """The server's first process and all its descendants."""
        children: dict[int, list[int]] = {}
        for process, parent in _parents().items():
            children.setdefault(parent, []).append(process)
        tree = [self._child.pid]
        for process in tree:
            tree.extend(children.get(process, []))
        return tree

    def memory_bytes(self) -> int:
        """Proportional set size (PSS), summed over all the server's processes: shared pages count once."""
        return sum(_pss_bytes(process) for process in self.process_ids())

    def settled_memory_bytes(self) -> int:
        """The same, once it no longer changes."""
        return self._settled(self.memory_bytes)

    def settled_own_bytes(self) -> int:
        """Resident set size (RSS) of the server's first process alone, once it no longer changes."""
        return self._settled(lambda: _rss_bytes(self._child.pid))

    def _settled(self, read: Callable[[], int], settle_seconds: float = 1.0, attempts_max: int = 10) -> int:
        """What is read, once two readings `settle_seconds` apart differ by less than half a percent."""
        before = read()
        for _ in range(attempts_max):
            time.sleep(settle_seconds)
            self.check_alive()
            now = read()
            if abs(now - before) < 0.005 * before:
                return now
            before = now
        return before

    def stop(self) -> None:
        """Ends all processes: asked first, killed after STOP_TIMEOUT_SECONDS."""
        if self not in _running:
            return
        _running.remove(self)
        tree = self.process_ids()
        self._signal(signal.SIGTERM)
        try:
            self._child.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        self._signal(signal.SIGKILL)
        parents = _parents()
        for process in tree[1:]:
            # A descendant that left the session; a number that now belongs to someone else has another parent.
            if parents.get(process) in (*tree, 1):
                _kill(process)
        self._child.wait(STOP_TIMEOUT_SECONDS)

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._child.pid, number)
        except ProcessLookupError:
            pass


def _kill(process: int) -> None:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _parents() -> dict[int, int]:
    """Each process's parent."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
        except OSError:
            continue
        # The command's name may hold spaces and brackets: fields count from its last bracket.
        parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    return parents


def _pss_bytes(process: int) -> int:
    """One process's proportional set size; 0 if it is gone."""
    try:
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    except PermissionError as error:
        raise MeasureFailed("smaps_rollup is not readable: run as the servers' user or as root") from error
    match = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
    return int(match.group(1)) * 1024 if match else 0


def _rss_bytes(process: int) -> int:
    """One process's resident set size; 0 if it is gone."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    match = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    return int(match.group(1)) * 1024 if match else 0


def free_ports(count: int) -> list[int]:
    """Ports on loopback that nothing listens on."""
    ports: list[int] = []
    for port in range(FIRST_PORT, LAST_PORT + 1):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            return ports
    raise MeasureFailed(f"fewer than {count} free ports")


@atexit.register
def _stop_all() -> None:
    for process in list(_running):
        process.stop()
