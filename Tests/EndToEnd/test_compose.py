"""Deploy/compose.yaml, by podman-compose: an application, Sluice and Redis, of images made here."""

import re
import subprocess
import sys

import containers
from harness import fetch, until
from test_image import free_port

FILE = containers.ROOT / "Deploy" / "compose.yaml"
PATIENCE = 120


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
        network.write_text("networks:\n  default:\n    external: true\n    name: sluice\n")
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
        sluice, redis = project.container("sluice"), project.container("redis")
        sluice.wait_for("listening")
        for container in (sluice, redis):
            until(lambda: engine.podman("healthcheck", "run", container.name, check=False).returncode == 0, PATIENCE, "it is well")
        told = sluice.inspect()
        host = told["HostConfig"]
        assert host["ReadonlyRootfs"] and "no-new-privileges" in " ".join(host["SecurityOpt"]), host
        assert not told["EffectiveCaps"] and told["Config"]["User"] == "65532:65532", told
        # A drain that is cut short is a stream that is cut short.
        drain = re.search(r"^drain_timeout: (\w+)$", (FILE.parent / "compose.sluice.yaml").read_text(), re.MULTILINE)[1]
        assert told["Config"]["StopTimeout"] > seconds(drain), (told["Config"]["StopTimeout"], drain)

        project("up", "--detach", "--no-build", "app")
        app = project.container("app")
        until(lambda: app.inspect()["State"]["Status"] == "exited", PATIENCE, "the application has asked")
        assert app.inspect()["State"]["ExitCode"] == 0
        assert "demo upstream" in engine.podman("logs", app.name)

        # Begun at one Sluice, read on at the next.
        until(lambda: fetch(project.port, "/v1/chat/completions").status == 405, PATIENCE, "the port is mapped")
        headers = ["Accept: text/event-stream"]
        whole = fetch(project.port, "/stream?prompt=hi", headers=headers)
        first = re.search(rb"^id: (\S+)$", whole.body, re.MULTILINE)[1].decode()
        assert sluice.stop() == 0
        engine.podman("start", sluice.name)
        until(lambda: engine.podman("healthcheck", "run", sluice.name, check=False).returncode == 0, PATIENCE, "it is well again")
        after = fetch(project.port, "/stream?prompt=hi", headers=[*headers, f"Last-Event-ID: {first}"])
        assert after.status == 200 and after.body and whole.body.endswith(after.body), (first, whole.body, after.raw)
        project("down", "--timeout", "20")
