"""Pages that cannot set a field: keys in cookies, which count only for pages that may use them; and conversations in a query."""

import hashlib
import hmac
import json
import tempfile
import time
import urllib.parse

from harness import CHAT, TOKENS, Peer, Sluice, config, fetch, stream, until
from http2_peer import connect_http2
from test_access import CANARY, keys_file, line, said, token

ASK = "/stream?prompt=hi"
COOKIE = "__Host-key"
PAGE = "https://app.example.com"
REFUSED = b"the cookie counts only for pages of this origin"


def guarded(peer, folder, **changes):
    path = keys_file(folder, [line("alice", CANARY), line("bob", "slc_bob")])
    values = config(peer.url, auth={"api_keys": {"file": path, "names": ["alice"]}, "cookie": COOKIE},
                    cors={"origins": [PAGE], "credentials": True}, **changes)
    values["routes"][-1]["forward_credentials"] = True
    return values


def ask(proxy, second, fields, path=ASK):
    """The same over both protocols; returns status, fields and body of each."""
    fields = dict({"Cookie": f"theme=dark; {COOKIE}={CANARY}; lang=en"}, **fields)
    reply = fetch(proxy.port, path, headers=[f"{name}: {value}" for name, value in fields.items()])
    answer = second.fetch(path, fields=[(name.lower(), value) for name, value in fields.items()])
    assert (reply.status, reply.body) == (answer.status, bytes(answer.body)), (reply.raw, answer.fields, answer.body)
    return reply


def test_cookies_let_in_whom_they_should():
    with tempfile.TemporaryDirectory() as folder, Peer(lambda c, r: stream(c)) as peer:
        with Sluice(guarded(peer, folder)) as proxy, connect_http2(proxy.port) as second:
            for fields in (
                {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "cross-site", "Origin": PAGE}, {"Origin": PAGE},
                {"Sec-Fetch-Site": "cross-site", "Cookie": "x=1", "Authorization": f"Bearer {CANARY}"},
            ):
                reply = ask(proxy, second, fields)
                assert reply.status == 200 and reply.body.decode() == "".join(TOKENS), (fields, reply.raw)
                assert reply.headers["vary"] == "Origin", reply.headers
                is_foreign = "Origin" in fields
                assert reply.headers.get("access-control-allow-origin") == (PAGE if is_foreign else None), reply.headers
                assert reply.headers.get("access-control-allow-credentials") == ("true" if is_foreign else None), reply.headers
                if is_foreign:
                    exposed = reply.headers["access-control-expose-headers"].split(", ")
                    assert {"X-Request-Id", "X-Stream-Id"} <= set(exposed), exposed
            asked = len(peer.requests)
            # Whoever says nothing of his page, a link, a picture, a page that is not allowed.
            for fields in (
                {}, {"Sec-Fetch-Site": "none"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
                {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
                {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site", "Origin": PAGE + ".evil.example"},
            ):
                reply = ask(proxy, second, fields)
                assert reply.status == 403 and REFUSED in reply.body, (fields, reply.raw)
                assert "access-control-allow-origin" not in reply.headers, reply.headers
            # Before 2020 browsers said nothing but the origin.
            reply = fetch(proxy.port, ASK, headers=["Origin: http://localhost", f"Cookie: {COOKIE}={CANARY}"])
            assert reply.status == 200, reply.raw
            # A wrong key is nobody's, and somebody else's is not allowed, wherever they stand.
            reply = ask(proxy, second, {"Sec-Fetch-Site": "same-origin", "Cookie": f"{COOKIE}=slc_wrong"})
            assert reply.status == 401 and "www-authenticate" in reply.headers, reply.raw
            reply = ask(proxy, second, {"Sec-Fetch-Site": "same-origin", "Cookie": f"{COOKIE}=slc_bob"})
            assert reply.status == 403 and b"not allowed here" in reply.body, reply.raw
            assert len(peer.requests) == asked + 1, "the provider was asked for somebody who may not"
            until(lambda: len(proxy.exchanges()) >= 29, what="the log")
            entries = proxy.exchanges()
            assert {entry.get("key") for entry in entries if entry["status"] == 200} == {"alice"}, entries
            log = json.dumps(proxy.log) + proxy.errors.decode()
            assert CANARY not in log and "slc_bob" not in log and "theme=dark" not in log, log
            assert all(CANARY.encode() not in request and b"theme" not in request for request in peer.requests)


def test_cookies_with_tokens():
    """What a login service sets; and on routes that the body chooses."""
    secret = "a-secret-of-more-than-thirty-two-bytes"
    made = token(lambda message: hmac.new(secret.encode(), message, hashlib.sha256).digest(),
                 {"sub": "user-1", "exp": int(time.time()) + 600}, alg="HS256")
    with Peer(lambda c, r: stream(c)) as peer:
        values = config(peer.url, auth={"jwt": {"algorithms": "HS256", "secret": secret}, "cookie": "session"})
        values["routes"].insert(0, {"path": "/text", "request": "openai-chat", "response": "ndjson", "upstream": "u",
                                    "when": {"body.model": "other"}})
        with Sluice(values) as proxy:
            for path, body in ((ASK, None), ("/text", CHAT)):
                for site, status in (("same-origin", 200), ("cross-site", 403)):
                    reply = fetch(proxy.port, path, body, headers=[f"Cookie: session={made}", f"Sec-Fetch-Site: {site}"])
                    assert reply.status == status and (status == 200 or REFUSED in reply.body), reply.raw
                    reply = fetch(proxy.port, path, body, headers=[f"Cookie: session={made[:-2]}", f"Sec-Fetch-Site: {site}"])
                    assert reply.status == 401, reply.raw
            until(lambda: len(proxy.exchanges()) == 8, what="the log")
            assert {entry["key"] for entry in proxy.exchanges() if entry["status"] == 200} == {"user-1"}, proxy.exchanges()
            assert made not in json.dumps(proxy.log) and not any(made.encode() in request for request in peer.requests)


def test_cookies_and_preflights():
    with tempfile.TemporaryDirectory() as folder, Peer(lambda c, r: stream(c)) as peer:
        with Sluice(guarded(peer, folder)) as proxy:
            for origin, status in ((PAGE, 204), ("https://evil.example", 403)):
                reply = fetch(proxy.port, "/stream", method="OPTIONS", headers=[
                    f"Origin: {origin}", "Access-Control-Request-Method: POST",
                    "Access-Control-Request-Headers: content-type, last-event-id"])
                assert reply.status == status, reply.raw
                assert ("access-control-allow-origin" in reply.headers) == (status == 204), reply.headers
                if status == 204:
                    assert reply.headers["access-control-allow-credentials"] == "true", reply.headers
                    assert reply.headers["access-control-max-age"] == "600", reply.headers
                    assert reply.headers["access-control-allow-headers"] == "content-type, last-event-id", reply.headers


def test_cookies_that_are_forwarded():
    """A route that lets credentials through lets the visitor's own cookies through, and still no key that was given out here."""
    answer = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}'
    with tempfile.TemporaryDirectory() as folder, Peer(lambda c, r: c.sendall(answer)) as peer:
        with Sluice(guarded(peer, folder)) as proxy, connect_http2(proxy.port) as second:
            same = {"Sec-Fetch-Site": "same-origin"}
            assert ask(proxy, second, same, "/v1/models").status == 200
            assert [said(request, "cookie") for request in peer.requests] == [["theme=dark; lang=en"]] * 2, peer.requests
            assert ask(proxy, second, {**same, "Cookie": f"{COOKIE}={CANARY}"}, "/v1/models").status == 200
            assert [said(request, "cookie") for request in peer.requests[2:]] == [[]] * 2, peer.requests
            assert all(CANARY.encode() not in request for request in peer.requests)


# Conversations

TALK = [{"role": "user", "content": "What is 1 + 1?"}, {"role": "assistant", "content": "2 & no more"},
        {"role": "user", "content": "Grüße, 🚀?"}]
PARTS = [{"id": "1", "role": "user", "parts": [{"type": "text", "text": "Hi"}]}]


def query(**parameters):
    return "/stream?" + urllib.parse.urlencode(
        {name: value if isinstance(value, str) else json.dumps(value) for name, value in parameters.items()})


def asked(request):
    return json.loads(request.split(b"\r\n\r\n", 1)[1])


def test_queries_hold_conversations():
    with Peer(lambda c, r: stream(c)) as peer, Sluice(config(peer.url)) as proxy, connect_http2(proxy.port) as second:
        cases = [
            (query(messages=TALK), TALK, {}),
            (query(messages=PARTS, prompt="And?"), [{"role": "user", "content": "Hi"}, {"role": "user", "content": "And?"}], {}),
            (query(prompt="hi", system="Be brief.", model="gpt-5", max_tokens="20", temperature="0.5"),
             [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}], {"model": "gpt-5", "temperature": 0.5}),
        ]
        for path, messages, settings in cases:
            for answer in (fetch(proxy.port, path), second.fetch(path)):
                assert answer.status == 200 and answer.body.decode() == "".join(TOKENS), (path, answer.status, answer.body)
                body = asked(peer.requests[-1])
                assert body["messages"] == messages and body["stream"] is True, body
                assert all(body[name] == value for name, value in settings.items()), body
        assert asked(peer.requests[-1]).get("max_tokens", asked(peer.requests[-1]).get("max_completion_tokens")) == 20
        # What has grown too long for a query, in a body.
        assert fetch(proxy.port, "/stream", {"messages": TALK}).status == 200
        assert asked(peer.requests[-1])["messages"] == TALK


def test_queries_that_are_refused_say_why():
    with Peer(lambda c, r: stream(c)) as peer, Sluice(config(peer.url)) as proxy, connect_http2(proxy.port) as second:
        for path, word in (
            ("/stream", "prompt: is missing"), ("/stream?messages=hello", "messages: is no JSON"),
            (query(messages=[{"role": "user"}]), "messages[0].content: is missing"),
            (query(messages=[]), "messages: is empty"), ("/stream?prompt=a&max_tokens=many", "max_tokens: "),
            ("/stream?prompt=a&temperature=warm", "temperature: is no number"),
        ):
            for answer in (fetch(proxy.port, path), second.fetch(path)):
                assert answer.status == 400 and word in answer.body.decode(), (path, answer.status, answer.body)
        long = query(messages=TALK * 100)
        for answer in (fetch(proxy.port, long), second.fetch(long)):
            told = answer.body.decode()
            assert answer.status == 414 and "target_bytes of 8192 bytes" in told and "POST" in told, (answer.status, told)
        assert not peer.requests
