"""The commands beside the proxy: convert, formats, schema, replay; and the demo, asked as each provider is."""

import glob
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

import jsonschema
import yaml

from harness import BINARY, Reply, connect, drain, request_bytes

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FIXTURES = os.path.join(ROOT, "Tests", "Fixtures")


def tool(*arguments, data=b"", seconds=60):
    return subprocess.run([BINARY, *arguments], input=data, capture_output=True, timeout=seconds)


def recordings(dialect):
    """(name, bytes, what a correct reader ends up with) of each recording."""
    for path in sorted(glob.glob(os.path.join(FIXTURES, dialect, "*.expected.json"))):
        stem = path.removesuffix(".expected.json")
        body = next(p for p in glob.glob(stem + ".*") if not p.endswith(".expected.json"))
        with open(path) as expected, open(body, "rb") as recorded:
            yield os.path.basename(stem), recorded.read(), json.load(expected)


def events(body):
    blocks = [block.split("\n") for block in body.decode().split("\n\n") if block]
    return ["\n".join(line[6:] for line in block if line.startswith("data: ")) for block in blocks]


def text_of(name, body):
    if name == "text":
        return body.decode()
    if name == "ndjson":
        objects = [json.loads(line) for line in body.decode().split("\n") if line]
        return "".join(o.get("text", "") for o in objects if not o.get("choice"))
    chunks = [json.loads(data) for data in events(body) if data != "[DONE]"]
    choices = [c for chunk in chunks for c in chunk.get("choices", []) if c["index"] == 0]
    return "".join(c["delta"].get("content") or "" for c in choices)


def test_convert_carries_each_recording():
    for name, body, expected in recordings("openai-chat"):
        # A refusal is visible where the format has no word for it.
        for form in ("text", "ndjson", "openai-chat"):
            done = tool("convert", "--from", "openai-chat", "--to", form, data=body)
            wanted = expected["text"] + (expected.get("refusal") or "" if form == "text" else "")
            assert text_of(form, done.stdout) == wanted, (name, form, done.stdout[-500:])
            is_whole = expected["error"] is None and (expected["terminated"] or expected["finish_reason"])
            assert done.returncode == (0 if is_whole else 3), (name, form, done.returncode, done.stderr)
            assert bool(done.stderr) == (not is_whole), (name, done.stderr)


def test_convert_is_the_same_for_every_cut():
    for name, body, _ in recordings("openai-chat"):
        if len(body) > 20000:
            continue
        whole = tool("convert", "--from", "openai-chat", "--to", "ndjson", data=body)
        for size in ("1", "7"):
            cut = tool("convert", "--from", "openai-chat", "--to", "ndjson", "--chunk", size, data=body)
            assert (cut.stdout, cut.returncode) == (whole.stdout, whole.returncode), (name, size)


def test_convert_tells_of_a_cut_in_the_formats_own_way():
    with open(os.path.join(FIXTURES, "openai-chat", "text.sse"), "rb") as file:
        body = file.read(3000)
    cut = tool("convert", "--from", "openai-chat", "--to", "openai-chat", data=body)
    assert cut.returncode == 3 and b"before it was complete" in cut.stderr
    assert "error" in json.loads(events(cut.stdout)[-1]) and b"[DONE]" not in cut.stdout
    broken = tool("convert", "--from", "openai-chat", "--to", "ndjson", data=b"data: {nonsense\n\n")
    assert broken.returncode == 3 and "error" in json.loads(broken.stdout.splitlines()[-1]), broken
    empty = tool("convert", "--from", "openai-chat", "--to", "text")
    assert (empty.returncode, empty.stdout) == (3, b"")


def test_convert_makes_one_document():
    with open(os.path.join(FIXTURES, "openai-chat", "text.sse"), "rb") as file:
        done = tool("convert", "--from", "openai-chat", "--to", "openai-chat", "--document", data=file.read())
    document = json.loads(done.stdout)
    assert document["object"] == "chat.completion" and document["choices"][0]["message"]["content"]


def test_convert_does_not_wait_for_the_end():
    command = [BINARY, "convert", "--from", "openai-chat", "--to", "text"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        for word in ("one", " two", "\nthree 🚀"):
            chunk = {"choices": [{"index": 0, "delta": {"content": word}}]}
            process.stdin.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
            process.stdin.flush()
            assert os.read(process.stdout.fileno(), 1000).decode() == word
        process.stdin.close()
        assert process.wait(10) == 3


def test_convert_ends_quietly_when_its_reader_leaves():
    command = [BINARY, "convert", "--from", "openai-chat", "--to", "text"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        chunk = b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": "x" * 1000}}]}).encode() + b"\n\n"
        try:
            while process.poll() is None:
                process.stdin.write(chunk)
        except BrokenPipeError:
            pass
        assert process.wait(10) in (1, -signal.SIGPIPE) and process.stderr.read() == b""
        try:
            process.stdin.close()
        except BrokenPipeError:
            pass


def test_wrong_usage_names_the_nearest():
    for arguments, words in [
        (["convert", "--from", "openai-chatt", "--to", "text"], b"did you mean 'openai-chat'?"),
        (["convert", "--from", "openai-chat", "--to", "passthrough"], b"--to: 'passthrough' is not one of"),
        (["convert", "--from", "raw", "--to", "text"], b"--from: 'raw' is not one of"),
        (["convert", "--form", "openai-chat"], b"did you mean '--from'?"),
        (["convert", "--to", "text"], b"--from is required"),
        (["convert", "--from", "auto", "--to", "text", "--chunk", "0"], b"--chunk"),
        (["convert", "--from", "auto", "--to", "text", "file"], b"standard input"),
        (["convrt"], b"did you mean 'convert'?"),
        (["replay", "--listen", "127.0.0.1:0"], b"at least one file"),
        (["replay", "x", "--listen", "nowhere"], b"'nowhere' is not host:port"),
        (["schema", "x"], b"schema takes no 'x'"),
        ([], b"no command given"),
    ]:
        done = tool(*arguments)
        assert done.returncode == 2 and words in done.stderr and not done.stdout, (arguments, done)


def test_convert_translates_a_request():
    body = {"model": "m", "max_tokens": 5, "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}]}
    done = tool("convert", "--request", "--from", "openai-chat", "--to", "anthropic-messages", data=json.dumps(body).encode())
    assert done.returncode == 0, done
    made = json.loads(done.stdout)
    assert made["model"] == "m" and made["max_tokens"] == 5 and "hi" in json.dumps(made["messages"])
    assert [m["role"] for m in made["messages"]] == ["user"]
    refused = tool("convert", "--request", "--from", "openai-chat", "--to", "anthropic-messages", data=b"nonsense")
    assert refused.returncode == 1 and refused.stderr and not refused.stdout


def test_formats_and_schema():
    table = tool("formats")
    assert table.returncode == 0 and b"bedrock-converse" in table.stdout and b"vercel-ui" in table.stdout
    matrix = json.loads(tool("formats", "--json").stdout)
    assert {"requests", "dialects", "responses"} == set(matrix)
    assert {"name": "cohere-v1", "content_type": "application/stream+json"}.items() <= next(
        d for d in matrix["dialects"] if d["name"] == "cohere-v1").items()
    schema = json.loads(tool("schema").stdout)
    assert schema["$schema"].endswith("2020-12/schema") and "routes" in schema["properties"]
    names = schema["properties"]["routes"]["items"]["properties"]["request"]["anyOf"][0]["enum"]
    assert names == [r["name"] for r in matrix["requests"]]


class CoreLoader(yaml.SafeLoader):
    """YAML 1.2's core schema, as Sluice reads it: of YAML 1.1's words for truth only two, so `off` is a text."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()}


CoreLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), list("tf"))


def test_schema_accepts_the_files_that_come_along():
    schema = json.loads(tool("schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    files = glob.glob(os.path.join(ROOT, "Config", "*.yaml")) + [os.path.join(ROOT, "Deploy", "examples", "examples.yaml")]
    assert len(files) > 2
    for path in files:
        with open(path) as file:
            config = yaml.load(file, CoreLoader)
        assert not list(validator.iter_errors(config)), (path, [e.message for e in validator.iter_errors(config)])
    bad = [{"routs": []}, {"log": {"level": "loud"}}, {"limits": {"slow_client": "5x"}}, {"drain_timeout": 5},
           {"upstreams": {"a": {"url": "u"}}}, {"routes": [{"when": {"model": "x"}}]}]
    for change in bad:
        assert list(validator.iter_errors({**config, **change})), change


class Replay:
    """`sluice replay` on a port of its own."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [BINARY, "replay", *arguments, "--listen", "127.0.0.1:0"], stderr=subprocess.PIPE)
        line = self.process.stderr.readline().decode()
        assert line.startswith("replaying on "), line
        self.port = int(line.rsplit(":", 1)[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()


def fixture(name):
    with open(os.path.join(FIXTURES, name), "rb") as file:
        return file.read()


def test_replay_serves_what_was_recorded():
    names = {"openai-chat/text.sse": "text/event-stream", "ollama-chat/text.ndjson": "application/x-ndjson",
             "cohere-v1/chat.ndjson": "application/stream+json", "gemini-array/tool.json": "application/json",
             "bedrock-converse/text.bin": "application/vnd.amazon.eventstream"}
    with Replay(*(os.path.join(FIXTURES, name) for name in names), "--interval", "0") as replay:
        for name, content_type in names.items():
            connection = http.client.HTTPConnection("127.0.0.1", replay.port, timeout=10)
            # In turn by any path, by name, and on one connection.
            for method, path in [("POST", "/v1/anything"), ("GET", "/" + name.split(".")[0])]:
                connection.request(method, path, body=b"{}" if method == "POST" else None)
                reply = connection.getresponse()
                assert (reply.status, reply.headers["content-type"]) == (200, content_type), name
                assert reply.read() == fixture(name), name
            connection.close()
        connection = connect(replay.port)
        connection.sendall(request_bytes("/text", headers=["Connection: close"]))
        reply = Reply(drain(connection))
        assert reply.complete and reply.body == fixture("openai-chat/text.sse")
        if shutil.which("curl"):
            url = f"http://127.0.0.1:{replay.port}/openai-chat/text"
            assert subprocess.run(["curl", "-sSN", url], capture_output=True).stdout == reply.body
        replay.process.send_signal(signal.SIGTERM)
        assert replay.process.wait(10) == 0


def arrivals(port, path):
    connection = connect(port)
    connection.sendall(request_bytes(path, headers=["Connection: close"]))
    began, times = time.monotonic(), []
    while connection.recv(65536):
        times.append(time.monotonic() - began)
    connection.close()
    return times


def test_replay_keeps_the_pace():
    with tempfile.TemporaryDirectory() as folder:
        even, timed = os.path.join(folder, "even.sse"), os.path.join(folder, "timed.sse")
        for path in (even, timed):
            with open(path, "wb") as file:
                file.write(b"data: 1\n\ndata: 2\n\ndata: 3\n\n")
        with open(timed + ".times", "w") as file:
            file.write("200\n600\n0.5\n")
        with Replay(even, timed, "--interval", "150ms", "--speed", "2") as replay:
            times = arrivals(replay.port, "/even")
            assert len(times) >= 3 and 0.29 < times[-1] < 1.5, times
            times = arrivals(replay.port, "/timed")
            # The head at once; then the recorded times, halved.
            until_last = times[-1]
            assert 0.38 < until_last < 1.5, times
            assert any(0.09 < t < 0.35 for t in times), times
        with open(timed + ".times", "w") as file:
            file.write("200\n")
        wrong = tool("replay", timed, "--listen", "127.0.0.1:0")
        assert wrong.returncode == 1 and b"1 numbers" in wrong.stderr and b"3 events" in wrong.stderr, wrong
    missing = tool("replay", "/nonexistent.sse", "--listen", "127.0.0.1:0")
    assert missing.returncode == 1 and b"/nonexistent.sse: No such file" in missing.stderr, missing


def test_a_recording_stays_itself_through_the_pipe():
    """What a provider sent, replayed, read by curl, converted: no word is lost on the way."""
    path = os.path.join(FIXTURES, "openai-chat", "newlines-long.sse")
    with open(path.replace(".sse", ".expected.json")) as file:
        expected = json.load(file)["text"]
    if not shutil.which("curl"):
        return
    with Replay(path, "--interval", "0") as replay:
        curl = subprocess.Popen(
            ["curl", "-sSN", f"http://127.0.0.1:{replay.port}/"], stdout=subprocess.PIPE)
        done = subprocess.run(
            [BINARY, "convert", "--from", "auto", "--to", "text"], stdin=curl.stdout, capture_output=True, timeout=20)
        curl.stdout.close()
        curl.wait()
    assert done.returncode == 0 and done.stdout.decode() == expected, done.stderr


def test_the_formats_in_the_readme_are_those_that_there_are():
    with open(os.path.join(ROOT, "README.md")) as file:
        readme = file.read()
    catalog = json.loads(tool("formats", "--json").stdout)
    names = {entry["name"] for entries in catalog.values() if isinstance(entries, list) for entry in entries}
    assert len(names) > 25, names
    missing = sorted(name for name in names if f"`{name}`" not in readme)
    assert not missing, missing
