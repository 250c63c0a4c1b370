"""Chromium reads every format as it comes, by fetch and over both protocols, and stops its provider by leaving."""

import time

from browser_world import PROTOCOLS, TEXT, TOKENS, begin, post, relayed, send, world
from readers import READERS, read

# Relayed as it comes: the formats' readers know it by what it is.
FORMATS = [*READERS, "passthrough"]


def routes():
    made = [{"path": f"/{name}", "request": "prompt", "response": name} for name in READERS]
    return [*made, {"path": "/passthrough", "request": "passthrough", "response": "passthrough"}]


def request(framing, asked):
    """What the page's fetch is told, where it is not its usual prompt."""
    return [relayed(asked)] if framing == "passthrough" else []


def test_each_token_is_read_before_the_next_is_sent():
    chunks = {}
    with world(routes()) as here:
        for protocol in PROTOCOLS:
            tab = here.own_tab(protocol)
            for framing in FORMATS:
                key = f"{protocol} {framing}"
                seen = tab.call("readReporting", f"/{framing}?{protocol}", key, *request(framing, key))
                assert (seen["status"], seen["error"]) == (200, None), (key, seen)
                assert seen["timing"]["protocol"] == {"h1": "http/1.1", "h2": "h2"}[protocol], (key, seen)
                answer = read("openai-chat" if framing == "passthrough" else framing, seen["text"].encode())
                assert (answer.text, answer.complete, answer.error) == (TEXT, True, None), (key, answer)
                assert seen["chunks"] >= len(TOKENS), (key, seen)
                assert here.model.calls[key] == 1, (key, here.model.calls)
                chunks[key] = seen["chunks"]
        print(f"  {len(FORMATS)} formats x {len(PROTOCOLS)} protocols: {len(TOKENS)} tokens in {min(chunks.values())} to"
              f" {max(chunks.values())} reads, none sent before the last was reported")


def silent(here):
    """One token, and then nothing by which anybody could find out that the other side is gone."""
    def script(connection, name):
        begin(connection)
        send(connection, TOKENS[0])
        return here.model.wait_left(connection, name)

    return script


def test_an_abort_stops_the_provider():
    times = {}
    with world(routes()) as here:
        here.model.scripts["silent"] = silent(here)
        # The page tells the time by the machine's clock, the provider by the monotonic one.
        offset = time.time() - time.monotonic()
        for protocol in PROTOCOLS:
            tab = here.own_tab(protocol)
            for framing in FORMATS:
                key = f"{protocol} {framing}"
                given = request(framing, key + "#silent")
                seen = tab.call("leave", f"/{framing}?{protocol}", key + "#silent", *given)
                assert (seen["status"], seen["error"]) == (200, "AbortError"), (key, seen)
                here.model.wait_for(lambda: key in here.model.left, f"{key}: the provider hears of the abort")
                times[key] = (here.model.left[key] + offset) * 1000 - seen["at"]
        ends = [line["end"] for line in here.exchanges() if line["upstream"] == "model"]
    ordered = sorted(times.values())
    print(f"  {len(times)} aborts, from the page's abort() to the provider: median {ordered[len(ordered) // 2]:.1f} ms, at most"
          f" {ordered[-1]:.1f} ms; ends in the log: {set(ends)}")


def test_a_page_that_goes_stops_the_provider():
    with world(routes()) as here:
        here.model.scripts["silent"] = silent(here)
        for protocol in PROTOCOLS:
            for way in ("close", "reload"):
                tab, key = here.own_tab(protocol), f"{protocol} {way}"
                tab.begin("readReporting", "/text", key, post(key + "#silent"))
                here.model.wait_for(lambda: here.model.reported[key], f"{key}: the first token is read")
                getattr(tab, way)()
                here.model.wait_for(lambda: key in here.model.left, f"{key}: the provider hears of it")
