"""Requests and responses on which two parsers could disagree (RFC 9112 §2–§11, RFC 9113 §8), and what may become of each.

`/@/` in a target stands for the route to the upstream under test. What reaches an upstream is written as one `Reached` a request.
"""

import dataclasses

HOST = "Host: sluice.test"
BODY = b"hello"
CL, TE = "Content-Length: 5", "Transfer-Encoding: chunked"
CHUNKED = b"5\r\nhello\r\n0\r\n\r\n"


@dataclasses.dataclass
class Reached:
    """One request at the upstream: only what the client decides of it."""
    method: str = "POST"
    target: str = "/v1/a"
    body: bytes = BODY
    #: Fields that crossed, in order; host, id, accept-encoding and lengths are the proxy's own.
    fields: tuple = ()
    #: Said without a length, so sent in chunks over HTTP/1.1.
    chunked: bool = False


@dataclasses.dataclass
class Case:
    name: str
    section: str
    #: HTTP/1.1: bytes. HTTP/2: `Frames`.
    sent: object
    #: All that may reach the upstream, in order.
    reached: tuple = ()
    #: The status of the refusal that ends it; None if it is served, and the connection goes on.
    refused: int | None = None
    #: Over HTTP/1.1: nothing behind this request is read, though it was served.
    closes: bool = False
    #: Refused, and yet nobody can doubt where the next request begins.
    goes_on: bool = False


# HTTP/1.1 requests

def head(*lines, target="/@/a", method="POST", version="HTTP/1.1", host=HOST):
    text = [f"{method} {target} {version}", *([host] if host else []), *lines]
    return "\r\n".join(text).encode("latin-1") + b"\r\n\r\n"


def post(*lines, body=BODY, **more):
    return head(*lines, **more) + body


def chunks(*lines, body=CHUNKED, **more):
    return head(TE, *lines, **more) + body


def get(*lines, **more):
    return head(*lines, method="GET", **more)


def served(name, section, sent, *reached, **more):
    return Case(name, section, sent, reached or (Reached(),), **more)


def refused(name, section, sent, status=400, reached=(), **more):
    return Case(name, section, sent, reached, status, **more)


GET = Reached("GET", body=b"")
IN_CHUNKS = Reached(chunked=True)

FRAMING = [
    refused("Content-Length, then Transfer-Encoding", "9112 §6.1", post(CL, TE, body=CHUNKED)),
    refused("Transfer-Encoding, then Content-Length", "9112 §6.1", post(TE, CL, body=CHUNKED)),
    refused("Content-Length: 0 beside Transfer-Encoding", "9112 §6.1", post("Content-Length: 0", TE, body=CHUNKED)),
    refused("Transfer-Encoding twice", "9112 §6.1", chunks(TE)),
    refused("chunked, chunked", "9112 §6.1", post("Transfer-Encoding: chunked, chunked", body=CHUNKED)),
    refused("chunked, identity", "9112 §6.3", post("Transfer-Encoding: chunked, identity", body=CHUNKED)),
    refused("identity, chunked", "9112 §6.1", post("Transfer-Encoding: identity, chunked", body=CHUNKED), 501),
    refused("gzip, chunked", "9112 §6.1", post("Transfer-Encoding: gzip, chunked", body=CHUNKED), 501),
    refused("gzip on one line, chunked on the next", "9112 §6.1", post("Transfer-Encoding: gzip", TE, body=CHUNKED)),
    refused("gzip alone", "9112 §6.3", post("Transfer-Encoding: gzip", body=CHUNKED)),
    refused("identity alone", "9112 §6.3", post("Transfer-Encoding: identity", CL)),
    refused("xchunked", "9112 §6.3", post("Transfer-Encoding: xchunked", body=CHUNKED)),
    refused("an empty Transfer-Encoding", "9112 §6.1", post("Transfer-Encoding:", CL)),
    served("CHUNKED in capitals", "9112 §7", post("Transfer-Encoding: CHUNKED", body=CHUNKED), IN_CHUNKS),
    served("a tab before chunked", "9112 §5.1", post("Transfer-Encoding:\tchunked", body=CHUNKED), IN_CHUNKS),
    served("blanks behind chunked", "9112 §5.1", post("Transfer-Encoding: chunked \t ", body=CHUNKED), IN_CHUNKS),
    refused("a vertical tab before chunked", "9112 §5.1", post("Transfer-Encoding: \x0bchunked", body=CHUNKED)),
    refused("a form feed behind chunked", "9112 §5.1", post("Transfer-Encoding: chunked\x0c", body=CHUNKED)),
    refused("chunked in quotes", "9112 §6.1", post('Transfer-Encoding: "chunked"', body=CHUNKED)),
    refused("chunked with a parameter", "9112 §7", post("Transfer-Encoding: chunked;q=1", body=CHUNKED)),
    refused("a comma before chunked", "9110 §5.6.1", post("Transfer-Encoding: , chunked", body=CHUNKED)),
    refused("a comma behind chunked", "9110 §5.6.1", post("Transfer-Encoding: chunked,", body=CHUNKED)),
    refused("chunked spelt with the Kelvin sign", "9110 §5.6.2", post("Transfer-Encoding: chun\xe2\x84\xaaed", body=CHUNKED)),
    refused("a blank before the colon of Transfer-Encoding", "9112 §5.1", post("Transfer-Encoding : chunked", CL, body=CHUNKED)),
    refused("a tab before the colon of Transfer-Encoding", "9112 §5.1", post("Transfer-Encoding\t: chunked", CL, body=CHUNKED)),
    refused("chunked on a folded line", "9112 §5.2", post("Transfer-Encoding:\r\n chunked", CL, body=CHUNKED)),
    refused("Transfer-Encoding on a folded line", "9112 §5.2", post(CL, " Transfer-Encoding: chunked", body=CHUNKED)),
    refused("Transfer-Encoding folded by a tab", "9112 §5.2", post("X-A: b", "\tTransfer-Encoding: chunked", CL)),
    refused("Transfer-Encoding in HTTP/1.0", "9112 §6.1", chunks(version="HTTP/1.0")),
    refused("NUL in the name of Transfer-Encoding", "9112 §5.1", post("Transfer-Encoding\0: chunked", CL)),
    refused("NUL behind chunked", "9110 §5.5", post("Transfer-Encoding: chunked\0", CL)),
    refused("Transfer-Encoding behind a bare LF", "9112 §2.2", post("X-A: b\nTransfer-Encoding: chunked", CL)),
    refused("Transfer-Encoding behind a bare CR", "9112 §2.2", post("X-A: b\rTransfer-Encoding: chunked", CL)),
    served("Transfer_Encoding is another field", "9110 §5.1", post("Transfer_Encoding: chunked", CL),
           Reached(fields=(("Transfer_Encoding", "chunked"),))),
    refused("Content-Length twice, alike", "9112 §6.3", post(CL, CL)),
    refused("Content-Length twice, different", "9112 §6.3", post(CL, "Content-Length: 6")),
    refused("a list of lengths, alike", "9112 §6.3", post("Content-Length: 5, 5")),
    refused("a list of lengths, different", "9112 §6.3", post("Content-Length: 5, 6")),
    refused("a length with a plus", "9110 §8.6", post("Content-Length: +5")),
    refused("a negative length", "9110 §8.6", post("Content-Length: -5")),
    refused("a length in hexadecimal", "9110 §8.6", post("Content-Length: 0x5")),
    refused("a length with a blank inside", "9110 §8.6", post("Content-Length: 0 5")),
    refused("a length with a fraction", "9110 §8.6", post("Content-Length: 5.0")),
    refused("a length with an exponent", "9110 §8.6", post("Content-Length: 5e0")),
    refused("a length in quotes", "9110 §8.6", post('Content-Length: "5"')),
    refused("an empty length", "9110 §8.6", post("Content-Length:")),
    refused("a length beyond 64 bits", "9110 §8.6", post("Content-Length: 18446744073709551621")),
    refused("a length beyond 63 bits", "9110 §8.6", post("Content-Length: 9223372036854775813")),
    refused("a length of 60 digits", "9110 §8.6", post("Content-Length: " + "5" * 60)),
    refused("a blank before the colon of Content-Length", "9112 §5.1", post("Content-Length : 5")),
    refused("a length on a folded line", "9112 §5.2", post("Content-Length:\r\n 5")),
    served("blanks around a length", "9112 §5.1", post("Content-Length: \t5\t ")),
    served("zeros before a length", "9110 §8.6", post("Content-Length: 0000000005")),
    served("a body on GET", "9110 §9.3.1", post(CL, method="GET"), Reached("GET")),
    served("POST without a length has no body", "9112 §6.3", post(body=b""), Reached(body=b"")),
    served("chunks on GET", "9110 §9.3.1", chunks(method="GET"), Reached("GET", chunked=True)),
    refused("more body than its length is another message", "9112 §9.3.2", post(CL, body=BODY + b"\0GET"), 400, (Reached(),)),
    refused("a body without a length is another message", "9112 §6.3", post(body=b"hello\r\n"), 400, (Reached(body=b""),)),
    refused("HTTP/1.1 inside the body of a refused request", "9112 §11.2",
            post(CL, TE, body=b"0\r\n\r\nGET /@/smuggled HTTP/1.1\r\nHost: sluice.test\r\n\r\n")),
]

CHUNKS = [
    served("two chunks", "9112 §7.1", chunks(body=b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"), IN_CHUNKS),
    served("capital and leading zeros in a size", "9112 §7.1", chunks(body=b"0000000A\r\nhellohello\r\n000\r\n\r\n"),
           Reached(body=b"hellohello", chunked=True)),
    served("extensions are dropped", "9112 §7.1.1", chunks(body=b'5;a=b;c="d e"\r\nhello\r\n0;x\r\n\r\n'), IN_CHUNKS),
    refused("CRLF in a quoted extension", "9112 §7.1.1", chunks(body=b'5;a="\r\nhello"\r\n0\r\n\r\n')),
    refused("a bare LF in an extension", "9112 §7.1.1", chunks(body=b"5;a\nhello\r\n0\r\n\r\n")),
    refused("a bare CR in an extension", "9112 §7.1.1", chunks(body=b"5;a\rb\r\nhello\r\n0\r\n\r\n")),
    refused("NUL in an extension", "9112 §7.1.1", chunks(body=b"5;a\0\r\nhello\r\n0\r\n\r\n")),
    refused("extensions of 20 KiB", "9112 §7.1.1", chunks(body=b"5;" + b"a" * 20480 + b"\r\nhello\r\n0\r\n\r\n")),
    refused("a size beyond 64 bits", "9112 §7.1", chunks(body=b"10000000000000005\r\nhello\r\n0\r\n\r\n")),
    refused("a size beyond 63 bits", "9112 §7.1", chunks(body=b"8000000000000005\r\nhello\r\n0\r\n\r\n")),
    refused("a size of 16 Fs", "9112 §7.1", chunks(body=b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n")),
    refused("a size with a minus", "9112 §7.1", chunks(body=b"-5\r\nhello\r\n0\r\n\r\n")),
    refused("a size with a plus", "9112 §7.1", chunks(body=b"+5\r\nhello\r\n0\r\n\r\n")),
    refused("a size with 0x", "9112 §7.1", chunks(body=b"0x5\r\nhello\r\n0\r\n\r\n")),
    refused("a size that is no number", "9112 §7.1", chunks(body=b"5g\r\nhello\r\n0\r\n\r\n")),
    refused("a blank before a size", "9112 §7.1", chunks(body=b" 5\r\nhello\r\n0\r\n\r\n")),
    refused("a blank behind a size", "9112 §7.1", chunks(body=b"5 \r\nhello\r\n0\r\n\r\n")),
    refused("a tab behind a size", "9112 §7.1", chunks(body=b"5\t;a\r\nhello\r\n0\r\n\r\n")),
    refused("no size", "9112 §7.1", chunks(body=b"\r\nhello\r\n0\r\n\r\n")),
    refused("a comma in a size", "9112 §7.1", chunks(body=b"5,5\r\nhello\r\n0\r\n\r\n")),
    refused("an underscore in a size", "9112 §7.1", chunks(body=b"0_5\r\nhello\r\n0\r\n\r\n")),
    refused("a bare LF behind a size", "9112 §2.2", chunks(body=b"5\nhello\r\n0\r\n\r\n")),
    refused("a bare CR behind a size", "9112 §2.2", chunks(body=b"5\rhello\r\n0\r\n\r\n")),
    refused("a bare LF behind the data", "9112 §7.1", chunks(body=b"5\r\nhello\n0\r\n\r\n")),
    refused("nothing behind the data", "9112 §7.1", chunks(body=b"5\r\nhello0\r\n\r\n")),
    refused("two bytes that are no CRLF behind the data", "9112 §7.1", chunks(body=b"5\r\nhelloXX0\r\n\r\n")),
    refused("more data than the size", "9112 §7.1", chunks(body=b"4\r\nhello\r\n0\r\n\r\n")),
    refused("less data than the size", "9112 §7.1", chunks(body=b"6\r\nhello\r\n0\r\n\r\n")),
    refused("a bare LF behind the last size", "9112 §7.1", chunks(body=b"5\r\nhello\r\n0\n\r\n")),
    refused("a bare LF for the end", "9112 §7.1", chunks(body=b"5\r\nhello\r\n0\r\n\n")),
    served("a trailer is dropped", "9112 §7.1.2", chunks(body=b"5\r\nhello\r\n0\r\nX-Late: 1\r\n\r\n"), IN_CHUNKS),
    served("lengths, Host and Authorization in trailers are dropped", "9110 §6.5.1",
           chunks(body=b"5\r\nhello\r\n0\r\nContent-Length: 50\r\nTransfer-Encoding: chunked\r\nHost: evil\r\nAuthorization: x\r\n\r\n"),
           IN_CHUNKS),
    refused("a trailer without a colon", "9112 §7.1.2", chunks(body=b"5\r\nhello\r\n0\r\nGET / HTTP/1.1\r\n\r\n")),
    refused("a folded trailer", "9112 §5.2", chunks(body=b"5\r\nhello\r\n0\r\nX-A: b\r\n c\r\n\r\n")),
    refused("a blank before a trailer", "9112 §5.2", chunks(body=b"5\r\nhello\r\n0\r\n X-A: b\r\n\r\n")),
    refused("a bare LF in trailers", "9112 §2.2", chunks(body=b"5\r\nhello\r\n0\r\nX-A: b\nX-B: c\r\n\r\n")),
    served("another request right behind the last chunk", "9112 §9.3.2",
           chunks() + post(CL, target="/@/b"), IN_CHUNKS, Reached(target="/v1/b")),
]

FIELDS = [
    refused("NUL in a value", "9110 §5.5", get("X-A: b\0c")),
    refused("NUL in a name", "9110 §5.1", get("X\0A: b")),
    refused("a bare CR in a value", "9110 §5.5", get("X-A: b\rc")),
    refused("a bare CR at the end of a value", "9110 §5.5", get("X-A: b\r")),
    refused("a bare LF in a value", "9112 §2.2", get("X-A: b\nX-B: c")),
    refused("DEL in a value", "9110 §5.5", get("X-A: b\x7fc")),
    refused("an escape in a value", "9110 §5.5", get("X-A: b\x1bc")),
    refused("a folded field", "9112 §5.2", get("X-A: b\r\n c")),
    refused("a blank before the first field", "9112 §2.2", get(host=" X-A: b\r\n" + HOST)),
    refused("a tab before the first field", "9112 §2.2", get(host="\tX-A: b\r\n" + HOST)),
    refused("a blank before a colon", "9112 §5.1", get("X-A : b")),
    refused("a field without a colon", "9112 §5", get("X-A")),
    refused("a field without a name", "9112 §5", get(": b")),
    refused("brackets in a name", "9110 §5.1", get("X(A): b")),
    refused("a blank in a name", "9110 §5.1", get("X A: b")),
    refused("a letter beyond ASCII in a name", "9110 §5.1", get("X-\xc3\xa9: b")),
    refused("all lines end in LF", "9112 §2.2", get().replace(b"\r\n", b"\n")),
    refused("lines end in CR CR LF", "9112 §2.2", get("X-A: b").replace(b"\r\n", b"\r\r\n")),
    refused("the head ends in LF", "9112 §2.2", get()[:-2] + b"\n"),
    served("letters beyond ASCII in a value", "9110 §5.5", get("X-A: b\xe9c"), Reached("GET", body=b"", fields=(("X-A", "b\xe9c"),))),
    served("a tab inside a value", "9110 §5.5", get("X-A: b\tc"), Reached("GET", body=b"", fields=(("X-A", "b\tc"),))),
    served("an empty value", "9110 §5.5", get("X-A:"), Reached("GET", body=b"", fields=(("X-A", ""),))),
    served("blanks around a value", "9112 §5.1", get("X-A:  b \t"), Reached("GET", body=b"", fields=(("X-A", "b"),))),
    served("one empty line before the request", "9112 §2.2", b"\r\n" + get(), GET),
    refused("two empty lines before the request", "9112 §2.2", b"\r\n\r\n" + get()),
    refused("a bare LF before the request", "9112 §2.2", b"\n" + get()),
    refused("a blank before the request", "9112 §2.2", b" " + get()),
    refused("101 fields", "9110 §5.4", get(*[f"X-{index}: b" for index in range(101)]), 431),
    refused("a field of 40 KiB", "9110 §5.4", get("X-A: " + "b" * 40960), 431),
]

REQUEST_LINES = [
    refused("two blanks before the target", "9112 §3", get(target=" /@/a")),
    refused("two blanks behind the target", "9112 §3", get(target="/@/a ")),
    refused("tabs for blanks", "9112 §3", get().replace(b"GET /@/a HTTP", b"GET\t/@/a\tHTTP")),
    refused("a blank inside the target", "9112 §3.2", get(target="/@/a b")),
    refused("a blank behind the version", "9112 §3", get(version="HTTP/1.1 ")),
    refused("no version", "9112 §3", get().replace(b" HTTP/1.1", b"")),
    refused("HTTP/1.2", "9110 §2.5", get(version="HTTP/1.2"), 505),
    refused("HTTP/2.0", "9110 §2.5", get(version="HTTP/2.0"), 505),
    refused("HTTP/0.9", "9110 §2.5", get(version="HTTP/0.9"), 505),
    refused("the version in lower case", "9112 §2.3", get(version="http/1.1")),
    refused("HTTP/1.10", "9112 §2.3", get(version="HTTP/1.10")),
    refused("HTTP/1,1", "9112 §2.3", get(version="HTTP/1,1")),
    refused("a bracket in the method", "9110 §9.1", head(method="PO(ST")),
    refused("a colon in the method", "9110 §9.1", head(method="X-A:")),
    refused("a letter beyond ASCII in the method", "9110 §9.1", head(method="G\xcbT")),
    refused("no method", "9112 §3", b" /@/a HTTP/1.1\r\nHost: sluice.test\r\n\r\n"),
    served("a method in lower case is another method", "9110 §9.1", head(method="get"), Reached("get", body=b"")),
    served("all the characters of a token as a method", "9110 §5.6.2", head(method="!#$%&'*+-.^_`|~"),
           Reached("!#$%&'*+-.^_`|~", body=b"")),
    refused("TRACE", "9110 §9.3.8", head(method="TRACE"), 405, goes_on=True),
    refused("CONNECT", "9110 §9.3.6", head(method="CONNECT", target="sluice.test:443", host="Host: sluice.test:443"), 405, goes_on=True),
    refused("CONNECT without a port", "9112 §3.2.3", head(method="CONNECT", target="sluice.test")),
    refused("CONNECT with a path", "9112 §3.2.3", head(method="CONNECT", target="/@/a")),
    refused("a control byte in the target", "9112 §3.2", get(target="/@/\x01")),
    refused("DEL in the target", "9112 §3.2", get(target="/@/\x7f")),
    refused("NUL in the target", "9112 §3.2", get(target="/@/\0")),
    refused("a byte beyond ASCII in the target", "9112 §3.2", get(target="/@/\xe9")),
    refused("a fragment in the target", "9112 §3.2", get(target="/@/a#b")),
    refused("a bare CR in the target", "9112 §2.2", get(target="/@/a\rb")),
    refused("a target without a slash", "9112 §3.2", get(target="@/a")),
    refused("GET *", "9112 §3.2.4", get(target="*")),
    refused("a target of 9 KiB", "9112 §3", get(target="/@/" + "a" * 9216), 414),
    served("absolute-form with the same Host", "9112 §3.2.2", get(target="http://sluice.test/@/a"), GET),
    served("absolute-form in capitals", "9112 §3.2.2", get(target="HTTP://SLUICE.test/@/a"), GET),
    served("absolute-form with https", "9112 §3.2.2", get(target="https://sluice.test/@/a?b=c"), Reached("GET", "/v1/a?b=c", b"")),
    refused("absolute-form with another Host", "9112 §3.2.2", get(target="http://evil.test/@/a")),
    refused("absolute-form with another port", "9112 §3.2.2", get(target="http://sluice.test:81/@/a")),
    refused("absolute-form with userinfo", "9110 §4.2.4", get(target="http://evil@sluice.test/@/a")),
    refused("absolute-form without a host", "9112 §3.2.2", get(target="http:///@/a")),
    refused("absolute-form with a backslash", "9112 §3.2.2", get(target="http://sluice.test\\@evil.test/@/a")),
    refused("another scheme", "9112 §3.2.2", get(target="ftp://sluice.test/@/a")),
    served("a target that looks like an authority is a path", "9112 §3.2.1", get(target="/@//evil.test/a"),
           Reached("GET", "/v1/evil.test/a", b"")),
    served("an absolute target in the query", "9112 §3.2.1", get(target="/@/a?http://evil.test/"),
           Reached("GET", "/v1/a?http://evil.test/", b"")),
]

HOSTS = [
    refused("no Host", "9112 §3.2", get(host=None)),
    refused("Host twice, alike", "9112 §3.2", get(HOST)),
    refused("Host twice, different", "9112 §3.2", get("Host: evil.test")),
    refused("an empty Host", "9112 §3.2", get(host="Host:")),
    refused("Host with a path", "9112 §3.2", get(host="Host: sluice.test/evil")),
    refused("Host with userinfo", "9112 §3.2", get(host="Host: evil@sluice.test")),
    refused("a list of Hosts", "9112 §3.2", get(host="Host: sluice.test, evil.test")),
    refused("two Hosts on one line", "9112 §3.2", get(host="Host: sluice.test evil.test")),
    refused("Host with a port that is none", "9112 §3.2", get(host="Host: sluice.test:a")),
    refused("Host with a port beyond 16 bits", "9112 §3.2", get(host="Host: sluice.test:65536")),
    refused("Host with a bracket", "9112 §3.2", get(host="Host: [::1")),
    refused("Host with a byte beyond ASCII", "9112 §3.2", get(host="Host: slu\xefce.test")),
    refused("a blank before Host's colon", "9112 §5.1", get(host="Host : sluice.test")),
    served("HTTP/1.0 without Host", "9112 §3.2", get(host=None, version="HTTP/1.0"), GET, closes=True),
]

CONNECTION = [
    served("Connection names Content-Length", "9110 §7.6.1", post(CL, "Connection: Content-Length")),
    served("Connection names Host", "9110 §7.6.1", post(CL, "Connection: Host")),
    served("Connection names Transfer-Encoding", "9110 §7.6.1", chunks("Connection: Transfer-Encoding"), IN_CHUNKS),
    served("Connection names Authorization", "9110 §7.6.1", post(CL, "Authorization: x", "Connection: Authorization")),
    served("Connection names X-Request-Id", "9110 §7.6.1", post(CL, "Connection: X-Request-Id")),
    served("Connection names fields of the client's", "9110 §7.6.1",
           get("X-A: 1", "Connection: x-a , keep-alive", "X-B: 2", "Connection: X-C", "X-C: 3"),
           Reached("GET", body=b"", fields=(("X-B", "2"),))),
    served("hop-by-hop fields are dropped", "9110 §7.6.1",
           get("Keep-Alive: timeout=5", "Proxy-Connection: close", "TE: trailers", "Trailer: X-A", "Proxy-Authorization: Basic eA==",
               "X-B: 2"), Reached("GET", body=b"", fields=(("X-B", "2"),))),
    served("Upgrade: h2c is not taken up", "9110 §7.8",
           get("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"), GET),
    served("Upgrade: websocket is not taken up", "9110 §7.8", get("Connection: Upgrade", "Upgrade: websocket"), GET),
    served("credentials and cookies stay here", "9110 §11.6.2", get("Authorization: Bearer x", "Cookie: a=b", "X-API-Key: c"), GET),
    served("nothing behind Connection: close is read", "9112 §9.6", get("Connection: close"), GET, closes=True),
    served("nothing behind HTTP/1.0 is read", "9112 §9.3", get(version="HTTP/1.0"), GET, closes=True),
    served("HTTP/1.0 with keep-alive", "9112 §9.3", get("Connection: keep-alive", version="HTTP/1.0"), GET),
    served("Expect: 100-continue", "9110 §10.1.1", post(CL, "Expect: 100-continue")),
    served("Expect in capitals", "9110 §10.1.1", post(CL, "Expect: 100-CONTINUE")),
    served("Expect without a body", "9110 §10.1.1", get("Expect: 100-continue"), GET),
    refused("another Expect", "9110 §10.1.1", post(CL, "Expect: 200-ok"), 417),
    refused("Expect twice", "9110 §10.1.1", post(CL, "Expect: 100-continue", "Expect: 100-continue"), 417),
    refused("a list of Expects", "9110 §10.1.1", post(CL, "Expect: 100-continue, x"), 417),
    served("three requests in one segment", "9112 §9.3.2", post(CL) + get(target="/@/b") + post(CL, target="/@/c"),
           Reached(), Reached("GET", "/v1/b", b""), Reached(target="/v1/c")),
    refused("a good request, then a bad one", "9112 §9.3.2", post(CL) + post(CL, TE, body=CHUNKED), 400, (Reached(),)),
    served("HEAD has no body to wait for", "9110 §9.3.2", head(method="HEAD"), Reached("HEAD", body=b"")),
]

H1_REQUESTS = [*FRAMING, *CHUNKS, *FIELDS, *REQUEST_LINES, *HOSTS, *CONNECTION,
               refused("the HTTP/2 preface behind a request", "9113 §3.4", get() + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, (GET,))]


# HTTP/2 requests, which go on as HTTP/1.1 too

@dataclasses.dataclass
class Frames:
    """A request as frames: its fields as they are, data, trailers; `late` comes behind its end."""
    fields: list
    data: tuple = ()
    trailers: tuple | None = None
    late: str = ""


def fields(*more, method="GET", path="/@/a", scheme="http", authority="sluice.test", first=()):
    pseudo = [(":method", method), (":scheme", scheme), (":path", path), (":authority", authority)]
    return [*first, *((name, value) for name, value in pseudo if value is not None), *more]


def h2(*more, data=(), trailers=None, late="", **changes):
    return Frames(fields(*more, **changes), data, trailers, late)


def h2_post(*more, data=(b"hel", b"lo"), **changes):
    return h2(*more, method="POST", data=data, **changes)


#: Without a content-length the length is not known before the end.
UNKNOWN = Reached(chunked=True)
#: Such a request may still be on its way when its connection has ended for what came behind it.
LATE = "/v1/late/"
H2_REQUESTS = [
    served("GET", "9113 §8.3", h2(), GET),
    served("POST without content-length", "9113 §8.1.1", h2_post(), UNKNOWN),
    served("POST with the right content-length", "9113 §8.1.1", h2_post(("content-length", "5"))),
    refused("less than content-length", "9113 §8.1.1", h2_post(("content-length", "6"))),
    refused("more than content-length", "9113 §8.1.1", h2_post(("content-length", "4"))),
    refused("content-length: 0 and a body", "9113 §8.1.1", h2_post(("content-length", "0"))),
    refused("content-length and no body", "9113 §8.1.1", h2(("content-length", "5"), method="POST")),
    refused("content-length twice, alike", "9113 §8.1.1", h2_post(("content-length", "5"), ("content-length", "5"))),
    refused("content-length twice, different", "9113 §8.1.1", h2_post(("content-length", "5"), ("content-length", "0"))),
    refused("a list of lengths", "9113 §8.1.1", h2_post(("content-length", "5, 5"))),
    refused("a length with a plus", "9110 §8.6", h2_post(("content-length", "+5"))),
    refused("a length in hexadecimal", "9110 §8.6", h2_post(("content-length", "0x5"))),
    refused("a length with a blank", "9110 §8.6", h2_post(("content-length", "5 "))),
    refused("an empty length", "9110 §8.6", h2_post(("content-length", ""))),
    refused("a length beyond 64 bits", "9110 §8.6", h2_post(("content-length", "18446744073709551621"))),
    refused("transfer-encoding: chunked", "9113 §8.2.2", h2_post(("transfer-encoding", "chunked"))),
    refused("transfer-encoding: identity", "9113 §8.2.2", h2_post(("transfer-encoding", "identity"))),
    refused("transfer-encoding and chunks as data", "9113 §8.2.2", h2_post(("transfer-encoding", "chunked"), data=(CHUNKED,))),
    refused("connection: close", "9113 §8.2.2", h2(("connection", "close"))),
    refused("connection: content-length", "9113 §8.2.2", h2_post(("connection", "content-length"), ("content-length", "5"))),
    refused("keep-alive", "9113 §8.2.2", h2(("keep-alive", "timeout=5"))),
    refused("proxy-connection", "9113 §8.2.2", h2(("proxy-connection", "keep-alive"))),
    refused("upgrade: h2c", "9113 §8.2.2", h2(("upgrade", "h2c"))),
    refused("te: gzip", "9113 §8.2.2", h2(("te", "gzip"))),
    served("te: trailers", "9113 §8.2.2", h2(("te", "trailers")), GET),
    served("http2-settings is dropped", "9113 §3.1", h2(("http2-settings", "AAMAAABkAAQAAP__")), GET),
    served("host like :authority", "9113 §8.3.1", h2(("host", "sluice.test")), GET),
    served("host in place of :authority", "9113 §8.3.1", h2(("host", "sluice.test"), authority=None), GET),
    refused("host unlike :authority", "9113 §8.3.1", h2(("host", "evil.test"))),
    refused("host with another port", "9113 §8.3.1", h2(("host", "sluice.test:81"))),
    refused("host twice", "9113 §8.3.1", h2(("host", "sluice.test"), ("host", "sluice.test"))),
    refused("host with a line end", "9113 §8.2.1", h2(("host", "sluice.test\r\nX-A: b"), authority=None)),
    refused("neither host nor :authority", "9113 §8.3.1", h2(authority=None)),
    refused("an empty :authority", "9113 §8.3.1", h2(authority="")),
    refused(":authority with userinfo", "9113 §8.3.1", h2(authority="evil@sluice.test")),
    refused(":authority with a path", "9113 §8.3.1", h2(authority="sluice.test/evil")),
    refused(":authority with a blank", "9113 §8.3.1", h2(authority="sluice.test evil.test")),
    refused(":authority with a line end", "9113 §8.2.1", h2(authority="sluice.test\r\nX-A: b")),
    refused(":authority with a port beyond 16 bits", "9113 §8.3.1", h2(authority="sluice.test:65536")),
    refused("CRLF in a value", "9113 §8.2.1", h2(("x-a", "b\r\nX-B: c"))),
    refused("a whole request in a value", "9113 §8.2.1", h2(("x-a", "b\r\n\r\nGET /@/smuggled HTTP/1.1\r\nHost: sluice.test\r\n\r\n"))),
    refused("LF in a value", "9113 §8.2.1", h2(("x-a", "b\nX-B: c"))),
    refused("CR in a value", "9113 §8.2.1", h2(("x-a", "b\rc"))),
    refused("NUL in a value", "9113 §8.2.1", h2(("x-a", "b\0c"))),
    refused("a blank before a value", "9113 §8.2.1", h2(("x-a", " b"))),
    refused("a blank behind a value", "9113 §8.2.1", h2(("x-a", "b "))),
    refused("a tab behind a value", "9113 §8.2.1", h2(("x-a", "b\t"))),
    refused("CRLF in a name", "9113 §8.2.1", h2(("x-a: b\r\nx-b", "c"))),
    refused("NUL in a name", "9113 §8.2.1", h2(("x\0a", "b"))),
    refused("a colon in a name", "9113 §8.2.1", h2(("x-a:", "b"))),
    refused("a blank in a name", "9113 §8.2.1", h2(("x a", "b"))),
    refused("a name with transfer-encoding in it", "9113 §8.2.1", h2_post(("x-a: b\r\ntransfer-encoding", "chunked"))),
    refused("capitals in a name", "9113 §8.2.1", h2(("X-A", "b"))),
    refused("Transfer-Encoding in capitals", "9113 §8.2.1", h2_post(("Transfer-Encoding", "chunked"))),
    refused("a name beyond ASCII", "9113 §8.2.1", h2(("x-\xe9", "b"))),
    refused("an empty name", "9113 §8.2.1", h2(("", "b"))),
    served("letters beyond ASCII in a value", "9110 §5.5", h2(("x-a", "b\xe9c")), Reached("GET", body=b"", fields=(("x-a", "b\xe9c"),))),
    served("transfer_encoding is another field", "9110 §5.1", h2_post(("transfer_encoding", "chunked")),
           Reached(fields=(("transfer_encoding", "chunked"),), chunked=True)),
    refused("a pseudo-field behind a field", "9113 §8.3", Frames([*fields(path=None), ("x-a", "b"), (":path", "/@/a")])),
    refused(":method twice", "9113 §8.3", h2(first=((":method", "POST"),))),
    refused(":path twice", "9113 §8.3", h2(first=((":path", "/@/b"),))),
    refused(":authority twice", "9113 §8.3", h2(first=((":authority", "evil.test"),))),
    refused(":scheme twice", "9113 §8.3", h2(first=((":scheme", "http"),))),
    refused("a pseudo-field that nobody knows", "9113 §8.3", h2(first=((":foo", "b"),))),
    refused(":status in a request", "9113 §8.3", h2(first=((":status", "200"),))),
    refused("no :method", "9113 §8.3.1", h2(method=None)),
    refused("no :scheme", "9113 §8.3.1", h2(scheme=None)),
    refused("no :path", "9113 §8.3.1", h2(path=None)),
    refused("an empty :path", "9113 §8.3.1", h2(path="")),
    refused(":path without a slash", "9113 §8.3.1", h2(path="@/a")),
    refused(":path with a blank", "9113 §8.3.1", h2(path="/@/a b")),
    refused(":path with a whole request line", "9113 §8.3.1", h2(path="/@/a HTTP/1.1\r\nHost: evil.test\r\nX-A: b")),
    refused(":path with a fragment", "9113 §8.3.1", h2(path="/@/a#b")),
    refused(":path with a line feed", "9113 §8.3.1", h2(path="/@/a\nb")),
    refused(":path beyond ASCII", "9113 §8.3.1", h2(path="/@/\xe9")),
    refused(":path that names a host", "9113 §8.3.1", h2(path="http://evil.test/@/a")),
    refused(":path * with GET", "9113 §8.3.1", h2(path="*")),
    refused(":path of 9 KiB", "9112 §3", h2(path="/@/" + "a" * 9216), 414),
    served(":path that looks like an authority", "9113 §8.3.1", h2(path="/@//evil.test/a"), Reached("GET", "/v1/evil.test/a", b"")),
    refused("a request line in :method", "9113 §8.3.1", h2(method="GET /@/smuggled HTTP/1.1\r\nHost: a\r\n\r\nGET")),
    refused("a blank in :method", "9113 §8.3.1", h2(method="GET x")),
    refused("an empty :method", "9113 §8.3.1", h2(method="")),
    served(":method in lower case is another method", "9110 §9.1", h2(method="get"), Reached("get", body=b"")),
    refused("TRACE", "9110 §9.3.8", h2(method="TRACE"), 405),
    refused("CONNECT", "9113 §8.5", h2(method="CONNECT", path=None, scheme=None, authority="sluice.test:443"), 405),
    refused("CONNECT with :path and :scheme", "9113 §8.5", h2(method="CONNECT")),
    refused("extended CONNECT", "8441 §4", h2(method="CONNECT", first=((":protocol", "websocket"),))),
    refused(":scheme with a path", "9113 §8.3.1", h2(scheme="http://evil.test/?")),
    refused("an empty :scheme", "9113 §8.3.1", h2(scheme="")),
    refused(":scheme with a line end", "9113 §8.3.1", h2(scheme="http\r\nX-A: b")),
    refused(":scheme ftp", "9113 §8.3.1", h2(scheme="ftp")),
    served("a trailer is dropped", "9113 §8.1", h2_post(trailers=(("x-late", "1"),)), UNKNOWN),
    refused("a pseudo-field in trailers", "9113 §8.1", h2_post(trailers=((":path", "/@/b"),))),
    refused("transfer-encoding in trailers", "9113 §8.2.2", h2_post(trailers=(("transfer-encoding", "chunked"),))),
    served("content-length in trailers is dropped", "9110 §6.5.1", h2_post(trailers=(("content-length", "5"),)), UNKNOWN),
    served("authorization and host in trailers are dropped", "9110 §6.5.1",
           h2_post(trailers=(("authorization", "x"), ("host", "evil.test"))), UNKNOWN),
    served("DATA behind the end", "9113 §5.1", h2_post(("content-length", "5"), late="data", path="/@/late/data"), Reached(target="/v1/late/data")),
    served("HEADERS behind the end", "9113 §5.1", h2_post(("content-length", "5"), late="headers", path="/@/late/headers"), Reached(target="/v1/late/headers")),
    served("cookies stay here", "9113 §8.2.3", h2(("cookie", "a=b"), ("cookie", "c=d")), GET),
    served("crumbs of a cookie are joined where it may pass", "9113 §8.2.3", h2(("cookie", "a=b"), ("cookie", "c=d"), path="/@/open/a"),
           Reached("GET", "/v1/a", b"", (("cookie", "a=b; c=d"),))),
    served("expect: 100-continue", "9110 §10.1.1", h2_post(("expect", "100-continue"), ("content-length", "5"))),
    refused("another expect", "9110 §10.1.1", h2_post(("expect", "x"), ("content-length", "5")), 417),
    served("chunks as data are data", "9113 §8.1", h2_post(data=(CHUNKED,)), Reached(body=CHUNKED, chunked=True)),
]


# Responses of upstreams over HTTP/1.1

@dataclasses.dataclass
class Answered:
    """What the client gets of a response. `body` None: none at all; a 200 is visibly cut then, or a 502 instead."""
    status: int
    body: bytes | None = b""


@dataclasses.dataclass
class Response:
    name: str
    section: str
    sent: object
    answered: Answered
    method: str = "GET"
    #: The connection to the upstream serves the next request too.
    reused: bool = False
    #: The upstream ends its connection behind it.
    ends: bool = False
    #: Bytes that come by themselves once the answer has gone to the client.
    late: bytes = b""


BAD = Answered(502, None)
CUT = Answered(200, None)
SECOND = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"


def said(*lines, body=BODY, status="HTTP/1.1 200 OK"):
    return "\r\n".join([status, *lines]).encode("latin-1") + b"\r\n\r\n" + body


H1_RESPONSES = [
    Response("a length", "9112 §6.3", said(CL), Answered(200, BODY), reused=True),
    Response("chunks", "9112 §6.3", said(TE, body=CHUNKED), Answered(200, BODY), reused=True),
    Response("the end of the connection", "9112 §6.3", said(), Answered(200, BODY), ends=True),
    Response("Content-Length beside Transfer-Encoding", "9112 §6.3", said(CL, TE, body=CHUNKED), BAD),
    Response("Transfer-Encoding beside Content-Length", "9112 §6.3", said(TE, "Content-Length: 0", body=CHUNKED), BAD),
    Response("Transfer-Encoding twice", "9112 §6.1", said(TE, TE, body=CHUNKED), BAD),
    Response("gzip, chunked", "9112 §6.1", said("Transfer-Encoding: gzip, chunked", body=CHUNKED), BAD),
    Response("xchunked", "9112 §6.1", said("Transfer-Encoding: xchunked", body=CHUNKED), BAD),
    Response("chunked, identity", "9112 §6.1", said("Transfer-Encoding: chunked, identity", body=CHUNKED), BAD),
    Response("a blank before the colon of Transfer-Encoding", "9112 §5.1", said("Transfer-Encoding : chunked", CL), BAD),
    Response("Transfer-Encoding in HTTP/1.0", "9112 §6.1", said(TE, body=CHUNKED, status="HTTP/1.0 200 OK"), BAD),
    Response("Content-Length twice, alike", "9112 §6.3", said(CL, CL), BAD),
    Response("Content-Length twice, different", "9112 §6.3", said(CL, "Content-Length: 3"), BAD),
    Response("a list of lengths", "9112 §6.3", said("Content-Length: 5, 5"), BAD),
    Response("a length with a plus", "9110 §8.6", said("Content-Length: +5"), BAD),
    Response("a length in hexadecimal", "9110 §8.6", said("Content-Length: 0x5"), BAD),
    Response("a negative length", "9110 §8.6", said("Content-Length: -1"), BAD),
    Response("an empty length", "9110 §8.6", said("Content-Length:"), BAD),
    Response("a length beyond 64 bits", "9110 §8.6", said("Content-Length: 18446744073709551621"), BAD),
    Response("less than its length", "9112 §8", said("Content-Length: 9"), CUT, ends=True),
    Response("more than its length", "9112 §9.3", said("Content-Length: 3"), Answered(200, b"hel")),
    Response("a second response behind the first", "9112 §9.2", said(CL) + SECOND, Answered(200, BODY)),
    Response("a response before the request", "9112 §9.2", said(CL), Answered(200, BODY), late=SECOND),
    Response("stray bytes on an idle connection", "9112 §9.2", said(CL), Answered(200, BODY), late=b"\r\n"),
    Response("204 with a body", "9112 §6.3", said(CL, status="HTTP/1.1 204 No Content"), Answered(204)),
    Response("204 with chunks", "9112 §6.3", said(TE, body=CHUNKED, status="HTTP/1.1 204 No Content"), Answered(204)),
    Response("304 with a body", "9112 §6.3", said(CL, status="HTTP/1.1 304 Not Modified"), Answered(304)),
    Response("304 with a length and no body", "9112 §6.3", said(CL, body=b"", status="HTTP/1.1 304 Not Modified"), Answered(304), reused=True),
    Response("HEAD with a body", "9112 §6.3", said(CL), Answered(200), method="HEAD"),
    Response("HEAD with a length", "9112 §6.3", said(CL, body=b""), Answered(200), method="HEAD", reused=True),
    Response("HEAD of chunks", "9112 §6.3", said(TE, body=b""), Answered(200), method="HEAD", reused=True),
    Response("HEAD without a length", "9112 §6.3", said(body=b""), Answered(200), method="HEAD", reused=True),
    Response("a chunk's size beyond 64 bits", "9112 §7.1", said(TE, body=b"10000000000000005\r\nhello\r\n0\r\n\r\n"), CUT),
    Response("a chunk's size with a sign", "9112 §7.1", said(TE, body=b"+5\r\nhello\r\n0\r\n\r\n"), CUT),
    Response("a chunk without its line end", "9112 §7.1", said(TE, body=b"5\r\nhello0\r\n\r\n"), CUT),
    Response("a bare LF behind a chunk's size", "9112 §7.1", said(TE, body=b"5\nhello\r\n0\r\n\r\n"), CUT),
    Response("no last chunk", "9112 §8", said(TE, body=b"5\r\nhello\r\n"), CUT, ends=True),
    Response("a response in the trailers", "9112 §7.1.2", said(TE, body=b"5\r\nhello\r\n0\r\n" + SECOND), CUT),
    Response("a second response behind the last chunk", "9112 §9.2", said(TE, body=CHUNKED + SECOND), Answered(200, BODY)),
    Response("a bare CR in a value", "9112 §2.2", said("X-A: b\rSet-Cookie: c", CL), BAD),
    Response("a bare LF in a value", "9112 §2.2", said("X-A: b\nSet-Cookie: c", CL), BAD),
    Response("NUL in a value", "9110 §5.5", said("X-A: b\0c", CL), BAD),
    Response("a folded field", "9112 §5.2", said("X-A: b\r\n c", CL), BAD),
    Response("a blank before the first field", "9112 §2.2", said(" X-A: b", CL), BAD),
    Response("a field without a colon", "9112 §5", said("X-A", CL), BAD),
    Response("lines that end in LF", "9112 §2.2", said(CL).replace(b"\r\n", b"\n"), BAD),
    Response("an empty line before the status", "9112 §4", b"\r\n" + said(CL), BAD),
    Response("HTTP/2.0", "9112 §4", said(CL, status="HTTP/2.0 200 OK"), BAD),
    Response("no HTTP", "9112 §4", said(CL, status="ICY 200 OK"), BAD),
    Response("a status of four digits", "9112 §4", said(CL, status="HTTP/1.1 2000 OK"), BAD),
    Response("a status of two digits", "9112 §4", said(CL, status="HTTP/1.1 20 OK"), BAD),
    Response("status 600", "9110 §15", said(CL, status="HTTP/1.1 600 X"), BAD),
    Response("a status line without a version", "9112 §4", said(CL, status="200 OK"), BAD),
    Response("101 that nobody asked for", "9110 §7.8", said("Upgrade: h2c", body=b"", status="HTTP/1.1 101 Switching Protocols"), BAD),
    Response("100 before the answer", "9110 §15.2", b"HTTP/1.1 100 Continue\r\n\r\n" + said(CL), Answered(200, BODY), reused=True),
    Response("103 with a length", "9110 §15.2", b"HTTP/1.1 103 Early Hints\r\nContent-Length: 9\r\n\r\n" + said(CL), Answered(200, BODY), reused=True),
    Response("5,000 interim responses", "9110 §15.2", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 5000 + said(CL), BAD),
    Response("300 fields", "9110 §5.4", said(*[f"X-{index}: b" for index in range(300)], CL), BAD),
    Response("Connection: close is believed", "9112 §9.6", said("Connection: close", CL), Answered(200, BODY)),
    Response("HTTP/1.0", "9112 §9.3", said(CL, status="HTTP/1.0 200 OK"), Answered(200, BODY)),
]

# Responses of upstreams over HTTP/2: (kind, payload) of frames on the request's stream. END_STREAM goes with the last one.

OK = (":status", "200")


def answer(*more, data=(BODY,), first=(OK,), trailers=None):
    return Frames([*first, *more], data, trailers)


H2_RESPONSES = [
    Response("without a length", "9113 §8.1.1", answer(), Answered(200, BODY), reused=True),
    Response("the right length", "9113 §8.1.1", answer(("content-length", "5")), Answered(200, BODY), reused=True),
    Response("less than its length", "9113 §8.1.1", answer(("content-length", "9")), CUT),
    Response("more than its length", "9113 §8.1.1", answer(("content-length", "3")), CUT),
    Response("content-length twice", "9113 §8.1.1", answer(("content-length", "5"), ("content-length", "5")), BAD),
    Response("a list of lengths", "9113 §8.1.1", answer(("content-length", "5, 5")), BAD),
    Response("transfer-encoding: chunked", "9113 §8.2.2", answer(("transfer-encoding", "chunked"), data=(CHUNKED,)), BAD),
    Response("connection", "9113 §8.2.2", answer(("connection", "close")), BAD),
    Response("keep-alive", "9113 §8.2.2", answer(("keep-alive", "timeout=5")), BAD),
    Response("upgrade", "9113 §8.2.2", answer(("upgrade", "h2c")), BAD),
    Response("CRLF in a value", "9113 §8.2.1", answer(("x-a", "b\r\nset-cookie: c")), BAD),
    Response("a whole response in a value", "9113 §8.2.1", answer(("x-a", "b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")), BAD),
    Response("NUL in a value", "9113 §8.2.1", answer(("x-a", "b\0c")), BAD),
    Response("CRLF in a name", "9113 §8.2.1", answer(("x-a: b\r\nx-b", "c")), BAD),
    Response("capitals in a name", "9113 §8.2.1", answer(("X-A", "b")), BAD),
    Response("a blank in a name", "9113 §8.2.1", answer(("x a", "b")), BAD),
    Response("no :status", "9113 §8.3.2", answer(("x-a", "b"), first=()), BAD),
    Response(":status twice", "9113 §8.3.2", answer(first=(OK, OK)), BAD),
    Response(":status that is no number", "9113 §8.3.2", answer(first=((":status", "2x0"),)), BAD),
    Response(":status of four digits", "9113 §8.3.2", answer(first=((":status", "2000"),)), BAD),
    Response(":status 600", "9110 §15", answer(first=((":status", "600"),)), BAD),
    Response(":status 99", "9110 §15", answer(first=((":status", "099"),)), BAD),
    Response(":status 101", "9113 §8.6", answer(first=((":status", "101"),)), BAD),
    Response(":path in a response", "9113 §8.3.2", answer(first=(OK, (":path", "/"))), BAD),
    Response("a pseudo-field behind a field", "9113 §8.3", answer(OK, first=(("x-a", "b"),)), BAD),
    Response("204 with data", "9113 §8.1.1", answer(first=((":status", "204"),)), Answered(204, None)),
    Response("204 without data", "9113 §8.1.1", answer(first=((":status", "204"),), data=()), Answered(204), reused=True),
    Response("304 with a length and no data", "9113 §8.1.1", answer(("content-length", "5"), first=((":status", "304"),), data=()),
             Answered(304), reused=True),
    Response("HEAD with data", "9113 §8.1.1", answer(), Answered(200, None), method="HEAD"),
    Response("HEAD with a length and no data", "9113 §8.1.1", answer(("content-length", "5"), data=()), Answered(200), method="HEAD", reused=True),
    Response("a trailer is dropped", "9113 §8.1", answer(trailers=(("x-late", "1"),)), Answered(200, BODY), reused=True),
    Response("a pseudo-field in trailers", "9113 §8.1", answer(trailers=(OK,)), CUT),
    Response("data without a head", "9113 §8.1", Frames([], (BODY,)), BAD),
]
