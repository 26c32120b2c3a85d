# SPDX-License-Identifier: MIT
"""hawser cell set, get, watch and remove. usage: cell.py HAWSER"""

import os
import signal
import subprocess
import sys
import time

from cases import Scratch, finish, main, run, same, start, until

hawser = sys.argv[1]
scratch = Scratch()


def cell(*words, **others):
    return run(scratch, hawser, "cell", *words, **others)


def ok(result, output=b""):
    same(result, (0, output, ""), "exit code, output, errors")


def values():
    """One value stays when its command has ended; an address is a name too."""
    ok(cell("set", "a", "21.5"))
    ok(cell("get", "a"), b"21.5")
    ok(cell("get", "--lines", "cell://a"), b"21.5\n")
    ok(cell("set", "cell://a", "--", "-1"))
    ok(cell("get", "a"), b"-1")
    ok(cell("set", "a", given=bytes(range(256))))
    ok(cell("get", "a"), bytes(range(256)))
    ok(cell("set", "a", ""))
    ok(cell("get", "--lines", "a"), b"\n")
    ok(cell("remove", "a"))
    same(scratch.left(), [], "names")


def sizes():
    """A cell has 4096 bytes, what its first value needs, or what --size says; and no more."""
    large = b"x" * 100000
    ok(cell("set", "a", given=large))
    ok(cell("get", "a"), large)
    code, _, errors = cell("set", "a", given=large + b"y")
    same((code, "100001 bytes, the cell room for 100000" in errors), (1, True), errors)
    ok(cell("remove", "a"))
    code, _, errors = cell("set", "--size", "4", "a", "12345")
    same((code, "--size says 4" in errors), (2, True), errors)
    code, _, errors = cell("set", "cell://a?size=4", "12345")
    same((code, "5 bytes, the cell room for 4" in errors), (1, True), errors)
    same(scratch.left(), [], "names after a value that had no room")
    ok(cell("set", "--size", "4", "a", "1234"))
    same(cell("set", "a", "12345")[0], 1)
    ok(cell("get", "a"), b"1234")
    code, _, errors = cell("set", "--size", "8", "a", "1234")
    same((code, "up to 4 bytes, not 8" in errors), (2, True), errors)
    ok(cell("remove", "a"))


def nothing_there():
    code, _, errors = cell("get", "--timeout", "0", "a")
    same((code, "no such cell" in errors), (3, True), errors)
    code, _, errors = cell("get", "--timeout", "10ms", "a")
    same((code, "within the timeout" in errors), (3, True), errors)
    code, _, errors = cell("remove", "a")
    same((code, errors != ""), (1, True), errors)
    ok(cell("set", "--size", "4", "--lines", "a?permanent=yes", given=b""))
    code, _, errors = cell("get", "--timeout", "10ms", "a")
    same((code, "a: the cell is there, but no value" in errors), (3, True), errors)
    ok(cell("remove", "a"))
    ok(cell("set", "--size", "4", "a?permanent=yes", "1"))
    ok(cell("remove", "a"))


def stream():
    """Lines in turn: a watcher that keeps up sees each; the cell goes with who had it open."""
    writer = start(scratch, hawser, "cell", "set", "--lines", "--size", "64", "a", stdin=subprocess.PIPE)
    watcher = start(scratch, hawser, "cell", "watch", "--lines", "--count", "3", "a")
    for line in (b"one\n", b"two\n", b"three\n"):
        writer.stdin.write(line)
        same(watcher.stdout.readline(), line, "watched")
    same(finish(watcher)[0], 0, "watcher")
    other = start(scratch, hawser, "cell", "set", "a", "x")
    code, _, errors = finish(other)
    same((code, f"process {writer.pid} writes it" in errors), (1, True), errors)
    writer.stdin.close()
    same(writer.wait(), 0, "writer")
    same(scratch.left(), [], "names")


def ended_by_signals():
    """Both clean up; the reader outlives its writer."""
    for number in (signal.SIGINT, signal.SIGTERM):
        writer = start(scratch, hawser, "cell", "set", "--lines", "a", stdin=subprocess.PIPE)
        watcher = start(scratch, hawser, "cell", "watch", "--lines", "a")
        writer.stdin.write(b"one\n")
        same(watcher.stdout.readline(), b"one\n", "watched")
        writer.send_signal(number)
        same(finish(writer)[0], 0, "writer")
        ok(cell("get", "a"), b"one")
        watcher.send_signal(number)
        same(finish(watcher)[0], 0, "watcher")
        same(scratch.left(), [], "names")


def ended_before_there_is_one():
    """Waiting for the cell itself ends by a signal, too; who gets a value that never came has none to tell of."""
    for number in (signal.SIGINT, signal.SIGTERM):
        watcher = start(scratch, hawser, "cell", "watch", "--timeout", "forever", "a")
        until(lambda: caught(watcher.pid) & 1 << number - 1, "a handler of the signal")
        watcher.send_signal(number)
        same(finish(watcher), (0, b"", ""), "watcher")
        getter = start(scratch, hawser, "cell", "get", "--timeout", "forever", "a")
        getter.send_signal(number)
        same(finish(getter)[0], -number, "getter")


def caught(pid):
    """The mask of the signals that a process has handlers for."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return int(next(line for line in status if line.startswith("SigCgt")).split()[1], 16)


def killed_writer():
    """The value stays, and the next writer goes on."""
    writer = start(scratch, hawser, "cell", "set", "--lines", "a", stdin=subprocess.PIPE)
    watcher = start(scratch, hawser, "cell", "watch", "--lines", "--count", "2", "a")
    writer.stdin.write(b"one\n")
    same(watcher.stdout.readline(), b"one\n", "watched")
    writer.kill()
    writer.wait()
    ok(cell("get", "a"), b"one")
    ok(cell("set", "a", "two"))
    same(finish(watcher)[:2], (0, b"two\n"), "watcher")
    deadline = time.monotonic() + 10
    while scratch.left() and time.monotonic() < deadline:
        os.sched_yield()
    same(scratch.left(), [], "names")


def wrong_usage():
    for words in ((), ("nosuch",), ("get",), ("get", "a", "b"), ("set", "--count", "1", "a"), ("watch", "--size", "1", "a"),
                  ("get", "a/b"), ("get", "shm://a"), ("get", "a?nosuch=1")):
        code, output, errors = cell(*words)
        same((code, output, errors.startswith("hawser cell")), (2, b"", True), f"{words}: {errors}")
    for words in (("--help",), ("set", "--help")):
        code, output, errors = cell(*words)
        same((code, b"example:" in output, errors), (0, True, ""), f"{words}")


main([(case.__name__.replace("_", " "), case)
      for case in (values, sizes, nothing_there, stream, ended_by_signals, ended_before_there_is_one, killed_writer, wrong_usage)])
