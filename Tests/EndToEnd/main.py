"""Runs every test, prints a line for each, and closes with `N passed, N failed`."""

import sys
import time
import traceback

import scenarios
import test_chromium
import test_dialects
import test_failures
import test_hpack_conformance
import test_http2_abuse
import test_http2_backpressure
import test_http2_clients
import test_http2_conformance
import test_http2_conformance_frames
import test_http2_conformance_messages
import test_http2_pairs
import test_http2_upstream
import test_matrix
import test_readers
import test_requests
import test_resources
import test_sdk
import test_sdks
import test_streams
import test_tool_trips
import test_tools

wanted = sys.argv[1:]
passed = failed = 0
MODULES = (
    test_readers, test_matrix, test_tools, test_streams, test_requests, test_failures, test_resources, test_sdk, test_sdks,
    test_tool_trips, test_dialects, test_http2_conformance, test_http2_conformance_frames, test_http2_conformance_messages,
    test_hpack_conformance,
    test_http2_abuse, test_http2_pairs, test_http2_upstream, test_http2_clients, test_http2_backpressure, test_chromium)
for module in MODULES:
    for name, test in list(vars(module).items()):
        if not name.startswith("test_") or not callable(test):
            continue
        if wanted and not any(word in f"{module.__name__}.{name}" for word in wanted):
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
