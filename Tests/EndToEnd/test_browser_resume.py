"""EventSource in Chromium over a network that breaks: each token once and in order, the provider asked once, and then quiet."""

import collections
import itertools
import time

from browser_world import PATIENCE, PROTOCOLS, begin, finish, query, send, until, world

TOKENS = [f"{number}{', ' if number % 10 else ';' + chr(10)}" for number in range(60)]
TEXT = "".join(TOKENS)
HALF = 30
PACE = 0.03
# How long the browser is told to wait before it asks again.
RETRY = 1.0
RESUME = {"buffer": "1MiB", "ttl": "60s", "grace": "30s", "store": "memory"}
# How the page reads each; those of providers have ids, but no word on when to come again: the browser waits 3 s then.
KINDS = {"sse-text": "text", "sse-json": "json", "vercel-ui": "ui", "openai-chat": "openai"}


def names():
    """Protocol, how the network breaks, after how many bytes (of an event's head, inside of one, several), framing, how often."""
    own = itertools.cycle(["sse-text", "sse-json", "vercel-ui"])
    for protocol in PROTOCOLS:
        # Those of FIN are compressed: however much comes in one run, more than 60 bytes of it are left.
        for how, several in (("RST", 150), ("FIN", 60)):
            yield from ((protocol, how, count, next(own), 2) for count in (1, 45, several))
        yield protocol, "RST", 45, "openai-chat", 1


def event_route(here, path, framing, **more):
    return {"path": path, "methods": ["GET"], "request": "prompt", "response": framing,
            "cors": {"origins": here.origins}, "resume": RESUME, **more}


def routes(here):
    """Those of FIN compressed: positions are those of the answer, not of what is on the wire."""
    for case in names():
        coding = {("FIN", "h1"): "gzip", ("FIN", "h2"): "br"}.get((case[1], case[0]), "off")
        yield event_route(here, "/events/" + "-".join(map(str, case)), case[3], compress=coding)


class Case:
    """One EventSource whose network breaks."""

    def __init__(self, here, tab, case):
        self.here, self.tab = here, tab
        self.protocol, self.how, self.count, framing, self.cuts = case
        self.name = "-".join(map(str, case))
        self.relay, base = here.relay_to(here.base(self.protocol))
        url = base + "/events/" + self.name + query(prompt=f"{self.name}#halves")
        tab.call("listen", url, self.name, {"kind": KINDS[framing]})

    def requests(self):
        return [line["status"] for line in self.here.exchanges("/events/" + self.name)]

    def codings(self):
        """Of the answers that had a body."""
        lines = self.here.exchanges("/events/" + self.name)
        return [line.get("compressed") for line in lines if line["status"] == 200]


def halves(here):
    """Sends on whoever reads; but the second half only when the test says so."""
    def script(connection, name):
        begin(connection)
        for number, token in enumerate(TOKENS):
            if number == HALF and not here.model.wait_report(name, "go on"):
                return "close"
            send(connection, token)
            time.sleep(PACE)
        return finish(connection)

    return script


def wait_events(cases, count, act):
    """Acts on each case as soon as its page has heard so many events."""
    waiting, end = set(cases), time.monotonic() + PATIENCE
    while waiting:
        assert time.monotonic() < end, [case.tab.heard(case.name) for case in waiting]
        counts = cases[0].tab.evaluate("Object.fromEntries(Object.entries(heard).map(([k, v]) => [k, v.events.length]))")
        for case in [case for case in waiting if counts[case.name] >= count]:
            act(case)
            waiting.remove(case)
        time.sleep(0.005)


def test_an_event_source_gets_each_token_once_whatever_breaks():
    def first_cut(case):
        case.relay.cut_after(case.count, case.how)

    def second_cut(case):
        if case.cuts == 2:
            case.relay.cut_after(case.count, case.how)
        here.model.report(case.name, "go on")

    with world(routes) as here:
        here.model.scripts["halves"] = halves(here)
        tab = here.foreign_tab("h1")
        cases = [Case(here, tab, case) for case in names()]
        wait_events(cases, 3, first_cut)
        wait_events(cases, HALF, second_cut)
        for case in cases:
            # The answer to the question that follows the end closes the source for good.
            tab.wait_heard(case.name, lambda seen: seen["state"] == 2, "the browser gives up")
        time.sleep(3 * RETRY)
        for case in cases:
            check_once(here, case)
        faults = collections.Counter(line.rpartition(" ")[2] for line in tab.console if "net::" in line)
        connections, cuts = (sum(counts) for counts in zip(*((case.relay.connections, case.relay.cuts) for case in cases)))
    print(f"  {len(cases)} EventSources, cut {cuts} times: {len(TOKENS)} tokens each once, provider asked once,"
          f" {connections} connections, the last answer a 204, and silence for {3 * RETRY:.0f} s;"
          f" the browser's words: {dict(faults)}")


def check_once(here, case):
    seen = case.tab.heard(case.name)
    assert (seen["text"], seen["events"]) == (TEXT, TOKENS), (case.name, seen)
    assert (seen["done"], seen["error"], seen["opens"]) == (1, None, 1 + case.cuts), (case.name, seen)
    assert here.model.calls[f"{case.name}#halves"] == 1, (case.name, here.model.calls)
    positions = [int(each.rpartition("/")[2]) for each in seen["ids"]]
    assert positions == sorted(set(positions)), (case.name, positions)
    assert len({each.rpartition("/")[0] for each in seen["ids"]}) == 1, (case.name, seen["ids"])
    assert case.relay.cuts == case.cuts, (case.name, case.relay.cuts)
    wanted = None if case.how == "RST" else {"h1": "gzip", "h2": "br"}[case.protocol]
    until(lambda: case.requests() == [200] * (1 + case.cuts) + [204], 10, f"{case.name}: {case.requests()}")
    assert case.codings() == [wanted] * (1 + case.cuts), (case.name, case.codings())


def test_an_event_source_whose_program_was_started_anew_hears_an_error_once():
    path = "/events/restarted"
    with world(lambda here: [event_route(here, path, "sse-json")]) as here:
        here.model.scripts["halves"] = halves(here)
        tab = here.foreign_tab("h1")
        relays = {}
        for protocol in PROTOCOLS:
            relays[protocol], base = here.relay_to(here.base(protocol))
            tab.call("listen", base + path + query(prompt=f"{protocol}#halves"), protocol, {"kind": "json"})
            tab.wait_heard(protocol, lambda seen: len(seen["events"]) >= 5, "tokens")
        other = here.another()
        here.proxy.stop()
        for protocol, port in zip(PROTOCOLS, other.ports()):
            relays[protocol].target = port
        for protocol in PROTOCOLS:
            seen = tab.wait_heard(protocol, lambda seen: seen["state"] == 2, "the browser gives up")
            assert TEXT.startswith(seen["text"]) and not seen["done"] and seen["error"]["message"], seen
            assert here.model.calls[f"{protocol}#halves"] == 1, here.model.calls
            print(f"  {protocol}: {seen['error']}")
        lines = [line["status"] for line in other.exchanges() if line["path"] == path]
        assert sorted(lines) == [200, 200, 204, 204], lines
