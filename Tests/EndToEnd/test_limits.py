"""Every limit of the configuration is reached from outside: what happens, under which name, and that others go on meanwhile."""

import os
import resource
import socket
import struct
import threading
import time

from harness import CHAT, HEAD, Peer, Sluice, chunk, config, connect, drain, event, fetch, request_bytes, stream, until

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\x04\0\0\0\0\0"


def answer(connection, request):
    stream(connection)


def cpu_seconds(proxy):
    with open(f"/proc/{proxy.process.pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ends(proxy):
    return [entry["end"] for entry in proxy.exchanges()]


# MARK: sizes

def test_sizes_of_requests():
    limits = {"request_head_bytes": "2KiB", "request_fields": 20, "target_bytes": 500, "request_body_bytes": 1000,
              "chunk_extension_bytes": 100}
    many = [f"X-{index}: 1" for index in range(30)]
    body = b'{"messages":[{"role":"user","content":"' + b"x" * 1000 + b'"}]}'
    chunked = b"POST /text HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    cases = [
        (request_bytes("/text", CHAT, headers=["X-Long: " + "x" * 3000]), 431, "request_head_bytes"),
        (request_bytes("/text", CHAT, headers=many), 431, "request_fields"),
        (request_bytes("/text?" + "x" * 600, CHAT), 414, "target_bytes"),
        (request_bytes("/text", body), 413, "request_body_bytes"),
        (chunked + chunk(body[:900]) + chunk(body[900:]) + b"0\r\n\r\n", 413, "request_body_bytes"),
        (chunked + b"1;" + b"e=" + b"x" * 200 + b"\r\n{\r\n0\r\n\r\n", 400, "chunk_extension_bytes"),
    ]
    with Peer(answer) as peer, Sluice(config(peer.url, limits=limits)) as proxy:
        for data, status, name in cases:
            connection = connect(proxy.port)
            connection.sendall(data)
            connection.settimeout(10)
            reply = connection.recv(4096)
            assert reply.startswith(b"HTTP/1.1 %d " % status), (name, reply[:200])
            connection.close()
            until(lambda: f"limit_{name}" in ends(proxy), what=name)
            proxy.log.clear()
        assert not peer.requests
        assert fetch(proxy.port, "/text", CHAT).complete


def test_sizes_of_answers():
    heads = {
        "upstream_head_bytes": b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 3000 + b"\r\n\r\n",
        "upstream_fields": b"HTTP/1.1 200 OK\r\n" + b"X-A: 1\r\n" * 30 + b"\r\n",
    }
    limits = {"upstream_head_bytes": "2KiB", "upstream_fields": 20, "event_bytes": "4KiB"}
    for name, head in heads.items():
        with Peer(lambda c, r: c.sendall(head)) as peer, Sluice(config(peer.url, limits=limits)) as proxy:
            reply = fetch(proxy.port, "/text", CHAT)
            assert reply.status == 502, (name, reply.raw)
            entry = until(lambda: proxy.exchanges(), what=name)[0]
            assert name in entry["detail"], entry

    def large(connection, request):
        connection.sendall(HEAD + chunk(event({"content": "one"})) + chunk(event({"content": "x" * 8000})))

    with Peer(large) as peer, Sluice(config(peer.url, limits=limits)) as proxy:
        reply = fetch(proxy.port, "/sse-text", CHAT)
        assert b"data: one" in reply.body and b"event: error" in reply.body, reply.body
        assert "event_bytes" in until(lambda: proxy.exchanges())[0]["detail"], proxy.exchanges()


# MARK: connections

def test_connections_in_all():
    """Those above the limit wait to be accepted, and are when a place is free."""
    with Peer(answer) as peer, Sluice(config(peer.url, limits={"connections": 5})) as proxy:
        held = [connect(proxy.port) for _ in range(5)]
        for connection in held:
            connection.sendall(request_bytes("/text", CHAT))
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        late = connect(proxy.port)
        late.sendall(request_bytes("/text", CHAT))
        late.settimeout(0.3)
        try:
            raise AssertionError(late.recv(100))
        except TimeoutError:
            pass
        before = cpu_seconds(proxy)
        time.sleep(0.5)
        assert cpu_seconds(proxy) - before < 0.2, "it spins while it waits"
        held[0].close()
        late.settimeout(10)
        assert late.recv(100).startswith(b"HTTP/1.1 200")


def test_connections_of_one_address():
    """Another address is served meanwhile; places come back when connections end."""
    settings = config("http://127.0.0.1:1", limits={"connections_per_address": 3, "client_idle_timeout": "30s"}, workers=2)
    with Peer(answer) as peer:
        settings["upstreams"]["u"]["url"] = peer.url
        with Sluice(settings) as proxy:
            def ask(connection):
                connection.sendall(request_bytes("/text", CHAT))
                try:
                    return connection.recv(100)[9:12]
                except ConnectionError:
                    return b""

            held = [connect(proxy.port) for _ in range(3)]
            assert [ask(connection) for connection in held] == [b"200"] * 3
            for _ in range(3):
                assert ask(connect(proxy.port)) == b""
            other = socket.create_connection(("127.0.0.1", proxy.port), 10, source_address=("127.0.0.9", 0))
            assert ask(other) == b"200"
            held.pop().close()
            until(lambda: ask(connect(proxy.port)) == b"200", what="a place is free again")


def test_descriptors_run_out():
    """The rest waits in the backlog without a spin; streams that run go on, and all is well when descriptors are back."""
    go_on = threading.Event()

    def slow(connection, request):
        connection.sendall(HEAD + chunk(event({"content": "first"})))
        go_on.wait(30)
        connection.sendall(chunk(event({"content": "last"}, "stop")) + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    with Peer(slow) as peer, Sluice(config(peer.url, limits={"handshake_timeout": "30s"})) as proxy:
        running = connect(proxy.port)
        running.sendall(request_bytes("/text", CHAT, headers=["Connection: close"]))
        until(lambda: peer.requests, what="a stream runs")
        resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE, (proxy.descriptors() + 3,) * 2)
        crowd = [connect(proxy.port) for _ in range(20)]
        time.sleep(0.3)
        before = cpu_seconds(proxy)
        time.sleep(0.6)
        assert cpu_seconds(proxy) - before < 0.2, "it spins without descriptors"
        for connection in crowd[3:]:
            connection.close()
        # One connection is accepted, but no descriptor is left for its upstream: not that one's fault.
        crowd[0].sendall(request_bytes("/text", CHAT))
        assert crowd[0].recv(1000).startswith(b"HTTP/1.1 503"), "no descriptor for the upstream"
        for connection in crowd:
            connection.close()
        go_on.set()
        assert b"last" in drain(running)[-200:]
        until(lambda: fetch(proxy.port, "/text", CHAT).complete, what="it serves again")
        until(lambda: "limit_descriptors" in ends(proxy), what="the reason in the log")


# MARK: memory

def test_buffered_bytes_in_all():
    """New requests are refused while the buffers are full; what runs goes on; nothing is refused when they are empty again."""
    limits = {"buffered_bytes": "2MiB", "slow_client": "60s"}
    go_on = threading.Event()

    def slow(connection, request):
        if b"quick" in request:
            return answer(connection, request)
        connection.sendall(HEAD + chunk(event({"content": "first"})))
        go_on.wait(30)
        connection.sendall(chunk(event({"content": "last"}, "stop")) + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    with Peer(slow) as peer, Sluice(config(peer.url, limits=limits)) as proxy:
        running = connect(proxy.port)
        running.sendall(request_bytes("/text", CHAT, headers=["Connection: close"]))
        assert b"first" in until(lambda: running.recv(1000))
        half = b'{"messages":[{"role":"user","content":"' + b"x" * (3 << 20)
        hoarder = connect(proxy.port)
        hoarder.settimeout(20)
        hoarder.sendall(f"POST /text HTTP/1.1\r\nHost: x\r\nContent-Length: {8 << 20}\r\n\r\n".encode())
        try:
            hoarder.sendall(half)
        except ConnectionError:
            pass  # it is answered before all of it is sent
        assert hoarder.recv(1000).startswith(b"HTTP/1.1 503"), "the request that fills the buffers is the one that pays"
        until(lambda: "limit_buffered_bytes" in ends(proxy), what="the reason in the log")

        # Many that each stay small fill them too: then a request that needs nothing is refused.
        share = [connect(proxy.port) for _ in range(60)]
        for connection in share:
            connection.sendall(b"POST /text HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + half[: 60 << 10])
        reply = until(lambda: (r := fetch(proxy.port, "/stream?prompt=quick")).status == 503 and r, what="a refusal")
        assert reply.headers["retry-after"].isdigit() and b"overloaded" in reply.body, reply.raw
        go_on.set()
        assert b"last" in drain(running)[-100:]
        for connection in share:
            connection.close()
        hoarder.close()
        until(lambda: fetch(proxy.port, "/text", CHAT).status == 200, what="it serves again")


# MARK: time

def test_times_of_senders():
    """A byte now and then is not enough, in no phase and no protocol."""
    limits = {"handshake_timeout": "600ms", "request_head_timeout": "600ms", "request_body_timeout": "600ms",
              "request_body_rate": "10KiB", "client_idle_timeout": "2s"}

    def drip(port, opening, rest, replies=b""):
        """Sends `rest` byte by byte, each well within every single wait, until the proxy ends it."""
        connection = connect(port)
        connection.sendall(opening)
        connection.settimeout(0.1)
        began, got = time.monotonic(), b""
        for position in range(len(rest)):
            try:
                connection.sendall(rest[position:position + 1])
                more = connection.recv(1000)
                if not more:
                    break
                got += more
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            raise AssertionError("it was never ended")
        connection.close()
        return got, time.monotonic() - began

    body = b"POST /text HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
    upload = b"POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n"
    headers = b"\0\x01\0\x01\x04\0\0\0\x01" + b"\x82"  # HEADERS of 256 bytes, of which one is there
    cases = {
        "head": (b"POST /text HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"x" * 200, b"408"),
        "body": (body, b"x" * 200, b"408"),
        "body that is relayed": (upload, b"x" * 200, b"408"),
        "preface": (PREFACE[:5], PREFACE[5:20] * 10, None),
        "no SETTINGS after the preface": (PREFACE, b"\0" * 4, b""),
        "a HEADERS frame": (PREFACE + SETTINGS, headers + b"\x82" * 240, None),
        "TLS": (b"\x16\x03\x01\x02\0", b"\x01" * 200, None),
    }

    def swallow(connection, request):
        time.sleep(30)

    with Peer(swallow) as peer:
        settings = config(peer.url, limits=limits)
        with Certificate() as certificate:
            settings["listeners"].append({"address": "127.0.0.1:0", "tls": certificate})
            with Sluice(settings, listeners=2) as proxy:
                plain, secure = proxy.ports()
                failures = []

                def one(name, opening, rest, status):
                    try:
                        got, took = drip(secure if name == "TLS" else plain, opening, rest + b"x" * 200)
                        assert status is None or got[9:12] == status or status == b"", (name, got[:100])
                        assert took < 10, (name, took)
                    except AssertionError as error:
                        failures.append((name, error))

                threads = [threading.Thread(target=one, args=(name, *case)) for name, case in cases.items()]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                assert not failures, failures


class Certificate:
    """A key and a certificate of its own, for a listener."""

    def __enter__(self):
        import subprocess
        import tempfile
        self.folder = tempfile.TemporaryDirectory()
        names = {"certificate": f"{self.folder.name}/c.pem", "private_key": f"{self.folder.name}/k.pem"}
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
             "-subj", "/CN=localhost", "-out", names["certificate"], "-keyout", names["private_key"]],
            check=True, capture_output=True)
        return names

    def __exit__(self, *_):
        self.folder.cleanup()


def test_idle_connections():
    """Clients' and upstreams' connections that lie idle are closed, each at its own time."""
    limits = {"client_idle_timeout": "500ms", "upstream_idle_timeout": "300ms"}
    with Peer(answer) as peer, Sluice(config(peer.url, limits=limits)) as proxy:
        connection = connect(proxy.port)
        connection.sendall(request_bytes("/text", CHAT))
        began = time.monotonic()
        until(lambda: peer.closed_at, what="the upstream's connection is closed")
        assert peer.closed_at[0] - began >= 0.25
        data = drain(connection)
        assert data.endswith(b"0\r\n\r\n") and time.monotonic() - began >= 0.45


def test_a_slow_reader_is_reaped_whatever_it_reads():
    """Of each format, and a document; the upstream is told at once."""
    data = chunk(b"".join(event({"content": "x" * 1000}) for _ in range(20)))

    def endless(connection, request):
        connection.sendall(HEAD)
        while True:
            connection.sendall(data)

    with Peer(endless) as peer, Sluice(config(peer.url, limits={"slow_client": "700ms"})) as proxy:
        names = ["text", "sse-text", "sse-json", "ndjson", "openai-chat", "v1/chat/completions"]
        readers = []
        for name in names:
            connection = connect(proxy.port)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(request_bytes("/" + name, CHAT))
            readers.append(connection)
        until(lambda: len(proxy.exchanges()) == len(names), 20, "all are given up")
        assert ends(proxy) == ["slow_client"] * len(names), ends(proxy)
        until(lambda: len(peer.closed_at) == len(names), what="their upstreams are closed")
        for connection in readers:
            connection.close()


def test_linger_of_a_refused_client_is_bounded():
    """A client that goes on sending after its refusal, and never closes, holds its connection for seconds only."""
    with Peer(answer) as peer, Sluice(config(peer.url, limits={"request_body_bytes": 1000})) as proxy:
        baseline = proxy.descriptors()
        stuck = []
        for _ in range(10):
            connection = connect(proxy.port)
            connection.sendall(b"POST /text HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
            stuck.append(connection)
        until(lambda: len(proxy.exchanges()) == 10, what="all are refused")
        until(lambda: proxy.descriptors() <= baseline, 15, "their descriptors are back")
        for connection in stuck:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
