"""What leaves nothing behind: clients that go, readers that stop, processes that end."""

import os
import select
import signal
import socket
import statistics
import threading
import time

from harness import (CHAT, DONE, HEAD, Peer, Reply, Sluice, chunk, config, connect, drain, event, fetch, request_bytes, reset,
                     stream, until, wait_closed)

SOAK = float(os.environ.get("SOAK", "8"))


def test_a_client_that_leaves_stops_the_upstream():
    seen = []

    def script(connection, request):
        connection.sendall(HEAD + chunk(event({"content": "x"})))
        seen.append(wait_closed(connection))
        return "close"

    with Peer(script) as peer, Sluice(config(peer.url)) as proxy:
        delays = []
        for turn in range(20):
            connection = connect(proxy.port)
            connection.sendall(request_bytes("/text", CHAT))
            assert b"x" in connection.recv(65536)
            began = time.monotonic()
            reset(connection) if turn % 2 else connection.close()
            until(lambda: len(seen) == turn + 1, what="the upstream's connection closes")
            delays.append(seen[-1] - began)
        assert statistics.median(delays) < 0.05 and max(delays) < 0.25, delays
        assert all(e["end"] == "client_gone" for e in proxy.exchanges())


def test_a_client_that_leaves_before_the_first_byte():
    seen = []

    def script(connection, request):
        seen.append(wait_closed(connection))
        return "close"

    with Peer(script) as peer, Sluice(config(peer.url)) as proxy:
        for turn in range(10):
            connection = connect(proxy.port)
            connection.sendall(request_bytes("/text", CHAT))
            until(lambda: len(peer.requests) == turn + 1, what="the request reaches the upstream")
            began = time.monotonic()
            connection.close()
            until(lambda: len(seen) == turn + 1, what="the upstream's connection closes")
            assert seen[-1] - began < 0.25


def test_two_thousand_churns_leave_no_descriptor():
    def script(connection, request):
        connection.sendall(HEAD + chunk(event({"content": "x"})))
        wait_closed(connection)
        return "close"

    with Peer(script) as peer, Sluice(config(peer.url)) as proxy:
        before = proxy.descriptors()
        for _ in range(20):
            batch = [connect(proxy.port) for _ in range(100)]
            for connection in batch:
                connection.sendall(request_bytes("/text", CHAT))
            for index, connection in enumerate(batch):
                assert connection.recv(1000)
                reset(connection) if index % 2 else connection.close()
        until(lambda: proxy.descriptors() <= before, 20, f"descriptors back to {before}")
        until(lambda: len(proxy.exchanges()) == 2000, what="2,000 log lines")


def test_a_reader_that_stops_costs_a_bounded_buffer():
    data = chunk(b"".join(event({"content": "x" * 100}) for _ in range(50)))

    def script(connection, request):
        connection.sendall(HEAD)
        while True:
            connection.sendall(data)

    with Peer(script) as fast, Peer(lambda c, r: stream(c)) as normal:
        settings = config(fast.url)
        settings["upstreams"]["normal"] = {"url": normal.url, "dialect": "openai-chat"}
        settings["routes"].append({"path": "/normal", "request": "openai-chat", "response": "text", "upstream": "normal"})
        with Sluice(settings) as proxy:
            stopped = []
            for name in ("text", "sse-json", "openai-chat", "v1/chat/completions"):
                connection = connect(proxy.port)
                connection.sendall(request_bytes("/" + name, CHAT))
                connection.recv(1000)
                stopped.append(connection)
            time.sleep(1)
            start = proxy.resident_kib()
            end = time.monotonic() + SOAK
            while time.monotonic() < end:
                assert fetch(proxy.port, "/normal", CHAT).complete
                time.sleep(0.1)
            growth = proxy.resident_kib() - start
            assert growth < 8192, f"{growth} KiB"
            print(f"  resident memory grew by {growth} KiB in {SOAK:.0f} s")


def test_a_reader_that_stops_is_given_up():
    gone = []

    def script(connection, request):
        connection.sendall(HEAD)
        try:
            while True:
                connection.sendall(chunk(event({"content": "x" * 1000})))
        except OSError:
            gone.append(1)
            raise

    with Peer(script) as peer, Sluice(config(peer.url, limits={"slow_client": "1s"})) as proxy:
        connection = connect(proxy.port)
        connection.sendall(request_bytes("/text", CHAT))
        until(lambda: gone, 10, "the upstream is cancelled")
        assert until(lambda: proxy.exchanges())[0]["end"] == "slow_client"


def test_slow_senders_are_timed_out():
    with Peer(lambda c, r: stream(c)) as peer:
        limits = {"request_head_timeout": "300ms", "request_body_timeout": "300ms", "handshake_timeout": "300ms"}
        with Sluice(config(peer.url, limits=limits)) as proxy:
            silent = connect(proxy.port)
            assert drain(silent, 5) == b""
            half = connect(proxy.port)
            half.sendall(b"POST /text HTTP/1.1\r\nHo")
            assert drain(half, 5).startswith(b"HTTP/1.1 408")
            body = connect(proxy.port)
            body.sendall(b"POST /text HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
            assert drain(body, 5).startswith(b"HTTP/1.1 408")


def test_sigterm_lets_live_streams_end():
    with Peer(lambda c, r: stream(c, gap=0.2)) as peer, Sluice(config(peer.url)) as proxy:
        connection = connect(proxy.port)
        connection.sendall(request_bytes("/text", CHAT))
        first = connection.recv(65536)
        proxy.process.send_signal(signal.SIGTERM)
        until(lambda: any(e["event"] == "draining" for e in proxy.log))

        def refused():
            try:
                socket.create_connection(("127.0.0.1", proxy.port), 1).close()
                return False
            except OSError:
                return True

        until(refused, what="new connections are refused")
        assert Reply(first + drain(connection)).complete
        assert proxy.process.wait(5) == 0


def test_drain_timeout_ends_streams_in_their_dialect():
    def script(connection, request):
        connection.sendall(HEAD + chunk(event({"content": "x"})))
        wait_closed(connection, 20)
        return "close"

    with Peer(script) as peer, Sluice(config(peer.url, drain_timeout="300ms")) as proxy:
        connection = connect(proxy.port)
        connection.sendall(request_bytes("/sse-json", CHAT))
        first = connection.recv(65536)
        proxy.process.send_signal(signal.SIGTERM)
        reply = Reply(first + drain(connection))
        assert b"event: error" in reply.body and b"server_draining" in reply.body, reply.raw
        assert proxy.process.wait(5) == 0


def test_a_second_signal_exits_at_once():
    def script(connection, request):
        connection.sendall(HEAD + chunk(event({"content": "x"})))
        wait_closed(connection, 20)
        return "close"

    with Peer(script) as peer, Sluice(config(peer.url)) as proxy:
        connection = connect(proxy.port)
        connection.sendall(request_bytes("/text", CHAT))
        connection.recv(1000)
        proxy.process.send_signal(signal.SIGTERM)
        until(lambda: any(e["event"] == "draining" for e in proxy.log))
        proxy.process.send_signal(signal.SIGTERM)
        assert proxy.process.wait(5) == 1


def test_sighup_reloads_and_a_bad_file_changes_nothing():
    with Peer(lambda c, r: stream(c, gap=0.1)) as peer, Sluice(config(peer.url)) as proxy:
        live = connect(proxy.port)
        live.sendall(request_bytes("/text", CHAT, headers=["Connection: close"]))
        first = live.recv(65536)
        proxy.write("routes: [\n")
        proxy.process.send_signal(signal.SIGHUP)
        until(lambda: any(e["event"] == "reload_failed" for e in proxy.log))
        assert fetch(proxy.port, "/text", CHAT).complete
        settings = config(peer.url)
        # The port is bound already; a reload may not name another one.
        settings["routes"].append({"path": "/new", "request": "openai-chat", "response": "text", "upstream": "u"})
        proxy.write(settings)
        assert fetch(proxy.port, "/new", CHAT).status == 404
        proxy.process.send_signal(signal.SIGHUP)
        until(lambda: any(e["event"] == "reloaded" for e in proxy.log))
        until(lambda: fetch(proxy.port, "/new", CHAT).status == 200, what="the new route")
        assert Reply(first + drain(live)).complete
