"""Readers that stand still: what waits for them, in the program and in the kernel, and who else notices. Prints the numbers."""

import statistics
import threading
import time

from harness import Peer, Sluice, connect, request_bytes
from http2_peer import Http2Peer, connect_http2
from http2_world import PAIRS, Upstreams, chat, settings, stable

MIB = 1 << 20
PIECE = bytes(range(256)) * 64  # 16 KiB in which each place can be told from its neighbours


def relaying(urls):
    return settings(urls, ["passthrough"], {"dialect": "raw"})


def endless(total):
    """Sends `total` bytes as fast as it may."""
    def script(answer, _):
        answer.head()
        for _ in range(total // len(PIECE)):
            answer.data(PIECE)
        answer.end()
    return script


class Sender(Upstreams):
    """Remembers the answers, for what each has got rid of."""

    def __init__(self, script):
        self.answers = []

        def remembering(answer, text):
            self.answers.append(answer)
            script(answer, text)

        # What stands in the sender's own kernel is not ours.
        super().__init__(remembering, send_buffer=32 << 10)


def test_a_reader_that_stands_still_parks_less_than_a_mebibyte():
    total = 24 * MIB
    for client, upstream in PAIRS:
        with Sender(endless(total)) as peers, Sluice(relaying(peers.urls)) as proxy:
            path, memory = f"/{upstream}/passthrough", proxy.resident_kib()
            if client == "h1":
                connection = connect(proxy.port)
                connection.sendall(request_bytes(path, chat()))
                received = [connection.recv(1)]
                taken = stable(lambda: peers.answers[-1].sent_bytes if peers.answers else 0, 0.5)
                grown = proxy.resident_kib() - memory
                while data := connection.recv(1 << 20):
                    received.append(data)
                    if data.endswith(b"0\r\n\r\n"):
                        break
                body = unchunked(b"".join(received).split(b"\r\n\r\n", 1)[1])
            else:
                session = connect_http2(proxy.port, returns_window=False)
                stream = session.request(path, chat())
                stream.wait(lambda s: len(s.body) == 65535, "a window full")
                taken = stable(lambda: peers.answers[-1].sent_bytes, 0.5) - 65535
                grown = proxy.resident_kib() - memory
                stream.returns_window = True
                stream.give_window(1 << 20)
                body = bytes(stream.wait_over(30).body)
            print(f"  {client} reader, {upstream} upstream: {taken / 1024:.0f} KiB on their way, memory +{grown} KiB")
            assert taken < MIB, taken
            assert body == PIECE * (total // len(PIECE)), f"{len(body)} of {total} bytes"


def unchunked(data):
    out, start = bytearray(), 0
    while True:
        end = data.index(b"\r\n", start)
        count = int(data[start:end], 16)
        if count == 0:
            return bytes(out)
        out += data[end + 2:end + 2 + count]
        start = end + 4 + count


def test_a_window_of_zero_stops_its_own_stream_alone():
    for upstream in ("h1", "h2"):
        with Sender(endless(2 * MIB)) as peers, Sluice(relaying(peers.urls)) as proxy:
            session = connect_http2(proxy.port)
            stuck = session.request(f"/{upstream}/passthrough", chat())
            stuck.returns_window = False
            stuck.wait(lambda s: len(s.body) == 65535, "a window full")
            for _ in range(3):
                other = session.request(f"/{upstream}/passthrough", chat()).wait_over(20)
                assert len(other.body) == 2 * MIB and other.complete
            assert len(stuck.body) == 65535 and not stuck.is_over
            stuck.returns_window = True
            stuck.give_window(MIB)
            assert len(stuck.wait_over(20).body) == 2 * MIB


def ticking(count, gap):
    """Each piece carries the time at which it was sent."""
    def script(answer, text):
        answer.head()
        if text == "stuck":
            while True:
                answer.data(PIECE)
        for _ in range(count):
            answer.data(b"%.6f " % time.monotonic())
            time.sleep(gap)
        answer.end()
    return script


def latencies(session, streams, count, path):
    """Milliseconds from the upstream to the client, for each token of so many streams at once."""
    found = []

    def tap(number, payload):
        now = time.monotonic()
        if number in wanted:
            found.extend((now - float(part)) * 1000 for part in bytes(payload).split())
        return False

    wanted = set()
    session.tap = tap
    running = []
    for _ in range(streams):
        stream = session.request(path, chat())
        wanted.add(stream.number)
        running.append(stream)
    for stream in running:
        assert stream.wait_over(30).complete
    session.tap = None
    assert len(found) >= streams * (count - 1), len(found)
    return sorted(found)


def test_a_slow_neighbour_on_the_same_connection():
    count, streams = 100, 100
    for upstream in ("h1", "h2"):
        with Upstreams(ticking(count, 0.02)) as peers, Sluice(relaying(peers.urls)) as proxy:
            path = f"/{upstream}/passthrough"
            session = connect_http2(proxy.port)
            alone = latencies(session, streams, count, path)
            stuck = session.request(path, chat("stuck"))
            stuck.returns_window = False
            stuck.wait(lambda s: len(s.body) == 65535, "a window full")
            beside = latencies(session, streams - 1, count, path)
            for name, values in (("alone", alone), ("beside one that stands still", beside)):
                print(f"  {upstream} upstream, {streams} streams {name}: p50 {statistics.median(values):.2f} ms, "
                      f"p99 {values[len(values) * 99 // 100]:.1f} ms, largest {values[-1]:.1f} ms")
            assert beside[len(beside) * 99 // 100] <= alone[len(alone) * 99 // 100] + 50
            assert len(stuck.body) == 65535


def test_an_upload_waits_for_an_upstream_that_does_not_read():
    total = 24 * MIB
    for client, upstream in PAIRS:
        go = threading.Event()

        def h2_script(stream):
            stream.returns_window = False
            go.wait(30)
            stream.returns_window = True
            stream.give_window(MIB)
            body = stream.wait_body(30)
            stream.head(kind="text/plain")
            stream.data(str(len(body)).encode(), end=True)

        with Http2Peer(h2_script) as h2, SlowReader(go) as h1:
            with Sluice(relaying({"h2": h2.url, "h1": h1.url})) as proxy:
                path = f"/{upstream}/passthrough"
                sent = [0]
                if client == "h1":
                    connection = connect(proxy.port)
                    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {total}\r\n\r\n"
                    connection.sendall(head.encode())

                    def send():
                        for _ in range(total // len(PIECE)):
                            connection.sendall(PIECE)
                            sent[0] += len(PIECE)
                else:
                    session = connect_http2(proxy.port)
                    stream = session.request(path, b"", end=False, fields=[("content-length", str(total))])

                    def send():
                        for _ in range(total // len(PIECE)):
                            stream.data(PIECE)
                            sent[0] += len(PIECE)
                        stream.end()

                sender = threading.Thread(target=send, daemon=True)
                sender.start()
                taken = stable(lambda: sent[0], 0.5)
                go.set()
                sender.join(30)
                if client == "h1":
                    answer = b""
                    while data := connection.recv(65536):
                        answer += data
                    assert answer.endswith(str(total).encode()) or str(total).encode() in answer, answer
                else:
                    assert bytes(stream.wait_over(30).body) == str(total).encode(), stream.body
                print(f"  {client} sender, {upstream} upstream that does not read: {taken / 1024:.0f} KiB taken")
                # An HTTP/1.1 sender's bytes wait in its own socket too, which takes some megabytes before it blocks.
                assert taken < (8 if client == "h1" else 2) * MIB, taken


class SlowReader(Peer):
    """An HTTP/1.1 upstream that reads no body until `go` is set."""

    def __init__(self, go):
        self.go = go
        super().__init__(None)

    def _serve(self, connection):
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(4096)
        self.go.wait(30)
        head, body = data.split(b"\r\n\r\n", 1)
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        count = len(body)
        while count < length:
            count += len(connection.recv(1 << 20))
        text = str(count).encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))
        connection.close()
