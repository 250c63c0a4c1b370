"""What answers that can be read on cost: many at a time, half of them left by their clients, and what stays when they are forgotten.

    SLUICE_BIN=$PWD/.build/release/sluice .build/venv/bin/python Tests/EndToEnd/measure_resume.py [STREAMS [TTL [TOKENS [BOUND]]]]

STREAMS (1000) answers of TOKENS (400) events each, which are kept for TTL (10) seconds and in BOUND (64) MiB all together. When half of
each has come, every second client leaves; half of these come back and read the answer from its start. Then all run to their end.
"""

import resource
import selectors
import sys
import threading
import time

from harness import DONE, HEAD, Peer, Sluice, chunk, connect, event, request_bytes, until
from resume_world import metrics, settings

TOKEN = chunk(event({"content": "a token of some length "}))
PATH = "/sse-json"


class Reader:
    """Reads one answer and keeps none of it."""

    def __init__(self, port, path):
        self.connection = connect(port)
        self.connection.sendall(request_bytes(path, headers=["Connection: close"]))
        self.connection.setblocking(False)
        self.name, self.tokens, self.tail, self.head = None, 0, b"", b""
        self.isOver = self.isWhole = False

    def take(self):
        try:
            data = self.connection.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.isOver, self.isWhole = True, self.tail.endswith(b"/end\n\n\r\n0\r\n\r\n") or self.isWhole
            return
        if self.name is None and len(self.head) < 4096:
            self.head += data
            _, mark, rest = self.head.partition(b"X-Stream-Id: ")
            if mark and len(rest) > 22:
                self.name = rest[:22].decode()
        self.tokens += data.count(b"a token")
        self.tail = (self.tail + data)[-64:]
        # The last chunk may come by itself.
        self.isWhole = b"/end\n\n" in self.tail and self.tail.endswith(b"\r\n0\r\n\r\n")


def read(readers, isDone, seconds=600):
    """Reads all of them until `isDone`."""
    end = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for reader in readers:
            if not reader.isOver:
                selector.register(reader.connection, selectors.EVENT_READ, reader)
        while not isDone():
            assert time.monotonic() < end, "not in time"
            for key, _ in selector.select(0.2):
                key.data.take()
                if key.data.isOver:
                    selector.unregister(key.fileobj)


class Measure:
    def __init__(self, streams=1000, ttl=10, tokens=400, bound=64 << 20):
        self.streams, self.ttl, self.tokens, self.bound = streams, ttl, tokens, bound
        self.gate = threading.Event()
        self.facts = {}

    def answer(self, connection, request):
        connection.sendall(HEAD + TOKEN * (self.tokens // 2))
        self.gate.wait(600)
        connection.sendall(TOKEN * (self.tokens - self.tokens // 2) + chunk(DONE) + b"0\r\n\r\n")

    def note(self, what):
        now = metrics(self.proxy)
        fact = {"resident": self.proxy.resident_kib() << 10, "buffers": int(now["sluice_buffer_memory_bytes"]),
                "kept": int(now["sluice_generation_bytes"]), "answers": int(now["sluice_generations"])}
        self.facts[what] = fact
        sizes = "".join(f"  {name} {fact[name] / (1 << 20):7.2f} MiB" for name in ("resident", "buffers", "kept"))
        print(f"  {what:24}{sizes}  {fact['answers']} answers", flush=True)

    def run(self):
        limits = {"resume_buffers": self.bound, "slow_client": "600s"}
        with Peer(self.answer) as peer:
            made = settings(peer, {"ttl": f"{self.ttl}s", "grace": "600s"}, workers=2, limits=limits,
                            admin={"address": "127.0.0.1:0"}, log={"access": False})
            made["upstreams"]["u"]["timeouts"] = {"idle": "0", "headers": "0", "first_token": "0"}
            with Sluice(made) as self.proxy:
                # The allocator's first use of each size, and much else, costs once.
                self.round(self.streams // 4)
                self.forgotten()
                self.note("before")
                self.round(self.streams, tells=True)
                self.note("all have ended")
                self.forgotten()
                self.note("forgotten")
        return self.facts

    def forgotten(self):
        until(lambda: metrics(self.proxy)["sluice_generations"] == 0, 60 + self.ttl, "forgotten")
        until(lambda: metrics(self.proxy)["sluice_generation_bytes"] == 0, 20, "their memory")

    def round(self, count, tells=False):
        self.gate.clear()
        port = self.proxy.port
        readers = [Reader(port, f"{PATH}?prompt=hi") for _ in range(count)]
        read(readers, lambda: all(reader.tokens >= self.tokens // 2 for reader in readers))
        if tells:
            self.note("half of each has come")
        for reader in readers[::2]:
            reader.connection.close()
        named = [reader for reader in readers[::4] if reader.name]
        back = [Reader(port, f"{PATH}/{reader.name}/stream") for reader in named]
        left = readers[1::2] + back
        self.gate.set()
        read(left, lambda: all(reader.isOver for reader in left))
        for reader in left:
            reader.connection.close()
        whole = sum(reader.isWhole for reader in left)
        until(lambda: metrics(self.proxy).get(f'sluice_streams_active{{route="{PATH}"}}', 0) == 0, 300, "all have ended")
        counts = metrics(self.proxy)
        self.refused = int(counts['sluice_generation_events_total{event="refused"}'])
        self.whole = whole == len(left)
        if tells:
            print(f"  {count} streams, {len(readers[::2])} left by their clients, {len(back)} of them read on: "
                  f"{whole} of {len(left)} readers got all; {self.refused} were not kept", flush=True)


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    numbers = [int(word) for word in sys.argv[1:]]
    if len(numbers) > 3:
        numbers[3] <<= 20
    Measure(*numbers).run()
