"""The requests that are loaded, and what a right answer to each is. All servers run the same source."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field

from .cells import MeasureFailed
from .http import Answer, get

MEBIBYTE = 1024 * 1024
STYLE = b".card { margin: 0 }\n".rjust(64) * 256


@dataclass(frozen=True)
class Workload:
    """One module of bench/workers, or static files by name; and the path that is asked for."""

    key: str
    title: str
    path: str
    is_right: Callable[[Answer], bool]
    # Server name to the reason why it cannot run this.
    not_applicable: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] | None = None

    def verify(self, port: int) -> None:
        """Asks once and raises MeasureFailed unless the answer is right."""
        try:
            answer = get(port, f"localhost:{port}", self.path, timeout_seconds=30)
        except OSError as error:
            raise MeasureFailed(f"no answer: {error}") from error
        if not answer.is_success:
            raise MeasureFailed(f"status {answer.status}: {answer.body[:200].decode(errors='replace')}")
        if not self.is_right(answer):
            raise MeasureFailed(f"a wrong answer of {len(answer.body)} bytes: {answer.body[:60]!r}")


def _is_order(answer: Answer) -> bool:
    body = json.loads(answer.body)
    return (
        body["user"] == "ada"
        and [item["id"] for item in body["items"]] == list(range(7, 17))
        and body["total_cents"] == sum(100 + (product * 37) % 5000 for product in range(7, 17))
        and answer.headers.get("x-api-version") == "1"
    )


def _is_stream(answer: Answer) -> bool:
    return answer.body == b"".join(bytes([97 + chunk]) * 65536 for chunk in range(16))


def _is_rewritten(answer: Answer) -> bool:
    body = answer.body.decode()
    return (
        50_000 < len(body) < 55_000
        and "http://" not in body
        and body.count('loading="lazy"') == 64
        and body.count(" EUR</span>") == 64
        and 'href="/style.css"></head>' in body
    )


def _is_digest(answer: Answer) -> bool:
    return answer.body.decode() == hashlib.sha256(bytes(range(256)) * (MEBIBYTE // 256)).hexdigest()


WORKLOADS = [
    Workload("hello", "hello world", "/", lambda answer: answer.body == b"Hello, world!\n"),
    Workload("api", "JSON API (Hono)", "/api/v1/users/ada/orders/7?limit=10", _is_order),
    Workload("stream", "1 MiB streamed", "/", _is_stream),
    Workload(
        "html",
        "HTML rewrite, 50 KiB",
        "/",
        _is_rewritten,
        {"deno": "Deno has no HTMLRewriter; a WebAssembly port from npm would measure that port"},
    ),
    Workload("sha", "SHA-256 of 1 MiB", "/", _is_digest),
    Workload(
        "file",
        "static file, 16 KiB",
        "/style.css",
        lambda answer: answer.body == STYLE,
        {"deno": "`deno serve` serves no files without a program"},
        {"index.html": b"<!doctype html><title>A page</title>\n", "style.css": STYLE},
    ),
]
