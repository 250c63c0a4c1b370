"""What Prometheus makes of the metrics: both formats, exemplars, and whether its figures are those that clients measure."""

import contextlib
import math
import os
import re
import signal
import ssl
import subprocess
import tempfile
import threading
import time

from prometheus_client.openmetrics.parser import text_string_to_metric_families

import exposition
from harness import (CHAT, HEAD, Peer, Reply, Sluice, chunk, config, connect, drain, event, fetch, request_bytes, until)
from prometheus_world import ACCEPTS, ROOT, TOKEN, Prometheus, crowded, promtool, say, scripted
from test_access import keys_file, line
from test_dashboard import plain, queries
from test_limits import Certificate
from test_operator import admin_port, ask
from trace_world import SERVER, Collector, traced

BEARER = f"Authorization: Bearer {TOKEN}"
KEY = "Authorization: Bearer sk-client"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
# A document of what is exposed: name, type, labels.
ROW = re.compile(r"^\| `([a-z_]+)` \| (\w+) \| (\+?)([^|]*)\|", re.MULTILINE)


def traceparent(number, flags="01"):
    return f"traceparent: 00-{number:032x}-00f067aa0ba902b7-{flags}"


def use_everything(proxy):
    """Traffic of all kinds, each of which counts somewhere."""

    def chat(path, word="hello", headers=(), model="m"):
        return fetch(proxy.port, path, say(word, model), headers=[KEY, *headers])

    until(lambda: chat("/managed").complete, 30, "the managed process answers")
    assert chat("/openai-chat", headers=[traceparent(1)]).complete
    assert chat("/openai-chat", headers=[traceparent(2, "00")], model="other \"model\"\\").complete
    assert chat("/sse-json", headers=["Accept-Encoding: gzip"]).headers["content-encoding"] == "gzip"
    assert chat("/named").complete
    assert chat("/text", "busy").status == 503 and chat("/text", "refuse").status == 404
    chat("/openai-chat", "cut", [traceparent(3)])
    assert chat("/over").complete and chat("/gone").status == 502
    assert chat("/limited").status == 200 and chat("/limited").status == 429
    assert fetch(proxy.port, "/text", CHAT).status == 401 and chat("/nowhere").status == 404
    assert fetch(proxy.port, "/" + "x" * 9000, CHAT).status == 414
    kept = chat("/kept")
    assert kept.complete and chat("/elsewhere").complete
    identity = re.search(rb"id: (\S+)", kept.body)
    if identity:
        chat("/kept", headers=[f"Last-Event-ID: {identity[1].decode()}"])
    leaver = connect(proxy.port)
    leaver.sendall(request_bytes("/text", say("hold"), headers=[KEY, traceparent(4)]))
    assert leaver.recv(65536)
    leaver.close()
    until(lambda: any(entry["end"] == "client_gone" for entry in proxy.exchanges()))


def scrape(port, accept=None):
    reply = ask(port, "/metrics", headers=[BEARER] + ([f"Accept: {accept}"] if accept else []))
    assert reply.status == 200 and reply.headers["vary"] == "Accept", reply.raw[:400]
    return reply.headers["content-type"], reply.body.decode()


def test_both_formats_are_clean_after_traffic_of_all_kinds():
    with tempfile.TemporaryDirectory() as folder, Certificate() as certificate, Peer(scripted) as peer:
        keys = keys_file(folder, [line("alice", "sk-client")])
        with Sluice(crowded(peer.url, folder, keys, certificate), listeners=2) as proxy:
            admin = admin_port(proxy)
            before = exposition.parse(scrape(admin)[1])
            use_everything(proxy)
            kind, text = scrape(admin)
            assert kind == TEXT
            assert promtool("check", "metrics", given=text.encode()) == (0, ""), promtool("check", "metrics", given=text.encode())
            families = exposition.parse(text)
            assert set(families) == set(before), "a family that only shows after traffic"
            for name, reason in (("eof", "eof"), ("connect", "connect"), ("gone", "client_gone")):
                assert exposition.value(families, "sluice_streams_ended_total", reason=reason) > 0, name
            assert exposition.value(families, "sluice_retry_attempts_total", cause="server_error") > 0
            assert exposition.value(families, "sluice_failovers_total") > 0
            assert exposition.value(families, "sluice_compressed_answers_total", coding="gzip") > 0
            assert exposition.value(families, "sluice_process_ready", upstream="managed") == 1
            assert exposition.value(families, "sluice_resume_store_up") == 0
            assert exposition.value(families, "sluice_generation_events_total", event="begun") >= 2
            # What a counter will say when it happens is known before it has.
            assert (("sluice_streams_ended_total", (("format", "text"), ("reason", "eof"), ("route", "/text"), ("status", "200"),
                                                    ("upstream", "u"))) in before["sluice_streams_ended_total"].samples)
            compare_with_the_document(families)
            read_openmetrics(admin, families)


def compare_with_the_document(families):
    """Deploy/METRICS.md names every metric with its type and labels, and none that there is not."""
    own = {"gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "server_address", "server_port", "upstream"}
    rows = {}
    for name, kind, more, labels in ROW.findall((ROOT / "Deploy/METRICS.md").read_text()):
        assert name not in rows, f"{name} is there twice"
        is_model = more or name.startswith("gen_ai_") or name == "sluice_stream_largest_gap_seconds"
        rows[name] = kind, set(re.findall(r"`(\w+)`", labels)) | (own if is_model else set())
    # Those of traces are there where traces are exported.
    rows = {name: row for name, row in rows.items() if name in families or not name.startswith("sluice_trace_")}
    assert set(rows) == set(families), set(rows) ^ set(families)
    for name, (kind, labels) in rows.items():
        assert families[name].kind == ("gauge" if kind == "info" else kind), name
        used = {label for _, pairs in families[name].samples for label, _ in pairs} - {"le"}
        if families[name].samples:
            assert used == labels, (name, used, labels)


def read_openmetrics(admin, families):
    for accept in ACCEPTS:
        kind, text = scrape(admin, accept)
        assert kind == OPEN_METRICS and text.endswith("\n# EOF\n")
    read = {family.name: family for family in text_string_to_metric_families(text)}
    assert len(read) == len(families)
    exemplars = []
    for name, family in families.items():
        other = read[re.sub("_(total|info)$", "", name)]
        kind = "info" if name == "sluice_build_info" else family.kind
        assert other.type == kind and other.documentation == family.help.replace("\\\\", "\\"), name
        assert other.unit == next((unit for unit in ("seconds", "bytes") if other.name.endswith("_" + unit)), ""), name
        # The same series as in the other format, bounds of buckets included.
        assert set(family.samples) == {(sample.name, tuple(sorted(sample.labels.items()))) for sample in other.samples}, name
        exemplars += [(name, sample.exemplar) for sample in other.samples if sample.exemplar]
    traces = {int(exemplar.labels["trace_id"], 16) for _, exemplar in exemplars}
    assert {1, 3, 4} <= traces and 2 not in traces, traces
    assert {name for name, exemplar in exemplars if int(exemplar.labels["trace_id"], 16) == 4} >= {
        "sluice_cancel_latency_seconds", "gen_ai_server_request_duration_seconds"}
    for _, exemplar in exemplars:
        assert set(exemplar.labels) == {"trace_id", "span_id"} and abs(float(exemplar.timestamp) - time.time()) < 3600


def test_formats_are_negotiated():
    with Peer(scripted) as peer, Sluice(config(peer.url, admin={"address": "127.0.0.1:0", "token": TOKEN})) as proxy:
        admin = admin_port(proxy)
        for accept, kind in (
                (None, TEXT), ("*/*", TEXT), ("text/plain", TEXT), ("application/openmetrics-text", OPEN_METRICS),
                ("application/openmetrics-text;version=0.0.1", TEXT), ("application/json", TEXT),
                ("text/plain;q=0.9,application/openmetrics-text;q=0.1", TEXT)):
            assert scrape(admin, accept)[0] == kind, accept
        assert ask(admin, "/metrics", headers=["Authorization: Bearer guessed"]).status == 401


def test_exemplars_have_a_bound():
    with Peer(scripted) as peer, Sluice(config(peer.url, admin={"address": "127.0.0.1:0"})) as proxy:
        for number in range(1, 71):
            assert fetch(proxy.port, "/text", say("hello", f"model-{number}"), headers=[traceparent(number)]).complete
        text = ask(admin_port(proxy), "/metrics", headers=[f"Accept: {ACCEPTS[0]}"]).body.decode()
        durations = next(family for family in text_string_to_metric_families(text)
                         if family.name == "gen_ai_server_request_duration_seconds")
        models = {sample.labels["gen_ai_request_model"] for sample in durations.samples}
        told = {sample.labels["gen_ai_request_model"] for sample in durations.samples if sample.exemplar}
        assert len(models) == 70 and told == {f"model-{number}" for number in range(1, 65)}, told


def test_exemplars_lead_to_the_spans_that_are_exported():
    """No client names a trace: each is Sluice's own, and every bucket leads to a span that the collector has."""
    with Peer(scripted) as peer, Collector() as collector, \
            traced(collector, config(peer.url, admin={"address": "127.0.0.1:0"})) as proxy:
        for _ in range(5):
            assert fetch(proxy.port, "/text", say("hello")).complete
        spans = {(span.trace, span.id): span for span in collector.wait(10) if span.kind == SERVER}
        assert len(spans) == 5
        text = ask(admin_port(proxy), "/metrics", headers=[f"Accept: {ACCEPTS[0]}"]).body.decode()
        found = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.exemplar:
                    labels = sample.exemplar.labels
                    span = spans[labels["trace_id"], labels["span_id"]]
                    found.setdefault(family.name, []).append((sample.exemplar.value, span))
        assert set(found) >= {HISTOGRAM, "gen_ai_server_request_duration_seconds", "gen_ai_client_token_usage"}, found
        for seconds, span in found["gen_ai_server_request_duration_seconds"]:
            assert abs((span.end - span.start) / 1e9 - seconds) < SLACK, (seconds, span)


# -- Prometheus' figures and the client's own

# Where half of the streams, and nine tenths of them, wait for their first token is in the middle of a bucket.
DELAYS = [0.15] * 18 + [0.37] * 14 + [0.62] * 8
TOKENS_A_STREAM = 5
# A loop takes its time once a turn, so a figure may be off by as long as a turn takes.
SLACK = 0.06
HISTOGRAM = "gen_ai_server_time_to_first_token_seconds"


class TimedPeer(Peer):
    """Waits before the first token as long as the prompt says, and measures it."""

    def __init__(self):
        self.waits = {}
        super().__init__(self._answer)

    def _answer(self, connection, request):
        began = time.monotonic()
        number, delay = re.search(rb"number (\d+) after ([\d.]+)", request).groups()
        connection.sendall(HEAD)
        time.sleep(float(delay))
        self.waits[int(number)] = time.monotonic() - began
        for index in range(TOKENS_A_STREAM):
            connection.sendall(chunk(event({"content": f"token-{index} "})))
            # What comes behind the first token must not count.
            time.sleep(0.1)
        connection.sendall(chunk(event({}, "stop") + b"data: [DONE]\n\n") + b"0\r\n\r\n")


def measured(proxy, number, delay, times):
    """Asks, and notes how long the first token took to come."""
    flags = "00" if number % 3 == 0 else "01"
    connection = connect(proxy.port)
    connection.settimeout(60)
    request = request_bytes("/text", say(f"number {number} after {delay}"), headers=[traceparent(number, flags), "Connection: close"])
    began = time.monotonic()
    connection.sendall(request)
    data = b""
    while b"token-0" not in data:
        more = connection.recv(65536)
        assert more, data
        data += more
    times[number] = time.monotonic() - began
    assert Reply(data + drain(connection, 60)).complete


def rank(times, share):
    """The value that a quantile of that share lies at."""
    return sorted(times)[math.ceil(share * len(times)) - 1]


def buckets(prometheus, histogram):
    """How many first tokens came within each bound."""
    return {float(dict(labels)["le"].replace("Inf", "inf")): count
            for labels, count in prometheus.values(f"sum by (le) ({histogram})").items()}


def test_prometheus_agrees_with_the_clients():
    """One process serves streams that are measured, another one all that can be counted; Prometheus scrapes both."""
    settings = {"admin": {"address": "127.0.0.1:0", "token": TOKEN}, "workers": 2}
    with contextlib.ExitStack() as world:
        folder, certificate = world.enter_context(tempfile.TemporaryDirectory()), world.enter_context(Certificate())
        peer, other = world.enter_context(TimedPeer()), world.enter_context(Peer(scripted))
        keys = keys_file(folder, [line("alice", "sk-client")])
        busy = world.enter_context(Sluice(crowded(other.url, folder, keys, certificate), listeners=2))
        proxy = world.enter_context(Sluice(config(peer.url, **settings)))
        prometheus = world.enter_context(Prometheus(admin_port(proxy), admin_port(busy)))

        def scraped():
            targets = prometheus.ask("targets")["activeTargets"]
            return targets if len(targets) == 4 and all(target["health"] != "unknown" for target in targets) else None

        for target in until(scraped, 60, "both jobs have scraped"):
            assert (target["health"], target["lastError"]) == ("up", "") if target["labels"]["job"] == "sluice" else \
                target["health"] == "down" and "401" in target["lastError"], target
        use_everything(busy)
        check_streams(prometheus, proxy, peer)
        check_dashboard(prometheus)
        check_alerts(prometheus)


def check_streams(prometheus, proxy, peer):
    own = f'instance="127.0.0.1:{admin_port(proxy)}"'
    counts = f"{HISTOGRAM}_bucket{{{own}}}"
    total, seconds = f"sum({HISTOGRAM}_count{{{own}}})", f"sum({HISTOGRAM}_sum{{{own}}})"
    # One ahead, so that Prometheus sees the growth of all the others.
    measured(proxy, 1000, 0.01, {})
    until(lambda: prometheus.value(total) == 1, 60, "the first stream was scraped")
    baseline, before = prometheus.value(seconds), buckets(prometheus, counts)

    times = {}
    threads = [threading.Thread(target=measured, args=(proxy, number, delay, times))
               for number, delay in enumerate(DELAYS, 1)]
    for thread in threads:
        thread.start()
        time.sleep(0.01)  # else they wait for each other, and measure that
    for thread in threads:
        thread.join()
    until(lambda: prometheus.value(total) == 1 + len(DELAYS), 60, "all streams were scraped")

    # What the upstream waited lies within what Sluice measures, and that within what the client sees.
    waits = {number: peer.waits[number] for number in times}
    assert len(times) == len(DELAYS)
    mean = (prometheus.value(seconds) - baseline) / len(DELAYS)
    low, high = sum(waits.values()) / len(waits), sum(times.values()) / len(times)
    print(f"  first token, mean: upstream {low:.4f} s, Sluice {mean:.4f} s, client {high:.4f} s")
    assert low - SLACK / 2 <= mean <= high + SLACK / 2, (low, mean, high)
    now = buckets(prometheus, counts)
    for bound, count in now.items():
        count -= before[bound]
        assert sum(time <= bound - SLACK for time in times.values()) <= count, (bound, count, times)
        assert count <= sum(wait <= bound + SLACK for wait in waits.values()), (bound, count, waits)
    for share in (0.5, 0.9):
        quantile = prometheus.value(f"histogram_quantile({share}, sum by (le) (rate({counts}[5m])))")
        below = max(bound for bound in now if bound <= rank(waits.values(), share) - SLACK / 2)
        above = min(bound for bound in now if bound >= rank(times.values(), share) + SLACK / 2)
        print(f"  first token, {share}: Prometheus {quantile:.3f} s, client {rank(times.values(), share):.3f} s")
        assert below <= quantile <= above, (share, below, quantile, above)

    # Tokens of answers, and how they grow.
    tokens = len(DELAYS) * TOKENS_A_STREAM
    answered = f'sluice_output_tokens_total{{{own},route="/text"}}'
    until(lambda: prometheus.value(f"sum({answered})") == tokens + TOKENS_A_STREAM, 60, "tokens")
    grown = prometheus.value(f"sum(increase({answered}[5m]))")
    assert tokens * 0.8 <= grown <= (tokens + TOKENS_A_STREAM) * 1.3, grown
    assert prometheus.value(f"sum(rate({answered}[5m]))") > 0
    check_exemplars(prometheus, own, {**waits, 1000: 0}, {**times, 1000: 60})


def check_exemplars(prometheus, own, waits, times):
    """Each leads to an exchange that took as long as it says, and whose trace somebody keeps."""
    found = until(lambda: prometheus.exemplars(f"{HISTOGRAM}_bucket{{{own}}}"), 60, "exemplars")
    for series, exemplar in found:
        number = int(exemplar["labels"]["trace_id"], 16)
        assert number in times and (number % 3 != 0 or number > len(DELAYS)), exemplar
        assert len(exemplar["labels"]["span_id"]) == 16 and series["job"] == "sluice"
        value, bound = float(exemplar["value"]), float(series["le"].replace("Inf", "inf"))
        assert waits[number] - SLACK <= value <= times[number] + SLACK and value <= bound, (exemplar, bound)
    assert len({exemplar["labels"]["trace_id"] for _, exemplar in found}) >= 3
    assert prometheus.exemplars(f"gen_ai_server_request_duration_seconds_bucket{{{own}}}")


def check_dashboard(prometheus):
    """Each panel has something to show of so much traffic, but for those of what did not happen."""
    empty = {title for title, expression in queries() if not prometheus.values(plain(expression, "1m"))}
    assert empty <= {"Reloads", "Starts", "Spans", "Exports"}, empty


def check_alerts(prometheus):
    """All rules are evaluated without errors, and say of the two what is to be said."""

    def states():
        rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
        assert len(rules) > 25
        evaluated = all(rule["health"] == "ok" for rule in rules)
        return {rule["name"]: rule["state"] for rule in rules if rule["type"] == "alerting"} if evaluated else None

    now = until(states, 60, "all rules are evaluated")
    assert {name for name, state in now.items() if state == "firing"} == {"SluiceCertificateExpiresNow"}, now
    waiting = {name for name, state in now.items() if state == "pending"}
    sure = {"SluiceCertificateExpires", "SluiceResumeStoreDown", "SluiceUpstreamDown", "SluiceUpstreamUnhealthy"}
    # Of so few streams the failed ones are many.
    assert sure <= waiting <= sure | {"SluiceStreamsFail", "SluiceStreamsFailSlowly"}, now


# -- Certificates

def expiry(path):
    said = subprocess.run(["openssl", "x509", "-noout", "-enddate", "-in", path], check=True, capture_output=True).stdout
    return ssl.cert_time_to_seconds(said.decode().strip().partition("=")[2])


def test_certificates_tell_when_they_expire():
    with Certificate() as first, Certificate() as second, Peer(scripted) as peer:
        settings = config(peer.url, admin={"address": "127.0.0.1:0", "token": TOKEN})
        settings["listeners"].append({"address": "127.0.0.1:0", "tls": {"certificates": [first, second]}})
        with Sluice(settings, listeners=2) as proxy:
            admin = admin_port(proxy)

            def told():
                family = exposition.parse(scrape(admin)[1])["sluice_certificate_not_after_timestamp_seconds"]
                return {dict(labels)["file"]: value for (_, labels), value in family.samples.items()}

            assert told() == {pair["certificate"]: expiry(pair["certificate"]) for pair in (first, second)}
            subprocess.run(["openssl", "req", "-x509", "-key", first["private_key"], "-days", "90", "-subj", "/CN=localhost",
                            "-out", first["certificate"]], check=True, capture_output=True)
            renewed = expiry(first["certificate"])
            assert told()[first["certificate"]] < renewed
            os.kill(proxy.process.pid, signal.SIGHUP)
            until(lambda: told()[first["certificate"]] == renewed, what="the renewed certificate is told")
