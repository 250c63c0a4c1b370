"""A chat in Chromium that outlives its page: reload and go on, two tabs, stop; as `useChat({id, resume: true})` asks for it."""

import itertools

from browser_world import PROTOCOLS, TEXT, TOKENS, WORDS, begin, finish, post, query, send, until, world
from readers import read

RESUME = {"buffer": "1MiB", "ttl": "60s", "grace": "30s", "store": "memory"}


def routes(here, **changes):
    cors = {"origins": here.origins}
    resume = {**RESUME, **changes}
    both = {"resume": resume, "cors": cors}
    return [{"path": "/api/chat", "request": "vercel-ui", "response": "vercel-ui", **both, "compress": ["br", "gzip"]},
            {"path": "/api/text", "request": "prompt", "response": "text", **both},
            {"path": "/api/packed", "request": "prompt", "response": "text", **both, "compress": "gzip"}]


def waits_for(here, word):
    """Half of the answer, then the rest when the test says so by reporting."""
    def script(connection, name):
        begin(connection)
        send(connection, *TOKENS[:2])
        if not here.model.wait_report(name, word):
            return "close"
        send(connection, *TOKENS[2:])
        return finish(connection)

    return script


def silent(here):
    def script(connection, name):
        begin(connection)
        send(connection, *TOKENS[:2])
        return here.model.wait_left(connection, name)

    return script


def shown(tab):
    return tab.evaluate("chat.text")


def whole(raw):
    """Ids and the delay are EventSource's; `useChat` has no use for them, and its stream is right without them."""
    blocks = ["\n".join(line for line in block.split("\n") if line.startswith("data:")) for block in raw.split("\n\n")]
    answer = read("vercel-ui", "".join(block + "\n\n" for block in blocks if block).encode())
    return answer.text, answer.complete, answer.error


def test_a_reloaded_page_gets_the_whole_answer():
    with world(routes) as here:
        here.model.scripts["half"] = waits_for(here, "go on")
        for protocol in PROTOCOLS:
            name, tab = protocol, here.own_tab(protocol)
            tab.begin("sendChat", "/api/chat", f"chat-{name}", f"{name}#half")
            until(lambda: "second" in shown(tab), 30, f"{name}: half of the answer")
            tab.reload()
            assert shown(tab) == "", "the page is a new one"
            going = tab.begin("resumeChat", "/api/chat", f"chat-{name}")
            until(lambda: "second" in shown(tab), 30, f"{name}: what the old page had read")
            here.model.report(name, "go on")
            seen = going.result(30)
            assert (seen["status"], seen["text"], seen["finished"], seen["failed"]) == (200, TEXT, True, None), seen
            assert whole(seen["raw"]) == (TEXT, True, None), seen
            # It has ended: nothing to go on with, whoever asks.
            tab.reload()
            seen = tab.call("resumeChat", "/api/chat", f"chat-{name}")
            assert (seen["status"], seen["raw"]) == (204, ""), seen
            assert here.model.calls[f"{name}#half"] == 1, here.model.calls
        seen = tab.call("resumeChat", "/api/chat", "nobody's")
        assert (seen["status"], seen["raw"]) == (204, ""), seen


def test_two_tabs_follow_one_answer():
    with world(routes) as here:
        here.model.scripts["half"] = waits_for(here, "go on")
        for protocol in PROTOCOLS:
            name = protocol
            profile = here.profile()
            first, second = (profile.tab(here.base(protocol) + "/site/page") for _ in range(2))
            sent = first.begin("sendChat", "/api/chat", f"chat-{name}", f"{name}#half")
            until(lambda: "second" in shown(first), 30, f"{name}: half of the answer")
            followed = second.begin("resumeChat", "/api/chat", f"chat-{name}")
            until(lambda: "second" in shown(second), 30, f"{name}: the same in the other tab")
            here.model.report(name, "go on")
            seen = [each.result(30) for each in (sent, followed)]
            assert [whole(each["raw"]) for each in seen] == [(TEXT, True, None)] * 2, seen
            assert here.model.calls[f"{name}#half"] == 1, here.model.calls


def test_one_tab_goes_and_the_other_reads_on():
    with world(routes) as here:
        here.model.scripts["half"] = waits_for(here, "go on")
        for protocol in PROTOCOLS:
            name = protocol
            profile = here.profile()
            first, second = (profile.tab(here.base(protocol) + "/site/page") for _ in range(2))
            first.begin("sendChat", "/api/chat", f"chat-{name}", f"{name}#half")
            until(lambda: "second" in shown(first), 30, f"{name}: half of the answer")
            followed = second.begin("resumeChat", "/api/chat", f"chat-{name}")
            until(lambda: "second" in shown(second), 30, f"{name}: the same in the other tab")
            first.close()
            here.model.report(name, "go on")
            seen = followed.result(30)
            assert whole(seen["raw"]) == (TEXT, True, None) and here.model.calls[f"{name}#half"] == 1, seen


def test_delete_stops_the_answer_for_all():
    with world(routes) as here:
        here.model.scripts["silent"] = silent(here)
        for protocol in PROTOCOLS:
            name = protocol
            profile = here.profile()
            tabs = [profile.tab(here.base(protocol) + "/site/page") for _ in range(2)]
            sent = tabs[0].begin("sendChat", "/api/chat", f"chat-{name}", f"{name}#silent")
            until(lambda: "second" in shown(tabs[0]), 30, f"{name}: half of the answer")
            followed = tabs[1].begin("resumeChat", "/api/chat", f"chat-{name}")
            until(lambda: "second" in shown(tabs[1]), 30, f"{name}: the same in the other tab")
            stopped = tabs[1].call("read", f"/api/chat/chat-{name}/stream", {"method": "DELETE"})
            assert stopped["status"] == 204, stopped
            here.model.wait_for(lambda: name in here.model.left, f"{name}: the provider is stopped")
            for each in (sent, followed):
                seen = each.result(30)
                assert seen["failed"] and not seen["finished"] and seen["text"] == "".join(TOKENS[:2]), seen
            assert here.model.calls[f"{name}#silent"] == 1, here.model.calls
            assert tabs[0].call("read", "/api/chat/nobody", {"method": "DELETE"})["status"] == 404


def test_a_page_that_is_closed_stops_the_provider_after_the_grace():
    with world(lambda here: routes(here, grace="1s")) as here:
        here.model.scripts["silent"] = silent(here)
        tabs = {protocol: here.own_tab(protocol) for protocol in PROTOCOLS}
        for protocol, tab in tabs.items():
            tab.begin("sendChat", "/api/chat", f"chat-{protocol}", f"{protocol}#silent")
            until(lambda: "second" in shown(tab), 30, f"{protocol}: half of the answer")
        for tab in tabs.values():
            tab.close()
        here.model.wait_for(lambda: all(protocol in here.model.left for protocol in PROTOCOLS), "the provider is stopped")


def test_a_fetch_of_another_origin_goes_on_where_it_was_cut():
    """Plain text has no ids: its position is what was read of it, its name a field of the answer, which CORS has to expose."""
    with world(routes) as here:
        here.model.scripts["half"] = waits_for(here, "go on")
        for protocol, path in itertools.product(PROTOCOLS, ("text", "packed")):
            name, tab = f"{protocol} {path}", here.foreign_tab(protocol)
            relay, base = here.relay_to(here.base(protocol))
            broken = tab.begin("readReporting", f"{base}/api/{path}", name, post(name + "#half"))
            here.model.wait_for(lambda: WORDS[1] in here.model.reported[name], f"{name}: half of the answer")
            relay.cut_now("RST")
            seen = broken.result(30)
            assert seen["error"] == "TypeError" and seen["text"] == "".join(TOKENS[:2]), seen
            here.model.report(name, seen["text"] + "go on")
            # Of what was read, not of what came over the wire.
            where = len(seen["text"].encode())
            rest = tab.call("read", f"{base}/api/{path}/{seen['fields']['x-stream-id']}/stream" + query(**{"from": where}))
            assert (rest["text"], rest["error"]) == ("".join(TOKENS[2:]), None), rest
            assert here.model.calls[f"{name}#half"] == 1, here.model.calls
