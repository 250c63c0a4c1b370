"""Repetitions at one upstream, before the first byte: what is saved, how soon, how often, and what is sent only once."""

import concurrent.futures
import email.utils
import os
import signal
import socket
import threading
import time

from harness import CHAT, HEAD, Peer, chunk, connect, event, fetch, request_bytes, stream, until
from http2_peer import INTERNAL_ERROR, Http2Peer
from retry_world import (NOBODY, USUAL, WHOLE, always, answers, be_reset, busy, closed_port, fetch_rest, first, last,
                         role_and_silence, said, silent_until_left, status, tell, world)


# At one upstream

def test_an_upstream_that_starts_late_is_waited_for():
    with socket.socket() as early:
        early.bind(("127.0.0.1", 0))  # refuses until it listens
        url = NOBODY % early.getsockname()[1]
        policy = {"attempts": 10, "backoff": "300ms", "max_backoff": "300ms", "min_per_second": 100}
        with world({"u": (url, {"retries": policy})}) as proxy:
            with concurrent.futures.ThreadPoolExecutor() as pool:
                asked = pool.submit(fetch, proxy.port, "/x", CHAT)
                time.sleep(0.2)
                early.listen()
                connection, _ = early.accept()
                connection.recv(65536)
                stream(connection)
                reply = asked.result(20)
                connection.close()
            assert (reply.status, reply.body, reply.complete) == (200, WHOLE, True), reply.raw
            entry = last(proxy)
            assert entry["attempts"].startswith("u:connect,") and entry["attempts"].endswith(",u"), entry


def test_an_upstream_that_nobody_answers_is_asked_as_often_as_it_says():
    for attempts, wanted in ((0, None), (3, "u:connect,u:connect,u:connect,u:connect")):
        with world({"u": (NOBODY % closed_port(), {"retries": {**USUAL, "attempts": attempts}})}) as proxy:
            assert fetch(proxy.port, "/x", CHAT).status == 502
            entry = last(proxy)
            assert entry.get("attempts") == wanted and entry.get("retries", 0) == attempts, entry


def test_a_connection_that_had_closed_before_the_request_costs_nothing():
    """The proxy is stopped while a request comes and its pooled connection is closed: it meets both at once, in any order."""
    gate = threading.Event()

    def http1(connection, request):
        stream(connection)
        if len(peer.requests) == 1:
            gate.wait(10)
            return "close"

    def http2(stream):
        tell(stream)
        if len(peer.streams) == 1:
            gate.wait(10)
            stream.connection.close()

    def is_stopped(pid):
        threads = [open(f"/proc/{pid}/task/{each}/stat") for each in os.listdir(f"/proc/{pid}/task")]
        try:
            return all(file.read().rpartition(")")[2].split()[0] == "T" for file in threads)
        finally:
            for file in threads:
                file.close()

    stale = 0
    for kind, script in ((Peer, http1), (Http2Peer, http2)) * 4:
        gate.clear()
        with kind(script) as peer, world({"u": peer}) as proxy, connect(proxy.port) as client:
            client.sendall(request_bytes("/x", CHAT))
            assert fetch_rest(client).endswith(b"0\r\n\r\n")
            proxy.process.send_signal(signal.SIGSTOP)
            until(lambda: is_stopped(proxy.process.pid), what="the proxy stops")
            client.sendall(request_bytes("/x", CHAT))
            gate.set()
            until(lambda: peer.closed_at if kind is Peer else peer.connections[0].is_over, what="the upstream closes")
            time.sleep(0.02)
            proxy.process.send_signal(signal.SIGCONT)
            assert fetch_rest(client).endswith(b"0\r\n\r\n")
            until(lambda: len(proxy.exchanges()) == 2, what="the log")
            attempts = last(proxy).get("attempts")
            assert attempts in (None, "u:stale,u") and len(said(peer)) == 2, proxy.exchanges()
            stale += attempts is not None
    print(f"  {stale} of 8 requests met a connection that had been closed")


def test_a_pooled_connection_that_ends_at_once_was_stale_and_one_that_ends_late_was_not():
    """It may have closed as the request came, its bytes unread. Who has had it for a second most likely knows what it says."""
    def http1(die, patience):
        def script(connection, request):
            if len(peer.requests) != 2:
                return stream(connection)
            time.sleep(patience)
            return die(connection)
        return Peer(script)

    def http2(die, patience):
        def script(stream):
            stream.wait_body()
            if len(peer.streams) != 2:
                return tell(stream)
            time.sleep(patience)
            die(stream)
        return Http2Peer(script)

    endings = [(http1, lambda c: "close"), (http1, be_reset), (http2, lambda s: s.connection.close()),
               (http2, lambda s: s.connection.close(reset=True))]
    for patience, status, count, attempts in ((0, 200, 3, "u:stale,u"), (1.3, 502, 2, None)):
        for kind, die in endings:
            with kind(die, patience) as peer, world({"u": peer}) as proxy:
                assert fetch(proxy.port, "/x", CHAT).complete
                assert fetch(proxy.port, "/x", CHAT).status == status
                until(lambda: len(proxy.exchanges()) == 2, what="the log")
                assert len(said(peer)) == count and last(proxy).get("attempts") == attempts, proxy.exchanges()
                connections = peer.connections if kind is http1 else len(peer.connections)
                assert connections == count - 1, "the second request did not meet the pooled connection"


def test_what_an_upstream_says_at_last_is_told():
    """A repetition that is answered is what counts, though a client could do less with it than with a lost connection."""
    def script(connection, request):
        if len(peer.requests) == 1:
            return stream(connection)
        return "close" if len(peer.requests) == 2 else answers(status(401))(connection)

    with Peer(script) as peer, world({"u": peer}) as proxy:
        assert fetch(proxy.port, "/x", CHAT).complete
        assert fetch(proxy.port, "/x", CHAT).status == 401
        until(lambda: len(proxy.exchanges()) == 2, what="the log")
        assert last(proxy)["attempts"] == "u:stale,u:401", proxy.exchanges()


def test_a_post_that_may_have_been_read_is_sent_once_without_a_policy():
    broken = {
        "close": (Peer, lambda c: "close", 502), "reset": (Peer, be_reset, 502),
        "500": (Peer, answers(status(500)), 502), "503": (Peer, answers(status(503)), 503),
        "429": (Peer, answers(status(429)), 429), "html": (Peer, answers(status(200, b"<html>", b"text/html")), 502),
        "cut": (Peer, answers(HEAD, "close"), 502),
        "h2 reset": (Http2Peer, lambda s: (s.wait_body(), s.abort(INTERNAL_ERROR)), 502),
        "h2 close": (Http2Peer, lambda s: (s.wait_body(), s.connection.close(reset=True)), 502),
    }
    for name, (kind, script, wanted) in broken.items():
        with kind(always(script) if kind is Peer else script) as peer, world({"u": peer}) as proxy:
            assert fetch(proxy.port, "/x", CHAT).status == wanted, name
            assert len(said(peer)) == 1 and "attempts" not in last(proxy), (name, proxy.exchanges())


def test_a_policy_repeats_what_it_lists_and_nothing_else():
    def h2(script):
        return first(script, tell)

    error = status(200, b'data: {"error":{"message":"over","code":503}}\n\n', b"text/event-stream")
    cases = {
        "reset": [(Peer, lambda c: "close"), (Peer, be_reset),
                  (Http2Peer, lambda s: (s.wait_body(), s.abort(INTERNAL_ERROR))),
                  (Http2Peer, lambda s: (s.wait_body(), s.connection.close()))],
        503: [(Peer, answers(status(503))), (Peer, answers(error)),
              (Http2Peer, lambda s: (s.wait_body(), s.head(503), s.data(b"busy"), s.end()))],
        502: [(Peer, answers(status(502, b"<html>", b"text/html"))), (Peer, answers(status(200, b"<html>", b"text/html"))),
              (Peer, answers(HEAD, "close")), (Peer, answers(HEAD + b"0\r\n\r\n")),
              (Peer, answers(HEAD + chunk(event({"role": "assistant", "content": ""})) + chunk(b"data: {\"choi\n\n"), "close")),
              (Peer, answers(b"nonsense\r\n\r\n", "close"))],
        408: [(Peer, answers(status(408), "close"))],
    }
    for cause, scripts in cases.items():
        for kind, script in scripts:
            play = first(script) if kind is Peer else h2(script)
            with kind(play) as peer, world({"u": (peer, {"retries": {**USUAL, "on": [cause]}})}) as proxy:
                reply = fetch(proxy.port, "/x", CHAT)
                assert (reply.status, reply.body, reply.complete) == (200, WHOLE, True), (cause, reply.raw)
                bodies = said(peer)
                assert len(bodies) == 2 and bodies[0] == bodies[1] and bodies[0]["messages"] == CHAT["messages"], bodies
                assert last(proxy)["retries"] == 1, proxy.exchanges()
            other = 504 if cause != 504 else 503
            with kind(first(script) if kind is Peer else h2(script)) as peer:
                with world({"u": (peer, {"retries": {**USUAL, "on": [other]}})}) as proxy:
                    assert fetch(proxy.port, "/x", CHAT).status in (408, 502, 503), cause
                    assert len(said(peer)) == 1, cause


def test_a_clients_own_fault_is_never_repeated():
    for code in (400, 401, 403, 404, 413, 422):
        with Peer(always(answers(status(code)))) as peer, world({"u": (peer, {"retries": USUAL})}) as proxy:
            assert fetch(proxy.port, "/x", CHAT).status == code
            assert len(peer.requests) == 1


def test_a_late_head_and_a_late_token_are_repeated_if_listed():
    for word, script, key in (("timeout", silent_until_left, "headers"), ("first_token", role_and_silence, "first_token")):
        for on, wanted in (([word], 200), ([503], 504)):
            changes = {"timeouts": {key: "400ms"}, "retries": {**USUAL, "on": on}}
            with Peer(first(script)) as peer, world({"u": (peer, changes)}) as proxy:
                assert fetch(proxy.port, "/x", CHAT).status == wanted, (word, on)
                assert len(peer.requests) == (2 if wanted == 200 else 1)


def test_total_covers_all_attempts():
    changes = {"timeouts": {"headers": "200ms", "total": "700ms"}, "retries": {**USUAL, "attempts": 10, "on": ["timeout"]}}
    with Peer(always(silent_until_left)) as peer, world({"u": (peer, changes)}) as proxy:
        began = time.monotonic()
        assert fetch(proxy.port, "/x", CHAT).status == 504
        assert time.monotonic() - began < 5 and 2 <= len(peer.requests) <= 4, len(peer.requests)


# Retry-After

def test_retry_after_is_honoured():
    for field, least in ((b"Retry-After: 1", 1), (b"retry-after-ms: 300", 0.3), (b"Retry-After: DATE", 1)):
        # Whole seconds: up to one of the three is lost.
        field = field.replace(b"DATE", email.utils.formatdate(time.time() + 3, usegmt=True).encode())
        with Peer(first(busy(field))) as peer, world({"u": (peer, {"retries": USUAL})}) as proxy:
            began = time.monotonic()
            assert fetch(proxy.port, "/x", CHAT).complete
            took = time.monotonic() - began
            assert took >= least and last(proxy)["attempts"] == "u:429,u", (field, took, proxy.exchanges())


def test_more_patience_than_the_limit_is_the_clients_matter():
    for changes in ({}, {"retries": {**USUAL, "max_retry_after": "2s"}}):
        with Peer(always(busy(b"Retry-After: 3"))) as peer, world({"u": (peer, changes)}) as proxy:
            began = time.monotonic()
            reply = fetch(proxy.port, "/x", CHAT)
            assert (reply.status, reply.headers["retry-after"]) == (429, "3"), reply.raw
            assert len(peer.requests) == 1 and time.monotonic() - began < 2.5


def test_pings_go_on_between_attempts():
    with Peer(first(busy(b"retry-after-ms: 600"))) as peer:
        routes = [{"path": "/e", "request": "openai-chat", "response": "sse-json", "upstream": "u", "early_headers": "50ms",
                   "keepalive": "50ms"}]
        with world({"u": (peer, {"retries": USUAL})}, routes) as proxy:
            reply = fetch(proxy.port, "/e", CHAT)
            assert reply.complete and reply.body.count(b":\n\n") >= 3 and reply.body.index(b":\n\n") == 0, reply.raw
            assert last(proxy)["attempts"] == "u:429,u"


# Outages

def test_an_outage_is_not_multiplied():
    policy = {"attempts": 5, "backoff": "1ms", "max_backoff": "1ms", "budget_percent": 20, "min_per_second": 1}
    with Peer(always(answers(status(503)))) as peer, world({"u": (peer, {"retries": policy})}) as proxy:
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda _: fetch(proxy.port, "/x", CHAT).status, range(200)))
        seconds = time.monotonic() - began
        assert replies == [503] * 200
        # 200 requests, 20 % of them again, and one a second that is always allowed.
        assert 210 <= len(peer.requests) <= 241 + seconds, (len(peer.requests), seconds)
        print(f"  200 requests in an outage, 5 repetitions allowed each: the upstream had {len(peer.requests)}")
