"""What the tests of traces share: a collector of OTLP over HTTP, and spans as they are looked at."""

import base64
import gzip
import http.server
import json
import sys
import threading

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

from harness import Sluice, config, until

INTERNAL, SERVER, CLIENT = 1, 2, 3
# So that no test waits for the usual five seconds.
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "20"}


class Span:
    """One span in plain words; ids are hexadecimal digits."""

    def __init__(self, span, resource):
        self.trace, self.id, self.parent = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
        self.name, self.kind, self.state, self.flags = span.name, span.kind, span.trace_state, span.flags
        self.start, self.end = span.start_time_unix_nano, span.end_time_unix_nano
        self.attributes = {each.key: value(each.value) for each in span.attributes}
        self.dropped_attributes = span.dropped_attributes_count
        self.events = {each.name: each.time_unix_nano for each in span.events}
        self.failed = span.status.code == 2
        self.failure = span.status.message
        self.resource = resource

    def __repr__(self):
        return f"{self.name}: {self.attributes} {self.failure}"

    def encloses(self, other):
        return self.start <= other.start <= other.end <= self.end


def value(any_value):
    kind = any_value.WhichOneof("value")
    found = getattr(any_value, kind)
    return [value(each) for each in found.values] if kind == "array_value" else found


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Collector:
    """Takes traces as a real one does: everything that it decodes is decoded by OpenTelemetry's own messages.

    `answers`: what the next requests get, each a status, or (status, headers), or a function of the handler; then 200.
    """

    def __init__(self, answers=(), address=("127.0.0.1", 0), context=None):
        self.requests, self.spans, self.problems, self.connections = [], [], [], 0
        self.answers = list(answers)
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                collector.connections += 1

            def do_POST(self):
                try:
                    collector.take(self)
                except OSError:
                    self.close_connection = True  # whoever asked has ended
                except Exception as error:  # for the test, which would else only see that nothing came
                    collector.problems.append(error)
                    raise

            def log_message(self, *_):
                pass

        self.server = Server(address, Handler)
        self.port = self.server.server_address[1]
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def take(self, handler):
        body = handler.rfile.read(int(handler.headers["content-length"]))
        self.requests.append((handler.path, dict(handler.headers.items())))
        answer = self.answers.pop(0) if self.answers else 200
        if callable(answer):
            return answer(handler)
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        if handler.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        kind = handler.headers["content-type"]
        if status == 200:
            message = from_json(body) if kind == "application/json" else ExportTraceServiceRequest.FromString(body)
            self.keep(message)
        self.reply(handler, status, headers, kind)

    def keep(self, message):
        for group in message.resource_spans:
            resource = {each.key: value(each.value) for each in group.resource.attributes}
            for scope in group.scope_spans:
                assert scope.scope.name == "sluice"
                self.spans += [Span(span, resource) for span in scope.spans]

    def reply(self, handler, status, headers=None, kind="application/x-protobuf", body=None):
        if body is None:
            body = b"{}" if kind == "application/json" else ExportTraceServiceResponse().SerializeToString()
        handler.send_response(status)
        for name, text in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
            handler.send_header(name, text)
        handler.end_headers()
        handler.wfile.write(body)

    def wait(self, count, seconds=20):
        until(lambda: len(self.spans) >= count, seconds, f"{count} spans; there are {self.spans} {self.problems}")
        assert len(self.spans) == count, self.spans
        return self.spans

    def one_trace(self, attempts=1):
        """The client's side and its attempts, in the order of their beginning."""
        spans = sorted(self.wait(attempts + 1), key=lambda each: (each.start, each.kind))
        server, rest = spans[0], spans[1:]
        assert server.kind == SERVER and all(each.kind == CLIENT for each in rest), spans
        for each in rest:
            assert each.trace == server.trace and each.parent == server.id and server.encloses(each), spans
        assert len({each.id for each in spans}) == len(spans)
        for one, other in zip(rest, rest[1:]):
            assert one.end <= other.start, spans
        return server, rest

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.close()
        if kind is None:
            assert not self.problems, self.problems


def from_json(body):
    """OTLP has ids in hexadecimal digits where protobuf's own mapping has base64."""
    document = json.loads(body)
    for group in document["resourceSpans"]:
        for scope in group["scopeSpans"]:
            for span in scope["spans"]:
                assert isinstance(span["startTimeUnixNano"], str) and isinstance(span["kind"], int)
                for name in ("traceId", "spanId", "parentSpanId"):
                    if name in span:
                        span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
    return json_format.ParseDict(document, ExportTraceServiceRequest())


def traced(collector, spec, **environment):
    """A proxy that exports to `collector` at once."""
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector if isinstance(collector, str) else collector.url, **SOON}
    return Sluice(spec, environment={**variables, **environment})


def admin_config(url, **more):
    return config(url, admin={"address": "127.0.0.1:0"}, **more)
