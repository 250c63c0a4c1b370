"""Runs the scenarios and prints `N passed, N failed`; exit code 1 if one failed or none ran."""

import argparse
import faulthandler
import sys
import time
import traceback


import scenarios_endings
import scenarios_errors
import scenarios_framings
import scenarios_life
import scenarios_safety
import scenarios_sdk
from .world import SCENARIOS, World


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--long", action="store_true", help="the long form of the scenarios that watch memory")
    parser.add_argument("words", nargs="*", help="run scenarios whose name holds one of these")
    arguments = parser.parse_args()
    LONG = arguments.long
    # A scenario that hangs in spite of its deadlines: say where, and fail.
    faulthandler.dump_traceback_later(1200 if arguments.long else 600, exit=True)

    chosen = [s for s in SCENARIOS if not arguments.words or any(word in s.name for word in arguments.words)]
    passed, failed = 0, []
    world = World()
    try:
        for scenario in chosen:
            began = time.monotonic()
            try:
                note = scenario.run(world)
                world.check_alive()
            except Exception:
                failed.append(scenario.name)
                print(f"FAILED  {scenario.name}\n{indented(traceback.format_exc())}\n{indented(world.tail())}", flush=True)
                world.restart()
                continue
            passed += 1
            print(f"ok      {scenario.name} ({time.monotonic() - began:.2f} s){': ' + note if note else ''}", flush=True)
        try:
            world.close()
        except Exception:
            failed.append("the shared program ends cleanly")
            print(f"FAILED  {failed[-1]}\n{indented(traceback.format_exc())}", flush=True)
    finally:
        world.kill()
    for name in failed:
        print(f"failed: {name}")
    print(f"{passed} passed, {len(failed)} failed", flush=True)
    return 1 if failed or not passed else 0


def indented(text: str) -> str:
    return "\n".join("        " + line for line in text.rstrip().splitlines())


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Threads of peers that wait for a client may be left; they have nothing to save.
    import os

    os._exit(code)
