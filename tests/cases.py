# SPDX-License-Identifier: MIT
"""What the Python tests share: cases that print "ok NAME" or "not ok NAME", a scratch directory, processes with an end."""

import glob
import os
import re
import subprocess
import sys
import tempfile
import time
import traceback

LONG = "HAWSER_TEST_LONG" in os.environ
PATIENCE = 60  # seconds until a process that should have ended counts as hung


started = [] # every process of the case under way


class Scratch:
    """A directory of this test's own, also the runtime directory of what it starts."""

    def __init__(self):
        self.holder = tempfile.TemporaryDirectory(prefix="hawser-cases-")
        self.path = self.holder.name
        os.mkdir(f"{self.path}/runtime", 0o700)
        self.environment = dict(os.environ, HAWSER_RUNTIME_DIR=f"{self.path}/runtime", LC_ALL="C")

    def left(self):
        """The names left in the runtime directory; an empty directory in it is no name."""
        return sorted(name for _, _, names in os.walk(f"{self.path}/runtime") for name in names)


def start(scratch, *command, **others):
    """Starts a process, its outputs in pipes unless told otherwise."""
    others.setdefault("stdin", subprocess.DEVNULL)
    others.setdefault("stdout", subprocess.PIPE)
    others.setdefault("stderr", subprocess.PIPE)
    others.setdefault("bufsize", 0)
    process = subprocess.Popen([str(word) for word in command], env=scratch.environment, **others)
    started.append(process)
    return process


def end_all():
    """Ends what a failed case left running, so that the next begins without it."""
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()
    started.clear()


def finish(process, given=None):
    """(exit code, output, errors) of a process that must end by itself."""
    try:
        output, errors = process.communicate(given, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        output, errors = process.communicate()
        raise AssertionError(f"hangs: {process.args}: {errors!r}") from None
    return process.returncode, output, (errors or b"").decode(errors="replace")


def run(scratch, *command, given=None, **others):
    """Runs a process to its end: (exit code, output, errors)."""
    if given is not None:
        others["stdin"] = subprocess.PIPE
    return finish(start(scratch, *command, **others), given)


def until(condition, what):
    """Waits for what no event tells, a name that appears, say."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.005)


def same(actual, expected, what=""):
    """Fails, with both values cut to a readable length, unless they are equal."""
    if actual != expected:
        raise AssertionError(f"{what}: got {actual!r:.500}, not {expected!r:.500}")


def public_functions(source):
    """Every function that the headers declare."""
    headers = ""
    for path in sorted(glob.glob(f"{source}/include/hawser/*.h")):
        with open(path, encoding="utf-8") as header:
            headers += header.read()
    code = re.sub(r"/\*.*?\*/", "", headers, flags=re.S)
    return sorted(set(re.findall(r"HAWSER_PUBLIC[^;(]*?\b(hawser_\w+)\s*\(", code)))


def main(cases):
    """Runs (name, function, arguments...) one by one; exits with how it went."""
    failed = 0
    for name, function, *arguments in cases:
        try:
            function(*arguments)
            print(f"ok {name}", flush=True)
        except Exception as error:  # whatever a case raises is its failure
            failed += 1
            if not isinstance(error, AssertionError):
                traceback.print_exc(file=sys.stdout)
            print(f"#   {error}")
            print(f"not ok {name}", flush=True)
        end_all()
    sys.exit(1 if failed else 0)
