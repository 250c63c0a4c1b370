"""RFC 9113: how a connection begins, what frames may be, the life of streams. Messages and HPACK are in files of their own."""

import struct

import conformance_cases
from conformance_cases import case
from frames import *  # noqa: F403: names of frames, flags and codes
from http2_peer import PREFACE, frame, window_update


def word(value):
    return struct.pack(">I", value)


def setting(identifier, value):
    return struct.pack(">HI", identifier, value)


# 3.4 The connection preface

@case("3.4 preface: the client's, then SETTINGS is the server's first frame", greets=False)
def preface(client):
    client.send(PREFACE + frame(SETTINGS, 0, 0))
    client.wait(lambda f: True, "a frame")
    assert client.seen[0].kind == SETTINGS and not client.seen[0].flags & ACK, client.seen


@case("3.4 preface in single bytes", greets=False)
def preface_in_bytes(client):
    for byte in PREFACE + frame(SETTINGS, 0, 0):
        client.send(bytes([byte]))
    client.expect_alive()


@case("3.4 preface: something else instead", greets=False)
def preface_broken(client):
    client.send(PREFACE[:-4] + b"XX\r\n" + frame(SETTINGS, 0, 0))
    client.expect_closed()


@case("3.4 preface: no SETTINGS behind it", greets=False)
def preface_without_settings(client):
    client.send(PREFACE + frame(PING, 0, 0, bytes(8)))
    client.expect_connection_error(PROTOCOL_ERROR)


@case("3.4 preface: SETTINGS, request and all in one segment", greets=False)
def preface_with_request(client):
    client.send(PREFACE + frame(SETTINGS, 0, 0) + client.headers(1))
    client.expect_answer(1)


# 4.1, 4.2 Frame format and size

@case("4.1 a frame of unknown type is ignored")
def unknown_frame(client):
    client.send(frame(0x16, 0, 0, bytes(8)))
    client.expect_alive()


@case("4.1 undefined flags are ignored")
def undefined_flags(client):
    client.send(frame(PING, 0x16, 0, bytes(8)))
    client.wait(lambda f: f.kind == PING and f.flags & ACK, "an answer to PING")


@case("4.1 the reserved bit is ignored")
def reserved_bit(client):
    client.send(frame(PING, 0, 1 << 31, bytes(8)))
    client.wait(lambda f: f.kind == PING and f.flags & ACK, "an answer to PING")


@case("4.2 DATA of 2^14 bytes")
def largest_frame(client):
    client.send(client.headers(1, flags=END_HEADERS, method="POST"), frame(DATA, END_STREAM, 1, bytes(1 << 14)))
    assert client.expect_answer(1)[1].startswith(b"POST "), "the body"


@case("4.2 DATA larger than SETTINGS_MAX_FRAME_SIZE")
def data_too_large(client):
    client.send(client.headers(1, flags=END_HEADERS, method="POST"), frame(DATA, END_STREAM, 1, bytes((1 << 14) + 1)))
    client.expect_stream_error(1, FRAME_SIZE_ERROR)


@case("4.2 HEADERS larger than SETTINGS_MAX_FRAME_SIZE")
def headers_too_large(client):
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, client.block() + bytes(1 << 14)))
    client.expect_connection_error(FRAME_SIZE_ERROR)


@case("4.2 SETTINGS larger than SETTINGS_MAX_FRAME_SIZE")
def settings_too_large(client):
    client.send(frame(SETTINGS, 0, 0, setting(0x99, 0) * 3000))
    client.expect_connection_error(FRAME_SIZE_ERROR)


# 4.3 Field blocks

@case("4.3 a block that cannot be decompressed")
def undecodable_block(client):
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff"))
    client.expect_connection_error(COMPRESSION_ERROR)


@case("4.3 PRIORITY between HEADERS and CONTINUATION")
def priority_in_block(client):
    block = client.block()
    client.send(client.headers(1, block[:5], END_STREAM), frame(PRIORITY, 0, 1, word(0) + b"\xff"),
                frame(CONTINUATION, END_HEADERS, 1, block[5:]))
    client.expect_connection_error(PROTOCOL_ERROR)


@case("4.3 HEADERS of another stream between HEADERS and CONTINUATION")
def headers_in_block(client):
    block = client.block()
    client.send(client.headers(1, block[:5], END_STREAM), client.headers(3),
                frame(CONTINUATION, END_HEADERS, 1, block[5:]))
    client.expect_connection_error(PROTOCOL_ERROR)


@case("4.3 an unknown frame between HEADERS and CONTINUATION")
def unknown_in_block(client):
    block = client.block()
    client.send(client.headers(1, block[:5], END_STREAM), frame(0x16, 0, 1, bytes(4)),
                frame(CONTINUATION, END_HEADERS, 1, block[5:]))
    client.expect_connection_error(PROTOCOL_ERROR)


# 5.1 Stream states

IDLE = {
    "DATA": lambda client: frame(DATA, END_STREAM, 1, b"x"), "RST_STREAM": lambda client: frame(RST_STREAM, 0, 1, word(CANCEL)),
    "WINDOW_UPDATE": lambda client: window_update(1, 100),
    "CONTINUATION": lambda client: frame(CONTINUATION, END_HEADERS, 1, client.block()),
}
for name, make in IDLE.items():
    @case(f"5.1 idle: {name}")
    def idle(client, make=make):
        client.send(make(client))
        client.expect_connection_error(PROTOCOL_ERROR)

HALF_CLOSED = {
    "DATA": lambda client: frame(DATA, END_STREAM, 1, b"x"), "HEADERS": lambda client: client.headers(1),
    "CONTINUATION": lambda client: frame(CONTINUATION, END_HEADERS, 1, client.block()),
}
for name, make in HALF_CLOSED.items():
    @case(f"5.1 half-closed (remote): {name}")
    def half_closed(client, make=make):
        client.send(frame(SETTINGS, 0, 0, setting(4, 0)))  # with no window, the answer cannot end the stream first
        client.get(1)
        client.send(make(client))
        client.expect_stream_error(1, STREAM_CLOSED, PROTOCOL_ERROR)

    @case(f"5.1 closed by RST_STREAM: {name}")
    def closed_by_reset(client, make=make):
        client.send(client.headers(1, flags=END_HEADERS, method="POST"), frame(RST_STREAM, 0, 1, word(CANCEL)), make(client))
        client.expect_error_or_nothing(1, STREAM_CLOSED, PROTOCOL_ERROR)

    @case(f"5.1 closed by its end: {name}")
    def closed(client, make=make):
        client.get(1)
        client.expect_answer(1)
        client.send(make(client))
        client.expect_error_or_nothing(1, STREAM_CLOSED, PROTOCOL_ERROR)

for name, make in {
        "WINDOW_UPDATE": lambda: window_update(1, 10), "RST_STREAM": lambda: frame(RST_STREAM, 0, 1, word(CANCEL)),
        "PRIORITY": lambda: frame(PRIORITY, 0, 1, word(0) + b"\x10")}.items():
    @case(f"5.1 closed: {name} is let pass")
    def late(client, make=make):
        client.get(1)
        client.expect_answer(1)
        client.send(make())
        client.expect_alive()

    @case(f"5.1 half-closed (remote): {name} is let pass")
    def half_closed_passes(client, make=make):
        client.get(1)
        client.send(make())
        client.expect_alive()


@case("5.1 idle: PRIORITY is let pass")
def idle_priority(client):
    client.send(frame(PRIORITY, 0, 1, word(0) + b"\x10"))
    client.expect_alive()
    client.get(1)
    client.expect_answer(1)


@case("5.1.1 an even stream identifier")
def even_stream(client):
    client.get(2)
    client.expect_connection_error(PROTOCOL_ERROR)


@case("5.1.1 an identifier smaller than the last")
def smaller_stream(client):
    client.get(5)
    client.expect_answer(5)
    client.get(3)
    client.expect_connection_error(PROTOCOL_ERROR, STREAM_CLOSED)


@case("5.1.1 identifiers may be skipped")
def skipped_streams(client):
    client.get(7)
    client.expect_answer(7)
    client.get(101)
    client.expect_answer(101)


@case("5.1.2 more streams than SETTINGS_MAX_CONCURRENT_STREAMS")
def too_many_streams(client):
    limit = client.settings[3]
    streams = [1 + 2 * index for index in range(limit + 1)]
    client.send(frame(SETTINGS, 0, 0, setting(4, 0)))
    client.send(*[client.headers(stream, flags=END_HEADERS, method="POST") for stream in streams])
    client.expect_stream_error(streams[-1], REFUSED_STREAM, PROTOCOL_ERROR)


# 5.3 Priority is deprecated, its frames are still well-formed or not

@case("5.3.1 HEADERS that depend on their own stream: ignored with the rest of priority")
def self_dependency(client):
    client.send(frame(HEADERS, END_HEADERS | END_STREAM | PRIORITIZED, 1, word(1) + b"\x10" + client.block()))
    client.expect_answer_or_stream_error(1, PROTOCOL_ERROR)


@case("5.3.1 PRIORITY that depends on its own stream")
def self_dependency_of_priority(client):
    client.send(frame(PRIORITY, 0, 1, word(1) + b"\x10"))
    client.get(1)
    client.expect_answer_or_stream_error(1, PROTOCOL_ERROR)


@case("5.4.1 GOAWAY before the connection closes for an error")
def goaway_first(client):
    client.send(frame(PING, 0, 1, bytes(8)))
    client.expect_connection_error(PROTOCOL_ERROR)
    assert any(f.kind == GOAWAY for f in client.seen), "a GOAWAY"


@case("5.5 an extension frame of an unknown type on a stream")
def extension_on_stream(client):
    client.send(client.headers(1, flags=END_HEADERS, method="POST"), frame(0xF0, 0xFF, 1, b"what"),
                frame(DATA, END_STREAM, 1, b"body"))
    client.expect_answer(1)


def test_connection_and_streams():
    conformance_cases.run({name: made for name, made in conformance_cases.CASES.items() if made[0].__module__ == __name__})
