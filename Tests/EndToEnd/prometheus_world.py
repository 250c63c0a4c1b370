"""A real Prometheus for the tests of what it is told, its tool, and a proxy with one of everything that can be counted."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

from harness import CHAT, DONE, HEAD, chunk, config, event, stream, wait_closed, until

ROOT = pathlib.Path(__file__).parents[2]
TOKEN = "operators-only"
# What Prometheus 2.42 sends, and 3.
ACCEPTS = [
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
]


def promtool(*arguments, given=None):
    """What it says and how it ends."""
    done = subprocess.run(["promtool", *map(str, arguments)], input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=120)
    return done.returncode, done.stdout.decode()


class Prometheus:
    """Scrapes `ports` with the operators' token from a file, and as another job with a wrong one."""

    def __init__(self, *ports, interval="500ms"):
        self.folder = tempfile.TemporaryDirectory()
        self.output = tempfile.TemporaryFile()
        tokens = {}
        for name, token in (("sluice", TOKEN), ("stranger", "guessed")):
            tokens[name] = os.path.join(self.folder.name, name)
            pathlib.Path(tokens[name]).write_text(token + "\n")
        jobs = [{"job_name": name, "authorization": {"credentials_file": file},
                 "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in ports]}]} for name, file in tokens.items()]
        path = os.path.join(self.folder.name, "prometheus.json")
        with open(path, "w") as file:
            json.dump({"global": {"scrape_interval": interval, "evaluation_interval": interval}, "scrape_configs": jobs,
                       "rule_files": [str(ROOT / "Deploy/prometheus-alerts.yaml")]}, file)
        for _ in range(20):
            # It takes port 0 but does not say which one it got; one that was free may be taken by now.
            with socket.create_server(("127.0.0.1", 0)) as server:
                self.port = server.getsockname()[1]
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={path}", f"--storage.tsdb.path={self.folder.name}/data",
                 f"--web.listen-address=127.0.0.1:{self.port}", "--enable-feature=exemplar-storage", "--log.level=warn"],
                stdout=self.output, stderr=self.output)
            until(lambda: self.process.poll() is not None or self._is_ready(), 60, "Prometheus is ready")
            if self.process.poll() is None:
                return
        raise AssertionError("no Prometheus comes up")

    def _is_ready(self):
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=10).status == 200

    def ask(self, path, **parameters):
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}?{query}", timeout=30) as reply:
            answer = json.load(reply)
        assert answer["status"] == "success", answer
        return answer["data"]

    def values(self, query):
        """Of an instant query, by labels."""
        return {tuple(sorted(series["metric"].items())): float(series["value"][1])
                for series in self.ask("query", query=query)["result"]}

    def value(self, query):
        """Of a query with one result; None: it has none yet."""
        values = list(self.values(query).values())
        assert len(values) <= 1, values
        return values[0] if values else None

    def exemplars(self, query):
        now = time.time()
        return [(series["seriesLabels"], exemplar)
                for series in self.ask("query_exemplars", query=query, start=now - 3600, end=now + 60)
                for exemplar in series["exemplars"]]

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.process.kill()
        self.process.wait()
        if kind:
            self.output.seek(0)
            print("  Prometheus:", self.output.read()[-2000:].decode(errors="replace"))
        self.folder.cleanup()


def scripted(connection, request):
    """An upstream that does what the prompt says."""
    if b"busy" in request:
        connection.sendall(b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n")
    elif b"refuse" in request:
        body = b'{"error":{"message":"no such \\"model\\"","type":"invalid_request_error","code":"model_not_found"}}'
        connection.sendall(b"HTTP/1.1 404 X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    elif b"cut" in request:
        connection.sendall(HEAD + chunk(event({"content": "x"})))
        return "close"
    elif b"hold" in request:
        connection.sendall(HEAD + chunk(event({"content": "x"})))
        wait_closed(connection, 30)
        return "close"
    else:
        usage = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":9}}\n\n'
        connection.sendall(HEAD + chunk(event({"content": "a"})) + chunk(event({"content": "b" * 2000})))
        connection.sendall(chunk(event({}, "stop") + usage + b"data: [DONE]\n\n") + b"0\r\n\r\n")


def say(word, model="m"):
    return {**CHAT, "model": model, "messages": [{"role": "user", "content": word}]}


def crowded(url, folder, keys, certificate, **changes):
    """One of everything that is counted: retries, failover, checks, a managed process, auth, limits, resume, a Redis that is
    off, compression, TLS."""
    settings = config(url, workers=2, admin={"address": "127.0.0.1:0", "token": TOKEN}, compress=["gzip"],
                      auth={"api_keys": {"file": keys}}, redis={"url": "redis://127.0.0.1:1/0"}, **changes)
    settings["listeners"].append({"address": "127.0.0.1:0", "tls": certificate})
    upstreams, routes = settings["upstreams"], settings["routes"]
    upstreams["u"].update(retries={"attempts": 2, "backoff": "10ms", "on": [503]},
                          health_check={"path": "/health", "interval": "200ms"})
    upstreams["gone"] = {"url": "http://127.0.0.1:1/v1", "dialect": "openai-chat", "health_check": {"path": "/", "interval": "200ms"}}
    child = str(pathlib.Path(__file__).parent / "managed_child.py")
    upstreams["managed"] = {
        "url": f"unix:{folder}/child.sock", "dialect": "openai-chat",
        "process": {"command": [sys.executable, "-B", child, f"{folder}/child.sock"],
                    "ready": {"path": "/health", "interval": "50ms"}}}
    chat = {"request": "openai-chat", "response": "openai-chat"}
    routes += [
        {"path": "/over", **chat, "upstream": ["gone", "u"]}, {"path": "/gone", **chat, "upstream": "gone"},
        {"path": "/managed", **chat, "upstream": "managed"},
        {"path": "/limited", **chat, "upstream": "u", "rate_limit": {"requests": "1/h", "by": "route"}},
        {"path": "/kept", **chat, "upstream": "u", "resume": {}},
        {"path": "/elsewhere", **chat, "upstream": "u", "resume": {"store": "redis"}},
        {"path": "/named", **chat, "upstream": "u", "model": "a \"quoted\" \\ näme"},
    ]
    return settings
