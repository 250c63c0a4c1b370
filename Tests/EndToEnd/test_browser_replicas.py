"""Chromium before two programs that share Redis: a reconnect may land on either, and a killed one takes no page by surprise."""

import contextlib
import socket
import subprocess

from browser_world import PROTOCOLS, until, world
from browser_world import TEXT as CHAT_TEXT
from harness import connect, request_bytes
from retry_world import closed_port
from test_browser_refresh import shown, silent, waits_for, whole
from test_browser_resume import HALF, KINDS, TEXT, TOKENS, event_route, halves, query

SHARED = {"buffer": "1MiB", "ttl": "60s", "grace": "30s", "store": "redis"}
FRAMINGS = ("sse-text", "sse-json", "vercel-ui")


def routes(here):
    made = [{**event_route(here, f"/events/{framing}", framing), "resume": SHARED} for framing in FRAMINGS]
    cors = {"cors": {"origins": here.origins}}
    return [*made, {"path": "/api/chat", "request": "vercel-ui", "response": "vercel-ui", "resume": SHARED, **cors}]


@contextlib.contextmanager
def redis_server():
    """One of the test's own, without a disk; gives its URL."""
    for _ in range(20):
        # It takes no port 0, and one that is free may be taken before it comes to it.
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: process.poll() is not None or answers(port), 20, "Redis answers")
        if process.poll() is None:
            break
    try:
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(16) == b"+PONG\r\n"
    return False


@contextlib.contextmanager
def replicas():
    """The world, and its second program."""
    with redis_server() as url, world(routes, redis={"url": url}) as here:
        here.model.scripts["halves"] = halves(here)
        here.model.scripts["half"] = waits_for(here, "go on")
        yield here, here.another()


class Source:
    """An EventSource whose network leads to one program or the other."""

    def __init__(self, here, tab, protocol, framing):
        self.tab, self.name, self.framing = tab, f"{protocol} {framing}", framing
        self.index = PROTOCOLS.index(protocol)
        self.relay, base = here.relay_to(here.base(protocol))
        url = base + f"/events/{framing}" + query(prompt=f"{self.name}#halves")
        tab.call("listen", url, self.name, {"kind": KINDS[framing]})

    def move(self, program):
        """The way to where it was breaks, and leads elsewhere from now on."""
        self.relay.target = program.ports()[self.index]
        self.relay.cut_now("RST")

    def wait(self, count):
        return self.tab.wait_heard(self.name, lambda seen: len(seen["events"]) >= count, f"{count} tokens")


def test_an_event_source_goes_on_at_another_program_and_comes_back():
    with replicas() as (here, other):
        tab = here.foreign_tab("h1")
        sources = [Source(here, tab, protocol, framing) for protocol in PROTOCOLS for framing in FRAMINGS]
        for source in sources:
            source.wait(3)
            source.move(other)
        for source in sources:
            source.wait(HALF)
            source.move(here.proxy)
            here.model.report(source.name, "go on")
        for source in sources:
            seen = tab.wait_heard(source.name, lambda seen: seen["state"] == 2, "the browser gives up")
            assert (seen["text"], seen["events"]) == (TEXT, TOKENS), (source.name, seen)
            assert (seen["done"], seen["error"]) == (1, None), (source.name, seen)
            assert here.model.calls[f"{source.name}#halves"] == 1, here.model.calls
        there = [line for line in other.exchanges() if line.get("resumed")]
        assert len(there) == len(sources), there
    print(f"  {len(sources)} EventSources, each from one program to the other and back: {len(TOKENS)} tokens once, provider"
          " asked once")


def wait_stored(program, path, text):
    """Until the program can read so far what another one makes."""
    connection, data = connect(program.ports()[0]), b""
    connection.settimeout(30)
    with contextlib.closing(connection):
        connection.sendall(request_bytes(path))
        while text.encode() not in data:
            more = connection.recv(65536)
            assert more, data
            data += more


def test_a_killed_program_leaves_what_it_stored_and_an_error():
    with replicas() as (here, other):
        tab = here.foreign_tab("h1")
        sources = [Source(here, tab, protocol, framing) for protocol in PROTOCOLS for framing in FRAMINGS]
        nowhere = closed_port()
        for source in sources:
            seen = source.wait(3)
            # Most of the first half comes while no page has a way to it.
            source.relay.target = nowhere
            source.relay.cut_now("RST")
            generation = seen["ids"][0].partition("/")[0]
            wait_stored(other, f"/events/{source.framing}/{generation}/stream", TOKENS[HALF - 1].strip())
        here.proxy.process.kill()
        for source in sources:
            source.relay.target = other.ports()[source.index]
        for source in sources:
            seen = tab.wait_heard(source.name, lambda seen: seen["state"] == 2, "the browser gives up")
            assert (seen["text"], seen["done"]) == ("".join(TOKENS[:HALF]), 0), (source.name, seen)
            assert seen["error"] and seen["error"]["message"], (source.name, seen)
            assert here.model.calls[f"{source.name}#halves"] == 1, here.model.calls
    print(f"  {len(sources)} EventSources: what was stored, then {seen['error']}; provider not asked again")


def test_a_page_reloads_and_stops_at_another_program():
    with replicas() as (here, other):
        for protocol in PROTOCOLS:
            name, tab = protocol, here.foreign_tab(protocol)
            first, second = (here.base(protocol, program) + "/api/chat" for program in (here.proxy, other))
            tab.begin("sendChat", first, f"chat-{name}", f"{name}#half")
            until(lambda: "second" in shown(tab), 30, f"{name}: half of the answer")
            tab.reload()
            going = tab.begin("resumeChat", second, f"chat-{name}")
            until(lambda: "second" in shown(tab), 30, f"{name}: what the old page had read")
            here.model.report(name, "go on")
            seen = going.result(30)
            assert whole(seen["raw"]) == (CHAT_TEXT, True, None) and here.model.calls[f"{name}#half"] == 1, seen


def test_a_page_stops_at_another_program_what_one_makes():
    with replicas() as (here, other):
        here.model.scripts["silent"] = silent(here)
        for protocol in PROTOCOLS:
            name, tab = protocol, here.foreign_tab(protocol)
            first, second = (here.base(protocol, program) + "/api/chat" for program in (here.proxy, other))
            going = tab.begin("sendChat", first, f"chat-{name}", f"{name}#silent")
            until(lambda: "second" in shown(tab), 30, f"{name}: half of the answer")
            assert tab.call("read", f"{second}/chat-{name}", {"method": "DELETE"})["status"] == 204
            here.model.wait_for(lambda: name in here.model.left, f"{name}: the provider is stopped")
            seen = going.result(30)
            assert seen["failed"] and not seen["finished"] and here.model.calls[f"{name}#silent"] == 1, seen
