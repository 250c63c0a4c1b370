"""One chain of two steps before an EventSource in Chromium and before clients of model-compose's kind: the first step is collected,
the second one streams, token by token."""

import contextlib
import json

from browser_world import PATIENCE, PROTOCOLS, query, until, world
from chain_world import Held, anthropic, openai
from harness import fetch
from resume_world import Stream

STEPS = [
    {"name": "outline", "upstream": "one", "model": "small", "prompt": "An outline for: ${input.prompt}"},
    {"name": "answer", "upstream": "two", "model": "large", "prompt": "Write it out.\n\n${steps.outline.output}"},
]
OUTLINE = ["paws,", " ears", "\nand tails"]
TOKENS = ["Cats", " have", "\nboth", " ears", " 🐈"]
RUNS = "/api/workflows/runs"
JSON = ["Content-Type: application/json"]
ROUTES = [
    {"path": "/api/report", "methods": ["GET"], "request": "prompt", "response": "sse-text", "resume": {}, "steps": STEPS},
    {"path": RUNS, "request": "run", "response": "auto", "workflow": {"id": "report"}, "steps": STEPS},
]


@contextlib.contextmanager
def chain():
    """Two providers that send what the test lets go, and pages that come through the program."""
    with Held(anthropic(OUTLINE)) as one, Held(openai(TOKENS)) as two:
        upstreams = {"one": {"url": one.url, "dialect": "anthropic-messages"}, "two": {"url": two.url, "dialect": "openai-chat"}}
        with world(ROUTES, upstreams) as here:
            yield here, one, two


def collect(one, two, topic, times):
    """Lets the first step answer: nobody is asked the second before its last byte."""
    one.release(1 + len(OUTLINE))
    until(lambda: one.sent == len(OUTLINE) * times + times - 1, PATIENCE, "all of the outline but its end")
    assert len(two.bodies) == times - 1, two.bodies
    assert one.bodies[-1]["messages"][-1]["content"] == f"An outline for: {topic}", one.bodies
    one.release()
    until(lambda: len(two.bodies) == times, PATIENCE, "the second step is asked")
    assert two.bodies[-1]["messages"][-1]["content"] == "Write it out.\n\n" + "".join(OUTLINE), two.bodies


def run(**more):
    return {"input": {"prompt": "dogs"}, **more}


def test_an_event_source_sees_the_second_step_as_it_comes():
    with chain() as (here, one, two):
        for times, protocol in enumerate(PROTOCOLS, 1):
            tab = here.own_tab(protocol)
            tab.call("listen", "/api/report" + query(prompt="cats"), "chain", {"closes": True})
            collect(one, two, "cats", times)
            assert tab.heard("chain")["text"] == "", "the outline is not for the page"
            two.release()
            for count in range(1, len(TOKENS) + 1):
                # The next one leaves its provider only when the page has this one.
                two.release()
                tab.wait_heard("chain", lambda seen: seen["text"] == "".join(TOKENS[:count]), f"{count} tokens")
            two.release()
            seen = tab.wait_heard("chain", lambda seen: seen["done"] == 1, "its end")
            assert seen["error"] is None and seen["opens"] == 1, seen


def test_a_front_end_of_model_compose_asks_the_same_chain():
    with chain() as (here, one, two):
        port = here.proxy.port
        stream = Stream(port, RUNS, run(output_only=True), headers=JSON)
        collect(one, two, "dogs", 1)
        two.release()
        read = lambda: "".join(line[6:] for line in stream.body.decode().split("\n") if line.startswith("data: "))
        for count in range(1, len(TOKENS) + 1):
            two.release()
            # Front ends of this kind take a newline for the end of a line, as the real one's do.
            until(lambda: read() == "".join(TOKENS[:count]).replace("\n", ""), PATIENCE, f"{count} tokens")
        two.release()
        assert stream.whole().complete and b"event:" not in stream.body, stream.body

        # As a task: nobody waits, and the answer is there whenever it is asked for.
        told = json.loads(fetch(port, RUNS, run(wait_for_completion=False), headers=JSON).body)
        assert told["status"] == "pending" and told["workflow_id"] == "report", told
        path = f"/api/tasks/{told['task_id']}"
        collect(one, two, "dogs", 2)
        assert json.loads(fetch(port, path).body)["status"] in ("pending", "processing")
        two.release(len(TOKENS) + 2)
        state = until(lambda: (state := json.loads(fetch(port, path).body))["status"] == "completed" and state, PATIENCE, "its end")
        assert state["output"] == "".join(TOKENS), state
        again = fetch(port, path + "?output_only=true")
        assert again.complete and b"data: Cats\n" in again.body and len(two.bodies) == 2, again.raw

        # A task that is cancelled in its first step stops that step's provider, and no other is asked.
        told = json.loads(fetch(port, RUNS, run(wait_for_completion=False), headers=JSON).body)
        path = f"/api/tasks/{told['task_id']}"
        one.release(2)
        until(lambda: one.sent == 2 * (len(OUTLINE) + 1) + 1, PATIENCE, "the first step answers")
        assert fetch(port, path + "/cancel", method="POST").status == 200
        until(lambda: one.hangups == 1, PATIENCE, "its provider is stopped")
        assert json.loads(fetch(port, path).body)["status"] == "cancelled" and len(two.bodies) == 2
