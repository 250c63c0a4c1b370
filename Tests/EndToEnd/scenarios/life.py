"""Who leaves when, and what stays behind: cancellation, descriptors, memory, signals, and the command line."""

import os
import pathlib
import queue
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time

from .client import Answer, Curl, ask, get, read_stream, request
from .world import (
    BINARY, DEADLINE, FORMATS, SOAK, Sluice, World, expect, expect_equal, routes, scenario, wait_until)
from .peer import Peer, answers, chunk


def endless(exchange) -> None:
    """Tokens as fast as they are taken, until the proxy leaves."""
    event = chunk({"content": "x" * 4000})
    exchange.connection.settimeout(None)
    exchange.head()
    try:
        while True:
            exchange.data(event)
    except OSError:
        exchange.left_at = time.monotonic()


def waits(exchange) -> None:
    """One token, then nothing until the proxy leaves."""
    exchange.head()
    exchange.token("one")
    exchange.wait_left()


@scenario("client gone mid-stream: {}: the upstream is closed at once", FORMATS)
def client_gone(world: World, format: str) -> str:
    delays = []
    for index in range(20):
        with world.peer.plays(waits), Answer(world.port, ask("plain", format, f"X-Request-Id: gone-{format}-{index}\r\n")) as answer:
            answer.read_head().read_until(lambda a: read_stream(format, bytes(a.body))[0] == "one")
            left = time.monotonic()
            answer.reset() if index % 2 else answer.close()
            exchange = world.peer.wait_exchange()
            expect(exchange.over.wait(DEADLINE), "the upstream was not closed")
            delays.append((exchange.left_at - left) * 1000)
    line = world.sluice.exchange(f"gone-{format}-0")
    expect_equal(line["end"], "client_gone", "the end in the log")
    # Of 20, so that one turn of a busy machine's scheduler does not count.
    expect(sorted(delays)[17] < 50, f"upstream closed after {[round(d, 1) for d in delays]} ms")
    return f"median {statistics.median(delays):.1f} ms, slowest {max(delays):.1f} ms"


@scenario("client gone before the first byte: the upstream is closed at once")
def client_gone_early(world: World) -> str:
    delays = []
    for _ in range(20):
        with world.peer.plays(lambda exchange: exchange.wait_left()), Answer(world.port, ask("plain", "text")) as answer:
            exchange = world.peer.wait_exchange()
            left = time.monotonic()
            answer.close()
            expect(exchange.over.wait(DEADLINE), "the upstream was not closed")
            delays.append((exchange.left_at - left) * 1000)
    expect(sorted(delays)[17] < 50, f"upstream closed after {[round(d, 1) for d in delays]} ms")
    return f"median {statistics.median(delays):.1f} ms, slowest {max(delays):.1f} ms"


@scenario("on_disconnect: drain lets the upstream finish")
def drain_upstream(world: World) -> None:
    resume = threading.Event()
    finished = []

    def script(exchange):
        exchange.head()
        exchange.token("one")
        resume.wait(DEADLINE)
        for _ in range(100):
            exchange.token("more")
        exchange.finish()
        exchange.done()
        finished.append(True)

    with world.peer.plays(script):
        with Answer(world.port, ask("drain", "text", "X-Request-Id: drained\r\n")) as answer:
            answer.read_head().read_until(lambda a: a.body == b"one")
        # The close has to be seen before the rest is sent.
        time.sleep(0.2)
        resume.set()
        expect(world.peer.wait_exchange().over.wait(DEADLINE), "the script did not end")
        expect(finished, "the upstream was cut")
    expect_equal(world.sluice.exchange("drained")["end"], "client_gone", "the end in the log")


@scenario("a client that takes nothing: its stream is reset and its upstream closed")
def slow_client(world: World) -> None:
    for format in ("text", "ndjson", "passthrough"):
        with world.peer.plays(endless):
            data = ask("plain", format, f"X-Request-Id: slow-{format}\r\n")
            with Answer(world.port, data, receive_buffer=4096) as answer:
                answer.read_head()
                expect(world.peer.wait_exchange().over.wait(DEADLINE), f"{format}: the upstream was not closed")
                answer.read_all()
                expect(answer.ending in ("cut", "reset"), f"{format}: the stream ended {answer.ending}")
        expect_equal(world.sluice.exchange(f"slow-{format}")["end"], "slow_client", f"{format}: the end in the log")


def own_config(peer: Peer, more: str = "") -> str:
    return (f"listeners: [{{address: '127.0.0.1:0'}}]\n{more}"
            f"upstreams: {{plain: {{url: '{peer.url}', dialect: openai-chat}}}}\nroutes:\n{routes('plain')}")


@scenario("2,000 clients that come and go leave no descriptor behind")
def churn(world: World) -> str:
    count = 2000
    peer = Peer()

    def script(exchange):
        kind = exchange.field("x-request-id").rsplit("-", 1)[1]
        if kind == "whole":
            return answers(["one", " two"])(exchange)
        waits(exchange)

    with Sluice(own_config(peer)) as sluice, peer.plays(script):
        # Pools and first uses are done; what is open now is the measure.
        for index in range(50):
            churn_one(sluice.port, index)
        wait_until(lambda: live(peer) == 0, "the first exchanges end")
        before = sluice.descriptors()
        jobs: queue.Queue = queue.Queue()
        problems = []

        def work():
            while (index := jobs.get()) is not None:
                try:
                    churn_one(sluice.port, index)
                except Exception as error:
                    problems.append(f"{index}: {error}")

        threads = [threading.Thread(target=work) for _ in range(8)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for index in list(range(count)) + [None] * len(threads):
            jobs.put(index)
        for thread in threads:
            thread.join()
        took = time.monotonic() - began
        expect_equal(problems[:3], [], "churn")
        wait_until(lambda: live(peer) == 0, "every upstream exchange ends")
        # The pools may hold as many idle connections as there were whole answers at one time; no more.
        wait_until(lambda: sluice.descriptors() <= before + len(threads),
                   f"descriptors go back to {before}; they are {sluice.descriptors()}")
        return f"{before} before, {sluice.descriptors()} after, {count / took:.0f}/s"


def live(peer: Peer) -> int:
    return sum(not exchange.over.is_set() for exchange in peer.exchanges)


def churn_one(port: int, index: int) -> None:
    """One of six ways to come and go."""
    format = FORMATS[index % len(FORMATS)]
    way = index // len(FORMATS) % 6
    kind = "whole" if way == 0 else "waits"
    data = ask("plain", format, f"X-Request-Id: churn-{index}-{kind}\r\n")
    if way == 1:
        # Connects and says nothing.
        Answer(port).close()
        return
    answer = Answer(port, data if way != 2 else data[: len(data) // 2])
    if way == 0:
        expect_equal(answer.read_all().ending, "complete", "a whole answer")
    elif way in (3, 4):
        answer.read_head().read_until(lambda a: read_stream(format, bytes(a.body))[0] == "one")
    # 5 leaves right after its request.
    answer.reset() if way == 4 else answer.close()


@scenario("an endless upstream and readers that stop: memory stays flat, the upstream is paused")
def flat_memory(world: World) -> str:
    peer = Peer()
    with Sluice(own_config(peer, "drain_timeout: 100ms\nlimits: {slow_client: 10m}\n")) as sluice, peer.plays(endless):
        readers = [Answer(sluice.port, ask("plain", FORMATS[i % len(FORMATS)]), receive_buffer=8192) for i in range(24)]
        for reader in readers:
            reader.read_head()
        settle(lambda: sum(exchange.sent_bytes for exchange in peer.exchanges))
        before = sluice.resident_bytes()
        end = time.monotonic() + SOAK
        highest = before
        while time.monotonic() < end:
            time.sleep(0.25)
            highest = max(highest, sluice.resident_bytes())
        expect_equal(len(peer.exchanges), len(readers), "exchanges")
        sent = max(exchange.sent_bytes for exchange in peer.exchanges)
        # An upstream can fill the kernel's buffers on its way, both ends of both connections, and the proxy's own.
        room = 2 * (largest_buffer("rmem") + largest_buffer("wmem")) + (1 << 20)
        expect(sent < room, f"an upstream whose reader has stopped could send {sent} bytes")
        expect(highest - before < 4 << 20, f"resident memory rose by {highest - before} bytes in {SOAK:.0f} s")
        # A reader that comes back finds its stream going on.
        for reader in readers:
            size = len(reader.body)
            reader.read_until(lambda a: len(a.body) > size + 500_000)
            reader.close()
        wait_until(lambda: live(peer) == 0, "every upstream exchange ends")
    return f"{before >> 20} MiB, +{(highest - before) >> 10} KiB in {SOAK:.0f} s, at most {sent >> 10} KiB taken of a stream"


def largest_buffer(kind: str) -> int:
    """To how many bytes the kernel may grow a TCP connection's buffer on one end."""
    with open(f"/proc/sys/net/ipv4/tcp_{kind}") as file:
        return int(file.read().split()[2])


def settle(measure) -> int:
    """The measure once it has stood still for half a second."""
    value, since = measure(), time.monotonic()
    end = since + DEADLINE * 2
    while time.monotonic() < end:
        time.sleep(0.05)
        if (now := measure()) != value:
            value, since = now, time.monotonic()
        elif time.monotonic() - since > 0.5:
            return value
    raise AssertionError("the upstream is never paused")


@scenario("SIGTERM: {}: a live stream goes on to its end, new clients are refused, then exit 0", FORMATS)
def drains(world: World, format: str) -> None:
    peer = Peer()
    resume = threading.Event()

    def script(exchange):
        exchange.head()
        exchange.token("one")
        resume.wait(DEADLINE)
        exchange.token(" two")
        exchange.finish()
        exchange.done()

    with Sluice(own_config(peer)) as sluice, peer.plays(script), Answer(sluice.port) as idle:
        with Answer(sluice.port, ask("plain", format)) as answer:
            answer.read_head().read_until(lambda a: read_stream(format, bytes(a.body))[0] == "one")
            sluice.signal(signal.SIGTERM)
            sluice.wait_log(lambda line: line["event"] == "draining", "draining")
            expect(idle.read_close(), "an idle connection got bytes")
            wait_until(lambda: refused(sluice.port), "new clients are refused")
            resume.set()
            answer.read_all()
            expect_equal((read_stream(format, bytes(answer.body))[0], answer.ending), ("one two", "complete"), "the stream")
        expect_equal(sluice.wait(), 0, "exit code")


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=DEADLINE).close()
        return False
    except OSError:
        return True


@scenario("SIGTERM: a stream that outlasts drain_timeout ends as a failure in its format")
def drain_timeout(world: World) -> None:
    for format in FORMATS:
        peer = Peer()
        with Sluice(own_config(peer, "drain_timeout: 300ms\n")) as sluice, peer.plays(waits):
            with Answer(sluice.port, ask("plain", format)) as answer:
                answer.read_head().read_until(lambda a: read_stream(format, bytes(a.body))[0] == "one")
                sluice.signal(signal.SIGTERM)
                answer.read_all()
                text, end = read_stream(format, bytes(answer.body))
                expect_equal(text, "one", f"{format}: the text")
                expect(end == "error" or answer.ending in ("cut", "reset"), f"{format}: it ended {end}, {answer.ending}")
            expect_equal(sluice.wait(), 0, f"{format}: exit code")


@scenario("a second SIGTERM ends it at once")
def second_signal(world: World) -> None:
    peer = Peer()
    sluice = Sluice(own_config(peer))
    try:
        with peer.plays(waits), Answer(sluice.port, ask("plain", "text")) as answer:
            answer.read_head().read_until(lambda a: a.body == b"one")
            sluice.signal(signal.SIGTERM)
            sluice.wait_log(lambda line: line["event"] == "draining", "draining")
            sluice.signal(signal.SIGTERM)
            expect_equal(sluice.wait(), 1, "exit code")
    finally:
        sluice.kill()


@scenario("SIGHUP: new requests go by the new file, live streams end on the old one, a bad file changes nothing")
def reload(world: World) -> None:
    old, new = Peer(), Peer()
    resume = threading.Event()

    def script(exchange):
        exchange.head()
        exchange.token("old")
        if len(old.exchanges) == 1:
            resume.wait(DEADLINE)
        exchange.finish()
        exchange.done()

    with Sluice(own_config(old)) as sluice, old.plays(script), new.plays(answers(["new"])):
        with Answer(sluice.port, ask("plain", "ndjson")) as answer:
            answer.read_head().read_until(lambda a: read_stream("ndjson", bytes(a.body))[0] == "old")
            sluice.write_config("routes: nonsense\n")
            sluice.signal(signal.SIGHUP)
            sluice.wait_log(lambda line: line["event"] == "reload_failed", "reload_failed")
            sluice.write_config(own_config(new))
            sluice.signal(signal.SIGHUP)
            sluice.wait_log(lambda line: line["event"] == "reloaded", "reloaded")
            # Workers take the new file one after the other.
            wait_until(lambda: bytes(get(sluice.port, ask("plain", "text")).body) == b"new", "the new upstream answers")
            resume.set()
            answer.read_all()
            expect_equal(read_stream("ndjson", bytes(answer.body)), ("old", "done"), "the live stream")
        expect_equal(bytes(get(sluice.port, ask("plain", "text")).body), b"new", "the answer after the reload")


@scenario("the access log has one line for each exchange and no secret, prompt or token")
def access_log(world: World) -> None:
    with world.peer.plays(answers(["token-of-the-answer"])):
        fields = "X-Request-Id: logged\r\nAuthorization: Bearer client-secret\r\n"
        get(world.port, ask("plain", "ndjson", fields, prompt="prompt-of-the-client"))
    line = world.sluice.exchange("logged")
    wanted = {"method": "GET", "path": "/plain/ndjson", "status": 200, "end": "done", "upstream": "plain", "format": "ndjson"}
    expect_equal({key: line.get(key) for key in wanted}, wanted, "the line")
    expect_equal((line.get("input_tokens"), line.get("output_tokens")), (7, 11), "token counts")
    text = "\n".join(world.sluice.lines)
    for secret in ("token-of-the-answer", "prompt-of-the-client", "client-secret", "upstream-secret"):
        expect(secret not in text, f"{secret} is in the log")


@scenario("without a file the demo upstream streams in every format")
def demo(world: World) -> None:
    with Sluice(None, "--listen", "127.0.0.1:0") as sluice:
        base = f"http://127.0.0.1:{sluice.port}"
        for format in ("text", "sse-text", "sse-json", "ndjson", "openai-chat"):
            with Curl(f"{base}/stream?prompt=emoji&format={format}") as curl:
                expect_equal(curl.wait(), 0, f"{format}: curl's exit code, {curl.errors()!r}")
                text, end = read_stream(format, bytes(curl.body))
                expect("👨‍👩‍👧‍👦" in text, f"{format}: the text is {text!r}")
                expect_equal(end, None if format == "text" else "done", f"{format}: the end")
                expect(len(curl.arrivals) > 10 and curl.arrivals[-1] - curl.arrivals[0] > 0.3, f"{format}: all at once")
        import openai

        with openai.OpenAI(base_url=base + "/v1", api_key="none", max_retries=0) as client:
            message = [{"role": "user", "content": "a table, please"}]
            chunks = list(client.chat.completions.create(
                model="any", messages=message, stream=True, stream_options={"include_usage": True}))
            text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
            expect("|---|" in text, f"the text is {text!r}")
            expect(chunks[-1].usage and chunks[-1].usage.completion_tokens > 10, "usage")
            whole = client.chat.completions.create(model="any", messages=message)
            expect_equal(whole.choices[0].message.content, text, "streamed and whole")


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [BINARY, *arguments], capture_output=True, text=True, timeout=DEADLINE, env=os.environ | environment)


@scenario("commands: version, validate, wrong usage")
def commands(world: World) -> None:
    done = command("version")
    expect_equal((done.returncode, done.stdout.startswith("sluice ")), (0, True), f"version said {done.stdout!r}")
    minimal = pathlib.Path(__file__).parents[3] / "Config" / "minimal.yaml"
    done = command("validate", str(minimal), OPENAI_API_KEY="sk-any")
    expect_equal(done.returncode, 0, f"exit code for Config/minimal.yaml: {done.stderr}")
    done = command("validate", str(minimal), OPENAI_API_KEY="")
    expect_equal((done.returncode, "OPENAI_API_KEY" in done.stderr), (1, True), f"without its key: {done.stderr}")
    with tempfile.TemporaryDirectory() as directory:
        bad = os.path.join(directory, "bad.yaml")
        with open(bad, "w") as file:
            file.write("listeners: [{adress: '127.0.0.1:0'}]\nupstreams: {a: {url: 'http://x', dialect: openai-chat}}\n"
                       "routes:\n  - {path: /a, request: prompt, response: sse-txt, upstream: b}\n")
        done = command("validate", bad)
        expect_equal(done.returncode, 1, "exit code for a bad file")
        output = done.stdout + done.stderr
        for piece in ("bad.yaml", "adress", "address", "sse-text", "routes[0].upstream", ":4:"):
            expect(piece in output, f"{piece} is missing in:\n{output}")
        expect(command("run", "-c", bad).returncode == 1, "run with a bad file does not end with 1")
        expect(command("run", "-c", os.path.join(directory, "none.yaml")).returncode == 1, "run without its file")
    for arguments in ((), ("walk",), ("run", "--nonsense"), ("validate",)):
        expect_equal(command(*arguments).returncode, 2, f"exit code of {arguments}")
