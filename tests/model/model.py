#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks the Promela models beside this file with spin, exhaustively; each with one step broken, which must be found; and that the
names of their steps stand in the code, and the code's in them.

model.py SPIN COMPILER... With HAWSER_TEST_LONG, larger models."""

import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
LONG_RUN = bool(os.environ.get("HAWSER_TEST_LONG"))

ENDS = {"ONE_WAY": 1, "ENDS": 1}
# (model, what is defined)
QUICK = [
    ("ring", {"MESSAGES": 4}),
    ("ring", {"MESSAGES": 3, "HOLD": 1}),
    ("ring", {"MESSAGES": 3, "GROW": 1}),
    ("ring", {"MESSAGES": 2, "GROW": 1, "HOLD": 1}),
    ("wake", {"MESSAGES": 1, "BACK": 1}),
    ("wake", {"MESSAGES": 1, "BACK": 1, "LIGHT": 0}),
    ("wake", {"MESSAGES": 2, "BACK": 0}),
    ("wake", {"MESSAGES": 2, "ASK": 1, "LIGHT": 0, **ENDS}),
    ("wake", {"MESSAGES": 2, "TAKES": 1, "ASK": 1, **ENDS}),
    ("wake", {"MESSAGES": 1, "ASK": 1, "DIE": 1, **ENDS}),
    ("wake", {"MESSAGES": 2, "BACK": 0, "NAPS": 1}),
    ("wake", {"MESSAGES": 1, "DIE": 1, "NAPS": 1, **ENDS}),
    ("poll", {"MESSAGES": 1}),
    ("permits", {"USERS": 2, "ROUNDS": 2}),
    ("permits", {"USERS": 2, "DEATHS": 1}),
    ("permits", {"USERS": 3, "LIMIT": 2}),
    ("permits", {"USERS": 2, "ROUNDS": 2, "GIVES_UP": 1}),
    ("event", {"RAISES": 2}),
    ("event", {"RAISES": 1, "WAITERS": 2}),
    ("event", {"RAISES": 1, "DEATHS": 1}),
]
LONG = QUICK + [
    ("ring", {"MESSAGES": 5}),
    ("ring", {"MESSAGES": 4, "HOLD": 1}),
    ("ring", {"MESSAGES": 4, "GROW": 1}),
    ("ring", {"MESSAGES": 4, "GROW": 1, "HOLD": 1}),
    ("wake", {"MESSAGES": 3, "BACK": 0}),
    ("wake", {"MESSAGES": 2, "BACK": 1}),
    ("wake", {"MESSAGES": 2, "BACK": 1, "LIGHT": 0}),
    ("wake", {"MESSAGES": 4, "BACK": 0, "ROOM": 2}),
    ("wake", {"MESSAGES": 2, "ASK": 1, **ENDS}),
    ("wake", {"MESSAGES": 2, "ASK": 1, "DIE": 1, **ENDS}),
    ("wake", {"MESSAGES": 1, "BACK": 0, "ENDS": 1}),
    ("wake", {"MESSAGES": 1, "BACK": 0, "ENDS": 1, "LIGHT": 0, "ASK": 1}),
    ("wake", {"MESSAGES": 3, "BACK": 0, "ROOM": 2, "NAPS": 1}),
    ("wake", {"MESSAGES": 1, "BACK": 1, "NAPS": 1}),
    ("wake", {"MESSAGES": 2, "BACK": 0, "NAPS": 1, "LIGHT": 0}),
    ("poll", {"MESSAGES": 1, "LIGHT": 0}),
    ("poll", {"MESSAGES": 1, "READS": 2}),
    ("poll", {"MESSAGES": 2, "READS": 0}),
    ("permits", {"USERS": 3, "GIVES_UP": 1}),
    ("permits", {"USERS": 2, "ROUNDS": 2, "DEATHS": 2}),
    ("permits", {"USERS": 3, "DEATHS": 1}),
    ("permits", {"USERS": 3, "LIMIT": 2, "DEATHS": 1}),
    ("event", {"RAISES": 2, "WAITERS": 2}),
    ("event", {"RAISES": 2, "DEATHS": 1}),
    ("event", {"RAISES": 1, "RAISERS": 3, "DEATHS": 1}),
]
# What breaks each step, in the order of MUTATE, and with what defined it is found.
LONG_ONLY = "it is found after seconds"
BROKEN = {
    "ring": [
        ("no room is kept for the next word", {"MESSAGES": 4}),
        ("the next word is not zeroed", {"MESSAGES": 4}),
        ("the word is published without release", {"MESSAGES": 4}),
        ("a skip leads to nothing", {"MESSAGES": 4}),
        ("a message is freed before it is copied", {"MESSAGES": 4}),
        ("a message is freed while an older one is held", {"MESSAGES": 4, "HOLD": 1}),
        ("what is consumed while others are held is freed at once", {"MESSAGES": 4, "HOLD": 1}),
        ("a larger ring is announced before its memory is sent", {"MESSAGES": 3, "GROW": 1}),
    ],
    "wake": [
        ("there is no barrier", {"MESSAGES": 2, "BACK": 1}),
        ("the sender looks before it publishes", {"MESSAGES": 2, "BACK": 1}),
        ("the sleeper does not look again", {"MESSAGES": 2, "BACK": 1}),
        ("sleeps are not counted", {"MESSAGES": 2, "BACK": 0}),
        ("the other thread is not told", {"MESSAGES": 2, "BACK": 1}),
        ("who closes does not ring", {"MESSAGES": 2, **ENDS}),
        ("who closes has no fence", {"MESSAGES": 2, "LIGHT": 0, **ENDS}),
        ("the end is told without another look", {"MESSAGES": 2, **ENDS}),
        ("who waits for what is taken is not rung", {"MESSAGES": 2, "ASK": 1, **ENDS}),
        ("nobody looks for the dead", {"MESSAGES": 1, "ASK": 1, "DIE": 1, **ENDS}),
        ("a nap begins without a look at the word", {"MESSAGES": 2, "BACK": 0, "NAPS": 1}),
        ("a nap is rung for once, like a sleep", {"MESSAGES": 2, "BACK": 0, "NAPS": 1}),
    ],
    "poll": [
        ("there is no barrier", {"MESSAGES": 1}),
        ("the poll does not look again", {"MESSAGES": 1}),
        ("a member that woke is not stale", {"MESSAGES": 1}),
        ("nobody rings the bell", {"MESSAGES": 1}),
        ("the bell is heard, and nobody looked for", {"MESSAGES": 1}),
    ],
    "permits": [
        ("who falls asleep has no fence", {"USERS": 2}),
        ("who frees looks before it frees", {"USERS": 2}),
        ("the sleeper does not look again", {"USERS": 2}),
        ("who leaves the line looks for nobody", {"USERS": 4, "LIMIT": 2}, LONG_ONLY),
        ("who says that nobody waits does not look again", {"USERS": 3}),
        ("who takes that back rings nobody", {"USERS": 3, "GIVES_UP": 1}),
        ("nobody looks for the dead", {"USERS": 2, "DEATHS": 1}),
        ("permits of the dead stay theirs", {"USERS": 2, "DEATHS": 1}),
        ("the dead stay in line", {"USERS": 3, "DEATHS": 1}),
        ("nobody looks at who is before it in line", {"USERS": 3, "DEATHS": 1, "PASSES": 0}),
        ("newcomers pass without end", {"USERS": 3, "ROUNDS": 2, "AHEAD": 0}),
        ("what was taken back is not looked at anew", {"USERS": 3, "GIVES_UP": 1}),
        ("who is served before the first in line lets them pass again", {"USERS": 3, "LIMIT": 2, "ROUNDS": 3, "AHEAD": 0}),
    ],
    "event": [
        ("who falls asleep has no fence", {"RAISES": 2}),
        ("who raises looks before it raises", {"RAISES": 2}),
        ("the sleeper does not look again", {"RAISES": 2}),
        ("who raises wakes before it clears the word", {"RAISES": 2}),
        ("the kernel does not look at the word", {"RAISES": 2}),
        ("one of those who sleep is woken", {"RAISES": 1, "WAITERS": 2, "TAKES": 1}),
        ("what is taken is read, then cleared", {"RAISES": 2}),
        ("what is raised is read, then added to", {"RAISES": 2}),
        ("sleeps do not end by themselves", {"RAISES": 2, "DEATHS": 1}),
    ],
}
# Where the steps of each model stand. It may name those of the others' code, too.
CODE = {
    "ring": ["shm/ring.h", "shm/ring.c"],
    "wake": ["transport/shm/wake.c", "transport/shm/shm.h", "transport/shm/shm.c", "core/waiting.c", "core/peer.c", "wait/sleeper.c"],
    "poll": ["core/poll_many.c"],
    "permits": ["sync/permits.h", "sync/permits.c", "sync/line.c"],
    "event": ["sync/event_futex.c"],
}


def steps(paths):
    """The names in brackets in the comments of these files."""
    found = set()
    for path in paths:
        with open(path, encoding="utf-8") as source:
            for comment in re.findall(r"/\*.*?\*/", source.read(), re.S):
                found |= set(re.findall(r"\[([a-z]+)\]", comment))
    return found


def check_steps(model):
    """What the model or its code names and the other does not."""
    code = {name: steps(f"{HERE}/../../src/{path}" for path in paths) for name, paths in CODE.items()}
    here = steps([f"{HERE}/{model}.pml"])
    return [f"the code has no step {step}" for step in sorted(here - set().union(*code.values()))] + \
           [f"the model has no step {step}" for step in sorted(code[model] - here)]


def verify(spin, compiler, model, defines, options=()):
    """(errors, states, what pan said). The quick models are small: setting up memory for more, and a compiler's second look, would
    take longer than the search itself. A search that needs more depth than it gets is an error."""
    sizes, level = (["-m3000000"], "-O1") if LONG_RUN else (["-m200000", "-w20"], "-O0")
    with tempfile.TemporaryDirectory() as directory:
        arguments = [f"-D{name}={value}" for name, value in defines.items()]
        made = subprocess.run([spin, "-a"] + arguments + [f"{HERE}/{model}.pml"], cwd=directory, capture_output=True, text=True)
        if made.returncode == 0:
            made = subprocess.run(compiler + [level, "-w", "-DSAFETY", "-DCOLLAPSE", *options, "-o", "pan", "pan.c"], cwd=directory,
                                  capture_output=True, text=True)
        if made.returncode != 0:
            return -1, 0, made.stdout + made.stderr
        said = subprocess.run(["./pan", *sizes], cwd=directory, capture_output=True, text=True).stdout
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

    for model, defines in LONG if LONG_RUN else QUICK:
        errors, states, said = verify(spin, compiler, model, defines)
        report(errors == 0 and states > 1000, f"{title(model, defines)}: {states} states", said)
    for model, broken in BROKEN.items():
        missing = check_steps(model)
        report(not missing, f"{model} and the code name the same steps", "\n".join(missing))
        for number, (name, defines, *when) in enumerate(broken, 1):
            if when and not LONG_RUN:
                continue
            # mostly a few states, found sooner in this order: compiling costs more than looking
            errors, _, said = verify(spin, compiler, model, dict(defines, MUTATE=number), ["-DREVERSE", "-O0"])
            report(errors > 0, f"{model} is found broken when {name}", said)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
