"""`sluice doctor`: its verdict on real proxies, good and bad, and on streams that are not Sluice's."""

import contextlib
import functools
import json
import os
import re
import signal
import subprocess
import time
import unicodedata

from harness import BINARY, Peer, Sluice, chunk, config, until, wait_closed
from proxy_world import Doctor, Proxies, examine
from test_operator import admin_port

# Seconds after which an impatient proxy cuts a silent stream, and those that it is made to wait.
CUT = float(os.environ.get("DOCTOR_CUT", "5"))
IDLE = f"{round((CUT + 1) * 1000)}ms"
SHORT = "500ms"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n"


def probed(**changes):
    return config("http://127.0.0.1:9/v1", admin={"address": "127.0.0.1:0"}, trusted_proxies=["127.0.0.1"],
                  **{"probe": {"concurrent": 500}, **changes})


@functools.cache
def reports():
    """All that takes long is examined at the same time, since most of it is waiting."""
    with Proxies() as proxies:
        trust = str(proxies.path("tls.crt"))
        listeners = [{"address": "127.0.0.1:0"},
                     {"address": "127.0.0.1:0", "tls": {"certificate": trust, "private_key": str(proxies.path("tls.key"))}}]
        with Sluice(probed(listeners=listeners), listeners=2) as sluice, \
                Sluice(probed(probe={"key": "s3cret", "concurrent": 2})) as keyed:
            found = examine_all(sluice, keyed, proxies, trust)
            lines = [entry for entry in sluice.exchanges() if entry["route"] == "(probe)"]
            assert lines and {entry["end"] for entry in lines} == {"probe", "client_gone"}, lines
            return found


def examine_all(sluice, keyed, proxies, trust):
    port, secure = sluice.ports()
    urls = proxies.nginx_with(
        port,
        default="",
        ignoring="proxy_ignore_headers X-Accel-Buffering;",
        gzip="proxy_buffering off; gzip on; gzip_types *; gzip_min_length 0; gzip_http_version 1.0;",
        idle=f"proxy_buffering off; proxy_read_timeout {round(CUT)}s; proxy_http_version 1.1; "
             "proxy_set_header Connection '';",
        held=f"proxy_ignore_headers X-Accel-Buffering; proxy_read_timeout {round(CUT)}s;",
        deaf="proxy_buffering off; proxy_ignore_client_abort on;",
        lying="proxy_buffering off; proxy_hide_header Cache-Control; add_header Content-Type text/html; "
              "proxy_hide_header Content-Type;")
    urls |= proxies.caddy_with(
        port,
        detached="\treverse_proxy SLUICE {\n\t\tflush_interval -1\n\t}",
        encode="\tencode gzip {\n\t\tminimum_length 1\n\t\tmatch {\n\t\t\theader Content-Type text/*\n\t\t}\n\t}\n"
               "\treverse_proxy SLUICE")
    urls |= {
        "direct": f"http://127.0.0.1:{port}/", "nginx": proxies.our_nginx(port), "caddy": proxies.our_caddy(port),
        "haproxy": proxies.our_haproxy(port, admin_port(sluice)),
        "impatient": proxies.impatient_haproxy(port, round(CUT))}
    proxies.wait()
    patient = ("direct", "nginx", "caddy", "haproxy", "idle", "held", "impatient")
    doctors = {}
    for name, url in urls.items():
        options = ["--idle", IDLE if name in patient else SHORT] + (["--ca", trust] if url.startswith("https") else [])
        doctors[name] = Doctor(url + "v1/chat/completions", *options)
    plain, tls = f"http://127.0.0.1:{port}/stream", f"https://localhost:{secure}/stream"
    doctors |= {
        "words": Doctor(plain, "--idle", "0", json=False),
        "http2": Doctor(plain, "--http2", "--idle", SHORT, "--duration", "2s"),
        "insecure": Doctor(tls, "--idle", SHORT, "--insecure"),
        "http1": Doctor(tls, "--idle", SHORT, "--http1.1", "--ca", trust),
        "untrusted": Doctor(tls, "--idle", SHORT),
        "keyed": Doctor(f"http://127.0.0.1:{keyed.port}/", "--probe-key", "s3cret", "--idle", SHORT),
    }
    return {name: doctor.report() for name, doctor in doctors.items()}


def check(name, outcome, harmful=(), warnings=(), between=None):
    report = reports()[name]
    assert report.of("harmful") == sorted(harmful), f"{name}: {report}"
    assert set(warnings) <= set(report.of("warning")), f"{name}: {report}"
    assert report.status == outcome, f"{name}: {report}"
    assert report.json["exact"] is True, f"{name}: {report}"
    if between is not None:
        assert report.json["between"] == between, f"{name}: {report}"
    return report


def test_nothing_in_between():
    report = check("direct", 0, between=[])
    assert set(report.of("warning")) <= {"latency", "cancel"} and report.of("unknown") == [], report
    assert any("nothing in between" in line for line in report.json["path"]), report


def test_nginx_as_it_comes():
    """It buffers, but for the header that Sluice sends: both are told."""
    report = check("default", 0, warnings=["buffering_default", "http_to_sluice"], between=["nginx"])
    assert report.verdict("buffering") == "well", report
    assert report.findings["buffering_default"]["measured"]["saved_by"] == "X-Accel-Buffering", report
    assert "proxy_buffering off" in report.advice("buffering_default"), report
    assert "proxy_http_version 1.1" in report.advice("http_to_sluice"), report


def test_nginx_that_buffers():
    report = check("ignoring", 1, harmful=["buffering"], between=["nginx"])
    assert "X-Accel-Buffering" in report.advice("buffering"), report
    assert report.findings["buffering"]["measured"]["block_bytes"] in (4096, 8192), report


def test_nginx_that_compresses():
    report = check("gzip", 0, warnings=["compression"], between=["nginx"])
    assert report.findings["compression"]["measured"] == {"coding": "gzip", "flushed": True}, report
    assert "gzip off" in report.advice("compression"), report


def test_nginx_that_cuts_silence():
    report = check("idle", 1, harmful=["idle", "first_byte"], between=["nginx"])
    assert CUT - 2 <= report.findings["idle"]["measured"]["cut_after_seconds"] <= CUT + 10, report
    assert CUT - 2 <= report.findings["first_byte"]["measured"]["cut_after_seconds"] <= CUT + 10, report
    assert "status 504" in report.findings["first_byte"]["message"], report
    assert "FIN" in report.findings["idle"]["message"] and "keep it alive" in report.findings["idle"]["message"], report
    assert "proxy_read_timeout" in report.advice("idle") and "keepalive:" in report.advice("idle"), report


def test_nginx_that_holds_back_and_cuts():
    # What it held back comes at the moment of the cut, and is no end of the silence.
    report = check("held", 1, harmful=["buffering", "idle", "first_byte"], between=["nginx"])
    assert CUT - 2 <= report.findings["idle"]["measured"]["cut_after_seconds"] <= CUT + 10, report


def test_haproxy_that_cuts_silence():
    report = check("impatient", 1, harmful=["idle", "first_byte"], warnings=["buffering"])
    assert CUT - 2 <= report.findings["idle"]["measured"]["cut_after_seconds"] <= CUT + 10, report
    assert "timeout server" in report.advice("idle"), report
    # Without `option http-no-delay` it lets events wait for each other, for up to 200 ms.
    assert "http-no-delay" in report.advice("buffering"), report


def test_nginx_that_keeps_a_leaving_from_sluice():
    report = check("deaf", 1, harmful=["cancel"], between=["nginx"])
    assert "proxy_ignore_client_abort off" in report.advice("cancel"), report


def test_caddy_that_keeps_a_leaving_from_sluice():
    report = check("detached", 1, harmful=["cancel"], between=["Caddy"])
    assert "flush_interval" in report.advice("cancel"), report


def test_nginx_that_changes_heads():
    report = check("lying", 1, harmful=["headers"], between=["nginx"])
    assert "text/html" in report.findings["headers"]["message"], report
    assert "no-transform" in report.findings["headers"]["message"], report


def test_caddy_that_compresses():
    report = reports()["encode"]
    assert report.json["between"] == ["Caddy"], report
    # Its encoder keeps events until there are more of them.
    assert report.of("harmful") == ["compression"] and "encode" in report.advice("compression"), report


def test_our_nginx():
    check_ours("nginx", ["nginx"])


def test_our_haproxy():
    check_ours("haproxy", [])


def test_our_caddy():
    check_ours("caddy", ["Caddy"])


def check_ours(name, between):
    report = check(name, 0, between=between)
    # A busy machine may be slow; it does nothing else that a proxy would.
    assert set(report.of("warning")) <= {"latency", "cancel"} and report.of("unknown") == [], report
    assert report.json["path"][0].startswith("HTTP/2 over TLSv1.3"), report
    assert report.json["path"][1].endswith("HTTP/1.1"), report
    for finding in ("buffering", "buffering_default", "formats", "compression", "ending", "idle", "first_byte", "client_address",
                    "certificate"):
        assert report.verdict(finding) == "well", f"{finding}: {report}"


# The words, the probe's bounds, and how it fails


def test_words():
    report = reports()["words"]
    assert report.status == 0 and "✓ buffering" in report.output, report
    assert "Streams pass unharmed" in report.output and "/stream\n" in report.output, report
    assert "idle" not in report.output, report


def test_protocols():
    report = check("http2", 0, between=[])
    assert report.json["path"][0].startswith("HTTP/2 to"), report
    assert report.verdict("duration") == "well" and report.verdict("cancel") in ("well", "warning"), report
    assert "certificate" in check("insecure", 0).of("warning"), reports()["insecure"]
    assert "http" in check("http1", 0).of("warning"), reports()["http1"]


def test_who_may_probe():
    # More streams are wanted than may run: what could not be looked at is told, and nothing is made up.
    report = check("keyed", 0)
    assert "idle" in report.of("unknown"), report
    with Sluice(probed(probe=False)) as off, Sluice(probed(probe={"key": "s3cret"})) as keyed:
        report = examine(f"http://127.0.0.1:{off.port}/nowhere")
        assert report.status == 3 and "probe: on" in report.advice("status"), report
        url = f"http://127.0.0.1:{keyed.port}/"
        report = examine(url)
        assert report.status == 3 and "--probe-key" in report.advice("status"), report
        assert examine(url, "--probe-key", "s3creT").status == 3


def test_usage():
    for arguments in ([], ["nowhere"], ["http://a.example", "http://b.example"], ["http://a.example", "--header", "x"],
                      ["http://a.example", "--http2", "--http1.1"], ["http://a.example", "--idle", "1h"],
                      ["https://a.example", "--ca", "/nowhere.pem"]):
        report = examine(*(arguments or [""]), json=False)
        assert report.status == 2, f"{arguments}: {report}"


def test_out_of_reach():
    with Proxies() as proxies:
        nowhere = proxies.port()
        report = examine(f"http://127.0.0.1:{nowhere}/")
        assert report.status == 3 and "refused" in report.findings["reach"]["message"], report
        report = examine("http://nowhere.invalid/")
        assert report.status == 3 and "resolved" in report.findings["reach"]["message"], report
    report = reports()["untrusted"]
    assert report.status == 3 and "certificate" in report.findings["reach"]["message"], report


# Streams of others


def stream_of(pieces, gap, head=HEAD % b"text/event-stream", first=0.0, ending=b"0\r\n\r\n"):
    def script(connection, request):
        time.sleep(first)
        connection.sendall(head)
        for piece in pieces:
            connection.sendall(chunk(piece))
            time.sleep(gap)
        connection.sendall(ending)
        return "close"
    return script


EVENTS = [b"data: %03d %s\n\n" % (number, b"x" * 90) for number in range(80)]
WHOLE = b"".join(EVENTS)


def foreign(script, *options):
    with Peer(script) as peer:
        report = examine(f"http://127.0.0.1:{peer.port}/v1/stream", *options)
        assert report.json["exact"] is False, report
        return report, peer.requests


def test_a_stream_of_somebody_else():
    report, requests = foreign(stream_of(EVENTS[:40], 0.03), "--data", '{"stream":true}', "--header", "X-Key: 1",
                               "--header", "Host: chat.example.com")
    assert report.status == 0 and report.verdict("buffering") == "well", report
    assert report.verdict("unknown") == "unknown", report
    # It is asked once, and what it answers is looked at: a prompt costs money.
    assert len(requests) == 1 and requests[0].startswith(b"POST /v1/stream "), requests
    assert b"\r\nX-Key: 1\r\n" in requests[0] and b"\r\nhost: chat.example.com\r\n" in requests[0], requests
    assert requests[0].endswith(b'{"stream":true}'), requests


def test_a_stream_that_comes_all_at_once():
    report, _ = foreign(stream_of([WHOLE], 0, first=0.8))
    assert report.status == 1 and report.of("harmful") == ["buffering"], report
    assert "all at once" in report.findings["buffering"]["message"], report


def test_a_stream_that_comes_in_blocks():
    whole = WHOLE * 4
    blocks = [whole[start:start + 4096] for start in range(0, len(whole), 4096)]
    report, _ = foreign(stream_of(blocks, 0.15))
    assert report.status == 1 and report.findings["buffering"]["measured"]["block_bytes"] == 4096, report


def test_a_stream_that_is_cut():
    report, _ = foreign(stream_of(EVENTS[:20], 0.02, ending=b""))
    assert report.status == 1 and report.of("harmful") == ["ending"], report
    assert "FIN" in report.findings["ending"]["message"], report


def test_answers_that_are_no_streams():
    moved = b"HTTP/1.1 308 Moved\r\nLocation: https://b.example/x\r\nContent-Length: 0\r\n\r\n"
    with Peer(lambda connection, request: connection.sendall(moved)) as peer:
        report = examine(f"http://127.0.0.1:{peer.port}/")
        assert report.status == 3 and "https://b.example/x" in report.advice("redirect"), report
    denied = b'HTTP/1.1 401 No\r\nContent-Length: 30\r\n\r\n{"error":{"message":"no key"}}'
    with Peer(lambda connection, request: connection.sendall(denied)) as peer:
        report = examine(f"http://127.0.0.1:{peer.port}/")
        assert report.status == 3 and "status 401: no key" in report.findings["status"]["message"], report
    # A stream that was made for another request's probe.
    cached = b"HTTP/1.1 200 OK\r\nSluice-Probe: other\r\nAge: 3\r\nContent-Length: 0\r\n\r\n"
    with Peer(lambda connection, request: connection.sendall(cached)) as peer:
        report = examine(f"http://127.0.0.1:{peer.port}/")
        assert report.status == 1 and report.of("harmful") == ["cache"], report


# Servers that mean harm

# A title, a cleared screen, colours, lines that run from right to left, and a line of its own.
CANARY = "\x1b]0;PWNED\x07\x1b[2J\x9b31m\x7f\u202e\nFAKE ALL WELL"
LEAST, MOST = -2 ** 63, 2 ** 63 - 1


def document(status, body, *fields):
    head = "\r\n".join([f"HTTP/1.1 {status} X", *fields, f"Content-Length: {len(body)}", "Connection: close", "", ""])
    return head.encode() + body


def hostile_probe(events):
    """Answers probes with numbers that no Sluice sends."""
    def script(connection, request):
        if b"status=" in request:
            connection.sendall(document(200, b'{"state":"gone","events":1,"ago":%d}' % MOST, "Content-Type: application/json"))
            return "close"
        number = re.search(rb"sluice-probe: id=(\w+)", request, re.IGNORECASE)[1]
        connection.sendall((HEAD % b"text/event-stream").replace(b"\r\n\r\n", b"\r\nSluice-Probe: " + number + b"\r\n\r\n"))
        hello = {"http": CANARY, "client": CANARY, "peer": CANARY + ":1", "fields": [["x-forwarded-for", CANARY]]}
        for event in [{"n": 0, "t": 0, "probe": hello}, *({"n": n, "t": t} for n, t in events)]:
            connection.sendall(chunk(b"data: " + json.dumps(event).encode() + b"\n\n"))
        # The stream that is left in the middle must still be there for that.
        with contextlib.suppress(TimeoutError):
            wait_closed(connection, 3)
        connection.sendall(chunk(b'data: {"n":3,"t":9,"done":true}\n\n') + b"0\r\n\r\n")
        return "close"
    return script


def test_a_server_that_means_harm():
    refused = json.dumps({"error": {"message": CANARY}}).encode()
    # Fields of a head cannot hold all of them.
    moved = "Location: http://b.example/\x9b31m\u202e';reboot"
    cases = {
        "words": lambda connection, request: connection.sendall(document(500, refused, "Content-Type: application/json")),
        "redirect": lambda connection, request: connection.sendall(document(302, b"", moved)),
        "type": lambda connection, request: connection.sendall(document(200, b"", "Content-Type: a/b\x9b31m\u202e")),
        "numbers": hostile_probe([(LEAST, 5), (1, LEAST), (1, MOST), (MOST, 1), (2 ** 62, 2 ** 62), (1, 5), (2, 10 ** 12)]),
    }
    for name, script in cases.items():
        with Peer(script) as peer:
            url, options = f"http://127.0.0.1:{peer.port}/x", ["--idle", "200ms", "--timeout", "5s", "--duration", "1s"]
            doctors = [Doctor(url, *options, json=as_json) for as_json in (False, True)]
            for doctor in doctors:
                report = doctor.report()
                assert report.status in (0, 1, 3), f"{name}: {report}"
                shown = report.output + report.errors
                assert not [sign for sign in shown if sign != "\n" and unicodedata.category(sign) in ("Cc", "Cf")], (name, shown)
                assert "\nFAKE" not in shown and "crashed" not in shown and "reboot" not in "".join(
                    line for line in shown.splitlines() if "sluice doctor" in line and "→" in line), (name, shown)


def test_a_crash_shows_nothing_of_memory():
    def script(connection, request):
        connection.sendall(HEAD % b"text/event-stream")
        wait_closed(connection, 60)
        return "close"

    environment = {key: value for key, value in os.environ.items() if key != "SWIFT_BACKTRACE"}
    with Peer(script) as peer:
        process = subprocess.Popen([BINARY, "doctor", f"http://127.0.0.1:{peer.port}/", "--header", "Authorization: Bearer canary"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
        until(lambda: peer.requests, what="its request")
        process.send_signal(signal.SIGSEGV)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGSEGV, process.returncode
    assert (output, errors) == (b"", b"sluice: crashed, by signal 11\n"), (output, errors)
