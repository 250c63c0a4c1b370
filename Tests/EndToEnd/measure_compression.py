"""What compression saves and costs: bytes of bodies, processor time for a token, memory for a stream. Not a test: run it by hand,

    SLUICE_BIN=.build/release/sluice .build/venv/bin/python Tests/EndToEnd/measure_compression.py
"""

import json
import os
import pathlib
import threading
import time

import exposition
from compressed import CODINGS, H1
from harness import DONE, HEAD, Peer, Sluice, chunk, config, connect, event, request_bytes, until
from test_operator import admin_port, metrics

FIXTURES = pathlib.Path(__file__).parent.parent / "Fixtures"
RECORDED = (("openai-chat/deepseek-utf8-long.sse", "openai-chat"), ("anthropic-messages/thinking.sse", "anthropic-messages"))
FORMATS = ("passthrough", "vercel-ui", "sse-json", "ndjson", "sse-text", "text")


def events(name):
    return [part + b"\n\n" for part in (FIXTURES / name).read_bytes().replace(b"\r\n", b"\n").split(b"\n\n") if part]


def paced(parts, gap):
    """Each event in a read of its own, as providers send them."""
    def script(connection, request):
        connection.sendall(HEAD)
        for part in parts:
            connection.sendall(chunk(part))
            time.sleep(gap)
        connection.sendall(b"0\r\n\r\n")
    return script


def sizes():
    for name, dialect in RECORDED:
        parts = events(name)
        with Peer(paced(parts, 0.003)) as peer:
            values = config(peer.url.removesuffix("/v1"), compress=["gzip", "br"], upstream={"dialect": dialect})
            values["routes"] = [
                {"path": f"/{found}", "request": "passthrough" if found == "passthrough" else "prompt", "response": found,
                 "upstream": "u", "upstream_path": "/x"} for found in FORMATS]
            for route in values["routes"]:
                if route["request"] == "prompt":
                    route["model"] = "m"
            with Sluice(values) as proxy:
                print(f"{name}, {len(parts)} events; bytes of the body, and how many times less:")
                for found in FORMATS:
                    body = None if found == "passthrough" else {"prompt": "hi"}
                    plain, *rest = [H1(proxy.port, f"/{found}", coding, body=body).read() for coding in (None, *CODINGS)]
                    assert plain.status == 200 and all(answer.text == plain.text or found == "vercel-ui" for answer in rest)
                    print(f"  {found:12} {len(plain.coded):6}" + "".join(
                        f"   {coding} {len(answer.coded):6} {len(answer.text) / len(answer.coded):5.2f}"
                        for coding, answer in zip(CODINGS, rest)))


def seconds(proxy):
    with open(f"/proc/{proxy.process.pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def costs(streams=20, tokens=3_000):
    parts = [event({"content": f" word{index % 700}"}) for index in range(tokens)] + [DONE]
    print(f"processor time of the proxy for a token, {streams} streams of {tokens} tokens at 1 ms, response: openai-chat:")
    base = None
    for coding in (None, *CODINGS):
        with Peer(paced(parts, 0.001)) as peer, Sluice(config(peer.url, compress=["gzip", "br"])) as proxy:
            before = seconds(proxy)
            answers = [H1(proxy.port, "/openai-chat", coding) for _ in range(streams)]
            readers = [threading.Thread(target=answer.read) for answer in answers]
            for reader in readers:
                reader.start()
            for reader in readers:
                reader.join()
            assert all(answer.is_whole for answer in answers)
            spent = (seconds(proxy) - before) / streams / tokens * 1e6
            base = base or spent
            print(f"  {coding or 'plain':6} {spent:5.1f} us" + (f", {spent - base:+.1f}" if coding else ""))


def memory(streams=400):
    print(f"memory of a stream that is under way, {streams} of them, 60 tokens into it:")
    for coding in (None, *CODINGS):
        goes_on = threading.Event()

        def script(connection, request):
            connection.sendall(HEAD)
            for index in range(60):
                connection.sendall(chunk(event({"content": f" word{index}"})))
            goes_on.wait(120)
            connection.sendall(chunk(DONE) + b"0\r\n\r\n")

        with Peer(script) as peer:
            values = config(peer.url, compress=["gzip", "br"], admin={"address": "127.0.0.1:0"},
                            limits={"buffered_bytes": "2GiB"})
            with Sluice(values) as proxy:
                admin = admin_port(proxy)
                H1(proxy.port, "/openai-chat", coding).until(lambda a: b"word59" in a.text, "60 tokens")
                rss = proxy.resident_kib()
                held = exposition.value(metrics(admin), "sluice_buffer_memory_bytes")
                answers = [H1(proxy.port, "/openai-chat", coding) for _ in range(streams)]
                for answer in answers:
                    answer.until(lambda a: b"word59" in a.text, "60 tokens")
                grown = proxy.resident_kib() - rss
                counted = (exposition.value(metrics(admin), "sluice_buffer_memory_bytes") - held) / 1024
                print(f"  {coding or 'plain':6} {counted / streams:6.1f} KiB counted, {grown / streams:6.1f} KiB resident")
                goes_on.set()


if __name__ == "__main__":
    sizes()
    costs()
    memory()
