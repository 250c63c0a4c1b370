"""Text that is paced for a typing effect. Times are only compared loosely: what is looked at is order and separateness."""

import json
import threading
import time

from harness import CHAT, DONE, FORMATS, HEAD, Peer, Sluice, chunk, config, connect, event, fetch, request_bytes, until, \
    wait_closed
from test_streams import events, text_of

WORDS = [f"word{n} " for n in range(12)]
INTERVAL = {"interval": "40ms"}


def smooth(url, pace, **changes):
    settings = config(url, **changes)
    settings["routes"] = [{**route, "smooth": pace} for route in settings["routes"] if route["request"] != "passthrough"]
    return settings


class Client:
    """Reads a body as it comes: (seconds since the request, bytes) of each read."""

    def __init__(self, proxy, path, body=CHAT):
        self.connection = connect(proxy.port)
        self.began = time.monotonic()
        self.connection.sendall(request_bytes(path, body, headers=["Connection: close"]))
        self.reads = []

    def read(self):
        data = self.connection.recv(65536)
        if data:
            self.reads.append((time.monotonic() - self.began, data))
        return data

    def read_all(self):
        while self.read():
            pass
        return b"".join(data for _, data in self.reads)


def pieces(body):
    return [data for kind, data in events(body) if kind == "message"]


def send(connection, *parts):
    """One read of the proxy's for each."""
    for part in parts:
        connection.sendall(chunk(part))


def test_words_leave_whole_in_every_format():
    tokens = ["Hel", "lo", ", wör", "ld\n\nand", " all", " 你好", " 🚀", "🚀 of", " it"]

    def script(connection, request):
        connection.sendall(HEAD)
        send(connection, *[event({"content": token}) for token in tokens], DONE)
        connection.sendall(b"0\r\n\r\n")

    with Peer(script) as peer:
        for pace in ("word", INTERVAL):
            with Sluice(smooth(peer.url, pace)) as proxy:
                for name in FORMATS:
                    reply = fetch(proxy.port, "/" + name, CHAT)
                    assert text_of(name, reply.body) == ("".join(tokens), True) and reply.complete, (pace, name, reply.raw)
                # The provider's own dialect, which is relayed where nothing has to be done.
                reply = fetch(proxy.port, "/openai-chat", CHAT)
                parts = [json.loads(data)["choices"][0]["delta"].get("content") for data in pieces(reply.body)[:-1]]
                words = [part for part in parts if part]
                assert "".join(words) == "".join(tokens), words
                if pace == "word":
                    wanted = ["Hel", "lo, ", "wörld\n\n", "and ", "all 你好", " 🚀🚀 ", "of ", "it"]
                    assert words == wanted, words


def test_a_burst_is_told_word_by_word():
    finish = threading.Event()

    def script(connection, request):
        connection.sendall(HEAD)
        send(connection, event({"content": "".join(WORDS)}))
        finish.wait(10)
        send(connection, DONE)
        connection.sendall(b"0\r\n\r\n")

    with Peer(script) as peer, Sluice(smooth(peer.url, INTERVAL)) as proxy:
        client = Client(proxy, "/sse-text")
        while sum(data.count(b"word") for _, data in client.reads) < len(WORDS) and client.read():
            pass
        spoken = [(at, data) for at, data in client.reads if b"word" in data]
        finish.set()
        body = client.read_all()
        assert len(spoken) >= 8, "the words come in reads of their own, but for a few that a busy machine joins"
        assert spoken[-1][0] - spoken[0][0] > 0.3, "twelve words at 40 ms each take their time"
        assert body.index(b"word0") < body.index(b"word11") < body.index(b"event: done")


def test_what_is_held_leaves_at_the_end_at_once():
    """The upstream has long ended when the client would still be told: it gets all of it, and then the end."""
    def script(connection, request):
        connection.sendall(HEAD)
        send(connection, event({"content": "".join(WORDS)}) + DONE)
        connection.sendall(b"0\r\n\r\n")

    with Peer(script) as peer, Sluice(smooth(peer.url, {"interval": "1s"})) as proxy:
        client = Client(proxy, "/sse-text")
        body = client.read_all()
        assert client.reads[-1][0] < 5, "nobody waits twelve seconds"
        assert body.count(b"word") == len(WORDS) and body.index(b"word11") < body.index(b"event: done")
        assert fetch(proxy.port, "/text", CHAT).body.decode() == "".join(WORDS)
        assert [entry["end"] for entry in until(lambda: len(proxy.exchanges()) == 2 and proxy.exchanges())] == ["done"] * 2


def test_an_error_a_tool_call_and_a_cut_stand_behind_what_was_said():
    call = {"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}
    endings = {
        b"tool": [event(call), event({}, "tool_calls"), b"data: [DONE]\n\n"],
        b"error": [b'data: {"error":{"message":"overloaded","type":"server_error"}}\n\n'],
        b"cut": [],
    }

    def script(connection, request):
        kind = next(kind for kind in endings if b'"' + kind + b'"' in request)
        connection.sendall(HEAD)
        send(connection, event({"content": "".join(WORDS)}), *endings[kind])
        if kind == b"cut":
            return "close"
        connection.sendall(b"0\r\n\r\n")

    with Peer(script) as peer, Sluice(smooth(peer.url, {"interval": "500ms"})) as proxy:
        marks = {"tool": '"name":"f"', "error": "overloaded", "cut": '"error"'}
        for kind, mark in marks.items():
            body = {**CHAT, "messages": [{"role": "user", "content": kind}]}
            data = pieces(fetch(proxy.port, "/openai-chat", body).body)
            last = max(index for index, line in enumerate(data) if "word11" in line)
            assert sum(line.count("word") for line in data) == len(WORDS), (kind, data)
            assert mark in data[last + 1], (kind, data)


def test_an_unfinished_word_leaves_when_nothing_comes():
    finish = threading.Event()

    def script(connection, request):
        connection.sendall(HEAD)
        send(connection, event({"content": "one "}), event({"content": "unfini"}))
        finish.wait(10)
        send(connection, event({"content": "shed"}), DONE)
        connection.sendall(b"0\r\n\r\n")

    for pace in ("word", INTERVAL):
        finish.clear()
        with Peer(script) as peer, Sluice(smooth(peer.url, pace)) as proxy:
            client = Client(proxy, "/sse-text")
            while not any(b"unfini" in data for _, data in client.reads):
                assert client.read(), (pace, client.reads)
            finish.set()
            assert client.read_all().endswith(b"0\r\n\r\n")


def test_a_client_that_leaves_stops_the_upstream_while_words_are_held():
    def script(connection, request):
        connection.sendall(HEAD)
        send(connection, event({"content": "".join(WORDS)}))
        wait_closed(connection)
        closed.set()
        return "close"

    for drain in ("cancel", "drain"):
        closed = threading.Event()
        with Peer(script) as peer:
            settings = smooth(peer.url, {"interval": "200ms"}, upstream={"timeouts": {"idle": "500ms"}})
            for route in settings["routes"]:
                route["on_disconnect"] = drain
            with Sluice(settings) as proxy:
                client = Client(proxy, "/sse-text")
                while not any(b"word0" in data for _, data in client.reads):
                    assert client.read()
                client.connection.close()
                # A drained one goes on until its upstream has been silent for too long.
                assert closed.wait(10), drain
                until(lambda: proxy.exchanges(), what="the line of the log")
                before = cpu_seconds(proxy)
                time.sleep(0.3)
                assert cpu_seconds(proxy) - before < 0.2, "a timer that spins"


def cpu_seconds(proxy):
    with open(f"/proc/{proxy.process.pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_idle_upstreams_and_keepalives_count_as_before():
    """Words that are told do not stand for an upstream's life: it is late when it has been silent for so long."""
    def script(connection, request):
        connection.sendall(HEAD)
        send(connection, event({"content": "".join(WORDS)}))
        wait_closed(connection)
        return "close"

    with Peer(script) as peer:
        settings = smooth(peer.url, {"interval": "40ms"}, upstream={"timeouts": {"idle": "1s"}})
        for route in settings["routes"]:
            route["keepalive"] = "100ms"
        with Sluice(settings) as proxy:
            reply = fetch(proxy.port, "/sse-text", CHAT)
            assert reply.body.count(b"word") == len(WORDS), reply.body
            assert reply.body.index(b"word11") < reply.body.index(b"\n\n:\n\n") < reply.body.index(b"event: error"), reply.body
            assert until(lambda: proxy.exchanges())[0]["end"] != "done"


def test_a_slow_client_holds_no_more_than_the_bound():
    """What is held for the effect is bounded beside what waits for the client, and none of it is lost."""
    many = 1500
    text = "some words that are told to nobody yet " * 20

    def script(connection, request):
        connection.sendall(HEAD)
        for _ in range(many):
            connection.sendall(chunk(event({"content": text})))
        connection.sendall(chunk(DONE) + b"0\r\n\r\n")

    with Peer(script) as peer, Sluice(smooth(peer.url, {"interval": "20ms"})) as proxy:
        client = Client(proxy, "/text")
        client.read()
        time.sleep(0.4)
        before = proxy.resident_kib()
        time.sleep(0.4)
        assert proxy.resident_kib() - before < 4096, "a client that reads nothing makes the proxy grow"
        assert proxy.resident_kib() < 300_000
        client.read_all()
        entry = until(lambda: proxy.exchanges())[0]
        assert (entry["end"], entry["pauses"] > 0) == ("done", True), entry
        assert sum(len(data) for _, data in client.reads) > many * len(text)
