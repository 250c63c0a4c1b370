"""Answers that are whole before their requests are, over HTTP/2: a client that still sends gets all of them, and sends on in vain for a
bounded while."""

import json
import os
import subprocess
import tempfile

from harness import Peer, Sluice
from http2_peer import NO_ERROR, Gone, connect_http2


def locked(peer, folder):
    """A route that answers 401 as soon as it has the head."""
    path = os.path.join(folder, "secret")
    with open(path, "w") as file:
        file.write("s" * 40)
    route = {"path": "/text", "request": "openai-chat", "response": "text", "upstream": "u",
             "auth": {"jwt": {"algorithms": ["HS256"], "secret": {"file": path}}}}
    return {"listeners": [{"address": "127.0.0.1:0"}], "workers": 1,
            "upstreams": {"u": {"url": peer.url, "dialect": "openai-chat"}}, "routes": [route]}


def test_a_client_that_still_sends_gets_the_whole_answer():
    with Peer(lambda connection, request: None) as peer, tempfile.TemporaryDirectory() as folder, \
            Sluice(locked(peer, folder)) as proxy:
        for size in (10, 3_000, 100_000, 900_000):
            body = os.path.join(folder, "body")
            with open(body, "w") as file:
                json.dump({"messages": [{"role": "user", "content": "x" * size}]}, file)
            for _ in range(10):
                done = subprocess.run(
                    ["curl", "-sS", "--http2-prior-knowledge", "-w", "%{stderr}%{http_code}", "-H", "Content-Type: application/json",
                     "--data-binary", "@" + body, f"http://127.0.0.1:{proxy.port}/text"], capture_output=True, timeout=60)
                assert (done.returncode, done.stderr) == (0, b"401") and b"error" in done.stdout, (size, done)
        assert not peer.requests


def test_who_sends_on_is_told_to_stop():
    with Peer(lambda connection, request: None) as peer, tempfile.TemporaryDirectory() as folder, \
            Sluice(locked(peer, folder)) as proxy, connect_http2(proxy.port) as client:
        waits = client.request("/text", b"{", end=False)
        sends = client.request("/text", b"{", end=False)
        for stream in (waits, sends):
            stream.wait(lambda s: s.ended, "the answer")
            assert stream.status == 401, stream.fields
        sent = 0
        try:
            while sent < 8 << 20:
                sends.data(b"x" * 16_000)
                sent += 16_000
        except Gone:
            pass
        # What windows had let through by then comes on top of the MiB that is read.
        assert sends.reset == NO_ERROR and 900_000 < sent < 3 << 20, (sends.reset, sent)
        # The other one is not waited for without an end.
        waits.wait(lambda s: s.reset is not None, "told to stop", 20)
        assert waits.reset == NO_ERROR
        # The connection is as good as before.
        last = client.request("/text", b"{}").wait_over()
        assert last.status == 401 and last.complete
