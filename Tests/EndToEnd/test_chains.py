"""Routes with steps: what each step is asked, which of them streams, and what becomes of failures, leavers and limits."""

import json
import re
import signal
import time
import zlib

import retry_world
from chain_world import ANSWER, DIALECTS, OUTLINE, Held, Provider, anthropic, ollama, openai, play, question, settings, ui, world
from harness import HEAD, Sluice, chunk, event, fetch, reset, until
from http2_peer import Http2Peer, connect_http2
from life_world import events
from resume_world import Stream, metrics
from retry_world import NOBODY, closed_port, status
from test_life import hangup

ADMIN = {"admin": {"address": "127.0.0.1:0"}}


def admin(proxy):
    return int(until(lambda: events(proxy, "admin_listening"), what="admin")[0]["address"].rsplit(":", 1)[1])


def content(bodies):
    """The last thing that each request says."""
    return [body["messages"][-1]["content"] for body in bodies]


def line(proxy, count=1):
    return until(lambda: len(proxy.exchanges()) >= count and proxy.exchanges()[-1], what="a line in the log")


def texts_of(body):
    """What `openai-chat` says in its stream."""
    found = [json.loads(each) for each in re.findall(rb"^data: (\{.*)$", body, re.MULTILINE)]
    return "".join(choice["delta"].get("content") or "" for each in found for choice in each["choices"])


# What is asked, and who answers


def test_two_steps_in_any_two_dialects():
    for inner in DIALECTS:
        for outer in DIALECTS:
            with Provider(inner(["A: ", "paws\n", "B: tails"])) as one, Provider(outer(["Cats ", "have ", "both."])) as two:
                upstreams = {"one": (one, DIALECTS[inner]), "two": (two, DIALECTS[outer])}
                with world(upstreams) as proxy:
                    reply = fetch(proxy.port, "/text?prompt=cats+%26+dogs")
                    assert (reply.status, reply.body, reply.complete) == (200, b"Cats have both.", True), reply.raw
                    first, second = one.bodies[0], two.bodies[0]
                    assert (first["model"], second["model"]) == ("small", "large")
                    # Settings go into each dialect's own words, and only to the step that has them.
                    limit = first.get("options", {}).get("num_predict", first.get("max_tokens"))
                    assert limit == 300, first
                    assert second.get("max_tokens") != 300 and "options" not in second, second
                    assert "You are terse." in json.dumps(first) and "terse" not in json.dumps(second)
                    said = line(proxy)
                    assert said["end"] == "done" and said["upstream"] == "two" and said["status"] == 200, said
                    assert re.fullmatch(r"outline:done:\d+ms", said["steps"]), said
                for body, text in ((first, "An outline for: cats & dogs"),
                                   (second, "Write it out.\n\nA: paws\nB: tails")):
                    last = content([body])[0]
                    assert (last if isinstance(last, str) else last[0]["text"]) == text, body


def test_the_last_step_streams_token_by_token():
    tokens = ["Cats", " have", " both", " ears"]
    with Provider(anthropic(["paws"])) as one, Held(openai(tokens)) as two:
        with world({"one": (one, "anthropic-messages"), "two": two}) as proxy:
            for path, body in (("/sse-text?prompt=cats", None), ("/chat", question()), ("/ui", ui())):
                stream = Stream(proxy.port, path, body)
                two.release(1)
                seen = b""
                for token in tokens:
                    # The next one leaves its provider only when the client has this one.
                    two.release()
                    stream.until(token.encode())
                    assert len(stream.body) > len(seen) and not stream.isOver
                    seen = stream.body
                two.release()
                assert stream.whole().complete


def test_three_steps_and_what_their_templates_see():
    steps = [
        {"name": "facts", "upstream": "one", "model": "a", "prompt": "Facts on ${input.topic} in ${input.lang:-English}."},
        {"name": "draft", "upstream": "two", "model": "b", "messages": [
            {"role": "system", "content": "Use: ${steps.facts.output.facts[1]}"},
            {"role": "user", "content": "Go"}, {"role": "assistant", "content": "${steps.facts.finish_reason}"},
            {"role": "user", "content": "Of $${input.topic}, $$5: ${input.topic}; ${HOME_OF_CHAINS}"}]},
        {"name": "final", "upstream": "one", "model": "c", "system": "It was ${steps.facts.output}",
         "prompt": "${steps.draft.output}"},
    ]
    facts = '{"facts": ["soft", "9 lives ${steps.draft.output} ${HOME}"]}'
    answers = iter([openai(["```json\n", facts, "\n```"]), openai(["The ", "end."])])
    with Provider(lambda connection, _: play(connection, next(answers))) as one, Provider(openai(["Draft ${input.topic}"])) as two:
        with world({"one": one, "two": two}, steps, environment={"HOME_OF_CHAINS": "${input.lang} here"}) as proxy:
            # No prompt at all: every step has words of its own.
            reply = fetch(proxy.port, "/sse-text?topic=%24%7Bsteps.facts.output%7D+cats")
            assert reply.status == 200 and b"data: The \n" in reply.body, reply.raw
            # What comes from clients, models and the environment is text, whatever it looks like.
            assert content(one.bodies) == ["Facts on ${steps.facts.output} cats in English.", "Draft ${input.topic}"]
            draft = two.bodies[0]["messages"]
            assert draft == [
                {"role": "system", "content": "Use: 9 lives ${steps.draft.output} ${HOME}"},
                {"role": "user", "content": "Go"}, {"role": "assistant", "content": "stop"},
                {"role": "user", "content": "Of ${input.topic}, $5: ${steps.facts.output} cats; ${input.lang} here"},
            ], draft
            assert one.bodies[1]["messages"][0] == {
                "role": "system", "content": "It was ```json\n" + facts + "\n```"}, one.bodies[1]
            assert line(proxy)["steps"].count("done") == 2


def test_input_by_request_format():
    steps = [{"name": "a", "upstream": "u", "prompt": "${input}|${input.prompt}|${input.system:-none}|${input.topic:-none}"},
             {"name": "b", "upstream": "u", "prompt": "x ${steps.a.output}"}]
    chat = [{"role": "system", "content": "S"}, {"role": "user", "content": "old"}, {"role": "assistant", "content": "so"},
            {"role": "user", "content": [{"type": "text", "text": "new"}]}]
    cases = [
        ("/text?prompt=p&topic=t&system=S", None, [], "p|p|S|t"),
        ("/text?topic=t", {"prompt": "p", "system": "S"}, [], "p|p|S|none"),
        ("/text", b"prompt=p&topic=t", ["Content-Type: application/x-www-form-urlencoded"], "p|p|none|t"),
        ("/text", b"plain ${input.topic}", ["Content-Type: text/plain"],
         "plain ${input.topic}|plain ${input.topic}|none|none"),
        ("/chat", {"stream": True, "messages": chat, "topic": "t"}, [], "new|new|S|t"),
        ("/ui", {**ui("hi"), "topic": ["t", 1]}, [], 'hi|hi|none|["t",1]'),
        ("/claude", {"model": "m", "max_tokens": 9, "stream": True, "system": "S", "messages": chat[1:]}, [], "new|new|S|none"),
        ("/run", {"input": "just text"}, [], "just text|just text|none|none"),
        ("/run", {"input": {"prompt": "p", "topic": 3}}, [], '{"prompt":"p","topic":3}|p|none|3'),
    ]
    with Provider(openai(["ok"])) as peer, world({"u": peer}, steps) as proxy:
        for path, body, headers, expected in cases:
            before = len(peer.requests)
            reply = fetch(proxy.port, path, body, headers=headers)
            assert reply.status == 200, (path, body, reply.raw)
            assert content(peer.bodies[before:]) == [expected, "x ok"], (path, body, peer.bodies[before:])


def test_the_clients_own_conversation_and_settings():
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    body = {**question(), "temperature": 0.5, "max_tokens": 77, "tools": [tool], "stop": "END", "logit_bias": {"5": 1}}
    steps = [{"name": "mood", "upstream": "one", "model": "m1", "system": "In a word, how does the user feel?"},
             {"name": "answer", "upstream": "two", "system": "The user is ${steps.mood.output}."}]
    with Provider(openai(["sad"])) as one, Provider(openai(["There, ", "there."])) as two:
        with world({"one": one, "two": two}, steps) as proxy:
            reply = fetch(proxy.port, "/chat", body)
            assert texts_of(reply.body) == "There, there." and reply.complete, reply.raw
            user = {"role": "user", "content": "cats"}
            # An earlier step has the conversation, and of the client's settings nothing.
            asked = {key: value for key, value in one.bodies[0].items() if key not in ("stream", "stream_options")}
            assert asked == {"model": "m1", "messages": [
                {"role": "system", "content": "In a word, how does the user feel?"}, user]}, asked
            # The last one is the client's own request, with what its dialect says that nobody here knows.
            assert two.bodies[0] == {**body, "messages": [
                {"role": "system", "content": "The user is sad."}, user]}, two.bodies[0]
    steps[1]["prompt"] = "Cheer up ${input.who}."
    with Provider(openai(["sad"])) as one, Provider(openai(["There, ", "there."])) as two:
        with world({"one": one, "two": two}, steps) as proxy:
            del body["logit_bias"]
            assert fetch(proxy.port, "/chat", {**body, "who": "me"}).complete
            asked = two.bodies[0]
            assert asked["messages"][-1]["content"] == "Cheer up me." and asked["temperature"] == 0.5, asked
            assert asked["max_tokens"] == 77 and asked["tools"] == [tool] and asked["model"] == "ours", asked
            assert "who" not in asked, asked
            # Nobody asked for a chunk with the usage, which a simple client would stumble over.
            assert "stream_options" not in asked, asked


def test_documents_and_auto():
    with Provider(openai(["paws"], usage=(10, 4))) as one, Provider(openai(["Cats ", "it is."], usage=(20, 6))) as two:
        with world({"one": one, "two": two}) as proxy:
            reply = fetch(proxy.port, "/chat", {**question(), "stream": False})
            told = json.loads(reply.body)
            assert told["choices"][0]["message"]["content"] == "Cats it is.", reply.raw
            # The client's usage is that of the step that answers; the operator's line has all of it.
            assert told["usage"]["prompt_tokens"] == 20 and told["usage"]["completion_tokens"] == 6, told
            said = line(proxy)
            assert (said["input_tokens"], said["output_tokens"]) == (30, 10), said
            assert fetch(proxy.port, "/auto?prompt=x&format=ndjson").headers["content-type"] == "application/x-ndjson"
            assert fetch(proxy.port, "/auto?prompt=x", headers=["Accept: text/event-stream"]).headers[
                "content-type"] == "text/event-stream"
            assert fetch(proxy.port, "/auto?prompt=x&format=nonsense").status == 400


def test_a_classifier_chooses_who_answers():
    steps = [
        {"name": "kind", "upstream": "one", "prompt": "code, math or else? ${input}"},
        {"name": "code", "upstream": "two", "when": {"steps.kind.output": "*code*"}, "answers": True, "prompt": "Code: ${input}"},
        {"name": "check", "upstream": "one", "when": {"steps.kind.output": "math*", "input.prompt": "*"}, "prompt": "Work out ${input}"},
        {"name": "chat", "upstream": "two", "prompt": "${input} (${steps.check.output:-unchecked}) ${steps.code.output}."},
    ]
    for kind, ones, twos, steps_run in [
            ("it is code", 1, ["Code: hi"], "kind:done"), ("else", 1, ["hi (unchecked) ."], "kind:done"),
            ("math", 2, ["hi (math) ."], "kind:done,check:done")]:
        with Provider(openai([kind])) as one, Provider(openai(["fine"])) as two, world({"one": one, "two": two}, steps) as proxy:
            assert fetch(proxy.port, "/text?prompt=hi").body == b"fine"
            assert len(one.requests) == ones and content(two.bodies) == twos, (kind, two.bodies)
            assert re.sub(r":\d+ms", "", line(proxy)["steps"]) == steps_run


# What goes wrong


def test_a_request_that_lacks_an_input_costs_nothing():
    steps = [{"name": "a", "upstream": "u", "prompt": "x"}, {"name": "b", "upstream": "u", "prompt": "${input.topic}"}]
    with Provider(openai(["ok"])) as peer, world({"u": peer}, steps) as proxy:
        for path, body in (("/text?prompt=x", None), ("/chat", question()), ("/run", {"input": {"topic": None}})):
            reply = fetch(proxy.port, path, body)
            assert reply.status == 400, reply.raw
            assert b"input.topic is missing, which step 'b' needs" in reply.body, reply.raw
        assert fetch(proxy.port, "/chat", b"{nonsense").status == 400
        assert fetch(proxy.port, "/chat", {"stream": True, "topic": "x"}).status == 400
        assert not peer.requests


def test_a_step_that_fails_fails_the_answer():
    def cut(connection, request):
        connection.sendall(HEAD + chunk(event({"content": "half of "})))
        return "close"

    def cut_at_once(connection, request):
        reset(connection)
        raise OSError

    def stalls(connection, request):
        connection.sendall(HEAD + chunk(event({"content": "half of "})))
        time.sleep(20)

    def malformed(connection, request):
        connection.sendall(HEAD + chunk(b"data: {nonsense\n\n") + b"0\r\n\r\n")

    def without_end(connection, request):
        connection.sendall(HEAD + chunk(event({"content": "half of "})) + b"0\r\n\r\n")

    def in_stream(connection, request):
        connection.sendall(HEAD + chunk(b'data: {"error":{"message":"no luck","type":"server_error"}}\n\n') + b"0\r\n\r\n")

    def answer(data):
        return lambda connection, request: connection.sendall(data)

    html = status(200, b"<html>hello</html>", b"text/html")
    busy = status(429, b'{"error":{"message":"slow down, sk-own-one"}}', b"application/json", b"Retry-After: 7",
                  b"x-ratelimit-remaining-requests: 0")
    cases = [
        (answer(busy), 429, "upstream_status", b"slow down"), (answer(status(500)), 502, "upstream_status", b"busy"),
        (answer(status(401)), 401, "upstream_status", b"busy"), (cut, 502, "eof", b""), (cut_at_once, 502, "eof", b""),
        (stalls, 504, "idle", b"in time"), (malformed, 502, "malformed", b"dialect"), (without_end, 502, "eof", b""),
        (in_stream, 502, "upstream_error", b"no luck"), (answer(html), 502, "malformed", b"HTML"),
        (lambda c, r: time.sleep(20), 504, "timeout_head", b"in time"), (None, 502, "connect", b""),
    ]
    timeouts = {"timeouts": {"idle": "300ms", "headers": "400ms"}}
    with Provider(openai(["never"])) as two:
        for script, code, reason, words in cases:
            with Provider(script or openai(["x"])) as one:
                where = one if script else NOBODY % closed_port()
                with world({"one": (where, "openai-chat", timeouts), "two": two}) as proxy:
                    for path, body in (("/chat", question()), ("/sse-text?prompt=x", None), ("/ui", ui())):
                        reply = fetch(proxy.port, path, body)
                        told = json.loads(reply.body)["error"]["message"] if path != "/ui" else reply.body.decode()
                        assert reply.status == code and reply.complete, (reason, reply.raw)
                        assert "step 'outline'" in told and words.decode() in told, told
                        assert "sk-own" not in told
                        if code == 429:
                            assert reply.headers["retry-after"] == "7", reply.raw
                            assert reply.headers["x-ratelimit-remaining-requests"] == "0", reply.raw
                    said = line(proxy, 3)
                    assert said["end"] == reason and said["detail"].startswith("step outline: "), said
                    assert said["steps"].startswith(f"outline:{reason}:") and said["upstream"] == "one", said
                    assert "sk-own" not in json.dumps(proxy.log)
        assert not two.requests


def test_retries_and_failover_inside_a_step_even_after_its_first_token():
    def cut(connection, request):
        connection.sendall(HEAD + chunk(event({"content": "half of "})))
        return "close"

    retry = {"retries": {"attempts": 2, "backoff": "10ms", "on": [502, 503], "min_per_second": 1000}}
    steps = [{**OUTLINE, "upstream": ["one", {"name": "spare", "model": "other"}]}, ANSWER]
    scripts = iter([cut, lambda connection, _: connection.sendall(status(503)), cut])
    with Provider(lambda c, r: next(scripts)(c, r)) as one, Provider(openai(["paws"])) as spare, Provider(openai(["Cats."])) as two:
        upstreams = {"one": (one, "openai-chat", retry), "spare": spare, "two": two}
        with world(upstreams, steps, top=ADMIN) as proxy:
            assert fetch(proxy.port, "/text?prompt=x").body == b"Cats."
            # What came of an answer that was cut is forgotten.
            assert content(two.bodies) == ["Write it out.\n\npaws"] and spare.bodies[0]["model"] == "other"
            said = line(proxy)
            assert len(one.requests) == 3 and said["retries"] == 3 and said["end"] == "done", said
            assert said["attempts"] == "one:cut,one:503,one:cut,two", said
            numbers = metrics(proxy)
            labels = 'route="/text",step="outline",upstream="spare",reason="done"'
            assert numbers["sluice_steps_ended_total{%s}" % labels] == 1, numbers
            assert numbers["sluice_failovers_total"] == 1 and numbers["sluice_exchanges_total"] == 1
            assert sum(value for name, value in numbers.items() if name.startswith("sluice_requests_total")) == 1


def test_a_last_step_that_fails_is_told_as_on_any_route():
    def cut(connection, request):
        connection.sendall(HEAD + chunk(event({"content": "half of it"})))
        return "close"

    with Provider(openai(["paws"])) as one, Provider(cut) as two, world({"one": one, "two": two}) as proxy:
        reply = fetch(proxy.port, "/sse-text?prompt=x")
        assert b"data: half of it" in reply.body and b"event: error" in reply.body, reply.raw
        assert not fetch(proxy.port, "/text?prompt=x").complete
    with Provider(openai(["paws"])) as one, Provider(lambda c, r: c.sendall(status(503))) as two:
        with world({"one": one, "two": two}) as proxy:
            assert fetch(proxy.port, "/sse-text?prompt=x").status == 503


def test_an_output_that_is_too_large_stops_its_provider():
    def endless(connection, request):
        connection.sendall(HEAD)
        while True:
            connection.sendall(chunk(event({"content": "x" * 1000})))

    with Provider(endless) as one, Provider(openai(["never"])) as two:
        with world({"one": one, "two": two}, top={"limits": {"step_output_bytes": "64KiB"}}) as proxy:
            reply = fetch(proxy.port, "/chat", question())
            assert reply.status == 502 and b"step_output_bytes (65536 bytes)" in reply.body, reply.raw
            until(lambda: one.closed_at, what="the provider is left")
            said = line(proxy)
            assert said["end"] == "limit_step_output_bytes" and not two.requests, said


def test_what_steps_have_answered_is_in_the_buffers():
    large = ["x" * 1000] * 1000
    with Provider(openai(large)) as one, Held(openai(["Cats", "."])) as two:
        with world({"one": one, "two": two}, top=ADMIN) as proxy:
            before = metrics(proxy)["sluice_buffer_memory_bytes"]
            stream = Stream(proxy.port, "/sse-text?prompt=x")
            until(lambda: two.requests, what="step 2")
            assert len(content(two.bodies)[0]) > 1_000_000
            assert metrics(proxy)["sluice_buffer_memory_bytes"] > before + 1_000_000
            assert metrics(proxy)['sluice_buffered_bytes{route="/sse-text"}'] >= 1_000_000
            two.release(4)
            assert stream.whole().complete
            until(lambda: metrics(proxy)["sluice_buffer_memory_bytes"] < before + 500_000, what="nothing is held")


def test_an_output_that_is_no_json_is_told():
    steps = [OUTLINE, {**ANSWER, "prompt": "${steps.outline.output.title}"}]
    with Provider(openai(["no json"])) as one, Provider(openai(["never"])) as two, world({"one": one, "two": two}, steps) as proxy:
        reply = fetch(proxy.port, "/chat", question())
        assert reply.status == 502 and b"steps.outline.output.title" in reply.body, reply.raw
        assert not two.requests
        steps[1]["prompt"] = "${steps.outline.output.title:-untitled}"
        proxy.write(settings({"one": one, "two": two}, steps))
        hangup(proxy)
        assert fetch(proxy.port, "/chat", question()).status == 200 and content(two.bodies) == ["untitled"]


def test_a_length_that_cut_a_step_is_logged():
    with Provider(anthropic(["half of"], finish="max_tokens")) as one, Provider(openai(["Fine."])) as two:
        with world({"one": (one, "anthropic-messages"), "two": two}) as proxy:
            assert fetch(proxy.port, "/text?prompt=x").body == b"Fine."
            assert line(proxy)["steps"].startswith("outline:length:")


# Who leaves, and who waits


def test_a_client_that_leaves_stops_the_step_that_runs():
    for path, body in (("/sse-text?prompt=x", None), ("/chat", question())):
        with Held(openai(["paws", " and tails"])) as one, Held(openai(["Cats", "."])) as two:
            with world({"one": one, "two": two}, top=ADMIN) as proxy:
                stream = Stream(proxy.port, path, body)
                one.release(2)
                until(lambda: one.sent == 1, what="a part of step 1")
                shown = json.loads(fetch(admin(proxy), "/streams").body)["streams"]
                assert [(each["state"], each["upstream"]) for each in shown] == [("collecting_step", "one")], shown
                stream.close()
                until(lambda: one.hangups == 1, what="step 1 is stopped")
                said = line(proxy)
                assert said["end"] == "client_gone" and said["steps"].startswith("outline:client_gone:"), said
                assert "cancel_ms" in said and not two.requests
                one.release(3)
                stream = Stream(proxy.port, path, body)
                one.release(4)
                two.release(2)
                stream.until(b"Cats")
                stream.close()
                until(lambda: two.hangups == 1, what="step 2 is stopped")
                assert line(proxy, 2)["end"] == "client_gone"
                until(lambda: metrics(proxy).get('sluice_streams_active{route=""}', 0) == 0, what="nothing is left")


def test_drain_on_disconnect_ends_the_step_that_runs_and_begins_no_other():
    with Held(openai(["paws", " and tails"])) as one, Held(openai(["Cats", "."])) as two:
        with world({"one": one, "two": two}, on_disconnect="drain") as proxy:
            stream = Stream(proxy.port, "/sse-text?prompt=x")
            one.release(2)
            until(lambda: one.sent == 1, what="a part of step 1")
            stream.close()
            time.sleep(0.1)
            one.release(2)
            said = line(proxy)
            assert one.hangups == 0 and one.sent == 3 and not two.requests
            assert said["end"] == "client_gone" and said["steps"].startswith("outline:done:"), said


def test_a_silent_step_sends_heads_and_keepalives():
    with Held(openai(["paws"])) as one, Held(openai(["Cats", "."])) as two:
        with world({"one": one, "two": two}, keepalive="50ms", early_headers="100ms") as proxy:
            for path, body in (("/sse-text?prompt=x", None), ("/chat", question()), ("/ui", ui())):
                stream = Stream(proxy.port, path, body)
                until(lambda: stream.body.count(b":\n\n") >= 3, what="keepalives")
                one.release(3)
                before = stream.body.count(b":\n\n")
                until(lambda: stream.body.count(b":\n\n") > before + 2, what="keepalives in step 2")
                two.release(4)
                reply = stream.whole()
                assert reply.status == 200 and reply.complete and b"Cats" in reply.body, reply.raw
                assert reply.raw.count(b"HTTP/1.1") == 1
            assert line(proxy, 3)["pings"] >= 5
    # What fails behind such a head is told inside the stream.
    with Held(openai(["paws"])) as one, Provider(openai(["never"])) as two:
        slow = {"timeouts": {"headers": "400ms"}}
        with world({"one": (one, "openai-chat", slow), "two": two}, keepalive="50ms", early_headers="50ms") as proxy:
            reply = fetch(proxy.port, "/sse-text?prompt=x")
            assert reply.status == 200 and b"event: error" in reply.body and b"step 'outline'" in reply.body, reply.raw
            reply = fetch(proxy.port, "/chat", question())
            assert reply.status == 200 and b'"error"' in reply.body and b"step 'outline'" in reply.body, reply.raw
            assert not two.requests


def test_each_step_has_its_own_time():
    slow = {"timeouts": {"total": "900ms"}}
    with Held(openai(["paws"])) as one, Held(openai(["Cats", "."])) as two:
        with world({"one": (one, "openai-chat", slow), "two": (two, "openai-chat", slow)}) as proxy:
            stream = Stream(proxy.port, "/sse-text?prompt=x")
            until(lambda: one.requests, what="step 1")
            began = time.monotonic()
            time.sleep(0.6)
            one.release(3)
            # Beyond the time that one step has.
            until(lambda: two.requests and time.monotonic() - began > 1.0, what="step 2")
            two.release(4)
            assert stream.whole().complete and line(proxy)["end"] == "done"
            reply = fetch(proxy.port, "/sse-text?prompt=x")
            assert reply.status == 504 and line(proxy, 2)["end"] == "timeout_total", reply.raw


def test_http2_on_both_sides():
    def script(stream):
        stream.wait_body()
        if b"silence" in bytes(stream.body):
            stream.wait_left()
        else:
            retry_world.tell(stream, "echo of " + stream.json["messages"][-1]["content"])

    steps = [{"name": "a", "upstream": "u", "prompt": "${input}"}, {"name": "b", "upstream": "u", "prompt": "${steps.a.output}"}]
    with Http2Peer(script) as peer:
        made = settings({"u": (peer, "openai-chat", {"http": "2"})}, steps)
        with Sluice(made) as proxy, connect_http2(proxy.port) as session:
            answers = [session.request(f"/text?prompt={number}") for number in range(8)]
            for number, each in enumerate(answers):
                assert bytes(each.wait_over().body) == f"echo of echo of {number}".encode() and each.complete
            # All steps of all chains share one connection.
            assert len(peer.connections) == 1 and len(peer.streams) == 16
            leaver = session.request("/text?prompt=silence")
            until(lambda: len(peer.streams) == 17, what="step 1")
            leaver.abort(8)
            peer.streams[-1].wait_left()
            assert line(proxy, 9)["end"] == "client_gone" and len(peer.streams) == 17


def test_reload_and_drain_in_the_middle_of_a_chain():
    with Held(openai(["paws"])) as one, Held(openai(["Cats", "."])) as two, Provider(openai(["other"])) as three:
        with world({"one": one, "two": two}, top=ADMIN) as proxy:
            stream = Stream(proxy.port, "/sse-text?prompt=x")
            until(lambda: one.requests, what="step 1")
            proxy.write(settings({"one": three, "two": three}, top=ADMIN))
            hangup(proxy)
            one.release(3)
            until(lambda: two.requests, what="step 2 is asked where it was when the chain began")
            proxy.process.send_signal(signal.SIGTERM)
            until(lambda: events(proxy, "draining"), what="draining")
            two.release(4)
            reply = stream.whole()
            stream.close()
            assert reply.complete and b"Cats" in reply.body and not three.requests, reply.raw
            assert proxy.process.wait(20) == 0
    with Held(openai(["paws"])) as one, Provider(openai(["Cats."])) as two:
        with Sluice(settings({"one": one, "two": two}, top={"drain_timeout": "300ms"})) as proxy:
            stream = Stream(proxy.port, "/sse-text?prompt=x")
            until(lambda: one.requests, what="step 1")
            proxy.process.send_signal(signal.SIGTERM)
            assert stream.whole().status == 503
            stream.close()
            assert proxy.process.wait(30) == 0
            until(lambda: one.hangups == 1, what="step 1 is stopped")
            assert line(proxy)["end"] == "drain" and not two.requests


def test_a_connection_that_is_lost_in_step_one_is_resumed():
    with Held(openai(["paws"])) as one, Held(openai(["Cats", " it", " is"])) as two:
        with world({"one": one, "two": two}, resume={}, early_headers="50ms", keepalive="50ms") as proxy:
            stream = Stream(proxy.port, "/sse-text?prompt=x")
            name = stream.head().headers["x-stream-id"]
            stream.close()
            one.release(3)
            until(lambda: two.requests, what="step 2, which nobody reads yet")
            two.release(3)
            again = Stream(proxy.port, f"/sse-text/{name}/stream")
            again.until(b"data:  it")
            two.release(2)
            reply = again.whole()
            assert reply.body.count(b"Cats") == 1 and b"event: done" in reply.body, reply.raw
            assert one.hangups == two.hangups == 0 and len(one.requests) == len(two.requests) == 1
            # The name is there from the start: a second tab joins before anything is said.
            stream = Stream(proxy.port, "/sse-text?prompt=x&id=mine")
            until(lambda: len(one.requests) == 2, what="step 1")
            joined = Stream(proxy.port, "/sse-text?prompt=x&id=mine")
            one.release(3)
            two.release(5)
            assert b"Cats" in stream.whole().body and b"Cats" in joined.whole().body
            assert len(one.requests) == 2


def test_an_answer_that_is_stopped_or_cancelled_in_a_step():
    with Held(openai(["paws"])) as one, Provider(openai(["never"])) as two:
        with world({"one": one, "two": two}, resume={}, top=ADMIN) as proxy:
            stream = Stream(proxy.port, "/sse-text?prompt=x&id=mine")
            until(lambda: one.requests, what="step 1")
            assert fetch(proxy.port, "/sse-text/mine", method="DELETE").status == 204
            until(lambda: one.hangups == 1, what="step 1 is stopped")
            assert stream.whole().status == 409
            stream = Stream(proxy.port, "/chat", question())
            until(lambda: len(one.requests) == 2, what="step 1")
            live = json.loads(fetch(admin(proxy), "/streams").body)["streams"][0]["id"]
            assert fetch(admin(proxy), f"/streams/{live}/cancel", b"").status == 200
            until(lambda: one.hangups == 2, what="step 1 is stopped")
            assert stream.whole().status == 503 and not two.requests
            assert [each["end"] for each in proxy.exchanges() if each["method"] != "DELETE"] == ["stopped", "cancelled"]


def test_smooth_and_compress():
    with Provider(openai(["paws"])) as one, Provider(openai(["Cats ", "and dogs."])) as two:
        with world({"one": one, "two": two}, smooth={"interval": "5ms"}, compress=["gzip"]) as proxy:
            assert fetch(proxy.port, "/text?prompt=x").body == b"Cats and dogs."
            reply = fetch(proxy.port, "/text?prompt=x", headers=["Accept-Encoding: gzip"])
            assert reply.headers["content-encoding"] == "gzip"
            assert zlib.decompress(reply.body, 31) == b"Cats and dogs."


def test_rate_limits_count_the_tokens_of_all_steps():
    limit = {"rate_limit": [{"tokens": "100/h", "by": "address"}]}
    with Provider(openai(["paws"], usage=(40, 30))) as one, Provider(openai(["Cats."], usage=(30, 20))) as two:
        with world({"one": one, "two": two}, **limit) as proxy:
            assert fetch(proxy.port, "/text?prompt=x").status == 200
            # 120 of 100 are gone.
            reply = fetch(proxy.port, "/text?prompt=x")
            assert reply.status == 429 and len(one.requests) == 1, reply.raw


def test_traces_and_ids_go_to_every_step():
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with Provider(openai(["paws"], usage=(4, 2))) as one, Provider(openai(["Cats."], usage=(6, 3))) as two:
        with world({"one": one, "two": two}, top=ADMIN) as proxy:
            reply = fetch(proxy.port, "/sse-text?prompt=x", headers=[f"traceparent: {parent}", "X-Request-Id: r-1"])
            assert reply.headers["x-request-id"] == "r-1"
            spans = set()
            for peer in (one, two):
                head = peer.requests[0].split(b"\r\n\r\n")[0].decode().lower()
                assert "x-request-id: r-1" in head, head
                trace, span = re.search(r"traceparent: 00-(\w+)-(\w+)-01", head).groups()
                assert trace == parent[3:35] and span != parent[36:52]
                spans.add(span)
            assert len(spans) == 2 and line(proxy)["span_id"] in spans
            numbers = metrics(proxy)
            for upstream, tokens in (("one", 4), ("two", 6)):
                found = [value for name, value in numbers.items() if name.startswith("gen_ai_client_token_usage_sum")
                         and f'upstream="{upstream}"' in name and 'type="input"' in name]
                assert found == [tokens], (upstream, found)
