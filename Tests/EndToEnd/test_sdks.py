"""The providers' own clients before providers of another kind: every recording, errors, and streams that break off."""

import atexit
import functools
import json
import traceback

import httpx

import official
import recordings
from answers import Answer, Call, parsed
from recordings import ERROR_WORDS, prompt

# What is said in the client's own dialect is relayed, and none of Sluice's making.
OWN = {"anthropic": "anthropic-messages", "cohere": "cohere-v2"}
# Free text as a tool's arguments, which only OpenAI has; formats whose arguments are objects cannot tell it.
UNTELLABLE = {"openai-responses/custom-tool": ("anthropic", "gemini", "ollama-chat")}
TEXTS = ("openai-chat/text", "openai-responses/text", "openai-completions/stop", "anthropic-messages/text-emoji",
         "cohere-v2/chat", "cohere-v1/chat", "gemini-sse/utf8", "gemini-array/json-long", "ollama-chat/text",
         "ollama-generate/emoji", "bedrock-converse/text", "bedrock-invoke/claude", "tgi/text", "watsonx/text")
# Documents, and what asynchronous clients read: one of everything that an answer may hold, from several providers.
SAMPLE = (*TEXTS, "openai-chat/tool-parallel", "openai-chat/deepseek-reasoning", "openai-chat/length", "openai-chat/refusal",
          "openai-responses/tool", "openai-responses/incomplete", "anthropic-messages/tools-parallel",
          "anthropic-messages/thinking-short", "anthropic-messages/cache", "anthropic-messages/tool-no-args",
          "cohere-v2/tools", "cohere-v2/reasoning", "cohere-v1/syn-tools", "gemini-sse/tool", "gemini-sse/tools-multi",
          "gemini-sse/thinking", "gemini-sse/fb-prompt-blocked", "ollama-chat/doc-tool", "bedrock-converse/tool",
          "bedrock-converse/reasoning", "bedrock-converse/guardrail", "bedrock-invoke/nova-tool")
LARGEST = 40_000


@functools.cache
def stage():
    made = recordings.Stage().__enter__()
    atexit.register(made.__exit__)
    return made


@functools.cache
def client(kind):
    return kind(stage().port)


def foreign(kind, found):
    """Whether the client is told of a recording in words that are not its provider's."""
    return OWN.get(kind.request, kind.request) != found.dialect


def each(kind, cases, check):
    """Runs a check for each case and tells of all that fail."""
    failures = []
    for case in cases:
        try:
            check(client(kind), case)
        except Exception as error:
            case = getattr(case, "name", case)
            where = traceback.extract_tb(error.__traceback__)[-1]
            failures.append(f"{case}: {type(error).__name__} at {where.name}:{where.lineno}: {str(error)[:600]}")
    assert not failures, f"{kind.name}: {len(failures)} of {len(cases)} failed\n" + "\n".join(failures)


def same(got, want):
    assert got == want, f"\n  got  {got}\n  want {want}"


def tellable(kind):
    return [found for found in recordings.recordings() if foreign(kind, found) and not found.told["error"]
            and (found.told["terminated"] or found.told["finish_reason"]) and len(found.body) <= LARGEST
            and kind.request not in UNTELLABLE.get(found.name, ())]


def streams(kind):
    def check(client, found):
        expected = client.expects(found.answer)
        if not client.asks_for_usage:
            expected.input = expected.output = None
        same(client.stream(found.dialect, prompt(found.name)), expected)

    each(kind, kind.chosen(tellable(kind)), check)


def documents(kind):
    def check(client, found):
        same(client.whole(found.dialect, prompt(found.name)), client.expects(found.answer))

    each(kind, [found for found in tellable(kind) if found.name in SAMPLE
                and (found.answer.input is not None or not kind.needs_usage)], check)


def asynchronous(kind):
    def check(client, found):
        expected = client.expects(found.answer)
        same(client.stream_async(found.dialect, prompt(found.name)), expected)
        same(client.whole_async(found.dialect, prompt(found.name)), expected)

    each(kind, [found for found in tellable(kind) if found.name in SAMPLE][::2], check)


def statuses(kind):
    """The provider's error status, as the library's own error, with what a client acts on."""
    def check(client, case):
        dialect, status, ask = case
        try:
            ask = client.stream if ask == "stream" else client.whole
            ask(dialect, prompt(f"status/{status}"))
        except client.status_errors()[status] as error:
            assert ERROR_WORDS in str(error) or ERROR_WORDS in getattr(error, "body", ""), str(error)
            assert client.status_of(error) == status, client.status_of(error)
            assert client.retry_after(error) == "7"
            return
        raise AssertionError("no error")

    cases = [(dialect, status, ask) for dialect in recordings.DIALECTS for status in (429, 400)
             for ask in ("stream", "whole")]
    each(kind, cases, check)


def errors(kind):
    """An error inside the provider's stream is raised, after the text that came before it."""
    def check(client, found):
        text, error = client.until_error(found.dialect, prompt(found.name))
        assert error is not None, "the library took it for a whole answer"
        message = found.told["error"] if isinstance(found.told["error"], str) else found.told["error"].get("message") or ""
        assert message[:40] in client.words(error), f"{message!r} is not in {client.words(error)!r}"
        assert text == found.told["text"], text

    each(kind, [found for found in recordings.recordings() if foreign(kind, found) and found.told["error"]], check)


def cuts(kind):
    """A stream that ends in the middle, as HTTP says or by a closed connection, is never taken for a whole one."""
    def check(client, case):
        found, fault = case
        text, error = client.until_error(found.dialect, prompt(found.name, fault))
        assert error is not None, "the library took a part for the whole"
        assert text and found.told["text"].startswith(text) and text != found.told["text"], text

    names = [name for name in TEXTS if name not in ("gemini-array/json-long", "bedrock-invoke/claude")]
    found = [recordings.recording(name) for name in names]
    each(kind, [(one, fault) for one in found if foreign(kind, one) for fault in ("cut", "break")], check)


for _kind in official.ALL:
    for _check in (streams, documents, statuses, errors, cuts):
        globals()[f"test_{_kind.name.replace('-', '_')}_{_check.__name__}"] = functools.partial(_check, _kind)
for _kind in (official.OpenAIChat, official.OpenAIResponses, official.OpenAICompletions, official.Anthropic):
    globals()[f"test_{_kind.name.replace('-', '_')}_asynchronous"] = functools.partial(asynchronous, _kind)


# MARK: events as they come over the wire

@functools.cache
def plain_client():
    return httpx.Client(trust_env=False, verify=False)


def events_of(format, found, body):
    """The JSON of each event, read by `httpx-sse`, or by lines as Ollama's client does."""
    import httpx_sse
    http = plain_client()
    path = recordings.CLIENTS[format].replace("*", "m:streamGenerateContent?alt=sse")
    url = f"http://127.0.0.1:{stage().port}{path}"
    headers = {"x-upstream": found.dialect, "content-type": "application/json"}
    if format == "ollama-chat":
        with http.stream("POST", url, headers=headers, content=body) as reply:
            assert reply.headers["content-type"] == "application/x-ndjson"
            return list(reply.iter_lines())
    with httpx_sse.connect_sse(http, "POST", url, headers=headers, content=body) as source:
        assert source.response.status_code == 200, source.response.read()
        return [event.data for event in source.iter_sse() if event.data != "[DONE]"]


def bodies(format, found):
    said = prompt(found.name)
    turn = [{"role": "user", "content": said}]
    return json.dumps({
        "openai-chat": {"model": found.dialect, "messages": turn, "stream": True, "stream_options": {"include_usage": True}},
        "openai-responses": {"model": found.dialect, "input": said, "stream": True},
        "anthropic": {"model": found.dialect, "messages": turn, "max_tokens": 9, "stream": True},
        "cohere": {"model": found.dialect, "messages": turn, "stream": True},
        "gemini": {"contents": [{"role": "user", "parts": [{"text": said}]}]},
        "ollama-chat": {"model": found.dialect, "messages": turn},
    }[format])


@functools.cache
def types_of(format):
    """The library's types of an event, and the fields that it does not know but that belong there."""
    from pydantic import TypeAdapter
    if format == "openai-chat":
        from openai.types.chat import ChatCompletionChunk
        return TypeAdapter(ChatCompletionChunk), official.OpenAIChat.allowed
    if format == "openai-responses":
        from openai.types.responses import ResponseStreamEvent
        return TypeAdapter(ResponseStreamEvent), ()
    if format == "anthropic":
        from anthropic.types import RawMessageStreamEvent
        return TypeAdapter(RawMessageStreamEvent), ()
    if format == "cohere":
        from cohere.v2.types.v2chat_stream_response import V2ChatStreamResponse
        return TypeAdapter(V2ChatStreamResponse), ("content", "tool_plan", "tool_calls", "citations")
    if format == "gemini":
        from google.genai.types import GenerateContentResponse
        return TypeAdapter(GenerateContentResponse), ()
    if format == "ollama-chat":
        from ollama import ChatResponse
        return TypeAdapter(ChatResponse), ("index", "id")
    from ag_ui.core import Event
    return TypeAdapter(Event), ()


def validated(format, found, body):
    types, allowed = types_of(format)
    events = []
    for data in events_of(format, found, body):
        # Numbers must be numbers, and strings strings.
        events.append(official.known(types.validate_json(data, strict=format not in ("gemini", "ag-ui")), allowed))
    return events


def wire(format):
    failures = []
    for found in recordings.recordings():
        if found.told["error"] or len(found.body) > LARGEST or OWN.get(format, format) == found.dialect:
            continue
        if format in UNTELLABLE.get(found.name, ()) or found.name == "openai-completions/writer-nodone":
            continue
        try:
            assert validated(format, found, bodies(format, found))
        except Exception as error:
            failures.append(f"{found.name}: {str(error)[:500]}")
    assert not failures, f"{len(failures)} failed\n" + "\n".join(failures)


for _format in ("openai-chat", "openai-responses", "anthropic", "cohere", "gemini", "ollama-chat"):
    globals()[f"test_events_of_{_format.replace('-', '_')}"] = functools.partial(wire, _format)


def test_events_of_ag_ui():
    """Every event is of the protocol's types, in their order, with nothing left open."""
    from ag_ui.core import RunAgentInput
    for found in recordings.recordings():
        if found.told["error"] or len(found.body) > LARGEST or found.name == "openai-completions/writer-nodone":
            continue
        run = RunAgentInput(thread_id="t1", run_id="r1", state={}, tools=[], context=[], forwarded_props={},
                            messages=[{"id": "u1", "role": "user", "content": prompt(found.name)}])
        events = validated("ag-ui", found, run.model_dump_json(by_alias=True))
        got, want = read_run(events), found.answer
        same(got, Answer(want.text + want.refusal, want.reasoning, "", want.calls))


def read_run(events):
    answer, calls, opened = Answer(), {}, set()
    assert (events[0].type.value, events[0].thread_id, events[0].run_id) == ("RUN_STARTED", "t1", "r1")
    assert (events[-1].type.value, events[-1].thread_id, events[-1].run_id) == ("RUN_FINISHED", "t1", "r1"), events[-1]
    for event in events[1:-1]:
        kind = event.type.value
        key = (kind.rsplit("_", 1)[0], getattr(event, "tool_call_id", None) or getattr(event, "message_id", None))
        if kind.endswith("_START"):
            assert key not in opened
            opened.add(key)
        elif kind.endswith("_END"):
            opened.remove(key)
        else:
            assert key in opened, (kind, opened)
        if kind == "TEXT_MESSAGE_CONTENT":
            answer.text += event.delta
        elif kind == "REASONING_MESSAGE_CONTENT":
            answer.reasoning += event.delta
        elif kind == "TOOL_CALL_START":
            calls[event.tool_call_id] = [event.tool_call_name, ""]
        elif kind == "TOOL_CALL_ARGS":
            calls[event.tool_call_id][1] += event.delta
    assert not opened
    answer.calls = [Call(id, name, parsed(text)) for id, (name, text) in calls.items()]
    return answer


def test_ag_ui_tells_of_errors():
    from pydantic import TypeAdapter
    from ag_ui.core import Event
    body = json.dumps({"threadId": "t", "runId": "r", "state": {}, "tools": [], "context": [], "forwardedProps": {},
                       "messages": [{"id": "u", "role": "user", "content": "PROMPT"}]})
    for said in (prompt("anthropic-messages/syn-error"), prompt("cohere-v2/chat", "cut"), prompt("gemini-sse/utf8", "break")):
        found = recordings.recording(said.split()[1].rstrip("."))
        events = [TypeAdapter(Event).validate_json(data) for data in events_of("ag-ui", found, body.replace("PROMPT", said))]
        assert events[-1].type.value == "RUN_ERROR" and events[-1].message, events[-1]
        assert any(event.type.value == "TEXT_MESSAGE_CONTENT" for event in events)
