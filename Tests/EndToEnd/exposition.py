"""A strict reader of Prometheus' text format 0.0.4: refuses what the format's description does not allow, and what a
well-behaved exporter never does (families torn apart, series twice, counters and buckets that do not add up)."""

import math
import re

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?([eE][+-]?\d+)?|Inf)|NaN")
KINDS = {"counter", "gauge", "histogram", "summary", "untyped"}


class Family:
    def __init__(self, name, help_text):
        self.name, self.help, self.kind = name, help_text, None
        self.samples = {}


def parse(text):
    """`{name: Family}`; a family's samples are `{(sample name, ((label, value), …)): number}`."""
    assert text.endswith("\n"), "the last line has no end"
    families, current = {}, None
    for line in text[:-1].split("\n"):
        assert line and line == line.strip(), repr(line)
        if line.startswith("# HELP "):
            name, _, help_text = line[7:].partition(" ")
            assert NAME.fullmatch(name) and name not in families and help_text, line
            assert not re.search(r"\\[^\\n]", help_text.replace("\\\\", "")), line
            current = families[name] = Family(name, help_text)
        elif line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            assert current and name == current.name and current.kind is None and not current.samples, line
            assert kind in KINDS, line
            current.kind = kind
        else:
            assert not line.startswith("#"), line
            name, labels, value = sample(line)
            assert current and current.kind and belongs(name, current), line
            key = (name, tuple(sorted(labels)))
            assert key not in current.samples, f"twice: {line}"
            current.samples[key] = value
    for family in families.values():
        check(family)
    return families


def sample(line):
    match = NAME.match(line)
    assert match, line
    name, rest, labels = match.group(), line[match.end():], []
    if rest.startswith("{"):
        rest = rest[1:]
        while True:
            label = LABEL.match(rest)
            assert label and rest[label.end():].startswith('="'), line
            value, rest = quoted(rest[label.end() + 2:], line)
            assert label.group() not in [l for l, _ in labels] and not label.group().startswith("__"), line
            labels.append((label.group(), value))
            if rest.startswith("}"):
                break
            assert rest.startswith(","), line
            rest = rest[1:]
        rest = rest[1:]
    assert rest.startswith(" ") and NUMBER.fullmatch(rest[1:]), line
    return name, labels, float(rest[1:].replace("Inf", "inf"))


def quoted(text, line):
    value, index = "", 0
    while True:
        assert index < len(text), line
        char = text[index]
        if char == '"':
            return value, text[index + 1:]
        if char == "\\":
            index += 1
            assert text[index] in '\\"n', line
            char = "\n" if text[index] == "n" else text[index]
        value += char
        index += 1


def belongs(name, family):
    if family.kind == "histogram":
        return name in (family.name + "_bucket", family.name + "_sum", family.name + "_count")
    return name == family.name


def check(family):
    assert family.kind, family.name
    if family.kind == "counter":
        assert family.name.endswith("_total"), family.name
        assert all(value >= 0 for value in family.samples.values()), family.name
    if family.kind != "histogram":
        return
    series = {}
    for (name, labels), value in family.samples.items():
        rest = tuple(label for label in labels if label[0] != "le")
        parts = series.setdefault(rest, {"buckets": []})
        if name.endswith("_bucket"):
            bound = dict(labels)["le"]
            parts["buckets"].append((math.inf if bound == "+Inf" else float(bound), value))
        else:
            parts[name.rsplit("_", 1)[1]] = value
    for rest, parts in series.items():
        bounds = [bound for bound, _ in parts["buckets"]]
        counts = [count for _, count in parts["buckets"]]
        assert bounds == sorted(bounds) and bounds[-1] == math.inf, (family.name, rest)
        assert counts == sorted(counts) and counts[-1] == parts["count"] and "sum" in parts, (family.name, rest)


def value(families, name, **labels):
    """The sum of all samples of that name which carry these labels."""
    family = families.get(name) or families[re.sub("_(bucket|sum|count)$", "", name)]
    return sum(number for (sample_name, own), number in family.samples.items()
               if sample_name == name and labels.items() <= dict(own).items())
