"""Upstreams that keep every byte they get, answer with whatever bytes they are given, and call anything odd a problem."""

import re
import socket
import struct
import threading

import hpack

from frames import (ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, length)
from http2_peer import PREFACE, frame

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([!-~]+) HTTP/1\.1")
FIELD = re.compile(rb"(" + TOKEN + rb"): ([\t\x20-\x7e\x80-\xff]*)")


class Odd(Exception):
    """What another parser could read in another way."""


class Recorder:
    """Listens; each connection has a thread. `wire(request)` is told each whole request and says what to send back."""

    def __init__(self):
        self.requests = []
        self.problems = []
        self.connections = 0
        self.reply = None
        self.server = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.server.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            self.connections += 1
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._run, args=(connection, self.connections), daemon=True).start()

    def _run(self, connection, number):
        try:
            self.serve(connection, number)
        except (OSError, EOFError):
            pass
        except Odd as odd:
            self.problems.append(str(odd))
        finally:
            connection.close()

    def taken(self):
        """The requests since the last call."""
        found, self.requests = self.requests, []
        return found

    def close(self):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()


class Input:
    """Bytes of a connection, of which it tells what was taken."""

    def __init__(self, connection):
        self.connection, self.data, self.taken = connection, b"", b""

    def until(self, mark):
        while mark not in self.data:
            self.more()
        return self.take(self.data.index(mark) + len(mark))

    def exactly(self, count):
        while len(self.data) < count:
            self.more()
        return self.take(count)

    def more(self):
        more = self.connection.recv(65536)
        if not more:
            raise EOFError
        self.data += more

    def take(self, count):
        part, self.data = self.data[:count], self.data[count:]
        self.taken += part
        return part


class Recorder1(Recorder):
    """HTTP/1.1. A request is (bytes, bytes with the body's chunks joined, number of its connection)."""

    def serve(self, connection, number):
        wire = Input(connection)
        while True:
            wire.taken = b""
            head = wire.until(b"\r\n\r\n")
            method, body = self.read(head, wire)
            self.requests.append((wire.taken, head + body, number))
            if self.reply and not self.reply(connection, wire):
                return
            if not self.reply:
                answer = b"" if method == b"HEAD" else b"ok"
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))

    def read(self, head, wire):
        lines = head[:-4].split(b"\r\n")
        line = REQUEST_LINE.fullmatch(lines[0])
        fields = [FIELD.fullmatch(text) for text in lines[1:]]
        if not line or not all(fields):
            raise Odd(f"a head that is no head: {head!r}")
        names = [field[1].lower() for field in fields]
        lengths = [field[2] for field in fields if field[1].lower() in (b"content-length", b"transfer-encoding")]
        if names.count(b"host") != 1 or len(lengths) > 1:
            raise Odd(f"several hosts or lengths: {head!r}")
        if not lengths:
            return line[1], b""
        if lengths[0].isdigit() and b"content-length" in names:
            return line[1], wire.exactly(int(lengths[0]))
        if lengths[0] != b"chunked":
            raise Odd(f"a length that is none: {head!r}")
        return line[1], self.chunks(wire)

    @staticmethod
    def chunks(wire):
        body = b""
        while True:
            line = wire.until(b"\r\n")[:-2]
            if not re.fullmatch(rb"[0-9a-f]+", line):
                raise Odd(f"a chunk's size: {line!r}")
            body += wire.exactly(int(line, 16))
            if wire.exactly(2) != b"\r\n":
                raise Odd("a chunk without its end, or a trailer")
            if line == b"0":
                return body


class Recorder2(Recorder):
    """HTTP/2, with prior knowledge. A request is (fields, body, number of its connection)."""

    def serve(self, connection, number):
        wire = Input(connection)
        if wire.exactly(len(PREFACE)) != PREFACE:
            raise Odd("no preface")
        connection.sendall(frame(SETTINGS, 0, 0))
        decoder, streams = hpack.Decoder(), {}
        while True:
            wire.taken = b""
            size, kind, flags, stream = struct.unpack(">IBBI", b"\0" + wire.exactly(9))
            payload = wire.exactly(size)
            if kind == GOAWAY:
                return
            if kind == RST_STREAM:
                streams.pop(stream, None)
            if kind == SETTINGS and not flags & ACK:
                connection.sendall(frame(SETTINGS, ACK, 0))
            if kind == PING and not flags & ACK:
                connection.sendall(frame(PING, ACK, 0, payload))
            if kind == HEADERS:
                if not flags & END_HEADERS or flags & 8:
                    raise Odd("a head in several frames, or padded")
                block = payload[5:] if flags & 0x20 else payload
                if stream in streams:
                    raise Odd("trailers")
                fields = [(bytes(name), bytes(value)) for name, value in decoder.decode(block, raw=True)]
                streams[stream] = (fields, bytearray())
            if kind == DATA and stream in streams:
                streams[stream][1].extend(payload)
                if payload:
                    connection.sendall(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", len(payload))))
            if kind in (HEADERS, DATA) and flags & END_STREAM and stream in streams:
                fields, body = streams.pop(stream)
                self.check(fields, bytes(body))
                self.requests.append((fields, bytes(body), number))
                self.answer(connection, stream, dict(fields)[b":method"])

    def answer(self, connection, stream, method):
        if self.reply:
            return connection.sendall(b"".join(self.reply(stream)))
        fields = [(":status", "200"), ("content-length", "0" if method == b"HEAD" else "2")]
        connection.sendall(b"".join(response_frames(stream, fields, () if method == b"HEAD" else (b"ok",))))

    @staticmethod
    def check(fields, body):
        names = [name for name, _ in fields]
        if sorted(name for name in names if name.startswith(b":")) != [b":authority", b":method", b":path", b":scheme"]:
            raise Odd(f"pseudo-fields: {fields}")
        for name, value in fields:
            plain = re.fullmatch(TOKEN, name.removeprefix(b":")) and name == name.lower()
            if not plain or re.search(rb"[\0\r\n]", value) or value != value.strip(b" \t"):
                raise Odd(f"a field: {name!r}: {value!r}")
        forbidden = {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"host", b"te"}
        if forbidden & set(names):
            raise Odd(f"fields of HTTP/1.1: {forbidden & set(names)}")
        lengths = [value for name, value in fields if name == b"content-length"]
        if len(lengths) > 1 or lengths and (not lengths[0].isdigit() or int(lengths[0]) != len(body)):
            raise Odd(f"content-length {lengths} for {len(body)} bytes")


def field_block(fields):
    """Fields as they are, valid or not."""
    return b"".join(b"\x00" + length(name) + length(value) for name, value in fields)


def response_frames(stream, fields, data=(), trailers=None):
    parts = []
    if fields:
        parts.append((HEADERS, END_HEADERS, field_block(fields)))
    parts += [(DATA, 0, each) for each in data]
    if trailers is not None:
        parts.append((HEADERS, END_HEADERS, field_block(trailers)))
    return [frame(kind, flags | (END_STREAM if index == len(parts) - 1 else 0), stream, payload)
            for index, (kind, flags, payload) in enumerate(parts)]


__all__ = ["Odd", "Recorder1", "Recorder2", "field_block", "response_frames"]
