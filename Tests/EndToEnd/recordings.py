"""Providers that answer with what was recorded of the real ones, and a proxy with a route to each from every kind of client."""

import functools
import json
import os
import random
import re

import answers
from harness import Peer, Sluice, chunk

FOLDER = os.path.join(os.path.dirname(__file__), "..", "Fixtures")
TYPES = {"sse": "text/event-stream; charset=utf-8", "ndjson": "application/x-ndjson",
         "bin": "application/vnd.amazon.eventstream", "json": "application/json; charset=UTF-8"}
# Whose recordings each dialect reads, and what an error status looks like there.
DIALECTS = {
    "openai-chat": ["openai-chat"], "openai-responses": ["openai-responses"], "openai-completions": ["openai-completions"],
    "anthropic-messages": ["anthropic-messages"], "cohere-v2": ["cohere-v2"], "cohere-v1": ["cohere-v1"],
    "gemini": ["gemini-sse", "gemini-array"], "ollama-chat": ["ollama-chat"], "ollama-generate": ["ollama-generate"],
    "bedrock-converse": ["bedrock-converse"], "bedrock-invoke": ["bedrock-invoke"], "tgi": ["tgi"],
    "watsonx": ["watsonx"],
}
# The path (Google's older clients say v1beta), the request's format and the answer's, of each kind of client.
CLIENTS = {
    "openai-chat": "/v1/chat/completions", "openai-responses": "/v1/responses", "openai-completions": "/v1/completions",
    "anthropic": "/v1/messages", "cohere": "/v2/chat", "ollama-chat": "/api/chat", "ollama-generate": "/api/generate",
    "gemini": "/v1/models/*", "ag-ui": "/agent", "vercel-ui": "/ui",
}
ERROR_WORDS = "the provider says no"


class Recording:
    def __init__(self, folder, case):
        self.folder, self.case, self.name = folder, case, f"{folder}/{case}"
        file = next(name for name in os.listdir(os.path.join(FOLDER, folder))
                    if name.rsplit(".", 1)[0] == case and not name.endswith(".expected.json"))
        self.type = "application/stream+json" if folder == "cohere-v1" else TYPES[file.rsplit(".", 1)[1]]
        with open(os.path.join(FOLDER, folder, file), "rb") as body:
            self.body = body.read()
        with open(os.path.join(FOLDER, folder, case + ".expected.json")) as told:
            self.told = json.load(told)
        self.answer = answers.expected(folder, self.told)

    @property
    def dialect(self):
        return next(dialect for dialect, folders in DIALECTS.items() if self.folder in folders)


@functools.cache
def recording(name):
    return Recording(*name.split("/"))


@functools.cache
def recordings(dialect=None):
    """All of a dialect, or of all, in order."""
    names = []
    for folder in sum(([*DIALECTS[dialect]] if dialect else sum(DIALECTS.values(), []),), []):
        names += sorted(f"{folder}/{name.removesuffix('.expected.json')}"
                        for name in os.listdir(os.path.join(FOLDER, folder)) if name.endswith(".expected.json"))
    return [recording(name) for name in names]


def error_body(dialect, status):
    if dialect.startswith("anthropic"):
        return {"type": "error", "error": {"type": "some_error", "message": ERROR_WORDS}, "request_id": "req_1"}
    if dialect.startswith("cohere"):
        return {"id": "e", "message": ERROR_WORDS}
    if dialect == "gemini":
        return {"error": {"code": status, "message": ERROR_WORDS, "status": "SOME_STATUS", "details": []}}
    if dialect.startswith("ollama"):
        return {"error": ERROR_WORDS}
    if dialect.startswith("bedrock"):
        return {"message": ERROR_WORDS}
    return {"error": {"message": ERROR_WORDS, "type": "some_error", "param": None, "code": None}}


def document(connection, status, body, fields=()):
    """One JSON document as a whole response."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", "Content-Type: application/json", f"Content-Length: {len(body)}", *fields]
    connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def play(connection, body, content_type, seed=0, pieces=4):
    """A stream in a few writes, cut anywhere."""
    connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    cuts = sorted(random.Random(seed).sample(range(1, len(body)), min(pieces - 1, len(body) - 1)))
    for start, end in zip([0, *cuts], [*cuts, len(body)]):
        connection.sendall(chunk(body[start:end]))


def prompt(name, fault=""):
    """What a client must say to hear a recording, or an error status `status/429`."""
    return f"play {name} {fault}".strip() + "."


def script(connection, request):
    """Plays what the prompt in the request names; the first step of the path says whose words an error is told in."""
    dialect = request.split(b"/", 2)[1].decode()
    name, fault = re.search(rb"play ([a-z0-9-]+/[a-z0-9-]+)(?: (cut|break))?\.", request).groups()
    if name.startswith(b"status/"):
        status = int(name[7:])
        document(connection, status, error_body(dialect, status), ["Retry-After: 7", "x-ratelimit-limit-requests: 5"])
        return None
    found = recording(name.decode())
    body = found.body if fault is None else half(found)
    play(connection, body, found.type, seed=len(body))
    if fault == b"break":
        return "close"
    connection.sendall(b"0\r\n\r\n")
    return None


def half(found):
    """Up to about the middle, and so before anything that ends an answer."""
    return found.body[:len(found.body) * 6 // 10]


def config(url, clients=CLIENTS, dialects=DIALECTS):
    upstreams = {name: {"url": f"{url}/{name}", "dialect": name, "api_key": "sk-own"} for name in dialects}
    routes = []
    for client in clients:
        for name in dialects:
            subject = "header.x-upstream" if CLIENTS[client].endswith("*") or client == "ag-ui" else "body.model"
            route = {"path": CLIENTS[client], "when": {subject: name}, "request": client, "response": client,
                     "upstream": name, "drop_unsupported": True}
            # Its clients name no model.
            routes.append(route | {"model": "m"} if client == "ag-ui" else route)
    return {"listeners": [{"address": "127.0.0.1:0"}], "workers": 1, "upstreams": upstreams, "routes": routes}


class Stage:
    """The proxy before all the providers."""

    def __enter__(self):
        self.peer = Peer(script)
        self.proxy = Sluice(config(f"http://127.0.0.1:{self.peer.port}"))
        self.port = self.proxy.port
        return self

    def __exit__(self, *_):
        self.proxy.stop()
        self.peer.close()
