"""Answers that outlive their connections: cut, read on, shared, stopped and forgotten."""

import signal
import socket
import tempfile
import threading
import time
from random import Random

from harness import DONE, HEAD, Peer, Reply, Sluice, chunk, connect, drain, event, fetch, request_bytes, reset, until
from http2_peer import connect_http2
from life_world import Http1Reader
from measure_resume import Measure
from resume_world import ID, TOKENS, Gated, Stream, chat, metrics, settings
from test_access import bearer, keys_file, line
from test_life import hangup

EVENTS = ["sse-text", "sse-json", "vercel-ui", "ag-ui", "openai-chat", "anthropic"]
BYTES = ["text", "ndjson", "gemini"]


def name_of(reply):
    return reply.headers["x-stream-id"]


def last_event(name, position):
    return [f"Last-Event-ID: {name}/{position}"]


def ask(path="/sse-text", **more):
    return f"{path}?prompt=hi" + "".join(f"&{key}={value}" for key, value in more.items())


# Reading on


def test_resumed_at_every_event_and_byte_it_is_the_same():
    with Gated() as peer, Sluice(settings(peer, workers=2)) as proxy:
        for path in [f"/{name}" for name in EVENTS + BYTES]:
            calls = len(peer.requests)
            whole = fetch(proxy.port, ask(path))
            assert whole.status == 200 and whole.complete, whole.raw
            name, body = name_of(whole), whole.body
            ids = [(int(position), match.end()) for match in ID.finditer(body)
                   for position in [match[2]] if position != b"end"]
            assert all(match[1].decode() == name for match in ID.finditer(body))
            if path[1:] in EVENTS:
                # The position is the one behind the blank line, so that nothing is lost and nothing comes twice.
                assert ids and all(position == end + 1 and body[end:position] == b"\n" for position, end in ids), body
                assert body.count(b"data:") <= len(ids) + body.count(b"\ndata:"), body
            else:
                assert not ids
            if path[1:] in EVENTS[:4]:
                assert body.startswith(b"retry: 1000\nid: ") and body.endswith(f"id: {name}/end\n\n".encode())
            for position, _ in ids:
                rest = fetch(proxy.port, ask(path), headers=last_event(name, position))
                expected = 204 if position == len(body) else 200
                assert (rest.status, rest.body) == (expected, body[position:]), (path, position, rest.raw)
            for position in range(0, len(body), 1 if path[1:] in BYTES else 23):
                rest = fetch(proxy.port, f"{path}/{name}/stream?from={position}")
                assert rest.complete and rest.body == body[position:], (path, position, rest.raw)
            again = fetch(proxy.port, f"{path}/{name}/stream", headers=["Origin: https://a.example"])
            assert again.body == (b"" if path == "/vercel-ui" and again.status == 204 else body)
            assert again.headers["content-type"] == whole.headers["content-type"]
            assert again.headers["x-stream-id"] == name
            assert again.headers["x-request-id"] != whole.headers["x-request-id"]
            assert fetch(proxy.port, f"{path}/{name}/stream?from={len(body)}").status == 204
            assert fetch(proxy.port, ask(path), headers=last_event(name, "end")).status == 204
            assert len(peer.requests) == calls + 1


def test_cut_again_and_again_while_it_runs_it_is_one_answer():
    """As EventSource does it: the next connection says what the last one has got. Other threads may take it."""
    with Gated(held=1) as peer, Sluice(settings(peer, workers=4)) as proxy:
        for path in ["/sse-text", "/vercel-ui", "/text"]:
            peer.gate.clear()
            first = Stream(proxy.port, ask(path)).until(b"Hello")
            name, got = name_of(first.reply), first.body
            first.close()
            reader = Stream(proxy.port, f"{path}/{name}/stream?from={len(got)}")
            if path == "/sse-text":
                got = got[:int(ID.findall(got)[-1][1])]
                reader = Stream(proxy.port, ask(path), headers=last_event(name, len(got)))
            assert reader.head().status == 200
            peer.release()
            got += reader.whole().body
            assert reader.reply.complete
            assert got == fetch(proxy.port, f"{path}/{name}/stream?from=0").body, got
            assert b"end" in got and b" it" in got
        assert len(peer.requests) == 3


def test_many_read_one_answer_on_other_threads_too():
    with Gated(held=2) as peer, Sluice(settings(peer, workers=4)) as proxy:
        first = Stream(proxy.port, ask("/sse-json")).until(b'",\\n"')
        name = name_of(first.reply)
        readers = [Stream(proxy.port, f"/sse-json/{name}/stream") for _ in range(24)]
        for reader in readers:
            reader.until(b"Hello")
        peer.release()
        body = first.whole().body
        assert first.reply.complete and body.endswith(b"/end\n\n")
        for reader in readers:
            assert reader.whole().complete and reader.reply.body == body
        late = fetch(proxy.port, f"/sse-json/{name}/stream")
        assert late.body == body and len(peer.requests) == 1
        lines = until(lambda: [e for e in proxy.exchanges() if "resumed" in e] if len(proxy.exchanges()) == 26 else 0,
                      what="the log")
        assert {line["resumed"] for line in lines} == {f"{name}/0"} and len(lines) == 25
        assert [e["generation"] for e in proxy.exchanges() if "generation" in e] == [name]
        assert all(line["end"] == "done" and line["upstream"] == "" for line in lines)


def test_cut_at_random_by_many_at_a_time():
    """Eight clients, each of which loses every connection somewhere, by FIN or by reset, and goes on where it was."""
    tokens = [f"{number} " + "abc" * (number % 17) for number in range(200)]
    faults, answers = [], []

    def script(connection, request):
        connection.sendall(HEAD)
        for at in range(0, len(tokens), 10):
            connection.sendall(b"".join(chunk(event({"content": token})) for token in tokens[at:at + 10]))
            time.sleep(0.002)
        connection.sendall(chunk(DONE) + b"0\r\n\r\n")

    def some(port, path, bytes, random):
        """The body as far as it came before the connection was dropped; whether it was whole; its name."""
        connection = connect(port)
        connection.sendall(request_bytes(path, headers=["Connection: close"]))
        connection.settimeout(30)
        data = b""
        while len(data) < bytes and (more := connection.recv(random.randint(1, 8192))):
            data += more
        reset(connection) if random.random() < 0.5 else connection.close()
        reply = Reply(data[:data.rfind(b"\r\n") + 2])
        return reply.body, reply.complete or reply.status == 204, reply.headers.get("x-stream-id")

    def client(proxy, seed):
        random = Random(seed)
        for _ in range(6):
            path = random.choice(["/sse-json", "/text"])
            body, isWhole, name = some(proxy.port, ask(path), random.randint(300, 9000), random)
            while not isWhole:
                more, isWhole, _ = some(proxy.port, f"{path}/{name}/stream?from={len(body)}", random.randint(300, 9000), random)
                body += more
            answers.append((path, ID.sub(b"", body)))

    def run(proxy, seed):
        try:
            client(proxy, seed)
        except Exception as error:
            faults.append(f"{seed}: {error!r}")

    with Peer(script) as peer, Sluice(settings(peer, workers=4)) as proxy:
        whole = {path: ID.sub(b"", fetch(proxy.port, ask(path)).body) for path in ("/sse-json", "/text")}
        threads = [threading.Thread(target=run, args=(proxy, seed)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not faults, faults[:3]
        assert len(answers) == 48 and all(body == whole[path] for path, body in answers)
        assert len(peer.requests) == 50


def test_the_first_client_may_leave_before_the_first_token():
    """The whole request has come by then, and so a page that is shown anew finds the answer that it asked for."""
    with Gated(held=-1) as peer, Sluice(settings(peer, workers=2)) as proxy:
        assert fetch(proxy.port, "/api/chat/c1/stream").status == 204
        first = Stream(proxy.port, "/api/chat", chat("c1"))
        until(lambda: peer.requests, what="the request")
        first.close()
        waiting = [Stream(proxy.port, "/api/chat/c1/stream") for _ in range(3)]
        time.sleep(0.05)
        assert not any(each.data for each in waiting)
        peer.release()
        bodies = {each.whole().body for each in waiting}
        assert len(bodies) == 1 and b"Hello" in bodies.pop()
        assert all(each.reply.headers["x-vercel-ai-ui-message-stream"] == "v1" for each in waiting)
        assert fetch(proxy.port, "/api/chat/c1/stream").status == 204
        assert len(peer.requests) == 1


def test_a_chat_is_read_on_by_its_own_name():
    with Gated(held=1) as peer, Sluice(settings(peer, workers=2)) as proxy:
        first = Stream(proxy.port, "/api/chat", chat("a%b:c")).until(b"Hello")
        again = Stream(proxy.port, "/api/chat/a%25b:c/stream").until(b"Hello")
        assert fetch(proxy.port, "/api/chat/other/stream").status == 204
        peer.release()
        assert again.whole().body == first.whole().body
        assert fetch(proxy.port, "/api/chat/a%25b:c/stream").status == 204
        name = name_of(first.reply)
        assert fetch(proxy.port, f"/api/chat/{name}/stream?from=0").body == first.body
        # The newest answer of a chat is the one that is meant.
        peer.gate.clear()
        second = Stream(proxy.port, "/api/chat", chat("a%b:c")).until(b"Hello")
        third = Stream(proxy.port, "/api/chat/a%25b:c/stream").until(b"Hello")
        peer.release()
        assert third.whole().body == second.whole().body and name_of(third.reply) != name
        assert len(peer.requests) == 2


def test_a_prompt_with_a_known_name_begins_nothing():
    with Gated(held=1) as peer, Sluice(settings(peer, workers=2)) as proxy:
        first = Stream(proxy.port, ask(id="n1")).until(b"Hello")
        second = Stream(proxy.port, ask(id="n1")).until(b"Hello")
        peer.release()
        assert first.whole().body == second.whole().body
        assert fetch(proxy.port, ask(id="n1")).body == first.body
        assert len(peer.requests) == 1
        assert fetch(proxy.port, ask(id="n2")).body != first.body
        assert len(peer.requests) == 2
        # What failed before it began is not what a second try should get.
        peer.script = lambda c, r: c.sendall(b"HTTP/1.1 500 no\r\nContent-Length: 0\r\n\r\n")
        assert fetch(proxy.port, ask(id="n3")).status == 502
        peer.script = peer._answer
        assert fetch(proxy.port, ask(id="n3")).status == 200


def test_a_connection_serves_the_next_request_after_such_an_answer():
    with Gated() as peer, Sluice(settings(peer)) as proxy:
        reader = Http1Reader(proxy.port)
        names = [reader.ask("/v1/chat").headers["x-stream-id"] for _ in range(5)]
        assert len(set(names)) == 5 and reader.ask(f"/v1/chat/{names[0]}/stream", None).complete
        assert reader.ask("/v1/chat").complete and len(peer.requests) == 6
        reader.close()
        until(lambda: len([line for line in proxy.exchanges() if line["end"] == "done"]) == 7, what="the log")


# What is not there


def test_names_and_positions_that_nobody_has():
    with Gated() as peer, Sluice(settings(peer)) as proxy:
        unknown = "A" * 22
        for path, head in [(ask(), last_event(unknown, 7)), (f"/sse-text/{unknown}/stream", []),
                           ("/sse-text/whatever/stream", []), (ask(), ["Last-Event-ID: 17"])]:
            reply = fetch(proxy.port, path, headers=head)
            assert reply.status == 200 and reply.complete, reply.raw
            assert reply.body.startswith(b"event: error\ndata: {") and reply.body.endswith(b"/end\n\n"), reply.body
            closing = reply.body.split(b"id: ")[1].strip().decode()
            assert fetch(proxy.port, ask(), headers=[f"Last-Event-ID: {closing}"]).status == 204
        # What EventSource asks for decides where the route leaves it open.
        for path, head in [(ask("/auto"), ["Accept: text/event-stream"]), (ask("/auto", format="sse-text"), [])]:
            reply = fetch(proxy.port, path, headers=[*head, *last_event(unknown, 7)])
            assert reply.status == 200 and reply.body.endswith(b"/end\n\n"), reply.raw
        whole = fetch(proxy.port, ask())
        beyond = fetch(proxy.port, ask(), headers=last_event(name_of(whole), len(whole.body) + 1))
        assert b"event: error" in beyond.body
        assert fetch(proxy.port, f"/text/{unknown}/stream").status == 404
        assert b'"error"' in fetch(proxy.port, f"/ndjson/{unknown}/stream").body
        # An answer of one route is none of another's.
        assert b"event: error" in fetch(proxy.port, f"/sse-text/{name_of(fetch(proxy.port, ask('/text')))}/stream").body
        long = "x" * 129
        for path, head in [(ask(), last_event(long, 1)), (f"/sse-text/{long}/stream", []), (ask(id=long), []),
                           (ask(), ["Last-Event-ID: a b"]), ("/sse-text/%20/stream", []),
                           (f"/sse-text/{unknown}/stream?from=-1", []), (f"/sse-text/{unknown}/stream?from=x", []),
                           (f"/sse-text/{unknown}/stream?from={'9' * 30}", []), ("/sse-text/%ff%fe/stream", [])]:
            assert fetch(proxy.port, path, headers=head).status == 400, path
        refused = fetch(proxy.port, f"/sse-text/{unknown}/stream", method="PUT", body=b"")
        assert refused.status == 405 and refused.headers["allow"] == "GET, DELETE"
        assert fetch(proxy.port, f"/sse-text/{unknown}/other").status == 404
        assert fetch(proxy.port, f"/sse-text/{unknown}", method="DELETE").status == 404
        assert len(peer.requests) == 2


def test_without_resume_an_event_source_never_begins_anew():
    with Gated() as peer, Sluice(settings(peer)) as proxy:
        events = fetch(proxy.port, "/plain?prompt=hi&format=sse-text")
        assert events.body.startswith(b"retry: 1000\n\nid: 1\ndata: Hello\n\n"), events.body
        assert fetch(proxy.port, "/plain?prompt=hi&format=sse-json").body.startswith(b"retry: 1000\n\ndata: ")
        assert fetch(proxy.port, "/plain?prompt=hi").body.startswith(b"Hello")
        assert "x-stream-id" not in events.headers
        calls = len(peer.requests)
        assert fetch(proxy.port, "/plain?prompt=hi", headers=["Last-Event-ID: 3"]).status == 204
        assert len(peer.requests) == calls
        assert fetch(proxy.port, "/plain", {"prompt": "x"}, headers=["Last-Event-ID: 3"]).status == 200
        assert fetch(proxy.port, "/plain/x/stream").status == 404


def test_what_the_buffer_has_no_room_for_is_told_honestly():
    tokens = [f"{number:05} " + "x" * 200 for number in range(200)]
    with Gated(tokens=tokens) as peer, Sluice(settings(peer, {"buffer": "8KiB"}, workers=2)) as proxy:
        whole = fetch(proxy.port, ask())
        name = name_of(whole)
        assert len(whole.body) > 40000
        assert b"event: error" in fetch(proxy.port, f"/sse-text/{name}/stream").body
        start = len(whole.body) - 4000
        assert fetch(proxy.port, f"/sse-text/{name}/stream?from={start}").body == whole.body[start:]
        log = until(lambda: [e for e in proxy.exchanges() if e["end"] == "resume_forgotten"], what="the log")
        assert log[0]["status"] == 200


# Ending


def test_delete_from_another_connection_stops_it():
    with Gated(held=1) as peer, Sluice(settings(peer, workers=4)) as proxy:
        for path, called in [("/sse-text", "by id"), ("/vercel-ui", "by id"), ("/api/chat", "d1"), ("/text", "by id")]:
            body = chat("d1") if path == "/api/chat" else None
            first = Stream(proxy.port, path if body else ask(path), body).until(b"Hello")
            name = name_of(first.reply) if called == "by id" else called
            readers = [Stream(proxy.port, f"{path}/{name}/stream").until(b"Hello") for _ in range(4)]
            hangups = peer.hangups
            target = f"{path}/{name}" + ("" if path == "/sse-text" else "/stream")
            assert fetch(proxy.port, target, method="DELETE").status == 204
            until(lambda: peer.hangups == hangups + 1, what="the upstream is cancelled")
            for each in [first, *readers]:
                reply = each.whole()
                if path == "/text":
                    assert not reply.complete
                else:
                    assert reply.complete and b"the answer was stopped" in reply.body, reply.body
            assert fetch(proxy.port, target, method="DELETE").status == 204
            until(lambda: fetch(proxy.port, target, method="DELETE").status == 404, what="forgotten")
        ends = until(lambda: [e for e in proxy.exchanges() if e["end"] == "stopped"], what="the log")
        assert ends and all("cancel_ms" in line for line in ends)


def test_delete_before_the_first_token():
    with Gated(held=-1) as peer, Sluice(settings(peer)) as proxy:
        first = Stream(proxy.port, "/api/chat", chat("d2"))
        until(lambda: peer.requests, what="the request")
        waiting = Stream(proxy.port, "/api/chat/d2/stream")
        time.sleep(0.05)
        assert fetch(proxy.port, "/api/chat/d2", method="DELETE").status == 204
        assert first.whole().status == 409 and waiting.whole().status == 409
        until(lambda: peer.hangups == 1, what="the upstream is cancelled")
        assert fetch(proxy.port, "/api/chat/d2/stream").status == 204


def test_without_readers_the_upstream_is_stopped_after_the_grace():
    with Gated(held=1) as peer, Sluice(settings(peer, {"grace": "300ms"}, workers=2)) as proxy:
        first = Stream(proxy.port, ask()).until(b"Hello")
        name = name_of(first.reply)
        reader = Stream(proxy.port, f"/sse-text/{name}/stream").until(b"Hello")
        first.close()
        time.sleep(0.6)
        assert peer.hangups == 0
        reader.close()
        until(lambda: peer.hangups == 1, what="the upstream is cancelled")
        line = until(lambda: [e for e in proxy.exchanges() if "generation" in e], what="the log")[0]
        assert line["end"] == "client_gone" and "cancel_ms" in line, line
        # Who comes back for it is told, and does not wait for what never comes.
        rest = fetch(proxy.port, f"/sse-text/{name}/stream")
        assert b"Hello" in rest.body and b"event: error" in rest.body and rest.body.endswith(b"/end\n\n")


def test_a_drained_answer_runs_to_its_end():
    with Gated(held=1) as peer:
        made = settings(peer, {"grace": "0"})
        made["routes"][1]["on_disconnect"] = "drain"
        assert made["routes"][1]["path"] == "/sse-text"
        with Sluice(made) as proxy:
            first = Stream(proxy.port, ask()).until(b"Hello")
            name = name_of(first.reply)
            first.close()
            time.sleep(0.2)
            peer.release()
            body = until(lambda: fetch(proxy.port, f"/sse-text/{name}/stream").body, what="the rest")
            assert b"event: done" in body and peer.hangups == 0


def test_after_its_time_it_is_forgotten():
    with Gated() as peer, Sluice(settings(
            peer, {"ttl": "200ms"}, admin={"address": "127.0.0.1:0"}, workers=2)) as proxy:
        names = [name_of(fetch(proxy.port, ask("/ndjson"))) for _ in range(20)]
        until(lambda: all(b'"error"' in fetch(proxy.port, f"/ndjson/{name}/stream").body for name in names),
              what="forgotten")
        until(lambda: metrics(proxy)["sluice_generation_bytes"] == 0, what="their memory")
        counts = metrics(proxy)
        assert counts["sluice_generations"] == 0 and counts['sluice_generation_events_total{event="begun"}'] == 20
        assert counts['sluice_resumes_total{result="unknown"}'] >= 20


# Faults


def test_an_error_before_the_first_token_is_everybodys():
    gate = threading.Event()

    def script(connection, request):
        gate.wait(20)
        body = b'{"error":{"message":"slow down","type":"rate_limit"}}'
        connection.sendall(b"HTTP/1.1 429 no\r\nRetry-After: 7\r\nContent-Type: application/json\r\n"
                           b"Content-Length: %d\r\n\r\n" % len(body) + body)

    with Peer(script) as peer, Sluice(settings(peer, workers=2)) as proxy:
        first = Stream(proxy.port, "/api/chat", chat("e1"))
        until(lambda: peer.requests, what="the request")
        waiting = [Stream(proxy.port, "/api/chat/e1/stream") for _ in range(4)]
        time.sleep(0.05)
        gate.set()
        for each in [first, *waiting]:
            reply = each.whole()
            assert reply.status == 429 and b"slow down" in reply.body and reply.complete, each.data
            assert reply.headers["retry-after"] == "7" and "x-stream-id" not in reply.headers
        assert fetch(proxy.port, "/api/chat/e1/stream").status == 204
        assert len(peer.requests) == 1


def test_a_cut_upstream_is_a_cut_for_all():
    gate = threading.Event()

    def script(connection, request):
        connection.sendall(HEAD + chunk(event({"content": "Hello"})))
        gate.wait(20)
        return "close"

    with Peer(script) as peer, Sluice(settings(peer, workers=2)) as proxy:
        streams = {}
        for path in ["/sse-json", "/text"]:
            first = Stream(proxy.port, ask(path)).until(b"Hello")
            name = name_of(first.reply)
            streams[path] = (name, [first] + [Stream(proxy.port, f"{path}/{name}/stream").until(b"Hello")
                                              for _ in range(3)])
        gate.set()
        for path, (name, readers) in streams.items():
            bodies = {each.whole().body for each in readers}
            assert len(bodies) == 1, bodies
            assert all(each.reply.complete == (path != "/text") for each in readers)
            late = fetch(proxy.port, f"{path}/{name}/stream")
            assert late.body in bodies and late.complete == (path != "/text")
        assert b'"type":"stream_truncated"' in streams["/sse-json"][1][0].body


# Who may


def test_an_answer_belongs_to_whom_it_was_made_for():
    with tempfile.TemporaryDirectory() as folder, Gated(held=1) as peer:
        keys = keys_file(folder, [line("alice", "key-a"), line("bob", "key-b")])
        with Sluice(settings(peer, auth={"api_keys": {"file": keys}}, workers=2)) as proxy:
            alice, bob = bearer("key-a"), bearer("key-b")
            first = Stream(proxy.port, ask(), headers=alice).until(b"Hello")
            own = Stream(proxy.port, "/api/chat", chat("s1"), headers=alice).until(b"Hello")
            name = name_of(first.reply)
            assert fetch(proxy.port, f"/sse-text/{name}/stream").status == 401
            assert fetch(proxy.port, f"/sse-text/{name}", method="DELETE").status == 401
            assert b"event: error" in fetch(proxy.port, f"/sse-text/{name}/stream", headers=bob).body
            assert b"event: error" in fetch(proxy.port, ask(), headers=[*bob, *last_event(name, 43)]).body
            assert fetch(proxy.port, f"/sse-text/{name}", method="DELETE", headers=bob).status == 404
            assert fetch(proxy.port, "/api/chat/s1/stream", headers=bob).status == 204
            assert fetch(proxy.port, "/api/chat/s1", method="DELETE", headers=bob).status == 404
            again = Stream(proxy.port, f"/sse-text/{name}/stream", headers=alice).until(b"Hello")
            peer.release()
            assert again.whole().body == first.whole().body and own.whole().complete


def test_readers_count_and_pages_may_ask():
    with Gated(held=1) as peer:
        made = settings(peer, cors={"origins": ["https://a.example"]})
        made["routes"][1]["rate_limit"] = {"concurrent": 2, "by": "address"}
        with Sluice(made) as proxy:
            first = Stream(proxy.port, ask(), headers=["Origin: https://a.example"]).until(b"Hello")
            name = name_of(first.reply)
            assert "X-Stream-Id" in first.reply.headers["access-control-expose-headers"]
            second = Stream(proxy.port, f"/sse-text/{name}/stream", headers=["Origin: https://a.example"])
            second.until(b"Hello")
            assert second.data.lower().count(b"access-control-allow-origin") == 1
            assert fetch(proxy.port, f"/sse-text/{name}/stream").status == 429
            second.close()
            until(lambda: fetch(proxy.port, f"/sse-text/{name}", method="DELETE").status == 204, what="a free place")
            asking = ["Origin: https://a.example", "Access-Control-Request-Method: DELETE"]
            allowed = fetch(proxy.port, "/api/chat/x/stream", method="OPTIONS", headers=asking)
            assert allowed.status == 204 and "DELETE" in allowed.headers["access-control-allow-methods"]


# Readers of different speed


def test_a_reader_that_stalls_holds_up_nobody_but_the_upstream_if_it_is_alone():
    big = ["y" * 1000] * 8000

    with Gated(tokens=big) as peer, Sluice(settings(
            peer, {"buffer": "1MiB"}, workers=2, limits={"slow_client": "60s"},
            admin={"address": "127.0.0.1:0"})) as proxy:
        lone = socket.socket()
        lone.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lone.connect(("127.0.0.1", proxy.port))
        lone.sendall(request_bytes(ask("/text", id="b1"), headers=["Connection: close"]))
        until(lambda: metrics(proxy).get('sluice_streams_paused{route="/text"}') == 1, 20, "the upstream is paused")
        assert metrics(proxy)["sluice_generation_bytes"] < 1200 << 10
        # One that keeps up sets the pace; who is left behind is cut off where the buffer ends.
        quick = fetch(proxy.port, "/text?prompt=hi&id=b1", seconds=60)
        assert quick.complete and len(quick.body) == 8_000_000
        assert metrics(proxy)["sluice_generation_bytes"] < 1200 << 10
        lone.settimeout(30)
        data = b""
        try:
            while more := lone.recv(65536):
                data += more
        except ConnectionError:
            pass
        assert not data.endswith(b"0\r\n\r\n"), "the one that was left behind was told that it had all"
        assert len(peer.requests) == 1


def test_a_client_that_takes_nothing_is_dropped_and_the_answer_goes_on():
    big = ["z" * 1000] * 4000

    with Gated(tokens=big) as peer, Sluice(settings(
            peer, {"buffer": "8MiB"}, limits={"slow_client": "500ms"}, admin={"address": "127.0.0.1:0"})) as proxy:
        lone = socket.socket()
        lone.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lone.connect(("127.0.0.1", proxy.port))
        lone.sendall(request_bytes(ask("/text", id="c1"), headers=["Connection: close"]))
        whole = fetch(proxy.port, "/text?prompt=hi&id=c1", seconds=60)
        assert whole.complete and len(whole.body) == 4_000_000
        until(lambda: metrics(proxy)["sluice_connections_open"] == 0, what="the client is dropped")
        lone.settimeout(30)
        data = b""
        try:
            while more := lone.recv(65536):
                data += more
        except ConnectionError:
            pass
        assert not data.endswith(b"0\r\n\r\n")


def test_all_together_keep_within_their_bound():
    tokens = ["w" * 1000] * 60
    with Gated(tokens=tokens) as peer, Sluice(settings(
            peer, workers=2, limits={"resume_buffers": "512KiB"}, admin={"address": "127.0.0.1:0"})) as proxy:
        names = [name_of(fetch(proxy.port, ask("/text"))) for _ in range(40)]
        counts = metrics(proxy)
        assert counts["sluice_generation_bytes"] <= (512 << 10) + (64 << 10), counts["sluice_generation_bytes"]
        assert counts['sluice_generation_events_total{event="evicted"}'] >= 20
        assert fetch(proxy.port, f"/text/{names[0]}/stream").status == 404
        assert len(fetch(proxy.port, f"/text/{names[-1]}/stream").body) == 60000
        # Those that run are not thrown out: new ones go on without.
        peer.held = 50
        lives = []
        for _ in range(20):
            lives.append(Stream(proxy.port, ask("/text")))
            until(lambda: len(lives[-1].body) == 50_000, what="its tokens")
        refused = [each for each in lives if "x-stream-id" not in each.reply.headers]
        assert 0 < len(refused) < 20
        counts = metrics(proxy)
        assert counts['sluice_generation_events_total{event="refused"}'] == len(refused)
        assert counts["sluice_generation_bytes"] <= (512 << 10) + 12 * (64 << 10)
        peer.release()
        assert all(each.whole().complete and len(each.body) == 60_000 for each in lives)


# The process


def test_a_drain_ends_what_nobody_reads_and_waits_for_the_rest():
    with Gated(held=1) as peer, Sluice(settings(peer, workers=4)) as proxy:
        unread = Stream(proxy.port, ask()).until(b"Hello")
        unread.close()
        first = Stream(proxy.port, ask("/sse-json")).until(b"Hello")
        readers = [Stream(proxy.port, f"/sse-json/{name_of(first.reply)}/stream").until(b"Hello") for _ in range(6)]
        first.close()
        proxy.process.send_signal(signal.SIGTERM)
        until(lambda: peer.hangups == 1, what="the one that nobody reads is stopped")
        time.sleep(0.1)
        assert proxy.process.poll() is None
        peer.release()
        for each in readers:
            assert each.whole().complete and each.body.endswith(b"/end\n\n"), each.data[-200:]
        assert proxy.process.wait(20) == 0


def test_the_drain_timeout_ends_them_all():
    with Gated(held=1) as peer, Sluice(settings(peer, workers=4, drain_timeout="300ms")) as proxy:
        first = Stream(proxy.port, ask("/sse-json")).until(b"Hello")
        readers = [Stream(proxy.port, f"/sse-json/{name_of(first.reply)}/stream").until(b"Hello") for _ in range(8)]
        began = time.monotonic()
        proxy.process.send_signal(signal.SIGTERM)
        for each in [first, *readers]:
            assert each.whole().complete and b"going down" in each.body, each.data[-200:]
        assert proxy.process.wait(20) == 0
        # The last word has been taken by all: nobody is waited for until the farewell ends.
        assert time.monotonic() - began < 10


def test_answers_live_through_a_reload():
    with Gated(held=1) as peer:
        made = settings(peer, workers=2)
        with Sluice(made) as proxy:
            first = Stream(proxy.port, ask("/sse-json")).until(b"Hello")
            other = Stream(proxy.port, ask("/sse-text")).until(b"Hello")
            made["routes"] = [route for route in made["routes"] if route["path"] != "/sse-text"]
            made["routes"].insert(0, {"path": "/new", "request": "prompt", "response": "text", "upstream": "u"})
            proxy.write(made)
            hangup(proxy)
            until(lambda: fetch(proxy.port, f"/sse-text/{name_of(other.reply)}/stream").status == 404, what="no route")
            again = Stream(proxy.port, f"/sse-json/{name_of(first.reply)}/stream").until(b"Hello")
            peer.release()
            assert again.whole().body == first.whole().body and other.whole().complete


def test_http2_reads_on_too():
    with Gated(held=1) as peer, Sluice(settings(peer, workers=2)) as proxy:
        session = connect_http2(proxy.port)
        first = session.request(ask("/sse-json"))
        first.wait(lambda s: b"Hello" in s.body, "a token")
        name = first.field("x-stream-id")
        second = connect_http2(proxy.port)
        readers = [connection.request(f"/sse-json/{name}/stream") for connection in (session, second)]
        for each in readers:
            each.wait(lambda s: b"Hello" in s.body, "a token")
        first.abort(8)
        plain = Stream(proxy.port, f"/sse-json/{name}/stream").until(b"Hello")
        peer.release()
        bodies = {bytes(each.wait_over().body) for each in readers} | {plain.whole().body}
        assert len(bodies) == 1 and bodies.pop().endswith(b"/end\n\n")
        assert all(each.complete for each in readers) and len(peer.requests) == 1
        assert session.fetch(f"/sse-json/{name}", method="DELETE").status == 204
        session.close()
        second.close()


# What stands between events


def test_keepalives_are_for_who_waits_and_no_part_of_the_answer():
    with Gated(held=1) as peer:
        made = settings(peer, workers=4)
        for route in made["routes"]:
            route["keepalive"] = "50ms"
        with Sluice(made) as proxy:
            for path, beat in [("/sse-text", b":\n\n"), ("/openai-chat", b":\n"), ("/anthropic", b"event: ping\n")]:
                peer.gate.clear()
                first = Stream(proxy.port, ask(path)).until(b"Hello")
                name = name_of(first.reply)
                readers = [first] + [Stream(proxy.port, f"{path}/{name}/stream").until(b"Hello") for _ in range(6)]
                for reader in readers:
                    until(lambda: reader.body.count(b"\n" + beat) >= 2, what=f"keepalives {reader.data!r}")
                    assert path != "/openai-chat" or b":\n\n" not in reader.body
                peer.release()
                kept = fetch(proxy.port, f"{path}/{name}/stream?from=0").body
                assert b"\n" + beat not in kept and b"Hello" in kept
                for reader in readers:
                    assert reader.whole().complete and reader.body.replace(beat, b"") == kept.replace(beat, b"") or (
                        path == "/anthropic" and reader.body.replace(beat + b'data: {"type": "ping"}\n\n', b"") == kept)
            until(lambda: [line for line in proxy.exchanges() if "resumed" in line and line.get("pings", 0) >= 2], what="the log")


def test_a_relayed_stream_gets_ids_however_it_is_cut():
    """CRLF, comments, ids of its own, and bytes that come one by one."""
    text = (b": hello\r\n\r\nid: own-1\r\n" + event({"content": "Hel"}).replace(b"\n", b"\r\n")
            + b"event: x\r\n" + event({"content": "lo"}).replace(b"\n", b"\r\n") + event({}, "stop") + b"data: [DONE]\n\n")

    def script(connection, request):
        connection.sendall(HEAD)
        for index in range(0, len(text), 3):
            connection.sendall(chunk(text[index:index + 3]))
        connection.sendall(b"0\r\n\r\n")

    with Peer(script) as peer, Sluice(settings(peer)) as proxy:
        whole = fetch(proxy.port, "/v1/chat", {"model": "m", "stream": True, "messages": [{"role": "user", "content": "x"}]})
        assert whole.complete and b"\r" not in whole.body and b"own-1" not in whole.body, whole.body
        name, body = name_of(whole), whole.body
        plain = ID.sub(b"", body)
        assert plain == text.replace(b"\r\n", b"\n").replace(b"id: own-1\n", b""), plain
        positions = [int(position) for _, position in ID.findall(body)]
        assert len(positions) == 5 and positions[-1] == len(body)
        for position in positions:
            assert body[:position].endswith(b"\n\n")
            assert fetch(proxy.port, "/v1/chat", {"x": 1}, headers=last_event(name, position)).body == body[position:]
        assert len(peer.requests) == 1


def test_the_official_libraries_read_streams_with_ids():
    import anthropic
    import openai

    with Gated(held=2) as peer:
        routes = [{"path": "/v1/chat/completions", "request": "openai-chat", "response": "openai-chat"},
                  {"path": "/v1/messages", "request": "anthropic", "response": "anthropic", "drop_unsupported": True}]
        for route in routes:
            route.update({"upstream": "u", "resume": {}, "keepalive": "30ms"})
        with Sluice(settings(peer, routes=routes)) as proxy:
            def release():
                until(lambda: len(peer.requests) > calls, what="the request")
                time.sleep(0.3)
                peer.release()

            for library in ("openai", "anthropic"):
                calls = len(peer.requests)
                peer.gate.clear()
                threading.Thread(target=release, daemon=True).start()
                messages = [{"role": "user", "content": "hi"}]
                if library == "openai":
                    client = openai.OpenAI(base_url=f"http://127.0.0.1:{proxy.port}/v1", api_key="x", max_retries=0)
                    chunks = client.chat.completions.create(model="m", messages=messages, stream=True)
                    text = "".join(each.choices[0].delta.content or "" for each in chunks if each.choices)
                else:
                    client = anthropic.Anthropic(base_url=f"http://127.0.0.1:{proxy.port}", api_key="x", max_retries=0)
                    with client.messages.stream(model="m", max_tokens=99, messages=messages) as chunks:
                        text = "".join(chunks.text_stream)
                assert text == "".join(TOKENS), text
                client.close()

            def made():
                return [line for line in proxy.exchanges() if "generation" in line]

            lines = until(lambda: made() if len(made()) == 2 else None, what="the log")
        assert [line["end"] for line in lines] == ["done", "done"] and all(line["pings"] > 1 for line in lines), lines


def test_a_reader_that_falls_out_of_the_buffer_is_told_or_cut_off():
    big = ["v" * 1000] * 6000
    with Gated(tokens=big, held=1) as peer, Sluice(settings(
            peer, {"buffer": "64KiB"}, limits={"slow_client": "60s"}, workers=2)) as proxy:
        for path in ["/text", "/sse-text"]:
            peer.gate.clear()
            first = Stream(proxy.port, ask(path)).until(b"vvv")
            slow = [socket.socket() for _ in range(4)]
            for each in slow:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                each.connect(("127.0.0.1", proxy.port))
                each.sendall(request_bytes(f"{path}/{name_of(first.reply)}/stream", headers=["Connection: close"]))
                each.settimeout(30)
                assert each.recv(100)
            peer.release()
            assert first.whole(60).complete and len(first.body) >= 6_000_000
            for each in slow:
                data = drain(each, 30)
                assert len(data) < 5_000_000 and not data.endswith(b"/end\n\n\r\n0\r\n\r\n") or b"event: error" in data
                if path == "/text":
                    assert not data.endswith(b"0\r\n\r\n")
        ends = until(lambda: [line["end"] for line in proxy.exchanges() if line["end"] == "resume_forgotten"], what="the log")
        assert set(ends) == {"resume_forgotten"} and len(peer.requests) == 2


def test_memory_comes_back_when_answers_are_forgotten():
    facts = Measure(streams=60, ttl=1, tokens=200, bound=4 << 20).run()
    ended, after, before = facts["all have ended"], facts["forgotten"], facts["before"]
    assert 0 < ended["kept"] <= (4 << 20) + (64 << 10), ended
    assert after["buffers"] <= before["buffers"] + (256 << 10), facts
    assert after["resident"] <= before["resident"] + (8 << 20), facts
