"""What the proofs in Chromium share: the browser on a thread of its own, pages, a provider that counts, a relay that cuts."""

import asyncio
import atexit
import base64
import collections
import contextlib
import functools
import hashlib
import json
import pathlib
import socket
import struct
import subprocess
import threading
import urllib.parse

from playwright.async_api import async_playwright

import harness
import scenarios.peer
from harness import Sluice, until, wait_closed
from scenarios.world import Certificates

PATIENCE = 30.0
PROTOCOLS = ("h1", "h2")
PAGE = pathlib.Path(__file__).with_name("browser_page.html").read_bytes()
# Each word stands in one token only, and in ASCII, so that it is seen in every framing. Around them what framings trip over.
WORDS = ["first", "second", "third", "fourth", "fifth"]
TOKENS = ["first", "\n\nsecond ", "- third\n  ", "für fourth 👨‍👩‍👧‍👦", ' "fifth"\\\n']
TEXT = "".join(TOKENS)


def key_hash(certificate):
    """By which Chromium is told to trust a certificate: base64 of the SHA-256 of its public key."""
    def openssl(*arguments, given=None):
        return subprocess.run(["openssl", *arguments], input=given, capture_output=True, check=True).stdout

    key = openssl("pkey", "-pubin", "-outform", "der", given=openssl("x509", "-in", certificate, "-pubkey", "-noout"))
    return base64.b64encode(hashlib.sha256(key).digest()).decode()


class Chromium:
    """Headless Chromium, driven from a thread of its own: a test goes on while its pages do."""

    def __init__(self):
        self.made = Certificates()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.run(self._launch())

    async def _launch(self):
        self.playwright = await async_playwright().start()
        trusted = key_hash(self.made.path("server.crt"))
        self.browser = await self.playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--ignore-certificate-errors-spki-list=" + trusted])

    def begin(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def run(self, coroutine, seconds=60):
        return self.begin(coroutine).result(seconds)

    @property
    def version(self):
        return self.browser.version

    @property
    def server_tls(self):
        return {"certificate": self.made.path("server.crt"), "private_key": self.made.path("server.key")}

    def close(self):
        async def end():
            await self.browser.close()
            await self.playwright.stop()

        self.run(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(PATIENCE)
        self.loop.close()
        self.made.remove()


@functools.cache
def chromium():
    """The one that all tests of a module use: a module runs in a process of its own."""
    made = Chromium()
    atexit.register(made.close)
    return made


class Profile:
    """Cookies, caches and connections of their own; and tabs."""

    def __init__(self):
        self.chromium = chromium()
        self.context = self.chromium.run(self.chromium.browser.new_context())

    def tab(self, url):
        return Tab(self, url)

    def close(self):
        self.chromium.run(self.context.close())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Tab:
    """A page. `call` waits for what a function of it gives; `begin` does not."""

    def __init__(self, profile, url):
        self.profile, self.chromium = profile, profile.chromium
        self.console = []
        self.page = self.chromium.run(self._open(profile.context, url))

    async def _open(self, context, url):
        page = await context.new_page()
        page.on("console", lambda message: self.console.append(message.text))
        await page.goto(url)
        return page

    def beside(self, url):
        """Another tab of the same profile."""
        return Tab(self.profile, url)

    def begin(self, function, *arguments):
        return self.chromium.begin(self.page.evaluate(f"given => {function}(...given)", list(arguments)))

    def call(self, function, *arguments, seconds=60):
        return self.begin(function, *arguments).result(seconds)

    def evaluate(self, expression):
        return self.chromium.run(self.page.evaluate(expression))

    def add_cookie(self, url, name, value):
        self.chromium.run(self.page.context.add_cookies([{"url": url, "name": name, "value": value}]))

    def reload(self):
        self.chromium.run(self.page.reload())

    def close(self):
        self.chromium.run(self.page.close())

    def heard(self, key):
        """What an EventSource of the page has heard so far."""
        return self.evaluate(f"heard[{json.dumps(key)}]")

    def wait_heard(self, key, condition, what, seconds=PATIENCE):
        def found():
            seen = self.heard(key)
            return seen if seen and condition(seen) else None

        try:
            return until(found, seconds, what)
        except AssertionError as error:
            raise AssertionError(f"{key}: {error}; heard {self.heard(key)}; console {self.console}") from None


class Model:
    """A provider that counts how often it is asked, by what it is asked.

    What it is asked is `NAME#SCRIPT`; a script is a function of the connection and of the name. Without one the tokens are
    played: each after a page has reported that it has read the one before.
    """

    def __init__(self):
        self.calls = collections.Counter()
        self.scripts = {}
        self.news = threading.Condition()
        self.reported = collections.defaultdict(str)
        # By what it was asked: when the other side left.
        self.left = {}
        self.requests = {}
        self.bodies = {}
        self.peer = harness.Peer(self._serve)
        self.url = self.peer.url

    def _serve(self, connection, request):
        head, _, body = request.partition(b"\r\n\r\n")
        asked = said(head, body)
        with self.news:
            self.calls[asked] += 1
            self.requests[asked] = head
            self.bodies[asked] = json.loads(body) if body else None
            self.news.notify_all()
        name, _, script = asked.partition("#")
        return self.scripts[script](connection, name) if script else self.play(connection, name)

    def play(self, connection, name):
        begin(connection)
        for token, word in zip(TOKENS, WORDS):
            send(connection, token)
            # One token in flight at a time: that it is read is no luck, for nothing comes after it.
            if not self.wait_report(name, word):
                return "close"
        return finish(connection)

    def report(self, name, text):
        """A page has read so much."""
        with self.news:
            # Reports may overtake each other; what a page has read only grows.
            self.reported[name] = max(self.reported[name], text, key=len)
            self.news.notify_all()

    def wait_report(self, name, word):
        with self.news:
            return self.news.wait_for(lambda: word in self.reported[name], PATIENCE)

    def wait_left(self, connection, name):
        """Silent until the other side leaves."""
        at = wait_closed(connection, PATIENCE)
        with self.news:
            self.left[name] = at
            self.news.notify_all()
        return "close"

    def wait_for(self, condition, what):
        with self.news:
            assert self.news.wait_for(condition, PATIENCE), f"waited in vain: {what}"

    def close(self):
        self.peer.close()


def said(head, body):
    if not body:
        target = head.split(b" ")[1].decode()
        return urllib.parse.parse_qs(urllib.parse.urlsplit(target).query)["prompt"][0]
    content = json.loads(body)["messages"][-1]["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def begin(connection):
    # The role stands in an event of its own, which no format has anything to say of.
    connection.sendall(harness.HEAD + harness.chunk(harness.event({"role": "assistant", "content": ""})))


def send(connection, *tokens):
    connection.sendall(b"".join(harness.chunk(harness.event({"content": token})) for token in tokens))


def finish(connection):
    connection.sendall(harness.chunk(harness.DONE) + b"0\r\n\r\n")


class Site:
    """Serves the page, and hands on what pages report. An origin of its own, in the clear or over TLS."""

    def __init__(self, model, tls=None):
        self.peer = scenarios.peer.Peer(certificate=(tls["certificate"], tls["private_key"]) if tls else None)
        self.model = model
        scheme, host = ("https", "localhost") if tls else ("http", "127.0.0.1")
        self.origin = f"{scheme}://{host}:{self.peer.port}"
        self.url = self.origin + "/site/page"
        # Further ones of the page's head.
        self.fields = ""
        self.playing = contextlib.ExitStack()
        self.playing.enter_context(self.peer.plays(self.serve))

    def serve(self, exchange):
        if exchange.target.endswith("/report"):
            self.model.report(exchange.json["name"], exchange.json["text"])
            exchange.document(200, b"thanks", "text/plain")
        else:
            exchange.document(200, PAGE, "text/html; charset=utf-8", fields=f"Cache-Control: no-store\r\n{self.fields}")


class Relay:
    """TCP between a browser and a port, which can be changed: the network's side of a story. Counts connections and bytes."""

    def __init__(self, target):
        self.target = target
        self.connections = 0
        # Bytes to the browser.
        self.passed = 0
        self.cuts = 0
        self.lock = threading.Lock()
        self.armed = None
        self.live = {}
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_after(self, count, how):
        """Cuts the connection that brings the next `count` bytes, behind the last of them: `how` is RST or FIN."""
        with self.lock:
            self.armed = [count, how]

    def cut_now(self, how):
        """Cuts all connections that there are."""
        with self.lock:
            for far in self.live:
                self.live[far] = how
                with contextlib.suppress(OSError):
                    far.shutdown(socket.SHUT_RDWR)
            self.cuts += len(self.live)

    def _accept(self):
        while True:
            try:
                near, _ = self.server.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near):
        try:
            far = socket.create_connection(("127.0.0.1", self.target), 10)
        except OSError:
            return near.close()
        far.settimeout(None)
        for each in (near, far):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.lock:
            self.live[far] = "FIN"
        threading.Thread(target=self._up, args=(near, far), daemon=True).start()
        how = self._down(far, near)
        with self.lock:
            how = how or self.live[far]
            del self.live[far]
        # Linger 0 makes a reset of the close, which the thread that reads must not hold up.
        if how == "RST":
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for each in (near, far):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RD if how == "RST" and each is near else socket.SHUT_RDWR)
            each.close()

    def _up(self, near, far):
        with contextlib.suppress(OSError):
            while data := near.recv(65536):
                far.sendall(data)
        # It is `_down` that closes both.
        with contextlib.suppress(OSError):
            far.shutdown(socket.SHUT_RDWR)

    def _down(self, far, near):
        with contextlib.suppress(OSError):
            while data := far.recv(65536):
                with self.lock:
                    how, data = self._take(data)
                    self.passed += len(data)
                near.sendall(data)
                if how:
                    return how
        return None

    def _take(self, data):
        if not self.armed:
            return None, data
        count, how = self.armed
        if len(data) < count:
            self.armed[0] -= len(data)
            return None, data
        self.armed = None
        self.cuts += 1
        return how, data[:count]

    def close(self):
        with contextlib.suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()


class World:
    """A provider that counts, one program or more before it, and two sites with the page: one each, in the clear and over TLS."""

    def __init__(self, stack, routes, upstreams, more):
        self.stack = stack
        self.chromium = chromium()
        self.model = Model()
        stack.callback(self.model.close)
        self.sites = {"h1": Site(self.model), "h2": Site(self.model, self.chromium.server_tls)}
        self.origins = [site.origin for site in self.sites.values()]
        self.values = self._values(routes, upstreams, more)
        self.programs = []
        self.proxy = self.another()

    def _values(self, routes, upstreams, more):
        named = {"model": {"url": self.model.url, "dialect": "openai-chat"},
                 "site": {"url": self.sites["h1"].peer.url, "dialect": "raw"}, **(upstreams or {})}
        page = {"path": "/site/*", "request": "passthrough", "response": "passthrough", "upstream": "site"}
        routes = routes(self) if callable(routes) else routes
        routes = [route if "steps" in route else {"upstream": "model", **route} for route in routes]
        listeners = [{"address": "127.0.0.1:0"}, {"address": "127.0.0.1:0", "tls": self.chromium.server_tls}]
        return {"listeners": listeners, "workers": 2, "upstreams": named, "routes": [page, *routes], **more}

    def another(self):
        """One more program with the same configuration."""
        program = self.stack.enter_context(Sluice(self.values, listeners=2))
        self.programs.append(program)
        return program

    def base(self, protocol, program=None):
        return origin(protocol, (program or self.proxy).ports()[PROTOCOLS.index(protocol)])

    def relay_to(self, base):
        """A relay before an origin, and its own origin."""
        relay = Relay(urllib.parse.urlsplit(base).port)
        self.stack.callback(relay.close)
        return relay, base.rpartition(":")[0] + f":{relay.port}"

    def profile(self):
        return self.stack.enter_context(Profile())

    def own_tab(self, protocol, program=None):
        """A page that comes through the program."""
        tab = self.profile().tab(self.base(protocol, program) + "/site/page")
        used = tab.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol")
        assert used == {"h1": "http/1.1", "h2": "h2"}[protocol], used
        return tab

    def foreign_tab(self, protocol):
        """A page of another origin than the program's."""
        return self.profile().tab(self.sites[protocol].url)

    def exchanges(self, path=None):
        lines = [line for program in self.programs for line in program.exchanges()]
        return [line for line in lines if path is None or line["path"] == path]


def origin(protocol, port):
    return f"http://127.0.0.1:{port}" if protocol == "h1" else f"https://localhost:{port}"


@contextlib.contextmanager
def world(routes, upstreams=None, **more):
    """`routes`: a list, or a function of the world that gives one."""
    with contextlib.ExitStack() as stack:
        yield World(stack, routes, upstreams, more)


def post(prompt, **more):
    """What a page's fetch is told. The content type makes a browser ask first if the page is of another origin."""
    return {"method": "POST", "headers": {"Content-Type": "application/json"}, "body": json.dumps({"prompt": prompt}), **more}


def relayed(prompt, **more):
    """The same in a provider's own words, for routes that pass them on."""
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": prompt}]}
    return {**post(prompt, **more), "body": json.dumps(body)}


def query(**fields):
    return "?" + urllib.parse.urlencode(fields)


__all__ = ["PATIENCE", "PROTOCOLS", "TEXT", "TOKENS", "WORDS", "Relay", "begin", "chromium", "finish", "post",
           "query", "relayed", "send", "until", "world"]
