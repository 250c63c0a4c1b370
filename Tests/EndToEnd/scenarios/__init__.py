"""Scenarios that are told for every format, over one provider and one program that they share.

Each runs in lock step with its peers, so none depends on how fast the machine is.
"""

import time
import traceback
from collections.abc import Callable

from . import endings, errors, framings, life, safety, sdk  # noqa: F401  (they register their scenarios)
from .world import SCENARIOS, World


def run(is_wanted: Callable[[str], bool]) -> tuple[int, int]:
    """Runs those whose name is wanted; returns how many passed and failed."""
    wanted = [scenario for scenario in SCENARIOS if is_wanted(scenario.name)]
    if not wanted:
        return 0, 0
    passed, failed = 0, []
    world = World()
    try:
        for scenario in wanted:
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
    for name in failed:
        print(f"failed: {name}")
    return passed, len(failed)
