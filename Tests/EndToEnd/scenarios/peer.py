"""A scripted provider: an HTTP/1.1 server on 127.0.0.1 that does with each request exactly what a scenario says."""

import contextlib
import json
import socket
import ssl
import struct
import threading
import time
from typing import Callable

PATIENCE = 30.0


class PeerExchange:
    """One complete request and the socket to answer it on."""

    def __init__(self, connection: socket.socket, number: int, line: str, fields: list[tuple[str, str]], body: bytes):
        self.connection = connection
        self.connection_number = number
        self.line = line
        self.fields = fields
        self.body = body
        # True lets the next request come on the same connection.
        self.keeps = False
        self.chunked = False
        self.sent_bytes = 0
        self.left_at: float | None = None
        self.over = threading.Event()

    @property
    def method(self) -> str:
        return self.line.split(" ")[0]

    @property
    def target(self) -> str:
        return self.line.split(" ")[1]

    def field(self, name: str) -> str | None:
        values = [value for key, value in self.fields if key.lower() == name.lower()]
        return ", ".join(values) if values else None

    @property
    def json(self) -> dict:
        return json.loads(self.body)

    # Answering

    def raw(self, data: bytes) -> None:
        self.connection.sendall(data)
        self.sent_bytes += len(data)

    def head(self, status: int = 200, kind: str = "text/event-stream", framing: str = "chunked", version: str = "1.1",
             fields: str = "") -> None:
        """`framing`: chunked, close, or a length in decimal."""
        self.chunked = framing == "chunked"
        text = f"HTTP/{version} {status} Reason\r\nContent-Type: {kind}\r\n{fields}"
        if framing == "chunked":
            text += "Transfer-Encoding: chunked\r\n"
        elif framing != "close":
            text += f"Content-Length: {framing}\r\n"
        self.raw(text.encode() + b"\r\n")

    def data(self, data: bytes) -> None:
        """Body bytes, as one chunk where the body is chunked."""
        self.raw(b"%x\r\n%b\r\n" % (len(data), data) if self.chunked else data)

    def token(self, text: str, **more: object) -> None:
        self.data(chunk({"content": text}, **more))

    def finish(self, reason: str = "stop") -> None:
        self.data(chunk({}, finish=reason))

    def done(self) -> None:
        self.data(b"data: [DONE]\n\n")
        self.end()

    def end(self) -> None:
        if self.chunked:
            self.raw(b"0\r\n\r\n")
            self.keeps = True

    def document(self, status: int, body: bytes, kind: str = "application/json", fields: str = "") -> None:
        self.head(status, kind, str(len(body)), fields=fields)
        self.raw(body)
        self.keeps = True

    # Ending badly

    def reset(self) -> None:
        """Closes with RST, not FIN."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def wait_left(self, seconds: float = PATIENCE) -> float:
        """Waits until the other side has closed or reset, and says when (monotonic)."""
        self.connection.settimeout(seconds)
        try:
            while self.connection.recv(65536):
                pass
        except TimeoutError:
            raise AssertionError("the proxy did not leave its upstream") from None
        except OSError:
            pass
        self.left_at = time.monotonic()
        return self.left_at


Script = Callable[[PeerExchange], None]


class Peer:
    """Listens on a port of the kernel's choice. `plays` says how requests are answered while a scenario runs."""

    def __init__(self, certificate: tuple[str, str] | None = None):
        self._context = None
        if certificate:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*certificate)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self._listener.getsockname()[1]
        self.exchanges: list[PeerExchange] = []
        self.connections = 0
        self.problems: list[str] = []
        self._script: Script | None = None
        self._news = threading.Condition()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @contextlib.contextmanager
    def plays(self, script: Script):
        """Requests that come now are answered by `script`; earlier ones are forgotten."""
        with self._news:
            self.exchanges = []
            self.problems = []
            self._script = script
        yield self
        if self.problems:
            raise AssertionError("the upstream peer: " + "; ".join(self.problems))

    def wait_exchange(self, index: int = 0, seconds: float = PATIENCE) -> PeerExchange:
        """The request with this index since `plays`; waits for it."""
        with self._news:
            if not self._news.wait_for(lambda: len(self.exchanges) > index, seconds):
                raise AssertionError(f"the upstream saw {len(self.exchanges)} requests, not {index + 1}")
            return self.exchanges[index]

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection, self.connections), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if self._context:
                connection = self._context.wrap_socket(connection, server_side=True)
            buffer = bytearray()
            while exchange := read_request(connection, buffer, number):
                with self._news:
                    self.exchanges.append(exchange)
                    script = self._script
                    self._news.notify_all()
                try:
                    script(exchange)
                except AssertionError as error:
                    self.problems.append(str(error))
                finally:
                    exchange.over.set()
                if not exchange.keeps:
                    break
        except (OSError, EOFError):
            pass
        finally:
            connection.close()


def read_request(connection: socket.socket, buffer: bytearray, number: int) -> PeerExchange | None:
    """None where the connection ends before a complete request; a part of one is never an exchange."""

    def fill() -> None:
        data = connection.recv(65536)
        if not data:
            raise EOFError
        buffer.extend(data)

    def take(count: int) -> bytes:
        while len(buffer) < count:
            fill()
        data = bytes(buffer[:count])
        del buffer[:count]
        return data

    def take_line() -> bytes:
        while (end := buffer.find(b"\r\n")) < 0:
            fill()
        return take(end + 2)[:-2]

    try:
        line = take_line().decode("latin-1")
        fields = []
        while text := take_line().decode("latin-1"):
            name, _, value = text.partition(":")
            fields.append((name, value.strip()))
        lowered = {name.lower(): value for name, value in fields}
        if lowered.get("expect", "").lower() == "100-continue":
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = b""
        if "chunked" in lowered.get("transfer-encoding", ""):
            while size := int(take_line().split(b";")[0], 16):
                body += take(size)
                take(2)
            while take_line():
                pass
        elif "content-length" in lowered:
            body = take(int(lowered["content-length"]))
        return PeerExchange(connection, number, line, fields, body)
    except EOFError:
        return None


def chunk(delta: dict, finish: str | None = None, ascii_only: bool = False, **more: object) -> bytes:
    """One event of OpenAI's chat completions stream."""
    value = {
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "gpt-test",
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
    } | more
    return b"data: " + json.dumps(value, ensure_ascii=ascii_only, separators=(",", ":")).encode() + b"\n\n"


USAGE = {"prompt_tokens": 7, "completion_tokens": 11, "total_tokens": 18}


def stream(tokens: list[str], usage: dict | None = USAGE, ascii_only: bool = False) -> list[bytes]:
    """The events of a whole answer."""
    events = [chunk({"role": "assistant", "content": ""}, ascii_only=ascii_only)]
    events += [chunk({"content": token}, ascii_only=ascii_only) for token in tokens]
    events.append(chunk({}, finish="stop"))
    if usage:
        events.append(chunk({}, choices=[], usage=usage))
    return events + [b"data: [DONE]\n\n"]


def answers(tokens: list[str], framing: str = "chunked", version: str = "1.1", pieces: int = 0) -> Script:
    """Plays a whole answer; `pieces` > 0 cuts its bytes into runs of that many, each in a write of its own."""

    def script(exchange: PeerExchange) -> None:
        events = stream(tokens)
        body = b"".join(events)
        exchange.head(framing=str(len(body)) if framing == "length" else framing, version=version)
        parts = [body[i : i + pieces] for i in range(0, len(body), pieces)] if pieces else events
        for part in parts:
            exchange.data(part)
        exchange.end()

    return script
