"""What the tests of repetitions and of failover share: upstreams that fail in one way each, and routes over them."""

import json
import socket
import threading

from harness import DONE, HEAD, Peer, Sluice, chunk, event, reset, stream, until, wait_closed
from http2_peer import Http2Peer

USUAL = {"attempts": 2, "backoff": "20ms", "min_per_second": 1000}
WHOLE = "Hello,\n wörld 🚀\n\nend".encode()


def world(upstreams, routes=None, **more):
    """`upstreams`: a peer each, or what the configuration says of one. A route /x over all of them, and more."""
    specs = {}
    for name, given in upstreams.items():
        peer, changes = given if isinstance(given, tuple) else (given, {})
        spec = {"dialect": "openai-chat"}
        if isinstance(peer, (Peer, Http2Peer)):
            spec.update(url=peer.url, http="2" if isinstance(peer, Http2Peer) else "1.1")
        else:
            spec["url"] = peer
        specs[name] = {**spec, **changes}
    names = list(specs)
    route = {"path": "/x", "request": "openai-chat", "response": "text", "upstream": names if len(names) > 1 else names[0]}
    return Sluice({"listeners": [{"address": "127.0.0.1:0"}], "workers": 1, "upstreams": specs,
                   "routes": [{**route, **more}, *(routes or [])]})


def last(proxy, count=1):
    until(lambda: len(proxy.exchanges()) >= count, what="a line in the log")
    return proxy.exchanges()[-1]


def fetch_rest(connection):
    """One answer in chunks, on a connection that stays."""
    data = b""
    connection.settimeout(20)
    while not data.endswith(b"0\r\n\r\n"):
        more = connection.recv(65536)
        if not more:
            break
        data += more
    return data


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


NOBODY = "http://127.0.0.1:%d/v1"


def said(peer):
    """The bodies of all requests that a peer has had."""
    if isinstance(peer, Http2Peer):
        return [each.json for each in peer.streams]
    return [json.loads(request.split(b"\r\n\r\n", 1)[1]) for request in peer.requests]


def status(code, body=b'{"error":{"message":"busy"}}', kind=b"application/json", *fields):
    lines = [b"HTTP/1.1 %d X" % code, b"Content-Type: " + kind, b"Content-Length: %d" % len(body), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def first(script, then=stream):
    """The first request meets `script`, the others `then`."""
    lock, count = threading.Lock(), [0]

    def play(connection, request=None):
        with lock:
            count[0] += 1
            mine = script if count[0] == 1 else then
        return mine(connection)
    return play


def answers(data, ending=None):
    def play(connection):
        connection.sendall(data)
        return ending
    return play


def tell(stream, text=WHOLE.decode()):
    stream.wait_body()
    stream.head()
    stream.data(event({"content": text}))
    stream.data(DONE)
    stream.end()


def always(script):
    return lambda connection, request: script(connection)


def be_reset(connection):
    reset(connection)
    raise OSError


def silent_until_left(connection):
    wait_closed(connection, 20)
    return "close"


def role_and_silence(connection):
    connection.sendall(HEAD + chunk(event({"role": "assistant", "content": ""})))
    return silent_until_left(connection)


def busy(field):
    return answers(status(429, b'{"error":{"message":"slow down"}}', b"application/json", field))
