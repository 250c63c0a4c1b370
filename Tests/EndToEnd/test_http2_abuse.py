"""Clients that make HTTP/2 expensive. Each is stopped, costs little, and harms nobody else; each prints what it cost."""

import collections
import socket
import threading
import time

from frames import *  # noqa: F403: names of frames, flags and codes
from harness import HEAD, Peer, Sluice, chunk, connect, fetch, request_bytes, until
from http2_peer import PREFACE, frame, window_update
from test_http2_conformance import setting, word

LARGEST_GAP = 3.0  # seconds that another client may wait for its next token; 0.03 unless the machine itself is busy
GROWTH = 8 << 10  # KiB of memory that one attack may cost
Outcome = collections.namedtuple("Outcome", "frames ending")


def upstream(connection, request):
    """`/x/plain` is answered at once, `/x/endless` never ends, anything else gets a token each 20 ms."""
    target = request.split(b" ", 2)[1]
    if target.endswith(b"/plain"):
        return connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    connection.sendall(HEAD)
    while True:
        if target.endswith(b"/endless"):
            connection.sendall(chunk(bytes(16 << 10)))
        else:
            connection.sendall(chunk(b"data: token\n\n"))
            time.sleep(0.02)


class Neighbour:
    """Somebody who reads a stream meanwhile. `largest_gap`: seconds between two tokens."""

    def __init__(self, port):
        self.largest_gap, self.tokens, self.failure = 0.0, 0, None
        self.connection = connect(port)
        self.connection.sendall(request_bytes("/x/stream", b"{}"))
        self.is_over = False
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        until(lambda: self.tokens >= 3, what="tokens before the attack")
        self.largest_gap = 0.0

    def _read(self):
        last = time.monotonic()
        try:
            while not self.is_over and self.connection.recv(65536):
                now = time.monotonic()
                self.largest_gap, last = max(self.largest_gap, now - last), now
                self.tokens += 1
        except OSError as error:
            self.failure = error
        if not self.is_over:
            self.failure = self.failure or "the stream ended"

    def stop(self):
        before = self.tokens
        until(lambda: self.tokens > before + 2, what="tokens behind the attack")
        self.is_over = True
        self.connection.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        assert not self.failure, self.failure


class Memory:
    """The largest resident size while it runs."""

    def __init__(self, proxy):
        self.proxy, self.start = proxy, proxy.resident_kib()
        self.largest, self.is_over = self.start, False
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self):
        while not self.is_over:
            self.largest = max(self.largest, self.proxy.resident_kib())
            time.sleep(0.005)

    def stop(self):
        self.is_over = True
        self.thread.join()
        return self.largest - self.start


def under_attack(name, attack, growth=GROWTH, limits=None, requests=None):
    """Runs `attack(port)` beside a neighbour and prints its cost. `requests`: how many may reach the upstream."""
    with Peer(upstream) as peer:
        config = {
            "listeners": [{"address": "127.0.0.1:0"}], "workers": 1, "limits": limits or {},
            "upstreams": {"peer": {"url": peer.url, "dialect": "raw"}},
            "routes": [{"path": "/x/*", "request": "passthrough", "response": "passthrough", "upstream": "peer"}],
        }
        with Sluice(config) as proxy:
            for _ in range(20):
                assert fetch(proxy.port, "/x/plain").status == 200
            neighbour, before = Neighbour(proxy.port), len(peer.requests)
            memory, began = Memory(proxy), time.monotonic()
            try:
                outcome = attack(proxy.port)
                seconds = time.monotonic() - began
            finally:
                grown = memory.stop()
            reached = len(peer.requests) - before
            assert fetch(proxy.port, "/x/plain").status == 200, "other clients are served"
            neighbour.stop()
        print(f"  {name}: {outcome.frames} frames, {reached} requests upstream, {outcome.ending}; others waited at most "
              f"{neighbour.largest_gap * 1000:.0f} ms, memory +{grown} KiB, over in {seconds * 1000:.0f} ms")
        assert neighbour.largest_gap < LARGEST_GAP, f"another client waited {neighbour.largest_gap} s"
        assert grown < growth, f"{grown} KiB more memory"
        assert requests is None or reached <= requests, f"{reached} requests reached the upstream"
        return outcome


def flood(port, make, count, codes=(ENHANCE_YOUR_CALM,), batch=100):
    """Sends `make(client, index)` up to `count` times, until the connection is ended with one of the codes."""
    client = FrameClient(port)
    sent = 0
    while sent < count:
        data = b"".join(make(client, index) for index in range(sent, sent + batch))
        try:
            client.sock.sendall(data)
        except OSError:
            break
        sent += batch
    ending = how_it_ends(client)
    client.close()
    assert ending in [f"GOAWAY {code}" for code in codes], ending
    return Outcome(sent, ending)


def how_it_ends(client, seconds=10):
    deadline, ending = time.monotonic() + seconds, None
    try:
        while True:
            found = client.read(deadline)
            if found.kind == GOAWAY:
                ending = f"GOAWAY {int.from_bytes(found.payload[4:8], 'big')}"
    except Closed:
        return ending or "closed"
    except TimeoutError:
        return "still open"


def test_rapid_reset():
    def make(client, index):
        stream = 1 + 2 * index
        return client.headers(stream, path="/x/stream") + frame(RST_STREAM, 0, stream, word(CANCEL))

    # Sent in one piece with its reset, a request never reaches anybody.
    under_attack("rapid reset", lambda port: flood(port, make, 20_000), requests=10)


def test_resets_that_the_server_is_made_to_send():
    # A fault of a stream's may end the connection at once (RFC 9113 §5.4.1), and some do: then with its own code.
    ways = {
        "WINDOW_UPDATE of 0": (lambda stream: window_update(stream, 0), PROTOCOL_ERROR),
        "window overflow": (lambda stream: window_update(stream, (1 << 31) - 1), FLOW_CONTROL_ERROR),
        "DATA behind END_STREAM": (lambda stream: frame(DATA, 0, stream, b"x"), STREAM_CLOSED),
        "malformed trailers": (lambda stream: frame(HEADERS, END_HEADERS, stream, b"\x00\x01X\x01y"), PROTOCOL_ERROR),
        "PRIORITY of a wrong length": (lambda stream: frame(PRIORITY, 0, stream, b"\x00"), FRAME_SIZE_ERROR),
        "a content-length that is wrong": (lambda stream: frame(DATA, END_STREAM, stream, b"x"), PROTOCOL_ERROR),
    }
    for name, (fault, own) in ways.items():
        def make(client, index):
            stream = 1 + 2 * index
            is_open = "END_STREAM" not in name
            flags = END_HEADERS | (0 if is_open else END_STREAM)
            more = [("content-length", "9")] if "content-length" in name else []
            head = client.headers(stream, flags=flags, method="POST", path="/x/stream", more=more)
            return head + fault(stream)

        codes = (ENHANCE_YOUR_CALM, own)
        under_attack(f"made to reset by {name}", lambda port: flood(port, make, 20_000, codes), requests=200)


def test_continuation_flood():
    def endless(port):
        client = FrameClient(port)
        client.send(client.headers(1, client.block()[:5], END_STREAM))
        sent = 0
        try:
            while sent < 20_000:
                client.sock.sendall(frame(CONTINUATION, 0, 1, client.block([("x", "y" * 100)])) * 10)
                sent += 10
        except OSError:
            pass
        ending = how_it_ends(client)
        assert ending == f"GOAWAY {ENHANCE_YOUR_CALM}", ending
        return Outcome(sent, ending)

    under_attack("CONTINUATION without end", endless, requests=0)


def test_control_frame_floods():
    floods = {
        "SETTINGS": lambda client, index: frame(SETTINGS, 0, 0, setting(3, 100)),
        "empty SETTINGS": lambda client, index: frame(SETTINGS, 0, 0),
        "PING": lambda client, index: frame(PING, 0, 0, bytes(8)),
        "PRIORITY": lambda client, index: frame(PRIORITY, 0, 1 + 2 * (index % 1000), word(0) + b"\x10"),
    }
    for name, make in floods.items():
        under_attack(f"{name} flood", lambda port: flood(port, make, 50_000), requests=0)


def test_frames_that_are_only_skipped():
    def attack(port):
        client = FrameClient(port)
        for _ in range(500):
            client.send(frame(0xF0, 0, 0, bytes(100)) * 50 + frame(0x10, 0, 0, word(1) + b"u=1") * 50)
        client.expect_alive()
        client.close()
        return Outcome(50_000, "skipped")

    under_attack("unknown frames and PRIORITY_UPDATE", attack, requests=0)


def test_empty_data_flood():
    def make(client, index):
        return frame(DATA, 0, 1, b"") if index else client.headers(1, flags=END_HEADERS, method="POST", path="/x/stream")

    under_attack("empty DATA flood", lambda port: flood(port, make, 20_000))


def test_pings_whose_answers_nobody_reads():
    def attack(port):
        client = FrameClient(port)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sock.settimeout(10)
        sent = 0
        try:
            while sent < 200_000:
                client.sock.sendall(frame(PING, 0, 0, bytes(8)) * 1000)
                sent += 1000
        except OSError:
            pass
        ending = how_it_ends(client)
        assert ending in (f"GOAWAY {ENHANCE_YOUR_CALM}", "closed"), ending
        return Outcome(sent, ending)

    under_attack("PING flood, nothing read", attack, requests=0)


def test_hpack_bomb():
    def attack(port):
        client = FrameClient(port)
        # One entry of 4,000 bytes in the table, then requests that name it 16,000 times: 64 MB of fields from 16 KB each.
        first = client.block() + b"\x40" + length("x-bomb") + length("y" * 4000)
        client.send(client.headers(1, first))
        sent, bomb = 1, client.block() + b"\xbe" * 16_000
        try:
            while sent < 200:
                client.sock.sendall(client.headers(1 + 2 * sent, bomb))
                sent += 1
        except OSError:
            pass
        ending = how_it_ends(client)
        assert ending == f"GOAWAY {ENHANCE_YOUR_CALM}", ending
        return Outcome(sent, ending)

    under_attack("HPACK bomb", attack, requests=1)


def test_a_head_over_the_limit_is_refused_and_the_connection_goes_on():
    def attack(port):
        client = FrameClient(port)
        for index in range(20):
            stream = 1 + 2 * index
            fields = client.fields(more=[(f"x-{number}", "y" * 1000) for number in range(34)])
            block = client.block(fields)
            parts = [block[start:start + 16_000] for start in range(0, len(block), 16_000)]
            client.send(frame(HEADERS, END_STREAM, stream, parts[0]), *[
                frame(CONTINUATION, END_HEADERS if part is parts[-1] else 0, stream, part) for part in parts[1:]])
            client.expect_answer(stream, 431)
        client.get(101, path="/x/plain")
        client.expect_answer(101)
        return Outcome(60, "431 each")

    under_attack("heads over the limit", attack, requests=1)


def test_streams_above_the_limit():
    def attack(port):
        client = FrameClient(port)
        limit = client.settings[3]
        streams = [1 + 2 * index for index in range(limit + 20)]
        client.send(*[client.headers(stream, path="/x/stream") for stream in streams])
        # The client has acknowledged the limit, so this is a fault and no race: nghttp2 ends the connection.
        ending = how_it_ends(client)
        assert ending == f"GOAWAY {PROTOCOL_ERROR}", ending
        return Outcome(len(streams), ending)

    under_attack("more streams than allowed", attack, requests=100)


def hold(port, peer_streams=100):
    """Streams that are answered without end, to a client that gives no window."""
    client = FrameClient(port)
    client.send(frame(SETTINGS, 0, 0, setting(4, 0)))
    client.send(*[client.headers(1 + 2 * index, path="/x/endless") for index in range(peer_streams)])
    for _ in range(peer_streams):
        client.wait(lambda f: f.kind == HEADERS, "a head for each stream")
    return client


def test_streams_held_at_zero_window():
    def attack(port):
        client = hold(port)
        for _ in range(100):
            client.wait(lambda f: f.kind == RST_STREAM, "a reset of each stream", 20)
        client.expect_alive()
        client.close()
        return Outcome(101, "RST_STREAM each")

    # Each may hold its high mark, and what one read brought above it: 64 KiB and 64 KiB.
    under_attack("100 streams at window 0, until slow_client", attack, growth=100 * 128, limits={"slow_client": "2s"})


def test_windows_that_open_by_single_bytes():
    def attack(port):
        client = hold(port, 10)
        for _ in range(2000):
            client.send(*[window_update(1 + 2 * index, 1) for index in range(10)])
        count = 0
        while count < 20_000:
            count += len(client.wait(lambda f: f.kind == DATA, "DATA", 20).payload)
        client.close()
        return Outcome(20_011, f"{count} bytes sent")

    under_attack("windows of one byte", attack, growth=10 * 128 + 4096)


def test_connections_that_say_nothing_are_closed():
    def attack(port):
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
        for connection, data in zip(silent, [b"", PREFACE[:7], PREFACE[:20], PREFACE] * 50):
            connection.sendall(data)
        for connection in silent:
            connection.settimeout(10)
            while connection.recv(4096):
                pass
            connection.close()
        return Outcome(0, "200 closed")

    limits = {"handshake_timeout": "1s", "request_head_timeout": "1s", "client_idle_timeout": "1s"}
    under_attack("nothing, or half a preface", attack, requests=0, limits=limits)
