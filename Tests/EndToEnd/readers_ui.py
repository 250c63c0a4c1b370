"""Readers of the formats of user interfaces, with the rules that their libraries enforce."""

from reading import Answer, Calls, counts, decode, is_json, members, need, parse, same, string, unnamed

WORDS = {"stop": "stop", "length": "length", "tool-calls": "tool_calls", "content-filter": "content_filter",
         "error": "error", "other": "other"}
UI_USAGE = {"inputTokens": "input", "outputTokens": "output", "cachedInputTokens": "cached",
            "reasoningTokens": "reasoning"}

#: Parts of the UI message stream as AI SDK 5.0.0 knows them, which refuses every key beside these: required, optional.
UI_PARTS = {
    "start": ([], ["messageId", "messageMetadata"]), "start-step": ([], []), "finish-step": ([], []),
    "text-start": (["id"], ["providerMetadata"]), "text-end": (["id"], ["providerMetadata"]),
    "text-delta": (["id", "delta"], ["providerMetadata"]),
    "reasoning-start": (["id"], ["providerMetadata"]), "reasoning-end": (["id"], ["providerMetadata"]),
    "reasoning-delta": (["id", "delta"], ["providerMetadata"]),
    "tool-input-start": (["toolCallId", "toolName"], ["providerExecuted", "dynamic"]),
    "tool-input-delta": (["toolCallId", "inputTextDelta"], []),
    "tool-input-available": (["toolCallId", "toolName", "input"], ["providerExecuted", "dynamic", "providerMetadata"]),
    "source-url": (["sourceId", "url"], ["title", "providerMetadata"]),
    "source-document": (["sourceId", "mediaType", "title"], ["filename", "providerMetadata"]),
    "file": (["url", "mediaType"], []), "finish": ([], ["messageMetadata"]), "error": (["errorText"], []),
}
NOT_STRINGS = {"messageMetadata", "providerMetadata", "providerExecuted", "dynamic", "input"}


class UIMessageStream:
    def __init__(self, body, finish_reason=False):
        self.answer, self.calls = Answer(), Calls()
        self.open = {"text": set(), "reasoning": set()}
        self.used, self.sources = set(), set()
        self.state = "before"
        values, done = unnamed(body, done=True)
        for value in values:
            kind = value.get("type") if isinstance(value, dict) else None
            need(kind in UI_PARTS, "no part:", value)
            required, optional = UI_PARTS[kind]
            extra = ["finishReason"] if kind == "finish" and finish_reason else []
            members(value, ["type", *required], [*optional, *extra], kind)
            for name in set(value) - NOT_STRINGS:
                string(value[name], name)
            for name in set(value) & {"messageMetadata", "providerMetadata"}:
                need(isinstance(value[name], dict), name, "is no object:", value)
            for name in set(value) & {"providerExecuted", "dynamic"}:
                need(isinstance(value[name], bool), name, "is no truth value:", value)
            self.order(kind)
            self.take(kind, value)
        need(done, "no [DONE]")
        need(self.state in ("finished", "failed"), "[DONE] in the state", self.state)
        self.answer.tool_calls = self.calls.all()

    def order(self, kind):
        steps = {("start", "before"): "started", ("start-step", "started"): "step", ("finish-step", "step"): "stepped",
                 ("start-step", "stepped"): "step", ("finish", "stepped"): "finished", ("error", "before"): "failed",
                 ("error", "started"): "failed", ("error", "step"): "failed"}
        ordinary = kind not in ("start", "start-step", "finish-step", "finish", "error")
        need((ordinary and self.state == "step") or (kind, self.state) in steps, kind, "in the state", self.state)
        if kind in ("finish-step", "error"):
            need(not self.open["text"] and not self.open["reasoning"], "open at", kind, self.open)
        self.state = steps.get((kind, self.state), self.state)

    def take(self, kind, value):
        block, _, verb = kind.rpartition("-")
        if block in self.open:
            self.block(block, verb, value)
        elif kind == "tool-input-start":
            self.calls.open(value["toolCallId"], value["toolCallId"], value["toolName"])
        elif kind == "tool-input-delta":
            self.calls.append(value["toolCallId"], value["inputTextDelta"])
        elif kind == "tool-input-available":
            call = value["toolCallId"]
            text = self.calls.close(call)
            need(self.calls.calls[call][1] == value["toolName"], "the tool's name changes:", value)
            need(is_json(text or "{}") and same(parse(text or "{}"), value["input"]), "the input is not", text, ":",
                 value)
        elif kind == "source-url":
            need(value["sourceId"] not in self.sources and value["url"], "a source:", value)
            self.sources.add(value["sourceId"])
        elif kind == "error":
            self.answer.error = value["errorText"]
        elif kind == "finish":
            self.finish(value)

    def block(self, block, verb, value):
        name = value["id"]
        if verb == "start":
            need(name and (block, name) not in self.used, block, name, "opens twice")
            self.used.add((block, name))
            self.open[block].add(name)
            return
        need(name in self.open[block], block, name, "is not open")
        if verb == "end":
            self.open[block].remove(name)
        else:
            need(value["delta"], "an empty delta:", value)
            setattr(self.answer, block, getattr(self.answer, block) + value["delta"])

    def finish(self, value):
        self.answer.complete = True
        found = members(value.get("messageMetadata", {}), [], ["finishReason", "usage"], "metadata")
        need(value.get("messageMetadata") != {}, "empty metadata")
        if "finishReason" in found:
            need(found["finishReason"] in WORDS, "finish reason:", value)
            self.answer.finish = WORDS[found["finishReason"]]
        need("finishReason" not in value or value["finishReason"] == found.get("finishReason"), "two reasons:", value)
        usage = members(found.get("usage", {}), [], [*UI_USAGE, "totalTokens"], "usage")
        need(None not in usage.values(), "null in usage:", value)
        self.answer.usage = counts(usage, UI_USAGE)
        if "totalTokens" in usage:
            need(usage["totalTokens"] == usage["inputTokens"] + usage["outputTokens"], "total of", usage)


def validate_vercel_ui(body, finish_reason=False):
    """Raises FormatError for whatever AI SDK 5.0.0 throws at, and for all that makes no sense to it."""
    return UIMessageStream(body, finish_reason).answer


def vercel_data(body):
    """AI SDK 4's lines, each a code and a JSON value."""
    answer, calls, codes = Answer(), Calls(), ""
    text = decode(body)
    need(text.endswith("\n"), "the last line has no end:", text[-80:])
    for line in text[:-1].split("\n"):
        need(line[1:2] == ":" and line[0] in "03bcdefghj9", "no part:", line)
        code, value = line[0], parse(line[2:])
        need("3" not in codes and "d" not in codes and ("e" not in codes or code == "d"), "behind the end:", line)
        codes += code
        if code in "0g3":
            need(string(value) or code == "3", "an empty part:", line)
            if code == "3":
                answer.error = value
            else:
                name = "text" if code == "0" else "reasoning"
                setattr(answer, name, getattr(answer, name) + value)
        elif code == "b":
            members(value, ["toolCallId", "toolName"], what="a call")
            calls.open(value["toolCallId"], value["toolCallId"], value["toolName"])
        elif code == "c":
            members(value, ["toolCallId", "argsTextDelta"], what="a call's delta")
            calls.append(value["toolCallId"], value["argsTextDelta"])
        elif code == "9":
            members(value, ["toolCallId", "toolName", "args"], what="a whole call")
            streamed = calls.close(value["toolCallId"])
            need(isinstance(value["args"], dict) and same(parse(streamed or "{}"), value["args"]), "args:", line,
                 streamed)
        elif code in "ed":
            members(value, ["finishReason", "usage"] + (["isContinued"] if code == "e" else []), what=code)
            members(value["usage"], ["promptTokens", "completionTokens"], what="usage")
            need(value["finishReason"] in WORDS or value["finishReason"] == "unknown", "finish reason:", line)
            need(value.get("isContinued", False) is False, "it does not go on:", line)
            found = WORDS.get(value["finishReason"]), counts(
                value["usage"], {"promptTokens": "input", "completionTokens": "output"})
            need(code == "e" or found == (answer.finish, answer.usage), "step and message end otherwise:", line)
            (answer.finish, answer.usage), answer.complete = found, code == "d"
        else:
            keys = {"f": ["messageId"], "j": ["signature"], "h": ["sourceType", "id", "url"]}[code]
            members(value, keys, ["title"] if code == "h" else [], code)
            need(all(string(member) for member in value.values()), "an empty member:", line)
    need(codes[0] == "f" or codes == "3", "the first part is no f")
    need(codes.count("f") <= 1, "two steps")
    need(codes.endswith("ed") or codes.endswith("3"), "no end")
    answer.tool_calls = calls.all()
    return answer


AG_EVENTS = {
    "RUN_STARTED": (["threadId", "runId"], []), "RUN_FINISHED": (["threadId", "runId"], ["result"]),
    "RUN_ERROR": (["message"], ["code"]),
    "TEXT_MESSAGE_START": (["messageId", "role"], []), "TEXT_MESSAGE_CONTENT": (["messageId", "delta"], []),
    "TEXT_MESSAGE_END": (["messageId"], []),
    "REASONING_START": (["messageId"], []), "REASONING_END": (["messageId"], []),
    "REASONING_MESSAGE_START": (["messageId", "role"], []), "REASONING_MESSAGE_CONTENT": (["messageId", "delta"], []),
    "REASONING_MESSAGE_END": (["messageId"], []),
    "TOOL_CALL_START": (["toolCallId", "toolCallName"], ["parentMessageId"]),
    "TOOL_CALL_ARGS": (["toolCallId", "delta"], []), "TOOL_CALL_END": (["toolCallId"], []),
}


class Run:
    """A run of AG-UI, checked as its client's middleware does."""

    def __init__(self, body):
        self.answer, self.calls = Answer(), Calls()
        self.text = self.reasoning = self.thought = None
        self.used, self.run, self.ended = set(), None, False
        for value in unnamed(body)[0]:
            kind = value.get("type") if isinstance(value, dict) else None
            need(kind in AG_EVENTS, "no event:", value)
            members(value, ["type", *AG_EVENTS[kind][0]], AG_EVENTS[kind][1], kind)
            for name in set(value) - {"result"}:
                need(string(value[name], name) or name == "message", "empty", name, ":", value)
            need(not self.ended, "something behind the run's end:", value)
            need((kind == "RUN_STARTED") == (self.run is None), kind, "at the start, or not there")
            if kind.startswith("RUN"):
                self.border(kind, value)
            elif kind.startswith("TOOL"):
                self.call(kind, value)
            else:
                self.message(kind, value)
        need(self.ended, "the run has no end")
        self.answer.tool_calls = self.calls.all()

    def border(self, kind, value):
        ids = (value.get("threadId"), value.get("runId"))
        if kind == "RUN_STARTED":
            self.run = ids
            return
        self.ended = True
        need(self.text is self.reasoning is self.thought is None and not self.calls.open_keys, "open at the run's end")
        if kind == "RUN_ERROR":
            self.answer.error = value["message"]
            return
        need(ids == self.run, "another run:", value)
        self.answer.complete = True
        result = members(value.get("result", {}), [], ["finishReason", "usage"], "result")
        self.answer.finish = result.get("finishReason")
        need(self.answer.finish is None or self.answer.finish in WORDS.values(), "finish reason:", value)
        usage = members(result.get("usage", {}), [], UI_USAGE, "usage")
        need(None not in usage.values(), "null in usage:", value)
        self.answer.usage = counts(usage, UI_USAGE)

    def message(self, kind, value):
        name = value["messageId"]
        if kind in ("TEXT_MESSAGE_START", "REASONING_START"):
            need(self.text is self.reasoning is None and name not in self.used, kind, "for", name)
            self.used.add(name)
            if kind == "TEXT_MESSAGE_START":
                need(value["role"] == "assistant", "role:", value)
                self.text = name
            else:
                self.reasoning = name
        elif kind.startswith("TEXT"):
            need(self.text == name, kind, "for", name)
            self.answer.text += value.get("delta", "")
            self.text = None if kind.endswith("END") else name
        elif kind == "REASONING_MESSAGE_START":
            need(self.reasoning is not None and self.thought is None and value["role"] == "reasoning", kind, value)
            self.thought = name
        elif kind == "REASONING_END":
            need(self.reasoning == name and self.thought is None, kind, "for", name)
            self.reasoning = None
        else:
            need(self.thought == name, kind, "for", name)
            self.answer.reasoning += value.get("delta", "")
            self.thought = None if kind.endswith("END") else name

    def call(self, kind, value):
        need(self.text is self.reasoning is None, kind, "inside a message")
        name = value["toolCallId"]
        if kind == "TOOL_CALL_START":
            self.calls.open(name, name, value["toolCallName"])
        elif kind == "TOOL_CALL_ARGS":
            self.calls.append(name, value["delta"])
        else:
            self.calls.close(name)


def ag_ui(body):
    return Run(body).answer
