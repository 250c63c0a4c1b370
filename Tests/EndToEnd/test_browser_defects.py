"""What goes wrong between EventSource and the server of tutorials, counted in Chromium; and what the same page counts with Sluice.

The page is the tutorials' too: it never closes its EventSource. The provider is the same script for all.
"""

import time

from browser_world import PATIENCE, PROTOCOLS, begin, finish, query, send, until, world
from naive_server import naive_server
from retry_world import status

TOKENS = ["first", " second", " third", " fourth"]
TEXT = "".join(TOKENS)
LINES = ["Title", "\n\n", "- one\n", "- two\n", "```py\n", "x = 1\n", "```", "\n\nend\n"]
MARKDOWN = "".join(LINES)
# What the naive server is watched for: Chromium asks again 3 s after a stream has ended or failed.
RUNS = 3
EVENT_SOURCES, PER_HOST = 8, 6
# Milliseconds for a request that a browser does not even send.
WAIT = 500


def routes(here):
    return [{"path": "/answer", "methods": ["GET"], "request": "prompt", "response": "sse-text",
             "cors": {"origins": here.origins}, "resume": {"store": "memory"}}]


class Case:
    """What the provider does, and the page's EventSource for it on one kind of server."""

    def __init__(self, here, side, base, script, tab):
        self.here, self.script, self.tab = here, script, tab
        self.key = f"{side}: {script}"
        self.asked = f"{self.key}#{script}"
        self.relay = None
        if script == "lose":
            self.relay, base = here.relay_to(base)
            here.lost[self.key] = self.relay
        tab.call("listen", base + "/answer" + query(prompt=self.asked), self.key, {"reports": True})

    @property
    def runs(self):
        return self.here.model.calls[self.asked]

    @property
    def seen(self):
        return self.tab.heard(self.key)

    def newlines(self):
        return f"{self.seen['text'].count(chr(10))} of {MARKDOWN.count(chr(10))}"

    def copies(self):
        return self.seen["text"].count(TOKENS[0])


def scripts(here):
    model = here.model

    def tell(connection, name, tokens=TOKENS):
        begin(connection)
        send(connection, *tokens)
        return finish(connection)

    def busy(connection, name):
        connection.sendall(status(429, b'{"error":{"message":"busy"}}', b"application/json", b"Retry-After: 30"))

    def drop(connection, name):
        begin(connection)
        send(connection, *TOKENS[:2])
        # Not before they are read, each time: what a reader has not taken a failure may take from it.
        asked = model.calls[f"{name}#drop"]
        with model.news:
            model.news.wait_for(lambda: model.reported[name].count(TOKENS[1]) >= asked, PATIENCE)
        return "close"

    def lose(connection, name):
        """The browser's network fails after the second token; the provider goes on."""
        begin(connection)
        send(connection, *TOKENS[:2])
        if model.wait_report(name, "second") and (relay := here.lost.pop(name, None)):
            relay.cut_now("RST")
        send(connection, *TOKENS[2:])
        return finish(connection)

    return {"tell": tell, "busy": busy, "drop": drop, "lose": lose,
            "lines": lambda connection, name: tell(connection, name, LINES)}


def test_what_a_naive_server_does_wrong_and_sluice_does_not():
    with world(routes) as here, naive_server(here.model.url) as naive:
        here.lost = {}
        here.model.scripts = scripts(here)
        tab = here.foreign_tab("h1")
        bases = {"naive": naive, **{p: here.base(p) for p in PROTOCOLS}}
        began = time.monotonic()
        cases = {side: {script: Case(here, side, base, script, tab) for script in here.model.scripts}
                 for side, base in bases.items()}
        until(lambda: min(case.runs for case in cases["naive"].values()) >= RUNS, 60, "the naive server runs again and again")
        # The others have had as long.
        seconds = time.monotonic() - began
        wait_quiet(cases)
        rows = [(what, [column(cases[side]) for side in bases]) for what, column in COLUMNS.items()]
        for side in PROTOCOLS:
            check_sluice(cases[side])
    print_table(rows, f"one EventSource each, {seconds:.0f} s")
    naive_column = {what: columns[0] for what, columns in rows}
    assert naive_column["newlines shown"].startswith("0 of"), rows
    assert all(value >= RUNS - 1 for value in naive_column.values() if isinstance(value, int)), rows


COLUMNS = {
    "answer ended: provider asked": lambda cases: cases["tell"].runs,
    "answer ended: copies shown": lambda cases: cases["tell"].copies(),
    "provider says 429: provider asked": lambda cases: cases["busy"].runs,
    "provider breaks off: provider asked": lambda cases: cases["drop"].runs,
    "provider breaks off: copies shown": lambda cases: cases["drop"].copies(),
    "network breaks: provider asked": lambda cases: cases["lose"].runs,
    "network breaks: copies shown": lambda cases: cases["lose"].copies(),
    "newlines shown": lambda cases: cases["lines"].newlines(),
}


def wait_quiet(cases):
    """Sluice tells a browser that there is nothing more, and then it never asks again."""
    for side in PROTOCOLS:
        for case in cases[side].values():
            case.tab.wait_heard(case.key, lambda seen: seen["state"] == 2, "the browser has given up")


def check_sluice(cases):
    for script, case in cases.items():
        seen = case.seen
        assert case.runs == 1, (case.key, case.runs, seen)
        if script == "busy":
            assert (seen["text"], seen["opens"], seen["breaks"]) == ("", 0, 1), seen
        elif script == "drop":
            assert seen["text"] == "".join(TOKENS[:2]) and seen["error"]["message"] and not seen["done"], seen
        else:
            text = MARKDOWN if script == "lines" else TEXT
            assert (seen["text"], seen["done"], seen["error"]) == (text, 1, None), seen


def test_eight_event_sources_at_a_time():
    counts = {}
    with world(routes) as here, naive_server(here.model.url) as naive:
        def stay(connection, name):
            begin(connection)
            send(connection, TOKENS[0])
            return here.model.wait_left(connection, name)

        here.model.scripts |= {"stay": stay, "tell": scripts(here)["tell"]}
        tab = here.foreign_tab("h1")
        bases = {"naive": naive, **{p: here.base(p) for p in PROTOCOLS}}
        for side, base in bases.items():
            names = [f"{side} {number}" for number in range(EVENT_SOURCES)]
            for name in names:
                tab.call("listen", base + "/answer" + query(prompt=f"{name}#stay"), name)
            count = lambda names=names: sum(tab.heard(name)["opens"] for name in names)
            wanted = EVENT_SOURCES if side == "h2" else PER_HOST
            until(lambda: count() >= wanted, 30, f"{side}: {wanted} EventSources are open")
            counts[side] = count
        # Whatever else the page wants of that origin waits too.
        fetches = {side: tab.call("readWithin", base + "/answer" + query(prompt=f"{side}#tell"), WAIT if side != "h2" else 30_000)
                   for side, base in bases.items()}
        counts = {side: count() for side, count in counts.items()}
        # A browser's own limit for HTTP/1.1, over which no server has a say: it has not even asked for the others.
        asked = {side: sum(name.startswith(side) for name in here.model.calls if name.endswith("stay")) for side in counts}
    words = {side: seen["error"] or seen["status"] for side, seen in fetches.items()}
    print_table([(f"open of {EVENT_SOURCES} EventSources", list(counts.values())),
                 (f"a fetch beside them, within {WAIT / 1000:.1f} s", list(words.values()))], "streams that stay")
    assert words == {"naive": "TimeoutError", "h1": "TimeoutError", "h2": 200}, fetches
    assert counts == asked == {"naive": PER_HOST, "h1": PER_HOST, "h2": EVENT_SOURCES}, (counts, asked)


def print_table(rows, title):
    print(f"  {title:<38}  naive, HTTP/1.1  Sluice, HTTP/1.1  Sluice, HTTP/2")
    for what, columns in rows:
        print(f"  {what:<38}" + "".join(f"  {value!s:>{width}}" for value, width in zip(columns, (15, 16, 14))))
