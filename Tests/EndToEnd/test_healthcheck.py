"""`sluice healthcheck`, which containers ask: of an admin listener, of listeners of clients of every kind, and of what is no Sluice."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading

from harness import BINARY, HEAD, Peer, Sluice, chunk, config, connect, event, fetch, request_bytes, until
from resume_world import metrics
from test_requests import certificates

PATIENCE = 60


def healthcheck(*arguments, environment=None):
    """Exit code and what it said."""
    done = subprocess.run([BINARY, "healthcheck", *arguments], capture_output=True, text=True, timeout=PATIENCE,
                          env={**os.environ, **(environment or {})})
    assert not done.stdout, done.stdout
    return done.returncode, done.stderr


def ill(result, reason):
    code, text = result
    assert code == 1 and reason in text and text.count("\n") == 1 and text.startswith("sluice: "), result


@contextlib.contextmanager
def told(proxy, **changes):
    """A file that names the ports which the proxy has got, for whoever asks after it."""
    own = json.loads(open(proxy.path).read())
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({**own, **changes}, file)
        file.flush()
        yield file.name


def admin_address(proxy):
    return until(lambda: [e["address"] for e in list(proxy.log) if e["event"] == "admin_listening"], what="admin")[0]


def hold(connection, _):
    connection.sendall(HEAD + chunk(event({"content": "x"})))
    while connection.recv(1):
        pass
    return "close"


def test_the_admin_listener_is_asked():
    with tempfile.TemporaryDirectory() as folder, Peer(hold) as peer:
        for address in ("127.0.0.1:0", f"unix:{folder}/admin.sock"):
            with Sluice(config(peer.url, admin={"address": address, "token": "t"}, drain_timeout="30s")) as proxy:
                # The listener of clients is not asked: nobody is at that port.
                nobody = [{"address": "127.0.0.1:1"}]
                with told(proxy, admin={"address": admin_address(proxy), "token": "t"}, listeners=nobody) as file:
                    assert healthcheck("-c", file) == healthcheck("-c", file, "--ready") == (0, "")
                    assert healthcheck(environment={"SLUICE_CONFIG": file}) == (0, "")
                    assert healthcheck(environment={"SLUICE_CONFIG": "-" + file}) == (0, "")
                    connection = connect(proxy.port)
                    connection.sendall(request_bytes("/text", {"model": "m", "messages": []}))
                    until(lambda: peer.requests, PATIENCE, "a stream runs")
                    proxy.process.send_signal(signal.SIGTERM)
                    until(lambda: healthcheck("-c", file, "--ready")[0] == 1, PATIENCE, "it is not ready")
                    ill(healthcheck("-c", file, "--ready"), "/readyz says 503: {")
                    assert healthcheck("-c", file) == (0, "")
                    proxy.process.kill()
                    proxy.process.wait()
                    ill(healthcheck("-c", file), "connect: ")


def test_a_listener_of_clients_is_asked_without_a_request():
    with tempfile.TemporaryDirectory() as folder, Peer(hold) as peer:
        certificates(folder)
        tls = {"certificate": f"{folder}/server.crt", "private_key": f"{folder}/server.key"}
        strict = {**tls, "client_ca": f"{folder}/ca.crt", "require_client_certificate": True}
        listeners = [{"address": "127.0.0.1:0"}, {"address": "127.0.0.1:0", "tls": tls}, {"address": "127.0.0.1:0", "tls": strict},
                     {"address": f"unix:{folder}/sluice.sock"}]
        with Sluice(config(peer.url, listeners=listeners, admin={"address": "127.0.0.1:0"}), listeners=3) as proxy:
            fetch(proxy.port, "/nothing")
            before = metrics(proxy)
            for listener, port in zip(listeners, [*proxy.ports(), None]):
                here = {**listener, "address": f"127.0.0.1:{port}"} if port else listener
                with told(proxy, listeners=[here], admin=None) as file:
                    assert healthcheck("-c", file) == healthcheck("-c", file, "--ready") == (0, ""), here
            assert healthcheck("--listen", f"127.0.0.1:{proxy.port}") == (0, "")
            assert healthcheck(environment={"SLUICE_LISTEN": f"127.0.0.1:{proxy.port}"}) == (0, "")
            assert len(proxy.exchanges()) == 1, "a health check is in the log"
            assert not [e for e in proxy.log if e["level"] != "info"], proxy.log
            changed = {name for name, value in metrics(proxy).items() if value != before.get(name)}
            own = ("process_", "sluice_buffer_memory_bytes", "sluice_scrape_duration_seconds")
            assert not [name for name in changed if not name.startswith(own)], changed
            # One that hangs is not well, whatever its kernel accepts.
            proxy.process.send_signal(signal.SIGSTOP)
            try:
                ill(healthcheck("--listen", f"127.0.0.1:{proxy.port}", "--timeout", "300ms"), "no answer within 300 ms")
            finally:
                proxy.process.send_signal(signal.SIGCONT)


class Foreign:
    """Says the same to whoever connects, and closes."""

    def __init__(self, answer):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.server.getsockname()[1]
        threading.Thread(target=self._serve, args=(answer,), daemon=True).start()

    def _serve(self, answer):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.server.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(answer)

    def close(self):
        self.server.close()


def test_what_is_no_sluice_is_not_well():
    with contextlib.closing(Foreign(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")) as other:
        ill(healthcheck("--listen", other.address), "does not speak HTTP/2")
    with contextlib.closing(Foreign(b"")) as other:
        ill(healthcheck("--listen", other.address), "without an answer")


def test_what_cannot_be_asked_is_said():
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write("listeners: [{address: ':0'}]\n")
        file.flush()
        for arguments, code, reason in [
                (["-c", file.name], 1, "names no address"), (["-c", "/nonexistent.yaml"], 1, "/nonexistent.yaml"),
                (["--listen", "nonsense"], 1, "no address"), (["extra"], 2, "does not know 'extra'"),
                (["--timeout", "soon"], 2, "is not a duration"), (["--redy"], 2, "did you mean '--ready'")]:
            found, text = healthcheck(*arguments, environment={"SLUICE_CONFIG": "", "SLUICE_LISTEN": ""})
            assert found == code and reason in text, (arguments, found, text)


def test_run_takes_the_same_variables():
    with Peer(hold) as peer, tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "sluice.json")
        own = {**os.environ, "SLUICE_LISTEN": "127.0.0.1:0", "OPENAI_API_KEY": "k", "OPENAI_BASE_URL": peer.url}

        def routes_of(variable):
            """Statuses of a path of the file and of one that is served without a file."""
            with subprocess.Popen([BINARY, "run"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                  env={**own, "SLUICE_CONFIG": variable}) as process:
                try:
                    line = process.stdout.readline()
                    if not line:
                        return None
                    port = int(json.loads(line)["address"].rsplit(":", 1)[1])
                    return [fetch(port, target, method="DELETE").status for target in ("/mine", "/ag-ui")]
                finally:
                    process.kill()

        zero = routes_of("-" + path)
        assert zero == [404, 405], (zero, "a file that is not there, and need not be")
        assert routes_of(path) is None, "one that is not there, and must be"
        with open(path, "w") as file:
            routes = [{"path": "/mine", "methods": ["POST"], "request": "prompt", "response": "text", "upstream": "u"}]
            json.dump({**config(peer.url), "routes": routes}, file)
        assert routes_of("-" + path) == routes_of(path) == [405, 404]
        assert routes_of("") == [404, 405]
