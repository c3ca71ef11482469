"""`selvedge up`: started, and asked by its API as any client would."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .blake3 import hexdigest
from .cells import MeasureFailed
from .process import ServerProcess
from .servers import COMPATIBILITY_DATE, UpLaunch

ANSWER_TIMEOUT_SECONDS = 60.0
ASSET_HASH_DIGITS = 32
BOUNDARY = "----a-boundary-of-the-benchmark"
REASON_CHARACTERS_MAX = 300


class Platform:
    """It runs. The account is the one that its first start made."""

    def __init__(self, up: UpLaunch, process: ServerProcess) -> None:
        self.process = process
        self.port = up.launch.port
        self._up = up

    def wait_ready(self, timeout_seconds: float) -> float:
        """Waits until it says that it is ready. Returns seconds since the start."""
        port = self._up.api_port
        return self.process.wait_success(port, f"127.0.0.1:{port}", "/readyz", timeout_seconds)

    def host(self, worker: str) -> str:
        """The Host header of a worker."""
        return f"{worker}.localhost:{self.port}"

    @contextmanager
    def client(self) -> Iterator[Client]:
        """An administrator of the platform, over one connection."""
        account = json.loads((self._up.data / "addresses.json").read_text())["account"]
        token = (self._up.data / "admin.token").read_text().strip()
        client = Client(self._up.api_port, account, token)
        try:
            yield client
        finally:
            client.close()


@contextmanager
def running(up: UpLaunch) -> Iterator[Platform]:
    """Starts it. It is not ready yet; leaving ends it."""
    with ServerProcess(up.launch) as process:
        yield Platform(up, process)


class Client:
    """One keep-alive connection to the API. An answer that is no success is a MeasureFailed."""

    def __init__(self, port: int, account: str, token: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_TIMEOUT_SECONDS)
        self._account = account
        self._token = token

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()

    def put_worker(self, worker: str, source: str) -> None:
        """Uploads a worker of one module, and deploys it."""
        metadata = {"main_module": "index.js", "compatibility_date": COMPATIBILITY_DATE}
        self._send("PUT", f"scripts/{worker}", *_upload(metadata, {"index.js": source}))

    def open_worker(self, worker: str) -> None:
        """Has the platform's domain lead to a worker."""
        self._send_json("POST", f"scripts/{worker}/subdomain", {"enabled": True, "previews_enabled": True})

    def put_version(self, worker: str, metadata: dict[str, Any], modules: dict[str, str]) -> str:
        """Uploads a version, and gives its id."""
        version = self._send("POST", f"scripts/{worker}/versions", *_upload(metadata, modules))
        return str(version["id"])

    def deploy(self, worker: str, version: str) -> None:
        """Has a version answer all requests."""
        share = {"version_id": version, "percentage": 100}
        self._send_json("POST", f"scripts/{worker}/deployments", {"strategy": "percentage", "versions": [share]})

    def put_assets(self, worker: str, files: dict[str, bytes]) -> str:
        """Uploads the static files that the platform does not have yet, and gives the token that stands for all."""
        encoded = {path: base64.b64encode(content) for path, content in files.items()}
        hashes = {path: _asset_hash(path, text) for path, text in encoded.items()}
        manifest = {path: {"hash": hashes[path], "size": len(content)} for path, content in files.items()}
        session = self._send_json("POST", f"scripts/{worker}/assets-upload-session", {"manifest": manifest})
        token = str(session["jwt"])
        texts = {hashes[path]: text for path, text in encoded.items()}
        for bucket in session["buckets"]:
            parts = [_part(name, name, "text/plain", texts[name]) for name in bucket]
            found = self._send("POST", "assets/upload?base64=true", *_multipart(parts), bearer=session["jwt"])
            token = str(found["jwt"] or token)
        return token

    def _send_json(self, method: str, path: str, body: dict[str, Any]) -> Any:
        return self._send(method, path, json.dumps(body).encode(), "application/json")

    def _send(self, method: str, path: str, body: bytes, kind: str, bearer: str | None = None) -> Any:
        headers = {"Authorization": f"Bearer {bearer or self._token}", "Content-Type": kind}
        target = f"/client/v4/accounts/{self._account}/workers/{path}"
        try:
            self._connection.request(method, target, body, headers)
            response = self._connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise MeasureFailed(f"{method} {path}: {error!r}") from error
        if not 200 <= response.status < 300:
            raise MeasureFailed(f"{method} {path}: status {response.status}: {_short(text)}")
        answer = json.loads(text)
        if not answer.get("success"):
            raise MeasureFailed(f"{method} {path}: no success: {_short(text)}")
        return answer["result"]


def _upload(metadata: dict[str, Any], modules: dict[str, str]) -> tuple[bytes, str]:
    """The body of an upload of code, and its content type."""
    parts = [_part("metadata", None, None, json.dumps(metadata).encode())]
    for name, source in modules.items():
        parts.append(_part(name, name, "application/javascript+module", source.encode()))
    return _multipart(parts)


def _part(name: str, filename: str | None, kind: str | None, content: bytes) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'
    head += f'; filename="{filename}"' if filename else ""
    head += f"\r\nContent-Type: {kind}" if kind else ""
    return head.encode() + b"\r\n\r\n" + content + b"\r\n"


def _multipart(parts: list[bytes]) -> tuple[bytes, str]:
    return b"".join([*parts, f"--{BOUNDARY}--\r\n".encode()]), f"multipart/form-data; boundary={BOUNDARY}"


def _asset_hash(path: str, encoded: bytes) -> str:
    """The name that clients give a static file: of its content in base64 and its extension."""
    return hexdigest(encoded + Path(path).suffix.removeprefix(".").encode())[:ASSET_HASH_DIGITS]


def _short(text: bytes) -> str:
    return " ".join(text.decode(errors="replace").split())[:REASON_CHARACTERS_MAX]
