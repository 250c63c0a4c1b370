"""Pages in Chromium that cannot set a field: keys in cookies, for the pages that may use them; conversations in a query."""

import json
import tempfile

from browser_world import PROTOCOLS, TEXT, TOKENS, begin, finish, post, query, send, until, world
from test_access import CANARY, keys_file, line

COOKIE = "__Host-key"


def routes(folder):
    auth = {"api_keys": {"file": keys_file(folder, [line("alice", CANARY)])}, "cookie": COOKIE}

    def made(here):
        own = {"request": "prompt", "auth": auth}
        allowed = {**own, "cors": {"origins": here.origins, "credentials": True}}
        return [{"path": "/closed", "response": "text", **own}, {"path": "/allowed", "response": "text", **allowed},
                {"path": "/closed-events", "methods": ["GET"], "response": "sse-text", **own},
                {"path": "/allowed-events", "methods": ["GET"], "response": "sse-text", **allowed}]

    return made


def at_once(connection, name):
    begin(connection)
    send(connection, *TOKENS)
    return finish(connection)


def signed_in(here, protocol):
    """The program's own page, which has been given the cookie by whoever is behind it."""
    site = here.sites["h1"]
    site.fields = f"Set-Cookie: {COOKIE}={CANARY}; Secure; HttpOnly; SameSite=Strict; Path=/\r\n"
    tab = here.own_tab(protocol)
    site.fields = ""
    return tab


def check(here, tab, base, kind, name):
    """Both ways to read with the cookie."""
    seen = tab.call("read", f"{base}/{kind}", post(f"{name} fetch#at once", credentials="include"))
    assert (seen["text"], seen["error"]) == (TEXT, None), (name, seen)
    key = f"{name} events"
    url = f"{base}/{kind}-events" + query(prompt=f"{key}#at once")
    tab.call("listen", url, key, {"closes": True, "withCredentials": True})
    seen = tab.wait_heard(key, lambda seen: seen["done"], "the end")
    assert (seen["text"], seen["error"], seen["breaks"]) == (TEXT, None, 0), (name, seen)


def test_a_cookie_lets_in_the_pages_that_may_use_it():
    with tempfile.TemporaryDirectory() as folder, world(routes(folder)) as here:
        here.model.scripts["at once"] = at_once
        for protocol in PROTOCOLS:
            own, base = signed_in(here, protocol), here.base(protocol)
            for kind in ("closed", "allowed"):
                check(here, own, base, kind, f"{protocol} own {kind}")
            foreign = own.beside(here.sites[protocol].url)
            check(here, foreign, base, "allowed", f"{protocol} foreign")
            stranger = here.own_tab(protocol)
            seen = stranger.call("read", "/closed", post(f"{protocol} stranger#at once"))
            assert seen["status"] == 401, seen
            asked = here.model.calls.total()
            assert asked == 6 * (1 + PROTOCOLS.index(protocol)), here.model.calls
            # What any page can make a browser send, with the cookie and without asking first.
            plain = {"credentials": "include", "mode": "no-cors"}
            for url, init in ((f"{base}/closed", {"method": "POST", "body": "forged#at once"}),
                              (f"{base}/closed" + query(prompt="forged#at once"), {"method": "GET"})):
                seen = foreign.call("read", url, {**plain, **init})
                # All that such a page may know: that there was an answer.
                assert (seen.get("status"), seen["text"]) == (0, ""), seen
            refused = 2 * (1 + PROTOCOLS.index(protocol))
            statuses = lambda: [line["status"] for line in here.exchanges("/closed")]
            until(lambda: statuses().count(403) == refused, what="403 for each of them")
            assert here.model.calls.total() == asked, "a page that may not has made the provider work"
        keys = {line.get("key") for line in here.exchanges() if line["status"] == 200 and line.get("upstream") == "model"}
        assert keys == {"alice"}, keys


def test_an_event_source_asks_with_a_whole_conversation():
    conversation = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Zürich & Köln?"},
                    {"role": "assistant", "content": "Cities.\n"}]
    with world([{"path": "/events", "methods": ["GET"], "request": "prompt", "response": "sse-json"}]) as here:
        here.model.scripts["at once"] = at_once
        for protocol in PROTOCOLS:
            tab = here.own_tab(protocol)
            messages = [*conversation, {"role": "user", "content": f"{protocol}#at once"}]
            url = "/events" + query(messages=json.dumps(messages))
            tab.call("listen", url, protocol, {"kind": "json", "closes": True})
            seen = tab.wait_heard(protocol, lambda seen: seen["done"], "the end")
            assert (seen["text"], seen["error"]) == (TEXT, None), seen
            assert here.model.bodies[f"{protocol}#at once"]["messages"] == messages, here.model.bodies
