"""Manifests and chart: valid for real Kubernetes schemas, of one mind with the configuration they carry, and with the binary."""

import json
import os
import pathlib
import re
import socket
import subprocess
import tempfile
import threading

import exposition
import yaml
from harness import BINARY, DONE, HEAD, Peer, Reply, Sluice, chunk, connect, drain, event, request_bytes, until
from kubernetes_world import (CHART, MANIFESTS, ROOT, Refused, containers, drain_seconds, effective, identity, is_sluice,
                              kustomize, load, of_kind, parse, pod_of, released, render, runnable, seconds, selected,
                              sluices, validate, values_schema)
from redis_world import Redis
from test_operator import admin_port, ask

WAYS = ("sidecar", "deployment", "redis")
# SIGTERM to SIGKILL beyond drain_delay and drain_timeout: 10 s that the last bytes may take, and something for the rest.
MARGIN = 15
UPSTREAM = {"url": "https://api.openai.com/v1", "dialect": "openai-chat",
            "api_key": {"file": "/run/secrets/sluice/openai"}}
ROUTE = {"path": "/v1/chat/completions", "request": "openai-chat", "response": "openai-chat", "upstream": "openai"}
BASE = {"secret": {"existing": "sluice-providers"}, "config": {"upstreams": {"openai": UPSTREAM}, "routes": [ROUTE]}}


def values(**changes):
    return effective(changes, BASE)


def everything():
    return values(
        autoscaling={"enabled": True}, serviceMonitor={"enabled": True, "labels": {"release": "stack"}},
        networkPolicy={"enabled": True, "metricsFrom": [{"podSelector": {}}]}, redis={"enabled": True, "password": "abc1"},
        ingress={"enabled": True, "className": "nginx", "hosts": ["chat.example.com"],
                 "tls": [{"secretName": "chat-tls", "hosts": ["chat.example.com"]}]},
        config={"routes": [{**ROUTE, "resume": {"store": "redis"}}], "drain_timeout": "1h"},
        podAnnotations={"a": "b"}, podLabels={"team": "x"}, env=[{"name": "A", "value": "b"}],
        envFrom=[{"secretRef": {"name": "more"}}], imagePullSecrets=[{"name": "pull"}], nodeSelector={"disk": "ssd"},
        tolerations=[{"operator": "Exists"}], topologySpreadConstraints=[], priorityClassName="high",
        service={"type": "LoadBalancer", "port": 8000, "annotations": {"c": "d"}}, extraArgs=["--listen", "127.0.0.1:1"],
        serviceAccount={"annotations": {"role": "r"}}, image={"digest": "sha256:" + "0" * 64},
        extraVolumes=[{"name": "tls", "secret": {"secretName": "tls"}}],
        extraVolumeMounts=[{"name": "tls", "mountPath": "/run/tls", "readOnly": True}])


def text_values():
    return values(config="listeners: [{address: ':8080'}]\nadmin: {address: ':9910', expose: []}\ncompress: off\n"
                  "upstreams: {a: {url: 'http://a', dialect: openai-chat}}\n"
                  "routes: [{path: /, request: prompt, response: text, upstream: a, smooth: off}]\ndrain_timeout: 90s\n")


CHARTS = {
    "least": BASE, "everything": everything(), "text": text_values(),
    "own secret": values(secret={"existing": "", "data": {"openai": "sk-1"}}),
    "own ports": values(ports={"http": 8443, "admin": 1234}, watch=False, serviceAccount={"create": False}),
    "names": values(fullnameOverride="llm", podDisruptionBudget={"enabled": False}, redis={
        "enabled": True, "existingSecret": "mine"}),
}


def worlds():
    """Each way to run it: (name, resources)."""
    for way in WAYS:
        yield way, kustomize(MANIFESTS / way)
    for name, given in CHARTS.items():
        yield f"chart: {name}", released(given)


WORLDS = list(worlds())


def the(resources, kind):
    (one,) = of_kind(resources, kind)
    return one


def test_every_resource_is_valid():
    seen = set()
    for name, resources in WORLDS:
        assert len({identity(one) for one in resources}) == len(resources), f"{name}: one stands twice"
        for resource in resources:
            validate(resource)
            seen.add(resource["kind"])
    for path in MANIFESTS.rglob("secret.yaml"):
        (secret,) = load(path)
        validate(secret)
    assert seen == {"ConfigMap", "Secret", "Deployment", "StatefulSet", "Service", "ServiceAccount", "Ingress",
                    "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy", "ServiceMonitor"}, seen


def test_the_validation_sees_faults():
    resources = dict(WORLDS)["deployment"]
    for kind, path, wrong in (("Deployment", ("spec", "template", "spec", "containers", 0, "readynessProbe"), {}),
                              ("HorizontalPodAutoscaler", ("spec", "maxReplicas"), "many"),
                              ("PodDisruptionBudget", ("spec", "maxUnavailible"), 1)):
        broken = json.loads(json.dumps(the(resources, kind)))
        place = broken
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = wrong
        try:
            validate(broken)
        except AssertionError as fault:
            assert path[-1] in str(fault), fault
        else:
            raise AssertionError(f"{path[-1]} was not seen")


def test_each_file_of_the_folder_is_used():
    used = {MANIFESTS / "sidecar/secret.yaml", MANIFESTS / "monitoring/prometheus-adapter.yaml",
            MANIFESTS / "monitoring/prometheus-rule"}
    for control in MANIFESTS.rglob("kustomization.yaml"):
        (settings,) = load(control)
        named = settings["resources"] + [patch["path"] for patch in settings.get("patches", [])]
        used |= {control, *((control.parent / name).resolve() for name in named)}
    assert {path for path in MANIFESTS.rglob("*") if path.is_file()} == {path for path in used if path.is_file()}


def test_configurations_are_valid():
    for name, resources in WORLDS:
        for workload, _, text in sluices(resources):
            with tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder, "sluice.yaml")
                path.write_text(runnable(text, folder)[1])
                done = subprocess.run([BINARY, "validate", path], capture_output=True, text=True,
                                      env={**os.environ, "REDIS_PASSWORD": "x"})
                assert done.returncode == 0, (name, identity(workload), done.stderr)


def test_keys_are_files_that_the_secret_has():
    """What a configuration reads under a mounted Secret stands in it, and that is the Secret that the instructions make."""
    for name, resources in WORLDS:
        for workload, container, text in sluices(resources):
            for mount, key in re.findall(r"(/run/secrets/[\w-]+)/([\w.-]+)", re.sub(r"#.*", "", text)):
                (found,) = [one for one in container["volumeMounts"] if one["mountPath"] == mount]
                assert found["readOnly"] and "subPath" not in found
                (volume,) = [one for one in pod_of(workload)["spec"]["volumes"] if one["name"] == found["name"]]
                secret = volume["secret"]["secretName"]
                made = [one for one in resources + load(MANIFESTS / "sidecar/secret.yaml")
                        if identity(one) == ("Secret", secret)]
                assert any(key in one["stringData"] for one in made), (name, secret, key)
    assert "create secret generic sluice-providers --from-literal=openai=" in (
        MANIFESTS / "sidecar/secret.yaml").read_text()


def test_a_pod_has_more_time_to_end_than_its_streams():
    for name, resources in WORLDS:
        for workload, container, text in sluices(resources):
            spec = pod_of(workload)["spec"]
            grace, needed = spec["terminationGracePeriodSeconds"], drain_seconds(text) + MARGIN
            if container in spec.get("initContainers", []):
                needed += 60  # for the app, which ends first
                assert not yaml.safe_load(text).get("drain_delay"), "nobody comes any more when a sidecar is asked to end"
            else:
                assert seconds(yaml.safe_load(text).get("drain_delay", "0")) >= 5 or name == "chart: text", name
            assert grace >= needed, f"{name}: {grace} s, and {needed} s are needed"
            assert "lifecycle" not in container, "drain_delay does what a preStop hook would"


def test_pods_may_do_no_more_than_they_must():
    for name, resources in WORLDS:
        for workload in filter(pod_of, resources):
            spec = pod_of(workload)["spec"]
            pod = spec["securityContext"]
            assert pod["runAsNonRoot"] is True and pod["runAsUser"] > 0 and pod["runAsGroup"] > 0, name
            assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
            assert spec["automountServiceAccountToken"] is False and spec["enableServiceLinks"] is False
            assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
            for container in containers(workload):
                assert container["securityContext"] == {
                    "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]}}, (name, container["name"])
                assert container["resources"]["requests"].keys() == {"cpu", "memory"}
                assert container["resources"]["limits"].keys() == {"memory"}, "a limit of CPU delays tokens"
                assert not any("hostPort" in port for port in container["ports"])
                if is_sluice(container):
                    assert pod["runAsUser"] == 65532
        for account in of_kind(resources, "ServiceAccount"):
            assert account["automountServiceAccountToken"] is False


def test_the_sidecar_is_one():
    resources = dict(WORLDS)["sidecar"]
    app = the(resources, "Deployment")
    (sidecar,) = pod_of(app)["spec"]["initContainers"]
    assert is_sluice(sidecar) and sidecar["restartPolicy"] == "Always"
    # Without a startup probe the app would start at the same time.
    assert {"startupProbe", "livenessProbe", "readinessProbe"} <= sidecar.keys()
    (own,) = pod_of(app)["spec"]["containers"]
    told = {one["name"]: one["value"] for one in own["env"]}
    settings = yaml.safe_load(sluices(resources)[0][2])
    assert told["OPENAI_BASE_URL"] == f"http://{settings['listeners'][0]['address']}/v1"
    assert settings["listeners"][0]["address"].startswith("127.0.0.1:")
    assert "sluice" not in json.dumps(own["volumeMounts"] if "volumeMounts" in own else []), "the key is Sluice's alone"


def port_number(container, port):
    if isinstance(port, int):
        return port
    (number,) = [one["containerPort"] for one in container["ports"] if one["name"] == port]
    return number


def listening(address):
    return int(address.rpartition(":")[2])


def test_probes_and_services_lead_to_where_it_listens():
    for name, resources in WORLDS:
        for workload, container, text in sluices(resources):
            settings = yaml.safe_load(text)
            admin = listening(settings["admin"]["address"])
            assert not settings["admin"]["address"].startswith("127."), "the kubelet asks from outside of the pod"
            for probe, path in (("startupProbe", "/readyz"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
                asked = container[probe]["httpGet"]
                assert asked["path"] == path and port_number(container, asked["port"]) == admin, (name, probe)
                assert container[probe]["timeoutSeconds"] >= 2
            assert container["livenessProbe"]["timeoutSeconds"] > 2, "it takes 2 s to find that a loop hangs"
            served = {listening(one["address"]) for one in settings["listeners"]
                      if not one["address"].startswith("127.")} | {admin}
            assert {port["containerPort"] for port in container["ports"]} == served, name
        for service in of_kind(resources, "Service"):
            pods = selected(resources, service["spec"]["selector"])
            assert len(pods) == 1, f"{name}: {identity(service)} leads to {len(pods)} workloads"
            for port in service["spec"]["ports"]:
                assert any(one["name"] == port["targetPort"] for container in containers(pods[0])
                           for one in container["ports"]), (name, identity(service), port)


def test_labels_and_names_lead_somewhere():
    for name, resources in WORLDS:
        for workload in filter(pod_of, resources):
            assert workload["spec"]["selector"]["matchLabels"].items() <= pod_of(workload)["metadata"]["labels"].items()
            for rule in pod_of(workload)["spec"].get("topologySpreadConstraints", []):
                assert selected(resources, rule["labelSelector"]["matchLabels"]) == [workload], name
            account = pod_of(workload)["spec"].get("serviceAccountName")
            assert account in (None, "default", *(one["metadata"]["name"] for one in of_kind(resources, "ServiceAccount")))
        for budget in of_kind(resources, "PodDisruptionBudget"):
            (workload,) = selected(resources, budget["spec"]["selector"]["matchLabels"])
            assert any(map(is_sluice, containers(workload))), name
        for scaler in of_kind(resources, "HorizontalPodAutoscaler"):
            target = scaler["spec"]["scaleTargetRef"]
            (workload,) = [one for one in resources if identity(one) == (target["kind"], target["name"])]
            assert workload["apiVersion"] == target["apiVersion"]
            assert "replicas" not in workload["spec"], "each would undo the other's"
        for policy in of_kind(resources, "NetworkPolicy"):
            (workload,) = selected(resources, policy["spec"]["podSelector"]["matchLabels"])
            for rule in policy["spec"].get("ingress", []):
                for port in rule["ports"]:
                    assert any(one["name"] == port["port"] for container in containers(workload)
                               for one in container["ports"]), (name, port)
        for stateful in of_kind(resources, "StatefulSet"):
            assert ("Service", stateful["spec"]["serviceName"]) in map(identity, resources)
        for ingress in of_kind(resources, "Ingress"):
            for rule in ingress["spec"]["rules"]:
                backend = rule["http"]["paths"][0]["backend"]["service"]
                (service,) = [one for one in resources if identity(one) == ("Service", backend["name"])]
                assert backend["port"]["name"] in [port["name"] for port in service["spec"]["ports"]]


def monitored(monitor, resources):
    """The one Service that the monitor means, after a look at its ports."""
    (service,) = [one for one in of_kind(resources, "Service")
                  if monitor["spec"]["selector"]["matchLabels"].items() <= one["metadata"]["labels"].items()]
    for endpoint in monitor["spec"]["endpoints"]:
        assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
        assert seconds(endpoint["scrapeTimeout"]) <= seconds(endpoint["interval"])
    # The label that becomes `job`, by which the alerts know it.
    assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "sluice"
    return service


def test_prometheus_finds_it():
    by_hand = kustomize(MANIFESTS / "monitoring")
    service = monitored(the(by_hand, "ServiceMonitor"), dict(WORLDS)["deployment"])
    assert service["spec"]["clusterIP"] == "None" and service["spec"]["publishNotReadyAddresses"] is True
    monitored(the(by_hand, "ServiceMonitor"), dict(WORLDS)["redis"])
    resources = dict(WORLDS)["chart: everything"]
    monitored(the(resources, "ServiceMonitor"), resources)
    pods = the(by_hand, "PodMonitor")
    (app,) = selected(dict(WORLDS)["sidecar"], pods["spec"]["selector"]["matchLabels"])
    for endpoint in pods["spec"]["podMetricsEndpoints"]:
        assert any(port["name"] == endpoint["port"] for one in containers(app) if is_sluice(one) for port in one["ports"])
    (rule,) = parse(subprocess.run([MANIFESTS / "monitoring/prometheus-rule"], capture_output=True, text=True,
                                   check=True).stdout)
    validate(rule)
    assert rule["spec"] == load(ROOT / "Deploy/prometheus-alerts.yaml")[0]
    annotations = pod_of(app)["metadata"]["annotations"]
    (_, sidecar, _), = sluices(dict(WORLDS)["sidecar"])
    assert int(annotations["prometheus.io/port"]) == port_number(sidecar, "admin")


def test_the_autoscaler_asks_for_what_there_is():
    adapter = load(MANIFESTS / "monitoring/prometheus-adapter.yaml")[0]["rules"]["custom"]
    for name in ("deployment", "redis", "chart: everything"):
        resources = dict(WORLDS)[name]
        scaler = the(resources, "HorizontalPodAutoscaler")["spec"]
        (metric,) = [one["pods"]["metric"]["name"] for one in scaler["metrics"]]
        (rule,) = [one for one in adapter if one["name"]["as"] == metric]
        series = rule["seriesQuery"].partition("{")[0]
        assert rule["metricsQuery"].startswith("sum by (<<.GroupBy>>) (<<.Series>>{")
        (workload, _, _), = sluices(resources)
        grace = pod_of(workload)["spec"]["terminationGracePeriodSeconds"]
        down = scaler["behavior"]["scaleDown"]
        assert [(one["type"], one["value"]) for one in down["policies"]] == [("Pods", 1)]
        # The next pod goes when the last one has drained; 1800 s is the most that there may be.
        assert down["policies"][0]["periodSeconds"] >= min(grace, 1800) and down["selectPolicy"] == "Min"
        assert down["stabilizationWindowSeconds"] >= 300
        assert scaler["minReplicas"] >= 2 and workload["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    with tempfile.TemporaryDirectory() as folder:
        settings, _ = runnable(sluices(dict(WORLDS)["deployment"])[0][2], folder)
        with Sluice(json.dumps(settings)) as proxy:
            admin = admin_port(proxy)
            # Asked as the kubelet and Prometheus do: by the pod's address, without a token.
            for path in ("/readyz", "/livez", "/metrics"):
                assert ask(admin, path, host="10.1.2.3:9910").status == 200, path
            assert ask(admin, "/config", host="10.1.2.3:9910").status == 403
            # Without a series an idle pod would count as a full one, and none would ever be taken away.
            families = exposition.parse(ask(admin, "/metrics").body.decode())
            assert families[series].samples and exposition.value(families, series) == 0


PASSWORD = "5f3a9c"


class ManifestRedis(Redis):
    """Started with the arguments of the StatefulSet; a Valkey takes the same."""

    def ask(self, line):
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(f"AUTH {PASSWORD}\r\n{line}\r\n".encode())
            replies = connection.makefile("rb")
            replies.readline()
            return replies.readline()


def test_one_replica_reads_on_what_another_began():
    """The configuration and the Redis of Deploy/kubernetes/redis, two programs for two pods, and a stream that is not over yet."""
    resources = dict(WORLDS)["redis"]
    (server,) = containers(the(resources, "StatefulSet"))
    arguments = [one.replace("$(REDIS_PASSWORD)", PASSWORD) for one in server["args"]]
    (variable,) = server["env"]
    (workload, container, text), = sluices(resources)
    assert variable["valueFrom"]["secretKeyRef"]["name"] == container["envFrom"][0]["secretRef"]["name"]
    assert variable["name"] == variable["valueFrom"]["secretKeyRef"]["key"] == "REDIS_PASSWORD"
    (service,) = [one for one in of_kind(resources, "Service") if one["spec"]["ports"][0]["name"] == "redis"]
    ends = threading.Event()

    def answer(connection, _):
        connection.sendall(HEAD + chunk(event({"content": "first "})))
        ends.wait(60)
        connection.sendall(chunk(event({"content": "last"})) + chunk(DONE) + b"0\r\n\r\n")

    with ManifestRedis(*arguments) as redis, Peer(answer) as peer, tempfile.TemporaryDirectory() as folder:
        settings, _ = runnable(text, folder)
        where = f"@{service['metadata']['name']}:{service['spec']['ports'][0]['port']}/"
        assert where in settings["redis"]["url"]
        settings["redis"]["url"] = settings["redis"]["url"].replace(where, f"@127.0.0.1:{redis.port}/")
        settings["redis"]["timeouts"] = {"connect": "5s", "reply": "5s"}
        settings["upstreams"]["openai"].update(url=peer.url, api_key="sk-example")
        environment = {"REDIS_PASSWORD": PASSWORD}
        with Sluice(json.dumps(settings), environment=environment) as one, \
                Sluice(json.dumps(settings), environment=environment) as other:
            for pod in (one, other):
                admin = admin_port(pod)
                until(lambda: b"\nsluice_resume_store_up 1" in ask(admin, "/metrics").body, 20, "the store is up")
            body = {"id": "chat-7", "messages": [{"role": "user", "parts": [{"type": "text", "text": "hi"}]}]}
            begun = connect(one.port)
            begun.sendall(request_bytes("/api/chat", body, headers=["Connection: close"]))
            data = b""
            while b"first" not in data:
                data += begun.recv(65536)
            begun.close()

            def reads_on():
                connection = connect(other.port)
                connection.sendall(request_bytes("/api/chat/chat-7/stream", headers=["Connection: close"]))
                data = connection.recv(65536)
                if not data.startswith(b"HTTP/1.1 200"):
                    return connection.close()
                return connection, data

            connection, data = until(reads_on, 20, "the other replica has it")
            ends.set()
            reply = Reply(data + drain(connection))
            assert reply.complete and b"first" in reply.body and b"last" in reply.body, reply.raw
            assert len(peer.requests) == 1, "the provider is asked once"


def test_all_name_one_version_and_one_image():
    version = subprocess.run([BINARY, "version"], capture_output=True, text=True, check=True).stdout.split()[1]
    (chart,) = load(CHART / "Chart.yaml")
    assert chart["appVersion"] == version, f"the chart is for {chart['appVersion']}, this is {version}"
    image = f"{load(CHART / 'values.yaml')[0]['image']['repository']}:{version}"
    found = 0
    for name, resources in WORLDS:
        for container in (one for workload in resources for one in containers(workload)):
            if is_sluice(container) and name != "chart: everything":
                assert container["image"] == image, (name, container["image"])
                found += 1
            else:
                assert not container["image"].endswith(":latest") and re.search("[:@]", container["image"])
    assert found >= 8
    for path in MANIFESTS.rglob("*.yaml"):
        for tagged in re.findall(r"registry\.example\.com/sluice:(\S+)", path.read_text()):
            assert tagged == version, path
        for tagged in re.findall(r"newName: registry\.example\.com/sluice, newTag: ([^}\s]+)", path.read_text()):
            assert tagged == version, path
    assert f"@sha256:{'0' * 64}" in [one["image"] for one in containers(the(
        dict(WORLDS)["chart: everything"], "Deployment"))][0]


# What is the chart's alone.

def refusal(given):
    try:
        render(given)
    except Refused as told:
        return str(told)
    raise AssertionError(f"rendered: {given}")


def test_the_chart_refuses_what_would_not_run():
    assert "config.upstreams: name at least one" in refusal({})
    assert "config.routes: at least one" in refusal(values(config={"routes": []}))
    for given, told in (
            (values(config={"admin": {"address": "0.0.0.0:1", "expose": ["metrics"]}}), "config.admin.address: must end in"),
            (values(config={"admin": {"address": "127.0.0.1:9910"}}), "from outside of the pod"),
            (values(config={"admin": {"address": "[::1]:9910"}}), "from outside of the pod"),
            (values(config={"listeners": [{"address": ":80"}]}), "config.listeners: none is at :8080"),
            (values(config="listeners: [{address: ':8080'}]\n"), "config.admin.address: must end in :9910"),
            (values(config="a: b: c\n"), "no YAML"),
            (values(config={"drain_timeout": "5 minutes"}), "config"),
            (values(config={"drain_timeout": False}), "config"),
            (values(config=text_values()["config"].replace("90s", "${DRAIN}")), "set terminationGracePeriodSeconds"),
            (values(redis={"enabled": True}), "redis.password or redis.existingSecret"),
            (values(redis={"enabled": True, "password": "a:b"}), "redis.password"),
            (values(ingress={"enabled": True}), "ingress.hosts"), (values(replicas=3), "replicas"),
            (values(autoscaling={"enable": True}), "autoscaling"), (values(image={"repository": ""}), "image"),
            (values(service={"type": "Headless"}), "service.type"), (values(podLabels={"a": 1}), "podLabels.a")):
        assert told in refusal(given), refusal(given)
    try:
        render(BASE, "-kube", "v1.28.9")
    except Refused as told:
        assert "1.29" in str(told)
    else:
        raise AssertionError("1.28 is older than any schema that it was checked with")


def test_the_chart_computes_the_grace_period():
    def grace(**config):
        given = {**BASE, "config": {**BASE["config"], **config}}
        pod = pod_of(the(released(given), "Deployment"))
        assert f"has {pod['spec']['terminationGracePeriodSeconds']} s" in render(given)["NOTES.txt"]
        return pod["spec"]["terminationGracePeriodSeconds"]

    assert grace() == 10 + 300 + 20
    assert grace(drain_delay="0", drain_timeout="1h") == 3620 and grace(drain_delay=0, drain_timeout="0") == 20
    assert grace(drain_delay="1500ms", drain_timeout="2m") == 2 + 120 + 20
    # Where neither is given, the program's own defaults count.
    assert grace(drain_delay=None, drain_timeout=None) == 620
    assert pod_of(the(released(values(terminationGracePeriodSeconds=77)), "Deployment"))[
        "spec"]["terminationGracePeriodSeconds"] == 77


def test_only_what_needs_new_pods_rolls_out():
    def template(**changes):
        return pod_of(the(released(values(**changes)), "Deployment"))

    other = {"routes": [{**ROUTE, "model": "gpt-4o"}], "drain_delay": "9s", "drain_timeout": "301s"}
    assert template() == template(config=other), "--watch takes it over"
    assert template() != template(config={"workers": 3})
    assert template() != template(config={"admin": {"address": "0.0.0.0:9910", "expose": []}})
    assert template(watch=False) != template(watch=False, config=other)
    assert "--watch" in template()["spec"]["containers"][0]["args"]
    assert "--watch" not in template(watch=False)["spec"]["containers"][0]["args"]


def test_the_configuration_goes_through_the_chart_as_it_is():
    given = {"path": "/x", "request": "prompt", "response": "text", "upstream": "openai", "smooth": "off",
             "system": "{{ not a template }} ${X:-y}\n\"quoted\": 'twice'", "early_headers": "250ms", "defaults": {
                 "seed": 12345678901, "temperature": 0.2, "stop": ["a", "b"], "none": True}}
    settings = yaml.safe_load(sluices(released(values(config={"routes": [given], "limits": {"connections": 2000000}})))[0][2])
    assert settings["routes"] == [given] and settings["limits"] == {"connections": 2000000}
    assert settings["listeners"] == [{"address": "0.0.0.0:8080"}]
    assert settings["admin"] == {"address": "0.0.0.0:9910", "expose": ["metrics"]}
    text = text_values()["config"]
    assert sluices(released(text_values()))[0][2].strip() == text.strip()
    settings = yaml.safe_load(sluices(released(everything()))[0][2])
    assert settings["redis"] == {"url": "redis://:${REDIS_PASSWORD}@release-sluice-redis:6379/0"}
    own = values(redis={"enabled": True, "password": "a"}, config={"redis": {"url": "rediss://elsewhere"}})
    assert yaml.safe_load(sluices(released(own))[0][2])["redis"] == {"url": "rediss://elsewhere"}


def test_names_follow_the_release():
    def names(*arguments, **changes):
        return {one["metadata"]["name"] for one in released(values(**changes), *arguments)}

    assert names("-name", "prod") == {"prod-sluice", "prod-sluice-metrics"}
    assert names("-name", "sluice") == {"sluice", "sluice-metrics"}
    assert names("-name", "prod", nameOverride="llm") == {"prod-llm", "prod-llm-metrics"}
    assert all(len(name) <= 63 for name in names("-name", "r" * 53, redis={"enabled": True, "password": "a"}))
    assert "WARNING" in render(BASE)["NOTES.txt"] and "WARNING" not in render(everything())["NOTES.txt"]


def test_each_value_is_described():
    def keys(node, path=""):
        found = set()
        for key, inner in node.get("properties", {}).items():
            found |= {path + key} | keys(inner, path + key + ".")
        return found

    described = {key for key in keys(values_schema()) if key != "global"}
    (given,) = load(CHART / "values.yaml")
    free = {key for key in described if not key.startswith("config.")}

    def present(node, path=""):
        for key, inner in node.items():
            yield path + key
            if isinstance(inner, dict) and path + key + "." in {one.rpartition(".")[0] + "." for one in free}:
                yield from present(inner, path + key + ".")

    assert {key for key in present(given)} == free, set(present(given)) ^ free


def test_the_renderer_speaks_helms_language():
    with tempfile.TemporaryDirectory() as folder:
        chart = pathlib.Path(folder)
        (chart / "templates").mkdir()
        (chart / "Chart.yaml").write_text("{apiVersion: v2, name: c, version: 1.2.3, appVersion: '4'}")
        (chart / "values.yaml").write_text("{a: {x: 1, w: 2}, l: [1], t: '{{ .Values.a.x }}', gone: {z: 1}}")
        (chart / "notes").write_text("kept\n")
        (chart / "templates/_h.tpl").write_text('{{ define "h" }}{{ .Chart.Name }}-{{ .Release.Name }}{{ end }}')
        (chart / "templates/empty.yaml").write_text("{{ if false }}a: 1{{ end }}\n")
        (chart / "templates/a.yaml").write_text(
            'n: {{ include "h" . | upper | quote }}\na:\n  {{- toYaml .Values.a | nindent 2 }}\nt: {{ tpl .Values.t . }}\n'
            'l: {{ .Values.l }}\nv: {{ .Chart.AppVersion }} {{ .Values.none }}.\nf: {{ .Files.Get "notes" | trim }}\n'
            'g: {{ hasKey .Values "gone" }}\nk: {{ .Capabilities.KubeVersion.Minor }} '
            '{{ .Capabilities.APIVersions.Has "a/v1" }}\nr: {{ required "r is needed" .Values.r }}\n')
        given = {"a": {"w": 3, "z": None}, "l": [7, 8], "gone": None, "r": "x"}
        files = render(given, "-name", "rel", "-api", "a/v1", chart=chart)
        assert files == {"a.yaml": 'n: "C-REL"\na:\n  w: 3\n  x: 1\nt: 1\nl: [7 8]\nv: 4 .\nf: kept\ng: false\nk: 29 true\n'
                         "r: x\n"}, files
        del given["r"]
        try:
            render(given, chart=chart)
        except Refused as told:
            assert "r is needed" in str(told)
        else:
            raise AssertionError("r was not asked for")
