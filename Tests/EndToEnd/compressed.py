"""Readers that say what they take and undo it as it comes, over both protocols: what they have decoded is all that they know."""

import socket
import zlib

import brotli

from harness import CHAT, connect, request_bytes
from http2_peer import connect_http2

CODINGS = ("gzip", "br")


class Decoder:
    """gzip and brotli by Python's own bindings; None is the body as it is."""

    def __init__(self, coding):
        self.coding = coding
        self.engine = {"gzip": lambda: zlib.decompressobj(31), "br": brotli.Decompressor, None: lambda: None}[coding]()

    def feed(self, data):
        if self.coding == "gzip":
            return self.engine.decompress(data)
        return self.engine.process(data) if self.coding == "br" and data else data

    @property
    def is_whole(self):
        """The coding's own end has come. Without a coding only HTTP knows."""
        if self.coding == "gzip":
            return self.engine.eof and not self.engine.unused_data
        return self.engine.is_finished() if self.coding == "br" else True


class Answer:
    """An answer under way. `text` is what has been decoded of it, `coded` the bytes of the body on the wire."""

    def __init__(self):
        self.status, self.headers = 0, {}
        self.text, self.coded = b"", b""
        self.is_over = self.complete = False
        self.decoder = None

    def took(self, data):
        self.coded += data
        if self.decoder is None:
            self.decoder = Decoder(self.headers.get("content-encoding"))
        self.text += self.decoder.feed(data)

    @property
    def is_whole(self):
        """HTTP and the coding agree that nothing is missing."""
        return self.complete and (self.decoder is None or self.decoder.is_whole)

    def until(self, condition, what):
        """Reads until the condition holds, a function of the answer."""
        while not condition(self):
            assert not self.is_over, f"over before {what}: {self.status} {self.text[-200:]!r}"
            self.more(what)
        return self

    def read(self):
        while not self.is_over:
            self.more("the end")
        return self


class H1(Answer):
    def __init__(self, port, path, coding=None, body=CHAT, headers=(), receive_buffer=None):
        super().__init__()
        fields = [f"Accept-Encoding: {coding}"] if coding else []
        if receive_buffer:
            self.connection = socket.socket()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self.connection.connect(("127.0.0.1", port))
        else:
            self.connection = connect(port)
        self.connection.settimeout(20)
        self.connection.sendall(request_bytes(path, body, headers=[*fields, *headers]))
        self.waiting, self.left, self.is_chunked = b"", 0, False

    def more(self, what):
        data = self.connection.recv(1 << 16)
        self.waiting += data
        if not data:
            self.is_over = True
            # Where neither a length nor chunks say it, only a close ends a body.
            self.complete = self.complete or bool(self.headers) and not self.is_chunked and "content-length" not in self.headers
        if not self.headers:
            head, found, rest = self.waiting.partition(b"\r\n\r\n")
            if not found:
                return
            lines = head.decode("latin-1").split("\r\n")
            self.status = int(lines[0].split()[1])
            for name, value in (line.split(": ", 1) for line in lines[1:]):
                name = name.lower()
                self.headers[name] = f"{self.headers[name]}, {value}" if name in self.headers else value
            self.is_chunked = self.headers.get("transfer-encoding") == "chunked"
            self.waiting, self.left = rest, int(self.headers.get("content-length", 1 << 60))
        self.chunks() if self.is_chunked else self.plain()

    def plain(self):
        self.took(self.waiting)
        self.left -= len(self.waiting)
        self.waiting = b""
        if self.left == 0:
            self.is_over = self.complete = True

    def chunks(self):
        while b"\r\n" in self.waiting:
            size, _, rest = self.waiting.partition(b"\r\n")
            length = int(size, 16)
            if len(rest) < length + 2:
                return
            self.waiting = rest[length + 2:]
            if length == 0:
                self.is_over = self.complete = True
                return
            self.took(rest[:length])

    def close(self):
        self.connection.close()


class H2(Answer):
    def __init__(self, port, path, coding=None, body=CHAT, headers=()):
        super().__init__()
        fields = [("accept-encoding", coding)] if coding else []
        fields += [(name.lower(), value) for name, value in (line.split(": ", 1) for line in headers)]
        self.client = connect_http2(port)
        self.stream = self.client.request(path, body, fields=fields)
        self.seen = 0

    def more(self, what):
        stream = self.stream.wait(lambda s: len(s.body) > self.seen or s.is_over, what, 20)
        with self.client.lock:
            body, is_over = bytes(stream.body[self.seen:]), stream.is_over
            if not self.headers:
                self.status = stream.status
                for name, value in stream.fields:
                    self.headers[name] = f"{self.headers[name]}, {value}" if name in self.headers else value
        self.seen += len(body)
        self.took(body)
        if is_over and self.seen == len(stream.body):
            self.is_over, self.complete = True, stream.complete

    def close(self):
        self.client.close()


PROTOCOLS = {"h1": H1, "h2": H2}
