"""What the tests of manifests and of the chart share: resources as a cluster would get them, and what they must agree on."""

import copy
import functools
import json
import os
import pathlib
import re
import subprocess
import tempfile

import jsonschema
import kubernetes_validate
import yaml
from kubernetes_validate import utils

ROOT = pathlib.Path(__file__).parents[2]
MANIFESTS = ROOT / "Deploy/kubernetes"
CHART = ROOT / "Deploy/helm/sluice"
# The oldest that has native sidecars switched on, and the newest that there are schemas for.
VERSIONS = ("1.29", kubernetes_validate.latest_version())
# Kinds of the Prometheus operator, of which no schema is at hand.
FOREIGN = {"ServiceMonitor", "PodMonitor", "PrometheusRule"}
# The definitions are megabytes, and asked for again with every resource.
utils.schema_contents = functools.lru_cache(None)(utils.schema_contents)


class Strict(yaml.SafeLoader):
    """Refuses a key that stands twice, of which a cluster would take the last one in silence."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"twice in one mapping: {keys} {node.start_mark}"
        return super().construct_mapping(node, deep)


def parse(text):
    return [document for document in yaml.load_all(text, Loader=Strict) if document]


def load(path):
    return parse(pathlib.Path(path).read_text())


# Kustomizations: as much of their language as ours use.

def merge(under, over):
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(under.get(key), dict):
            merge(under[key], value)
        else:
            under[key] = value


def kustomize(folder):
    """The resources that `kubectl apply -k` would apply."""
    (control,) = load(folder / "kustomization.yaml")
    assert set(control) <= {"apiVersion", "kind", "resources", "patches", "images"}, control
    resources = []
    for name in control["resources"]:
        resources += kustomize(folder / name) if (folder / name).is_dir() else load(folder / name)
    for patch in control.get("patches", []):
        (change,) = load(folder / patch["path"])
        (target,) = [one for one in resources if identity(one) == identity(change)]
        merge(target, change)
    for image in control.get("images", []):
        assert set(image) == {"name", "newName", "newTag"}, image
        for resource in resources:
            for container in containers(resource):
                if container["image"].rpartition(":")[0] == image["name"]:
                    container["image"] = f"{image['newName']}:{image['newTag']}"
    return resources


def identity(resource):
    return resource["kind"], resource["metadata"]["name"]


# The chart.

@functools.lru_cache(None)
def renderer():
    """The program that renders charts, built if it is not there or old."""
    binary, source = ROOT / ".build/helm-render", ROOT / "Tests/Helm/render.go"
    if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
        # Two modules may find it missing at the same time.
        made = binary.with_name(f"helm-render-{os.getpid()}")
        subprocess.run(["go", "build", "-o", made, source], check=True, cwd="/", env={
            **os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": "", "CGO_ENABLED": "0",
            "GOCACHE": str(ROOT / ".build/go-cache")})
        os.replace(made, binary)
    return binary


class Refused(Exception):
    """What whoever installs the chart is told."""


@functools.lru_cache(None)
def values_schema():
    return json.loads((CHART / "values.schema.json").read_text())


def effective(values, defaults=None):
    """The chart's own values with others over them, as Helm lays them: null takes a key away."""
    defaults = load(CHART / "values.yaml")[0] if defaults is None else defaults
    result = copy.deepcopy(defaults)
    for key, value in values.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = effective(value, result[key])
        else:
            result[key] = value
    return result


def render(values, *arguments, chart=CHART):
    """Files of the chart with what became of them, {name: text}."""
    if chart == CHART:
        faults = list(jsonschema.Draft7Validator(values_schema()).iter_errors(effective(values)))
        if faults:
            raise Refused("; ".join(f"{'.'.join(map(str, fault.path))}: {fault.message}" for fault in faults))
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(values, file)
        file.flush()
        done = subprocess.run([renderer(), "-values", file.name, *arguments, chart], capture_output=True, text=True)
    if done.returncode:
        raise Refused(done.stderr)
    parts = re.split(r"^---\n# Source: \w+/templates/(\S+)\n", done.stdout, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def released(values, *arguments):
    files = render(values, *arguments)
    return [document for name, text in files.items() if name != "NOTES.txt" for document in parse(text)]


# What stands in resources.

def pod_of(resource):
    """The template of a workload's pods, or None."""
    return resource.get("spec", {}).get("template") if resource["kind"] in ("Deployment", "StatefulSet") else None


def containers(resource):
    spec = (pod_of(resource) or {}).get("spec", {})
    return spec.get("initContainers", []) + spec.get("containers", [])


def is_sluice(container):
    return container["image"].partition("@")[0].rpartition("/")[2].partition(":")[0] == "sluice"


def of_kind(resources, kind):
    return [one for one in resources if one["kind"] == kind]


def selected(resources, labels):
    """Workloads whose pods carry all of these labels."""
    return [one for one in resources if pod_of(one) and labels.items() <= pod_of(one)["metadata"]["labels"].items()]


def sluices(resources):
    """(workload, container, configuration as text) of each Sluice."""
    found = []
    for workload in resources:
        for container in containers(workload):
            if not is_sluice(container):
                continue
            path = pathlib.PurePath(container["args"][container["args"].index("-c") + 1])
            (mount,) = [one for one in container["volumeMounts"] if one["mountPath"] == str(path.parent)]
            assert "subPath" not in mount, "a file by subPath never changes"
            (volume,) = [one for one in pod_of(workload)["spec"]["volumes"] if one["name"] == mount["name"]]
            (source,) = [one for one in of_kind(resources, "ConfigMap")
                         if one["metadata"]["name"] == volume["configMap"]["name"]]
            found.append((workload, container, source["data"][path.name]))
    return found


SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}


def seconds(duration):
    if str(duration) in ("0", "off", "never"):
        return 0
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h)", duration).groups()
    return int(number) * SECONDS[unit]


def drain_seconds(text):
    """How long a process with this configuration may live after SIGTERM, by what the configuration itself says."""
    settings = yaml.safe_load(text)
    return seconds(settings.get("drain_delay", "0")) + seconds(settings.get("drain_timeout", "10m"))


def runnable(text, folder):
    """The configuration with ports that are free, and with secrets at hand: what every mounted secret file holds is `sk-example`."""
    def at_hand(found):
        path = pathlib.Path(folder) / found[1].replace("/", "_")
        path.write_text("sk-example\n")
        return str(path)

    text = re.sub(r"(/run/secrets/sluice/[\w.-]+)", at_hand, text)
    settings = yaml.safe_load(text)
    for listener in [*settings["listeners"], settings["admin"]]:
        listener["address"] = re.sub(r":\d+$", ":0", listener["address"])
    return settings, text


def validate(resource):
    if resource["kind"] in FOREIGN:
        assert resource["apiVersion"] == "monitoring.coreos.com/v1", resource
        return
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(copy.deepcopy(resource), version, strict=True)
        except kubernetes_validate.ValidationError as fault:
            raise AssertionError(f"{identity(resource)} in {version}: {list(fault.path)}: {fault.message}") from None
