"""What an answer says, in no provider's words: read out of the recordings' expectations, and by each client out of what it got."""

import dataclasses
import json

FINISHES = {
    "stop": "stop", "end_turn": "stop", "stop_sequence": "stop", "pause_turn": "stop", "STOP": "stop", "COMPLETE": "stop",
    "completed": "stop", "eos_token": "stop", "FINISH": "stop", "STOP_SEQUENCE": "stop",
    "length": "length", "max_tokens": "length", "MAX_TOKENS": "length", "max_output_tokens": "length", "LENGTH": "length",
    "model_length": "length",
    "tool_calls": "tool-calls", "tool_use": "tool-calls", "TOOL_CALL": "tool-calls",
    "content_filter": "content-filter", "refusal": "content-filter", "SAFETY": "content-filter",
    "RECITATION": "content-filter", "guardrail_intervened": "content-filter",
    "error": "error", "ERROR": "error", "failed": "error",
}


@dataclasses.dataclass(frozen=True)
class Call:
    """A tool call. Ids are compared where the provider gave one: else any will do, but there must be one."""
    id: str | None
    name: str
    arguments: object


@dataclasses.dataclass
class Answer:
    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: list = dataclasses.field(default_factory=list)
    finish: str | None = None
    input: int | None = None
    output: int | None = None


def finish_of(word, calls=()):
    reason = FINISHES.get(word, "other")
    return "tool-calls" if calls and reason == "stop" else reason


def parsed(arguments):
    """Arguments as JSON, none as `{}`; as text if they are cut."""
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return arguments


def expected(dialect, told):
    """The answer that an `expected.json` tells."""
    calls = [Call(call["id"] or None, call["name"], parsed(call["arguments"])) for call in told["tool_calls"]]
    word = told.get("finish_detail") or told["finish_reason"]
    if "prompt_block_reason" in told:
        word = "content_filter"
    answer = Answer(told["text"], told["reasoning"], told.get("refusal") or "", calls, finish_of(word, calls))
    if dialect in ("gemini-sse", "gemini-array") and answer.finish == "other" and word == 1:
        answer.finish = "stop"  # an enum's number for STOP
    answer.input, answer.output = tokens(dialect, told["usage"] or {})
    return answer


def tokens(dialect, usage):
    """Input with what was cached, output with what was thought (formats: usage)."""
    def total(*names):
        counts = [usage.get(name) for name in names]
        return None if counts[0] is None else sum(count or 0 for count in counts)

    if dialect in ("openai-chat", "openai-completions"):
        return total("prompt_tokens"), total("completion_tokens")
    if dialect == "openai-responses":
        return total("input_tokens"), total("output_tokens")
    if dialect.startswith("anthropic"):
        return total("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"), total("output_tokens")
    if dialect.startswith("gemini"):
        return total("promptTokenCount"), total("candidatesTokenCount", "thoughtsTokenCount")
    if dialect.startswith("cohere"):
        return (usage.get("tokens") or {}).get("input_tokens"), (usage.get("tokens") or {}).get("output_tokens")
    if dialect.startswith("ollama"):
        return total("prompt_eval_count"), total("eval_count")
    if dialect == "bedrock-converse":
        return (total("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens"), total("outputTokens"))
    return None, None
