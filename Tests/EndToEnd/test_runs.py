"""Runs of workflows as the front ends of model-compose ask for them, beside what the real one was recorded to answer."""

import hashlib
import json
import pathlib
import re
import signal
import subprocess
import tempfile
import threading

from harness import BINARY, DONE, HEAD, TOKENS, Peer, Sluice, chunk, connect, drain, event, fetch, request_bytes, until
from http2_peer import connect_http2
from redis_world import Redis, all_up
from resume_world import Gated, Stream, metrics

FOLDER = pathlib.Path(__file__).parent.parent / "Fixtures" / "model-compose"
RECORDED = json.loads((FOLDER / "recorded.json").read_text())
JSON = "Content-Type: application/json"
RUNS = "/api/workflows/runs"
ULID = re.compile("[0-9A-HJKMNP-TV-Z]{26}")
UNKNOWN = "01M7XEDZS2DEBXEC4M3R8MB31S"
TEXT = "".join(TOKENS)


def workflow(name, response="auto", upstream="u", path=RUNS, **more):
    """A route; `route` holds what is no part of the workflow."""
    route = more.pop("route", {})
    return {"path": path, "request": "run", "response": response, "upstream": upstream, "model": "m",
            "workflow": {"id": name, **more}, **route}


def routes(**route):
    """The workflows that the real one was recorded with."""
    return [
        workflow("chat-text", title="Streaming Chat", default=True, route=route), workflow("chat-json", "sse-json", route=route),
        workflow("chat-plain", "text", route=route), workflow("claude", upstream="claude", route=route),
        workflow("cond-stream", stream=False, route=route),
        workflow("nonstream", output="message", stream=False, route=route)]


def settings(peer, made=None, **changes):
    upstreams = {"u": {"url": peer.url, "dialect": "openai-chat", "api_key": "sk-own"},
                 "claude": {"url": peer.url.removesuffix("/v1"), "dialect": "anthropic-messages", "api_key": "sk-own"}}
    return {"listeners": [{"address": "127.0.0.1:0"}], "workers": 1, "upstreams": upstreams,
            "routes": made or routes(), **changes}


def run(port, body=None, path=RUNS, headers=(JSON,), **more):
    return fetch(port, path, {"input": {"prompt": "hi"}, **more} if body is None else body, headers=headers)


def begin(port, path=RUNS, headers=(JSON,), **more):
    """Begins a task; returns its name."""
    reply = run(port, path=path, headers=headers, wait_for_completion=False, **more)
    told = json.loads(reply.body)
    assert reply.status == 200 and reply.complete and told["status"] == "pending", reply.raw
    assert list(told) == ["task_id", "status", "workflow_id"] and ULID.fullmatch(told["task_id"]), told
    return told["task_id"]


def ask(port, name, query="", path="/api", method=None, headers=()):
    return fetch(port, f"{path}/tasks/{name}{query}", method=method, headers=headers)


def state(port, name, **more):
    return json.loads(ask(port, name, **more).body)


def over(port, name, **more):
    """The state of a task that is over."""
    return until(lambda: (told := state(port, name, **more))["status"] not in ("pending", "processing", "cancelling") and told,
                 30, f"the end of {name}")


# As the front end's own code reads the stream


def by_fetch(body):
    """What `documentation`'s loop makes of it: lines that begin with `data: `, and what stands behind that."""
    return "".join(line[6:] for line in body.decode().split("\n") if line.startswith("data: "))


def by_event_source(body):
    """WHATWG HTML §9.2.6; refuses what such a client has no use for."""
    texts = []
    for block in re.split(r"\r\n\r\n|\n\n|\r\r", body.decode())[:-1]:
        lines = re.split(r"\r\n|\n|\r", block)
        assert all(line.startswith(("data: ", ":")) for line in lines), lines
        texts.append("\n".join(line[6:] for line in lines if line.startswith("data: ")))
    return texts


# The recorded upstream


def recorded_tokens():
    """What the upstream said in each case, read back from what the real one made of it."""
    def told(name):
        return [json.loads(line[6:]) for line in RECORDED[name]["body"].split("\n") if line.startswith("data: ")]

    tokens = {"basic": told("json-basic"), "newlines": told("json-newlines"), "middisc": told("json-middisc")}
    tokens["emoji"] = by_event_source(RECORDED["text-emoji"]["body"].encode())
    tokens["slow"] = [f"t{index} " for index in range(10)]
    return tokens


RECORDED_TOKENS = recorded_tokens()
CUT = {"middisc", "midclean", "miderror", "midfin", "garbage"}
ERRORS = {
    "e401": (401, {"error": {"message": "Incorrect API key provided: sk-bad", "type": "invalid_request_error"}}),
    "e429": (429, {"error": {"message": "Rate limit reached for gpt-4o", "type": "requests", "code": "rate_limit_exceeded"}}),
    "e500": (500, {"error": {"message": "The server had an error", "type": "server_error"}}),
}


def tool_call():
    return event({"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]})


def recorded_upstream(connection, request):
    case = re.search(rb"case=(\w+)", request)[1].decode()
    if case == "preclose":
        return "close"
    if case in ERRORS or case == "html502":
        status, body = ERRORS.get(case, (502, None))
        body = json.dumps(body).encode() if body else b"<html><body><h1>502 Bad Gateway</h1></body></html>"
        kind = b"application/json" if case in ERRORS else b"text/html"
        connection.sendall(b"HTTP/1.1 %d X\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (
            status, kind, len(body), body))
        return None
    if b"/messages" in request.split(b"\r\n", 1)[0]:
        return claude(connection, case)
    tokens = RECORDED_TOKENS.get(case if case not in CUT else "middisc", RECORDED_TOKENS["basic"])
    connection.sendall(HEAD + chunk(event({"role": "assistant", "content": ""})))
    if case == "tools":
        connection.sendall(chunk(tool_call()) + chunk(event({}, "tool_calls") + b"data: [DONE]\n\n") + b"0\r\n\r\n")
        return None
    for token in tokens:
        connection.sendall(chunk(event({"content": token})))
    if case == "midclean":
        connection.sendall(b"0\r\n\r\n")
    elif case == "miderror":
        error = {"error": {"message": "The server had an error", "type": "server_error"}}
        connection.sendall(chunk(b"data: %s\n\n" % json.dumps(error).encode()) + b"0\r\n\r\n")
    elif case == "garbage":
        connection.sendall(chunk(b"data: {not json\n\n") + chunk(DONE) + b"0\r\n\r\n")
    elif case in CUT:
        return "close"
    else:
        connection.sendall(chunk(DONE if case != "nodone" else event({}, "stop")) + b"0\r\n\r\n")
    return None


def claude(connection, case):
    def send(kind, **members):
        data = json.dumps({"type": kind, **members})
        connection.sendall(chunk(f"event: {kind}\ndata: {data}\n\n".encode()))

    connection.sendall(HEAD)
    send("message_start", message={"id": "msg_1", "model": "m", "usage": {"input_tokens": 3, "output_tokens": 1}})
    send("content_block_start", index=0, content_block={"type": "text", "text": ""})
    for token in RECORDED_TOKENS.get(case if case not in CUT else "middisc", RECORDED_TOKENS["basic"]):
        send("content_block_delta", index=0, delta={"type": "text_delta", "text": token})
    if case == "middisc":
        return "close"
    if case == "miderror":
        send("error", error={"type": "overloaded_error", "message": "Overloaded"})
    elif case != "midclean":
        send("content_block_stop", index=0)
        send("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 5})
        send("message_stop")
    connection.sendall(b"0\r\n\r\n")
    return None


def essence(kind):
    return (kind or "").split(";")[0]


def replay(port, recorded):
    """The recorded request once more."""
    asked = recorded["request"]
    headers = [f"Content-Type: {asked['type']}"] if asked["type"] else []
    return fetch(port, asked["path"], asked["body"].encode() or None, asked["method"], headers)


# Where this one means to differ: the failures of streams are told by the transfer, those of providers by their own status.
CUT_HERE = {"text-midclean", "text-miderror", "json-miderror", "claude-midclean", "claude-miderror", "text-garbage"}
STATUS_HERE = {"text-e401": 401, "text-e429": 429, "text-e500": 502, "text-html502": 502, "text-preclose": 502, "claude-e429": 429}


def test_each_recorded_stream_is_the_same_here():
    compared = 0
    with Peer(recorded_upstream) as peer, Sluice(settings(peer)) as proxy:
        for name, recorded in RECORDED.items():
            if not name.startswith(("text-", "json-", "plain-", "claude-", "slow", "api-default")) or name in STATUS_HERE:
                continue
            # Only its own upstream knows how often it fails; and several choices, or tools among the text, are asked of nobody here.
            if name in ("text-flaky", "text-nchoices", "claude-tools"):
                continue
            reply, body = replay(proxy.port, recorded), recorded["body"].encode()
            if name == "text-garbage":
                body = RECORDED["text-middisc"]["body"].encode()
            assert reply.status == recorded["status"] == 200, (name, reply.raw)
            if name == "plain-basic":
                assert reply.headers["content-type"] == "text/plain; charset=utf-8"
            else:
                assert reply.headers["content-type"] == recorded["type"], (name, reply.headers)
                assert "no-cache" in reply.headers["cache-control"]
            if name in ("text-newlines", "claude-newlines"):
                # A lone CR, which no event can hold, is a line end here; there, it is lost to whoever reads events.
                assert reply.body.replace(b"\ndata: \n\ndata: data: x", b"\n\ndata: data: x") == body.replace(b"\r", b""), reply.body
                texts = by_event_source(reply.body)
                assert "".join(texts) == "".join(RECORDED_TOKENS["newlines"]).replace("\r\n", "\n").replace("\r", "\n")
            elif name.startswith("json-"):
                events = [json.loads(text) for text in by_event_source(reply.body)]
                assert events == [json.loads(text) for text in by_event_source(body)], (name, reply.body)
            else:
                assert reply.body == body, (name, reply.body)
            assert reply.complete == (recorded["end"] == "complete" and name not in CUT_HERE), name
            compared += 1
    assert compared > 18, compared


def test_each_recorded_answer_is_the_same_here():
    with Peer(recorded_upstream) as peer, Sluice(settings(peer)) as proxy:
        for name in ("api-badjson", "api-noctype", "api-noflags", "api-nowait-outputonly", "api-stream-outputonly-false",
                     "api-get-runs", "api-health", "api-task-unknown", "nowf", "nonstream", "api-nonstream-full", "api-nowait",
                     "api-nowait-stream", "api-workflow-schema"):
            recorded = RECORDED[name]
            reply = replay(proxy.port, recorded)
            assert (reply.status, essence(reply.headers["content-type"])) == (recorded["status"], recorded["type"]), name
            assert reply.complete and reply.headers.get("allow") == recorded.get("allow")
            told, expected = json.loads(reply.body), json.loads(recorded["body"])
            if name == "api-badjson":
                # Where in it, Python says in its own words.
                assert told["detail"].startswith("Invalid request body: ") and list(told) == ["detail"]
                continue
            if "task_id" in expected:
                assert list(told) == list(expected) and ULID.fullmatch(told.pop("task_id")) and expected.pop("task_id")
            assert told == expected, (name, told)
        for name in ("api-workflows", "api-workflows-schema"):
            reply = replay(proxy.port, RECORDED[name])
            told, expected = json.loads(reply.body), json.loads(RECORDED[name]["body"])
            names = [route["workflow"]["id"] for route in routes()]
            assert [entry["workflow_id"] for entry in told] == names
            # The workflows are others, but the members that tell of them are the same.
            assert told[0] == expected[0]
            if name == "api-workflows-schema":
                known = {entry["workflow_id"]: entry for entry in expected}
                for entry in told[:4]:
                    assert entry == known[entry["workflow_id"]]
                assert told[-1]["output"] == [{"name": "message", "type": "string", "is_list": False}]
        # A task that is over, and its output alone.
        name = begin(proxy.port, workflow_id="nonstream", input={"prompt": "case=basic"})
        told, expected = over(proxy.port, name), json.loads(RECORDED["api-task-get"]["body"])
        assert list(told) == list(expected) and told == {**expected, "task_id": name}
        reply = ask(proxy.port, name, "?output_only=true")
        assert (reply.status, json.loads(reply.body)) == (200, json.loads(RECORDED["api-task-get-output"]["body"]))
        # What a provider said, with its status, in place of 500 and a traceback.
        for name, status in STATUS_HERE.items():
            reply = replay(proxy.port, RECORDED[name])
            assert (reply.status, list(json.loads(reply.body))) == (status, ["detail"]), (name, reply.raw)
            words = ERRORS.get(name.split("-")[1])
            assert not words or name.startswith("claude") or json.loads(reply.body)["detail"] == words[1]["error"]["message"]
        # `input.stream` chooses; the default is the workflow's.
        assert by_fetch(replay(proxy.port, RECORDED["cond-stream-true"]).body) == by_fetch(RECORDED["cond-stream-true"]["body"].encode())
        for name in ("cond-stream-absent", "cond-stream-false"):
            reply = replay(proxy.port, RECORDED[name])
            assert reply.status == 200 and json.loads(reply.body) == "".join(RECORDED_TOKENS["basic"]), reply.raw


def test_front_ends_read_it():
    """A page that posts and reads lines, one that reads events, and one that polls: as their own documents have them."""
    with Gated(2, TOKENS) as peer, Sluice(settings(peer)) as proxy:
        page = Stream(proxy.port, RUNS, {"input": {"prompt": "hi"}, "output_only": True, "wait_for_completion": True},
                      headers=[JSON, "Accept: application/json"]).until(TOKENS[0].encode())
        # Before the rest is even made.
        assert page.reply.status == 200 and not page.isOver
        name = begin(proxy.port)
        assert state(proxy.port, name) == {"task_id": name, "status": "processing", "workflow_id": "chat-text"}
        peer.release()
        body = page.whole().body
        assert page.reply.complete and by_fetch(body) == TEXT.replace("\n", "")
        assert "".join(by_event_source(body)) == TEXT and b"id:" not in body and b"event:" not in body
        assert over(proxy.port, name)["output"] == TEXT
        # Forms, as `curl -F` and `curl -d` send them.
        boundary = "----form"
        multipart = "".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
            for key, value in (("input[prompt]", "hi"), ("output_only", "true"), ("workflow_id", "chat-json"))) + f"--{boundary}--\r\n"
        reply = run(proxy.port, multipart.encode(), headers=[f"Content-Type: multipart/form-data; boundary={boundary}"])
        assert [json.loads(text) for text in by_event_source(reply.body)] == TOKENS, reply.raw
        reply = run(proxy.port, b"input[prompt]=h%C3%A9+you&output_only=true",
                    headers=["Content-Type: application/x-www-form-urlencoded"])
        assert by_event_source(reply.body) == by_event_source(body)
        assert "hé you" in json.loads(peer.requests[-1].split(b"\r\n\r\n", 1)[1])["messages"][-1]["content"]
        # Over HTTP/2 too.
        session = connect_http2(proxy.port)
        stream = session.request(RUNS, {"input": "hi", "output_only": True}, fields=[("content-type", "application/json")])
        assert bytes(stream.wait_over().body) == body and stream.complete
        session.close()


# Tasks


def test_a_task_whose_client_never_comes_back():
    with Gated(2, TOKENS) as peer, Sluice(settings(peer, workers=2, admin={"address": "127.0.0.1:0"})) as proxy:
        name = begin(proxy.port)
        until(lambda: len(peer.requests) == 1, what="the upstream's request")
        assert state(proxy.port, name)["status"] == "processing"
        # Readers begin at its beginning, whenever they come, on whatever thread.
        readers = [Stream(proxy.port, f"/api/tasks/{name}?output_only=true").until(TOKENS[0].encode()) for _ in range(6)]
        leaver = Stream(proxy.port, f"/api/tasks/{name}?output_only=true").until(TOKENS[0].encode())
        leaver.close()
        peer.release()
        bodies = {reader.whole().body for reader in readers}
        assert len(bodies) == 1 and "".join(by_event_source(bodies.copy().pop())) == TEXT
        assert all(reader.reply.complete and reader.reply.headers["content-type"].startswith("text/event-stream")
                   for reader in readers)
        for _ in range(8):
            assert over(proxy.port, name) == {
                "task_id": name, "status": "completed", "workflow_id": "chat-text", "output": TEXT}
            assert ask(proxy.port, name, "?output_only=true").body in bodies
        assert len(peer.requests) == 1
        # Its line in the log, when it is over.
        line = until(lambda: [e for e in proxy.exchanges() if e.get("task") == name and e.get("generation")], what="a line")[0]
        assert line["end"] == "done" and line["path"] == RUNS
        # Another workflow's form, and that of a document.
        other = begin(proxy.port, workflow_id="chat-json")
        assert over(proxy.port, other)["output"] == TEXT
        assert [json.loads(text) for text in by_event_source(ask(proxy.port, other, "?output_only=true").body)] == TOKENS
        document = begin(proxy.port, workflow_id="nonstream")
        assert over(proxy.port, document)["output"] == {"message": TEXT}
        reply = ask(proxy.port, document, "?output_only=true")
        assert json.loads(reply.body) == {"message": TEXT} and reply.status == 200
        peer.gate.clear()
        document = begin(proxy.port, workflow_id="nonstream")
        reply = ask(proxy.port, document, "?output_only=true")
        assert reply.status == 202 and json.loads(reply.body)["status"] == "processing"
        peer.release()
        over(proxy.port, document)
        # Forgotten when a client says so.
        assert ask(proxy.port, name, method="DELETE").status == 204
        assert ask(proxy.port, name).status == 404
        counted = metrics(proxy)
        assert counted["sluice_tasks"] == 0 and counted['sluice_generation_events_total{event="begun"}'] == 4, counted


def test_a_cancelled_task_stops_its_upstream():
    with Gated(1, TOKENS) as peer, Sluice(settings(peer, workers=2)) as proxy:
        name = begin(proxy.port)
        reader = Stream(proxy.port, f"/api/tasks/{name}?output_only=true").until(TOKENS[0].encode())
        reply = ask(proxy.port, name, "/cancel", method="POST")
        assert (reply.status, json.loads(reply.body)) == (
            200, {"task_id": name, "status": "cancelled", "workflow_id": "chat-text"})
        until(lambda: peer.hangups == 1, what="the upstream's end")
        assert not reader.whole().complete
        assert state(proxy.port, name)["status"] == "cancelled"
        reply = ask(proxy.port, name, "?output_only=true")
        assert (reply.status, json.loads(reply.body)["status"]) == (409, "cancelled")
        reply = ask(proxy.port, name, "/cancel", method="POST")
        assert (reply.status, list(json.loads(reply.body))) == (409, ["detail"])
        assert ask(proxy.port, UNKNOWN, "/cancel", method="POST").status == 404
        assert ask(proxy.port, name, "/cancel").status == 405
        # Without waiting for it; and with a body, as clients that always send one do.
        name = begin(proxy.port)
        until(lambda: len(peer.requests) == 2, what="the upstream's request")
        reply = fetch(proxy.port, f"/api/tasks/{name}/cancel?wait_for_completion=false", {}, headers=[JSON])
        assert json.loads(reply.body)["status"] == "cancelling"
        assert over(proxy.port, name)["status"] == "cancelled"
        until(lambda: peer.hangups == 2, what="the upstream's end")
        # A task that is deleted stops as well.
        name = begin(proxy.port)
        until(lambda: len(peer.requests) == 3, what="the upstream's request")
        assert ask(proxy.port, name, method="DELETE").status == 204
        until(lambda: peer.hangups == 3, what="the upstream's end")
        # Over HTTP/2, where the stream of the answer is over long before the task is.
        session = connect_http2(proxy.port)
        body = {"input": "hi", "wait_for_completion": False}
        begun = session.request(RUNS, body, fields=[("content-type", "application/json")]).wait_over()
        name = json.loads(bytes(begun.body))["task_id"]
        stream = session.request(f"/api/tasks/{name}?output_only=true")
        stream.wait(lambda s: TOKENS[0].encode() in s.body, "a token")
        reply = session.request(f"/api/tasks/{name}/cancel", method="POST").wait_over()
        assert json.loads(bytes(reply.body))["status"] == "cancelled" and not stream.wait_over().complete
        session.close()
        until(lambda: peer.hangups == 4, what="the upstream's end")
        line = until(lambda: [e for e in proxy.exchanges() if e["end"] == "stopped"], what="a line")[0]
        assert line["status"] == 200
        reply = fetch(proxy.port, f"/api/tasks/{name}/resume", {"job_id": "x"}, headers=[JSON])
        assert reply.status == 400 and "not interrupted" in json.loads(reply.body)["detail"]


def test_what_goes_wrong_is_told():
    words = {"e401": "Incorrect API key provided: sk-bad", "e429": "Rate limit reached for gpt-4o", "e500": "The server had an error"}
    with Peer(recorded_upstream) as peer, Sluice(settings(peer)) as proxy:
        def asked(case, **more):
            return run(proxy.port, None, **{"input": {"prompt": f"case={case}"}, **more})

        for case in ("e401", "e429", "e500", "preclose", "middisc", "midclean", "miderror", "html502"):
            name = begin(proxy.port, input={"prompt": f"case={case}"})
            told = over(proxy.port, name)
            assert told["status"] == "failed" and told["error"] and "output" not in told, (case, told)
            assert case not in words or told["error"] == words[case], (case, told)
            reply = ask(proxy.port, name, "?output_only=true")
            assert (reply.status, json.loads(reply.body)) == (500, {"detail": told["error"]}), (case, reply.raw)
            # The same for who waits for a document: a status, and the state of a task that has failed.
            reply = asked(case, workflow_id="nonstream")
            failed = json.loads(reply.body)
            assert reply.status >= 400 and failed["status"] == "failed" and failed["error"] == failed["detail"], reply.raw
            reply = asked(case, workflow_id="nonstream", output_only=True)
            assert reply.status >= 400 and list(json.loads(reply.body)) == ["detail"], reply.raw
        assert "sk-own" not in json.dumps(proxy.log)
        # A request that no upstream can be asked is no task.
        reply = run(proxy.port, {"input": {"question": "?"}, "wait_for_completion": False})
        assert (reply.status, list(json.loads(reply.body))) == (400, ["detail"])
        assert json.loads(run(proxy.port, {"wait_for_completion": False}).body)["detail"] == "input: is missing"


def test_limits_of_tasks():
    big = ["x" * 1000] * 20
    made = routes(resume={"buffer": "4KiB", "ttl": "700ms"})
    with Gated(20, big) as peer, Sluice(settings(peer, made, limits={"tasks": 2})) as proxy:
        told = over(proxy.port, begin(proxy.port))
        assert told["status"] == "failed" and "resume.buffer" in told["error"]
        peer.tokens, peer.held = TOKENS, 1
        names = [begin(proxy.port) for _ in range(2)]
        reply = run(proxy.port, wait_for_completion=False)
        assert reply.status == 503 and reply.headers["retry-after"] and "tasks" in json.loads(reply.body)["detail"]
        # Who waits for his output needs none.
        peer.release()
        assert by_event_source(run(proxy.port, output_only=True).body)
        for name in names:
            assert over(proxy.port, name)["output"] == TEXT
        until(lambda: ask(proxy.port, names[0]).status == 404, what="the end of its time")
        assert over(proxy.port, begin(proxy.port))["status"] == "completed"


def test_tasks_are_their_owners():
    keys = {"alice": "sk-test-a1", "bob": "sk-test-b2"}
    lines = "".join(f"{name} {hashlib.sha256(secret.encode()).hexdigest()}\n" for name, secret in keys.items())
    keys = {name: f"Authorization: Bearer {secret}" for name, secret in keys.items()}
    with Gated(1, TOKENS) as peer:
        made = routes(auth={"api_keys": {"file": "keys.txt"}}, cors={"origins": ["https://app.example"]},
                      rate_limit={"concurrent": 1, "by": "key"})
        with KeyedSluice(settings(peer, made), lines) as proxy:
            assert [run(proxy.port, output_only=True).status, fetch(proxy.port, "/api/workflows").status,
                    ask(proxy.port, UNKNOWN).status, fetch(proxy.port, "/api/health").status] == [401] * 4
            assert list(json.loads(run(proxy.port, output_only=True).body)) == ["detail"]
            name = begin(proxy.port, headers=[JSON, keys["alice"]])
            # Its run counts while it lasts, and whoever asks for it does not.
            assert run(proxy.port, headers=[JSON, keys["alice"]], output_only=True).status == 429
            assert state(proxy.port, name, headers=[keys["alice"]])["status"] == "processing"
            for query, method in (("", None), ("?output_only=true", None), ("/cancel", "POST"), ("", "DELETE")):
                assert ask(proxy.port, name, query, method=method, headers=[keys["bob"]]).status == 404
            page = "Origin: https://app.example"
            reply = ask(proxy.port, name, headers=[keys["alice"], page])
            assert reply.headers["access-control-allow-origin"] == "https://app.example"
            for path, method in ((f"/api/tasks/{name}", "GET"), (f"/api/tasks/{name}/cancel", "POST"), (RUNS, "POST"),
                                 ("/api/workflows", "GET")):
                preflight = fetch(proxy.port, path, method="OPTIONS", headers=[
                    page, f"Access-Control-Request-Method: {method}", "Access-Control-Request-Headers: authorization"])
                assert (preflight.status, preflight.headers["access-control-allow-origin"]) == (204, page[8:]), path
            peer.release()
            assert over(proxy.port, name, headers=[keys["alice"]])["output"] == TEXT
            assert until(lambda: run(proxy.port, headers=[JSON, keys["alice"]], output_only=True).status == 200, what="room")


def test_of_two_of_one_name_each_has_his_own_tasks():
    """Two workflows at one place, each with keys of its own, and each with an alice."""
    with tempfile.TemporaryDirectory() as folder, Gated(1, TOKENS) as peer:
        made, keys = [], {}
        for name in ("one", "two"):
            path = pathlib.Path(folder) / name
            path.write_text(f"alice {hashlib.sha256(f'sk-test-{name}'.encode()).hexdigest()}\n")
            made.append(workflow(name, route={"auth": {"api_keys": {"file": str(path)}}}))
            keys[name] = [f"Authorization: Bearer sk-test-{name}"]
        with Sluice(settings(peer, made)) as proxy:
            name = begin(proxy.port, workflow_id="one", headers=[JSON, *keys["one"]])
            tried = (("", None), ("?output_only=true", None), ("/cancel", "POST"), ("", "DELETE"))

            def refused():
                for query, method in tried:
                    reply = ask(proxy.port, name, query, method=method, headers=keys["two"])
                    unknown = ask(proxy.port, UNKNOWN, query, method=method, headers=keys["two"])
                    assert (reply.status, reply.body) == (404, unknown.body), (query, method, reply.raw)

            refused()
            assert state(proxy.port, name, headers=keys["one"])["status"] == "processing"
            peer.release()
            assert over(proxy.port, name, headers=keys["one"])["output"] == TEXT
            refused()
            assert state(proxy.port, name, headers=keys["one"])["output"] == TEXT
            other = begin(proxy.port, workflow_id="two", headers=[JSON, *keys["two"]])
            assert over(proxy.port, other, headers=keys["two"])["output"] == TEXT
            assert ask(proxy.port, name, method="DELETE", headers=keys["one"]).status == 204


class KeyedSluice(Sluice):
    """With a file of keys beside the configuration."""

    def __init__(self, config, keys):
        self.keys = keys
        super().__init__(config)

    def write(self, config):
        (pathlib.Path(self.path).parent / "keys.txt").write_text(self.keys)
        super().write(config)


# Several processes


def test_any_replica_knows_a_task():
    def replica(peer, redis, patience="5s"):
        made = routes(resume={"store": "redis", "ttl": "60s"})
        where = {"url": redis.url, "timeouts": {"connect": patience, "reply": patience}}
        return Sluice(settings(peer, made, workers=2, redis=where, admin={"address": "127.0.0.1:0"}))

    with Gated(1, TOKENS) as peer, Redis() as redis, replica(peer, redis) as one, replica(peer, redis) as two:
        all_up(one, two)
        name, stopped = begin(one.port), begin(one.port, workflow_id="chat-json")
        # Whoever knows a name finds it anywhere, at once.
        assert state(two.port, name)["status"] == "processing"
        assert state(two.port, stopped) == {"task_id": stopped, "status": "processing", "workflow_id": "chat-json"}
        readers = [Stream(port, f"/api/tasks/{name}?output_only=true").until(TOKENS[0].encode())
                   for port in (one.port, two.port)]
        reply = ask(two.port, stopped, "/cancel", method="POST")
        assert json.loads(reply.body)["status"] == "cancelled", reply.raw
        until(lambda: peer.hangups == 1, what="the upstream's end")
        assert state(one.port, stopped)["status"] == "cancelled"
        # The one that runs it is told to end: it ends it first, and others still know it.
        one.process.send_signal(signal.SIGTERM)
        until(lambda: [e for e in list(one.log) if e["event"] == "draining"], what="draining")
        peer.release()
        assert {reader.whole().body for reader in readers} == {readers[0].body}
        assert all(reader.reply.complete for reader in readers)
        assert over(two.port, name) == {"task_id": name, "status": "completed", "workflow_id": "chat-text", "output": TEXT}
        assert one.process.wait(20) == 0
        assert ask(two.port, name, "?output_only=true").body == readers[0].body
        assert ask(two.port, name, method="DELETE").status == 204
        until(lambda: ask(two.port, name).status == 404, what="its end")
    # Without Redis the process itself knows it.
    with Gated(None, TOKENS) as peer, Redis() as redis, replica(peer, redis, "1s") as one:
        all_up(one)
        redis.freeze()
        # Nobody is waited for longer than a reply may take; who leaves meanwhile does no harm.
        asked = [Stream(one.port, RUNS, {"input": "hi", "wait_for_completion": False}, headers=[JSON]) for _ in range(8)]
        until(lambda: len(peer.requests) == 8, what="the upstream's requests")
        for stream in asked[::2]:
            stream.close()
        for stream in asked[1::2]:
            told = json.loads(stream.whole().body)
            assert told["status"] == "pending"
        redis.kill()
        assert over(one.port, begin(one.port))["output"] == TEXT
    # A process that is gone leaves a task that has failed.
    with Gated(1, TOKENS) as peer, Redis() as redis, replica(peer, redis) as one, replica(peer, redis) as two:
        all_up(one, two)
        for _ in range(20):
            name = begin(one.port)
            reader = Stream(two.port, f"/api/tasks/{name}?output_only=true").until(TOKENS[0].encode())
        one.process.kill()
        assert not reader.whole(30).complete
        redis.kill()
        reply = ask(two.port, name)
        assert reply.status in (404, 503) and list(json.loads(reply.body)) == ["detail"]


def test_reload_and_drain_meanwhile():
    with Gated(1, TOKENS) as peer, Sluice(settings(peer, workers=2)) as proxy:
        name = begin(proxy.port)
        until(lambda: len(peer.requests) == 1, what="the upstream's request")
        changed = settings(peer, [workflow("other"), workflow("chat-text", output="said")], workers=2)
        proxy.write(changed)
        proxy.process.send_signal(signal.SIGHUP)
        until(lambda: [e for e in list(proxy.log) if e["event"] == "reloaded"], what="reloaded")
        assert state(proxy.port, name)["status"] == "processing"
        assert json.loads(run(proxy.port, workflow_id="claude", output_only=True).body)["detail"] == "Workflow 'claude' not found."
        peer.release()
        assert over(proxy.port, name)["output"] == {"said": TEXT}
        # Nobody could ask a process that is to end for what it alone has: it does not wait for that.
        peer.gate.clear()
        begin(proxy.port)
        until(lambda: len(peer.requests) == 2, what="the upstream's request")
        proxy.process.send_signal(signal.SIGTERM)
        assert proxy.process.wait(20) == 0
        until(lambda: peer.hangups == 1, what="the upstream's end")
    # Nor does one begin whose name nobody could use: its request was half here.
    with Gated(1, TOKENS) as peer, Sluice(settings(peer, admin={"address": "127.0.0.1:0"}, drain_timeout="60s")) as proxy:
        sent = request_bytes(RUNS, {"input": {"prompt": "hi"}, "wait_for_completion": False}, headers=[JSON])
        with connect(proxy.port) as client:
            client.sendall(sent[:-5])
            until(lambda: any(count == 1 for name, count in metrics(proxy).items() if name.startswith("sluice_streams_active")),
                  what="half a request")
            proxy.process.send_signal(signal.SIGTERM)
            until(lambda: [e for e in list(proxy.log) if e["event"] == "draining"], what="draining")
            client.sendall(sent[-5:])
            reply = drain(client)
            assert b"503 " in reply and b'"detail"' in reply, reply
        assert proxy.process.wait(20) == 0 and not peer.requests
    # But for those who read it.
    with Gated(1, TOKENS) as peer, Sluice(settings(peer, workers=2)) as proxy:
        name = begin(proxy.port)
        reader = Stream(proxy.port, f"/api/tasks/{name}?output_only=true").until(TOKENS[0].encode())
        proxy.process.send_signal(signal.SIGTERM)
        until(lambda: [e for e in list(proxy.log) if e["event"] == "draining"], what="draining")
        peer.release()
        assert "".join(by_event_source(reader.whole().body)) == TEXT and reader.reply.complete
        assert proxy.process.wait(20) == 0


def test_without_a_file():
    """The demo answers runs at both of the places that front ends look at."""
    with subprocess.Popen([BINARY, "run", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        log = []
        threading.Thread(target=lambda: log.extend(json.loads(line) for line in process.stdout), daemon=True).start()
        try:
            port = int(until(lambda: [e for e in list(log) if e["event"] == "listening"], 20, "listening")[0]["address"].rsplit(":", 1)[1])
            for base in ("", "/api"):
                body = {"input": {"prompt": "hi"}, "output_only": True}
                stream = Stream(port, f"{base}/workflows/runs", body, headers=[JSON]).until(b"data: Hello\n\n")
                stream.close()
                assert json.loads(fetch(port, f"{base}/workflows").body) == [{"workflow_id": "chat", "title": "Chat", "default": True}]
                name = begin(port, path=f"{base}/workflows/runs")
                assert state(port, name, path=base)["status"] == "processing"
                assert json.loads(ask(port, name, "/cancel", path=base, method="POST").body)["status"] == "cancelled"
        finally:
            process.kill()
