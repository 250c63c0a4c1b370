"""What can go wrong at an upstream, and what each kind of client must see then. `test_faults.py` runs the whole table.

`SEEN` is the promise in one place: a row for each fault, a column for each family of formats, and the word in the log.
"""

import dataclasses
import gzip
import json
import zlib

from harness import reset, wait_closed
from http2_peer import DATA, NO_ERROR, frame, goaway
from readers import READERS

# The families of formats. All but these can say inside the stream that it failed.
CANNOT_SAY = "text"
PASSTHROUGH = "passthrough"
FORMATS = [*READERS, PASSTHROUGH]

WHOLE = "whole"          # 200, every token, the format's own end, the transfer complete
TOLD = "told"            # 200, the tokens before the fault, the format's own error, the transfer complete
ABORTED = "aborted"      # 200, the tokens before the fault, the transfer cut: no last chunk, or RST_STREAM
REFUSED = "502"          # an error status, with a JSON document in the words of the format
RELAYED = "relayed"      # the upstream's own body, byte for byte, the transfer complete

#: fault: (formats that can say it, `text`, the upstream's own dialect, passthrough, the log's `end`).
#: Where nothing of the answer has gone out yet, a fault that is told or aborted is a 502 (504 for silence) instead.
SEEN = {
    "cut at every event":    (TOLD, ABORTED, TOLD, ABORTED, "eof"),
    "RST":                   (TOLD, ABORTED, TOLD, ABORTED, "eof"),
    "GOAWAY":                (TOLD, ABORTED, TOLD, ABORTED, "eof"),
    "FIN":                   (TOLD, ABORTED, TOLD, ABORTED, "eof"),
    "stall":                 (TOLD, ABORTED, TOLD, ABORTED, "idle"),
    "malformed chunk":       (TOLD, ABORTED, TOLD, ABORTED, "malformed"),
    "bad JSON":              (TOLD, ABORTED, TOLD, ABORTED, "malformed"),
    "oversized event":       (TOLD, ABORTED, TOLD, ABORTED, "malformed"),
    "200 with HTML":         (REFUSED, REFUSED, REFUSED, RELAYED, "malformed"),
    "200 with a JSON error": (REFUSED, REFUSED, REFUSED, RELAYED, "upstream_error"),
    "gzip though not asked": (WHOLE, WHOLE, WHOLE, WHOLE, "done"),
    "1-byte segments":       (WHOLE, WHOLE, WHOLE, WHOLE, "done"),
    "103 before the head":   (WHOLE, WHOLE, WHOLE, WHOLE, "done"),
    "invalid UTF-8":         (WHOLE, WHOLE, WHOLE, WHOLE, "done"),
}

EVENT_LIMIT = 64 << 10
TOKENS = ["Hello", ",\n", " wörld", " 🚀", " lantern"]
#: Ends the text before a fault; a client that has it has all of it, in any format.
MARKER = b"lantern"
HTML = b"<!DOCTYPE html><html><body><h1>Bad gateway</h1></body></html>"
WORDS = "the model is overloaded"


def seen(fault, format, dialect):
    """(what the client sees, the log's `end`) of a fault in the middle of a stream."""
    says, text, own, through, end = SEEN[fault]
    if format == PASSTHROUGH:
        return through, "done" if through in (WHOLE, RELAYED) else end
    return {CANNOT_SAY: text, dialect: own}.get(format, says), end


@dataclasses.dataclass
class Wanted:
    """What one run must come to."""
    seen: str
    end: str
    #: The tokens that came before the fault.
    text: str = ""
    status: int = 200
    #: All that the upstream sent as a body, as `passthrough` relays it.
    raw: bytes = b""


@dataclasses.dataclass
class Case:
    """One way for a fault to happen: what the upstream plays, and what must come of it."""
    name: str
    play: object
    wanted: Wanted
    #: The timeout that is short at the upstream that plays it, so that no other can come first.
    upstream: str = ""


# The providers' streams: openings without a token, a token, closings, of which the last is the end.

class OpenAI:
    dialect, kind, end_is_event = "openai-chat", "text/event-stream", True

    @staticmethod
    def event(delta, finish=None):
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        value = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
        return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"

    @classmethod
    def opening(cls):
        return [cls.event({"role": "assistant", "content": ""})]

    @classmethod
    def token(cls, text):
        return cls.event({"content": text})

    @classmethod
    def closing(cls):
        return [cls.event({}, "stop"), b"data: [DONE]\n\n"]

    bad = b"data: {\"choices\": oops\n\n"
    error = {"error": {"message": WORDS, "type": "server_error", "param": None, "code": None}}


class Anthropic:
    dialect, kind, end_is_event = "anthropic-messages", "text/event-stream", True

    @staticmethod
    def event(kind, **more):
        value = json.dumps({"type": kind, **more}, ensure_ascii=False)
        return f"event: {kind}\ndata: {value}\n\n".encode()

    @classmethod
    def opening(cls):
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None,
                   "stop_sequence": None, "usage": {"input_tokens": 3, "output_tokens": 1}}
        return [cls.event("message_start", message=message),
                cls.event("content_block_start", index=0, content_block={"type": "text", "text": ""})]

    @classmethod
    def token(cls, text):
        return cls.event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})

    @classmethod
    def closing(cls):
        delta = {"stop_reason": "end_turn", "stop_sequence": None}
        return [cls.event("content_block_stop", index=0),
                cls.event("message_delta", delta=delta, usage={"output_tokens": 5}), cls.event("message_stop")]

    bad = b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\", oops\n\n"
    error = {"type": "error", "error": {"type": "overloaded_error", "message": WORDS}}


class Gemini:
    dialect, kind, end_is_event = "gemini", "text/event-stream", False

    @staticmethod
    def event(text, **more):
        candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0, **more}
        value = {"candidates": [candidate], "modelVersion": "m", "responseId": "r1"}
        return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\r\n\r\n"

    @staticmethod
    def opening():
        return []

    @classmethod
    def token(cls, text):
        return cls.event(text)

    @classmethod
    def closing(cls):
        return [cls.event("", finishReason="STOP")]

    bad = b"data: {\"candidates\": oops\r\n\r\n"
    error = {"error": {"code": 503, "message": WORDS, "status": "UNAVAILABLE"}}


class Ollama:
    dialect, kind, end_is_event = "ollama-chat", "application/x-ndjson", True

    @staticmethod
    def line(text, done=False, **more):
        value = {"model": "m", "created_at": "2026-01-01T00:00:00.123456Z", "message": {"role": "assistant", "content": text},
                 "done": done, **more}
        return json.dumps(value, ensure_ascii=False).encode() + b"\n"

    @staticmethod
    def opening():
        return []

    @classmethod
    def token(cls, text):
        return cls.line(text)

    @classmethod
    def closing(cls):
        return [cls.line("", True, done_reason="stop", prompt_eval_count=3, eval_count=5)]

    bad = b"{\"model\": oops\n"
    error = {"error": WORDS}


PROVIDERS = {each.dialect: each for each in (OpenAI, Anthropic, Gemini, Ollama)}
#: The client's format that is the provider's own stream, and so relayed.
OWN_FORMAT = {"openai-chat": "openai-chat", "anthropic-messages": "anthropic", "gemini": "gemini", "ollama-chat": "ollama-chat"}


# The wires: one upstream answer over each protocol, with the means to spoil it.

class Wire1:
    """HTTP/1.1 over a connected socket."""

    def __init__(self, connection):
        self.connection = connection
        self.is_over = False
        self.is_chunked = True
        self.is_tiny = False

    def send(self, data):
        if not self.is_tiny:
            return self.connection.sendall(data)
        for index in range(len(data)):
            self.connection.sendall(data[index:index + 1])

    def interim(self):
        self.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")

    def head(self, kind, fields=(), length=None, until_close=False):
        self.is_chunked = length is None and not until_close
        framing = ["Transfer-Encoding: chunked"] if self.is_chunked else [f"Content-Length: {length}"] if length is not None else []
        lines = ["HTTP/1.1 200 OK", f"Content-Type: {kind}", *(f"{name}: {value}" for name, value in fields), *framing]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n")

    def body(self, data):
        self.send(b"%x\r\n%s\r\n" % (len(data), data) if self.is_chunked else data)

    def end(self):
        if self.is_chunked:
            self.send(b"0\r\n\r\n")

    def close(self):
        self.is_over = True

    def reset(self):
        reset(self.connection)
        self.is_over = True

    def break_framing(self):
        self.send(b"zz\r\nnot a chunk\r\n")
        self.wait_left()

    def wait_left(self):
        wait_closed(self.connection)
        self.is_over = True


class Wire2:
    """A stream of HTTP/2, on a connection of its own."""

    def __init__(self, stream):
        self.stream = stream
        self.is_tiny = False

    def interim(self):
        self.stream.send_fields([(":status", "100")])
        self.stream.send_fields([(":status", "103"), ("link", "</style.css>; rel=preload")])

    def head(self, kind, fields=(), length=None, until_close=False):
        more = [(name.lower(), value) for name, value in fields if name.lower() != "connection"]
        more += [("content-length", str(length))] if length is not None else []
        self.stream.head(kind=kind, fields=more)

    def body(self, data):
        self.stream.data(data) if not self.is_tiny else self.tiny(lambda h2: h2.send_data(self.stream.number, data))

    def end(self):
        self.stream.end() if not self.is_tiny else self.tiny(lambda h2: h2.end_stream(self.stream.number))

    def tiny(self, act):
        """What comes of it on the wire, byte by byte."""
        connection = self.stream.connection
        with connection.lock:
            connection.flush()
            act(connection.h2)
            wire = connection.h2.data_to_send()
            for index in range(len(wire)):
                connection.out += wire[index:index + 1]
                connection.flush()

    def close(self):
        self.stream.connection.close()

    def reset(self):
        self.stream.abort()

    def goaway(self):
        self.stream.connection.raw(goaway(self.stream.number, NO_ERROR))

    def break_framing(self):
        # RFC 9113 §6.1: padding as long as the payload.
        self.stream.connection.raw(frame(DATA, 8, self.stream.number, b"\xff\x00"))
        self.stream.wait_left()

    def wait_left(self):
        self.stream.wait_left()


# The cases of each fault. A play is `play(wire, arrived)`; `arrived()` waits until the client has `MARKER`.

class Plays:
    def __init__(self, provider, format, is_h2):
        self.provider, self.format, self.is_h2 = provider, format, is_h2
        self.opening, self.closing = provider.opening(), provider.closing()
        self.tokens = [provider.token(text) for text in TOKENS]
        self.events = [*self.opening, *self.tokens, *self.closing]
        self.stream = b"".join(self.events)
        self.before = [*self.opening, *self.tokens]

    def of(self, fault):
        """The cases of a fault, by the method of its name."""
        name = fault.lower().replace(" ", "_").replace("-", "_").replace("1_byte", "one_byte")
        return list(getattr(self, "_" + name if name[0].isdigit() else name)(fault))

    def wanted(self, fault, events):
        """What must come of a fault behind `events`."""
        seen_as, end = seen(fault, self.format, OWN_FORMAT[self.provider.dialect])
        raw = b"".join(events)
        text = "".join(text for text, event in zip(TOKENS, self.tokens) if event in events)
        if not text and seen_as in (TOLD, ABORTED) and self.format != PASSTHROUGH:
            return Wanted(REFUSED, end, status=502)
        return Wanted(seen_as, end, text, raw=raw)

    def whole(self, text=None, raw=None):
        return Wanted(WHOLE, "done", "".join(TOKENS) if text is None else text, raw=self.stream if raw is None else raw)

    def sent(self, wire, events, fields=(), **more):
        wire.head(self.provider.kind, fields, **more)
        for event in events:
            wire.body(event)

    def after_tokens(self, fault, way, name="behind the tokens", **more):
        def play(wire, arrived):
            self.sent(wire, self.before, **more)
            way(wire)
        return Case(name, play, self.wanted(fault, self.before))

    def cut_at_every_event(self, fault):
        def cut(count):
            def play(wire, arrived):
                self.sent(wire, self.events[:count])
                wire.close()
            is_all = count == len(self.events) and self.provider.end_is_event
            return Case(f"behind event {count}", play, self.whole() if is_all else self.wanted(fault, self.events[:count]))

        def inside(wire, arrived):
            # Between two bytes of a character.
            half = self.tokens[3][:self.tokens[3].index("🚀".encode()) + 2]
            self.sent(wire, [*self.opening, *self.tokens[:3]])
            wire.body(half)
            wire.close()

        yield Case("before the head", lambda wire, arrived: wire.close(), Wanted(REFUSED, "eof", status=502))
        yield from (cut(count) for count in range(len(self.events) + 1))
        yield Case("inside an event", inside, self.wanted(fault, [*self.opening, *self.tokens[:3]]))

    def rst(self, fault):
        def play(wire, arrived):
            self.sent(wire, self.before)
            arrived()  # A reset may overtake what was sent before it.
            wire.reset()
        yield Case("behind the tokens", play, self.wanted(fault, self.before))

    def goaway(self, fault):
        fields = () if self.is_h2 else [("Connection", "close")]

        def broken(wire):
            if self.is_h2:
                wire.goaway()
            wire.close()

        def whole(wire, arrived):
            self.sent(wire, self.before, fields)
            if self.is_h2:
                wire.goaway()
            for event in self.closing:
                wire.body(event)
            wire.end()
            wire.close()

        yield self.after_tokens(fault, broken, "and the connection's end", fields=fields)
        yield Case("and the stream's own end", whole, self.whole())

    def fin(self, fault):
        yield self.after_tokens(fault, lambda wire: wire.end(), "the message ends as HTTP says")
        if not self.is_h2:
            yield self.after_tokens(fault, lambda wire: wire.close(), "the end of the connection is the message's", until_close=True)

        def empty(wire, arrived):
            self.sent(wire, self.opening)
            wire.end()
        yield Case("before the first token", empty, self.wanted(fault, self.opening))

    def stall(self, fault):
        def play(wire, arrived):
            wire.head(self.provider.kind)
            wire.body(b"".join(self.before))
            wire.wait_left()

        def tokenless(wire, arrived):
            self.sent(wire, self.opening)
            wire.wait_left()

        seen_as = ABORTED if self.format == PASSTHROUGH else REFUSED
        nothing = Wanted(seen_as, "timeout_firstToken", status=200 if seen_as == ABORTED else 504, raw=b"".join(self.opening))
        yield Case("behind the tokens", play, self.wanted(fault, self.before), upstream="idle")
        yield Case("before the first token", tokenless, nothing, upstream="first_token")
        yield Case("before the head", lambda wire, arrived: wire.wait_left(), Wanted(REFUSED, "timeout_head", status=504), "headers")

    def malformed_chunk(self, fault):
        yield self.after_tokens(fault, lambda wire: wire.break_framing())

    def spoilt(self, fault, event):
        def apart(wire, arrived):
            self.sent(wire, self.before)
            arrived()
            wire.body(event)
            wire.wait_left()

        def together(wire, arrived):
            wire.head(self.provider.kind)
            wire.body(b"".join(self.before) + event)
            wire.end()

        wanted = self.wanted(fault, self.before)
        yield Case("in a read of its own", apart, dataclasses.replace(wanted, raw=wanted.raw + event))
        yield Case("in one read with the tokens", together, dataclasses.replace(wanted, raw=wanted.raw + event))

    def bad_json(self, fault):
        return self.spoilt(fault, self.provider.bad)

    def oversized_event(self, fault):
        return self.spoilt(fault, self.provider.token("x" * (EVENT_LIMIT + 1)))

    def document(self, fault, kind, body):
        def play(wire, arrived):
            wire.head(kind, length=len(body))
            wire.body(body)
            wire.end()
        seen_as, end = seen(fault, self.format, OWN_FORMAT[self.provider.dialect])
        yield Case("with its length", play, Wanted(seen_as, end, status=None if seen_as == REFUSED else 200, raw=body))

    def _200_with_html(self, fault):
        return self.document(fault, "text/html; charset=utf-8", HTML)

    def _200_with_a_json_error(self, fault):
        return self.document(fault, "application/json", json.dumps(self.provider.error).encode())

    def gzip_though_not_asked(self, fault):
        fields = [("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]

        def piecewise(wire, arrived):
            wire.head(self.provider.kind, fields)
            packer = zlib.compressobj(9, zlib.DEFLATED, 31)
            for event in self.before:
                wire.body(packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH))
            arrived()  # No token waits for the ones behind it.
            wire.body(packer.compress(b"".join(self.closing)) + packer.flush())
            wire.end()

        def members(wire, arrived):
            self.sent(wire, [gzip.compress(event) for event in self.events], fields)
            wire.end()

        def deflate(wire, arrived):
            wire.head(self.provider.kind, [("Content-Encoding", "deflate")])
            wire.body(zlib.compress(self.stream))
            wire.end()

        def cut(wire, arrived):
            packed = gzip.compress(b"".join(self.before)) + gzip.compress(b"".join(self.closing))[:-8]
            self.sent(wire, [packed], fields)
            wire.end()

        def damaged(wire, arrived):
            packer = zlib.compressobj(9, zlib.DEFLATED, 31)
            good = packer.compress(b"".join(self.before)) + packer.flush(zlib.Z_SYNC_FLUSH)
            self.sent(wire, [good + b"\xff\xff\xff\xff\xff\xff"], fields)
            wire.end()

        def brotli(wire, arrived):
            self.sent(wire, self.before, [("Content-Encoding", "br")])
            wire.end()

        yield Case("flushed at each event", piecewise, self.whole())
        yield Case("a member for each event", members, self.whole())
        yield Case("deflate", deflate, self.whole())
        # All but the trailer is there, so the dialect's own end is, where it has one.
        wanted = self.whole() if self.provider.end_is_event else self.wanted("FIN", self.events)
        yield Case("without its trailer", cut, wanted)
        yield Case("damaged behind the tokens", damaged, self.wanted("bad JSON", self.before))
        yield Case("brotli", brotli, Wanted(REFUSED, "malformed", status=502))

    def one_byte_segments(self, fault):
        def play(wire, arrived):
            wire.is_tiny = True
            self.sent(wire, self.events)
            wire.end()
        yield Case("all of it", play, self.whole())

    def _103_before_the_head(self, fault):
        def play(wire, arrived):
            wire.interim()
            wire.interim()
            self.sent(wire, self.events)
            wire.end()
        yield Case("twice, and 100 too", play, self.whole())

    def invalid_utf_8(self, fault):
        # A byte that begins nothing, one that goes on with nothing, and half a character at the end of a string.
        spoilt = [(b"a\xff\x80b", "a\ufffd\ufffdb"), (b"\xe2\x82", "\ufffd"), (b" lantern", " lantern")]
        events = [self.provider.token("PLACE").replace(b"PLACE", data) for data, _ in spoilt]
        events = [*self.opening, *events, *self.closing]

        def play(wire, arrived):
            self.sent(wire, events)
            wire.end()
        yield Case("in three tokens", play, self.whole("".join(text for _, text in spoilt), b"".join(events)))

