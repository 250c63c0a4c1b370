"""HTTP/2 upstreams and clients that do exactly what a test says: frames by the package `h2`, sockets and windows by hand."""

import contextlib
import json
import select
import socket
import ssl
import struct
import threading
import time

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

from harness import reset as reset_socket

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL = 0, 1, 2, 7, 8
WINDOW = h2.settings.SettingCodes.INITIAL_WINDOW_SIZE
CONCURRENT_STREAMS = h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS
# Windows go back in portions, as they do everywhere.
PORTION = 16 << 10
PATIENCE = 10.0


class Gone(ConnectionError):
    """The other side has reset the stream, or its connection is over."""


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def goaway(last, code=NO_ERROR):
    return frame(GOAWAY, 0, 0, struct.pack(">II", last, code))


def window_update(stream, count):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", count))


class Stream:
    """One stream, from either side. What comes in is in `fields`, `body`, `trailers`; how it ended in `ended`, `reset`."""

    def __init__(self, connection, number):
        self.connection = connection
        self.number = number
        self.news = threading.Condition(connection.lock)
        self.fields = []
        self.interim = []
        self.trailers = None
        self.body = bytearray()
        self.arrivals = []
        self.ended = False
        self.reset = None
        self.left_at = None
        self.returns_window = connection.returns_window
        self.unreturned = 0
        self.sent_bytes = 0

    def field(self, name):
        return next((value for key, value in self.fields if key == name), None)

    @property
    def status(self):
        return int(self.field(":status") or 0)

    @property
    def complete(self):
        return self.ended and self.reset in (None, NO_ERROR)

    @property
    def is_over(self):
        return self.ended or self.reset is not None or self.connection.is_over

    @property
    def is_gone(self):
        return self.reset is not None or self.connection.is_over

    @property
    def json(self):
        return json.loads(self.body)

    def wait(self, condition, what, seconds=PATIENCE):
        """Until the condition, a function of the stream, is true; it is asked again whenever something comes."""
        with self.news:
            if not self.news.wait_for(lambda: condition(self), seconds):
                raise AssertionError(f"stream {self.number}, not within {seconds} s: {what}")
        return self

    def wait_over(self, seconds=PATIENCE):
        return self.wait(lambda s: s.is_over, "its end", seconds)

    def wait_left(self, seconds=PATIENCE):
        """Until the other side has reset the stream or is gone; returns when."""
        return self.wait(lambda s: s.is_gone, "the other side leaves", seconds).left_at

    def wait_body(self, seconds=PATIENCE):
        self.wait_over(seconds)
        if not self.ended:
            raise Gone(f"reset with {self.reset}")
        return bytes(self.body)

    # Sending

    def head(self, status=200, kind="text/event-stream", fields=(), end=False):
        self.send_fields([(":status", str(status)), ("content-type", kind), *fields], end)

    def send_fields(self, fields, end=False):
        with self.connection.acting(self) as h2:
            h2.send_headers(self.number, fields, end_stream=end)

    def data(self, data, end=False):
        """Waits for the window; one DATA frame where the window lets it be one."""
        view = memoryview(data)
        while True:
            with self.connection.lock:
                self.wait_room(not view)
                with self.connection.acting(self) as h2:
                    room = min(h2.local_flow_control_window(self.number), h2.max_outbound_frame_size) if view else 0
                    part, view = view[:room], view[room:]
                    h2.send_data(self.number, bytes(part), end_stream=end and not view)
                    self.sent_bytes += len(part)
            if not view:
                return

    def wait_room(self, empty=False, seconds=60):
        connection = self.connection

        def can_go():
            if self.is_gone:
                raise Gone(f"stream {self.number}")
            return len(connection.out) < PORTION and (empty or connection.h2.local_flow_control_window(self.number) > 0)

        if not self.news.wait_for(can_go, seconds):
            raise Gone("no window")

    def end(self):
        self.data(b"", end=True)

    def abort(self, code=INTERNAL_ERROR):
        with self.connection.acting(self) as h2:
            h2.reset_stream(self.number, code)

    def give_window(self, count):
        with self.connection.acting(self) as h2:
            h2.increment_flow_control_window(count, self.number)

    # Called by the connection, under its lock

    def received(self, event):
        self.body += event.data
        self.arrivals.append(time.monotonic())
        self.unreturned += event.flow_controlled_length
        if self.returns_window and self.unreturned >= PORTION and not event.stream_ended:
            self.connection.h2.increment_flow_control_window(self.unreturned, self.number)
            self.unreturned = 0

    def left(self):
        self.left_at = self.left_at or time.monotonic()


class Acting:
    """The lock, `h2` in it, and what came of it on the wire."""

    def __init__(self, connection, stream):
        self.connection, self.stream = connection, stream

    def __enter__(self):
        self.connection.lock.acquire()
        if self.connection.is_over:
            self.connection.lock.release()
            raise Gone(f"the connection is over: {self.connection.problem or self.connection.goaways}")
        return self.connection.h2

    def __exit__(self, kind, error, _):
        try:
            if kind is None:
                self.connection.flush()
        finally:
            self.connection.lock.release()
        if kind is not None and issubclass(kind, (h2.exceptions.ProtocolError, KeyError)):
            raise Gone(str(error)) from None


class Connection:
    """One HTTP/2 connection over a connected socket. A thread of its own reads, and writes what a socket did not take."""

    def __init__(self, sock, client_side, settings=None, returns_window=True, on_request=None):
        self.sock = sock
        self.lock = threading.RLock()
        self.news = threading.Condition(self.lock)
        self.client_side = client_side
        self.returns_window = returns_window
        # The connection's own, which begins at 1 GiB.
        self.returns_connection_window = True
        self.on_request = on_request
        self.streams = {}
        self.goaways = []
        self.pings = 0
        self.reads = True
        self.answers_pings = True
        # Called with (stream, payload) of each DATA frame; it takes the frame if it returns true.
        self.tap = None
        self.out = bytearray()
        self.is_over = False
        self.closed_at = None
        self.problem = None
        self._input = bytearray()
        self._unreturned = 0
        self._preface_left = 0 if client_side else len(PREFACE)
        self._waker, self._wakes = socket.socketpair()
        self._waker.setblocking(False)
        self._wakes.setblocking(False)
        sock.setblocking(False)
        self.h2 = self._engine(settings or {})
        self.flush()
        threading.Thread(target=self._run, daemon=True).start()

    def _engine(self, settings):
        made = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=self.client_side, header_encoding="utf-8", validate_outbound_headers=False,
            normalize_outbound_headers=False))
        values = {h2.settings.SettingCodes.ENABLE_PUSH: 0} if self.client_side else {}
        made.local_settings = h2.settings.Settings(client=self.client_side, initial_values={**values, **settings})
        made.initiate_connection()
        made.increment_flow_control_window(1 << 30)
        return made

    def acting(self, stream=None):
        return Acting(self, stream)

    def raw(self, data):
        """Bytes that `h2` does not know of."""
        with self.lock:
            self.flush()
            self.out += data
            self.flush()

    def wait(self, condition, what, seconds=PATIENCE):
        with self.lock:
            if not self.news.wait_for(lambda: condition(self), seconds):
                raise AssertionError(f"connection, not within {seconds} s: {what}")
        return self

    def request(self, path, body=None, method=None, fields=(), end=True, authority="localhost"):
        """Opens a stream with a request; with `end=False` its body goes on."""
        body = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
        head = [(":method", method or ("GET" if body is None else "POST")), (":scheme", "http"), (":path", path)]
        if authority is not None:
            head.insert(2, (":authority", authority))
        if body is not None and end and not any(name == "content-length" for name, _ in fields):
            head.append(("content-length", str(len(body))))
        with self.acting() as h2:
            stream = self._open(h2.get_next_available_stream_id())
            h2.send_headers(stream.number, [*head, *fields], end_stream=end and body is None)
        if body is not None:
            stream.data(body, end=end)
        return stream

    def fetch(self, path, body=None, seconds=PATIENCE, **more):
        return self.request(path, body, **more).wait_over(seconds)

    def stop_reading(self):
        self.reads = False
        self._wake()

    def read_again(self):
        self.reads = True
        self._wake()

    def flush(self):
        """Sends as much as the socket takes now. Call with the lock."""
        if not self.out:
            self.out += self.h2.data_to_send()
        while self.out and not self.is_over:
            try:
                del self.out[:self.sock.send(self.out)]
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                return self._wake()
            if not self.out:
                self.out += self.h2.data_to_send()

    def _wake(self):
        try:
            self._wakes.send(b"x")
        except BlockingIOError:
            pass

    # The thread

    def _run(self):
        try:
            while not self.is_over and self._turn():
                pass
        except OSError:
            pass
        except h2.exceptions.ProtocolError as error:
            self.problem = error
        finally:
            self.close()

    def _turn(self):
        poll = select.poll()
        poll.register(self._waker, select.POLLIN)
        wanted = (select.POLLIN if self.reads else 0) | (select.POLLOUT if self.out else 0)
        if wanted:
            poll.register(self.sock, wanted)
        found = dict(poll.poll(1000))
        if self._waker.fileno() in found:
            self._waker.recv(4096)
        ready = found.get(self.sock.fileno(), 0)
        with self.lock:
            if ready & select.POLLOUT:
                self.flush()
                self._tell_senders()
            if ready & (select.POLLIN | select.POLLHUP | select.POLLERR) and self.reads:
                return self._receive()
        return True

    def _tell_senders(self):
        if len(self.out) < PORTION:
            for stream in self.streams.values():
                stream.news.notify_all()

    def _receive(self):
        """What there is; false at the end."""
        for _ in range(16):
            try:
                data = self.sock.recv(65536)
            except (BlockingIOError, ssl.SSLWantReadError):
                break
            if not data:
                return False
            self._input += data
            self._frames()
        self.flush()
        self.news.notify_all()
        return True

    def _frames(self):
        data = self._input
        if self._preface_left:
            if len(data) < self._preface_left:
                return
            self.h2.receive_data(bytes(data[:self._preface_left]))
            del data[:self._preface_left]
            self._preface_left = 0
        start = 0
        while len(data) - start >= 9:
            length = int.from_bytes(data[start:start + 3], "big")
            if len(data) - start < 9 + length:
                break
            self._frame(bytes(data[start:start + 9 + length]))
            start += 9 + length
        del data[:start]

    def _frame(self, data):
        kind, flags, number = data[3], data[4], int.from_bytes(data[5:9], "big")
        if kind == DATA:
            self._unreturned += len(data) - 9
            if self._unreturned >= PORTION and self.returns_connection_window:
                self.h2.increment_flow_control_window(self._unreturned)
                self._unreturned = 0
            if self.tap and self.tap(number, data[9:]):
                return
        if kind == GOAWAY:
            # `h2` would take it for the end of everything.
            self.goaways.append(struct.unpack(">II", data[9:17]))
            return
        if kind == PING and not flags & ACK:
            self.pings += 1
            if not self.answers_pings:
                return
        for event in self.h2.receive_data(data):
            self._event(event)

    def _event(self, event):
        number = getattr(event, "stream_id", None)
        stream = self.streams.get(number)
        if isinstance(event, h2.events.RequestReceived):
            stream = self._open(number)
            stream.fields = event.headers
            self.on_request(stream)
        elif isinstance(event, (h2.events.WindowUpdated, h2.events.RemoteSettingsChanged)):
            self._windows_grew(stream)
        elif stream is None:
            return
        elif isinstance(event, h2.events.ResponseReceived):
            stream.fields = event.headers
        elif isinstance(event, h2.events.InformationalResponseReceived):
            stream.interim.append(event.headers)
        elif isinstance(event, h2.events.TrailersReceived):
            stream.trailers = event.headers
        elif isinstance(event, h2.events.DataReceived):
            stream.received(event)
        elif isinstance(event, h2.events.StreamEnded):
            stream.ended = True
        elif isinstance(event, h2.events.StreamReset):
            stream.reset = int(event.error_code)
            stream.left()
        if stream:
            stream.news.notify_all()

    def _open(self, number):
        self.streams[number] = stream = Stream(self, number)
        return stream

    def _windows_grew(self, stream):
        for each in [stream] if stream else self.streams.values():
            each.news.notify_all()

    # Ending

    def close(self, reset=False):
        with self.lock:
            if self.is_over:
                return
            self.is_over = True
            self.closed_at = time.monotonic()
            reset_socket(self.sock) if reset else self._finish()
            self._wake()
            for stream in self.streams.values():
                stream.left()
                stream.news.notify_all()
            self.news.notify_all()

    def _finish(self):
        """A close with something unread would reset the connection, and take from the other side what it has not read yet."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
            while not isinstance(self.sock, ssl.SSLSocket) and self.sock.recv(65536, socket.MSG_DONTWAIT):
                pass
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Http2Peer:
    """A scripted upstream: `script(stream)` answers each request, as soon as its head is there, on a thread of its own."""

    def __init__(self, script, certificate=None, settings=None, returns_window=True, send_buffer=None):
        self.script = script
        self.settings = settings
        self.returns_window = returns_window
        self.send_buffer = send_buffer
        self.connections = []
        # Held until a connection is in the list, so that no script runs before it is.
        self.making = threading.Lock()
        self.streams = []
        self.context = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*certificate)
            self.context.set_alpn_protocols(["h2"])
        self.server = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.server.getsockname()[1]
        self.url = f"http{'s' if certificate else ''}://127.0.0.1:{self.port}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self._begin, args=(sock,), daemon=True).start()

    def _begin(self, sock):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.send_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.send_buffer)
        try:
            if self.context:
                sock = self.context.wrap_socket(sock, server_side=True)
            with self.making:
                self.connections.append(Connection(sock, False, self.settings, self.returns_window, self._request))
        except OSError:
            sock.close()

    def _request(self, stream):
        self.streams.append(stream)
        threading.Thread(target=self._answer, args=(stream,), daemon=True).start()

    def _answer(self, stream):
        with self.making:
            pass
        try:
            self.script(stream)
        except Gone:
            pass

    @property
    def problems(self):
        return [each.problem for each in self.connections if each.problem]

    def close(self):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        for each in list(self.connections):
            each.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def connect_http2(port, ca=None, settings=None, receive_buffer=None, **more):
    """A client: prior knowledge, or with a CA's file, TLS and ALPN."""
    sock = socket.socket()
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(PATIENCE)
    sock.connect(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if ca:
        context = ssl.create_default_context(cafile=ca)
        context.set_alpn_protocols(["h2"])
        sock = context.wrap_socket(sock, server_hostname="localhost")
        assert sock.selected_alpn_protocol() == "h2", "the listener does not speak h2"
    return Connection(sock, True, settings, **more)
