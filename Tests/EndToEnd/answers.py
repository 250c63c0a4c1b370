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


@dataclasses.dataclass
class Call:
    """A tool call."""
    id: str | None
    name: str
    arguments: object

    def __eq__(self, other):
        # Where the provider gave no id any will do, but there must be one.
        same_id = self.id == other.id if self.id and other.id else bool(self.id or other.id)
        return same_id and (self.name, self.arguments) == (other.name, other.arguments)


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
    if word is None and told["terminated"] and not told["error"]:
        word = "stop"  # ended by its provider, who gave no reason
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
        thought = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
        # xAI counts what was thought apart.
        is_apart = thought and usage.get("total_tokens") == usage["prompt_tokens"] + usage["completion_tokens"] + thought
        return total("prompt_tokens"), total("completion_tokens") if not is_apart else usage["completion_tokens"] + thought
    if dialect == "openai-responses":
        return total("input_tokens"), total("output_tokens")
    if dialect.startswith("anthropic"):
        return total("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"), total("output_tokens")
    if dialect.startswith("gemini"):
        return total("promptTokenCount"), total("candidatesTokenCount", "thoughtsTokenCount")
    if dialect == "cohere-v2":
        return (usage.get("tokens") or {}).get("input_tokens"), (usage.get("tokens") or {}).get("output_tokens")
    if dialect.startswith("ollama"):
        return total("prompt_eval_count"), total("eval_count")
    if dialect == "bedrock-converse":
        return (total("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens"), total("outputTokens"))
    for names in NAMES:
        if names[0] in usage:
            return total(names[0]), total(names[1])
    return None, None


NAMES = (("input_tokens", "output_tokens"), ("inputTokens", "outputTokens"), ("inputTokenCount", "outputTokenCount"),
         ("input_token_count", "generated_token_count"))
