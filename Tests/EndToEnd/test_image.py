"""The image that Deploy/build-image makes, in containers: what is in it, how it starts, streams, stops, and what it is as process 1."""

import base64
import contextlib
import gzip
import hashlib
import hmac
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import tarfile
import threading
import time

import containers
from harness import BINARY, CHAT, DONE, HEAD, Peer, Reply, chunk, config, connect, event, fetch, request_bytes, until

PATIENCE = 60
# 20 MB, as registries count. What a debug build is linked from is larger, and nobody's image.
LIMIT = 20_000_000
LINKED = {"libbrotli-dev", "libc-ares-dev", "libc6-dev", "libgcc-12-dev", "libnghttp2-dev", "libssl-dev", "libstdc++-12-dev",
          "libyaml-dev", "swift", "zlib1g-dev"}
SECRET = b"a secret of thirty-two bytes.....!"


class World:
    """One engine and one image for all tests here; made by the first, and gone with this process."""

    stack = contextlib.ExitStack()
    made = None

    @classmethod
    def engine(cls):
        if cls.made is None:
            cls.made = cls.stack.enter_context(containers.Engine())
            cls.made.build()
        return cls.made


def write(name, text):
    path = World.engine().path / name
    path.write_text(text)
    path.chmod(0o644)
    return path


def serve(settings, *options):
    """A container that serves these settings on a port of this machine."""
    path = write(f"{time.monotonic_ns()}.json", json.dumps(settings))
    return World.engine().run("--publish", "127.0.0.1::8080", "--volume", f"{path}:/etc/sluice/sluice.yaml:ro", *options)


def settings(port, host=None, scheme="http", **more):
    own = config(f"{scheme}://{host or World.engine().gateway}:{port}/v1", **more)
    return {**own, "listeners": [{"address": "0.0.0.0:8080"}]}


def files():
    """All that is in the image: name to tar entry and content."""
    engine = World.engine()
    name = engine.podman("create", "--pull", "never", containers.IMAGE)
    path = engine.path / "image.tar"
    engine.podman("export", "--output", path, name)
    engine.podman("rm", name)
    with tarfile.open(path) as tar:
        return {entry.name: (entry, tar.extractfile(entry).read() if entry.isfile() else None) for entry in tar}


def test_what_is_in_it():
    engine = World.engine()
    image = json.loads(engine.podman("image", "inspect", containers.IMAGE))[0]
    print(f"  the image has {image['Size']:,} bytes")
    if "/debug/" not in BINARY:
        assert image["Size"] < LIMIT, image["Size"]
    own = image["Config"]
    assert own["User"] == "65532:65532" and list(own["ExposedPorts"]) == ["8080/tcp"] and own["StopSignal"] == "SIGTERM", own
    assert own["Entrypoint"] == ["/sluice"] and own["Cmd"] == ["run"], own
    assert image["HealthCheck" if "HealthCheck" in image else "Healthcheck"]["Test"] == ["CMD", "/sluice", "healthcheck"], image
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in image["Labels"].items()}
    version = subprocess.run([BINARY, "version"], capture_output=True, text=True, check=True).stdout.split()[1]
    revision = subprocess.run(["git", "-C", containers.ROOT, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    assert labels["version"] == version and labels["revision"] == (revision or "unknown"), labels
    assert labels["title"] == "Sluice" and labels["licenses"] == "Apache-2.0" and labels["created"].endswith("Z"), labels

    inside = files()
    programs = [name for name, (entry, _) in inside.items() if entry.isfile() and entry.mode & 0o111]
    assert programs == ["sluice"], programs
    # What the runtime puts there is not of the image.
    made = {"dev", "proc", "run", "sys", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab"}
    others = {name for name, (entry, _) in inside.items() if not entry.isdir() and name.split("/")[0] not in made and name not in made}
    papers = {name for name in others if name.startswith("usr/share/doc/sluice/")}
    assert inside["tmp"][0].mode & 0o7777 == 0o1777
    assert others - papers == {"sluice", "etc/passwd", "etc/ssl/certs/ca-certificates.crt"}, others - papers
    assert not [name for name, (entry, _) in inside.items() if entry.mode & 0o6002 and not entry.issym() and entry.isfile()]
    bill(inside, papers)


def bill(inside, papers):
    """The bill of materials tells what the linker took, and for each of it there is a licence."""
    text = inside["usr/share/doc/sluice/sluice.spdx.json"][1]
    assert text == (containers.ROOT / ".build/image/sluice.spdx.json").read_bytes(), "beside the image is the same"
    document = json.loads(text)
    assert document["spdxVersion"] == "SPDX-2.3" and document["dataLicense"] == "CC0-1.0", document
    packages = {package["SPDXID"]: package for package in document["packages"]}
    assert len(packages) == len(document["packages"]), "an id stands for one package"
    described = [r["relatedSpdxElement"] for r in document["relationships"] if r["relationshipType"] == "DESCRIBES"]
    assert described == ["SPDXRef-sluice"], described
    digest = packages["SPDXRef-sluice"]["checksums"][0]["checksumValue"]
    assert digest == hashlib.sha256(inside["sluice"][1]).hexdigest(), "of another binary"
    linked = [packages[r["relatedSpdxElement"]] for r in document["relationships"] if r["relationshipType"] == "STATIC_LINK"]
    assert {package["name"] for package in linked} == LINKED, sorted(package["name"] for package in linked)
    for package in linked:
        locator = package["externalRefs"][0]["referenceLocator"]
        if package["name"] == "swift":
            source = "swift"
        else:
            installed = subprocess.run(["dpkg-query", "-W", "-f", "${Version} ${source:Package}", package["name"]],
                                       capture_output=True, text=True, check=True).stdout.split()
            assert package["versionInfo"] == installed[0] and locator.endswith(f"upstream={installed[1]}"), (package, installed)
            source = installed[1]
        assert package["licenseConcluded"] not in ("", "NOASSERTION"), package
        assert inside[f"usr/share/doc/sluice/copyright/{source}"][1], source
    assert "usr/share/doc/sluice/LICENSE" in papers


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def first_answer(port, found):
    """When the first request was answered, by the clock that processes' starts are told by."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.settimeout(2)
            connection.sendall(b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n")
            if connection.recv(1):
                found.append(time.clock_gettime(time.CLOCK_BOOTTIME))
                return
        time.sleep(0.002)


def test_it_starts_hardened_and_soon():
    port, found = free_port(), []
    knocking = threading.Thread(target=first_answer, args=(port, found))
    knocking.start()
    with World.engine().run("--publish", f"127.0.0.1:{port}:8080") as container:
        knocking.join()
        process = container.inspect()["State"]["Pid"]
        stat = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        took = found[0] - int(stat[19]) / os.sysconf("SC_CLK_TCK")
        print(f"  {took * 1000:.0f} ms from the start of the process to the first answer")
        assert took < 20, took
        status = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{process}/status").read_text().splitlines())
        assert status["Uid"].split() == [str(containers.USER)] * 4 and status["Gid"].split() == [str(containers.USER)] * 4, status
        assert status["NSpid"].split()[-1] == "1", status["NSpid"]
        assert status["NoNewPrivs"] == "1" and int(status["CapBnd"], 16) == int(status["CapEff"], 16) == 0, status
        begin(port, "/stream?prompt=hi", None, b"Hello")[0].close()
        assert container.execute("/sluice", "version")[0] == 0
        os.kill(process, signal.SIGUSR2)
        assert "replace the container" in container.wait_for("upgrade_failed")["error"]
        assert container.stop() == 0


class Held:
    """An upstream whose streams say one token, and the rest when `go` is set."""

    def __init__(self):
        self.go, self.begun = threading.Event(), 0
        self.peer = Peer(self._answer, address=("0.0.0.0", 0))

    def _answer(self, connection, request):
        connection.sendall(HEAD + chunk(event({"role": "assistant", "content": "one"})))
        self.begun += 1
        self.go.wait(PATIENCE)
        connection.sendall(chunk(event({"content": " two"})) + chunk(DONE) + b"0\r\n\r\n")
        return None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.go.set()
        self.peer.close()


def begin(port, path, body=CHAT, first=b"one"):
    """A stream whose first token has come: the connection, and what came."""
    connection = connect(port)
    connection.settimeout(PATIENCE)
    connection.sendall(request_bytes(path, body))
    data = b""
    while first not in data:
        more = connection.recv(65536)
        assert more, data
        data += more
    return connection, data


def rest(connection, data):
    """Of a stream, to its end or that of the connection."""
    while not data.endswith(b"0\r\n\r\n"):
        more = connection.recv(65536)
        if not more:
            break
        data += more
    connection.close()
    return Reply(data)


def refuses(port):
    with contextlib.suppress(OSError):
        connect(port).close()
        return False
    return True


def test_a_stop_lets_streams_end():
    with Held() as upstream, serve(settings(upstream.peer.port, drain_timeout="50s")) as container:
        container.wait_for("listening")
        port = container.port(8080)
        paths = ["/sse-text", "/openai-chat", "/ndjson", "/text", "/v1/chat/completions"]
        streams = [begin(port, path) for path in paths]
        codes = []
        stopping = threading.Thread(target=lambda: codes.append(container.stop(PATIENCE)))
        stopping.start()
        container.wait_for("draining")
        until(lambda: refuses(port), PATIENCE, "new connections are refused")
        assert not codes, "it ended under its streams"
        upstream.go.set()
        replies = [rest(*stream) for stream in streams]
        for path, reply in zip(paths, replies):
            assert reply.complete and b"two" in reply.body, (path, reply.raw)
        stopping.join()
        assert codes == [0], codes
        assert [entry["end"] for entry in container.log() if entry["event"] == "exchange"] == ["done"] * len(paths)


def test_a_stop_ends_in_their_own_way_what_takes_too_long():
    with Held() as upstream, serve(settings(upstream.peer.port, drain_timeout="300ms")) as container:
        container.wait_for("listening")
        port = container.port(8080)
        streams = {path: begin(port, path) for path in ("/sse-text", "/openai-chat", "/ndjson", "/text")}
        assert container.stop(PATIENCE) == 0
        replies = {path: rest(*stream) for path, stream in streams.items()}
        assert b"event: error" in replies["/sse-text"].body, replies["/sse-text"].raw
        error = json.loads(replies["/openai-chat"].body.split(b"data: ")[-1])
        assert "going down" in error["error"]["message"], error
        assert "going down" in json.loads(replies["/ndjson"].body.splitlines()[-1])["error"]["message"]
        assert not replies["/text"].complete, "plain text has no other way to say so"
        assert {entry["end"] for entry in container.log() if entry["event"] == "exchange"} == {"drain"}


def test_the_health_check_tells_who_is_well():
    admin = {"address": "unix:/tmp/admin.sock"}
    with Held() as upstream, serve(settings(upstream.peer.port, admin=admin), "--tmpfs", "/tmp") as container:
        container.wait_for("admin_listening")
        ask = lambda *words: container.execute("/sluice", "healthcheck", *words)
        assert container.check()
        assert container.inspect()["State"]["Health"]["Status"] == "healthy"
        assert ask() == ask("--ready") == (0, ""), ask("--ready")
        process = container.inspect()["State"]["Pid"]
        os.kill(process, signal.SIGSTOP)
        try:
            code, text = ask("--timeout", "300ms")
            assert code == 1 and "no answer within 300 ms" in text, (code, text)
        finally:
            os.kill(process, signal.SIGCONT)
        assert container.check()
        # A stream holds the drain open: alive, and not ready.
        connection, data = begin(container.port(8080), "/text")
        os.kill(process, signal.SIGTERM)
        container.wait_for("draining")
        code, text = ask("--ready")
        assert code == 1 and "/readyz says 503" in text and text.count("\n") == 1, (code, text)
        assert ask()[0] == 0
        upstream.go.set()
        assert rest(connection, data).complete
        until(lambda: not container.inspect()["State"]["Running"], PATIENCE, "it ends")


def children(parent):
    """Of a process: state and name by number."""
    found = {}
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            head, _, tail = path.read_text().rpartition(")")
            fields = tail.split()
            if int(fields[1]) == parent:
                found[int(path.parent.name)] = fields[0]
    return found


def test_process_1_waits_for_orphans():
    own = settings(1)
    own["upstreams"]["u"] = {
        "url": "http://127.0.0.1:9100/v1", "dialect": "openai-chat",
        "process": {"command": ["/sluice", "run", "--listen", "127.0.0.1:9100"], "output": "discard", "restart": "always",
                    "backoff": "50ms"}}
    with serve(own) as container:
        container.wait_for("listening")
        port = container.port(8080)
        until(lambda: fetch(port, "/v1/models").status == 200, PATIENCE, "the process serves")
        first = container.inspect()["State"]["Pid"]
        supervisor = next(iter(children(first)))
        orphan = next(iter(children(supervisor)))
        # What the supervisor started now has no parent, and process 1 gets it.
        os.kill(supervisor, signal.SIGKILL)
        until(lambda: not os.path.exists(f"/proc/{orphan}"), PATIENCE, "nobody is left waiting to be waited for")
        until(lambda: [state for pid, state in children(first).items() if pid != supervisor] in (["S"], ["R"]), PATIENCE,
              "one supervisor, started again")
        until(lambda: fetch(port, "/v1/models").status == 200, PATIENCE, "the process serves again")
        assert "Z" not in children(first).values()
        assert container.stop() == 0


def make_certificate(folder, gateway):
    """An authority, and a server's certificate by it for a name and an address."""
    def openssl(*arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, cwd=folder)
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *new_key, "-days", 2, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=test authority")
    openssl("req", *new_key, "-keyout", "tls.key", "-out", "tls.csr", "-subj", "/CN=provider")
    (folder / "names").write_text(f"subjectAltName=DNS:provider.test,IP:{gateway}\n")
    openssl("x509", "-req", "-in", "tls.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", 2, "-out", "tls.crt",
            "-extfile", "names")
    (folder / "ca.crt").chmod(0o644)


class SecurePeer(Peer):
    """The same over TLS."""

    def __init__(self, script, folder):
        import ssl
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
        super().__init__(script, address=("0.0.0.0", 0))

    def _serve(self, connection):
        try:
            connection = self.context.wrap_socket(connection, server_side=True)
        except OSError:
            return connection.close()
        super()._serve(connection)


class NameServer:
    """Says of every name that it is this address (RFC 1035)."""

    def __init__(self, address):
        self.asked = []
        self.answer = socket.inet_aton(address)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                query, peer = self.socket.recvfrom(512)
                end = query.index(b"\0", 12) + 5
                self.asked.append(query[12:end - 5])
                is_v4 = query[end - 4:end - 2] == b"\0\1"
                record = b"\xc0\x0c\0\1\0\1" + struct.pack(">IH", 60, 4) + self.answer if is_v4 else b""
                self.socket.sendto(query[:2] + b"\x81\x80\0\1" + (b"\0\1" if is_v4 else b"\0\0") + b"\0\0\0\0" + query[12:end] + record,
                                   peer)

    def close(self):
        self.socket.close()


def told(connection, request):
    connection.sendall(HEAD + chunk(event({"role": "assistant", "content": "secret " * 200})) + chunk(DONE) + b"0\r\n\r\n")


def test_upstreams_are_found_by_name_and_verified():
    engine = World.engine()
    folder = engine.path / "tls"
    folder.mkdir()
    make_certificate(folder, engine.gateway)
    bundle = f"{folder / 'ca.crt'}:/etc/ssl/certs/ca-certificates.crt:ro"
    own = f"{folder / 'ca.crt'}:/etc/sluice/ca.crt:ro"
    dns = ("--dns", engine.gateway)
    with SecurePeer(told, folder) as upstream:
        port = upstream.port
        trusting = settings(port, "provider.test", "https", upstream={"tls": {"ca": "/etc/sluice/ca.crt"}})
        with serve(settings(port, "provider.test", "https"), *dns) as refusing:
            server = NameServer(engine.gateway)
            with contextlib.closing(server), serve(settings(port, "provider.test", "https"), *dns, "--volume", bundle) as replaced, \
                    serve(trusting, *dns, "--volume", own) as configured:
                for container in (replaced, configured):
                    container.wait_for("listening")
                    reply = fetch(container.port(8080), "/text", CHAT)
                    assert reply.status == 200 and reply.body.startswith(b"secret secret"), reply.raw
                assert server.asked, "the name came from elsewhere"
                refusing.wait_for("listening")
                assert fetch(refusing.port(8080), "/text", CHAT).status == 502
                entry = refusing.wait_for("exchange")
                assert entry["end"] == "tls" and "certificate verify failed" in entry["detail"], entry
                assert len(upstream.requests) == 2


def token(secret):
    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")
    signed = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(json.dumps({"sub": "a", "exp": int(time.time()) + 600}).encode())
    return (signed + b"." + part(hmac.new(secret, signed, hashlib.sha256).digest())).decode()


def test_what_is_linked_in_works():
    """HTTP/2, compression and tokens, by a client that knows them."""
    key = write("jwt.key", SECRET.decode())
    with Peer(told, address=("0.0.0.0", 0)) as upstream:
        own = settings(upstream.port)
        for route in own["routes"]:
            route["compress"] = ["br", "gzip"]
            route["auth"] = {"jwt": {"algorithms": ["HS256"], "secret": {"file": "/etc/sluice/jwt.key"}}}
        with serve(own, "--volume", f"{key}:/etc/sluice/jwt.key:ro") as container:
            container.wait_for("listening")
            url = f"http://127.0.0.1:{container.port(8080)}/text"

            def curl(secret, coding):
                done = subprocess.run(
                    ["curl", "-sS", "--http2-prior-knowledge", "-H", f"Authorization: Bearer {token(secret)}", "-H",
                     f"Accept-Encoding: {coding}", "-H", "Content-Type: application/json", "-d", json.dumps(CHAT), "-D", "-", url],
                    capture_output=True, timeout=PATIENCE)
                assert done.returncode == 0, done.stderr
                return done.stdout.split(b"\r\n\r\n", 1)

            import brotli
            for coding, opened in (("br", brotli.decompress), ("gzip", gzip.decompress)):
                head, body = curl(SECRET, coding)
                assert head.startswith(b"HTTP/2 200") and f"content-encoding: {coding}".encode() in head.lower(), head
                assert opened(body) == b"secret " * 200, body
            assert curl(SECRET[::-1], "br")[0].startswith(b"HTTP/2 401")
