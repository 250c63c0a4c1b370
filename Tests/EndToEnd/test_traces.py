"""OTLP traces: what is told of an exchange, that the trace is whole, and that a collector in trouble troubles nobody."""

import json
import os
import re
import signal
import socket
import ssl
import struct
import threading
import time

import chain_world
from harness import (CHAT, HEAD, TOKENS, Peer, chunk, config, connect, drain, event, fetch, request_bytes, stream, until,
                     wait_closed)
from http2_peer import connect_http2
from http2_world import certificates
from resume_world import metrics
from retry_world import USUAL, WHOLE, closed_port, first, last, status
from test_life import activated
from test_upgrade import Upgradable, upgrade
from trace_world import CLIENT, INTERNAL, SERVER, SOON, Collector, admin_config, traced

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def context(flags="01"):
    return f"traceparent: 00-{TRACE}-{PARENT}-{flags}"


def sent_parents(peer):
    """The trace, the parent and the flags that each request to the upstream named."""
    found = [re.search(rb"traceparent: 00-(\w{32})-(\w{16})-(\w\w)\r\n", each) for each in peer.requests]
    return [tuple(part.decode() for part in each.groups()) if each else None for each in found]


def with_usage(connection, request=None):
    usage = (b'data: {"id":"chatcmpl-1","model":"m-2026","choices":[],'
             b'"usage":{"prompt_tokens":7,"completion_tokens":9,"prompt_tokens_details":{"cached_tokens":3}}}\n\n')
    connection.sendall(HEAD + chunk(event({"role": "assistant", "content": ""})))
    time.sleep(0.15)
    for token in TOKENS:
        connection.sendall(chunk(event({"content": token})))
        time.sleep(0.03)
    connection.sendall(chunk(event({}, "stop") + usage + b"data: [DONE]\n\n") + b"0\r\n\r\n")


SECRETS = ("hush-prompt", "Hello", "sk-canary-own", "sk-canary-client", "collector-secret")


def test_a_stream_is_a_span_with_its_attempt_inside():
    body = {**CHAT, "max_tokens": 64, "temperature": 0.25, "messages": [{"role": "user", "content": "hush-prompt"}]}
    for variables in ({}, {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, {"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"},
                      {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                       "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "gzip"}):
        variables |= {"OTEL_EXPORTER_OTLP_HEADERS": "x-key=collector%2Dsecret, authorization=Bearer%20t",
                      "OTEL_SERVICE_NAME": "ünit", "OTEL_RESOURCE_ATTRIBUTES": "service.name=no,a.b=c%2Cd,host.name=h"}
        with Peer(with_usage) as peer, Collector() as collector, traced(collector, config(peer.url), **variables) as proxy:
            reply = fetch(proxy.port, "/text?key=sk-canary-client", body, headers=["Authorization: Bearer sk-canary-client"])
            assert reply.complete and reply.body == WHOLE
            over = time.time_ns()
            server, (attempt,) = collector.one_trace()
            path, headers = collector.requests[0]
            assert path == "/v1/traces" and headers["x-key"] == "collector-secret" and headers["authorization"] == "Bearer t"
            assert headers["user-agent".title()].startswith("sluice/")
            assert server.resource["service.name"] == "ünit" and server.resource["a.b"] == "c,d"
            assert server.resource["host.name"] == "h" and server.resource["process.pid"] == proxy.process.pid
            assert server.resource["service.version"] and server.resource["telemetry.sdk.name"] == "sluice"

            told = server.attributes
            assert server.name == "POST /text" and server.kind == SERVER and server.parent == "" and not server.failed
            assert told["http.request.method"] == "POST" and told["http.route"] == "/text", told
            assert told["url.path"] == "/text" and told["url.scheme"] == "http" and told["http.response.status_code"] == 200
            assert told["server.address"] == "localhost" and told["client.address"] == "127.0.0.1"
            assert told["network.protocol.version"] == "1.1" and told["sluice.end"] == "done" and "error.type" not in told

            told = attempt.attributes
            assert attempt.name == "chat m" and attempt.kind == CLIENT and not attempt.failed
            assert told["gen_ai.operation.name"] == "chat" and told["gen_ai.provider.name"] == "openai", told
            assert told["gen_ai.request.model"] == "m" and told["gen_ai.request.stream"] is True
            assert told["gen_ai.request.max_tokens"] == 64 and told["gen_ai.request.temperature"] == 0.25
            assert told["gen_ai.response.id"] == "chatcmpl-1" and told["gen_ai.response.model"] == "m"
            assert told["gen_ai.response.finish_reasons"] == ["stop"], told
            assert told["gen_ai.usage.input_tokens"] == 7 and told["gen_ai.usage.output_tokens"] == 9
            assert told["gen_ai.usage.cache_read.input_tokens"] == 3
            assert told["server.address"] == "127.0.0.1" and told["server.port"] == peer.port
            assert told["http.response.status_code"] == 200 and told["sluice.upstream"] == "u"
            assert 0.1 < told["gen_ai.response.time_to_first_chunk"] < 20
            token = attempt.events["sluice.first_token"]
            assert abs(token - attempt.start - told["gen_ai.response.time_to_first_chunk"] * 1e9) < 1e6
            # It ends with the stream's last byte, and not with its head; and the clock is that of the wall.
            assert attempt.end - token > 0.1e9 and server.end - server.start > 0.25e9
            assert over - 30e9 < server.start < server.end <= over + 5e9

            line = last(proxy)
            assert (line["trace_id"], line["span_id"]) == (server.trace, server.id) and "parent_id" not in line
            assert sent_parents(peer) == [(attempt.trace, attempt.id, "03")] and server.flags & 3 == 3
            assert not any(secret in repr(collector.spans) for secret in SECRETS)


def test_steps_of_a_chain_stand_below_its_span():
    answers = iter([lambda connection: connection.sendall(status(503)),
                    lambda connection: chain_world.play(connection, chain_world.anthropic(["paws"]))])
    with chain_world.Provider(lambda connection, _: next(answers)(connection)) as one, \
            chain_world.Provider(chain_world.openai(["Cats ", "have."], usage=(6, 3))) as two, Collector() as collector:
        again = {"retries": {"attempts": 1, "backoff": "10ms", "on": ["503"]}}
        settings = chain_world.settings({"one": (one, "anthropic-messages", again), "two": two})
        with traced(collector, settings) as proxy:
            assert fetch(proxy.port, "/sse-text?prompt=hush-prompt").complete
            spans = {each.id: each for each in collector.wait(5)}
            server = next(each for each in spans.values() if each.kind == SERVER)
            below = sorted((each for each in spans.values() if each.parent == server.id), key=lambda each: each.start)
            step, answer = below
            attempts = sorted((each for each in spans.values() if each.parent == step.id), key=lambda each: each.start)
            print(f"  {server.name}: {[each.name for each in below]}; {step.name}: {[each.name for each in attempts]}")
            assert (step.kind, step.name) == (INTERNAL, "outline") and answer.kind == CLIENT and answer.name == "chat large"
            assert [(each.kind, each.name, each.failed) for each in attempts] == [
                (CLIENT, "chat small", True), (CLIENT, "chat small", False)], attempts
            # One after the other, each within the one above it.
            assert attempts[0].end <= attempts[1].start and step.end <= answer.start
            assert all(server.encloses(each) for each in below) and all(step.encloses(each) for each in attempts)
            assert len({each.trace for each in spans.values()}) == 1 and server.parent == ""
            assert [parent[1] for parent in sent_parents(one) + sent_parents(two)] == [each.id for each in (*attempts, answer)]
            told = attempts[1].attributes
            assert told["gen_ai.response.id"] == "msg_1" and told["gen_ai.request.stream"] is True, told
            assert answer.attributes["gen_ai.usage.input_tokens"] == 6 and "hush-prompt" not in repr(collector.spans)


def test_a_trace_that_comes_is_gone_on_with():
    with Peer(lambda c, r: stream(c)) as peer, Collector() as collector, traced(collector, config(peer.url)) as proxy:
        state = ["tracestate: a=1,b=2", "tracestate: c=3"]
        for number, path in enumerate(("/text", "/v1/chat/completions"), 1):
            assert fetch(proxy.port, path, CHAT, headers=[context(), *state]).complete
            spans = collector.wait(2 * number)[-2:]
            attempt, server = sorted(spans, key=lambda each: -each.kind)
            assert server.trace == attempt.trace == TRACE and server.parent == PARENT and attempt.parent == server.id
            assert server.state == "a=1,b=2,c=3" and server.flags & 0x301 == 0x301 and attempt.flags & 0x301 == 0x101
            assert sent_parents(peer)[-1] == (TRACE, attempt.id, "01")
            assert peer.requests[-1].count(b"tracestate: a=1,b=2,c=3\r\n") == 1
            line = last(proxy, number)
            assert (line["trace_id"], line["span_id"], line["parent_id"]) == (TRACE, server.id, PARENT)
        # A relayed stream is one of a model too.
        assert attempt.attributes["gen_ai.response.finish_reasons"] == ["stop"] and attempt.name == "chat"
        # What is no trace is not gone on with, and neither is what was noted of it.
        fetch(proxy.port, "/text", CHAT, headers=["traceparent: 00-nonsense-01", *state])
        server = [each for each in collector.wait(6)[-2:] if each.kind == SERVER][0]
        assert server.trace != TRACE and server.parent == "" and b"tracestate" not in peer.requests[-1]


def test_samplers():
    spec = "OTEL_TRACES_SAMPLER"
    cases = [  # the sampler, its argument, what a client without a trace, with a sampled one and with another one gets
        ("always_on", None, (1, 1, 1)), ("always_off", None, (0, 0, 0)), ("parentbased_always_on", None, (1, 1, 0)),
        ("parentbased_always_off", None, (0, 1, 0)), ("traceidratio", "0", (0, 0, 0)),
        ("parentbased_traceidratio", "0.0", (0, 1, 0)), ("PARENTBASED_TRACEIDRATIO", "1", (1, 1, 0)),
        ("traceidratio", "none", (1, 1, 1)), ("nonsense", None, (1, 1, 0)),
    ]
    with Peer(lambda c, r: stream(c)) as peer:
        for name, argument, wanted in cases:
            more = {} if argument is None else {"OTEL_TRACES_SAMPLER_ARG": argument}
            with Collector() as collector, traced(collector, config(peer.url), **{spec: name}, **more) as proxy:
                del peer.requests[:]
                for headers in ([], [context()], [context("00")]):
                    assert fetch(proxy.port, "/text", CHAT, headers=headers).complete
                parents = sent_parents(peer)
                assert [int(flags, 16) & 1 for _, _, flags in parents] == list(wanted), (name, parents)
                assert [trace == TRACE for trace, _, _ in parents] == [False, True, True]
                proxy.process.send_signal(signal.SIGTERM)
                proxy.process.wait(20)
                assert len(collector.spans) == 2 * sum(wanted), (name, collector.spans)
                if name == "nonsense" or argument == "none":
                    assert any(e["event"] == "environment" and "OTEL_TRACES_SAMPLER" in e["error"] for e in proxy.log)


def test_each_repetition_is_an_attempt():
    script = first(lambda c: c.sendall(status(503)), lambda c: c.sendall(status(429)))
    with Peer(script) as ill, Peer(lambda c, r: stream(c)) as well, Collector() as collector:
        spec = config(well.url)
        spec["upstreams"] = {
            "ill": {"url": ill.url, "dialect": "openai-chat", "retries": {**USUAL, "attempts": 1, "on": [429, 503]}},
            "well": {"url": well.url, "dialect": "openai-chat"}}
        spec["routes"] = [{"path": "/x", "request": "openai-chat", "response": "text", "upstream": ["ill", "well"]}]
        with traced(collector, spec) as proxy:
            assert fetch(proxy.port, "/x", CHAT).body == WHOLE
            server, attempts = collector.one_trace(3)
            assert [each.attributes["sluice.upstream"] for each in attempts] == ["ill", "ill", "well"]
            assert [each.attributes.get("error.type") for each in attempts] == ["503", "429", None], attempts
            assert [each.failed for each in attempts] == [True, True, False] and not server.failed
            assert [each.attributes.get("http.request.resend_count") for each in attempts] == [None, 1, 2]
            assert [each.attributes["http.response.status_code"] for each in attempts] == [503, 429, 200]
            assert "gen_ai.response.time_to_first_chunk" not in attempts[0].attributes
            assert server.attributes["sluice.retries"] == 2 and server.attributes["http.response.status_code"] == 200
            assert [parent for _, parent, _ in sent_parents(ill) + sent_parents(well)] == [each.id for each in attempts]


def cut(connection, request=None):
    connection.sendall(HEAD + chunk(event({"content": "Hello"})))
    return "close"


def test_what_went_wrong_is_told():
    def answer(connection, request):
        body = json.loads(request.split(b"\r\n\r\n", 1)[1])
        return {"cut": cut, "busy": lambda c: c.sendall(status(429)), "broken": lambda c: c.sendall(status(500))}[
            body["model"]](connection)

    with Peer(answer) as peer, Collector() as collector:
        with traced(collector, config(peer.url, upstream={"retries": {"attempts": 0}})) as proxy:
            wanted = {  # status, error.type, failure of the server's span; error.type of the attempt's
                "cut": (200, "eof", "eof", "eof"), "busy": (429, None, "", "429"),
                "broken": (502, "500", "upstream_status", "500")}
            for number, (model, (code, kind, failure, other)) in enumerate(wanted.items(), 1):
                reply = fetch(proxy.port, "/sse-text", {**CHAT, "model": model})
                assert reply.status == code
                pair = collector.wait(2 * number)[-2:]
                server, attempt = sorted(pair, key=lambda each: each.kind)
                assert server.attributes["http.response.status_code"] == code and server.encloses(attempt)
                assert server.attributes.get("error.type") == kind and server.failure == failure, server
                assert server.failed == bool(failure) and attempt.failed and attempt.attributes["error.type"] == other
            # Nobody was asked anything: there is no attempt.
            assert fetch(proxy.port, "/nowhere", CHAT).status == 404
            server = collector.wait(7)[-1]
            assert server.name == "POST" and "http.route" not in server.attributes and not server.failed
            assert server.attributes["sluice.end"] == "no_route"


def test_who_leaves_is_no_failure():
    def endless(connection, request):
        connection.sendall(HEAD + chunk(event({"content": "Hello"})))
        wait_closed(connection, 20)
        return "close"

    with Peer(endless) as peer, Collector() as collector, traced(collector, config(peer.url)) as proxy:
        client = connect(proxy.port)
        client.sendall(request_bytes("/text", CHAT))
        assert client.recv(65536)
        time.sleep(0.1)
        assert not collector.spans
        client.close()
        server, (attempt,) = collector.one_trace()
        for span in (server, attempt):
            assert span.attributes["sluice.end"] == "client_gone" and not span.failed, span
            assert "error.type" not in span.attributes and span.end - span.start > 0.1e9


def test_nothing_is_made_unless_asked_for():
    with Peer(lambda c, r: stream(c)) as peer, Collector() as collector:
        for variables in ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, {"OTEL_TRACES_EXPORTER": "none"}, {"OTEL_SDK_DISABLED": "TRUE"}):
            with traced(collector, config(peer.url), **variables) as proxy:
                del peer.requests[:]
                assert fetch(proxy.port, "/text", CHAT).complete
                assert sent_parents(peer) == [None] and "trace_id" not in last(proxy)
                assert not any(name == "traces" for name in threads(proxy))
        with traced(collector, config(peer.url, tracing="off")) as proxy:
            assert fetch(proxy.port, "/text", CHAT).complete and sent_parents(peer)[-1] is None
        assert collector.connections == 0


def threads(proxy):
    folder = f"/proc/{proxy.process.pid}/task"
    return [open(f"{folder}/{task}/comm").read().strip() for task in os.listdir(folder)]


def test_the_file_goes_before_the_variables():
    with Peer(lambda c, r: stream(c)) as peer, Collector() as collector, Collector() as other:
        tracing = {"endpoint": f"http://127.0.0.1:{collector.port}/own", "protocol": "http/json", "headers": {"x-a": "b"}}
        with traced(other, admin_config(peer.url, tracing=tracing), OTEL_EXPORTER_OTLP_HEADERS="x-c=d",
                    OTEL_TRACES_EXPORTER="none") as proxy:
            fetch(proxy.port, "/text", CHAT)
            collector.wait(2)
            path, headers = collector.requests[0]
            assert path == "/own" and headers["x-a"] == "b" and "x-c" not in headers
            assert headers["Content-Type"] == "application/json"
            # A reload sends what follows elsewhere; what was on its way arrives.
            spec = admin_config(peer.url, tracing={"sample": 1})
            proxy.write(spec)
            proxy.process.send_signal(signal.SIGHUP)
            until(lambda: [e for e in proxy.log if e["event"] == "reloaded"], what="the reload")
            fetch(proxy.port, "/text", CHAT)
            other.wait(2)
            assert other.requests[0][1]["x-c"] == "d" and len(collector.spans) == 2
            proxy.write({**spec, "tracing": "off"})
            proxy.process.send_signal(signal.SIGHUP)
            until(lambda: len([e for e in proxy.log if e["event"] == "reloaded"]) == 2, what="the second reload")
            fetch(proxy.port, "/text", CHAT)
            assert sent_parents(peer)[-1] is None
            assert metrics(proxy)["sluice_trace_spans_exported_total"] == 4


def test_a_variable_that_says_nothing_is_a_warning():
    variables = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_BSP_MAX_QUEUE_SIZE": "-1", "OTEL_EXPORTER_OTLP_TIMEOUT": "soon",
        "OTEL_EXPORTER_OTLP_HEADERS": "sk-canary%zz,x-good=1", "OTEL_PROPAGATORS": "b3,tracecontext",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": "/nowhere.pem", "OTEL_EXPORTER_OTLP_COMPRESSION": "zstd"}
    with Peer(lambda c, r: stream(c)) as peer, Collector() as collector:
        with traced(collector, config(peer.url), **variables) as proxy:
            assert fetch(proxy.port, "/text", CHAT).complete
            collector.wait(2)
            assert collector.requests[0][1]["x-good"] == "1"
            told = " ".join(e["error"] for e in proxy.log if e["event"] == "environment")
            for name in variables:
                assert name in told or name.endswith("CERTIFICATE"), (name, told)
            assert "canary" not in json.dumps(proxy.log)


def test_attributes_have_limits():
    variables = {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "4", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "3"}
    with Peer(lambda c, r: stream(c)) as peer, Collector() as collector:
        with traced(collector, config(peer.url), **variables) as proxy:
            assert fetch(proxy.port, "/text", CHAT).complete
            for span in collector.wait(2):
                assert len(span.attributes) == 4 and span.dropped_attributes > 4
                assert all(len(text) <= 3 for text in span.attributes.values() if isinstance(text, str))


def test_tls_and_a_certificate_of_our_own():
    with certificates() as made, Peer(lambda c, r: stream(c)) as peer:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(made.path("server.crt"), made.path("server.key"))
        server.load_verify_locations(made.path("ca.crt"))
        server.verify_mode = ssl.CERT_REQUIRED
        own = {"OTEL_EXPORTER_OTLP_CERTIFICATE": made.path("ca.crt"),
               "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": made.path("client.crt"),
               "OTEL_EXPORTER_OTLP_CLIENT_KEY": made.path("client.key")}
        with Collector(context=server) as collector:
            with traced(f"https://localhost:{collector.port}", config(peer.url), **own) as proxy:
                assert fetch(proxy.port, "/text", CHAT).complete
                collector.wait(2)
            # Without its CA it is nobody that secrets are told to.
            with traced(f"https://localhost:{collector.port}", config(peer.url)) as proxy:
                assert fetch(proxy.port, "/text", CHAT).complete
                until(lambda: [e for e in proxy.log if e["event"] == "traces_failed"], what="the failure is told")
            assert len(collector.requests) == 1


# A collector in trouble

def test_nobody_collects():
    spec = {"OTEL_BSP_MAX_QUEUE_SIZE": "20", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "4", "OTEL_BSP_EXPORT_TIMEOUT": "1"}
    with Peer(lambda c, r: stream(c)) as peer:
        with traced(f"http://127.0.0.1:{closed_port()}", admin_config(peer.url), **spec) as proxy:
            for _ in range(8):
                assert fetch(proxy.port, "/text", CHAT).body == WHOLE
            dropped = 'sluice_trace_spans_dropped_total{reason="failed"}'
            until(lambda: metrics(proxy)[dropped] == 16, what="all are dropped")
            figures = metrics(proxy)
            assert figures["sluice_trace_spans_exported_total"] == 0
            assert figures['sluice_trace_exports_total{result="error"}'] >= 4
            told = [e for e in proxy.log if e["event"] == "traces_failed"]
            assert len(told) == 1 and "127.0.0.1" in told[0]["endpoint"], told


def test_a_queue_that_is_full():
    """The collector takes the first request and says nothing: what finds no room is dropped, and no stream waits."""
    with Peer(lambda c, r: stream(c)) as peer, socket.create_server(("127.0.0.1", 0)) as silent:
        spec = {"OTEL_BSP_MAX_QUEUE_SIZE": "6", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "2"}
        with traced(f"http://127.0.0.1:{silent.getsockname()[1]}", admin_config(peer.url), **spec) as proxy:
            assert fetch(proxy.port, "/text", CHAT).body == WHOLE
            connection, _ = silent.accept()
            assert connection.recv(10)
            for _ in range(8):
                assert fetch(proxy.port, "/text", CHAT).body == WHOLE
            figures = metrics(proxy)
            assert figures['sluice_trace_spans_dropped_total{reason="queue_full"}'] == 10, figures
            assert figures["sluice_trace_spans_queued"] == 6
            # At the end it waits for this collector no longer than it says, and then says what is lost.
            began = time.monotonic()
            proxy.process.send_signal(signal.SIGTERM)
            assert proxy.process.wait(30) == 0 and time.monotonic() - began < 15
            lost = [e for e in proxy.log if e["event"] == "traces_lost"]
            assert lost and lost[0]["at_the_end"] == "8", proxy.log[-4:]
            connection.close()


def test_a_collector_that_wants_time():
    answers = [(503, {}), (429, {"Retry-After": "1"})]
    with Peer(lambda c, r: stream(c)) as peer, Collector(answers) as collector:
        with traced(collector, admin_config(peer.url)) as proxy:
            assert fetch(proxy.port, "/text", CHAT).complete
            collector.wait(2)
            assert len(collector.requests) == 3 and collector.connections == 1
            until(lambda: [e for e in proxy.log if e["event"] == "traces_recovered"], what="it is told")
            figures = metrics(proxy)
            assert figures['sluice_trace_exports_total{result="unavailable"}'] == 2
            assert figures['sluice_trace_exports_total{result="ok"}'] == 1
            assert figures["sluice_trace_spans_exported_total"] == 2


def test_a_collector_that_refuses():
    def partly(handler):
        # ExportTraceServiceResponse { partial_success { rejected_spans: 1 error_message: "no" } }
        collector.reply(handler, 200, body=b"\x0a\x06\x08\x01\x12\x02no")

    def cut_off(handler):
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.close_connection = True
        handler.connection.close()

    with Peer(lambda c, r: stream(c)) as peer, Collector([400, partly]) as collector:
        with traced(collector, admin_config(peer.url)) as proxy:
            def dropped(reason):
                return metrics(proxy)[f'sluice_trace_spans_dropped_total{{reason="{reason}"}}']

            fetch(proxy.port, "/text", CHAT)
            until(lambda: dropped("refused") == 2, what="what is refused is not sent again")
            fetch(proxy.port, "/text", CHAT)
            until(lambda: dropped("rejected") == 1, what="a part was taken")
            assert len(collector.requests) == 2
            assert metrics(proxy)["sluice_trace_spans_exported_total"] == 1
            # A connection that ends under a request is made anew.
            collector.answers.append(cut_off)
            fetch(proxy.port, "/text", CHAT)
            collector.wait(2)
            assert len(collector.requests) == 4 and collector.connections == 2


def test_what_waits_is_sent_at_the_end():
    """The usual delay is five seconds: the process ends before."""
    with Peer(lambda c, r: stream(c)) as peer, Collector([(503, {})]) as collector:
        with traced(collector, config(peer.url), OTEL_BSP_SCHEDULE_DELAY="60000") as proxy:
            assert fetch(proxy.port, "/text", CHAT).complete
            last(proxy)
            assert not collector.requests
            proxy.process.send_signal(signal.SIGTERM)
            assert proxy.process.wait(20) == 0
            collector.wait(2)
            assert [e["event"] for e in proxy.log][-1] == "stopped"
            assert not [e for e in proxy.log if e["event"] == "traces_lost"]


def test_who_takes_over_and_who_drains_tell_their_own():
    with Peer(lambda c, r: stream(c)) as peer, Collector() as collector:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "60000"}
        with Upgradable(config(peer.url), environment=environment) as proxy:
            assert fetch(proxy.port, "/text", CHAT).complete
            before, after = proxy.process.pid, upgrade(proxy)
            assert {each.resource["process.pid"] for each in collector.wait(2)} == {before}
            assert fetch(proxy.port, "/text", CHAT).complete
            until(lambda: len(proxy.exchanges()) == 2, what="the line of the second")
            os.kill(after, signal.SIGTERM)
            assert {each.resource["process.pid"] for each in collector.wait(4)[2:]} == {after}


def test_a_batch_is_no_larger_than_it_may_be():
    spec = {"OTEL_BSP_SCHEDULE_DELAY": "600", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "3"}
    with Peer(lambda c, r: stream(c)) as peer, Collector() as collector:
        sizes, keep = [], collector.keep

        def weigh(message):
            before = len(collector.spans)
            keep(message)
            sizes.append(len(collector.spans) - before)

        collector.keep = weigh
        with traced(collector, config(peer.url), **spec) as proxy:
            for _ in range(5):
                assert fetch(proxy.port, "/text", CHAT).complete
            collector.wait(10)
            assert max(sizes) <= 3 and sum(sizes) == 10 and collector.connections == 1, sizes


def test_what_is_no_chat_is_a_request():
    def models(connection, request):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")

    with Peer(models) as peer, Collector() as collector, traced(collector, config(peer.url)) as proxy:
        client = connect_http2(proxy.port)
        assert client.request("/v1/models?key=sk-canary-client", method="GET").wait_over(20).status == 200
        server, (attempt,) = collector.one_trace()
        assert server.attributes["network.protocol.version"] == "2" and server.attributes["url.path"] == "/v1/models"
        assert attempt.name == "GET" and attempt.attributes["http.request.method"] == "GET", attempt
        assert not any(name.startswith("gen_ai") for name in attempt.attributes) and not attempt.events
        assert "canary" not in repr(collector.spans)
        client.close()


def test_an_answer_that_outlives_its_client_is_told_at_its_own_end():
    def slow(connection, request):
        connection.sendall(HEAD + chunk(event({"content": TOKENS[0]})))
        left.wait(20)
        time.sleep(0.2)
        connection.sendall(chunk(event({}, "stop") + b"data: [DONE]\n\n") + b"0\r\n\r\n")

    left = threading.Event()
    with Peer(slow) as peer, Collector() as collector:
        spec = config(peer.url)
        spec["routes"] = [{"path": "/r", "request": "prompt", "response": "sse-text", "upstream": "u", "resume": {"grace": "20s"}}]
        with traced(collector, spec) as proxy:
            client = connect(proxy.port)
            client.sendall(request_bytes("/r", {"prompt": "x"}))
            assert client.recv(65536)
            client.close()
            gone = time.time_ns()
            left.set()
            server, (attempt,) = collector.one_trace()
            assert server.attributes["sluice.end"] == "done" and attempt.end > gone + 0.1e9, server
            # Who reads it again asks nobody: a span, and no attempt.
            name = last(proxy)["generation"]
            assert fetch(proxy.port, f"/r/{name}/stream").complete
            again = collector.wait(3)[-1]
            assert again.kind == SERVER and again.trace != server.trace


def test_the_first_spans_of_a_process_are_not_left_waiting():
    """Clients that came before the program are answered while the rest of it still starts."""
    count = 40
    for _ in range(6):
        listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        clients = [connect(listening.getsockname()[1]) for _ in range(count)]
        for client in clients:
            client.sendall(request_bytes("/nowhere", headers=["Connection: close"]))
        spec = config("http://127.0.0.1:1", listeners=[{"address": "systemd:http"}], workers=4)
        with Collector() as collector:
            environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, **SOON}
            with activated([listening], ["http"], spec, environment=environment):
                listening.close()
                for client in clients:
                    assert b" 404 " in drain(client)
                collector.wait(count)
