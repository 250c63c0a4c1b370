"""Providers that check what they are asked, in their own API's words, then call two tools, and then answer with text.

Each is written from its API's reference: what a request must look like when it brings a system text, an image, two tools and
settings; what it must look like when it brings the results; and how a stream with two calls, or with text, is told.
"""

import json
import struct
import zlib

from harness import chunk

SYSTEM = "Be brief.\nVery."
QUESTION = "What is it like in Köln?"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WEATHER_SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "description": "Where"},
                                                   "days": {"type": "integer"}}, "required": ["city"]}
TIME_SCHEMA = {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]}
TOOLS = [("get_weather", "Weather \"today\"", WEATHER_SCHEMA), ("get_time", "The time", TIME_SCHEMA)]
# What the model calls, and what the tools say.
CALLS = [("get_weather", {"city": "Köln \"am\" Rhein", "days": 12345678901}), ("get_time", {"zone": "CET"})]
RESULTS = [{"temp": 21.5, "sky": "☀️"}, "12:00\nsharp"]
ANSWER = "It is 21.5 °C, at noon. 🌞"
TEMPERATURE, MAX_TOKENS, STOP = 0.5, 77, "END"
PLAN = "Let me look."


def expect(got, want, what):
    assert got == want, f"{what}: got {json.dumps(got, ensure_ascii=False)}, want {json.dumps(want, ensure_ascii=False)}"


def the_result(text):
    """A tool's result as the model reads it: JSON, or the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def sse(events, named=False, done=True):
    lines = []
    for event in events:
        name = f"event: {event['type']}\n" if named else ""
        lines.append(f"{name}data: {json.dumps(event, ensure_ascii=False)}\n\n")
    return ("".join(lines) + ("data: [DONE]\n\n" if done else "")).encode()


def pieces(arguments):
    """Arguments in fragments."""
    text = json.dumps(arguments, ensure_ascii=False)
    return [text[:3], text[3:11], text[11:]]


class Provider:
    """`can` names what the API has words for."""
    dialect = ""
    can = {"image", "stop", "choice", "ids"}
    type = "text/event-stream"
    key = ("authorization", "Bearer sk-own")
    path = ""

    def ids(self):
        return ["call_A1", "call_B2"] if "ids" in self.can else [None, None]

    def check_head(self, path, headers):
        expect(path, self.path, "path")
        expect(headers.get(self.key[0]), self.key[1], "key")
        expect(headers["content-type"], "application/json", "content-type")
        assert self.type in headers["accept"], headers["accept"]

    def check_first(self, body, asks):
        """`asks`: what the client said: `image`, `stop` … where its format has words for it."""
        raise NotImplementedError

    def check_second(self, body):
        raise NotImplementedError


class OpenAIChat(Provider):
    dialect, path = "openai-chat", "/chat/completions"

    def system(self, body):
        expect([m["content"] for m in body["messages"] if m["role"] in ("system", "developer")], [SYSTEM], "system")
        expect(body["messages"][0]["role"] in ("system", "developer"), True, "system first")

    def user(self, message, asks):
        expect(message["role"], "user", "role")
        content = message["content"]
        texts = [content] if isinstance(content, str) else [p["text"] for p in content if p["type"] == "text"]
        expect(texts, [QUESTION], "question")
        if "image" in asks:
            images = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
            expect(images, ["data:image/png;base64," + PIXEL], "image")

    def check_first(self, body, asks):
        self.system(body)
        self.user(body["messages"][1], asks)
        expect(len(body["messages"]), 2, "messages")
        self.settings(body, asks)

    def settings(self, body, asks):
        tools = [{"type": "function", "function": {"name": n, "description": d, "parameters": s}} for n, d, s in TOOLS]
        for tool in body["tools"]:
            tool["function"].pop("strict", None)
        expect(body["tools"], tools, "tools")
        if "choice" in asks:
            expect(body["tool_choice"], "required", "tool_choice")
        expect(body["temperature"], TEMPERATURE, "temperature")
        expect(body.get("max_tokens") or body["max_completion_tokens"], MAX_TOKENS, "max_tokens")
        if "stop" in asks:
            expect(body["stop"] if isinstance(body["stop"], list) else [body["stop"]], [STOP], "stop")
        expect(body["stream"], True, "stream")

    def check_second(self, body, asks):
        self.system(body)
        turns = body["messages"][1:]
        self.user(turns[0], asks)
        expect([turn["role"] for turn in turns], ["user", "assistant", "tool", "tool"], "roles")
        calls = turns[1]["tool_calls"]
        expect([(c["type"], c["function"]["name"], json.loads(c["function"]["arguments"])) for c in calls],
               [("function", *call) for call in CALLS], "calls")
        ids = [call["id"] for call in calls]
        assert len(set(ids)) == 2 and all(ids), ids
        if "ids" in asks:
            expect(ids, self.ids(), "ids")
        expect([turn["tool_call_id"] for turn in turns[2:]], ids, "the results' ids")
        expect([the_result(turn["content"]) for turn in turns[2:]], RESULTS, "results")

    def call(self):
        events = [{"role": "assistant", "content": None}]
        for index, (id, (name, arguments)) in enumerate(zip(self.ids(), CALLS)):
            events.append({"tool_calls": [{"index": index, "id": id, "type": "function",
                                           "function": {"name": name, "arguments": ""}}]})
            events += [{"tool_calls": [{"index": index, "function": {"arguments": part}}]} for part in pieces(arguments)]
        return self.stream(events, "tool_calls")

    def stream(self, deltas, finish):
        events = [{"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m",
                   "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
        events.append(events[0] | {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        return sse(events)

    def text(self):
        return self.stream([{"role": "assistant", "content": ""}, {"content": ANSWER[:9]}, {"content": ANSWER[9:]}], "stop")


class OpenAIResponses(Provider):
    dialect, path = "openai-responses", "/responses"
    can = {"image", "choice", "ids"}

    def system(self, body):
        told = [body["instructions"]] if body.get("instructions") else []
        for item in body["input"]:
            if item.get("role") in ("system", "developer"):
                told.append(item["content"] if isinstance(item["content"], str) else item["content"][0]["text"])
        expect(told, [SYSTEM], "system")

    def items(self, body):
        return [item for item in body["input"] if item.get("role") not in ("system", "developer")]

    def user(self, item, asks):
        expect((item.get("type", "message"), item["role"]), ("message", "user"), "role")
        content = item["content"]
        texts = [content] if isinstance(content, str) else [p["text"] for p in content if p["type"] == "input_text"]
        expect(texts, [QUESTION], "question")
        if "image" in asks:
            expect([part["image_url"] for part in content if part["type"] == "input_image"],
                   ["data:image/png;base64," + PIXEL], "image")

    def check_first(self, body, asks):
        self.system(body)
        self.user(self.items(body)[0], asks)
        for tool in body["tools"]:
            tool.pop("strict", None)
        expect(body["tools"], [{"type": "function", "name": n, "description": d, "parameters": s} for n, d, s in TOOLS], "tools")
        if "choice" in asks:
            expect(body["tool_choice"], "required", "tool_choice")
        expect((body["temperature"], body["max_output_tokens"]), (TEMPERATURE, MAX_TOKENS), "settings")
        assert "stop" not in body and "messages" not in body and "max_tokens" not in body
        expect(body["stream"], True, "stream")

    def check_second(self, body, asks):
        self.system(body)
        user, *calls, first, second = self.items(body)
        self.user(user, asks)
        expect([c["type"] for c in calls], ["function_call"] * 2, "calls")
        expect([(c["name"], json.loads(c["arguments"])) for c in calls], CALLS, "calls")
        ids = [call["call_id"] for call in calls]
        assert len(set(ids)) == 2 and all(ids), ids
        if "ids" in asks:
            expect(ids, self.ids(), "ids")
        expect([item["type"] for item in (first, second)], ["function_call_output"] * 2, "outputs")
        expect([item["call_id"] for item in (first, second)], ids, "the results' ids")
        expect([the_result(item["output"]) for item in (first, second)], RESULTS, "results")

    def response(self, status, output):
        return {"id": "resp_1", "object": "response", "created_at": 1, "status": status, "model": "m", "output": output,
                "error": None, "incomplete_details": None, "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
                "instructions": None, "metadata": {}, "temperature": None, "top_p": None, "usage": {
                    "input_tokens": 1, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                    "output_tokens": 1, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 2}}

    def call(self):
        events, output = [{"type": "response.created", "response": self.response("in_progress", [])}], []
        for index, (id, (name, arguments)) in enumerate(zip(self.ids(), CALLS)):
            item = {"id": f"fc_{index}", "type": "function_call", "status": "in_progress", "call_id": id, "name": name,
                    "arguments": ""}
            place = {"item_id": item["id"], "output_index": index}
            events.append({"type": "response.output_item.added", "output_index": index, "item": item})
            events += [{"type": "response.function_call_arguments.delta", **place, "delta": p} for p in pieces(arguments)]
            whole = json.dumps(arguments, ensure_ascii=False)
            events.append({"type": "response.function_call_arguments.done", **place, "arguments": whole})
            output.append(item | {"status": "completed", "arguments": whole})
            events.append({"type": "response.output_item.done", "output_index": index, "item": output[-1]})
        return self.stream(events, output)

    def stream(self, events, output):
        events.append({"type": "response.completed", "response": self.response("completed", output)})
        return sse([event | {"sequence_number": number} for number, event in enumerate(events)], named=True, done=False)

    def text(self):
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        item = {"id": "msg_1", "type": "message", "status": "in_progress", "role": "assistant", "content": []}
        whole = item | {"status": "completed", "content": [part | {"text": ANSWER}]}
        place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
        return self.stream([
            {"type": "response.created", "response": self.response("in_progress", [])},
            {"type": "response.output_item.added", "output_index": 0, "item": item},
            {"type": "response.content_part.added", **place, "part": part},
            {"type": "response.output_text.delta", **place, "delta": ANSWER[:9], "logprobs": []},
            {"type": "response.output_text.delta", **place, "delta": ANSWER[9:], "logprobs": []},
            {"type": "response.output_text.done", **place, "text": ANSWER, "logprobs": []},
            {"type": "response.content_part.done", **place, "part": part | {"text": ANSWER}},
            {"type": "response.output_item.done", "output_index": 0, "item": whole}], [whole])


class Anthropic(Provider):
    dialect, path = "anthropic-messages", "/v1/messages"
    key = ("x-api-key", "sk-own")

    def check_head(self, path, headers):
        super().check_head(path, headers)
        expect(headers["anthropic-version"], "2023-06-01", "anthropic-version")
        assert "authorization" not in headers

    def system(self, body):
        told = body["system"]
        expect(told if isinstance(told, str) else told[0]["text"], SYSTEM, "system")

    def user(self, turn, asks):
        expect(turn["role"], "user", "role")
        content = turn["content"]
        texts = [content] if isinstance(content, str) else [p["text"] for p in content if p["type"] == "text"]
        expect(texts, [QUESTION], "question")
        if "image" in asks:
            expect([part["source"] for part in content if part["type"] == "image"],
                   [{"type": "base64", "media_type": "image/png", "data": PIXEL}], "image")

    def check_first(self, body, asks):
        self.system(body)
        expect(len(body["messages"]), 1, "turns")
        self.user(body["messages"][0], asks)
        for tool in body["tools"]:
            tool.pop("type", None)
            tool.pop("strict", None)
        expect(body["tools"], [{"name": n, "description": d, "input_schema": s} for n, d, s in TOOLS], "tools")
        if "choice" in asks:
            expect(body["tool_choice"], {"type": "any"}, "tool_choice")
        expect((body["temperature"], body["max_tokens"], body["stream"]), (TEMPERATURE, MAX_TOKENS, True), "settings")
        if "stop" in asks:
            expect(body["stop_sequences"], [STOP], "stop")

    def check_second(self, body, asks):
        self.system(body)
        expect([turn["role"] for turn in body["messages"]], ["user", "assistant", "user"], "roles")
        user, called, answered = body["messages"]
        self.user(user, asks)
        calls = [block for block in called["content"] if block["type"] == "tool_use"]
        expect([(c["name"], c["input"]) for c in calls], CALLS, "calls")
        ids = [call["id"] for call in calls]
        assert len(set(ids)) == 2 and all(ids), ids
        if "ids" in asks:
            expect(ids, self.ids(), "ids")
        results = answered["content"]
        expect([block["type"] for block in results], ["tool_result"] * 2, "results")
        expect([block["tool_use_id"] for block in results], ids, "the results' ids")
        assert not any(block.get("is_error") for block in results)
        texts = [b["content"] if isinstance(b["content"], str) else b["content"][0]["text"] for b in results]
        expect([the_result(text) for text in texts], RESULTS, "results")

    def message(self, blocks, stop):
        usage = {"input_tokens": 5, "output_tokens": 1}
        yield {"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "m",
                                                    "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}}
        for index, (block, deltas) in enumerate(blocks):
            yield {"type": "content_block_start", "index": index, "content_block": block}
            yield {"type": "ping"}
            for delta in deltas:
                yield {"type": "content_block_delta", "index": index, "delta": delta}
            yield {"type": "content_block_stop", "index": index}
        yield {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": {"output_tokens": 9}}
        yield {"type": "message_stop"}

    def call(self):
        blocks = [({"type": "text", "text": ""}, [{"type": "text_delta", "text": PLAN}])]
        for id, (name, arguments) in zip(self.ids(), CALLS):
            blocks.append(({"type": "tool_use", "id": id, "name": name, "input": {}},
                           [{"type": "input_json_delta", "partial_json": part} for part in ["", *pieces(arguments)]]))
        return sse(self.message(blocks, "tool_use"), named=True, done=False)

    def text(self):
        deltas = [{"type": "text_delta", "text": part} for part in (ANSWER[:9], ANSWER[9:])]
        return sse(self.message([({"type": "text", "text": ""}, deltas)], "end_turn"), named=True, done=False)


class Gemini(Provider):
    dialect, path = "gemini", "/v1beta/models/m-1:streamGenerateContent?alt=sse"
    key = ("x-goog-api-key", "sk-own")
    can = {"image", "stop", "choice"}

    def system(self, body):
        expect("".join(part["text"] for part in body["systemInstruction"]["parts"]), SYSTEM, "system")

    def user(self, turn, asks):
        expect(turn.get("role"), "user", "role")
        expect([part["text"] for part in turn["parts"] if "text" in part], [QUESTION], "question")
        if "image" in asks:
            images = [part["inlineData"] for part in turn["parts"] if "inlineData" in part]
            # Its own library writes some names in snake case, and bytes in the alphabet for addresses.
            told = [(i.get("mimeType") or i.get("mime_type"), i["data"].replace("-", "+").replace("_", "/")) for i in images]
            expect(told, [("image/png", PIXEL)], "image")

    def check_first(self, body, asks):
        assert "stream" not in body and "model" not in body
        self.system(body)
        expect(len(body["contents"]), 1, "turns")
        self.user(body["contents"][0], asks)
        declared = []
        for tool in body["tools"][0]["functionDeclarations"]:
            schema = tool.get("parametersJsonSchema") or tool.get("parameters_json_schema")
            declared.append((tool["name"], tool["description"], schema))
        expect(declared, [tuple(tool) for tool in TOOLS], "tools")
        if "choice" in asks:
            expect(body["toolConfig"]["functionCallingConfig"]["mode"], "ANY", "choice")
        settings = body["generationConfig"]
        expect((settings["temperature"], settings["maxOutputTokens"]), (TEMPERATURE, MAX_TOKENS), "settings")
        if "stop" in asks:
            expect(settings["stopSequences"], [STOP], "stop")

    def check_second(self, body, asks):
        self.system(body)
        expect([turn["role"] for turn in body["contents"]], ["user", "model", "user"], "roles")
        user, called, answered = body["contents"]
        self.user(user, asks)
        calls = [part["functionCall"] for part in called["parts"] if "functionCall" in part]
        expect([(call["name"], call["args"]) for call in calls], CALLS, "calls")
        results = [part["functionResponse"] for part in answered["parts"]]
        expect([result["name"] for result in results], [name for name, _ in CALLS], "the results' names")
        # An object is required: a text is wrapped into one.
        expect(results[0]["response"], RESULTS[0], "result")
        expect(list(results[1]["response"].values()), [RESULTS[1]], "result")

    def stream(self, chunks):
        events = [{"candidates": [{"content": {"parts": parts, "role": "model"}, "index": 0}], "modelVersion": "m",
                   "usageMetadata": {"promptTokenCount": 3}} for parts in chunks]
        events[-1]["candidates"][0]["finishReason"] = "STOP"
        return sse(events, done=False).replace(b"\n\n", b"\r\n\r\n")

    def call(self):
        return self.stream([[{"functionCall": {"name": name, "args": arguments}, "thoughtSignature": "c2ln"}]
                            for name, arguments in CALLS])

    def text(self):
        return self.stream([[{"text": ANSWER[:9]}], [{"text": ANSWER[9:]}]])


class CohereV2(OpenAIChat):
    dialect, path = "cohere-v2", "/v2/chat"

    def settings(self, body, asks):
        expect(body["tools"], [{"type": "function", "function": {"name": n, "description": d, "parameters": s}}
                               for n, d, s in TOOLS], "tools")
        if "choice" in asks:
            expect(body["tool_choice"], "REQUIRED", "tool_choice")
        expect((body["temperature"], body["max_tokens"], body["stream"]), (TEMPERATURE, MAX_TOKENS, True), "settings")
        if "stop" in asks:
            expect(body["stop_sequences"], [STOP], "stop")
        assert "stream_options" not in body and "stop" not in body

    def check_second(self, body, asks):
        for turn in body["messages"]:
            if turn["role"] == "tool" and not isinstance(turn["content"], str):
                document = turn["content"][0]
                turn["content"] = document.get("text") or document["document"]["data"]
        super().check_second(body, asks)

    def message(self, inner, finish):
        yield {"type": "message-start", "id": "g1", "delta": {"message": {"role": "assistant", "content": [], "tool_plan": "",
                                                                        "tool_calls": [], "citations": []}}}
        yield from inner
        counts = {"input_tokens": 3, "output_tokens": 4}
        yield {"type": "message-end", "delta": {"finish_reason": finish, "usage": {"billed_units": counts, "tokens": counts}}}

    def call(self):
        inner = [{"type": "tool-plan-delta", "delta": {"message": {"tool_plan": PLAN}}}]
        for index, (id, (name, arguments)) in enumerate(zip(self.ids(), CALLS)):
            call = {"id": id, "type": "function", "function": {"name": name, "arguments": ""}}
            inner.append({"type": "tool-call-start", "index": index, "delta": {"message": {"tool_calls": call}}})
            inner += [{"type": "tool-call-delta", "index": index, "delta": {"message": {"tool_calls": {
                "function": {"arguments": part}}}}} for part in pieces(arguments)]
            inner.append({"type": "tool-call-end", "index": index})
        return sse(self.message(inner, "TOOL_CALL"), named=True)

    def text(self):
        inner = [{"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}}]
        inner += [{"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": part}}}}
                  for part in (ANSWER[:9], ANSWER[9:])]
        inner.append({"type": "content-end", "index": 0})
        return sse(self.message(inner, "COMPLETE"), named=True)


class CohereV1(Provider):
    dialect, path = "cohere-v1", "/v1/chat"
    can = {"stop"}
    type = "application/stream+json"

    def check_first(self, body, asks):
        expect(body["preamble"], SYSTEM, "preamble")
        expect(body["message"], QUESTION, "message")
        assert "messages" not in body and not body.get("chat_history")
        kinds = {"string": "str", "integer": "int"}
        tools = []
        for name, description, schema in TOOLS:
            definitions = {key: ({"description": value["description"]} if "description" in value else {})
                           | {"type": kinds[value["type"]], "required": key in schema["required"]}
                           for key, value in schema["properties"].items()}
            tools.append({"name": name, "description": description, "parameter_definitions": definitions})
        expect(body["tools"], tools, "tools")
        expect((body["temperature"], body["max_tokens"], body["stream"]), (TEMPERATURE, MAX_TOKENS, True), "settings")
        if "stop" in asks:
            expect(body["stop_sequences"], [STOP], "stop")

    def check_second(self, body, asks):
        expect(body["preamble"], SYSTEM, "preamble")
        calls = [{"name": name, "parameters": arguments} for name, arguments in CALLS]
        history = body["chat_history"]
        expect([turn["role"] for turn in history], ["USER", "CHATBOT"], "history")
        expect(history[0]["message"], QUESTION, "question")
        expect(history[1]["tool_calls"], calls, "calls")
        expect([result["call"] for result in body["tool_results"]], calls, "the results' calls")
        expect(body["message"], "", "message")
        first, second = (result["outputs"] for result in body["tool_results"])
        expect(first, [RESULTS[0]], "outputs")
        expect(list(second[0].values()), [RESULTS[1]], "outputs")

    def stream(self, events, response):
        events = [{"event_type": "stream-start", "generation_id": "g"}, *events,
                  {"event_type": "stream-end", "finish_reason": "COMPLETE", "response": {
                      "generation_id": "g", "meta": {"tokens": {"input_tokens": 3, "output_tokens": 4}}, **response}}]
        return "".join(json.dumps({"is_finished": event["event_type"] == "stream-end", **event}) + "\n"
                       for event in events).encode()

    def call(self):
        calls = [{"name": name, "parameters": arguments} for name, arguments in CALLS]
        return self.stream([{"event_type": "text-generation", "text": PLAN},
                            {"event_type": "tool-calls-generation", "tool_calls": calls}], {"text": PLAN, "tool_calls": calls})

    def text(self):
        return self.stream([{"event_type": "text-generation", "text": part} for part in (ANSWER[:9], ANSWER[9:])],
                           {"text": ANSWER})


class Ollama(Provider):
    dialect, path = "ollama-chat", "/api/chat"
    can = {"image", "stop"}
    type = "application/x-ndjson"

    def user(self, message, asks):
        expect((message["role"], message["content"]), ("user", QUESTION), "question")
        if "image" in asks:
            expect(message["images"], [PIXEL], "image")

    def check_first(self, body, asks):
        expect(body["messages"][0], {"role": "system", "content": SYSTEM}, "system")
        self.user(body["messages"][1], asks)
        expect(body["tools"], [{"type": "function", "function": {"name": n, "description": d, "parameters": s}}
                               for n, d, s in TOOLS], "tools")
        options = body["options"]
        expect((options["temperature"], options["num_predict"]), (TEMPERATURE, MAX_TOKENS), "options")
        if "stop" in asks:
            expect(options["stop"], [STOP], "stop")
        assert body.get("stream", True) is True and "max_tokens" not in body

    def check_second(self, body, asks):
        expect([m["role"] for m in body["messages"]], ["system", "user", "assistant", "tool", "tool"], "roles")
        self.user(body["messages"][1], asks)
        calls = [call["function"] for call in body["messages"][2]["tool_calls"]]
        expect([(call["name"], call["arguments"]) for call in calls], CALLS, "calls")
        results = body["messages"][3:]
        expect([result["tool_name"] for result in results], [name for name, _ in CALLS], "the results' names")
        expect([the_result(result["content"]) for result in results], RESULTS, "results")

    def stream(self, messages):
        lines = [{"model": "m", "created_at": "2025-01-01T00:00:00.5Z", "message": {"role": "assistant", "content": "", **m},
                  "done": False} for m in messages]
        lines.append(lines[0] | {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop",
                                 "prompt_eval_count": 3, "eval_count": 4})
        return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()

    def call(self):
        return self.stream([{"tool_calls": [{"function": {"name": name, "arguments": arguments}}]} for name, arguments in CALLS])

    def text(self):
        return self.stream([{"content": ANSWER[:9]}, {"content": ANSWER[9:]}])


class Bedrock(Provider):
    dialect, path = "bedrock-converse", "/model/m-1/converse-stream"
    type = "application/vnd.amazon.eventstream"

    def check_first(self, body, asks):
        expect(body["system"], [{"text": SYSTEM}], "system")
        expect(len(body["messages"]), 1, "turns")
        self.user(body["messages"][0], asks)
        config = body["toolConfig"]
        expect(config["tools"], [{"toolSpec": {"name": n, "description": d, "inputSchema": {"json": s}}} for n, d, s in TOOLS],
               "tools")
        if "choice" in asks:
            expect(config["toolChoice"], {"any": {}}, "choice")
        wanted = {"temperature": TEMPERATURE, "maxTokens": MAX_TOKENS} | ({"stopSequences": [STOP]} if "stop" in asks else {})
        expect(body["inferenceConfig"], wanted, "settings")
        assert "model" not in body and "stream" not in body

    def user(self, turn, asks):
        expect(turn["role"], "user", "role")
        wanted = [{"text": QUESTION}]
        if "image" in asks:
            wanted.append({"image": {"format": "png", "source": {"bytes": PIXEL}}})
        expect(turn["content"], wanted, "question")

    def check_second(self, body, asks):
        expect([turn["role"] for turn in body["messages"]], ["user", "assistant", "user"], "roles")
        user, called, answered = body["messages"]
        self.user(user, asks)
        calls = [block["toolUse"] for block in called["content"] if "toolUse" in block]
        expect([(call["name"], call["input"]) for call in calls], CALLS, "calls")
        ids = [call["toolUseId"] for call in calls]
        assert len(set(ids)) == 2 and all(ids), ids
        if "ids" in asks:
            expect(ids, self.ids(), "ids")
        results = [block["toolResult"] for block in answered["content"]]
        expect([result["toolUseId"] for result in results], ids, "the results' ids")
        said = [result["content"][0] for result in results]
        expect([part.get("json") or the_result(part["text"]) for part in said], RESULTS, "results")

    def frame(self, kind, payload):
        headers = b""
        for name, value in ((":event-type", kind), (":content-type", "application/json"), (":message-type", "event")):
            headers += bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        payload = json.dumps({"p": "abcdefgh", **payload}, ensure_ascii=False).encode()
        front = struct.pack(">II", len(headers) + len(payload) + 16, len(headers))
        front += struct.pack(">I", zlib.crc32(front))
        return front + headers + payload + struct.pack(">I", zlib.crc32(front + headers + payload))

    def stream(self, blocks, reason):
        frames = [self.frame("messageStart", {"role": "assistant"})]
        for index, (start, deltas) in enumerate(blocks):
            if start:
                frames.append(self.frame("contentBlockStart", {"contentBlockIndex": index, "start": start}))
            frames += [self.frame("contentBlockDelta", {"contentBlockIndex": index, "delta": delta}) for delta in deltas]
            frames.append(self.frame("contentBlockStop", {"contentBlockIndex": index}))
        frames.append(self.frame("messageStop", {"stopReason": reason}))
        usage = {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7}
        frames.append(self.frame("metadata", {"usage": usage, "metrics": {"latencyMs": 1}}))
        return b"".join(frames)

    def call(self):
        blocks = [(None, [{"text": PLAN}])]
        for id, (name, arguments) in zip(self.ids(), CALLS):
            blocks.append(({"toolUse": {"toolUseId": id, "name": name}},
                           [{"toolUse": {"input": part}} for part in pieces(arguments)]))
        return self.stream(blocks, "tool_use")

    def text(self):
        return self.stream([(None, [{"text": ANSWER[:9]}, {"text": ANSWER[9:]}])], "end_turn")


ALL = [kind() for kind in (OpenAIChat, OpenAIResponses, Anthropic, Gemini, CohereV2, CohereV1, Ollama, Bedrock)]


def answer(connection, kind, body):
    """One stream, in writes that know nothing of events."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind.type}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    middle = len(body) // 2
    connection.sendall(head + chunk(body[:middle]))
    connection.sendall(chunk(body[middle:]) + b"0\r\n\r\n")
