"""A real Redis for the tests of answers that other replicas read on: started, frozen, killed and asked."""

import os
import signal
import socket
import subprocess

from harness import Sluice, until
from resume_world import metrics, settings


class Redis:
    """On a port of its own, without a disk."""

    def __init__(self, *arguments):
        self.arguments = arguments
        for _ in range(20):
            # Redis takes no port 0; one that was free may be taken by now.
            with socket.create_server(("127.0.0.1", 0)) as server:
                self.port = server.getsockname()[1]
            if self.start():
                return
        raise AssertionError("no redis-server comes up")

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self):
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
             *self.arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: self.process.poll() is not None or self._accepts(), 20, "redis-server")
        return self.process.poll() is None

    def _accepts(self):
        try:
            return b"PONG" in self.ask("PING")
        except OSError:
            return False

    def ask(self, line):
        """The first part of the reply to an inline command."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(line.encode() + b"\r\n")
            return connection.recv(65536)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def freeze(self):
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self):
        os.kill(self.process.pid, signal.SIGCONT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()


def replica(peer, redis, resume=None, timeouts=None, **changes):
    """One of several processes before the same upstream. On a busy machine Redis may take its time."""
    resume = {"store": "redis", **(resume or {})}
    where = {"url": redis.url, "timeouts": timeouts or {"connect": "5s", "reply": "5s"}}
    return Sluice(settings(peer, resume, **{"workers": 2, **changes}, redis=where, admin={"address": "127.0.0.1:0"}))


def is_up(proxy):
    return metrics(proxy).get("sluice_resume_store_up") == 1


def all_up(*proxies):
    for proxy in proxies:
        until(lambda: is_up(proxy), 20, "a store that is up")


def lines(proxy, event):
    return [entry for entry in list(proxy.log) if entry["event"] == event]
