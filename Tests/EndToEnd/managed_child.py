"""The server that tests let Sluice manage: answers as a model server would, comes up slowly, falls over when it is told to."""

import argparse
import os
import socket
import sys
import threading
import time

from harness import DONE, TOKENS, event, read_message, stream

parser = argparse.ArgumentParser()
parser.add_argument("address")
parser.add_argument("--delay", type=float, default=0, help="before it listens")
parser.add_argument("--unready", type=float, default=0, help="while /health answers 503")
parser.add_argument("--say", action="append", default=[], help="a line on standard output")
parser.add_argument("--http2", action="store_true", help="speaks that, and nothing else")
parser.add_argument("--name", default="child")
options = parser.parse_args()

for line in options.say:
    print(line, flush=True)
print("warming up", file=sys.stderr, flush=True)
time.sleep(options.delay)
began = time.monotonic()


def answer(connection, status, body):
    connection.sendall(b"HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (
        status, len(body), body))


def serve(connection):
    while request := read_message(connection):
        target = request.split(b" ", 2)[1].decode()
        if target == "/health":
            ready = time.monotonic() - began >= options.unready
            answer(connection, b"200 OK" if ready else b"503 Loading", b"")
        elif target.startswith("/v1/exit/"):
            os._exit(int(target.rsplit("/", 1)[1]))
        elif target == "/v1/name":
            answer(connection, b"200 OK", options.name.encode())
        elif target == "/v1/pid":
            answer(connection, b"200 OK", str(os.getpid()).encode())
        else:
            stream(connection, TOKENS, gap=0.4 if b'"slowly"' in request else 0)


def stream_http2(request):
    threading.Thread(target=answer_http2, args=(request,), daemon=True).start()


def answer_http2(request):
    request.head()
    for token in TOKENS:
        request.data(event({"content": token}))
        time.sleep(0.2)
    request.data(DONE, end=True)


def serve_http2(connection):
    from http2_peer import Connection
    Connection(connection, False, on_request=stream_http2)


if options.address.startswith("/"):
    server = socket.socket(socket.AF_UNIX)
    server.bind(options.address)
    server.listen()
else:
    server = socket.create_server(("127.0.0.1", int(options.address)))
while True:
    threading.Thread(target=serve_http2 if options.http2 else serve, args=(server.accept()[0],), daemon=True).start()
