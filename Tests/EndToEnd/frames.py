"""A client of single HTTP/2 frames, well-formed or not, and of what a server may answer (RFC 9113)."""

import collections
import socket
import ssl
import struct
import time

import hpack

from http2_peer import PREFACE, frame

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, PRIORITIZED, ACK = 1, 4, 8, 32, 1
(NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR,
 REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM) = range(12)
PATIENCE = 5.0

Frame = collections.namedtuple("Frame", "kind flags stream payload")


class Closed(Exception):
    """The other side has closed the connection."""


class FrameClient:
    """One connection. `secure`: the authority's certificate, for TLS with ALPN."""

    def __init__(self, port, secure=None, greets=True, path="/x/plain"):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        if secure:
            context = ssl.create_default_context(cafile=secure)
            context.set_alpn_protocols(["h2"])
            self.sock = context.wrap_socket(self.sock, server_hostname="localhost")
            assert self.sock.selected_alpn_protocol() == "h2", self.sock.selected_alpn_protocol()
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.path = path
        self.secure = secure is not None
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self.buffer = b""
        self.seen = []
        self.settings = None
        if greets:
            self.send(PREFACE + frame(SETTINGS, 0, 0))
            self.wait(lambda f: f.kind == SETTINGS and not f.flags & ACK, "the server's SETTINGS")
            self.send(frame(SETTINGS, ACK, 0))
            self.wait(lambda f: f.kind == SETTINGS and f.flags & ACK, "our SETTINGS acknowledged")

    def close(self):
        self.sock.close()

    # Sending

    def send(self, *frames):
        try:
            self.sock.sendall(b"".join(frames))
        except OSError:
            pass  # the other side may close as soon as it has seen the fault; reading tells

    def fields(self, method="GET", path=None, scheme=None, authority="localhost", more=()):
        pseudo = [(":method", method), (":scheme", scheme or ("https" if self.secure else "http")),
                  (":path", path or self.path), (":authority", authority)]
        return pseudo + list(more)

    def block(self, fields=None, **changes):
        """Fields in a block that leaves the compression table alone, so that blocks may be sent in any order."""
        out = b""
        for name, value in fields if fields is not None else self.fields(**changes):
            out += b"\x00" + length(name) + length(value)
        return out

    def headers(self, stream, block=None, flags=END_STREAM | END_HEADERS, **changes):
        return frame(HEADERS, flags, stream, self.block(**changes) if block is None else block)

    def get(self, stream=1, **changes):
        self.send(self.headers(stream, **changes))

    # Receiving

    def read(self, deadline):
        """The next frame. Raises `Closed`, or TimeoutError."""
        while True:
            if len(self.buffer) >= 9:
                size = int.from_bytes(self.buffer[:3], "big")
                if len(self.buffer) >= 9 + size:
                    kind, flags, stream = struct.unpack(">BBI", self.buffer[3:9])
                    found = Frame(kind, flags, stream & 0x7FFFFFFF, self.buffer[9:9 + size])
                    self.buffer = self.buffer[9 + size:]
                    self.seen.append(found)
                    if kind == SETTINGS and not flags & ACK:
                        self.settings = dict(struct.iter_unpack(">HI", found.payload))
                    return found
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"got only {[describe(f) for f in self.seen[-5:]]}")
            self.sock.settimeout(left)
            try:
                more = self.sock.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                more = b""
            if not more:
                raise Closed(f"closed after {[describe(f) for f in self.seen[-5:]]}")
            self.buffer += more

    def wait(self, condition, what, seconds=PATIENCE):
        deadline = time.monotonic() + seconds
        try:
            while not condition(found := self.read(deadline)):
                pass
            return found
        except (Closed, TimeoutError) as error:
            raise AssertionError(f"wanted {what}: {error}") from None

    # What must come

    def expect_connection_error(self, *codes):
        """GOAWAY with one of the codes, or the end of the connection (RFC 9113 §5.4.1 lets an endpoint choose)."""
        try:
            deadline = time.monotonic() + PATIENCE
            while (found := self.read(deadline)).kind != GOAWAY:
                pass
            code = int.from_bytes(found.payload[4:8], "big")
            assert code in codes, f"wanted GOAWAY with {codes}, got {describe(found)}"
            while True:
                self.read(deadline)
        except Closed:
            pass
        except TimeoutError as error:
            raise AssertionError(f"wanted the connection's end: {error}") from None

    def expect_stream_error(self, stream, *codes):
        """RST_STREAM with one of the codes; a stream error may be treated as the connection's (§5.4.2 allows it)."""
        try:
            found = self.wait(lambda f: f.kind == GOAWAY or (f.kind == RST_STREAM and f.stream == stream),
                              f"RST_STREAM on {stream}")
        except AssertionError as error:
            if "closed after" in str(error):
                return
            raise
        code = int.from_bytes(found.payload[4:8] if found.kind == GOAWAY else found.payload[:4], "big")
        assert code in codes, f"wanted an error of stream {stream} with {codes}, got {describe(found)}"

    def expect_closed(self):
        try:
            deadline = time.monotonic() + PATIENCE
            while True:
                self.read(deadline)
        except Closed:
            pass

    def expect_error_or_nothing(self, stream, *codes):
        """What comes late for a closed stream may be answered with an error, or ignored (RFC 9113 §5.1)."""
        token = struct.pack(">d", time.monotonic())
        self.send(frame(PING, 0, 0, token))
        try:
            found = self.wait(
                lambda f: f.kind == GOAWAY or (f.kind == RST_STREAM and f.stream == stream) or
                (f.kind == PING and f.payload == token), "an error, or an answer to PING")
        except AssertionError as error:
            if "closed after" in str(error):
                return
            raise
        if found.kind != PING:
            code = int.from_bytes(found.payload[4:8] if found.kind == GOAWAY else found.payload[:4], "big")
            assert code in codes, f"wanted {codes} or nothing, got {describe(found)}"

    def expect_answer_or_stream_error(self, stream, *codes):
        found = self.wait(lambda f: f.kind == GOAWAY or f.stream == stream and f.kind in (HEADERS, RST_STREAM),
                          f"an answer on {stream}")
        if found.kind != HEADERS:
            code = int.from_bytes(found.payload[4:8] if found.kind == GOAWAY else found.payload[:4], "big")
            assert code in codes, describe(found)

    def expect_answer(self, stream=1, status=200):
        """A whole answer; returns its fields and its body."""
        fields, body, is_over = [], b"", False
        while not is_over:
            found = self.wait(lambda f: f.stream == stream or f.kind == GOAWAY, f"an answer on {stream}")
            assert found.kind in (HEADERS, DATA, CONTINUATION, WINDOW_UPDATE), f"an answer on {stream}: {describe(found)}"
            if found.kind == HEADERS:
                assert found.flags & END_HEADERS, "a head in one frame"
                fields += self.decoder.decode(found.payload)
            elif found.kind == DATA:
                body += found.payload
            is_over = found.kind in (HEADERS, DATA) and bool(found.flags & END_STREAM)
        assert dict(fields)[":status"] == str(status), f"wanted {status}, got {fields} {body[:200]!r}"
        return dict(fields), body

    def expect_alive(self):
        """The connection goes on: a PING is answered."""
        token = struct.pack(">d", time.monotonic())
        self.send(frame(PING, 0, 0, token))
        self.wait(lambda f: f.kind == PING and f.flags & ACK and f.payload == token, "an answer to PING")


def length(text):
    """A string literal of HPACK, not Huffman-coded (RFC 7541 §5.2)."""
    data = text.encode("latin-1") if isinstance(text, str) else text
    return integer(len(data), 7) + data


def integer(value, bits, flags=0):
    """RFC 7541 §5.1."""
    limit = (1 << bits) - 1
    if value < limit:
        return bytes([flags | value])
    out, value = [flags | limit], value - limit
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + [value])


def describe(found):
    names = "DATA HEADERS PRIORITY RST_STREAM SETTINGS PUSH_PROMISE PING GOAWAY WINDOW_UPDATE CONTINUATION".split()
    name = names[found.kind] if found.kind < len(names) else found.kind
    return f"{name}(stream {found.stream}, flags {found.flags}, {found.payload[:16].hex()})"
