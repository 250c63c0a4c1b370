"""What a hostile or careless client may send: nothing ambiguous is forwarded; pipelining works; certificates count."""

import json
import ssl

from .client import CHAT, Answer, ask, get, request
from .world import World, expect, expect_equal, scenario
from .peer import answers

HIDDEN = b"GET /plain/text?prompt=smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
BODY = json.dumps(CHAT).encode()
CHUNKED_BODY = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)


def head(*lines: str, target: str = "/plain/passthrough", version: str = "HTTP/1.1", host: str = "Host: localhost") -> bytes:
    text = [f"POST {target} {version}", host, *lines]
    return "\r\n".join(line for line in text if line).encode("latin-1") + b"\r\n\r\n"


LENGTH = f"Content-Length: {len(BODY)}"
CHUNKED = "Transfer-Encoding: chunked"
HEADS = {
    "both lengths": head(LENGTH, CHUNKED) + CHUNKED_BODY,
    "both lengths, other order": head(CHUNKED, "Content-Length: 4") + CHUNKED_BODY,
    "two lengths that differ": head(LENGTH, "Content-Length: 4") + BODY,
    "a list of lengths that differ": head(f"{LENGTH}, 4") + BODY,
    "a length with a sign": head(f"Content-Length: +{len(BODY)}") + BODY,
    "a negative length": head("Content-Length: -1") + BODY,
    "a length in hexadecimal": head(f"Content-Length: 0x{len(BODY):x}") + BODY,
    "a length with a space inside": head("Content-Length: 1 0") + BODY,
    "an empty length": head("Content-Length:") + BODY,
    "a length beyond 64 bits": head("Content-Length: 18446744073709551620") + BODY,
    "chunked twice": head(CHUNKED, CHUNKED) + CHUNKED_BODY,
    "chunked not last": head("Transfer-Encoding: chunked, identity") + CHUNKED_BODY,
    "an unknown coding": head("Transfer-Encoding: xchunked") + CHUNKED_BODY,
    "chunked with a vertical tab": head("Transfer-Encoding: \x0bchunked") + CHUNKED_BODY,
    "chunked in quotes": head('Transfer-Encoding: "chunked"') + CHUNKED_BODY,
    "a space before the colon": head("Transfer-Encoding : chunked", LENGTH) + CHUNKED_BODY,
    "a space before the name": head(LENGTH, " Transfer-Encoding: chunked") + CHUNKED_BODY,
    "a folded field": head("X-Folded: a\r\n b", LENGTH) + BODY,
    "a bare CR in a value": head("X-A: a\rTransfer-Encoding: chunked", LENGTH) + BODY,
    "a bare LF ends a line": head("X-A: a\nTransfer-Encoding: chunked", LENGTH) + BODY,
    "NUL in a value": head("X-A: a\x00b", LENGTH) + BODY,
    "a field without a colon": head("Nonsense", LENGTH) + BODY,
    "an empty field name": head(": value", LENGTH) + BODY,
    "a name that is no token": head("X(A): b", LENGTH) + BODY,
    "no Host": head(LENGTH, host="") + BODY,
    "two Hosts": head("Host: elsewhere", LENGTH) + BODY,
    "a Host with a path": head(LENGTH, host="Host: localhost/x") + BODY,
    "chunked in HTTP/1.0": head(CHUNKED, version="HTTP/1.0") + CHUNKED_BODY,
    "HTTP/1.1 in lower case": head(LENGTH, version="http/1.1") + BODY,
    "two spaces in the request line": head(LENGTH, target=" /plain/passthrough") + BODY,
    "a space in the target": head(LENGTH, target="/plain/passthrough /x") + BODY,
    "a control character in the target": head(LENGTH, target="/plain/\x01") + BODY,
}
CHUNKS = {
    "a chunk size that is no number": b"5x\r\nhello\r\n0\r\n\r\n",
    "a chunk size with 0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "a chunk size with a sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "a chunk size with a space before it": b" 5\r\nhello\r\n0\r\n\r\n",
    "a chunk size beyond 64 bits": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "an empty chunk size": b"\r\nhello\r\n0\r\n\r\n",
    "a chunk that is longer than its size": b"4\r\nhello\r\n0\r\n\r\n",
    "a chunk without its line end": b"5\r\nhelloXX0\r\n\r\n",
    "a bare LF after a size": b"5\nhello\r\n0\r\n\r\n",
    "a bare LF after a chunk": b"5\r\nhello\n0\r\n\r\n",
    "a bare CR in an extension": b"5;a=\rb\r\nhello\r\n0\r\n\r\n",
    "a bare LF at the end": b"5\r\nhello\r\n0\r\n\n",
}


def check_refused(world: World, data: bytes, statuses: tuple[int, ...]) -> None:
    with world.peer.plays(answers(["smuggled"])):
        with Answer(world.port, data + HIDDEN) as answer:
            answer.read_all("POST")
            expect(answer.status in statuses, f"status {answer.status}, not {statuses}: {bytes(answer.body)!r}")
            # The length of the refused request is unknown, so no second answer may follow.
            expect(answer.read_close(), "more came after the refusal")
        expect_equal([e.line for e in world.peer.exchanges], [], "whole requests that reached the upstream")


@scenario("smuggling, head: {}: refused", list(HEADS.items()))
def smuggled_head(world: World, case: tuple[str, bytes]) -> None:
    # RFC 9112 §6.1: 501 is the answer to a coding that is not understood, 505 (RFC 9110 §15.6.6) to such a version.
    others = {"an unknown coding": (501,), "chunked in quotes": (501,), "chunked not last": (501,),
              "chunked with a vertical tab": (501,), "HTTP/1.1 in lower case": (505,)}
    check_refused(world, case[1], (400, *others.get(case[0], ())))


@scenario("smuggling, body: {}: refused", list(CHUNKS.items()))
def smuggled_body(world: World, case: tuple[str, bytes]) -> None:
    for target in ("/plain/passthrough", "/plain/openai-chat"):
        check_refused(world, head(CHUNKED, target=target) + case[1], (400,))


@scenario("two pipelined requests get two answers, in order")
def pipelined(world: World) -> None:
    def script(exchange):
        answers([exchange.json["messages"][0]["content"], "!"])(exchange)

    for formats in (("text", "ndjson"), ("openai-chat", "text"), ("passthrough", "sse-json")):
        data = b"".join(ask("plain", format, prompt=f"number {i}") for i, format in enumerate(formats))
        with world.peer.plays(script), Answer(world.port, data) as answer:
            for index in range(2):
                answer.read_all()
                expect_equal((answer.status, answer.ending), (200, "complete"), f"answer {index}")
                expect(f"number {index}".encode() in answer.body, f"answer {index} is {bytes(answer.body)!r}")
                expect(f"number {1 - index}".encode() not in answer.body, f"answer {index} holds the other")
                answer.next()


@scenario("a valid chunked request with extensions and trailers goes through, re-framed and without them")
def chunked_request(world: World) -> None:
    wire = b"5;name=value\r\n" + BODY[:5] + b"\r\n%X\r\n" % (len(BODY) - 5) + BODY[5:] + b"\r\n0\r\nX-Trailer: secret\r\n\r\n"
    for format in ("openai-chat", "passthrough"):
        with world.peer.plays(answers(["ok"])):
            answer = get(world.port, head(CHUNKED, target=f"/plain/{format}") + wire)
            expect_equal((answer.status, answer.ending), (200, "complete"), format)
            exchange = world.peer.wait_exchange()
        expect_equal(exchange.body, BODY, f"{format}: the body at the upstream")
        expect_equal(exchange.field("x-trailer"), None, f"{format}: a trailer crossed")


@scenario("a path with dot segments or escapes cannot step out of its route")
def paths(world: World) -> None:
    with world.peer.plays(answers(["ok"])):
        for path in ("/plain/v1/../../secret", "/plain/v1/%2e%2e/%2e%2e/secret", "/plain/v1/..%2fsecret", "/plain/v1//../x"):
            before = len(world.peer.exchanges)
            answer = get(world.port, request("GET", path))
            for exchange in world.peer.exchanges[before:]:
                expect(exchange.target.startswith("/v1/"), f"{path} became {exchange.target}")
                expect("/.." not in exchange.target, f"{path} became {exchange.target}")
            expect(answer.status in (200, 400, 404), f"{path}: status {answer.status}")


@scenario("a target that names another host does not choose the upstream")
def absolute_target(world: World) -> None:
    with world.peer.plays(answers(["ok"])), world.secure_peer.plays(answers(["wrong"])):
        target = f"http://localhost:{world.secure_peer.port}/plain/text?prompt=hi"
        data = f"GET {target} HTTP/1.1\r\nHost: localhost:{world.secure_peer.port}\r\n\r\n".encode()
        answer = get(world.port, data)
        expect_equal((answer.status, bytes(answer.body)), (200, b"ok"), "the answer")


def client_context(world: World, certificate: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=world.certificates.path("ca.crt"))
    if certificate:
        context.load_cert_chain(world.certificates.path(f"{certificate}.crt"), world.certificates.path(f"{certificate}.key"))
    return context


@scenario("TLS listener: streams to a client that verifies it; TLS 1.1 and plain text are turned away")
def tls(world: World) -> None:
    with world.peer.plays(answers(["ok"])):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = client_context(world, None)
            context.minimum_version = context.maximum_version = version
            answer = get(world.tls_port, ask("plain", "text"), context=context)
            expect_equal((answer.status, bytes(answer.body)), (200, b"ok"), f"over {version.name}")
        count = len(world.peer.exchanges)
        with Answer(world.tls_port, ask("plain", "text")) as answer:
            while answer._fill():
                pass
            expect(b"HTTP/1.1 200" not in answer._buffer, "plain text on a TLS listener was served")
        expect_equal(len(world.peer.exchanges), count, "requests that reached the upstream")


@scenario("mutual TLS: with {}", [("its certificate", "client"), ("a stranger's certificate", "stranger"), ("none", None)])
def mutual_tls(world: World, case: tuple[str, str | None]) -> None:
    with world.peer.plays(answers(["ok"])):
        context = client_context(world, case[1])
        if case[1] == "client":
            answer = get(world.mtls_port, ask("plain", "text"), context=context)
            expect_equal((answer.status, bytes(answer.body)), (200, b"ok"), "the answer")
            return
        try:
            answer = get(world.mtls_port, ask("plain", "text"), context=context)
            raise SystemError(f"served with status {answer.status}")
        except (OSError, AssertionError):
            pass
        expect_equal(len(world.peer.exchanges), 0, "requests that reached the upstream")


@scenario("after all of that a plain request still streams")
def still_serves(world: World) -> None:
    with world.peer.plays(answers(["ok"])):
        answer = get(world.port, ask("plain", "text"))
        expect_equal((answer.status, bytes(answer.body)), (200, b"ok"), "the answer")
