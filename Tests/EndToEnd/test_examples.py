"""Deploy/examples: each is run as its README says. The pages in Chromium, from another origin, and through a proxy that drops connections."""

import contextlib
import functools
import http.server
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import threading

from playwright.sync_api import sync_playwright

from harness import DONE, HEAD, Peer, Sluice, chunk, event, fetch, until, wait_closed

FOLDER = pathlib.Path(__file__).parents[2] / "Deploy" / "examples"
PATIENCE = 30
PAGES = ("eventsource.html", "fetch.html", "usechat.html", "usecompletion.html")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class Cutter:
    """A TCP proxy that breaks connections: each in turn that is planned, behind so many bytes of its answer; then no more."""

    def __init__(self, port):
        self.port, self.plan, self.cuts = port, [], 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.port))
                for pump in (self._up, self._down):
                    threading.Thread(target=pump, args=(client, server), daemon=True).start()

    def _up(self, client, server):
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _down(self, client, server):
        sent = 0
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                # An answer with a body that streams, and not a preflight's.
                sent += len(data) if sent or b"chunked" in data else 0
                client.sendall(data)
                if sent and self.plan and sent > self.plan[0]:
                    self.plan.pop(0)
                    self.cuts += 1
                    break
        for end in (client, server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class World:
    """The examples' own configuration, the pages' server, and what stands between."""

    def __init__(self, sluice, pages, demo_port):
        self.sluice, self.pages, self.demo_port = sluice, pages, demo_port

    def page(self, browser, name, through=None):
        page = browser.new_page()
        page.on("pageerror", lambda error: print(f"  {name}: {error}"))
        page.goto(f"{self.pages}/{name}?sluice={through.url if through else f'http://127.0.0.1:{self.sluice.port}'}")
        return page

    def asked(self):
        """What was answered by the model itself, and not read on."""
        return [entry for entry in self.sluice.exchanges() if "upstream_status" in entry]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Model(Peer):
    """In the demo's place: stops in the middle of each answer until it may go on."""

    WORDS = [f"word{n} " for n in range(20)]

    def __init__(self):
        self.goes_on = threading.Event()
        super().__init__(self.answer)

    def answer(self, connection, request):
        half = len(self.WORDS) // 2
        connection.sendall(HEAD + b"".join(chunk(event({"content": word})) for word in self.WORDS[:half]))
        threading.Thread(target=self.finish, args=(connection, half), daemon=True).start()
        wait_closed(connection, PATIENCE)
        return "close"

    def finish(self, connection, half):
        if self.goes_on.wait(PATIENCE):
            connection.sendall(b"".join(chunk(event({"content": word})) for word in self.WORDS[half:]))
            connection.sendall(chunk(DONE) + b"0\r\n\r\n")
            connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def world(model=None):
    configuration = (FOLDER / "examples.yaml").read_text()
    if model:
        configuration = re.sub(r"    process:\n(      .*\n)+", "", configuration)
    handler = functools.partial(Quiet, directory=str(FOLDER))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        pages = f"http://127.0.0.1:{server.server_port}"
        environment = {"LISTEN": "127.0.0.1:0", "DEMO_PORT": str(model.port if model else free_port()), "PAGES": pages}
        with Sluice(configuration, environment=environment) as sluice:
            try:
                yield World(sluice, pages, int(environment["DEMO_PORT"]))
            finally:
                server.shutdown()


@contextlib.contextmanager
def chromium():
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path="/usr/bin/chromium")
        yield launched.new_context()
        launched.close()


def answer_to(here, prompt):
    """What the model says, from itself and at once."""
    until(lambda: any(entry["event"] == "process_ready" for entry in list(here.sluice.log)), PATIENCE, "the demo")
    body = {"model": "m", "messages": [{"role": "user", "content": prompt}]}
    document = json.loads(fetch(here.demo_port, "/v1/chat/completions", body).body)
    return document["choices"][0]["message"]["content"]


def ask(page, prompt, **choices):
    page.fill("[name=prompt]", prompt)
    for name, value in choices.items():
        page.select_option(f"[name={name}]", value)
    page.locator("form").evaluate("form => form.requestSubmit()")


def wait_for(page, what, seconds=PATIENCE):
    page.wait_for_function(what, timeout=seconds * 1000, polling=50)


def state_is(page, *states):
    wait_for(page, f"{json.dumps(states)}.includes(document.getElementById('state').textContent)")


def shown(page, where="#answer"):
    return page.locator(where).last.evaluate("element => element.textContent")


def state(page):
    return shown(page, "#state")


def test_answers_survive_connections_that_drop():
    """What each shows is whole all the same, and the model was asked once."""
    with world() as here, chromium() as browser:
        table, code = (answer_to(here, prompt) for prompt in ("table", "code"))
        cutters = [Cutter(here.sluice.port) for _ in range(4)]
        for cutter, plan in zip(cutters, ([1200], [700, 900], [500, 700], [600, 900])):
            cutter.plan = plan
        events = here.page(browser, "eventsource.html", cutters[0])
        jsons, texts = (here.page(browser, "fetch.html", cutter) for cutter in cutters[1:3])
        ask(events, "table")
        ask(jsons, "code", format="ndjson")
        ask(texts, "code", format="text")
        script = python(cutters[3], "table")
        for page, wanted in ((events, table), (jsons, code), (texts, code)):
            state_is(page, "done", "closed", "cut")
            assert (shown(page), state(page)) == (wanted, "done"), (page.url, state(page), shown(page))
        output, errors = script.communicate(timeout=PATIENCE)
        assert (output.decode(), script.returncode) == (table + "\n", 0), (output, errors)
        assert errors.decode() == "[reconnecting]\n" * 2, errors
        assert [cutter.cuts for cutter in cutters] == [1, 2, 2, 2], "connections were to drop"
        until(lambda: len(here.asked()) >= 4, what="a line in the log for each answer")
        assert len(here.asked()) == 4, here.sluice.exchanges()


def test_a_refresh_goes_on_and_stop_stops_the_model():
    with Model() as model, world(model) as here, chromium() as browser:
        answer = "".join(model.WORDS)
        events, chat = pages = [here.page(browser, name) for name in ("eventsource.html", "usechat.html")]
        for page in pages:
            ask(page, "go on")
            wait_for(page, "document.querySelector('#answer, .assistant')?.textContent.includes('word9')")
            page.reload()
            wait_for(page, "document.querySelector('#answer, .assistant')?.textContent.includes('word9')")
        model.goes_on.set()
        state_is(events, "done")
        state_is(chat, "ready")
        assert shown(events) == answer
        assert shown(chat, ".user") == "user: go on" and shown(chat, ".assistant") == "assistant: " + answer
        # Nothing of the chat is running any more, so a page that comes up is told so, and shows what it has.
        chat.reload()
        state_is(chat, "ready")
        assert shown(chat, ".assistant") == "assistant: " + answer
        assert len(model.requests) == 2, "the model is asked once for each"
        # Every page, stopped in the middle.
        model.goes_on.clear()
        pages = [here.page(browser, name) for name in PAGES]
        for page in pages:
            ask(page, "never end")
        for page in pages:
            wait_for(page, "document.querySelector('#answer, .assistant')?.textContent.includes('word8')")
            page.click("#stop")
            state_is(page, "stopped")
        # Long before anybody's grace is over.
        until(lambda: len(model.closed_at) == 2 + len(PAGES), 15, "every model is stopped")
        stopped = lambda: [entry for entry in here.asked() if entry["end"] != "done"]
        until(lambda: len(stopped()) == len(PAGES), 10, "a line in the log for each")


def test_hooks_and_curl():
    """One turn and another behind it, as `useChat` does; a completion; one whose connection breaks. And all that curl.sh does."""
    with world() as here, chromium() as browser:
        url = f"http://127.0.0.1:{here.sluice.port}"
        curl = subprocess.Popen(["bash", FOLDER / "curl.sh", url], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        emoji, chinese, arabic = (answer_to(here, prompt) for prompt in ("emoji", "Chinese", "Arabic"))
        cutter = Cutter(here.sluice.port)
        chat, completion, broken = (
            here.page(browser, name, via) for name, via in
            (("usechat.html", None), ("usecompletion.html", None), ("usecompletion.html", cutter)))
        cutter.plan = [900]
        ask(chat, "Chinese")
        ask(completion, "emoji")
        ask(broken, "emoji")
        state_is(completion, "done")
        assert shown(completion) == emoji
        wait_for(broken, "document.getElementById('state').textContent.startsWith('error')")
        assert emoji.startswith(shown(broken)) and shown(broken) != emoji
        wait_for(chat, "JSON.parse(sessionStorage.getItem('chat')).messages.length === 2")
        ask(chat, "Arabic")
        wait_for(chat, "JSON.parse(sessionStorage.getItem('chat')).messages.length === 4")
        state_is(chat, "ready")
        lines = chat.locator("#messages pre").all_text_contents()
        assert lines == ["user: Chinese", "assistant: " + chinese, "user: Arabic", "assistant: " + arabic], lines
        check_curl(curl, chinese)


def check_curl(process, chinese):
    output, errors = process.communicate(timeout=PATIENCE * 2)
    assert (process.returncode, errors) == (0, b""), (output, errors)
    parts = [part.partition("\n") for part in output.decode().split("== ")[1:]]
    text, lines, events, chat, report, resumed, stopped = (body.strip("\n") for _, _, body in parts)
    assert text == chinese
    assert "".join(json.loads(line).get("text", "") for line in lines.splitlines()) == chinese, lines
    assert events.startswith("retry: 1000\nid: ") and "event: done" in events and events.endswith("/end"), events
    deltas = [json.loads(line[6:]) for line in chat.splitlines() if line.startswith("data: {")]
    assert "".join(delta.get("delta", "") for delta in deltas) == chinese, chat
    assert report.startswith(f'Hello! You said: "A headline for this: {chinese.splitlines()[0]}'), report
    before, _, after = resumed.partition("[here it was left]\n")
    assert before and after and before + after == chinese, resumed
    assert stopped.endswith("204"), stopped


def test_the_readme_names_every_example():
    readme = (FOLDER / "README.md").read_text()
    for path in FOLDER.rglob("*"):
        if path.is_file() and path.name != "README.md" and "__pycache__" not in path.parts:
            assert f"]({path.relative_to(FOLDER)})" in readme, path


def python(cutter, prompt):
    return subprocess.Popen([sys.executable, FOLDER / "python" / "stream.py", prompt, cutter.url],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
