"""Repetitions and failover before the first byte: what is saved, how often an upstream is asked, and that only one works at a time."""

import concurrent.futures
import email.utils
import json
import select
import signal
import socket
import threading
import time

from harness import (CHAT, DONE, HEAD, Peer, Sluice, chunk, connect, drain, event, fetch, request_bytes, reset, stream,
                     until, wait_closed)
from http2_peer import INTERNAL_ERROR, REFUSED_STREAM, Http2Peer

USUAL = {"attempts": 2, "backoff": "20ms", "min_per_second": 1000}
WHOLE = "Hello,\n wörld 🚀\n\nend".encode()


def world(upstreams, routes=None, **more):
    """`upstreams`: a peer each, or what the configuration says of one. A route /x over all of them, and more."""
    specs = {}
    for name, given in upstreams.items():
        peer, changes = given if isinstance(given, tuple) else (given, {})
        spec = {"dialect": "openai-chat"}
        if isinstance(peer, (Peer, Http2Peer)):
            spec.update(url=peer.url, http="2" if isinstance(peer, Http2Peer) else "1.1")
        else:
            spec["url"] = peer
        specs[name] = {**spec, **changes}
    names = list(specs)
    route = {"path": "/x", "request": "openai-chat", "response": "text", "upstream": names if len(names) > 1 else names[0]}
    return Sluice({"listeners": [{"address": "127.0.0.1:0"}], "workers": 1, "upstreams": specs,
                   "routes": [{**route, **more}, *(routes or [])]})


def last(proxy, count=1):
    until(lambda: len(proxy.exchanges()) >= count, what="a line in the log")
    return proxy.exchanges()[-1]


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


NOBODY = "http://127.0.0.1:%d/v1"


def said(peer):
    """The bodies of all requests that a peer has had."""
    if isinstance(peer, Http2Peer):
        return [each.json for each in peer.streams]
    return [json.loads(request.split(b"\r\n\r\n", 1)[1]) for request in peer.requests]


def status(code, body=b'{"error":{"message":"busy"}}', kind=b"application/json", *fields):
    lines = [b"HTTP/1.1 %d X" % code, b"Content-Type: " + kind, b"Content-Length: %d" % len(body), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def first(script, then=stream):
    """The first request meets `script`, the others `then`."""
    lock, count = threading.Lock(), [0]

    def play(connection, request=None):
        with lock:
            count[0] += 1
            mine = script if count[0] == 1 else then
        return mine(connection)
    return play


def answers(data, ending=None):
    def play(connection):
        connection.sendall(data)
        return ending
    return play


def tell(stream, text=WHOLE.decode()):
    stream.wait_body()
    stream.head()
    stream.data(event({"content": text}))
    stream.data(DONE)
    stream.end()


def always(script):
    return lambda connection, request: script(connection)


def be_reset(connection):
    reset(connection)
    raise OSError


def silent_until_left(connection):
    wait_closed(connection, 20)
    return "close"


def role_and_silence(connection):
    connection.sendall(HEAD + chunk(event({"role": "assistant", "content": ""})))
    return silent_until_left(connection)


# At one upstream

def test_an_upstream_that_starts_late_is_waited_for():
    with socket.socket() as early:
        early.bind(("127.0.0.1", 0))  # refuses until it listens
        url = NOBODY % early.getsockname()[1]
        policy = {"attempts": 10, "backoff": "300ms", "max_backoff": "300ms", "min_per_second": 100}
        with world({"u": (url, {"retries": policy})}) as proxy:
            with concurrent.futures.ThreadPoolExecutor() as pool:
                asked = pool.submit(fetch, proxy.port, "/x", CHAT)
                time.sleep(0.2)
                early.listen()
                connection, _ = early.accept()
                connection.recv(65536)
                stream(connection)
                reply = asked.result(20)
                connection.close()
            assert (reply.status, reply.body, reply.complete) == (200, WHOLE, True), reply.raw
            entry = last(proxy)
            assert entry["attempts"].startswith("u:connect,") and entry["attempts"].endswith(",u"), entry


def test_an_upstream_that_nobody_answers_is_asked_as_often_as_it_says():
    for attempts, wanted in ((0, None), (3, "u:connect,u:connect,u:connect,u:connect")):
        with world({"u": (NOBODY % closed_port(), {"retries": {**USUAL, "attempts": attempts}})}) as proxy:
            assert fetch(proxy.port, "/x", CHAT).status == 502
            entry = last(proxy)
            assert entry.get("attempts") == wanted and entry.get("retries", 0) == attempts, entry


def test_a_stale_connection_is_told_in_the_log():
    gate = threading.Event()

    def script(connection, request):
        stream(connection)
        gate.wait(10)
        return "close"

    with Peer(script) as peer, world({"u": peer}) as proxy:
        assert fetch(proxy.port, "/x", CHAT).complete
        gate.set()
        # The proxy may see the close before the next request, or only with it: then, and only then, it asks again.
        for _ in range(20):
            assert fetch(proxy.port, "/x", CHAT).complete
        until(lambda: len(proxy.exchanges()) == 21, what="the log")
        assert all(entry.get("attempts", "u:stale,u") == "u:stale,u" for entry in proxy.exchanges())


def test_a_post_that_may_have_been_read_is_sent_once_without_a_policy():
    broken = {
        "close": (Peer, lambda c: "close", 502), "reset": (Peer, be_reset, 502),
        "500": (Peer, answers(status(500)), 502), "503": (Peer, answers(status(503)), 503),
        "429": (Peer, answers(status(429)), 429), "html": (Peer, answers(status(200, b"<html>", b"text/html")), 502),
        "cut": (Peer, answers(HEAD, "close"), 502),
        "h2 reset": (Http2Peer, lambda s: (s.wait_body(), s.abort(INTERNAL_ERROR)), 502),
        "h2 close": (Http2Peer, lambda s: (s.wait_body(), s.connection.close(reset=True)), 502),
    }
    for name, (kind, script, wanted) in broken.items():
        with kind(always(script) if kind is Peer else script) as peer, world({"u": peer}) as proxy:
            assert fetch(proxy.port, "/x", CHAT).status == wanted, name
            assert len(said(peer)) == 1 and "attempts" not in last(proxy), (name, proxy.exchanges())


def test_a_policy_repeats_what_it_lists_and_nothing_else():
    def h2(script):
        return first(script, tell)

    error = status(200, b'data: {"error":{"message":"over","code":503}}\n\n', b"text/event-stream")
    cases = {
        "reset": [(Peer, lambda c: "close"), (Peer, be_reset),
                  (Http2Peer, lambda s: (s.wait_body(), s.abort(INTERNAL_ERROR))),
                  (Http2Peer, lambda s: (s.wait_body(), s.connection.close()))],
        503: [(Peer, answers(status(503))), (Peer, answers(error)),
              (Http2Peer, lambda s: (s.wait_body(), s.head(503), s.data(b"busy"), s.end()))],
        502: [(Peer, answers(status(502, b"<html>", b"text/html"))), (Peer, answers(status(200, b"<html>", b"text/html"))),
              (Peer, answers(HEAD, "close")), (Peer, answers(HEAD + b"0\r\n\r\n")),
              (Peer, answers(HEAD + chunk(event({"role": "assistant", "content": ""})) + chunk(b"data: {\"choi\n\n"), "close")),
              (Peer, answers(b"nonsense\r\n\r\n", "close"))],
        408: [(Peer, answers(status(408), "close"))],
    }
    for cause, scripts in cases.items():
        for kind, script in scripts:
            play = first(script) if kind is Peer else h2(script)
            with kind(play) as peer, world({"u": (peer, {"retries": {**USUAL, "on": [cause]}})}) as proxy:
                reply = fetch(proxy.port, "/x", CHAT)
                assert (reply.status, reply.body, reply.complete) == (200, WHOLE, True), (cause, reply.raw)
                bodies = said(peer)
                assert len(bodies) == 2 and bodies[0] == bodies[1] and bodies[0]["messages"] == CHAT["messages"], bodies
                assert last(proxy)["retries"] == 1, proxy.exchanges()
            other = 504 if cause != 504 else 503
            with kind(first(script) if kind is Peer else h2(script)) as peer:
                with world({"u": (peer, {"retries": {**USUAL, "on": [other]}})}) as proxy:
                    assert fetch(proxy.port, "/x", CHAT).status in (408, 502, 503), cause
                    assert len(said(peer)) == 1, cause


def test_a_clients_own_fault_is_never_repeated():
    for code in (400, 401, 403, 404, 413, 422):
        with Peer(always(answers(status(code)))) as peer, world({"u": (peer, {"retries": USUAL})}) as proxy:
            assert fetch(proxy.port, "/x", CHAT).status == code
            assert len(peer.requests) == 1


def test_a_late_head_and_a_late_token_are_repeated_if_listed():
    for word, script, key in (("timeout", silent_until_left, "headers"), ("first_token", role_and_silence, "first_token")):
        for on, wanted in (([word], 200), ([503], 504)):
            changes = {"timeouts": {key: "400ms"}, "retries": {**USUAL, "on": on}}
            with Peer(first(script)) as peer, world({"u": (peer, changes)}) as proxy:
                assert fetch(proxy.port, "/x", CHAT).status == wanted, (word, on)
                assert len(peer.requests) == (2 if wanted == 200 else 1)


def test_total_covers_all_attempts():
    changes = {"timeouts": {"headers": "200ms", "total": "700ms"}, "retries": {**USUAL, "attempts": 10, "on": ["timeout"]}}
    with Peer(always(silent_until_left)) as peer, world({"u": (peer, changes)}) as proxy:
        began = time.monotonic()
        assert fetch(proxy.port, "/x", CHAT).status == 504
        assert time.monotonic() - began < 5 and 2 <= len(peer.requests) <= 4, len(peer.requests)


# Retry-After

def busy(field):
    return answers(status(429, b'{"error":{"message":"slow down"}}', b"application/json", field))


def test_retry_after_is_honoured():
    date = lambda: email.utils.formatdate(time.time() + 2, usegmt=True).encode()  # noqa: E731
    for field, least in ((b"Retry-After: 1", 1), (b"retry-after-ms: 300", 0.3), (b"Retry-After: " + date(), 0.5)):
        with Peer(first(busy(field))) as peer, world({"u": (peer, {"retries": USUAL})}) as proxy:
            began = time.monotonic()
            assert fetch(proxy.port, "/x", CHAT).complete
            assert time.monotonic() - began >= least and last(proxy)["attempts"] == "u:429,u", field


def test_more_patience_than_the_limit_is_the_clients_matter():
    for changes in ({}, {"retries": {**USUAL, "max_retry_after": "2s"}}):
        with Peer(always(busy(b"Retry-After: 3"))) as peer, world({"u": (peer, changes)}) as proxy:
            began = time.monotonic()
            reply = fetch(proxy.port, "/x", CHAT)
            assert (reply.status, reply.headers["retry-after"]) == (429, "3"), reply.raw
            assert len(peer.requests) == 1 and time.monotonic() - began < 2.5


def test_another_upstream_does_not_wait_for_the_first_ones_patience():
    with Peer(always(busy(b"Retry-After: 3"))) as limited, Peer(always(stream)) as spare:
        with world({"a": (limited, {"retries": USUAL}), "b": spare}) as proxy:
            began = time.monotonic()
            assert fetch(proxy.port, "/x", CHAT).body == WHOLE
            assert time.monotonic() - began < 2.5 and last(proxy)["attempts"] == "a:429,b"


# Along a list

BROKEN = {
    "connect": (None, None), "reset": (Peer, be_reset), "429": (Peer, answers(status(429))),
    "500": (Peer, answers(status(500))), "401": (Peer, answers(status(401))), "403": (Peer, answers(status(403))),
    "404": (Peer, answers(status(404))), "malformed": (Peer, answers(status(200, b"<html>", b"text/html"))),
    "cut": (Peer, answers(HEAD, "close")), "503": (Peer, answers(
        status(200, b'data: {"error":{"message":"over","code":503}}\n\n', b"text/event-stream"))),
    "refused": (Http2Peer, lambda s: (s.wait_body(), s.abort(REFUSED_STREAM))),
}


def test_the_next_upstream_takes_over():
    for word, (kind, script) in BROKEN.items():
        with Peer(always(stream)) as spare:
            peer = kind(always(script) if kind is Peer else script) if kind else NOBODY % closed_port()
            with world({"a": peer, "b": spare}) as proxy:
                reply = fetch(proxy.port, "/x", CHAT)
                assert (reply.status, reply.body, reply.complete) == (200, WHOLE, True), (word, reply.raw)
                entry = last(proxy)
                wanted = "a:refused,a:refused,b" if word == "refused" else f"a:{word},b"
                assert entry["attempts"] == wanted and entry["upstream"] == "b" and entry["end"] == "done", entry
            if kind:
                peer.close()


def test_a_request_that_is_at_fault_stays_with_the_first():
    for code in (400, 413, 422):
        with Peer(always(answers(status(code)))) as peer, Peer(always(stream)) as spare:
            with world({"a": peer, "b": spare}) as proxy:
                assert fetch(proxy.port, "/x", CHAT).status == code
                assert not spare.requests


ANTHROPIC = b"".join(b"event: %s\ndata: %s\n\n" % (kind, json.dumps({"type": kind.decode(), **data}).encode()) for kind, data in [
    (b"message_start", {"message": {"id": "m", "type": "message", "role": "assistant", "content": [], "model": "c",
                                    "usage": {"input_tokens": 1, "output_tokens": 1}}}),
    (b"content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
    (b"content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": "from Claude"}}),
    (b"content_block_stop", {"index": 0}),
    (b"message_delta", {"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}), (b"message_stop", {})])
OLLAMA = (b'{"model":"l","message":{"role":"assistant","content":"from Llama"},"done":false}\n'
          b'{"model":"l","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop"}\n')


def test_each_upstream_is_asked_in_its_own_words_for_its_own_model():
    overloaded = answers(status(529, b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'))
    lines = status(200, OLLAMA, b"application/x-ndjson")
    for broken, wanted in ((("a",), "from Claude"), (("a", "b"), "from Llama")):
        claude = overloaded if "b" in broken else answers(status(200, ANTHROPIC, b"text/event-stream"))
        with Peer(always(answers(status(503)))) as a, Peer(always(claude)) as b, Peer(always(answers(lines))) as c:
            choices = ["a", {"name": "b", "model": "claude-x"}, {"name": "c", "model": "llama-x"}]
            routes = [{"path": f"/{name}", "request": "openai-chat", "response": name, "upstream": choices, "model": "gpt-x"}
                      for name in ("openai-chat", "vercel-ui", "sse-json")]
            specs = {"a": a, "b": (b, {"dialect": "anthropic-messages", "api_key": "key-b"}),
                     "c": (c, {"dialect": "ollama-chat"})}
            with world(specs, routes, upstream=choices, model="gpt-x") as proxy:
                assert fetch(proxy.port, "/x", CHAT).body == wanted.encode()
                assert [body["model"] for body in said(a)] == ["gpt-x"]
                assert [body["model"] for body in said(b)] == ["claude-x"] and "max_tokens" in said(b)[0]
                assert b.requests[0].startswith(b"POST /v1/messages") and b"key-b" in b.requests[0]
                assert [body["model"] for body in said(c)] == (["llama-x"] if "b" in broken else [])
                for name in ("openai-chat", "vercel-ui", "sse-json"):
                    reply = fetch(proxy.port, "/" + name, CHAT)
                    assert reply.complete and wanted.encode() in reply.body and b"rror" not in reply.body, reply.raw
                # One document, made of the last upstream's stream.
                document = fetch(proxy.port, "/openai-chat", {**CHAT, "stream": False})
                assert json.loads(document.body)["choices"][0]["message"]["content"] == wanted, document.raw


def test_what_one_dialect_cannot_express_another_may():
    body = {**CHAT, "logit_bias": {"50256": -100}}
    with Peer(always(stream)) as spare:
        with world({"a": (NOBODY % closed_port(), {"dialect": "anthropic-messages"}), "b": spare}) as proxy:
            assert fetch(proxy.port, "/x", body).body == WHOLE
            assert last(proxy)["attempts"] == "a:unfit,b" and said(spare)[0]["logit_bias"] == {"50256": -100}
            assert fetch(proxy.port, "/x", b"not json").status == 400 and len(spare.requests) == 1


def test_the_most_useful_error_is_told():
    limited, broken, denied = busy(b"Retry-After: 7"), answers(status(500)), answers(status(401))
    cases = [((limited, None), 429), ((broken, limited), 429), ((limited, broken), 429), ((denied, broken), 502),
             ((denied, None), 502), ((None, denied), 502), ((denied, denied), 401), ((None, None), 502)]
    for scripts, wanted in cases:
        peers = [Peer(always(script)) if script else None for script in scripts]
        urls = [peer or NOBODY % closed_port() for peer in peers]
        with world({"a": (urls[0], {"retries": {"attempts": 0}}), "b": (urls[1], {"retries": {"attempts": 0}})}) as proxy:
            reply = fetch(proxy.port, "/x", CHAT)
            assert reply.status == wanted and b'"error"' in reply.body, (wanted, reply.raw)
            assert reply.headers.get("retry-after") == ("7" if wanted == 429 else None), reply.raw
        for peer in peers:
            if peer:
                peer.close()


def test_a_get_is_asked_again_too():
    routes = [{"path": "/events", "request": "prompt", "response": "sse-text", "upstream": ["a", "b"]}]
    with Peer(always(stream)) as spare, world({"a": NOBODY % closed_port(), "b": spare}, routes) as proxy:
        reply = fetch(proxy.port, "/events?prompt=" + "w%C3%B6rld")
        assert reply.complete and "wörld" in said(spare)[0]["messages"][0]["content"], reply.raw


def test_what_is_relayed_goes_to_the_next_as_well():
    routes = [{"path": "/v1/*", "request": "passthrough", "response": "passthrough", "upstream": ["a", "b"]}]
    long = b'{"long":"%s"}' % (b"x" * 3_000_000)
    for script, saves_long in ((None, True), (answers(status(503, b"busy", b"text/plain"), "close"), False), (be_reset, False)):
        with Peer(always(answers(status(200, b"spare", b"text/plain")))) as spare:
            broken = Peer(always(script)) if script else None
            with world({"a": broken or NOBODY % closed_port(), "b": spare}, routes) as proxy:
                reply = fetch(proxy.port, "/v1/models")
                assert (reply.status, reply.body) == (200, b"spare"), reply.raw
                assert fetch(proxy.port, "/v1/files", b"short").body == b"spare"
                assert spare.requests[1].endswith(b"\r\n\r\nshort")
                # Part of it has gone by the time of the failure: it cannot be sent again, unless nobody was there to take it.
                reply = fetch(proxy.port, "/v1/files", long)
                if saves_long:
                    assert reply.body == b"spare" and spare.requests[2].endswith(long)
                else:
                    assert reply.status in (502, 503) and len(spare.requests) == 2, reply.raw
            if broken:
                broken.close()


def test_all_have_failed_and_the_last_ones_answer_is_relayed():
    routes = [{"path": "/v1/*", "request": "passthrough", "response": "passthrough", "upstream": ["a", "b"]}]
    with Peer(always(answers(status(503, b"a", b"text/plain")))) as a, Peer(always(answers(status(500, b"b", b"text/plain")))) as b:
        with world({"a": a, "b": b}, routes) as proxy:
            reply = fetch(proxy.port, "/v1/models")
            assert (reply.status, reply.body) == (500, b"b") and last(proxy)["attempts"] == "a:503,b:500", proxy.exchanges()


# What the client has seen

def test_nothing_follows_the_first_token():
    def broken(connection):
        connection.sendall(HEAD + chunk(event({"content": "half"})))
        time.sleep(0.05)
        be_reset(connection)

    routes = [{"path": "/v1/*", "request": "passthrough", "response": "passthrough", "upstream": ["a", "b"]},
              {"path": "/json", "request": "openai-chat", "response": "sse-json", "upstream": ["a", "b"]}]
    with Peer(always(broken)) as peer, Peer(always(stream)) as spare:
        with world({"a": (peer, {"retries": USUAL}), "b": spare}, routes) as proxy:
            for path in ("/x", "/json", "/v1/chat/completions"):
                reply = fetch(proxy.port, path, CHAT)
                assert reply.status == 200 and b"half" in reply.body, reply.raw
                assert not reply.complete or b"error" in reply.body, reply.raw
            assert len(peer.requests) == 3 and not spare.requests


def test_a_document_that_was_cut_is_made_by_the_next():
    def broken(connection):
        connection.sendall(HEAD + chunk(event({"content": "half"})))
        be_reset(connection)

    with Peer(always(broken)) as peer, Peer(always(stream)) as spare:
        routes = [{"path": "/json", "request": "openai-chat", "response": "anthropic", "upstream": ["a", "b"]}]
        with world({"a": peer, "b": spare}, routes) as proxy:
            reply = fetch(proxy.port, "/json", {**CHAT, "stream": False})
            assert json.loads(reply.body)["content"][0]["text"].encode() == WHOLE, reply.raw


def test_early_headers_and_keepalives_do_not_bind():
    """200 and comments have gone out when the first upstream fails, in whatever way: the second one's answer is all there is."""
    def late(data, ending=None):
        def play(connection):
            time.sleep(0.25)
            return answers(data, ending)(connection)
        return play

    def role_then_death(connection):
        connection.sendall(HEAD + chunk(event({"role": "assistant", "content": ""}).replace(b"chatcmpl-1", b"chatcmpl-A")))
        time.sleep(0.25)
        be_reset(connection)

    names = ("openai-chat", "sse-json", "vercel-ui", "anthropic")
    scripts = [late(status(503)), late(status(200, b"<html>", b"text/html")), role_then_death, late(HEAD, "close"),
               late(status(200, b'data: {"error":{"message":"over","code":503}}\n\n', b"text/event-stream"))]
    early = {"early_headers": "100ms", "keepalive": "50ms"}
    routes = [{"path": f"/{name}", "request": "openai-chat", "response": name, "upstream": ["a", "b"], **early}
              for name in names]

    def replies(proxy):
        with concurrent.futures.ThreadPoolExecutor() as pool:
            return zip(names, list(pool.map(lambda name: fetch(proxy.port, "/" + name, CHAT), names)))

    for script in scripts:
        with Peer(always(script)) as peer, Peer(always(stream)) as spare:
            with world({"a": peer, "b": spare}, routes) as proxy:
                for name, reply in replies(proxy):
                    assert reply.status == 200 and reply.complete and b"chatcmpl-A" not in reply.body, reply.raw
                    ping = b"event: ping" if name == "anthropic" else b":\n\n"
                    assert ping in reply.body and b"rld" in reply.body and b"rror" not in reply.body, reply.raw
                    if name == "openai-chat":
                        assert reply.body.count(b'"role":"assistant"') + reply.body.count(b'"role": "assistant"') == 1, reply.raw
                        assert reply.body.endswith(b"data: [DONE]\n\n")
            nobody = (NOBODY % closed_port(), {"retries": {"attempts": 0}})
            with world({"a": peer, "b": nobody}, routes) as proxy:
                for name, reply in replies(proxy):
                    assert reply.status == 200 and reply.body.count(b"error") >= 1 and b"rld" not in reply.body, reply.raw


def test_pings_go_on_between_attempts():
    with Peer(first(busy(b"retry-after-ms: 600"))) as peer:
        routes = [{"path": "/e", "request": "openai-chat", "response": "sse-json", "upstream": "u", "early_headers": "50ms",
                   "keepalive": "50ms"}]
        with world({"u": (peer, {"retries": USUAL})}, routes) as proxy:
            reply = fetch(proxy.port, "/e", CHAT)
            assert reply.complete and reply.body.count(b":\n\n") >= 3 and reply.body.index(b":\n\n") == 0, reply.raw
            assert last(proxy)["attempts"] == "u:429,u"


# One at a time

class Census:
    """Every upstream's connection. Whoever gets a request asks whether those before have really been closed by then."""

    def __init__(self):
        self.open = []
        self.faults = []

    def enter(self, connection):
        for other in self.open:
            if other is not connection and not self.is_ended(other):
                self.faults.append("another upstream still works")
        self.open.append(connection)

    @staticmethod
    def is_ended(connection):
        # A close is there at once on one machine: nothing is waited for.
        try:
            return bool(select.select([connection], [], [], 0)[0]) and connection.recv(1, socket.MSG_PEEK) == b""
        except (OSError, ValueError):
            return True  # reset; or closed by its own script, which saw it end


def test_only_one_upstream_works_at_a_time():
    census = Census()

    def counted(script):
        def play(connection, request):
            census.enter(connection)
            return script(connection)
        return play

    def linger(connection):
        until(lambda: Census.is_ended(connection), 20, "the proxy lets go")
        return "close"

    def linger_after(data):
        def play(connection):
            connection.sendall(data)
            return linger(connection)
        return play

    # Errors whose body does not end, a head without a token, no head at all: each upstream would go on if it were let.
    role = HEAD + chunk(event({"role": "assistant", "content": ""}))
    unended = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 999\r\n\r\n<html>"
    policy = {**USUAL, "attempts": 1, "on": ["timeout", "first_token", 502]}
    changes = {"retries": policy, "timeouts": {"headers": "200ms", "first_token": "200ms"}}
    with Peer(counted(linger)) as a, Peer(counted(linger_after(role))) as b, Peer(counted(linger_after(unended))) as c:
        with Peer(counted(stream)) as d, world({"a": (a, changes), "b": (b, changes), "c": (c, changes), "d": d}) as proxy:
            assert fetch(proxy.port, "/x", CHAT).body == WHOLE
            assert [len(peer.requests) for peer in (a, b, c, d)] == [2, 2, 2, 1]
            assert last(proxy)["attempts"] == "a:timeout,a:timeout,b:first_token,b:first_token,c:malformed,c:malformed,d"
            until(lambda: a.connections == len(a.closed_at), what="all are closed")
    assert not census.faults, census.faults


def test_a_reset_goes_out_before_the_next_stream_on_the_same_connection():
    alive = []

    def script(stream):
        alive.append([each.number for each in stream.connection.streams.values() if each is not stream and not each.is_over])
        stream.wait_body()
        if stream.number < 5:
            stream.head()
            return stream.wait_left(20)
        tell(stream)

    changes = {"retries": {**USUAL, "on": ["first_token"]}, "timeouts": {"first_token": "200ms"}}
    with Http2Peer(script) as peer, world({"u": (peer, changes)}) as proxy:
        assert fetch(proxy.port, "/x", CHAT).body == WHOLE
        assert len(peer.connections) == 1 and alive == [[], [], []], alive


def test_a_client_that_leaves_while_nothing_is_asked_ends_everything():
    policy = {"attempts": 5, "max_retry_after": "30s"}
    with Peer(always(busy(b"Retry-After: 2"))) as peer, world({"u": (peer, {"retries": policy})}) as proxy:
        connection = connect(proxy.port)
        connection.sendall(request_bytes("/x", CHAT))
        until(lambda: peer.requests, what="the first attempt")
        time.sleep(0.2)
        connection.close()
        entry = last(proxy)
        assert entry["end"] == "client_gone" and entry["duration_ms"] < 1900, entry
        time.sleep(2.2)
        assert len(peer.requests) == 1 and len(proxy.exchanges()) == 1


def test_a_reload_between_two_attempts_changes_nothing_for_them():
    with Peer(always(silent_until_left)) as slow, Peer(always(stream)) as spare, Peer(always(stream)) as other:
        changes = {"timeouts": {"headers": "1500ms"}}
        with world({"a": (slow, changes), "b": spare}) as proxy, concurrent.futures.ThreadPoolExecutor() as pool:
            asked = pool.submit(fetch, proxy.port, "/x", CHAT)
            until(lambda: slow.requests, what="the first attempt")
            with open(proxy.path) as file:
                values = json.load(file)
            values["upstreams"] = {"c": {"url": other.url, "dialect": "openai-chat"}}
            values["routes"][0]["upstream"] = "c"
            proxy.write(values)
            proxy.process.send_signal(signal.SIGHUP)
            until(lambda: fetch(proxy.port, "/x", CHAT).complete and other.requests, what="the new configuration")
            reply = asked.result(20)
            assert reply.body == WHOLE and len(spare.requests) == 1, reply.raw


# Outages

def test_an_outage_is_not_multiplied():
    policy = {"attempts": 5, "backoff": "1ms", "max_backoff": "1ms", "budget_percent": 20, "min_per_second": 1}
    with Peer(always(answers(status(503)))) as peer, world({"u": (peer, {"retries": policy})}) as proxy:
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda _: fetch(proxy.port, "/x", CHAT).status, range(200)))
        seconds = time.monotonic() - began
        assert replies == [503] * 200
        # 200 requests, 20 % of them again, and one a second that is always allowed.
        assert 210 <= len(peer.requests) <= 241 + seconds, (len(peer.requests), seconds)
        print(f"  200 requests in an outage, 5 repetitions allowed each: the upstream had {len(peer.requests)}")
