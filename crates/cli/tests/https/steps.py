"""Speaks HTTP/3 on one connection, a step for each line of standard input, and answers each step with a line.

The steps, of a stream where they name one:
{"do": "head", "method", "path", "headers", "end"}: sends a request's head; answered {"stream"}.
{"do": "data", "stream", "text", "end"}: sends a piece of its body; answered {}.
{"do": "reset", "stream"}: sends no more of it; answered {}.
{"do": "stop", "stream"}: takes no more of its answer; answered {}.
{"do": "some", "stream"}: waits for the first bytes of its answer's body; answered as "answer" is.
{"do": "answer", "stream"}: waits for all of its answer; answered {"status", "length", "body", "reset", "closed"}, of which
    "reset" is the code of a stream that the server ended early, and "closed" that of a connection.
{"do": "away", "seconds"}: reads nothing for so long; answered {} before.
{"do": "knock"}: begins another connection, and says nothing once the server answered; answered {}.
"""

import json
import os
import select
import socket
import sys
import time

from qh3.h3.connection import H3Connection
from qh3.h3.events import DataReceived, HeadersReceived
from qh3.quic.configuration import QuicConfiguration
from qh3.quic.connection import QuicConnection
from qh3.quic.events import ConnectionTerminated, HandshakeCompleted, StreamDataReceived, StreamReset

H3_REQUEST_CANCELLED = 0x10C
TIMEOUT_SECONDS = 60
DATAGRAM_BYTES_MAX = 65536  # Of UDP.


class Link:
    """A connection by QUIC, and its socket."""

    def __init__(self, ca, host, port):
        configuration = QuicConfiguration(alpn_protocols=["h3"], server_name=host, cafile=ca, idle_timeout=TIMEOUT_SECONDS)
        self.quic = QuicConnection(configuration=configuration)
        self.address = ("127.0.0.1", port)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(TIMEOUT_SECONDS)
        self.quic.connect(self.address, now=time.monotonic())

    def send(self):
        for data, address in self.quic.datagrams_to_send(now=time.monotonic()):
            self.socket.sendto(data, address)

    def receive(self):
        data, address = self.socket.recvfrom(DATAGRAM_BYTES_MAX)
        self.quic.receive_datagram(data, address, now=time.monotonic())

    def events(self):
        while (event := self.quic.next_event()) is not None:
            yield event

    def wait(self, *others):
        """Waits for a datagram, a timer or one of the others; gives those that are ready."""
        timer = self.quic.get_timer()
        left = TIMEOUT_SECONDS if timer is None else max(0, timer - time.monotonic())
        ready, _, _ = select.select([self.socket, *others], [], [], left)
        if self.socket in ready:
            self.receive()
        elif not ready:
            self.quic.handle_timer(now=time.monotonic())
        return ready


class Speaker:
    def __init__(self, ca, host, port):
        self.of = (ca, host, port)
        self.authority = f"{host}:{port}".encode()
        self.link = Link(ca, host, port)
        self.http = H3Connection(self.link.quic)
        self.answers = {}
        self.ended = set()
        self.closed = None
        self.knocking = []

    def connect(self):
        connected = False
        while not connected:
            self.link.send()
            self.link.wait()
            connected = any(isinstance(event, HandshakeCompleted) for event in self.heard())

    def heard(self):
        events = list(self.link.events())
        for event in events:
            if isinstance(event, ConnectionTerminated):
                self.closed = event.error_code
            for told in self.http.handle_event(event):
                if isinstance(told, HeadersReceived):
                    self.answers[told.stream_id]["status"] = int(dict(told.headers)[b":status"])
                elif isinstance(told, DataReceived):
                    self.answers[told.stream_id]["body"] += told.data
            if isinstance(event, StreamReset):
                self.answers[event.stream_id]["reset"] = event.error_code
                self.ended.add(event.stream_id)
            elif isinstance(event, StreamDataReceived) and event.end_stream:
                self.ended.add(event.stream_id)
        return events

    def until(self, condition):
        while not condition() and self.closed is None:
            self.link.send()
            self.link.wait()
            self.heard()
        self.link.send()

    def told(self, stream):
        answer = self.answers[stream]
        body = answer["body"]
        text = bytes(body[:4096]).decode("latin-1")
        return {**answer, "length": len(body), "body": text, "closed": self.closed}

    def step(self, step):
        quic, stream = self.link.quic, step.get("stream")
        match step["do"]:
            case "head":
                stream = quic.get_next_available_stream_id()
                self.answers[stream] = {"status": None, "body": bytearray(), "reset": None}
                head = [
                    (b":method", step["method"].encode()),
                    (b":scheme", b"https"),
                    (b":authority", self.authority),
                    (b":path", step["path"].encode()),
                ]
                head += [(name.encode(), value.encode()) for name, value in step.get("headers", {}).items()]
                self.http.send_headers(stream, head, end_stream=step["end"])
                return {"stream": stream}
            case "data":
                self.http.send_data(stream, step["text"].encode("latin-1"), end_stream=step["end"])
            case "reset":
                quic.reset_stream(stream, H3_REQUEST_CANCELLED)
            case "stop":
                quic.stop_stream(stream, H3_REQUEST_CANCELLED)
            case "some":
                self.until(lambda: self.answers[stream]["body"] or stream in self.ended)
                return self.told(stream)
            case "answer":
                self.until(lambda: stream in self.ended)
                return self.told(stream)
            case "knock":
                link = Link(*self.of)
                link.send()
                link.receive()
                self.knocking.append(link)
        return {}

    def run(self):
        self.connect()
        said = b""
        while True:
            self.link.send()
            ready = self.link.wait(sys.stdin)
            self.heard()
            if sys.stdin not in ready:
                continue
            read = os.read(sys.stdin.fileno(), DATAGRAM_BYTES_MAX)
            if not read:
                return
            *lines, said = (said + read).split(b"\n")
            for line in lines:
                step = json.loads(line)
                answer = self.step(step)
                self.link.send()
                print(json.dumps(answer), flush=True)
                if step["do"] == "away":
                    time.sleep(step["seconds"])


Speaker(sys.argv[1], sys.argv[2], int(sys.argv[3])).run()
