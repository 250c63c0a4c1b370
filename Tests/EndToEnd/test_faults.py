"""Truth in endings: 14 faults at upstreams of HTTP/1.1 and HTTP/2, through every format, to clients of both protocols.

`FAULTS=DIALECT` asks upstreams of that dialect only; `FAULTS_MARKDOWN=FILE` writes the table there.
"""

import collections
import concurrent.futures
import dataclasses
import json
import os
import re
import threading
import time

import exposition
import faults
from faults import ABORTED, FORMATS, OWN_FORMAT, PASSTHROUGH, PROVIDERS, REFUSED, RELAYED, SEEN, TOLD, WHOLE
from harness import Peer, Reply, Sluice, connect, fetch, request_bytes, until
from http2_peer import CONCURRENT_STREAMS, Http2Peer, connect_http2
from readers import FormatError, read
from test_operator import admin_port

LANES = 16
OPENING = faults.OpenAI.opening()
#: The formats that have a document, besides their stream.
DOCUMENTS = ["openai-chat", "openai-responses", "openai-completions", "anthropic", "gemini", "ollama-chat", "ollama-generate",
             "cohere"]
PATIENCE = 30


class Run:
    """One request of one client, and the play that its upstream gives for it."""

    def __init__(self, number, cell, case, client, is_document=False):
        self.is_document = is_document
        self.id, self.cell, self.case, self.client = f"fault-{number}", cell, case, client
        self.arrived = threading.Event()
        self.problem = None

    def saw(self, body):
        if faults.MARKER in body:
            self.arrived.set()

    def wait_arrived(self):
        # A document has no part that could arrive before the rest.
        if not self.is_document and not self.arrived.wait(PATIENCE):
            raise ConnectionError("the client did not get the tokens")


class Cell:
    def __init__(self, fault, protocol, format):
        self.fault, self.protocol, self.format = fault, protocol, format
        self.problems = []
        self.runs = 0


class World:
    """Upstreams of both protocols, and a proxy with a route for each format to each of them."""

    def __init__(self, provider):
        self.provider = provider
        self.plays = {}
        # One stream a connection, so that what breaks a connection breaks no other cell.
        self.peers = {"h1": Peer(self._h1), "h2": Http2Peer(self._h2, settings={CONCURRENT_STREAMS: 1})}
        self.proxy = Sluice(self._config())
        self.local = threading.local()

    def _config(self):
        upstreams, routes = {}, []
        for protocol, peer in self.peers.items():
            for timeout in ("", "idle", "first_token", "headers"):
                name = f"{protocol}-{timeout}" if timeout else protocol
                upstreams[name] = {"url": peer.url, "dialect": self.provider.dialect, "http": {"h1": "1.1", "h2": "2"}[protocol]}
                if timeout:
                    upstreams[name]["timeouts"] = {timeout: "400ms"}
                for format in FORMATS:
                    request = PASSTHROUGH if format == PASSTHROUGH else "openai-chat"
                    routes.append({"path": f"/{name}/{format}", "request": request, "response": format, "upstream": name})
        return {"listeners": [{"address": "127.0.0.1:0"}], "workers": 1, "upstreams": upstreams, "routes": routes,
                "limits": {"event_bytes": faults.EVENT_LIMIT}, "admin": {"address": "127.0.0.1:0"}}

    def _play(self, body, wire):
        # In the words of any dialect.
        run = self.plays[re.search(rb"fault-\d+", body)[0].decode()]
        run.case.play(wire, run.wait_arrived)

    def _h1(self, connection, request):
        wire = faults.Wire1(connection)
        self._play(request.split(b"\r\n\r\n", 1)[1], wire)
        return "close" if wire.is_over else None

    def _h2(self, stream):
        self._play(stream.wait_body(), faults.Wire2(stream))

    def path(self, run):
        kind = f"-{run.case.upstream}" if run.case.upstream else ""
        return f"/{run.cell.protocol}{kind}/{run.cell.format}"

    def body(self, run):
        return {"model": "m", "stream": not run.is_document, "messages": [{"role": "user", "content": run.id}]}

    def over_h1(self, run):
        connection = connect(self.proxy.port)
        fields = ["Connection: close", f"X-Request-Id: {run.id}"]
        connection.sendall(request_bytes(self.path(run), self.body(run), headers=fields))
        connection.settimeout(PATIENCE)
        data = b""
        try:
            while more := connection.recv(65536):
                data += more
                run.saw(data)
        except ConnectionError:
            pass
        connection.close()
        reply = Reply(data)
        return reply.status, reply.headers, reply.body, reply.complete

    def over_h2(self, run):
        client = getattr(self.local, "client", None)
        if client is None or client.is_over:
            client = self.local.client = connect_http2(self.proxy.port)
        stream = client.request(self.path(run), self.body(run), fields=[("x-request-id", run.id)])

        def is_over(stream):
            run.saw(stream.body)
            return stream.is_over

        stream.wait(is_over, "its end", PATIENCE)
        return stream.status, dict(stream.fields), bytes(stream.body), stream.complete

    def perform(self, run):
        self.plays[run.id] = run
        try:
            check(run, *(self.over_h1(run) if run.client == "h1" else self.over_h2(run)))
        except (AssertionError, FormatError, OSError, ValueError) as error:
            run.problem = f"{type(error).__name__}: {str(error)[:700]}"

    def check_log(self, runs):
        """The log's word for each ending."""
        wanted = {run.id for run in runs}
        until(lambda: wanted <= {entry["request_id"] for entry in self.proxy.exchanges()}, PATIENCE, "a line for each exchange")
        ends = {entry["request_id"]: entry["end"] for entry in self.proxy.exchanges()}
        for run in runs:
            if ends[run.id] != run.case.wanted.end:
                said = f"the log says `{ends[run.id]}` and not `{run.case.wanted.end}`"
                run.problem = f"{run.problem}; {said}" if run.problem else said

    def check_metrics(self, runs):
        """`sluice_streams_ended_total` counts each ending under its route and the same word."""
        wanted = collections.Counter((self.path(run), run.case.wanted.end) for run in runs)
        families = exposition.parse(fetch(admin_port(self.proxy), "/metrics").body.decode())
        for run in runs:
            route, reason = self.path(run), run.case.wanted.end
            counted = exposition.value(families, "sluice_streams_ended_total", route=route, reason=reason)
            if counted != wanted[route, reason] and not run.problem:
                run.problem = f"the metric counts {counted:.0f} and not {wanted[route, reason]} `{reason}` of {route}"

    def close(self):
        self.proxy.stop()
        for peer in self.peers.values():
            peer.close()


def check(run, status, headers, body, complete):
    """What the client got, against what the table promises."""
    wanted, format = run.case.wanted, run.cell.format
    shown = f"{status}, {'complete' if complete else 'cut'}: {body[-300:]!r}"
    assert "content-encoding" not in headers, f"Content-Encoding: {headers['content-encoding']}"
    if wanted.seen == REFUSED:
        assert complete and 500 <= status == (wanted.status or status), f"wanted {wanted.status or '5xx'}, got {shown}"
        assert headers["content-type"] == "application/json" and error_message(format, json.loads(body)), shown
        return
    assert status == 200, f"wanted 200, got {shown}"
    if run.is_document:
        assert complete and headers["content-type"] == "application/json", shown
        assert wanted.text in texts(json.loads(body)), f"the text {wanted.text!r} is not in {shown}"
        return
    assert complete == (wanted.seen != ABORTED), f"wanted {wanted.seen}, got {shown}"
    if format == PASSTHROUGH:
        # Half an event that came before a fault may have been relayed already.
        is_more = wanted.seen == ABORTED and body.startswith(wanted.raw)
        assert body == wanted.raw or is_more or is_cut_short(wanted, body), f"not the upstream's bytes: {shown}"
        return
    check_text(run, body, shown)


def texts(value):
    """All strings of a document."""
    if isinstance(value, dict):
        value = list(value.values())
    return [value] if isinstance(value, str) else sum(map(texts, value), []) if isinstance(value, list) else []


def for_document(case):
    """What a client is to get that asked for one document: all of it, or the truth as a status."""
    wanted = case.wanted
    if wanted.seen in (TOLD, ABORTED):
        wanted = dataclasses.replace(wanted, seen=REFUSED, status=504 if wanted.end == "idle" else 502)
    return dataclasses.replace(case, wanted=wanted)


def is_cut_short(wanted, body):
    """A fault inside an event: its bytes may be out, or not."""
    return wanted.seen == ABORTED and wanted.raw.startswith(body) and faults.MARKER in body


def check_text(run, body, shown):
    wanted, format = run.case.wanted, run.cell.format
    if run.cell.fault == "invalid UTF-8" and format == OWN_FORMAT[run.provider.dialect]:
        # Relayed as it came; every client of an event stream or of lines decodes it so.
        body = body.decode(errors="replace").encode()
    answer = read(format, body)
    assert answer.text == wanted.text, f"the text is {answer.text!r} and not {wanted.text!r}: {shown}"
    if wanted.seen == ABORTED:
        return
    assert (answer.error is None) == (wanted.seen == WHOLE), f"the error is {answer.error!r}: {shown}"
    assert answer.complete == (wanted.seen == WHOLE), f"wanted {wanted.seen}, got {shown}"


def error_message(format, document):
    """The words of an error document, where its format has them."""
    if format.startswith("ollama"):
        return document["error"] if isinstance(document["error"], str) else None
    if format in ("cohere", "mlflow"):
        return document["message" if format == "cohere" else "detail"]
    return document["error"]["message"]


def perform(provider, names, formats=FORMATS, is_document=False):
    """All cells of these faults."""
    world = World(provider)
    cells, runs = [], []
    try:
        for fault in names:
            for protocol in ("h1", "h2"):
                for format in formats:
                    cells.append(Cell(fault, protocol, format))
                    for case in faults.Plays(provider, format, protocol == "h2").of(fault):
                        case = for_document(case) if is_document else case
                        for client in ("h1", "h2"):
                            run = Run(len(runs), cells[-1], case, client, is_document)
                            run.provider = provider
                            runs.append(run)
        with concurrent.futures.ThreadPoolExecutor(LANES) as pool:
            # The slow ones first, side by side.
            list(pool.map(world.perform, sorted(runs, key=lambda run: run.case.upstream, reverse=True)))
        world.check_log(runs)
        world.check_metrics(runs)
        assert world.proxy.process.poll() is None, world.proxy.errors[-2000:]
    finally:
        world.close()
    for run in runs:
        run.cell.runs += 1
        if run.problem:
            run.cell.problems.append(f"{run.case.name}, {run.client} client: {run.problem}")
    return cells


def report(cells, began, dialect, is_short=False):
    """A line for each fault, and the sum; the cells that failed."""
    found = collections.Counter((cell.fault, cell.protocol, not cell.problems) for cell in cells)
    for fault in [] if is_short else dict.fromkeys(cell.fault for cell in cells):
        says, text, own, through, end = SEEN[fault]
        counts = ", ".join(f"{p} {found[fault, p, True]}/{found[fault, p, True] + found[fault, p, False]}" for p in ("h1", "h2"))
        print(f"  {fault:<22} {says:<8} text: {text:<8} passthrough: {through:<8} end: {end:<15} {counts}")
    passed = sum(not cell.problems for cell in cells)
    names, formats = {cell.fault for cell in cells}, {cell.format for cell in cells}
    print(f"  {len(names)} faults x 2 protocols x {len(formats)} formats ({dialect}): {len(cells)} cells, {passed} passed; "
          f"{sum(cell.runs for cell in cells)} exchanges in {time.monotonic() - began:.0f} s")
    for cell in cells:
        # Those that only suffer from another's wrong ending come last.
        for problem in sorted(cell.problems, key=lambda problem: "the metric counts" in problem)[:6]:
            print(f"  FAILED {cell.fault} / {cell.protocol} upstream / {cell.format}: {problem}")
    return passed


def markdown(cells, file):
    lines = ["| fault | formats that can say it | `text` | the upstream's own format | `passthrough` | `end` in the log | "
             "cells passed, HTTP/1.1 upstream | HTTP/2 |", "|---|---|---|---|---|---|---|---|"]
    for fault, (says, text, own, through, end) in SEEN.items():
        counts = []
        for protocol in ("h1", "h2"):
            mine = [cell for cell in cells if (cell.fault, cell.protocol) == (fault, protocol)]
            counts.append(f"{sum(not cell.problems for cell in mine)} of {len(mine)}")
        lines.append(f"| {fault} | {says} | {text} | {own} | {through} | `{end}` | {counts[0]} | {counts[1]} |")
    with open(file, "w") as out:
        out.write("\n".join(lines) + "\n")


#: What a provider's dialect has a part in.
DIALECTS_PART = ["cut at every event", "FIN", "bad JSON", "oversized event", "200 with a JSON error", "invalid UTF-8"]


def check_provider(dialect, names):
    began = time.monotonic()
    cells = perform(PROVIDERS[dialect], names)
    passed = report(cells, began, f"{dialect} upstream")
    if (file := os.environ.get("FAULTS_MARKDOWN")) and list(names) == list(SEEN):
        markdown(cells, file)
    assert passed == len(cells), f"{len(cells) - passed} cells failed"


def test_every_fault_in_every_format():
    check_provider(os.environ.get("FAULTS", "openai-chat"), SEEN)


def test_every_fault_for_clients_of_one_document():
    """`stream: false`: whatever breaks, nothing has gone out yet, so each of them gets all of it or an error's status."""
    began = time.monotonic()
    cells = perform(PROVIDERS["openai-chat"], SEEN, DOCUMENTS, is_document=True)
    passed = report(cells, began, "`stream: false`", is_short=True)
    assert passed == len(cells), f"{len(cells) - passed} cells failed"


def test_faults_that_depend_on_the_dialect():
    for dialect in ("anthropic-messages", "gemini", "ollama-chat"):
        began = time.monotonic()
        cells = perform(PROVIDERS[dialect], DIALECTS_PART, ["text", "ndjson", OWN_FORMAT[dialect], PASSTHROUGH])
        passed = report(cells, began, f"{dialect} upstream", is_short=True)
        assert passed == len(cells), f"{len(cells) - passed} cells failed"


def test_a_lie_would_be_seen():
    """The checks themselves: what looks whole is no broken stream, what is cut is not whole, and other words are not the right ones."""
    good = b"".join([*OPENING, *map(faults.OpenAI.token, faults.TOKENS), *faults.OpenAI.closing()])
    lies = [
        (TOLD, "openai-chat", 200, good, True), (ABORTED, "text", 200, "".join(faults.TOKENS).encode(), True),
        (WHOLE, "openai-chat", 200, good, False), (WHOLE, "openai-chat", 200, good[:-14], True),
        (WHOLE, "text", 200, "".join(faults.TOKENS[:-1]).encode(), True), (REFUSED, "text", 200, b"", True),
        (REFUSED, "text", 502, b"{}", True), (RELAYED, PASSTHROUGH, 200, b"other bytes", True),
        (ABORTED, PASSTHROUGH, 200, good, True), (ABORTED, PASSTHROUGH, 200, b"", False),
        (TOLD, "openai-chat", 200, good[:len(good) // 2], True),
    ]
    for seen_as, format, status, body, complete in lies:
        wanted = faults.Wanted(seen_as, "", "".join(faults.TOKENS), None if seen_as == REFUSED else 200, good)
        run = Run(0, Cell("a lie", "h1", format), faults.Case("", None, wanted), "h1")
        run.provider = faults.OpenAI
        try:
            check(run, status, {"content-type": "application/json"}, body, complete)
        except (AssertionError, FormatError, KeyError):
            continue
        raise AssertionError(f"believed: {seen_as} as {format}: {status}, {body[-60:]!r}, {complete}")
