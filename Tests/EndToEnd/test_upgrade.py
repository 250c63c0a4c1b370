"""SIGUSR2: a new process takes over the sockets, and nobody notices."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import harness
from harness import (CHAT, DONE, HEAD, TOKENS, Peer, Reply, Sluice, chunk, config, connect, drain, event, fetch, request_bytes,
                     stream, until)
from http2_peer import connect_http2
from life_world import Load, Manager, events
from test_life import activated
from test_process import child, free_port, managed

TEXT = "".join(TOKENS).encode()


def upgrade(proxy):
    """SIGUSR2; returns the new process's number."""
    before, failed = len(events(proxy, "upgraded")), len(events(proxy, "upgrade_failed"))
    os.kill(proxy.current, signal.SIGUSR2)
    line = until(lambda: events(proxy, "upgraded")[before:] or events(proxy, "upgrade_failed")[failed:], 30, "upgraded")[0]
    assert line["event"] == "upgraded", line
    proxy.current = int(line["process"])
    return proxy.current


class Upgradable(Sluice):
    """Ends whichever process serves last."""

    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self.current = self.process.pid

    def stop(self):
        for process in {self.current, self.process.pid}:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass
        super().stop()


def is_gone(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    with open(f"/proc/{process}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0] == "Z"


def test_upgrades_under_load_lose_nothing():
    gate = threading.Event()

    def script(connection, request):
        if b"long" not in request:
            return stream(connection)
        connection.sendall(HEAD + chunk(event({"content": "one"})))
        gate.wait(60)
        connection.sendall(chunk(event({"content": " two"})) + chunk(DONE) + b"0\r\n\r\n")

    with Peer(script) as peer, Upgradable(config(peer.url, workers=2, log={"access": False})) as proxy:
        live = connect(proxy.port)
        live.sendall(request_bytes("/text", {**CHAT, "user": "long"}))
        head = live.recv(65536)
        session = connect_http2(proxy.port)
        live2 = session.request("/text", {**CHAT, "user": "long"})
        live2.wait(lambda s: s.body == b"one", "a token")
        first = proxy.current
        load = Load(proxy.port, "/text", TEXT)
        until(lambda: all(load.counts.values()), 15, "load")
        for turn in range(3):
            old = proxy.current
            assert upgrade(proxy) != old
            at = dict(load.counts)
            until(lambda: load.faults or all(load.counts[kind] > at[kind] + 5 for kind in at), 20, "load goes on")
            if turn > 0:
                until(lambda: is_gone(old), 20, "the old process has gone")
        load.stop()
        print(f"  {sum(load.counts.values())} requests whole {load.counts} over 3 upgrades")
        assert proxy.process.poll() is None, "the first process waits for its streams"
        gate.set()
        assert Reply(head + drain(live)).complete
        assert live2.wait_over(20).complete and live2.body == b"one two"
        assert proxy.process.wait(20) == 0 and first == proxy.process.pid
        # The last one is a process like any other.
        os.kill(proxy.current, signal.SIGHUP)
        until(lambda: events(proxy, "reloaded"), what="reloaded")
        assert fetch(proxy.port, "/text", CHAT).body == TEXT
        os.kill(proxy.current, signal.SIGTERM)
        until(lambda: is_gone(proxy.current), 20, "the last process has gone")


def test_a_successor_that_fails_changes_nothing():
    with Peer(lambda c, r: stream(c)) as peer, Upgradable(config(peer.url)) as proxy:
        # It says that it listens a little before it is all there.
        os.kill(proxy.current, signal.SIGHUP)
        until(lambda: events(proxy, "reloaded"), what="reloaded")
        assert fetch(proxy.port, "/text", CHAT).body == TEXT
        before = proxy.descriptors()
        proxy.write("listeners: [")
        for turn in range(2):
            os.kill(proxy.current, signal.SIGUSR2)
            failed = until(lambda: events(proxy, "upgrade_failed")[turn:], 20, "upgrade_failed")[0]
            assert "exit code 1" in failed["error"], failed
            assert fetch(proxy.port, "/text", CHAT).body == TEXT
        until(lambda: b"sluice.json" in proxy.errors, what="the fault of the file is told")
        until(lambda: proxy.descriptors() <= before, what=f"descriptors back to {before}")
        proxy.write(config(peer.url))
        upgrade(proxy)
        assert proxy.process.wait(20) == 0
        assert fetch(proxy.port, "/text", CHAT).body == TEXT


def test_the_new_program_has_its_own_workers_and_listeners():
    """More workers than sockets, and fewer; a listener more, one less; a unix path, which stays."""
    with Peer(lambda c, r: stream(c)) as peer, tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "sock")
        settings = config(peer.url, workers=2, listeners=[{"address": "127.0.0.1:0"}, {"address": f"unix:{path}"}])

        def check():
            assert all(fetch(proxy.port, "/text", CHAT).body == TEXT for _ in range(30))
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(path)
            connection.sendall(request_bytes("/text", CHAT, headers=["Connection: close"]))
            assert Reply(drain(connection)).body == TEXT

        with Upgradable(settings) as proxy:
            for workers in (4, 1, 3):
                old = proxy.current
                settings["workers"] = workers
                proxy.write(settings)
                upgrade(proxy)
                until(lambda: is_gone(old), 20, "the old process has gone")
                check()
            settings["listeners"] = [{"address": "127.0.0.1:0"}, {"address": "127.0.0.1:0"}]
            proxy.write(settings)
            old, before = proxy.current, len(proxy.ports())
            upgrade(proxy)
            until(lambda: is_gone(old), 20, "the old process has gone")
            ports = until(lambda: proxy.ports()[before:] if len(proxy.ports()) == before + 2 else None, what="two ports")
            assert ports[0] == proxy.port and all(fetch(port, "/text", CHAT).body == TEXT for port in ports)


def test_the_program_at_the_path_is_started():
    """Another file under the same name, as a package manager leaves it."""
    with Peer(lambda c, r: stream(c)) as peer, tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "sluice")
        shutil.copy(harness.BINARY, path)
        ours, harness.BINARY = harness.BINARY, path
        try:
            with Upgradable(config(peer.url)) as proxy:
                shutil.copy(ours, path + ".new")
                os.rename(path + ".new", path)
                inode = os.stat(path).st_ino
                upgrade(proxy)
                assert os.stat(f"/proc/{proxy.current}/exe").st_ino == inode
                # One that ends at once, and one that is no program.
                for text in ("#!/bin/sh\nexit 7\n", "nonsense"):
                    with open(path + ".new", "w") as file:
                        file.write(text)
                    os.chmod(path + ".new", 0o755)
                    os.rename(path + ".new", path)
                    before = len(events(proxy, "upgrade_failed"))
                    os.kill(proxy.current, signal.SIGUSR2)
                    until(lambda: events(proxy, "upgrade_failed")[before:], 20, "upgrade_failed")
                    assert fetch(proxy.port, "/text", CHAT).body == TEXT
        finally:
            harness.BINARY = ours


def test_the_service_manager_follows():
    with Peer(lambda c, r: stream(c)) as peer, Manager() as manager:
        environment = {"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "500000"}
        with Upgradable(config(peer.url), environment=environment) as proxy:
            manager.got("WATCHDOG")
            upgrade(proxy)
            assert manager.got("MAINPID") == [str(proxy.current)]
            assert proxy.process.wait(20) == 0
            at = len(manager.messages)
            # The old one has said no word of stopping; the new one is watched on.
            assert not any("STOPPING" in message for _, message in manager.messages)
            manager.got("WATCHDOG", 2, since=at)
            os.kill(proxy.current, signal.SIGTERM)
            manager.got("STOPPING")


def test_sigterm_while_the_successor_starts():
    """The service is to stop: whichever process has the sockets then stops too."""
    with Peer(lambda c, r: stream(c)) as peer, Upgradable(config(peer.url)) as proxy:
        os.kill(proxy.current, signal.SIGUSR2)
        proxy.current = int(until(lambda: events(proxy, "upgrading"))[0]["process"])
        os.kill(proxy.process.pid, signal.SIGTERM)
        assert proxy.process.wait(20) == 0
        until(lambda: is_gone(proxy.current), 20, "the successor has gone")


def test_a_service_that_was_activated():
    """The successor gets systemd's sockets with their names, also one that only its own configuration uses."""
    with Peer(lambda c, r: stream(c)) as peer:
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        ports = [each.getsockname()[1] for each in sockets]
        settings = config(peer.url, workers=2, listeners=[{"address": "systemd:http"}])
        with activated(sockets, ["http", "spare"], settings) as proxy:
            proxy.current = proxy.process.pid
            settings["listeners"].append({"address": "systemd:spare"})
            proxy.write(settings)
            try:
                upgrade(proxy)
                assert proxy.process.wait(20) == 0
                assert all(fetch(port, "/text", CHAT).body == TEXT for port in ports)
            finally:
                os.kill(proxy.current, signal.SIGKILL)


def test_a_managed_process_is_not_handed_over():
    port = free_port()
    with Upgradable(managed(port, child(port))) as proxy:
        os.kill(proxy.current, signal.SIGUSR2)
        failed = until(lambda: events(proxy, "upgrade_failed"), 20, "upgrade_failed")[0]
        assert "managed process" in failed["error"] and not events(proxy, "upgrading"), failed
        assert fetch(proxy.port, "/text", CHAT).complete
