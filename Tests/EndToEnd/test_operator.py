"""What an operator sees: metrics, access lines, health, the list of streams, and control."""

import ctypes
import json
import os
import signal
import socket
import subprocess
import threading
import time

import exposition
from harness import (BINARY, CHAT, DONE, HEAD, TOKENS, Peer, Reply, Sluice, chunk, config, connect, drain, event, fetch,
                     request_bytes, stream, until, wait_closed)

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def admin_port(proxy):
    def address():
        return [entry["address"] for entry in list(proxy.log) if entry["event"] == "admin_listening"]

    return int(until(address, what="the admin listens")[0].rsplit(":", 1)[1])


def operated(url, **changes):
    return config(url, admin={"address": "127.0.0.1:0"}, **changes)


def ask(port, path, method=None, headers=(), host="127.0.0.1"):
    connection = connect(port)
    method = method or "GET"
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
    connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
    reply = Reply(drain(connection))
    assert method == "HEAD" or reply.complete, reply.raw
    return reply


def ask_json(port, path, method=None, headers=()):
    reply = ask(port, path, method, headers)
    assert reply.headers["content-type"] == "application/json", reply.raw
    return reply.status, json.loads(reply.body)


def metrics(port, headers=()):
    reply = ask(port, "/metrics", headers=headers)
    assert reply.status == 200 and reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return exposition.parse(reply.body.decode())


def hold(connection, _):
    connection.sendall(HEAD + chunk(event({"content": "x"})))
    wait_closed(connection, 30)
    return "close"


def test_metrics_count_what_happened():
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":9}}\n\n'

    def script(connection, request):
        if b"fail" in request:
            connection.sendall(b"HTTP/1.1 429 X\r\nContent-Length: 0\r\n\r\n")
        elif b"cut" in request:
            connection.sendall(HEAD + chunk(event({"content": "x"})))
            return "close"
        else:
            connection.sendall(HEAD)
            for token in TOKENS:
                connection.sendall(chunk(event({"content": token})))
                time.sleep(0.03)
            connection.sendall(chunk(event({}, "stop") + usage + b"data: [DONE]\n\n") + b"0\r\n\r\n")

    with Peer(script) as peer, Sluice(operated(peer.url, workers=2)) as proxy:
        admin = admin_port(proxy)
        assert exposition.value(metrics(admin), "sluice_exchanges_total") == 0
        for _ in range(3):
            assert fetch(proxy.port, "/sse-json", {**CHAT, "model": "gpt-x"}).complete
        assert fetch(proxy.port, "/text", {**CHAT, "model": "fail"}).status == 429
        fetch(proxy.port, "/text", {**CHAT, "model": "cut"})
        assert fetch(proxy.port, "/nowhere").status == 404
        until(lambda: len(proxy.exchanges()) == 6)
        now = metrics(admin)

        def value(name, **labels):
            return exposition.value(now, name, **labels)

        own = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "openai", "gen_ai_request_model": "gpt-x",
               "server_address": "127.0.0.1", "server_port": str(peer.port), "upstream": "u"}
        assert value("gen_ai_server_request_duration_seconds_count", **own) == 3
        assert value("gen_ai_server_request_duration_seconds_count", error_type="429") == 1
        assert value("gen_ai_server_request_duration_seconds_count", error_type="eof") == 1
        assert value("gen_ai_server_time_to_first_token_seconds_count") == 3
        assert value("gen_ai_server_time_per_output_token_seconds_count", **own) == 3
        assert value("gen_ai_client_token_usage_sum", gen_ai_token_type="input", **own) == 21
        assert value("gen_ai_client_token_usage_sum", gen_ai_token_type="output", **own) == 27
        assert value("sluice_stream_largest_gap_seconds_count", **own) == 3
        assert value("sluice_stream_largest_gap_seconds_sum", **own) >= 0.09
        assert value("sluice_requests_total", route="/sse-json", status="200") == 3
        assert value("sluice_requests_total", route="/text", status="429") == 1
        assert value("sluice_requests_total", route="", status="404") == 1
        assert value("sluice_streams_ended_total", route="/sse-json", upstream="u", format="sse-json", reason="done") == 3
        assert value("sluice_streams_ended_total", reason="eof") == 1
        assert value("sluice_streams_ended_total", reason="upstream_status") == 1
        assert value("sluice_streams_ended_total", reason="no_route") == 1
        assert value("sluice_exchanges_total") == 6 and value("sluice_output_tokens_total", route="/sse-json") == 27
        assert value("sluice_sent_bytes_total") == sum(entry["bytes_sent"] for entry in proxy.exchanges())
        assert value("sluice_streams_active") == 0 and value("sluice_buffered_bytes") == 0
        assert value("sluice_workers") == 2 and value("sluice_workers_unresponsive") == 0
        assert value("sluice_upstream_healthy", upstream="u") == 1
        assert value("sluice_build_info") == 1 and value("sluice_config_last_reload_successful") == 1
        assert abs(value("process_start_time_seconds") - time.time()) < 600
        assert value("process_resident_memory_bytes") > 1 << 20 and value("process_cpu_seconds_total") > 0
        descriptors = len(os.listdir(f"/proc/{proxy.process.pid}/fd"))
        assert abs(value("process_open_fds") - descriptors) <= 3


def test_models_that_clients_make_up_have_no_series():
    with Peer(lambda c, r: stream(c, ["x"])) as peer, Sluice(operated(peer.url)) as proxy:
        admin = admin_port(proxy)
        connection = connect(proxy.port)
        for number in range(130):
            connection.sendall(request_bytes("/text", {**CHAT, "model": f"made-up-{number}"}))
            data = b""
            while not data.endswith(b"0\r\n\r\n"):
                data += connection.recv(65536)
        connection.close()
        now = metrics(admin)
        names = {dict(labels).get("gen_ai_request_model")
                 for _, labels in now["gen_ai_server_request_duration_seconds"].samples}
        assert len(names) == 101 and "other" in names, len(names)
        assert exposition.value(
            now, "gen_ai_server_request_duration_seconds_count", gen_ai_request_model="other") == 30


def test_failover_and_ejection_show():
    def broken(connection, request):
        connection.sendall(b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n")

    with Peer(broken) as ill, Peer(lambda c, r: stream(c)) as well:
        settings = operated(well.url)
        settings["upstreams"]["u"] = {"urls": [ill.url, well.url], "dialect": "openai-chat", "balance": "round_robin",
                                      "outlier": {"consecutive_failures": 1, "ejection": "60s"}}
        settings["upstreams"]["ill"] = {"url": ill.url, "dialect": "openai-chat"}
        settings["routes"].append({"path": "/over", "request": "openai-chat", "response": "text", "upstream": ["ill", "u"]})
        with Sluice(settings) as proxy:
            admin = admin_port(proxy)
            until(lambda: fetch(proxy.port, "/text", CHAT) and exposition.value(
                metrics(admin), "sluice_upstream_ejected", address=f"127.0.0.1:{ill.port}") == 1)
            assert fetch(proxy.port, "/over", CHAT).complete
            now = until(lambda: exposition.value(now := metrics(admin), "sluice_retries_total", route="/over") and now)
            assert exposition.value(now, "sluice_upstream_ejected", address=f"127.0.0.1:{well.port}") == 0
            assert exposition.value(now, "sluice_upstream_healthy", upstream="u") == 2
            assert exposition.value(now, "sluice_ejections_total") == 1 and exposition.value(now, "sluice_failovers_total") == 1
            line = until(lambda: [entry for entry in proxy.exchanges() if entry["route"] == "/over"])[0]
            assert line["end"] == "done" and line["upstream"] == "u" and "upstream_error" not in line, line


def test_a_client_that_leaves_is_measured():
    with Peer(hold) as peer, Sluice(operated(peer.url)) as proxy:
        admin = admin_port(proxy)
        for turn in range(5):
            connection = connect(proxy.port)
            connection.sendall(request_bytes("/text", CHAT))
            assert b"x" in connection.recv(65536)
            until(lambda: exposition.value(metrics(admin), "sluice_streams_active", route="/text") == 1)
            connection.close()
            until(lambda: len(proxy.exchanges()) == turn + 1)
        assert all(0 <= entry["cancel_ms"] < 250 and entry["end"] == "client_gone" for entry in proxy.exchanges())
        assert exposition.value(metrics(admin), "sluice_cancel_latency_seconds_count") == 5


def test_access_lines_and_traces():
    def script(connection, request):
        connection.sendall(HEAD)
        for token, gap in (("a", 0.05), ("b", 0.3), ("c", 0.0)):
            connection.sendall(chunk(event({"content": token})))
            time.sleep(gap)
        connection.sendall(chunk(DONE) + b"0\r\n\r\n")

    with Peer(script) as peer, Sluice(operated(peer.url)) as proxy:
        for path in ("/text", "/v1/chat/completions"):
            headers = [f"traceparent: {TRACE}", "tracestate: a=b", "x-request-id: my-id"]
            reply = fetch(proxy.port, path, {**CHAT, "model": "gpt-x"}, headers=headers)
            assert reply.complete and reply.headers["x-request-id"] == "my-id"
            line = until(lambda: [e for e in proxy.exchanges() if e["path"] == path])[0]
            sent = peer.requests[-1].decode().lower()
            assert sent.count("traceparent:") == 1 and f"{TRACE[:36]}{line['span_id']}-01" in sent
            assert "tracestate: a=b" in sent and "x-request-id: my-id" in sent
            assert line["trace_id"] == TRACE[3:35] and line["parent_id"] == TRACE[36:52] != line["span_id"]
            assert line["protocol"] == "h1" and line["request_id"] == "my-id" and line["end"] == "done"
            assert 250 <= line["largest_gap_ms"] < 5000 and line["tokens_per_second"] > 0, line
        assert proxy.exchanges()[0]["model"] == "gpt-x"
        fetch(proxy.port, "/text", CHAT, headers=["traceparent: 00-nonsense-01", "tracestate: a=b"])
        assert b"trace" not in peer.requests[-1].lower()
        assert "trace_id" not in until(lambda: proxy.exchanges()[2:])[0]


def test_http2_has_its_name():
    with Peer(lambda c, r: stream(c)) as peer, Sluice(operated(peer.url)) as proxy:
        subprocess.run(["curl", "-sS", "--http2-prior-knowledge", f"http://127.0.0.1:{proxy.port}/text", "-d",
                        json.dumps(CHAT)], check=True, capture_output=True, timeout=20)
        assert until(lambda: proxy.exchanges())[0]["protocol"] == "h2"


def test_health():
    with Peer(hold) as peer, Sluice(operated(peer.url, workers=2)) as proxy:
        admin = admin_port(proxy)
        assert ask_json(admin, "/livez") == (200, {"status": "ok", "workers": 2})
        assert ask_json(admin, "/readyz") == (200, {"status": "ready"})
        assert ask(admin, "/readyz", "HEAD").body == b""
        live = connect(proxy.port)
        live.sendall(request_bytes("/text", CHAT))
        live.recv(65536)
        assert ask_json(admin, "/drain", "POST") == (202, {"status": "draining"})
        assert until(lambda: ask_json(admin, "/readyz")[0] == 503)
        assert ask_json(admin, "/readyz")[1]["reasons"] == ["draining"]
        assert ask_json(admin, "/livez")[0] == 200
        # A worker whose last client has gone is over, and what it counted stays.
        assert exposition.value(metrics(admin), "sluice_draining") == 1
        live.close()
        assert proxy.process.wait(10) == 0


def test_a_loop_that_hangs_is_told():
    with Peer(lambda c, r: stream(c)) as peer, Sluice(operated(peer.url, workers=2)) as proxy:
        admin = admin_port(proxy)
        for _ in range(4):
            assert fetch(proxy.port, "/text", CHAT).complete
        until(lambda: exposition.value(metrics(admin), "sluice_exchanges_total") == 4)
        tasks = f"/proc/{proxy.process.pid}/task"
        worker = next(int(task) for task in os.listdir(tasks)
                      if open(f"{tasks}/{task}/comm").read() == "worker-1\n")
        libc = ctypes.CDLL(None, use_errno=True)
        seize, interrupt, detach = 0x4206, 0x4207, 17
        if libc.ptrace(seize, worker, None, None) != 0:
            print("  skipped: no thread may be stopped here:", os.strerror(ctypes.get_errno()))
            return
        assert libc.ptrace(interrupt, worker, None, None) == 0
        os.waitpid(worker, 0x40000000)
        assert ask_json(admin, "/livez") == (503, {"status": "stuck", "workers": [1]})
        now = metrics(admin)
        # What it told last counts on, so that no counter falls.
        assert exposition.value(now, "sluice_workers_unresponsive") == 1
        assert exposition.value(now, "sluice_exchanges_total") == 4
        assert ask_json(admin, "/streams")[1]["workers_missing"] == [1]
        assert libc.ptrace(detach, worker, None, None) == 0
        until(lambda: ask_json(admin, "/livez")[0] == 200)
        assert exposition.value(metrics(admin), "sluice_workers_unresponsive") == 0


def test_streams_are_listed_and_cancelled():
    gone = []

    def script(connection, request):
        hold(connection, request)
        gone.append(1)
        return "close"

    with Peer(script) as peer, Sluice(operated(peer.url, workers=2)) as proxy:
        admin = admin_port(proxy)
        clients = []
        for path in ("/sse-json", "/text", "/openai-chat"):
            connection = connect(proxy.port)
            connection.sendall(request_bytes(path, {**CHAT, "model": "gpt-x"}, headers=[f"x-request-id: r{path[1:]}",
                                                                                              "Connection: close"]))
            clients.append((connection, connection.recv(65536)))
        listed = ask_json(admin, "/streams")[1]
        assert listed["total"] == 3 and listed["workers_missing"] == []
        assert len(ask_json(admin, "/streams?limit=1")[1]["streams"]) == 1
        entry = next(e for e in listed["streams"] if e["route"] == "/sse-json")
        assert entry["request_id"] == "rsse-json" and entry["upstream"] == "u" and entry["client"] == "127.0.0.1"
        assert entry["state"] == "streaming" and entry["tokens"] == 1 and entry["model"] == "gpt-x"
        assert entry["age_ms"] >= 0 and entry["bytes_sent"] > 0 and entry["paused"] is False and entry["protocol"] == "h1"
        assert ask_json(admin, f"/streams/{entry['id']}/cancel", "POST") == (200, {"status": "cancelled"})
        reply = Reply(clients[0][1] + drain(clients[0][0]))
        assert b"event: error" in reply.body and b'"done"' not in reply.body, reply.raw
        until(lambda: gone, what="the upstream is cancelled")
        assert until(lambda: proxy.exchanges())[0]["end"] == "cancelled"
        assert ask_json(admin, f"/streams/{entry['id']}/cancel", "POST")[0] == 404
        assert ask_json(admin, "/streams/77-1/cancel", "POST")[0] == 404
        # Plain text has no words for it: the transfer is cut.
        entry = next(e for e in listed["streams"] if e["route"] == "/text")
        assert ask_json(admin, f"/streams/{entry['id']}/cancel", "POST")[0] == 200
        assert not Reply(clients[1][1] + drain(clients[1][0])).complete
        assert ask_json(admin, "/streams")[1]["total"] == 1
        clients[2][0].close()


def test_a_paused_stream_shows_its_buffer():
    data = chunk(b"".join(event({"content": "x" * 1000}) for _ in range(50)))

    def script(connection, request):
        connection.sendall(HEAD)
        while True:
            connection.sendall(data)

    with Peer(script) as peer, Sluice(operated(peer.url)) as proxy:
        admin = admin_port(proxy)
        connection = connect(proxy.port)
        connection.sendall(request_bytes("/text", CHAT))
        until(lambda: exposition.value(metrics(admin), "sluice_streams_paused", route="/text") == 1)
        now = metrics(admin)
        assert 1 << 15 < exposition.value(now, "sluice_buffered_bytes") < 1 << 20
        entry = ask_json(admin, "/streams")[1]["streams"][0]
        assert entry["paused"] and entry["buffered_bytes"] > 1 << 15
        connection.close()
        until(lambda: exposition.value(metrics(admin), "sluice_backpressure_pauses_total") >= 1)


def test_configuration_reload_and_logging():
    with Peer(lambda c, r: stream(c)) as peer:
        settings = operated(peer.url)
        with Sluice(settings) as proxy:
            admin = admin_port(proxy)
            shown = ask_json(admin, "/config")[1]
            assert shown["upstreams"][0]["api_key"] == "***" and shown["limits"]["connections"] == 10000
            assert [route["path"] for route in shown["routes"]][0] == {"exact": "/text"}
            proxy.write("routes: [\n")
            status, answer = ask_json(admin, "/reload", "POST")
            assert status == 422 and answer["status"] == "unchanged" and "sluice.json:" in answer["errors"][0]
            assert exposition.value(metrics(admin), "sluice_config_last_reload_successful") == 0
            settings["routes"].append({"path": "/new", "request": "openai-chat", "response": "text", "upstream": "u"})
            proxy.write(settings)
            assert ask_json(admin, "/reload", "POST") == (200, {"status": "reloaded"})
            until(lambda: fetch(proxy.port, "/new", CHAT).status == 200, what="the new route")
            now = metrics(admin)
            assert exposition.value(now, "sluice_config_reloads_total", result="failed") == 1
            assert exposition.value(now, "sluice_config_reloads_total", result="ok") == 1
            assert any(route["path"] == {"exact": "/new"} for route in ask_json(admin, "/config")[1]["routes"])
            assert not any(entry["level"] == "debug" for entry in proxy.log)
            assert ask_json(admin, "/logging?level=debug", "POST") == (200, {"level": "debug"})
            assert ask_json(admin, "/logging") == (200, {"level": "debug"})
            fetch(proxy.port, "/new", CHAT)
            until(lambda: any(entry["level"] == "debug" for entry in proxy.log))
            assert ask_json(admin, "/logging?level=error", "POST")[0] == 200
            lines = len(proxy.log)
            # The warning that says so is below the level that still holds.
            assert ask_json(admin, "/logging?level=warning", "POST")[0] == 200
            proxy.process.send_signal(signal.SIGHUP)
            until(lambda: exposition.value(metrics(admin), "sluice_config_reloads_total", result="ok") == 2)
            until(lambda: any(entry["event"] == "reloaded" for entry in proxy.log[lines:]))
            assert [entry["to"] for entry in proxy.log if entry["event"] == "log_level"] == ["debug", "error"]
            assert ask_json(admin, "/logging") == (200, {"level": "info"})


def test_who_may_ask():
    with Peer(lambda c, r: stream(c)) as peer:
        with Sluice(operated(peer.url)) as proxy:
            admin = admin_port(proxy)
            assert ask(admin, "/metrics", host="evil.example").status == 403
            assert ask(admin, "/drain", "POST", headers=["Origin: http://evil.example"]).status == 403
            assert ask(admin, "/drain").status == 405 and ask(admin, "/drain").headers["allow"] == "POST"
            assert ask(admin, "/nothing").status == 404
            assert fetch(proxy.port, "/metrics").status == 404  # never on a listener of clients
            # Not HTTP, too much, too slow: the listener bears it and goes on.
            for junk in (b"\x16\x03\x01\r\n\r\n", b"GET /livez HTTP/1.1\r\nX: " + b"y" * 20000,
                         b"POST /drain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\n" + b"z" * 99999,
                         b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"):
                connection = connect(admin)
                connection.sendall(junk)
                assert b"HTTP/1.1 4" in drain(connection)[:20]
            assert ask(admin, "/readyz").status == 200
            pipelined = connect(admin)
            pipelined.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3
                              + b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert drain(pipelined).count(b"HTTP/1.1 200") == 4
        settings = config(peer.url, admin={"address": "0.0.0.0:0", "token": "canary-token"})
        with Sluice(settings) as proxy:
            admin = admin_port(proxy)
            assert ask(admin, "/livez", host="any.example").status == 200
            refused = ask(admin, "/metrics")
            assert refused.status == 401 and refused.headers["www-authenticate"] == "Bearer"
            assert ask(admin, "/metrics", headers=["Authorization: Bearer wrong"]).status == 401
            assert metrics(admin, headers=["Authorization: Bearer canary-token"])
        settings["admin"]["expose"] = ["metrics"]
        with Sluice(settings) as proxy:
            admin = admin_port(proxy)
            assert metrics(admin) and ask(admin, "/metrics", host="any.example").status == 200
            assert ask(admin, "/config").status == 401 and ask(admin, "/drain", "POST").status == 401
            assert ask(admin, "/config", headers=["Authorization: Bearer canary-token"]).status == 200
    folder = os.path.join("/tmp", f"sluice-admin-{os.getpid()}.sock")
    with Peer(lambda c, r: stream(c)) as peer, Sluice(config(peer.url, admin={"address": f"unix:{folder}"})) as proxy:
        until(lambda: any(entry["event"] == "admin_listening" for entry in proxy.log))
        assert os.stat(folder).st_mode & 0o777 == 0o600
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(folder)
        connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert Reply(drain(connection)).status == 200
    if os.path.exists(folder):
        os.unlink(folder)


def test_an_open_admin_without_a_token_is_refused():
    with open("/tmp/sluice-open-admin.json", "w") as file:
        json.dump(config("http://127.0.0.1:1", admin={"address": "0.0.0.0:9910"}), file)
    result = subprocess.run([BINARY, "validate", file.name], capture_output=True, text=True)
    os.unlink(file.name)
    assert result.returncode == 1 and "give a token" in result.stderr, result


def test_what_is_exposed_is_all_that_a_listener_without_a_token_serves():
    with Peer(lambda c, r: stream(c)) as peer:
        with Sluice(config(peer.url, admin={"address": "0.0.0.0:0", "expose": ["metrics"]})) as proxy:
            admin = admin_port(proxy)
            for host in ("127.0.0.1", "sluice.default.svc:9910"):
                assert ask(admin, "/livez", host=host).status == ask(admin, "/readyz", host=host).status == 200
                assert ask(admin, "/metrics", host=host).status == 200
                for path in ("/", "/config", "/streams", "/logging", "/nothing", "/_sluice/", "/_sluice/page.js",
                             "/_sluice/api/live"):
                    reply = ask(admin, path, host=host)
                    assert reply.status == 403, (path, reply.raw)
                for path in ("/drain", "/reload", "/logging?level=debug", "/streams/0-1/cancel", "/_sluice/api/call"):
                    assert ask(admin, path, "POST", host=host).status == 403, path
            assert ask(admin, "/config", headers=["Authorization: Bearer x"]).status == 403
            assert ask(admin, "/metrics", headers=["Origin: http://evil.example"]).status == 403
            assert proxy.process.poll() is None and ask(admin, "/readyz").status == 200
        with Sluice(config(peer.url, admin={"address": "0.0.0.0:0", "expose": []})) as proxy:
            admin = admin_port(proxy)
            assert ask(admin, "/readyz").status == 200 and ask(admin, "/metrics").status == 403


def test_the_admin_listener_goes_to_the_successor():
    from test_upgrade import Upgradable, upgrade

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    path = f"/tmp/sluice-admin-{os.getpid()}.sock"
    for address in (f"127.0.0.1:{port}", f"unix:{path}"):

        def process():
            connection = socket.socket(socket.AF_UNIX) if address.startswith("unix") else connect(port)
            if address.startswith("unix"):
                connection.connect(path)
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            now = exposition.parse(Reply(drain(connection)).body.decode())
            return exposition.value(now, "sluice_draining"), exposition.value(now, "sluice_streams_active")

        with Peer(hold) as peer, Upgradable(config(peer.url, admin={"address": address})) as proxy:
            live = connect(proxy.port)
            live.sendall(request_bytes("/text", CHAT))
            live.recv(65536)
            until(lambda: [entry for entry in list(proxy.log) if entry["event"] == "admin_listening"], what="the admin listens")
            assert process() == (0, 1)
            upgrade(proxy)
            # The old process lives on for its stream, but who asks is answered by the new one.
            until(lambda: [process() for _ in range(5)] == [(0, 0)] * 5, what="the successor alone answers")
            assert proxy.process.poll() is None
            live.close()
            assert proxy.process.wait(20) == 0
            assert process() == (0, 0)
    if os.path.exists(path):
        os.unlink(path)


def test_questions_during_load():
    """Readers of metrics and streams while exchanges come and go on two workers: always valid, never falling."""
    with Peer(lambda c, r: stream(c)) as peer, Sluice(operated(peer.url, workers=2)) as proxy:
        admin = admin_port(proxy)
        stop = time.monotonic() + 3
        done = []

        def work():
            while time.monotonic() < stop:
                assert fetch(proxy.port, "/text", CHAT).complete
                done.append(1)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        last, scrapes = 0, 0
        while time.monotonic() < stop:
            now = exposition.value(metrics(admin), "sluice_exchanges_total")
            assert now >= last
            last, scrapes = now, scrapes + 1
            assert ask_json(admin, "/streams")[0] == 200
        for thread in threads:
            thread.join()
        until(lambda: exposition.value(metrics(admin), "sluice_streams_ended_total", reason="done") == len(done))
        print(f"  {scrapes} scrapes beside {len(done)} exchanges")
