"""What the tests of chains share: providers in three dialects that say what a test tells them to, and routes with steps over them."""

import json
import threading

from harness import HEAD, Peer, Sluice, chunk, event, stays_until, wait_closed

LINES = HEAD.replace(b"text/event-stream", b"application/x-ndjson")


def openai(texts, finish="stop", usage=None):
    """The parts of a stream, as many as texts and one more: its end."""
    parts = [event({"content": text}) for text in texts]
    end = event({}, finish)
    if usage:
        counts = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
        end += b"data: " + json.dumps({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
                                       "choices": [], "usage": counts}).encode() + b"\n\n"
    return HEAD, [*parts, end + b"data: [DONE]\n\n"]


def anthropic(texts, finish="end_turn", usage=(7, 5)):
    def one(kind, **more):
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n".encode()

    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": [],
               "usage": {"input_tokens": usage[0], "output_tokens": 1}}
    begin = one("message_start", message=message) + one(
        "content_block_start", index=0, content_block={"type": "text", "text": ""})
    parts = [one("content_block_delta", index=0, delta={"type": "text_delta", "text": text}) for text in texts]
    end = one("content_block_stop", index=0) + one(
        "message_delta", delta={"stop_reason": finish}, usage={"output_tokens": usage[1]}) + one("message_stop")
    return HEAD, [begin + parts[0], *parts[1:], end]


def ollama(texts, finish="stop", usage=(11, 3)):
    def line(**more):
        return json.dumps({"model": "llama", "created_at": "2025-01-01T00:00:00Z", **more}).encode() + b"\n"

    parts = [line(message={"role": "assistant", "content": text}, done=False) for text in texts]
    end = line(message={"role": "assistant", "content": ""}, done=True, done_reason=finish,
               prompt_eval_count=usage[0], eval_count=usage[1])
    return LINES, [*parts, end]


def play(connection, answer):
    head, parts = answer
    connection.sendall(head + b"".join(chunk(part) for part in parts) + b"0\r\n\r\n")


class Provider(Peer):
    """Answers every request with `answer`, or by the script that it is. `bodies`: what it was asked."""

    def __init__(self, answer):
        self.hangups = 0
        super().__init__(answer if callable(answer) else lambda connection, request: play(connection, answer))

    @property
    def bodies(self):
        return [json.loads(request.split(b"\r\n\r\n", 1)[1]) for request in self.requests]

    def silent(self, connection):
        """Nothing more, until the other side leaves."""
        wait_closed(connection, 60)
        self.hangups += 1
        return "close"


class Held(Provider):
    """Sends the parts of its answer one at a time, each when the test lets it go; says how many have left."""

    def __init__(self, answer):
        self.answer = answer
        self.allowed = threading.Semaphore(0)
        self.sent = 0
        super().__init__(self._play)

    def release(self, count=1):
        for _ in range(count):
            self.allowed.release()

    def _wait(self, connection):
        if not stays_until(connection, lambda: self.allowed.acquire(timeout=0.01)):
            self.hangups += 1
            raise OSError("hung up")

    def _play(self, connection, request):
        head, parts = self.answer
        self._wait(connection)
        connection.sendall(head)
        for part in parts:
            self._wait(connection)
            connection.sendall(chunk(part))
            self.sent += 1
        connection.sendall(b"0\r\n\r\n")


DIALECTS = {openai: "openai-chat", anthropic: "anthropic-messages", ollama: "ollama-chat"}
OUTLINE = {"name": "outline", "upstream": "one", "model": "small", "system": "You are terse.",
           "prompt": "An outline for: ${input.prompt}", "overrides": {"max_tokens": 300}}
ANSWER = {"name": "answer", "upstream": "two", "model": "large",
          "prompt": "Write it out.\n\n${steps.outline.output}"}


def settings(upstreams, steps=(OUTLINE, ANSWER), routes=None, more_upstreams=None, top=None, **changes):
    """`upstreams`: a peer, or a peer with its dialect, or with changes too. Routes for the usual clients, all with these steps."""
    specs = {}
    for name, given in upstreams.items():
        given = given if isinstance(given, tuple) else (given, "openai-chat")
        peer, dialect, more = given if len(given) == 3 else (*given, {})
        url = peer if isinstance(peer, str) else peer.url
        if dialect == "ollama-chat":
            url = url.removesuffix("/v1")
        specs[name] = {"url": url, "dialect": dialect, "api_key": f"sk-own-{name}", **more}
    made = [{"path": f"/{name}", "request": "prompt", "response": name, "methods": ["GET", "POST"]}
            for name in ("text", "sse-text", "sse-json", "ndjson")]
    made += [{"path": "/chat", "request": "openai-chat", "response": "openai-chat"},
             {"path": "/ui", "request": "vercel-ui", "response": "vercel-ui"},
             {"path": "/claude", "request": "anthropic", "response": "anthropic"},
             {"path": "/run", "request": "run", "response": "sse-text"},
             {"path": "/auto", "request": "prompt", "response": "auto"}]
    return {"listeners": [{"address": "127.0.0.1:0"}], "workers": 1, "upstreams": specs, **(top or {}),
            "routes": [{**route, "steps": list(steps), **changes} for route in made] + (routes or [])}


def world(upstreams, steps=(OUTLINE, ANSWER), **more):
    environment = more.pop("environment", None)
    return Sluice(settings(upstreams, steps, **more), environment=environment)


def question(text="cats"):
    return {"model": "ours", "stream": True, "messages": [{"role": "user", "content": text}]}


def ui(text="cats"):
    return {"id": "chat-1", "messages": [{"id": "m1", "role": "user", "parts": [{"type": "text", "text": text}]}]}
