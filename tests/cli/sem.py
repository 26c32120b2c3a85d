# SPDX-License-Identifier: MIT
"""hawser sem: at most so many at once, and what the exit status says. usage: sem.py HAWSER"""

import os
import signal
import sys
import time

from cases import Scratch, finish, main, run, same, start

hawser = sys.argv[1]
scratch = Scratch()


def sem(*arguments):
    return run(scratch, hawser, "sem", *arguments)


def held(name, *options, command=("cat",)):
    """A process that holds permits until its standard input ends; it does so when this returns."""
    process = start(scratch, hawser, "sem", name, *options, "--", "sh", "-c", 'echo got; exec "$@"', "sh", *command, stdin=-1)
    same(process.stdout.readline(), b"got\n", "its first line")
    return process


def ended(process):
    """The permit is free as soon as the holder has gone."""
    process.stdin.close()
    process.stdin = None
    same(finish(process)[0], 0)


def exit_codes():
    same(sem("a", "--", "true"), (0, b"", ""))
    same(sem("a", "--", "sh", "-c", "exit 7")[0], 7)
    same(sem("a", "--", "sh", "-c", "kill -TERM $$")[0], 128 + signal.SIGTERM)
    code, _, errors = sem("a", "--", "/nonexistent")
    same((code, errors), (127, "hawser sem: cannot run /nonexistent: No such file or directory\n"))
    same(sem("a", "--", "/etc/passwd")[0], 126)
    same(sem("a", "--", "sh", "-c", "echo $1; cat", "sh", "--")[1], b"--\n")
    same(scratch.left(), [])


def no_more_than_permits():
    first, second = held("two", "--permits", "2"), held("two", "--permits=2")
    code, _, errors = sem("--no-wait", "two", "--permits", "2", "--", "true")
    same((code, errors), (3, "hawser sem: two: the permits are not free, or others wait for them\n"))
    same(sem("two", "--permits", "2", "--timeout", "20ms", "--", "true")[0], 3)
    waiting = start(scratch, hawser, "sem", "two", "--permits", "2", "--", "echo", "mine")
    same(waiting.poll(), None)
    ended(first)
    same(finish(waiting)[:2], (0, b"mine\n"))
    same(sem("two", "--permits", "2", "--take", "2", "--no-wait", "--", "true")[0], 3)
    ended(second)
    same(scratch.left(), [])


def other_number():
    holder = held("three", "--permits", "3")
    code, _, errors = sem("three", "--permits", "4", "--", "true")
    same((code, errors), (2, "hawser sem: open sem://three: the semaphore was made with 3 permits, not 4\n"))
    ended(holder)


def killed_holder():
    """kill -9 of the holder frees its permit, and ends its command, which would go on without one."""
    holder = held("killed", command=("sh", "-c", "echo $$; exec sleep 1000"))
    command = int(holder.stdout.readline())
    waiting = start(scratch, hawser, "sem", "killed", "--", "echo", "mine")
    began = time.monotonic()
    holder.kill()
    same(finish(waiting)[:2], (0, b"mine\n"))
    assert time.monotonic() - began < 2, "waited too long"
    holder.wait()
    deadline = time.monotonic() + 10
    while os.path.exists(f"/proc/{command}") and open(f"/proc/{command}/stat").read().split()[2] != "Z":
        assert time.monotonic() < deadline, "the command lives on"
    same(sem("killed", "--no-wait", "--", "true")[0], 0)
    same(scratch.left(), [])


def told_of_death():
    """Who has the permit of a killed one next is told by its environment, the one after that is not; nor is what is run by one who was."""
    question = ("--permits", "2", "--", "sh", "-c", "echo ${HAWSER_OWNER_DIED-no}")
    holder, other = held("told", "--permits", "2"), held("told", "--permits", "2")
    holder.kill()
    holder.wait()
    same(sem("told", *question)[:2], (0, b"1\n"))
    same(sem("told", *question)[:2], (0, b"no\n"))
    same(run(scratch, "env", "HAWSER_OWNER_DIED=1", hawser, "sem", "told", *question)[:2], (0, b"no\n"))
    ended(other)
    same(scratch.left(), [])


def left_by_the_killed():
    holder = held("left")
    holder.kill()
    holder.wait()
    same(scratch.left(), ["left"])
    same(run(scratch, hawser, "gc")[0], 0)
    same(scratch.left(), [])


def signals():
    """What is sent to the holder reaches the command."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)  # a shell cannot trap what it was started to ignore: by nohup, or in the background
        holder = held("signals", command=("sh", "-c", f"trap 'echo heard; exit 9' {int(number)}; echo ready; while :; do sleep 0.01; done"))
        same(holder.stdout.readline(), b"ready\n")
        holder.send_signal(number)
        code, output, _ = finish(holder)
        same((code, output), (9, b"heard\n"), number)
    same(scratch.left(), [])


def listed():
    header = b"SEMAPHORE                         PERMITS     FREE  WAITING  HOLDERS\n"
    same(sem("--list"), (0, header, ""))
    one, two = held("b", "--permits", "5", "--take", "3"), held("a")
    code, output, errors = sem("--list")
    same((code, errors), (0, ""))
    lines = [line.split() for line in output.decode().split("\n")[1:-1]]
    same(lines, [["sem://a", "1", "0", "0", f"{two.pid}:1"], ["sem://b", "5", "2", "0", f"{one.pid}:3"]])
    ended(one)
    ended(two)


def paths():
    path = f"{scratch.path}/semaphore"
    holder = held(path)
    assert os.path.exists(path)
    same(sem(f"sem://{path}", "--no-wait", "--", "true")[0], 3)
    ended(holder)
    assert not os.path.exists(path)


WRONG = [
    ((), "the semaphore's name is missing"),
    (("a",), "the command is missing"),
    (("a", "--"), "the command is missing"),
    (("a", "true"), "a command stands after --, unlike true"),
    (("a", "--permits", "0", "--", "true"), "--permits 0: a count is a number from 1 to 65536"),
    (("a", "--permits", "65537", "--", "true"), "--permits 65537: a count is"),
    (("a", "--permits"), "a value is missing after --permits"),
    (("a", "--take", "2", "--", "true"), "--take is more than --permits"),
    (("a", "--timeout", "5", "--", "true"), "a time is a number and"),
    (("a", "--nosuch", "--", "true"), "unknown option --nosuch"),
    (("a", "-xy", "--", "true"), "unknown option -x;"),
    (("", "--", "true"), "the name is missing"), # one without a name would let any number run at once
    (("sem://?wait=block", "--", "true"), "the name is missing"),
    (("--list", "a"), "--list takes no name"),
    (("a/b", "--", "true"), "a/b"),
    (("shm://a", "--", "true"), "sem://NAME"),
]


def wrong(arguments, sentence):
    code, output, errors = sem(*arguments)
    same((code, output), (2, b""), errors)
    assert sentence in errors and errors.count("\n") == 1, errors


def helped():
    code, output, errors = sem("--help")
    same((code, errors), (0, ""))
    assert output.startswith(b"usage: hawser sem") and b"example" in output
    assert all(len(line) <= 120 for line in output.split(b"\n"))


main([
    ("exit codes", exit_codes),
    ("no more than permits", no_more_than_permits),
    ("another number of permits", other_number),
    ("killed holder", killed_holder),
    ("told of a death", told_of_death),
    ("left by the killed", left_by_the_killed),
    ("signals", signals),
    ("list", listed),
    ("paths", paths),
    ("help", helped),
    *((f"wrong usage: {' '.join(arguments)}", wrong, arguments, sentence) for arguments, sentence in WRONG),
])
