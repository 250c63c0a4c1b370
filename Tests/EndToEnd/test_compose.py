"""Deploy/compose.yaml, by podman-compose: an application, Sluice and Redis, of images made here."""

import re
import subprocess
import sys

import yaml

import containers
from harness import fetch, until
from test_image import free_port

FILE = containers.ROOT / "Deploy" / "compose.yaml"
PATIENCE = 60


class Project:
    """What `podman-compose up` starts of it."""

    def __init__(self, engine):
        self.engine, self.port = engine, free_port()
        for tag, programs in (("localhost/app:test", ["curl"]), ("localhost/redis:test", ["redis-server", "redis-cli"])):
            engine.install(tag, *programs)
        engine.build()
        podman = engine.path / "podman"
        podman.write_text(f'#!/bin/sh\nexec podman {" ".join(engine.options)} "$@"\n')
        podman.chmod(0o755)
        # The engine's network, in place of one whose bridge another engine may just be making.
        network = engine.path / "network.yaml"
        network.write_text(f"networks:\n  default:\n    external: true\n    name: {engine.network}\n")
        self.command = [sys.executable, "-m", "podman_compose", "--podman-path", str(podman), "--in-pod", "false", "-f", str(FILE), "-f",
                        str(network)]
        self.environment = {**engine.environment, "SLUICE_IMAGE": containers.IMAGE, "APP_IMAGE": "localhost/app:test",
                            "REDIS_IMAGE": "localhost/redis:test", "SLUICE_PORT": str(self.port)}

    def __call__(self, *arguments):
        done = subprocess.run([*self.command, *arguments], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def container(self, service):
        filter = ["--filter", f"label=com.docker.compose.service={service}"]
        return containers.Container(self.engine, self.engine.podman("ps", "--all", "--quiet", *filter))


def seconds(text):
    return sum(int(number) * {"h": 3600, "m": 60, "s": 1}[unit] for number, unit in re.findall(r"(\d+)([hms])", text))


def test_an_application_with_sluice_and_redis():
    with containers.Engine(names=True) as engine:
        project = Project(engine)
        project("up", "--detach", "--no-build", "redis", "sluice")
        with project.container("redis") as redis, project.container("sluice") as sluice:
            sluice.wait_for("listening")
            for container in (redis, sluice):
                until(container.check, PATIENCE, "it is well")
            is_hardened(sluice)
            is_asked(project)
            is_read_on(project, sluice)
        project("down", "--timeout", "20")


def is_hardened(sluice):
    told = sluice.inspect()
    host = told["HostConfig"]
    assert host["ReadonlyRootfs"] and "no-new-privileges" in " ".join(host["SecurityOpt"]), host
    assert not told["EffectiveCaps"] and told["Config"]["User"] == "65532:65532", told
    # A drain that is cut short is a stream that is cut short. podman-compose heeds it when it stops, and tells the container nothing.
    grace = yaml.safe_load(FILE.read_text())["services"]["sluice"]["stop_grace_period"]
    drain = yaml.safe_load((FILE.parent / "compose.sluice.yaml").read_text())["drain_timeout"]
    assert seconds(grace) > seconds(drain), (grace, drain)


def is_asked(project):
    """By the application, under Sluice's name."""
    project("up", "--detach", "--no-build", "app")
    with project.container("app") as app:
        until(lambda: app.inspect()["State"]["Status"] == "exited", PATIENCE, "the application has asked")
        said = project.engine.podman("logs", app.name, check=False)
        assert app.inspect()["State"]["ExitCode"] == 0 and "demo upstream" in said.stdout, (said.stdout, said.stderr)


def is_read_on(project, sluice):
    """Begun at one Sluice, read on at the next, which has nothing of it but what Redis keeps."""
    ask = lambda *headers: fetch(project.port, "/stream?prompt=emoji", headers=["Accept: text/event-stream", *headers])
    whole = ask()
    first = re.search(rb"^id: (\S+)$", whole.body, re.MULTILINE)[1].decode()
    assert sluice.stop() == 0
    project.engine.podman("start", sluice.name)
    until(sluice.check, PATIENCE, "it is well again")
    # 503 with Retry-After as long as it has not found Redis.
    after = until(lambda: (reply := ask(f"Last-Event-ID: {first}")).status != 503 and reply, PATIENCE, "it reaches Redis")
    told = after.body.removeprefix(b"retry: 1000\n")
    assert after.status == 200 and len(told) > len(whole.body) / 2 and whole.body.endswith(told), (after.raw, whole.body)
