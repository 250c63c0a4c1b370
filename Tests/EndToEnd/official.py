"""The providers' own Python clients, each pointed at the proxy and read as its users read it.

A client is imported when it is first made: together they take seconds. Its `read` takes the events of a stream and `whole` one
document; both give an `Answer`. `errors` are what its users catch: the library's own types, and those of its HTTP library where
it lets them through.
"""

import asyncio
import functools
import importlib.util

from answers import Answer, Call, finish_of, parsed


class ToldInStream(Exception):
    """An error that the library hands over as an event."""


def extras(value, allowed=(), path=""):
    """Where pydantic models, and what is in them, hold fields that the library does not know."""
    found = []
    for name in getattr(value, "model_extra", None) or {}:
        if name not in allowed:
            found.append(f"{path}.{name}")
    if hasattr(type(value), "model_fields"):
        for name in type(value).model_fields:
            found += extras(getattr(value, name, None), allowed, f"{path}.{name}")
    elif isinstance(value, (list, tuple)):
        for index, element in enumerate(value):
            found += extras(element, allowed, f"{path}[{index}]")
    return found


def known(value, allowed=()):
    found = extras(value, allowed)
    assert not found, f"{type(value).__name__} has fields that the library does not know: {found}"
    return value


class Client:
    name = ""
    request = ""
    has_calls = has_reasoning = has_refusal = True
    # It asks for usage in its streams; and cannot do without it in documents.
    asks_for_usage = True
    needs_usage = False
    # It must have figures where nobody knows them.
    has_zeros = False
    # What the format has no word for, and says instead.
    weaker = {}

    def __init__(self, port):
        self.base = f"http://127.0.0.1:{port}"

    def stream(self, upstream, prompt):
        return self.read(list(self.events(upstream, prompt)))

    def until_error(self, upstream, prompt):
        """The text that came before the error that the library raised, and the error; None if it raised none."""
        text = ""
        try:
            for event in self.events(upstream, prompt):
                self.check(event)
                text += self.text_of(event) or ""
        except self.errors as error:
            return text, error
        return text, None

    @classmethod
    def chosen(cls, found):
        """Of the recordings, those that the client can be told of in a stream."""
        return found

    def status_of(self, error):
        return error.status_code

    def words(self, error):
        return str(error)

    def check(self, event):
        """Raises if the event tells of an error that the library does not raise itself."""

    def expects(self, answer):
        """What is left of an answer in this format."""
        text = answer.text if self.has_refusal else answer.text + answer.refusal
        finish = answer.finish
        if answer.refusal and not self.has_refusal and finish == "stop":
            finish = "content-filter"
        if not self.has_calls and finish == "tool-calls":
            finish = "stop"
        unknown = 0 if self.has_zeros else None
        return Answer(text, answer.reasoning if self.has_reasoning else "", answer.refusal if self.has_refusal else "",
                      answer.calls if self.has_calls else [], self.weaker.get(finish, finish),
                      unknown if answer.input is None else answer.input, unknown if answer.output is None else answer.output)


class OpenAI(Client):
    # Every event and document is validated against the library's types.
    is_strict = True

    def __init__(self, port):
        super().__init__(port)
        import openai
        self.library = openai
        self.errors = (openai.APIError, ToldInStream)
        self.options = {"base_url": self.base + "/v1", "api_key": "k", "max_retries": 0,
                        "_strict_response_validation": self.is_strict}
        self.client = openai.OpenAI(**self.options)

    @functools.cached_property
    def asynchronous(self):
        return self.library.AsyncOpenAI(**self.options)

    def stream_async(self, upstream, prompt):
        async def collect():
            return [event async for event in await self.create(self.asynchronous, upstream, prompt, stream=True)]
        return self.read(RUNNER.run(collect()))

    def events(self, upstream, prompt):
        return self.create(self.client, upstream, prompt, stream=True)

    def whole(self, upstream, prompt):
        return self.read_whole(self.create(self.client, upstream, prompt, stream=False))

    def whole_async(self, upstream, prompt):
        async def get():
            return await self.create(self.asynchronous, upstream, prompt, stream=False)
        return self.read_whole(RUNNER.run(get()))

    def status_errors(self):
        return {429: self.library.RateLimitError, 400: self.library.BadRequestError}

    def retry_after(self, error):
        return error.response.headers["retry-after"]


class OpenAIChat(OpenAI):
    name = request = "openai-chat"
    weaker = {"other": "stop", "error": "stop"}
    # What DeepSeek, vLLM and most front ends call it, and where Google has its signatures; kept as extra fields.
    allowed = ("reasoning_content", "extra_content")

    def create(self, client, upstream, prompt, stream):
        options = {"stream_options": {"include_usage": True}} if stream else {}
        return client.chat.completions.create(
            model=upstream, messages=[{"role": "user", "content": prompt}], stream=stream, **options)

    def text_of(self, event):
        return "".join(choice.delta.content or "" for choice in event.choices)

    def read(self, events):
        answer, calls = Answer(), {}
        assert len({(event.id, event.model, event.created) for event in events}) == 1, "one head on every chunk"
        for event in events:
            known(event, self.allowed)
            if event.usage:
                answer.input, answer.output = event.usage.prompt_tokens, event.usage.completion_tokens
                assert event.usage.total_tokens == answer.input + answer.output
            for choice in event.choices:
                if choice.index != 0:
                    continue
                assert answer.finish is None, "nothing after the finish"
                answer.text += choice.delta.content or ""
                answer.refusal += choice.delta.refusal or ""
                answer.reasoning += (choice.delta.model_extra or {}).get("reasoning_content") or ""
                for part in choice.delta.tool_calls or []:
                    call = calls.setdefault(part.index, {"id": "", "name": "", "arguments": ""})
                    call["id"] += part.id or ""
                    call["name"] += part.function.name or ""
                    call["arguments"] += part.function.arguments or ""
                if choice.finish_reason:
                    answer.finish = finish_of(choice.finish_reason)
        answer.calls = [Call(c["id"], c["name"], parsed(c["arguments"])) for _, c in sorted(calls.items())]
        return answer

    def read_whole(self, document):
        known(document, self.allowed)
        choice = document.choices[0]
        message = choice.message
        calls = [Call(c.id, c.function.name, parsed(c.function.arguments)) for c in message.tool_calls or []]
        usage = document.usage
        return Answer(message.content or "", (message.model_extra or {}).get("reasoning_content") or "",
                      message.refusal or "", calls, finish_of(choice.finish_reason),
                      usage and usage.prompt_tokens, usage and usage.completion_tokens)


class OpenAIResponses(OpenAI):
    name = request = "openai-responses"
    weaker = {"other": "stop", "error": "stop"}

    def create(self, client, upstream, prompt, stream):
        return client.responses.create(model=upstream, input=prompt, stream=stream)

    def check(self, event):
        known(event)
        # The first tells, the second ends; the library hands over both.
        if event.type == "response.failed":
            raise ToldInStream(event.response.error.message)

    def text_of(self, event):
        return event.delta if event.type == "response.output_text.delta" else ""

    def read(self, events):
        for event in events:
            self.check(event)
        assert [event.sequence_number for event in events] == list(range(len(events)))
        assert events[0].type == "response.created"
        assert events[-1].type in ("response.completed", "response.incomplete"), events[-1].type
        final = self.read_whole(events[-1].response)
        # The last event repeats what the deltas told.
        for kind, told in (("response.output_text.delta", final.text), ("response.refusal.delta", final.refusal),
                           ("response.reasoning_summary_text.delta", final.reasoning)):
            assert "".join(event.delta for event in events if event.type == kind) == told, kind
        arguments = {}
        for event in events:
            if event.type == "response.function_call_arguments.delta":
                arguments[event.output_index] = arguments.get(event.output_index, "") + event.delta
        assert [parsed(text) for _, text in sorted(arguments.items())] == [call.arguments for call in final.calls]
        return final

    def read_whole(self, response):
        known(response)
        answer = Answer()
        for item in response.output:
            if item.type == "message":
                for part in item.content:
                    if part.type == "refusal":
                        answer.refusal += part.refusal
                    else:
                        answer.text += part.text
            elif item.type == "reasoning":
                answer.reasoning += "".join(part.text for part in item.summary)
            elif item.type == "function_call":
                answer.calls.append(Call(item.call_id, item.name, parsed(item.arguments)))
            else:
                raise AssertionError(item.type)
        assert response.output_text == answer.text
        word = response.incomplete_details.reason if response.incomplete_details else response.status
        answer.finish = finish_of(word, answer.calls)
        if response.usage:
            answer.input, answer.output = response.usage.input_tokens, response.usage.output_tokens
        return answer


class OpenAICompletions(OpenAI):
    name = request = "openai-completions"
    has_calls = has_reasoning = has_refusal = False
    # Its type of a choice wants a finish in each event, which OpenAI itself does not send.
    is_strict = False
    weaker = {"other": "stop", "error": "stop"}

    def create(self, client, upstream, prompt, stream):
        options = {"stream_options": {"include_usage": True}} if stream else {}
        return client.completions.create(model=upstream, prompt=prompt, stream=stream, **options)

    def text_of(self, event):
        return "".join(choice.text for choice in event.choices)

    def read(self, events):
        answer = Answer()
        for event in events:
            known(event)
            if event.usage:
                answer.input, answer.output = event.usage.prompt_tokens, event.usage.completion_tokens
            for choice in event.choices:
                if choice.index == 0:
                    answer.text += choice.text
                    answer.finish = finish_of(choice.finish_reason) if choice.finish_reason else answer.finish
        return answer

    def read_whole(self, document):
        known(document)
        choice, usage = document.choices[0], document.usage
        return Answer(choice.text, finish=finish_of(choice.finish_reason), input=usage and usage.prompt_tokens,
                      output=usage and usage.completion_tokens)


class Anthropic(Client):
    name = request = "anthropic"
    has_refusal = False
    has_zeros = True
    weaker = {"other": "stop", "error": "stop"}

    def __init__(self, port):
        super().__init__(port)
        import anthropic
        self.library = anthropic
        http = tuple(getattr(module, "HTTPError") for module in http_libraries())
        self.errors = (anthropic.APIError, *http)
        self.options = {"base_url": self.base, "api_key": "k", "max_retries": 0, "_strict_response_validation": True}
        self.client = anthropic.Anthropic(**self.options)

    @functools.cached_property
    def asynchronous(self):
        return self.library.AsyncAnthropic(**self.options)

    @staticmethod
    def said(upstream, prompt):
        return {"model": upstream, "max_tokens": 64, "messages": [{"role": "user", "content": prompt}]}

    def events(self, upstream, prompt):
        return self.client.messages.create(**self.said(upstream, prompt), stream=True)

    def stream(self, upstream, prompt):
        raw = self.read(list(self.events(upstream, prompt)))
        # The helper that most people use puts the message together itself.
        with self.client.messages.stream(**self.said(upstream, prompt)) as stream:
            final = self.read_whole(stream.get_final_message())
        for mine, theirs in zip(raw.calls, final.calls, strict=True):
            # An id that was made up is another one each time, and the helper reads as much of cut arguments as it can.
            theirs.id = mine.id
            theirs.arguments = mine.arguments if isinstance(mine.arguments, str) else theirs.arguments
        assert raw == final, (raw, final)
        return raw

    def stream_async(self, upstream, prompt):
        async def collect():
            stream = await self.asynchronous.messages.create(**self.said(upstream, prompt), stream=True)
            return [event async for event in stream]
        return self.read(RUNNER.run(collect()))

    def text_of(self, event):
        return event.delta.text if event.type == "content_block_delta" and event.delta.type == "text_delta" else ""

    def read(self, events):
        answer, blocks, usage, opened = Answer(), [], None, None
        for event in events:
            known(event)
            if event.type == "message_start":
                usage = event.message.usage
                answer.input, answer.output = self.tokens(usage)
            elif event.type == "content_block_start":
                assert opened is None and event.index == len(blocks), "blocks do not nest"
                opened = event.index
                blocks.append([event.content_block, ""])
            elif event.type == "content_block_delta":
                assert event.index == opened
                delta = event.delta
                if delta.type == "text_delta":
                    answer.text += delta.text
                elif delta.type == "thinking_delta":
                    answer.reasoning += delta.thinking
                elif delta.type == "input_json_delta":
                    blocks[opened][1] += delta.partial_json
                else:
                    assert delta.type == "signature_delta", delta.type
            elif event.type == "content_block_stop":
                assert event.index == opened
                opened = None
            elif event.type == "message_delta":
                assert opened is None
                answer.finish = finish_of(event.delta.stop_reason)
                total = self.tokens(event.usage)
                answer.input = answer.input if total[0] is None else total[0]
                answer.output = total[1]
        assert events[-1].type == "message_stop"
        answer.calls = [Call(block.id, block.name, parsed(text)) for block, text in blocks if block.type == "tool_use"]
        return answer

    @staticmethod
    def tokens(usage):
        if usage.input_tokens is None:
            return None, usage.output_tokens
        return (usage.input_tokens + (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0),
                usage.output_tokens)

    def whole(self, upstream, prompt):
        return self.read_whole(self.client.messages.create(**self.said(upstream, prompt)))

    def whole_async(self, upstream, prompt):
        async def get():
            return await self.asynchronous.messages.create(**self.said(upstream, prompt))
        return self.read_whole(RUNNER.run(get()))

    def read_whole(self, message):
        known(message, ("parsed_output",))
        answer = Answer(finish=finish_of(message.stop_reason))
        for block in message.content:
            if block.type == "text":
                answer.text += block.text
            elif block.type == "thinking":
                answer.reasoning += block.thinking
            else:
                answer.calls.append(Call(block.id, block.name, block.input))
        answer.input, answer.output = self.tokens(message.usage)
        return answer

    def status_errors(self):
        return {429: self.library.RateLimitError, 400: self.library.BadRequestError}

    def retry_after(self, error):
        return error.response.headers["retry-after"]


class Cohere(Client):
    name = request = "cohere"
    has_refusal = False
    # Cohere itself sends these in the first event.
    allowed = ("content", "tool_plan", "tool_calls", "citations")
    weaker = {"other": "stop", "error": "stop", "content-filter": "stop"}

    def __init__(self, port):
        super().__init__(port)
        import cohere
        import cohere.core.api_error
        self.library = cohere
        self.errors = (cohere.core.api_error.ApiError, ToldInStream, *(m.HTTPError for m in http_libraries()))
        self.client = cohere.ClientV2("k", base_url=self.base, log_warning_experimental_features=False)

    def said(self, upstream, prompt):
        return {"model": upstream, "messages": [{"role": "user", "content": prompt}],
                "request_options": {"max_retries": 0}}

    def events(self, upstream, prompt):
        return self.client.chat_stream(**self.said(upstream, prompt))

    def check(self, event):
        if event.type == "message-end" and event.delta.finish_reason == "ERROR":
            raise ToldInStream(event.delta.error)

    def text_of(self, event):
        return event.delta.message.content.text if event.type == "content-delta" else ""

    def read(self, events):
        answer, calls, opened = Answer(), {}, None
        assert events[0].type == "message-start" and events[0].id, events[0]
        for event in events:
            known(event, self.allowed if event.type == "message-start" else ())
            if event.type == "content-start":
                assert opened is None
                opened = event.index
            elif event.type == "content-delta":
                assert event.index == opened
                answer.text += event.delta.message.content.text or ""
                answer.reasoning += event.delta.message.content.thinking or ""
            elif event.type == "content-end":
                assert event.index == opened
                opened = None
            elif event.type == "tool-call-start":
                call = event.delta.message.tool_calls
                assert event.index not in calls and call.type == "function"
                calls[event.index] = [call.id, call.function.name, call.function.arguments or ""]
            elif event.type == "tool-call-delta":
                calls[event.index][2] += event.delta.message.tool_calls.function.arguments
            elif event.type == "message-end":
                self.check(event)
                answer.finish = finish_of(event.delta.finish_reason)
                answer.input, answer.output = self.tokens(event.delta.usage)
        assert events[-1].type == "message-end", events[-1].type
        answer.calls = [Call(id, name, parsed(text)) for _, (id, name, text) in sorted(calls.items())]
        return answer

    @staticmethod
    def tokens(usage):
        counts = usage and usage.tokens
        return counts and counts.input_tokens, counts and counts.output_tokens

    def whole(self, upstream, prompt):
        reply = known(self.client.chat(**self.said(upstream, prompt)))
        if reply.finish_reason == "ERROR":
            raise ToldInStream(reply)
        parts = reply.message.content or []
        answer = Answer("".join(part.text for part in parts if part.type == "text"),
                        "".join(part.thinking for part in parts if part.type == "thinking"))
        answer.calls = [Call(call.id, call.function.name, parsed(call.function.arguments))
                        for call in reply.message.tool_calls or []]
        answer.finish = finish_of(reply.finish_reason)
        answer.input, answer.output = self.tokens(reply.usage)
        return answer

    def status_errors(self):
        return {429: self.library.TooManyRequestsError, 400: self.library.BadRequestError}

    def retry_after(self, error):
        return error.headers["retry-after"]


class GenAI(Client):
    name = "google-genai"
    request = "gemini"
    has_refusal = False
    weaker = {"error": "other"}

    def __init__(self, port):
        super().__init__(port)
        from google import genai
        from google.genai import errors, types
        self.types = types
        self.library = errors
        self.errors = (errors.APIError, *(m.HTTPError for m in http_libraries()))
        self.client = genai.Client(api_key="k", http_options={"base_url": self.base})

    def expects(self, answer):
        told = super().expects(answer)
        # Ids are optional here, and arguments always an object.
        told.calls = [Call(call.id or "unnamed", call.name, call.arguments)
                      for call in told.calls if isinstance(call.arguments, dict)]
        return told

    def said(self, upstream, prompt):
        return {"model": "model-1", "contents": prompt, "config": self.types.GenerateContentConfig(
            http_options={"headers": {"x-upstream": upstream}})}

    def events(self, upstream, prompt):
        return self.client.models.generate_content_stream(**self.said(upstream, prompt))

    def text_of(self, event):
        return event.text

    def read(self, events):
        answer = Answer()
        for event in events:
            self.add(event, answer)
        answer.finish = finish_of(answer.finish, answer.calls)
        return answer

    def add(self, event, answer):
        for candidate in event.candidates or []:
            if candidate.index:
                continue
            assert answer.finish is None, "nothing after the finish"
            for part in (candidate.content and candidate.content.parts) or []:
                if part.function_call:
                    call = part.function_call
                    answer.calls.append(Call(call.id or "unnamed", call.name, call.args or {}))
                elif part.thought:
                    answer.reasoning += part.text or ""
                else:
                    answer.text += part.text or ""
            if candidate.finish_reason:
                answer.finish = candidate.finish_reason.value
        usage = event.usage_metadata
        if usage and usage.prompt_token_count is not None:
            answer.input = usage.prompt_token_count
        if usage and usage.candidates_token_count is not None:
            answer.output = usage.candidates_token_count + (usage.thoughts_token_count or 0)

    def whole(self, upstream, prompt):
        return self.read([self.client.models.generate_content(**self.said(upstream, prompt))])

    def status_errors(self):
        return {429: self.library.ClientError, 400: self.library.ClientError}

    def status_of(self, error):
        return error.code

    def retry_after(self, error):
        return error.response.headers["retry-after"]


class Ollama(Client):
    name = "ollama"
    request = "ollama-chat"
    has_refusal = False
    weaker = {"other": "stop", "error": "stop", "content-filter": "stop"}

    def __init__(self, port):
        super().__init__(port)
        import ollama
        self.library = ollama
        self.errors = (ollama.ResponseError, *(m.HTTPError for m in http_libraries()))
        self.client = ollama.Client(host=self.base)

    def said(self, upstream, prompt):
        return {"model": upstream, "messages": [{"role": "user", "content": prompt}]}

    def events(self, upstream, prompt):
        return self.client.chat(**self.said(upstream, prompt), stream=True)

    def text_of(self, event):
        return event.message.content

    def read(self, events):
        assert [bool(event.done) for event in events] == [False] * (len(events) - 1) + [True], "done comes last"
        answer = Answer()
        for event in events:
            assert event.created_at.endswith("Z") and event.model
            answer.text += event.message.content or ""
            answer.reasoning += event.message.thinking or ""
            for call in event.message.tool_calls or []:
                answer.calls.append(Call("unnamed", call.function.name, dict(call.function.arguments)))
        last = events[-1]
        answer.finish = finish_of(last.done_reason, answer.calls)
        answer.input, answer.output = last.prompt_eval_count, last.eval_count
        return answer

    def expects(self, answer):
        told = super().expects(answer)
        # It has no ids, only whole calls, and its calls need no reason of their own.
        told.calls = [Call("unnamed", call.name, call.arguments) for call in told.calls if isinstance(call.arguments, dict)]
        return told

    def whole(self, upstream, prompt):
        return self.read([self.client.chat(**self.said(upstream, prompt))])

    def status_errors(self):
        return {429: self.library.ResponseError, 400: self.library.ResponseError}

    def retry_after(self, error):
        return "7"  # the library drops the fields

    def words(self, error):
        return getattr(error, "error", str(error))


class Mistral(Client):
    """Mistral's client, which speaks OpenAI's chat and is stricter about it.

    It wants tool calls in one piece and takes no refusals; it asks for no usage, as its own provider always sends it.
    """
    name = "mistralai"
    request = "openai-chat"
    weaker = {"other": "stop", "error": "stop"}
    has_reasoning = has_refusal = False
    asks_for_usage = False
    needs_usage = True

    def __init__(self, port):
        super().__init__(port)
        from mistralai.client import Mistral as library, errors
        self.library = errors
        self.errors = (errors.MistralError, ValueError, *(m.HTTPError for m in http_libraries()))
        self.client = library(api_key="k", server_url=self.base)

    @classmethod
    def chosen(cls, found):
        return [one for one in found if not one.answer.calls and not one.answer.refusal][::5]

    def words(self, error):
        # What is no chunk is a fault to it, whose cause it shows in part.
        return getattr(error, "body", "") + str(error.__cause__)

    def said(self, upstream, prompt):
        return {"model": upstream, "messages": [{"role": "user", "content": prompt}]}

    def events(self, upstream, prompt):
        return self.client.chat.stream(**self.said(upstream, prompt))

    def text_of(self, event):
        return "".join(choice.delta.content or "" for choice in event.data.choices)

    def read(self, events):
        answer, calls = Answer(), {}
        for event in events:
            for choice in event.data.choices:
                if choice.index:
                    continue
                answer.text += choice.delta.content or ""
                for part in choice.delta.tool_calls or []:
                    call = calls.setdefault(part.index or 0, ["", "", ""])
                    call[0] += part.id if part.id and part.id != "null" else ""
                    call[1] += part.function.name
                    call[2] += part.function.arguments
                answer.finish = finish_of(choice.finish_reason) if choice.finish_reason else answer.finish
            if event.data.usage:
                answer.input, answer.output = event.data.usage.prompt_tokens, event.data.usage.completion_tokens
        answer.calls = [Call(id, name, parsed(text)) for _, (id, name, text) in sorted(calls.items())]
        return answer

    def whole(self, upstream, prompt):
        reply = self.client.chat.complete(**self.said(upstream, prompt))
        choice = reply.choices[0]
        calls = [Call(c.id, c.function.name, parsed(c.function.arguments)) for c in choice.message.tool_calls or []]
        return Answer(choice.message.content or "", calls=calls, finish=finish_of(choice.finish_reason),
                      input=reply.usage.prompt_tokens, output=reply.usage.completion_tokens)

    def status_errors(self):
        return {429: self.library.SDKError, 400: self.library.SDKError}

    def retry_after(self, error):
        return error.headers["retry-after"]


class Runner:
    """One event loop for all the asynchronous clients, whose connections belong to it."""

    def __init__(self):
        self.loop = None

    def run(self, work):
        self.loop = self.loop or asyncio.new_event_loop()
        return self.loop.run_until_complete(work)


RUNNER = Runner()
ALL = (OpenAIChat, OpenAIResponses, OpenAICompletions, Anthropic, Cohere, GenAI, Ollama, Mistral)


def http_libraries():
    """`httpx`, and its successor where the installed clients use it."""
    return [importlib.import_module(name) for name in ("httpx", "httpx2") if importlib.util.find_spec(name)]


