"""Errors before the first byte: the status tells the truth, the body is JSON, and nothing looks like a stream."""

import json

from .client import CHAT, Answer, ask, get, request
from .world import DEADLINE, FORMATS, World, expect, expect_equal, scenario, wait_until
from .peer import answers, chunk, stream

TRANSLATED = [name for name in FORMATS if name != "passthrough"]


def check_error(answer: Answer, status: int, what: str) -> dict:
    """An OpenAI-shaped error document with this status; returns the error."""
    expect_equal(answer.status, status, f"{what}: status (body {bytes(answer.body)!r})")
    expect_equal(answer.ending, "complete", f"{what}: the ending")
    expect_equal(answer.kind, "application/json", f"{what}: content type")
    error = answer.json.get("error")
    expect(isinstance(error, dict) and error.get("message") and error.get("type"), f"{what}: body {bytes(answer.body)!r}")
    return error


@scenario("upstream 429 with Retry-After: {}: passes", FORMATS)
def rate_limited(world: World, format: str) -> None:
    body = b'{"error":{"message":"slow down","type":"requests","param":null,"code":"rate_limit_exceeded"}}'
    fields = "Retry-After: 17\r\nX-RateLimit-Reset-Requests: 1s\r\n"
    with world.peer.plays(lambda exchange: exchange.document(429, body, fields=fields)):
        answer = get(world.port, ask("plain", format))
    error = check_error(answer, 429, format)
    expect_equal(error["message"], "slow down", "the message")
    expect_equal(answer.field("retry-after"), "17", "retry-after")
    expect_equal(answer.field("x-ratelimit-reset-requests"), "1s", "x-ratelimit-reset-requests")
    expect_equal(len(world.peer.exchanges), 1, "requests that the upstream saw")


@scenario("upstream status {} becomes", [("400", 400), ("401", 401), ("404", 404), ("500", 502), ("503", 503), ("529", 503)])
def statuses(world: World, case: tuple[str, int]) -> None:
    sent, wanted = int(case[0]), case[1]
    for format in FORMATS:
        with world.peer.plays(lambda exchange: exchange.document(sent, b'{"error":{"message":"no","type":"t"}}')):
            answer = get(world.port, ask("plain", format))
        # Passthrough is the upstream's answer, whatever it is.
        check_error(answer, sent if format == "passthrough" else wanted, format)


@scenario("an HTML error page of a gateway is not passed to the client: {}", TRANSLATED)
def html_error(world: World, format: str) -> None:
    with world.peer.plays(lambda exchange: exchange.document(502, b"<html>Bad gateway</html>", "text/html")):
        answer = get(world.port, ask("plain", format))
    check_error(answer, 502, format)
    expect(b"<html" not in answer.body, "the page's markup reached the client")


@scenario("200 with HTML: {}: 502", TRANSLATED)
def html_stream(world: World, format: str) -> None:
    page = b"<!doctype html><html><body>Sign in to the hotel network</body></html>"
    for kind in ("text/html; charset=utf-8", "text/event-stream", "text/plain"):
        with world.peer.plays(lambda exchange: exchange.document(200, page, kind)):
            answer = get(world.port, ask("plain", format))
        check_error(answer, 502, f"{format} as {kind}")


@scenario("200 with a JSON error where a stream should be: {}: 502", TRANSLATED)
def json_instead(world: World, format: str) -> None:
    with world.peer.plays(lambda exchange: exchange.document(200, b'{"error":{"message":"odd","type":"t"}}')):
        answer = get(world.port, ask("plain", format))
    check_error(answer, 502, format)


@scenario("an error inside the stream before the first token: {}: a status", TRANSLATED)
def first_event_error(world: World, format: str) -> None:
    def script(exchange):
        exchange.head()
        exchange.data(b'data: {"error":{"message":"model is overloaded","type":"server_error","code":null}}\n\n')
        exchange.end()

    with world.peer.plays(script):
        answer = get(world.port, ask("plain", format))
    expect(answer.status >= 500, f"status {answer.status}")
    expect_equal(check_error(answer, answer.status, format)["message"], "model is overloaded", "the message")


@scenario("an empty stream: {}: 502", TRANSLATED)
def empty_stream(world: World, format: str) -> None:
    def script(exchange):
        exchange.head()
        exchange.end()

    with world.peer.plays(script):
        check_error(get(world.port, ask("plain", format)), 502, format)


@scenario("upstream {} before its head: 502", ["closes", "resets", "talks nonsense", "sends half a head"])
def no_head(world: World, how: str) -> None:
    def script(exchange):
        if how == "resets":
            exchange.reset()
        elif how == "talks nonsense":
            exchange.raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        elif how == "sends half a head":
            exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Ty")

    # With an empty pool: on a connection that had served before, a close without a byte is a stale one, and is tried again.
    world.restart()
    for format in FORMATS:
        with world.peer.plays(script):
            check_error(get(world.port, ask("plain", format)), 502, format)
            expect_equal(len(world.peer.exchanges), 1, f"{format}: a POST was sent twice")


@scenario("nothing listens at the upstream: {}: 502", FORMATS)
def refused(world: World, format: str) -> None:
    check_error(get(world.port, ask("refused", format)), 502, format)


@scenario("no head in time: {}: 504, and the upstream is let go", FORMATS)
def head_timeout(world: World, format: str) -> None:
    with world.peer.plays(lambda exchange: exchange.wait_left()):
        check_error(get(world.port, ask("hasty", format)), 504, format)
        expect(world.peer.wait_exchange().over.wait(DEADLINE), "the upstream was not let go")


@scenario("a head but no token in time: {}: 504", TRANSLATED)
def token_timeout(world: World, format: str) -> None:
    def script(exchange):
        exchange.head()
        exchange.data(b": waiting\n\n" + chunk({"role": "assistant", "content": ""}))
        exchange.wait_left()

    with world.peer.plays(script):
        check_error(get(world.port, ask("hasty", format)), 504, format)
        expect(world.peer.wait_exchange().over.wait(DEADLINE), "the upstream was not let go")


@scenario("no route, wrong method, no prompt, bad JSON, too large: 404, 405, 400, 400, 413")
def client_errors(world: World) -> None:
    with world.peer.plays(lambda exchange: exchange.document(200, b"{}")):
        check_error(get(world.port, request("GET", "/nowhere")), 404, "no route")
        answer = get(world.port, request("POST", "/get-only", b"{}"))
        check_error(answer, 405, "method")
        expect_equal(answer.field("allow"), "GET", "allow")
        check_error(get(world.port, request("GET", "/plain/text")), 400, "no prompt")
        check_error(get(world.port, request("POST", "/plain/openai-chat", b'{"messages":')), 400, "bad JSON")
        check_error(get(world.port, request("POST", "/plain/openai-chat", b'{"model":"x"}')), 400, "no messages")
        large = request("POST", "/plain/openai-chat", b"x").replace(b"Content-Length: 1\r\n", b"Content-Length: 2000000\r\n")
        check_error(get(world.port, large), 413, "too large by its length")
        with Answer(world.port, large.replace(b"Content-Length: 2000000", b"Transfer-Encoding: chunked")[:-1]) as answer:
            try:
                for _ in range(20):
                    answer.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            except OSError:
                pass
            check_error(answer.read_all(), 413, "too large by its chunks")
        expect_equal(len(world.peer.exchanges), 0, "requests that reached the upstream")


@scenario("TRACE and CONNECT: 405")
def methods(world: World) -> None:
    with world.peer.plays(answers(["ok"])):
        check_error(get(world.port, request("TRACE", "/plain/v1/x")), 405, "TRACE")
        check_error(get(world.port, b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n"), 405, "CONNECT")
        expect_equal(len(world.peer.exchanges), 0, "requests that reached the upstream")


@scenario("heads over the limits: 414 and 431")
def head_limits(world: World) -> None:
    with world.peer.plays(lambda exchange: exchange.document(200, b"{}")):
        check_error(get(world.port, request("GET", "/plain/text?prompt=" + "x" * 9000)), 414, "a long target")
        many = "".join(f"X-{index}: y\r\n" for index in range(120))
        check_error(get(world.port, request("GET", "/plain/text?prompt=x", fields=many)), 431, "many fields")
        long = "X-Long: " + "y" * 40_000 + "\r\n"
        check_error(get(world.port, request("GET", "/plain/text?prompt=x", fields=long)), 431, "a long head")
        expect_equal(len(world.peer.exchanges), 0, "requests that reached the upstream")


@scenario("a client that sends its head too slowly: 408")
def slow_head(world: World) -> None:
    with Answer(world.port, b"GET /plain/text HTTP/1.1\r\nHost: a\r\n") as answer:
        check_error(answer.read_all(), 408, "half a head")


@scenario("upstream over TLS: a trusted one streams, an untrusted or misnamed one is 502")
def upstream_tls(world: World) -> None:
    def script(exchange):
        exchange.head()
        for event in stream(["over", " TLS"]):
            exchange.data(event)
        exchange.end()

    with world.secure_peer.plays(script):
        for format in FORMATS:
            answer = get(world.port, ask("secure", format))
            expect_equal((answer.status, answer.ending), (200, "complete"), f"{format}: status and ending")
        count = len(world.secure_peer.exchanges)
        check_error(get(world.port, ask("distrusted", "text")), 502, "another authority")
        check_error(get(world.port, ask("misnamed", "text")), 502, "another name")
        expect_equal(len(world.secure_peer.exchanges), count, "requests that an untrusted upstream saw")


@scenario("a pooled connection that the upstream has closed is not used again")
def stale_connection(world: World) -> None:
    def script(exchange):
        answers(["ok"])(exchange)
        # The answer says keep-alive; then the connection closes.
        exchange.keeps = False

    used = set()
    with world.peer.plays(script), Answer(world.port) as client:
        for index in range(10):
            client.send(request("POST", "/plain/openai-chat", json.dumps(CHAT).encode()))
            client.read_all()
            expect_equal((client.status, client.ending), (200, "complete"), f"request {index}")
            client.next()
            used.add(world.peer.wait_exchange(index).connection_number)
            # An idle connection that has ended is noticed without a request.
            wait_until(lambda: not established(world.peer.port), "the pool lets go of the closed connection")
        expect_equal(len(used), 10, "connections to the upstream")


def established(port: int) -> list[str]:
    """Connections of this machine to `port` in any state before their end, seen from the side that opened them."""
    with open("/proc/net/tcp") as file:
        rows = [line.split() for line in file.readlines()[1:]]
    return [row[1] for row in rows if row[2].endswith(f":{port:04X}") and row[3] in ("01", "08")]
