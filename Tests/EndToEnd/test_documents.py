"""What is written for people, held against what there is: metrics, log lines, limits, signals, commands, variables, links."""

import json
import os
import pathlib
import re
import subprocess
import tempfile

import exposition
import markdown
from harness import BINARY, Peer, Sluice, config, fetch, stream, until

ROOT = pathlib.Path(__file__).resolve().parents[2]
OPERATIONS = (ROOT / "Deploy/OPERATIONS.md").read_text()
# The table of metrics is a file of its own, and what it says of each is compared in `test_prometheus`.
METRICS = OPERATIONS + (ROOT / "Deploy/METRICS.md").read_text()
README = (ROOT / "README.md").read_text()
MANUAL = (ROOT / "Deploy/man/sluice.1").read_text()
# Each with a table of contents of its own; links may lead from any to any.
PAGES = ["README.md", "Deploy/OPERATIONS.md", "Deploy/METRICS.md", "Deploy/SECURITY.md", "Deploy/CHANGELOG.md", "Deploy/examples/README.md",
         ".github/CONTRIBUTING.md", "Sources/README.md", "Tests/Benchmarks/README.md"]


def sources(folder="Sources"):
    return {path: path.read_text() for path in sorted((ROOT / folder).rglob("*.swift"))}


def snake(name):
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda found: "_" + found[1].lower(), name)


def words(text):
    """What stands between backticks, and the names in it."""
    return {name for code in re.findall(r"`([^`\n]+)`", text) for name in re.findall(r"[A-Za-z0-9_.]+", code)} | set(
        re.findall(r"`([^`\n]+)`", text))


# Metrics


def counted():
    """Names of families in the sources, and those that are made of what a worker counts."""
    names = set()
    for path, text in sources("Sources/SluiceProxy").items():
        names |= set(re.findall(r'"((?:sluice|gen_ai_server|gen_ai_client|process)_[a-z_]+)"', text))
    counters = (ROOT / "Sources/SluiceProxy/WorkerMetrics.swift").read_text()
    # Some are told together, as one metric with a label.
    groups = (ROOT / "Sources/SluiceProxy/Metrics/WorkerCounters.swift").read_text().split("static let groups", 1)[1]
    names |= {f"sluice_{snake(name)}_total" for name in re.findall(r"^    var (\w+) = 0$", counters, re.M)
              if f'("{name}", ' not in groups}
    # Events of the log and labels are written alike.
    events = {event for event, _ in logged()}
    return names - events - set(re.findall(r'name: "(\w+)"', "".join(sources("Sources/SluiceProxy").values())))


def test_every_metric_is_explained():
    names = counted()
    assert len(names) > 60 and "sluice_retry_budget_refusals_total" in names, names
    told = words(METRICS)
    missing = sorted(name for name in names if name not in told)
    assert not missing, f"not in METRICS.md: {missing}"


def test_every_family_that_is_exposed_is_explained_and_no_other():
    with Peer(lambda c, r: stream(c)) as peer, Sluice(config(peer.url, admin={"address": "127.0.0.1:0"})) as proxy:
        fetch(proxy.port, "/stream?prompt=hi")
        until(lambda: proxy.exchanges())
        # Clients may be served before the operators' listener is there.
        admin = until(lambda: [e["address"] for e in list(proxy.log) if e["event"] == "admin_listening"])[0]
        families = exposition.parse(fetch(int(admin.rsplit(":", 1)[1]), "/metrics").body.decode())
    told = words(METRICS)
    missing = sorted(name for name in families if name not in told)
    assert not missing, f"not in METRICS.md: {missing}"
    known = set(families) | counted()
    named = {name for name in told if re.fullmatch(r"(sluice|gen_ai_server|gen_ai_client)_[a-z_]+", name)}
    unknown = sorted(name for name in named if name not in known and re.sub("_(bucket|sum|count)$", "", name) not in known)
    assert not unknown, f"METRICS.md or OPERATIONS.md names what there is not: {unknown}"


def test_every_alert_has_its_place():
    rules = set(re.findall(r"- alert: (\w+)", (ROOT / "Deploy/prometheus-alerts.yaml").read_text()))
    places = set(re.findall(r"^### Alert: (\w+)$", OPERATIONS, re.M))
    assert rules == places, rules ^ places


# The log


def logged():
    """(event, file) of each line that can be written."""
    found = set()
    for path, text in sources().items():
        for event in re.findall(r'(?:write|log)\(\s*(?:\.\w+|\w+ \? \.\w+ : \.\w+|level|fault\.level), "([a-z][a-z _]+)"', text):
            found.add((event, path.name))
        found |= {(event, path.name) for event in re.findall(r'line\.add\("event", "(\w+)"\)', text)}
    return found


def test_every_event_of_the_log_is_explained():
    events = {event for event, _ in logged()}
    assert len(events) > 30 and {"exchange", "listening", "place ejected"} <= events, events
    missing = sorted(event for event in events if f"`{event}`" not in OPERATIONS)
    assert not missing, f"not in OPERATIONS.md: {missing}"
    table = OPERATIONS.split("### Other events")[1].split("\n## ")[0]
    named = {name for row in re.findall(r"(?m)^\| (`.*?) \|", table) for name in re.findall(r"`([^`]+)`", row)}
    assert named <= events, f"OPERATIONS.md names what there is not: {named - events}"


def test_every_field_of_the_access_line_is_explained():
    text = (ROOT / "Sources/SluiceProxy/LogWriter.swift").read_text()
    fields = set(re.findall(r'line\.add\("(\w+)"', text))
    assert len(fields) > 35, fields
    table = OPERATIONS.split("## The log")[1].split("### How an exchange ends")[0]
    missing = sorted(field for field in fields if f"`{field}`" not in table)
    assert not missing, f"not in OPERATIONS.md: {missing}"


def test_every_ending_is_explained():
    text = "".join(sources("Sources/SluiceProxy").values())
    words_of_errors = text.split("public var reason: String {")[1].split("\n    }")[0]
    reasons = set(re.findall(r'"([a-z][a-z_]*[a-z])"', words_of_errors)) | set(
        re.findall(r'\b(?:end|clientGone)\("(\w+)"\)', text))
    reasons |= {f"timeout_{phase}" for phase in ("connect", "head", "firstToken", "total")}
    reasons |= {"rate_limit_*", "limit_*"}
    table = OPERATIONS.split("### How an exchange ends")[1].split("### ")[0]
    missing = sorted(reason for reason in reasons if f"`{reason}`" not in table)
    assert not missing, f"not in OPERATIONS.md: {missing}"


# The process


def schema():
    return json.loads(subprocess.run([BINARY, "schema"], capture_output=True, check=True, timeout=30).stdout)


def test_every_limit_is_explained():
    limits = schema()["properties"]["limits"]["properties"]
    assert len(limits) > 25, limits
    section = OPERATIONS.split("\n## Limits\n")[1].split("\n## ")[0]
    missing = sorted(name for name in limits if f"`{name}`" not in section)
    assert not missing, f"not under Limits: {missing}"


def test_every_signal_is_explained():
    text = (ROOT / "Sources/sluice/ProcessLife.swift").read_text()
    signals = re.findall(r"SIG\w+", text.split("static let signals = [")[1].split("]")[0])
    assert len(signals) == 4, signals
    section = OPERATIONS.split("\n## The life of the process\n")[1].split("\n## ")[0]
    for name in signals:
        assert name in section and name in README and name in MANUAL, name


def test_every_variable_of_zero_configuration_is_in_the_readme_and_the_manual():
    text = (ROOT / "Sources/SluiceConfig/ZeroProvider.swift").read_text()
    text += (ROOT / "Sources/SluiceConfig/ZeroRoutes.swift").read_text()
    variables = set(re.findall(r'"([A-Z]+(?:_[A-Z]+)+)"', text))
    assert len(variables) > 30 and "SLUICE_MODEL" in variables, variables
    for name in variables:
        assert f"`{name}" in README, f"{name} is not in the README"
        assert name in MANUAL, f"{name} is not in the manual"


# Commands


OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z0-9.-]*")


def usage():
    """`convert` → its options, for each command of the program's own usage."""
    text = subprocess.run([BINARY, "help"], capture_output=True, text=True, check=True, timeout=30).stdout
    # What does not fit goes on in the next line, behind a bracket.
    text = re.sub(r"\n +(?=\[--)", " ", text)
    commands = {}
    for line in re.findall(r"(?m)^  sluice (.*)$", text):
        line = line.split("   ")[0]
        name = " ".join(re.match(r"[a-z]+(?: (?:new|hash))?", line)[0].split())
        commands.setdefault(name, set()).update(OPTION.findall(line))
    commands["help"] = set()
    return commands


def with_long(options):
    """`-c` is the usage's word for `--config`."""
    return options | ({"--config"} if "-c" in options else set())


def test_the_manual_has_every_command_and_option_and_no_other():
    synopsis = MANUAL.split(".Sh SYNOPSIS")[1].split(".Sh ")[0]
    told = {}
    for part in synopsis.split("\n.Nm\n")[1:]:
        name = re.match(r"\.Cm (.*)", part)[1]
        told.setdefault(name, set()).update("-" + option for option in re.findall(r"Fl (\S+)", part))
    assert told == usage(), (told, usage())
    description = MANUAL.split(".Sh DESCRIPTION")[1].split(".Sh ")[0]
    for name, options in usage().items():
        assert f"\n.It Cm {name}\n" in description, f"the manual does not describe {name}"
        for option in options:
            assert f"Fl {option[1:]}" in description, f"the manual does not describe {option}"
    for name in usage():
        assert f"sluice {name}" in README or f".Cm {name}" in MANUAL


def test_the_manual_is_well_formed():
    manual = ROOT / "Deploy/man/sluice.1"
    lint = subprocess.run(["mandoc", "-Tlint", "-Wwarning", manual], capture_output=True, text=True, timeout=30)
    assert (lint.returncode, lint.stdout + lint.stderr) == (0, ""), lint
    # A file by a path with a slash is read as it is, without a database.
    shown = subprocess.run(["mandoc", "-Tutf8", manual], capture_output=True, text=True, timeout=30, check=True).stdout
    assert "SLUICE(1)" in shown and "Drains" in shown


def complete(line):
    """What bash offers for the last word of a line."""
    script = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _sluice; printf "%s\\n" "${COMPREPLY[@]}"')
    with tempfile.TemporaryDirectory() as folder:
        os.symlink(os.path.abspath(BINARY), os.path.join(folder, "sluice"))
        done = subprocess.run(
            ["bash", "-c", script, "bash", ROOT / "Deploy/completions/sluice.bash", *line], capture_output=True, text=True,
            env={**os.environ, "PATH": folder + ":" + os.environ["PATH"]}, timeout=30)
    assert done.stderr == "", done.stderr
    return set(done.stdout.split("\n")) - {""}


def test_bash_completes_every_command_and_option_and_no_other():
    commands = usage()
    assert complete(["sluice", ""]) == {name.split()[0] for name in commands}
    assert complete(["sluice", "va"]) == {"validate"}
    for name, options in commands.items():
        offered = {word for word in complete(["sluice", *name.split(), "-"]) if word.startswith("-")}
        assert offered == with_long(options), (name, offered, options)
    assert complete(["sluice", "key", ""]) == {"new", "hash"}


def test_bash_completes_values_that_the_program_knows():
    catalog = json.loads(subprocess.run([BINARY, "formats", "--json"], capture_output=True, timeout=30).stdout)
    names = {kind: {entry["name"] for entry in catalog[kind]} for kind in ("requests", "dialects", "responses")}
    assert complete(["sluice", "convert", "--from", ""]) == names["dialects"]
    assert complete(["sluice", "convert", "--to", ""]) == names["responses"]
    assert complete(["sluice", "convert", "--request", "--from", ""]) == names["requests"]
    assert complete(["sluice", "convert", "--request", "--to", "gem"]) == {"gemini"}
    assert complete(["sluice", "replay", "x.sse", "--dialect", "open"]) == {
        name for name in names["dialects"] if name.startswith("open")}
    assert complete(["sluice", "run", "-c", str(ROOT / "Config/min")]) == {str(ROOT / "Config/minimal.yaml")}


def test_zsh_and_fish_complete_every_command_and_option_and_no_other():
    commands = usage()
    options = with_long(set().union(*commands.values()))
    names = {name.split()[0] for name in commands}
    zsh = (ROOT / "Deploy/completions/_sluice").read_text()
    subprocess.run(["zsh", "-n", ROOT / "Deploy/completions/_sluice"], check=True, timeout=30)
    assert set(re.findall(r"(?m)^        '([a-z]+):", zsh)) == names
    told = set(re.findall(r"(--[a-z0-9.-]+)\[", zsh)) | set(re.findall(r"(?<=[{,])(--?[a-z-]+)(?=[,}])", zsh))
    assert told == options, told ^ options
    fish = (ROOT / "Deploy/completions/sluice.fish").read_text()
    subprocess.run(["fish", "-n", ROOT / "Deploy/completions/sluice.fish"], check=True, timeout=30)
    assert set(re.findall(r"__fish_use_subcommand -a ([a-z]+) ", fish)) == names
    told = {"--" + name for name in re.findall(r" -l ([a-z0-9.-]+)", fish)} | {"-" + name for name in re.findall(r" -s (\w)", fish)}
    assert told == options, told ^ options
    # And really: what fish offers.
    with tempfile.TemporaryDirectory() as folder:
        os.symlink(os.path.abspath(BINARY), os.path.join(folder, "sluice"))
        environment = {**os.environ, "PATH": folder + ":" + os.environ["PATH"], "HOME": folder}

        def offered(line):
            script = f"source {ROOT}/Deploy/completions/sluice.fish; complete -C '{line}'"
            done = subprocess.run(["fish", "-c", script], capture_output=True, text=True, env=environment, timeout=60)
            return {entry.split("\t")[0] for entry in done.stdout.split("\n") if entry}

        assert offered("sluice ") == names
        assert {"vercel-ui", "sse-text"} <= offered("sluice convert --to ")


# Links


def test_every_link_leads_somewhere():
    texts = {name: (ROOT / name).read_text() for name in PAGES}
    checked = 0
    for name, text in texts.items():
        for link in markdown.links(text):
            if re.match(r"[a-z]+:", link):
                continue
            path, _, anchor = link.partition("#")
            target = (ROOT / name).parent / path if path else ROOT / name
            assert target.exists(), f"{name}: {link}: there is no such file"
            if anchor:
                assert anchor in markdown.anchors(target.read_text()), f"{name}: {link}: there is no such heading"
            checked += 1
    assert checked > 40, checked


def test_everything_under_deploy_is_named_somewhere():
    told = "".join((ROOT / name).read_text() for name in PAGES)
    told += "".join(path.read_text() for path in (ROOT / "Deploy").glob("*/README.md"))
    tracked = subprocess.run(["git", "-C", ROOT, "ls-files", "Deploy"], capture_output=True, text=True)
    if tracked.returncode:
        return  # An archive without its history.
    for path in tracked.stdout.split():
        folders = [str(folder) for folder in pathlib.PurePath(path).parents if len(folder.parts) > 1]
        assert os.path.basename(path) in told or any(folder in told for folder in folders), path


def test_the_licence_is_named_and_whole():
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text and "Version 2.0, January 2004" in text and "END OF TERMS AND CONDITIONS" in text
    assert "Apache" in README
