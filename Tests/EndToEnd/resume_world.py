"""What the tests of resumable answers share: an upstream whose tokens the test lets go one by one, and readers of ids."""

import re
import threading

from harness import DONE, HEAD, Peer, Reply, chunk, connect, event, fetch, request_bytes, stays_until, until

TOKENS = ["Hello", ",\n", " wörld", " 🚀", "\n\nend", " of", " it"]
ID = re.compile(rb"id: ([A-Za-z0-9_-]{22})/(\d+|end)\n")


class Gated(Peer):
    """Answers with TOKENS. Those from `held` on wait for `release`; -1: its head does too."""

    def __init__(self, held=None, tokens=TOKENS):
        self.gate = threading.Event()
        self.tokens, self.held = tokens, len(tokens) if held is None else held
        self.hangups = 0
        super().__init__(self._answer)

    def release(self):
        self.gate.set()

    def _answer(self, connection, request):
        if self.held < 0:
            self._wait(connection)
        connection.sendall(HEAD + chunk(event({"role": "assistant", "content": ""})))
        for index, token in enumerate(self.tokens):
            if index >= self.held >= 0:
                self._wait(connection)
            connection.sendall(chunk(event({"content": token})))
        connection.sendall(chunk(DONE) + b"0\r\n\r\n")

    def _wait(self, connection):
        if not stays_until(connection, lambda: self.gate.wait(0.01)):
            self.hangups += 1
            raise OSError("hung up")


def settings(peer, resume=None, workers=1, routes=(), **changes):
    """Each format at a route of its own, all of them resumable."""
    resume = {} if resume is None else resume
    formats = ["text", "sse-text", "sse-json", "ndjson", "openai-chat", "anthropic", "vercel-ui", "ag-ui", "gemini"]
    made = [{"path": f"/{name}", "request": "prompt", "response": name, "upstream": "u", "resume": resume}
            for name in formats]
    made.append({"path": "/api/chat", "methods": ["POST"], "request": "vercel-ui", "response": "vercel-ui",
                 "upstream": "u", "resume": resume})
    made.append({"path": "/v1/chat", "request": "openai-chat", "response": "openai-chat", "upstream": "u",
                 "resume": resume})
    made.append({"path": "/auto", "request": "prompt", "response": "auto", "upstream": "u", "resume": resume})
    made.append({"path": "/plain", "request": "prompt", "response": "auto", "upstream": "u"})
    return {"listeners": [{"address": "127.0.0.1:0"}], "workers": workers, "routes": [*routes, *made],
            "upstreams": {"u": {"url": peer.url, "dialect": "openai-chat", "api_key": "sk-own"}}, **changes}


def chat(name, text="hi"):
    return {"id": name, "messages": [{"id": "m1", "role": "user", "parts": [{"type": "text", "text": text}]}]}


class Stream:
    """A response that is read bit by bit. `close` leaves it."""

    def __init__(self, port, path, body=None, method=None, headers=()):
        self.connection = connect(port)
        self.connection.sendall(request_bytes(path, body, method, ["Connection: close", *headers]))
        self.data = b""
        self.isOver = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        self.connection.settimeout(60)
        try:
            while more := self.connection.recv(65536):
                self.data += more
        except OSError:
            pass
        self.isOver = True

    @property
    def reply(self):
        return Reply(self.data)

    @property
    def body(self):
        return self.reply.body if b"\r\n\r\n" in self.data else b""

    def until(self, text, seconds=20):
        until(lambda: text in self.body, seconds, f"{text!r} in {self.data[-300:]!r}")
        return self

    def head(self, seconds=20):
        until(lambda: b"\r\n\r\n" in self.data, seconds, "a head")
        return self.reply

    def whole(self, seconds=20):
        until(lambda: self.isOver, seconds, f"the end of {self.data[-300:]!r}")
        return self.reply

    def close(self):
        try:
            self.connection.shutdown(2)
        except OSError:
            pass
        self.connection.close()


def metrics(proxy):
    """What /metrics says, by name and labels."""
    address = until(lambda: [e["address"] for e in list(proxy.log) if e["event"] == "admin_listening"], what="admin")[0]
    text = fetch(int(address.rsplit(":", 1)[1]), "/metrics").body.decode()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
            if line and not line.startswith("#")}
