"""Readers of OpenAI's formats, as strict as its clients and their followers."""

from reading import Answer, Calls, count, counts, members, named, need, string, unnamed

FINISHES = {"stop", "length", "tool_calls", "content_filter"}


def usage(value):
    members(value, [], ["prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details",
                        "completion_tokens_details"], "usage")
    found = counts(value, {"prompt_tokens": "input", "completion_tokens": "output"})
    found |= counts(value.get("prompt_tokens_details") or {}, {"cached_tokens": "cached"})
    found |= counts(value.get("completion_tokens_details") or {}, {"reasoning_tokens": "reasoning"})
    if value.get("total_tokens") is not None:
        need(value["total_tokens"] == found.get("input", 0) + found.get("output", 0), "total of", value)
    return found


def failure(answer, value):
    members(value, ["error"])
    members(value["error"], ["message", "type"], ["param", "code"], "error")
    need(string(value["error"]["type"]), "an error without a type")
    answer.error = string(value["error"]["message"])


class Chunks:
    """What chunks have in common: one envelope, one finish for each choice, usage behind it all."""

    def __init__(self, body, kind, has_done, choice_keys):
        self.answer = Answer()
        self.choice_keys = choice_keys
        self.finished = {}
        self.envelope = None
        self.usage_seen = False
        values, self.done = unnamed(body, done=has_done)
        for value in values:
            need(self.answer.error is None, "something behind the error:", value)
            if isinstance(value, dict) and "error" in value:
                failure(self.answer, value)
                continue
            self.chunk(value, kind)
        need(not (self.done and self.answer.error), "[DONE] behind an error")

    def chunk(self, value, kind):
        members(value, ["id", "object", "created", "model", "choices"], ["usage", "system_fingerprint"], "a chunk")
        envelope = (string(value["id"]), value["object"], count(value["created"]), string(value["model"]))
        need(value["object"] in kind and envelope[0], "the envelope:", value)
        self.envelope = self.envelope or envelope
        need(envelope == self.envelope, "the envelope changes:", value)
        need(isinstance(value["choices"], list), "choices:", value)
        if value.get("usage") is not None:
            need(not self.usage_seen, "usage twice")
            self.usage_seen = True
            self.answer.usage = usage(value["usage"])
        need(value["choices"] or value.get("usage") is not None, "a chunk that says nothing:", value)
        for choice in value["choices"]:
            members(choice, self.choice_keys, ["logprobs"], "a choice")
            index = count(choice["index"])
            need(index not in self.finished, "something behind the finish of choice", index)
            self.content(index, choice)
            if choice["finish_reason"] is not None:
                need(choice["finish_reason"] in FINISHES, "finish reason", choice)
                self.finished[index] = choice["finish_reason"]

    def close(self, begun):
        need(not (self.done and set(begun) - set(self.finished)), "choices without a finish")
        self.answer.finish = self.finished.get(0)
        self.answer.complete = self.answer.error is None and self.done
        return self.answer


class Chat(Chunks):
    def __init__(self, *arguments):
        self.roles, self.calls = set(), {}
        super().__init__(*arguments)

    def content(self, index, choice):
        delta = members(choice["delta"], [], ["role", "content", "refusal", "reasoning_content", "reasoning",
                                              "tool_calls"], "a delta")
        if index not in self.roles:
            need(delta.get("role") == "assistant", "the first delta has no role:", choice)
            self.roles.add(index)
        else:
            need("role" not in delta, "the role twice:", choice)
        for call in delta.get("tool_calls") or []:
            self.call(self.calls.setdefault(index, Calls()), call)
        if index == 0:
            self.answer.text += string(delta.get("content") or "")
            self.answer.refusal += string(delta.get("refusal") or "")
            self.answer.reasoning += string(delta.get("reasoning_content") or "")

    @staticmethod
    def call(calls, call):
        key = call.get("index")
        if key not in calls.calls:
            members(call, ["index", "id", "type", "function"], what="a call")
            need(key == len(calls.calls) and call["type"] == "function" and call["id"], "a call begins:", call)
            members(call["function"], ["name", "arguments"], what="a function")
            calls.open(key, call["id"], call["function"]["name"])
        else:
            members(call, ["index", "function"], what="a call that goes on")
            members(call["function"], ["arguments"], what="a function")
        calls.append(key, call["function"]["arguments"])


def chat(body):
    reader = Chat(body, ["chat.completion.chunk"], True, ["index", "delta", "finish_reason"])
    reader.answer.tool_calls = reader.calls[0].all() if 0 in reader.calls else []
    return reader.close(reader.roles)


class Completions(Chunks):
    def __init__(self, *arguments):
        self.begun = set()
        super().__init__(*arguments)

    def content(self, index, choice):
        self.begun.add(index)
        if index == 0:
            self.answer.text += string(choice["text"])


def completions(body):
    reader = Completions(body, ["text_completion"], True, ["index", "text", "finish_reason"])
    return reader.close(reader.begun)


class MLflow(Chunks):
    """Chunks of MLflow's gateway: every key is there, and the end of the body is the end."""

    def __init__(self, *arguments):
        self.begun, self.calls = set(), {}
        super().__init__(*arguments)

    def content(self, index, choice):
        delta = members(choice["delta"], ["role", "content", "tool_calls"], what="a delta")
        need(delta["role"] in (None, "assistant"), "a role:", choice)
        self.begun.add(index)
        for call in delta["tool_calls"] or []:
            members(call, ["index", "id", "type", "function"], what="a call")
            known = {k: v for k, v in call.items() if v is not None}
            known["function"] = {k: v for k, v in call["function"].items() if v is not None}
            Chat.call(self.calls.setdefault(index, Calls()), known)
        if index == 0:
            self.answer.text += string(delta["content"] or "")


def mlflow(body):
    reader = MLflow(body, ["chat.completion.chunk"], False, ["index", "delta", "finish_reason"])
    reader.answer.tool_calls = reader.calls[0].all() if 0 in reader.calls else []
    reader.close(reader.begun)
    reader.answer.complete = reader.answer.error is None and bool(reader.finished)
    return reader.answer


class Responses:
    """Each event is numbered and named; items open and close, and what closes them repeats what they had."""

    def __init__(self, body):
        self.answer = Answer()
        self.items = {}
        self.parts = {}
        self.closed = []
        self.calls = Calls()
        self.ended = self.created = self.failed = False
        self.response_id = None
        for number, (kind, value) in enumerate(named(body)):
            need(kind != "[DONE]", "there is no [DONE] here")
            need(value.get("sequence_number") == number, "the sequence number of", value, "is not", number)
            # OpenAI says an error twice: as an event, and as the response's last state.
            is_echo = kind == "response.failed" and self.answer.error is not None and not self.failed
            need(not self.ended or is_echo, "something behind the end:", value)
            handler = self.HANDLERS.get(kind)
            need(handler, "an event that nobody knows:", kind)
            need(self.created or kind in ("response.created", "error"), kind, "comes first")
            handler(self, kind, value)
        self.answer.tool_calls = self.calls.all()

    def response(self, kind, value):
        response = value.get("response")
        need(isinstance(response, dict) and response.get("object") == "response", kind, "has no response")
        need(string(response.get("id")), "a response without an id")
        if kind == "response.created":
            need(not self.created, "created twice")
            self.created, self.response_id = True, response["id"]
        need(response["id"] == self.response_id, "another response:", response["id"])
        if kind in ("response.created", "response.in_progress", "response.queued"):
            need(response.get("status") in ("in_progress", "queued") and response.get("output") == [], "status", kind)
            return
        self.ended = True
        need("response." + response.get("status", "") == kind, "the status is not", kind)
        if kind != "response.failed":
            need(not self.items and not self.parts, "open at the end:", self.items, self.parts)
            need(response.get("output") == self.closed, "the output is not what was streamed:", response.get("output"),
                 "but", self.closed)
        self.finish(kind, response)

    def finish(self, kind, response):
        if response.get("usage"):
            found = response["usage"]
            self.answer.usage = counts(found, {"input_tokens": "input", "output_tokens": "output"})
            self.answer.usage |= counts(found.get("input_tokens_details") or {}, {"cached_tokens": "cached"})
            self.answer.usage |= counts(found.get("output_tokens_details") or {}, {"reasoning_tokens": "reasoning"})
        if kind == "response.failed":
            self.failed = True
            message = string((response.get("error") or {}).get("message"), "the error's message")
            need(self.answer.error in (None, message), "another error:", message)
            self.answer.error = message
            return
        self.answer.complete = True
        if kind == "response.incomplete":
            reasons = {"max_output_tokens": "length", "content_filter": "content_filter"}
            reason = (response.get("incomplete_details") or {}).get("reason")
            need(reason in reasons, "incomplete for", reason)
            self.answer.finish = reasons[reason]
        else:
            self.answer.finish = "tool_calls" if self.calls.calls else "stop"

    def error(self, kind, value):
        members(value, ["type", "sequence_number", "message"], ["code", "param", "error"], "error")
        self.answer.error, self.ended = string(value["message"]), True

    def item(self, value, name="output_index"):
        index = value.get("output_index")
        need(index in self.items, "the item", index, "is not open:", value)
        item = self.items[index]
        if "item_id" in value:
            need(value["item_id"] == item["id"], "the item's id changes:", value)
        return index, item

    def item_added(self, kind, value):
        members(value, ["type", "sequence_number", "output_index", "item"])
        index, item = value["output_index"], value["item"]
        need(index == len(self.items) + len(self.closed), "the output index of", value)
        need(string(item.get("id")) and item.get("type") in ("message", "reasoning", "function_call"), "item:", value)
        if item["type"] == "message":
            need(item.get("role") == "assistant" and item.get("content") == [], "a message begins:", value)
        if item["type"] == "function_call":
            need(item.get("arguments") == "" and item.get("call_id"), "a call begins:", value)
            self.calls.open(index, item["call_id"], item.get("name"))
        self.items[index] = {**item, "text": {}}

    def item_done(self, kind, value):
        index, item = self.item({**value, "item_id": value.get("item", {}).get("id")})
        whole = value["item"]
        need(whole.get("type") == item["type"], "the item's type changes:", value)
        need(not [key for key in self.parts if key[0] == index], "a part is open:", value)
        if item["type"] == "function_call":
            need(whole.get("arguments") == self.calls.close(index), "the call's arguments:", value)
            need((whole.get("call_id"), whole.get("name")) == tuple(self.calls.calls[index][:2]), "the call:", value)
        elif item["type"] == "message":
            texts = [part.get("text", part.get("refusal")) for part in whole.get("content", [])]
            need(texts == list(item["text"].values()), "the message's text:", value)
        del self.items[index]
        need(index >= len(self.closed) or not self.items, "items close out of order:", value)
        self.closed.append(whole)

    def part_added(self, kind, value):
        index, item = self.item(value)
        key = (index, value.get("content_index", value.get("summary_index")))
        need(key not in self.parts and key[1] == len(item["text"]), "the part", key, "opens:", value)
        self.parts[key] = value["part"].get("type")
        need(self.parts[key] in ("output_text", "refusal", "summary_text", "reasoning_text"), "part:", value)
        item["text"][key] = ""

    def part_done(self, kind, value):
        index, item = self.item(value)
        key = (index, value.get("content_index", value.get("summary_index")))
        need(self.parts.pop(key, None) == value["part"].get("type"), "the part", key, "is not open:", value)
        need(value["part"].get("text", value["part"].get("refusal")) == item["text"][key], "the part's text:", value)

    TEXTS = {"response.output_text": ("output_text", "text"), "response.refusal": ("refusal", "refusal"),
             "response.reasoning_summary_text": ("summary_text", "reasoning"),
             "response.reasoning_text": ("reasoning_text", "reasoning")}

    def text(self, kind, value):
        base, _, verb = kind.rpartition(".")
        part, field = self.TEXTS[base]
        index, item = self.item(value)
        key = (index, value.get("content_index", value.get("summary_index")))
        if base == "response.reasoning_text" and key not in item["text"] and item["type"] == "reasoning":
            self.parts[key], item["text"][key] = part, ""  # may come without a part of its own
        need(self.parts.get(key) == part, "the part", key, "is not open:", value)
        if verb == "delta":
            need(string(value["delta"]), "an empty delta:", value)
            item["text"][key] += value["delta"]
            setattr(self.answer, field, getattr(self.answer, field) + value["delta"])
        else:
            need(value.get("text", value.get("refusal")) == item["text"][key], "the text is not whole:", value)
            if base == "response.reasoning_text":
                self.parts.pop(key)

    def arguments(self, kind, value):
        index, item = self.item(value)
        need(item["type"] == "function_call", "arguments of no call:", value)
        if kind.endswith("delta"):
            self.calls.append(index, value["delta"])
        else:
            need(value.get("arguments") == self.calls.calls[index][2], "the arguments are not whole:", value)

    def annotation(self, kind, value):
        self.item(value)

    HANDLERS = {
        **dict.fromkeys([f"response.{word}" for word in (
            "created", "queued", "in_progress", "completed", "incomplete", "failed")], response),
        "error": error, "response.output_item.added": item_added, "response.output_item.done": item_done,
        "response.content_part.added": part_added, "response.content_part.done": part_done,
        "response.reasoning_summary_part.added": part_added, "response.reasoning_summary_part.done": part_done,
        **dict.fromkeys([f"{base}.{verb}" for base in TEXTS for verb in ("delta", "done")], text),
        "response.function_call_arguments.delta": arguments, "response.function_call_arguments.done": arguments,
        "response.output_text.annotation.added": annotation,
    }


def responses(body):
    return Responses(body).answer
