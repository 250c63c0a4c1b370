"""Containers by podman, of an image that `Deploy/build-image` makes; without a registry, a service manager, or anything of the machine's own
podman: storage, network and settings stand in a folder that goes away."""

import contextlib
import hashlib
import json
import os
import pathlib
import re
import resource
import shutil
import subprocess
import tempfile

from harness import BINARY, until

ROOT = pathlib.Path(__file__).resolve().parents[2]
IMAGE = "localhost/sluice:test"
USER = 65532


class Engine:
    """`with Engine() as engine:`; all its containers are gone afterwards."""

    def __init__(self, names=False):
        """`names`: containers find each other by name; then no other name server can have the gateway's port."""
        # Sockets in it have paths, which may not be long.
        self.folder = tempfile.TemporaryDirectory(prefix="sluice-", dir="/tmp")
        self.path = pathlib.Path(self.folder.name)
        number = os.getpid()
        # Engines live beside each other, so each has a bridge and a subnet of its own, by the number of its process.
        self.subnet = f"10.{128 + number // 256 % 64}.{number % 256}"
        self.gateway = f"{self.subnet}.1"
        # Of the network; some of what podman keeps of networks is the whole machine's, by their names.
        self.network = f"sluice-{number}"
        self._write_network(f"slc{number}", names)
        self.settings = self.path / "containers.conf"
        self.settings.write_text(self._settings())
        self.environment = {**os.environ, "CONTAINERS_CONF": str(self.settings), "DISABLE_HC_SYSTEMD": "true",
                            "TMPDIR": str(self.path)}
        self.options = ["--root", str(self.path / "storage"), "--runroot", str(self.path / "run"), "--storage-driver", "vfs"]

    def _write_network(self, bridge, names):
        folder = self.path / "networks"
        folder.mkdir()
        (folder / f"{self.network}.json").write_text(json.dumps({
            "name": self.network, "id": hashlib.sha256(self.network.encode()).hexdigest(), "driver": "bridge", "network_interface": bridge, "ipv6_enabled": False,
            "subnets": [{"subnet": f"{self.subnet}.0/24", "gateway": self.gateway}], "internal": False,
            "dns_enabled": names, "ipam_options": {"driver": "host-local"}, "created": "2020-01-01T00:00:00Z"}))

    def _settings(self):
        """runc, since crun wants cgroups as some machines do not have them; no limit above what this process may set."""
        files = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 20_000)
        processes = min(int(pathlib.Path("/proc/sys/kernel/pid_max").read_text()), 32_768)
        return f"""
[containers]
default_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "runc"
[network]
network_backend = "netavark"
network_config_dir = "{self.path / "networks"}"
default_network = "{self.network}"
"""

    def podman(self, *arguments, check=True, seconds=60):
        """What it printed; both outputs if it failed and `check` is False."""
        done = subprocess.run(["podman", *self.options, *map(str, arguments)], env=self.environment, timeout=seconds,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if check and done.returncode:
            raise AssertionError(f"podman {' '.join(map(str, arguments))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout.strip() if check else done

    def build(self, tag=IMAGE):
        """Of the objects that the binary under test is linked from; one with a sanitizer in it cannot be static, so a release is built."""
        folder = os.path.dirname(os.path.abspath(BINARY))
        configuration = "debug" if folder == f"{ROOT}/.build/debug" else "release"
        environment = {**self.environment, "CONFIGURATION": configuration, "BUILDAH": " ".join(["buildah", *self.options]),
                       "BUILT": "yes" if folder == f"{ROOT}/.build/{configuration}" else "no"}
        done = subprocess.run([ROOT / "Deploy/build-image", tag], env=environment, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=1200)
        assert done.returncode == 0, done.stdout
        return tag

    def install(self, tag, *programs):
        """An image of programs of this machine, with the libraries that they need."""
        folder = self.path / tag.replace("/", "-").replace(":", "-")
        for program in programs:
            found = os.path.realpath(shutil.which(program))
            needed = re.findall(r"(/\S+)", subprocess.run(["ldd", found], capture_output=True, text=True).stdout)
            for source, target in [(found, f"/usr/bin/{program}"), *((library, library) for library in needed)]:
                place = folder / target.lstrip("/")
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, place)
        (folder / "Containerfile").write_text("FROM scratch\nCOPY . /\nENV PATH=/usr/bin\n")
        subprocess.run(["buildah", *self.options, "bud", "--isolation", "chroot", "--tag", tag, folder], env=self.environment,
                       check=True, capture_output=True, timeout=120)

    def run(self, *options, image=IMAGE, command=()):
        """Starts a container with the hardening that Sluice is meant to run under."""
        name = self.podman("run", "--detach", "--pull", "never", "--read-only", "--cap-drop", "all", "--security-opt",
                           "no-new-privileges", *options, image, *command)
        return Container(self, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # One that another needs is not removed before that one is.
        for _ in range(5):
            self.podman("pod", "rm", "--all", "--force", "--time", 0, check=False)
            done = self.podman("rm", "--all", "--force", "--time", 0, check=False)
            if not self.podman("ps", "--all", "--quiet"):
                break
        else:
            raise AssertionError(f"containers are left behind in {self.path}: {done.stderr}")
        # Layers belong to others than us inside of user namespaces only; what is still mounted must not be followed.
        with contextlib.suppress(OSError):
            self.folder.cleanup()


class Container:
    def __init__(self, engine, name):
        (self.engine, self.name) = (engine, name)

    def inspect(self):
        return json.loads(self.engine.podman("inspect", "--type", "container", self.name))[0]

    def port(self, inside):
        """On this machine, of a container started with `--publish 127.0.0.1::INSIDE`."""
        return int(self.engine.podman("port", self.name, f"{inside}/tcp").rsplit(":", 1)[1])

    def log(self):
        """The lines of its own log; what it says to people is left out."""
        lines = self.engine.podman("logs", self.name).splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def wait_for(self, event, seconds=30):
        return until(lambda: next((entry for entry in self.log() if entry["event"] == event), None), seconds, event)

    def execute(self, *command):
        """In the container; returns the exit code and all output."""
        done = self.engine.podman("exec", self.name, *command, check=False)
        return done.returncode, done.stdout + done.stderr

    def check(self):
        """By the image's or the engine's health check: whether it is well."""
        return self.engine.podman("healthcheck", "run", self.name, check=False).returncode == 0

    def stop(self, seconds=60):
        """SIGTERM, and SIGKILL after `seconds`; returns the exit code."""
        self.engine.podman("stop", "--time", seconds, self.name, seconds=seconds + 60)
        return self.inspect()["State"]["ExitCode"]

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind:
            done = self.engine.podman("logs", self.name, check=False)
            print(f"  container {self.name[:12]}:\n{done.stdout[-4000:]}{done.stderr[-2000:]}")
        self.engine.podman("rm", "--force", "--time", 0, self.name, check=False)
