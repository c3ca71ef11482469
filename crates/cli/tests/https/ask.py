"""Asks by HTTP/1.1, HTTP/2 and HTTP/3, one request for each line of standard input, and answers each with a line.

A request: {"version": 1 to 3, "method", "url", "headers", "body"}; its body is Latin-1 text. Connections stay open between
requests: one session for each version. Every host is at 127.0.0.1.
"""

import hashlib
import json
import sys
import time
from urllib.parse import urlsplit

import niquests

TIMEOUT_SECONDS = 60


def session_of(version, hosts, ca):
    resolver = "in-memory://default/?" + "&".join(f"hosts={host}:127.0.0.1" for host in hosts)
    session = niquests.Session(
        resolver=resolver,
        disable_http1=version != 1,
        disable_http2=version != 2,
        disable_http3=version != 3,
        disable_ipv6=True,
    )
    session.verify = ca
    session.trust_env = False
    return session


def ask(sessions, hosts, ca, request):
    version, url = request["version"], request["url"]
    if version not in sessions:
        sessions[version] = session_of(version, hosts, ca)
    session = sessions[version]
    if version == 3:
        address = urlsplit(url)
        session.quic_cache_layer.add_domain(address.hostname, address.port, address.port)
    sent = request["body"].encode("latin-1") if "body" in request else None
    response = session.request(
        request["method"],
        url,
        headers=request.get("headers", {}),
        data=sent,
        timeout=TIMEOUT_SECONDS,
        allow_redirects=False,
    )
    body = response.content or b""
    return {
        "version": response.http_version,
        "status": response.status_code,
        "headers": {name.lower(): value for name, value in response.headers.items()},
        "length": len(body),
        "echoed": body == sent,
        "body": body[:4096].decode("latin-1"),
        "certificate": hashlib.sha256(response.conn_info.certificate_der).hexdigest(),
    }


def main():
    ca, *hosts = sys.argv[1:]
    sessions = {}
    for line in sys.stdin:
        began = time.monotonic()
        try:
            answer = ask(sessions, hosts, ca, json.loads(line))
        except Exception as error:  # What went wrong is the test's to judge.
            answer = {"error": f"{type(error).__name__}: {error}", "seconds": time.monotonic() - began}
        print(json.dumps(answer), flush=True)


main()
