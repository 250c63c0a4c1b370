"""What the readers of all formats share: the answer that a client ends up with, event streams, JSON to the letter."""

import dataclasses
import json


class FormatError(Exception):
    """Something that the format forbids."""


@dataclasses.dataclass
class Answer:
    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    #: (id, name, arguments): arguments is JSON text, "" where none came, and what came of it where it was cut.
    tool_calls: list = dataclasses.field(default_factory=list)
    #: stop, length, tool_calls, content_filter, error, other; None if the stream does not say.
    finish: str | None = None
    #: input, output, cached, reasoning; absent if unknown.
    usage: dict = dataclasses.field(default_factory=dict)
    error: str | None = None
    #: Ended as the format ends, and not by an error. `text` cannot know, and says yes.
    complete: bool = False


def need(condition, *what):
    if not condition:
        raise FormatError(" ".join(map(str, what)))


def members(value, required, optional=(), what="object"):
    """Checks that an object has all of `required` and nothing beside `optional`."""
    need(isinstance(value, dict), what, "is no object:", value)
    names = set(value)
    need(set(required) <= names, what, "lacks", set(required) - names, "in", value)
    need(names <= set(required) | set(optional), what, "has", names - set(required) - set(optional), "in", value)
    return value


def string(value, what="value"):
    need(isinstance(value, str), what, "is no string:", value)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise FormatError(f"{what} has half a character") from error
    return value


def count(value, what="count"):
    need(isinstance(value, int) and not isinstance(value, bool) and value >= 0, what, "is no count:", value)
    return value


def counts(value, names):
    """Known figures of `value` by our names; `names`: theirs to ours."""
    return {ours: count(value[theirs], theirs) for theirs, ours in names.items() if value.get(theirs) is not None}


def _pairs(pairs):
    found = dict(pairs)
    need(len(found) == len(pairs), "a member twice:", [name for name, _ in pairs])
    return found


def _constant(word):
    raise FormatError(f"{word} is no JSON")


def parse(text, what="data"):
    try:
        return json.loads(text, object_pairs_hook=_pairs, parse_constant=_constant)
    except json.JSONDecodeError as error:
        raise FormatError(f"{what} is no JSON: {text!r}") from error


def same(left, right):
    """The same JSON: 1 is neither true nor 1.0."""
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


def is_json(text):
    try:
        parse(text)
        return True
    except FormatError:
        return False


def decode(body):
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"not UTF-8: {error}") from error


@dataclasses.dataclass
class Event:
    type: str
    data: str
    #: What `lastEventId` is; `own_id` says whether the event had one.
    id: str
    own_id: bool


def events(body):
    """An event stream, by the rules of the HTML standard; but one that ends in the middle of an event is an error."""
    text = decode(body)
    text = text[1:] if text.startswith("\ufeff") else text
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    need(lines.pop() == "", "the stream ends inside a line:", text[-80:])
    found, last_id = [], ""
    kind, data, own_id = "", [], False
    pending = False
    for line in lines:
        if line == "":
            if data:
                found.append(Event(kind or "message", "\n".join(data), last_id, own_id))
            kind, data, own_id, pending = "", [], False, False
            continue
        name, _, value = line.partition(":")
        value = value[1:] if value.startswith(" ") else value
        if name == "":
            continue  # a comment
        pending = True
        if name == "data":
            data.append(value)
        elif name == "event":
            kind = value
        elif name == "id" and "\0" not in value:
            last_id, own_id = value, True
        else:
            need(name == "retry" and value.isascii() and value.isdigit(), "a field that nobody knows:", line)
    need(not pending, "the stream ends inside an event:", text[-80:])
    return found


def unnamed(body, done=False):
    """The values of an event stream without names and ids, and whether `[DONE]` ends it, where that is known."""
    found = events(body)
    need(all(e.type == "message" and not e.own_id for e in found), "an event with a name or an id")
    is_done = done and bool(found) and found[-1].data == "[DONE]"
    return [parse(e.data) for e in (found[:-1] if is_done else found)], is_done


def named(body):
    """(type, value) of an event stream whose events are named as their `type`."""
    found = []
    for event in events(body):
        need(not event.own_id, "an event with an id")
        if event.data == "[DONE]" and event.type == "message":
            found.append(("[DONE]", None))
            continue
        value = parse(event.data)
        need(isinstance(value, dict) and value.get("type") == event.type, "the event", event.type, "is", event.data)
        found.append((event.type, value))
    return found


def lines(body):
    """JSON objects, one a line."""
    text = decode(body)
    if not text:
        return []
    need(text.endswith("\n"), "the last line has no end:", text[-80:])
    found = [parse(line, "a line") for line in text[:-1].split("\n")]
    need(all(isinstance(value, dict) for value in found), "a line is no object")
    return found


class Calls:
    """Tool calls in the order of their starts."""

    def __init__(self):
        self.calls = {}
        self.closed = set()

    def open(self, key, call_id, name):
        need(key not in self.calls, "the call", key, "opens twice")
        need(all(call_id != call[0] for call in self.calls.values()), "two calls are called", call_id)
        need(string(name), "a call without a name")
        self.calls[key] = [string(call_id), name, ""]

    def append(self, key, fragment):
        need(key in self.calls and key not in self.closed, "the call", key, "is not open")
        self.calls[key][2] += string(fragment)

    def close(self, key):
        need(key in self.calls and key not in self.closed, "the call", key, "is not open")
        self.closed.add(key)
        return self.calls[key][2]

    @property
    def open_keys(self):
        return set(self.calls) - self.closed

    def all(self):
        return [tuple(call) for call in self.calls.values()]
