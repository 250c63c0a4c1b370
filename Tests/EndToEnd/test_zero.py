"""Zero configuration: `sluice run` with nothing but the variables of the providers' SDKs, and these SDKs as its clients."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import threading

import anthropic
import cohere
import ollama
import openai
from google import genai
from mistralai.client import Mistral

from harness import BINARY, Peer, Reply, chunk, connect, drain, fetch, until

FIXTURES = pathlib.Path(__file__).parents[1] / "Fixtures"
MESSAGES = [{"role": "user", "content": "hi"}]
KEY = "sk-canary-real"
# Which recording answers a path's last words, and its content type.
RECORDED = [
    ("/chat/completions", "openai-chat/text-nousage.sse", "text/event-stream"),
    ("/v1/messages", "anthropic-messages/text-2.sse", "text/event-stream"),
    (":streamGenerateContent", "gemini-sse/text.sse", "text/event-stream"),
    ("/v2/chat", "cohere-v2/chat.sse", "text/event-stream"),
    ("/api/chat", "ollama-chat/text.ndjson", "application/x-ndjson"),
]


def recorded(ending):
    """A recording's bytes, its type and its text."""
    name, kind = next((name, kind) for known, name, kind in RECORDED if known == ending)
    path = FIXTURES / name
    if not path.exists():
        path = sorted(path.parent.glob("text*" + path.suffix))[0]
    return path.read_bytes(), kind, json.loads(path.with_suffix(".expected.json").read_text())["text"]


class Provider(Peer):
    """Answers each provider's own path with a recording, and any other with what it was asked."""

    def __init__(self):
        super().__init__(self.answer)
        self.url = f"http://127.0.0.1:{self.port}"

    @staticmethod
    def answer(connection, request):
        head = request.split(b"\r\n\r\n")[0].decode()
        path = head.split()[1].split("?")[0]
        ending = next((known for known, _, _ in RECORDED if path.endswith(known)), None)
        if ending and head.startswith("POST"):
            body, kind, _ = recorded(ending)
            connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
                               + chunk(body) + b"0\r\n\r\n")
            return
        data = [{"object": "embedding", "index": 0, "embedding": [0.5]}] if path.endswith("/embeddings") else []
        document = json.dumps({"object": "list", "data": data, "models": [], "input_tokens": 7, "path": path}).encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                           % (len(document), document))

    def last(self):
        """Of the newest request: method, path, fields, body."""
        head, body = self.requests[-1].split(b"\r\n\r\n", 1)
        lines = head.decode().split("\r\n")
        fields = {}
        for name, value in (line.split(": ", 1) for line in lines[1:]):
            fields.setdefault(name.lower(), []).append(value)
        return lines[0].split()[0], lines[0].split()[1], fields, body


class Zero:
    """`sluice run` without a file, and with no variable but these."""

    def __init__(self, *arguments, listens=True, **variables):
        self.log, self.errors = [], ""
        environment = {"PATH": os.environ["PATH"], **variables}
        environment.update({k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")})
        arguments = arguments or ("--listen", "127.0.0.1:0")
        self.process = subprocess.Popen([BINARY, "run", *arguments], env=environment, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        self.readers = [threading.Thread(target=read, daemon=True) for read in (self._log, self._errors)]
        for reader in self.readers:
            reader.start()
        if listens:
            address = until(lambda: self.events("listening"), 20, "listening")[0]["address"]
            self.port = int(address.rsplit(":", 1)[1])
            self.base = f"http://127.0.0.1:{self.port}"

    def _log(self):
        for line in self.process.stdout:
            self.log.append(json.loads(line))

    def _errors(self):
        for line in self.process.stderr:
            self.errors += line.decode()

    def events(self, name):
        return [entry for entry in list(self.log) if entry["event"] == name]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        for reader in self.readers:
            reader.join(5)
        # Whatever was asked: no key is told to anybody.
        assert KEY not in json.dumps(self.log) + self.errors


def all_of(provider):
    return {"OPENAI_API_KEY": KEY + "-openai", "OPENAI_BASE_URL": provider.url + "/v1",
            "OPENAI_ORG_ID": "org-1", "OPENAI_PROJECT_ID": "proj-1",
            "ANTHROPIC_API_KEY": KEY + "-anthropic", "ANTHROPIC_BASE_URL": provider.url,
            "GEMINI_API_KEY": KEY + "-gemini", "GOOGLE_GEMINI_BASE_URL": provider.url,
            "CO_API_KEY": KEY + "-cohere", "CO_API_URL": provider.url,
            "MISTRAL_API_KEY": KEY + "-mistral", "MISTRAL_BASE_URL": provider.url,
            "GROQ_API_KEY": KEY + "-groq", "GROQ_BASE_URL": provider.url,
            "AWS_BEARER_TOKEN_BEDROCK": KEY + "-bedrock", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": provider.url,
            "OLLAMA_HOST": f"127.0.0.1:{provider.port}"}


def chat_of_openai(base, model, **options):
    client = openai.OpenAI(base_url=base + "/v1", api_key="unused", max_retries=0, **options)
    chunks = client.chat.completions.create(model=model, messages=MESSAGES, stream=True)
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


def chat_of_anthropic(base, model):
    client = anthropic.Anthropic(base_url=base, api_key="unused", max_retries=0)
    with client.messages.stream(model=model, max_tokens=100, messages=MESSAGES) as stream:
        return "".join(stream.text_stream)


def google(base):
    return genai.Client(api_key="unused", http_options={"base_url": base})


def chat_of_google(base, model):
    client = google(base)  # It closes its connections when nobody holds it.
    return "".join(c.text or "" for c in client.models.generate_content_stream(model=model, contents="hi"))


def chat_of_cohere(base, model):
    events = cohere.ClientV2("unused", base_url=base).chat_stream(model=model, messages=MESSAGES)
    return "".join(e.delta.message.content.text or "" for e in events if e.type == "content-delta")


def chat_of_mistral(base, model):
    events = Mistral(api_key="unused", server_url=base).chat.stream(model=model, messages=MESSAGES)
    return "".join(e.data.choices[0].delta.content or "" for e in events if e.data.choices)


def chat_of_ollama(base, model):
    return "".join(part.message.content or "" for part in ollama.Client(base).chat(model, MESSAGES, stream=True))


def check(provider, path, field, key, model=None):
    """Where the request went, with which key, and without the client's."""
    _, target, fields, body = provider.last()
    assert target.split("?")[0] == path, (target, path)
    assert fields[field] == [key], (fields, key)
    assert "unused" not in json.dumps(fields), fields
    if model:
        assert json.loads(body)["model"] == model, body


def test_each_sdk_reaches_its_own_provider():
    with Provider() as provider, Zero(**all_of(provider)) as zero:
        for chat, model, ending, path, field, key in [
            (chat_of_openai, "gpt-4o", "/chat/completions", "/v1/chat/completions", "authorization", "Bearer KEY-openai"),
            (chat_of_anthropic, "claude-sonnet-4-5", "/v1/messages", "/v1/messages", "x-api-key", "KEY-anthropic"),
            (chat_of_google, "gemini-2.5-flash", ":streamGenerateContent",
             "/v1beta/models/gemini-2.5-flash:streamGenerateContent", "x-goog-api-key", "KEY-gemini"),
            (chat_of_cohere, "command-a-03-2025", "/v2/chat", "/v2/chat", "authorization", "Bearer KEY-cohere"),
            (chat_of_mistral, "mistral-large-latest", "/chat/completions", "/v1/chat/completions", "authorization",
             "Bearer KEY-mistral"),
        ]:
            assert chat(zero.base, model) == recorded(ending)[2], chat
            check(provider, path, field, key.replace("KEY", KEY))
        assert chat_of_ollama(zero.base, "llama3.2") == recorded("/api/chat")[2]
        assert provider.last()[1] == "/api/chat" and "authorization" not in provider.last()[2]
        chat_of_openai(zero.base, "gpt-4o")
        fields = provider.last()[2]
        assert fields["openai-organization"] == ["org-1"] and fields["openai-project"] == ["proj-1"], fields


def test_a_models_name_leads_to_whose_it_is():
    with Provider() as provider, Zero(**all_of(provider)) as zero:
        said = {ending: recorded(ending)[2] for ending, _, _ in RECORDED}
        # OpenAI's SDK, by the model's name and by the provider's before it.
        assert chat_of_openai(zero.base, "claude-sonnet-4-5") == said["/v1/messages"]
        check(provider, "/v1/messages", "x-api-key", KEY + "-anthropic", "claude-sonnet-4-5")
        assert chat_of_openai(zero.base, "gemini-2.5-flash") == said[":streamGenerateContent"]
        assert provider.last()[1].startswith("/v1beta/models/gemini-2.5-flash:")
        assert chat_of_openai(zero.base, "groq/llama-3.3-70b-versatile") == said["/chat/completions"]
        check(provider, "/openai/v1/chat/completions", "authorization", f"Bearer {KEY}-groq", "llama-3.3-70b-versatile")
        assert chat_of_openai(zero.base, "ollama/llama3.2") == said["/api/chat"]
        check_model = json.loads(provider.last()[3])["model"]
        assert check_model == "llama3.2", check_model
        assert chat_of_openai(zero.base, "cohere/command-r") == said["/v2/chat"]
        # What nobody claims: the path's own provider.
        assert chat_of_openai(zero.base, "my-finetune") == said["/chat/completions"]
        check(provider, "/v1/chat/completions", "authorization", f"Bearer {KEY}-openai", "my-finetune")
        # Other SDKs.
        assert chat_of_anthropic(zero.base, "gpt-4o") == said["/chat/completions"]
        check(provider, "/v1/chat/completions", "authorization", f"Bearer {KEY}-openai", "gpt-4o")
        assert chat_of_google(zero.base, "claude-sonnet-4-5") == said["/v1/messages"]
        check(provider, "/v1/messages", "x-api-key", KEY + "-anthropic", "claude-sonnet-4-5")
        assert chat_of_ollama(zero.base, "claude-sonnet-4-5") == said["/v1/messages"]
        # By the provider's name in the path.
        client = openai.OpenAI(base_url=zero.base + "/groq/v1", api_key="unused", max_retries=0)
        list(client.chat.completions.create(model="claude-like", messages=MESSAGES, stream=True))
        check(provider, "/openai/v1/chat/completions", "authorization", f"Bearer {KEY}-groq", "claude-like")


def test_what_else_providers_have_goes_through():
    with Provider() as provider, Zero(**all_of(provider)) as zero:
        client = openai.OpenAI(base_url=zero.base + "/v1", api_key="unused", max_retries=0)
        assert list(client.models.list()) == []
        check(provider, "/v1/models", "authorization", f"Bearer {KEY}-openai")
        client.embeddings.create(model="text-embedding-3-small", input="x", encoding_format="float")
        check(provider, "/v1/embeddings", "authorization", f"Bearer {KEY}-openai")
        client.embeddings.create(model="mistral-embed", input="x", encoding_format="float")
        check(provider, "/v1/embeddings", "authorization", f"Bearer {KEY}-mistral", "mistral-embed")
        client.files.create(file=("a.txt", b"x" * 100_000), purpose="assistants")
        check(provider, "/v1/files", "authorization", f"Bearer {KEY}-openai")
        assert b"x" * 100_000 in provider.last()[3]

        other = anthropic.Anthropic(base_url=zero.base, api_key="unused", max_retries=0)
        assert other.messages.count_tokens(model="claude-sonnet-4-5", messages=MESSAGES).input_tokens == 7
        check(provider, "/v1/messages/count_tokens", "x-api-key", KEY + "-anthropic")
        # The client's own version of the protocol, once.
        assert provider.last()[2]["anthropic-version"] == [other.default_headers["anthropic-version"]]
        assert list(other.models.list()) == []
        check(provider, "/v1/models", "x-api-key", KEY + "-anthropic")

        client = google(zero.base)
        assert list(client.models.list()) == []
        check(provider, "/v1/models", "x-goog-api-key", KEY + "-gemini")
        client.models.count_tokens(model="gemini-2.5-flash", contents="hi")
        assert provider.last()[1].startswith("/v1/models/gemini-2.5-flash:countTokens"), provider.last()[1]
        # A key in the query is the client's too.
        fetch(zero.port, "/v1beta/models?key=unused&pageSize=5")
        assert provider.last()[1] == "/v1beta/models?pageSize=5"

        fetch(zero.port, "/v1/rerank", {"query": "x"}, headers=["Authorization: Bearer unused"])
        check(provider, "/v1/rerank", "authorization", f"Bearer {KEY}-cohere")
        ollama.Client(zero.base).list()
        assert provider.last()[:2] == ("GET", "/api/tags")
        fetch(zero.port, "/model/amazon.nova-lite-v1%3A0/converse", {"messages": []})
        check(provider, "/model/amazon.nova-lite-v1%3A0/converse", "authorization", f"Bearer {KEY}-bedrock")
        count = len(provider.requests)
        assert fetch(zero.port, "/api/pull", {"model": "x"}).status == 404
        assert fetch(zero.port, "/api/delete", {"model": "x"}, method="DELETE").status == 404
        assert len(provider.requests) == count


def test_pages_need_no_model():
    use_chat = {"id": "c", "messages": [{"id": "1", "role": "user", "parts": [{"type": "text", "text": "hi"}]}]}
    with Provider() as provider:
        for variables, path, model in [
            ({"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": provider.url + "/v1"}, "/v1/chat/completions", "gpt-4o-mini"),
            ({"ANTHROPIC_AUTH_TOKEN": KEY, "ANTHROPIC_BASE_URL": provider.url}, "/v1/messages", "claude-3-5-haiku-latest"),
            ({"GROQ_API_KEY": KEY, "GROQ_BASE_URL": provider.url}, "/openai/v1/chat/completions", "llama-3.3-70b-versatile"),
            ({"OLLAMA_HOST": provider.url, "SLUICE_MODEL": "llama3.2"}, "/api/chat", "llama3.2"),
            ({**all_of(provider), "SLUICE_MODEL": "claude-sonnet-4-5"}, "/v1/messages", "claude-sonnet-4-5"),
            ({**all_of(provider), "SLUICE_MODEL": "groq/qwen"}, "/openai/v1/chat/completions", "qwen"),
        ]:
            with Zero(**variables) as zero:
                reply = fetch(zero.port, "/api/chat", use_chat)
                assert reply.status == 200 and b'"type":"finish"' in reply.body, reply.raw
                _, target, fields, body = provider.last()
                assert (target, json.loads(body)["model"]) == (path, model), (target, body)
                assert "ANTHROPIC_AUTH_TOKEN" not in variables or fields["authorization"] == ["Bearer " + KEY]
                assert fetch(zero.port, "/stream?prompt=hi").complete


def test_one_provider_serves_every_format():
    with Provider() as provider:
        with Zero(ANTHROPIC_API_KEY=KEY, ANTHROPIC_BASE_URL=provider.url + "/v1") as zero:
            for chat in (chat_of_openai, chat_of_google, chat_of_cohere, chat_of_ollama):
                # A name of its own stays, another's gives way.
                for model, asked in (("claude-opus-4-1", "claude-opus-4-1"), ("gpt-4o", "claude-3-5-haiku-latest")):
                    assert chat(zero.base, model) == recorded("/v1/messages")[2], chat
                    check(provider, "/v1/messages", "x-api-key", KEY, asked)
            assert fetch(zero.port, "/v1/models").status == 200
            check(provider, "/v1/models", "x-api-key", KEY)
        with Zero(OLLAMA_HOST=f"0.0.0.0:{provider.port}") as zero:
            # Any name may be one of Ollama's.
            assert chat_of_openai(zero.base, "gpt-oss:20b") == recorded("/api/chat")[2]
            assert json.loads(provider.last()[3])["model"] == "gpt-oss:20b"


def test_the_log_says_what_is_served_and_to_whom():
    with Provider() as provider, Zero("--listen", "0.0.0.0:0", **all_of(provider)) as zero:
        serving = until(lambda: len(zero.events("serving")) == 8 and zero.events("serving"), what="serving")
        assert [(entry["upstream"], entry["from"]) for entry in serving][:3] == [
            ("openai", "OPENAI_API_KEY"), ("anthropic", "ANTHROPIC_API_KEY"), ("gemini", "GEMINI_API_KEY")], serving
        assert until(lambda: zero.events("open_to_others"))[0]["level"] == "warning"
    with Provider() as provider, Zero(OPENAI_API_KEY=KEY, OPENAI_BASE_URL=provider.url) as zero:
        until(lambda: zero.events("serving"))
        assert not zero.events("open_to_others")


def test_nobody_elses_machine_without_a_word():
    with contextlib.ExitStack() as stack:
        provider = stack.enter_context(Provider())
        zero = stack.enter_context(Zero("--", listens=False, OPENAI_API_KEY=KEY, OPENAI_BASE_URL=provider.url))
        # Port 8080 may be somebody else's here: then the address stands in the fault.
        until(lambda: zero.events("listening") or zero.process.poll() is not None, 20, "a start")
        said = until(lambda: "8080" in (told := json.dumps(zero.events("listening")) + zero.errors) and told, what="an address")
        assert "127.0.0.1:8080" in said and "0.0.0.0" not in said, said


def own_address():
    """One of this machine's that is not the loopback interface's; where it has none, another of that."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Sends nothing: the kernel only chooses where it would send from.
            probe.connect(("192.0.2.1", 9))
            return probe.getsockname()[0]
        except OSError:
            return "127.0.0.2"


def ask(port, *headers, host, at="127.0.0.1"):
    with socket.create_connection((at, port), timeout=20) as connection:
        connection.sendall("\r\n".join(["GET /stream?prompt=hi HTTP/1.1", f"Host: {host}", "Connection: close", *headers,
                                        "", ""]).encode())
        return Reply(drain(connection))


def test_pages_of_others_spend_nothing():
    with Provider() as provider, Zero(OPENAI_API_KEY=KEY, OPENAI_BASE_URL=provider.url + "/v1") as zero:
        for count, (headers, host) in enumerate([
            (["Sec-Fetch-Site: cross-site"], "localhost"), (["Origin: https://evil.example"], "localhost"),
            (["Origin: null"], "localhost"), (["Origin: http://evil.example:8080"], "evil.example"), ([], "evil.example:8080"),
            # Another port of this machine.
            (["Sec-Fetch-Site: same-site"], "localhost"),
            (["Sec-Fetch-Site: same-site", "Origin: http://localhost:3000"], "localhost:8080"),
            # To these a browser does not say where the page comes from.
            ([], f"0.0.0.0:{zero.port}"), ([], f"[::ffff:127.0.0.1]:{zero.port}"), ([], f"[::]:{zero.port}"),
        ], 1):
            reply = ask(zero.port, *headers, host=host)
            assert reply.status == 403, reply.raw
            lines = until(lambda: len(zero.events("exchange")) == count and zero.events("exchange"), what="its line")
            assert lines[-1]["end"] == "forbidden", lines[-1]
        assert not provider.requests
        for headers, host in [
            ([], f"127.0.0.1:{zero.port}"), ([], "[::1]:8080"), (["Sec-Fetch-Site: same-origin"], "localhost"),
            (["Sec-Fetch-Site: none"], "localhost"), (["Origin: http://localhost:8080"], "localhost:8080"),
        ]:
            assert ask(zero.port, *headers, host=host).status == 200, headers
        assert len(provider.requests) == 5


def test_pages_of_others_spend_nothing_by_whatever_address():
    for listen in ("0.0.0.0:0", "[::]:0"):
        with Provider() as provider, \
                Zero("--listen", listen, OPENAI_API_KEY=KEY, OPENAI_BASE_URL=provider.url + "/v1") as zero:
            for at in ("127.0.0.1", own_address()):
                for host in (f"evil.example:{zero.port}", f"0.0.0.0:{zero.port}", f"[::ffff:{at}]:{zero.port}"):
                    reply = ask(zero.port, host=host, at=at)
                    assert reply.status == 403, (listen, at, host, reply.raw)
            assert not provider.requests
            assert ask(zero.port, host=f"localhost:{zero.port}").status == 200


def test_an_image_of_a_foreign_page_spends_nothing():
    """Chromium asks for it by every address that leads here."""
    with Provider() as provider, Zero(OPENAI_API_KEY=KEY, OPENAI_BASE_URL=provider.url + "/v1") as zero:
        hosts = ("0.0.0.0", "[::ffff:127.0.0.1]", "127.0.0.1", "localhost")
        page = "".join(f'<img src="http://{host}:{zero.port}/stream?prompt=x">' for host in hosts).encode()
        answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(page)

        def show(connection, request):
            connection.sendall(answer + page)
            return "close"

        with Peer(show) as site, tempfile.TemporaryDirectory() as folder:
            subprocess.run(["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}",
                            "--host-resolver-rules=MAP evil.test 127.0.0.1", "--virtual-time-budget=5000", "--dump-dom",
                            f"http://evil.test:{site.port}/"], capture_output=True, timeout=120, check=True)
        # It keeps some from asking at all; those that ask get nothing.
        lines = until(lambda: len(zero.events("exchange")) >= 2 and zero.events("exchange"), what="requests of the page")
        assert {line["status"] for line in lines} == {403}, lines
        assert not provider.requests


def test_variables_that_cannot_be_right_are_told():
    for variables, words in [
        ({"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "api.openai.com"}, "is no URL of an upstream (OPENAI_BASE_URL)"),
        ({"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "http://localhost:8080/v1"}, "this proxy's own address"),
        ({"AZURE_OPENAI_API_KEY": KEY}, "but not AZURE_OPENAI_ENDPOINT"),
        ({"AWS_BEARER_TOKEN_BEDROCK": KEY}, "but not AWS_REGION"),
        ({"AWS_BEARER_TOKEN_BEDROCK": KEY, "AWS_REGION": "x/y@z"}, "is no region (AWS_REGION)"),
    ]:
        with Zero("--", listens=False, **variables) as zero:
            assert zero.process.wait(20) == 1, variables
            zero.readers[1].join(5)
            assert words in zero.errors, (words, zero.errors)


def test_an_empty_variable_is_none():
    with Zero(OPENAI_API_KEY="", ANTHROPIC_API_KEY="") as zero:
        # The demo answers.
        assert fetch(zero.port, "/v1/models").status == 200 and not zero.events("serving")
