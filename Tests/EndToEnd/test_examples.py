"""Deploy/examples: each is run as its README says. The pages in Chromium, from another origin, and through a proxy that drops connections."""

import contextlib
import functools
import http.server
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading

from playwright.sync_api import sync_playwright

from harness import BINARY, Sluice, fetch, until

FOLDER = pathlib.Path(__file__).parents[2] / "Deploy" / "examples"
PATIENCE = 30


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


@contextlib.contextmanager
def world():
    handler = functools.partial(Quiet, directory=str(FOLDER))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        pages = f"http://127.0.0.1:{server.server_port}"
        environment = {"LISTEN": "127.0.0.1:0", "DEMO_PORT": str(free_port()), "PAGES": pages}
        with Sluice((FOLDER / "examples.yaml").read_text(), environment=environment) as sluice:
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
    """Cut once at the start and once later: what the reader shows is whole, and the model was asked once."""
    with world() as here, chromium() as browser:
        table, code = (answer_to(here, prompt) for prompt in ("table", "code"))
        cutters = [Cutter(here.sluice.port) for _ in range(4)]
        for cutter, plan in zip(cutters, ([900, 1500], [700, 900], [500, 700], [600, 900])):
            cutter.plan = plan
        events = here.page(browser, "eventsource.html", cutters[0])
        jsons, texts = (here.page(browser, "fetch.html", cutter) for cutter in cutters[1:3])
        ask(events, "table")
        ask(jsons, "code", format="ndjson")
        ask(texts, "code", format="text")
        script = python(cutters[3], "table")
        for page, wanted in ((events, table), (jsons, code), (texts, code)):
            state_is(page, "done", "closed", "cut", "failed")
            assert (shown(page), state(page)) == (wanted, "done"), (page.url, state(page), shown(page))
        output, errors = script.communicate(timeout=PATIENCE)
        assert (output.decode(), script.returncode) == (table + "\n", 0), (output, errors)
        assert errors.decode() == "[reconnecting]\n" * 2, errors
        assert [cutter.cuts for cutter in cutters] == [2] * 4, "connections were to drop"
        until(lambda: len(here.asked()) >= 4, what="a line in the log for each answer")
        assert len(here.asked()) == 4, here.sluice.exchanges()


def test_answers_survive_a_refresh_of_the_page():
    with world() as here, chromium() as browser:
        table = answer_to(here, "table")
        events, chat = (here.page(browser, name) for name in ("eventsource.html", "usechat.html"))
        ask(events, "table")
        ask(chat, "table")
        wait_for(events, "document.getElementById('answer').textContent.length > 40")
        wait_for(chat, "document.querySelector('.assistant')?.textContent.length > 60")
        for page in (events, chat):
            page.reload()
        wait_for(chat, "document.querySelector('.assistant') != null")
        state_is(events, "done")
        state_is(chat, "ready")
        assert shown(events) == table
        assert shown(chat, ".user") == "user: table" and shown(chat, ".assistant") == "assistant: " + table
        # Nothing of the chat is running any more, so a page that comes up is told so, and shows what it has.
        chat.reload()
        state_is(chat, "ready")
        assert shown(chat, ".assistant") == "assistant: " + table
        until(lambda: len(here.asked()) >= 2, what="a line in the log for each answer")
        assert len(here.asked()) == 2, here.sluice.exchanges()


def test_what_the_sdks_hooks_do():
    """One turn and another behind it, as `useChat` does; a completion; a model that refuses; a connection that breaks."""
    with world() as here, chromium() as browser:
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


def test_stopping_stops_the_model():
    names = ("eventsource.html", "fetch.html", "usechat.html", "usecompletion.html")
    with world() as here, chromium() as browser:
        pages = [here.page(browser, name) for name in names]
        for page in pages:
            ask(page, "code")
        for page in pages:
            wait_for(page, "document.querySelector('#answer, .assistant')?.textContent.length > 20")
            page.click("#stop")
            state_is(page, "stopped")
        ends = lambda: [entry for entry in here.asked() if entry["end"] != "done"]
        until(lambda: len(ends()) >= len(names), PATIENCE, "every model is stopped, long before any grace is over")
        assert "done" not in [entry["end"] for entry in here.asked()], here.asked()


def test_curl():
    with world() as here:
        url = f"http://127.0.0.1:{here.sluice.port}"
        run = subprocess.run(["bash", FOLDER / "curl.sh", url], capture_output=True, timeout=PATIENCE * 2)
        assert run.returncode == 0, run
        parts = [part.partition("\n") for part in run.stdout.decode().split("== ")[1:]]
        text, lines, document, events, chat, resumed, stopped = (body.strip("\n") for _, _, body in parts)
        japanese, chinese, arabic = (answer_to(here, f"Say something in {name}") for name in ("Japanese", "Chinese", "Arabic"))
        assert text == japanese
        assert "".join(json.loads(line).get("text", "") for line in lines.splitlines()) == chinese, lines
        assert json.loads(document)["text"] == chinese
        assert events.startswith("retry: 1000\nid: ") and "event: done" in events and events.endswith("/end"), events
        deltas = [json.loads(line[6:]) for line in chat.splitlines() if line.startswith("data: {")]
        assert "".join(delta.get("delta", "") for delta in deltas) == arabic, chat
        before, _, after = resumed.partition("[here it was left]\n")
        assert before and after and before + after == japanese, resumed
        assert stopped.endswith("204"), stopped


def test_the_readme_names_every_example():
    readme = (FOLDER / "README.md").read_text()
    for path in FOLDER.rglob("*"):
        if path.is_file() and path.name != "README.md" and "__pycache__" not in path.parts:
            assert f"]({path.relative_to(FOLDER)})" in readme, path


def python(cutter, prompt):
    return subprocess.Popen([sys.executable, FOLDER / "python" / "stream.py", prompt, cutter.url],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
