"""Pods run by `podman kube play`, with a provider outside of them: an app with Sluice beside it, as in `Deploy/kubernetes/sidecar`, and
the one that the chart makes."""

import base64
import contextlib
import copy
import json
import pathlib
import queue
import socket
import threading
import time

import exposition
import yaml
from containers import IMAGE, Engine
from harness import CHAT, DONE, HEAD, Peer, Reply, chunk, connect, drain, event, request_bytes, until
from kubernetes_world import MANIFESTS, kustomize, load, of_kind, pod_of, released
from life_world import refused
from test_operator import ask

KEY = "sk-canary-of-the-pod"


def free_port():
    with socket.create_server(("0.0.0.0", 0)) as server:
        return server.getsockname()[1]


class Provider:
    """Says the next token when it is told to, and ends when it is told `None`."""

    def __init__(self):
        self.tokens = queue.Queue()
        self.peer = Peer(self._answer, address=("0.0.0.0", 0))

    def _answer(self, connection, _):
        connection.sendall(HEAD)
        while (token := self.tokens.get(timeout=120)) is not None:
            connection.sendall(chunk(event({"content": token})))
        connection.sendall(chunk(DONE) + b"0\r\n\r\n")


def playable(resources):
    """Resources as podman 4.3 can run them here.

    It knows no native sidecars (`restartPolicy` of an init container is dropped, and it would wait for its end), so they stand first
    among the containers. Probes are commands inside of the container, which an image of one binary cannot have: what they ask is
    asked by the test. Of a Secret it reads `data` alone, and wants `optional` said."""
    kept = [copy.deepcopy(one) for one in resources if one["kind"] in ("ConfigMap", "Deployment")]
    (workload,) = of_kind(kept, "Deployment")
    workload["spec"]["replicas"] = 1
    spec = pod_of(workload)["spec"]
    for container in (sidecars := spec.pop("initContainers", [])):
        del container["restartPolicy"]
    spec["containers"] = sidecars + spec["containers"]
    for container in spec["containers"]:
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            container.pop(probe, None)
        container.update(image=IMAGE, imagePullPolicy="Never")
    for volume in spec["volumes"]:
        if "secret" in volume:
            volume["secret"]["optional"] = False
    (secret,) = load(MANIFESTS / "sidecar/secret.yaml")
    (name,) = secret.pop("stringData")
    secret["data"] = {name: base64.b64encode(KEY.encode()).decode()}
    return [secret, *sorted(kept, key=lambda one: one["kind"] != "ConfigMap")], spec


def sidecar_pod(upstream, ports):
    """The pod of Deploy/kubernetes/sidecar. The app is a Sluice, too: one that asks the sidecar as an SDK would, at the address that
    the manifest gives it."""
    resources, spec = playable(kustomize(MANIFESTS / "sidecar"))
    (settings,) = of_kind(resources, "ConfigMap")
    served = yaml.safe_load(settings["data"]["sluice.yaml"])
    served["upstreams"]["openai"]["url"] = upstream
    served["listeners"].append({"address": "0.0.0.0:8081"})
    settings["data"]["sluice.yaml"] = json.dumps(served)
    sidecar, own = spec["containers"]
    sidecar["ports"] = [{"containerPort": 9910, "hostPort": ports["admin"]}, {"containerPort": 8081, "hostPort": ports["sluice"]}]
    told = {one["name"]: one["value"] for one in own["env"]}
    asks = {"listeners": [{"address": "0.0.0.0:3000"}], "workers": 1, "drain_timeout": "50s",
            "upstreams": {"sidecar": {"url": told["OPENAI_BASE_URL"], "dialect": "openai-chat",
                                      "api_key": told["OPENAI_API_KEY"]}},
            "routes": [{"path": "/app", "request": "openai-chat", "response": "text", "upstream": "sidecar"}]}
    resources.insert(0, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app"},
                         "data": {"sluice.yaml": json.dumps(asks)}})
    own["args"] = ["run", "-c", "/etc/app/sluice.yaml"]
    own["ports"] = [{"containerPort": 3000, "hostPort": ports["app"]}]
    own["volumeMounts"] = [{"name": "app", "mountPath": "/etc/app", "readOnly": True}]
    spec["volumes"].append({"name": "app", "configMap": {"name": "app"}})
    return resources


def chart_pod(upstream, ports):
    """The pod that the chart makes."""
    settings = {"openai": {"url": upstream, "dialect": "openai-chat", "api_key": {"file": "/run/secrets/sluice/openai"}}}
    route = {"path": "/v1/chat/completions", "request": "openai-chat", "response": "openai-chat", "upstream": "openai"}
    resources, spec = playable(released({"secret": {"existing": "sluice-providers"}, "config": {
        "upstreams": settings, "routes": [route], "drain_delay": "1s"}}))
    for port in spec["containers"][0]["ports"]:
        port["hostPort"] = ports["sluice" if port["name"] == "http" else "admin"]
    return resources


class Played:
    """The pod while it runs."""

    def __init__(self, engine, provider, make):
        self.engine = engine
        self.ports = {name: free_port() for name in ("admin", "sluice", "app")}
        resources = make(f"http://{engine.gateway}:{provider.peer.port}/v1", self.ports)
        self.file = engine.path / "pod.yaml"
        self.file.write_text(yaml.safe_dump_all(resources))
        self.grace = pod_of(of_kind(resources, "Deployment")[0])["spec"]["terminationGracePeriodSeconds"]
        began = time.monotonic()
        engine.podman("kube", "play", "--network", engine.network, self.file)
        until(self.is_ready, 60, "what the startup probe asks")
        self.started_in = time.monotonic() - began

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind:
            self.tell()
        self.engine.podman("kube", "down", self.file, check=False)
        assert kind or not self.containers(), "kube down takes all away"

    def is_ready(self):
        with contextlib.suppress(OSError, AssertionError):
            return ask(self.ports["admin"], "/readyz", host="10.0.0.1:9910").status == 200

    def stop(self, part):
        """SIGTERM to one container, and SIGKILL when the grace period is over; returns its exit code."""
        (name,) = [one for one in self.containers() if one.endswith(f"-{part}")]
        self.engine.podman("stop", "--time", self.grace, name, seconds=self.grace + 60)
        return self.containers()[name]["State"]["ExitCode"]

    def containers(self):
        names = self.engine.podman("ps", "--all", "--format", "{{.Names}}").split()
        return {name: json.loads(self.engine.podman("inspect", "--type", "container", name))[0] for name in names
                if not name.endswith("-infra")}

    def tell(self):
        for name in self.engine.podman("ps", "--all", "--format", "{{.Names}}").split():
            done = self.engine.podman("logs", name, check=False)
            print(f"  {name}:\n{done.stdout[-3000:]}{done.stderr[-2000:]}")


def status(process):
    text = pathlib.Path(f"/proc/{process}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def check_confinement(played, count, memory):
    found = played.containers()
    assert len(found) == count and all(one["State"]["Running"] for one in found.values()), found.keys()
    for name, one in found.items():
        assert one["HostConfig"]["ReadonlyRootfs"], name
        told = status(one["State"]["Pid"])
        assert told["Uid"].split() == ["65532"] * 4 and told["Gid"].split() == ["65532"] * 4, (name, told["Uid"])
        assert {told[sort] for sort in ("CapEff", "CapPrm", "CapBnd")} == {"0" * 16}, (name, told)
        assert told["NoNewPrivs"] == "1", name
    (sidecar,) = [one for name, one in found.items() if name.endswith("-sluice")]
    assert sidecar["HostConfig"]["Memory"] == memory


def test_pods_stream_and_end_after_their_streams():
    provider = Provider()
    with Engine() as engine, provider.peer:
        engine.build()
        with Played(engine, provider, sidecar_pod) as played:
            check_confinement(played, 2, 256 << 20)
            check_admin(played)
            check_streams(played, provider, "app", "sluice")
            # As the kubelet ends a pod with a native sidecar: the app first, and Sluice, which serves it to its last stream, behind it.
            check_end(played, provider, "app", "sluice")
        with Played(engine, provider, chart_pod) as played:
            check_confinement(played, 1, 512 << 20)
            check_admin(played)
            check_streams(played, provider, "sluice")
            check_end(played, provider, "sluice")


PATHS = {"app": "/app", "sluice": "/v1/chat/completions"}


def check_admin(played):
    """By the pod's own address, as the kubelet and Prometheus ask."""
    port = played.ports["admin"]
    assert ask(port, "/livez", host="10.0.0.1:9910").status == 200
    assert "sluice_streams_active" in exposition.parse(ask(port, "/metrics").body.decode())
    for path in ("/config", "/streams", "/_sluice/"):
        assert ask(port, path).status == 403, path


def read_until(connection, wanted, data=b""):
    connection.settimeout(60)
    while wanted not in data:
        more = connection.recv(65536)
        assert more, data
        data += more
    return data


def check_streams(played, provider, *parts):
    """Each token is read before the provider says the next one."""
    for part in parts:
        client = connect(played.ports[part])
        client.sendall(request_bytes(PATHS[part], CHAT, headers=["Connection: close"]))
        data = b""
        for number in range(5):
            provider.tokens.put(f"token-{number} ")
            data = read_until(client, f"token-{number} ".encode(), data)
        provider.tokens.put(None)
        assert Reply(data + drain(client)).complete
    told = provider.peer.requests[-1].decode().lower()
    # What podman 4.3 puts into the file is the text in base64; a cluster puts the text.
    assert any(f"authorization: bearer {key}\r\n".lower() in told
               for key in (KEY, base64.b64encode(KEY.encode()).decode())), told
    assert "unused" not in told, "the app's own key goes no further than to the sidecar"


def check_end(played, provider, *parts):
    """SIGTERM to one container after the other, each with a stream under way.

    Not by `kube down`, which in podman 4.3 sends SIGKILL right behind SIGTERM, nor by `pod stop`, which takes the network away at once: a
    kubelet does neither."""
    began = time.monotonic()
    for part in parts:
        client = connect(played.ports[part])
        client.sendall(request_bytes(PATHS[part], CHAT, headers=["Connection: close"]))
        provider.tokens.put("before ")
        data = read_until(client, b"before ")
        codes = []
        end = threading.Thread(target=lambda: codes.append(played.stop(part)))
        end.start()
        until(lambda: refused(played.ports[part]), 60, f"{part} was asked to end")
        assert played.is_ready() == (part == "app"), "Sluice is ready until it is asked to end itself"
        for number in range(4):
            provider.tokens.put(f"after-{number} ")
            data = read_until(client, f"after-{number} ".encode(), data)
        assert not codes, f"{part} ended before its stream"
        provider.tokens.put(None)
        whole = time.monotonic()
        reply = Reply(data + drain(client))
        assert reply.complete and all(f"after-{number}".encode() in reply.body for number in range(4)), reply.raw
        end.join(played.grace + 60)
        assert codes == [0], f"{part}: {codes}"
        print(f"  {part}: its stream ended whole after SIGTERM, and the container {time.monotonic() - whole:.2f} s later")
    took = time.monotonic() - began
    assert took < played.grace
    print(f"  ready {played.started_in:.1f} s after kube play, ended in {took:.1f} s of {played.grace} s")
