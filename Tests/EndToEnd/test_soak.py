"""Hours of bad weather in a minute: clients and upstreams of both protocols that cut, stall, leave and lie at random, reloads meanwhile,
and at the end everything is where it was. SOAK is how many seconds it lasts; SEED repeats the same dice."""

import json
import os
import random
import signal
import threading
import time
from collections import Counter

from harness import Reply, Sluice, connect, drain, event, links, request_bytes, reset, until
from http2_peer import Gone, connect_http2
from http2_world import Upstreams, chat, settings

SECONDS = float(os.environ.get("SOAK", "60"))
SEED = int(os.environ.get("SEED", "0")) or random.randrange(1, 1 << 30)
FRAMINGS = ("text", "sse-json", "ndjson", "passthrough")
FAULTS = ("cut", "malformed", "error", "stall", "silent")


def tokens(count):
    return [f"<{index}>" for index in range(count)]


def play(answer, text):
    """`COUNT FAULT GAP` is what the client asked for."""
    count, fault, gap = text.split()
    count, gap = int(count), float(gap)
    if fault == "silent":
        return answer.abort()
    answer.head()
    for index, token in enumerate(tokens(count)):
        answer.data(event({"content": token}))
        if gap and index % 8 == 0:
            time.sleep(gap)
    if fault == "cut":
        return answer.abort()
    if fault == "stall":
        time.sleep(2.5)
        return answer.abort()
    if fault == "malformed":
        answer.data(b'data: {"choices":[{"delta":{"content":"half\n\n')
    elif fault == "error":
        answer.data(b'data: {"error":{"message":"out of luck","type":"server_error"}}\n\n')
    else:
        answer.data(event({}, "stop") + b"data: [DONE]\n\n")
    answer.end()


def told(framing, body):
    """The text, and whether the stream says of itself that it is whole."""
    if framing == "text":
        return body.decode(), None
    lines = body.decode().split("\n")
    if framing == "ndjson":
        values = [json.loads(line) for line in lines if line]
    else:
        values = [json.loads(line[6:]) for line in lines
                  if line.startswith("data: ") and line != "data: [DONE]" and '"half' not in line]
    if framing == "passthrough":
        text = "".join(value["choices"][0]["delta"].get("content", "") for value in values if "choices" in value)
        return text, "data: [DONE]" in lines
    return "".join(value.get("text", "") for value in values), any(value.get("done") for value in values)


class Weather:
    """Clients that come and go until `stop`; what they find wrong is in `faults`."""

    def __init__(self, port, seed):
        self.port = port
        self.over = threading.Event()
        self.faults = []
        self.seen = Counter()
        jobs = [self.one_h1] * 12 + [self.one_h2] * 4
        self.threads = [
            threading.Thread(target=self.run, args=(job, random.Random(seed * 1000 + index)), daemon=True)
            for index, job in enumerate(jobs)]
        for thread in self.threads:
            thread.start()

    def run(self, job, dice):
        while not self.over.is_set():
            try:
                job(dice)
            except (OSError, Gone):
                self.seen["connection lost"] += 1
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
                self.faults.append(f"{type(error).__name__}: {error}")
                return

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive(), "a client waits for ever"

    def draw(self, dice):
        fault = dice.choice(FAULTS) if dice.random() < 0.3 else "none"
        if fault == "stall" and dice.random() < 0.7:
            fault = "cut"
        count = dice.choice([0, 1, 5, 50, 500])
        gap = dice.choice([0, 0, 0.001, 0.01])
        path = f"/{dice.choice(['h1', 'h2'])}/{dice.choice(FRAMINGS)}"
        return path, fault, count, chat(f"{count} {fault} {gap}")

    def judge(self, path, fault, count, status, body, complete):
        framing = path.rsplit("/", 1)[1]
        where = f"{path} {fault} {count} -> {status} {complete} {body[-300:]!r}"
        self.seen[f"{fault}: {status}"] += 1
        if status != 200:
            assert fault != "none" and status in (502, 504), where
            return
        text, is_whole = told(framing, body)
        wanted = "".join(tokens(count))
        assert text == wanted, where
        if fault == "none":
            assert complete and is_whole is not False, where
        elif framing == "passthrough" and fault in ("malformed", "error"):
            assert not is_whole, where  # the upstream's own bytes, which end as they end
        else:
            assert not is_whole, where
            assert framing != "text" or not complete, where

    def one_h1(self, dice):
        path, fault, count, body = self.draw(dice)
        habit = dice.random()
        connection = connect(self.port)
        if habit < 0.05:
            connection.sendall(dice.choice([b"\x16\x03\x01junk", b"GET\r\n\r\n", b"POST /h1/text HTTP/1.1\r\nHost: x\r\nX: "]))
            time.sleep(dice.random() * 0.1)
            return connection.close()
        data = request_bytes(path, body, headers=["Connection: close"])
        if habit < 0.15:  # a slow sender
            cut = dice.randrange(len(data))
            connection.sendall(data[:cut])
            time.sleep(dice.random() * 0.05)
            connection.sendall(data[cut:])
        else:
            connection.sendall(data)
        if habit > 0.8:  # leaves at some time
            connection.settimeout(dice.random() * 0.2 + 0.001)
            try:
                connection.recv(dice.choice([1, 1000, 100_000]))
            except TimeoutError:
                pass
            self.seen["left"] += 1
            return reset(connection) if habit > 0.9 else connection.close()
        if habit > 0.75:  # reads slowly
            time.sleep(dice.random() * 0.3)
        reply = Reply(drain(connection, 30))
        self.judge(path, fault, count, reply.status, reply.body, reply.complete)

    def one_h2(self, dice):
        with connect_http2(self.port) as client:
            asked = []
            for _ in range(dice.randrange(1, 12)):
                path, fault, count, body = self.draw(dice)
                asked.append((path, fault, count, client.request(path, body)))
            if dice.random() < 0.1:
                self.seen["left h2"] += 1
                return client.close(reset=dice.random() < 0.5)
            for path, fault, count, stream in asked:
                if dice.random() < 0.2:
                    self.seen["reset h2"] += 1
                    stream.abort(8)
                    continue
                stream.wait_over(30)
                self.judge(path, fault, count, stream.status, bytes(stream.body), stream.complete)


def weather(proxy, written, seconds, seed):
    """So many seconds of it, with a reload now and then; returns when all is quiet again."""
    storm = Weather(proxy.port, seed)
    end = time.monotonic() + seconds
    reloads = 0
    while time.monotonic() < end and not storm.faults:
        time.sleep(0.7)
        proxy.write({**written, "drain_timeout": f"{10 + reloads}s"} if reloads % 5 else "nonsense: [")
        proxy.process.send_signal(signal.SIGHUP)
        reloads += 1
    storm.stop()
    assert proxy.process.poll() is None, f"SEED={seed}: it ended: {proxy.errors[:6000].decode()}"
    assert not storm.faults, f"SEED={SEED}: {storm.faults[:3]}"
    return storm.seen


def test_soak():
    limits = {"client_idle_timeout": "500ms", "upstream_idle_timeout": "500ms", "handshake_timeout": "2s"}
    with Upstreams(play) as upstreams:
        written = settings(upstreams.urls, FRAMINGS, limits=limits, workers=2, upstream={"timeouts": {"idle": "1500ms"}})
        with Sluice(written) as proxy:
            before = proxy.descriptors()

            def calm():
                """All descriptors are back; then what memory there is."""
                try:
                    until(lambda: proxy.descriptors() <= before, 20)
                except AssertionError:
                    left = sorted(links(f"/proc/{proxy.process.pid}/fd"))
                    raise AssertionError(f"SEED={SEED}: more than {before} descriptors: {left}") from None
                return proxy.resident_kib()

            weather(proxy, written, max(5.0, SECONDS / 4), SEED)
            warm = calm()
            proxy.log.clear()
            seen = weather(proxy, written, SECONDS * 3 / 4, SEED + 1)
            growth = calm() - warm
            print(f"  SEED={SEED}: {sum(seen.values())} exchanges in {SECONDS:.0f} s, memory {growth:+d} KiB, {dict(seen)}")
            ends = Counter(entry["end"] for entry in proxy.exchanges())
            print(f"  ends: {dict(ends)}")
            assert growth < 6144, f"SEED={SEED}: resident memory grew by {growth} KiB"
            assert ends["done"] > 100 and ends["client_gone"] > 5, ends
