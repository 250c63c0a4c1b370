"""Pages of other origins in Chromium: what they may send, read and know, and what of it reaches the provider."""

import collections

from browser_world import PROTOCOLS, TEXT, TOKENS, begin, finish, post, query, relayed, send, until, world
from readers import read
from retry_world import status

COOKIE = "session=abc"


def routes(here):
    known = {"origins": here.origins}
    cookies = {"cors": {**known, "credentials": True}, "forward_credentials": True}
    ask = {"request": "prompt", "response": "text"}
    # Whose cookies can go on to the provider, where they can be seen.
    relay = {"request": "passthrough", "response": "passthrough"}
    strangers = {"cors": {"origins": ["https://app.example.com"]}}
    return [
        {"path": "/known", **ask, "cors": known},
        {"path": "/cookies", **relay, **cookies},
        {"path": "/anybody", **relay, "cors": {"origins": ["*"]}, "forward_credentials": True},
        {"path": "/others", **ask, **strangers},
        {"path": "/none", **ask},
        {"path": "/others-events", "methods": ["GET"], "request": "prompt", "response": "sse-text", **strangers},
    ]


def preflights(here, path):
    return [line["status"] for line in here.exchanges(path) if line["method"] == "OPTIONS"]


def test_a_page_of_another_origin_reads_each_token_and_the_exposed_fields():
    with world(routes) as here:
        for protocol in PROTOCOLS:
            tab, base = here.foreign_tab(protocol), here.base(protocol)
            seen = tab.call("readReporting", base + "/known", protocol, post(protocol))
            assert (seen["text"], seen["chunks"], seen["error"]) == (TEXT, len(TOKENS), None), seen
            # Fields that CORS does not let a page see are not in what it has of the answer.
            assert seen["fields"].keys() >= {"content-type", "x-request-id"}, seen
            assert not seen["fields"].keys() & {"x-accel-buffering", "vary", "date"}, seen
            assert here.model.calls[protocol] == 1, here.model.calls
        until(lambda: len(preflights(here, "/known")) == 2, what="a line in the log for each preflight")
        assert preflights(here, "/known") == [204, 204], preflights(here, "/known")


def test_a_page_of_another_origin_is_told_when_to_come_again():
    with world(routes) as here:
        def busy(connection, name):
            connection.sendall(status(429, b'{"error":{"message":"busy"}}', b"application/json", b"Retry-After: 7"))

        here.model.scripts["busy"] = busy
        for protocol in PROTOCOLS:
            tab = here.foreign_tab(protocol)
            seen = tab.call("read", here.base(protocol) + "/known", post(protocol + "#busy"))
            assert (seen["status"], seen["fields"].get("retry-after"), seen["error"]) == (429, "7", None), seen
            assert "x-request-id" in seen["fields"], seen


def test_cookies_come_along_where_the_route_and_the_page_say_so():
    counts = collections.Counter()
    with world(routes) as here:
        here.model.scripts["at once"] = at_once
        for protocol in PROTOCOLS:
            tab, base = here.foreign_tab(protocol), here.base(protocol)
            tab.add_cookie(base, *COOKIE.split("="))
            for path, mode, error, cookie in (
                    ("/cookies", "include", None, True), ("/cookies", "omit", None, False),
                    # `*` is no answer to a request with cookies: the browser does not even send it.
                    ("/anybody", "include", "TypeError", None), ("/anybody", "same-origin", None, False)):
                name = f"{protocol} {path} {mode}#at once"
                seen = tab.call("read", base + path, relayed(name, credentials=mode))
                text = None if error else read("openai-chat", seen["text"].encode()).text
                assert (seen["error"], text) == (error, None if error else TEXT), (name, seen)
                assert here.model.calls[name] == (0 if error else 1), (name, here.model.calls)
                if not error:
                    assert (COOKIE.encode() in here.model.requests[name]) == cookie, (name, here.model.requests[name])
                counts["refused" if error else "with cookies" if cookie else "without"] += 1
    print(f"  {dict(counts)}")


def test_a_page_of_an_origin_that_is_not_allowed_gets_nothing():
    with world(routes) as here:
        here.model.scripts["at once"] = at_once
        for protocol in PROTOCOLS:
            tab, base = here.foreign_tab(protocol), here.base(protocol)
            for path in ("/others", "/none"):
                name = f"{protocol} {path}#at once"
                seen = tab.call("read", base + path, post(name))
                assert (seen["error"], seen["text"]) == ("TypeError", ""), (name, seen)
                # The browser asked, was told nothing, and sent nothing.
                assert here.model.calls[name] == 0, (name, here.model.calls)
            name = f"{protocol} events#at once"
            tab.call("listen", base + "/others-events" + query(prompt=name), name)
            seen = tab.wait_heard(name, lambda seen: seen["state"] == 2, "the EventSource gives up")
            assert (seen["text"], seen["opens"], seen["breaks"]) == ("", 0, 1), seen


def test_an_event_source_of_another_origin_comes_with_cookies_if_it_says_so():
    with world(routes) as here:
        def stay(connection, name):
            begin(connection)
            send(connection, *TOKENS)
            return here.model.wait_left(connection, name)

        here.model.scripts["stay"] = stay
        for protocol in PROTOCOLS:
            tab, base = here.foreign_tab(protocol), here.base(protocol)
            tab.add_cookie(base, *COOKIE.split("="))
            for with_cookies in (True, False):
                name = f"{protocol} {with_cookies}#stay"
                tab.call("listen", base + "/cookies" + query(prompt=name), name, {"withCredentials": with_cookies})
                seen = tab.wait_heard(name, lambda seen: "fifth" in seen["text"], "all tokens")
                assert (seen["opens"], seen["breaks"]) == (1, 0), seen
                assert (COOKIE.encode() in here.model.requests[name]) == with_cookies, here.model.requests[name]
                assert here.model.calls[name] == 1, here.model.calls


def at_once(connection, name):
    begin(connection)
    send(connection, *TOKENS)
    finish(connection)
