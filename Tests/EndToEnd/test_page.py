"""The page at /_sluice/ in real Chromium: the playground, the live view, who may use them, and how they look."""

import contextlib
import hashlib
import json
import os
import pathlib
import random
import subprocess
import tempfile
import threading
import urllib.parse

from playwright.sync_api import sync_playwright

from harness import (BINARY, CHAT, DONE, HEAD, TOKENS, Peer, Sluice, chunk, config, connect, drain, event, fetch,
                     request_bytes, stream, until, wait_closed)
from test_operator import admin_port, ask

PATIENCE = 20
TEXT = "".join(TOKENS)
SCREENSHOTS = pathlib.Path(__file__).parents[2] / ".build" / "screenshots"
# Whatever means something to a shell, to JavaScript, to HTML, to a URL or to curl.
NASTY = """it's "quoted" $HOME `id` \\ \\n !! %41 + & # [a-c]{x,y} @file <b>bold</b> </script>
second line\ttab 🚀 ünï; 'end'"""


@contextlib.contextmanager
def browser(**context):
    """A page of headless Chromium, in which nothing may go wrong unseen."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium")
        opened = chromium.new_context(**context)
        page = opened.new_page()
        page.faults = []
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        page.on("dialog", lambda dialog: (page.faults.append("dialog: " + dialog.message), dialog.dismiss()))
        page.on("console", lambda line: "Content Security" in line.text and page.faults.append(line.text))
        yield page
        assert not page.faults, page.faults
        chromium.close()


def visit(page, port, view="play", host="127.0.0.1"):
    page.goto(f"http://{host}:{port}/_sluice/#{view}")
    page.wait_for_selector(f"#{view}", state="visible", timeout=PATIENCE * 1000)
    return page


def shown(page, name):
    return page.text_content("#" + name)


def send(page, prompt=None, **chosen):
    """Chooses, by the names of the fields, sends, and does not wait."""
    for name, value in chosen.items():
        page.select_option("#" + name, value)
    if prompt is not None:
        page.fill("#prompt", prompt)
    page.click("#send")


def ended(page):
    until(lambda: shown(page, "state") not in ("waiting", "streaming"), PATIENCE, "the answer ends")
    return shown(page, "state")


def route(page, path):
    """The value of the option for that path."""
    return page.evaluate("path => [...document.querySelectorAll('#route option')]"
                         ".find(each => each.textContent.startsWith(path + ' ')).value", path)


def admitted(url, **changes):
    return config(url, admin={"address": "127.0.0.1:0"}, **changes)


@contextlib.contextmanager
def demo():
    """The program without a file and without keys, as a stranger starts it."""
    environment = {key: value for key, value in os.environ.items() if not key.endswith("_API_KEY")}
    process = subprocess.Popen(
        [BINARY, "run", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
    lines = []
    try:
        for line in process.stdout:
            lines.append(json.loads(line))
            if lines[-1]["event"] == "listening":
                break
        threading.Thread(target=lambda: lines.extend(json.loads(line) for line in process.stdout), daemon=True).start()
        yield int(lines[-1]["address"].rsplit(":", 1)[1]), lines
    finally:
        process.kill()
        process.wait()


def test_each_format_plays_and_shows_what_was_sent():
    went_on = threading.Event()

    def script(connection, request):
        if b"lockstep" not in request:
            return stream(connection)
        connection.sendall(HEAD + chunk(event({"content": TOKENS[0]})))
        assert went_on.wait(PATIENCE)
        for token in TOKENS[1:]:
            connection.sendall(chunk(event({"content": token})))
        usage = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":99}}\n\n'
        connection.sendall(chunk(event({}, "stop") + usage + b"data: [DONE]\n\n") + b"0\r\n\r\n")

    with Peer(script) as peer, Sluice(admitted(peer.url)) as proxy, browser() as page:
        visit(page, admin_port(proxy))
        page.select_option("#route", route(page, "/stream"))
        formats = page.eval_on_selector_all("#format option", "all => all.map(each => each.value)")
        assert len(formats) == 16, formats
        for format in formats:
            send(page, "all of it", format=format)
            assert ended(page) == "done", (format, shown(page, "failure"))
            assert shown(page, "answer") == TEXT, (format, shown(page, "answer"))
            assert shown(page, "ttft").endswith(" ms"), format
            rows = page.locator("#frames tr").count()
            assert rows == int(shown(page, "count")) > 0, format
            assert int(shown(page, "bytes").replace(",", "")) >= len(TEXT.encode()), format
        # A token is seen before the next one is sent, and what the provider counts is believed.
        send(page, "lockstep", format="sse-json")
        until(lambda: shown(page, "answer") == TOKENS[0], PATIENCE, "the first token is shown")
        assert shown(page, "state") == "streaming" and page.is_enabled("#stop")
        went_on.set()
        assert ended(page) == "done" and shown(page, "answer") == TEXT and shown(page, "tokens") == "99"
        times = page.eval_on_selector_all("#frames tr", "all => all.map(row => Number(row.cells[0].textContent))")
        assert times == sorted(times) and times[0] > 0, times
        # Fixed formats and bodies as providers want them.
        for path in ("/openai-chat", "/ndjson", "/text"):
            send(page, "fixed", route=route(page, path))
            assert ended(page) == "done" and shown(page, "answer") == TEXT, path
        # Relayed, so the provider's path is the client's to choose.
        page.select_option("#route", route(page, "/v1/*"))
        page.fill("#rest", "chat/completions")
        send(page, "relayed")
        assert ended(page) == "done" and shown(page, "answer") == TEXT
        assert peer.requests[-1].startswith(b"POST /v1/chat/completions ")
        ends = [(line["client"], line["end"]) for line in proxy.exchanges()]
        assert set(ends) == {("127.0.0.1", "done")}, ends


def test_stop_errors_and_cuts_are_told():
    gone, seen, told = threading.Event(), threading.Event(), threading.Event()

    def script(connection, request):
        if request.startswith(b"DELETE /v1/chat/completions/a_b-c "):
            told.set()
            return connection.sendall(b"HTTP/1.1 204 X\r\n\r\n")
        if b"refused" in request:
            body = b'{"error":{"message":"no <credit> left","type":"insufficient_quota"}}'
            connection.sendall(b"HTTP/1.1 429 X\r\nContent-Type: application/json\r\nRetry-After: 7\r\n"
                               b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
            return None
        connection.sendall(HEAD.replace(b"\r\n\r\n", b"\r\nX-Stream-Id: a_b-c\r\n\r\n"))
        connection.sendall(chunk(event({"content": "half"})))
        if b"cut" in request:
            assert seen.wait(PATIENCE)
            return "close"
        wait_closed(connection, PATIENCE)
        gone.set()
        return "close"

    with Peer(script) as peer, Sluice(admitted(peer.url)) as proxy, browser() as page:
        visit(page, admin_port(proxy))
        send(page, "hold", route=route(page, "/stream"), format="sse-text")
        until(lambda: shown(page, "answer") == "half", PATIENCE, "the first token is shown")
        page.click("#stop")
        assert ended(page) == "stopped" and gone.wait(PATIENCE), "the stop does not reach the upstream"
        until(lambda: [line["end"] for line in proxy.exchanges()] == ["client_gone"], what="the log says who went")
        for format, state in [("text", "cut off"), ("sse-json", "failed"), ("openai-chat", "failed")]:
            seen.clear()
            send(page, "cut", format=format)
            until(lambda: shown(page, "answer") == "half", PATIENCE, "the first token is shown")
            seen.set()
            assert ended(page) == state, (format, shown(page, "state"))
            assert shown(page, "answer") == "half", format
            assert page.is_visible("#failure") and shown(page, "failure"), format
        send(page, "refused", format="sse-json")
        assert ended(page) == "failed: 429" and "<credit>" in shown(page, "failure"), shown(page, "failure")
        # A later request replaces an earlier one, whatever that was doing.
        send(page, "hold", format="ndjson")
        until(lambda: shown(page, "answer") == "half", PATIENCE, "the first token is shown")
        send(page, "refused")
        assert ended(page) == "failed: 429" and shown(page, "answer") == ""
        # What outlives its connection is told to stop, by the name that it has.
        page.select_option("#route", route(page, "/v1/*"))
        page.fill("#rest", "chat/completions?x=1")
        send(page, "hold")
        until(lambda: shown(page, "answer") == "half", PATIENCE, "the first token is shown")
        page.click("#stop")
        assert ended(page) == "stopped" and told.wait(PATIENCE)


def test_a_route_that_wants_a_key_gets_it_and_the_snippet_does_not():
    with Peer(lambda connection, _: stream(connection)) as peer, tempfile.TemporaryDirectory() as folder, \
            browser() as page:
        path = os.path.join(folder, "keys.txt")
        with open(path, "w") as file:
            file.write(f"alice {hashlib.sha256(b'sk-alice-key').hexdigest()}\n")
        settings = admitted(peer.url)
        settings["routes"][0]["auth"] = {"api_keys": {"file": path}}
        with Sluice(settings) as proxy:
            visit(page, admin_port(proxy))
            send(page, "hi", route=route(page, "/text"))
            assert ended(page) == "failed: 401", shown(page, "state")
            page.fill("#key", "sk-alice-key")
            send(page)
            assert ended(page) == "done" and shown(page, "answer") == TEXT
            snippet = shown(page, "snippet")
            assert "sk-alice-key" not in snippet and '"Authorization: Bearer $SLUICE_KEY"' in snippet
            ran = subprocess.run(["sh", "-c", snippet], capture_output=True, timeout=PATIENCE,
                                 env={**os.environ, "SLUICE_KEY": "sk-alice-key"})
            assert ran.stdout.decode() == TEXT, ran
            assert page.is_visible("#key") and not page.is_visible("#token")


def test_a_browser_that_reads_nothing_holds_the_provider():
    count = 0

    def script(connection, _):
        nonlocal count
        connection.sendall(HEAD)
        for count in range(1, 401):
            connection.sendall(chunk(event({"content": "x" * 60000})))
        connection.sendall(chunk(DONE) + b"0\r\n\r\n")

    with Peer(script) as peer, Sluice(admitted(peer.url)) as proxy:
        port, before = admin_port(proxy), proxy.resident_kib()
        wanted = {"method": "GET", "target": "/stream?prompt=x&format=text", "headers": {}}
        connection = connect(port)
        connection.sendall(request_bytes("/_sluice/api/call", wanted, headers=["Connection: close"]))
        streams = lambda: json.loads(ask(port, "/streams").body)["streams"]
        until(lambda: streams() and streams()[0]["paused"], PATIENCE, "the provider is paused")
        assert count < 300 and proxy.resident_kib() - before < 16 << 10, (count, proxy.resident_kib() - before)
        body = drain(connection, 4 * PATIENCE)
        assert body.count(b"x") >= 400 * 60000 and body.endswith(b"\r\n0\r\n\r\n")
        # Through a proxy that speaks HTTP/1.0 there are no chunks.
        connection = connect(port)
        data = json.dumps({**wanted, "target": "/livez"}).encode()
        connection.sendall(b"POST /_sluice/api/call HTTP/1.0\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s"
                           % (len(data), data))
        head, _, body = drain(connection).partition(b"\r\n\r\n")
        assert b"chunked" not in head and body.startswith(b'{"status":404,'), (head, body)


def test_snippets_are_true():
    with Peer(lambda connection, _: stream(connection)) as peer, Sluice(admitted(peer.url)) as proxy, \
            browser(permissions=["clipboard-read", "clipboard-write"]) as page:
        visit(page, admin_port(proxy))
        for path, method, format in [
                ("/stream", "POST", "text"), ("/stream", "GET", "text"), ("/openai-chat", None, None)]:
            page.select_option("#route", route(page, path))
            if method:
                page.select_option("#method", method)
                page.select_option("#format", format)
            page.fill("#prompt", NASTY)
            page.click("#copy")
            until(lambda: shown(page, "snippet-hint") == "Copied.", what="it is copied")
            copied = page.evaluate("navigator.clipboard.readText()")
            assert copied == shown(page, "snippet") and f":{proxy.port}/" in copied, copied
            ran = subprocess.run(["sh", "-c", copied], capture_output=True, timeout=PATIENCE)
            assert ran.returncode == 0, (copied, ran.stderr)
            if format:
                assert ran.stdout.decode() == TEXT, (copied, ran.stdout)
            said = json.loads(peer.requests[-1].partition(b"\r\n\r\n")[2])["messages"][-1]["content"]
            assert said == NASTY, (copied, said)
        # The quoting of any word, judged by a shell.
        dice = random.Random(7)
        alphabet = "'\"\\$`!*?~#&;|<>() \n\tax🚀"
        words = ["", "'", "''", "\\'", "-n", *("".join(dice.choices(alphabet, k=12)) for _ in range(60))]
        quoted = page.evaluate("async words => { const {shellQuote} = await import('/_sluice/snippets.js');"
                               " return words.map(shellQuote); }", words)
        ran = subprocess.run(["sh", "-c", "printf '%s\\0' " + " ".join(quoted)], capture_output=True, check=True)
        assert ran.stdout.decode().split("\0")[:-1] == words

        # In a page of its own, from where clients are: the snippet is run as it stands.
        other = page.context.new_page()
        other.goto(f"http://127.0.0.1:{proxy.port}/")
        page.select_option("#route", route(page, "/stream"))
        page.fill("#prompt", NASTY)
        for language, method, format in [
                ("fetch", "POST", "text"), ("fetch", "GET", "ndjson"), ("events", "GET", "sse-text"),
                ("events", "GET", "sse-json"), ("events", "GET", "openai-chat")]:
            page.select_option("#method", method)
            page.select_option("#format", format)
            page.select_option("#language", language)
            heard = other.evaluate(RUN, shown(page, "snippet"))
            got = heard[-1] if language == "events" else own_text(format, "".join(heard))
            assert got == TEXT, (language, format, heard)
            said = json.loads(peer.requests[-1].partition(b"\r\n\r\n")[2])["messages"][-1]["content"]
            assert said == NASTY, (language, said)
        page.select_option("#method", "POST")
        assert "GET" in shown(page, "snippet-hint") and page.is_disabled("#copy")
        check_frames(page)


def check_frames(page):
    """They are the same however the network cuts them."""
    wires = {
        "events": ["id: 1\ndata: a\n\n", ": ping\n\n", "event: done\r\ndata: {\"done\":true}\r\n\r\n", "data: [DONE]\n\n"],
        "lines": ['{"text":"a\\n"}\n', '{"done":true}\n'],
    }
    for framing, frames in wires.items():
        cut = page.evaluate("""async ([framing, wire]) => {
            const {FrameCutter} = await import('/_sluice/formats.js');
            const all = new Set();
            for (let first = 0; first <= wire.length; first++) {
                for (let second = first; second <= wire.length; second++) {
                    const cutter = new FrameCutter(framing);
                    const parts = [wire.slice(0, first), wire.slice(first, second), wire.slice(second)];
                    all.add(JSON.stringify([...parts.flatMap(part => cutter.push(part)), ...cutter.finish()]));
                }
            }
            return [...all].map(each => JSON.parse(each));
        }""", [framing, "".join(frames)])
        assert cut == [frames], (framing, cut)
    meanings = [
        ("data: [DONE]\n\n", "events", "sse-text", {"text": "[DONE]"}),
        ("data: [DONE]\n\n", "events", "openai-chat", {"end": True}),
        ("data:  a\ndata:\n\n", "events", "sse-text", {"text": " a\n"}), (": x\n\n", "events", "sse-text", {}),
        ("retry: 1000\nid: g/0\n\n", "events", "sse-json", {}),
        ("data: {\"text\":\"a\",\"choice\":1}\n\n", "events", "sse-json", {}),
        ("{\"a\":1}", "pieces", "passthrough", {"text": "{\"a\":1}"}),
        ("{\"error\":\"no\"}", "pieces", "passthrough", {"error": "no"}),
        ("0:\"a\"\n", "lines", "vercel-data", {"text": "a"}), ("3:\"no\"\n", "lines", "vercel-data", {"error": "no"}),
        ("null\n", "lines", "ndjson", {}), ("not json\n", "lines", "ndjson", {}),
        ("data: 7\n\n", "events", "openai-chat", {}),
    ]
    for frame, framing, format, wanted in meanings:
        said = page.evaluate("async all => (await import('/_sluice/formats.js')).meaning(...all)", [frame, framing, format])
        assert said == wanted, (frame, format, said)


def own_text(format, body):
    return body if format == "text" else "".join(json.loads(line).get("text", "") for line in body.splitlines())


# Runs a snippet, and returns what it writes; of one that listens to events, `text` when it closes.
RUN = """code => new Promise((resolve, reject) => {
    const heard = [], console = {log: text => heard.push(text), error: text => reject(Error(text))};
    let closed;
    const over = new Promise(done => closed = done);
    class Watched extends EventSource { close() { super.close(); closed(); } }
    const listens = code.includes('new EventSource');
    const Body = Object.getPrototypeOf(async () => {}).constructor;
    const whole = code + (listens ? ';await over; console.log(text)' : '');
    new Body('console', 'EventSource', 'over', whole)(console, Watched, over).then(() => resolve(heard), reject);
})"""


def test_the_live_view_shows_a_stream_and_cancels_it():
    gone = threading.Event()

    def script(connection, request):
        if b"quick" in request:
            return stream(connection)
        connection.sendall(HEAD)
        if b"flood" in request:
            for _ in range(400):
                connection.sendall(chunk(event({"content": "x" * 60000})))
            return None
        for token in ("one", " two", " three"):
            connection.sendall(chunk(event({"content": token})))
        wait_closed(connection, PATIENCE)
        gone.set()
        return "close"

    def flood(port):
        connection = connect(port)
        connection.sendall(request_bytes("/text", {**CHAT, "messages": [{"role": "user", "content": "flood"}]}))
        return connection

    with Peer(script) as peer, Sluice(admitted(peer.url, workers=2)) as proxy, browser() as page:
        visit(page, admin_port(proxy), "live")
        assert page.is_visible("#streams-empty")
        client = connect(proxy.port)
        client.sendall(request_bytes(
            "/sse-json", {**CHAT, "model": "gpt-x"}, headers=["X-Request-Id: req-42", "Connection: close"]))
        cells = lambda: dict(page.eval_on_selector_all(
            "#streams tbody td", "all => all.map(cell => [cell.dataset.label, cell.textContent])"))
        until(lambda: cells().get("Tokens") == "3", PATIENCE, "the stream is listed with its tokens")
        seen = cells()
        assert {name: seen[name] for name in ("Route", "Upstream", "Format", "Model", "Client", "Request", "State")} == {
            "Route": "/sse-json", "Upstream": "u", "Format": "sse-json", "Model": "gpt-x", "Client": "127.0.0.1",
            "Request": "req-42", "State": "streaming"}, seen
        assert seen["First token"].endswith(" ms") and seen["Age"].endswith(" s") and seen["Sent"].endswith(" B"), seen
        assert shown(page, "live-count") == "1" and shown(page, "live-streams") == "1"
        until(lambda: page.locator("#routes tbody tr").count() == 1, what="its route is listed")
        button = page.get_by_role("button", name="Cancel stream")
        assert button.get_attribute("aria-label").endswith("on /sse-json")
        button.click()
        assert gone.wait(PATIENCE), "the upstream goes on"
        assert b"cancelled by the operator" in drain(client)
        until(lambda: page.is_visible("#streams-empty"), PATIENCE, "the stream leaves the list")
        assert "is cancelled" in shown(page, "cancel-status")
        until(lambda: page.eval_on_selector("#routes tbody td[data-label=Errors]", "cell => cell.textContent") == "1",
              PATIENCE, "it counts as one that failed")
        # Who reads nothing keeps a provider waiting, and is marked.
        slow = flood(proxy.port)
        until(lambda: page.locator("#streams tr.slow").count() == 1, PATIENCE, "the slow reader is marked")
        assert "slow client" in cells()["State"] and cells()["Buffered"].endswith("KiB"), cells()
        slow.close()
        # A stream that ended whole stands in both histograms.
        assert fetch(proxy.port, "/text", {**CHAT, "model": "quick"}).status == 200
        for name in ("first", "gaps"):
            until(lambda: page.locator(f"#{name}-bars rect").count() > 1, PATIENCE, f"the bars of {name} are drawn")
            assert " within " in shown(page, name + "-note"), shown(page, name + "-note")


def test_the_token_is_asked_for_and_kept_by_the_tab():
    def statuses(port, *paths, headers=()):
        return [ask(port, path, headers=headers).status for path in paths]

    files = ["/_sluice/", "/_sluice/page.js", "/_sluice/page.css", "/_sluice/icon.svg"]
    calls = ["/_sluice/api/routes", "/_sluice/api/live"]
    admin = {"address": "127.0.0.1:0", "token": "s3cret-token"}
    with Peer(lambda connection, _: stream(connection)) as peer, Sluice(config(peer.url, admin=admin)) as proxy, \
            browser() as page:
        port = admin_port(proxy)
        assert statuses(port, *files) == [200] * 4 and statuses(port, *calls) == [401, 401]
        right = ["Authorization: Bearer s3cret-token"]
        assert statuses(port, *calls, headers=right) == [200, 200]
        # A page from elsewhere gets nothing, even with the token; nor does ours get what operators' tools ask for.
        own = [f"Origin: http://127.0.0.1:{port}", "Sec-Fetch-Site: same-origin"]
        ours = f"127.0.0.1:{port}"
        assert ask(port, calls[0], headers=right + own, host=ours).status == 200
        assert ask(port, "/config", headers=right + own, host=ours).status == 403
        for fields in (["Origin: http://evil.example"], ["Origin: null"], ["Sec-Fetch-Site: cross-site"],
                       ["Sec-Fetch-Site: same-site"], [own[0], "Sec-Fetch-Site: cross-site"]):
            assert ask(port, calls[1], headers=right + fields, host=ours).status == 403, fields
            assert ask(port, "/_sluice/api/call", "POST", headers=right + fields, host=ours).status == 403, fields
        page.goto(f"http://127.0.0.1:{port}/_sluice/")
        page.wait_for_selector("#token", state="visible")
        assert page.evaluate("document.activeElement.id") == "token" and not page.is_visible("#play")
        page.fill("#token", "wrong")
        page.keyboard.press("Enter")
        until(lambda: "refused" in shown(page, "problem"), what="the wrong token is refused")
        page.fill("#token", "s3cret-token")
        page.keyboard.press("Enter")
        page.wait_for_selector("#play", state="visible")
        assert page.evaluate("document.activeElement.id") == "main"
        send(page, "hi", route=route(page, "/text"))
        assert ended(page) == "done" and shown(page, "answer") == TEXT
        assert page.evaluate("[localStorage.length, document.cookie, Object.values(sessionStorage)]") == [
            0, "", ["s3cret-token"]]
        assert "s3cret" not in page.content()
        page.reload()
        page.wait_for_selector("#play", state="visible")


def test_what_others_write_is_text_and_nothing_else():
    hostile = "<img src=x onerror=\"window.hacked=1\"><script>window.hacked=1</script>"
    name = "/<img/src=x/onerror=window.hacked=1>"

    def script(connection, request):
        connection.sendall(HEAD + chunk(event({"content": hostile})))
        if b"hold" in request:
            wait_closed(connection, PATIENCE)
            return "close"
        error = b'data: {"error":{"message":"<img src=x onerror=window.hacked=1>"}}\n\n'
        connection.sendall(chunk(error) + b"0\r\n\r\n")

    settings = admitted("")
    with Peer(script) as peer:
        settings["upstreams"]["u"]["url"] = peer.url
        settings["routes"].append({"path": name, "host": "h.example", "request": "prompt", "response": "sse-json",
                                   "upstream": "u", "model": "<i>m</i>"})
        with Sluice(settings) as proxy, browser() as page:
            visit(page, admin_port(proxy))
            page.select_option("#route", route(page, "h.example" + name))
            send(page, hostile)
            assert ended(page) == "failed" and shown(page, "answer") == hostile, shown(page, "failure")
            assert shown(page, "failure").startswith("<img src=x"), shown(page, "failure")
            assert hostile in shown(page, "snippet") or "\\\"window" in shown(page, "snippet")
            client = connect(proxy.port)
            body = {**CHAT, "model": "<img src=x>", "messages": [{"role": "user", "content": "hold"}]}
            client.sendall(request_bytes("/sse-json", body, headers=["X-Request-Id: <svg/onload=window.hacked=1>"]))
            page.click("#to-live")
            until(lambda: "<svg/onload" in page.text_content("#streams"), PATIENCE, "the stream is listed")
            until(lambda: name in page.text_content("#routes"), PATIENCE, "the route is listed")
            made = page.evaluate("[window.hacked, document.querySelectorAll('main :is(img, script, b, i)').length]")
            assert made == [None, 0], made
            client.close()


def test_the_demo_serves_its_page_where_clients_are():
    with demo() as (port, lines), browser() as page:
        visit(page, port, host="localhost")
        send(page, "Show me a table", format="vercel-ui")
        assert ended(page) == "done" and "| text | text/plain | yes |" in shown(page, "answer")
        assert int(shown(page, "tokens")) > 50 and float(shown(page, "rate")) > 1
        held = connect(port)
        held.sendall(request_bytes("/stream?prompt=hi&format=sse-json"))
        page.click("#to-live")
        until(lambda: page.locator("#streams tbody tr").count() == 1, PATIENCE, "the stream is listed")
        page.get_by_role("button", name="Cancel stream").click()
        until(lambda: b"cancelled by the operator" in held.recv(65536), PATIENCE, "the client is told")
        # Others than this machine, or a name that leads here, may look and not touch.
        for fields, host in [([], "rebound.example"), (["X-Forwarded-For: 192.0.2.1"], "localhost")]:
            reply = ask(port, "/_sluice/api/streams/0-1/cancel", "POST", fields, host=host)
            assert reply.status == 403, reply.raw
            assert json.loads(ask(port, "/_sluice/api/routes", headers=fields, host=host).body)["may_cancel"] is False
        assert ask(port, "/_sluice/api/live", headers=["Sec-Fetch-Site: cross-site"]).status == 403
        for path in ("/_sluice/api/call", "/_sluice/api/nothing", "/_sluice/nothing", "/metrics", "/config"):
            assert ask(port, path, "POST" if "call" in path else "GET").status == 404, path
        # What the page asks is no traffic.
        until(lambda: any(line.get("end") == "cancelled" for line in lines), what="the log has the cancelled stream")
        assert not [line for line in lines if "_sluice" in str(line.get("path"))]

    with Peer(lambda connection, _: stream(connection)) as peer, Sluice(config(peer.url)) as proxy:
        assert fetch(proxy.port, "/_sluice/").status == 404, "with a configuration there is no page where clients are"


def test_the_keyboard_is_enough():
    gone = threading.Event()

    def script(connection, request):
        connection.sendall(HEAD + chunk(event({"content": "half"})))
        if b"quick" in request:
            return connection.sendall(chunk(event({}, "stop") + b"data: [DONE]\n\n") + b"0\r\n\r\n")
        wait_closed(connection, PATIENCE)
        gone.set()
        return "close"

    with Peer(script) as peer, Sluice(admitted(peer.url)) as proxy, browser() as page:
        page.goto(f"http://127.0.0.1:{admin_port(proxy)}/_sluice/")
        page.wait_for_selector("#play", state="visible")
        order = []

        def tab_to(name, limit=40):
            for _ in range(limit):
                page.keyboard.press("Tab")
                focus, outline = page.evaluate(
                    "[document.activeElement.id || document.activeElement.className || document.activeElement.localName,"
                    " getComputedStyle(document.activeElement).outlineStyle]")
                order.append(focus)
                assert outline != "none", f"the focus on {focus} cannot be seen"
                if focus == name:
                    return
            raise AssertionError(f"no way to {name}: {order}")

        tab_to("skip")
        tab_to("route")
        page.keyboard.type("/stream")
        assert page.input_value("#route") == route(page, "/stream")
        tab_to("prompt")
        page.keyboard.press("Control+A")
        page.keyboard.type("quick")
        page.keyboard.press("Control+Enter")
        assert ended(page) == "done" and shown(page, "answer") == "half"
        page.keyboard.press("Control+A")
        page.keyboard.type("hold")
        page.keyboard.press("Control+Enter")
        until(lambda: shown(page, "answer") == "half" and shown(page, "state") == "streaming", PATIENCE, "it streams")
        page.keyboard.press("Escape")
        assert ended(page) == "stopped" and gone.wait(PATIENCE)
        for name in ("body", "send", "answer", "frames-box", "language", "copy", "snippet"):
            if name == "body":
                page.keyboard.press("Tab")
                page.keyboard.press("Enter")
            tab_to(name)
        gone.clear()
        client = connect(proxy.port)
        client.sendall(request_bytes("/text", CHAT))
        page.keyboard.press("Control+Home")
        page.evaluate("document.getElementById('to-live').focus()")
        page.keyboard.press("Enter")
        page.wait_for_selector("#streams button")
        tab_to("small")
        page.keyboard.press("Enter")
        assert gone.wait(PATIENCE), "the stream is not cancelled by the keyboard"
        until(lambda: page.is_visible("#streams-empty"), PATIENCE, "the stream leaves the list")
        assert page.evaluate("document.activeElement !== document.body"), "the focus is lost with its row"
        client.close()


# What a reader with low sight, or with a screen reader, stumbles over. Returns complaints.
CHECKS = """() => {
    const bad = [], visible = each => each.checkVisibility({visibilityProperty: true, opacityProperty: true});
    const rgb = text => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
    const ground = each => {
        for (; each; each = each.parentElement) {
            const color = rgb(getComputedStyle(each).backgroundColor);
            if (color.length < 4 || color[3] > 0) return color;
        }
        return [255, 255, 255];
    };
    for (const each of document.body.querySelectorAll('*')) {
        const own = [...each.childNodes].some(node => node.nodeType === 3 && node.data.trim());
        if (!visible(each) || each.disabled || (!own && !each.matches('input, select, textarea'))) continue;
        const style = getComputedStyle(each), ink = each.closest('svg') ? style.fill : style.color;
        const [a, b] = [light(rgb(ink)), light(ground(each))].sort((x, y) => y - x);
        const ratio = (a + .05) / (b + .05);
        if (ratio < 4.5) bad.push(`contrast ${ratio.toFixed(2)}: ${each.outerHTML.slice(0, 80)}`);
        if (parseFloat(style.fontSize) < 10.5) bad.push(`${style.fontSize}: ${each.outerHTML.slice(0, 80)}`);
    }
    for (const each of document.querySelectorAll('input, select, textarea')) {
        if (!each.labels.length) bad.push('no label: ' + each.id);
    }
    for (const each of document.querySelectorAll('button, a')) {
        if (!(each.ariaLabel || each.textContent).trim()) bad.push('no name: ' + each.outerHTML);
    }
    for (const each of document.querySelectorAll('table')) {
        if (!each.querySelector('thead th[scope=col]')) bad.push('no headers: ' + each.id);
    }
    for (const each of document.querySelectorAll('img')) if (!each.hasAttribute('alt')) bad.push('no alt');
    for (const each of document.querySelectorAll('[aria-labelledby], [aria-describedby]')) {
        const name = each.getAttribute('aria-labelledby') ?? each.getAttribute('aria-describedby');
        if (!document.getElementById(name)) bad.push('names what is not there: ' + name);
    }
    if (document.documentElement.scrollWidth > innerWidth) bad.push('wider than the window');
    const ids = [...document.querySelectorAll('[id]')].map(each => each.id);
    if (new Set(ids).size !== ids.length) bad.push('an id twice');
    if (!document.documentElement.lang || document.querySelectorAll('h1').length !== 1) bad.push('no language or title');
    if (document.getElementById('answer').ariaLive !== 'polite') bad.push('the answer is not announced');
    return bad;
}"""


def test_it_can_be_read_by_day_by_night_and_on_a_phone():
    release = threading.Event()

    def script(connection, request):
        if b"hold" not in request:
            return stream(connection)
        connection.sendall(HEAD + chunk(event({"content": "x" * 300})))
        release.wait(10 * PATIENCE)
        return "close"

    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with Peer(script) as peer, Sluice(admitted(peer.url)) as proxy, browser() as page:
        client = connect(proxy.port)
        body = {**CHAT, "model": "a-model-with-a-rather-long-name/" + "x" * 60,
                "messages": [{"role": "user", "content": "hold"}]}
        client.sendall(request_bytes("/sse-json", body, headers=["X-Request-Id: " + "r" * 128]))
        visit(page, admin_port(proxy))
        page.click("summary")
        send(page, "w" * 300, route=route(page, "/stream"), format="ndjson")
        assert ended(page) == "done"
        for scheme, width in [("light", 1360), ("dark", 1360), ("light", 360), ("dark", 360), ("light", 820)]:
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            page.set_viewport_size({"width": width, "height": 800})
            ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (sum(map(int, ground[4:-1].split(","))) < 200) == (scheme == "dark"), ground
            found = page.evaluate(CHECKS)
            page.screenshot(path=SCREENSHOTS / f"play-{scheme}-{width}.png", full_page=True)
            page.click("#to-live")
            until(lambda: page.locator("#streams tbody tr").count() == 1, PATIENCE, "the stream is listed")
            until(lambda: page.locator("#first-bars rect").count() > 1, PATIENCE, "bars are drawn")
            found += page.evaluate(CHECKS)
            page.screenshot(path=SCREENSHOTS / f"live-{scheme}-{width}.png", full_page=True)
            page.click("#to-play")
            page.wait_for_selector("#play", state="visible")
            assert not found, (scheme, width, found)
        release.set()
        client.close()


def test_the_files_come_with_a_strict_policy():
    with Peer(lambda connection, _: stream(connection)) as peer, Sluice(admitted(peer.url)) as proxy:
        port = admin_port(proxy)
        page = ask(port, "/_sluice/")
        policy = page.headers["content-security-policy"]
        for part in ("default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"):
            assert part in policy, policy
        assert "unsafe" not in policy and page.headers["x-content-type-options"] == "nosniff"
        assert b"style=" not in page.body and b"onclick" not in page.body and b"//" not in page.body.replace(b"</", b"")
        again = ask(port, "/_sluice/", headers=["If-None-Match: " + page.headers["etag"]])
        assert (again.status, again.body, page.headers["cache-control"]) == (304, b"", "no-cache")
        moved = ask(port, "/_sluice")
        assert (moved.status, moved.headers["location"]) == (308, "/_sluice/")
        assert ask(port, "/_sluice/", host="rebound.example").status == 403
        # The relay is a way to the routes of this process, and to nothing else.
        def call(**wanted):
            connection = connect(port)
            connection.sendall(request_bytes("/_sluice/api/call", wanted, headers=["Connection: close"]))
            return drain(connection)
        elsewhere = call(method="POST", target=f"http://127.0.0.1:{peer.port}/v1/x", headers={}, body="{}")
        assert elsewhere.startswith(b"HTTP/1.1 400 "), elsewhere
        assert b'"status":404' in call(method="GET", target="//127.0.0.1/", headers={}, host=f"127.0.0.1:{peer.port}")
        smuggled = call(method="GET", target="/stream?prompt=x HTTP/1.1\r\nX-Evil: 1\r\n\r\n", headers={
            "Accept": "text/plain\r\nX-Evil: 1", "X-Forwarded-For": "192.0.2.9", "Cookie": "a=b"})
        assert b'"status":200' in smuggled and b"text/plain" in smuggled, smuggled
        assert len(peer.requests) == 1, peer.requests
        assert b"\r\nX-Evil" not in peer.requests[0].partition(b"\r\n\r\n")[0], peer.requests
        large = request_bytes("/_sluice/api/call", b"x" * ((1 << 20) + 1), "POST")
        connection = connect(port)
        with contextlib.suppress(ConnectionError):
            connection.sendall(large)
        assert b" 413 " in drain(connection)[:40]
        assert set(line["client"] for line in proxy.exchanges()) == {"127.0.0.1"}
