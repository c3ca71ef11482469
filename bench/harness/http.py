"""One GET over loopback, for checks that are not themselves measured."""

from __future__ import annotations

import http.client
from dataclasses import dataclass

BODY_BYTES_MAX = 16 * 1024 * 1024


@dataclass(frozen=True)
class Answer:
    """A complete response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def is_success(self) -> bool:
        """True for 2xx."""
        return 200 <= self.status < 300


def get(port: int, host: str, path: str, timeout_seconds: float) -> Answer:
    """Fetches `path` from 127.0.0.1 with the given Host header. Raises OSError if there is no complete response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_seconds)
    try:
        connection.request("GET", path, headers={"Host": host, "Connection": "close"})
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read(BODY_BYTES_MAX))
    except http.client.HTTPException as error:
        raise ConnectionError(f"bad response: {error!r}") from error
    finally:
        connection.close()
