"""Streams that break after they began: no format may look complete, and each client learns it in its own way."""

import threading

from .client import Answer, Curl, ask, get, read_stream
from .world import FORMATS, World, expect, expect_equal, scenario
from .peer import chunk
from .framings import curl_arguments

# Formats whose clients are told inside the stream; the transfer itself then ends properly.
TELLS = {"sse-text", "sse-json", "ndjson", "openai-chat"}


def broken_after(tokens: list[str], end):
    def script(exchange):
        exchange.head()
        exchange.data(chunk({"role": "assistant", "content": ""}))
        for token in tokens:
            exchange.token(token)
        end(exchange)

    return script


def check_broken(format: str, answer: Answer, text: str) -> None:
    got, end = read_stream(format, bytes(answer.body))
    expect_equal(answer.status, 200, "status")
    expect_equal(got, text, f"the text that came before the break (ended: {answer.ending})")
    if format in TELLS:
        expect_equal((end, answer.ending), ("error", "complete"), f"how it ends: {bytes(answer.body[-300:])!r}")
        expect(b"[DONE]" not in answer.body, "an error and then [DONE]")
    else:
        expect(answer.ending in ("cut", "reset"), f"{format}: a broken stream ended {answer.ending}")


WAYS = {
    "closes": lambda exchange: None,
    "resets": lambda exchange: exchange.reset(),
    "ends its body without a finish": lambda exchange: exchange.end(),
    "breaks its chunks": lambda exchange: exchange.raw(b"zz\r\nnot a chunk\r\n"),
    "stops inside an event": lambda exchange: exchange.data(chunk({"content": " lost"})[:-30]),
}


@scenario("mid-stream the upstream {}", list(WAYS))
def breaks(world: World, way: str) -> None:
    for format in FORMATS:
        # A reset may overtake bytes that were sent before it, so the client first has to have them.
        arrived = threading.Event()

        def end(exchange):
            expect(arrived.wait(10), "the client did not get the tokens")
            WAYS[way](exchange)

        with world.peer.plays(broken_after(["one", " two"], end)), Answer(world.port, ask("plain", format)) as answer:
            answer.read_head().read_until(lambda a: read_stream(format, bytes(a.body))[0] == "one two")
            arrived.set()
            answer.read_all()
        if format == "passthrough" and way == "ends its body without a finish":
            # Bytes that nobody reads: a body that HTTP calls complete may be told as such, or cut.
            continue
        if format == "passthrough" and way == "stops inside an event":
            # Relayed as they come, so half an event is out: whatever followed would be a part of it. Only a cut can tell.
            expect(answer.ending in ("cut", "reset"), f"{format}: a broken stream ended {answer.ending}")
            expect(b"[DONE]" not in answer.body, "a broken stream and then [DONE]")
            continue
        check_broken(format, answer, "one two")


@scenario("mid-stream the upstream goes silent: idle timeout")
def stalls(world: World) -> None:
    for format in FORMATS:
        with world.peer.plays(broken_after(["one", " two"], lambda exchange: exchange.wait_left())):
            check_broken(format, get(world.port, ask("hasty", format)), "one two")


@scenario("a stream that outlasts the total timeout ends as a failure")
def total(world: World) -> None:
    def end(exchange):
        try:
            while True:
                exchange.token(".")
                if exchange.over.wait(0.05):
                    return
        except OSError:
            pass

    for format in FORMATS:
        with world.peer.plays(broken_after(["one"], end)):
            answer = get(world.port, ask("brief", format))
        check_broken(format, answer, read_stream(format, bytes(answer.body))[0])


@scenario("mid-stream nonsense instead of JSON")
def nonsense(world: World) -> None:
    for format in FORMATS:
        if format == "passthrough":
            continue
        way = broken_after(["one", " two"], lambda exchange: exchange.data(b"data: {\"choices\": oops\n\n"))
        with world.peer.plays(way):
            answer = get(world.port, ask("plain", format))
        if format == "openai-chat":
            # Relayed as it came, so the client reads the nonsense itself; what counts is that no [DONE] follows.
            expect(b"[DONE]" not in answer.body, "nonsense and then [DONE]")
            continue
        check_broken(format, answer, "one two")


@scenario("an error inside the stream reaches the client in its format, with the provider's words")
def provider_error(world: World) -> None:
    event = b'data: {"error":{"message":"context window exceeded","type":"invalid_request_error","code":"c"}}\n\n'

    def end(exchange):
        exchange.data(event)
        exchange.end()

    for format in FORMATS:
        with world.peer.plays(broken_after(["one", " two"], end)):
            answer = get(world.port, ask("plain", format))
        if format == "passthrough":
            expect(bytes(answer.body).endswith(event), "the bytes of the error")
            continue
        check_broken(format, answer, "one two")
        if format in TELLS:
            expect(b"context window exceeded" in answer.body, f"{format}: the provider's words: {bytes(answer.body)!r}")


FAULTS = {
    "nonsense": b"data: {\"choices\": oops\n\n",
    "the provider's error": b'data: {"error":{"message":"context window exceeded","type":"server_error","code":"c"}}\n\n',
}


@scenario("tokens and {} in one segment: the tokens still arrive, and so does the failure", list(FAULTS))
def one_segment(world: World, fault: str) -> None:
    def at_once(exchange):
        events = [chunk({"content": text}) for text in ("one", " two")] + [FAULTS[fault]]
        exchange.head()
        exchange.raw(b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in events) + b"0\r\n\r\n")

    for format in FORMATS:
        if format in ("passthrough", "openai-chat"):
            continue
        with world.peer.plays(at_once):
            answer = get(world.port, ask("plain", format))
        check_broken(format, answer, "one two")


@scenario("curl sees a broken text or passthrough stream as failed")
def curl_fails(world: World) -> None:
    for format in ("text", "passthrough"):
        with world.peer.plays(broken_after(["one", " two"], lambda exchange: None)):
            with Curl(*curl_arguments(world.port, format)) as curl:
                expect_equal(curl.wait(), 18, f"{format}: curl's exit code (18: transfer closed with data outstanding)")


@scenario("an HTTP/1.0 client, for whom the close is the end, gets a reset instead: {}", ["text", "passthrough"])
def http10_reset(world: World, format: str) -> None:
    with world.peer.plays(broken_after(["one", " two"], lambda exchange: None)):
        answer = get(world.port, ask("plain", format, version="1.0"))
    expect_equal(answer.ending, "reset", "the ending")


@scenario("a finish without [DONE] or usage is still a true end")
def finish_only(world: World) -> None:
    def end(exchange):
        exchange.finish("length")
        exchange.end()

    for format in FORMATS:
        with world.peer.plays(broken_after(["one", " two"], end)):
            answer = get(world.port, ask("plain", format))
        text, ending = read_stream(format, bytes(answer.body))
        expect_equal((text, answer.ending), ("one two", "complete"), f"{format}: text and ending")
        expect(ending != "error", f"{format}: an error was made up: {bytes(answer.body)!r}")


@scenario("[DONE], and the upstream keeps its connection open: the client is not kept waiting")
def done_and_open(world: World) -> None:
    def end(exchange):
        exchange.finish()
        exchange.data(b"data: [DONE]\n\n")
        exchange.wait_left()

    for format in FORMATS:
        with world.peer.plays(broken_after(["one", " two"], end)):
            answer = get(world.port, ask("plain", format))
        expect_equal((read_stream(format, bytes(answer.body))[0], answer.ending), ("one two", "complete"), format)
