"""README.md and OPERATIONS.md followed word by word: every command in them is run, every snippet is checked.

A command that stands in no table below fails the test: who writes one says here how it is run, and what has to come of it.
"""

import ast
import concurrent.futures
import contextlib
import io
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request

import yaml

import browser_world
import markdown
import test_zero
from harness import BINARY, Peer, Sluice, config, stream, until

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "Tests/Fixtures"
PAGES = {name: (ROOT / name).read_text() for name in (
    "README.md", "Deploy/OPERATIONS.md", "Tests/Benchmarks/README.md", ".github/CONTRIBUTING.md")}
# Indented blocks that are no commands, by their heading.
PICTURES = {"The flow"}
# Of languages that nothing here reads: what a person copies into a program of another kind.
SEEN = {"text"}
# What an example leaves to its reader.
KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GROQ_API_KEY", "AZURE_OPENAI_API_KEY", "REDIS_PASSWORD", "HF_TOKEN")


def blocks(page, *languages):
    return [block for block in markdown.blocks(PAGES[page]) if block.language in languages]


def commands(page):
    shell = [block for block in blocks(page, "", "sh", "bash", "shell", "console") if block.heading not in PICTURES]
    return [command for block in shell for command in block.commands()]


class Desk:
    """A folder as a reader has it: the repository's files, `sluice` in the PATH, a demo on a port of its own."""

    def __init__(self, stack):
        self.stack = stack
        self.folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name in ("Config", "Deploy", "README.md"):
            os.symlink(ROOT / name, self.folder / name)
        self.tools = self.folder / ".build/release"
        self.tools.mkdir(parents=True)
        os.symlink(os.path.abspath(BINARY), self.tools / "sluice")
        shutil.copy(FIXTURES / "openai-chat/text.sse", self.folder / "recorded.sse")
        (self.folder / "request.json").write_text(json.dumps(
            {"id": "c", "messages": [{"id": "1", "role": "user", "parts": [{"type": "text", "text": "hi"}]}]}))
        self.variables = {"PATH": f"{self.tools}:{os.environ['PATH']}", "HOME": str(self.folder), "LC_ALL": "C.UTF-8"}
        self.variables.update({k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")})
        self.demo = stack.enter_context(test_zero.Zero())

    def start(self, command, **variables):
        """Runs it; its output is a file's, for whoever waits for a word in it."""
        output = open(self.folder / f"output-{time.monotonic_ns()}", "w+b")
        process = subprocess.Popen(["bash", "-c", command], cwd=self.folder, env={**self.variables, **variables}, stdout=output,
                                   stderr=subprocess.STDOUT, start_new_session=True)

        def stop():
            # The shell and what it has started, by the session that they share.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            output.close()

        self.stack.callback(stop)

        def said():
            return pathlib.Path(output.name).read_text()

        return process, said

    def run(self, command, **variables):
        """Runs it to its end, which has to be a good one; returns what it wrote to standard output."""
        done = subprocess.run(["bash", "-ec", command], cwd=self.folder, env={**self.variables, **variables},
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, (command, done.returncode, done.stderr)
        return done.stdout


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def address_of(said, event="listening"):
    lines = [json.loads(line) for line in said().splitlines() if line.startswith("{")]
    return next((line["address"] for line in lines if line["event"] == event), None)


# How each command of the README is run


def run_the_demo(desk, command):
    """Its three steps: nothing is missing, what `Tests/check` builds anyhow, and the program, which answers."""
    script = (ROOT / command).read_text().splitlines()
    assert script[-3:] == [
        '"$root/Deploy/setup"', 'swift build --package-path "$root" --configuration release --product sluice',
        'exec "$root/.build/release/sluice" run "$@"'], script
    subprocess.run([ROOT / "Deploy/setup"], check=True, capture_output=True, timeout=60)
    process, said = desk.start("sluice run --listen 127.0.0.1:0")
    until(lambda: "with its demo upstream" in said(), 20, "the greeting")
    # What it proposes is what the README proposes.
    assert "/stream?prompt=hi" in said() and "/_sluice/" in said()


def all_checks(desk, command):
    """It runs this; here only that it is what it says it is, and what CI runs."""
    assert "15 s of each fuzz target" in desk.run(f"{ROOT}/{command} --help")
    assert f'"$root/{command}"' in (ROOT / ".ci/run").read_text()


def ask_the_demo(desk, command):
    format = re.search(r"format=([\w-]+)", command)
    said = desk.run(command.replace("localhost:8080", f"127.0.0.1:{desk.demo.port}").replace("curl ", "curl -sSi "))
    head, body = re.split(r"\r?\n\r?\n", said, maxsplit=1)
    kind = re.search(r"(?i)content-type: ([\w/-]+)", head)[1]
    marks = {None: ("text/plain", ""), "sse-text": ("text/event-stream", "event: done"), "vercel-ui": ("text/event-stream", "[DONE]")}
    assert head.split()[1] == "200" and (kind, True) == (marks[format and format[1]][0], marks[format and format[1]][1] in body)


def set_the_path(desk, command):
    assert desk.run(f"{command}; command -v sluice").strip() == f"{desk.folder}/.build/release/sluice"


def zero_configuration(desk, command):
    with test_zero.Provider() as provider:
        _, said = desk.start(f"{command} --listen 127.0.0.1:0", OPENAI_BASE_URL=provider.url + "/v1", ANTHROPIC_BASE_URL=provider.url)
        base = "http://" + until(lambda: address_of(said), 20, "it listens")
        assert test_zero.chat_of_openai(base, "gpt-4o") == test_zero.recorded("/chat/completions")[2]
        assert provider.last()[2]["authorization"] == ["Bearer sk-..."]
        # As the README says: in OpenAI's words, answered by Anthropic.
        assert test_zero.chat_of_openai(base, "claude-sonnet-4-5") == test_zero.recorded("/v1/messages")[2]
        assert provider.last()[2]["x-api-key"] == ["sk-ant-..."]
        assert said().count('"event":"serving"') == 2 and "sk-" not in said()


def example_pages(desk, command):
    pages = free_port()
    _, said = desk.start(command.replace("8000", str(pages)), LISTEN="127.0.0.1:0")
    base = until(lambda: address_of(said), 20, "it listens")

    def page():
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"http://127.0.0.1:{pages}/usechat.html", timeout=10).read()

    assert b"/api/chat" in until(page, 20, "the pages")
    reply = urllib.request.urlopen(f"http://{base}/api/answer?prompt=hi", timeout=20).read()
    assert b"event: done" in reply, reply


def validate(desk, command):
    assert desk.run(command) == "Config/minimal.yaml: valid\n"


def schema(desk, command):
    desk.run(command)
    document = json.loads((desk.folder / "sluice.schema.json").read_text())
    assert "routes" in document["properties"]


def run_a_file(desk, command):
    copy = desk.folder / "minimal.yaml"
    copy.write_text((ROOT / "Config/minimal.yaml").read_text().replace("0.0.0.0:8080", "127.0.0.1:0"))
    _, said = desk.start(command.replace("Config/minimal.yaml", str(copy)))
    until(lambda: address_of(said), 20, "it listens")
    copy.write_text(copy.read_text() + "# changed\n")
    until(lambda: '"reloaded"' in said(), 20, "it follows its file")


def formats(desk, command):
    text = desk.run(command)
    assert "anthropic-messages" in text and "vercel-ui" in text and "run --json" not in text
    assert json.loads(desk.run(command + " --json"))["dialects"]


def new_key(desk, command):
    text = desk.run(command)
    assert re.search(r"team-a.*[0-9a-f]{64}", text), text


def hash_key(desk, command):
    line = desk.run(command, KEY="k" * 40)
    assert re.search(r"team-b.*[0-9a-f]{64}", line), line


def convert(desk, command):
    said = desk.run(command)
    assert said.endswith("data: [DONE]\n\n") and '"text-delta"' in said
    assert json.loads(desk.run(command.replace("vercel-ui", "openai-chat") + " --document --chunk 1"))["object"] == "chat.completion"
    (desk.folder / "cut.sse").write_bytes((desk.folder / "recorded.sse").read_bytes()[:2000])
    assert desk.run(command.replace("recorded", "cut") + " >/dev/null 2>&1 || echo code $?") == "code 3\n"


def convert_a_request(desk, command):
    assert json.loads(desk.run(command))["messages"] == [{"role": "user", "content": "hi"}]


def replay(desk, command):
    port = free_port()
    _, said = desk.start(command.replace("9000", str(port)) + " --speed 100")
    until(lambda: "replaying on" in said(), 20, "it listens")
    reply = urllib.request.urlopen(urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/chat/completions", b"{}", {"Content-Type": "application/json"}), timeout=30).read()
    assert reply == (FIXTURES / "openai-chat/text.sse").read_bytes()


def manual(desk, command):
    # Some machines have no manual pages, and then `man` is a script that says so.
    assert "SLUICE(1)" in desk.run(command.replace("man ", "mandoc -Tutf8 ", 1))


def completions(desk, command):
    assert "_sluice" in desk.run(command + "; complete -p sluice")


def with_traces(desk, command):
    """A collector that only notes who sends what."""
    with Peer(lambda connection, _: connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as collector:
        _, said = desk.start(command.replace("4318", str(collector.port)) + " --listen 127.0.0.1:0", OTEL_BSP_SCHEDULE_DELAY="50")
        base = until(lambda: address_of(said), 20, "it listens")
        urllib.request.urlopen(f"http://{base}/v1/models", timeout=20).read()
        until(lambda: any(request.startswith(b"POST /v1/traces") for request in collector.requests), 20, "a trace")


def follow_a_run(desk, command):
    """A run and its task: `01…` is the name of the one that was begun before."""
    command = command.replace("localhost:8080", f"127.0.0.1:{desk.demo.port}").replace("01…", getattr(desk, "task", ""))
    said = desk.run(command.replace("curl ", "curl -sS "))
    if "output_only\": true" in command or "?output_only" in command:
        assert said.startswith("data: ") and len(said) > 100, said
    elif "wait_for_completion" in command:
        desk.task = json.loads(said)["task_id"]
    elif "/cancel" in command:
        assert json.loads(said)
    else:
        assert json.loads(said)["task_id"] == desk.task and "status" in json.loads(said), said


def elsewhere(module, *words):
    """What needs more than this test has: a module of its own does it, with these words of the command."""
    def look(desk, command):
        text = (ROOT / f"Tests/EndToEnd/{module}.py").read_text()
        text += "".join((ROOT / f"Tests/EndToEnd/{name}.py").read_text() for name in re.findall(r"(?m)^(?:from|import) (\w+)", text)
                        if (ROOT / f"Tests/EndToEnd/{name}.py").exists())
        missing = [word for word in words if word not in text]
        assert not missing, f"{module} does not do {missing}"

    return look


CONTENT_TYPE = "curl -N localhost:8080/api/workflows/runs -H 'Content-Type: application/json' "
README = {
    "podman build --format docker -f Deploy/Containerfile -t sluice .": elsewhere("test_image", "build-image"),
    "podman run --rm -p 8080:8080 sluice": elsewhere("test_image", "podman", "run"),
    "podman run --rm -p 8080:8080 -v ./sluice.yaml:/etc/sluice/sluice.yaml:ro sluice": elsewhere(
        "test_image", "/etc/sluice/sluice.yaml"),
    """kubectl create secret generic sluice-providers --from-literal=openai="$OPENAI_API_KEY\"""": elsewhere(
        "test_kubernetes", "sluice-providers"),
    "kubectl apply -k Deploy/kubernetes/sidecar": elsewhere("test_kubernetes", "sidecar", "kustomization"),
    "helm install sluice Deploy/helm/sluice -f my.yaml": elsewhere("test_kubernetes", "helm/sluice"),
    "OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 sluice run": with_traces,
    CONTENT_TYPE + """-d '{"input": {"prompt": "hi"}, "output_only": true}'""": follow_a_run,
    CONTENT_TYPE.replace(" -N", "") + """-d '{"input": {"prompt": "hi"}, "wait_for_completion": false}'""": follow_a_run,
    "curl localhost:8080/api/tasks/01…": follow_a_run,
    "curl -N 'localhost:8080/api/tasks/01…?output_only=true'": follow_a_run,
    "curl -X POST localhost:8080/api/tasks/01…/cancel": follow_a_run,
    "Deploy/run": run_the_demo, "Tests/check": all_checks,
    "curl -N 'localhost:8080/stream?prompt=hi'": ask_the_demo,
    "curl -N 'localhost:8080/stream?prompt=show+a+table&format=sse-text'": ask_the_demo,
    "curl -N 'localhost:8080/stream?prompt=hi&format=vercel-ui'": ask_the_demo,
    'export PATH="$PWD/.build/release:$PATH"': set_the_path,
    "OPENAI_API_KEY=sk-... ANTHROPIC_API_KEY=sk-ant-... sluice run": zero_configuration,
    "sluice run -c Deploy/examples/examples.yaml & python3 -m http.server 8000 --directory Deploy/examples": example_pages,
    "OPENAI_API_KEY=any sluice validate Config/minimal.yaml": validate,
    "sluice schema > sluice.schema.json": schema,
    "OPENAI_API_KEY=sk-... sluice run -c Config/minimal.yaml --watch": run_a_file,
    "sluice formats": formats,
    "sluice key new --name team-a": new_key,
    'printf %s "$KEY" | sluice key hash --name team-b': hash_key,
    "sluice convert --from openai-chat --to vercel-ui < recorded.sse": convert,
    "sluice convert --request --from vercel-ui --to cohere-v2 < request.json": convert_a_request,
    "sluice replay recorded.sse --listen 127.0.0.1:9000 --interval 30ms": replay,
    "man Deploy/man/sluice.1": manual,
    "source Deploy/completions/sluice.bash": completions,
}


PACED = (ask_the_demo, example_pages, replay)


def follow(page, table):
    wanted = commands(page)
    unknown = [command for command in wanted if command not in table]
    assert not unknown, f"{page} has commands that no test runs: {unknown}"
    assert set(table) == set(wanted), f"{page} has lost {set(table) - set(wanted)}"

    def one(command):
        began = time.monotonic()
        try:
            table[command](desk, command)
            print(f"  {time.monotonic() - began:4.1f} s  {command}")
        except BaseException:
            print(f"  {page}: {command}")
            raise

    with contextlib.ExitStack() as stack:
        desk = Desk(stack)
        # Those that only wait for the demo's pace do so beside the others.
        with concurrent.futures.ThreadPoolExecutor() as pool:
            waiting = [pool.submit(one, command) for command in wanted if table[command] in PACED]
            for command in wanted:
                if table[command] not in PACED:
                    one(command)
            for other in waiting:
                other.result()


def test_every_command_of_the_readme():
    follow("README.md", README)


# How each command of OPERATIONS.md is run


def ask_the_operators_port(desk, command):
    body = desk.run(command.replace("127.0.0.1:9910", f"127.0.0.1:{operated(desk)}"))
    if "/metrics" in command:
        assert "sluice_streams_ended_total{" in body
    elif "/streams" in command:
        assert json.loads(body)["streams"] == []
    else:
        assert "ok" in body or "ready" in body, body


def operated(desk):
    """The admin port of a proxy that has served once well and once not."""
    if not hasattr(desk, "operated"):
        peer = desk.stack.enter_context(Peer(lambda connection, _: stream(connection)))
        proxy = desk.stack.enter_context(Sluice(config(peer.url, admin={"address": "127.0.0.1:0"})))
        for path in ("/stream?prompt=hi", "/nowhere"):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{proxy.port}{path}", timeout=20).read()
        until(lambda: len(proxy.exchanges()) == 2, what="two exchanges")
        # Clients may be served before the operators' listener is there.
        admin = until(lambda: [e for e in list(proxy.log) if e["event"] == "admin_listening"], what="the admin listener")[0]
        (desk.folder / "sluice.log").write_text("".join(json.dumps(entry, separators=(",", ":")) + "\n" for entry in proxy.log))
        desk.operated = int(admin["address"].rsplit(":", 1)[1])
    return desk.operated


def look_into_the_log(desk, command):
    operated(desk)
    assert '"end":"no_route"' in desk.run(command) and '"end":"done"' not in desk.run(command)


OPERATIONS = {
    "curl -s 127.0.0.1:9910/readyz": ask_the_operators_port,
    "curl -s '127.0.0.1:9910/streams?limit=20'": ask_the_operators_port,
    "curl -s 127.0.0.1:9910/metrics": ask_the_operators_port,
    """grep '"event":"exchange"' sluice.log | grep -v '"end":"done"' | tail""": look_into_the_log,
}


def test_every_command_of_operations():
    follow("Deploy/OPERATIONS.md", OPERATIONS)


def test_what_contributors_run_is_there():
    """These are what CI itself runs, or take as long: that each script and each test's name exists is what is asked here."""
    wanted = commands(".github/CONTRIBUTING.md")
    assert len(wanted) > 6, wanted
    for command in wanted:
        words = [word for word in command.split() if "=" not in word]
        if words[0] in ("swift", ".build/debug/sluice"):
            continue
        assert os.access(ROOT / words[0], os.X_OK), command
        for name in words[1:]:
            assert not name.startswith("test_") or (ROOT / f"Tests/EndToEnd/{name}.py").exists(), command
    suites = re.findall(r"--filter (\w+)", "\n".join(wanted))
    sources = "".join(path.read_text() for path in (ROOT / "Tests").glob("Sluice*Tests/**/*.swift"))
    for suite in suites:
        assert f"struct {suite}" in sources or f"class {suite}" in sources, suite


# Snippets

RECIPE_UPSTREAMS = """upstreams:
  claude: {url: "https://api.anthropic.com", dialect: anthropic-messages, api_key: k}
  openai: {url: "https://api.openai.com/v1", dialect: openai-chat, api_key: k}
"""


def whole(block):
    """A block as a configuration: what it leaves out is put around it."""
    if block.startswith("- "):
        block = RECIPE_UPSTREAMS + "routes:\n" + "".join(f"  {line}\n" for line in block.splitlines())
    if not re.search(r"(?m)^upstreams:", block):
        block = RECIPE_UPSTREAMS + block
    if not re.search(r"(?m)^routes:", block):
        name = block.split("upstreams:")[1].split(":")[0].strip(" {\n")
        block += f"\nroutes: [{{path: /x, request: prompt, response: text, upstream: {name}}}]\n"
    if not re.search(r"(?m)^listeners:", block):
        block = "listeners: [{address: '127.0.0.1:0'}]\n" + block
    return block


def test_every_configuration_is_valid():
    found = [(page, block) for page in PAGES for block in blocks(page, "yaml")]
    assert len(found) > 20, len(found)
    environment = os.environ | {key: "k" for key in KEYS}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "readme.yaml")
        shutil.copy(ROOT / "Config/keys.txt", folder)
        for page, block in found:
            pathlib.Path(path).write_text(whole(block.text))
            done = subprocess.run([BINARY, "validate", path], capture_output=True, text=True, env=environment, timeout=30)
            assert done.returncode == 0, f"{page}: {block}: {done.stderr}\n{whole(block.text)}"


def test_the_shortest_file_is_the_one_that_is_shown():
    shown = [block.text.strip() for block in blocks("README.md", "yaml") if block.heading == "Configuration"]
    assert (ROOT / "Config/minimal.yaml").read_text().strip().endswith(shown[0].strip()), shown


def test_documents_of_others_are_well_formed():
    for page in PAGES:
        for block in blocks(page, "yml"):
            assert list(yaml.safe_load_all(block.text)), block
        for block in blocks(page, "json"):
            json.loads(block.text)


def test_every_python_snippet_runs():
    found = blocks("README.md", "python")
    assert found
    prelude = ("import openai, anthropic, cohere, ollama\nfrom google import genai\nfrom mistralai.client import Mistral\n"
               "messages = [{'role': 'user', 'content': 'hi'}]\n")
    with test_zero.Provider() as provider, test_zero.Zero(**test_zero.all_of(provider)) as proxy:
        for block in found:
            names, asked = {}, 0
            exec(prelude, names)
            for node in ast.parse(block.text.replace("http://localhost:8080", proxy.base)).body:
                said = io.StringIO()
                with contextlib.redirect_stdout(said):
                    exec(compile(ast.Module([node], []), str(block), "exec"), names)
                # Each of them but for what makes a client prints an answer.
                assert isinstance(node, ast.Assign) or len(said.getvalue().strip()) > 3, ast.unparse(node)
                asked += not isinstance(node, ast.Assign)
            assert asked >= 6, block


def test_every_script_is_well_formed():
    found = blocks("README.md", "js", "ts", "tsx")
    assert len(found) > 6, found
    texts = [block.text for block in found]

    # Anything with `await` at its top is the body of an asynchronous function.
    script = """(() => {
        const Async = Object.getPrototypeOf(async () => {}).constructor;
        return TEXTS.map(text => { try { new Async(text); return ''; } catch (error) { return String(error); } });
    })()""".replace("TEXTS", json.dumps(texts))
    with browser_world.Profile() as profile:
        faults = profile.tab("about:blank").evaluate(script)
    for block, fault in zip(found, faults):
        assert fault == "", (block, fault)


def test_every_block_is_looked_at():
    known = {"", "sh", "bash", "shell", "console", "yaml", "yml", "json", "python", "js", "ts", "tsx"} | SEEN
    for page in PAGES:
        for block in markdown.blocks(PAGES[page]):
            assert block.language in known, f"{page}: {block}: nothing looks at this"
