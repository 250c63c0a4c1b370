"""An upstream's server as a process of the proxy's own: it comes and goes with the bridge, and nothing of it stays behind."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid

from harness import (BINARY, CHAT, Peer, Reply, Sluice, config, connect, drain, fetch, request_bytes, stream, until)

CHILD = str(pathlib.Path(__file__).parent / "managed_child.py")
SLOWLY = {**CHAT, "messages": [{"role": "user", "content": "slowly"}]}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def child(port, *arguments):
    return [sys.executable, "-B", CHILD, str(port), *map(str, arguments)]


def managed(port, command, **process):
    settings = {"command": command, "ready": {"path": "/health", "interval": "50ms"}, "backoff": "100ms",
                "max_backoff": "1s", "stop_timeout": "3s", **process}
    url = f"unix:{port}" if isinstance(port, str) else f"http://127.0.0.1:{port}/v1"
    # A connect timeout that no wait for a process could keep.
    upstream = {"url": url, "process": settings, "timeouts": {"connect": "2s"}}
    return config(url, upstream=upstream, workers=2)


def events(proxy, name):
    return [entry for entry in list(proxy.log) if entry["event"] == name]


def wait_for(proxy, name, count=1, seconds=30):
    """The `count`th event of that name."""
    until(lambda: len(events(proxy, name)) >= count, seconds, f"{count} {name} in {proxy.log}")
    return events(proxy, name)[count - 1]


def marked(mark):
    """Living processes with `mark` in their environment: descendants of whoever was given it."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            is_zombie = (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
            if not is_zombie and mark.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            pass  # it has ended, or is not ours to look at
    return found


def until_gone(mark):
    try:
        until(lambda: not marked(mark), 20, "their end")
    finally:
        for pid in marked(mark):
            os.kill(pid, signal.SIGKILL)


def is_running(pid):
    return os.path.exists(f"/proc/{pid}")


def in_background(work):
    """Runs `work` on a thread; the list gets its result."""
    result = []
    threading.Thread(target=lambda: result.append(work()), daemon=True).start()
    return result


def test_a_process_is_started_and_its_output_is_logged():
    port = free_port()
    noise = "x" * 20_000
    with Sluice(managed(port, child(port, "--say", "a line", "--say", noise))) as proxy:
        reply = fetch(proxy.port, "/text", CHAT, seconds=60)
        assert reply.status == 200 and reply.complete, reply.raw
        started, ready = wait_for(proxy, "process_started"), wait_for(proxy, "process_ready")
        assert started["upstream"] == "u" and int(started["pid"]) > 0 and int(ready["after_ms"]) >= 0
        lines = {(e["stream"], e["line"]) for e in events(proxy, "process_output")}
        assert ("stdout", "a line") in lines and ("stderr", "warming up") in lines, lines
        assert ("stdout", noise[:8192] + "…") in lines


def test_a_process_gets_no_descriptor_of_the_proxy():
    port = free_port()
    with Sluice(managed(port, child(port))) as proxy:
        client = connect(proxy.port)
        client.sendall(request_bytes("/text", SLOWLY))
        assert client.recv(1)  # connections to a client and to the process are open
        pid = int(wait_for(proxy, "process_started")["pid"])

        def links(process):
            folder = f"/proc/{process}/fd"
            return {number: os.readlink(f"{folder}/{number}") for number in os.listdir(folder)}

        own, childs = links(proxy.process.pid), links(pid)
        assert childs["0"] == "/dev/null", childs
        # The pipes of its output are the only things that both have.
        common = set(own.values()) & set(childs.values()) - {"/dev/null"}
        assert common == {childs["1"], childs["2"]}, (common, own, childs)
        with open(f"/proc/{pid}/status") as file:
            status = dict(line.split(":\t", 1) for line in file if ":\t" in line)
        # Python itself ignores SIGPIPE (13) and SIGXFSZ (25), and glibc a signal above 31 that is its own.
        ignored = int(status["SigIgn"], 16) & 0x7FFFFFFF & ~(1 << 12 | 1 << 24)
        assert int(status["SigBlk"], 16) == 0 and ignored == 0, status
        client.close()


def test_requests_wait_while_a_process_starts():
    port = free_port()
    with Sluice(managed(port, child(port, "--delay", 1.5, "--unready", 1.5))) as proxy:
        began = time.monotonic()
        replies = [in_background(lambda: fetch(proxy.port, "/sse-text", CHAT, seconds=60)) for _ in range(8)]
        until(lambda: all(replies), 60, "answers")
        assert all(reply[0].status == 200 and reply[0].complete for reply in replies), replies
        assert time.monotonic() - began > 2.5
        # The process took longer than the 2 s that a connection may take.
        assert int(wait_for(proxy, "process_ready")["after_ms"]) > 2500


def test_a_client_may_hear_early_of_a_process_that_starts():
    port = free_port()
    settings = managed(port, child(port, "--delay", 1.5))
    for route in settings["routes"]:
        route["early_headers"] = "200ms"
    with Sluice(settings) as proxy:
        client = connect(proxy.port)
        client.sendall(request_bytes("/sse-text", CHAT, headers=["Connection: close"]))
        head = client.recv(65536)
        assert head.startswith(b"HTTP/1.1 200") and not events(proxy, "process_ready"), head
        reply = Reply(head + drain(client, 60))
        assert reply.complete and b"event: done" in reply.body, reply.raw


def test_a_process_that_starts_too_slowly_is_503():
    port = free_port()
    with Sluice(managed(port, child(port, "--delay", 300), wait="300ms")) as proxy:
        for path, body in [("/text", CHAT), ("/openai-chat", CHAT), ("/v1/models", None)]:
            reply = fetch(proxy.port, path, body)
            assert reply.status == 503 and int(reply.headers["retry-after"]) >= 1, reply.raw
            assert json.loads(reply.body)["error"]["code"] == "starting", reply.raw
        client = connect(proxy.port)
        client.sendall(request_bytes("/text", CHAT))
        client.close()
        # Two workers write into one log: in no particular order.
        ends = ["client_gone"] + ["starting"] * 3
        until(lambda: sorted(e["end"] for e in proxy.exchanges()) == ends, 10, "client_gone")


def test_nobody_waits_where_waiting_is_off():
    port = free_port()
    with Sluice(managed(port, child(port, "--delay", 300), wait="0")) as proxy:
        began = time.monotonic()
        assert fetch(proxy.port, "/text", CHAT).status == 503 and time.monotonic() - began < 5


def test_a_crash_is_followed_by_a_restart_and_requests_wait():
    port = free_port()
    with Sluice(managed(port, child(port, "--delay", 0.5))) as proxy:
        wait_for(proxy, "process_ready")
        pid = int(wait_for(proxy, "process_started")["pid"])
        assert fetch(proxy.port, "/v1/exit/7", method="GET").status == 502
        # From here on nothing of it can be reached, whether or not the proxy knows that yet.
        until(lambda: not is_running(pid), 20, "its end")
        reply = fetch(proxy.port, "/text", CHAT, seconds=60)
        assert reply.status == 200 and reply.complete, reply.raw
        exited = wait_for(proxy, "process_exited")
        assert exited["code"] == "7" and int(exited["restart_in_ms"]) >= 50, exited
        assert len(events(proxy, "process_started")) == 2
        pid = int(wait_for(proxy, "process_started", 2)["pid"])
        os.kill(pid, signal.SIGKILL)
        until(lambda: not is_running(pid), 20, "its end")
        reply = fetch(proxy.port, "/text", CHAT, seconds=60)
        assert reply.status == 200 and wait_for(proxy, "process_exited", 2)["signal"] == "9"


def test_requests_are_refused_at_once_while_a_process_cannot_start():
    cases = [
        (["/nowhere/to-be-found"], "exec: No such file or directory"),
        (["sluice-has-no-such-program"], "exec: No such file or directory"),
        (["/etc/passwd"], "exec: Permission denied"),
    ]
    for command, error in cases:
        with Sluice(managed(free_port(), command, backoff="20s", max_backoff="20s")) as proxy:
            failed = wait_for(proxy, "process_failed")
            assert failed["error"] == error and failed["program"] == command[0], failed
            assert failed["restart_in_ms"] == "20000" and failed["level"] == "error", failed
            reply = until(lambda: (r := fetch(proxy.port, "/openai-chat", CHAT)).status == 503 and r, 10, "503")
            assert json.loads(reply.body)["error"]["code"] == "unavailable", reply.raw
            assert 1 <= int(reply.headers["retry-after"]) <= 20, reply.raw
            until(lambda: any(error in e.get("detail", "") for e in proxy.exchanges()), 10, "its reason in the log")
    with Sluice(managed(free_port(), ["true"], directory="/nowhere")) as proxy:
        assert wait_for(proxy, "process_failed")["error"] == "chdir: No such file or directory"


def test_what_is_not_to_be_restarted_is_not():
    for command, restart in [(["sh", "-c", "exit 3"], "never"), (["true"], "on-failure")]:
        with Sluice(managed(free_port(), command, restart=restart)) as proxy:
            waiting = fetch(proxy.port, "/text", CHAT, seconds=60)
            assert waiting.status == 503, waiting.raw
            assert wait_for(proxy, "process_exited")["restart"] == "never"
            time.sleep(0.5)
            assert len(events(proxy, "process_started")) == 1


def test_starts_leave_no_descriptor_and_no_zombie():
    with Sluice(managed(free_port(), ["sh", "-c", "exit 1"], backoff="100ms", max_backoff="100ms")) as proxy:
        def descriptors():
            return len(os.listdir(f"/proc/{proxy.process.pid}/fd"))

        def children():
            tasks = pathlib.Path(f"/proc/{proxy.process.pid}/task").glob("*/children")
            return " ".join(path.read_text() for path in tasks).split()

        wait_for(proxy, "process_exited")
        until(lambda: not children(), 10, "the end of the first run")
        least = descriptors()
        wait_for(proxy, "process_exited", 12)
        until(lambda: descriptors() <= least and not children(), 10, "as it was before")


def test_a_process_that_never_gets_ready_is_started_again():
    port = free_port()
    slow = {"path": "/health", "interval": "50ms", "timeout": "500ms"}
    with Sluice(managed(port, child(port, "--unready", 300), ready=slow)) as proxy:
        assert fetch(proxy.port, "/text", CHAT, seconds=60).status == 503
        assert int(wait_for(proxy, "process_not_ready")["after_ms"]) >= 500
        wait_for(proxy, "process_started", 2)


def test_streams_that_share_a_connection_to_a_process_that_ends():
    port = free_port()
    settings = managed(port, child(port, "--http2"), ready={"interval": "50ms"})
    settings["upstreams"]["u"]["http"] = "2"
    with Sluice(settings) as proxy:
        for round in range(1, 3):
            wait_for(proxy, "process_ready", round)
            pid = int(wait_for(proxy, "process_started", round)["pid"])
            begun = [connect(proxy.port) for _ in range(4)]
            for client in begun:
                client.sendall(request_bytes("/text", CHAT, headers=["Connection: close"]))
            firsts = [client.recv(65536) for client in begun]
            os.kill(pid, signal.SIGKILL)
            until(lambda: not is_running(pid), 20, "its end")
            replies = [in_background(lambda: fetch(proxy.port, "/text", CHAT, seconds=60)) for _ in range(8)]
            assert not any(Reply(first + drain(client)).complete for first, client in zip(firsts, begun))
            until(lambda: all(replies), 60, "answers")
            assert all(reply[0].status == 200 and reply[0].complete for reply in replies), replies


def test_the_next_upstream_is_asked_where_a_process_is_not_there():
    port = free_port()
    cases = [
        (child(port, "--delay", 300), {"wait": "400ms"}, 0.4),
        (["/nowhere/to-be-found"], {"backoff": "20s", "max_backoff": "20s"}, 0),
        (["sh", "-c", "exit 1"], {"restart": "never"}, 0),
    ]
    for command, changes, least in cases:
        with Peer(lambda connection, request: stream(connection)) as peer:
            settings = managed(port, command, **changes)
            settings["upstreams"]["other"] = {"url": peer.url, "dialect": "openai-chat"}
            settings["routes"].append(
                {"path": "/either", "request": "openai-chat", "response": "text", "upstream": ["u", "other"]})
            with Sluice(settings) as proxy:
                if least == 0:
                    until(lambda: fetch(proxy.port, "/text", CHAT, seconds=60).status == 503, 10, "a start that failed")
                began = time.monotonic()
                reply = fetch(proxy.port, "/either", CHAT)
                assert reply.status == 200 and reply.complete, reply.raw
                assert time.monotonic() - began >= least


FAMILY = """
sleep 1000 &
setsid sleep 1000 &
(setsid sh -c 'sleep 1000 & sleep 1000' &)
sh -c 'trap "" TERM INT HUP; while :; do sleep 1; done' &
trap "" TERM
echo begun
while :; do sleep 1; done
"""


def test_nothing_outlives_a_proxy_that_is_killed():
    mark = f"MARK-{uuid.uuid4()}"
    settings = managed(free_port(), ["sh", "-c", FAMILY], environment={"MARK": mark}, stop_timeout="700ms")
    with Sluice(settings) as proxy:
        wait_for(proxy, "process_output")
        until(lambda: len(marked(mark)) >= 8, 20, "the whole family")
        proxy.process.kill()
        until_gone(mark)


def test_nothing_outlives_a_supervisor_that_is_killed():
    mark = f"MARK-{uuid.uuid4()}"
    port = free_port()
    with Sluice(managed(port, child(port), environment={"MARK": mark})) as proxy:
        wait_for(proxy, "process_ready")
        pid = int(wait_for(proxy, "process_started")["pid"])
        supervisor, = [other for other in marked(mark) if other != pid]
        os.kill(supervisor, signal.SIGKILL)
        until(lambda: not is_running(pid), 20, "the command's end")
        assert "supervisor" in wait_for(proxy, "process_failed")["error"]
        assert fetch(proxy.port, "/text", CHAT, seconds=60).status == 200
        proxy.process.kill()
        until_gone(mark)


def test_a_process_ends_after_the_last_stream():
    mark = f"MARK-{uuid.uuid4()}"
    port = free_port()
    with Sluice(managed(port, child(port), environment={"MARK": mark})) as proxy:
        wait_for(proxy, "process_ready")
        client = connect(proxy.port)
        client.sendall(request_bytes("/text", SLOWLY, headers=["Connection: close"]))
        first = client.recv(65536)
        proxy.process.send_signal(signal.SIGTERM)
        wait_for(proxy, "draining")
        reply = Reply(first + drain(client))
        assert reply.status == 200 and reply.complete, reply.raw
        assert proxy.process.wait(20) == 0 and not marked(mark)
        until(lambda: proxy.log[-1]["event"] == "stopped", 10, "the last line")
        order = [entry["event"] for entry in proxy.log]
        assert order.index("exchange") < order.index("process_stopping") < order.index("process_stopped"), order


def test_a_proxy_that_cannot_listen_starts_nothing():
    mark = f"MARK-{uuid.uuid4()}"
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = managed(port, child(port), environment={"MARK": mark})
        settings["listeners"][0]["address"] = f"127.0.0.1:{taken.getsockname()[1]}"
        with tempfile.NamedTemporaryFile("w") as file:
            json.dump(settings, file)
            file.flush()
            result = subprocess.run([BINARY, "run", "-c", file.name], capture_output=True, timeout=60)
        assert result.returncode == 1 and b"process_" not in result.stdout, result
        assert not marked(mark)


def reload(proxy, settings, count=1):
    # What the file had for `listeners` may not change.
    proxy.write(settings)
    proxy.process.send_signal(signal.SIGHUP)
    wait_for(proxy, "reloaded", count)


def test_a_reload_leaves_what_did_not_change():
    port = free_port()
    settings = managed(port, child(port))
    with Sluice(settings) as proxy:
        first = fetch(proxy.port, "/v1/pid", method="GET", seconds=60).body
        settings["log"] = {"level": "debug"}
        settings["upstreams"]["u"]["timeouts"]["idle"] = "77s"
        for count in range(1, 4):
            reload(proxy, settings, count)
            assert fetch(proxy.port, "/v1/pid", method="GET", seconds=60).body == first
        assert len(events(proxy, "process_started")) == 1


def test_a_changed_process_takes_the_place_of_the_old_one():
    port = free_port()
    settings = managed(port, child(port, "--name", "old"))
    with Sluice(settings) as proxy:
        idle = connect(proxy.port)  # a client that stays must not keep the old process
        idle.sendall(request_bytes("/v1/name", method="GET"))
        assert idle.recv(65536).endswith(b"old")
        slow = in_background(lambda: fetch(proxy.port, "/text", SLOWLY))
        until(lambda: slow or len(proxy.exchanges()) >= 1, 10, "a stream under way")
        time.sleep(0.5)
        settings["upstreams"]["u"]["process"]["command"] = child(port, "--name", "new")
        reload(proxy, settings)
        # It waits for the stream that still goes on, for the end of the old process, and for the start of the new one.
        assert fetch(proxy.port, "/v1/name", method="GET", seconds=60).body == b"new"
        assert slow[0].complete and slow[0].status == 200, slow[0].raw
        order = ["started", "ready", "stopping", "exited", "stopped", "started", "ready"]

        def told():
            words = [e["event"].removeprefix("process_") for e in list(proxy.log) if e["event"].startswith("process_")]
            return [word for word in words if word != "output"]

        until(lambda: told() == order, 10, f"{order}, not {told()}")
        idle.close()


def test_a_process_that_is_no_longer_wanted_ends():
    port = free_port()
    settings = managed(port, child(port))
    with Sluice(settings) as proxy:
        pid = fetch(proxy.port, "/v1/pid", method="GET", seconds=60).body.decode()
        del settings["upstreams"]["u"]["process"]
        reload(proxy, settings)
        until(lambda: not is_running(pid), 20, "its end")
        wait_for(proxy, "process_stopped")


def test_a_reload_gives_another_chance():
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        gate = os.path.join(folder, "gate")
        command = ["sh", "-c", f'test -e {gate} || exit 4; exec "$0" "$@"', *child(port)]
        settings = managed(port, command, restart="never")
        with Sluice(settings) as proxy:
            wait_for(proxy, "process_exited")
            assert until(lambda: fetch(proxy.port, "/text", CHAT).status == 503, 10, "503")
            pathlib.Path(gate).touch()
            reload(proxy, settings)
            until(lambda: fetch(proxy.port, "/text", CHAT, seconds=60).status == 200, 20, "another start")


def test_two_upstreams_may_share_a_process():
    port = free_port()
    settings = managed(port, child(port))
    settings["upstreams"]["w"] = {**settings["upstreams"]["u"]}
    settings["routes"].append({"path": "/w", "request": "openai-chat", "response": "text", "upstream": "w"})
    with Sluice(settings) as proxy:
        assert fetch(proxy.port, "/w", CHAT, seconds=60).status == fetch(proxy.port, "/text", CHAT, seconds=60).status == 200
        assert len(events(proxy, "process_started")) == 1


def test_a_process_waits_for_its_port():
    port = free_port()
    other = socket.create_server(("127.0.0.1", port))
    with Sluice(managed(port, child(port), wait="300ms")) as proxy:
        assert str(port) in wait_for(proxy, "process_waiting")["error"]
        assert fetch(proxy.port, "/text", CHAT).status == 503
        other.close()
        until(lambda: fetch(proxy.port, "/text", CHAT).status == 200, 20, "its own process")


def test_a_process_behind_a_unix_socket():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.sock")
        settings = managed(path, child(path, "--delay", 0.3), ready={"interval": "50ms"})
        with Sluice(settings) as proxy:
            assert fetch(proxy.port, "/text", CHAT, seconds=60).status == 200


def test_a_noisy_process_is_neither_blocked_nor_written_out():
    port = free_port()
    noise = "i=0; while [ $i -lt 20000 ]; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa$i; i=$((i+1)); done"
    with Sluice(managed(port, ["sh", "-c", noise + '; exec "$0" "$@"', *child(port)])) as proxy:
        assert fetch(proxy.port, "/text", CHAT, seconds=60).status == 200
        until(lambda: events(proxy, "process_output_dropped"), 20, "a count of what was left out")
        assert len(events(proxy, "process_output")) < 10_000


def test_a_process_gets_its_environment_and_the_log_no_secret():
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        secret = os.path.join(folder, "secret")
        pathlib.Path(secret).write_text("from-a-file-canary\n")
        say = 'echo "token=$HF_TOKEN|$FILED|plain=$PLAIN|own=$FROM_PROXY|notify=$NOTIFY_SOCKET"; env >&2; exec "$0" "$@"'
        environment = {"HF_TOKEN": "${TOKEN}", "FILED": {"file": secret}, "PLAIN": "visible"}
        settings = managed(port, ["sh", "-c", say, *child(port)], environment=environment)
        inherited = {"TOKEN": "hf-canary-token", "FROM_PROXY": "inherited", "NOTIFY_SOCKET": "/run/none"}
        with Sluice(settings, environment=inherited) as proxy:
            assert fetch(proxy.port, "/text", CHAT, seconds=60).status == 200
            lines = [e["line"] for e in events(proxy, "process_output")]
            assert "token=***|***|plain=visible|own=inherited|notify=" in lines, lines
            text = json.dumps(proxy.log) + proxy.errors.decode()
            for canary in ["hf-canary-token", "from-a-file-canary", "sk-canary-own"]:
                assert canary not in text
            pid = wait_for(proxy, "process_started")["pid"]
            variables = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            assert b"HF_TOKEN=hf-canary-token" in variables and b"FILED=from-a-file-canary" in variables
