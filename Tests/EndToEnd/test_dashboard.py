"""The alerts and the dashboard that operators are given: Prometheus understands all of it, and it asks for what there is."""

import json
import pathlib
import re
import tempfile

import exposition
from harness import Peer, Sluice, config, stream
from prometheus_world import ROOT, promtool
from test_operator import admin_port, ask

ALERTS = ROOT / "Deploy/prometheus-alerts.yaml"
ALERT_TESTS = pathlib.Path(__file__).parent / "prometheus_alerts_test.yaml"
DASHBOARD = ROOT / "Deploy/grafana/sluice.json"
METRIC = re.compile(r"\b(?:sluice|gen_ai|process)_[a-z_]+\b")
# Units of Grafana's that are used, and what custom ones begin with.
UNITS = {"short", "s", "bytes", "Bps", "reqps", "percentunit", "bool", "dateTimeFromNow"}


def exposed():
    """Names of all samples of a process that has just begun, by family."""
    # Its traces go nowhere, but are counted.
    collector = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    with Peer(lambda c, r: stream(c)) as peer, \
            Sluice(config(peer.url, admin={"address": "127.0.0.1:0"}), environment=collector) as proxy:
        families = exposition.parse(ask(admin_port(proxy), "/metrics").body.decode())
    names = set()
    for name, family in families.items():
        names |= {name + ending for ending in ("_bucket", "_sum", "_count")} if family.kind == "histogram" else {name}
    return names


def strings_apart(expression):
    """An expression without what stands in quotes, and without the names of labels."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    return re.sub(r"\b(?:by|without|on|ignoring) *\([^)]*\)|\{[^}]*\}", "", bare)


def names_in(expression):
    return set(METRIC.findall(strings_apart(expression)))


def test_alerts_are_understood_and_ask_for_what_there_is():
    code, said = promtool("check", "rules", ALERTS)
    assert code == 0 and "SUCCESS" in said and "FAILED" not in said, said
    text = ALERTS.read_text()
    expressions = re.findall(r"^ *expr: (?:\|\n((?:(?: {10}.*)?\n)+)|(.*)\n)", text, re.MULTILINE)
    assert len(expressions) == text.count("expr:") > 25
    recorded = set(re.findall(r"record: (\S+)", text))
    names = exposed()
    for block, line in expressions:
        expression = block or line
        for rule in recorded:
            expression = expression.replace(rule, "")
        assert names_in(expression) <= names, names_in(expression) - names
    assert set().union(*(names_in(block or line) for block, line in expressions)) - recorded


def test_each_alert_fires_in_its_case_and_not_in_the_good_one():
    code, said = promtool("test", "rules", ALERT_TESTS)
    assert code == 0 and "SUCCESS" in said, said
    alerts = re.findall(r"- alert: (\w+)", ALERTS.read_text())
    tests = ALERT_TESTS.read_text()
    good, *cases = tests.split("  - name: ")[1:]
    fires = set(re.findall(r"alertname: (\w+)\n +eval_time: \w+\n +exp_alerts:", "".join(cases)))
    assert fires == set(alerts), fires ^ set(alerts)
    assert set(re.findall(r"alertname: (\w+)", good)) == set(alerts) and "exp_alerts" not in good


def test_each_alert_says_who_it_is_for_and_what_to_do():
    rules = ALERTS.read_text().split("- alert: ")[1:]
    for rule in rules:
        name = re.match(r"\w+", rule)[0]
        assert re.search(r"severity: (page|ticket)\b", rule) and "summary: " in rule, name
        assert f'runbook: "Deploy/OPERATIONS.md#alert-{name.lower()}"' in rule, name


def dashboard():
    return json.loads(DASHBOARD.read_text())


def queries():
    """Every expression of the dashboard with what it is for."""
    board = dashboard()
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for note in board["annotations"]["list"]:
        if "expr" in note:
            yield note["name"], note["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            found = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
            assert found, variable
            yield variable["name"], f"count by ({found[2]}) ({found[1]})"


def plain(expression, interval):
    """As Grafana asks where everything is chosen."""
    expression = expression.replace("$__rate_interval", interval)
    return re.sub(r"\$(job|instance|route|upstream)\b", ".*", expression)


def test_the_dashboard_is_understood_and_asks_for_what_there_is():
    names, rules = exposed(), []
    for number, (title, expression) in enumerate(queries()):
        assert names_in(expression) and names_in(expression) <= names, (title, names_in(expression) - names)
        rule = plain(expression, "1m")
        assert "$" not in rule, (title, rule)
        rules.append({"record": f"panel:{number}", "expr": rule})
    assert len(rules) > 80
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, file)
        file.flush()
        code, said = promtool("check", "rules", file.name)
    assert code == 0 and f"{len(rules)} rules found" in said, said


def test_the_dashboard_holds_together():
    board = dashboard()
    assert board["schemaVersion"] >= 38 and board["id"] is None and board["uid"] and board["title"]
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert list(variables) == ["datasource", "job", "instance", "route", "upstream"]
    assert variables["datasource"]["type"] == "datasource" and variables["datasource"]["query"] == "prometheus"
    identities = [panel["id"] for panel in board["panels"]]
    assert len(set(identities)) == len(identities)
    rows = [panel["title"] for panel in board["panels"] if panel["type"] == "row"]
    assert rows == ["Overview", "Truth: how streams end", "Upstreams", "Clients", "Memory and limits", "Process",
                    "Resume and compression", "Traces"]
    cells = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] >= 0 and place["w"] > 0 and place["h"] > 0 and place["x"] + place["w"] <= 24, panel["title"]
        own = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not own & cells, f"{panel['title']} overlaps another panel"
        cells |= own
        if panel["type"] == "row":
            continue
        assert panel["type"] in ("timeseries", "stat", "heatmap", "state-timeline") and panel["description"], panel["title"]
        unit = panel["fieldConfig"]["defaults"]["unit"]
        assert unit in UNITS or unit.startswith("suffix:"), (panel["title"], unit)
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters) and panel["targets"], panel["title"]
        for part in [panel, *panel["targets"]]:
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]
    first = [panel for panel in board["panels"] if panel["title"] == "Time to first token"][0]
    assert len(first["targets"]) == 3 and all(target["exemplar"] for target in first["targets"])
