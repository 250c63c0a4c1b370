"""What stands around a translated request and its answer: paths, keys, documents and streams, what is dropped, errors, settings
of routes, signatures, and what a large image costs."""

import base64
import datetime
import json
import os
import tempfile
import threading

from harness import Peer, Sluice, fetch, until
from readers import read
from recordings import document, play, recording

# The path behind the upstream's URL, how a stream is asked for, and the field that carries the key.
BEARER, ANTHROPIC, GOOGLE = "authorization", "x-api-key", "x-goog-api-key"
SSE = "text/event-stream"
DIALECTS = {
    "openai-chat": ("/v1", "/v1/chat/completions", SSE, BEARER),
    "openai-completions": ("/v1", "/v1/completions", SSE, BEARER),
    "openai-responses": ("/v1", "/v1/responses", SSE, BEARER),
    "anthropic-messages": ("", "/v1/messages", SSE, ANTHROPIC),
    "anthropic-completion": ("/v1", "/v1/complete", SSE, ANTHROPIC),
    "cohere-v2": ("/v2", "/v2/chat", SSE, BEARER),
    "cohere-v1": ("", "/v1/chat", "application/stream+json", BEARER),
    "gemini": ("", "/v1beta/models/m%3A1:streamGenerateContent?alt=sse", SSE, GOOGLE),
    "ollama-chat": ("", "/api/chat", "application/x-ndjson", BEARER),
    "ollama-generate": ("/api", "/api/generate", "application/x-ndjson", BEARER),
    "bedrock-converse": ("", "/model/m%3A1/converse-stream", "application/vnd.amazon.eventstream", BEARER),
    "bedrock-invoke": ("", "/model/m%3A1/invoke-with-response-stream", "application/vnd.amazon.eventstream", BEARER),
    "tgi": ("", "/generate_stream", SSE, BEARER),
    "llama.cpp": ("", "/completion", SSE, BEARER),
    "watsonx": ("", "/ml/v1/text/generation_stream?version=2024-05-31", SSE, BEARER),
    "mlflow": ("/gateway/n", "/gateway/n/invocations", SSE, BEARER),
}
# Kinds of clients: the path, a body that asks for a stream, and the same that asks for a document.
TURN = [{"role": "user", "content": "hi"}]
CLIENTS = {
    "openai-chat": ("/v1/chat/completions", {"model": "m:1", "messages": TURN}),
    "openai-responses": ("/v1/responses", {"model": "m:1", "input": "hi"}),
    "openai-completions": ("/v1/completions", {"model": "m:1", "prompt": "hi"}),
    "anthropic": ("/v1/messages", {"model": "m:1", "max_tokens": 9, "messages": TURN}),
    "cohere": ("/v2/chat", {"model": "m:1", "messages": TURN}),
    "gemini": ("/v1beta/models/m:1:generateContent", {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
    "ollama-chat": ("/api/chat", {"model": "m:1", "messages": TURN}),
    "ollama-generate": ("/api/generate", {"model": "m:1", "prompt": "hi"}),
}
OWN = {"anthropic": "anthropic-messages", "cohere": "cohere-v2"}


class Request:
    """What an upstream was sent."""

    def __init__(self, data):
        head, _, self.body = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, _ = lines[0].split(" ")
        self.fields = [line.split(": ", 1) for line in lines[1:]]
        self.headers = {name.lower(): value for name, value in self.fields}

    @property
    def json(self):
        return json.loads(self.body)


class Upstream(Peer):
    """Answers each request by `reply(connection, Request)` and keeps it."""

    def __init__(self, reply):
        self.seen = []
        self.reply = reply

        def script(connection, data):
            self.seen.append(Request(data))
            return self.reply(connection, self.seen[-1])

        super().__init__(script)
        self.root = f"http://127.0.0.1:{self.port}"


def ok(connection, request):
    document(connection, 404, {"error": {"message": "for the request only"}})


def config(upstreams, routes, **more):
    return {"listeners": [{"address": "127.0.0.1:0"}], "workers": 1, "upstreams": upstreams, "routes": routes, **more}


def prefixed(client):
    """A route's path for a kind of client; Google's holds the model."""
    path = CLIENTS[client][0]
    return "/v1beta/models/*" if client == "gemini" else path


def ask(proxy, client, path="", stream=None, **changes):
    """One request of a kind of client below `path`."""
    target, body = CLIENTS[client]
    body = {**body, **changes}
    if client == "gemini":
        if stream:
            target = target.replace("generateContent", "streamGenerateContent") + "?alt=sse"
    elif stream is not None:
        body["stream"] = stream
    return fetch(proxy.port, path + target, body)


# MARK: requests

def test_paths_keys_and_accept():
    with Upstream(ok) as upstream:
        upstreams, routes = {}, []
        for name, (base, *_) in DIALECTS.items():
            upstreams[name] = {"url": upstream.root + base, "dialect": name, "api_key": "sk-own"}
            routes.append({"path": f"/{name}", "request": "openai-chat", "response": "openai-chat", "upstream": name})
        with Sluice(config(upstreams, routes)) as proxy:
            for name, (_, target, accept, key) in DIALECTS.items():
                fetch(proxy.port, f"/{name}", {**CLIENTS["openai-chat"][1], "stream": True}, headers=[
                    "Authorization: Bearer client", "x-api-key: client", "x-goog-api-key: client", "Cookie: a=b",
                    "x-request-id: own-id"])
                sent = upstream.seen.pop()
                assert (sent.method, sent.target) == ("POST", target), (name, sent.target)
                keys = {field: sent.headers.get(field) for field in (BEARER, ANTHROPIC, GOOGLE)}
                wanted = dict.fromkeys(keys) | {key: "Bearer sk-own" if key == BEARER else "sk-own"}
                assert keys == wanted, (name, keys)
                assert accept in sent.headers["accept"], (name, sent.headers["accept"])
                assert sent.headers["content-type"] == "application/json"
                assert sent.headers["accept-encoding"] == "identity"
                assert sent.headers["x-request-id"] == "own-id"
                assert "cookie" not in sent.headers
                assert sent.headers.get("anthropic-version") == ("2023-06-01" if key == ANTHROPIC else None)


def test_versions_in_the_url_and_own_headers():
    cases = {
        "anthropic-messages": (["", "/v1", "/proxy", "/proxy/v1"], ["/v1/messages", "/v1/messages", "/proxy/v1/messages",
                                                                   "/proxy/v1/messages"]),
        "gemini": (["/v1beta", "/v1", "/v1/projects/p/locations/l/publishers/google"], [
            f"{base}/models/m%3A1:streamGenerateContent?alt=sse"
            for base in ("/v1beta", "/v1", "/v1/projects/p/locations/l/publishers/google")]),
        "ollama-chat": (["", "/api"], ["/api/chat"] * 2), "cohere-v2": (["", "/v2"], ["/v2/chat"] * 2),
    }
    with Upstream(ok) as upstream:
        upstreams, routes = {}, []
        for name, (bases, _) in cases.items():
            for index, base in enumerate(bases):
                key = f"{name}-{index}"
                upstreams[key] = {"url": upstream.root + base, "dialect": name,
                                  "headers": {"anthropic-version": "2024-01-01", "X-Own": "yes"}}
                routes.append({"path": f"/{key}", "request": "openai-chat", "response": "openai-chat", "upstream": key})
        with Sluice(config(upstreams, routes)) as proxy:
            for name, (bases, targets) in cases.items():
                for index, target in enumerate(targets):
                    fetch(proxy.port, f"/{name}-{index}", {**CLIENTS["openai-chat"][1], "stream": True})
                    sent = upstream.seen.pop()
                    assert sent.target == target, (sent.target, target)
                    versions = [value for field, value in sent.fields if field.lower() == "anthropic-version"]
                    assert (versions, sent.headers["x-own"]) == (["2024-01-01"], "yes")
                    assert not {BEARER, ANTHROPIC, GOOGLE} & set(sent.headers)


# MARK: documents and streams

CALL = {"city": "Köln", "n": 12345678901}
TEXT = "Let me look.\n🌤"
# One document of each dialect, with text and, where there are tools, a call.
DOCUMENTS = {
    "openai-chat": {"id": "c", "object": "chat.completion", "created": 1, "model": "pm", "choices": [{"index": 0, "message": {
        "role": "assistant", "content": TEXT, "tool_calls": [{"id": "id1", "type": "function", "function": {
            "name": "f", "arguments": json.dumps(CALL)}}]}, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}},
    "openai-responses": {"id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "pm", "output": [
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [
            {"type": "output_text", "text": TEXT, "annotations": []}]},
        {"type": "function_call", "id": "fc_1", "call_id": "id1", "name": "f", "arguments": json.dumps(CALL),
         "status": "completed"}], "usage": {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}},
    "openai-completions": {"id": "c", "object": "text_completion", "created": 1, "model": "pm", "choices": [
        {"index": 0, "text": TEXT, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}},
    "anthropic-messages": {"id": "msg_1", "type": "message", "role": "assistant", "model": "pm", "content": [
        {"type": "text", "text": TEXT}, {"type": "tool_use", "id": "id1", "name": "f", "input": CALL}],
        "stop_reason": "tool_use", "stop_sequence": None, "usage": {"input_tokens": 3, "output_tokens": 4}},
    "cohere-v2": {"id": "g", "finish_reason": "TOOL_CALL", "message": {
        "role": "assistant", "content": [{"type": "text", "text": TEXT}], "tool_calls": [
            {"id": "id1", "type": "function", "function": {"name": "f", "arguments": json.dumps(CALL)}}]},
        "usage": {"tokens": {"input_tokens": 3, "output_tokens": 4}}},
    "cohere-v1": {"generation_id": "g", "text": TEXT, "finish_reason": "COMPLETE", "tool_calls": [
        {"name": "f", "parameters": CALL}], "meta": {"tokens": {"input_tokens": 3, "output_tokens": 4}}},
    "gemini": {"candidates": [{"content": {"role": "model", "parts": [
        {"text": TEXT}, {"functionCall": {"name": "f", "args": CALL}}]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 4, "totalTokenCount": 7}, "modelVersion": "pm"},
    "ollama-chat": {"model": "pm", "created_at": "2025-01-01T00:00:00Z", "message": {
        "role": "assistant", "content": TEXT, "tool_calls": [{"function": {"name": "f", "arguments": CALL}}]},
        "done": True, "done_reason": "stop", "prompt_eval_count": 3, "eval_count": 4},
    "ollama-generate": {"model": "pm", "created_at": "2025-01-01T00:00:00Z", "response": TEXT, "done": True,
                        "done_reason": "stop", "prompt_eval_count": 3, "eval_count": 4},
    "bedrock-converse": {"output": {"message": {"role": "assistant", "content": [
        {"text": TEXT}, {"toolUse": {"toolUseId": "id1", "name": "f", "input": CALL}}]}}, "stopReason": "tool_use",
        "usage": {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7}, "metrics": {"latencyMs": 1}},
    "watsonx": {"model_id": "pm", "results": [{"generated_text": TEXT, "generated_token_count": 4, "input_token_count": 3,
                                              "stop_reason": "eos_token"}]},
    "llama.cpp": {"content": TEXT, "stop": True, "stop_type": "eos", "tokens_evaluated": 3, "tokens_predicted": 4},
    "tgi": {"generated_text": TEXT, "details": {"finish_reason": "eos_token", "generated_tokens": 4, "prefill": []}},
}
CALLING = {name for name, told in DOCUMENTS.items() if '"f"' in json.dumps(told)}


def told(client, body):
    """(text, [(name, arguments)], input tokens, output tokens) of a client's document."""
    if client == "openai-chat":
        message, usage = body["choices"][0]["message"], body.get("usage") or {}
        calls = [(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in message.get("tool_calls") or []]
        return message["content"], calls, usage.get("prompt_tokens"), usage.get("completion_tokens")
    if client == "openai-responses":
        texts = [part["text"] for item in body["output"] if item["type"] == "message" for part in item["content"]]
        calls = [(i["name"], json.loads(i["arguments"])) for i in body["output"] if i["type"] == "function_call"]
        usage = body["usage"] or {}
        return "".join(texts), calls, usage.get("input_tokens"), usage.get("output_tokens")
    if client == "openai-completions":
        usage = body.get("usage") or {}
        return body["choices"][0]["text"], None, usage.get("prompt_tokens"), usage.get("completion_tokens")
    if client == "anthropic":
        texts = [block["text"] for block in body["content"] if block["type"] == "text"]
        calls = [(block["name"], block["input"]) for block in body["content"] if block["type"] == "tool_use"]
        return "".join(texts), calls, body["usage"]["input_tokens"], body["usage"]["output_tokens"]
    if client == "cohere":
        texts = [part["text"] for part in body["message"].get("content") or []]
        calls = [(c["function"]["name"], json.loads(c["function"]["arguments"]))
                 for c in body["message"].get("tool_calls") or []]
        usage = (body.get("usage") or {}).get("tokens") or {}
        return "".join(texts), calls, usage.get("input_tokens"), usage.get("output_tokens")
    if client == "gemini":
        parts, usage = body["candidates"][0]["content"]["parts"], body.get("usageMetadata") or {}
        calls = [(p["functionCall"]["name"], p["functionCall"]["args"]) for p in parts if "functionCall" in p]
        return "".join(p.get("text", "") for p in parts), calls, usage.get("promptTokenCount"), usage.get(
            "candidatesTokenCount")
    assert body["done"] is True
    if client == "ollama-generate":
        return body["response"], None, body.get("prompt_eval_count"), body.get("eval_count")
    calls = [(c["function"]["name"], c["function"]["arguments"]) for c in body["message"].get("tool_calls") or []]
    return body["message"]["content"], calls, body.get("prompt_eval_count"), body.get("eval_count")


def crossed(upstream, **more):
    """A route from every kind of client, below `/DIALECT`, to every dialect that has documents."""
    upstreams = {name: {"url": upstream.root + "/" + name, "dialect": name, "api_key": "k"} for name in DOCUMENTS}
    routes = [{"path": f"/{name}{prefixed(client)}", "request": client, "response": client, "upstream": name,
               "drop_unsupported": True, **more} for name in DOCUMENTS for client in CLIENTS]
    return config(upstreams, routes)


def test_an_upstream_that_answers_with_a_document():
    """Whatever it was asked for: a streaming client gets a stream of it, and one that wants a document gets one."""
    def reply(connection, request):
        document(connection, 200, DOCUMENTS[request.target.split("/")[1]])

    with Upstream(reply) as upstream, Sluice(crossed(upstream)) as proxy:
        for name in DOCUMENTS:
            for client in CLIENTS:
                where = (name, client)
                reply = ask(proxy, client, "/" + name, stream=False)
                assert (reply.status, reply.headers["content-type"]) == (200, "application/json"), (where, reply.raw)
                text, calls, *counts = told(client, json.loads(reply.body))
                assert text == TEXT, (where, text)
                wanted = [("f", CALL)] if name in CALLING else []
                assert calls is None or calls == wanted, (where, calls)
                assert counts == [3, 4] or name == "tgi", (where, counts)
                reply = ask(proxy, client, "/" + name, stream=True)
                assert reply.status == 200 and reply.complete and reply.headers["content-type"] != "application/json", (
                    where, reply.raw[:400])
                if OWN.get(client, client) == name:
                    continue  # its own document may be relayed or told anew; the readers are stricter than providers
                answer = read(client, reply.body)
                assert answer.complete and answer.text == TEXT, (where, answer)
                if client not in ("openai-completions", "ollama-generate"):
                    assert [(n, json.loads(a)) for _, n, a in answer.tool_calls] == wanted, (where, answer.tool_calls)


def test_own_documents_are_relayed():
    """A client that asks its own provider for a document gets that provider's, to the byte."""
    bodies = {name: b" " + json.dumps({**told, "unknown_field": [1]}).encode() for name, told in DOCUMENTS.items()}

    def reply(connection, request):
        name = request.target.split("/")[1]
        if name != "gemini":
            assert request.json.get("stream") is not True, request.json
        assert request.headers["accept"] == "application/json"
        document(connection, 200, bodies[name], ["x-ratelimit-limit-requests: 9"])

    with Upstream(reply) as upstream, Sluice(crossed(upstream)) as proxy:
        for client in CLIENTS:
            name = OWN.get(client, client)
            reply = ask(proxy, client, "/" + name, stream=False)
            assert (reply.status, reply.body) == (200, bodies[name]), (client, reply.raw)
            assert reply.headers["x-ratelimit-limit-requests"] == "9", reply.raw
            if name == "gemini":
                assert upstream.seen[-1].target == "/gemini/v1beta/models/m%3A1:generateContent", upstream.seen[-1].target


def test_a_stream_or_a_document_as_the_client_says():
    """By the body, by `?stream=`, by `Accept`, in that order; else as the format's own provider does."""
    recorded = recording("anthropic-messages/text")

    def reply(connection, request):
        play(connection, recorded.body, recorded.type)
        connection.sendall(b"0\r\n\r\n")

    chat, ollama, prompt = CLIENTS["openai-chat"], CLIENTS["ollama-chat"], ("/prompt", {"prompt": "hi"})
    stream, lines, json_type, text = SSE, "application/x-ndjson", "application/json", "text/plain; charset=utf-8"
    cases = [
        (chat, {}, "", "", json_type), (chat, {"stream": True}, "", "", stream), (chat, {"stream": False}, "", "", json_type),
        (chat, {}, "?stream=true", "", stream), (chat, {"stream": False}, "?stream=true", "", json_type),
        (chat, {"stream": None}, "?stream=1", "", stream),
        (chat, {}, "", SSE, stream), (chat, {}, "?stream=false", SSE, json_type), (chat, {"stream": True}, "", json_type, stream),
        (ollama, {}, "", "", lines), (ollama, {"stream": False}, "", "", json_type), (ollama, {}, "", json_type, json_type),
        (ollama, {"stream": True}, "", json_type, lines),
        (CLIENTS["openai-responses"], {}, "", "", json_type), (CLIENTS["openai-responses"], {"stream": True}, "", "", stream),
        (CLIENTS["cohere"], {}, "", "", json_type), (CLIENTS["cohere"], {"stream": True}, "", "", stream),
        (prompt, {}, "", "", text), (prompt, {}, "", SSE, stream), (prompt, {}, "?format=ndjson", "", lines),
    ]
    routes = [{"path": path, "request": name, "response": "auto", "upstream": "u", "model": "m"}
              for name, (path, _) in [*CLIENTS.items(), ("prompt", prompt)] if name != "gemini"]
    routes.append({"path": "/v1beta/models/*", "request": "gemini", "response": "gemini", "upstream": "u"})
    with Upstream(reply) as upstream:
        upstreams = {"u": {"url": upstream.root, "dialect": "anthropic-messages"}}
        with Sluice(config(upstreams, routes)) as proxy:
            for (path, body), changes, query, accept, wanted in cases:
                body = {key: value for key, value in {**body, **changes}.items()}
                reply = fetch(proxy.port, path + query, body, headers=[f"Accept: {accept}"] if accept else [])
                assert reply.status == 200, reply.raw
                assert reply.headers["content-type"] == wanted, (path, changes, query, accept, reply.headers)
            path = "/v1beta/models/m:"
            body = CLIENTS["gemini"][1]
            for method, wanted, opening in (("generateContent", json_type, b"{"), ("streamGenerateContent", json_type, b"["),
                                            ("streamGenerateContent?alt=sse", stream, b"data: ")):
                reply = fetch(proxy.port, path + method, body)
                assert (reply.status, reply.headers["content-type"].split(";")[0]) == (200, wanted), (method, reply.raw)
                assert reply.body.startswith(opening), reply.body[:50]
                if wanted == json_type:
                    told = json.loads(reply.body)
                    parts = [part for chunk in (told if isinstance(told, list) else [told])
                             for part in chunk["candidates"][0]["content"]["parts"]]
                    assert "".join(part["text"] for part in parts) == recorded.answer.text


def test_a_plain_text_is_an_answer_where_the_dialect_is_not_known():
    """`auto` takes text/plain for what it says it is; what calls itself nothing, and looks like nothing, is no answer."""
    kinds = {"text/plain; charset=utf-8": 200, "application/octet-stream": 502, "text/html": 502}
    for kind, status in kinds.items():
        def reply(connection, request):
            connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
            for piece in ("Two ", "w\u00f6rds\n"):
                data = piece.encode()
                connection.sendall(b"%x\r\n%s\r\n" % (len(data), data))
            connection.sendall(b"0\r\n\r\n")

        with Upstream(reply) as upstream:
            routes = [{"path": "/s", "request": "openai-chat", "response": "sse-json", "upstream": "u"}]
            with Sluice(config({"u": {"url": upstream.root, "dialect": "auto"}}, routes)) as proxy:
                answer = fetch(proxy.port, "/s", {**CLIENTS["openai-chat"][1], "stream": True})
                assert answer.status == status, (kind, answer.raw)
                if status == 200:
                    assert read("sse-json", answer.body).text == "Two w\u00f6rds\n", answer.body


# MARK: what is dropped

def test_what_an_upstream_has_no_words_for():
    """It is a 400 that names the fields in the client's words, or left out and logged, as the route says."""
    cases = [
        ("openai-chat", "anthropic-messages", {"logit_bias": {"1": 2}, "n": 2, "seed": 5}, ["logit_bias", "n", "seed"]),
        ("openai-chat", "gemini", {"logprobs": True}, ["logprobs"]),
        ("openai-chat", "ollama-chat", {"n": 3}, ["n"]),
        ("openai-responses", "anthropic-messages", {"previous_response_id": "resp_1"}, ["previous_response_id"]),
        ("anthropic", "openai-chat", {"top_k": 4}, ["top_k"]),
        ("cohere", "anthropic-messages", {"documents": ["d"]}, ["documents"]),
        ("ollama-chat", "gemini", {"options": {"mirostat": 1, "num_predict": 5}}, ["options.mirostat"]),
        ("gemini", "anthropic-messages", {"cachedContent": "c"}, ["cachedContent"]),
        ("openai-chat", "cohere-v1", {"messages": [{"role": "user", "content": [
            {"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}]},
         ["messages[0].content[1].image_url"]),
    ]
    with Upstream(lambda connection, request: document(connection, 500, {})) as upstream:
        upstreams = {name: {"url": upstream.root, "dialect": name, "api_key": "k"} for name in DIALECTS}
        routes = [{"path": f"/{drop}/{name}{prefixed(client)}", "request": client, "response": client, "upstream": name,
                   "drop_unsupported": drop == "drop"}
                  for drop in ("drop", "keep") for name in DIALECTS for client in CLIENTS]
        with Sluice(config(upstreams, routes)) as proxy:
            for client, name, changes, fields in cases:
                reply = ask(proxy, client, f"/keep/{name}", **changes)
                assert reply.status == 400 and not upstream.seen, (client, name, reply.raw)
                for field in fields:
                    assert field in message_of(client, reply), (field, reply.body)
                proxy.log.clear()
                reply = ask(proxy, client, f"/drop/{name}", **changes)
                assert reply.status == 502, reply.raw
                sent = upstream.seen.pop().body.decode()
                for field in fields:
                    assert f'"{field.rsplit(".", 1)[-1]}"' not in sent, (field, sent)
                entry = until(lambda: [e for e in proxy.exchanges() if e["path"].startswith("/drop")], what="a line in the log")
                assert sorted(entry[0]["dropped"].split(",")) == sorted(fields), entry


# MARK: errors

def message_of(client, reply):
    """The error's text in a client's dialect, whose shape is checked."""
    body = json.loads(reply.body)
    if client.startswith("openai"):
        assert set(body) == {"error"} and {"message", "type", "param", "code"} <= set(body["error"]), body
        return body["error"]["message"]
    if client == "anthropic":
        assert body["type"] == "error" and set(body["error"]) >= {"type", "message"}, body
        return body["error"]["message"]
    if client == "gemini":
        assert body["error"]["code"] == reply.status and body["error"]["status"].isupper(), body
        return body["error"]["message"]
    return body["message"] if client == "cohere" else body["error"]


WORDS = "you \"said\" no é"
ERRORS = {
    "openai-chat": {"error": {"message": WORDS, "type": "t", "param": None, "code": "c"}},
    "openai-responses": {"error": {"message": WORDS, "type": "t", "param": None, "code": "c"}},
    "openai-completions": {"error": WORDS},
    "anthropic-messages": {"type": "error", "error": {"type": "some_error", "message": WORDS}, "request_id": "r"},
    "cohere-v2": {"id": "x", "message": WORDS},
    "cohere-v1": {"message": WORDS},
    "gemini": [{"error": {"code": 0, "message": WORDS, "status": "S", "details": [
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "5s"}]}}],
    "ollama-chat": {"error": WORDS},
    "bedrock-converse": {"message": WORDS},
    "tgi": {"error": WORDS, "error_type": "validation"},
    "watsonx": {"errors": [{"code": "c", "message": WORDS}], "trace": "t", "status_code": 0},
    "mlflow": {"detail": WORDS},
}
ANTHROPIC_TYPES = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error",
                   502: "api_error", 503: "overloaded_error"}


def test_an_upstreams_error_in_the_clients_words():
    state = {}

    def reply(connection, request):
        body = json.loads(json.dumps(state["body"]).replace('"code": 0', f'"code": {state["status"]}'))
        document(connection, state["status"], body, ["Retry-After: 9", "request-id: r"])

    with Upstream(reply) as upstream:
        upstreams = {name: {"url": upstream.root, "dialect": name, "api_key": "k"} for name in ERRORS}
        routes = [{"path": f"/{name}{prefixed(client)}", "request": client, "response": client, "upstream": name}
                  for name in ERRORS for client in CLIENTS]
        with Sluice(config(upstreams, routes)) as proxy:
            for name, body in ERRORS.items():
                for client in CLIENTS:
                    for status, wanted in ((401, 401), (404, 404), (429, 429), (500, 502), (529, 503), (503, 503)):
                        state.update(body=body, status=status)
                        reply = ask(proxy, client, "/" + name, stream=status != 404)
                        where = (name, client, status, reply.raw)
                        assert reply.status == wanted, where
                        assert reply.headers["content-type"] == "application/json" and reply.complete, where
                        assert reply.headers["retry-after"] == "9", where
                        if OWN.get(client, client) == name and status < 500:
                            assert json.loads(reply.body) == json.loads(json.dumps(body).replace(
                                '"code": 0', f'"code": {status}')) or client == "gemini", where
                            continue
                        assert message_of(client, reply) == WORDS, where
                        if client == "anthropic":
                            assert json.loads(reply.body)["error"]["type"] == ANTHROPIC_TYPES[wanted], where


def test_errors_that_are_no_json():
    """A page of a gateway is not shown to anyone, nor is what stands in place of an answer."""
    pages = [(502, "text/html", b"<html><h1>Bad gateway</h1> secret-host</html>", 502),
             (429, "text/plain", b"slow down, secret-host", 429), (200, "text/html", b"<html>secret-host</html>", 502),
             (200, "application/json", b"", 502), (200, SSE, b"", 502), (200, "application/json", b'{"cut', 502)]
    state = {}

    def reply(connection, request):
        status, kind, body, _ = state["page"]
        connection.sendall(f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    with Upstream(reply) as upstream, Sluice(crossed(upstream)) as proxy:
        for name in ("openai-chat", "anthropic-messages", "gemini", "ollama-chat", "bedrock-converse", "cohere-v1"):
            for client in CLIENTS:
                if OWN.get(client, client) == name:
                    continue
                for page in pages:
                    state["page"] = page
                    for stream in (True, False):
                        reply = ask(proxy, client, "/" + name, stream=stream)
                        assert reply.status == page[3], (name, client, page, stream, reply.raw)
                        assert message_of(client, reply) and b"secret-host" not in reply.body, reply.body


# MARK: what a route says

def at(body, path):
    for key in path.split("."):
        body = body[int(key)] if key.isdigit() else body[key]
    return body


# Where temperature, limit of tokens, top-p and the system's text stand in each dialect's body.
PLACES = {
    "openai-chat": ("temperature", "max_tokens", "top_p", "messages.0.content"),
    "openai-responses": ("temperature", "max_output_tokens", "top_p", "instructions"),
    "anthropic-messages": ("temperature", "max_tokens", "top_p", "system"),
    "cohere-v2": ("temperature", "max_tokens", "p", "messages.0.content"),
    "cohere-v1": ("temperature", "max_tokens", "p", "preamble"),
    "gemini": ("generationConfig.temperature", "generationConfig.maxOutputTokens", "generationConfig.topP",
               "systemInstruction.parts.0.text"),
    "ollama-chat": ("options.temperature", "options.num_predict", "options.top_p", "messages.0.content"),
    "ollama-generate": ("options.temperature", "options.num_predict", "options.top_p", "system"),
    "bedrock-converse": ("inferenceConfig.temperature", "inferenceConfig.maxTokens", "inferenceConfig.topP", "system.0.text"),
}


def test_what_a_route_puts_into_a_request():
    """The model is the route's, defaults where the client is silent, overrides over what it says, the system's text first."""
    with Upstream(ok) as upstream:
        upstreams = {name: {"url": upstream.root, "dialect": name, "api_key": "k"} for name in PLACES}
        routes = [{"path": f"/{name}{prefixed(client)}", "request": client, "response": client, "upstream": name,
                   "model": "forced", "system": "Route's.", "defaults": {"temperature": 0.25, "max_tokens": 11},
                   "overrides": {"top_p": 0.75}, "drop_unsupported": True} for name in PLACES for client in CLIENTS]
        says = {
            "openai-chat": {"temperature": 0.5, "top_p": 0.1}, "openai-responses": {"temperature": 0.5, "top_p": 0.1},
            "openai-completions": {"temperature": 0.5, "top_p": 0.1}, "anthropic": {"temperature": 0.5, "top_p": 0.1},
            "cohere": {"temperature": 0.5, "p": 0.1}, "gemini": {"generationConfig": {"temperature": 0.5, "topP": 0.1}},
            "ollama-chat": {"options": {"temperature": 0.5, "top_p": 0.1}},
            "ollama-generate": {"options": {"temperature": 0.5, "top_p": 0.1}},
        }
        with Sluice(config(upstreams, routes)) as proxy:
            for name, (temperature, limit, top_p, system) in PLACES.items():
                for client in CLIENTS:
                    reply = ask(proxy, client, "/" + name, stream=True, **says[client])
                    assert upstream.seen, (name, client, reply.raw)
                    sent = upstream.seen.pop()
                    where = (name, client, sent.target, sent.body)
                    body = sent.json
                    assert at(body, temperature) == 0.5, where
                    # Anthropic's clients must name a limit themselves.
                    assert at(body, limit) == (9 if client == "anthropic" else 11), where
                    assert at(body, top_p) == 0.75, where
                    assert at(body, system).startswith("Route's."), where
                    if name in ("gemini", "bedrock-converse"):
                        assert "/forced" in sent.target and "model" not in body, where
                    else:
                        assert body["model"] == "forced", where
                    ask(proxy, client, "/" + name, stream=True)
                    assert at(upstream.seen.pop().json, temperature) == 0.25, where


# MARK: signatures

def signature(sent, key, secret, token=None, region="eu-central-1"):
    """The signature that AWS's own library makes of the request as it arrived."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
    signed = sent.headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    request = AWSRequest(sent.method, f"http://{sent.headers['host']}{sent.target}", data=sent.body,
                         headers={name: sent.headers[name] for name in signed})
    request.context["timestamp"] = sent.headers["x-amz-date"]
    auth = SigV4Auth(Credentials(key, secret, token), "bedrock", region)
    return signed, auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)


def check_signature(sent, key, secret, token=None, region="eu-central-1"):
    moment = datetime.datetime.strptime(sent.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
    assert abs((datetime.datetime.now(datetime.timezone.utc) - moment).total_seconds()) < 60, moment
    signed, wanted = signature(sent, key, secret, token, region)
    scope = f"{key}/{moment:%Y%m%d}/{region}/bedrock/aws4_request"
    assert sent.headers["authorization"] == (
        f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={';'.join(signed)}, Signature={wanted}"), (
        sent.headers["authorization"], wanted)
    assert {"host", "x-amz-date"} <= set(signed) and signed == sorted(signed)
    assert sent.headers.get("x-amz-security-token") == token and (token is None or "x-amz-security-token" in signed)


def test_requests_to_bedrock_are_signed():
    models = ["anthropic.claude-3-5-haiku-20241022-v1:0", "arn:aws:bedrock:eu-central-1:1:inference-profile/eu.m-1:0", "m ä~+/x"]
    found = recording("bedrock-converse/text")

    def reply(connection, request):
        play(connection, found.body, found.type)
        connection.sendall(b"0\r\n\r\n")

    with Upstream(reply) as upstream, tempfile.TemporaryDirectory() as folder:
        shared = os.path.join(folder, "credentials")
        with open(shared, "w") as file:
            file.write("[default]\naws_access_key_id = AKIDDEFAULT\naws_secret_access_key = sd\n"
                       "[other]\naws_access_key_id=AKIDOTHER\naws_secret_access_key=so/+=\naws_session_token=to/+=\n")
        keys = {
            "given": {"region": "eu-central-1", "access_key_id": "AKIDGIVEN", "secret_access_key": "sg/+="},
            "session": {"region": "us-west-2", "access_key_id": "ASIAGIVEN", "secret_access_key": "ss", "session_token": "tok/+="},
            "shared": {"region": "eu-central-1", "credentials_file": shared, "profile": "other"},
            "environment": {"region": "eu-central-1"},
        }
        wanted = {"given": ("AKIDGIVEN", "sg/+=", None, "eu-central-1"), "session": ("ASIAGIVEN", "ss", "tok/+=", "us-west-2"),
                  "shared": ("AKIDOTHER", "so/+=", "to/+=", "eu-central-1"),
                  "environment": ("AKIDENV", "se", "te", "eu-central-1")}
        upstreams = {name: {"url": upstream.root, "dialect": "bedrock-converse", "aws": aws} for name, aws in keys.items()}
        routes = [{"path": f"/{name}", "request": "openai-chat", "response": "openai-chat", "upstream": name} for name in keys]
        environment = {"AWS_ACCESS_KEY_ID": "AKIDENV", "AWS_SECRET_ACCESS_KEY": "se", "AWS_SESSION_TOKEN": "te"}
        with Sluice(config(upstreams, routes), environment=environment) as proxy:
            for name in keys:
                for model in models:
                    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "é\U0001f680 " * 50}]}
                    reply = fetch(proxy.port, f"/{name}", body, headers=["Authorization: Bearer client"])
                    assert reply.status == 200 and read("openai-chat", reply.body).text == found.answer.text, reply.raw[:500]
                    check_signature(upstream.seen.pop(), *wanted[name])
        assert not any(secret in json.dumps(proxy.log) for secret in ("sg/+=", "tok/+=", "so/+="))


# MARK: size

def test_a_large_image_passes_without_much_memory():
    """10 MiB of base64 go through a translation, to the byte, while the proxy grows by less than 60 MiB."""
    image = os.urandom(10 * (1 << 20) * 3 // 4)
    plain, address = base64.b64encode(image).decode(), base64.urlsafe_b64encode(image).decode()
    url = "data:image/png;base64," + plain
    bodies = {
        "openai-chat": {"model": "m", "messages": [{"role": "user", "content": [
            {"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": url}}]}]},
        "anthropic": {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": plain}}]}]},
        "gemini": {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": address}}]}]},
    }
    with Upstream(ok) as upstream:
        targets = ("anthropic-messages", "gemini", "openai-chat")
        upstreams = {name: {"url": upstream.root, "dialect": name} for name in targets}
        routes = [{"path": f"/{name}{prefixed(client)}", "request": client, "response": client, "upstream": name}
                  for name in targets for client in bodies]
        with Sluice(config(upstreams, routes)) as proxy:
            fetch(proxy.port, "/gemini/v1/messages", {"model": "m", "max_tokens": 1, "messages": TURN})
            upstream.seen.clear()
            for name in targets:
                for client, body in bodies.items():
                    if OWN.get(client, client) == name:
                        continue
                    before, peak = proxy.resident_kib(), Peak(proxy)
                    with peak:
                        reply = fetch(proxy.port, f"/{name}" + CLIENTS[client][0], body, seconds=60)
                    assert reply.status == 404, (name, client, reply.raw)
                    sent = upstream.seen.pop().body
                    assert plain.encode() in sent, (name, client, sent[:300])
                    assert peak.kib - before < 60 << 10, (name, client, before, peak.kib)


class Peak:
    """The most memory that the proxy had meanwhile."""

    def __init__(self, proxy):
        self.proxy, self.kib, self.is_over = proxy, 0, threading.Event()

    def _watch(self):
        while not self.is_over.wait(0.002):
            self.kib = max(self.kib, self.proxy.resident_kib())

    def __enter__(self):
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.thread.join()
