"""Where the cases of HTTP/2 conformance register themselves, and how all of them run over h2c and TLS."""

import concurrent.futures
import traceback

from frames import FrameClient
from harness import Peer, Sluice
from http2_world import certificates

CASES = {}


def case(name, greets=True):
    """A function of a `FrameClient`; unless it says otherwise, the prefaces have been exchanged."""
    def register(function):
        assert name not in CASES, name
        CASES[name] = (function, greets)
        return function
    return register


def answer(connection, request):
    """Tells what came: method, and the body's length."""
    head, body = request.split(b"\r\n\r\n", 1)
    if b"transfer-encoding: chunked" in head.lower():
        body = unchunked(body)
    text = head.split(b" ")[0] + b" %d" % len(body)
    more = b"" if head.startswith(b"HEAD") else text
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (len(text), more))


def unchunked(body):
    out = b""
    while True:
        size, rest = body.split(b"\r\n", 1)
        if (count := int(size, 16)) == 0:
            return out
        out, body = out + rest[:count], rest[count + 2:]


def run(cases):
    with certificates() as made, Peer(answer) as peer:
        certificate = {"certificate": made.path("server.crt"), "private_key": made.path("server.key")}
        config = {
            "listeners": [{"address": "127.0.0.1:0"}, {"address": "127.0.0.1:0", "tls": certificate}], "workers": 1,
            "upstreams": {"peer": {"url": peer.url, "dialect": "raw"}},
            "routes": [{"path": "/x/*", "request": "passthrough", "response": "passthrough", "upstream": "peer"}],
        }
        with Sluice(config, listeners=2) as proxy:
            run_over(cases, proxy.ports(), made.path("ca.crt"))


def run_over(cases, ports, authority):
    failures = []
    for transport, port, secure in (("h2c", ports[0], None), ("TLS", ports[1], authority)):
        def one(name):
            function, greets = cases[name]
            client = FrameClient(port, secure, greets)
            try:
                function(client)
            finally:
                client.close()

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            running = {name: pool.submit(one, name) for name in cases}
            for name, future in running.items():
                if error := future.exception():
                    where = traceback.extract_tb(error.__traceback__)[-1]
                    failures.append(f"{transport}: {name}: {type(error).__name__} {error} ({where.filename}:{where.lineno})")
    print(f"  {len(cases)} cases over h2c and {len(cases)} over TLS, {len(failures)} failed")
    assert not failures, "\n" + "\n".join(failures)
