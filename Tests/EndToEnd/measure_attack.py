"""What an attack costs: thousands of readers that take nothing from an upstream without an end, and thousands of slow senders.

Tests/EndToEnd/measure_attack.py [COUNT] [SECONDS]: prints the proxy's resident memory and what clients that behave wait, before
and meanwhile. Not a part of the test run: it wants a quiet machine. SLUICE_BIN names the binary.
"""

import os
import pathlib
import resource
import selectors
import socket
import statistics
import sys
import threading
import time

os.environ.setdefault("SLUICE_BIN", str(pathlib.Path(__file__).resolve().parents[2] / ".build/release/sluice"))

from harness import CHAT, HEAD, Peer, Sluice, chunk, config, event, fetch, request_bytes, stream, until  # noqa: E402

PIECE = chunk(b"".join(event({"content": "x" * 100}) for _ in range(20)))


class Endless:
    """An upstream that sends for as long as it may, to any number of connections, on one thread."""

    def __init__(self):
        self.server = socket.create_server(("127.0.0.1", 0), backlog=8192)
        self.server.setblocking(False)
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}/v1"
        self.live = 0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        selector = selectors.EpollSelector()
        selector.register(self.server, selectors.EVENT_READ)
        begun = set()
        while True:
            for key, _ in selector.select():
                if key.fileobj is self.server:
                    connection, _ = self.server.accept()
                    connection.setblocking(False)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
                    selector.register(connection, selectors.EVENT_READ)
                    self.live += 1
                    continue
                connection = key.fileobj
                try:
                    if connection not in begun:
                        if not connection.recv(65536):
                            raise ConnectionError
                        connection.send(HEAD)
                        begun.add(connection)
                        selector.modify(connection, selectors.EVENT_WRITE)
                    else:
                        # A cut chunk is what a slow reader never gets to see.
                        connection.send(PIECE)
                except BlockingIOError:
                    pass
                except OSError:
                    selector.unregister(connection)
                    begun.discard(connection)
                    connection.close()
                    self.live -= 1


def normal(proxy, seconds):
    """What ten well-behaved streams a second wait for their whole answer, in ms."""
    waits, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        reply = fetch(proxy.port, "/normal", CHAT)
        assert reply.complete and reply.status == 200, reply.raw[:200]
        waits.append((time.monotonic() - began) * 1000)
        time.sleep(max(0, 0.1 - (time.monotonic() - began)))
    waits.sort()
    return f"p50 {statistics.median(waits):.1f} ms, p99 {waits[int(len(waits) * 0.99)]:.1f} ms, worst {waits[-1]:.1f} ms"


class Watch:
    """The highest resident memory since it began."""

    def __init__(self, proxy):
        self.proxy, self.peak, self.over = proxy, 0, False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.over:
            self.peak = max(self.peak, self.proxy.resident_kib())
            time.sleep(0.05)

    def stop(self):
        self.over = True
        self.thread.join()
        return self.peak / 1024


def attacker(port, receive_buffer=None):
    connection = socket.socket()
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(30)
    connection.connect(("127.0.0.1", port))
    return connection


def slow_readers(count, seconds):
    endless = Endless()
    with Peer(lambda c, r: stream(c)) as peer:
        settings = config(endless.url, limits={"connections": 3 * count, "slow_client": f"{int(seconds) + 30}s"})
        settings["upstreams"]["normal"] = {"url": peer.url, "dialect": "openai-chat"}
        settings["routes"].append({"path": "/normal", "request": "openai-chat", "response": "text", "upstream": "normal"})
        with Sluice(settings) as proxy:
            before, quiet = proxy.resident_kib() / 1024, normal(proxy, 3)
            watch, crowd = Watch(proxy), []
            for index in range(count):
                connection = attacker(proxy.port, 4096)
                path = ("/text", "/sse-text", "/ndjson", "/openai-chat")[index % 4]
                connection.sendall(request_bytes(path, CHAT))
                crowd.append(connection)
            until(lambda: endless.live >= count, 60, "all streams run")
            meanwhile = normal(proxy, seconds)
            peak = watch.stop()
            print(f"{count} slow readers: resident {before:.0f} -> {peak:.0f} MiB at most, "
                  f"{(peak - before) * 1024 / count:.1f} KiB each")
            print(f"  a normal client before:    {quiet}\n  a normal client meanwhile: {meanwhile}")
            began = time.monotonic()
            for connection in crowd:
                connection.close()
            until(lambda: endless.live == 0, 60, "all upstreams closed")
            print(f"  all of them gone: the last upstream closed after {time.monotonic() - began:.2f} s, "
                  f"{proxy.resident_kib() / 1024:.0f} MiB resident")


def slow_senders(count, seconds):
    with Peer(lambda c, r: stream(c)) as peer:
        settings = config(peer.url, limits={"connections": 3 * count})
        settings["routes"].append({"path": "/normal", "request": "openai-chat", "response": "text", "upstream": "u"})
        with Sluice(settings) as proxy:
            before, quiet = proxy.resident_kib() / 1024, normal(proxy, 3)
            watch, over, closed = Watch(proxy), threading.Event(), [0]

            def drip():
                crowd = [attacker(proxy.port) for _ in range(count)]
                head = b"POST /text HTTP/1.1\r\nHost: x\r\nX-Slow: "
                for connection in crowd:
                    connection.sendall(head)
                    connection.setblocking(False)
                while not over.wait(0.5):
                    for index, connection in enumerate(crowd):
                        try:
                            connection.send(b"x")
                            if connection.recv(4096) == b"":
                                raise ConnectionError
                        except BlockingIOError:
                            continue
                        except OSError:
                            closed[0] += 1
                            connection.close()
                            crowd[index] = attacker(proxy.port)
                            crowd[index].sendall(head)
                            crowd[index].setblocking(False)

            thread = threading.Thread(target=drip, daemon=True)
            thread.start()
            time.sleep(2)
            meanwhile = normal(proxy, seconds)
            peak = watch.stop()
            over.set()
            thread.join()
            print(f"{count} slow senders: resident {before:.0f} -> {peak:.0f} MiB at most, "
                  f"{(peak - before) * 1024 / count:.1f} KiB each; {closed[0]} were closed and came again")
            print(f"  a normal client before:    {quiet}\n  a normal client meanwhile: {meanwhile}")


if __name__ == "__main__":
    crowd = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    lasting = float(sys.argv[2]) if len(sys.argv) > 2 else 20
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    slow_readers(crowd, lasting)
    slow_senders(crowd, lasting)
