"""Readers of Sluice's own formats."""

from reading import Answer, Calls, count, counts, decode, events, lines, members, need, parse, string

FINISHES = {"stop", "length", "tool_calls", "content_filter", "error", "other"}
USAGE = {"input_tokens": "input", "output_tokens": "output", "cached_tokens": "cached", "reasoning_tokens": "reasoning"}


def text(body):
    return Answer(text=decode(body), complete=True)


def end(answer, value):
    members(value, ["done"], ["finish_reason", "usage"], "the end")
    need(value["done"] is True, "the end is", value)
    if "finish_reason" in value:
        need(value["finish_reason"] in FINISHES, "finish reason", value)
        answer.finish = value["finish_reason"]
    answer.usage = counts(members(value.get("usage", {}), [], USAGE, "usage"), USAGE)
    answer.complete = True


def failure(answer, value):
    members(value, ["error"])
    error = members(value["error"], ["message", "type"], what="error")
    need(string(error["type"]), "an error without a type")
    answer.error = string(error["message"])


def sse_text(body):
    answer, ended = Answer(), False
    next_id = 1
    for event in events(body):
        need(not ended, "something behind the end:", event)
        if event.type == "error":
            failure(answer, parse(event.data))
            ended = True
            continue
        need(event.own_id and event.id == str(next_id), "the id is", event.id, "and not", next_id)
        next_id += 1
        if event.type == "done":
            end(answer, parse(event.data))
            ended = True
        else:
            need(event.type == "message", "an event called", event.type)
            answer.text += event.data
    return answer


def objects(values):
    """`sse-json` and `ndjson`: the same objects. Choices but the first are checked, and left out."""
    answer, calls = Answer(), {}
    for value in values:
        need(answer.error is None and not answer.complete, "something behind the end:", value)
        if "done" in value:
            end(answer, value)
            continue
        if "error" in value:
            failure(answer, value)
            continue
        kind = [name for name in ("text", "reasoning", "refusal", "tool_call", "source") if name in value]
        need(len(kind) == 1, "an object of no kind:", value)
        members(value, kind, [] if kind == ["source"] else ["choice"])
        choice = count(value.get("choice", 0))
        need(value.get("choice") != 0, "a choice that needs no name:", value)
        content = value[kind[0]]
        if kind == ["tool_call"]:
            tool_call(calls.setdefault(choice, Calls()), content)
        elif kind == ["source"]:
            members(content, ["url"], ["title"], "a source")
            need(string(content["url"]) and isinstance(content.get("title", ""), str), "a source:", value)
        else:
            need(string(content), "an empty object:", value)
            if choice == 0:
                setattr(answer, kind[0], getattr(answer, kind[0]) + content)
    answer.tool_calls = calls[0].all() if 0 in calls else []
    return answer


def tool_call(calls, value):
    key = value.get("index") if isinstance(value, dict) else None
    if isinstance(value, dict) and "name" in value:
        members(value, ["index", "name"], ["id"], "a call")
        need(key == len(calls.calls), "the calls are not in order:", value)
        # A call may have no id; then none is like it.
        calls.open(key, value.get("id") or f"\0{key}", value["name"])
        calls.calls[key][0] = value.get("id", "")
    else:
        members(value, ["index", "arguments"], what="a call")
        need(value["arguments"] != "", "an empty fragment:", value)
        calls.append(key, value["arguments"])


def sse_json(body):
    found = events(body)
    values = [parse(event.data) for event in found]
    for event, value in zip(found, values):
        wanted = "error" if isinstance(value, dict) and "error" in value else "message"
        need(event.type == wanted and not event.own_id and isinstance(value, dict), "an event:", event)
    return objects(values)


def ndjson(body):
    return objects(lines(body))
