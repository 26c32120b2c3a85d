# SPDX-License-Identifier: MIT
"""The mutation score of the hostile tests: each check of checks.py is removed in turn, in a copy of the tree built with sanitizers, and
some hostile test must fail. usage: score.py SOURCE [--all | FILE...]

Without --all (the quick form) it only sees to it that every text of checks.py still stands in its file, once."""

import os
import shutil
import subprocess
import sys
import tempfile

import cases
from checks import CHECKS

TARGETS = ["src/test_shm_lie", "src/test_segment", "src/test_pool", "src/test_ring", "src/test_rendezvous"]
TARGETS += [f"tests/hostile/hostile_{name}" for name in ("mutate", "handshake", "pester", "race")]
# Quickest first: the first that fails is enough.
DETECTORS = [
    ["src/test_shm_lie"],
    ["src/test_segment"],
    ["src/test_pool"],
    ["src/test_rendezvous"],
    ["tests/hostile/hostile_mutate", "--seed", "1", "--messages", "200000"],
    ["tests/hostile/hostile_handshake", "--seed", "1", "--hellos", "1000"],
    ["src/test_ring"],
    ["tests/hostile/hostile_pester"],
    ["tests/hostile/hostile_race", "--seconds", "2"],
]


def read(path):
    """A text file's content."""
    with open(path, encoding="utf-8") as source:
        return source.read()


def write(path, text):
    """Replaces it."""
    with open(path, "w", encoding="utf-8") as target:
        target.write(text)


def texts_stand(source):
    """Every text of checks.py is found once."""
    wrong = [f"{path}: {check[0]!r} stands there {read(f'{source}/{path}').count(check[0])} times"
             for path, checks in CHECKS.items() for check in checks if read(f"{source}/{path}").count(check[0]) != 1]
    cases.same(wrong, [])


def build(tree):
    """None, or why it does not build."""
    done = subprocess.run(["ninja", "-j2", "-C", f"{tree}/build"] + TARGETS, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else "\n".join(line for line in done.stdout.splitlines() if "error" in line)


def detect(tree, scratch):
    """The first test that fails, or None."""
    environment = dict(os.environ, TMPDIR=scratch, ASAN_OPTIONS="detect_leaks=0", UBSAN_OPTIONS="halt_on_error=1")
    for command in DETECTORS:
        try:
            done = subprocess.run([f"{tree}/build/{command[0]}"] + command[1:], env=environment, stdin=subprocess.DEVNULL,
                                  capture_output=True, timeout=120, check=False)
        except subprocess.TimeoutExpired:
            return f"{command[0]} (hangs)"
        if done.returncode != 0:
            return command[0]
    return None


def try_one(tree, scratch, path, check):
    """Removes one check: (what detected it, or None)."""
    whole = read(f"{tree}/{path}")
    write(f"{tree}/{path}", whole.replace(check[0], check[1]))
    try:
        wrong = build(tree)
        if wrong:
            raise AssertionError(f"{path} without {check[0]!r} does not build: {wrong}")
        return detect(tree, scratch)
    finally:
        write(f"{tree}/{path}", whole)


def score(source, only):
    """All of them; fails if a check that matters can go unnoticed."""
    removed, found, survivors = 0, 0, []
    with tempfile.TemporaryDirectory(prefix="hawser-score-") as scratch:
        tree = f"{scratch}/tree"
        shutil.copytree(source, tree, ignore=shutil.ignore_patterns(".git", "build"))
        subprocess.run(["meson", "setup", f"{tree}/build", tree, "-Db_sanitize=address,undefined", "-Db_lundef=false"],
                       stdout=subprocess.DEVNULL, check=True)
        wrong = build(tree) or detect(tree, scratch)
        if wrong:
            raise AssertionError(f"with every check in its place: {wrong}")
        for path, checks in CHECKS.items():
            for check in checks if not only or path in only else []:
                removed += 1
                by = try_one(tree, scratch, path, check)
                found += by is not None
                print(f"#   {path}: {' '.join(check[0].split())} -> {check[1].strip() or 'nothing'}: {by or 'UNNOTICED'}", flush=True)
                if not by:
                    survivors.append((path, check))
    print(f"# {found} of {removed} checks are missed when they are gone")
    for path, check in survivors:
        print(f"# unnoticed: {path}: {' '.join(check[0].split())}: {check[2] if len(check) > 2 else 'NO REASON KNOWN'}")
    cases.same([check[0] for _, check in survivors if len(check) < 3], [], "checks that nothing misses")


if __name__ == "__main__":
    every = [("every check stands", texts_stand, sys.argv[1])]
    if cases.LONG or len(sys.argv) > 2:
        every.append(("mutation score", score, sys.argv[1], [name for name in sys.argv[2:] if name != "--all"]))
    cases.main(every)
