"""The official OpenAI SDK, as its users use it."""

import asyncio
import os
import tempfile

import httpx
import openai

from harness import HEAD, TOKENS, Peer, Sluice, chunk, config, event, stream
from test_requests import certificates

TEXT = "".join(TOKENS)
MESSAGES = [{"role": "user", "content": "hi"}]


def read(client):
    answer = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
    chunks = list(answer)
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices), chunks[-1].choices[0].finish_reason


async def read_async(client):
    text = ""
    async for c in await client.chat.completions.create(model="m", messages=MESSAGES, stream=True):
        text += c.choices[0].delta.content or ""
    return text


def settings(url, tls=None):
    changes = {"listeners": [{"address": "127.0.0.1:0"}]}
    if tls:
        changes["listeners"].append({"address": "127.0.0.1:0", "tls": tls})
    made = config(url, **changes)
    made["routes"].insert(0, {"path": "/chat/chat/completions", "request": "openai-chat", "response": "openai-chat",
                              "upstream": "u"})
    return made


def test_sdk_over_http_and_https():
    with tempfile.TemporaryDirectory() as folder, Peer(lambda c, r: stream(c, gap=0.01)) as peer:
        certificates(folder)
        tls = {"certificate": os.path.join(folder, "server.crt"), "private_key": os.path.join(folder, "server.key")}
        trust = os.path.join(folder, "ca.crt")
        with Sluice(settings(peer.url, tls), listeners=2) as proxy:
            plain, secure = proxy.ports()
            for base in ("v1", "chat"):
                for url in (f"http://127.0.0.1:{plain}/{base}", f"https://localhost:{secure}/{base}"):
                    http = httpx.Client(verify=__import__("ssl").create_default_context(cafile=trust))
                    client = openai.OpenAI(base_url=url, api_key="k", http_client=http, max_retries=0)
                    assert read(client) == (TEXT, "stop"), url
                    client.close()
                    asynchronous = openai.AsyncOpenAI(
                        base_url=url, api_key="k", max_retries=0, http_client=httpx.AsyncClient(
                            verify=__import__("ssl").create_default_context(cafile=trust)))
                    assert asyncio.run(read_async(asynchronous)) == TEXT, url


def test_sdk_raises_on_a_cut_stream():
    def script(connection, request):
        connection.sendall(HEAD + chunk(event({"content": "half"})))
        return "close"

    with Peer(script) as peer, Sluice(settings(peer.url)) as proxy:
        for base in ("v1", "chat"):
            client = openai.OpenAI(base_url=f"http://127.0.0.1:{proxy.port}/{base}", api_key="k", max_retries=0)
            try:
                read(client)
            except (openai.APIError, httpx.HTTPError):
                continue
            raise AssertionError("the SDK took a cut stream for a whole one: " + base)


def test_sdk_sees_the_providers_error():
    def script(connection, request):
        body = b'{"error":{"message":"slow down","type":"rate_limit","code":"rate_limit_exceeded"}}'
        connection.sendall(b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nRetry-After: 7\r\n"
                           b"x-ratelimit-limit-requests: 5\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    with Peer(script) as peer, Sluice(settings(peer.url)) as proxy:
        for base in ("v1", "chat"):
            client = openai.OpenAI(base_url=f"http://127.0.0.1:{proxy.port}/{base}", api_key="k", max_retries=0)
            try:
                read(client)
                raise AssertionError("no error")
            except openai.RateLimitError as error:
                assert error.response.headers["retry-after"] == "7"
                assert error.response.headers["x-ratelimit-limit-requests"] == "5"
                assert "slow down" in str(error)
