"""Compressed answers in Chromium: the same tokens as soon as without, and fewer bytes on the wire."""

import collections
import time

from browser_world import PROTOCOLS, begin, finish, post, query, send, until, world
from readers import read

CODINGS = {"off": None, "gzip": "gzip", "br": "br"}
FORMATS = ("text", "openai-chat", "vercel-ui")
SENTENCE = "the quick brown fox jumps over one lazy dog and tells of it in a line"
TOKENS = [f"{' ' if number % 9 else chr(10)}{word}{number}." for number, word in enumerate(SENTENCE.split() * 2)]
TEXT = "".join(TOKENS)


def routes():
    made = [{"path": f"/{coding}/{format}", "request": "prompt", "response": format, "compress": coding}
            for coding in CODINGS for format in FORMATS]
    events = [{"path": f"/{coding}/events", "methods": ["GET"], "request": "prompt", "response": "sse-json", "compress": coding}
              for coding in ("gzip", "br")]
    return made + events


def lockstep(here):
    def script(connection, name):
        begin(connection)
        for token in TOKENS:
            send(connection, token)
            # What the page does not have yet would never come.
            if not here.model.wait_report(name, token.strip()):
                return "close"
        return finish(connection)

    return script


def test_compressed_tokens_are_read_before_the_next_is_sent():
    wire, took = collections.defaultdict(dict), collections.defaultdict(float)
    with world(routes()) as here:
        here.model.scripts["lockstep"] = lockstep(here)
        for protocol in PROTOCOLS:
            tab = here.own_tab(protocol)
            for format in FORMATS:
                for coding, named in CODINGS.items():
                    name = f"{protocol} {coding} {format}"
                    began = time.monotonic()
                    seen = tab.call("readReporting", f"/{coding}/{format}?{protocol}", name, post(name + "#lockstep"))
                    took[coding] += time.monotonic() - began
                    assert (seen["status"], seen["error"]) == (200, None), (name, seen)
                    assert seen["fields"].get("content-encoding") == named, (name, seen["fields"])
                    answer = read(format, seen["text"].encode())
                    assert (answer.text, answer.complete) == (TEXT, True), (name, answer)
                    assert seen["chunks"] >= len(TOKENS) and here.model.calls[f"{name}#lockstep"] == 1, (name, seen)
                    assert seen["timing"]["body"] == len(seen["text"].encode()), (name, seen["timing"])
                    wire[f"{protocol} {format}"][coding] = seen["timing"]["wire"]
    count = len(TOKENS) * len(FORMATS) * len(PROTOCOLS)
    print(f"  {len(TOKENS)} tokens, none sent before the page had reported the last; ms a token, page's report included: "
          + ", ".join(f"{coding} {1000 * took[coding] / count:.1f}" for coding in CODINGS))
    print(f"  {'body bytes on the wire':<24}" + "".join(f"{coding:>8}" for coding in CODINGS))
    for name, sizes in wire.items():
        print(f"  {name:<24}" + "".join(f"{sizes[coding]:>8}" for coding in CODINGS))
        # A flush for each token costs bytes of its own, so that bare text gains nothing.
        assert name.endswith("text") or max(sizes["gzip"], sizes["br"]) < sizes["off"] / 2, (name, sizes)


def test_a_compressed_event_source_hears_each_token_before_the_next_is_sent():
    with world(routes()) as here:
        here.model.scripts["lockstep"] = lockstep(here)
        for protocol in PROTOCOLS:
            tab = here.own_tab(protocol)
            for coding in ("gzip", "br"):
                name = f"{protocol} {coding} events"
                url = f"/{coding}/events" + query(prompt=f"{name}#lockstep")
                tab.call("listen", url, name, {"kind": "json", "reports": True, "closes": True})
                seen = tab.wait_heard(name, lambda seen: seen["done"], "the end")
                assert (seen["text"], seen["events"], seen["error"]) == (TEXT, TOKENS, None), (name, seen)


def test_an_abort_of_a_compressed_answer_stops_the_provider():
    with world(routes()) as here:
        def silent(connection, name):
            begin(connection)
            send(connection, TOKENS[0])
            return here.model.wait_left(connection, name)

        here.model.scripts["silent"] = silent
        for protocol in PROTOCOLS:
            tab = here.own_tab(protocol)
            for coding in CODINGS:
                name = f"{protocol} {coding}"
                seen = tab.call("leave", f"/{coding}/vercel-ui", f"{name}#silent")
                assert (seen["status"], seen["error"]) == (200, "AbortError"), (name, seen)
                here.model.wait_for(lambda: name in here.model.left, f"{name}: the provider hears of the abort")
        until(lambda: len([line for line in here.exchanges() if line["end"] == "client_gone"]) == 2 * len(CODINGS),
              what="a line in the log for each")
