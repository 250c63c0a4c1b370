"""RFC 9113 §6: each type of frame, with what it may and may not be."""

import conformance_cases
from conformance_cases import case
from frames import *  # noqa: F403: names of frames, flags and codes
from http2_peer import frame, goaway, window_update
from test_http2_conformance import setting, word


def post(client, *frames):
    """A request whose body follows."""
    client.send(client.headers(1, flags=END_HEADERS, method="POST"), *frames)


# 6.1 DATA

@case("6.1 DATA with padding")
def padded_data(client):
    post(client, frame(DATA, END_STREAM | PADDED, 1, b"\x06body" + bytes(6)))
    assert client.expect_answer(1)[1] == b"POST 4", "four bytes"


@case("6.1 DATA on stream 0")
def data_on_zero(client):
    client.send(frame(DATA, END_STREAM, 0, b"x"))
    client.expect_connection_error(PROTOCOL_ERROR)


@case("6.1 DATA with more padding than payload")
def data_overpadded(client):
    post(client, frame(DATA, END_STREAM | PADDED, 1, b"\x05abcd"))
    client.expect_connection_error(PROTOCOL_ERROR)


@case("6.1 DATA behind END_STREAM")
def data_after_end(client):
    client.send(frame(SETTINGS, 0, 0, setting(4, 0)))
    post(client, frame(DATA, END_STREAM, 1, b"a"), frame(DATA, END_STREAM, 1, b"b"))
    client.expect_stream_error(1, STREAM_CLOSED)


@case("6.1 an empty DATA frame ends a body")
def empty_data(client):
    post(client, frame(DATA, 0, 1, b"abc"), frame(DATA, END_STREAM, 1, b""))
    assert client.expect_answer(1)[1] == b"POST 3", "three bytes"


# 6.2 HEADERS

@case("6.2 HEADERS with padding")
def padded_headers(client):
    client.send(frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, b"\x07" + client.block() + bytes(7)))
    client.expect_answer(1)


@case("6.2 HEADERS with priority")
def headers_with_priority(client):
    client.send(frame(HEADERS, END_HEADERS | END_STREAM | PRIORITIZED, 1, word(0) + b"\xff" + client.block()))
    client.expect_answer(1)


@case("6.2 HEADERS with padding and priority")
def headers_with_all(client):
    payload = b"\x02" + word(0) + b"\xff" + client.block() + bytes(2)
    client.send(frame(HEADERS, END_HEADERS | END_STREAM | PADDED | PRIORITIZED, 1, payload))
    client.expect_answer(1)


@case("6.2 HEADERS on stream 0")
def headers_on_zero(client):
    client.send(client.headers(0))
    client.expect_connection_error(PROTOCOL_ERROR)


@case("6.2 HEADERS with more padding than payload")
def headers_overpadded(client):
    block = client.block()
    client.send(frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, bytes([min(255, len(block) + 1)]) + block))
    client.expect_connection_error(PROTOCOL_ERROR)


@case("6.2 HEADERS without END_HEADERS, then another type")
def headers_interrupted(client):
    client.send(client.headers(1, client.block()[:9], END_STREAM), frame(PING, 0, 0, bytes(8)))
    client.expect_connection_error(PROTOCOL_ERROR)


@case("6.2 HEADERS too short for the priority that they announce")
def headers_without_priority(client):
    client.send(frame(HEADERS, END_HEADERS | END_STREAM | PRIORITIZED, 1, b"\x00\x00"))
    client.expect_connection_error(FRAME_SIZE_ERROR, PROTOCOL_ERROR)


# 6.3 PRIORITY

@case("6.3 PRIORITY with weight 1 and with weight 256")
def priority_weights(client):
    client.send(frame(PRIORITY, 0, 1, word(0) + b"\x00"), frame(PRIORITY, 0, 3, word(1) + b"\xff"),
                frame(PRIORITY, 0, 5, word(1 << 31) + b"\x10"))
    client.get(7)
    client.expect_answer(7)


@case("6.3 PRIORITY on stream 0")
def priority_on_zero(client):
    client.send(frame(PRIORITY, 0, 0, word(0) + b"\x10"))
    client.expect_connection_error(PROTOCOL_ERROR)


@case("6.3 PRIORITY of another length than 5")
def priority_length(client):
    client.send(frame(SETTINGS, 0, 0, setting(4, 0)), client.headers(1), frame(PRIORITY, 0, 1, word(0)))
    client.expect_stream_error(1, FRAME_SIZE_ERROR)


# 6.4 RST_STREAM

@case("6.4 RST_STREAM ends a stream, and the connection goes on")
def reset(client):
    post(client, frame(RST_STREAM, 0, 1, word(CANCEL)))
    client.expect_alive()
    client.get(3)
    client.expect_answer(3)


@case("6.4 RST_STREAM with an unknown code")
def reset_with_unknown_code(client):
    post(client, frame(RST_STREAM, 0, 1, word(0xFFFF)))
    client.expect_alive()


@case("6.4 RST_STREAM on stream 0")
def reset_of_zero(client):
    client.send(frame(RST_STREAM, 0, 0, word(CANCEL)))
    client.expect_connection_error(PROTOCOL_ERROR)


@case("6.4 RST_STREAM on an idle stream")
def reset_of_idle(client):
    client.send(frame(RST_STREAM, 0, 3, word(CANCEL)))
    client.expect_connection_error(PROTOCOL_ERROR)


@case("6.4 RST_STREAM of another length than 4")
def reset_length(client):
    post(client, frame(RST_STREAM, 0, 1, b"\x00\x00\x08"))
    client.expect_connection_error(FRAME_SIZE_ERROR)


# 6.5 SETTINGS

@case("6.5 SETTINGS are acknowledged")
def settings_acknowledged(client):
    client.send(frame(SETTINGS, 0, 0, setting(3, 100)))
    client.wait(lambda f: f.kind == SETTINGS and f.flags & ACK, "an acknowledgement")


@case("6.5 SETTINGS, each of them")
def settings_each(client):
    client.send(frame(SETTINGS, 0, 0, b"".join([
        setting(1, 100), setting(2, 0), setting(3, 10), setting(4, 70000), setting(5, 20000), setting(6, 1 << 16)])))
    client.wait(lambda f: f.kind == SETTINGS and f.flags & ACK, "an acknowledgement")
    client.get(1)
    client.expect_answer(1)


@case("6.5 SETTINGS with ACK and a payload")
def settings_ack_payload(client):
    client.send(frame(SETTINGS, ACK, 0, setting(3, 1)))
    client.expect_connection_error(FRAME_SIZE_ERROR)


@case("6.5 SETTINGS on a stream")
def settings_on_stream(client):
    client.send(frame(SETTINGS, 0, 1, setting(3, 100)))
    client.expect_connection_error(PROTOCOL_ERROR)


@case("6.5 SETTINGS of a length that is no multiple of 6")
def settings_length(client):
    client.send(frame(SETTINGS, 0, 0, setting(3, 100)[:5]))
    client.expect_connection_error(FRAME_SIZE_ERROR)


@case("6.5 SETTINGS with ACK that nobody waits for")
def settings_ack_unasked(client):
    client.send(frame(SETTINGS, ACK, 0))
    client.expect_error_or_nothing(0, PROTOCOL_ERROR)


for value in (2, 0xFFFFFFFF):
    @case(f"6.5.2 SETTINGS_ENABLE_PUSH of {value}")
    def bad_push(client, value=value):
        client.send(frame(SETTINGS, 0, 0, setting(2, value)))
        client.expect_connection_error(PROTOCOL_ERROR)


@case("6.5.2 SETTINGS_INITIAL_WINDOW_SIZE above 2^31-1")
def bad_window(client):
    client.send(frame(SETTINGS, 0, 0, setting(4, 1 << 31)))
    client.expect_connection_error(FLOW_CONTROL_ERROR)


for value in ((1 << 14) - 1, 1 << 24):
    @case(f"6.5.2 SETTINGS_MAX_FRAME_SIZE of {value}")
    def bad_frame_size(client, value=value):
        client.send(frame(SETTINGS, 0, 0, setting(5, value)))
        client.expect_connection_error(PROTOCOL_ERROR)


@case("6.5.2 an unknown setting is ignored")
def unknown_setting(client):
    client.send(frame(SETTINGS, 0, 0, setting(0xFF, 1)))
    client.wait(lambda f: f.kind == SETTINGS and f.flags & ACK, "an acknowledgement")


@case("6.5.3 settings are taken in order, before the acknowledgement")
def settings_order(client):
    client.send(frame(SETTINGS, 0, 0, setting(4, 100) + setting(4, 1)))
    client.wait(lambda f: f.kind == SETTINGS and f.flags & ACK, "an acknowledgement")
    client.get(1)
    found = client.wait(lambda f: f.kind == DATA, "DATA")
    assert len(found.payload) == 1, describe(found)


# 6.6 PUSH_PROMISE, 8.4

@case("6.6 PUSH_PROMISE from a client")
def push(client):
    post(client, frame(PUSH_PROMISE, END_HEADERS, 1, word(2) + client.block()))
    client.expect_connection_error(PROTOCOL_ERROR)


# 6.7 PING

@case("6.7 PING is answered with its own payload")
def ping(client):
    client.expect_alive()


@case("6.7 PING with ACK is not answered")
def ping_ack(client):
    client.send(frame(PING, ACK, 0, b"unwanted"))
    client.expect_alive()
    assert not any(f.kind == PING and f.payload == b"unwanted" for f in client.seen), client.seen


@case("6.7 PING on a stream")
def ping_on_stream(client):
    client.send(frame(PING, 0, 1, bytes(8)))
    client.expect_connection_error(PROTOCOL_ERROR)


for size in (6, 9):
    @case(f"6.7 PING of {size} bytes")
    def ping_length(client, size=size):
        client.send(frame(PING, 0, 0, bytes(size)))
        client.expect_connection_error(FRAME_SIZE_ERROR)


# 6.8 GOAWAY

@case("6.8 GOAWAY on a stream")
def goaway_on_stream(client):
    client.send(frame(GOAWAY, 0, 1, word(0) + word(0)))
    client.expect_connection_error(PROTOCOL_ERROR)


@case("6.8 GOAWAY lets running streams end")
def goaway_lets_end(client):
    client.send(client.headers(1, flags=END_HEADERS, method="POST"), goaway(0), frame(DATA, END_STREAM, 1, b"body"))
    client.expect_answer(1)


@case("6.8 GOAWAY with debug data and an unknown code")
def goaway_with_debug(client):
    client.send(client.headers(1, flags=END_HEADERS, method="POST"), frame(GOAWAY, 0, 0, word(0) + word(0xFF) + b"why"),
                frame(DATA, END_STREAM, 1, b"body"))
    client.expect_answer(1)


# 6.9 WINDOW_UPDATE

@case("6.9 a window of 1 lets 1 byte go, WINDOW_UPDATE the rest")
def window_of_one(client):
    client.send(frame(SETTINGS, 0, 0, setting(4, 1)))
    client.get(1)
    first = client.wait(lambda f: f.kind == DATA, "DATA")
    assert len(first.payload) == 1, describe(first)
    client.send(window_update(1, 1))
    second = client.wait(lambda f: f.kind == DATA, "DATA")
    assert len(second.payload) == 1, describe(second)


@case("6.9 WINDOW_UPDATE of 0 on the connection")
def no_connection_increment(client):
    client.send(window_update(0, 0))
    client.expect_connection_error(PROTOCOL_ERROR)


@case("6.9 WINDOW_UPDATE of 0 on a stream")
def no_stream_increment(client):
    post(client, window_update(1, 0))
    client.expect_stream_error(1, PROTOCOL_ERROR)


@case("6.9 WINDOW_UPDATE of another length than 4")
def window_length(client):
    client.send(frame(WINDOW_UPDATE, 0, 0, b"\x00\x00\x01"))
    client.expect_connection_error(FRAME_SIZE_ERROR)


@case("6.9.1 the connection's window above 2^31-1")
def connection_window_overflow(client):
    client.send(window_update(0, (1 << 31) - 1), window_update(0, (1 << 31) - 1))
    client.expect_connection_error(FLOW_CONTROL_ERROR)


@case("6.9.1 a stream's window above 2^31-1")
def stream_window_overflow(client):
    post(client, window_update(1, (1 << 31) - 1), window_update(1, (1 << 31) - 1))
    client.expect_stream_error(1, FLOW_CONTROL_ERROR)


@case("6.9.1 the reserved bit of an increment is ignored")
def window_reserved_bit(client):
    client.send(frame(WINDOW_UPDATE, 0, 0, word(1 << 31 | 1)))
    client.expect_alive()


@case("6.9.2 SETTINGS_INITIAL_WINDOW_SIZE changes the windows of open streams")
def initial_window_grows(client):
    client.send(frame(SETTINGS, 0, 0, setting(4, 0)))
    client.get(1)
    client.wait(lambda f: f.kind == HEADERS, "HEADERS")
    client.expect_alive()
    assert not any(f.kind == DATA for f in client.seen), "DATA with no window"
    client.send(frame(SETTINGS, 0, 0, setting(4, 1)))
    found = client.wait(lambda f: f.kind == DATA, "DATA")
    assert len(found.payload) == 1, describe(found)


@case("6.9.2 a window may become negative")
def negative_window(client):
    client.send(frame(SETTINGS, 0, 0, setting(4, 3)))
    client.get(1)
    assert len(client.wait(lambda f: f.kind == DATA, "DATA").payload) == 3
    client.send(frame(SETTINGS, 0, 0, setting(4, 2)), window_update(1, 2))
    found = client.wait(lambda f: f.kind == DATA, "DATA")
    assert len(found.payload) == 1, describe(found)


@case("6.9.2 SETTINGS_INITIAL_WINDOW_SIZE that makes a stream's window too large")
def initial_window_overflow(client):
    post(client, window_update(1, (1 << 31) - 1 - 65535), frame(SETTINGS, 0, 0, setting(4, (1 << 31) - 1)))
    client.expect_connection_error(FLOW_CONTROL_ERROR)


@case("6.9 more DATA than the stream's window")
def window_exceeded(client):
    window = client.settings[4]
    whole = bytes(1 << 14)
    post(client, *[frame(DATA, 0, 1, whole)] * (window // len(whole)))
    # What was read may have been given back by now; what never was is more than all windows together.
    client.send(*[frame(DATA, 0, 1, whole)] * 2000)
    client.expect_stream_error(1, FLOW_CONTROL_ERROR, ENHANCE_YOUR_CALM)


# 6.10 CONTINUATION

@case("6.10 a block in many CONTINUATIONs")
def continuations(client):
    block = client.block()
    client.send(client.headers(1, block[:4], END_STREAM), frame(CONTINUATION, 0, 1, block[4:9]),
                frame(CONTINUATION, 0, 1, b""), frame(CONTINUATION, END_HEADERS, 1, block[9:]))
    client.expect_answer(1)


@case("6.10 CONTINUATION larger than SETTINGS_MAX_FRAME_SIZE")
def continuation_too_large(client):
    client.send(client.headers(1, client.block()[:4], END_STREAM),
                frame(CONTINUATION, END_HEADERS, 1, client.block()[4:] + client.block([("x", "y" * 16_384)])))
    client.expect_connection_error(FRAME_SIZE_ERROR)


@case("6.10 CONTINUATION, then another type")
def continuation_interrupted(client):
    block = client.block()
    client.send(client.headers(1, block[:4], END_STREAM), frame(CONTINUATION, 0, 1, block[4:9]), frame(PING, 0, 0, bytes(8)))
    client.expect_connection_error(PROTOCOL_ERROR)


@case("6.10 CONTINUATION on stream 0")
def continuation_on_zero(client):
    block = client.block()
    client.send(client.headers(1, block[:4], END_STREAM), frame(CONTINUATION, END_HEADERS, 0, block[4:]))
    client.expect_connection_error(PROTOCOL_ERROR)


@case("6.10 CONTINUATION on another stream")
def continuation_elsewhere(client):
    block = client.block()
    client.send(client.headers(1, block[:4], END_STREAM), frame(CONTINUATION, END_HEADERS, 3, block[4:]))
    client.expect_connection_error(PROTOCOL_ERROR)


@case("6.10 CONTINUATION behind HEADERS with END_HEADERS")
def continuation_after_headers(client):
    client.send(frame(SETTINGS, 0, 0, setting(4, 0)), client.headers(1), frame(CONTINUATION, END_HEADERS, 1, client.block()))
    client.expect_connection_error(PROTOCOL_ERROR)


@case("6.10 CONTINUATION behind CONTINUATION with END_HEADERS")
def continuation_after_last(client):
    block = client.block()
    client.send(frame(SETTINGS, 0, 0, setting(4, 0)), client.headers(1, block[:4], END_STREAM),
                frame(CONTINUATION, END_HEADERS, 1, block[4:]), frame(CONTINUATION, END_HEADERS, 1, block))
    client.expect_connection_error(PROTOCOL_ERROR)


@case("6.10 CONTINUATION behind DATA")
def continuation_after_data(client):
    post(client, frame(DATA, 0, 1, b"x"), frame(CONTINUATION, END_HEADERS, 1, client.block()))
    client.expect_connection_error(PROTOCOL_ERROR)


# 7 Error codes

@case("7 GOAWAY and RST_STREAM with unknown codes have no effect of their own")
def unknown_codes(client):
    post(client, frame(RST_STREAM, 0, 1, word(0xABCD)))
    client.get(3)
    client.expect_answer(3)


def test_frames():
    conformance_cases.run({name: made for name, made in conformance_cases.CASES.items() if made[0].__module__ == __name__})
