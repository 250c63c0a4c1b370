"""Answers compressed towards clients: every event comes at its time, what is cut shows it, and what is not to be touched is not."""

import gzip
import json
import os
import random
import subprocess
import threading
import time
import zlib

import brotli

import exposition
from compressed import CODINGS, H1, H2, PROTOCOLS, Decoder
from harness import (CHAT, DONE, HEAD, Peer, Sluice, chunk, config, connect, drain, event, fetch, request_bytes, reset, stream,
                     until)
from resume_world import ID, Gated, settings
from test_operator import admin_port, metrics

WORDS = [f" word{index}" for index in range(40)]


def compressing(url, **changes):
    return config(url, **{"compress": ["br", "gzip"], **changes})


def each_way():
    return [(protocol, coding) for protocol in PROTOCOLS for coding in (None, *CODINGS)]


class Conversation:
    """An upstream that sends its next event only when it is told that the one before has been read."""

    def __init__(self, words=WORDS):
        self.words, self.read = words, threading.Semaphore(0)

    def __call__(self, connection, request):
        connection.sendall(HEAD + chunk(event({"role": "assistant", "content": ""})))
        for word in self.words:
            connection.sendall(chunk(event({"content": word})))
            assert self.read.acquire(timeout=20), "nobody has read the last event"
        connection.sendall(chunk(DONE) + b"0\r\n\r\n")


def test_compression_holds_no_event():
    for path in ("/openai-chat", "/sse-text", "/text"):
        found, sizes = {}, {}
        for protocol, coding in each_way():
            script = Conversation()
            with Peer(script) as peer, Sluice(compressing(peer.url)) as proxy:
                answer = PROTOCOLS[protocol](proxy.port, path, coding)
                for word in WORDS:
                    answer.until(lambda a: word.encode() in a.text, f"{path} {protocol} {coding}: '{word}'")
                    script.read.release()
                answer.read()
                assert answer.is_whole and answer.status == 200, (protocol, coding, answer.complete)
                assert answer.headers.get("content-encoding") == coding, answer.headers
                assert "accept-encoding" in answer.headers["vary"].lower(), answer.headers
                answer.close()
                if path != "/text":
                    assert answer.headers["cache-control"] == "no-cache, no-transform", answer.headers
            found[protocol, coding], sizes[protocol, coding] = answer.text, len(answer.coded)
        assert len(set(found.values())) == 1, found
        print(f"  {path}, {len(WORDS)} events: " + ", ".join(
            f"{coding or 'plain'} {size} bytes" for (protocol, coding), size in sizes.items() if protocol == "h1"))
        # What repeats itself in each event costs next to nothing from the second on.
        if path == "/openai-chat":
            assert max(sizes["h1", coding] for coding in CODINGS) * 4 < sizes["h1", None], sizes


def test_compression_and_curl():
    with Peer(lambda c, r: stream(c, WORDS)) as peer, Sluice(compressing(peer.url)) as proxy:
        def curl(*words):
            made = subprocess.run(["curl", "-sSN", "-D", "/dev/stderr", *words, f"http://127.0.0.1:{proxy.port}/stream?prompt=hi"],
                                  capture_output=True, timeout=30)
            assert made.returncode == 0, made
            return made.stdout, made.stderr.decode().lower()

        for version in ("--http1.1", "--http2-prior-knowledge"):
            assert curl(version, "--compressed")[0] == "".join(WORDS).encode()
            for coding in CODINGS:
                text, head = curl(version, "--compressed", "-H", f"Accept-Encoding: {coding}")
                assert text == "".join(WORDS).encode() and f"content-encoding: {coding}" in head, (text, head)
            text, head = curl(version)
            assert text == "".join(WORDS).encode() and "content-encoding" not in head and "vary" in head, (text, head)


def test_compression_keepalives_come_at_their_time():
    for protocol in PROTOCOLS:
        for coding in CODINGS:
            goes_on = threading.Event()

            def script(connection, request):
                connection.sendall(HEAD + chunk(event({"content": "a"})))
                assert goes_on.wait(20), "no keepalive"
                connection.sendall(chunk(event({"content": "b"}) + DONE) + b"0\r\n\r\n")

            with Peer(script) as peer:
                values = compressing(peer.url)
                for route in values["routes"]:
                    route["keepalive"] = "50ms"
                with Sluice(values) as proxy:
                    answer = PROTOCOLS[protocol](proxy.port, "/sse-json", coding)
                    answer.until(lambda a: a.text.count(b"\n:") >= 3, "three keepalives")
                    goes_on.set()
                    assert answer.read().is_whole and b'"done":true' in answer.text, answer.text
                    answer.close()
                    until(proxy.exchanges, what="the log")
                    assert proxy.exchanges()[0]["pings"] >= 3, proxy.exchanges()


def test_compression_cuts_show():
    """The coding's end is written only behind the stream's own."""
    def script(connection, request):
        connection.sendall(HEAD + b"".join(chunk(event({"content": word})) for word in WORDS))
        return "close"

    for protocol, coding in each_way():
        with Peer(script) as peer, Sluice(compressing(peer.url)) as proxy:
            answer = PROTOCOLS[protocol](proxy.port, "/text", coding).read()
            assert answer.text == "".join(WORDS).encode(), answer.text
            assert not answer.complete and (coding is None or not answer.decoder.is_whole), (protocol, coding)
            answer.close()
            # An error in the stream is an ending of its own.
            answer = PROTOCOLS[protocol](proxy.port, "/sse-text", coding).read()
            assert answer.is_whole and answer.text.count(b"event: error") == 1, (protocol, coding, answer.text[-200:])
            assert answer.text.startswith(b"data: " + WORDS[0].encode()) or b"data:  word0\n" in answer.text, answer.text[:80]
            answer.close()
            # Passed through, it is cut as it came.
            answer = PROTOCOLS[protocol](proxy.port, "/v1/chat/completions", coding).read()
            assert not answer.complete and (coding is None or not answer.decoder.is_whole), (protocol, coding)
            answer.close()


def test_compression_errors_of_the_provider():
    words = b'data: {"error":{"message":"overloaded, try later","type":"server_error"}}\n\n'

    def script(connection, request):
        connection.sendall(HEAD + chunk(event({"content": "a"})))
        time.sleep(0.05)
        connection.sendall(chunk(words) + b"0\r\n\r\n")

    for protocol, coding in each_way():
        with Peer(script) as peer, Sluice(compressing(peer.url)) as proxy:
            for path in ("/openai-chat", "/sse-json"):
                answer = PROTOCOLS[protocol](proxy.port, path, coding).read()
                assert answer.is_whole and b"overloaded, try later" in answer.text, (protocol, coding, path, answer.text)
                answer.close()


def test_compression_for_a_slow_reader():
    """Noise, which no coding makes smaller, for a reader that stands still: the provider waits, and memory does not grow."""
    source = random.Random(7)
    text = b"".join(event({"content": source.randbytes(700).hex()}) for _ in range(4_000))

    for coding in CODINGS:
        said = [event({"content": "a"}), text]

        def script(connection, request):
            connection.sendall(HEAD + chunk(said.pop(0)) + chunk(DONE) + b"0\r\n\r\n")

        with Peer(script, send_buffer=1 << 16) as peer, Sluice(compressing(peer.url)) as proxy:
            # What the library takes for its first stream, it keeps.
            assert H1(proxy.port, "/v1/chat/completions", coding).read().is_whole
            before = proxy.resident_kib()
            answer = H1(proxy.port, "/v1/chat/completions", coding, receive_buffer=4096)
            until(lambda: len(peer.requests) == 2, what="the request")
            peak = []
            for _ in range(20):
                time.sleep(0.02)
                peak.append(proxy.resident_kib() - before)
            answer.read()
            assert answer.is_whole and answer.text == text + DONE, (coding, len(answer.text), len(text))
            until(lambda: len(proxy.exchanges()) == 2, what="the log")
            entry = proxy.exchanges()[1]
            print(f"  {coding}: {len(text) >> 10} KiB, {len(answer.coded) >> 10} KiB on the wire, {entry['pauses']} pauses, "
                  f"{max(peak)} KiB more memory while the reader stands still")
            assert entry["pauses"] > 0 and max(peak) < len(text) >> 11, (entry, peak)


# Documents

DOCUMENT = json.dumps({"data": [{"id": f"model-{index}", "object": "model"} for index in range(200)]}).encode()


def says(status="200 OK", body=DOCUMENT, *fields, has_length=True):
    head = [f"HTTP/1.1 {status}", *fields] + ([f"Content-Length: {len(body)}"] if has_length else ["Connection: close"])

    def script(connection, request):
        sends_body = not request.startswith(b"HEAD") and not status.startswith(("204", "304"))
        connection.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + (body if sends_body else b""))
        return None if has_length else "close"
    return script


JSON = "Content-Type: application/json"


def test_compression_of_documents():
    script = says("200 OK", DOCUMENT, JSON, 'ETag: "1"', "Vary: Origin", "Accept-Ranges: bytes", "Content-Length-Hint: 1")
    for protocol, coding in each_way():
        with Peer(script) as peer, Sluice(compressing(peer.url)) as proxy:
            answer = PROTOCOLS[protocol](proxy.port, "/v1/models", coding, body=None).read()
            assert answer.is_whole and answer.text == DOCUMENT, (protocol, coding, answer.text[:100])
            assert answer.headers["vary"] == "Origin, Accept-Encoding", answer.headers
            assert answer.headers.get("content-encoding") == coding, answer.headers
            assert answer.headers["etag"] == ('W/"1"' if coding else '"1"'), answer.headers
            assert ("content-length" in answer.headers) == ("accept-ranges" in answer.headers) == (coding is None), answer.headers
            if coding:
                assert len(answer.coded) * 4 < len(DOCUMENT), len(answer.coded)
            answer.close()
            # Sluice's own: an answer that was asked for whole.
            if protocol == "h1":
                assert b"sk-canary" not in answer.text


def test_compression_of_answers_that_are_whole():
    words = " ".join(f"w{index}" for index in range(500))
    for protocol, coding in each_way():
        with Peer(lambda c, r: stream(c, [words])) as peer, Sluice(compressing(peer.url)) as proxy:
            answer = PROTOCOLS[protocol](proxy.port, "/stream", coding, body={"prompt": "hi", "stream": False}).read()
            assert answer.is_whole and words.encode() in answer.text, (protocol, coding, answer.text[:100])
            assert answer.headers.get("content-encoding") == coding, answer.headers
            answer.close()


def test_compression_leaves_as_it_is():
    packed = brotli.compress(DOCUMENT)
    cases = {
        "a small one": says("200 OK", DOCUMENT[:1000], JSON),
        "packed by the provider": says("200 OK", packed, JSON, "Content-Encoding: br"),
        "a picture": says("200 OK", DOCUMENT, "Content-Type: image/png"),
        "no type": says("200 OK", DOCUMENT),
        "a part": says("206 Partial Content", DOCUMENT, JSON, "Content-Range: bytes 0-9/20"),
        "an error": says("404 Not Found", DOCUMENT, JSON),
        "not to be transformed": says("200 OK", DOCUMENT, JSON, "Cache-Control: no-transform"),
        "nothing new": says("304 Not Modified", b"", JSON, 'ETag: "1"', has_length=False),
        "nothing": says("204 No Content", b"", has_length=False),
    }
    for what, script in cases.items():
        with Peer(script) as peer, Sluice(compressing(peer.url)) as proxy:
            plain = fetch(proxy.port, "/v1/models")
            reply = fetch(proxy.port, "/v1/models", headers=["Accept-Encoding: gzip, br"])
            assert reply.status == plain.status and reply.body == plain.body and reply.complete == plain.complete, (what, reply.raw)
            assert reply.headers.get("content-encoding") == ("br" if "packed" in what else None), (what, reply.headers)
            assert reply.headers["vary"] == "Accept-Encoding", (what, reply.headers)
    with Peer(says("200 OK", DOCUMENT, JSON)) as peer, Sluice(compressing(peer.url)) as proxy:
        reply = fetch(proxy.port, "/v1/models", method="HEAD", headers=["Accept-Encoding: gzip"])
        assert reply.headers["content-length"] == str(len(DOCUMENT)) and "content-encoding" not in reply.headers, reply.raw
        # Errors of our own, too.
        reply = fetch(proxy.port, "/openai-chat", {"messages": 5, "x": "y" * 2000}, headers=["Accept-Encoding: gzip"])
        assert reply.status == 400 and "content-encoding" not in reply.headers and b"messages" in reply.body, reply.raw


def test_compression_for_old_clients():
    with Peer(lambda c, r: stream(c, WORDS)) as peer, Sluice(compressing(peer.url)) as proxy:
        connection = connect(proxy.port)
        connection.sendall(b"GET /stream?prompt=hi HTTP/1.0\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n")
        head, _, body = drain(connection).partition(b"\r\n\r\n")
        assert b"transfer-encoding" not in head.lower() and gzip.decompress(body) == "".join(WORDS).encode(), head


def test_compression_is_off_unless_asked_for():
    with Peer(lambda c, r: stream(c)) as peer:
        values = config(peer.url)
        values["routes"][0]["compress"] = "gzip"
        with Sluice(values) as proxy:
            reply = fetch(proxy.port, "/sse-json", CHAT, headers=["Accept-Encoding: gzip, br"])
            assert not {"content-encoding", "vary"} & set(reply.headers), reply.headers
            reply = fetch(proxy.port, "/text", CHAT, headers=["Accept-Encoding: br;q=1, gzip;q=0.1"])
            assert reply.headers["content-encoding"] == "gzip" and reply.complete, reply.headers
        values = compressing(peer.url)
        values["routes"][0]["compress"] = "off"
        with Sluice(values) as proxy:
            reply = fetch(proxy.port, "/text", CHAT, headers=["Accept-Encoding: gzip"])
            assert not {"content-encoding", "vary"} & set(reply.headers), reply.headers


def test_compression_is_counted():
    with Peer(lambda c, r: stream(c, WORDS)) as peer:
        with Sluice(compressing(peer.url, admin={"address": "127.0.0.1:0"})) as proxy:
            admin = admin_port(proxy)
            for coding in (None, "gzip", "gzip", "br"):
                answer = H1(proxy.port, "/openai-chat", coding).read()
                answer.close()
                until(lambda: [e for e in proxy.exchanges() if e["bytes_sent"] > len(answer.coded)], what="the log")
            until(lambda: len(proxy.exchanges()) == 4, what="the log")
            plain, first, second, third = proxy.exchanges()
            assert "compressed" not in plain and "bytes_plain" not in plain, plain
            assert (first["compressed"], third["compressed"]) == ("gzip", "br"), proxy.exchanges()
            assert first["bytes_plain"] == second["bytes_plain"] == third["bytes_plain"] == len(answer.text), proxy.exchanges()
            assert first["bytes_sent"] * 2 < first["bytes_plain"] < plain["bytes_sent"], proxy.exchanges()
            now = metrics(admin)
            for name, gzip_value in (("compressed_answers", 2), ("compression_plain_bytes", 2 * len(answer.text))):
                assert exposition.value(now, f"sluice_{name}_total", coding="gzip") == gzip_value, name
            assert exposition.value(now, "sluice_compression_coded_bytes_total", coding="br") == len(answer.coded)
            assert exposition.value(now, "sluice_compressions_skipped_total") == 0


def test_compression_gives_way_when_memory_is_short():
    with Peer(lambda c, r: stream(c, WORDS)) as peer:
        values = compressing(peer.url, admin={"address": "127.0.0.1:0"}, limits={"buffered_bytes": "1MiB"})
        with Sluice(values) as proxy:
            answer = H1(proxy.port, "/text", "br").read()
            assert answer.is_whole and answer.text == "".join(WORDS).encode(), answer.text
            assert "content-encoding" not in answer.headers and answer.headers["vary"] == "Accept-Encoding", answer.headers
            answer = H1(proxy.port, "/text", "gzip").read()
            assert answer.is_whole and answer.headers["content-encoding"] == "gzip", answer.headers
            assert exposition.value(metrics(admin_port(proxy)), "sluice_compressions_skipped_total") == 1


def test_compression_of_answers_that_are_read_on():
    """What is kept is plain, and each reader gets it in a coding of its own; the first one may be slow behind its end."""
    for protocol, first, others in (("h1", "gzip", ("br", None)), ("h2", "br", ("gzip", None))):
        read = PROTOCOLS[protocol]
        with Gated(held=3) as peer, Sluice(settings(peer, compress=["br", "gzip"], admin={"address": "127.0.0.1:0"})) as proxy:
            answer = read(proxy.port, "/sse-text?prompt=hi", first, body=None)
            answer.until(lambda a: a.text.count(b"id: ") == 4, "three tokens")
            begun, name = answer.text, answer.headers["x-stream-id"]
            answer.close()
            stays = read(proxy.port, "/sse-json?prompt=hi", first, body=None)
            stays.until(lambda a: a.text.count(b"id: ") == 4, "three tokens")
            id = ID.findall(begun)[-1]
            at = f"/sse-text/{name}/stream?from={id[1].decode()}"
            late = [read(proxy.port, at, coding, body=None) for coding in others]
            peer.release()
            whole = read(proxy.port, f"/sse-text/{name}/stream", first, body=None).read()
            assert whole.is_whole and whole.headers["content-encoding"] == first, whole.headers
            for each, coding in zip(late, others):
                each.read()
                assert each.is_whole and each.headers.get("content-encoding") == coding, (coding, each.headers)
                assert begun + each.text == whole.text, (coding, begun, each.text)
                assert each.headers["vary"] == "Accept-Encoding", each.headers
            assert stays.read().is_whole and b"done" in stays.text, stays.text
            assert len(peer.requests) == 2
            counted = metrics(admin_port(proxy))
            until(lambda: exposition.value(metrics(admin_port(proxy)), "sluice_compressed_answers_total", coding=first) == 3,
                  what="the first readers and the last are counted")
            assert exposition.value(counted, "sluice_compressed_answers_total", coding=others[0]) == 1


def test_compression_leaves_nothing_behind():
    """Clients that leave in the middle, on routes that stop the provider then and on those that let it finish."""
    goes_on = threading.Event()

    def script(connection, request):
        connection.sendall(HEAD + chunk(event({"content": "a"})))
        goes_on.wait(20)
        connection.sendall(chunk(event({"content": "b"}) + DONE) + b"0\r\n\r\n")

    with Peer(script) as peer:
        values = compressing(peer.url, admin={"address": "127.0.0.1:0"})
        values["routes"][0]["on_disconnect"] = "drain"
        with Sluice(values) as proxy:
            admin = admin_port(proxy)
            held = lambda: exposition.value(metrics(admin), "sluice_buffer_memory_bytes")
            for coding in CODINGS * 2:
                answers = [H1(proxy.port, path, coding) for path in ("/text", "/sse-json") for _ in range(8)]
                for answer in answers:
                    answer.until(lambda a: b"a" in a.text, "the first token")
                most = held()
                for answer in answers[::2]:
                    reset(answer.connection)
                for answer in answers[1::2]:
                    answer.close()
                until(lambda: held() < most / 2, what="the compressors' memory comes back")
            print(f"  16 streams hold {int(most) >> 10} KiB, and {int(held()) >> 10} KiB when their clients have left")
            goes_on.set()
            until(lambda: len(proxy.exchanges()) == 64, what="the providers have finished")
            assert {entry["end"] for entry in proxy.exchanges()} == {"client_gone"}, proxy.exchanges()
