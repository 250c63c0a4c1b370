"""What answers in Redis cost: CPU for a token against memory and against none, and how far behind another replica reads.

Tests/EndToEnd/run does not run this: SLUICE_BIN=.build/release/sluice .build/venv/bin/python -B Tests/EndToEnd/measure_resume_redis.py
"""

import os
import statistics
import time

from harness import DONE, HEAD, Peer, chunk, event, until
from redis_world import Redis, all_up, replica
from resume_world import Stream

STREAMS, TOKENS, GAP = 40, 400, 0.01


def paced(connection, _request):
    connection.sendall(HEAD + chunk(event({"role": "assistant", "content": ""})))
    for index in range(TOKENS):
        connection.sendall(chunk(event({"content": f"{time.monotonic():.6f} "})))
        time.sleep(GAP)
    connection.sendall(chunk(DONE) + b"0\r\n\r\n")


def cpu(process):
    with open(f"/proc/{process.pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Timed(Stream):
    """Notes how old each token is when it comes."""

    def _read(self):
        self.ages, rest = [], b""
        try:
            while more := self.connection.recv(65536):
                now = time.monotonic()
                *lines, rest = (rest + more).split(b"\n")
                for line in lines:
                    if line.startswith(b"data: ") and line[6:7].isdigit():
                        self.ages.append(now - float(line.split()[1]))
        except OSError:
            pass
        self.isOver = True


def run(peer, redis, resume):
    """CPU seconds of the proxy and of Redis for all streams."""
    routes = {} if resume is None else {"resume": resume}
    with replica(peer, redis, routes=[{"path": "/none", "request": "prompt", "response": "sse-text", "upstream": "u"},
                                      {"path": "/kept", "request": "prompt", "response": "sse-text", "upstream": "u",
                                       **routes}]) as proxy:
        all_up(proxy)
        before, store = cpu(proxy.process), cpu(redis.process)
        path = "/none?prompt=a" if resume is None else "/kept?prompt=a"
        streams = [Stream(proxy.port, path) for _ in range(STREAMS)]
        for stream in streams:
            stream.whole(120)
            assert stream.reply.complete
        return cpu(proxy.process) - before, cpu(redis.process) - store


def main():
    with Peer(paced) as peer, Redis() as redis:
        results = {}
        for _ in range(3):
            for name, resume in [("none", None), ("memory", {"store": "memory"}), ("redis", {"store": "redis"})]:
                results.setdefault(name, []).append(run(peer, redis, resume))
        base = statistics.median(proxy for proxy, _ in results["none"])
        for name, runs in results.items():
            own, store = (statistics.median(each) for each in zip(*runs))
            print(f"{name:7} {own / STREAMS / TOKENS * 1e6:6.1f} us a token ({own / base:.2f}), "
                  f"Redis {store / STREAMS / TOKENS * 1e6:5.1f} us")
        with replica(peer, redis) as one, replica(peer, redis) as two:
            all_up(one, two)
            first = Stream(one.port, "/sse-text?prompt=a")
            headers = first.head().headers
            there = Timed(two.port, f"/sse-text/{headers['x-stream-id']}/stream")
            here = Timed(one.port, f"/sse-text/{headers['x-stream-id']}/stream")
            for reader in [there, here]:
                until(lambda: reader.isOver, 120, "its end")
            for name, reader in [("same replica", here), ("other replica", there)]:
                ages = sorted(reader.ages[20:])
                print(f"{name:14} {len(ages)} tokens, ms behind the upstream: p50 {ages[len(ages) // 2] * 1e3:.2f}, "
                      f"p99 {ages[int(len(ages) * 0.99)] * 1e3:.2f}, max {ages[-1] * 1e3:.2f}")


if __name__ == "__main__":
    main()
