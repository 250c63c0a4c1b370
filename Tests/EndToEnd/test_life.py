"""The life of the process: reload, drain, and what a service manager sees of it."""

import ctypes
import json
import os
import resource
import signal
import socket
import subprocess
import tempfile
import threading
import time

from harness import (BINARY, CHAT, DONE, FORMATS, HEAD, TOKENS, Peer, Reply, Sluice, chunk, config, connect, drain, event,
                     fetch, request_bytes, stream, until, wait_closed)
from http2_peer import connect_http2
from http2_world import certificates
from life_world import Http1Reader, Load, Manager, events, refused
from test_failures import check_failed

TEXT = "".join(TOKENS).encode()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def hangup(proxy, outcome="reloaded"):
    """SIGHUP; returns the line that tells how it went."""
    before = len(events(proxy, outcome))
    proxy.process.send_signal(signal.SIGHUP)
    return until(lambda: events(proxy, outcome)[before:], 15, outcome)[0]


def reports(peer, gate, tokens=("one", " two")):
    """Streams that wait for the gate after their first token."""
    def script(connection, request):
        connection.sendall(HEAD + chunk(event({"content": tokens[0]})))
        gate.wait(60)
        connection.sendall(chunk(event({"content": tokens[1]})) + chunk(DONE) + b"0\r\n\r\n")

    peer.script = script


# Reload


def test_a_hundred_reloads_under_load_drop_nothing():
    gate = threading.Event()

    def script(connection, request):
        if b"long" not in request:
            return stream(connection)
        connection.sendall(HEAD)
        while not gate.is_set():
            connection.sendall(chunk(event({"content": "x"})))
            time.sleep(0.02)
        connection.sendall(chunk(DONE) + b"0\r\n\r\n")

    with Peer(script) as peer, certificates() as made:
        first = config(peer.url, log={"access": False})
        first["listeners"].append({"address": "127.0.0.1:0", "tls": {
            "certificate": made.path("server.crt"), "private_key": made.path("server.key")}})
        second = json.loads(json.dumps(first))
        second["routes"].insert(0, {"path": "/new", "request": "openai-chat", "response": "text", "upstream": "u"})
        second["limits"] = {"connections": 5000}
        with Sluice(first, listeners=2) as proxy:
            secure = (proxy.ports()[1], made.path("ca.crt"))
            hangup(proxy)
            descriptors = proxy.descriptors()
            # The allocator's first use of each size costs once.
            load = Load(proxy.port, "/text", TEXT, secure=secure)
            until(lambda: load.faults or all(count > 10 for count in load.counts.values()), 20, "load")
            load.stop()
            memory = proxy.resident_kib()
            lives = [connect(proxy.port) for _ in range(10)]
            for live in lives:
                live.sendall(request_bytes("/text", {**CHAT, "user": "long"}, headers=["Connection: close"]))
            streams = connect_http2(proxy.port)
            lives2 = [streams.request("/text", {**CHAT, "user": "long"}) for _ in range(10)]
            for each in lives2:
                each.wait(lambda s: s.body, "a token")
            load = Load(proxy.port, "/text", TEXT, secure=secure)
            until(lambda: all(load.counts.values()), 15, "load")
            for turn in range(100):
                proxy.write(first if turn % 2 else second)
                hangup(proxy)
                if turn in (40, 41):
                    status = 404 if turn % 2 else 200
                    until(lambda: fetch(proxy.port, "/new", CHAT).status == status, what="the new file is in force")
            load.stop()
            gate.set()
            for live in lives:
                reply = Reply(drain(live))
                assert reply.complete and set(reply.body) == {ord("x")}, reply.raw[-200:]
            for each in lives2:
                assert each.wait_over(20).complete and set(each.body) == {ord("x")}
            streams.close()
            assert not events(proxy, "reload_failed")
            # The new one, and that of the reload before, which its worker lets go of next.
            assert until(lambda: int(hangup(proxy)["configurations"]) <= 2, what="old configurations freed")
            # The last of them has closed the connections to upstreams.
            until(lambda: proxy.descriptors() <= descriptors, 20, f"descriptors back to {descriptors}")
            grown = proxy.resident_kib() - memory
            print(f"  {sum(load.counts.values())} requests whole {load.counts}, memory +{grown} KiB")
            assert grown < 8192, f"{grown} KiB"


def test_listeners_come_and_go():
    with Peer(lambda c, r: stream(c)) as peer:
        gate = threading.Event()
        reports(peer, gate)
        settings = config(peer.url, workers=2)
        port = free_port()
        with Sluice(settings) as proxy:
            settings["listeners"].append({"address": f"127.0.0.1:{port}"})
            proxy.write(settings)
            assert str(port) in hangup(proxy)["listeners"]
            live = connect(port)
            live.sendall(request_bytes("/text", CHAT))
            head = live.recv(65536)
            idle = Http1Reader(port)
            assert idle.ask("/nothing").status == 404
            waiting = connect(port)
            settings["listeners"].pop()
            proxy.write(settings)
            hangup(proxy)
            until(lambda: refused(port), what="the removed listener refuses")
            # A request that was on its way is answered, and told that no other should follow.
            reply = idle.ask("/nothing")
            assert reply is None or (reply.status == 404 and reply.headers["connection"] == "close"), reply.raw
            assert drain(idle.connection, 5) == b"" and drain(waiting, 5) == b""
            assert fetch(proxy.port, "/nothing").status == 404
            gate.set()
            rest = drain(live)
            assert Reply(head + rest).complete and b" two" in rest
            # Back again, on the very port.
            settings["listeners"].append({"address": f"127.0.0.1:{port}"})
            proxy.write(settings)
            hangup(proxy)
            assert fetch(port, "/text", CHAT).complete


def test_a_reload_that_cannot_listen_changes_nothing():
    with Peer(lambda c, r: stream(c)) as peer, socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        settings = config(peer.url)
        with Sluice(settings) as proxy:
            # It says that it listens a little before it is all there.
            hangup(proxy)
            before = proxy.descriptors()
            settings["routes"] = settings["routes"][:1]
            fresh = free_port()
            settings["listeners"] = [{"address": f"127.0.0.1:{fresh}"}, {"address": f"127.0.0.1:{taken}"}]
            proxy.write(settings)
            assert f"127.0.0.1:{taken}" in hangup(proxy, "reload_failed")["error"]
            assert refused(fresh) and fetch(proxy.port, "/sse-text", CHAT).complete
            # But for the connection to the upstream.
            until(lambda: proxy.descriptors() <= before + 1, what="nothing stays open")


def test_all_faults_of_a_file_are_reported():
    with Peer(lambda c, r: stream(c)) as peer, Sluice(config(peer.url)) as proxy:
        settings = config(peer.url)
        settings["routes"][0]["upstream"] = "nobody"
        settings["wokers"] = 1
        proxy.write(settings)
        error = hangup(proxy, "reload_failed")["error"]
        assert "routes[0].upstream" in error and "did you mean 'workers'" in error, error


def test_certificates_and_tls_change_by_reload():
    with Peer(lambda c, r: stream(c)) as peer, certificates() as made, tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, name) for name in ("tls.crt", "tls.key")]

        def use(name):
            for path, kind in zip(paths, ("crt", "key")):
                with open(made.path(f"{name}.{kind}"), "rb") as source, open(path, "wb") as target:
                    target.write(source.read())

        def subject():
            done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{proxy.port}"], input=b"", timeout=20,
                                  capture_output=True)
            return [line for line in done.stdout.decode().splitlines() if line.startswith("subject")]

        use("server")
        plain = config(peer.url)
        with Sluice(plain) as proxy:
            secure = config(peer.url)
            secure["listeners"][0]["tls"] = {"certificate": paths[0], "private_key": paths[1]}
            proxy.write(secure)
            hangup(proxy)
            until(lambda: subject() and "server" in subject()[0], what="TLS on the same port")
            use("client")
            hangup(proxy)
            until(lambda: "client" in subject()[0], what="the other certificate")
            with open(paths[1], "w") as key:
                key.write("nonsense")
            assert "tls.key" in hangup(proxy, "reload_failed")["error"]
            assert "client" in subject()[0]
            proxy.write(plain)
            hangup(proxy)
            until(lambda: fetch(proxy.port, "/nothing").status == 404, what="clear text again")


def test_what_a_reload_changes_of_log_and_workers():
    with Peer(lambda c, r: stream(c)) as peer:
        settings = config(peer.url)
        with Sluice(settings) as proxy:
            settings.update(workers=3, log={"access": False})
            proxy.write(settings)
            hangup(proxy)
            assert "workers" in until(lambda: events(proxy, "reload_partial"))[0]["error"]
            assert fetch(proxy.port, "/text", CHAT).complete
            settings["log"] = {"level": "error"}
            proxy.write(settings)
            before = len(proxy.log)
            proxy.process.send_signal(signal.SIGHUP)
            proxy.write("x")
            until(lambda: proxy.process.send_signal(signal.SIGHUP) or events(proxy, "reload_failed"))
            assert all(entry["level"] == "error" for entry in proxy.log[before + 1:]), proxy.log[before:]
            assert not proxy.exchanges()


def run_watching(settings, folder, name="sluice.json"):
    """`sluice run --watch` on a file of that folder, which is there."""
    proxy = Sluice.__new__(Sluice)
    proxy.folder = tempfile.TemporaryDirectory()
    proxy.path = os.path.join(folder, name)
    proxy.log, proxy.errors = [], b""
    proxy.process = subprocess.Popen([BINARY, "run", "--watch", "-c", proxy.path], stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE)
    threading.Thread(target=proxy._read, daemon=True).start()
    threading.Thread(target=proxy._drain, daemon=True).start()
    proxy.port = until(lambda: proxy.ports(), 15, lambda: f"listening: {proxy.errors}")[0]
    return proxy


def test_watch_follows_files():
    """In place, by rename as editors do, a certificate, and a mounted ConfigMap."""
    with Peer(lambda c, r: stream(c)) as peer, certificates() as made, tempfile.TemporaryDirectory() as folder:
        settings = config(peer.url)

        def put(path, routes, way="w"):
            settings["routes"] = [
                {"path": f"/{name}", "request": "openai-chat", "response": "text", "upstream": "u"} for name in routes]
            with open(path, way) as file:
                json.dump(settings, file)

        def serves(name):
            until(lambda: fetch(proxy.port, f"/{name}", CHAT).status == 200, 15, f"/{name}: {proxy.log[-3:]}")

        secrets = os.path.join(folder, "secrets")
        os.mkdir(secrets)
        secret = os.path.join(secrets, "key")
        with open(secret, "w") as file:
            file.write("sk-first")
        settings["upstreams"]["u"]["api_key"] = {"file": secret}
        # As the kubelet does it: sluice.json -> ..data/sluice.json, ..data -> ..1
        os.mkdir(os.path.join(folder, "..1"))
        put(os.path.join(folder, "..1", "sluice.json"), ["a"])
        os.symlink("..1", os.path.join(folder, "..data"))
        os.symlink("..data/sluice.json", os.path.join(folder, "sluice.json"))
        with run_watching(settings, folder) as proxy:
            serves("a")
            os.mkdir(os.path.join(folder, "..2"))
            put(os.path.join(folder, "..2", "sluice.json"), ["b"])
            os.symlink("..2", os.path.join(folder, "..data_tmp"))
            os.rename(os.path.join(folder, "..data_tmp"), os.path.join(folder, "..data"))
            serves("b")
            # An editor's way.
            put(os.path.join(folder, "sluice.json~"), ["c"])
            os.rename(os.path.join(folder, "sluice.json~"), os.path.join(folder, "sluice.json"))
            serves("c")
            # In place, first with half of it.
            with open(os.path.join(folder, "sluice.json"), "w") as file:
                file.write('{"listeners": [')
            until(lambda: events(proxy, "reload_failed"), 15, "half a file is refused")
            assert fetch(proxy.port, "/c", CHAT).status == 200
            put(os.path.join(folder, "sluice.json"), ["d"])
            serves("d")
            with open(secret, "w") as file:
                file.write("sk-second")
            until(lambda: fetch(proxy.port, "/d", CHAT).complete and b"sk-second" in peer.requests[-1], 15, "the new secret")
            # What does not concern the configuration reloads nothing.
            count = len(events(proxy, "reloaded"))
            for turn in range(5):
                with open(os.path.join(folder, f"other-{turn}"), "w") as file:
                    file.write("x")
            time.sleep(1)
            assert len(events(proxy, "reloaded")) == count


# Drain


def test_a_thousand_live_streams_outlive_sigterm():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    gate = threading.Event()
    with Peer(None) as peer, Sluice(config(peer.url, workers=2, drain_timeout="60s")) as proxy:
        reports(peer, gate)
        lives = []
        for _ in range(500):
            lives.append(connect(proxy.port))
            lives[-1].sendall(request_bytes("/sse-json", CHAT))
        heads = [live.recv(65536) for live in lives]
        sessions = [connect_http2(proxy.port) for _ in range(5)]
        streams = [session.request("/sse-json", CHAT) for session in sessions for _ in range(100)]
        for each in streams:
            each.wait(lambda s: s.body, "a token", 30)
        idle, idle2 = Http1Reader(proxy.port), connect_http2(proxy.port)
        assert idle.ask("/nothing").status == 404 and idle2.fetch("/nothing").status == 404
        proxy.process.send_signal(signal.SIGTERM)
        assert drain(idle.connection, 20) == b"", "the idle connection is closed"
        idle2.wait(lambda c: c.is_over and c.goaways, "the idle session is closed")
        until(lambda: refused(proxy.port), what="new connections are refused")
        gate.set()
        for head, live in zip(heads, lives):
            reply = Reply(head + drain(live, 60))
            assert reply.complete and b" two" in reply.body and b"event: error" not in reply.body, reply.raw
        for each in streams:
            assert each.wait_over(60).complete and b" two" in each.body and b"event: error" not in each.body
        assert proxy.process.wait(30) == 0
        ends = [entry["end"] for entry in proxy.exchanges()]
        assert ends.count("done") == 1000 and len(ends) == 1002, {end: ends.count(end) for end in ends}


def test_what_outlives_the_drain_gets_its_formats_error():
    def script(connection, request):
        connection.sendall(HEAD + chunk(event({"content": "half"})))
        wait_closed(connection, 60)
        return "close"

    names = [*FORMATS, "anthropic", "openai-responses", "gemini", "vercel-ui", "vercel-data", "ag-ui", "cohere", "ollama-chat",
             "mlflow", "v1/chat/completions"]
    with Peer(script) as peer:
        settings = config(peer.url, drain_timeout="300ms")
        settings["routes"] += [
            {"path": f"/{name}", "request": "openai-chat", "response": name, "upstream": "u"}
            for name in names if name not in FORMATS and "/" not in name]
        # One whose client leaves, and whose upstream never ends, must not hold the process.
        settings["routes"].insert(0, {"path": "/orphan", "request": "openai-chat", "response": "text", "upstream": "u",
                                      "on_disconnect": "drain"})
        with Sluice(settings) as proxy:
            orphan = connect(proxy.port)
            orphan.sendall(request_bytes("/orphan", CHAT))
            assert b"half" in orphan.recv(65536)
            orphan.close()
            session = connect_http2(proxy.port)
            over_h1 = {}
            for name in names:
                over_h1[name] = connect(proxy.port)
                over_h1[name].sendall(request_bytes("/" + name, CHAT))
            over_h2 = {name: session.request("/" + name, CHAT) for name in names}
            heads = {}
            for name, connection in over_h1.items():
                heads[name] = b""
                while b"half" not in heads[name]:
                    heads[name] += connection.recv(65536)
            for each in over_h2.values():
                each.wait(lambda s: b"half" in s.body, "a token")
            proxy.process.send_signal(signal.SIGTERM)
            for name in names:
                reply = Reply(heads[name] + drain(over_h1[name]))
                each = over_h2[name].wait_over(20)
                if name in ("text", "v1/chat/completions"):
                    assert not reply.complete and not each.complete, name
                else:
                    for body in (reply.body, bytes(each.body)):
                        assert b"going down" in body, (name, body)
                        # That is not how these formats say that an answer is whole.
                        assert b"[DONE]" not in body or name == "vercel-ui", (name, body)
                        assert b'"stop"' not in body and b'"finish"' not in body, (name, body)
            assert proxy.process.wait(20) == 0
            assert {entry["end"] for entry in proxy.exchanges()} == {"drain"}, proxy.exchanges()
            assert len(proxy.exchanges()) == 2 * len(names) + 1


def test_a_slow_reader_gets_the_rest_after_the_drain():
    """What still waits in memory when the last exchange is over leaves before the process does."""
    piece = "x" * 1000

    def script(connection, request):
        connection.sendall(HEAD)
        for _ in range(300):
            connection.sendall(chunk(event({"content": piece})))
        connection.sendall(chunk(DONE) + b"0\r\n\r\n")

    with Peer(script) as peer, Sluice(config(peer.url, limits={"stream_buffer_high_bytes": "8MiB"})) as proxy:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", proxy.port))
        connection.sendall(request_bytes("/text", CHAT))
        until(lambda: proxy.exchanges(), what="the exchange is over")
        proxy.process.send_signal(signal.SIGTERM)
        until(lambda: events(proxy, "draining"))
        data = b""
        connection.settimeout(20)
        while not data.endswith(b"0\r\n\r\n"):
            more = connection.recv(16384)
            assert more, f"cut after {len(data)} bytes"
            data += more
            time.sleep(0.01)
        assert Reply(data).body == piece.encode() * 300
        connection.close()
        assert proxy.process.wait(20) == 0


def test_clients_in_the_accept_queue_are_served():
    """While the loops stand still clients connect and ask; the signal comes, and then the loops go on."""
    with Peer(lambda c, r: stream(c)) as peer, Sluice(config(peer.url, workers=2)) as proxy:
        proxy.process.send_signal(signal.SIGSTOP)
        waiting = [connect(proxy.port) for _ in range(400)]
        for connection in waiting:
            connection.sendall(request_bytes("/text", CHAT))
        proxy.process.send_signal(signal.SIGTERM)
        proxy.process.send_signal(signal.SIGCONT)
        for connection in waiting:
            reply = Reply(drain(connection))
            assert reply.complete and reply.body == TEXT, reply.raw
        assert proxy.process.wait(20) == 0


def test_drain_delay_accepts_a_while_longer():
    with Peer(lambda c, r: stream(c)) as peer, Sluice(config(peer.url, drain_delay="1s")) as proxy:
        proxy.process.send_signal(signal.SIGTERM)
        until(lambda: events(proxy, "draining_soon"))
        assert fetch(proxy.port, "/text", CHAT).complete
        proxy.process.send_signal(signal.SIGHUP)
        assert "draining" in until(lambda: events(proxy, "reload_failed"))[0]["error"]
        until(lambda: events(proxy, "draining"))
        until(lambda: refused(proxy.port), what="refused")
        assert proxy.process.wait(10) == 0


# Service managers


def test_what_the_service_manager_is_told():
    for abstract in (False, True):
        with Peer(lambda c, r: stream(c)) as peer, Manager(abstract) as manager:
            environment = {"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "400000"}
            with Sluice(config(peer.url, workers=2), environment=environment) as proxy:
                manager.got("READY")
                assert str(proxy.port) in manager.got("STATUS")[0]
                manager.got("WATCHDOG", 3)
                started = time.monotonic_ns() // 1000
                proxy.process.send_signal(signal.SIGHUP)
                assert int(manager.got("MONOTONIC_USEC")[0]) >= started
                manager.got("READY", 2)
                order = [key for _, message in manager.messages for key in ("READY", "RELOADING") if key in message]
                assert order == ["READY", "RELOADING", "READY"], order
                proxy.write("x")
                proxy.process.send_signal(signal.SIGHUP)
                manager.got("READY", 3)
                assert "failed" in manager.got("STATUS")[-1]
                proxy.process.send_signal(signal.SIGTERM)
                assert int(manager.got("EXTEND_TIMEOUT_USEC")[0]) > 600e6 and manager.got("STOPPING")
                assert proxy.process.wait(10) == 0


def worker_threads(process):
    folder = f"/proc/{process.pid}/task"
    names = {}
    for thread in os.listdir(folder):
        with open(f"{folder}/{thread}/comm") as file:
            names[file.read().strip()] = int(thread)
    return [number for name, number in sorted(names.items()) if name.startswith("worker-")]


def test_a_loop_that_hangs_is_no_longer_vouched_for():
    """One worker's thread is stopped by a debugger's means, and only that."""
    ATTACH, DETACH, WALL = 16, 17, 0x40000000
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    with Peer(lambda c, r: stream(c)) as peer, Manager() as manager:
        environment = {"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "600000"}
        with Sluice(config(peer.url, workers=2), environment=environment) as proxy:
            manager.got("WATCHDOG", 2)
            thread = worker_threads(proxy.process)[1]
            if libc.ptrace(ATTACH, thread, None, None) != 0:
                print(f"  skipped: no debugger may attach here ({os.strerror(ctypes.get_errno())})")
                return
            os.waitpid(thread, WALL)
            # What was on its way may still come.
            time.sleep(0.7)
            before = len(manager.messages)
            time.sleep(1.5)
            assert len(manager.messages) == before, manager.messages[before:]
            libc.ptrace(DETACH, thread, None, None)
            manager.got("WATCHDOG", 1, since=before)


def activated(sockets, names, settings, environment=None):
    """Started as systemd does it: descriptors from 3 on, and the number of the process that they are for."""
    proxy = Sluice.__new__(Sluice)
    proxy.folder = tempfile.TemporaryDirectory()
    proxy.path = os.path.join(proxy.folder.name, "sluice.json")
    proxy.write(settings)
    proxy.log, proxy.errors = [], b""

    # In the child, between fork and exec: its number is known only there.
    starter = ("import os,sys; n=int(sys.argv[1]); os.environ['LISTEN_PID']=str(os.getpid()); "
               "fds=list(map(int,sys.argv[2].split(','))); high=[os.dup2(f,100+i) for i,f in enumerate(fds)]; "
               "[os.dup2(f,3+i) for i,f in enumerate(high)]; os.execv(sys.argv[3], sys.argv[3:])")
    numbers = [each.fileno() for each in sockets]
    proxy.process = subprocess.Popen(
        ["python3", "-c", starter, str(len(sockets)), ",".join(map(str, numbers)), BINARY, "run", "-c", proxy.path],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=numbers,
        env={**os.environ, "LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": ":".join(names), **(environment or {})})
    threading.Thread(target=proxy._read, daemon=True).start()
    threading.Thread(target=proxy._drain, daemon=True).start()
    until(lambda: len(events(proxy, "listening")) == len(settings["listeners"]) or proxy.process.poll() is not None,
          15, "listening")
    return proxy


def test_socket_activation():
    with Peer(lambda c, r: stream(c)) as peer, tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "sock")
        named = socket.create_server(("127.0.0.1", 0))
        bound = socket.create_server(("127.0.0.1", 0))
        extra = socket.create_server(("127.0.0.1", 0))
        local = socket.socket(socket.AF_UNIX)
        local.bind(path)
        local.listen()
        ports = [each.getsockname()[1] for each in (named, bound, extra)]
        settings = config(peer.url, workers=2, listeners=[
            {"address": f"127.0.0.1:{ports[1]}"}, {"address": "systemd:http"}, {"address": f"unix:{path}"}])
        # A client that came before the program gets its answer.
        early = connect(ports[0])
        early.sendall(request_bytes("/text", CHAT, headers=["Connection: close"]))
        with activated([named, bound, local, extra], ["http", "x", "x", "spare"], settings) as proxy:
            assert Reply(drain(early)).body == TEXT
            for port in ports[:2]:
                assert all(fetch(port, "/text", CHAT).body == TEXT for _ in range(10))
            over_unix = socket.socket(socket.AF_UNIX)
            over_unix.connect(path)
            over_unix.sendall(request_bytes("/text", CHAT, headers=["Connection: close"]))
            assert Reply(drain(over_unix)).body == TEXT
            assert any(entry["address"] == "systemd:spare" for entry in events(proxy, "unused_socket"))
            # A reload may take it up, and leave another.
            settings["listeners"][1]["address"] = "systemd:spare"
            proxy.write(settings)
            hangup(proxy)
            assert fetch(ports[2], "/text", CHAT).complete
            settings["listeners"][1]["address"] = "systemd:http"
            proxy.write(settings)
            hangup(proxy)
            until(lambda: fetch(ports[0], "/text", CHAT).complete, what="the first again")
            settings["listeners"][1]["address"] = "systemd:nobody"
            proxy.write(settings)
            assert "nobody" in hangup(proxy, "reload_failed")["error"]
            proxy.process.send_signal(signal.SIGTERM)
            assert proxy.process.wait(10) == 0
            assert os.path.exists(path), "the path is the service manager's"
        # Between two lives clients wait instead of being refused.
        waiting = connect(ports[0])
        waiting.sendall(request_bytes("/text", CHAT, headers=["Connection: close"]))
        settings["listeners"] = [{"address": "systemd:http"}]
        with activated([named], ["http"], settings):
            assert Reply(drain(waiting)).body == TEXT


def test_descriptors_that_are_no_listeners():
    with Peer(lambda c, r: stream(c)) as peer:
        connected, _other = socket.socketpair()
        with activated([connected], ["http"], config(peer.url)) as proxy:
            assert "3" in until(lambda: events(proxy, "inherited_socket"))[0]["error"]
            assert fetch(proxy.ports()[0], "/text", CHAT).complete
        with activated([connected], ["http"], config(peer.url, listeners=[{"address": "systemd:http"}])) as proxy:
            assert proxy.process.wait(10) == 1
            until(lambda: b"systemd:http" in proxy.errors, what="it says which name is missing")


def test_a_unix_path_is_not_taken_from_others():
    with Peer(lambda c, r: stream(c)) as peer, tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "sock")
        settings = config(peer.url, listeners=[{"address": f"unix:{path}"}, {"address": "127.0.0.1:0"}], workers=2)

        def ask():
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(path)
            connection.sendall(request_bytes("/text", CHAT, headers=["Connection: close"]))
            return Reply(drain(connection)).body == TEXT

        with open(path, "w") as file:
            file.write("precious")
        refused_start = subprocess.run([BINARY, "run", "-c", write(folder, settings)], capture_output=True, timeout=20)
        assert refused_start.returncode == 1 and b"in use" in refused_start.stderr, refused_start.stderr
        assert open(path).read() == "precious"
        os.remove(path)
        with Sluice(settings) as proxy:
            assert all(ask() for _ in range(10))
            second = subprocess.run([BINARY, "run", "-c", write(folder, settings)], capture_output=True, timeout=20)
            assert second.returncode == 1 and b"in use" in second.stderr, second.stderr
            assert ask()
            proxy.process.kill()
            proxy.process.wait()
        assert os.path.exists(path)
        with Sluice(settings) as proxy:  # What a killed process left is no obstacle.
            assert ask()
            proxy.process.send_signal(signal.SIGTERM)
            assert proxy.process.wait(10) == 0
        assert not os.path.exists(path)


def test_a_port_is_not_shared_by_mistake():
    with Peer(lambda c, r: stream(c)) as peer, tempfile.TemporaryDirectory() as folder:
        with Sluice(config(peer.url)) as proxy:
            settings = config(peer.url, listeners=[{"address": f"127.0.0.1:{proxy.port}"}])
            second = subprocess.run([BINARY, "run", "-c", write(folder, settings)], capture_output=True, timeout=20)
            assert second.returncode == 1 and b"in use" in second.stderr, second.stderr


def write(folder, settings):
    path = os.path.join(folder, "sluice.json")
    with open(path, "w") as file:
        json.dump(settings, file)
    return path
