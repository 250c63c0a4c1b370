"""Who may come in: keys, tokens, certificates, pages of other origins, and how often."""

import base64
import hashlib
import hmac
import json
import os
import signal
import ssl
import subprocess
import tempfile
import threading
import time

import anthropic
import openai
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from google import genai
from playwright.sync_api import sync_playwright

from harness import (BINARY, CHAT, HEAD, TOKENS, Peer, Reply, Sluice, chunk, config, connect, drain, event, fetch, request_bytes,
                     stream, until)
from http2_peer import Gone, connect_http2
from test_requests import certificates, tls_request

CANARY = "slc_canary-that-no-log-and-no-upstream-may-see"


def digest(key):
    return hashlib.sha256(key.encode()).hexdigest()


def keys_file(folder, lines):
    path = os.path.join(folder, "keys.txt")
    with open(path, "w") as file:
        file.write("# name hash settings\n" + "".join(line + "\n" for line in lines))
    return path


def line(name, key, settings=""):
    return f"{name} {digest(key)} {settings}"


def usage(prompt, completion):
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return b"data: " + json.dumps({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
                                   "choices": [], "usage": counts}).encode() + b"\n\n"


def counted(prompt, completion):
    """An upstream whose answers have cost so much."""
    def script(connection, request):
        connection.sendall(HEAD + chunk(event({"role": "assistant", "content": "Hi"})) + chunk(event({}, "stop"))
                           + chunk(usage(prompt, completion)) + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
    return script


def keyed(peer, folder, lines=None, **changes):
    path = keys_file(folder, lines or [line("alice", CANARY)])
    return config(peer.url, auth={"api_keys": {"file": path}}, **changes)


def bearer(key):
    return [f"Authorization: Bearer {key}"]


def said(request, name):
    """The values of a field, as the upstream got it."""
    head = request.split(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return [value for key, value in (entry.split(": ", 1) for entry in head) if key.lower() == name]


def fetch_http2(client, method, path, fields, body=None):
    """An answer may come, and the stream be over, before the body has left."""
    fields = [(name.lower(), value) for name, value in fields]
    if body is None:
        return client.fetch(path, method=method, fields=fields)
    asked = client.request(path, method=method, fields=fields, end=False)
    try:
        asked.data(json.dumps(body).encode() if isinstance(body, dict) else body, end=True)
    except Gone:
        pass
    return asked.wait_over()


# Keys


def test_access_key_command():
    def run(*words, given=None):
        made = subprocess.run([BINARY, "key", *words], capture_output=True, text=True, input=given)
        assert made.returncode == 0, made.stderr
        return made.stdout.splitlines()

    one, other = run("new", "--name", "bob"), run("new")
    assert one[0] != other[0] and one[0].startswith("slc_") and len(one[0]) == 4 + 43, one
    assert one[1] == f"bob {digest(one[0])}" and other[1] == f"client {digest(other[0])}"
    assert run("hash", "--name", "carol", given="secret\n") == [f"carol {digest('secret')}"]
    assert subprocess.run([BINARY, "key", "new", "--name", "a b"], capture_output=True).returncode == 2


def test_access_keys_over_both_protocols():
    with tempfile.TemporaryDirectory() as folder, Peer(lambda c, r: stream(c)) as peer:
        with Sluice(keyed(peer, folder)) as proxy:
            second = connect_http2(proxy.port)

            def over_h1(path, fields):
                reply = fetch(proxy.port, path, CHAT, headers=[f"{name}: {value}" for name, value in fields])
                return reply.status, reply.headers, reply.body

            def over_h2(path, fields):
                answer = fetch_http2(second, "POST", path, fields, CHAT)
                return answer.status, dict(answer.fields), bytes(answer.body)

            for ask in (over_h1, over_h2):
                answers = []
                for fields in ([], [("Authorization", "Bearer slc_wrong")], [("x-api-key", "slc_wrong")],
                               [("Authorization", "Basic " + CANARY)], [("Cookie", "key=" + CANARY)]):
                    status, headers, body = ask("/openai-chat", fields)
                    assert status == 401 and headers["www-authenticate"].startswith("Bearer "), (fields, headers)
                    error = json.loads(body)["error"]
                    assert error["code"] == "unauthenticated", body
                    answers.append(body)
                assert len(set(answers)) == 1, "what was wrong is told"
                assert not peer.requests
                for fields in ([("Authorization", "Bearer " + CANARY)], [("x-api-key", CANARY)],
                               [("X-Goog-Api-Key", CANARY)], [("api-key", CANARY)]):
                    for path in ("/openai-chat", "/v1/chat/completions"):
                        status, _, body = ask(path, [*fields, ("Cookie", "session=" + CANARY)])
                        assert status == 200 and b"[DONE]" in body, (fields, body)
                    assert said(peer.requests[-1], "authorization") == ["Bearer sk-canary-own"]
                peer.requests.clear() if not any(CANARY.encode() in r for r in peer.requests) else None
                assert not peer.requests, "a client's key has reached the upstream"
            second.close()
            until(lambda: len(proxy.exchanges()) == 26, what="log lines")
            good = [entry for entry in proxy.exchanges() if entry["status"] == 200]
            assert all(entry["key"] == "alice" for entry in good) and len(good) == 16
            bad = [entry for entry in proxy.exchanges() if entry["status"] == 401]
            assert all(entry["end"] == "unauthenticated" and "key" not in entry for entry in bad) and len(bad) == 10
            assert CANARY not in json.dumps(proxy.log) and CANARY.encode() not in proxy.errors


def test_access_errors_speak_the_clients_dialect():
    with tempfile.TemporaryDirectory() as folder, Peer(lambda c, r: stream(c)) as peer:
        settings = keyed(peer, folder)
        settings["routes"] = [
            {"path": f"/{name}", "request": name, "response": name, "upstream": "u"}
            for name in ("anthropic", "gemini", "ollama-chat", "cohere", "openai-responses")]
        settings["routes"].append({"path": "/open", "request": "prompt", "response": "text", "upstream": "u", "auth": "none"})
        with Sluice(settings) as proxy:
            def error(name):
                reply = fetch(proxy.port, "/" + name, {})
                assert reply.status == 401
                return json.loads(reply.body)

            assert error("anthropic")["error"]["type"] == "authentication_error"
            assert error("gemini")["error"]["status"] == "UNAUTHENTICATED"
            assert isinstance(error("ollama-chat")["error"], str) and error("cohere")["message"]
            assert error("openai-responses")["error"]["code"] == "unauthenticated"
            assert fetch(proxy.port, "/open", b"hi").status == 200


def test_access_is_decided_before_the_body():
    """Nobody who may not come in has 32 MiB read, over either protocol, also where the body chooses the route."""
    with tempfile.TemporaryDirectory() as folder, Peer(lambda c, r: stream(c)) as peer:
        settings = keyed(peer, folder)
        settings["routes"].insert(0, {"path": "/by-model", "request": "openai-chat", "response": "text", "upstream": "u",
                                      "when": {"body.model": "m*"}})
        with Sluice(settings) as proxy:
            for path in ("/text", "/by-model", "/v1/files"):
                for extra in ([], ["Expect: 100-continue"]):
                    connection = connect(proxy.port)
                    head = ["Content-Length: 33554432", "Host: x", "x-api-key: wrong", *extra]
                    connection.sendall("\r\n".join([f"POST {path} HTTP/1.1", *head]).encode() + b"\r\n\r\n" + b"{" * 1000)
                    reply = Reply(drain(connection))
                    assert reply.status == 401 and reply.complete and reply.headers["connection"] == "close", reply.raw
                client = connect_http2(proxy.port)
                refused = client.request(path, method="POST", end=False, fields=[("x-api-key", "wrong")]).wait_over()
                assert refused.status == 401 and refused.complete, refused.fields
                # The connection is as good as before.
                assert client.fetch("/text", CHAT, fields=[("x-api-key", CANARY)]).status == 200
                client.close()
            # What is left of a short body is read over.
            connection = connect(proxy.port)
            connection.sendall(request_bytes("/text", CHAT) + request_bytes(
                "/text", CHAT, headers=["Connection: close", "api-key: " + CANARY]))
            first, _, rest = drain(connection).partition(b"\n}")[0].partition(b"HTTP/1.1 200")
            assert first.startswith(b"HTTP/1.1 401") and rest
            assert fetch(proxy.port, "/by-model", CHAT, headers=bearer(CANARY)).status == 200
            assert fetch(proxy.port, "/by-model", {"model": "x"}, headers=bearer(CANARY)).status == 404


def test_access_keys_change_with_a_reload():
    with tempfile.TemporaryDirectory() as folder, Peer(lambda c, r: stream(c)) as peer:
        settings = keyed(peer, folder, [line("old", "one"), line("gone", "past", "expires=2020-01-01")])
        settings["routes"][0]["auth"] = {"api_keys": {"file": settings["auth"]["api_keys"]["file"], "names": ["ne*"]}}
        with Sluice(settings) as proxy:
            def status(key, path="/sse-text"):
                return fetch(proxy.port, path, CHAT, headers=bearer(key)).status

            assert (status("one"), status("two"), status("past")) == (200, 401, 401)
            assert status("one", "/text") == 403
            keys_file(folder, [line("new", "two")])
            proxy.process.send_signal(signal.SIGHUP)
            until(lambda: any(entry["event"] == "reloaded" for entry in proxy.log), what="reloaded")
            until(lambda: (status("one"), status("two")) == (401, 200), what="the new keys")
            assert status("two", "/text") == 200
            keys_file(folder, ["broken"])
            proxy.process.send_signal(signal.SIGHUP)
            failed = until(lambda: [e for e in proxy.log if e["event"] == "reload_failed"], what="the fault")
            assert "keys.txt:2:" in failed[0]["error"] and "broken" not in failed[0]["error"]
            assert status("two") == 200


def test_access_keys_in_the_query():
    """Where a route takes them, they go no further: neither to the upstream nor into the log."""
    with tempfile.TemporaryDirectory() as folder, Peer(lambda c, r: stream(c)) as peer:
        settings = keyed(peer, folder)
        settings["auth"]["api_keys"]["query"] = "token"
        settings["upstreams"]["g"] = {"url": peer.url, "dialect": "gemini", "api_key": "g-own"}
        passing = {"request": "passthrough", "response": "passthrough"}
        settings["routes"].insert(0, {"path": "/g/*", "upstream": "g", **passing})
        with Sluice(settings) as proxy:
            assert fetch(proxy.port, f"/stream?prompt=hi&token={CANARY}").status == 200
            assert fetch(proxy.port, f"/stream?prompt=hi&key={CANARY}").status == 401
            assert fetch(proxy.port, f"/v1/x?a=1&token={CANARY}&b=%20&k", b"x").status == 200
            assert peer.requests[-1].startswith(b"POST /v1/x?a=1&b=%20&k HTTP"), peer.requests[-1]
            assert fetch(proxy.port, f"/g/m?alt=sse&%6bey={CANARY}", b"x").status == 200
            assert peer.requests[-1].startswith(b"POST /v1/m?alt=sse HTTP"), peer.requests[-1]
            assert fetch(proxy.port, f"/v1/x?token={CANARY}", b"x").status == 200
            assert peer.requests[-1].startswith(b"POST /v1/x HTTP"), peer.requests[-1]
            assert not any(CANARY.encode() in request for request in peer.requests)
            until(lambda: len(proxy.exchanges()) == 5, what="log lines")
            assert CANARY not in json.dumps(proxy.log)


# Tokens


def text64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(sign, claims, **header):
    parts = [text64(json.dumps(part).encode()) for part in (header, claims)]
    message = ".".join(parts).encode()
    return ".".join([*parts, text64(sign(message))])


def test_access_tokens():
    rsa_key = rsa.generate_private_key(65537, 2048)
    ec_key = ec.generate_private_key(ec.SECP256R1())
    ed_key = ed25519.Ed25519PrivateKey.generate()
    secret = "a-secret-of-more-than-thirty-two-bytes"

    def es256(message):
        r, s = utils.decode_dss_signature(ec_key.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def number(value, size=None):
        return text64(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))

    rs256 = lambda message: rsa_key.sign(message, padding.PKCS1v15(), hashes.SHA256())
    hs256 = lambda message: hmac.new(secret.encode(), message, hashlib.sha256).digest()
    pem = rsa_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    public, point = rsa_key.public_key().public_numbers(), ec_key.public_key().public_numbers()
    raw = ed_key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    keys = {"keys": [
        {"kty": "RSA", "kid": "r", "alg": "RS256", "use": "sig", "n": number(public.n), "e": number(public.e)},
        {"kty": "EC", "kid": "e", "crv": "P-256", "x": number(point.x, 32), "y": number(point.y, 32)},
        {"kty": "OKP", "kid": "o", "crv": "Ed25519", "x": text64(raw)}]}
    with tempfile.TemporaryDirectory() as folder, Peer(lambda c, r: stream(c)) as peer:
        def place(name, data):
            with open(os.path.join(folder, name), "wb") as file:
                file.write(data)
            return os.path.join(folder, name)

        settings = config(peer.url)
        common = {"issuer": "https://login.example", "audience": "sluice"}
        for route, jwt in zip(settings["routes"], [
                {"algorithms": ["RS256", "ES256", "EdDSA"], "jwks": place("keys.json", json.dumps(keys).encode()), **common},
                {"algorithms": "RS256", "key": place("rsa.pem", pem), **common},
                [{"algorithms": "HS256", "secret": secret, **common},
                 {"algorithms": "RS256", "key": place("rsa.pem", pem), "issuer": "other", "claims": {"scope": "chat"}}]]):
            route["auth"] = {"jwt": jwt}
        now = int(time.time())
        good = {"iss": "https://login.example", "aud": ["sluice", "x"], "sub": "user-1", "exp": now + 600, "nbf": now - 600}
        with Sluice(settings) as proxy:
            def status(path, made):
                return fetch(proxy.port, path, CHAT, headers=bearer(made)).status

            jwks, key, several = "/text", "/sse-text", "/sse-json"
            assert status(jwks, token(rs256, good, alg="RS256", kid="r")) == 200
            assert status(jwks, token(es256, good, alg="ES256", kid="e")) == 200
            assert status(jwks, token(ed_key.sign, good, alg="EdDSA", kid="o")) == 200
            assert status(jwks, token(ed_key.sign, good, alg="EdDSA")) == 200
            assert status(key, token(rs256, good, alg="RS256", kid="whatever")) == 200
            assert status(several, token(hs256, good, alg="HS256")) == 200
            other = {"iss": "other", "sub": "u", "exp": now + 600}
            assert status(several, token(rs256, {**other, "scope": "read chat"}, alg="RS256")) == 200
            assert status(several, token(rs256, {**other, "scope": "read"}, alg="RS256")) == 403
            accepted = len(peer.requests)

            as_secret = lambda message: hmac.new(pem, message, hashlib.sha256).digest()
            swapped = lambda message: es256(message)[32:] + es256(message)[:32]
            der = lambda message: ec_key.sign(message, ec.ECDSA(hashes.SHA256()))
            refused = [
                (jwks, token(lambda m: b"", good, alg="none")), (jwks, token(rs256, good, alg="none", kid="r")),
                (jwks, token(hs256, good, alg="HS256")), (key, token(as_secret, good, alg="HS256")),
                (several, token(as_secret, good, alg="HS256")), (jwks, token(rs256, good, alg="RS256", kid="e")),
                (jwks, token(rs256, good, alg="ES256", kid="r")), (jwks, token(rs256, good, alg="RS256", kid="nobody")),
                (jwks, token(swapped, good, alg="ES256", kid="e")), (jwks, token(der, good, alg="ES256", kid="e")),
                (key, token(es256, good, alg="ES256")), (key, token(rs256, good, alg="RS512")),
                (key, token(rs256, {**good, "exp": now - 60}, alg="RS256")),
                (key, token(rs256, {**good, "nbf": now + 600}, alg="RS256")),
                (key, token(rs256, {**good, "aud": "x"}, alg="RS256")),
                (key, token(rs256, {**good, "iss": "https://login.example/"}, alg="RS256")),
                (key, token(rs256, {k: v for k, v in good.items() if k != "exp"}, alg="RS256")),
                (key, token(rs256, {k: v for k, v in good.items() if k != "aud"}, alg="RS256")),
                (key, token(rs256, {**good, "sub": "a\0b"}, alg="RS256")), (key, token(rs256, good, alg="RS256", crit=["x"])),
                (key, token(rs256, good, alg="RS256") + "="), (key, token(rs256, {**good, "x": "y" * 17000}, alg="RS256")),
                (several, token(rs256, {**other, "aud": "sluice"}, alg="RS256"))]
            for number_of, (path, made) in enumerate(refused):
                assert status(path, made) == 401, (number_of, path)
            assert len(peer.requests) == accepted
            until(lambda: len(proxy.exchanges()) == 8 + len(refused), what="log lines")
            assert proxy.exchanges()[0]["key"] == "user-1" and not any("eyJ" in json.dumps(e) for e in proxy.log)


def test_access_forwards_no_key_of_its_own():
    """`forward_credentials` is for what the client has for the upstream, never for what has let it in here."""
    with tempfile.TemporaryDirectory() as folder, Peer(lambda c, r: stream(c)) as peer:
        settings = keyed(peer, folder, upstream={"api_key": ""})
        settings["auth"]["api_keys"]["query"] = "token"
        settings["routes"][-1]["forward_credentials"] = True
        with Sluice(settings) as proxy:
            def passed(target, *headers):
                assert fetch(proxy.port, target, b"x", headers=headers).status == 200
                assert CANARY.encode() not in peer.requests[-1], peer.requests[-1]
                return peer.requests[-1]

            request = passed("/v1/x", "x-api-key: " + CANARY, "Authorization: Bearer theirs", "Cookie: a=b")
            assert "Bearer theirs" in said(request, "authorization") and said(request, "cookie") == ["a=b"]
            request = passed("/v1/x", "Authorization: bearer  " + CANARY, "api-key: theirs")
            assert said(request, "api-key") == ["theirs"]
            request = passed("/v1/x?token=" + CANARY + "&token=theirs", "api-key: wrong")
            assert request.startswith(b"POST /v1/x?token=theirs HTTP"), request


def test_access_certificates():
    with tempfile.TemporaryDirectory() as folder, Peer(lambda c, r: stream(c)) as peer:
        certificates(folder)
        path = lambda name: os.path.join(folder, name)
        settings = config(peer.url, listeners=[{"address": "127.0.0.1:0", "tls": {
            "certificate": path("server.crt"), "private_key": path("server.key"), "client_ca": path("ca.crt")}}])
        subjects = {"/text": ["CN=a *"], "/sse-text": ["CN=another"], "/sse-json": ["CN=x"]}
        for route in settings["routes"][:3]:
            route["auth"] = {"mtls": {"subjects": subjects[route["path"]]}}
        settings["routes"][2]["auth"]["api_keys"] = {"file": keys_file(folder, [line("alice", CANARY)])}
        with Sluice(settings) as proxy:
            anonymous = ssl.create_default_context(cafile=path("ca.crt"))
            known = ssl.create_default_context(cafile=path("ca.crt"))
            known.load_cert_chain(path("client.crt"), path("client.key"))

            def status(context, route, headers=()):
                return Reply(tls_request(proxy.port, context, request_bytes(
                    route, CHAT, headers=["Connection: close", *headers]))).status

            assert (status(known, "/text"), status(known, "/sse-text"), status(known, "/ndjson")) == (200, 403, 200)
            assert (status(anonymous, "/text"), status(anonymous, "/ndjson")) == (403, 200)
            assert (status(anonymous, "/sse-json"), status(known, "/sse-json")) == (401, 403)
            assert status(anonymous, "/sse-json", bearer(CANARY)) == 200
            until(lambda: len(proxy.exchanges()) == 8, what="log lines")
            assert [e.get("key") for e in proxy.exchanges()[:2]] == ["CN=a client", "CN=a client"]


# Pages of other origins


def test_access_pages_of_other_origins():
    page, stranger = "https://app.example.com", "https://evil.example"

    def script(connection, request):
        if b"/fail" in request.split(b"\r\n")[0]:
            connection.sendall(b"HTTP/1.1 400 X\r\nContent-Length: 0\r\nAccess-Control-Allow-Origin: *\r\n\r\n")
        else:
            stream(connection)

    with tempfile.TemporaryDirectory() as folder, Peer(script) as peer:
        settings = keyed(peer, folder, [line("alice", CANARY, "requests=4/h")],
                         cors={"origins": [page, "https://*.example.org"], "credentials": True})
        settings["routes"][0]["methods"] = ["POST"]
        settings["routes"][1]["cors"] = {"origins": "*", "headers": ["x-a"], "max_age": "1h"}
        settings["routes"][2]["cors"] = "none"
        with Sluice(settings) as proxy:
            second = connect_http2(proxy.port)

            def over_h1(method, path, origin, fields=(), body=None):
                lines = [f"{name}: {value}" for name, value in (("Origin", origin), *fields) if value]
                reply = fetch(proxy.port, path, body, method=method, headers=lines)
                return reply.status, reply.headers, reply.body

            def over_h2(method, path, origin, fields=(), body=None):
                given = [(name.lower(), value) for name, value in (("Origin", origin), *fields) if value]
                answer = fetch_http2(second, method, path, given, body)
                headers = {}
                for name, value in answer.fields:
                    headers[name] = headers[name] + ", " + value if name in headers else value
                return answer.status, headers, bytes(answer.body)

            def preflight(ask, path, origin, method="POST"):
                return ask("OPTIONS", path, origin, [
                    ("Access-Control-Request-Method", method),
                    ("Access-Control-Request-Headers", "authorization,content-type")])

            for ask in (over_h1, over_h2):
                for path in ("/text", "/v1/chat/completions"):
                    status, headers, body = preflight(ask, path, page)
                    assert status == 204 and not body and headers["access-control-allow-origin"] == page, headers
                    assert headers["access-control-allow-credentials"] == "true"
                    assert headers["access-control-allow-headers"] == "authorization,content-type"
                    assert "POST" in headers["access-control-allow-methods"] and "Origin" in headers["vary"]
                assert preflight(ask, "/text", page)[1]["access-control-allow-methods"] == "POST"
                assert preflight(ask, "/text", "https://a.example.org")[0] == 204
                status, headers, _ = preflight(ask, "/sse-text", stranger)
                assert (headers["access-control-allow-origin"], headers["access-control-allow-headers"]) == ("*", "x-a")
                assert headers["access-control-max-age"] == "3600" and "access-control-allow-credentials" not in headers
                for origin in (stranger, "null", page + ".evil.example", "http://app.example.com", "https://a.b.example.org"):
                    status, headers, _ = preflight(ask, "/text", origin)
                    assert status == 403 and not any(name.startswith("access-control") for name in headers), origin
                assert "access-control-allow-origin" not in preflight(ask, "/sse-json", page)[1]
            assert not peer.requests

            def readable(answer, status):
                assert answer[0] == status and answer[1]["access-control-allow-origin"] == page, answer
                assert "x-request-id" in answer[1]["access-control-expose-headers"].lower() and "Origin" in answer[1]["vary"]

            key = [("Authorization", "Bearer " + CANARY)]
            for ask in (over_h1, over_h2):
                readable(ask("POST", "/text", page, body=CHAT), 401)
                readable(ask("GET", "/text", page), 405)
                readable(ask("GET", "/nowhere", page), 404)
                readable(ask("POST", "/text", page, key, CHAT), 200)
            status, headers, _ = over_h2("POST", "/v1/fail", page, key, b"x")
            assert status == 400 and headers["access-control-allow-origin"] == page, "the upstream's own is dropped"
            status, headers, _ = over_h2("POST", "/text", None, key, CHAT)
            assert status == 200 and headers["vary"] == "Origin" and "access-control-allow-origin" not in headers
            for ask in (over_h1, over_h2):
                limited = ask("POST", "/text", page, key, CHAT)
                readable(limited, 429)
                assert "retry-after" in limited[1] and "retry-after" in limited[1]["access-control-expose-headers"].lower()
                assert "access-control-allow-origin" not in ask("POST", "/text", stranger, body=CHAT)[1]
            second.close()


# Limits


def test_access_limits_hold_over_all_workers():
    """Forty clients at once, each on a connection of its own, four workers: no more than the limit get through."""
    with Peer(lambda c, r: stream(c)) as peer:
        settings = config(peer.url, workers=4)
        settings["routes"][0]["rate_limit"] = {"requests": "15/h", "by": "route"}
        with Sluice(settings) as proxy:
            replies = []
            threads = [threading.Thread(target=lambda: replies.append(fetch(proxy.port, "/text", CHAT))) for _ in range(40)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            statuses = sorted(reply.status for reply in replies)
            assert statuses == [200] * 15 + [429] * 25, statuses
            left = sorted(int(r.headers["x-ratelimit-remaining-requests"]) for r in replies if r.status == 200)
            assert left == list(range(15)), left
            refused = next(reply for reply in replies if reply.status == 429)
            assert 200 < int(refused.headers["retry-after"]) <= 240, refused.raw
            assert refused.headers["x-ratelimit-limit-requests"] == "15"
            assert json.loads(refused.body)["error"]["code"] == "rate_limit_requests"
            assert len(peer.requests) == 15
            # A reload gives nobody a fresh start.
            proxy.process.send_signal(signal.SIGHUP)
            until(lambda: any(entry["event"] == "reloaded" for entry in proxy.log), what="reloaded")
            assert fetch(proxy.port, "/text", CHAT).status == 429


def test_access_places_are_freed_whatever_the_ending():
    """`concurrent: 2`, and exchanges that end in every way there is: two places are free after each."""
    gate = threading.Event()

    def script(connection, request):
        if b"cut" in request:
            connection.sendall(HEAD + chunk(event({"content": "half"})))
            return "close"
        if b"fail" in request:
            connection.sendall(b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n")
            return None
        if b"refuse" in request:
            return "close"
        connection.sendall(HEAD + chunk(event({"role": "assistant", "content": "Hi"})))
        gate.wait(20)
        connection.sendall(chunk(event({}, "stop") + b"data: [DONE]\n\n") + b"0\r\n\r\n")

    def say(text):
        return {**CHAT, "messages": [{"role": "user", "content": text}]}

    with Peer(script) as peer:
        settings = config(peer.url, workers=2)
        for route in settings["routes"]:
            route["rate_limit"] = {"concurrent": 2, "by": "route"}
        settings["routes"][1]["on_disconnect"] = "drain"
        with Sluice(settings) as proxy:
            def hold(path):
                connection = connect(proxy.port)
                connection.sendall(request_bytes(path, say("hold")))
                until(lambda: b"200 OK" in connection.recv(65536), what="the first token")
                return connection

            def is_full(path):
                reply = fetch(proxy.port, path, say("x"))
                return reply.status == 429 and reply.headers["retry-after"] == "1"

            held = [hold("/text"), hold("/text")]
            assert is_full("/text")
            # The client leaves.
            for connection in held:
                connection.close()
            until(lambda: sum(e["end"] == "client_gone" for e in proxy.exchanges()) == 2, what="both are gone")
            for text in ("cut", "fail", "refuse", "cut", "fail", "refuse"):
                assert fetch(proxy.port, "/text", say(text)).status in (200, 502), text
            assert fetch(proxy.port, "/text", b"not json").status == 400
            # An HTTP/2 client resets its streams.
            second = connect_http2(proxy.port)
            streams = [second.request("/text", say("hold")) for _ in range(2)]
            for each in streams:
                each.wait(lambda s: s.body, "a token")
            assert is_full("/text")
            for each in streams:
                with second.acting() as h2:
                    h2.reset_stream(each.number)
            until(lambda: sum(e["end"] == "client_gone" for e in proxy.exchanges()) == 4, what="both are reset")
            held = [hold("/text"), hold("/text")]
            assert is_full("/text")
            # A place of its own for each route; with `drain` it is taken until the upstream has finished.
            held += [hold("/sse-text"), hold("/sse-text")]
            for connection in held[2:]:
                connection.close()
            assert is_full("/sse-text")
            gate.set()
            until(lambda: fetch(proxy.port, "/sse-text", say("x")).status == 200, what="the drained ones are over")
            for connection in held[:2]:
                until(lambda: connection.recv(65536).endswith(b"0\r\n\r\n"), what="the whole answer")
            second.close()
            until(lambda: fetch(proxy.port, "/text", say("x")).status == 200, what="free again")


def test_access_tokens_are_counted_and_corrected():
    with Peer(counted(700, 600)) as peer:
        settings = config(peer.url)
        for route in settings["routes"]:
            route["rate_limit"] = {"tokens": "1000/h", "by": "route"}
        settings["routes"].append({"path": "/claude", "request": "anthropic", "response": "anthropic", "upstream": "u",
                                   "rate_limit": [{"tokens": "1000/h", "by": "route"}, {"requests": "9/h", "by": "route"}]})
        with Sluice(settings) as proxy:
            first = fetch(proxy.port, "/sse-json", CHAT)
            assert first.status == 200 and int(first.headers["x-ratelimit-remaining-tokens"]) > 900, first.raw
            refused = fetch(proxy.port, "/sse-json", CHAT)
            assert refused.status == 429 and refused.headers["x-ratelimit-remaining-tokens"] == "0"
            # 300 over the limit, and what the next one needs, at 1,000 an hour.
            assert 1080 <= int(refused.headers["retry-after"]) <= 1200, refused.headers
            ask = {"model": "m", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "hi"}]}
            claude = fetch(proxy.port, "/claude", ask)
            assert claude.status == 200 and claude.headers["anthropic-ratelimit-requests-remaining"] == "8"
            assert claude.headers["anthropic-ratelimit-tokens-limit"] == "1000"
            assert claude.headers["anthropic-ratelimit-tokens-reset"].endswith("Z")
            assert json.loads(fetch(proxy.port, "/claude", ask).body)["error"]["type"] == "rate_limit_error"

    def document(connection, request):
        if b"missing" in request:
            return connection.sendall(b"HTTP/1.1 404 X\r\nContent-Length: 2\r\n\r\n{}")
        body = json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 400, "completion_tokens": 500, "total_tokens": 900}}).encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nx-ratelimit-remaining-tokens: 77\r\n"
                           b"x-ratelimit-remaining-requests: 55\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    # Documents that are relayed as they are count too, and failures do not.
    with Peer(document) as peer:
        settings = config(peer.url)
        for route in settings["routes"]:
            route["rate_limit"] = {"tokens": "1000/h", "by": "route"}
        with Sluice(settings) as proxy:
            for path in ("/openai-chat", "/v1/chat/completions"):
                missing = {**CHAT, "stream": False, "user": "missing"}
                for _ in range(3):
                    assert fetch(proxy.port, path, missing).status == 404
                reply = fetch(proxy.port, path, {**CHAT, "stream": False})
                assert reply.status == 200 and json.loads(reply.body)["usage"]["total_tokens"] == 900
                # Its own limit is told; where it has none, the upstream's.
                assert int(reply.headers["x-ratelimit-remaining-tokens"]) > 900, reply.headers
                assert reply.headers["x-ratelimit-remaining-requests"] == "55"
                left = int(fetch(proxy.port, path, missing).headers["x-ratelimit-remaining-tokens"])
                assert 40 <= left <= 100, left


def test_access_tokens_count_while_they_stream():
    """A long answer is taken from the limit as it comes, and not only when it is over; what it really cost is settled then."""
    go_on = threading.Event()

    def long(connection, request):
        connection.sendall(HEAD)
        for index in range(500):
            connection.sendall(chunk(event({"content": f"{index} "})))
        go_on.wait(20)
        usage = {"usage": {"prompt_tokens": 5, "completion_tokens": 20, "total_tokens": 25}, "choices": []}
        connection.sendall(chunk(event({}, "stop")) + chunk(b"data: " + json.dumps(usage).encode() + b"\n\n"))
        connection.sendall(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    with Peer(long) as peer:
        settings = config(peer.url)
        for route in settings["routes"]:
            route["rate_limit"] = {"tokens": "400/h", "by": "route"}
        with Sluice(settings) as proxy:
            first = connect(proxy.port)
            first.sendall(request_bytes("/text", CHAT, headers=["Connection: close"]))
            got = b""
            while b"499 " not in got:
                got += first.recv(65536)
            refused = fetch(proxy.port, "/text", CHAT)
            assert refused.status == 429 and len(peer.requests) == 1, refused.raw
            go_on.set()
            assert drain(first).endswith(b"0\r\n\r\n")
            assert until(lambda: fetch(proxy.port, "/text", CHAT).status == 200, what="the truth is settled")


def test_access_limits_by_key_and_address():
    with tempfile.TemporaryDirectory() as folder, Peer(lambda c, r: stream(c)) as peer:
        lines = [line("a", "one", "requests=2/h"), line("a", "two", "requests=2/h"), line("b", "three")]
        settings = keyed(peer, folder, lines, trusted_proxies=["127.0.0.0/8"], rate_limit={"requests": "6/h", "by": "key"})
        settings["routes"][0].update({"auth": "none", "rate_limit": {"requests": "3/h", "by": "address"}})
        with Sluice(settings) as proxy:
            def status(key, path):
                return fetch(proxy.port, path, CHAT, headers=bearer(key)).status

            # Both keys of one name share what it may do, over all routes.
            assert [status("one", "/sse-text"), status("two", "/ndjson"), status("one", "/sse-json")] == [200, 200, 429]
            assert [status("three", path) for path in ("/sse-text", "/ndjson") * 4] == [200] * 6 + [429] * 2

            def ask(forwarded):
                return fetch(proxy.port, "/text", CHAT, headers=[f"X-Forwarded-For: {forwarded}"]).status

            assert [ask("9.9.9.9") for _ in range(4)] == [200, 200, 200, 429]
            assert ask("6.6.6.6, 9.9.9.9, 127.0.0.7") == 429, "what a client makes up itself"
            assert ask("8.8.8.8") == 200
            assert [ask(f"2001:db8::{n}") for n in range(4)] == [200, 200, 200, 429], "a /64 is one client"
            assert ask("2001:db8:0:1::1") == 200
            until(lambda: len(proxy.exchanges()) == 22, what="log lines")
            assert [e["client"] for e in proxy.exchanges()[-11:-5]] == ["9.9.9.9"] * 5 + ["8.8.8.8"]
            assert all(e["client"] == "127.0.0.1" for e in proxy.exchanges()[:11])


# SDKs


def test_access_as_the_sdks_see_it():
    """Each SDK puts the key in its own place, and raises its own errors."""
    with tempfile.TemporaryDirectory() as folder, Peer(lambda c, r: stream(c)) as peer:
        settings = keyed(peer, folder, [line("alice", CANARY, "requests=3/h")])
        settings["routes"] = [
            {"path": "/o/chat/completions", "request": "openai-chat", "response": "openai-chat", "upstream": "u"},
            {"path": "/v1/messages", "request": "anthropic", "response": "anthropic", "upstream": "u"},
            {"path": "/v1beta/models/*", "request": "gemini", "response": "gemini", "upstream": "u"}]
        messages = [{"role": "user", "content": "hi"}]
        with Sluice(settings) as proxy:
            base = f"http://127.0.0.1:{proxy.port}"

            def raised(call, kind):
                try:
                    call()
                except kind as error:
                    return error
                raise AssertionError(f"no {kind.__name__}")

            def ask_openai(key):
                with openai.OpenAI(base_url=base + "/o", api_key=key, max_retries=0) as client:
                    return list(client.chat.completions.create(model="m", messages=messages, stream=True))

            def ask_anthropic(key=None, token=None):
                with anthropic.Anthropic(base_url=base, api_key=key, auth_token=token, max_retries=0) as client:
                    with client.messages.stream(model="m", max_tokens=9, messages=messages) as answer:
                        return answer.get_final_text()

            def ask_google(key):
                client = genai.Client(api_key=key, http_options={"base_url": base, "api_version": "v1beta"})
                return "".join(c.text or "" for c in client.models.generate_content_stream(model="m", contents="hi"))

            assert raised(lambda: ask_openai("wrong"), openai.AuthenticationError).code == "unauthenticated"
            assert "credentials" in str(raised(lambda: ask_anthropic("wrong"), anthropic.AuthenticationError))
            wrong = raised(lambda: ask_google("wrong"), genai.errors.ClientError)
            assert wrong.code == 401, wrong
            assert ask_google(CANARY) and ask_openai(CANARY) and ask_anthropic(token=CANARY)
            limited = raised(lambda: ask_openai(CANARY), openai.RateLimitError)
            assert int(limited.response.headers["retry-after"]) > 60 and limited.code == "rate_limit_requests"
            limited = raised(lambda: ask_anthropic(CANARY), anthropic.RateLimitError)
            assert limited.response.headers["anthropic-ratelimit-requests-remaining"] == "0"
            assert raised(lambda: ask_google(CANARY), genai.errors.ClientError).code == 429
            assert not any(CANARY.encode() in request for request in peer.requests)
            until(lambda: len(proxy.exchanges()) == 9, what="log lines")
            assert CANARY not in json.dumps(proxy.log)


PAGE_SCRIPT = """async ([url, key, credentials]) => {
    try {
        const response = await fetch(url, {method: 'POST', credentials, body: JSON.stringify(
            {model: 'm', stream: true, messages: [{role: 'user', content: 'hi'}]}),
            headers: {'Content-Type': 'application/json', 'Authorization': 'Bearer ' + key, 'X-Stainless-Lang': 'js'}});
        return {status: response.status, text: await response.text(), id: response.headers.get('x-request-id'),
                left: response.headers.get('x-ratelimit-remaining-requests')};
    } catch (error) {
        return {status: error.name};
    }
}"""
LISTEN_SCRIPT = """url => new Promise(resolve => {
    const source = new EventSource(url);
    let text = '';
    source.onmessage = event => text += event.data;
    source.addEventListener('done', () => { source.close(); resolve(text); });
    source.addEventListener('error', () => { source.close(); resolve('error'); });
})"""


def test_access_from_pages_in_a_browser():
    """Chromium judges: it asks by preflight, shows a page what it may read, and hides the rest."""
    def page(connection, request):
        body = b"<!doctype html><link rel=icon href='data:,'>"
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    with tempfile.TemporaryDirectory() as folder, Peer(lambda c, r: stream(c)) as peer, Peer(page) as site:
        settings = keyed(peer, folder, cors={"origins": f"http://127.0.0.1:{site.port}", "credentials": True})
        settings["auth"]["api_keys"]["query"] = "token"
        settings["routes"][0]["rate_limit"] = {"requests": "3/h"}
        with Sluice(settings) as proxy, sync_playwright() as playwright:
            chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium")
            base = f"http://127.0.0.1:{proxy.port}"

            def visit(host):
                opened = chromium.new_page()
                opened.goto(f"http://{host}:{site.port}/")
                return opened

            ours, strange = visit("127.0.0.1"), visit("localhost")

            def ask(page, key, credentials="omit"):
                return page.evaluate(PAGE_SCRIPT, [base + "/text", key, credentials])

            answer = ask(ours, CANARY)
            assert answer["status"] == 200 and answer["text"] == "".join(TOKENS) and answer["id"], answer
            assert answer["left"] == "2"
            assert ask(ours, CANARY, "include")["status"] == 200
            assert ask(ours, "wrong")["status"] == 401
            assert ask(strange, CANARY)["status"] == "TypeError"
            assert ask(ours, CANARY)["status"] == 200 and ask(ours, CANARY)["status"] == 429
            heard = ours.evaluate(LISTEN_SCRIPT, f"{base}/stream?prompt=hi&format=sse-text&token={CANARY}")
            assert heard == "".join(TOKENS), heard
            assert ours.evaluate(LISTEN_SCRIPT, f"{base}/stream?prompt=hi&format=sse-text&token=x") == "error"
            assert strange.evaluate(LISTEN_SCRIPT, f"{base}/stream?prompt=hi&format=sse-text&token={CANARY}") == "error"
            chromium.close()
            # The stranger's preflight was refused, and the request that it was for never came.
            until(lambda: len([e for e in proxy.exchanges() if e["path"] == "/stream"]) == 3, what="log lines")
            chats = [(e["method"], e["status"]) for e in proxy.exchanges() if e["path"] == "/text"]
            assert chats.count(("OPTIONS", 403)) == 1 and [s for m, s in chats if m == "POST"] == [200, 200, 401, 200, 429]
