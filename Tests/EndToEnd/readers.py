"""Independent readers, one for each format that Sluice writes: what a client ends up with, or why it would choke.

They are written from the formats' own rules, share nothing with the encoders, and forbid all that a strict client does.
"""

import readers_openai
import readers_own
import readers_providers
import readers_ui
from reading import Answer, FormatError
from readers_ui import validate_vercel_ui

READERS = {
    "text": readers_own.text,
    "sse-text": readers_own.sse_text,
    "sse-json": readers_own.sse_json,
    "ndjson": readers_own.ndjson,
    "openai-chat": readers_openai.chat,
    "openai-responses": readers_openai.responses,
    "openai-completions": readers_openai.completions,
    "anthropic": readers_providers.anthropic,
    "gemini": readers_providers.gemini,
    "ollama-chat": readers_providers.ollama_chat,
    "ollama-generate": readers_providers.ollama_generate,
    "cohere": readers_providers.cohere,
    "vercel-ui": validate_vercel_ui,
    "vercel-data": readers_ui.vercel_data,
    "ag-ui": readers_ui.ag_ui,
    "mlflow": readers_openai.mlflow,
}


def read(format: str, body: bytes) -> Answer:
    """Raises FormatError for whatever the format's rules forbid."""
    try:
        return READERS[format](body)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        # Whatever is not where a reader looks for it is a fault of the stream.
        raise FormatError(f"{format}: {error!r}") from error


__all__ = ["Answer", "FormatError", "READERS", "read", "validate_vercel_ui"]
