"""EventSource in Chromium over a network that breaks: each token once and in order, the provider asked once, and then quiet."""

import itertools
import time

from browser_world import PROTOCOLS, begin, close_chromium, finish, query, send, until, world

tear_down = close_chromium
TOKENS = [f"{number}{', ' if number % 10 else ';' + chr(10)}" for number in range(80)]
TEXT = "".join(TOKENS)
PACE = 0.03
# How the browser is told to wait before it asks again.
RETRY = 1.0
KINDS = {"sse-text": "text", "sse-json": "json", "openai-chat": "openai"}


def case_names():
    """Protocol, how the network breaks, after how many bytes: in a head of an event, inside of one, behind several."""
    kinds = itertools.cycle(KINDS)
    for protocol, how, count in itertools.product(PROTOCOLS, ("RST", "FIN"), (1, 45, 300)):
        yield protocol, how, count, next(kinds)


def routes(here):
    resume = {"buffer": "1MiB", "ttl": "60s", "grace": "30s", "store": "memory"}
    return [{"path": f"/events/{'-'.join(map(str, case))}", "methods": ["GET"], "request": "prompt", "response": case[3],
             "cors": {"origins": here.origins}, "resume": resume} for case in case_names()]


class Case:
    """One EventSource whose network breaks twice."""

    def __init__(self, here, tab, case):
        self.here, self.tab = here, tab
        self.protocol, self.how, self.count, framing = case
        self.name = "-".join(map(str, case))
        self.relay, base = here.relay_to(here.base(self.protocol))
        self.url = base + "/events/" + self.name + query(prompt=f"{self.name}#paced")
        tab.call("listen", self.url, self.name, {"kind": KINDS[framing]})

    def requests(self):
        return [line["status"] for line in self.here.exchanges("/events/" + self.name)]


def paced(connection, name):
    begin(connection)
    for token in TOKENS:
        send(connection, token)
        time.sleep(PACE)
    return finish(connection)


def test_an_event_source_gets_each_token_once_whatever_breaks():
    with world(routes) as here:
        here.model.scripts["paced"] = paced
        tab = here.foreign_tab("h1")
        cases = [Case(here, tab, case) for case in case_names()]
        # Long before the end, and again after the first return.
        for cuts, events in ((1, 5), (2, 45)):
            waiting = set(cases)
            while waiting:
                counts = tab.evaluate("Object.fromEntries(Object.entries(heard).map(([k, v]) => [k, v.events.length]))")
                for case in [case for case in waiting if counts[case.name] >= events and case.relay.cuts == cuts - 1]:
                    case.relay.cut_after(case.count, case.how)
                    waiting.remove(case)
                time.sleep(0.005)
            until(lambda: all(case.relay.cuts == cuts for case in cases), 30, "the network breaks")
        for case in cases:
            # The answer to the question that follows the end closes the source for good.
            tab.wait_heard(case.name, lambda seen: seen["state"] == 2, "the browser gives up")
        time.sleep(3 * RETRY)
        for case in cases:
            check_once(here, case)
        reused = sum(case.relay.connections for case in cases)
    print(f"  {len(cases)} EventSources, each cut twice: {len(TOKENS)} tokens each once, provider asked once,"
          f" {reused} connections; no request within {3 * RETRY:.0f} s of the 204")


def check_once(here, case):
    seen = case.tab.heard(case.name)
    assert (seen["text"], seen["events"]) == (TEXT, TOKENS), (case.name, seen)
    assert (seen["done"], seen["error"], seen["opens"]) == (1, None, 3), (case.name, seen)
    assert here.model.calls[f"{case.name}#paced"] == 1, (case.name, here.model.calls)
    positions = [int(each.rpartition("/")[2]) for each in seen["ids"]]
    assert positions == sorted(set(positions)), (case.name, positions)
    assert len({each.rpartition("/")[0] for each in seen["ids"]}) == 1, (case.name, seen["ids"])
    until(lambda: case.requests() == [200, 200, 200, 204], 10, f"{case.name}: {case.requests()}")


def test_an_event_source_whose_program_was_started_anew_hears_an_error_once():
    path = "/events/restarted"
    with world(lambda here: [{"path": path, "methods": ["GET"], "request": "prompt", "response": "sse-json",
                              "cors": {"origins": here.origins}, "resume": {"store": "memory"}}]) as here:
        here.model.scripts["paced"] = paced
        tab = here.foreign_tab("h1")
        relays = {}
        for protocol in PROTOCOLS:
            relays[protocol], base = here.relay_to(here.base(protocol))
            tab.call("listen", base + path + query(prompt=f"{protocol}#paced"), protocol, {"kind": "json"})
            tab.wait_heard(protocol, lambda seen: len(seen["events"]) >= 5, "tokens")
        other = here.another()
        here.proxy.stop()
        for protocol, port in zip(PROTOCOLS, other.ports()):
            relays[protocol].target = port
        for protocol in PROTOCOLS:
            seen = tab.wait_heard(protocol, lambda seen: seen["state"] == 2, "the browser gives up")
            assert TEXT.startswith(seen["text"]) and not seen["done"] and seen["error"]["message"], seen
            assert here.model.calls[f"{protocol}#paced"] == 1, here.model.calls
            print(f"  {protocol}: {seen['error']}")
        lines = [line["status"] for line in other.exchanges() if line["path"] == path]
        assert sorted(lines) == [200, 200, 204, 204], lines
