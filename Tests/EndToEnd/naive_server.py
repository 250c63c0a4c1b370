"""The server that tutorials on streaming to EventSource arrive at: for each GET it asks the provider and writes each token as `data:`.

It knows no ids, no end of a stream but the end of the transfer, and nothing of what a browser does after that.
"""

import contextlib
import http.client
import http.server
import json
import socketserver
import threading
import urllib.parse


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        prompt = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)["prompt"][0]
        self.send_response(200)
        for name, value in (("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache"),
                            ("Access-Control-Allow-Origin", "*"), ("Transfer-Encoding", "chunked")):
            self.send_header(name, value)
        self.end_headers()
        try:
            for token in ask(self.server.provider, prompt):
                self.write(f"data: {token}\n\n".encode())
            self.wfile.write(b"0\r\n\r\n")
        except (OSError, http.client.HTTPException, ProviderError):
            # The head is out: all that is left to a framework is to drop the connection.
            self.close_connection = True

    def write(self, data):
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def log_message(self, *_):
        pass


class ProviderError(Exception):
    pass


def ask(provider, prompt):
    """The tokens of an answer as they come."""
    host = urllib.parse.urlsplit(provider)
    connection = http.client.HTTPConnection(host.hostname, host.port, timeout=60)
    with contextlib.closing(connection):
        body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": prompt}]}
        connection.request("POST", host.path + "/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            raise ProviderError(response.status)
        while line := response.readline():
            data = line.decode().removeprefix("data: ").strip()
            if data == "[DONE]":
                return
            if data:
                yield json.loads(data)["choices"][0]["delta"].get("content", "")
    raise ProviderError("cut")


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, address):
        """Browsers leave; nobody needs to read of it."""


@contextlib.contextmanager
def naive_server(provider):
    """Gives its origin."""
    server = Server(("127.0.0.1", 0), Handler)
    server.provider = provider
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
