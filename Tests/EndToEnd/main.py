"""Runs every test, prints a line for each, and closes with `N passed, N failed`."""

import importlib
import pathlib
import sys
import time
import traceback

import scenarios

# `-test_soak` leaves out what has that in its name.
wanted = [word for word in sys.argv[1:] if not word.startswith("-")]
unwanted = [word[1:] for word in sys.argv[1:] if word.startswith("-")]
passed = failed = 0
MODULES = [importlib.import_module(path.stem) for path in sorted(pathlib.Path(__file__).parent.glob("test_*.py"))]
for module in MODULES:
    for name, test in list(vars(module).items()):
        if not name.startswith("test_") or not callable(test):
            continue
        if wanted and not any(word in f"{module.__name__}.{name}" for word in wanted):
            continue
        if any(word in f"{module.__name__}.{name}" for word in unwanted):
            continue
        began = time.monotonic()
        try:
            test()
            passed += 1
            verdict = "ok"
        except Exception:
            failed += 1
            verdict = "FAILED\n" + traceback.format_exc()
        print(f"{module.__name__}.{name}: {verdict} ({time.monotonic() - began:.1f} s)", flush=True)
more = scenarios.run(wanted)
passed, failed = passed + more[0], failed + more[1]
print(f"{passed} passed, {failed} failed")
sys.exit(1 if failed or not passed else 0)
