"""Real clients of HTTP/2: curl, nghttp and h2load, over TLS and over cleartext, before upstreams of both protocols."""

import asyncio
import collections
import concurrent.futures
import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
import threading

from harness import BINARY, HEAD, Reply, Sluice, connect, drain, request_bytes, until
from harness import chunk as http1_chunk
from http2_peer import PATIENCE, WINDOW, Http2Peer
from http2_world import Upstreams, certificates, chat, http2_proxy, over_h1, settings
from scenarios.client import Curl, read_stream
from scenarios.framings import KINDS, TOKENS, check_whole
from scenarios.peer import chunk, stream
from scenarios.world import FORMATS, SANITIZED

# Framings whose clients are told of a failure inside the stream; the transfer itself then ends properly.
TELLS = {"sse-text", "sse-json", "ndjson", "openai-chat"}
# curl's exit codes: a transfer that is too short, a stream that was reset.
CUT = {"1.1": 18, "2": 92}


class Clients:
    """One program with a cleartext and a TLS listener, and the gates that hold its upstreams' tokens back."""

    def __init__(self, proxy, made):
        self.plain, self.secure = (f"http://127.0.0.1:{proxy.ports()[0]}", f"https://localhost:{proxy.ports()[1]}")
        self.trust = ["--cacert", made.path("ca.crt")]
        self.made = made
        self.gates = {}
        # Other things to do than to play the tokens, by what the client said.
        self.scripts = {}
        self.proxy = proxy

    @property
    def curls(self):
        """Name: where to, what curl is told, and the version that has to come of it."""
        return {
            "h2 by ALPN": (self.secure, ["--http2", *self.trust], "2"),
            "h2 by prior knowledge": (self.plain, ["--http2-prior-knowledge"], "2"),
            "h1 over TLS": (self.secure, ["--http1.1", *self.trust], "1.1"),
            "h1": (self.plain, ["--http1.1"], "1.1"),
        }

    def gate(self, name):
        # One step, for both sides may ask first, and at the same time.
        return self.gates.setdefault(name, threading.Semaphore(0))

    def play(self, answer, text):
        """`text`: a gate's name, before `#` and what to do."""
        name, _, ending = text.partition("#")
        if ending in self.scripts:
            return self.scripts[ending](answer)
        events = stream(TOKENS)
        answer.head()
        # In one piece with the first token: read apart from it, it would be a report too many.
        before = events[0]
        for token in TOKENS[:2] if ending == "cut" else TOKENS:
            answer.data(before + chunk({"content": token}))
            before = b""
            # A token in flight at a time: that it arrives is no luck, for nothing comes after it.
            if not self.gate(name).acquire(timeout=PATIENCE):
                return answer.abort()
        if ending == "cut":
            return answer.abort()
        for event in events[1 + len(TOKENS):]:
            answer.data(event)
        answer.end()


@contextlib.contextmanager
def clients(upstreams=None, routes=()):
    """With further upstreams and routes than one for each framing."""
    played = []
    with certificates() as made, Upstreams(lambda answer, text: played[0].play(answer, text)) as models:
        tls = {"certificate": made.path("server.crt"), "private_key": made.path("server.key")}
        values = settings(models.urls, FORMATS)
        values["upstreams"] |= upstreams or {}
        values["routes"] += routes
        values["listeners"].append({"address": "127.0.0.1:0", "tls": tls})
        with Sluice(values, listeners=2) as proxy:
            played.append(Clients(proxy, made))
            yield played[0]
        assert not models.h2.problems, models.h2.problems


def curl(base, options, path, text):
    body = json.dumps(chat(text))
    # The version goes where curl's complaints go, so that the body stays itself.
    return Curl(*options, "-w", "%{stderr}[%{http_version}]", "-H", "Content-Type: application/json", "-d", body,
                base + path)


def test_curl_gets_each_token_before_the_next_is_sent():
    with clients() as world:
        for name, (base, options, version) in world.curls.items():
            for upstream in ("h1", "h2"):
                for framing in FORMATS:
                    check_lockstep(world, framing, version, f"{name} {upstream} {framing}",
                                   (base, options, f"/{upstream}/{framing}"))


def check_lockstep(world, framing, version, key, where):
    with curl(*where, key) as client:
        for count in range(1, len(TOKENS) + 1):
            wanted = "".join(TOKENS[:count])
            client.wait_for(lambda body: read_stream(framing, body)[0] == wanted, f"{key}: token {count}")
            world.gate(key).release()
        code = client.wait()
        assert (code, client.errors()) == (0, f"[{version}]"), (key, code, client.errors())
        fields, body = client.fields, bytes(client.body)
    assert (fields["status"], fields["content-type"]) == ("200", KINDS[framing]), (key, fields)
    assert version == "1.1" or not {"connection", "transfer-encoding"} & fields.keys(), (key, fields)
    check_whole(framing, body)


def test_curl_sees_a_broken_stream():
    seen = collections.Counter()
    with clients() as world:
        for name, (base, options, version) in world.curls.items():
            for upstream in ("h1", "h2"):
                for framing in FORMATS:
                    key = f"{name} {upstream} {framing}"
                    with curl(base, options, f"/{upstream}/{framing}", f"{key}#cut") as client:
                        world.gate(key).release()
                        wanted = "".join(TOKENS[:2])
                        client.wait_for(lambda body: read_stream(framing, body)[0] == wanted, key)
                        world.gate(key).release()
                        code, (text, end) = client.wait(), read_stream(framing, bytes(client.body))
                        errors = client.errors()
                    assert errors.endswith(f"[{version}]") and text == wanted, (key, errors, text)
                    assert code == (0 if framing in TELLS else CUT[version]), (key, code, errors)
                    assert end == ("error" if framing in TELLS else None), (key, end)
                    seen[f"{framing if code == 0 else 'cut'} over {version}: exit code {code}"] += 1
    cuts = {what: count for what, count in seen.items() if what.startswith("cut")}
    print(f"  {cuts}; {sum(seen.values()) - sum(cuts.values())} were told inside the stream")


class Nghttp:
    """`nghttp -v`, read as it comes: line by line, for by itself it tells a pipe all at the end."""

    def __init__(self, url, text):
        self.body = tempfile.NamedTemporaryFile("w", prefix="sluice-body-")
        json.dump(chat(text), self.body)
        self.body.flush()
        self.process = subprocess.Popen(
            ["stdbuf", "-oL", "nghttp", "-nv", "--no-verify-peer", "--no-dep", "-d", self.body.name, url],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.said = ""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.said += line.decode()

    def data(self):
        """(length, ends the stream) of each DATA frame."""
        found = re.findall(r"recv DATA frame <length=(\d+), flags=0x(\d+), stream_id=1>\n", self.said)
        return [(int(length), int(flags, 16) & 1 == 1) for length, flags in found]

    def fields(self):
        return dict(re.findall(r"recv \(stream_id=1(?:, sensitive)?\) (:?[^:\n]+): (.*)", self.said))

    def wait(self):
        """Its exit code, which is 0 whatever the stream came to."""
        code = self.process.wait(PATIENCE)
        self.reader.join(PATIENCE)
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.body.close()


def test_nghttp_sees_a_frame_for_each_token_and_the_end_of_the_stream():
    with clients() as world:
        for base in (world.plain, world.secure):
            for framing in FORMATS:
                key = f"nghttp {base} {framing}"
                with Nghttp(f"{base}/h2/{framing}", key) as client:
                    before = 0
                    for _ in TOKENS:
                        until(lambda: len(client.data()) > before, what=f"{key}: a frame more than {before}")
                        before = len(client.data())
                        assert not client.data()[-1][1], (key, client.said)
                        world.gate(key).release()
                    assert client.wait() == 0, (key, client.said)
                    check_frames(framing, base.startswith("https"), client)


def check_frames(framing, is_secure, client):
    fields, frames = client.fields(), client.data()
    assert (fields[":status"], fields["content-type"]) == ("200", KINDS[framing]), client.said
    assert [ends for _, ends in frames].index(True) == len(frames) - 1 and "RST_STREAM" not in client.said, client.said
    assert ("The negotiated protocol: h2" in client.said) == is_secure, client.said
    if framing == "text":
        assert sum(length for length, _ in frames) == len("".join(TOKENS).encode()), client.said
        assert len([length for length, _ in frames if length]) == len(TOKENS), client.said


def test_nghttp_sees_the_reset_of_a_broken_stream():
    with clients() as world:
        for base in (world.plain, world.secure):
            for framing in FORMATS:
                key = f"nghttp broken {base} {framing}"
                with Nghttp(f"{base}/h2/{framing}", f"{key}#cut") as client:
                    world.gate(key).release()
                    until(client.data, what=key)
                    world.gate(key).release()
                    assert client.wait() == 0, (key, client.said)
                    ended, reset = client.data()[-1][1], "recv RST_STREAM" in client.said
                    assert (ended, reset) == ((True, False) if framing in TELLS else (False, True)), (key, client.said)
                    assert ended or "(error_code=INTERNAL_ERROR(0x02))" in client.said, (key, client.said)


class Instant(asyncio.Protocol):
    """An HTTP/1.1 upstream that answers each request at once with the same stream, and is quick enough for h2load."""

    answer = HEAD + b"".join(http1_chunk(event) for event in stream(["Hello", " wörld"])) + b"0\r\n\r\n"

    def connection_made(self, transport):
        self.transport = transport
        self.request = b""

    def data_received(self, data):
        self.request += data
        head, end, body = self.request.partition(b"\r\n\r\n")
        if end and len(body) >= int(re.search(rb"content-length: *(\d+)", head, re.I)[1]):
            self.request = b""
            self.transport.write(self.answer)


@contextlib.contextmanager
def instant_upstream():
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(Instant, "127.0.0.1", 0, backlog=1024))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.close()


@contextlib.contextmanager
def demo():
    """The embedded upstream, behind a program of its own: HTTP/2 without encryption, documents at once."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    command = [BINARY, "run", "--listen", "127.0.0.1:0"]
    # Of its log only the port is read: a full pipe does not stop it.
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
    try:
        yield f"http://127.0.0.1:{json.loads(process.stdout.readline())['address'].rsplit(':', 1)[1]}/v1"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


# A sanitizer's build is to be looked through, not measured.
REQUESTS = 1_000 if SANITIZED else 10_000


def h2load(url, body, requests=REQUESTS, clients=10):
    """What it counted, and its line on speed."""
    with tempfile.NamedTemporaryFile("w", prefix="sluice-body-") as file:
        json.dump(body, file)
        file.flush()
        done = subprocess.run(["h2load", "-n", str(requests), "-c", str(clients), "-m", "100", "-d", file.name, url],
                              capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = re.search(r"requests: (.*)\nstatus codes: (.*)\n", done.stdout)
    found = {name: int(count) for count, name in re.findall(r"(\d+) (\w+)", ", ".join(counts.groups()))}
    data = int(re.search(r"\((\d+)\) data", done.stdout)[1])
    return found, data, re.search(r"finished in .*", done.stdout)[0]


def test_h2load_gets_every_answer():
    with certificates() as made, instant_upstream() as instant, demo() as embedded:
        tls = {"certificate": made.path("server.crt"), "private_key": made.path("server.key")}
        values = settings({"h1": instant, "h2": embedded}, ["text", "passthrough", "openai-chat"], log={"access": False})
        values["listeners"].append({"address": "127.0.0.1:0", "tls": tls})
        with Sluice(values, listeners=2) as proxy:
            plain, secure = proxy.ports()
            streamed = {"h1/text": len("Hello wörld".encode()), "h1/passthrough": len(b"".join(stream(["Hello", " wörld"])))}
            for base in (f"http://127.0.0.1:{plain}", f"https://localhost:{secure}"):
                for path, length in streamed.items():
                    check_load(f"{base}/{path}", chat(), length)
                check_load(f"{base}/h2/openai-chat", {**chat("code"), "stream": False})


def check_load(url, body, length=None):
    counts, data, speed = h2load(url, body)
    print(f"  {url}: {speed}")
    wanted = {"total": REQUESTS, "started": REQUESTS, "done": REQUESTS, "succeeded": REQUESTS, "failed": 0, "errored": 0,
              "timeout": 0, "2xx": REQUESTS, "3xx": 0, "4xx": 0, "5xx": 0}
    assert counts == wanted, (url, counts, speed)
    assert length is None or data == REQUESTS * length, (url, data, length)


def test_a_burst_goes_out_to_a_client_that_has_nothing_more_to_say():
    # More than is framed at a time, at once, for windows that are never returned because they are huge: nothing but the
    # program itself can make it send the rest.
    count, body = 100, b"".join(stream(["x" * (8 << 10)]))
    ready, go, sent = threading.Semaphore(0), threading.Event(), threading.Semaphore(0)

    def script(answer, text):
        answer.head()
        ready.release()
        assert go.wait(PATIENCE)
        answer.data(body)
        answer.end()
        sent.release()

    with Upstreams(script) as upstreams, concurrent.futures.ThreadPoolExecutor(1) as pool:
        urls = {"h1": upstreams.urls["h1"]}
        with Sluice(settings(urls, ["passthrough"])) as proxy:
            done = pool.submit(h2load, f"http://127.0.0.1:{proxy.port}/h1/passthrough", chat(), count, 1)
            wait_for(ready, count)
            with standing_still(proxy):
                go.set()
                wait_for(sent, count)
            counts, data, speed = done.result(PATIENCE)
    assert (counts["succeeded"], data) == (count, count * len(body)), (counts, data, speed)


def test_a_burst_goes_out_to_an_upstream_that_has_nothing_more_to_say():
    count, text = 30, "x" * (8 << 10)
    arrived = threading.Semaphore(0)
    go = threading.Event()

    def script(answer):
        if len(answer.wait_body()) > len(text):
            arrived.release()
            go.wait(PATIENCE)
        answer.head()
        for event in stream(["ok"]):
            answer.data(event)
        answer.end()

    with Http2Peer(script, settings={WINDOW: 1 << 30}, returns_window=False) as peer, http2_proxy(peer) as proxy:
        assert over_h1(proxy.port, "/h2/text", chat()).body == b"ok"
        peer.connections[0].returns_connection_window = False
        waiting = [accepted(proxy.port) for _ in range(count)]
        with standing_still(proxy):
            for connection in waiting:
                connection.sendall(request_bytes("/h2/text", chat(text), headers=["Connection: close"]))
        wait_for(arrived, count)
        go.set()
        assert [Reply(drain(connection)).body for connection in waiting] == [b"ok"] * count
        assert len(peer.connections) == 1, len(peer.connections)


def accepted(port):
    """A connection that has been answered once, so that it does not wait to be accepted."""
    connection, data = connect(port), b""
    connection.sendall(request_bytes("/nowhere"))
    while b"\r\n\r\n" not in data or not Reply(data).complete:
        data += connection.recv(65536)
    assert Reply(data).status == 404, data
    return connection


@contextlib.contextmanager
def standing_still(proxy):
    """What comes meanwhile, the program finds all in one turn."""
    proxy.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        proxy.process.send_signal(signal.SIGCONT)


def wait_for(semaphore, count):
    for number in range(count):
        assert semaphore.acquire(timeout=PATIENCE), f"{number} of {count}"
