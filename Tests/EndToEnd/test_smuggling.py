"""What reaches an upstream of requests, and a client of responses, on which two parsers could disagree.

The cases stand in `smuggling_cases.py`. `SMUGGLING_MARKDOWN=FILE` writes what was sent and what arrived there.
"""

import os
import re
import socket
import threading

import smuggling_cases as cases
from frames import END_HEADERS, END_STREAM, FrameClient, GOAWAY, HEADERS, RST_STREAM
from frames import DATA as DATA_FRAME
from harness import Sluice, connect, until
from http2_peer import CANCEL, Http2Peer, frame
from recorders import Odd, Recorder1, Recorder2, field_block, response_frames

PATIENCE = 10
AFTER = b"GET /@/after HTTP/1.1\r\nHost: sluice.test\r\nConnection: close\r\n\r\n"


class World:
    """A proxy with a route to a recorder of each protocol."""

    def __init__(self):
        self.recorders = {"h1": Recorder1(), "h2": Recorder2()}
        upstreams = {name: {"url": each.url, "dialect": "raw", "http": {"h1": "1.1", "h2": "2"}[name]}
                     for name, each in self.recorders.items()}
        routes = []
        for name in upstreams:
            more = {"request": "passthrough", "response": "passthrough", "upstream": name}
            routes += [{"path": f"/{name}/open/*", "forward_credentials": True, **more}, {"path": f"/{name}/*", **more}]
        self.proxy = Sluice({"listeners": [{"address": "127.0.0.1:0"}], "workers": 1, "upstreams": upstreams, "routes": routes})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.proxy.stop()
        for each in self.recorders.values():
            each.close()


class Report:
    """How the cases went."""

    def __init__(self, what):
        self.what, self.failures, self.rows, self.count = what, [], [], 0

    def add(self, case, way, sent, arrived, problem):
        self.count += 1
        self.rows.append((way, case.section, case.name, sent, arrived))
        if problem:
            self.failures.append(f"{way}: {case.name} (RFC {case.section}): {problem}")

    def close(self, ambiguous):
        self.ambiguous = ambiguous
        print(f"  {self.what}: {self.count} cases, {len(ambiguous)} ambiguous forwarded, {len(self.failures)} failed")
        if file := os.environ.get("SMUGGLING_MARKDOWN"):
            with open(file, "a") as out:
                print(f"## {self.what}: {self.count} cases, {len(ambiguous)} ambiguous forwarded\n", file=out)
                print("| way | RFC | case | sent | arrived |\n|---|---|---|---|---|", file=out)
                for row in self.rows:
                    print("| " + " | ".join(cell(text) for text in row) + " |", file=out)
                print(file=out)
        return self


def cell(value):
    text = value if isinstance(value, str) else repr(value)
    text = text if len(text) <= 600 else text[:300] + " … " + text[-200:]
    return text.replace("|", "\\|").replace("\n", "\\n")


# What must have reached the upstream

def wanted(reached, protocol, port):
    """The bytes or the fields that stand for a `Reached`."""
    has_length = not reached.chunked and (reached.body or reached.method not in ("GET", "HEAD"))
    own = [("X-Request-Id", "ID"), ("Accept-Encoding", "identity")]
    if protocol == "h1":
        lines = [f"{reached.method} {reached.target} HTTP/1.1", f"host: 127.0.0.1:{port}"]
        lines += [f"{name}: {value}" for name, value in [*reached.fields, *own]]
        if has_length:
            lines.append(f"content-length: {len(reached.body)}")
        elif reached.chunked:
            lines.append("transfer-encoding: chunked")
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + reached.body
    fields = [(":method", reached.method), (":path", reached.target), (":scheme", "http"), (":authority", f"127.0.0.1:{port}")]
    fields += [(name.lower(), value) for name, value in [*reached.fields, *own]]
    fields += [("content-length", str(len(reached.body)))] if has_length else []
    return sorted((name.encode(), value.encode("latin-1")) for name, value in fields), reached.body


def normal(request, protocol):
    """A recorded request in the same form: the id is replaced, chunks are joined."""
    if protocol == "h1":
        return re.sub(rb"X-Request-Id: \w+", b"X-Request-Id: ID", request[1])
    fields = [(name, b"ID" if name == b"x-request-id" else value) for name, value in request[0]]
    return sorted(fields), request[1]


def check_reached(case, protocol, recorder, is_followed):
    """Returns what reached the upstream, and what is wrong with it."""
    late = isinstance(case.sent, cases.Frames) and case.sent.late
    own = f"{cases.LATE}{late}" if late else None
    recorded = [request for request in recorder.taken() if cases.LATE not in str(request[0]) or own and own in str(request[0])]
    found = [normal(request, protocol) for request in recorded]
    after = cases.Reached("GET", "/v1/after", b"")
    expected = [wanted(each, protocol, recorder.port) for each in [*case.reached, *([after] if is_followed else [])]]
    is_right = found == expected or late and found == expected[:len(found)]
    shown = [request[0] if protocol == "h1" else request[:2] for request in recorded]
    return shown, None if is_right else f"reached the upstream: {found}, and not {expected}"


# HTTP/1.1

class Reader:
    """Responses of one connection, one after the other."""

    def __init__(self, port):
        self.sock = connect(port)
        self.data = b""
        self.is_closed = False

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError:
            pass

    def more(self):
        self.sock.settimeout(PATIENCE)
        try:
            more = self.sock.recv(65536)
        except ConnectionError:
            more = b""
        self.is_closed = not more
        self.data += more
        return bool(more)

    def response(self, method="GET"):
        """(status, fields, body, is complete); None at the end. Interim responses are passed over."""
        while b"\r\n\r\n" not in self.data:
            if not self.more():
                return None
        head, _, self.data = self.data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split()[1])
        if status < 200:
            return self.response(method)
        fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
        if method == "HEAD" or status in (204, 304):
            return status, fields, b"", True
        return status, fields, *self.body(fields)

    def body(self, fields):
        if "content-length" in fields:
            count = int(fields["content-length"])
            while len(self.data) < count and self.more():
                pass
            body, self.data = self.data[:count], self.data[count:]
            return body, len(body) == count
        assert fields.get("transfer-encoding") == "chunked", fields
        body = b""
        while True:
            while b"\r\n" not in self.data:
                if not self.more():
                    return body, False
            size, _, self.data = self.data.partition(b"\r\n")
            count = int(size, 16)
            while len(self.data) < count + 2:
                if not self.more():
                    return body + self.data[:count], False
            body, self.data = body + self.data[:count], self.data[count + 2:]
            if count == 0:
                return body, True

    def close(self):
        self.sock.close()


def perform_h1(world, case, protocol):
    """Sends the case with another request right behind it; returns the bytes, what arrived, and what is wrong."""
    sent = case.sent.replace(b"/@/", f"/{protocol}/".encode())
    client = Reader(world.proxy.port)
    client.send(sent + AFTER.replace(b"/@/", f"/{protocol}/".encode()))
    methods = [each.method for each in case.reached] if case.refused is None else [each.method for each in case.reached] + [""]
    answers = [client.response(method) for method in methods]
    is_followed = case.goes_on or case.refused is None and not case.closes
    if is_followed:
        answers.append(client.response())
    rest = client.response()
    client.close()
    shown, problem = check_reached(case, protocol, world.recorders[protocol], is_followed)
    if problem:
        return sent, shown, problem
    statuses = [answer and answer[0] for answer in answers]
    expected = [200] * len(case.reached) + [case.refused] * (case.refused is not None) + [200] * is_followed
    if statuses != expected or rest is not None or client.data:
        return sent, shown, f"the client got {answers} and then {rest or client.data}, and not {expected}"
    return sent, shown, None


def run_requests(what, listed, perform):
    report = Report(what)
    with World() as world:
        for protocol in ("h1", "h2"):
            for case in listed:
                report.add(case, f"{what.split()[0]} to {protocol}", *guarded(perform, world, case, protocol))
        # What a late thread has recorded counts too.
        found = [request for recorder in world.recorders.values() for request in recorder.taken()]
        late = [request for request in found if cases.LATE not in str(request[0])]
        assert not late, f"reached an upstream later: {late}"
        return report.close([problem for recorder in world.recorders.values() for problem in recorder.problems])


def guarded(perform, world, case, protocol):
    try:
        return perform(world, case, protocol)
    except Exception as error:  # noqa: BLE001: one case that goes wrong is a failure, and not the end
        return case.sent, [], f"{type(error).__name__}: {error}"


# HTTP/2

def perform_h2(world, case, protocol):
    sent = case.sent
    fields = [(name, value.replace("/@/", f"/{protocol}/")) for name, value in sent.fields]
    client = FrameClient(world.proxy.port, path=f"/{protocol}/after")
    is_bare = not sent.data and sent.trailers is None
    wire = [frame(HEADERS, END_HEADERS | (END_STREAM if is_bare else 0), 1, field_block(fields))]
    for index, data in enumerate(sent.data):
        is_last = index == len(sent.data) - 1 and sent.trailers is None
        wire.append(frame(DATA_FRAME, END_STREAM if is_last else 0, 1, data))
    if sent.trailers is not None:
        wire.append(frame(HEADERS, END_HEADERS | END_STREAM, 1, field_block(sent.trailers)))
    if sent.late:
        wire.append(frame(DATA_FRAME, END_STREAM, 1, b"late") if sent.late == "data" else
                    frame(HEADERS, END_HEADERS | END_STREAM, 1, field_block(fields)))
    client.send(*wire)
    outcome = verdict(client, 1)
    is_alive = outcome not in ("closed", "GOAWAY")
    if is_alive:
        client.send(client.headers(3, field_block(cases.fields(path=f"/{protocol}/after"))))
        follow = verdict(client, 3)
        is_alive = follow == 200
    client.close()
    shown, problem = check_reached(case, protocol, world.recorders[protocol], is_alive)
    if problem:
        return (fields, *wire[1:]), shown, problem
    if case.refused is None:
        is_right = outcome == 200 or sent.late and outcome in ("RST_STREAM", "GOAWAY", "closed")
    else:
        is_any = case.refused == 400 and (outcome in ("RST_STREAM", "GOAWAY") or outcome in range(400, 500))
        is_right = outcome == case.refused or is_any
    if not is_right or not is_alive and outcome not in ("GOAWAY", "closed"):
        return (fields, *wire[1:]), shown, f"the client got {outcome}, and not {case.refused or 200}"
    return (fields, *wire[1:]), shown, None


def verdict(client, stream):
    """The status of the answer, once it is whole; else what came in its place."""
    status = None
    try:
        while True:
            kinds = (HEADERS, DATA_FRAME, RST_STREAM)
            found = client.wait(lambda f: f.kind == GOAWAY or f.stream == stream and f.kind in kinds, "an answer")
            if found.kind in (GOAWAY, RST_STREAM):
                return "GOAWAY" if found.kind == GOAWAY else "RST_STREAM"
            if found.kind == HEADERS:
                heads = dict(client.decoder.decode(found.payload))
                status = int(heads[":status"]) if status in (None, 100) else status
            if found.flags & END_STREAM:
                return status
    except AssertionError as error:
        if "closed after" in str(error):
            return "closed"
        raise


# Responses

def perform_response(world, case, protocol):
    """A request that the case answers, and one behind it, which must get its own answer and no other."""
    recorder = world.recorders[protocol]
    answered = threading.Event()
    closed = threading.Event()
    recorder.reply = (scripted_h1 if protocol == "h1" else scripted_h2)(recorder, case, answered, closed)
    client = Reader(world.proxy.port)
    request = f"{case.method} /{protocol}/a HTTP/1.1\r\nHost: sluice.test\r\n\r\n".encode()
    client.send(request)
    first = client.response(case.method)
    answered.set()
    if case.late:
        assert closed.wait(PATIENCE), "the connection with stray bytes on it stays open"
    problem = judge(case, first, client)
    if client.is_closed or first is None or not first[3] or first[1].get("connection") == "close":
        client.close()
        client = Reader(world.proxy.port)
    request = f"GET /{protocol}/second HTTP/1.1\r\nHost: sluice.test\r\nConnection: close\r\n\r\n".encode()
    client.send(request)
    second = client.response()
    if second is None:
        # Closed meanwhile, for what came behind an answer without a body.
        client = Reader(world.proxy.port)
        client.send(request)
        second = client.response()
    rest = client.response()
    client.close()
    requests = recorder.taken()
    if second is None or (second[0], second[2], second[3]) != (200, b"second", True) or rest:
        problem = problem or f"the next request got {second}, then {rest}"
    if len(requests) != 2:
        problem = problem or f"{len(requests)} requests at the upstream"
    elif (requests[0][2] == requests[1][2]) != case.reused and protocol == "h1":
        problem = problem or ("the connection was not used again" if case.reused else "the connection was used again")
    return case.sent, (first, second), problem


def judge(case, first, client):
    wanted = case.answered
    if first is None:
        return None if wanted.body is None else "no answer"
    status, fields, body, complete = first
    if case.method == "HEAD" and status == 200 and fields.get("content-length", "5") != "5":
        return f"a length that GET would not have: {fields}"
    if wanted.body is not None:
        is_right = (status, body, complete) == (wanted.status, wanted.body, True)
        return None if is_right else f"the client got {first}, and not {wanted}"
    if status == 502 and complete:
        return None
    if wanted.status == 200 and case.method != "HEAD":
        return None if status == 200 and not complete else f"the client got {first}: not visibly cut"
    return None if status == wanted.status and not body else f"the client got {first}, and not {wanted}"


def scripted_h1(recorder, case, answered, closed):
    begun = []

    def reply(connection, wire):
        if begun:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond")
            return True
        begun.append(True)
        connection.sendall(case.sent)
        if case.ends:
            return False
        if case.late:
            assert answered.wait(PATIENCE)
            connection.sendall(case.late)
            connection.settimeout(PATIENCE)
            try:
                if connection.recv(1) == b"":
                    closed.set()
            except ConnectionError:
                closed.set()
            return False
        return True

    return reply


def scripted_h2(recorder, case, answered, closed):
    begun = []

    def reply(stream):
        if begun:
            return response_frames(stream, [(":status", "200"), ("content-length", "6")], (b"second",))
        begun.append(True)
        return response_frames(stream, case.sent.fields, case.sent.data, case.sent.trailers)

    return reply


def run_responses(what, listed, protocol):
    report = Report(what)
    with World() as world:
        for case in listed:
            report.add(case, f"from {protocol}", *guarded(perform_response, world, case, protocol))
        return report.close(world.recorders[protocol].problems)


def test_nothing_ambiguous_is_forwarded():
    if file := os.environ.get("SMUGGLING_MARKDOWN"):
        open(file, "w").close()
    reports = [
        run_requests("HTTP/1.1 requests", cases.H1_REQUESTS, perform_h1),
        run_requests("HTTP/2 requests", cases.H2_REQUESTS, perform_h2),
        run_responses("HTTP/1.1 responses", cases.H1_RESPONSES, "h1"),
        run_responses("HTTP/2 responses", cases.H2_RESPONSES, "h2"),
    ]
    failures = [failure for report in reports for failure in report.failures]
    ambiguous = [each for report in reports for each in report.ambiguous]
    print(f"  {sum(report.count for report in reports)} cases, {len(ambiguous)} ambiguous forwarded")
    for failure in failures:
        print(f"  FAILED {failure[:600]}")
    assert not ambiguous, ambiguous
    assert not failures, f"{len(failures)} cases failed"


def break_late(proxy, protocol, way, has_come):
    """Half a request in chunks goes on as it comes, and then the rest is not what it should be; returns the answer."""
    client = Reader(proxy.port)
    client.send(cases.head(cases.TE, target=f"/{protocol}/a") + b"5\r\nhello\r\n")
    assert has_come.wait(PATIENCE), "the first chunk does not go on"
    if way is None:
        client.close()
        return None
    client.send(way + AFTER.replace(b"/@/", f"/{protocol}/".encode()))
    found = client.response()
    assert client.response() is None and not client.data, "something was read behind the fault"
    client.close()
    return found


def test_half_a_request_is_never_ended_as_if_it_were_whole():
    """What has gone on already of a request that then breaks must be visibly cut at the upstream."""
    for way in (b"+5\r\nhello\r\n0\r\n\r\n", b"5\r\nhelloX", b"0\r\nX-A: b\n\r\n", None):
        has_come, has_ended, received = threading.Event(), threading.Event(), []

        def serve(server):
            connection, _ = server.accept()
            connection.settimeout(PATIENCE)
            data = b""
            try:
                while more := connection.recv(65536):
                    data += more
                    if b"hello" in data:
                        has_come.set()
            except ConnectionError:
                pass
            received.append(data)
            has_ended.set()
            connection.close()

        def script(stream):
            stream.wait(lambda s: s.body, "a part of the body")
            has_come.set()
            stream.wait_left()
            received.append(stream.ended or stream.reset)
            has_ended.set()

        for protocol in ("h1", "h2"):
            for event in (has_come, has_ended):
                event.clear()
            received.clear()
            with socket.create_server(("127.0.0.1", 0)) as server, Http2Peer(script) as peer:
                threading.Thread(target=serve, args=(server,), daemon=True).start()
                urls = {"h1": f"http://127.0.0.1:{server.getsockname()[1]}/v1", "h2": peer.url}
                upstreams = {"u": {"url": urls[protocol], "dialect": "raw", "http": {"h1": "1.1", "h2": "2"}[protocol]}}
                route = {"path": f"/{protocol}/*", "request": "passthrough", "response": "passthrough", "upstream": "u"}
                listeners = [{"address": "127.0.0.1:0"}]
                with Sluice({"listeners": listeners, "workers": 1, "upstreams": upstreams, "routes": [route]}) as proxy:
                    answer = break_late(proxy, protocol, way, has_come)
                    assert has_ended.wait(PATIENCE), "the upstream is not told"
                assert way is None or answer[0] == 400, answer
                if protocol == "h1":
                    assert not received[0].endswith(b"0\r\n\r\n") and received[0].count(b"HTTP/1.1") == 1, received
                else:
                    assert received[0] == CANCEL, f"ended, or reset with {received[0]}"


def test_the_recorders_know_what_is_odd():
    plain = b"POST /v1/a HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello"
    odd = [
        plain.replace(b"content", b"transfer-encoding: chunked\r\ncontent", 1),
        plain.replace(b"host: a", b"host: a\r\nhost: b"),
        plain.replace(b": 5", b": +5"), plain.replace(b"\r\nhost", b"\nhost"), plain.replace(b"a\r\nc", b"a\r\n c"),
        plain.replace(b"HTTP/1.1", b"HTTP/1.0"), plain.replace(b"POST /", b"POST  /"), plain.replace(b"host:", b"host :"),
        b"POST /v1/a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5;a\r\nhello\r\n0\r\n\r\n",
    ]
    recorder = Recorder1()
    for data in (plain, *odd):
        before = len(recorder.problems)
        with socket.create_connection(("127.0.0.1", recorder.port), PATIENCE) as sock:
            sock.sendall(data)
            sock.settimeout(PATIENCE)
            try:
                answer = sock.recv(4096)
            except ConnectionError:
                answer = b""
        if data == plain:
            assert answer.startswith(b"HTTP/1.1 200") and not recorder.problems, recorder.problems
        else:
            until(lambda: len(recorder.problems) > before, what=f"a problem with {data!r}")
    recorder.close()
    pseudo = [(b":method", b"POST"), (b":path", b"/"), (b":scheme", b"http"), (b":authority", b"a")]
    Recorder2.check([*pseudo, (b"content-length", b"5")], cases.BODY)
    for more in ([(b"content-length", b"4")], [(b"X-A", b"b")], [(b"x-a", b"b\r\nc")], [(b"transfer-encoding", b"chunked")],
                 [(b":path", b"/b")], [(b"content-length", b"5")] * 2, [(b"host", b"b")], [(b"x a", b"b")]):
        try:
            Recorder2.check([*pseudo, *more], cases.BODY)
        except Odd:
            continue
        raise AssertionError(f"taken for good: {more}")
