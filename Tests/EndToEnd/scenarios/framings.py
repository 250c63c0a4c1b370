"""What a whole, healthy stream looks like in each format, however the upstream's bytes are cut and framed."""

import json
import threading

from .client import CHAT, Answer, Curl, ask, get, read_stream, request, sse_events
from .world import DEADLINE, FORMATS, World, expect, expect_equal, scenario
from .peer import USAGE, answers, chunk, stream

# What breaks naive bridges: line ends alone and inside, leading spaces, emoji of several scalars, other scripts, and
# text that looks like framing.
TOKENS = [
    "Hello", ",", " wörld", "\n", "\n\n", "    indented", " 👨‍👩‍👧‍👦", "🇪🇺", " 日本語", " مرحبا", "```js\n", "\"quoted\" \\ back",
    "\n| a | b |\n", "data: [DONE]", "\n\nevent: done\ndata: {}\n\n", "0:\"x\"", " \t", " ", "end",
]
TEXT = "".join(TOKENS)
KINDS = {
    "text": "text/plain; charset=utf-8", "sse-text": "text/event-stream", "sse-json": "text/event-stream",
    "ndjson": "application/x-ndjson", "openai-chat": "text/event-stream", "passthrough": "text/event-stream",
}


def curl_arguments(port: int, format: str) -> list[str]:
    url = f"http://127.0.0.1:{port}/plain/{format}"
    if format in ("openai-chat", "passthrough"):
        return [url, "-H", "Content-Type: application/json", "-d", json.dumps(CHAT)]
    return [url + "?prompt=hi"]


@scenario("curl -N: {}: each token arrives before the next is sent", FORMATS)
def lockstep(world: World, format: str) -> None:
    arrived = threading.Semaphore(0)

    def script(exchange):
        exchange.head()
        exchange.data(chunk({"role": "assistant", "content": ""}))
        for token in TOKENS:
            exchange.token(token)
            if not arrived.acquire(timeout=DEADLINE):
                raise AssertionError("the client did not get a token")
        for event in stream([])[1:-1]:
            exchange.data(event)
        exchange.done()

    with world.peer.plays(script), Curl(*curl_arguments(world.port, format)) as curl:
        for count in range(1, len(TOKENS) + 1):
            wanted = "".join(TOKENS[:count])
            curl.wait_for(lambda body: read_stream(format, body)[0] == wanted, f"token {count} ({TOKENS[count - 1]!r})")
            arrived.release()
        expect_equal(curl.wait(), 0, f"curl's exit code; it said {curl.errors()!r}")
        fields = curl.fields
    expect_equal(fields["status"], "200", "status")
    expect_equal(fields["content-type"], KINDS[format], "content type")
    expect_equal(fields.get("cache-control"), "no-cache, no-transform", "cache-control")
    expect_equal(fields.get("x-accel-buffering"), "no", "x-accel-buffering")
    expect(fields.get("x-request-id"), "a stream without x-request-id")
    check_whole(format, bytes(curl.body))


def check_whole(format: str, body: bytes) -> None:
    """The body is the answer of TOKENS, and says that it is complete in the way of its format."""
    text, end = read_stream(format, body)
    expect_equal(text, TEXT, "the text")
    if format == "text":
        expect_equal(body, TEXT.encode(), "the bytes")
        return
    expect_equal(end, "done", "how the stream says that it ended")
    if format == "passthrough":
        expect_equal(body, b"".join(stream(TOKENS)), "bytes that should be relayed untouched")
    elif format == "openai-chat":
        expect_equal(sse_events(body)[-1][1], "[DONE]", "the last event")
        last = [json.loads(data) for _, data in sse_events(body)[:-1]]
        expect_equal([v["usage"] for v in last if v.get("usage")], [USAGE], "the usage chunk")
        finishes = [c["finish_reason"] for v in last for c in v["choices"] if c.get("finish_reason")]
        expect_equal(finishes, ["stop"], "finish reasons")
    else:
        last = json.loads(sse_events(body)[-1][1] if format != "ndjson" else body.decode().splitlines()[-1])
        expect_equal(last.get("finish_reason"), "stop", f"the finish reason in {last}")
        expect(last.get("usage"), f"usage in {last}")


@scenario("upstream in single bytes: {}: the same answer", FORMATS)
def single_bytes(world: World, format: str) -> None:
    with world.peer.plays(answers(TOKENS, pieces=1)):
        answer = get(world.port, ask("plain", format))
    expect_equal(answer.ending, "complete", "the ending")
    check_whole(format, bytes(answer.body))


@scenario("upstream body framed by {}: the same answer", ["length", "close", "HTTP/1.0 close", "7-byte chunks"])
def upstream_framings(world: World, how: str) -> None:
    framing = {"length": "length", "7-byte chunks": "chunked"}.get(how, "close")
    version = "1.0" if "1.0" in how else "1.1"
    with world.peer.plays(answers(TOKENS, framing, version, pieces=7 if "7" in how else 0)):
        for format in FORMATS:
            answer = get(world.port, ask("plain", format))
            expect_equal(answer.ending, "complete", f"{format}: the ending")
            check_whole(format, bytes(answer.body))


@scenario("interim responses 100 and 103 of the upstream are not the answer")
def interim(world: World) -> None:
    def script(exchange):
        exchange.raw(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        answers(TOKENS)(exchange)

    with world.peer.plays(script):
        for format in FORMATS:
            answer = get(world.port, ask("plain", format))
            expect_equal(answer.status, 200, f"{format}: status")
            check_whole(format, bytes(answer.body))


@scenario("HTTP/1.0 client: {}: no chunks, and the close is the end", FORMATS)
def http10_client(world: World, format: str) -> None:
    with world.peer.plays(answers(TOKENS)):
        answer = get(world.port, ask("plain", format, version="1.0"))
    expect_equal(answer.field("transfer-encoding"), None, "transfer-encoding to an HTTP/1.0 client")
    expect_equal(answer.ending, "complete", "the ending")
    check_whole(format, bytes(answer.body))


@scenario("response: auto follows ?format=, then Accept")
def negotiation(world: World) -> None:
    cases = [
        ("?prompt=hi&format=ndjson", "text/event-stream", "ndjson"), ("?prompt=hi", "text/event-stream", "sse-text"),
        ("?prompt=hi", "application/x-ndjson", "ndjson"), ("?prompt=hi", "*/*", "text"),
        ("?prompt=hi&format=sse-json", "*/*", "sse-json"), ("?prompt=hi&format=openai-chat", "*/*", "openai-chat"),
    ]
    with world.peer.plays(answers(TOKENS)):
        for query, accept, format in cases:
            answer = get(world.port, request("GET", "/plain/auto" + query, fields=f"Accept: {accept}\r\n"))
            expect_equal((answer.status, answer.kind), (200, KINDS[format]), f"{query} with Accept: {accept}")
            check_whole(format, bytes(answer.body))
        answer = get(world.port, request("GET", "/plain/auto?prompt=hi&format=nonsense"))
        expect_equal(answer.status, 400, "status for an unknown format")


@scenario("a prompt comes as a query, as JSON, as text or as a form of it, and reaches the upstream whole")
def prompts(world: World) -> None:
    prompt = "Was heißt „日本語“?\n👍🏽"
    cases = [
        ask("plain", "text", prompt=prompt),
        request("POST", "/plain/text", json.dumps({"prompt": prompt}).encode()),
        request("POST", "/plain/text", json.dumps({"message": prompt}, ensure_ascii=False).encode()),
        request("POST", "/plain/text", prompt.encode(), kind="text/plain; charset=utf-8"),
    ]
    for case in cases:
        with world.peer.plays(answers(["ok"])):
            answer = get(world.port, case)
            expect_equal((answer.status, bytes(answer.body)), (200, b"ok"), "the answer")
            sent = world.peer.wait_exchange().json
            expect_equal(sent["messages"], [{"role": "user", "content": prompt}], "messages to the upstream")
            expect_equal(sent["stream"], True, "stream")


@scenario("the upstream gets its key and no credential, hop-by-hop field or coding of the client's")
def request_fields(world: World) -> None:
    fields = (
        "Authorization: Bearer client-secret\r\nCookie: session=client-secret\r\nX-Api-Key: client-secret\r\n"
        "Accept-Encoding: gzip, br\r\nConnection: keep-alive, X-Private\r\nX-Private: client-secret\r\nKeep-Alive: timeout=5\r\n"
        "TE: trailers\r\nProxy-Authorization: Basic client-secret\r\nUpgrade: websocket\r\nX-Request-Id: req-42\r\n")
    for format in FORMATS:
        with world.peer.plays(answers(["ok"])):
            answer = get(world.port, ask("plain", format, fields))
            expect_equal(answer.status, 200, f"{format}: status")
            expect_equal(answer.field("x-request-id"), "req-42", f"{format}: the client's request id")
            exchange = world.peer.wait_exchange()
        expect_equal(exchange.field("authorization"), "Bearer upstream-secret", f"{format}: authorization")
        expect_equal(exchange.field("accept-encoding"), "identity", f"{format}: accept-encoding")
        expect_equal(exchange.field("x-own"), "from-config", f"{format}: the configured field")
        expect_equal(exchange.field("x-request-id"), "req-42", f"{format}: x-request-id")
        expect_equal(exchange.field("host"), f"127.0.0.1:{world.peer.port}", f"{format}: host")
        expect("client-secret" not in repr(exchange.fields), f"{format}: a credential crossed: {exchange.fields}")
        for name in ("keep-alive", "te", "upgrade", "x-private"):
            expect_equal(exchange.field(name), None, f"{format}: hop-by-hop field {name}")
        for name in ("authorization", "host", "content-length", "x-request-id", "accept-encoding"):
            count = sum(key.lower() == name for key, _ in exchange.fields)
            expect_equal(count, 1, f"{format}: how often {name} is sent")


@scenario("hop-by-hop and identity fields of the upstream's answer stay there")
def response_fields(world: World) -> None:
    def script(exchange):
        exchange.head(fields="Connection: X-Internal\r\nX-Internal: secret\r\nKeep-Alive: timeout=5\r\nX-Kept: yes\r\n"
                      "X-RateLimit-Remaining: 9\r\nTrailer: X-T\r\n")
        exchange.token("ok")
        exchange.finish()
        exchange.data(b"data: [DONE]\n\n")
        exchange.raw(b"0\r\nX-T: secret\r\n\r\n")

    for format in FORMATS:
        with world.peer.plays(script):
            answer = get(world.port, ask("plain", format))
        for name in ("x-internal", "keep-alive", "trailer", "x-t"):
            expect_equal(answer.field(name), None, f"{format}: {name}")
        expect_equal(answer.field("x-ratelimit-remaining"), "9", f"{format}: x-ratelimit-remaining")
        expect(answer.field("x-kept") == "yes" or format != "passthrough", "passthrough: an end-to-end field was lost")


@scenario("silence: {}: keepalive where the format has one, and never inside an event", FORMATS)
def keepalive(world: World, format: str) -> str:
    between, inside = threading.Event(), threading.Event()

    def script(exchange):
        exchange.head()
        exchange.data(chunk({"role": "assistant", "content": ""}))
        exchange.token("one")
        between.wait(DEADLINE)
        event = chunk({"content": " two"})
        exchange.data(event[:20])
        inside.wait(DEADLINE)
        exchange.data(event[20:])
        exchange.finish()
        exchange.done()

    pings = format in ("sse-text", "sse-json", "openai-chat")
    with world.peer.plays(script), Answer(world.port, ask("lively", format)) as answer:
        answer.read_head().read_until(lambda a: read_stream(format, a.body)[0] == "one")
        if pings:
            answer.read_until(lambda a: a.body.count(b"\n:\n") >= 2)
        else:
            expect_equal(answer.read_for(0.5), b"", "what came in the silence")
        between.set()
        # Half an event is on its way: where it is relayed as it comes, a comment would become a part of it.
        answer.read_for(0.5)
        inside.set()
        answer.read_all()
    expect_equal(answer.ending, "complete", "the ending")
    text, end = read_stream(format, bytes(answer.body))
    expect_equal((text, end), ("one two", None if format == "text" else "done"), "text and end")
    if format == "passthrough":
        expect_equal(bytes(answer.body).count(b"\n:"), 0, "comments in bytes that should be relayed untouched")
    return f"{answer.body.count(bytes([10, 58, 10]))} comments"


@scenario("early_headers: 200 and its head go out while the upstream thinks")
def early_headers(world: World) -> None:
    resume = threading.Event()

    def script(exchange):
        exchange.head()
        exchange.data(chunk({"role": "assistant", "content": ""}))
        resume.wait(DEADLINE)
        exchange.token("late")
        exchange.finish()
        exchange.done()

    with world.peer.plays(script), Answer(world.port, ask("early", "sse-json")) as answer:
        answer.read_head()
        expect_equal((answer.status, answer.kind), (200, "text/event-stream"), "the head before any token")
        resume.set()
        answer.read_all()
    expect_equal(read_stream("sse-json", bytes(answer.body)), ("late", "done"), "the stream")


@scenario("stream: false gives one JSON document")
def document(world: World) -> None:
    body = json.dumps({"object": "chat.completion", "choices": [{"message": {"content": "whole"}}]}).encode()
    with world.peer.plays(lambda exchange: exchange.document(200, body)):
        for format in ("openai-chat", "passthrough"):
            sent = json.dumps(CHAT | {"stream": False}).encode()
            answer = get(world.port, request("POST", f"/plain/{format}", sent))
            expect_equal((answer.status, answer.ending), (200, "complete"), f"{format}: status and ending")
            expect_equal(bytes(answer.body), body, f"{format}: the document")


@scenario("an upload larger than any buffer flows through, with Expect: 100-continue")
def upload(world: World) -> None:
    body = json.dumps(CHAT | {"pad": "x" * 900_000}).encode()
    with world.peer.plays(answers(["ok"])), Answer(world.port) as answer:
        head, _ = request("POST", "/plain/passthrough", body, "Expect: 100-continue\r\n").split(b"\r\n\r\n", 1)
        answer.send(head + b"\r\n\r\n")
        while not answer.interim:
            # The interim response alone: `read_head` would wait for the final one, which waits for the body.
            line = answer.socket.recv(65536)
            expect(line.startswith(b"HTTP/1.1 100"), f"instead of 100 came {line!r}")
            answer.interim.append(100)
        answer.send(body)
        answer.read_all()
        expect_equal(answer.status, 200, "status")
        expect_equal(world.peer.wait_exchange().body, body, "the body at the upstream")


@scenario("many streams at once: each its own text")
def concurrent(world: World) -> None:
    count = 100

    def script(exchange):
        name = exchange.json["messages"][0]["content"]
        answers([f"{name}-{index};" for index in range(20)], pieces=97)(exchange)

    with world.peer.plays(script):
        open_answers = [
            Answer(world.port, ask("plain", FORMATS[i % len(FORMATS)], prompt=f"p{i}")) for i in range(count)]
        for index, answer in enumerate(open_answers):
            format = FORMATS[index % len(FORMATS)]
            answer.read_all()
            expect_equal(answer.ending, "complete", f"{index}: the ending")
            text, _ = read_stream(format, bytes(answer.body))
            expect_equal(text, "".join(f"p{index}-{n};" for n in range(20)), f"{index}: the text")
            answer.close()
