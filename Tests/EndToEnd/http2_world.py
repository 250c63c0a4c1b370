"""What the tests of HTTP/2 share: one program before upstreams of each protocol, and one way to ask it by each."""

import contextlib
import dataclasses
import json
import time

from harness import CHAT, HEAD, Peer, Reply, Sluice, chunk, connect, drain, request_bytes
from http2_peer import Gone, Http2Peer, connect_http2
from scenarios.world import Certificates

FRAMINGS = ("text", "sse-json", "ndjson", "passthrough")
ALL_FRAMINGS = ("text", "sse-text", "sse-json", "ndjson", "openai-chat")
# (client, upstream)
PAIRS = [(client, upstream) for client in ("h1", "h2") for upstream in ("h1", "h2")]


def route(upstream, framing, **more):
    request = "passthrough" if framing == "passthrough" else "openai-chat"
    return {"path": f"/{upstream}/{framing}", "request": request, "response": framing, "upstream": upstream, **more}


def settings(urls, framings=FRAMINGS, upstream=None, routes=None, **more):
    """A route /UPSTREAM/FRAMING for each; an upstream whose name does not begin with h1 speaks HTTP/2 only."""
    upstreams = {
        name: {"url": url, "dialect": "openai-chat", "http": "1.1" if name.startswith("h1") else "2", **(upstream or {})}
        for name, url in urls.items()}
    paths = [route(name, framing, **(routes or {})) for name in urls for framing in framings]
    return {"listeners": [{"address": "127.0.0.1:0"}], "workers": 1, "upstreams": upstreams, "routes": paths, **more}


def http2_proxy(peer, **more):
    """One upstream, `h2`."""
    return Sluice(settings({"h2": peer.url}, **more))


def chat(text="hi"):
    return {**CHAT, "messages": [{"role": "user", "content": text}]}


@contextlib.contextmanager
def certificates():
    made = Certificates()
    try:
        yield made
    finally:
        made.remove()


@dataclasses.dataclass
class Result:
    status: int
    body: bytes
    # False: the message was visibly cut.
    complete: bool


def over_h1(port, path, body):
    connection = connect(port)
    connection.sendall(request_bytes(path, body, headers=["Connection: close"]))
    reply = Reply(drain(connection))
    return Result(reply.status, reply.body, reply.complete)


def over_h2(client, path, body):
    return result(client.request(path, body).wait_over(20))


def result(stream):
    return Result(stream.status, bytes(stream.body), stream.complete)


class Upstreams:
    """The same script for an upstream of each protocol: `script(answer, text)`, `text` being what the client said."""

    def __init__(self, script, secure=None, send_buffer=None):
        self.script = script
        self.h1 = Peer(self._h1, send_buffer)
        self.h2 = Http2Peer(self._h2, send_buffer=send_buffer)
        self.peers = {"h1": self.h1, "h2": self.h2}
        if secure:
            self.peers["h2s"] = Http2Peer(self._h2, certificate=secure)

    @property
    def urls(self):
        return {name: peer.url.replace("https://127.0.0.1", "https://localhost") for name, peer in self.peers.items()}

    def _h1(self, connection, request):
        answer = Http1Answer(connection)
        self.script(answer, said(request.split(b"\r\n\r\n", 1)[1]))
        return "close" if answer.is_cut else None

    def _h2(self, stream):
        self.script(stream, said(stream.wait_body()))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for peer in self.peers.values():
            peer.close()


class Http1Answer:
    """An HTTP/1.1 connection with the words of an HTTP/2 stream."""

    def __init__(self, connection):
        self.connection = connection
        self.is_cut = False
        self.sent_bytes = 0

    def head(self):
        self.connection.sendall(HEAD)

    def data(self, data):
        rest = memoryview(chunk(data))
        while rest:
            count = self.connection.send(rest)
            self.sent_bytes += count
            rest = rest[count:]

    def end(self):
        self.connection.sendall(b"0\r\n\r\n")

    def abort(self):
        self.is_cut = True


def said(body):
    return json.loads(body)["messages"][-1]["content"]


def stable(read, seconds=0.25, limit=10.0):
    """The value of `read` once it has not changed for so long."""
    value, since = read(), time.monotonic()
    end = since + limit
    while time.monotonic() - since < seconds:
        if time.monotonic() > end:
            raise AssertionError(f"still changing after {limit} s: {value}")
        time.sleep(0.01)
        if (now := read()) != value:
            value, since = now, time.monotonic()
    return value


__all__ = ["ALL_FRAMINGS", "FRAMINGS", "Gone", "Http1Answer", "Http2Peer", "PAIRS", "Result", "Upstreams", "certificates", "chat",
           "connect_http2", "http2_proxy", "over_h1", "over_h2", "result", "route", "settings", "stable"]
