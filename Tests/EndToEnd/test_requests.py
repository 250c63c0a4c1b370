"""Requests: pipelining, versions, uploads, smuggling, and listeners with TLS."""

import json
import os
import ssl
import subprocess
import tempfile
import socket

from harness import CHAT, DONE, HEAD, Peer, Reply, Sluice, chunk, config, connect, drain, event, fetch, request_bytes, stream, until


def test_pipelined_requests_are_answered_in_order():
    def script(connection, request):
        stream(connection, [json.loads(request.split(b"\r\n\r\n", 1)[1])["messages"][0]["content"]], gap=0.02)

    with Peer(script) as peer, Sluice(config(peer.url)) as proxy:
        connection = connect(proxy.port)
        bodies = [{**CHAT, "messages": [{"role": "user", "content": word}]} for word in ("first", "second")]
        connection.sendall(
            request_bytes("/text", bodies[0]) + request_bytes("/text", bodies[1], headers=["Connection: close"]))
        data = drain(connection)
        assert data.index(b"first") < data.index(b"second") and data.endswith(b"0\r\n\r\n"), data


def test_keep_alive_after_an_error_with_a_small_body():
    with Peer(lambda c, r: stream(c)) as peer, Sluice(config(peer.url)) as proxy:
        connection = connect(proxy.port)
        connection.sendall(request_bytes("/nowhere", CHAT) + request_bytes("/text", CHAT, headers=["Connection: close"]))
        data = drain(connection)
        assert data.startswith(b"HTTP/1.1 404") and b"HTTP/1.1 200 OK" in data, data


def test_http_1_0_gets_no_chunks():
    with Peer(lambda c, r: stream(c)) as peer, Sluice(config(peer.url)) as proxy:
        connection = connect(proxy.port)
        body = json.dumps(CHAT).encode()
        connection.sendall(b"POST /text HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        data = drain(connection)
        assert b"transfer-encoding" not in data.lower() and data.endswith(b"end"), data


def test_expect_continue():
    with Peer(lambda c, r: stream(c)) as peer, Sluice(config(peer.url)) as proxy:
        connection = connect(proxy.port)
        body = json.dumps(CHAT).encode()
        connection.sendall(b"POST /text HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\n"
                           b"Content-Length: %d\r\n\r\n" % len(body))
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert Reply(drain(connection)).complete


def test_large_uploads_pass_through():
    body = os.urandom(20 << 20).replace(b"0\r\n\r\n", b"xxxxx")

    def script(connection, request):
        received = request.split(b"\r\n\r\n", 1)[1]
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n%08d" % (len(received) % 100_000_000))

    with Peer(script) as peer, Sluice(config(peer.url)) as proxy:
        reply = fetch(proxy.port, "/v1/files", body)
        assert reply.status == 200 and int(reply.body) == len(body), reply.raw[:300]
        assert peer.requests[-1].endswith(body)
        connection = connect(proxy.port)
        connection.sendall(b"POST /v1/files HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(body), 100_000):
            connection.sendall(chunk(body[start:start + 100_000]))
        connection.sendall(b"0\r\n\r\n")
        assert Reply(drain(connection)).status == 200
        received, joined = peer.requests[-1].split(b"\r\n\r\n", 1)[1], b""
        while received:
            size, _, received = received.partition(b"\r\n")
            joined += received[:int(size, 16)]
            received = received[int(size, 16) + 2:]
        assert joined == body


AMBIGUOUS = [
    b"POST /text HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /text HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"POST /text HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\nhello",
    b"POST /text HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello",
    b"POST /text HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\nhello",
    b"POST /text HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /text HTTP/1.1\nHost: x\nContent-Length: 5\n\nhello",
    b"POST /text HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n",
    b"POST /text HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
    b"POST /text HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    b"POST /text HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    b"POST /text HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5 ; x\r\nhello\r\n0\r\n\r\n",
    b"POST /text HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n11111111111111111\r\n",
    b"POST /text HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
    b"POST /text HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /text HTTP/1.1\r\nHost: x\r\nHost: y\r\nContent-Length: 0\r\n\r\n",
    b"POST /text HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
]


def test_ambiguous_requests_are_refused_and_never_forwarded():
    with Peer(lambda c, r: stream(c)) as peer, Sluice(config(peer.url)) as proxy:
        for data in AMBIGUOUS:
            connection = connect(proxy.port)
            connection.sendall(data + b"POST /text HTTP/1.1\r\nHost: smuggled\r\nContent-Length: 0\r\n\r\n")
            answer = drain(connection)
            assert answer.startswith(b"HTTP/1.1 400") and answer.count(b"HTTP/1.1") == 1, (data, answer)
        assert not peer.requests


def test_limits_have_their_statuses():
    with Peer(lambda c, r: stream(c)) as peer:
        with Sluice(config(peer.url, limits={"request_body_bytes": "1KiB"})) as proxy:
            assert fetch(proxy.port, "/" + "x" * 9000).status == 414
            assert fetch(proxy.port, "/text", b"{}", headers=["X-Large: " + "x" * 40000]).status == 431
            assert fetch(proxy.port, "/text", b"{}", headers=[f"X-{n}: 1" for n in range(101)]).status == 431
            assert fetch(proxy.port, "/text", b"x" * 2000).status == 413
        assert not peer.requests


def certificates(folder):
    """A CA, a server certificate for localhost, and a client certificate."""
    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", "/CN=test ca", "-keyout", "ca.key", "-out", "ca.crt")
    for name, subject, extension in (("server", "/CN=localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
                                     ("client", "/CN=a client", "extendedKeyUsage=clientAuth")):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", subject,
                "-keyout", f"{name}.key", "-out", f"{name}.csr")
        with open(os.path.join(folder, f"{name}.ext"), "w") as file:
            file.write(extension + "\n")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                "-extfile", f"{name}.ext", "-out", f"{name}.crt")


def tls_request(port, context, data):
    with socket.create_connection(("127.0.0.1", port), 10) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as connection:
            connection.sendall(data)
            return drain(connection)


def test_client_certificates():
    with tempfile.TemporaryDirectory() as folder, Peer(lambda c, r: stream(c)) as peer:
        certificates(folder)
        path = lambda name: os.path.join(folder, name)
        settings = config(peer.url, listeners=[{"address": "127.0.0.1:0", "tls": {
            "certificate": path("server.crt"), "private_key": path("server.key"), "client_ca": path("ca.crt"),
            "require_client_certificate": True}}])
        with Sluice(settings) as proxy:
            data = request_bytes("/text", CHAT, headers=["Connection: close"])
            context = ssl.create_default_context(cafile=path("ca.crt"))
            try:
                assert not tls_request(proxy.port, context, data)
            except ssl.SSLError:
                pass
            assert not peer.requests
            context.load_cert_chain(path("client.crt"), path("client.key"))
            assert Reply(tls_request(proxy.port, context, data)).complete


def test_when_conditions_look_into_the_body():
    with Peer(lambda c, r: stream(c, ["one"])) as one, Peer(lambda c, r: stream(c, ["two"])) as two:
        upstreams = {"one": {"url": one.url, "dialect": "openai-chat"}, "two": {"url": two.url, "dialect": "openai-chat"}}
        route = {"path": "/x", "request": "openai-chat", "response": "text"}
        routes = [{**route, "upstream": "one", "when": {"body.model": "a-*"}}, {**route, "upstream": "two"}]
        with Sluice({"listeners": [{"address": "127.0.0.1:0"}], "upstreams": upstreams, "routes": routes}) as proxy:
            assert fetch(proxy.port, "/x", {**CHAT, "model": "a-1"}).body == b"one"
            assert fetch(proxy.port, "/x", {**CHAT, "model": "b-1"}).body == b"two"


def test_unix_socket_upstream_and_listener():
    with tempfile.TemporaryDirectory() as folder, Peer(lambda c, r: stream(c)) as peer:
        path = os.path.join(folder, "proxy.sock")
        with Sluice(config(peer.url, listeners=[{"address": "127.0.0.1:0"}, {"address": "unix:" + path}])) as proxy:
            connection = socket.socket(socket.AF_UNIX)
            until(lambda: os.path.exists(path))
            connection.connect(path)
            connection.sendall(request_bytes("/text", CHAT, headers=["Connection: close"]))
            assert Reply(drain(connection)).complete
            second = config("unix:" + path, upstream={"dialect": "openai-chat"})
            second["routes"] = [{"path": "/hop", "request": "openai-chat", "response": "text", "upstream": "u",
                                 "upstream_path": "/openai-chat"}]
            with Sluice(second) as outer:
                reply = fetch(outer.port, "/hop", CHAT)
                assert reply.complete and reply.body.endswith(b"end"), reply.raw


def test_upstreams_over_tls_are_verified():
    with tempfile.TemporaryDirectory() as folder, Peer(lambda c, r: stream(c)) as peer:
        certificates(folder)
        path = lambda name: os.path.join(folder, name)
        tls = {"certificate": path("server.crt"), "private_key": path("server.key")}
        inner = config(peer.url, listeners=[{"address": "127.0.0.1:0", "tls": tls}])
        with Sluice(inner) as secure:
            for host, trust, status in (("localhost", {"ca": path("ca.crt")}, 200), ("127.0.0.1", {"ca": path("ca.crt")}, 200),
                                        ("localhost", {}, 502), ("localhost", {"verify": False}, 200),
                                        ("localhost", {"ca": path("ca.crt"), "server_name": "other.example"}, 502)):
                outer = config(f"https://{host}:{secure.port}", upstream={"tls": trust})
                for route in outer["routes"][:5]:
                    route["upstream_path"] = "/openai-chat"
                with Sluice(outer) as proxy:
                    reply = fetch(proxy.port, "/text", CHAT)
                    assert reply.status == status, (host, trust, reply.raw)
                    assert status != 200 or reply.complete


def test_upstream_by_name():
    with Peer(lambda c, r: stream(c)) as peer, Sluice(config(f"http://localhost:{peer.port}/v1")) as proxy:
        for _ in range(3):
            assert fetch(proxy.port, "/text", CHAT).complete


def test_close_delimited_upstream_bodies():
    def script(connection, request):
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + event({"content": "one"}))
        if b"whole" in request:
            connection.sendall(DONE)
        return "close"

    with Peer(script) as peer, Sluice(config(peer.url)) as proxy:
        whole = {**CHAT, "messages": [{"role": "user", "content": "whole"}]}
        assert fetch(proxy.port, "/text", whole).complete
        assert not fetch(proxy.port, "/text", CHAT).complete
        assert b"[DONE]" not in fetch(proxy.port, "/openai-chat", CHAT).body


def test_head_and_other_methods():
    def script(connection, request):
        body = b"" if request.startswith(b"HEAD") else b"hello"
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n" + body)

    with Peer(script) as peer, Sluice(config(peer.url)) as proxy:
        connection = connect(proxy.port)
        connection.sendall(request_bytes("/v1/models", method="HEAD") + request_bytes("/nowhere", method="HEAD")
                           + request_bytes("/v1/models", headers=["Connection: close"]))
        data = drain(connection)
        assert data.count(b"hello") == 1 and data.endswith(b"hello") and b"404" in data, data
        assert fetch(proxy.port, "/text", method="DELETE").status == 405
        assert fetch(proxy.port, "/text", method="TRACE").status == 405
