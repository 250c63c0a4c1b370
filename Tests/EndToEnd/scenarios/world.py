"""What every scenario stands on: the program under test, certificates, the world they share, and their list."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from typing import Callable, Iterator

from .peer import Peer

BINARY = os.environ.get("SLUICE_BIN", "")
# Seconds for which the scenario that watches memory watches it.
SOAK = float(os.environ.get("SOAK", "8"))

with open(BINARY, "rb") as program:
    SANITIZED = b"__asan_init" in (image := program.read()) or b"__tsan_init" in image
del image
# Deadlines are for what should take milliseconds; they are long so that a busy machine breaks none of them.
DEADLINE = 30.0 if SANITIZED else 10.0

FORMATS = ["text", "sse-text", "sse-json", "ndjson", "openai-chat", "passthrough"]


@dataclasses.dataclass
class Scenario:
    name: str
    run: Callable[["World"], str | None]


SCENARIOS: list[Scenario] = []


def scenario(name: str, cases: list | None = None):
    """Registers a function of the world (and of a case, if there are cases; the name then holds `{}`)."""

    def register(function):
        if cases is None:
            SCENARIOS.append(Scenario(name, function))
        for case in cases or []:
            label = case if isinstance(case, str) else case[0]
            SCENARIOS.append(Scenario(name.format(label), lambda world, case=case: function(world, case)))
        return function

    return register


def expect(condition: object, what: str) -> None:
    if not condition:
        raise AssertionError(what)


def expect_equal(got: object, wanted: object, what: str) -> None:
    if got != wanted:
        raise AssertionError(f"{what}:\n     got {got!r}\n  wanted {wanted!r}")


def wait_until(condition: Callable[[], object], what: str, seconds: float | None = None):
    """Asks until the answer is true; for states that nobody announces."""
    end = time.monotonic() + (seconds or DEADLINE)
    while not (answer := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain: {what}")
        time.sleep(0.005)
    return answer


class Sluice:
    """The program, running. Its log is read as it comes."""

    def __init__(self, config: str | None, *arguments: str, listeners: int = 1, environment: dict | None = None):
        self.directory = tempfile.mkdtemp(prefix="sluice-")
        self.config_path = os.path.join(self.directory, "sluice.yaml")
        command = [BINARY, "run"]
        if config is not None:
            self.write_config(config)
            command += ["-c", self.config_path]
        base = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "TMPDIR") or k.endswith("SAN_OPTIONS")}
        self.process = subprocess.Popen(
            command + list(arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            cwd=self.directory, env=base | (environment or {}))
        self.lines: list[str] = []
        self.log: list[dict] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            wait_until(lambda: len(self._listening()) >= listeners or self.process.poll() is not None, "listening")
            self.ports = [int(line["address"].rsplit(":", 1)[1]) for line in self._listening()]
            expect(len(self.ports) == listeners, "it ended instead of listening:\n" + "\n".join(self.lines))
        except Exception:
            self.kill()
            raise

    def write_config(self, text: str) -> None:
        with open(self.config_path, "w", encoding="utf-8") as file:
            file.write(text)

    @property
    def port(self) -> int:
        return self.ports[0]

    def _listening(self) -> list[dict]:
        return [line for line in list(self.log) if line.get("event") == "listening"]

    def _read(self) -> None:
        for raw in self.process.stdout:
            line = raw.decode("utf-8", "replace").rstrip("\n")
            try:
                value = json.loads(line)
            except ValueError:
                value = None
            with self._news:
                self.lines.append(line)
                if isinstance(value, dict):
                    self.log.append(value)
                self._news.notify_all()

    def wait_log(self, matches: Callable[[dict], bool], what: str, since: int = 0) -> dict:
        """The first log line from index `since` on that matches; waits for it."""
        end = time.monotonic() + DEADLINE
        with self._news:
            while True:
                for line in self.log[since:]:
                    if matches(line):
                        return line
                if not self._news.wait(max(0.0, end - time.monotonic())) and time.monotonic() > end:
                    raise AssertionError(f"no log line in time: {what}")

    def exchange(self, request_id: str) -> dict:
        """The access line of an exchange."""
        return self.wait_log(
            lambda line: line.get("event") == "exchange" and line.get("request_id") == request_id,
            f"exchange {request_id}")

    def descriptors(self) -> int:
        """How many are open; without pipes, which only a sanitizer opens, to the program that names its frames."""
        return sum(not link.startswith("pipe:") for link in links(f"/proc/{self.process.pid}/fd"))

    def resident_bytes(self) -> int:
        with open(f"/proc/{self.process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, seconds: float | None = None) -> int:
        """Waits for the exit code."""
        try:
            code = self.process.wait(seconds or DEADLINE)
        except subprocess.TimeoutExpired:
            raise AssertionError("the program does not end") from None
        self._reader.join(DEADLINE)
        return code

    def stop(self) -> None:
        """SIGTERM, and an end without complaint; nothing may be live."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            expect_equal(self.wait(), 0, "exit code after SIGTERM; last lines:\n" + "\n".join(self.lines[-10:]))
        finally:
            self.kill()

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> "Sluice":
        return self

    def __exit__(self, kind, *_: object) -> None:
        self.stop() if kind is None else self.kill()


def links(directory: str) -> Iterator[str]:
    for name in os.listdir(directory):
        try:
            yield os.readlink(os.path.join(directory, name))
        except FileNotFoundError:
            pass  # closed since it was listed


class Certificates:
    """A throw-away authority with a server's and a client's certificate, and a stranger's of another authority."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="sluice-tls-")
        for authority in ("ca", "other-ca"):
            self._openssl("req", "-x509", *self._key(authority), "-subj", f"/CN={authority}", "-days", "2", "-out",
                          self.path(f"{authority}.crt"), "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        self._issue("server", "ca", "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth")
        self._issue("client", "ca", "extendedKeyUsage=clientAuth")
        self._issue("stranger", "other-ca", "extendedKeyUsage=clientAuth")

    def path(self, name: str) -> str:
        return os.path.join(self.directory, name)

    def _key(self, name: str) -> list[str]:
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.path(f"{name}.key")]

    def _issue(self, name: str, authority: str, extensions: str) -> None:
        with open(self.path(f"{name}.ext"), "w") as file:
            file.write("basicConstraints=critical,CA:false\n" + extensions + "\n")
        self._openssl("req", "-new", *self._key(name), "-subj", f"/CN={name}", "-out", self.path(f"{name}.csr"))
        self._openssl("x509", "-req", "-in", self.path(f"{name}.csr"), "-CA", self.path(f"{authority}.crt"), "-CAkey",
                      self.path(f"{authority}.key"), "-CAcreateserial", "-days", "2", "-out",
                      self.path(f"{name}.crt"), "-extfile", self.path(f"{name}.ext"))

    def _openssl(self, *arguments: str) -> None:
        done = subprocess.run(["openssl", *arguments], capture_output=True, text=True)
        expect(done.returncode == 0, f"openssl {arguments[0]}: {done.stderr}")

    def remove(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)


def routes(upstream: str, extra: str = "") -> str:
    """A route /UPSTREAM/FORMAT for each format, and /UPSTREAM/v1/* for the SDKs."""
    lines = []
    for name in FORMATS:
        request = name if name in ("openai-chat", "passthrough") else "prompt"
        lines.append(f"  - {{path: /{upstream}/{name}, request: {request}, response: {name}, upstream: {upstream}{extra}}}")
    lines.append(f"  - {{path: /{upstream}/v1/*, request: passthrough, response: passthrough, upstream: {upstream}}}")
    lines.append(f"  - {{path: /{upstream}/chat/v1/chat/completions, request: openai-chat, response: auto, upstream: {upstream}}}")
    lines.append(f"  - {{path: /{upstream}/auto, request: prompt, response: auto, upstream: {upstream}}}")
    return "\n".join(lines) + "\n"


class World:
    """What most scenarios share, made when first asked for: one provider, one program with many routes."""

    def __init__(self):
        self._peer: Peer | None = None
        self._secure_peer: Peer | None = None
        self._sluice: Sluice | None = None
        self._certificates: Certificates | None = None

    @property
    def certificates(self) -> Certificates:
        self._certificates = self._certificates or Certificates()
        return self._certificates

    @property
    def peer(self) -> Peer:
        self._peer = self._peer or Peer()
        return self._peer

    @property
    def secure_peer(self) -> Peer:
        c = self.certificates
        self._secure_peer = self._secure_peer or Peer(certificate=(c.path("server.crt"), c.path("server.key")))
        return self._secure_peer

    @property
    def sluice(self) -> Sluice:
        self._sluice = self._sluice or Sluice(self.config(), listeners=3)
        return self._sluice

    @property
    def port(self) -> int:
        return self.sluice.ports[0]

    @property
    def tls_port(self) -> int:
        return self.sluice.ports[1]

    @property
    def mtls_port(self) -> int:
        return self.sluice.ports[2]

    def config(self) -> str:
        c = self.certificates
        server = f"certificate: {c.path('server.crt')}, private_key: {c.path('server.key')}"
        secure = f"https://localhost:{self.secure_peer.port}/v1"
        upstreams = {
            "plain": f"url: {self.peer.url}, api_key: upstream-secret, headers: {{X-Own: 'from-config'}}",
            "hasty": f"url: {self.peer.url}, timeouts: {{headers: 400ms, first_token: 400ms, idle: 400ms}}",
            "brief": f"url: {self.peer.url}, timeouts: {{total: 800ms}}",
            "refused": f"url: 'http://127.0.0.1:{closed_port()}/v1'",
            "secure": f"url: {secure}, tls: {{ca: {c.path('ca.crt')}}}",
            "distrusted": f"url: {secure}, tls: {{ca: {c.path('other-ca.crt')}}}",
            "misnamed": f"url: {secure}, tls: {{ca: {c.path('ca.crt')}, server_name: wrong.example}}",
        }
        text = "listeners:\n"
        text += "  - {address: '127.0.0.1:0'}\n"
        text += f"  - {{address: '127.0.0.1:0', tls: {{{server}}}}}\n"
        mutual = f"client_ca: {c.path('ca.crt')}, require_client_certificate: true"
        text += f"  - {{address: '127.0.0.1:0', tls: {{{server}, {mutual}}}}}\n"
        text += "drain_timeout: 2s\nlimits: {request_body_bytes: 1MiB, request_head_timeout: 1s, slow_client: 1s}\n"
        text += "upstreams:\n"
        for name, spec in upstreams.items():
            text += f"  {name}: {{{spec}, dialect: openai-chat}}\n"
        text += "routes:\n"
        for name in upstreams:
            text += routes(name)
        for name in FORMATS:
            request = name if name in ("openai-chat", "passthrough") else "prompt"
            text += f"  - {{path: /lively/{name}, request: {request}, response: {name}, upstream: plain, keepalive: 150ms}}\n"
        text += "  - {path: /early/sse-json, request: prompt, response: sse-json, upstream: plain, early_headers: 100ms}\n"
        text += "  - {path: /drain/text, request: prompt, response: text, upstream: plain, on_disconnect: drain}\n"
        text += "  - {path: /get-only, methods: [GET], request: prompt, response: text, upstream: plain}\n"
        return text

    def check_alive(self) -> None:
        if self._sluice and self._sluice.process.poll() is not None:
            raise AssertionError(f"the program ended with code {self._sluice.process.returncode}")

    def tail(self) -> str:
        return "shared program's last lines:\n" + "\n".join(self._sluice.lines[-6:]) if self._sluice else ""

    def restart(self) -> None:
        """A failed scenario must not spoil the next one."""
        if self._sluice:
            self._sluice.kill()
        self._sluice = None

    def close(self) -> None:
        if self._sluice:
            self._sluice.stop()

    def kill(self) -> None:
        if self._sluice:
            self._sluice.kill()
        if self._certificates:
            self._certificates.remove()


def closed_port() -> int:
    """A port where nothing listens: bound and given back, so nobody else had it a moment ago."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
