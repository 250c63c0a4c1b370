"""Answers that one replica makes and another one reads on, over a Redis that both know and that may fail."""

import signal
import time

from harness import fetch, until
from http2_peer import connect_http2
from redis_world import Redis, all_up, is_up, lines, replica
from resume_world import ID, Gated, Stream, chat, metrics
from test_resume import BYTES, EVENTS, ask, last_event, name_of


def test_another_replica_reads_on_in_each_format():
    with Gated() as peer, Redis() as redis, replica(peer, redis) as one, replica(peer, redis) as two:
        all_up(one, two)
        for path in [f"/{name}" for name in EVENTS + BYTES]:
            calls = len(peer.requests)
            whole = fetch(one.port, ask(path))
            assert whole.status == 200 and whole.complete, whole.raw
            name, body = name_of(whole), whole.body
            # Its end is on its way.
            until(lambda: fetch(two.port, f"{path}/{name}/stream?from={len(body)}").status == 204, what="the end")
            positions = [int(match[2]) for match in ID.finditer(body) if match[2] != b"end"]
            assert bool(positions) == (path[1:] in EVENTS)
            for position in positions:
                rest = fetch(two.port, ask(path), headers=last_event(name, position))
                expected = 204 if position == len(body) else 200
                assert (rest.status, rest.body) == (expected, body[position:]), (path, position, rest.raw)
            for position in range(0, len(body), 1 if path == "/text" else 29):
                rest = fetch(two.port, f"{path}/{name}/stream?from={position}")
                assert rest.complete and rest.body == body[position:], (path, position, rest.raw)
                assert rest.headers["content-type"] == whole.headers["content-type"]
                assert rest.headers["x-stream-id"] == name
                assert rest.headers["x-request-id"] != whole.headers["x-request-id"]
            assert len(peer.requests) == calls + 1
            # Neither another route nor another name finds it.
            other = fetch(two.port, f"/ag-ui/{name}/stream" if path != "/ag-ui" else f"/sse-text/{name}/stream")
            assert b"Hello" not in other.body


def test_followed_live_over_both_protocols():
    with Gated(held=1) as peer, Redis() as redis, replica(peer, redis) as one, replica(peer, redis) as two:
        all_up(one, two)
        first = Stream(one.port, ask("/sse-json")).until(b"Hello")
        name = name_of(first.reply)
        session = connect_http2(two.port)
        readers = [session.request(f"/sse-json/{name}/stream") for _ in range(8)]
        for reader in readers:
            reader.wait(lambda s: b"Hello" in s.body, "a token")
        plain = [Stream(two.port, f"/sse-json/{name}/stream").until(b"Hello") for _ in range(8)]
        leaver = Stream(two.port, f"/sse-json/{name}/stream").until(b"Hello")
        leaver.close()
        # The one that asked leaves, and comes back elsewhere with what it has.
        got = first.body[:int(ID.findall(first.body)[-1][1])]
        first.close()
        back = Stream(two.port, ask("/sse-json"), headers=last_event(name, len(got)))
        assert back.head().status == 200
        peer.release()
        bodies = {bytes(reader.wait_over().body) for reader in readers} | {each.whole().body for each in plain}
        bodies.add(got + back.whole().body)
        assert len(bodies) == 1, bodies
        assert bodies.pop().endswith(b"/end\n\n") and all(each.reply.complete for each in [*plain, back])
        assert all(reader.complete for reader in readers) and len(peer.requests) == 1
        session.close()


def test_who_reads_elsewhere_keeps_it_going():
    """Its grace is for answers that nobody reads, wherever."""
    resume = {"grace": "500ms"}
    with Gated(held=1) as peer, Redis() as redis, replica(peer, redis, resume) as one, replica(peer, redis, resume) as two:
        all_up(one, two)
        first = Stream(one.port, ask()).until(b"Hello")
        reader = Stream(two.port, f"/sse-text/{name_of(first.reply)}/stream").until(b"Hello")
        first.close()
        time.sleep(1.2)
        assert peer.hangups == 0
        peer.release()
        assert reader.whole().body.endswith(b"/end\n\n")
        # And where nobody reads any more it ends.
        peer.gate.clear()
        first = Stream(one.port, ask()).until(b"Hello")
        reader = Stream(two.port, f"/sse-text/{name_of(first.reply)}/stream").until(b"Hello")
        first.close()
        reader.close()
        until(lambda: peer.hangups == 1, what="the upstream's end")


def test_a_chat_is_found_on_any_replica():
    with Gated(held=1) as peer, Redis() as redis, replica(peer, redis) as one, replica(peer, redis) as two:
        all_up(one, two)
        assert fetch(two.port, "/api/chat/c1/stream").status == 204
        first = Stream(one.port, "/api/chat", chat("c1")).until(b"Hello")
        again = Stream(two.port, "/api/chat/c1/stream").until(b"Hello")
        peer.release()
        assert again.whole().body == first.whole().body and again.reply.complete
        assert again.reply.headers["x-vercel-ai-ui-message-stream"] == "v1"
        until(lambda: fetch(two.port, "/api/chat/c1/stream").status == 204, what="its end")
        # The next message of the chat came elsewhere: the older answer, which is here, is not the one that is meant.
        peer.gate.clear()
        second = Stream(two.port, "/api/chat", chat("c1", "more")).until(b"Hello")
        page = Stream(one.port, "/api/chat/c1/stream").until(b"Hello")
        assert name_of(page.reply) == name_of(second.reply) != name_of(first.reply)
        peer.release()
        assert page.whole().body == second.whole().body
        assert len(peer.requests) == 2
        # Named in a GET, it is begun once.
        peer.gate.clear()
        begun = Stream(one.port, ask(id="mine")).until(b"Hello")
        joined = Stream(two.port, ask(id="mine")).until(b"Hello")
        peer.release()
        assert joined.whole().body == begun.whole().body and len(peer.requests) == 3


def test_stopped_from_another_replica():
    with Gated(held=1) as peer, Redis() as redis, replica(peer, redis) as one, replica(peer, redis) as two:
        all_up(one, two)
        first = Stream(one.port, "/api/chat", chat("c1")).until(b"Hello")
        reader = Stream(two.port, "/api/chat/c1/stream").until(b"Hello")
        assert fetch(two.port, "/api/chat/c1", method="DELETE").status == 204
        until(lambda: peer.hangups == 1, what="the upstream's end")
        assert b'"type":"error"' in first.whole().body
        assert reader.whole().body == first.body
        assert fetch(two.port, "/api/chat/nobody", method="DELETE").status == 404
        # What has ended is forgotten.
        name = name_of(first.reply)
        assert fetch(two.port, f"/api/chat/{name}/stream?from=0").body == first.body
        until(lambda: fetch(two.port, f"/api/chat/{name}", method="DELETE").status == 404, what="it is forgotten")


def test_a_killed_replica_is_told_of_honestly():
    with Gated(held=2) as peer, Redis() as redis, replica(peer, redis) as one, replica(peer, redis) as two:
        all_up(one, two)
        first = Stream(one.port, ask("/sse-json")).until(b'",\\n"')
        text = Stream(one.port, ask("/text")).until(b",\n")
        name, path = name_of(first.reply), f"/sse-json/{name_of(first.reply)}/stream"
        live = Stream(two.port, path).until(b'",\\n"')
        cut = Stream(two.port, f"/text/{name_of(text.reply)}/stream").until(b",\n")
        one.process.kill()
        late = Stream(two.port, path).until(b'",\\n"')
        for reader in [live, late]:
            body = reader.whole(30).body
            assert body.startswith(first.body) and b"error" in body[len(first.body):], body
            # The browser that asks again is told that there is nothing more.
            assert reader.reply.complete and body.endswith(f"id: {name}/end\n\n".encode())
        again = fetch(two.port, ask("/sse-json"), headers=last_event(name, "end"))
        assert again.status == 204, again.raw
        assert cut.whole(30).body == b"Hello,\n" and not cut.reply.complete
        assert len(peer.requests) == 2


def test_a_replica_that_goes_leaves_its_answers():
    """A rolling restart: what has ended can be asked for elsewhere, and what is read elsewhere goes on to its end."""
    with Gated(held=1) as peer, Redis() as redis, replica(peer, redis) as one, replica(peer, redis) as two:
        all_up(one, two)
        peer.release()
        done = fetch(one.port, ask())
        peer.gate.clear()
        first = Stream(one.port, ask()).until(b"Hello")
        reader = Stream(two.port, f"/sse-text/{name_of(first.reply)}/stream").until(b"Hello")
        first.close()
        until(lambda: metrics(one)['sluice_streams_active{route="/sse-text"}'] == 1, what="the client has gone")
        one.process.send_signal(signal.SIGTERM)
        until(lambda: lines(one, "draining"), what="draining")
        time.sleep(0.3)
        peer.release()
        assert reader.whole().body.endswith(b"/end\n\n") and b" it" in reader.body
        assert one.process.wait(20) == 0
        assert fetch(two.port, f"/sse-text/{name_of(done)}/stream").body == done.body


def test_redis_lost_and_found_again():
    with Gated(held=1) as peer, Redis() as redis, replica(peer, redis) as one, replica(peer, redis) as two:
        all_up(one, two)
        first = Stream(one.port, ask("/sse-json")).until(b"Hello")
        name = name_of(first.reply)
        reader = Stream(two.port, f"/sse-json/{name}/stream").until(b"Hello")
        redis.kill()
        until(lambda: not is_up(one) and not is_up(two), what="both notice")
        # A stream goes on in its process, a new one begins, also where a store would have been asked, and readers here read.
        begun = Stream(one.port, ask(id="mine")).until(b"Hello")
        here = Stream(one.port, f"/sse-json/{name}/stream").until(b"Hello")
        assert fetch(two.port, f"/text/{name}/stream").status in (404, 503)
        peer.release()
        assert first.whole().complete
        assert here.whole().body == first.body and begun.whole().complete
        assert redis.start()
        all_up(one, two)
        # With a hole in it nobody gets it, and nobody waits.
        body = reader.whole(30).body
        assert reader.reply.complete and b"error" in body and b" it" not in body, body
        lost = fetch(two.port, f"/sse-json/{name}/stream")
        assert b" it" not in lost.body, lost.raw
        whole = fetch(one.port, ask())
        until(lambda: fetch(two.port, f"/sse-text/{name_of(whole)}/stream").body == whole.body, what="it is kept again")
        for proxy in [one, two]:
            until(lambda: len(lines(proxy, "resume_store_up")) == 1, what="a line for the change")
            assert len(lines(proxy, "resume_store_down")) == 1
            assert not any("redis://" in str(entry) for entry in proxy.log)
        told = metrics(one)
        assert told["sluice_resume_store_dropped_bytes_total"] > 0
        assert told['sluice_resume_store_errors_total{kind="closed"}'] >= 1


def test_a_redis_that_hangs_delays_no_token():
    tokens = [f"t{index} " for index in range(300)]
    patience = {"connect": "10s", "reply": "10s"}
    with Gated(tokens=tokens) as peer, Redis() as redis, replica(peer, redis, timeouts=patience) as one, \
            replica(peer, redis, timeouts=patience) as two:
        all_up(one, two)
        redis.freeze()
        began = time.monotonic()
        whole = fetch(one.port, ask())
        took = time.monotonic() - began
        redis.thaw()
        assert whole.complete and whole.body.count(b"data: t") == 300
        # Whoever had waited for Redis would have waited for ten seconds, and would have noticed it.
        assert took < 8 and not lines(one, "resume_store_down"), f"{took} s"
        until(lambda: fetch(two.port, f"/sse-text/{name_of(whole)}/stream").body == whole.body, what="it comes after all")


def test_nothing_is_left_behind():
    resume = {"ttl": "1s"}
    with Gated(held=1) as peer, Redis() as redis, replica(peer, redis, resume) as one, replica(peer, redis, resume) as two:
        all_up(one, two)
        first = Stream(one.port, "/api/chat", chat("a-private-matter")).until(b"Hello")
        name = name_of(first.reply)
        keys = until(lambda: redis.ask("KEYS *") if redis.ask("DBSIZE") == b":4\r\n" else None, what="its keys")
        assert all(part in keys for part in [b"alias", b"owner", name.encode()]) and b"private" not in keys
        assert b"-1\r\n" not in [redis.ask(f"PTTL {key.decode()}") for key in keys.split(b"\r\n") if b"sluice" in key]
        peer.release()
        first.whole()
        until(lambda: redis.ask("DBSIZE") == b":0\r\n", 20, "no keys")
        assert fetch(two.port, f"/api/chat/{name}/stream").status == 204
        # An error before the first token is no stream, and is not there for anybody.
        peer.close()
        assert fetch(one.port, "/api/chat", chat("another")).status == 502
        until(lambda: redis.ask("DBSIZE") == b":0\r\n", 20, "no keys")


def test_a_reload_goes_on_with_what_has_begun():
    with Gated(held=1) as peer, Redis() as redis, replica(peer, redis) as one, replica(peer, redis) as two:
        all_up(one, two)
        first = Stream(one.port, ask()).until(b"Hello")
        with open(one.path) as file:
            changed = file.read().replace('"redis": {"url"', '"redis": {"prefix": "other:", "url"')
        assert "other:" in changed
        one.write(changed)
        one.process.send_signal(signal.SIGHUP)
        until(lambda: lines(one, "reloaded"), what="the reload")
        reader = Stream(two.port, f"/sse-text/{name_of(first.reply)}/stream").until(b"Hello")
        second = Stream(one.port, ask()).until(b"Hello")
        until(lambda: name_of(second.reply).encode() in redis.ask("KEYS other:*"), what="the new prefix")
        peer.release()
        assert reader.whole().body == first.whole().body and second.whole().complete
        assert b"Hello" not in fetch(two.port, f"/sse-text/{name_of(second.reply)}/stream").body
