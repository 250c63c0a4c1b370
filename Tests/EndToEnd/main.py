"""Runs every test, prints a line for each, and closes with `N passed, N failed`.

Words pick tests whose name holds one of them; `-word` leaves out those that hold it. Modules run in processes of their own, as many at
a time as there are processors (LANES=1: one after the other), but for those that measure, which run alone when the others are through.
"""

import concurrent.futures
import faulthandler
import importlib
import os
import pathlib
import re
import subprocess
import sys
import time
import traceback

FOLDER = pathlib.Path(__file__).parent
# What they measure is time, memory or order of events under load, which company would spoil.
ALONE = ("test_http2_abuse", "test_http2_backpressure", "test_http2_clients", "test_limits", "test_resources", "test_soak")
# The longest first, so that no processor waits for the last one.
LONGEST = ("scenarios", "test_http2_pairs", "test_process", "test_matrix", "test_sdks", "test_life", "test_faults")
# Seconds for a module that hangs in spite of its tests' own deadlines: it says where, and fails.
PATIENCE = 900 + int(os.environ.get("SOAK") or 0)


class Choice:
    """Which tests are wanted."""

    def __init__(self, words):
        self.wanted = [word for word in words if not word.startswith("-")]
        self.unwanted = [word[1:] for word in words if word.startswith("-")]

    def __call__(self, name):
        if self.wanted and not any(word in name for word in self.wanted):
            return False
        return not any(word in name for word in self.unwanted)

    def touches(self, module):
        """False only if no test of that module can be wanted; asked without importing it."""
        if module == "scenarios":
            return True
        source = (FOLDER / f"{module}.py").read_text()
        return any(self(f"{module}.{name}") for name in re.findall(r"\b(test_\w+)", source))


def run_module(name, choice):
    """In this process; returns how many passed and failed."""
    faulthandler.dump_traceback_later(PATIENCE, exit=True)
    if name == "scenarios":
        import scenarios
        return scenarios.run(choice)
    module = importlib.import_module(name)
    passed = failed = 0
    for title, test in list(vars(module).items()):
        if not title.startswith("test_") or not callable(test) or not choice(f"{name}.{title}"):
            continue
        began = time.monotonic()
        try:
            test()
            passed += 1
            verdict = "ok"
        except Exception:
            failed += 1
            verdict = "FAILED\n" + traceback.format_exc()
        print(f"{name}.{title}: {verdict} ({time.monotonic() - began:.1f} s)", flush=True)
    return passed, failed


def run_apart(name, words):
    """In a process of its own; prints what that printed, and returns how many passed and failed."""
    command = [sys.executable, "-B", __file__, f"--module={name}", *words]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE + 30)
        output, code = done.stdout, done.returncode
    except subprocess.TimeoutExpired as late:
        output, code = late.stdout or b"", "none: it hangs"
    text = output.decode(errors="replace")
    counts = re.search(r"^(\d+) passed, (\d+) failed\n\Z", text, re.MULTILINE)
    if not counts:
        print(f"{text}{name}: FAILED, exit code {code}", flush=True)
        return 0, 1
    print(text[: counts.start()], end="", flush=True)
    return int(counts[1]), int(counts[2])


def main(words):
    if words and words[0].startswith("--module="):
        return run_module(words[0].partition("=")[2], Choice(words[1:]))
    choice = Choice(words)
    modules = ["scenarios", *sorted(path.stem for path in FOLDER.glob("test_*.py"))]
    modules = [name for name in modules if choice.touches(name)]
    modules.sort(key=lambda name: LONGEST.index(name) if name in LONGEST else len(LONGEST))
    lanes = int(os.environ.get("LANES") or os.cpu_count() or 1)
    with concurrent.futures.ThreadPoolExecutor(lanes) as pool:
        counts = list(pool.map(lambda name: run_apart(name, words), [name for name in modules if name not in ALONE]))
    counts += [run_apart(name, words) for name in modules if name in ALONE]
    return sum(passed for passed, _ in counts), sum(failed for _, failed in counts)


passed, failed = main(sys.argv[1:])
print(f"{passed} passed, {failed} failed")
sys.exit(1 if failed or not passed else 0)
