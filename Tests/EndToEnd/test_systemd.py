"""The unit in `Deploy`: what systemd says of it, and that the program lives inside of it."""

import functools
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading

import yaml
from harness import BINARY, CHAT, TOKENS, Peer, Sluice, config, connect, fetch, request_bytes, stream, until
from test_process import child, free_port

ROOT = pathlib.Path(__file__).parents[2]
UNIT, SOCKET = ROOT / "Deploy/sluice.service", ROOT / "Deploy/sluice.socket"
INSTALLED = "/usr/local/bin/sluice"
# Of 10, the less the better: 1.1 when this was written. What is left is that it talks to the network.
EXPOSURE = 1.2


def settings_of(path):
    """{key: [values]} in their order; an empty value takes back those before it."""
    found = {}
    for line in path.read_text().splitlines():
        key, mark, value = line.partition("=")
        if mark and not line.startswith("#"):
            found[key] = [*found.get(key, []), value] if value else []
    return found


def analyze(*arguments):
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True)


def copies(folder):
    """The units as they would be installed, with a binary that is there."""
    for path in (UNIT, SOCKET):
        pathlib.Path(folder, path.name).write_text(path.read_text().replace(INSTALLED, os.path.abspath(BINARY)))
    return [os.path.join(folder, path.name) for path in (UNIT, SOCKET)]


def test_systemd_finds_no_fault():
    with tempfile.TemporaryDirectory() as folder:
        units = copies(folder)
        done = analyze("verify", "--man=no", *units)
        # The second type, which older ones skip; see the unit.
        faults = [line for line in done.stderr.splitlines() if not line.endswith("ignoring: notify-reload")]
        assert done.returncode == 0 and not faults, done.stderr
        pathlib.Path(units[0]).write_text(pathlib.Path(units[0]).read_text().replace("RestrictSUIDSGID", "RestrictSUIDS"))
        assert "RestrictSUIDS" in analyze("verify", "--man=no", *units).stderr, "it sees no fault at all"


def test_the_unit_exposes_little():
    with tempfile.TemporaryDirectory() as folder:
        done = analyze("security", "--offline=true", "--no-pager", copies(folder)[0])
        (score,) = re.findall(r"Overall exposure level for sluice\.service: ([\d.]+)", done.stdout)
        assert float(score) <= EXPOSURE, done.stdout
        print(f"  exposure: {score} of 10")


def test_it_has_time_to_drain():
    settings = settings_of(UNIT)
    (minutes,) = re.fullmatch(r"(\d+)min", settings["TimeoutStopSec"][-1]).groups()
    reference = yaml.safe_load((ROOT / "Config/sluice.yaml").read_text())
    assert reference["drain_timeout"] == "10m" and reference["drain_delay"] == 0, "the defaults"
    assert int(minutes) * 60 >= 600 + 30 and settings["KillMode"] == ["mixed"]
    assert settings["ExecStart"][0].split() == [INSTALLED, "run", "-c", "/etc/sluice/sluice.yaml"]
    (name,) = settings_of(SOCKET)["FileDescriptorName"]
    assert f'"systemd:{name}"' in SOCKET.read_text()


@functools.cache
def members(group):
    """System calls of a set such as `@system-service`, and of the sets in it."""
    done = analyze("syscall-filter", "--no-pager", group)
    assert done.returncode == 0, done.stderr
    found = set()
    for line in done.stdout.splitlines()[1:]:
        name = line.strip()
        if name.startswith("@"):
            found |= members(name)
        elif name and not name.startswith("#"):
            found.add(name)
    return found


def rules():
    settings = settings_of(UNIT)
    allowed = members("@default")
    for words in settings["SystemCallFilter"]:
        for word in words.lstrip("~").split():
            named = members(word) if word.startswith("@") else {word}
            allowed = allowed - named if words.startswith("~") else allowed | named
    assert settings["CapabilityBoundingSet"] == [] and settings["NoNewPrivileges"] == ["yes"]
    assert settings["SystemCallErrorNumber"] == ["EPERM"]
    return {"allowed": sorted(allowed | {"execve", "exit", "exit_group"}),
            "families": settings["RestrictAddressFamilies"][0].split(),
            "denies_code": settings["MemoryDenyWriteExecute"] == ["yes"], "umask": settings["UMask"][0]}


class Confined(Sluice):
    """As the unit would have it."""

    def __init__(self, settings):
        self.folder = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.folder.name, "sluice.json")
        self.write(settings)
        told = pathlib.Path(self.folder.name, "rules.json")
        told.write_text(json.dumps(rules()))
        self.log, self.errors = [], b""
        self.process = subprocess.Popen(
            [sys.executable, "-B", ROOT / "Tests/EndToEnd/confined.py", told, os.path.abspath(BINARY), "run", "-c", self.path],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            # Whoever looks for leaks stops the program from outside, as a debugger does: refused in here.
            env={**os.environ, "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"})
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._drain, daemon=True).start()
        until(lambda: self.ports() or self.process.poll() is not None, 30, "listening")
        assert self.process.poll() is None, self.errors
        self.port = self.ports()[0]

    def events(self, name):
        return [entry for entry in list(self.log) if entry["event"] == name]


def test_the_program_lives_inside_of_the_unit():
    said = "".join(TOKENS).encode()
    model = free_port()
    with Peer(lambda c, r: stream(c, gap=0.02)) as peer, tempfile.TemporaryDirectory() as folder:
        settings = config(peer.url, workers=2, admin={"address": f"unix:{folder}/admin.sock"})
        settings["upstreams"]["model"] = {
            "url": f"http://127.0.0.1:{model}/v1", "dialect": "openai-chat",
            "process": {"command": child(model), "ready": {"path": "/health", "interval": "50ms"}, "stop_timeout": "3s"}}
        settings["routes"].append({"path": "/model", "request": "openai-chat", "response": "text", "upstream": "model"})
        with Confined(settings) as proxy:
            confinement = pathlib.Path(f"/proc/{proxy.process.pid}/status").read_text()
            assert "Seccomp:\t2\n" in confinement and "NoNewPrivs:\t1\n" in confinement
            assert re.search(r"CapBnd:\t0+\n", confinement) and re.search(r"CapEff:\t0+\n", confinement)
            assert fetch(proxy.port, "/text", CHAT).body == said
            until(lambda: proxy.events("process_ready"), 30, "a managed server is ready")
            assert fetch(proxy.port, "/model", CHAT).complete
            proxy.process.send_signal(signal.SIGHUP)
            until(lambda: proxy.events("reloaded"), 20, "a reload")
            live = connect(proxy.port)
            live.sendall(request_bytes("/text", CHAT, headers=["Connection: close"]))
            live.recv(1)
            proxy.process.send_signal(signal.SIGTERM)
            live.settimeout(20)
            while live.recv(65536):
                pass
            assert proxy.process.wait(30) == 0, proxy.errors
            # Whatever the kernel refused would be told.
            ill = [entry for entry in proxy.log if entry["level"] in ("warning", "error")]
            assert not ill and not proxy.errors, (ill, proxy.errors)
            assert [entry["end"] for entry in proxy.exchanges()] == ["done"] * 3


def test_the_confinement_is_real():
    """What the unit forbids is refused to whoever is started so."""
    attempts = """
import ctypes, errno, mmap, os, socket
def refused(what, code=errno.EPERM):
    try: what()
    except OSError as told: return told.errno == code
    return False
libc = ctypes.CDLL(None, use_errno=True)
def call(code, *arguments):
    if libc.syscall(code, *arguments) < 0: raise OSError(ctypes.get_errno(), "")
print([refused(lambda: os.chown("/tmp", -1, -1)), refused(lambda: os.nice(1)), refused(lambda: call(165, 0, 0, 0, 0, 0)),
       refused(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW), errno.EAFNOSUPPORT),
       refused(lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)), os.umask(0)])
"""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as told:
        json.dump(rules(), told)
        told.flush()
        done = subprocess.run([sys.executable, "-B", ROOT / "Tests/EndToEnd/confined.py", told.name, sys.executable, "-c", attempts],
                              capture_output=True, text=True)
        assert done.stdout.strip() == f"[True, True, True, True, True, {0o077}]", (done.stdout, done.stderr)
