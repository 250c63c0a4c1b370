"""Every recorded stream through `sluice convert` into every format, read back by readers that are not Sluice's.

What a recording says stands beside it in `expected.json`. What a format cannot say stands in LOSSES; everything else
has to arrive.
"""

import concurrent.futures
import json
import pathlib
import subprocess

from harness import BINARY
from readers import READERS, FormatError, read
from reading import is_json, same

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "Fixtures"
DIALECTS = {"gemini-array": "gemini", "gemini-sse": "gemini"}

#: The provider's words for why it ended; the rest is `other`.
FINISHES = {
    **dict.fromkeys(["stop", "end_turn", "stop_sequence", "pause_turn", "STOP", "1", "COMPLETE", "STOP_SEQUENCE",
                     "completed", "eos_token", "FINISH"], "stop"),
    **dict.fromkeys(["length", "max_tokens", "MAX_TOKENS", "LENGTH", "max_output_tokens", "model_length"], "length"),
    **dict.fromkeys(["tool_calls", "tool_use", "TOOL_CALL", "function_call"], "tool_calls"),
    **dict.fromkeys(["content_filter", "refusal", "SAFETY", "RECITATION", "guardrail_intervened",
                     "content_filtered"], "content_filter"),
    **dict.fromkeys(["failed", "ERROR"], "error"),
}

TEXT, REASONING, TOOLS, FINISH, USAGE, REFUSAL = "text", "reasoning", "tools", "finish", "usage", "refusal"
#: What a format has no words for. Refusals are told as text where they have no place of their own.
LOSSES = {
    "text": {REASONING, TOOLS, FINISH, USAGE, REFUSAL},
    "sse-text": {REASONING, TOOLS, REFUSAL},
    "sse-json": set(), "ndjson": set(), "openai-chat": set(), "openai-responses": set(),
    "openai-completions": {REASONING, TOOLS, REFUSAL},
    "anthropic": {REFUSAL}, "gemini": {REFUSAL}, "ollama-chat": {REFUSAL}, "ollama-generate": {TOOLS, REFUSAL},
    "cohere": {REFUSAL}, "vercel-ui": {REFUSAL}, "vercel-data": {REFUSAL}, "ag-ui": {REFUSAL},
    "mlflow": {REASONING, REFUSAL},
}
#: Figures that a format does not know.
FIGURES = {
    "anthropic": {"input", "output", "cached"}, "ollama-chat": {"input", "output"},
    "ollama-generate": {"input", "output"},
    "cohere": {"input", "output", "cached"}, "vercel-data": {"input", "output"}, "mlflow": {"input", "output"},
}
#: Formats that must give a figure, and give 0 where nobody knows it.
ZEROS = {"anthropic", "openai-responses"}
#: Words that a format lacks, and what it says in their place.
WORDS = {
    "openai-chat": {"other": "stop"}, "openai-completions": {"other": "stop", "tool_calls": "stop"},
    "openai-responses": {"other": "stop"}, "mlflow": {"other": "stop"}, "anthropic": {"other": "stop"},
    "ollama-chat": {"other": "stop", "content_filter": "stop"},
    "ollama-generate": {"other": "stop", "content_filter": "stop", "tool_calls": "stop"},
    "cohere": {"other": "stop", "content_filter": "stop"},
}
#: Formats whose tools have objects for arguments: a call whose arguments were cut is not told.
OBJECTS = {"gemini", "ollama-chat"}
#: Arguments that are free text and no JSON by right: where tools take objects, the answer cannot be told.
UNTELLABLE = {("openai-responses", "custom-tool.sse", format) for format in ("anthropic", "gemini", "ollama-chat")}
#: Formats that end by a finish, even if the provider gave none.
MUST_FINISH = {"openai-chat", "openai-completions", "openai-responses", "anthropic", "gemini", "ollama-chat",
               "ollama-generate", "cohere", "mlflow"}
#: Dialects whose way to end says as much as a reason.
ENDING_IS_FINISH = {"replicate"}


def cases():
    for path in sorted(FIXTURES.glob("*/*.expected.json")):
        if path.parent.name == "sse-wire":
            continue
        stem = path.name.removesuffix(".expected.json")
        recording = next(p for p in path.parent.glob(stem + ".*") if p != path and p.name.startswith(stem + "."))
        yield path.parent.name, recording, json.loads(path.read_text())


def usage(dialect, raw, name):
    """The figures that a recording's own usage object amounts to."""
    raw = raw or {}
    cached = (raw.get("prompt_tokens_details") or raw.get("input_tokens_details") or {}).get("cached_tokens")
    reasoning = (raw.get("completion_tokens_details") or raw.get("output_tokens_details") or {}).get("reasoning_tokens")
    output = next((raw[key] for key in ("completion_tokens", "output_tokens", "outputTokens", "eval_count",
                                        "outputTokenCount")
                   if raw.get(key) is not None), None)
    given = next((raw[key] for key in ("prompt_tokens", "input_tokens", "inputTokens", "prompt_eval_count",
                                       "inputTokenCount")
                  if raw.get(key) is not None), None)
    if dialect.startswith("anthropic") or (dialect.startswith("bedrock") and "input_tokens" in raw):
        cached = raw.get("cache_read_input_tokens")
        given = None if given is None else given + (cached or 0) + (raw.get("cache_creation_input_tokens") or 0)
    elif dialect.startswith("bedrock"):
        cached = raw.get("cacheReadInputTokens", raw.get("cacheReadInputTokenCount"))
        given = None if given is None else given + (cached or 0) + (raw.get("cacheWriteInputTokens") or 0)
    elif dialect.startswith("gemini"):
        given, cached, reasoning = (raw.get(key) for key in (
            "promptTokenCount", "cachedContentTokenCount", "thoughtsTokenCount"))
        visible = raw.get("candidatesTokenCount")
        output = None if visible is None and reasoning is None else (visible or 0) + (reasoning or 0)
    elif dialect == "cohere-v2":
        tokens = raw.get("tokens") or {}
        given, output, cached = tokens.get("input_tokens"), tokens.get("output_tokens"), raw.get("cached_tokens")
    elif reasoning and output is not None and raw.get("total_tokens") == given + output + reasoning:
        output += reasoning  # xAI counts its reasoning beside the output
    elif dialect == "watsonx":
        given, output = raw.get("input_token_count"), raw.get("generated_token_count")
    found = {"input": given, "output": output, "cached": cached, "reasoning": reasoning}
    return {key: value for key, value in found.items() if value is not None}


def convert(dialect, format, recording):
    command = [BINARY, "convert", "--from", DIALECTS.get(dialect, dialect), "--to", format]
    return subprocess.run(command, input=recording, capture_output=True, timeout=60)


def line_feeds(text):
    return text.replace("\r\n", "\n").replace("\r", "\n")


class Case:
    """One recording in one format: `faults` says what did not arrive."""

    def __init__(self, dialect, name, expected, format, result):
        self.dialect, self.name, self.expected, self.format = dialect, name, expected, format
        self.faults = []
        self.losses = LOSSES[format]
        ended = expected["terminated"] or expected["finish_reason"] is not None
        self.is_whole = expected["error"] is None and ended
        self.want("exit code", result.returncode, 0 if self.is_whole else 3)
        try:
            self.answer = read(format, result.stdout)
        except FormatError as error:
            self.answer = None
            if (dialect, name, format) not in UNTELLABLE:
                self.faults.append(f"{error}")
            return
        if (dialect, name, format) in UNTELLABLE:
            self.want("complete", self.answer.complete, False)
            return
        self.ending()
        self.texts()
        if TOOLS not in self.losses:
            self.tools()
        if self.is_whole:
            if FINISH not in self.losses:
                self.finish()
            if USAGE not in self.losses:
                self.usage()

    def want(self, what, got, wanted):
        if got != wanted:
            self.faults.append(f"{what} is {str(got)[:300]!r} and not {str(wanted)[:300]!r}")

    def ending(self):
        if self.format == "text":
            return
        self.want("complete", self.answer.complete, self.is_whole)
        self.want("an error", self.answer.error is not None, not self.is_whole)

    def texts(self):
        refusal = self.expected.get("refusal") or ""
        text = self.expected["text"]
        if REFUSAL in self.losses:
            text += refusal
        else:
            self.want("refusal", self.answer.refusal, refusal)
        self.run("text", line_feeds(text) if self.format == "sse-text" else text)
        if REASONING not in self.losses:
            self.run("reasoning", self.expected["reasoning"])

    def run(self, what, wanted):
        got = getattr(self.answer, what)
        if self.expected["error"] is not None and wanted.startswith(got):
            return  # what a provider sends behind its error is nobody's
        self.want(what, got, wanted)

    def tools(self):
        wanted = self.expected["tool_calls"]
        if self.format in OBJECTS:
            wanted = [call for call in wanted if is_json(call["arguments"] or "{}")]
            if self.expected["error"] is not None:
                wanted = wanted[:len(self.answer.tool_calls)]
        self.want("the calls' names", [call[1] for call in self.answer.tool_calls], [call["name"] for call in wanted])
        for (call_id, _, arguments), call in zip(self.answer.tool_calls, wanted):
            if call["id"]:
                self.want("a call's id", call_id, call["id"])
            self.arguments(arguments or "{}", call["arguments"] or "{}")

    def arguments(self, got, wanted):
        if is_json(wanted):
            if not is_json(got) or not same(json.loads(got), json.loads(wanted)):
                self.want("arguments", got, wanted)
        elif self.format not in OBJECTS:
            self.want("arguments", got, wanted)

    def finish(self):
        raw = self.expected.get("finish_detail") or self.expected["finish_reason"]
        wanted = None if raw is None else FINISHES.get(str(raw), "other")
        if self.expected.get("prompt_block_reason"):
            wanted = "content_filter"
        if wanted is None and (self.format in MUST_FINISH or self.dialect in ENDING_IS_FINISH):
            wanted = "stop"
        if wanted == "stop" and self.expected["tool_calls"]:
            wanted = "tool_calls"
        if wanted == "stop" and self.expected.get("refusal") and REFUSAL in self.losses:
            wanted = "content_filter"
        wanted = WORDS.get(self.format, {}).get(wanted, wanted)
        self.want("finish", self.answer.finish, wanted)

    def usage(self):
        wanted = usage(self.dialect, self.expected["usage"], self.name)
        if self.format in FIGURES:
            wanted = {key: value for key, value in wanted.items() if key in FIGURES[self.format]}
        got = self.answer.usage
        if self.format in ZEROS:
            got = {key: value for key, value in got.items() if value or key in wanted}
        self.want("usage", got, wanted)


def convert_all(formats):
    found = []
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        running = []
        for dialect, recording, expected in cases():
            data = recording.read_bytes()
            for format in formats:
                running.append((dialect, recording.name, expected, format, pool.submit(convert, dialect, format, data)))
        for dialect, name, expected, format, result in running:
            found.append(Case(dialect, name, expected, format, result.result()))
    return found


def check(formats):
    found = convert_all(formats)
    assert len(found) >= 220 * len(formats), len(found)
    broken = [f"{case.dialect}/{case.name} as {case.format}: {fault}" for case in found for fault in case.faults]
    assert not broken, f"{len(broken)} faults:\n" + "\n".join(broken)


def test_every_recording_in_sluices_own_formats():
    check(["text", "sse-text", "sse-json", "ndjson"])


def test_every_recording_in_the_formats_of_providers():
    own = {"text", "sse-text", "sse-json", "ndjson"}
    check([format for format in READERS if format not in own and format not in ("vercel-ui", "vercel-data", "ag-ui")])


def test_every_recording_in_the_formats_of_user_interfaces():
    check(["vercel-ui", "vercel-data", "ag-ui"])
