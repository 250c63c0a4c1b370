"""Scenarios that are told for every format, over one provider and one program that they share.

Each runs in lock step with its peers, so none depends on how fast the machine is.
"""

import faulthandler
import time
import traceback

from . import endings, errors, framings, life, safety, sdk  # noqa: F401  (they register their scenarios)
from .world import SCENARIOS, World


def run(words: list[str]) -> tuple[int, int]:
    """Runs those whose name holds one of `words` (all, if there are none); returns how many passed and failed."""
    # One that hangs in spite of its deadlines: say where, and fail.
    faulthandler.dump_traceback_later(900, exit=True)
    passed, failed = 0, []
    world = World()
    try:
        for scenario in SCENARIOS:
            if words and not any(word in scenario.name for word in words):
                continue
            began = time.monotonic()
            try:
                note = scenario.run(world)
                world.check_alive()
            except Exception:
                failed.append(scenario.name)
                print(f"{scenario.name}: FAILED\n{traceback.format_exc()}{world.tail()}", flush=True)
                world.restart()
                continue
            passed += 1
            print(f"{scenario.name}: ok ({time.monotonic() - began:.1f} s){'; ' + note if note else ''}", flush=True)
        try:
            world.close()
        except Exception:
            failed.append("the shared program ends cleanly")
            print(f"{failed[-1]}: FAILED\n{traceback.format_exc()}", flush=True)
    finally:
        world.kill()
        faulthandler.cancel_dump_traceback_later()
    for name in failed:
        print(f"failed: {name}")
    return passed, len(failed)
