"""RFC 7541: header compression as a server must read it."""

import conformance_cases
from conformance_cases import case
from frames import *  # noqa: F403: names of frames, flags and codes
from http2_peer import frame
from test_http2_conformance import setting

# Static table: :method GET 2, :path / 4, :scheme http 6, https 7, :authority 1, accept-encoding gzip, deflate 16.


def start(client):
    """The pseudo-header fields by static entries where there are some."""
    scheme = b"\x87" if client.secure else b"\x86"
    return b"\x82" + scheme + b"\x04" + length(client.path) + b"\x01" + length("localhost")


def asks(client, block, stream=1):
    client.send(frame(HEADERS, END_STREAM | END_HEADERS, stream, block))


def answered(name, make):
    @case(name)
    def check(client):
        asks(client, make(client))
        client.expect_answer(1)


def undecodable(name, make):
    @case(name)
    def check(client):
        asks(client, make(client))
        client.expect_connection_error(COMPRESSION_ERROR)


# 2.3.3 Indexes, 6.1

answered("RFC 7541 6.1 an indexed field", lambda c: start(c) + b"\x90")
undecodable("RFC 7541 6.1 index 0", lambda c: start(c) + b"\x80")
undecodable("RFC 7541 2.3.3 an index above both tables", lambda c: start(c) + integer(70, 7, 0x80))
undecodable("RFC 7541 2.3.3 a name's index above both tables", lambda c: start(c) + integer(70, 6, 0x40) + length("x"))

# 6.2 Literals

answered("RFC 7541 6.2.1 a literal with incremental indexing, indexed name", lambda c: start(c) + b"\x53" + length("text/x"))
answered("RFC 7541 6.2.1 a literal with incremental indexing, new name", lambda c: start(c) + b"\x40" + length("x-new") + length("1"))
answered("RFC 7541 6.2.2 a literal without indexing, indexed name", lambda c: start(c) + b"\x0f\x04" + length("text/x"))
answered("RFC 7541 6.2.2 a literal without indexing, new name", lambda c: start(c) + b"\x00" + length("x-new") + length("1"))
answered("RFC 7541 6.2.3 a literal never indexed, indexed name", lambda c: start(c) + b"\x1f\x04" + length("text/x"))
answered("RFC 7541 6.2.3 a literal never indexed, new name", lambda c: start(c) + b"\x10" + length("x-new") + length("1"))
answered("RFC 7541 6.2 an empty value", lambda c: start(c) + b"\x00" + length("x-new") + length(""))


@case("RFC 7541 2.3.2 an entry of the dynamic table, in a later request")
def dynamic_entry(client):
    asks(client, start(client) + b"\x40" + length("x-kept") + length("1"))
    client.expect_answer(1)
    asks(client, start(client) + integer(62, 7, 0x80), 3)
    client.expect_answer(3)


# 5.1 Integers, 5.2 strings

answered("RFC 7541 5.1 an integer in several bytes", lambda c: start(c) + b"\x00" + length("x-long") + length("y" * 1000))
undecodable("RFC 7541 5.1 an integer without end", lambda c: start(c) + b"\xff" + b"\x80" * 20 + b"\x01")
undecodable("RFC 7541 5.1 an integer that is cut off", lambda c: start(c) + b"\xff\x80")
undecodable("RFC 7541 5.2 a string longer than its block", lambda c: start(c) + b"\x00\x03x-y\x7f\x01abc")
# "www.example.com" of RFC 7541 C.4.1.
HUFFMAN = bytes.fromhex("f1e3c2e5f23a6ba0ab90f4ff")
answered("RFC 7541 5.2 a Huffman-coded string", lambda c: start(c) + b"\x00" + length("x-test") + b"\x8c" + HUFFMAN)
undecodable("RFC 7541 5.2 padding longer than 7 bits",
            lambda c: start(c) + b"\x00" + length("x-test") + b"\x8d" + HUFFMAN + b"\xff")
# "a" is 00011.
undecodable("RFC 7541 5.2 padding with zeros", lambda c: start(c) + b"\x00" + length("x-test") + b"\x81\x18")
undecodable("RFC 7541 5.2 the EOS symbol", lambda c: start(c) + b"\x00" + length("x-test") + b"\x84\xff\xff\xff\xff")

# 4.2 Table size

answered("RFC 7541 6.3 a table size update", lambda c: b"\x3f\xe1\x1f" + start(c))
answered("RFC 7541 6.3 two updates, to 0 and back", lambda c: b"\x20\x3f\xe1\x1f" + start(c))
undecodable("RFC 7541 4.2 a table size update behind a field", lambda c: start(c) + b"\x3f\xe1\x1f")
undecodable("RFC 7541 6.3 a table size above SETTINGS_HEADER_TABLE_SIZE", lambda c: b"\x3f\xe2\x1f" + start(c))


@case("RFC 7541 4.4 eviction: an entry larger than the table empties it")
def eviction(client):
    asks(client, start(client) + b"\x40" + length("x-kept") + length("1"))
    client.expect_answer(1)
    asks(client, start(client) + b"\x40" + length("x-large") + length("y" * 5000), 3)
    client.expect_answer(3)
    asks(client, start(client) + integer(62, 7, 0x80), 5)
    client.expect_connection_error(COMPRESSION_ERROR)


@case("RFC 7541 4.2 the server's own table shrinks when it is told to")
def own_table(client):
    client.send(frame(SETTINGS, 0, 0, setting(1, 0)))
    client.decoder.header_table_size = 0
    for stream in (1, 3):
        client.get(stream)
        client.expect_answer(stream)


def test_hpack():
    conformance_cases.run({name: made for name, made in conformance_cases.CASES.items() if made[0].__module__ == __name__})
