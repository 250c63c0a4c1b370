"""The openai package as a client: through passthrough and openai-chat routes, in the clear and over TLS."""

import httpx
import openai

from .world import DEADLINE, World, expect, expect_equal, scenario
from .peer import USAGE, answers, chunk
from .framings import TEXT, TOKENS

ROUTES = [("passthrough", "/plain/v1"), ("openai-chat", "/plain/chat/v1")]
MESSAGES = [{"role": "user", "content": "hi"}]


def sdk(world: World, base: str, secure: bool = False) -> openai.OpenAI:
    scheme, port = ("https", world.tls_port) if secure else ("http", world.port)
    verify = world.certificates.path("ca.crt") if secure else True
    http = httpx.Client(verify=verify, trust_env=False, timeout=DEADLINE)
    return openai.OpenAI(
        base_url=f"{scheme}://localhost:{port}{base}", api_key="client-key", http_client=http, max_retries=0)


@scenario("openai SDK: {}: streams, in the clear and over TLS", ROUTES)
def streams(world: World, case: tuple[str, str]) -> None:
    for secure in (False, True):
        with world.peer.plays(answers(TOKENS, pieces=50)), sdk(world, case[1], secure) as client:
            chunks = list(client.chat.completions.create(
                model="gpt-test", messages=MESSAGES, stream=True, stream_options={"include_usage": True}))
            sent = world.peer.wait_exchange()
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        expect_equal(text, TEXT, "the text")
        expect_equal([c.choices[0].finish_reason for c in chunks if c.choices][-1], "stop", "finish reason")
        usage = [c.usage for c in chunks if c.usage]
        expect_equal(usage[-1].total_tokens if usage else None, USAGE["total_tokens"], "usage")
        expect_equal(sent.json["model"], "gpt-test", "the model at the upstream")
        expect_equal(sent.target, "/v1/chat/completions", "the target at the upstream")
        expect_equal(sent.field("authorization"), "Bearer upstream-secret", "authorization at the upstream")


@scenario("openai SDK: {}: stream=False", ROUTES)
def whole(world: World, case: tuple[str, str]) -> None:
    body = (b'{"id":"c","object":"chat.completion","created":1,"model":"gpt-test","choices":[{"index":0,"message":'
            b'{"role":"assistant","content":"whole"},"logprobs":null,"finish_reason":"stop"}]}')
    with world.peer.plays(lambda exchange: exchange.document(200, body)), sdk(world, case[1]) as client:
        answer = client.chat.completions.create(model="gpt-test", messages=MESSAGES)
        expect_equal(answer.choices[0].message.content, "whole", "the text")


@scenario("openai SDK: {}: errors are the SDK's own", ROUTES)
def errors(world: World, case: tuple[str, str]) -> None:
    body = b'{"error":{"message":"slow down","type":"requests","param":null,"code":"rate_limit_exceeded"}}'
    with sdk(world, case[1]) as client:
        with world.peer.plays(lambda exchange: exchange.document(429, body, fields="Retry-After: 3\r\n")):
            try:
                client.chat.completions.create(model="gpt-test", messages=MESSAGES, stream=True)
                raise AssertionError("no RateLimitError")
            except openai.RateLimitError as error:
                expect_equal(error.response.headers.get("retry-after"), "3", "retry-after")
                expect_equal(error.code, "rate_limit_exceeded", "the code")

        def cut(exchange):
            exchange.head()
            exchange.token("one")
            exchange.token(" two")

        with world.peer.plays(cut):
            text = ""
            try:
                for c in client.chat.completions.create(model="gpt-test", messages=MESSAGES, stream=True):
                    text += c.choices[0].delta.content or ""
                raise AssertionError("a cut stream ended as if it were whole")
            except (openai.APIError, httpx.RemoteProtocolError):
                expect_equal(text, "one two", "the text before the cut")


@scenario("openai SDK: a tool call survives: {}", ROUTES)
def tools(world: World, case: tuple[str, str]) -> None:
    def script(exchange):
        exchange.head()
        call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
        exchange.data(chunk({"role": "assistant", "content": None, "tool_calls": [call]}))
        for part in ('{"ci', 'ty":"Zü', 'rich"}'):
            exchange.data(chunk({"tool_calls": [{"index": 0, "function": {"arguments": part}}]}))
        exchange.finish("tool_calls")
        exchange.done()

    with world.peer.plays(script), sdk(world, case[1]) as client:
        name, arguments, finish = "", "", None
        for c in client.chat.completions.create(model="gpt-test", messages=MESSAGES, stream=True):
            for call in c.choices[0].delta.tool_calls or []:
                name += call.function.name or ""
                arguments += call.function.arguments or ""
            finish = c.choices[0].finish_reason or finish
    expect_equal((name, arguments, finish), ("weather", '{"city":"Zürich"}', "tool_calls"), "the call")


@scenario("openai SDK: leaving the stream closes the upstream")
def leave(world: World) -> None:
    def script(exchange):
        exchange.head()
        exchange.token("one")
        exchange.wait_left()

    for _, base in ROUTES:
        with world.peer.plays(script), sdk(world, base) as client:
            answer = client.chat.completions.create(model="gpt-test", messages=MESSAGES, stream=True)
            next(iter(answer))
            answer.close()
            expect(world.peer.wait_exchange().over.wait(DEADLINE), "the upstream was not closed")
