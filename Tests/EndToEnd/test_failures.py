"""Errors before the first byte, and cuts after it: nothing broken may look complete."""

import socket
import time

from harness import (CHAT, DONE, FORMATS, HEAD, Peer, Sluice, chunk, config, event, fetch, reset, stream, until)
from test_streams import events


def whole(status, content_type, body, extra=b""):
    return b"HTTP/1.1 %d X\r\nContent-Type: %s\r\n%sContent-Length: %d\r\n\r\n%s" % (
        status, content_type, extra, len(body), body)


def test_errors_before_the_first_byte():
    json_error = b'{"error":{"message":"no","type":"t","code":"c"}}'
    cases = [
        (whole(429, b"application/json", json_error, b"Retry-After: 9\r\n"), 429),
        (whole(401, b"application/json", json_error), 401),
        (whole(500, b"text/html", b"<html>secret-host</html>"), 502),
        (whole(503, b"text/plain", b"busy"), 503),
        (whole(529, b"text/plain", b"busy"), 503),
        (whole(200, b"text/html", b"<html></html>"), 502),
        (whole(200, b"application/json", json_error), 502),
        (whole(200, b"text/event-stream", b""), 502),
        (whole(200, b"text/event-stream", b'data: {"error":{"message":"over","code":429}}\n\n'), 429),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 502),
        (b"nonsense\r\n\r\n", 502),
        (b"", 502),
    ]
    for answer, status in cases:
        def script(connection, request):
            connection.sendall(answer)
            return "close"

        with Peer(script) as peer, Sluice(config(peer.url)) as proxy:
            for name in FORMATS:
                reply = fetch(proxy.port, "/" + name, CHAT)
                assert reply.status == status, (name, answer, reply.raw)
                assert reply.headers["content-type"] == "application/json" and b'"error"' in reply.body, reply.raw
                # An id may well hold the port's digits.
                told = reply.raw.replace(reply.headers["x-request-id"].encode(), b"")
                assert b"secret-host" not in told and str(peer.port).encode() not in told, reply.raw
                if status == 429 and b"Retry-After" in answer:
                    assert reply.headers["retry-after"] == "9" and reply.body == json_error


def test_interim_responses_are_passed_over():
    def script(connection, request):
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        stream(connection)

    with Peer(script) as peer, Sluice(config(peer.url)) as proxy:
        assert fetch(proxy.port, "/text", CHAT).complete


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with Sluice(config(f"http://127.0.0.1:{port}")) as proxy:
        assert fetch(proxy.port, "/text", CHAT).status == 502


def test_a_name_that_does_not_exist():
    with Sluice(config("http://does-not-exist.invalid", upstream={"timeouts": {"connect": "3s"}})) as proxy:
        assert fetch(proxy.port, "/text", CHAT).status in (502, 504)


def test_a_silent_upstream_is_504():
    def script(connection, request):
        time.sleep(3)

    with Peer(script) as peer, Sluice(config(peer.url, upstream={"timeouts": {"headers": "300ms"}})) as proxy:
        began = time.monotonic()
        assert fetch(proxy.port, "/text", CHAT).status == 504
        assert time.monotonic() - began < 2


def test_no_first_token_is_504():
    def script(connection, request):
        connection.sendall(HEAD + chunk(event({"role": "assistant", "content": ""})))
        time.sleep(3)

    with Peer(script) as peer, Sluice(config(peer.url, upstream={"timeouts": {"first_token": "300ms"}})) as proxy:
        assert fetch(proxy.port, "/sse-text", CHAT).status == 504


def test_routes():
    with Peer(lambda c, r: stream(c)) as peer:
        settings = config(peer.url)
        settings["routes"][0]["methods"] = ["POST"]
        with Sluice(settings) as proxy:
            assert fetch(proxy.port, "/nowhere").status == 404
            reply = fetch(proxy.port, "/text")
            assert reply.status == 405 and reply.headers["allow"] == "POST"
            assert fetch(proxy.port, "/text", b"not json").status == 400
            assert fetch(proxy.port, "/x/../../text").status == 400


def test_a_stale_pooled_connection_costs_nothing():
    def script(connection, request):
        stream(connection)
        time.sleep(0.05)
        return "close"

    with Peer(script) as peer, Sluice(config(peer.url)) as proxy:
        for _ in range(20):
            assert fetch(proxy.port, "/text", CHAT).complete
        assert fetch(proxy.port, "/text", CHAT).complete


FIRST = HEAD + chunk(event({"role": "assistant", "content": ""})) + chunk(event({"content": "half"}))


def cut(connection):
    connection.sendall(FIRST)
    time.sleep(0.1)
    return "close"


def cut_with_reset(connection):
    connection.sendall(FIRST)
    time.sleep(0.1)
    reset(connection)
    raise OSError


def stall(connection):
    connection.sendall(FIRST)
    time.sleep(3)


def bad_chunk(connection):
    connection.sendall(FIRST)
    time.sleep(0.1)
    connection.sendall(b"zz\r\n")
    time.sleep(1)


def bad_json(connection):
    connection.sendall(FIRST)
    time.sleep(0.1)
    connection.sendall(chunk(b'data: {"choices":[{"del\n\n'))
    time.sleep(1)


def clean_end_without_finish(connection):
    connection.sendall(FIRST)
    time.sleep(0.1)
    connection.sendall(b"0\r\n\r\n")


def provider_error(connection):
    connection.sendall(FIRST)
    time.sleep(0.1)
    connection.sendall(chunk(b'data: {"error":{"message":"overloaded","type":"server_error"}}\n\n') + b"0\r\n\r\n")


FAULTS = {
    cut: "eof", cut_with_reset: "eof", stall: "idle", bad_chunk: "malformed", bad_json: "malformed",
    clean_end_without_finish: "eof", provider_error: "upstream_error",
}


def check_failed(name, reply):
    """The client of that format cannot take `reply` for a whole answer."""
    if name in ("text", "v1/chat/completions"):
        assert not reply.complete, (name, reply.raw)
        return
    last = reply.body.decode().rstrip("\n").split("\n\n" if name != "ndjson" else "\n")[-1]
    assert '"error"' in last, (name, reply.raw)
    if name.startswith("sse"):
        assert events(reply.body)[-1][0] == "error", reply.raw
    for word in (b"[DONE]", b"event: done", b'"done"'):
        assert word not in reply.body, (name, reply.raw)


def test_faults_by_formats():
    cells = 0
    for fault, reason in FAULTS.items():
        with Peer(lambda c, r: fault(c)) as peer:
            with Sluice(config(peer.url, upstream={"timeouts": {"idle": "400ms"}})) as proxy:
                for name in [*FORMATS, "v1/chat/completions"]:
                    reply = fetch(proxy.port, "/" + name, CHAT)
                    assert reply.status == 200 and b"half" in reply.body, (fault, name, reply.raw)
                    if (name, fault) == ("v1/chat/completions", provider_error):
                        assert b"overloaded" in reply.body  # relayed in the provider's own words
                    elif (name, fault) == ("v1/chat/completions", bad_json):
                        pass  # the same bytes as the upstream's, whatever they are
                    else:
                        check_failed(name, reply)
                    cells += 1
                ends = until(lambda: len(proxy.exchanges()) == 6 and proxy.exchanges(), what="six log lines")
                assert all(entry["end"] == reason for entry in ends), (fault, [e["end"] for e in ends])
    print(f"  {cells} cells of faults x formats")
