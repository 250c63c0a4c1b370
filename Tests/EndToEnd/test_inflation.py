"""Upstreams that compress without being asked: documents, errors, parts, bombs and slow readers; and what waits behind a pause."""

import gzip
import json
import socket
import time
import zlib

from harness import CHAT, DONE, HEAD, Peer, Reply, Sluice, chunk, config, connect, drain, event, fetch, request_bytes, until
from http2_peer import Http2Peer, connect_http2
from http2_world import chat, over_h2, settings

ANSWER = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [
    {"index": 0, "message": {"role": "assistant", "content": "packed"}, "finish_reason": "stop"}]}


def answers(status, body, *fields):
    """An upstream that always says this."""
    head = [f"HTTP/1.1 {status}", *fields, f"Content-Length: {len(body)}"]
    data = "\r\n".join(head).encode() + b"\r\n\r\n" + body

    def script(connection, request):
        connection.sendall(data)
    return script


def ask(script, path, body=None, **more):
    with Peer(script) as peer, Sluice(config(peer.url)) as proxy:
        return fetch(proxy.port, path, body, **more)


def test_a_packed_document_is_unpacked():
    body = gzip.compress(json.dumps(ANSWER).encode())
    fields = ("Content-Type: application/json", "Content-Encoding: gzip")
    for path in ("/openai-chat", "/v1/chat/completions"):
        reply = ask(answers("200 OK", body, *fields), path, {**CHAT, "stream": False})
        assert reply.status == 200 and reply.complete and json.loads(reply.body) == ANSWER, reply.raw
        assert "content-encoding" not in reply.headers, reply.headers
    reply = ask(answers("200 OK", body, *fields), "/text", CHAT)
    assert (reply.status, reply.body, reply.complete) == (200, b"packed", True), reply.raw


def test_a_packed_error_keeps_its_words():
    body = gzip.compress(json.dumps({"error": {"message": "slow down", "type": "rate_limit_error"}}).encode())
    reply = ask(answers("429 Too Many", body, "Content-Encoding: gzip", "Retry-After: 7"), "/sse-json", CHAT)
    assert reply.status == 429 and reply.headers["retry-after"] == "7" and b"slow down" in reply.body, reply.raw


def test_an_error_packed_in_another_way_keeps_its_status():
    reply = ask(answers("429 Too Many", b"\x1b\x03", "Content-Encoding: br", "Retry-After: 7"), "/sse-json", CHAT)
    assert reply.status == 429 and reply.headers["retry-after"] == "7", reply.raw
    assert json.loads(reply.body)["error"]["message"] == "upstream answered with status 429", reply.raw


def test_what_nobody_reads_stays_as_it_says_it_is():
    part = gzip.compress(b"x" * 100)[5:15]
    for status, coding, body in (("206 Partial Content", "gzip", part), ("200 OK", "br", b"\x1b\x03")):
        fields = ("Content-Type: text/plain", f"Content-Encoding: {coding}")
        reply = ask(answers(status, body, *fields), "/v1/files")
        assert reply.headers["content-encoding"] == coding and reply.body == body and reply.complete, reply.raw


def test_lengths_and_validators_of_the_packed_bytes_go():
    body = gzip.compress(b"hello")
    reply = ask(answers("200 OK", body, "Content-Type: text/plain", "Content-Encoding: gzip", 'ETag: "1"', "X-A: b"), "/v1/files")
    assert reply.body == b"hello" and reply.complete and reply.headers["x-a"] == "b", reply.raw
    assert not {"etag", "content-encoding"} & set(reply.headers), reply.headers


def bomb(size):
    """Bytes that become `size` bytes of comments."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    comments = (b":" + b" " * 1021 + b"\n\n") * (size >> 10)
    return packer.compress(event({"content": "first"}) + comments + DONE) + packer.flush()


def packed_stream(data):
    head = HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")

    def script(connection, request):
        connection.sendall(head + chunk(data) + b"0\r\n\r\n")
    return script


def test_a_bomb_delays_nobody_and_takes_no_memory():
    data = bomb(24 << 20)
    plain = Peer(answers("200 OK", json.dumps(ANSWER).encode(), "Content-Type: application/json"))
    with Peer(packed_stream(data)) as peer, plain:
        values = config(peer.url)
        values["upstreams"]["plain"] = {"url": plain.url, "dialect": "openai-chat"}
        values["routes"].insert(0, {"path": "/plain", "request": "openai-chat", "response": "text", "upstream": "plain"})
        with Sluice(values) as proxy:
            fetch(proxy.port, "/plain", CHAT)
            before = proxy.resident_kib()
            victim = connect(proxy.port)
            victim.sendall(request_bytes("/text", CHAT, headers=["Connection: close"]))
            victim.recv(1 << 16)  # it is under way
            slowest = 0
            for _ in range(20):
                began = time.monotonic()
                assert fetch(proxy.port, "/plain", CHAT).body == b"packed"
                slowest = max(slowest, time.monotonic() - began)
            drain(victim, 60)
            until(lambda: len(proxy.exchanges()) == 22, 60, "the log")
            grown = proxy.resident_kib() - before
            ends = {entry["end"] for entry in proxy.exchanges()}
            print(f"  {len(data) >> 10} KiB stand for 24 MiB: {grown} KiB more memory, "
                  f"another client waits {slowest * 1000:.0f} ms at most")
            assert ends == {"done"} and grown < 4 << 10, (ends, grown)


def paused(stand_still, port, receive_buffer=None):
    """A client that asks, reads nothing while `stand_still` runs, and then all of it."""
    connection = socket.socket()
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.connect(("127.0.0.1", port))
    connection.sendall(request_bytes("/v1/chat/completions", CHAT, headers=["Connection: close"]))
    stand_still()
    return Reply(drain(connection, 60))


def test_a_reader_that_stands_still_holds_a_bomb_up():
    text = b"".join(event({"content": f"{index:08}" * 120}) for index in range(6_000)) + DONE
    packed = gzip.compress(text, 9)
    assert len(packed) < len(text) / 20, (len(packed), len(text))
    with Peer(packed_stream(packed)) as peer, Sluice(config(peer.url)) as proxy:
        before = proxy.resident_kib()
        peak = []

        def stand_still():
            until(lambda: peer.requests, what="the request")
            for _ in range(20):
                time.sleep(0.02)
                peak.append(proxy.resident_kib() - before)

        reply = paused(stand_still, proxy.port)
        assert reply.complete and reply.body == text, (reply.complete, len(reply.body), len(text))
        print(f"  {len(packed) >> 10} KiB stand for {len(text) >> 20} MiB: {max(peak)} KiB more memory "
              "while the reader stands still")
        assert max(peak) < 3 << 10, peak


def test_what_came_before_the_end_of_a_connection_is_read_first():
    """A reader that stands still pauses its upstream, which meanwhile sends the rest and closes: all of it waits in the kernel."""
    endless = HEAD.replace(b"Transfer-Encoding: chunked\r\n", b"")
    for size in (150, 200, 250):
        text = b"".join(event({"content": "x" * 864}) for _ in range(size)) + DONE
        whole = HEAD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + chunk(text) + b"0\r\n\r\n"
        for data in (whole, endless + text):
            def script(connection, request):
                connection.sendall(data)
                return "close"

            with Peer(script) as peer, Sluice(config(peer.url)) as proxy:
                def stand_still():
                    until(lambda: peer.closed_at, what="the upstream's end")
                    time.sleep(0.1)

                reply = paused(stand_still, proxy.port, receive_buffer=4096)
                assert reply.complete and reply.body == text, (size, reply.complete, len(reply.body), len(text))
                until(proxy.exchanges, what="the log")
                entry = proxy.exchanges()[0]
                assert entry["end"] == "done", entry
                print(f"  {len(text) >> 10} KiB, {entry['pauses']} pauses")


def test_a_packed_answer_over_http_2_to_http_2():
    packed = gzip.compress(b"".join(event({"content": f"{index} "}) for index in range(20_000)) + DONE)

    def script(stream):
        stream.wait_body()
        stream.head(fields=[("content-encoding", "gzip")])
        stream.data(packed)
        stream.end()

    with Http2Peer(script) as peer, Sluice(settings({"h2": peer.url})) as proxy, connect_http2(proxy.port) as client:
        found = over_h2(client, "/h2/text", chat())
        assert found.complete and found.body == b"".join(b"%d " % index for index in range(20_000)), found.status
