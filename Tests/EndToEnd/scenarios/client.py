"""Clients that see everything: a raw HTTP/1.1 reader that knows how a body ended, and readers of each stream format."""

import json
import os
import select
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time
import urllib.parse

from .world import DEADLINE, expect


def request(method: str, target: str, body: bytes | None = None, fields: str = "", kind: str = "application/json",
            version: str = "1.1") -> bytes:
    text = f"{method} {target} HTTP/{version}\r\nHost: localhost\r\n{fields}"
    if body is not None:
        text += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    return text.encode() + b"\r\n" + (body or b"")


CHAT = {"model": "gpt-test", "stream": True, "messages": [{"role": "user", "content": "hi"}]}


def ask(upstream: str, format: str, fields: str = "", version: str = "1.1", prompt: str = "hi") -> bytes:
    """The request that a client of this format sends to the route /UPSTREAM/FORMAT."""
    target = f"/{upstream}/{format}"
    if format in ("openai-chat", "passthrough"):
        body = CHAT | {"messages": [{"role": "user", "content": prompt}]}
        return request("POST", target, json.dumps(body).encode(), fields, version=version)
    return request("GET", f"{target}?prompt={urllib.parse.quote(prompt)}", None, fields, version=version)


class Answer:
    """One connection to Sluice and the response that is read from it.

    `ending` is None while the body goes on, then: complete, cut (closed too early) or reset.
    """

    def __init__(self, port: int, data: bytes = b"", context: ssl.SSLContext | None = None, receive_buffer: int = 0):
        raw = socket.socket()
        if receive_buffer:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.settimeout(DEADLINE)
        raw.connect(("127.0.0.1", port))
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context.wrap_socket(raw, server_hostname="localhost") if context else raw
        self._buffer = bytearray()
        self._closed: str | None = None
        self._begin()
        if data:
            self.send(data)

    def _begin(self) -> None:
        self.status = 0
        self.fields: list[tuple[str, str]] = []
        self.interim: list[int] = []
        self.body = bytearray()
        self.ending: str | None = None
        self._framing = ""
        self._left = 0

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def field(self, name: str) -> str | None:
        values = [value for key, value in self.fields if key.lower() == name.lower()]
        return ", ".join(values) if values else None

    @property
    def kind(self) -> str | None:
        return self.field("content-type")

    @property
    def json(self) -> dict:
        return json.loads(self.body)

    # Reading

    def _fill(self) -> bool:
        if self._closed:
            return False
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            raise AssertionError(f"no answer in time; status {self.status}, body so far {bytes(self.body[-200:])!r}") from None
        except (ConnectionResetError, ssl.SSLError):
            self._closed = "reset"
            return False
        if not data:
            self._closed = "cut"
            return False
        self._buffer += data
        return True

    def read_head(self, method: str = "GET") -> "Answer":
        while True:
            while (end := self._buffer.find(b"\r\n\r\n")) < 0:
                expect(self._fill(), f"the connection ended ({self._closed}) without a response; had {bytes(self._buffer)!r}")
            lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
            del self._buffer[: end + 4]
            self.status = int(lines[0].split(" ")[1])
            self.fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines[1:])]
            if self.status >= 200:
                break
            self.interim.append(self.status)
        length = self.field("content-length")
        if method == "HEAD" or self.status in (204, 304):
            self._framing, self.ending = "none", "complete"
        elif self.field("transfer-encoding") == "chunked":
            expect(length is None, "a response with both lengths")
            self._framing = "chunked"
        elif length is not None:
            self._framing, self._left = "length", int(length)
        else:
            self._framing = "close"
        self._decode()
        return self

    def _decode(self) -> None:
        """Moves what is body from the buffer to `body`."""
        while self.ending is None:
            if self._framing == "close":
                self.body += self._buffer
                self._buffer.clear()
                if self._closed:
                    self.ending = "complete" if self._closed == "cut" else "reset"
                return
            if self._framing == "length":
                taken = self._buffer[: self._left]
                self.body += taken
                del self._buffer[: len(taken)]
                self._left -= len(taken)
                if self._left == 0:
                    self.ending = "complete"
                return
            end = self._buffer.find(b"\r\n")
            if end < 0:
                return
            size = int(bytes(self._buffer[:end]), 16)
            if len(self._buffer) < end + 2 + size + 2:
                return
            data = self._buffer[end + 2 : end + 2 + size]
            expect(self._buffer[end + 2 + size : end + 4 + size] == b"\r\n", "a chunk without its line end")
            del self._buffer[: end + 4 + size]
            if size == 0:
                self.ending = "complete"
            self.body += data

    def read_more(self) -> bool:
        """Reads once. False at the end of the response or connection."""
        if self.ending:
            return False
        if not self._fill():
            self._decode()
            self.ending = self.ending or self._closed
            return False
        self._decode()
        return True

    def read_until(self, condition) -> "Answer":
        while not condition(self):
            expect(self.read_more(), f"the body ended ({self.ending}) first; it was {bytes(self.body)!r}")
        return self

    def read_for(self, seconds: float) -> bytes:
        """Reads for so long, without asking for anything; returns the body bytes that came."""
        before, end = len(self.body), time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self.ending and select.select([self.socket], [], [], left)[0]:
            self.read_more()
        return bytes(self.body[before:])

    def read_all(self, method: str = "GET") -> "Answer":
        if not self.status:
            self.read_head(method)
        while self.read_more():
            pass
        return self

    def next(self) -> "Answer":
        """For a further response on the same connection."""
        self._begin()
        return self

    def read_close(self) -> bool:
        """True if the server closes now, without another byte."""
        while self._fill():
            pass
        return not self._buffer

    # Leaving

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def __enter__(self) -> "Answer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def get(port: int, data: bytes, **more) -> Answer:
    """Sends a request and reads the whole response."""
    with Answer(port, data, **more) as answer:
        return answer.read_all()


class Curl:
    """`curl -N`, whose output is read as it comes."""

    def __init__(self, *arguments: str):
        self._head = tempfile.NamedTemporaryFile(prefix="sluice-curl-")
        self._errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            ["curl", "-sS", "-N", "--noproxy", "*", "--max-time", str(int(DEADLINE * 2)), "-D", self._head.name,
             *arguments],
            stdout=subprocess.PIPE, stderr=self._errors)
        self.body = bytearray()
        self.arrivals: list[float] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while data := os.read(self.process.stdout.fileno(), 65536):
            with self._news:
                self.body += data
                self.arrivals.append(time.monotonic())
                self._news.notify_all()

    def wait_for(self, condition, what: str) -> None:
        with self._news:
            if not self._news.wait_for(lambda: condition(bytes(self.body)), DEADLINE):
                raise AssertionError(f"{what} did not arrive; so far {bytes(self.body)!r}; curl: {self.errors()}")

    def wait(self) -> int:
        """Curl's exit code: 0 complete, 18 cut, 56 reset."""
        code = self.process.wait(DEADLINE * 2)
        self._reader.join(DEADLINE)
        return code

    def errors(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode("utf-8", "replace")

    @property
    def fields(self) -> dict[str, str]:
        with open(self._head.name, encoding="latin-1") as file:
            blocks = file.read().strip().split("\n\n")
        lines = blocks[-1].splitlines()
        return {"status": lines[0].split(" ")[1]} | {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}

    def __enter__(self) -> "Curl":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(DEADLINE)
        self.process.stdout.close()
        self._errors.close()
        self._head.close()


# Reading the formats, as their clients do


def sse_events(body: bytes) -> list[tuple[str, str]]:
    """(event type, data) as EventSource dispatches them (WHATWG HTML §9.2.6); an event that is not ended is dropped."""
    events, kind, data = [], "", []
    text = body.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    for line in text.split("\n")[:-1]:
        if not line:
            if data:
                events.append((kind or "message", "\n".join(data)))
            kind, data = "", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "data":
            data.append(value)
    return events


def read_stream(format: str, body: bytes) -> tuple[str, str | None]:
    """The text that a client of `format` has so far, and how the format says that it ended: done, error or None."""
    if format == "text":
        return body.decode("utf-8", "ignore"), None
    text, end = "", None
    if format == "ndjson":
        records = [("message", line) for line in body.decode("utf-8", "replace").split("\n")[:-1]]
    else:
        records = sse_events(body)
    for kind, data in records:
        if kind == "error":
            end = "error"
            continue
        if format == "sse-text":
            text, end = (text, "done") if kind == "done" else (text + data, end)
            continue
        if data == "[DONE]":
            end = "done"
            continue
        value = json.loads(data)
        if value.get("error"):
            end = "error"
        elif format in ("sse-json", "ndjson"):
            text += value.get("text", "")
            end = "done" if value.get("done") else end
        else:
            for choice in value.get("choices") or []:
                text += (choice.get("delta") or {}).get("content") or ""
    return text, end
