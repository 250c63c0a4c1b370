"""Several places for one upstream: how requests are spread, and what becomes of places that fail, fall ill and come back."""

import concurrent.futures
import os
import signal
import socket
import struct
import threading
import time

from harness import (CHAT, DONE, HEAD, Peer, Sluice, chunk, config, connect, event, fetch, request_bytes, reset, until)
from harness import stream as send_stream
from http2_peer import CONCURRENT_STREAMS, INTERNAL_ERROR, Http2Peer, goaway
from http2_world import certificates

PROTOCOLS = ("h1", "h2")


class Place:
    """One place: its only token is its name. `fault` is what it does to requests, `health` the status of its checks."""

    def __init__(self, name, protocol="h1", base="/v1", certificate=None):
        self.name, self.fault, self.health = name, None, 200
        self.checks, self.targets = [], []
        self.gate = threading.Event()
        self.gate.set()
        self.peer = Peer(self._h1) if protocol == "h1" else Http2Peer(self._h2, certificate)
        self.url = f"https://localhost:{self.peer.port}{base}" if certificate else f"http://{self.place}{base}"

    @property
    def asked(self):
        return len(self.targets)

    @property
    def place(self):
        return f"127.0.0.1:{self.peer.port}"

    def _h1(self, connection, request):
        target = request.split(b" ", 2)[1].decode()
        if target == "/health":
            self.checks.append(request)
            connection.sendall(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nok" % self.health)
            return None
        if self.fault == "held":
            connection.sendall(HEAD)
        self.targets.append(target)
        assert self.gate.wait(20)
        if self.fault == "held":
            return connection.sendall(chunk(event({"content": self.name}) + DONE) + b"0\r\n\r\n")
        if self.fault == "silent":
            time.sleep(2)
            return "close"
        if self.fault == "cut":
            connection.sendall(HEAD + chunk(event({"content": self.name})))
            return "close"
        if self.fault == "html":
            connection.sendall(b"HTTP/1.1 200 X\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nno")
            return None
        if self.fault == "reset":
            reset(connection)
            raise OSError
        if self.fault:
            connection.sendall(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nno" % self.fault)
        else:
            send_stream(connection, [self.name])
        return None

    def _h2(self, stream):
        if stream.field(":path") == "/health":
            self.checks.append(dict(stream.fields))
            return stream.head(self.health, "text/plain", end=True)
        stream.wait_body()
        fault = self.fault
        if fault == "held":
            stream.head()
        self.targets.append(stream.field(":path"))
        assert self.gate.wait(20)
        if fault == "reset":
            return stream.abort(INTERNAL_ERROR)
        if fault == "silent":
            return time.sleep(2)
        if isinstance(fault, int) or fault == "html":
            return stream.head(200 if fault == "html" else fault, "text/html", end=True)
        if fault != "held":
            stream.head()
        stream.data(event({"content": self.name}))
        if fault == "cut":
            return stream.abort()
        stream.data(DONE)
        stream.end()
        if fault == "goaway":
            with stream.connection.lock:
                stream.connection.raw(goaway(max(stream.connection.streams)))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.gate.set()
        self.peer.close()


def fleet(urls, protocol="h1", **upstream):
    values = config("http://unused", upstream={
        "urls": [url.url if isinstance(url, Place) else url for url in urls],
        "http": "1.1" if protocol == "h1" else "2", "slow_start": "0", **upstream})
    del values["upstreams"]["u"]["url"]
    return values


def ask(proxy):
    """The name of the place that answered, or the status of an error."""
    reply = fetch(proxy.port, "/text", CHAT)
    return reply.body.decode() if reply.status == 200 and reply.complete else reply.status


def ask_many(proxy, count):
    return [ask(proxy) for _ in range(count)]


def events(proxy, name):
    return [entry for entry in list(proxy.log) if entry["event"] == name]


def weighted(place, weight):
    return {"url": place.url, "weight": weight}


# How requests are spread

def test_balance_round_robin_by_weight():
    for protocol in PROTOCOLS:
        with Place("a", protocol) as a, Place("b", protocol, base="/other") as b:
            with Sluice(fleet([weighted(a, 3), b], protocol, balance="round_robin")) as proxy:
                answers = ask_many(proxy, 40)
                assert (answers.count("a"), answers.count("b")) == (30, 10), answers
                # Each place is asked at its own path, and the log says which it was.
                assert set(a.targets) == {"/v1/chat/completions"} and set(b.targets) == {"/other/chat/completions"}
                until(lambda: len(proxy.exchanges()) == 40, what="log lines")
                assert sum(entry["place"] == b.place for entry in proxy.exchanges()) == 10


def test_balance_weighted_at_random():
    with Place("a") as a, Place("b") as b:
        with Sluice(fleet([weighted(a, 4), b], balance="weighted")) as proxy:
            count = ask_many(proxy, 200).count("a")
            # 160 expected; these are six standard deviations.
            assert 126 <= count <= 194, count


def test_balance_least_requests_for_its_weight():
    for protocol in PROTOCOLS:
        with Place("a", protocol) as a, Place("b", protocol) as b:
            with Sluice(fleet([weighted(a, 2), b], protocol)) as proxy, \
                    concurrent.futures.ThreadPoolExecutor(16) as pool:
                a.gate.clear()
                b.gate.clear()
                held = []
                for number in range(9):
                    held.append(pool.submit(ask, proxy))
                    until(lambda: a.asked + b.asked == number + 1, what="a request arrives")
                assert (a.asked, b.asked) == (6, 3)
                # What ends makes room: the next ones go where it was.
                b.gate.set()
                until(lambda: sum(future.done() for future in held) == 3, what="b answers")
                b.gate.clear()
                for number in range(9, 12):
                    held.append(pool.submit(ask, proxy))
                    until(lambda: a.asked + b.asked == number + 1, what="a request arrives")
                assert (a.asked, b.asked) == (6, 6)
                a.gate.set()
                b.gate.set()
                assert sorted(future.result(20) for future in held) == ["a"] * 6 + ["b"] * 6


def test_balance_a_client_that_leaves_is_counted_out():
    with Place("a") as a, Place("b") as b:
        with Sluice(fleet([a, b])) as proxy:
            a.gate.clear()
            b.gate.clear()
            left = 0
            while left < 6:
                connection = socket.create_connection(("127.0.0.1", proxy.port))
                body = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}'
                connection.sendall(b"POST /text HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                left += 1
                until(lambda: a.asked + b.asked == left, what="asked")
                connection.close()
            until(lambda: len(proxy.exchanges()) == 6, what="all given up")
            a.gate.set()
            b.gate.set()
            # With none under way the two are level again: neither gets all.
            answers = ask_many(proxy, 40)
            assert 5 < answers.count("a") < 35, answers


def test_balance_every_ending_is_counted_out():
    """However an exchange ends, its place must hear of it: what is forgotten would keep requests away for ever."""
    faults = (None, 500, 429, 404, "reset", "cut", "html", "silent")
    asks = (("/text", CHAT), ("/sse-json", CHAT), ("/v1/chat/completions", CHAT), ("/text", {**CHAT, "stream": False}),
            ("/text", {"model": 1}))
    for protocol in PROTOCOLS:
        with Place("a", protocol) as a, Place("b", protocol) as b:
            b.health = 500
            values = fleet([a, b], protocol, health_check=CHECK, outlier={"consecutive_failures": 0},
                           timeouts={"headers": "500ms"})
            with Sluice(values) as proxy, concurrent.futures.ThreadPoolExecutor(16) as pool:
                until(lambda: events(proxy, "place unhealthy"), what="all go to the first place")
                for fault in faults:
                    a.fault = fault
                    for reply in [pool.submit(fetch, proxy.port, path, body) for path, body in asks]:
                        reply.result(20)
                    for path, body in asks:
                        connection = connect(proxy.port)
                        connection.sendall(request_bytes(path, body))
                        connection.close()
                until(lambda: len(proxy.exchanges()) == len(faults) * len(asks) * 2, what="all have ended")
                assert b.asked == 0
                b.health = 200
                until(lambda: events(proxy, "place healthy"), what="the other takes part")
                # Only if nothing is counted that is over do both get as many. A head goes out, so that no timeout runs.
                a.fault = b.fault = "held"
                before = a.asked
                a.gate.clear()
                b.gate.clear()
                for number in range(6):
                    pool.submit(ask, proxy)
                    until(lambda: a.asked + b.asked - before == number + 1, what="asked")
                assert (a.asked - before, b.asked) == (3, 3), (protocol, a.asked - before, b.asked)
                a.gate.set()
                b.gate.set()


# Places that fail

def test_balance_a_place_that_is_down_is_ejected_and_comes_back():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with Place("b") as b:
        outlier = {"consecutive_failures": 3, "ejection": "1s", "max_ejection": "1s"}
        down = f"http://127.0.0.1:{port}/v1"
        with Sluice(fleet([down, b], balance="round_robin", outlier=outlier)) as proxy:
            answers = []
            until(lambda: answers.append(ask(proxy)) or events(proxy, "place ejected"), what="ejection")
            assert answers.count(502) <= 3 and set(answers) <= {502, "b"}, answers
            ejected = events(proxy, "place ejected")[0]
            assert ejected["place"] == f"127.0.0.1:{port}" and ejected["upstream"] == "u", ejected
            # While it is out, nothing fails.
            began = time.monotonic()
            answers = []
            while time.monotonic() - began < 0.5 and not events(proxy, "place back"):
                answers.append(ask(proxy))
            assert set(answers) <= {"b"}, answers
            # It is back, and still down: one request finds that out, not three.
            answers = []
            until(lambda: answers.append(ask(proxy)) or len(events(proxy, "place ejected")) >= 3, 30, "two more ejections")
            assert answers.count(502) <= len(events(proxy, "place ejected")), answers
            server = Peer(lambda connection, _: send_stream(connection, ["a"]), address=("127.0.0.1", port))
            with server:
                until(lambda: ask(proxy) == "a", 30, "the place is used again")
                until(lambda: ask(proxy) == "b", 30, "and so is the other")
                assert set(ask_many(proxy, 20)) == {"a", "b"}


def test_balance_errors_of_a_place_eject_it_but_429_does_not():
    for protocol in PROTOCOLS:
        for fault, is_failure in ((500, True), ("reset", True), (429, False), (400, False)):
            with Place("a", protocol) as a, Place("b", protocol) as b:
                a.fault = fault
                outlier = {"consecutive_failures": 2, "ejection": "1h", "max_ejection": "2h"}
                with Sluice(fleet([a, b], protocol, balance="round_robin", outlier=outlier)) as proxy:
                    ask_many(proxy, 8)
                    asked, answers = a.asked, ask_many(proxy, 12)
                    if is_failure:
                        assert asked >= 2 and a.asked == asked and answers == ["b"] * 12, (fault, answers)
                        assert len(events(proxy, "place ejected")) == 1
                    else:
                        assert a.asked > asked and not events(proxy, "place ejected"), (fault, answers)


def test_balance_a_place_that_takes_no_streams_draws_nothing_to_itself():
    """It never has a request under way, so by load alone it would get them all."""
    with Http2Peer(lambda stream: None, settings={CONCURRENT_STREAMS: 0}) as full, Place("b", "h2") as b:
        outlier = {"consecutive_failures": 2, "ejection": "1h", "max_ejection": "1h"}
        with Sluice(fleet([full.url, b], "h2", balance="round_robin", outlier=outlier)) as proxy:
            until(lambda: ask(proxy) and events(proxy, "place ejected"), what="ejection")
            assert ask_many(proxy, 6) == ["b"] * 6


def test_balance_a_graceful_restart_is_no_failure():
    """One place ends each connection with GOAWAY behind its first answers; what came too late for it goes out again."""
    with Place("a", "h2") as a, Place("b", "h2") as b:
        a.fault = "goaway"
        outlier = {"consecutive_failures": 1, "ejection": "1h", "max_ejection": "1h"}
        with Sluice(fleet([a, b], "h2", outlier=outlier)) as proxy, concurrent.futures.ThreadPoolExecutor(4) as pool:
            answers = [future.result(20) for future in [pool.submit(ask, proxy) for _ in range(60)]]
            assert set(answers) == {"a", "b"} and not events(proxy, "place ejected"), answers
            assert len(a.peer.connections) > 3 and len(b.peer.connections) == 1


def test_balance_the_last_place_stays():
    with Place("a") as a, Place("b") as b:
        a.fault = b.fault = 500
        outlier = {"consecutive_failures": 2, "ejection": "1h", "max_ejection": "1h", "max_ejected_percent": 100}
        with Sluice(fleet([a, b], outlier=outlier)) as proxy:
            ask_many(proxy, 20)
            assert len(events(proxy, "place ejected")) == 1
            a.fault = b.fault = None
            assert len(set(ask_many(proxy, 10))) == 1


def test_balance_an_upstream_that_is_down_is_passed_over():
    """With another upstream behind it, one whose only place fails is not asked again for each request."""
    with Place("a") as a, Place("b") as b:
        a.fault = 500
        outlier = {"consecutive_failures": 2, "ejection": "1s", "max_ejection": "1s"}
        values = fleet([a], outlier=outlier, retries={"attempts": 0})
        values["upstreams"]["v"] = {"url": b.url, "dialect": "openai-chat"}
        values["routes"][0]["upstream"] = ["u", "v"]
        with Sluice(values) as proxy:
            assert ask_many(proxy, 2) == ["b", "b"] and a.asked == 2
            until(lambda: events(proxy, "place ejected"), what="ejection")
            began = time.monotonic()
            while time.monotonic() - began < 0.5 and not events(proxy, "place back"):
                assert ask(proxy) == "b"
            assert a.asked == 2 or events(proxy, "place back"), a.asked
            a.fault = None
            until(lambda: ask(proxy) == "a", 20, "it is asked again")


# Health checks

CHECK = {"path": "/health", "interval": "50ms", "timeout": "5s", "unhealthy_after": 2, "healthy_after": 2}


def test_balance_health_checks_turn_a_place():
    for protocol in PROTOCOLS:
        with Place("a", protocol) as a, Place("b", protocol) as b:
            with Sluice(fleet([a, b], protocol, balance="round_robin", health_check=CHECK)) as proxy:
                assert set(ask_many(proxy, 4)) == {"a", "b"}
                a.health = 503
                until(lambda: events(proxy, "place unhealthy"), what="the place is found ill")
                ill = events(proxy, "place unhealthy")[0]
                assert (ill["place"], ill["error"]) == (a.place, "status 503"), ill
                asked = a.asked
                assert ask_many(proxy, 10) == ["b"] * 10 and a.asked == asked
                a.health = 204
                until(lambda: events(proxy, "place healthy"), what="the place is found well")
                assert set(ask_many(proxy, 4)) == {"a", "b"}
                # A check is addressed to its place, and carries no key.
                check = a.checks[0]
                if protocol == "h1":
                    assert check.startswith(b"GET /health HTTP/1.1\r\n")
                    assert b"\r\nhost: " + a.place.encode() + b"\r\n" in check.lower(), check
                    assert b"canary" not in check and a.peer.connections <= 3, (check, a.peer.connections)
                else:
                    assert check[":authority"] == a.place and "authorization" not in check, check


def test_balance_checks_and_requests_share_tls_connections():
    with certificates() as made:
        secure = (made.path("server.crt"), made.path("server.key"))
        with Place("a", "h2", certificate=secure) as a, Place("b", "h2", certificate=secure) as b:
            tls = {"ca": made.path("ca.crt")}
            with Sluice(fleet([a, b], http="auto", tls=tls, balance="round_robin", health_check=CHECK)) as proxy:
                until(lambda: len(a.checks) > 2 and len(b.checks) > 2, what="checks")
                assert sorted(ask_many(proxy, 8)) == ["a"] * 4 + ["b"] * 4
                assert len(a.peer.connections) == 1 and len(b.peer.connections) == 1
                b.health = 500
                until(lambda: events(proxy, "place unhealthy"), what="the place is found ill")
                assert ask_many(proxy, 4) == ["a"] * 4


def test_balance_a_place_that_does_not_answer_checks_is_ill():
    def script(connection, request):
        if b"/health" in request:
            time.sleep(3)
        else:
            send_stream(connection, ["a"])

    with Peer(script) as slow, Place("b") as b:
        check = {**CHECK, "timeout": "100ms"}
        with Sluice(fleet([slow.url, b], health_check=check)) as proxy:
            until(lambda: events(proxy, "place unhealthy"), what="the place is found ill")
            assert events(proxy, "place unhealthy")[0]["error"] == "no answer in time"
            assert ask_many(proxy, 6) == ["b"] * 6


def test_balance_where_none_is_well_all_are_tried():
    with Place("a") as a, Place("b") as b:
        a.health = b.health = 500
        with Sluice(fleet([a, b], balance="round_robin", health_check=CHECK)) as proxy:
            until(lambda: len(events(proxy, "place unhealthy")) == 2, what="both are found ill")
            assert sorted(ask_many(proxy, 4)) == ["a", "a", "b", "b"]
            assert len(events(proxy, "no place is well")) == 1
            b.health = 200
            until(lambda: events(proxy, "place healthy"), what="one is found well")
            assert ask_many(proxy, 4) == ["b"] * 4
            assert len(events(proxy, "some place is well")) == 1


def test_balance_a_place_that_comes_back_starts_slowly():
    with Place("a") as a, Place("b") as b:
        a.health = 500
        with Sluice(fleet([a, b], health_check=CHECK, slow_start="10m")) as proxy:
            until(lambda: events(proxy, "place unhealthy"), what="the place is found ill")
            a.health = 200
            until(lambda: events(proxy, "place healthy"), what="the place is found well")
            answers = ask_many(proxy, 100)
            # 5 expected; half is what it would have without.
            assert answers.count("a") < 25 and answers.count("b") > 75, answers


def test_balance_a_reload_forgets_no_illness_and_ends_old_checks():
    with Place("a") as a, Place("b") as b:
        a.health = 500
        with Sluice(fleet([a, b], health_check=CHECK)) as proxy:
            until(lambda: events(proxy, "place unhealthy"), what="the place is found ill")
            # Checks so rare that only what was known can keep requests away.
            proxy.write(fleet([a, b], health_check={**CHECK, "interval": "10m", "unhealthy_after": 100}))
            os.kill(proxy.process.pid, signal.SIGHUP)
            until(lambda: events(proxy, "reloaded"), what="reload")
            until(lambda: quiet(a), 20, "the old checks end")
            asked = a.asked
            assert ask_many(proxy, 6) == ["b"] * 6 and a.asked == asked
            # Without checks nothing would make it well again: it counts as well.
            proxy.write(fleet([a, b], balance="round_robin"))
            os.kill(proxy.process.pid, signal.SIGHUP)
            until(lambda: len(events(proxy, "reloaded")) == 2, what="reload")
            until(lambda: ask(proxy) == "a", what="it is asked again")


def quiet(place):
    before = len(place.checks)
    time.sleep(0.4)
    return len(place.checks) == before


# Connections

def test_balance_connections_grow_old():
    for protocol in PROTOCOLS:
        with Place("a", protocol) as a:
            with Sluice(fleet([a], protocol, max_connection_age="200ms")) as proxy:
                count = (lambda: a.peer.connections) if protocol == "h1" else (lambda: len(a.peer.connections))
                until(lambda: ask(proxy) == "a" and count() >= 3, 20, "new connections")
                until(lambda: not events(proxy, "exchange") or all(
                    entry["end"] == "done" for entry in proxy.exchanges()), what="none failed")


# Names with several addresses

class NameServer:
    """Answers each question for an IPv4 address with `addresses`, each good for a second; with none, not at all."""

    def __init__(self, addresses):
        self.addresses = addresses
        self.server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.server.bind(("127.0.0.1", 0))
        self.place = f"127.0.0.1:{self.server.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            query, peer = self.server.recvfrom(512)
            if not query:
                return
            if not self.addresses:
                continue
            end = query.index(b"\0", 12) + 5
            records = self.addresses if query[end - 3] == 1 else []
            answer = query[:2] + b"\x81\x80" + struct.pack(">HHHH", 1, len(records), 0, 0) + query[12:end]
            for address in records:
                answer += struct.pack(">HHHIH", 0xC00C, 1, 1, 1, 4) + socket.inet_aton(address)
            self.server.sendto(answer, peer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        host, port = self.place.split(":")
        self.server.sendto(b"", (host, int(port)))


def test_balance_connections_spread_over_the_addresses_of_a_name():
    def script(name):
        return lambda connection, _: send_stream(connection, [name]) or "close"

    with Peer(script("one"), address=("127.0.0.1", 0)) as first, \
            Peer(script("two"), address=("127.0.0.2", first.port)), \
            Peer(script("three"), address=("127.0.0.3", first.port)), \
            NameServer(["127.0.0.1", "127.0.0.2", "127.0.0.9"]) as names:
        values = config(f"http://fleet.test:{first.port}/v1")
        values["resolver"] = {"servers": [names.place]}
        with Sluice(values) as proxy:
            # Nobody listens at the last address: its turns go to the next, and nothing fails.
            answers = ask_many(proxy, 12)
            assert answers.count("one") >= 4 and answers.count("two") >= 4 and len(answers) == 12, answers
            assert set(answers) == {"one", "two"}, answers
            # The name moves: new connections follow.
            names.addresses = ["127.0.0.3"]
            until(lambda: ask(proxy) == "three", 20, "the new address is used")
            # No name server answers any more: what was true last serves on.
            names.addresses = []
            time.sleep(1.2)
            assert ask(proxy) == "three"
            assert ask_many(proxy, 4) == ["three"] * 4
