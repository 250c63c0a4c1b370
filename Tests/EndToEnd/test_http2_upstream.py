"""Upstreams that speak HTTP/2: which protocol is chosen, how connections are shared, retired and found dead, what is retried."""

import concurrent.futures
import signal
import threading
import time

from harness import DONE, HEAD, Peer, Reply, Sluice, connect, drain, event, request_bytes, until
from harness import stream as send_stream
from http2_peer import CANCEL, CONCURRENT_STREAMS, INTERNAL_ERROR, REFUSED_STREAM, Http2Peer, connect_http2, goaway
from http2_world import (
    ALL_FRAMINGS, PAIRS, Upstreams, certificates, chat, http2_proxy, over_h1, over_h2, settings)

TOKENS = ["one", " two", " three"]


def tell(stream, tokens=TOKENS):
    """A whole answer."""
    stream.wait_body()
    stream.head()
    for token in tokens:
        stream.data(event({"content": token}))
    stream.data(DONE)
    stream.end()


def gated(gate, began):
    """Says that it has begun, and answers when the gate opens."""
    def script(stream):
        stream.wait_body()
        began.release()
        assert gate.wait(20)
        tell(stream)
    return script


def ask_many(port, count, pool):
    return [pool.submit(over_h1, port, "/h2/text", chat(str(number))) for number in range(count)]


def good(results):
    for future in results:
        result = future.result(20)
        assert (result.status, result.body, result.complete) == (200, "".join(TOKENS).encode(), True), result


def acquire(semaphore, count):
    for number in range(count):
        assert semaphore.acquire(timeout=10), f"only {number} of {count} began"


# The protocol

def test_alpn_decides_under_auto():
    with certificates() as made:
        secure = (made.path("server.crt"), made.path("server.key"))
        with Http2Peer(tell, certificate=secure) as peer:
            values = settings({"h2": peer.url.replace("127.0.0.1", "localhost")},
                              upstream={"http": "auto", "tls": {"ca": made.path("ca.crt")}})
            with Sluice(values) as proxy:
                for _ in range(3):
                    assert over_h1(proxy.port, "/h2/text", chat()).body == "".join(TOKENS).encode()
                assert len(peer.connections) == 1 and len(peer.streams) == 3


def test_auto_in_the_clear_is_http_1():
    with Peer(lambda connection, _: send_stream(connection)) as peer:
        with Sluice(settings({"any": peer.url}, upstream={"http": "auto"})) as proxy:
            assert over_h1(proxy.port, "/any/text", chat()).complete
            assert b"HTTP/1.1\r\n" in peer.requests[0]


def test_the_request_is_whole():
    with Http2Peer(tell) as peer, http2_proxy(peer) as proxy:
        over_h1(proxy.port, "/h2/text", chat())
        stream = peer.streams[0]
        fields = dict(stream.fields)
        assert fields[":method"] == "POST" and fields[":path"] == "/v1/chat/completions" and fields[":scheme"] == "http"
        assert fields[":authority"] == f"127.0.0.1:{peer.port}" and fields["accept-encoding"] == "identity", fields
        assert not {"host", "connection", "transfer-encoding"} & fields.keys(), fields
        assert int(fields["content-length"]) == len(stream.body) and stream.json["stream"] is True


# Sharing

def test_streams_share_a_connection_up_to_the_peers_limit():
    gate, began = threading.Event(), threading.Semaphore(0)
    with Http2Peer(gated(gate, began), settings={CONCURRENT_STREAMS: 3}) as peer, http2_proxy(peer) as proxy:
        with concurrent.futures.ThreadPoolExecutor(10) as pool:
            first = ask_many(proxy.port, 1, pool)
            acquire(began, 1)  # the limit is known now
            more = ask_many(proxy.port, 9, pool)
            acquire(began, 9)
            shares = [len(each.streams) for each in peer.connections]
            assert max(shares) <= 3 and sum(shares) == 10, shares
            gate.set()
            good(first + more)
        print(f"  10 streams, 3 at a time allowed: {shares} on {len(shares)} connections")


def test_a_hundred_streams_on_one_connection():
    gate, began = threading.Event(), threading.Semaphore(0)
    with Http2Peer(gated(gate, began)) as peer, http2_proxy(peer) as proxy:
        with concurrent.futures.ThreadPoolExecutor(50) as pool:
            asked = ask_many(proxy.port, 50, pool)
            acquire(began, 50)
            assert len(peer.connections) == 1, len(peer.connections)
            gate.set()
            good(asked)


# Retiring and retrying

def test_goaway_lets_streams_end_and_the_rest_is_asked_again():
    gate, began = threading.Event(), threading.Semaphore(0)

    def script(stream):
        if stream.connection is peer.connections[0] and stream.number > 3:
            return began.release()  # never answered: above the last stream that the GOAWAY will name
        gated(gate, began)(stream)

    with Http2Peer(script) as peer, http2_proxy(peer) as proxy:
        with concurrent.futures.ThreadPoolExecutor(10) as pool:
            asked = ask_many(proxy.port, 4, pool)
            acquire(began, 4)
            peer.connections[0].raw(goaway(3))
            acquire(began, 2)
            assert len(peer.connections) == 2 and len(peer.connections[1].streams) == 2
            asked += ask_many(proxy.port, 1, pool)
            acquire(began, 1)
            assert len(peer.connections) == 2 and len(peer.connections[0].streams) == 4, "a new request went to the old connection"
            gate.set()
            good(asked)
        until(lambda: peer.connections[0].is_over, what="the retired connection closes")


def test_refused_streams_are_asked_again():
    def script(stream):
        stream.wait_body()
        if len(peer.streams) <= 2:
            return stream.abort(REFUSED_STREAM)
        tell(stream)

    with Http2Peer(script) as peer, http2_proxy(peer) as proxy:
        result = over_h1(proxy.port, "/h2/text", chat())
        assert result.body == "".join(TOKENS).encode() and len(peer.streams) == 3, (result, len(peer.streams))
        until(lambda: proxy.exchanges(), what="a line in the log")
        assert proxy.exchanges()[-1]["retries"] == 2, proxy.exchanges()


def test_a_peer_that_refuses_always_is_given_up():
    def script(stream):
        stream.wait_body()
        stream.abort(REFUSED_STREAM)

    with Http2Peer(script) as peer, http2_proxy(peer) as proxy:
        result = over_h1(proxy.port, "/h2/text", chat())
        assert result.status == 503 and result.complete, result
        assert 1 < len(peer.streams) <= 5, len(peer.streams)


def test_nothing_is_asked_again_once_the_client_has_read():
    def script(stream):
        stream.wait_body()
        stream.head()
        stream.data(event({"content": "one"}))
        stream.abort(REFUSED_STREAM)

    with Http2Peer(script) as peer, http2_proxy(peer) as proxy:
        result = over_h1(proxy.port, "/h2/text", chat())
        assert result.body == b"one" and not result.complete and len(peer.streams) == 1, result


# Failures in the middle

def broken(end):
    def script(stream):
        stream.wait_body()
        stream.head()
        for token in TOKENS:
            stream.data(event({"content": token}))
        end(stream)
    return script


def check_failures(end):
    with Http2Peer(broken(end)) as peer:
        with Sluice(settings({"h2": peer.url}, ALL_FRAMINGS)) as proxy:
            client = connect_http2(proxy.port)
            for framing in ALL_FRAMINGS:
                for result in (over_h1(proxy.port, f"/h2/{framing}", chat()), over_h2(client, f"/h2/{framing}", chat())):
                    where = f"{framing}: {result}"
                    assert result.status == 200 and b"three" in result.body and b"[DONE]" not in result.body, where
                    if framing == "text":
                        assert not result.complete, where
                    else:
                        assert result.complete and b"error" in result.body, where


def test_a_reset_in_the_middle_is_told():
    check_failures(lambda stream: stream.abort(INTERNAL_ERROR))


def test_a_cut_connection_is_told():
    check_failures(lambda stream: stream.connection.close(reset=True))


def test_an_end_without_a_finish_is_told():
    check_failures(lambda stream: stream.end())


def test_a_length_that_is_wrong_is_told():
    def script(stream):
        stream.wait_body()
        stream.head(fields=[("content-length", "100000")])
        for token in TOKENS:
            stream.data(event({"content": token}))
        stream.end()

    with Http2Peer(script) as peer, http2_proxy(peer) as proxy:
        result = over_h1(proxy.port, "/h2/text", chat())
        assert not result.complete or result.status == 502, result


def test_interim_answers_and_trailers_are_let_pass():
    def script(stream):
        stream.wait_body()
        stream.send_fields([(":status", "103"), ("link", "</x>")])
        stream.head()
        # All in one piece, so that the trailers are read before anybody has taken the head.
        with stream.connection.acting(stream) as h2:
            for token in TOKENS:
                h2.send_data(stream.number, event({"content": token}))
            h2.send_data(stream.number, DONE)
            h2.send_headers(stream.number, [("x-trailer", "1"), ("grpc-status", "0")], end_stream=True)

    with Http2Peer(script) as peer, http2_proxy(peer) as proxy:
        for _ in range(5):
            result = over_h1(proxy.port, "/h2/text", chat())
            assert (result.status, result.body, result.complete) == (200, "".join(TOKENS).encode(), True), result


# Dead and idle connections

def test_a_frozen_peer_is_found_by_ping():
    def script(stream):
        stream.wait_body()
        stream.connection.answers_pings = False
        stream.head()
        stream.data(event({"content": "one"}))
        stream.wait_left(20)

    keepalive = {"keepalive": {"interval": "300ms", "timeout": "300ms"}}
    with Http2Peer(script) as peer, Sluice(settings({"h2": peer.url}, upstream=keepalive)) as proxy:
        began = time.monotonic()
        result = over_h1(proxy.port, "/h2/text", chat())
        assert result.body == b"one" and not result.complete and peer.connections[0].pings > 0, result
        print(f"  found dead in {time.monotonic() - began:.1f} s")
        until(lambda: peer.connections[0].is_over, what="its connection closes")


def test_a_slow_peer_that_answers_pings_is_left_alone():
    def script(stream):
        stream.wait_body()
        stream.connection.wait(lambda c: c.pings >= 2, "two PINGs")
        tell(stream)

    keepalive = {"keepalive": {"interval": "300ms", "timeout": "5s"}}
    with Http2Peer(script) as peer, Sluice(settings({"h2": peer.url}, upstream=keepalive)) as proxy:
        assert over_h1(proxy.port, "/h2/text", chat()).complete


def test_idle_connections_are_closed():
    with Http2Peer(tell) as peer, http2_proxy(peer, limits={"upstream_idle_timeout": "1s"}) as proxy:
        assert over_h1(proxy.port, "/h2/text", chat()).complete
        until(lambda: peer.connections[0].is_over, what="the idle connection closes")
        assert over_h1(proxy.port, "/h2/text", chat()).complete and len(peer.connections) == 2


# Leaving

def test_a_client_that_leaves_cancels_its_stream_alone():
    gate, began = threading.Event(), threading.Semaphore(0)

    def script(stream):
        if b"leaver" in stream.wait_body():
            stream.head()
            stream.data(event({"content": "one"}))
            return
        gated(gate, began)(stream)

    with Http2Peer(script) as peer, http2_proxy(peer) as proxy:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            stays = ask_many(proxy.port, 1, pool)
            acquire(began, 1)
            slowest = 0.0
            for number in range(20):
                leaver = connect(proxy.port)
                leaver.sendall(request_bytes("/h2/text", chat("leaver")))
                received = b""
                while b"one" not in received:
                    received += leaver.recv(4096)
                left = time.monotonic()
                leaver.close()
                stream = peer.streams[-1]
                slowest = max(slowest, stream.wait_left() - left)
                assert stream.reset == CANCEL, stream.reset
            gate.set()
            good(stays)
        assert len(peer.connections) == 1
        print(f"  20 clients left: RST_STREAM(CANCEL) after at most {slowest * 1000:.1f} ms")
        assert slowest < 0.25, slowest


def test_a_client_that_answers_no_ping_is_dropped():
    left = threading.Event()

    def script(stream):
        stream.wait_body()
        stream.head()
        stream.data(event({"content": "one"}))
        stream.wait_left(20)
        left.set()

    values = {"routes": {"keepalive": "300ms"}, "limits": {"ping_timeout": "500ms"}}
    with Http2Peer(script) as peer, Sluice(settings({"h2": peer.url}, **values)) as proxy:
        client = connect_http2(proxy.port)
        client.answers_pings = False
        began = time.monotonic()
        stream = client.request("/h2/text", chat())
        stream.wait(lambda s: s.body == b"one", "a token")
        assert left.wait(10), "the upstream still works for it"
        print(f"  dropped after {time.monotonic() - began:.1f} s and {client.pings} PINGs")
        patient = connect_http2(proxy.port)
        other = patient.request("/h2/text", chat())
        patient.wait(lambda c: c.pings >= 3, "three PINGs")
        assert not other.is_over, "a client that answers is dropped too"


def test_sigterm_sends_two_goaways_and_lets_streams_end():
    gate, began = threading.Event(), threading.Semaphore(0)
    with Http2Peer(gated(gate, began)) as peer, http2_proxy(peer) as proxy:
        client = connect_http2(proxy.port)
        client.answers_pings = False  # whose answer would say that the first GOAWAY has come
        first = client.request("/h2/text", chat())
        acquire(began, 1)
        proxy.process.send_signal(signal.SIGTERM)
        client.wait(lambda c: c.goaways, "a GOAWAY")
        assert client.goaways[0] == ((1 << 31) - 1, 0), client.goaways
        late = client.request("/h2/text", chat())  # on its way when the first GOAWAY came: still taken
        acquire(began, 1)
        client.wait(lambda c: len(c.goaways) == 2, "the second GOAWAY")
        assert client.goaways[1] == (late.number, 0), client.goaways
        gate.set()
        for stream in (first, late):
            assert stream.wait_over().complete and bytes(stream.body) == "".join(TOKENS).encode()
        assert proxy.process.wait(10) == 0


# Bodies of all lengths

def test_bodies_of_3_mib_over_all_pairs():
    size = 3 << 20
    data = bytes(range(251)) * (size // 251 + 1)
    data = data[:size]

    def script(stream):
        body = stream.wait_body()
        stream.head(kind="application/octet-stream")
        stream.data(body)
        stream.end()

    def h1(connection, request):
        body = request.split(b"\r\n\r\n", 1)[1]
        connection.sendall(HEAD.replace(b"text/event-stream", b"application/octet-stream"))
        connection.sendall(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))

    with Http2Peer(script) as peer, Peer(h1) as old:
        with Sluice(settings({"h2": peer.url, "h1": old.url})) as proxy:
            client = connect_http2(proxy.port)
            for asker, upstream in PAIRS:
                path = f"/{upstream}/passthrough"
                if asker == "h1":
                    connection = connect(proxy.port)
                    sender = threading.Thread(target=connection.sendall, args=(
                        b"POST %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (path.encode(), size)
                        + data,))
                    sender.start()
                    body = Reply(drain(connection)).body
                    sender.join()
                else:
                    body = bytes(client.request(path, data).wait_over(20).body)
                assert body == data, f"{asker} to {upstream}: {len(body)} of {size} bytes"


# MARK: reloads and clients that are gone

def test_an_answer_is_drained_after_its_connection_is_gone():
    """`on_disconnect: drain`: the provider finishes, though nothing is left of the client; also where only its stream is gone."""
    for whole in (True, False):
        gate, began = threading.Event(), threading.Semaphore(0)
        with Http2Peer(gated(gate, began)) as peer, http2_proxy(peer, routes={"on_disconnect": "drain"}) as proxy:
            client = connect_http2(proxy.port)
            stream = client.request("/h2/sse-json", chat())
            assert began.acquire(timeout=10)
            upstream = peer.streams[0]
            # The head is there, so that it is the answer that is drained.
            upstream.head()
            upstream.data(event({"content": "first"}))
            stream.wait(lambda s: s.body, "the first token")
            if whole:
                client.close()
            else:
                stream.abort(CANCEL)
            upstream.head = lambda: None
            time.sleep(0.1)
            gate.set()
            ended = until(lambda: proxy.exchanges(), what="the end")
            assert ended[0]["end"] == "client_gone" and not upstream.is_gone, ended
            assert proxy.process.poll() is None, proxy.errors
            client.close()


def test_reloads_while_connections_are_made_and_used():
    """A pool may be given up while its connections still carry, or are only being made."""
    def script(answer, text):
        answer.head()
        for token in TOKENS:
            answer.data(event({"content": token}))
            time.sleep(0.002)
        answer.data(DONE)
        answer.end()

    with Upstreams(script) as upstreams, Sluice(settings(upstreams.urls, workers=2)) as proxy:
        over = threading.Event()

        def ask(path):
            count = 0
            while not over.is_set():
                answer = over_h1(proxy.port, path, chat())
                assert answer.complete and answer.body == "".join(TOKENS).encode(), (path, answer)
                count += 1
            return count

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(ask, f"/{name}/text") for name in ["h1", "h2"] * 4]
            for _ in range(40):
                proxy.process.send_signal(signal.SIGHUP)
                time.sleep(0.02)
            over.set()
            assert sum(each.result() for each in asked) > 40
        assert proxy.process.poll() is None, proxy.errors
        assert sum(entry["event"] == "reloaded" for entry in proxy.log) >= 20
