"""Starts the binary, scripted upstreams and raw clients. Every wait polls a condition with a deadline."""

import contextlib
import glob
import json
import os
import pathlib
import socket
import struct
import subprocess
import tempfile
import threading
import time

BINARY = os.environ["SLUICE_BIN"]


def until(condition, seconds=10.0, what="condition"):
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.002)


class Sluice:
    """One running proxy, with its log."""

    def __init__(self, config, listeners=1, environment=None):
        self.folder = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.folder.name, "sluice.json")
        self.write(config)
        self.log = []
        self.errors = b""
        self.process = subprocess.Popen(
            [BINARY, "run", "-c", self.path], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, **(environment or {})})
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._drain, daemon=True).start()
        found = until(lambda: self.ports() if len(self.ports()) == listeners or self.process.poll() is not None else None,
                      15, "listening")
        self.port = found[0]

    def write(self, config):
        # JSON is YAML, and needs no library to write.
        with open(self.path, "w") as file:
            file.write(config if isinstance(config, str) else json.dumps(config))

    def _read(self):
        for line in self.process.stdout:
            self.log.append(json.loads(line))

    def _drain(self):
        for line in self.process.stderr:
            self.errors += line

    def ports(self):
        addresses = [e["address"] for e in list(self.log) if e["event"] == "listening"]
        return [int(address.rsplit(":", 1)[1]) for address in addresses if not address.startswith("unix:")]

    def exchanges(self):
        return [entry for entry in list(self.log) if entry["event"] == "exchange"]

    def descriptors(self):
        """How many are open; without pipes, which only a sanitizer opens, to the program that names its frames."""
        return sum(not link.startswith("pipe:") for link in links(f"/proc/{self.process.pid}/fd"))

    def resident_kib(self):
        with open(f"/proc/{self.process.pid}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.folder.cleanup()

    def tell(self):
        """Where it stands, for whoever has to find out why a test failed."""
        print(f"  the program: exit code {self.process.poll()}, {len(self.log)} lines of log, the last ones:")
        for entry in list(self.log)[-8:]:
            print(f"    {json.dumps(entry)}")
        if self.errors:
            print(f"    {self.errors[-2000:].decode(errors='replace')}")
        for task in glob.glob(f"/proc/{self.process.pid}/task/*"):
            with contextlib.suppress(OSError):
                facts = [pathlib.Path(task, name).read_text() for name in ("comm", "wchan", "stat")]
                print(f"    {facts[0].strip()}: in {facts[1]}, {facts[2].rpartition(')')[2].split()[0]}")

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind:
            self.tell()
        self.stop()


def links(folder):
    for name in os.listdir(folder):
        try:
            yield os.readlink(os.path.join(folder, name))
        except FileNotFoundError:
            pass  # closed since it was listed


class Peer:
    """A scripted upstream: `script(connection, request_bytes)` answers each request on a thread of its own."""

    def __init__(self, script, send_buffer=None, address=("127.0.0.1", 0)):
        self.script = script
        self.send_buffer = send_buffer
        self.requests = []
        self.closed_at = []
        self.connections = 0
        self.server = socket.create_server(address, backlog=1024)
        self.port = self.server.getsockname()[1]
        self.url = f"http://{address[0]}:{self.port}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.send_buffer:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.send_buffer)
            while request := read_message(connection):
                self.requests.append(request)
                if self.script(connection, request) == "close":
                    break
        except OSError:
            pass
        finally:
            self.closed_at.append(time.monotonic())
            connection.close()

    def close(self):
        # Wakes the thread in `accept`. Left there, it would go on with a number that a later socket may get.
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def read_message(connection):
    """One request, head and body, by Content-Length or chunks; None at the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return None
        data += more
    head, body = data.split(b"\r\n\r\n", 1)
    lower = head.lower()
    if b"content-length:" in lower:
        length = int(lower.split(b"content-length:")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += connection.recv(1 << 20)
    elif b"transfer-encoding: chunked" in lower:
        while not body.endswith(b"0\r\n\r\n"):
            body += connection.recv(1 << 20)
    return head + b"\r\n\r\n" + body


def wait_closed(connection, seconds=10):
    """Until the other side has closed; returns when that was seen."""
    connection.settimeout(seconds)
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        pass
    return time.monotonic()


def stays_until(connection, condition):
    """Asks `condition`, which waits a little each time, until it holds; False if the other side closes before."""
    while not condition():
        connection.setblocking(False)
        try:
            if not connection.recv(1):
                return False
        except BlockingIOError:
            pass
        finally:
            connection.setblocking(True)
    return True


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(delta=None, finish=None):
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    body = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"


TOKENS = ["Hello", ",\n", " wörld", " 🚀", "\n\nend"]
DONE = event({}, "stop") + b"data: [DONE]\n\n"


def stream(connection, tokens=TOKENS, gap=0.0):
    connection.sendall(HEAD + chunk(event({"role": "assistant", "content": ""})))
    for token in tokens:
        connection.sendall(chunk(event({"content": token})))
        time.sleep(gap)
    connection.sendall(chunk(DONE) + b"0\r\n\r\n")


class Reply:
    """A response as it came over the wire: the truth about its ending is in `complete`."""

    def __init__(self, data):
        head, _, rest = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.raw = data
        self.status = int(lines[0].split()[1]) if lines[0] else 0
        self.headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
        self.body, self.complete = b"", False
        if self.headers.get("transfer-encoding") == "chunked":
            while rest:
                size, _, rest = rest.partition(b"\r\n")
                if not size:
                    break
                length = int(size, 16)
                self.complete = length == 0 and rest == b"\r\n"
                self.body += rest[:length]
                rest = rest[length + 2:]
        else:
            self.body = rest
            self.complete = len(rest) == int(self.headers.get("content-length", len(rest)))


def connect(port):
    connection = socket.create_connection(("127.0.0.1", port), 10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def request_bytes(path, body=None, method=None, headers=()):
    body = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    method = method or ("GET" if body is None else "POST")
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")


def fetch(port, path, body=None, method=None, headers=(), seconds=20):
    connection = connect(port)
    connection.sendall(request_bytes(path, body, method, ["Connection: close", *headers]))
    return Reply(drain(connection, seconds))


def drain(connection, seconds=20):
    connection.settimeout(seconds)
    data = b""
    try:
        while more := connection.recv(65536):
            data += more
    except ConnectionError:
        pass
    connection.close()
    return data


CHAT = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
FORMATS = {
    "text": "text/plain; charset=utf-8", "sse-text": "text/event-stream", "sse-json": "text/event-stream",
    "ndjson": "application/x-ndjson", "openai-chat": "text/event-stream",
}


def config(url, **changes):
    """One route for each format, and a passthrough, on one upstream."""
    routes = [{"path": f"/{name}", "request": "openai-chat", "response": name, "upstream": "u"} for name in FORMATS]
    routes.append({"path": "/stream", "request": "prompt", "response": "auto", "upstream": "u"})
    routes.append({"path": "/v1/*", "request": "passthrough", "response": "passthrough", "upstream": "u"})
    upstream = {"url": url, "dialect": "openai-chat", "api_key": "sk-canary-own"}
    upstream.update(changes.pop("upstream", {}))
    return {"listeners": [{"address": "127.0.0.1:0"}], "workers": 1, "upstreams": {"u": upstream}, "routes": routes,
            **changes}
