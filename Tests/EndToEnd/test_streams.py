"""What a client of each format receives, and when."""

import json
import shutil
import subprocess
import time

from harness import CHAT, FORMATS, TOKENS, Peer, Sluice, config, connect, fetch, request_bytes, stream

TEXT = "".join(TOKENS)


def events(body):
    """An independent reader of event streams: (type, data) of each event."""
    found = []
    for block in body.decode().split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        data = [line[6:] for line in lines if line.startswith("data: ")]
        kind = next((line[7:] for line in lines if line.startswith("event: ")), "message")
        if data:
            found.append((kind, "\n".join(data)))
    return found


def text_of(name, body):
    """The text that a client of that format ends up with, and whether it saw a true end."""
    if name == "text":
        return body.decode(), True
    if name == "sse-text":
        all_events = events(body)
        return "".join(d for k, d in all_events if k == "message"), all_events[-1][0] == "done"
    if name == "openai-chat":
        parts = [d for _, d in events(body)]
        chunks = [json.loads(d) for d in parts if d != "[DONE]"]
        text = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c.get("choices"))
        return text, parts[-1] == "[DONE]"
    parts = [d for _, d in events(body)] if name == "sse-json" else body.decode().splitlines()
    objects = [json.loads(d) for d in parts]
    return "".join(o.get("text", "") for o in objects), objects[-1].get("done") is True


def test_each_format_carries_the_text():
    with Peer(lambda c, r: stream(c)) as peer, Sluice(config(peer.url)) as proxy:
        for name, content_type in FORMATS.items():
            reply = fetch(proxy.port, "/" + name, CHAT)
            assert reply.status == 200 and reply.complete, (name, reply.raw)
            assert reply.headers["content-type"] == content_type
            assert reply.headers["cache-control"] == "no-cache, no-transform"
            assert reply.headers["x-accel-buffering"] == "no"
            assert reply.headers["x-request-id"]
            assert text_of(name, reply.body) == (TEXT, True), (name, reply.body)


def test_tokens_arrive_apart():
    with Peer(lambda c, r: stream(c, gap=0.06)) as peer, Sluice(config(peer.url)) as proxy:
        for name in [*FORMATS, "v1/chat/completions"]:
            connection = connect(proxy.port)
            connection.sendall(request_bytes("/" + name, CHAT, headers=["Connection: close"]))
            times = []
            while connection.recv(65536):
                times.append(time.monotonic())
            gaps = [b - a for a, b in zip(times, times[1:])]
            assert sum(gap > 0.03 for gap in gaps) >= 4, (name, gaps)


def test_curl_reads_every_format():
    assert shutil.which("curl"), "curl is part of the test set-up"
    with Peer(lambda c, r: stream(c, gap=0.01)) as peer, Sluice(config(peer.url)) as proxy:
        for name in FORMATS:
            url = f"http://127.0.0.1:{proxy.port}/stream?prompt=hi&format={name}"
            body = subprocess.run(["curl", "-sSfN", url], capture_output=True, check=True, timeout=20).stdout
            assert text_of(name, body) == (TEXT, True), (name, body)


def test_passthrough_is_untouched():
    odd = b": comment\r\ndata: {\"choices\":[],  \"odd\":1}\r\n\r\n"

    def script(connection, request):
        from harness import DONE, HEAD, chunk
        connection.sendall(HEAD + chunk(odd) + chunk(DONE) + b"0\r\n\r\n")

    with Peer(script) as peer, Sluice(config(peer.url)) as proxy:
        reply = fetch(proxy.port, "/v1/chat/completions", CHAT)
        from harness import DONE
        assert reply.body == odd + DONE and reply.complete, reply.raw


def test_keepalive_comment_only_where_the_format_has_one():
    def script(connection, request):
        stream(connection, ["one"], gap=0.9)

    with Peer(script) as peer:
        settings = config(peer.url)
        for route in settings["routes"]:
            route["keepalive"] = "200ms"
        with Sluice(settings) as proxy:
            assert b"\n\n:\n\n" in fetch(proxy.port, "/sse-text", CHAT).body
            assert b"\n\n:\n\n" in fetch(proxy.port, "/openai-chat", CHAT).body
            assert fetch(proxy.port, "/text", CHAT).body == b"one"
            assert b":\n" not in fetch(proxy.port, "/ndjson", CHAT).body


def test_credentials():
    with Peer(lambda c, r: stream(c)) as peer, Sluice(config(peer.url)) as proxy:
        for path in ("/text", "/v1/chat/completions"):
            fetch(proxy.port, path, CHAT, headers=["Authorization: Bearer sk-canary-client", "Cookie: c=canary-cookie"])
            request = peer.requests[-1]
            assert b"Bearer sk-canary-own" in request
            assert b"sk-canary-client" not in request and b"canary-cookie" not in request
        time.sleep(0.2)
        assert "canary" not in json.dumps(proxy.log) + proxy.errors.decode()


def test_an_upstream_of_plain_text():
    def script(connection, request):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
        for part in ("Hel", "lo\n", "wörld"):
            data = part.encode()
            connection.sendall(b"%x\r\n%s\r\n" % (len(data), data))
        if b"cut" in request:
            return "close"
        connection.sendall(b"0\r\n\r\n")

    with Peer(script) as peer, Sluice(config(peer.url, upstream={"dialect": "text"})) as proxy:
        for name in ("text", "sse-text", "sse-json", "ndjson", "openai-chat"):
            reply = fetch(proxy.port, "/" + name, CHAT)
            assert text_of(name, reply.body) == ("Hello\nwörld", True) and reply.complete, (name, reply.raw)
        cut = {**CHAT, "messages": [{"role": "user", "content": "cut"}]}
        assert not fetch(proxy.port, "/text", cut).complete
