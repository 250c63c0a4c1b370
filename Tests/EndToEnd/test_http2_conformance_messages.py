"""RFC 9113 §8: requests and answers, well-formed and not."""

import conformance_cases
from conformance_cases import case
from frames import *  # noqa: F403: names of frames, flags and codes
from http2_peer import frame
from test_http2_conformance import setting


def refused(client, fields, stream=1):
    """A malformed request: an error of the stream, or a 4xx before it (RFC 9113 §8.1.1 allows both)."""
    client.send(client.headers(stream, client.block(fields)))
    expect_refusal(client, stream)


def expect_refusal(client, stream):
    found = client.wait(lambda f: f.kind == GOAWAY or f.stream == stream and f.kind in (HEADERS, RST_STREAM),
                        "a refusal of the request")
    if found.kind == HEADERS:
        status = dict(client.decoder.decode(found.payload))[":status"]
        assert status.startswith("4"), f"status {status}"
    else:
        code = int.from_bytes(found.payload[4:8] if found.kind == GOAWAY else found.payload[:4], "big")
        assert code == PROTOCOL_ERROR, describe(found)


# 8.1 Messages

for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
    @case(f"8.1 {method}")
    def plain(client, method=method):
        client.get(1, method=method)
        fields, body = client.expect_answer(1)
        wanted = b"" if method == "HEAD" else f"{method} 0".encode()
        assert body == wanted and fields["content-type"] == "text/plain", (fields, body)


@case("8.1 a body in several DATA frames")
def body(client):
    client.send(client.headers(1, flags=END_HEADERS, method="POST"), frame(DATA, 0, 1, b"one"), frame(DATA, 0, 1, b"two"),
                frame(DATA, END_STREAM, 1, b"3"))
    assert client.expect_answer(1)[1] == b"POST 7"


@case("8.1 trailers")
def trailers(client):
    client.send(client.headers(1, flags=END_HEADERS, method="POST"), frame(DATA, 0, 1, b"body"),
                client.headers(1, client.block([("x-trailer", "1")])))
    assert client.expect_answer(1)[1] == b"POST 4"


@case("8.1 trailers without END_STREAM")
def trailers_without_end(client):
    client.send(client.headers(1, flags=END_HEADERS, method="POST"), frame(DATA, 0, 1, b"body"),
                client.headers(1, client.block([("x-trailer", "1")]), END_HEADERS))
    client.expect_stream_error(1, PROTOCOL_ERROR)


@case("8.1 trailers with a pseudo-header field")
def pseudo_trailers(client):
    client.send(client.headers(1, flags=END_HEADERS, method="POST"), frame(DATA, 0, 1, b"body"),
                client.headers(1, client.block([(":method", "GET")])))
    client.expect_stream_error(1, PROTOCOL_ERROR)


@case("8.1 streams in parallel, answered each")
def parallel(client):
    streams = [1 + 2 * index for index in range(20)]
    client.send(*[client.headers(stream) for stream in streams])
    open_streams = set(streams)
    while open_streams:
        found = client.wait(lambda f: f.flags & END_STREAM and f.kind in (HEADERS, DATA), f"an end of {open_streams}")
        open_streams.discard(found.stream)


# 8.1.1 Malformed messages

for text in ("1", "3", "-4", "4x", ""):
    @case(f"8.1.1 content-length '{text}' with 4 bytes in one DATA frame")
    def wrong_length(client, text=text):
        client.send(client.headers(1, flags=END_HEADERS, method="POST", more=[("content-length", text)]),
                    frame(DATA, END_STREAM, 1, b"body"))
        expect_refusal(client, 1)


@case("8.1.1 content-length with less in several DATA frames")
def wrong_length_in_parts(client):
    client.send(client.headers(1, flags=END_HEADERS, method="POST", more=[("content-length", "9")]),
                frame(DATA, 0, 1, b"body"), frame(DATA, END_STREAM, 1, b"body"))
    expect_refusal(client, 1)


@case("8.1.1 content-length and END_STREAM on HEADERS")
def length_without_body(client):
    refused(client, client.fields("POST", more=[("content-length", "4")]))


@case("8.1.1 content-length that is right")
def right_length(client):
    client.send(client.headers(1, flags=END_HEADERS, method="POST", more=[("content-length", "4")]),
                frame(DATA, END_STREAM, 1, b"body"))
    assert client.expect_answer(1)[1] == b"POST 4"


@case("8.1.1 a malformed request leaves the connection usable")
def goes_on(client):
    client.send(client.headers(1, client.block(client.fields(more=[("Upper", "case")]))))
    expect_refusal(client, 1)
    client.get(3)
    client.expect_answer(3)


# 8.2 Fields

BAD_FIELDS = {
    "8.2 a name in upper case": ("X-Test", "1"), "8.2.1 an empty name": ("", "1"), "8.2.1 a space in a name": ("x y", "1"),
    "8.2.1 a colon in a name": ("x:y", "1"), "8.2.1 a control byte in a name": ("x\x01", "1"),
    "8.2.1 a byte above 0x7f in a name": ("x\x80", "1"), "8.2.1 NUL in a value": ("x-test", "a\x00b"),
    "8.2.1 LF in a value": ("x-test", "a\nb"), "8.2.1 CR in a value": ("x-test", "a\rb"),
    "8.2.1 a space before a value": ("x-test", " a"), "8.2.1 a space behind a value": ("x-test", "a "),
    "8.2.1 a tab before a value": ("x-test", "\ta"),
    "8.2.2 connection": ("connection", "close"), "8.2.2 keep-alive": ("keep-alive", "timeout=5"),
    "8.2.2 proxy-connection": ("proxy-connection", "keep-alive"), "8.2.2 transfer-encoding": ("transfer-encoding", "chunked"),
    "8.2.2 upgrade": ("upgrade", "h2c"), "8.2.2 te with other than trailers": ("te", "gzip"),
}
for name, field in BAD_FIELDS.items():
    @case(name)
    def bad_field(client, field=field):
        refused(client, client.fields(more=[field]))


@case("8.2.2 te: trailers")
def te_trailers(client):
    client.get(1, more=[("te", "trailers")])
    client.expect_answer(1)


@case("8.2.1 obs-text in a value")
def obs_text(client):
    client.get(1, more=[("x-test", "caf\xe9")])
    client.expect_answer(1)


@case("8.2.3 cookies in crumbs")
def cookies(client):
    client.get(1, more=[("cookie", "a=1"), ("cookie", "b=2")])
    client.expect_answer(1)


# 8.3 Pseudo-header fields

BAD_PSEUDO = {
    "8.3 an unknown one": lambda f: f + [(":test", "1")], "8.3 one of responses": lambda f: f + [(":status", "200")],
    "8.3 one behind a regular field": lambda f: f[1:] + [("x", "1"), f[0]],
    "8.3.1 no :method": lambda f: f[1:], "8.3.1 no :scheme": lambda f: [f[0]] + f[2:],
    "8.3.1 no :path": lambda f: f[:2] + f[3:], "8.3.1 an empty :path": lambda f: f[:2] + [(":path", "")] + f[3:],
    "8.3.1 :method twice": lambda f: f[:1] + f, "8.3.1 :scheme twice": lambda f: [f[1]] + f,
    "8.3.1 :path twice": lambda f: [f[2]] + f, "8.3.1 :authority twice": lambda f: [f[3]] + f,
    "8.3.1 a :path without a slash": lambda f: f[:2] + [(":path", "x/plain")] + f[3:],
    "8.3.1 a :path with a space": lambda f: f[:2] + [(":path", "/x/a b")] + f[3:],
    "8.3.1 :authority with user information": lambda f: f[:3] + [(":authority", "me@localhost")],
    "8.3.1 host that disagrees with :authority": lambda f: f + [("host", "other.example")],
    "8.3.1 an empty :method": lambda f: [(":method", "")] + f[1:],
}
for name, change in BAD_PSEUDO.items():
    @case(name)
    def bad_pseudo(client, change=change):
        refused(client, change(client.fields()))


@case("8.3.1 host in place of :authority")
def host_alone(client):
    client.send(client.headers(1, client.block(client.fields()[:3] + [("host", "localhost")])))
    client.expect_answer(1)


@case("8.3.1 neither host nor :authority")
def no_host(client):
    refused(client, client.fields()[:3])


@case("8.5 CONNECT is not served")
def connect(client):
    client.send(client.headers(1, client.block([(":method", "CONNECT"), (":authority", "localhost:1")]), END_HEADERS))
    expect_refusal(client, 1)


@case("8.5 extended CONNECT is off")
def extended_connect(client):
    assert client.settings.get(8, 0) == 0, client.settings
    refused(client, client.fields("CONNECT", more=[]) + [(":protocol", "websocket")])


@case("8.4 the server says nothing of push, and sends none")
def no_push(client):
    client.send(frame(SETTINGS, 0, 0, setting(2, 1)))
    client.get(1)
    client.expect_answer(1)
    assert not any(f.kind == PUSH_PROMISE for f in client.seen)


def test_messages():
    conformance_cases.run({name: made for name, made in conformance_cases.CASES.items() if made[0].__module__ == __name__})
