"""The readers themselves: what each format's reader takes, and what it must not."""

import json

import readers
from readers import Answer, FormatError, read

CALL = ("c1", "f", '{"a":1}')


def sse(*values, names=False):
    out = b""
    for value in values:
        data = value if isinstance(value, str) else json.dumps(value)
        out += (f"event: {value['type']}\n" if names and isinstance(value, dict) else "").encode()
        out += b"data: " + data.encode() + b"\n\n"
    return out


def ndjson(*values):
    return "".join(json.dumps(value) + "\n" for value in values).encode()


def rejects(format, body, why=""):
    try:
        answer = read(format, body)
    except FormatError:
        return
    raise AssertionError(f"{format} takes {body!r} for {answer}; {why}")


def without_and_twice(format, parts, join, optional=(), repeatable=()):
    """Of a good stream no part may be lost or come twice, but for those named by their position."""
    read(format, join(*parts))
    for index in range(len(parts)):
        lost, twice = parts[:index] + parts[index + 1:], parts[:index + 1] + parts[index:]
        for body, allowed in ((join(*lost), optional), (join(*twice), repeatable)):
            if index in allowed:
                read(format, body)
            elif format_complete(format, body):
                raise AssertionError(f"{format} does not miss or mind {parts[index]}")


def format_complete(format, body):
    try:
        return read(format, body).complete
    except FormatError:
        return False


def variant(parts, index, /, **changes):
    """The same parts with members of one changed, or taken out by None."""
    part = {**parts[index], **changes}
    return [*parts[:index], {k: v for k, v in part.items() if v is not ...}, *parts[index + 1:]]


def test_event_streams_are_read_by_the_standard():
    from reading import events

    found = events(b"\xef\xbb\xbfdata: a\r\ndata:b\rdata\n\n: c\nevent: x\n\n"
                   b"id: 7\ndata:  \xe2\x80\xa8:\n\ndata: [1]\n\n")
    assert [(e.type, e.data, e.id, e.own_id) for e in found] == [
        ("message", "a\nb\n", "", False), ("message", " \u2028:", "7", True), ("message", "[1]", "7", False)], found
    for bad in (b"data: a\n", b"data: a", b"data: \xff\n\n", b"date: a\n\n", b"retry: x\n\n"):
        try:
            events(bad)
        except FormatError:
            continue
        raise AssertionError(bad)


def test_text():
    assert read("text", "a\r\n😀".encode()) == Answer(text="a\r\n😀", complete=True)
    rejects("text", b"\xf0\x9f")


def test_sse_text():
    good = (b'id: 1\ndata: a\ndata: b\n\n:\n\nid: 2\ndata:  c\n\n'
            b'id: 3\nevent: done\ndata: {"done":true,"finish_reason":"stop"}\n\n')
    assert read("sse-text", good) == Answer(text="a\nb c", finish="stop", complete=True)
    failed = b'id: 1\ndata: a\n\nevent: error\ndata: {"error":{"message":"m","type":"t"}}\n\n'
    assert read("sse-text", failed) == Answer(text="a", error="m")
    assert not read("sse-text", b"id: 1\ndata: a\n\n").complete
    for old, new in ((b"id: 2", b"id: 3"), (b"id: 2\n", b""), (b"event: done", b"event: end"), (b"true", b"false"),
                     (b'"stop"', b'"end"'), (b'"finish_reason"', b'"finish"')):
        rejects("sse-text", good.replace(old, new, 1), (old, new))
    rejects("sse-text", good + b"id: 4\ndata: more\n\n")
    rejects("sse-text", failed + b"id: 2\ndata: more\n\n")


OBJECTS = [
    {"reasoning": "why"}, {"text": "a"}, {"refusal": "no"}, {"text": "other", "choice": 1},
    {"tool_call": {"index": 0, "id": "c1", "name": "f"}}, {"tool_call": {"index": 0, "arguments": '{"a"'}},
    {"tool_call": {"index": 0, "arguments": ":1}"}}, {"source": {"url": "u", "title": ""}},
    {"done": True, "finish_reason": "tool_calls", "usage": {"input_tokens": 1, "output_tokens": 0}},
]


def test_objects():
    wanted = Answer("a", "why", "no", [CALL], "tool_calls", {"input": 1, "output": 0}, None, True)
    assert read("ndjson", ndjson(*OBJECTS)) == wanted and read("sse-json", sse(*OBJECTS)) == wanted
    failed = b'event: error\ndata: {"error":{"message":"m","type":"t"}}\n\n'
    assert read("sse-json", sse({"text": "a"}) + failed) == Answer("a", error="m")
    for bad in ([{"text": ""}], [{"text": "a", "n": 1}], [{"text": "a", "reasoning": "b"}], [{}], [{"text": None}],
                ["x"],
                [{"text": "a", "choice": 0}], OBJECTS + [{"text": "a"}], OBJECTS + OBJECTS[-1:], OBJECTS[4:5] * 2,
                OBJECTS[5:], [{"tool_call": {"index": 1, "name": "f"}}], [{"done": True, "usage": {"output": 1}}],
                [{"done": True, "finish_reason": "end_turn"}], [{"done": True, "usage": {"input_tokens": -1}}],
                [{"error": {"message": "m"}}], [{"text": "\ud83d"}]):
        rejects("ndjson", ndjson(*bad))
        rejects("sse-json", sse(*bad))
    for bad in (b'{"text":"a"}', b'{"text":"a"}\n\n', b'{"text":"a","text":"b"}\n', b'{"text":NaN}\n', b"{\n}\n"):
        rejects("ndjson", bad)
    rejects("sse-json", failed.replace(b"event: error\n", b""))
    rejects("sse-json", b"event: text\n" + sse({"text": "a"}))


def chunk(delta=None, finish=None, index=0, **more):
    choices = [] if delta is None else [{"index": index, "delta": delta, "finish_reason": finish}]
    return {"id": "i", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **more}


def call_delta(**members):
    return chunk({"tool_calls": [{"index": 0, **members}]})


CHAT = [
    chunk({"role": "assistant", "content": ""}), chunk({"reasoning_content": "why"}), chunk({"content": "a"}),
    call_delta(id="c1", type="function", function={"name": "f", "arguments": ""}),
    call_delta(function={"arguments": '{"a":1}'}), chunk({}, "tool_calls"),
    chunk(usage={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3,
                 "prompt_tokens_details": {"cached_tokens": 1}}), "[DONE]",
]


def test_openai_chat():
    wanted = Answer("a", "why", "", [CALL], "tool_calls", {"input": 1, "output": 2, "cached": 1}, None, True)
    assert read("openai-chat", sse(*CHAT)) == wanted
    without_and_twice("openai-chat", CHAT, sse, optional={1, 2, 4, 6}, repeatable={1, 2, 4})
    for index, changes in ((1, {"id": "j"}), (1, {"object": "x"}), (2, {"created": 2}), (2, {"extra": 1}),
                           (2, {"id": ...}),
                           (6, {"usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 4}})):
        rejects("openai-chat", sse(*variant(CHAT, index, **changes)), changes)
    rejects("openai-chat", sse(*CHAT[:5], chunk({}, "end_turn")))
    rejects("openai-chat", sse(*CHAT[:6], chunk({"content": "more"})))
    rejects("openai-chat", sse(*CHAT[:3], CHAT[4]))
    error = {"error": {"message": "m", "type": "t", "param": None, "code": None}}
    assert read("openai-chat", sse(*CHAT[:3], error)).error == "m"
    rejects("openai-chat", sse(*CHAT[:3], error, "[DONE]"))
    rejects("openai-chat", sse(*CHAT[:3], error, CHAT[5]))


def test_openai_completions():
    def part(text, finish=None):
        return {"id": "i", "object": "text_completion", "created": 1, "model": "m",
                "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": finish}]}

    good = [part("a"), part("", "stop"), "[DONE]"]
    assert read("openai-completions", sse(*good)) == Answer("a", finish="stop", complete=True)
    without_and_twice("openai-completions", good, sse, optional={0}, repeatable={0})
    rejects("openai-completions", sse(part("a"), part("", "stop"), part("b")))
    rejects("openai-completions", sse(part(None)))


def test_mlflow():
    def part(content, finish=None, **more):
        delta = {"role": None, "content": content, "tool_calls": None}
        return chunk(delta, finish, usage=None, **more)

    good = [part("a"), part(None, "stop")]
    assert read("mlflow", sse(*good)) == Answer("a", finish="stop", complete=True)
    assert not read("mlflow", sse(good[0])).complete
    rejects("mlflow", sse(*good, "[DONE]"))
    rejects("mlflow", sse(chunk({"content": "a"})))
    assert read("mlflow", sse(good[0], {"error": {"message": "m", "type": "t"}})).error == "m"


def numbered(events):
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def responses_events():
    message = {"id": "msg", "type": "message", "role": "assistant", "status": "completed",
               "content": [{"type": "output_text", "text": "ab", "annotations": []}]}
    call = {"id": "fc", "type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a":1}',
            "status": "completed"}
    response = {"id": "r", "object": "response", "status": "in_progress", "output": []}
    at = {"item_id": "msg", "output_index": 0, "content_index": 0}
    usage = {"input_tokens": 1, "output_tokens": 2, "output_tokens_details": {"reasoning_tokens": 1}}
    return [
        {"type": "response.created", "response": response}, {"type": "response.in_progress", "response": response},
        {"type": "response.output_item.added", "output_index": 0, "item": {**message, "content": []}},
        {"type": "response.content_part.added", **at, "part": {"type": "output_text", "text": "", "annotations": []}},
        {"type": "response.output_text.delta", **at, "delta": "a"},
        {"type": "response.output_text.delta", **at, "delta": "b"},
        {"type": "response.output_text.done", **at, "text": "ab"},
        {"type": "response.content_part.done", **at, "part": message["content"][0]},
        {"type": "response.output_item.done", "output_index": 0, "item": message},
        {"type": "response.output_item.added", "output_index": 1, "item": {**call, "arguments": ""}},
        {"type": "response.function_call_arguments.delta", "item_id": "fc", "output_index": 1, "delta": '{"a":1}'},
        {"type": "response.function_call_arguments.done", "item_id": "fc", "output_index": 1, "arguments": '{"a":1}'},
        {"type": "response.output_item.done", "output_index": 1, "item": call},
        {"type": "response.completed", "response": {**response, "status": "completed", "output": [message, call],
                                                    "usage": usage}},
    ]


def test_openai_responses():
    good = responses_events()

    def join(*events):
        return sse(*numbered(events), names=True)

    assert read("openai-responses", join(*good)) == Answer(
        "ab", "", "", [CALL], "tool_calls", {"input": 1, "output": 2, "reasoning": 1}, None, True)
    # What only says again what was said may be missing or be said once more.
    without_and_twice("openai-responses", good, join, optional={1, 6, 11}, repeatable={1, 6, 11})
    rejects("openai-responses", sse(*good, names=True), "no sequence numbers")
    rejects("openai-responses", sse(*numbered(good)), "no names")
    for index, changes in ((6, {"text": "a"}), (4, {"item_id": "x"}), (9, {"output_index": 2}),
                           (11, {"arguments": "{}"}),
                           (13, {"response": {**good[13]["response"], "output": []}}), (5, {"delta": ""})):
        rejects("openai-responses", join(*variant(good, index, **changes)), changes)
    rejects("openai-responses", join(*good) + b"data: [DONE]\n\n")
    failed = {"type": "response.failed", "response": {"id": "r", "object": "response", "status": "failed", "output": [],
                                                      "error": {"code": "server_error", "message": "m"}}}
    assert read("openai-responses", join(*good[:5], failed)).error == "m"
    rejects("openai-responses", join(*good[:5], failed, good[5]))


ANTHROPIC = [
    {"type": "message_start", "message": {
        "id": "m", "type": "message", "role": "assistant", "model": "x", "content": [], "stop_reason": None,
        "stop_sequence": None, "usage": {"input_tokens": 1, "cache_read_input_tokens": 2, "output_tokens": 0}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "why"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "a"}},
    {"type": "content_block_stop", "index": 1}, {"type": "ping"},
    {"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "c1", "name": "f",
                                                                  "input": {}}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"a":1}'}},
    {"type": "content_block_stop", "index": 2},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None},
     "usage": {"output_tokens": 5}},
    {"type": "message_stop"},
]


def named_sse(*values):
    return sse(*values, names=True)


def test_anthropic():
    assert read("anthropic", named_sse(*ANTHROPIC)) == Answer(
        "a", "why", "", [CALL], "tool_calls", {"input": 3, "output": 5, "cached": 2}, None, True)
    without_and_twice("anthropic", ANTHROPIC, named_sse, optional={2, 5, 7, 9}, repeatable={2, 5, 7})
    rejects("anthropic", sse(*ANTHROPIC), "no names")
    for index, changes in ((4, {"index": 2}), (5, {"index": 0}),
                           (5, {"delta": {"type": "thinking_delta", "thinking": "a"}}),
                           (9, {"delta": {"type": "input_json_delta", "partial_json": '{"a":'}}), (6, {"index": 0}),
                           (11, {"delta": {"stop_reason": "stop", "stop_sequence": None}}), (11, {"usage": {}}),
                           (0, {"message": {**ANTHROPIC[0]["message"],
                                            "usage": {"input_tokens": None, "output_tokens": 0}}})):
        rejects("anthropic", named_sse(*variant(ANTHROPIC, index, **changes)), changes)
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "m"}}
    assert read("anthropic", named_sse(*ANTHROPIC[:6], error)).error == "m"
    rejects("anthropic", named_sse(*ANTHROPIC[:6], error, ANTHROPIC[6]))


def test_gemini():
    def part(*parts, **more):
        return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, "index": 0, **more}],
                "modelVersion": "m"}

    usage = {"promptTokenCount": 1, "candidatesTokenCount": 2, "thoughtsTokenCount": 3, "totalTokenCount": 6}
    good = [part({"text": "why", "thought": True}), part({"text": "a"}),
            part({"functionCall": {"id": "c1", "name": "f", "args": {"a": 1}}}),
            {**part(finishReason="STOP"), "usageMetadata": usage}]
    wanted = Answer("a", "why", "", [("c1", "f", '{"a": 1}')], "tool_calls", {"input": 1, "output": 5, "reasoning": 3},
                    None, True)
    assert read("gemini", sse(*good)) == wanted and read("gemini", json.dumps(good).encode()) == wanted
    assert not read("gemini", sse(*good[:3])).complete
    for bad in (part({"text": None}), part({"functionCall": {"name": "f", "args": "{}"}}), part({}),
                part(finishReason="stop"),
                part({"text": "a", "functionCall": {"name": "f", "args": {}}}), {"choices": []}):
        rejects("gemini", sse(bad))
    rejects("gemini", sse(*good, good[1]))
    error = {"error": {"code": 500, "message": "m", "status": "INTERNAL"}}
    assert read("gemini", sse(good[1], error)).error == "m"
    rejects("gemini", sse(error, good[1]))
    rejects("gemini", sse({"error": {"message": "m"}}))


def test_ollama():
    def line(content, done=False, **more):
        return {"model": "m", "created_at": "2024-05-01T10:00:00.123Z", **content, "done": done, **more}

    def message(content, **more):
        return {"message": {"role": "assistant", "content": content, **more}}

    call = {"function": {"name": "f", "arguments": {"a": 1}}}
    last = {"done": True, "done_reason": "stop", "prompt_eval_count": 1, "eval_count": 2, "total_duration": 5}
    for format, first, end in (("ollama-chat", line(message("a", thinking="why", tool_calls=[call])),
                                line(message(""), **last)),
                               ("ollama-generate", line({"response": "a", "thinking": "why"}),
                                line({"response": ""}, **last))):
        is_chat = format == "ollama-chat"
        assert read(format, ndjson(first, end)) == Answer(
            "a", "why", "", [("", "f", '{"a": 1}')] if is_chat else [], "tool_calls" if is_chat else "stop",
            {"input": 1, "output": 2}, None, True)
        assert not read(format, ndjson(first)).complete and read(format, ndjson(first, {"error": "m"})).error == "m"
        for bad in ([end, first], [end, end], [{"error": "m"}, first],
                    variant([first], 0, created_at="2024-05-01 10:00:00"),
                    variant([first], 0, done=...), variant([first], 0, done=None), variant([end], 0, done_reason=...),
                    [first, *variant([end], 0, model="n")], variant([end], 0, eval_count=-1),
                    variant([first], 0, extra=1)):
            rejects(format, ndjson(*bad))
    rejects("ollama-chat", ndjson(line(message("", tool_calls=[{"function": {"name": "f", "arguments": "{}"}}]))))


def test_cohere():
    def event(kind, index=None, **message):
        found = {"type": kind} | ({} if index is None else {"index": index})
        return found | ({"delta": {"message": message}} if message else {})

    good = [
        {"type": "message-start", "id": "m", "delta": {"message": {"role": "assistant", "content": [],
                                                                   "tool_calls": []}}},
        event("content-start", 0, content={"type": "thinking", "thinking": ""}),
        event("content-delta", 0, content={"thinking": "why"}), event("content-end", 0),
        event("content-start", 1, content={"type": "text", "text": ""}),
        event("content-delta", 1, content={"text": "a"}), event("content-end", 1),
        event("tool-call-start", 0, tool_calls={"id": "c1", "type": "function",
                                                "function": {"name": "f", "arguments": ""}}),
        event("tool-call-delta", 0, tool_calls={"function": {"arguments": '{"a":1}'}}), event("tool-call-end", 0),
        {"type": "message-end", "delta": {"finish_reason": "TOOL_CALL", "usage": {"tokens": {"input_tokens": 1}}}},
        "[DONE]",
    ]
    assert read("cohere", named_sse(*good)) == Answer("a", "why", "", [CALL], "tool_calls", {"input": 1}, None, True)
    without_and_twice("cohere", good, named_sse, optional={2, 5, 8}, repeatable={2, 5, 8})
    rejects("cohere", named_sse(*good[:5], event("content-delta", 0, content={"text": "a"})))
    rejects("cohere", named_sse(*good[:5], event("content-delta", 1, content={"thinking": "a"})))
    rejects("cohere", named_sse(*good[:4], event("content-start", 0, content={"type": "text", "text": ""})))
    failed = {"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "m"}}
    assert read("cohere", named_sse(*good[:3], failed)).error == "m"
    rejects("cohere", named_sse(*good[:3], {"type": "message-end", "delta": {"finish_reason": "ERROR"}}))


UI = [
    {"type": "start", "messageId": "m"}, {"type": "start-step"}, {"type": "reasoning-start", "id": "r0"},
    {"type": "reasoning-delta", "id": "r0", "delta": "why"}, {"type": "reasoning-end", "id": "r0"},
    {"type": "text-start", "id": "t0"}, {"type": "text-delta", "id": "t0", "delta": "a"},
    {"type": "text-end", "id": "t0"},
    {"type": "source-url", "sourceId": "s0", "url": "u"},
    {"type": "tool-input-start", "toolCallId": "c1", "toolName": "f"},
    {"type": "tool-input-delta", "toolCallId": "c1", "inputTextDelta": '{"a":1}'},
    {"type": "tool-input-available", "toolCallId": "c1", "toolName": "f", "input": {"a": 1}}, {"type": "finish-step"},
    {"type": "finish", "messageMetadata": {"finishReason": "tool-calls", "usage": {"inputTokens": 1}}}, "[DONE]",
]


def test_vercel_ui():
    assert read("vercel-ui", sse(*UI)) == Answer("a", "why", "", [CALL], "tool_calls", {"input": 1}, None, True)
    without_and_twice("vercel-ui", UI, sse, optional={3, 6, 8, 11}, repeatable={3, 6})
    for index, changes in (
            (0, {"messageId": None}), (0, {"created": 1}), (6, {"id": "t1"}), (6, {"delta": ""}), (6, {"delta": None}),
            (6, {"extra": 1}), (6, {"type": "text"}), (8, {"sourceId": ...}), (9, {"dynamic": None}),
            (9, {"title": "x"}),
            (11, {"input": {"a": 2}}), (11, {"input": {"a": True}}), (11, {"input": ...}), (11, {"toolName": "g"}),
            (13, {"finishReason": "tool-calls"}), (13, {"usage": {}}), (13, {"messageMetadata": {}}),
            (13, {"messageMetadata": {"usage": {"inputTokens": None}}}),
            (13, {"messageMetadata": {"finishReason": "tool_calls"}})):
        rejects("vercel-ui", sse(*variant(UI, index, **changes)), (UI[index], changes))
    readers.validate_vercel_ui(sse(*variant(UI, 13, finishReason="tool-calls")), finish_reason=True)
    error = {"type": "error", "errorText": "m"}
    assert read("vercel-ui", sse(error, "[DONE]")).error == "m"
    assert read("vercel-ui", sse(*UI[:8], error, "[DONE]")) == Answer("a", "why", error="m")
    rejects("vercel-ui", sse(*UI[:8], error))
    rejects("vercel-ui", sse(*UI[:7], error, "[DONE]"), "an open block")
    rejects("vercel-ui", sse(*UI[:8], error, *UI[12:]))
    rejects("vercel-ui", sse(*UI, {"type": "start"}))
    rejects("vercel-ui", sse(*UI[:8], {"type": "abort"}, *UI[12:]))


DATA = ['f:{"messageId":"m"}', 'g:"why"', 'j:{"signature":"s"}', '0:"a\\n"', 'b:{"toolCallId":"c1","toolName":"f"}',
        'c:{"toolCallId":"c1","argsTextDelta":"{\\"a\\":1}"}', '9:{"toolCallId":"c1","toolName":"f","args":{"a":1}}',
        'h:{"sourceType":"url","id":"s0","url":"u"}',
        'e:{"finishReason":"tool-calls","usage":{"promptTokens":1,"completionTokens":null},"isContinued":false}',
        'd:{"finishReason":"tool-calls","usage":{"promptTokens":1,"completionTokens":null}}']


def test_vercel_data():
    def join(*lines):
        return "".join(line + "\n" for line in lines).encode()

    assert read("vercel-data", join(*DATA)) == Answer("a\n", "why", "", [CALL], "tool_calls", {"input": 1}, None, True)
    without_and_twice("vercel-data", DATA, join, optional={1, 2, 3, 6, 7}, repeatable={1, 2, 3, 7})
    assert read("vercel-data", join(*DATA[:4], '3:"m"')).error == "m" and read("vercel-data",
                                                                               join('3:"m"')).error == "m"
    for bad in (DATA[:4], [*DATA[:4], '3:"m"', DATA[3]], [*DATA[:4], "x:1", '3:"m"'], [*DATA[:4], "0:x", '3:"m"'],
                [DATA[0], "0:null", '3:"m"'], [DATA[0], '0:""', '3:"m"'], [*DATA[:4], "", '3:"m"'],
                [DATA[0], *DATA[4:6], DATA[6].replace("1", "2", 1), '3:"m"'], [DATA[3], '3:"m"'],
                [DATA[0], DATA[8].replace("null", "0"), DATA[9]],
                [DATA[0], DATA[8].replace("tool-calls", "tool_calls"), DATA[9]],
                [DATA[0], DATA[8].replace(',"completionTokens":null', ""), DATA[9]]):
        rejects("vercel-data", join(*bad))
    rejects("vercel-data", join(*DATA)[:-1])


AG = [
    {"type": "RUN_STARTED", "threadId": "t", "runId": "r"}, {"type": "REASONING_START", "messageId": "n"},
    {"type": "REASONING_MESSAGE_START", "messageId": "n", "role": "reasoning"},
    {"type": "REASONING_MESSAGE_CONTENT", "messageId": "n", "delta": "why"},
    {"type": "REASONING_MESSAGE_END", "messageId": "n"}, {"type": "REASONING_END", "messageId": "n"},
    {"type": "TEXT_MESSAGE_START", "messageId": "m", "role": "assistant"},
    {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "a"}, {"type": "TEXT_MESSAGE_END", "messageId": "m"},
    {"type": "TOOL_CALL_START", "toolCallId": "c1", "toolCallName": "f", "parentMessageId": "m"},
    {"type": "TOOL_CALL_ARGS", "toolCallId": "c1", "delta": '{"a":1}'}, {"type": "TOOL_CALL_END", "toolCallId": "c1"},
    {"type": "RUN_FINISHED", "threadId": "t", "runId": "r", "result": {"finishReason": "tool_calls",
                                                                       "usage": {"inputTokens": 1}}},
]


def test_ag_ui():
    assert read("ag-ui", sse(*AG)) == Answer("a", "why", "", [CALL], "tool_calls", {"input": 1}, None, True)
    without_and_twice("ag-ui", AG, sse, optional={3, 7, 10}, repeatable={3, 7, 10})
    for index, changes in ((0, {"runId": None}), (7, {"delta": ""}), (7, {"messageId": "n"}), (6, {"messageId": "n"}),
                           (6, {"role": "reasoning"}), (9, {"parentMessageId": None}), (9, {"extra": "x"}),
                           (12, {"runId": "s"}),
                           (12, {"result": {"usage": {"inputTokens": None}}}),
                           (12, {"result": {"finishReason": "end_turn"}})):
        rejects("ag-ui", sse(*variant(AG, index, **changes)), (AG[index], changes))
    error = {"type": "RUN_ERROR", "message": "m", "code": "c"}
    assert read("ag-ui", sse(*AG[:9], error)).error == "m"
    rejects("ag-ui", sse(*AG[:8], error), "an open message")
    rejects("ag-ui", sse(*AG[:11], error), "an open call")
    rejects("ag-ui", sse(error))
    rejects("ag-ui", sse(*AG, error))


def test_no_reader_takes_half_a_stream_for_a_whole_one():
    samples = {"openai-chat": sse(*CHAT), "anthropic": named_sse(*ANTHROPIC), "vercel-ui": sse(*UI), "ag-ui": sse(*AG),
               "vercel-data": "".join(line + "\n" for line in DATA).encode(), "ndjson": ndjson(*OBJECTS),
               "sse-json": sse(*OBJECTS), "openai-responses": named_sse(*numbered(responses_events()))}
    for format, body in samples.items():
        assert format_complete(format, body), format
        for count in range(len(body)):
            assert not format_complete(format, body[:count]), (format, body[:count])
