#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks the Promela models beside this file with spin, exhaustively; and each with one step broken, which must be found.

model.py SPIN COMPILER... With HAWSER_TEST_LONG, larger models."""

import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))

# (model, what is defined)
QUICK = [
    ("ring", {"MESSAGES": 4}),
    ("wake", {"MESSAGES": 1, "BACK": 1}),
    ("wake", {"MESSAGES": 1, "BACK": 1, "LIGHT": 0}),
    ("wake", {"MESSAGES": 3, "BACK": 0}),
    ("poll", {"MESSAGES": 1}),
]
LONG = QUICK + [
    ("ring", {"MESSAGES": 5}),
    ("wake", {"MESSAGES": 2, "BACK": 1}),
    ("wake", {"MESSAGES": 2, "BACK": 1, "LIGHT": 0}),
    ("wake", {"MESSAGES": 4, "BACK": 0, "ROOM": 2}),
    ("poll", {"MESSAGES": 1, "LIGHT": 0}),
    ("poll", {"MESSAGES": 1, "READS": 2}),
    ("poll", {"MESSAGES": 2, "READS": 0}),
]
# With which of those each broken step is found.
BROKEN = {"ring": (5, {"MESSAGES": 4}), "wake": (5, {"MESSAGES": 2, "BACK": 1}), "poll": (5, {"MESSAGES": 1})}
BROKEN_TITLES = {
    "ring": ["no room is kept for the next word", "the next word is not zeroed", "the word is published without release",
             "a skip leads to nothing", "a message is freed before it is copied"],
    "wake": ["there is no barrier", "the sender looks before it publishes", "the sleeper does not look again",
             "sleeps are not counted", "the other thread is not told"],
    "poll": ["there is no barrier", "the poll does not look again", "a member that woke is not stale", "nobody rings the bell",
             "the bell is heard, and nobody looked for"],
}


def verify(spin, compiler, model, defines):
    """(errors, states, what pan said)."""
    with tempfile.TemporaryDirectory() as directory:
        arguments = [f"-D{name}={value}" for name, value in defines.items()]
        made = subprocess.run([spin, "-a"] + arguments + [f"{HERE}/{model}.pml"], cwd=directory, capture_output=True, text=True)
        if made.returncode == 0:
            made = subprocess.run(compiler + ["-O1", "-w", "-DSAFETY", "-DCOLLAPSE", "-o", "pan", "pan.c"], cwd=directory,
                                  capture_output=True, text=True)
        if made.returncode != 0:
            return -1, 0, made.stdout + made.stderr
        said = subprocess.run(["./pan", "-m1000000"], cwd=directory, capture_output=True, text=True).stdout
        errors, states = re.search(r"errors: (\d+)", said), re.search(r"(\d+) states, stored", said)
        if not errors or not states or "max search depth too small" in said or "out of memory" in said:
            return -1, 0, said
        return int(errors.group(1)), int(states.group(1)), said


def title(model, defines):
    return f"{model} " + " ".join(f"{name}={value}" for name, value in sorted(defines.items()))


def main():
    spin, compiler = sys.argv[1], sys.argv[2:]
    failed = 0

    def report(good, name, detail):
        nonlocal failed
        failed += not good
        print(f"{'ok' if good else 'not ok'} {name}", flush=True)
        if not good:
            print(detail, file=sys.stderr)

    for model, defines in LONG if os.environ.get("HAWSER_TEST_LONG") else QUICK:
        errors, states, said = verify(spin, compiler, model, defines)
        report(errors == 0 and states > 1000, f"{title(model, defines)}: {states} states", said)
    for model, (count, defines) in BROKEN.items():
        for step in range(1, count + 1):
            errors, _, said = verify(spin, compiler, model, dict(defines, MUTATE=step))
            report(errors > 0, f"{model} is found broken when {BROKEN_TITLES[model][step - 1]}", said)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
