"""A question, two tool calls, their results and the answer: from each client's format to each provider that has tools.

The providers check every request (`tool_providers`); clients are the official libraries where there are any, used as their
documentation says: what the model said goes back as it came.
"""

import base64
import functools
import json
import traceback

import httpx

from harness import Peer, Sluice
from tool_providers import (ALL, ANSWER, CALLS, MAX_TOKENS, PIXEL, QUESTION, RESULTS, STOP, SYSTEM, TEMPERATURE, TOOLS,
                            answer)

URL = "data:image/png;base64," + PIXEL
OPENAI_TOOLS = [{"type": "function", "function": {"name": n, "description": d, "parameters": s}} for n, d, s in TOOLS]
TEXTS = [result if isinstance(result, str) else json.dumps(result, ensure_ascii=False) for result in RESULTS]


class Client:
    """`says`: what its format has words for, of what providers check."""
    says = {"image", "stop", "choice", "ids"}
    path = ""
    request = ""
    streams = (True, False)

    def __init__(self, port, upstream, stream):
        self.base = f"http://127.0.0.1:{port}/{upstream}"
        self.stream = stream
        self.start()

    def start(self):
        pass

    def ask(self):
        """Asks, and returns the calls as (name, arguments)."""
        raise NotImplementedError

    def report(self):
        """Sends the results, and returns the text."""
        raise NotImplementedError


class OpenAIChat(Client):
    request, path = "openai-chat", "/v1/chat/completions"

    def start(self):
        import openai
        self.client = openai.OpenAI(base_url=self.base + "/v1", api_key="k", max_retries=0)
        self.messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": [
            {"type": "text", "text": QUESTION}, {"type": "image_url", "image_url": {"url": URL}}]}]

    def send(self):
        options = {"model": "m-1", "messages": self.messages, "tools": OPENAI_TOOLS, "tool_choice": "required",
                   "temperature": TEMPERATURE, "max_tokens": MAX_TOKENS, "stop": [STOP]}
        if not self.stream:
            return self.client.chat.completions.create(**options).choices[0].message
        with self.client.chat.completions.stream(**options) as stream:
            return stream.get_final_completion().choices[0].message

    def ask(self):
        message = self.send()
        self.messages.append(message.model_dump(exclude_none=True, exclude={"parsed"}))
        self.ids = [call.id for call in message.tool_calls]
        for call in self.messages[-1]["tool_calls"]:
            call["function"].pop("parsed_arguments", None)
            call.pop("index", None)
        return [(call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls]

    def report(self):
        self.messages += [{"role": "tool", "tool_call_id": id, "content": text} for id, text in zip(self.ids, TEXTS)]
        return self.send().content


class OpenAIResponses(Client):
    request, path = "openai-responses", "/v1/responses"
    says = {"image", "choice", "ids"}

    def start(self):
        import openai
        self.client = openai.OpenAI(base_url=self.base + "/v1", api_key="k", max_retries=0)
        self.input = [{"role": "user", "content": [{"type": "input_text", "text": QUESTION},
                                                   {"type": "input_image", "image_url": URL, "detail": "auto"}]}]

    def send(self):
        options = {"model": "m-1", "instructions": SYSTEM, "input": self.input, "tool_choice": "required", "tools": [
            {"type": "function", "name": n, "description": d, "parameters": s, "strict": False} for n, d, s in TOOLS],
            "temperature": TEMPERATURE, "max_output_tokens": MAX_TOKENS}
        if not self.stream:
            return self.client.responses.create(**options)
        with self.client.responses.stream(**options) as stream:
            return stream.get_final_response()

    def ask(self):
        response = self.send()
        self.input += [item.model_dump(exclude_none=True, exclude={"parsed_arguments", "status"}) for item in response.output]
        self.calls = [item for item in response.output if item.type == "function_call"]
        return [(call.name, json.loads(call.arguments)) for call in self.calls]

    def report(self):
        self.input += [{"type": "function_call_output", "call_id": call.call_id, "output": text}
                       for call, text in zip(self.calls, TEXTS)]
        return self.send().output_text


class Anthropic(Client):
    request, path = "anthropic", "/v1/messages"

    def start(self):
        import anthropic
        self.client = anthropic.Anthropic(base_url=self.base, api_key="k", max_retries=0)
        self.messages = [{"role": "user", "content": [
            {"type": "text", "text": QUESTION},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}]}]

    def send(self):
        options = {"model": "m-1", "system": SYSTEM, "messages": self.messages, "tool_choice": {"type": "any"},
                   "tools": [{"name": n, "description": d, "input_schema": s} for n, d, s in TOOLS],
                   "max_tokens": MAX_TOKENS, "stop_sequences": [STOP], "extra_body": {"temperature": TEMPERATURE}}
        if not self.stream:
            return self.client.messages.create(**options)
        with self.client.messages.stream(**options) as stream:
            return stream.get_final_message()

    def ask(self):
        message = self.send()
        assert message.stop_reason == "tool_use"
        self.messages.append({"role": "assistant", "content": message.content})
        self.calls = [block for block in message.content if block.type == "tool_use"]
        return [(call.name, call.input) for call in self.calls]

    def report(self):
        self.messages.append({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": text}]}
            for call, text in zip(self.calls, TEXTS)]})
        return "".join(block.text for block in self.send().content)


class GenAI(Client):
    request, path = "gemini", "/v1/models/*"
    says = {"image", "stop", "choice"}

    def start(self):
        from google import genai
        from google.genai import types
        self.types = types
        self.client = genai.Client(api_key="k", http_options={"base_url": self.base})
        self.contents = [types.Content(role="user", parts=[
            types.Part(text=QUESTION), types.Part.from_bytes(data=base64.b64decode(PIXEL), mime_type="image/png")])]

    def send(self):
        types = self.types
        config = types.GenerateContentConfig(
            system_instruction=SYSTEM, temperature=TEMPERATURE, max_output_tokens=MAX_TOKENS, stop_sequences=[STOP],
            tools=[types.Tool(function_declarations=[types.FunctionDeclaration(
                name=n, description=d, parameters_json_schema=s) for n, d, s in TOOLS])],
            tool_config=types.ToolConfig(function_calling_config=types.FunctionCallingConfig(mode="ANY")))
        options = {"model": "m-1", "contents": self.contents, "config": config}
        if not self.stream:
            return self.client.models.generate_content(**options).candidates[0].content.parts
        chunks = list(self.client.models.generate_content_stream(**options))
        return [part for chunk in chunks if chunk.candidates[0].content for part in chunk.candidates[0].content.parts or []]

    def ask(self):
        parts = self.send()
        self.contents.append(self.types.Content(role="model", parts=parts))
        self.calls = [part.function_call for part in parts if part.function_call]
        return [(call.name, call.args) for call in self.calls]

    def report(self):
        wrapped = [result if isinstance(result, dict) else {"output": result} for result in RESULTS]
        self.contents.append(self.types.Content(role="user", parts=[
            self.types.Part(function_response=self.types.FunctionResponse(id=call.id, name=call.name, response=result))
            for call, result in zip(self.calls, wrapped)]))
        return "".join(part.text for part in self.send() if part.text)


class Ollama(Client):
    request, path = "ollama-chat", "/api/chat"
    says = {"image", "stop"}

    def start(self):
        import ollama
        self.client = ollama.Client(host=self.base)
        self.messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION, "images": [PIXEL]}]

    def send(self):
        options = {"model": "m-1", "messages": self.messages, "tools": OPENAI_TOOLS, "stream": self.stream, "options": {
            "temperature": TEMPERATURE, "num_predict": MAX_TOKENS, "stop": [STOP]}}
        if not self.stream:
            return self.client.chat(**options).message
        parts = [chunk.message for chunk in self.client.chat(**options)]
        whole = parts[0]
        whole.content = "".join(part.content or "" for part in parts)
        whole.tool_calls = [call for part in parts for call in part.tool_calls or []] or None
        return whole

    def ask(self):
        message = self.send()
        self.messages.append(message)
        return [(call.function.name, dict(call.function.arguments)) for call in message.tool_calls]

    def report(self):
        self.messages += [{"role": "tool", "tool_name": name, "content": text} for (name, _), text in zip(CALLS, TEXTS)]
        return self.send().content


class Cohere(Client):
    request, path = "cohere", "/v2/chat"

    def start(self):
        import cohere
        self.client = cohere.ClientV2("k", base_url=self.base, log_warning_experimental_features=False)
        self.messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": [
            {"type": "text", "text": QUESTION}, {"type": "image_url", "image_url": {"url": URL}}]}]

    def send(self):
        options = {"model": "m-1", "messages": self.messages, "tools": OPENAI_TOOLS, "tool_choice": "REQUIRED",
                   "temperature": TEMPERATURE, "max_tokens": MAX_TOKENS, "stop_sequences": [STOP],
                   "request_options": {"max_retries": 0}}
        if not self.stream:
            message = self.client.chat(**options).message
            calls = [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls or []]
            return "".join(part.text for part in message.content or [] if part.type == "text"), calls, message.tool_plan
        text, plan, calls = "", "", {}
        for event in self.client.chat_stream(**options):
            if event.type == "content-delta":
                text += event.delta.message.content.text or ""
            elif event.type == "tool-plan-delta":
                plan += event.delta.message.tool_plan
            elif event.type == "tool-call-start":
                call = event.delta.message.tool_calls
                calls[event.index] = [call.id, call.function.name, ""]
            elif event.type == "tool-call-delta":
                calls[event.index][2] += event.delta.message.tool_calls.function.arguments
        return text, list(calls.values()), plan

    def ask(self):
        _, calls, plan = self.send()
        self.messages.append({"role": "assistant", "tool_plan": plan or "", "tool_calls": [
            {"id": id, "type": "function", "function": {"name": name, "arguments": text}} for id, name, text in calls]})
        self.ids = [id for id, _, _ in calls]
        return [(name, json.loads(text)) for _, name, text in calls]

    def report(self):
        self.messages += [{"role": "tool", "tool_call_id": id, "content": [
            {"type": "document", "document": {"data": text}}]} for id, text in zip(self.ids, TEXTS)]
        return self.send()[0]


class VercelUI(Client):
    """`useChat`: the page sends no tools and no settings, so the route has them."""
    request, path = "vercel-ui", "/ui"
    streams = (True,)

    def start(self):
        self.messages = [
            {"id": "s", "role": "system", "parts": [{"type": "text", "text": SYSTEM}]},
            {"id": "u", "role": "user", "parts": [{"type": "text", "text": QUESTION},
                                                  {"type": "file", "mediaType": "image/png", "url": URL}]}]

    def send(self):
        body = {"id": "chat", "messages": self.messages, "trigger": "submit-message"}
        return events(self.base + self.path, body)

    def ask(self):
        told = self.send()
        calls = [event for event in told if event["type"] == "tool-input-available"]
        self.messages.append({"id": "a", "role": "assistant", "parts": [{"type": "step-start"}, *(
            {"type": "tool-" + call["toolName"], "toolCallId": call["toolCallId"], "state": "output-available",
             "input": call["input"], "output": result} for call, result in zip(calls, RESULTS))]})
        for call in calls:
            text = "".join(event["inputTextDelta"] for event in told
                           if event["type"] == "tool-input-delta" and event["toolCallId"] == call["toolCallId"])
            assert json.loads(text) == call["input"], text
        return [(call["toolName"], call["input"]) for call in calls]

    def report(self):
        return "".join(event["delta"] for event in self.send() if event["type"] == "text-delta")


class AGUI(Client):
    request, path = "ag-ui", "/agent"
    streams = (True,)

    def start(self):
        self.messages = [{"id": "s", "role": "system", "content": SYSTEM}, {"id": "u", "role": "user", "content": [
            {"type": "text", "text": QUESTION},
            {"type": "image", "source": {"type": "data", "value": PIXEL, "mimeType": "image/png"}}]}]

    def send(self):
        from ag_ui.core import RunAgentInput
        run = {"threadId": "t", "runId": "r", "state": {}, "context": [], "forwardedProps": {}, "messages": self.messages,
               "tools": [{"name": n, "description": d, "parameters": s} for n, d, s in TOOLS]}
        return events(self.base + self.path, json.loads(RunAgentInput.model_validate(run).model_dump_json(by_alias=True)))

    def ask(self):
        calls = {}
        for event in self.send():
            if event["type"] == "TOOL_CALL_START":
                calls[event["toolCallId"]] = [event["toolCallName"], ""]
            elif event["type"] == "TOOL_CALL_ARGS":
                calls[event["toolCallId"]][1] += event["delta"]
        self.messages.append({"id": "a", "role": "assistant", "toolCalls": [
            {"id": id, "type": "function", "function": {"name": name, "arguments": text}}
            for id, (name, text) in calls.items()]})
        self.ids = list(calls)
        return [(name, json.loads(text)) for name, text in calls.values()]

    def report(self):
        self.messages += [{"id": f"t{index}", "role": "tool", "toolCallId": id, "content": text}
                          for index, (id, text) in enumerate(zip(self.ids, TEXTS))]
        return "".join(event["delta"] for event in self.send() if event["type"] == "TEXT_MESSAGE_CONTENT")


@functools.cache
def http():
    return httpx.Client(trust_env=False, verify=False)


def events(url, body):
    reply = http().post(url, json=body, headers={"accept": "text/event-stream"})
    assert reply.status_code == 200, reply.text
    return [json.loads(line[6:]) for line in reply.text.split("\n") if line.startswith("data: {")]


CLIENTS = (OpenAIChat, OpenAIResponses, Anthropic, GenAI, Ollama, Cohere, VercelUI, AGUI)
# Its clients send neither tools nor settings: those are the application's.
ROUTE = {"tools": OPENAI_TOOLS, "tool_choice": "required", "temperature": TEMPERATURE, "max_tokens": MAX_TOKENS, "stop": [STOP]}
SETTINGS = {key: ROUTE[key] for key in ("tool_choice", "temperature", "max_tokens", "stop")}


def config(port):
    upstreams = {kind.dialect: {"url": f"http://127.0.0.1:{port}/{kind.dialect}", "dialect": kind.dialect,
                                "api_key": "sk-own"} for kind in ALL}
    routes = []
    for client in CLIENTS:
        for kind in ALL:
            route = {"path": f"/{kind.dialect}{client.path}", "request": client.request, "response": client.request,
                     "upstream": kind.dialect, "drop_unsupported": True}
            if client in (VercelUI, AGUI):
                route |= {"model": "m-1", "defaults": ROUTE if client is VercelUI else SETTINGS}
            routes.append(route)
    return {"listeners": [{"address": "127.0.0.1:0"}], "workers": 1, "upstreams": upstreams, "routes": routes}


class Stage:
    """All providers on one port. The second request of a trip is the one that brings results."""

    def __init__(self):
        self.faults, self.requests = [], []
        self.asks = set()

    def script(self, connection, request):
        head, _, body = request.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        _, dialect, path = lines[0].split(" ")[1].split("/", 2)
        kind = next(kind for kind in ALL if kind.dialect == dialect)
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
        self.requests.append(body.decode())
        is_second = len(self.requests) > 1
        try:
            kind.check_head("/" + path, headers)
            # What both sides have words for arrives.
            asks = self.asks & kind.can
            (kind.check_second if is_second else kind.check_first)(json.loads(body), asks)
        except Exception as error:
            self.faults.append(f"{type(error).__name__}: {error}")
        answer(connection, kind, kind.text() if is_second else kind.call())


def trips(client):
    """One client and every provider."""
    failures, stage = [], Stage()
    with Peer(stage.script) as peer, Sluice(config(peer.port)) as proxy:
        for kind in ALL:
            for stream in client.streams:
                if not stream and client.request.split("-")[0] == kind.dialect.split("-")[0]:
                    continue  # its own provider is asked for a document, which these do not have
                stage.requests, stage.faults, stage.asks = [], [], client.says
                try:
                    one = client(proxy.port, kind.dialect, stream)
                    calls = one.ask()
                    assert calls == CALLS, calls
                    text = one.report()
                    assert text == ANSWER, text
                    assert len(stage.requests) == 2 and not stage.faults, stage.faults
                except Exception as error:
                    where = traceback.extract_tb(error.__traceback__)[-1]
                    failures.append(f"{kind.dialect}, stream={stream}: {type(error).__name__} at {where.name}:{where.lineno}: "
                                    f"{str(error)[:1500]}; faults {stage.faults}\n  {stage.requests[-1:]}"[:2500])
    assert not failures, f"{client.__name__}: {len(failures)} failed\n" + "\n".join(failures)


for _client in CLIENTS:
    globals()[f"test_{_client.__name__.lower()}"] = functools.partial(trips, _client)


def test_signatures_of_calls_come_back():
    """Gemini wants its signatures back with the calls that it signed: OpenAI's clients bring them, as they do to Google itself;
    for others there is a word that newer models take in their place."""
    for client, model, first in ((OpenAIChat, "m-1", "c2ln"), (OpenAIChat, "gemini-3-pro", "c2ln"),
                                 (Ollama, "m-1", None), (Ollama, "gemini-2.5-pro", None),
                                 (Ollama, "gemini-3-pro", "skip_thought_signature_validator"),
                                 (Anthropic, "models/gemini-10-x", "skip_thought_signature_validator")):
        for stream in client.streams:
            stage = Stage()
            with Peer(stage.script) as peer:
                told = config(peer.port)
                told["routes"] = [{**route, "model": model} for route in told["routes"]]
                with Sluice(told) as proxy:
                    one = client(proxy.port, "gemini", stream)
                    assert one.ask() == CALLS and one.report() == ANSWER
            turn = json.loads(stage.requests[-1])["contents"][1]
            told = [part.get("thoughtSignature") for part in turn["parts"] if "functionCall" in part]
            assert told == [first, "c2ln" if first == "c2ln" else None], (client, model, stream, told)
