"""Measures what a dead provider costs, and how fast a client that leaves is told to its provider. No test: run it on a quiet machine.

    SLUICE_BIN=$PWD/.build/release/sluice .build/venv/bin/python Tests/EndToEnd/measure_failover.py [--rate 500] [--streams 1000]

1. `--rate` requests a second (open loop) go to a route over two upstreams, of which the first is killed (SIGKILL) in the middle. An
   answer takes 20 ms and leaves in one write, so that at the kill some requests wait for their first token and none is half told.
   Lost: not answered whole with 200. Latency is from the time when a request was due to the last byte of its answer.
2. `--streams` live streams are left by their clients one by one. Cancel latency is from the client's close to the upstream's end of
   file; the clock is one for all processes.
"""

import argparse
import asyncio
import json
import math
import signal
import subprocess
import sys
import time

ANSWER_SECONDS = 0.02
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def event(delta, finish=None):
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    data = b"data: " + json.dumps(body).encode() + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


TOKEN = event({"content": "token"})
DONE = b"e\r\ndata: [DONE]\n\n\r\n"
WHOLE = HEAD + event({"role": "assistant", "content": "word"}) + event({}, "stop") + DONE + b"0\r\n\r\n"


# The upstream, a process of its own: says its port, then for each stream that is left its number and the time.

class Upstream(asyncio.Protocol):
    def __init__(self):
        self.data = b""
        self.number = None
        self.ticker = None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.data += data
        head, mark, body = self.data.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if not mark or len(body) < length:
            return
        self.data = body[length:]
        text = json.loads(body[:length])["messages"][0]["content"]
        loop = asyncio.get_running_loop()
        if text.startswith("hold "):
            self.number = int(text[5:])
            self.transport.write(HEAD)
            self.tick(loop)
        else:
            loop.call_later(ANSWER_SECONDS, self.transport.write, WHOLE)

    def tick(self, loop):
        self.transport.write(TOKEN)
        self.ticker = loop.call_later(1, self.tick, loop)

    def connection_lost(self, error):
        seen = time.monotonic()
        if self.ticker:
            self.ticker.cancel()
            sys.stdout.write(f"{self.number} {seen:.6f}\n")
            sys.stdout.flush()


async def serve():
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


# The client

def request(text):
    body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": text}]}).encode()
    return b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


class Client(asyncio.Protocol):
    def __init__(self):
        self.data = b""
        self.over = None

    def connection_made(self, transport):
        self.transport = transport

    def ask(self, text):
        self.data = b""
        self.over = asyncio.get_running_loop().create_future()
        self.transport.write(request(text))
        return self.over

    def data_received(self, data):
        self.data += data
        if self.over.done():
            return
        if self.data.endswith(b"0\r\n\r\n"):
            self.over.set_result("ok" if self.data.startswith(b"HTTP/1.1 200") and b"[DONE]" in self.data else "broken")
        elif not self.data.startswith(b"HTTP/1.1 200") and b"}" in self.data:
            self.over.set_result(self.data[9:12].decode())

    def connection_lost(self, error):
        if self.over and not self.over.done():
            self.over.set_result("closed")


async def dial(port):
    return (await asyncio.get_running_loop().create_connection(Client, "127.0.0.1", port))[1]


def quantiles(seconds):
    ordered = sorted(seconds)
    pick = lambda part: 1000 * ordered[min(len(ordered) - 1, math.ceil(part * len(ordered)) - 1)]  # noqa: E731
    return {"count": len(ordered), "p50_ms": round(pick(0.5), 2), "p99_ms": round(pick(0.99), 2),
            "max_ms": round(pick(1), 2)} if ordered else {"count": 0}


async def failover(port, rate, seconds, kill):
    idle, results = [], []

    async def one(due):
        client = idle.pop() if idle else await dial(port)
        verdict = await client.ask("now")
        results.append((due, time.monotonic() - due, verdict))
        if verdict == "ok":
            idle.append(client)

    began = time.monotonic() + 0.1
    killed, tasks = None, []
    for number in range(int(rate * seconds)):
        due = began + number / rate
        await asyncio.sleep(max(0, due - time.monotonic()))
        if killed is None and number >= rate * seconds / 2:
            kill()
            killed = time.monotonic()
        tasks.append(asyncio.ensure_future(one(due)))
    await asyncio.gather(*tasks)
    lost = {}
    for _, _, verdict in results:
        if verdict != "ok":
            lost[verdict] = lost.get(verdict, 0) + 1
    warm = began + 0.5
    parts = {
        "before": [took for due, took, _ in results if warm < due < killed - 0.2],
        "at_the_kill": [took for due, took, _ in results if killed - 0.05 <= due < killed + 0.2],
        "after": [took for due, took, _ in results if due >= killed + 0.2],
    }
    told = {name: quantiles(values) for name, values in parts.items()}
    return {"requests": len(results), "lost": sum(lost.values()), "lost_as": lost, **told,
            "added_p99_ms": round(told["after"]["p99_ms"] - told["before"]["p99_ms"], 2)}


async def cancels(port, streams):
    clients = []
    for number in range(streams):
        client = await dial(port)
        client.ask(f"hold {number}")
        clients.append(client)
    while not all(b"token" in client.data for client in clients):
        await asyncio.sleep(0.05)
    left = {}
    for number, client in enumerate(clients):
        left[number] = time.monotonic()
        client.transport.abort()
        await asyncio.sleep(0.002)
    return left


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--upstream", action="store_true", help="what the measurement starts itself")
    options = parser.parse_args()
    if options.upstream:
        return asyncio.run(serve())
    import harness
    upstreams = [subprocess.Popen([sys.executable, "-B", __file__, "--upstream"], stdout=subprocess.PIPE, text=True)
                 for _ in range(2)]
    try:
        ports = [int(each.stdout.readline()) for each in upstreams]
        specs = {name: {"url": f"http://127.0.0.1:{port}/v1", "dialect": "openai-chat"} for name, port in zip("ab", ports)}
        with harness.Sluice({
                "listeners": [{"address": "127.0.0.1:0"}], "workers": options.workers, "upstreams": specs,
                "limits": {"idle_upstream_connections": 256},
                "routes": [{"path": "/x", "request": "openai-chat", "response": "openai-chat", "upstream": ["a", "b"]}],
        }) as proxy:
            result = asyncio.run(failover(proxy.port, options.rate, options.seconds,
                                          lambda: upstreams[0].send_signal(signal.SIGKILL)))
            harness.until(lambda: len(proxy.exchanges()) >= result["requests"] - result["lost"], what="the log")
            result["saved"] = sum("attempts" in entry and entry["end"] == "done" for entry in proxy.exchanges())
            causes = [entry["attempts"] for entry in proxy.exchanges() if "attempts" in entry]
            result["attempts"] = {kind: causes.count(kind) for kind in sorted(set(causes))}
            print(json.dumps({"failover": result}, indent=1), flush=True)
            left = asyncio.run(cancels(proxy.port, options.streams))
            seen = {}
            while len(seen) < len(left):
                number, when = upstreams[1].stdout.readline().split()
                seen[int(number)] = float(when)
            latency = quantiles([seen[number] - left[number] for number in left])
            print(json.dumps({"cancel": {"streams": options.streams, **latency}}, indent=1))
    finally:
        for each in upstreams:
            each.kill()
            each.wait()


main()
