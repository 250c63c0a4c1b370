"""Chromium over TLS and HTTP/2: a page that comes through the program itself reads every framing as a user interface does."""

import base64
import contextlib
import hashlib
import subprocess
import threading
import urllib.parse

from playwright.sync_api import sync_playwright

from harness import until, wait_closed
from http2_peer import PATIENCE
from scenarios.client import read_stream
from scenarios.framings import KINDS, TEXT, TOKENS, check_whole
from scenarios.peer import Peer, chunk, stream
from scenarios.world import FORMATS
from test_http2_clients import TELLS, clients

UPSTREAMS = ("h1", "h2")
# Over HTTP/1.1 a browser has six at a time to one host.
STREAMS = 20

PAGE = """<!doctype html><title>Sluice</title><link rel="icon" href="data:,"><script>
performance.setResourceTimingBufferSize(10000);

// What a stream was until it ended or failed. The next chunk is read when `onChunk` is through with the one before.
async function read(path, key, onChunk = () => {}, signal = undefined) {
    const seen = {text: '', chunks: 0, error: null};
    const url = path + '?' + encodeURIComponent(key);
    try {
        const response = await fetch(url, {
            method: 'POST', headers: {'Content-Type': 'application/json'}, signal,
            body: JSON.stringify({model: 'm', stream: true, messages: [{role: 'user', content: key}]})});
        [seen.status, seen.kind] = [response.status, response.headers.get('content-type')];
        const reader = response.body.getReader(), decoder = new TextDecoder();
        for (let part; !(part = await reader.read()).done;) {
            seen.text += decoder.decode(part.value, {stream: true});
            seen.chunks += 1;
            await onChunk();
        }
        seen.timing = await timing(url);
    } catch (error) {
        seen.error = error.name;
    }
    return seen;
}

const report = key => fetch('/site/report?' + encodeURIComponent(key));
const readReporting = (path, key) => read(path, key, () => report(key));
const readMany = (path, count) => Promise.all([...Array(count).keys()].map(n => read(path, n + '#together')));

// The browser notes a request's times a little after its end.
async function timing(url) {
    for (;;) {
        const entry = performance.getEntriesByName(new URL(url, location).href).at(-1);
        if (entry) return {protocol: entry.nextHopProtocol, connecting: entry.connectEnd - entry.connectStart};
        await new Promise(next => setTimeout(next, 2));
    }
}

// Leaves a stream after its first chunk, while another goes on beside it.
async function leave(path) {
    const control = new AbortController();
    const begin = (key, signal) => {
        const stream = {};
        stream.begun = new Promise(resolve => stream.over = read(path, key, resolve, signal));
        return stream;
    };
    const [left, other] = [begin('left#leave', control.signal), begin('other#stay')];
    await Promise.all([left.begun, other.begun]);
    control.abort();
    return {left: await left.over, other: await other.over};
}

// What an EventSource hears until it is told of the end, or of a failure.
const listen = (path, key) => new Promise(resolve => {
    const seen = {text: '', events: 0};
    const source = new EventSource(path + '?prompt=' + encodeURIComponent(key));
    const close = end => { source.close(); resolve({...seen, end}); };
    source.addEventListener('done', () => close('done'));
    source.addEventListener('error', event => close(event.data === undefined ? 'no connection' : 'error'));
    source.onmessage = event => {
        const value = path.endsWith('json') ? JSON.parse(event.data) : {text: event.data};
        if (value.done || value.error) return close(value.done ? 'done' : 'error');
        seen.text += value.text;
        seen.events += 1;
        report(key);
    };
});
</script>"""


class Browser:
    """A page in headless Chromium, what serves it, and what it reads from."""

    def __init__(self, world, page):
        self.world, self.page = world, page

    def call(self, function, *arguments):
        return self.page.evaluate(f"arguments => {function}(...arguments)", list(arguments))

    def connections(self):
        """How many the program has open on its TLS port."""
        port = urllib.parse.urlsplit(self.world.secure).port
        with open("/proc/net/tcp") as file:
            rows = [line.split() for line in file][1:]
        return sum(row[1].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


def key_hash(certificate):
    """By which Chromium is told to trust a certificate: base64 of the SHA-256 of its public key."""
    def openssl(*arguments, given=None):
        return subprocess.run(["openssl", *arguments], input=given, capture_output=True, check=True).stdout

    key = openssl("pkey", "-pubin", "-outform", "der", given=openssl("x509", "-in", certificate, "-pubkey", "-noout"))
    return base64.b64encode(hashlib.sha256(key).digest()).decode()


@contextlib.contextmanager
def browser():
    holder = []

    def serve(exchange):
        path, _, query = exchange.target.partition("?")
        if path.endswith("/report"):
            holder[0].gate(urllib.parse.unquote(query).partition("#")[0]).release()
            exchange.document(200, b"thanks", "text/plain")
        else:
            exchange.document(200, PAGE.encode(), "text/html; charset=utf-8")

    site = Peer()
    routes = [{"path": "/site/*", "request": "passthrough", "response": "passthrough", "upstream": "site"}]
    routes += [{"path": f"/events/{upstream}/{framing}", "request": "prompt", "response": framing, "upstream": upstream}
               for upstream in UPSTREAMS for framing in ("sse-text", "sse-json")]
    with site.plays(serve), clients({"site": {"url": site.url, "dialect": "raw"}}, routes) as world, \
            sync_playwright() as playwright:
        holder.append(world)
        trusted = key_hash(world.made.path("server.crt"))
        chromium = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--ignore-certificate-errors-spki-list=" + trusted])
        page = chromium.new_page()
        page.goto(world.secure + "/site/page")
        assert page.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol") == "h2"
        yield Browser(world, page)
        chromium.close()


def test_fetch_reads_each_token_before_the_next_is_sent():
    chunks = {}
    with browser() as here:
        for upstream in UPSTREAMS:
            for framing in FORMATS:
                key = f"{upstream} {framing}"
                seen = here.call("readReporting", f"/{upstream}/{framing}", key)
                assert (seen["status"], seen["kind"], seen["error"]) == (200, KINDS[framing], None), (key, seen)
                assert seen["timing"] == {"protocol": "h2", "connecting": 0}, (key, seen)
                assert seen["chunks"] >= len(TOKENS), (key, seen)
                check_whole(framing, seen["text"].encode())
                chunks[key] = seen["chunks"]
    fewest, most = min(chunks.values()), max(chunks.values())
    print(f"  chunks read for {len(TOKENS)} tokens: {fewest} to {most} in {len(chunks)} streams, all h2")


def test_a_broken_stream_makes_the_reader_fail():
    with browser() as here:
        for upstream in UPSTREAMS:
            for framing in FORMATS:
                key = f"{upstream} {framing}"
                seen = here.call("readReporting", f"/{upstream}/{framing}", f"{key}#cut")
                text, end = read_stream(framing, seen["text"].encode())
                # A fetch that fails may take with it what its reader had not got yet.
                whole = "".join(TOKENS[:2])
                assert text == whole if framing in TELLS else whole.startswith(text), (key, seen)
                assert seen["status"] == 200, (key, seen)
                assert (seen["error"], end) == ((None, "error") if framing in TELLS else ("TypeError", None)), (key, seen)


def test_twenty_streams_at_a_time_share_a_connection():
    with browser() as here:
        for upstream in UPSTREAMS:
            counts = []
            # Nobody gets on until all are there.
            gate = threading.Barrier(STREAMS, action=lambda: counts.append(here.connections()))

            def together(answer):
                answer.head()
                answer.data(chunk({"content": TOKENS[0]}))
                with contextlib.suppress(threading.BrokenBarrierError):
                    gate.wait(PATIENCE)
                for event in stream(TOKENS[1:])[1:]:
                    answer.data(event)
                answer.end()

            here.world.scripts["together"] = together
            answers = here.call("readMany", f"/{upstream}/text", STREAMS)
            assert counts == [1], f"{upstream}: connections when {STREAMS} streams were open: {counts or 'they never were'}"
            for seen in answers:
                assert (seen["text"], seen["error"]) == (TEXT, None), (upstream, seen)
                assert seen["timing"] == {"protocol": "h2", "connecting": 0}, (upstream, seen)
            print(f"  {STREAMS} streams open at a time, upstream {upstream}: connections {counts[0]}")


def test_an_abort_reaches_the_upstream_and_no_other_stream():
    with browser() as here:
        for upstream in UPSTREAMS:
            gone = threading.Event()

            def leave(answer):
                answer.head()
                answer.data(chunk({"content": TOKENS[0]}))
                answer.wait_left() if upstream == "h2" else wait_closed(answer.connection)
                gone.set()

            def stay(answer):
                answer.head()
                answer.data(chunk({"content": TOKENS[0]}))
                assert gone.wait(PATIENCE), "the abort does not reach the upstream"
                for event in stream(TOKENS[1:])[1:]:
                    answer.data(event)
                answer.end()

            here.world.scripts |= {"leave": leave, "stay": stay}
            for framing in FORMATS:
                gone.clear()
                seen = here.call("leave", f"/{upstream}/{framing}")
                assert seen["left"]["error"] == "AbortError", (upstream, framing, seen)
                other = seen["other"]
                assert other["error"] is None and read_stream(framing, other["text"].encode())[0] == TEXT, (framing, other)
            ends = lambda: [each["end"] for each in here.world.proxy.exchanges() if each["upstream"] == upstream]
            until(lambda: ends().count("client_gone") == len(FORMATS), what="a line in the log for each that left")


def test_event_source_hears_each_token_before_the_next_is_sent():
    with browser() as here:
        for upstream in UPSTREAMS:
            for framing in ("sse-text", "sse-json"):
                seen = here.call("listen", f"/events/{upstream}/{framing}", f"{upstream} {framing}")
                assert seen == {"text": TEXT, "events": len(TOKENS), "end": "done"}, (upstream, framing, seen)


def test_event_source_hears_of_a_failure():
    with browser() as here:
        for upstream in UPSTREAMS:
            for framing in ("sse-text", "sse-json"):
                seen = here.call("listen", f"/events/{upstream}/{framing}", f"{upstream} {framing}#cut")
                assert seen == {"text": "".join(TOKENS[:2]), "events": 2, "end": "error"}, (upstream, framing, seen)
