"""What never leaks. A canary stands in every place where a secret can stand, and every success and failure is provoked; then
whatever left the process is searched for each of them."""

import base64
import hashlib
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from harness import (BINARY, CHAT, DONE, HEAD, Peer, Sluice, chunk, connect, drain, event, fetch, request_bytes, until,
                     wait_closed)
from test_operator import admin_port, ask

SECRETS = {name: f"canary-{name}-{index}f3a9c7e1d5" for index, name in enumerate([
    "api-key", "header", "bearer-header", "file", "variable", "unused-variable", "aws-id", "aws-secret", "aws-session",
    "query", "admin"])}
CLIENTS = {name: f"canary-client-{name}-8b2e64d0" for name in ["authorization", "cookie", "x-api-key"]}
PROMPT, ANSWER = "canary-prompt-please-tell-nobody", "canary-answer-that-nobody-logs"
HOST = "canary-host-4711.invalid"

CREDENTIALS = [f"Authorization: Bearer {CLIENTS['authorization']}", f"Cookie: session={CLIENTS['cookie']}; a=b",
               f"x-api-key: {CLIENTS['x-api-key']}"]


def echo(request):
    """All that the request showed of secrets, and the prompt, as a provider might quote it."""
    head, _, body = request.partition(b"\r\n\r\n")
    return f"refused: {head.decode()} asked {body.decode()} at {HOST} http://{HOST}:8443/v1"


def error_body(request):
    return json.dumps({"error": {"message": echo(request), "type": "invalid_request_error",
                                 "code": "invalid_api_key"}}).encode()


def say(status, body, more=b"", kind=b"application/json"):
    return b"HTTP/1.1 %d X\r\nContent-Type: %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status, kind, more, len(body), body)


def refuses(status):
    def script(connection, request):
        quoted = b"X-Quoted: " + request.split(b"\r\n\r\n")[0].replace(b"\r\n", b" | ")[:3000] + b"\r\n"
        answer = say(status, error_body(request), quoted)
        half = len(answer) // 2
        connection.sendall(answer[:half])
        time.sleep(0.02)
        connection.sendall(answer[half:])
        return "close"
    return script


def fails_in_stream(connection, request):
    connection.sendall(HEAD + chunk(b"data: " + error_body(request) + b"\n\n") + b"0\r\n\r\n")


def fails_later(connection, request):
    connection.sendall(HEAD + chunk(event({"content": ANSWER})))
    time.sleep(0.05)
    connection.sendall(chunk(b"data: " + error_body(request) + b"\n\n") + b"0\r\n\r\n")


def answers(connection, request):
    connection.sendall(HEAD + chunk(event({"content": ANSWER})) + chunk(DONE) + b"0\r\n\r\n")


def breaks(connection, request):
    connection.sendall(HEAD + chunk(event({"content": ANSWER})))
    time.sleep(0.05)
    connection.sendall(chunk(b'data: {"choices": ' + json.dumps(echo(request)).encode() + b"]}\n\n"))
    return "close"


def talks_html(connection, request):
    connection.sendall(say(200, b"<html>" + echo(request).encode(), kind=b"text/html"))
    return "close"


def is_not_http(connection, request):
    connection.sendall(echo(request).encode() + b"\r\n\r\n")
    return "close"


class SpeaksFirst(Peer):
    """Talks plain text to whoever connects, so that no TLS comes about."""

    def _serve(self, connection):
        with connection:
            connection.sendall(b"HTTP/1.1 400 this is no TLS\r\n\r\n")


SCRIPTS = {"r400": refuses(400), "r401": refuses(401), "r404": refuses(404), "r500": refuses(500), "early": fails_in_stream,
           "later": fails_later, "fine": answers, "broken": breaks, "html": talks_html, "nonsense": is_not_http}


def certificate(folder):
    key, cert = os.path.join(folder, "k.pem"), os.path.join(folder, "c.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
                    "2", "-subj", "/CN=localhost", "-keyout", key, "-out", cert], check=True, capture_output=True)
    with open(key) as file:
        return cert, key, file.read().splitlines()[1]


def settings(peers, folder, cert, key):
    secret_file = os.path.join(folder, "secret")
    with open(secret_file, "w") as file:
        file.write(SECRETS["file"] + "\n")
    token_file = os.path.join(folder, "token")
    with open(token_file, "w") as file:
        file.write(SECRETS["admin"] + "\n")
    headers = {"X-Own": SECRETS["header"], "X-Auth": "Bearer " + SECRETS["bearer-header"], "X-File": {"file": secret_file},
               "X-Variable": "${CANARY_VARIABLE}"}
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = closed.getsockname()[1]
    own = {"dialect": "openai-chat", "api_key": SECRETS["api-key"], "headers": headers,
           "timeouts": {"connect": "3s", "headers": "5s"}}
    upstreams = {name: {"url": peer.url, **own} for name, peer in peers.items()}
    upstreams["refused"] = {"url": f"http://127.0.0.1:{nobody}/v1", **own, "api_key": "another-upstream's-key", "headers": {}}
    upstreams["unknown"] = {"url": f"http://{HOST}:8443/v1", **own}
    upstreams["notls"] = {"url": peers["notls"].url.replace("http:", "https:"), **own}
    upstreams["anthropic"] = {**upstreams["r401"], "dialect": "anthropic-messages"}
    upstreams["gemini"] = {**upstreams["r401"], "dialect": "gemini"}
    upstreams["bedrock"] = {"url": peers["r401"].url, "dialect": "bedrock-converse", "headers": headers, "aws": {
        "region": "eu-central-1", "access_key_id": SECRETS["aws-id"], "secret_access_key": SECRETS["aws-secret"],
        "session_token": SECRETS["aws-session"]}}
    routes = []
    for name in upstreams:
        for form in ("text", "sse-json", "openai-chat", "vercel-ui"):
            routes.append({"path": f"/{name}/{form}", "request": "openai-chat", "response": form, "upstream": name,
                           "model": "m", "drop_unsupported": True})
        routes.append({"path": f"/{name}/raw", "request": "passthrough", "response": "passthrough", "upstream": name,
                       "upstream_path": f"/x?key={SECRETS['query']}&v=1"})
    # What the first one says is told when the second, which knows other secrets, cannot be reached.
    for first in ("r500", "early", "html"):
        routes.append({"path": f"/over/{first}", "request": "openai-chat", "response": "openai-chat",
                       "upstream": [first, "refused"]})
    routes.append({"path": "/forwarded", "request": "passthrough", "response": "passthrough", "upstream": "r401",
                   "forward_credentials": True})
    routes.append({"path": "/asked", "request": "prompt", "response": "text", "upstream": "fine", "model": "m"})
    return {"listeners": [{"address": "127.0.0.1:0"},
                          {"address": "127.0.0.1:0", "tls": {"certificate": cert, "private_key": key}}],
            "workers": 1, "admin": {"address": "127.0.0.1:0", "token": {"file": token_file}}, "log": {"level": "debug"},
            "upstreams": upstreams, "routes": routes}


BODY = {"model": "m", "stream": True, "messages": [{"role": "user", "content": PROMPT}]}


def none_of(names, text, where):
    """`names`: what must not stand in `text`, nor in the ways in which it might have been written down."""
    if isinstance(text, str):
        text = text.encode()
    for secret in names:
        for form in (secret, base64.b64encode(secret.encode()).decode()[:-4], json.dumps(secret)[1:-1], secret.encode().hex()):
            at = text.find(form.encode())
            assert at < 0, f"{secret} in {where}: {text[max(0, at - 200):at + 100]!r}"


def test_no_canary_gets_out():
    folder = tempfile.mkdtemp()
    peers = {name: Peer(script) for name, script in SCRIPTS.items()}
    peers["notls"] = SpeaksFirst(None)
    try:
        cert, key, key_line = certificate(folder)
        config = settings(peers, folder, cert, key)
        environment = {"CANARY_VARIABLE": SECRETS["variable"], "CANARY_UNUSED": SECRETS["unused-variable"]}
        own = [*SECRETS.values(), key_line]
        with Sluice(config, listeners=2, environment=environment) as proxy:
            admin, told, asked = admin_port(proxy), [], 0
            token = [f"Authorization: Bearer {SECRETS['admin']}"]
            for upstream in config["upstreams"]:
                for form in ("text", "sse-json", "openai-chat", "vercel-ui", "raw"):
                    if (upstream, form) == ("html", "raw"):
                        continue  # a document with status 200 that passes through is nobody's error
                    reply = fetch(proxy.port, f"/{upstream}/{form}", BODY, headers=CREDENTIALS)
                    none_of([*own, *CLIENTS.values()], reply.raw, f"the answer of /{upstream}/{form}")
                    none_of([HOST], reply.raw, f"the answer of /{upstream}/{form}") if upstream == "unknown" else None
                    asked += 1
            for first in ("r500", "early", "html"):
                reply = fetch(proxy.port, f"/over/{first}", BODY, headers=CREDENTIALS)
                none_of([*own, *CLIENTS.values()], reply.raw, f"the answer of /over/{first}")
            reply = fetch(proxy.port, "/forwarded", BODY, headers=CREDENTIALS)
            assert reply.status == 401 and CLIENTS["authorization"].encode() in peers["r401"].requests[-1]
            none_of([*own, *CLIENTS.values()], reply.raw, "an answer to forwarded credentials")
            fetch(proxy.port, f"/asked?prompt={PROMPT}", headers=CREDENTIALS)
            fetch(proxy.port, f"/nowhere?key={CLIENTS['x-api-key']}", BODY, headers=CREDENTIALS)
            fetch(proxy.port, "/fine/text", b"not json " + PROMPT.encode(), headers=CREDENTIALS)
            connection = connect(proxy.port)
            connection.sendall(f"GET / HTTP/1.1\r\nAuthorization {CLIENTS['authorization']}\r\n\r\n".encode())
            told.append(drain(connection))
            # Plain HTTP to the TLS listener.
            connection = connect(proxy.ports()[1])
            connection.sendall(request_bytes("/fine/text", BODY, headers=CREDENTIALS))
            told.append(drain(connection))
            until(lambda: len(proxy.exchanges()) >= asked + 4, what="the lines of all exchanges")
            # Files that cannot be loaded: the secret is where it does not belong, or its line is broken.
            bad = [json.dumps({**config, "workers": "${CANARY_VARIABLE}"}),
                   json.dumps({**config, "upstreams": {"u": {"url": f"https://u:{SECRETS['api-key']}@h/?k={SECRETS['query']}",
                                                             "dialect": "openai-chat"}}}),
                   f'upstreams:\n  u: {{api_key: "{SECRETS["api-key"]}\n',
                   f"upstreams: {{u: {{url: 'http://h', dialect: openai-chat, api_key: [{SECRETS['api-key']}]}}}}\n",
                   f"admin: {{address: '${{CANARY_UNUSED}}', token: {SECRETS['admin']}}}\n"]
            for text in bad:
                proxy.write(text)
                reply = ask(admin, "/reload", "POST", headers=token)
                assert reply.status == 422, reply.raw
                told.append(reply.raw)
                checked = subprocess.run([BINARY, "validate", proxy.path], capture_output=True,
                                         env={**os.environ, **environment})
                assert checked.returncode == 1
                told += [checked.stdout, checked.stderr]
            for path in ("/config", "/metrics", "/streams", "/livez", "/readyz", "/logging", "/"):
                told.append(ask(admin, path, headers=token).raw)
                told.append(ask(admin, path, headers=["Authorization: Bearer wrong"]).raw)
            assert b'"api_key":"***"' in b"".join(told)
            proxy.process.send_signal(signal.SIGTERM)
            assert proxy.process.wait(10) == 0
            told += [json.dumps(proxy.log), proxy.errors]
            for text in told:
                none_of([*own, *CLIENTS.values(), PROMPT, ANSWER], text, "what operators see")
            ends = {entry["end"] for entry in proxy.exchanges()}
            assert {"done", "connect", "resolve", "tls", "malformed", "upstream_status", "upstream_error"} <= ends, ends
            assert any(entry.get("upstream_error") == "invalid_api_key" for entry in proxy.exchanges())
            print(f"  {asked} exchanges, {len(told)} texts, {len(own) + len(CLIENTS) + 2} canaries")
    finally:
        for peer in peers.values():
            peer.close()
        shutil.rmtree(folder)


def test_what_is_asked_for_is_told():
    """The other way round, so that the search above is known to find what is there."""
    with Peer(refuses(401)) as refusing, Peer(answers) as fine:
        upstreams = {"r": {"url": refusing.url, "dialect": "openai-chat", "api_key": SECRETS["api-key"]},
                     "f": {"url": fine.url, "dialect": "openai-chat"},
                     "n": {"url": "http://127.0.0.1:9/v1", "dialect": "openai-chat"}}
        routes = [{"path": f"/{name}", "request": "openai-chat", "response": "text", "upstream": name} for name in upstreams]
        config = {"listeners": [{"address": "127.0.0.1:0"}], "workers": 1, "upstreams": upstreams, "routes": routes,
                  "errors": {"reveal_upstream": True}}
        for content, (refusal, prompt, answer) in {"off": (0, 0, 0), "errors": (1, 0, 0), "prompts": (1, 1, 0),
                                                   "all": (1, 1, 1)}.items():
            with Sluice({**config, "log": {"content": content}}) as proxy:
                reply = fetch(proxy.port, "/r", BODY)
                assert reply.status == 401 and b"refused: " in reply.body
                none_of([SECRETS["api-key"]], reply.raw, "the answer")
                assert b"Connection refused" in fetch(proxy.port, "/n", BODY).body
                assert ANSWER.encode() in fetch(proxy.port, "/f", BODY).body
                lines = {entry["route"]: entry for entry in until(lambda: len(proxy.exchanges()) == 3 and proxy.exchanges())}
                assert ("refused: " in lines["/r"]["detail"]) == refusal
                assert (PROMPT in lines["/f"].get("prompt", "")) == prompt
                assert (lines["/f"].get("answer") == ANSWER) == answer
                none_of([SECRETS["api-key"]], json.dumps(proxy.log), "the log")
                assert any(entry["event"] == "log_content" for entry in proxy.log) == (content != "off")


def test_a_crash_leaves_nothing_behind():
    def script(connection, request):
        connection.sendall(HEAD + chunk(event({"content": ANSWER})))
        wait_closed(connection, 30)
        return "close"

    def unlimited():
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    for number in (signal.SIGSEGV, signal.SIGABRT):
        with Peer(script) as peer, tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "c.json")
            with open(path, "w") as file:
                json.dump({"listeners": [{"address": "127.0.0.1:0"}], "workers": 1,
                           "upstreams": {"u": {"url": peer.url, "dialect": "openai-chat", "api_key": SECRETS["api-key"]}},
                           "routes": [{"path": "/t", "request": "openai-chat", "response": "text", "upstream": "u"}]}, file)
            hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
            environment = {key: value for key, value in os.environ.items() if key != "SWIFT_BACKTRACE"}
            process = subprocess.Popen([os.path.abspath(BINARY), "run", "-c", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                       cwd=folder, env=environment,
                                       preexec_fn=unlimited if hard == resource.RLIM_INFINITY else None)
            line = next(entry for entry in map(json.loads, process.stdout) if entry["event"] == "listening")
            client = connect(int(line["address"].rsplit(":", 1)[1]))
            client.sendall(request_bytes("/t", BODY, headers=CREDENTIALS))
            assert ANSWER.encode() in client.recv(65536)
            process.send_signal(number)
            out, errors = process.communicate(timeout=60)
            assert process.returncode == -number, process.returncode
            assert b"crashed, by signal %02d" % number in errors, errors
            # Not even pieces of them, such as a dump of what registers point to shows.
            canaries = [SECRETS["api-key"], PROMPT, ANSWER, *CLIENTS.values()]
            pieces = [text[at:at + 10] for text in canaries for at in range(0, len(text) - 9)]
            none_of(pieces, out + errors, "the crash's report")
            assert os.listdir(folder) == ["c.json"], os.listdir(folder)
            client.close()


def test_what_clients_show_is_told_to_nobody():
    """Keys that Sluice itself checks: right, wrong, in the query, and signed tokens."""
    own, wrong, secret = (f"canary-{name}-0123456789abcdef0123456789" for name in ("own-key", "wrong-key", "jwt-secret"))
    with tempfile.TemporaryDirectory() as folder, Peer(refuses(401)) as refusing, Peer(answers) as fine:
        keys = os.path.join(folder, "keys.txt")
        digest = hashlib.sha256(own.encode()).hexdigest()
        with open(keys, "w") as file:
            file.write(f"alice {digest}\n")
        auth = {"api_keys": {"file": keys, "query": "token"},
                "jwt": {"algorithms": ["HS256"], "secret": secret, "issuer": "https://login.example"}}
        routes = [{"path": f"/{name}/{form}", "request": "passthrough" if form == "passthrough" else "openai-chat",
                   "response": form, "upstream": name} for name in ("r", "f") for form in ("text", "passthrough")]
        config = {"listeners": [{"address": "127.0.0.1:0"}], "workers": 1, "admin": {"address": "127.0.0.1:0"}, "auth": auth,
                  "log": {"level": "debug"}, "routes": routes,
                  "upstreams": {"r": {"url": refusing.url, "dialect": "openai-chat", "api_key": SECRETS["api-key"]},
                                "f": {"url": fine.url, "dialect": "openai-chat", "api_key": SECRETS["api-key"]}}}
        with Sluice(config) as proxy:
            admin, told, statuses = admin_port(proxy), [], set()
            for route in routes:
                for shown in ([f"Authorization: Bearer {own}"], [f"x-api-key: {wrong}"],
                              [f"Authorization: Bearer a.{wrong}.c"]):
                    reply = fetch(proxy.port, route["path"], BODY, headers=shown)
                    told.append(reply.raw)
                    statuses.add(reply.status)
                told.append(fetch(proxy.port, route["path"] + f"?token={own}", BODY).raw)
                told.append(fetch(proxy.port, route["path"] + f"?token={wrong}", BODY).raw)
            assert statuses == {200, 401}
            until(lambda: len(proxy.exchanges()) == 20)
            assert any(entry.get("key") == "alice" for entry in proxy.exchanges())
            told += [ask(admin, path).raw for path in ("/config", "/metrics", "/streams")]
            told += [request for peer in (refusing, fine) for request in peer.requests]
            told.append(json.dumps(proxy.log))
            for text in told:
                none_of([own, wrong, secret, digest], text, "whatever left the process")
