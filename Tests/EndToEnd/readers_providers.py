"""Readers of the formats of Anthropic, Google, Ollama and Cohere, as strict as their own clients."""

import json
import re

from reading import Answer, Calls, count, counts, is_json, lines, members, named, need, parse, string, unnamed


class Anthropic:
    """Blocks stand one behind the other, numbered from 0; what is in a block is of its kind."""

    FINISHES = {"end_turn": "stop", "stop_sequence": "stop", "pause_turn": "stop", "max_tokens": "length",
                "model_context_window_exceeded": "length", "tool_use": "tool_calls", "refusal": "content_filter"}
    DELTAS = {"text_delta": ("text", "text"), "thinking_delta": ("thinking", "thinking"),
              "signature_delta": ("thinking", "signature"), "input_json_delta": ("tool_use", "partial_json"),
              "citations_delta": ("text", "citation")}

    def __init__(self, body):
        self.answer, self.calls, self.usage = Answer(), Calls(), {}
        self.block, self.blocks = None, 0
        self.state = "before"
        self.cut = []
        for kind, value in named(body):
            need(self.state not in ("stopped", "failed"), "something behind the end:", value)
            handler = getattr(self, "on_" + kind, None)
            need(handler, "an event that nobody knows:", kind)
            handler(value)
        self.answer.tool_calls = self.calls.all()
        need(not self.cut or self.answer.finish in (None, "length"), "a call that is no JSON:", self.cut)
        used = {"input": sum(self.usage.get(name) or 0 for name in (
            "input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"))}
        used |= counts(self.usage, {"output_tokens": "output", "cache_read_input_tokens": "cached"})
        self.answer.usage = used if self.usage else {}

    def on_ping(self, value):
        members(value, ["type"])

    def on_error(self, value):
        members(value, ["type", "error"])
        error = members(value["error"], ["type", "message"], what="error")
        need(string(error["type"]), "an error without a type")
        self.answer.error, self.state = string(error["message"]), "failed"

    def on_message_start(self, value):
        need(self.state == "before", "message_start twice")
        members(value, ["type", "message"])
        message = members(value["message"], ["id", "type", "role", "model", "content", "stop_reason", "stop_sequence",
                                             "usage"], what="message")
        need(message["type"] == "message" and message["role"] == "assistant" and message["content"] == [] and
             message["stop_reason"] is message["stop_sequence"] is None, "a message begins:", value)
        need(string(message["id"]) and isinstance(message["model"], str), "id and model:", value)
        for name in ("input_tokens", "output_tokens"):
            count(message["usage"].get(name), name)
        self.usage |= message["usage"]
        self.state = "open"

    def on_content_block_start(self, value):
        members(value, ["type", "index", "content_block"])
        need(self.state == "open" and self.block is None and value["index"] == self.blocks, "a block begins:", value)
        block = value["content_block"]
        kind = block.get("type")
        keys = {"text": ["text"], "thinking": ["thinking"], "tool_use": ["id", "name", "input"],
                "redacted_thinking": ["data"]}
        need(kind in keys, "a block of a kind that nobody knows:", value)
        members(block, ["type", *keys[kind]], ["signature", "citations"], "a block")
        if kind == "tool_use":
            need(block["input"] == {} and block["id"], "a call begins:", value)
            self.calls.open(self.blocks, block["id"], block["name"])
        elif kind != "redacted_thinking":
            need(block[keys[kind][0]] == "", "a block begins:", value)
        self.block = kind

    def on_content_block_delta(self, value):
        members(value, ["type", "index", "delta"])
        need(self.block is not None and value["index"] == self.blocks, "the block is not open:", value)
        kind = value["delta"].get("type")
        need(kind in self.DELTAS and self.DELTAS[kind][0] == self.block, "a delta in another block:", value)
        name = self.DELTAS[kind][1]
        members(value["delta"], ["type", name], what="a delta")
        if kind == "input_json_delta":
            self.calls.append(self.blocks, value["delta"][name])
        elif kind == "text_delta":
            self.answer.text += string(value["delta"][name])
        elif kind == "thinking_delta":
            self.answer.reasoning += string(value["delta"][name])

    def on_content_block_stop(self, value):
        members(value, ["type", "index"])
        need(self.block is not None and value["index"] == self.blocks, "the block is not open:", value)
        if self.block == "tool_use":
            text = self.calls.close(self.blocks)
            if not is_json(text or "{}") or not isinstance(parse(text or "{}"), dict):
                self.cut.append(text)
        self.block, self.blocks = None, self.blocks + 1

    def on_message_delta(self, value):
        members(value, ["type", "delta", "usage"])
        need(self.state == "open" and self.block is None, "message_delta with an open block")
        delta = members(value["delta"], ["stop_reason", "stop_sequence"], what="delta")
        need(delta["stop_reason"] in self.FINISHES, "stop reason:", value)
        count(value["usage"].get("output_tokens"), "output_tokens")
        self.usage |= {name: figure for name, figure in value["usage"].items() if figure is not None}
        self.answer.finish, self.state = self.FINISHES[delta["stop_reason"]], "finished"

    def on_message_stop(self, value):
        members(value, ["type"])
        need(self.state == "finished", "message_stop in the state", self.state)
        self.answer.complete, self.state = True, "stopped"


def anthropic(body):
    return Anthropic(body).answer


GEMINI_FINISHES = {"STOP": "stop", "MAX_TOKENS": "length", **dict.fromkeys(
    ["SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"], "content_filter"), "OTHER": "other",
    "MALFORMED_FUNCTION_CALL": "error"}


def gemini(body):
    """An event stream (`alt=sse`), or else a JSON array."""
    if body.lstrip()[:1] == b"[":
        values = parse(body.decode())
    else:
        values = unnamed(body)[0]
    answer, calls = Answer(), Calls()
    for value in values:
        need(answer.error is None, "something behind the error:", value)
        if "error" in value:
            error = members(members(value, ["error"])["error"], ["code", "message", "status"], what="error")
            need(count(error["code"]) >= 400 and string(error["status"]), "error:", value)
            answer.error = string(error["message"])
            continue
        members(value, [], ["candidates", "usageMetadata", "modelVersion", "responseId", "promptFeedback"], "a chunk")
        if value.get("usageMetadata"):
            answer.usage = gemini_usage(value["usageMetadata"])
        for candidate in value.get("candidates", []):
            members(candidate, [], ["content", "finishReason", "index"], "a candidate")
            if candidate.get("index", 0) != 0:
                continue
            content = members(candidate.get("content", {"role": "model"}), ["role"], ["parts"], "content")
            need(content["role"] == "model", "role:", value)
            need(answer.finish is None or not content.get("parts"), "something behind the finish:", value)
            for part in content.get("parts", []):
                gemini_part(answer, calls, part)
            if "finishReason" in candidate:
                need(answer.finish is None and candidate["finishReason"] in GEMINI_FINISHES, "finish:", value)
                answer.finish = GEMINI_FINISHES[candidate["finishReason"]]
    answer.tool_calls = calls.all()
    answer.complete = answer.error is None and answer.finish not in (None, "error")
    if answer.finish == "stop" and answer.tool_calls:
        answer.finish = "tool_calls"
    return answer


def gemini_usage(value):
    names = {"promptTokenCount": "input", "candidatesTokenCount": "output", "cachedContentTokenCount": "cached",
             "thoughtsTokenCount": "reasoning"}
    members(value, [], [*names, "totalTokenCount"], "usage")
    found = counts(value, names)
    if "output" in found:
        found["output"] += found.get("reasoning", 0)
    return found


def gemini_part(answer, calls, part):
    members(part, [], ["text", "thought", "thoughtSignature", "functionCall"], "a part")
    need(("text" in part) + ("functionCall" in part) <= 1 and part, "a part of no kind:", part)
    if "functionCall" in part:
        call = members(part["functionCall"], ["name", "args"], ["id"], "a call")
        need(isinstance(call["args"], dict), "args:", part)
        key = len(calls.calls)
        calls.open(key, call.get("id") or f"\0{key}", call["name"])
        calls.calls[key][0] = call.get("id", "")
        calls.append(key, json.dumps(call["args"]))
    elif part.get("thought"):
        answer.reasoning += string(part.get("text", ""))
    else:
        answer.text += string(part.get("text", ""))


TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,9}(Z|[+-]\d\d:\d\d)")
DURATIONS = ["total_duration", "load_duration", "prompt_eval_duration", "eval_duration"]
OLLAMA_FINISHES = {"stop": "stop", "length": "length", "load": "other", "unload": "other"}


def ollama(body, content, take):
    """Lines up to the one that is done; `content` is the key of what they hold, `take` reads it."""
    answer, envelope = Answer(), None
    for value in lines(body):
        need(not answer.complete and answer.error is None, "something behind the end:", value)
        if "error" in value:
            answer.error = string(members(value, ["error"])["error"])
            continue
        optional = ["thinking"] if content == "response" else []
        more = ["done_reason", "prompt_eval_count", "eval_count", *DURATIONS] + (
            ["context"] if content == "response" else [])
        members(value, ["model", "created_at", content, "done"], optional + (more if value.get("done") else []))
        need(isinstance(value["done"], bool), "done:", value)
        need(TIME.fullmatch(string(value["created_at"])), "the time:", value)
        envelope = envelope or value["model"]
        need(string(value["model"]) == envelope, "the model changes:", value)
        take(answer, value)
        if value["done"]:
            need(value.get("done_reason") in OLLAMA_FINISHES, "done_reason:", value)
            answer.finish, answer.complete = OLLAMA_FINISHES[value["done_reason"]], True
            answer.usage = counts(value, {"prompt_eval_count": "input", "eval_count": "output"})
            for name in DURATIONS:
                count(value.get(name, 0), name)
    if answer.finish == "stop" and answer.tool_calls:
        answer.finish = "tool_calls"
    return answer


def ollama_chat(body):
    calls = Calls()

    def take(answer, value):
        message = members(value["message"], ["role", "content"], ["thinking", "tool_calls"], "message")
        need(message["role"] == "assistant", "role:", value)
        answer.text += string(message["content"])
        answer.reasoning += string(message.get("thinking", ""))
        for call in message.get("tool_calls", []):
            members(call, ["function"], ["id"], "a call")
            function = members(call["function"], ["name", "arguments"], ["index"], "a function")
            need(isinstance(function["arguments"], dict), "arguments:", value)
            key = len(calls.calls)
            calls.open(key, call.get("id") or f"\0{key}", function["name"])
            calls.calls[key][0] = call.get("id", "")
            calls.append(key, json.dumps(function["arguments"]))
        answer.tool_calls = calls.all()

    return ollama(body, "message", take)


def ollama_generate(body):
    def take(answer, value):
        answer.text += string(value["response"])
        answer.reasoning += string(value.get("thinking", ""))

    return ollama(body, "response", take)


class Cohere:
    """Events of Cohere's v2 chat. Content and calls are numbered on their own."""

    FINISHES = {"COMPLETE": "stop", "STOP_SEQUENCE": "stop", "MAX_TOKENS": "length", "TOOL_CALL": "tool_calls",
                "ERROR": "error", "TIMEOUT": "error"}

    def __init__(self, body):
        self.answer, self.calls = Answer(), Calls()
        self.state = "before"
        self.content, self.contents = None, 0
        for kind, value in named(body):
            need(self.state != "done", "something behind [DONE]:", value)
            if kind == "[DONE]":
                need(self.state == "ended", "[DONE] in the state", self.state)
                self.state = "done"
                continue
            handler = getattr(self, kind.replace("-", "_"), None)
            need(handler, "an event that nobody knows:", kind)
            need((self.state == "before") == (kind == "message-start"), kind, "in the state", self.state)
            need(self.state != "ended", "something behind message-end:", value)
            handler(value)
        self.answer.tool_calls = self.calls.all()
        self.answer.complete = self.state == "done" and self.answer.error is None

    @staticmethod
    def message(value):
        return members(members(value["delta"], ["message"], what="delta")["message"], [],
                       ["role", "content", "tool_plan", "tool_calls", "citations"], "message")

    def message_start(self, value):
        members(value, ["type", "id", "delta"])
        message = self.message(value)
        need(string(value["id"]) and message.get("role") == "assistant", "a message begins:", value)
        need(all(not message.get(name) for name in ("content", "tool_plan", "tool_calls", "citations")), value)
        self.state = "open"

    def content_start(self, value):
        members(value, ["type", "index", "delta"])
        need(self.content is None and not self.calls.open_keys, "content begins inside something:", value)
        need(value["index"] == self.contents, "content begins:", value)
        content = self.message(value)["content"]
        kind = content.get("type")
        need(kind in ("text", "thinking") and content.get(kind) == "" and len(content) == 2, "content begins:", value)
        self.content = kind

    def content_delta(self, value):
        members(value, ["type", "index", "delta"])
        need(self.content is not None and value["index"] == self.contents, "the content is not open:", value)
        content = members(self.message(value)["content"], [self.content], what="content")
        field = "text" if self.content == "text" else "reasoning"
        setattr(self.answer, field, getattr(self.answer, field) + string(content[self.content]))

    def content_end(self, value):
        members(value, ["type", "index"])
        need(self.content is not None and value["index"] == self.contents, "the content is not open:", value)
        self.content, self.contents = None, self.contents + 1

    def tool_call_start(self, value):
        members(value, ["type", "index", "delta"])
        call = members(self.message(value)["tool_calls"], ["id", "type", "function"], what="a call")
        function = members(call["function"], ["name", "arguments"], what="a function")
        index = value["index"]
        # Each event of a call has its index, so that calls may run beside each other.
        need(self.content is None, "a call begins inside content:", value)
        need(index == len(self.calls.calls) and call["id"] and call["type"] == "function", "a call begins:", value)
        self.calls.open(index, call["id"], function["name"])
        self.calls.append(index, function["arguments"])

    def tool_call_delta(self, value):
        members(value, ["type", "index", "delta"])
        call = members(self.message(value)["tool_calls"], ["function"], what="a call")
        self.calls.append(value["index"], members(call["function"], ["arguments"], what="a function")["arguments"])

    def tool_call_end(self, value):
        members(value, ["type", "index"])
        self.calls.close(value["index"])

    def message_end(self, value):
        members(value, ["type", "delta"], ["id"])
        delta = members(value["delta"], ["finish_reason"], ["usage", "error", "error_type"], "delta")
        need(delta["finish_reason"] in self.FINISHES, "finish reason:", value)
        self.answer.finish, self.state = self.FINISHES[delta["finish_reason"]], "ended"
        if self.answer.finish == "error":
            self.answer.error = string(delta.get("error"), "the error")
            return
        need("error" not in delta, "an error that is none:", value)
        need(self.content is None and not self.calls.open_keys, "open at the end:", value)
        usage = members(delta.get("usage") or {}, [], ["billed_units", "tokens", "cached_tokens"], "usage")
        names = {"input_tokens": "input", "output_tokens": "output", "cached_tokens": "cached"}
        self.answer.usage = counts({**usage.get("tokens", {}), **{
            name: usage[name] for name in ["cached_tokens"] if name in usage}}, names)


def cohere(body):
    return Cohere(body).answer
