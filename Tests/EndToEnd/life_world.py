"""What the tests of the process's life share: clients that ask without end and see every request, and a service manager."""

import os
import re
import socket
import ssl
import tempfile
import threading
import time

from harness import CHAT, Reply, connect, request_bytes, until
from http2_peer import Gone, connect_http2


class Http1Reader:
    """One keep-alive connection, read response by response."""

    def __init__(self, port):
        self.connection = connect(port)
        self.connection.settimeout(60)
        self.data = b""

    def ask(self, path, body=CHAT):
        """The reply; None if the connection ended before its first byte."""
        try:
            self.connection.sendall(request_bytes(path, body))
        except ConnectionError:
            return None
        return self.reply()

    def reply(self):
        while not (end := self._end()):
            try:
                more = self.connection.recv(65536)
            except ConnectionResetError:
                more = b""
            if not more:
                assert not self.data, f"cut: {self.data!r}"
                return None
            self.data += more
        whole, self.data = self.data[:end], self.data[end:]
        return Reply(whole)

    def _end(self):
        """Where the response ends; 0 while it has not."""
        head, _, body = self.data.partition(b"\r\n\r\n")
        start = len(head) + 4
        if length := re.search(rb"(?i)\r\ncontent-length: (\d+)", head):
            end = start + int(length[1])
            return end if len(self.data) >= end else 0
        at = start
        while (line := self.data.find(b"\r\n", at)) > 0:
            size = int(self.data[at:line], 16)
            at = line + 2 + size + 2
            if size == 0:
                return at if len(self.data) >= at else 0
        return 0

    def close(self):
        self.connection.close()


class Load:
    """Asks over and over, each thread in its way, until `stop`. What was not answered whole is in `faults`."""

    def __init__(self, port, path, text, kinds=("keepalive", "fresh", "h2"), threads=2, secure=None):
        """`secure`: the port and the CA's file for the kind `tls`."""
        self.port, self.path, self.text, self.secure = port, path, text, secure
        kinds = (*kinds, "tls") if secure else kinds
        self.faults = []
        self.counts = {kind: 0 for kind in kinds}
        self.closed = 0
        self.over = threading.Event()
        self.threads = [
            threading.Thread(target=self._run, args=(kind,), daemon=True) for kind in kinds for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def _run(self, kind):
        try:
            while not self.over.is_set():
                getattr(self, "_" + kind)()
        except Exception as error:
            self.faults.append(f"{kind}: {type(error).__name__}: {error}")

    def _check(self, kind, status, body, complete):
        if (status, body, complete) != (200, self.text, True):
            self.faults.append(f"{kind}: {status} {body!r} {complete}")
        self.counts[kind] += 1

    def _keepalive(self):
        reader = Http1Reader(self.port)
        asked = 0
        while not self.over.is_set():
            reply = reader.ask(self.path)
            if reply is None:
                # Only after an answer may a connection that lies idle end.
                if asked == 0:
                    self.faults.append("keepalive: the first request got no answer")
                else:
                    self.faults.append("keepalive: a request met a closing connection")
                break
            asked += 1
            self._check("keepalive", reply.status, reply.body, reply.complete)
            if reply.headers.get("connection") == "close":
                self.closed += 1
                break
        reader.close()

    def _fresh(self):
        reader = Http1Reader(self.port)
        reply = reader.ask(self.path)
        reader.close()
        if reply is None:
            self.faults.append("fresh: no answer")
        else:
            self._check("fresh", reply.status, reply.body, reply.complete)

    def _tls(self):
        port, ca = self.secure
        context = ssl.create_default_context(cafile=ca)
        with context.wrap_socket(connect(port), server_hostname="localhost") as connection:
            connection.settimeout(60)
            connection.sendall(request_bytes(self.path, CHAT, headers=["Connection: close"]))
            data = b""
            while more := connection.recv(65536):
                data += more
        reply = Reply(data)
        self._check("tls", reply.status, reply.body, reply.complete)

    def _h2(self):
        session = connect_http2(self.port)
        while not self.over.is_set() and not session.goaways:
            try:
                stream = session.request(self.path, CHAT)
            except Gone:
                if not session.goaways:
                    self.faults.append("h2: the connection ended without GOAWAY")
                break
            stream.wait_over(60)
            # What was sent after GOAWAY and stands above its last stream was not begun, and may be sent again.
            if session.goaways and stream.number > session.goaways[-1][0]:
                break
            self._check("h2", stream.status, bytes(stream.body), stream.complete)
        session.close()

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join(60)
        assert not self.faults, self.faults[:5]
        assert all(self.counts.values()), self.counts


class Manager:
    """A service manager's socket."""

    def __init__(self, abstract=False):
        self.folder = tempfile.TemporaryDirectory()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        name = os.path.join(self.folder.name, "notify")
        self.socket.bind("\0" + name if abstract else name)
        self.name = "@" + name if abstract else name
        self.messages = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while True:
            try:
                data = self.socket.recv(4096)
            except OSError:
                return
            self.messages.append((time.monotonic(), dict(line.split("=", 1) for line in data.decode().split("\n"))))

    def got(self, key, count=1, since=0):
        """The values of `key` in all messages, once there are so many."""
        def found():
            values = [message[key] for _, message in self.messages[since:] if key in message]
            return values if len(values) >= count else None

        return until(found, 15, f"{count} of {key} in {self.messages}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
        self.folder.cleanup()


def refused(port):
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
        return False
    except OSError:
        return True


def events(proxy, name):
    return [entry for entry in list(proxy.log) if entry["event"] == name]
