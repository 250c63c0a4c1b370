"""HTTP/1.1 and HTTP/2 on either side: the client gets the same bytes, however the upstream's are cut."""

import concurrent.futures
import json
import pathlib
import random

from harness import Sluice
from http2_peer import connect_http2
from http2_world import FRAMINGS, PAIRS, Result, Upstreams, certificates, chat, over_h1, over_h2, settings

FIXTURES = pathlib.Path(__file__).parent.parent / "Fixtures"
CUTS = ("whole", "pieces")
MAX_PIECES = 250
# Where the upstream fails in the middle of a stream.
FAILING = ("openai-chat/text", "openai-chat/deepseek-reasoning", "openai-chat/n3", "openai-chat/syn-surrogates")


def fixtures():
    files = sorted(FIXTURES.glob("openai-chat/*.sse")) + sorted(FIXTURES.glob("sse-wire/*.sse"))
    return {f"{file.parent.name}/{file.stem}": file.read_bytes() for file in files}


def expected(name):
    return json.loads((FIXTURES / f"{name}.expected.json").read_text())


BODIES = fixtures()


def pieces(name, cut):
    data = BODIES[name]
    if cut == "whole":
        return [data]
    numbers = random.Random(f"{name} {cut}")
    largest = max(24, 2 * len(data) // MAX_PIECES)
    parts = []
    while data:
        size = numbers.randint(1, largest)
        parts.append(data[:size])
        data = data[size:]
    return parts


def play(answer, text):
    """`text`: a fixture's name, how it is cut, and `fail` if only a half comes and then the stream breaks off."""
    name, cut, *ending = text.split("#")
    parts = pieces(name, cut)
    if ending:
        half = b"".join(parts)[:len(BODIES[name]) // 2]
        parts = [half[:len(half) // 2], half[len(half) // 2:]]
    answer.head()
    for part in parts:
        answer.data(part)
    answer.abort() if ending else answer.end()


def wire(framing, text):
    """The end of the upstream's name. Event streams of no dialect are relayed unread, or are themselves the text."""
    return "" if text.startswith("openai-chat/") else "-raw" if framing == "passthrough" else "-text"


class Asker:
    """Asks for everything that a test wants over one pair, several at a time."""

    def __init__(self, proxy, authority, pool):
        self.proxy, self.pool = proxy, pool
        self.clients = {"h2": connect_http2(proxy.ports()[0]), "h2s": connect_http2(proxy.ports()[1], authority)}

    def ask(self, client, upstream, framing, text):
        path, body = f"/{upstream}{wire(framing, text)}/{framing}", chat(text)
        if client == "h1":
            return self.pool.submit(over_h1, self.proxy.port, path, body)
        return self.pool.submit(over_h2, self.clients[client], path, body)

    def all(self, pair, wanted):
        asked = {key: self.ask(*pair, key[0], key[1]) for key in wanted}
        return {key: future.result() for key, future in asked.items()}

    def close(self):
        for client in self.clients.values():
            client.close()


def values_for(urls, authority):
    values = settings(urls)
    for dialect, framings in {"raw": ["passthrough"], "text": FRAMINGS[:-1]}.items():
        more = settings({f"{name}-{dialect}": url for name, url in urls.items()}, framings, {"dialect": dialect})
        values["upstreams"] |= more["upstreams"]
        values["routes"] += more["routes"]
    for spec in values["upstreams"].values():
        if spec["url"].startswith("https"):
            spec["tls"] = {"ca": authority}
    return values


def with_pairs(test):
    with certificates() as made:
        secure = (made.path("server.crt"), made.path("server.key"))
        with Upstreams(play, secure) as upstreams, concurrent.futures.ThreadPoolExecutor(8) as pool:
            values = values_for(upstreams.urls, made.path("ca.crt"))
            tls = {"certificate": secure[0], "private_key": secure[1]}
            values["listeners"].append({"address": "127.0.0.1:0", "tls": tls})
            with Sluice(values, listeners=2) as proxy:
                asker = Asker(proxy, made.path("ca.crt"), pool)
                test(asker, upstreams)
                asker.close()
            assert not upstreams.h2.problems, upstreams.h2.problems


def compare(results):
    """All pairs got what the first one got."""
    first = results[PAIRS[0]]
    for pair, answers in results.items():
        for key, answer in answers.items():
            assert answer == first[key], f"{pair} {key}:\n     got {answer}\n  wanted {first[key]}"
    return first


def joined(framing, text, answer):
    """Where the bytes are themselves the text, nothing but its sum is independent of how they came."""
    if wire(framing, text) != "-text" or framing == "text":
        return answer
    parts = answer.body.decode().split("\n\n" if framing == "sse-json" else "\n")
    objects = [json.loads(part.removeprefix("data: ")) for part in parts if part]
    assert objects[-1] == {"done": True}, (framing, text, answer)
    return Result(answer.status, "".join(each.get("text", "") for each in objects).encode(), answer.complete)


def check_fixture(framing, name, answer):
    where = f"{framing} {name}: {answer}"
    if framing == "passthrough":
        assert answer.body == BODIES[name] and answer.status == 200 and answer.complete, where
    elif name.startswith("sse-wire/"):
        assert answer.body.decode() == BODIES[name].decode("utf-8", "replace") and answer.complete, where
    elif answer.status != 200:
        assert json.loads(answer.body)["error"]["message"] and answer.complete, where
    elif framing == "text":
        wanted = expected(name)
        assert answer.body == ((wanted["text"] or "") + wanted.get("refusal", "")).encode(), where
        if wanted["error"] or wanted["terminated"]:
            assert answer.complete == (not wanted["error"]), where


def test_every_fixture_is_the_same_on_all_pairs():
    def run(asker, upstreams):
        wanted = [(framing, f"{name}#{cut}") for name in BODIES for framing in FRAMINGS for cut in CUTS]
        answers = {}
        for pair in [*PAIRS, ("h2s", "h2s")]:
            got = asker.all(pair, wanted)
            answers[pair] = {key: joined(*key, answer) for key, answer in got.items()}
        first = compare(answers)
        for (framing, text), answer in first.items():
            name = text.split("#")[0]
            assert answer == first[framing, f"{name}#whole"], f"{framing} {text}: {answer}"
            check_fixture(framing, name, answer)
        assert sum(key[0] == "text" and answer.status == 200 for key, answer in first.items()) > 100
        print(f"  {len(BODIES)} fixtures, {5 * len(wanted)} exchanges; upstream connections: {upstreams.h1.connections} of "
              f"HTTP/1.1, {len(upstreams.h2.connections)} of HTTP/2")

    with_pairs(run)


def test_a_stream_that_fails_is_visibly_cut_on_all_pairs():
    def run(asker, upstreams):
        wanted = [(framing, f"{name}#whole#fail") for name in FAILING for framing in FRAMINGS]
        for pair in [*PAIRS, ("h2s", "h2s")]:
            for (framing, text), answer in asker.all(pair, wanted).items():
                check_cut(pair, framing, text.split("#")[0], answer)

    with_pairs(run)


def check_cut(pair, framing, name, answer):
    where = f"{pair} {framing} {name}: {answer}"
    if framing == "passthrough":
        assert answer.status == 200 and not answer.complete, where
        assert answer.body == BODIES[name][:len(BODIES[name]) // 2], where
    elif answer.status != 200:
        assert answer.status == 502 and answer.complete and json.loads(answer.body)["error"]["code"] == "eof", where
    elif framing == "text":
        assert not answer.complete and expected(name)["text"].encode().startswith(answer.body), where
    else:
        last = answer.body.decode().rstrip("\n").split("\n")[-1].removeprefix("data: ")
        assert answer.complete and json.loads(last)["error"], where
