# SPDX-License-Identifier: MIT
"""hawser gc: what a killed process left goes, what lives stays. usage: names.py HAWSER"""

import os
import sys
import time

from cases import Scratch, main, run, same, start

hawser = sys.argv[1]
scratch = Scratch()
RUNTIME = f"{scratch.path}/runtime"


def listener(name):
    """A listener that is there."""
    process = start(scratch, hawser, "recv", "--timeout", "60s", f"shm://{name}")
    deadline = time.monotonic() + 20
    while not os.path.exists(f"{RUNTIME}/{name}"):
        assert time.monotonic() < deadline, "the listener never came"
        time.sleep(0.01)
    return process


def gc(*words):
    code, output, errors = run(scratch, hawser, "gc", *words)
    same(code, 0, errors)
    return output.decode()


def sweeps():
    same(gc(), "", "nothing is there")
    dead, alive = listener("dead"), listener("alive")
    dead.kill()
    dead.wait()
    same(gc("--dry-run"), f"listener  {RUNTIME}/dead\n", "a look")
    assert os.path.exists(f"{RUNTIME}/dead")
    same(gc(), f"listener  {RUNTIME}/dead\n", "a sweep")
    same(sorted(os.listdir(RUNTIME)), ["alive"], "what is left")
    alive.terminate()
    alive.wait()
    gc()
    same(os.listdir(RUNTIME), [], "what is left of a listener that ended by a signal")


def wrong_usage():
    for words in (("--nosuch",), ("a", "b")):
        same(run(scratch, hawser, "gc", *words)[0], 2, words)
    same(run(scratch, hawser, "gc", f"{scratch.path}/nowhere")[0], 1, "no such directory")
    code, output, _ = run(scratch, hawser, "gc", "--help")
    same(code, 0, "--help")
    assert b"example:" in output


main([("gc sweeps what is dead", sweeps), ("gc refuses wrong words", wrong_usage)])
