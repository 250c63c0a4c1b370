"""Failover along a route's list of upstreams, before the first byte; and that only one upstream works at a time."""

import concurrent.futures
import json
import select
import signal
import socket
import threading
import time

from harness import (CHAT, HEAD, Peer, Reply, chunk, connect, drain, event, fetch, request_bytes, stream,
                     until)
from http2_peer import REFUSED_STREAM, Http2Peer
from retry_world import (NOBODY, USUAL, WHOLE, always, answers, be_reset, busy, closed_port, last, said, silent_until_left,
                         status, tell, world)


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


def test_another_upstream_does_not_wait_for_the_first_ones_patience():
    with Peer(always(busy(b"Retry-After: 3"))) as limited, Peer(always(stream)) as spare:
        with world({"a": (limited, {"retries": USUAL}), "b": spare}) as proxy:
            began = time.monotonic()
            assert fetch(proxy.port, "/x", CHAT).body == WHOLE
            assert time.monotonic() - began < 2.5 and last(proxy)["attempts"] == "a:429,b"


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
    # The first upstream fails when every client has had its first comment.
    pinged = threading.Event()

    def late(data, ending=None):
        def play(connection):
            assert pinged.wait(20)
            return answers(data, ending)(connection)
        return play

    def role_then_death(connection):
        connection.sendall(HEAD + chunk(event({"role": "assistant", "content": ""}).replace(b"chatcmpl-1", b"chatcmpl-A")))
        assert pinged.wait(20)
        be_reset(connection)

    names = ("openai-chat", "sse-json", "vercel-ui", "anthropic")
    scripts = [late(status(503)), late(status(200, b"<html>", b"text/html")), role_then_death, late(HEAD, "close"),
               late(status(200, b'data: {"error":{"message":"over","code":503}}\n\n', b"text/event-stream"))]
    early = {"early_headers": "100ms", "keepalive": "50ms"}
    routes = [{"path": f"/{name}", "request": "openai-chat", "response": name, "upstream": ["a", "b"], **early}
              for name in names]

    def ping(name):
        return b"event: ping" if name == "anthropic" else b":\n\n"

    def replies(proxy):
        pinged.clear()
        clients = {name: connect(proxy.port) for name in names}
        begun = dict.fromkeys(names, b"")
        for name, client in clients.items():
            client.settimeout(20)
            client.sendall(request_bytes("/" + name, CHAT, headers=["Connection: close"]))
        for name, client in clients.items():
            while ping(name) not in begun[name]:
                more = client.recv(65536)
                assert more, begun[name]
                begun[name] += more
        pinged.set()
        return [(name, Reply(begun[name] + drain(client))) for name, client in clients.items()]

    for script in scripts:
        with Peer(always(script)) as peer, Peer(always(stream)) as spare:
            with world({"a": peer, "b": spare}, routes) as proxy:
                for name, reply in replies(proxy):
                    assert reply.status == 200 and reply.complete and b"chatcmpl-A" not in reply.body, reply.raw
                    assert ping(name) in reply.body and b"rld" in reply.body and b"rror" not in reply.body, reply.raw
                    if name == "openai-chat":
                        assert reply.body.count(b'"role":"assistant"') + reply.body.count(b'"role": "assistant"') == 1, reply.raw
                        assert reply.body.endswith(b"data: [DONE]\n\n")
            nobody = (NOBODY % closed_port(), {"retries": {"attempts": 0}})
            with world({"a": peer, "b": nobody}, routes) as proxy:
                for name, reply in replies(proxy):
                    assert reply.status == 200 and reply.body.count(b"error") >= 1 and b"rld" not in reply.body, reply.raw


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
    old, new = (lambda c, _: stream(c, ["old"])), (lambda c, _: stream(c, ["new"]))
    with Peer(always(silent_until_left)) as slow, Peer(old) as spare, Peer(new) as other:
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
            until(lambda: any(entry["event"] == "reloaded" for entry in list(proxy.log)), what="the new configuration")
            until(lambda: fetch(proxy.port, "/x", CHAT).body == b"new", 20, "a request by it")
            assert asked.result(20).body == b"old", asked.result().raw
