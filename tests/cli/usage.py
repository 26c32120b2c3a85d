# SPDX-License-Identifier: MIT
"""Wrong usage, help, and what the exit codes promise before any message moves. usage: usage.py HAWSER"""

import re
import sys

from cases import Scratch, main, run, same

hawser = sys.argv[1]
scratch = Scratch()
FIFO = f"fifo://{scratch.path}/fifo"
ADDRESSES = ["shm://a", "pipe://a", "mq://a", "sysv://a", f"unix://{scratch.path}/socket", "unix://@hawser-usage-nobody",
             "tcp://127.0.0.1:9", FIFO]

WRONG = [
    (),
    ("nosuch",),
    ("send",),
    ("recv",),
    ("echo",),
    ("inspect",),
    ("inspect", "--timeout", "1s", "shm://a"),
    ("send", "--nosuch", "shm://a"),
    ("recv", "--size", "1", "shm://a"),
    ("send", "--count", "1", "shm://a"),
    ("echo", "--lines", "shm://a"),
    ("send", "--size"),
    ("send", "--size", "12Q", "shm://a"),
    ("send", "--size", "0", "shm://a"),
    ("send", "--size", "-1", "shm://a"),
    ("send", "--size", "99999999999999999999", "shm://a"),
    ("recv", "--count", "x", "shm://a"),
    ("recv", "--timeout", "10", "shm://a"),
    ("recv", "--timeout", "-1s", "shm://a"),
    ("send", "shm://a", "/dev/null", "extra"),
    ("recv", "shm://a", "extra"),
    ("recv", "nosuch://a"),
    ("recv", "no address"),
    ("send", "shm://a?nosuch=1", "/dev/null"),
    ("echo", "shm://../a"),
    ("send", "--listen", FIFO),
    ("recv", "--connect", FIFO),
    ("echo", FIFO),
]

# What the sentence must name: the option, not its value alone, and what a value looks like.
NAMED = [
    (("send", "--count", "5", "shm://a"), "unknown option --count;"),
    (("echo", "--timeout", "5s", "shm://a"), "unknown option --timeout;"),
    (("send", "--nosuch", "shm://a"), "unknown option --nosuch;"),
    (("send", "shm://a", "-xy"), "unknown option -x;"),
    (("send", "--lines=5", "shm://a"), "this option takes no value: --lines=5;"),
    (("send", "--size", "1X", "shm://a"), "--size 1X: a size is"),
    (("recv", "--count", "x", "shm://a"), "--count x: a count is"),
    (("recv", "--timeout", "5", "shm://a"), "--timeout 5: a time is"),
    (("gc", "-xy"), "unknown option -x;"),
    (("event", "wait", "--value", "5", "a"), "hawser event wait: unknown option --value; see hawser event --help"),
    (("event", "wait", ""), "the name is missing"),
    (("signal", "send", "-xy"), "unknown option -x;"),
    (("cell", "set", "", "5"), "the name is missing"),
    (("region", "create", "--size", "5", "region://"), "the name is missing"),
    (("region", "read", "--offset", "1X", "a"), "--offset 1X: a size is a number and"),
    (("region", "list", "--size", "5"), "hawser region list: unknown option --size;"),
    (("recv", "quotes"), "as in shm://NAME"),
    (("recv", "SHM://quotes"), "in lower case"),
    (("recv", "shm://a?rign=1M"), "hawser_options(3) lists them"),
    (("recv", "tcp://127.0.0.1:0?users=nobody"), "tcp cannot tell who connects"),
    (("send", "tcp://127.0.0.1:1?peer=nobody"), "tcp cannot tell who listens"),
]


def wrong(arguments):
    code, output, errors = run(scratch, hawser, *arguments)
    same((code, output), (2, b""), errors)
    assert errors, "no sentence"
    assert not arguments or errors.startswith("hawser") and errors.count("\n") == 1, errors


def named(arguments, sentence):
    code, output, errors = run(scratch, hawser, *arguments)
    same((code, output), (1 if "tcp" in sentence else 2, b""), errors)
    assert sentence in errors and errors.count("\n") == 1, errors


def helped(arguments):
    code, output, errors = run(scratch, hawser, *arguments)
    same((code, errors), (0, ""))
    text = output.decode()
    assert text.startswith("usage: hawser") and "example" in text, text
    for line in text.split("\n"):
        assert len(line) <= 120, line


def version():
    code, output, errors = run(scratch, hawser, "--version")
    same((code, errors), (0, ""))
    assert re.fullmatch(rb"hawser \d+\.\d+\.\d+\n", output), output


def nobody(verb, address, timeout):
    code, output, errors = run(scratch, hawser, verb, "--timeout", timeout, address)
    same((code, output), (3, b""), errors)
    assert address in errors, errors
    same(errors.count("\n"), 1, f"lines of {errors!r}")


def no_file(path):
    code, output, errors = run(scratch, hawser, "send", "--timeout", "100ms", "shm://a", path)
    same((code, output), (1, b""), errors)
    assert path in errors, errors


def full_output(arguments):
    """What could not be printed is no success."""
    with open("/dev/full", "wb") as full:
        code, _, errors = run(scratch, hawser, *arguments, stdout=full)
    same((code, errors.count("standard output")), (1, 1), errors)


def closed_output(end):
    """A file that hawser opens must not get the place, and the output, of a closed standard output."""
    same(run(scratch, hawser, "region", "create", "--size", "8K", "settings")[0], 0)
    run(scratch, hawser, "region", "write", "settings", given=b"blue")
    command = f'"$0" region read settings {end}; echo $?; "$0" region read --offset 9K settings {end}; echo $?'
    same(run(scratch, "sh", "-c", f"exec 3>&1; {{ {command}; }} >&3", hawser)[1], b"1\n1\n")
    same(run(scratch, hawser, "region", "read", "--size", "4", "settings"), (0, b"blue", ""))
    same(run(scratch, hawser, "region", "remove", "settings")[0], 0)


def nothing_left():
    same(scratch.left(), [], "names left behind")


cases = [(f"wrong usage: hawser {' '.join(arguments)}", wrong, arguments) for arguments in WRONG]
cases += [(f"named: hawser {' '.join(arguments)}", named, arguments, sentence) for arguments, sentence in NAMED]
cases += [(f"help: {' '.join(arguments)}", helped, arguments)
          for arguments in (["--help"], ["send", "--help"], ["recv", "--help"], ["echo", "--help"], ["inspect", "--help"],
                            ["region", "--help"], ["gc", "--help"],
                            ["bench", "--help"])]
cases += [(f"{verb} {address} times out in {timeout}", nobody, verb, address, timeout)
          for address in ADDRESSES for verb in ("send", "recv") for timeout in ("30ms", "0")
          if not (verb == "recv" and address.startswith("tcp"))]
cases += [("version", version), ("a file that does not exist", no_file, f"{scratch.path}/nosuch"),
          *((f"full: hawser {' '.join(arguments)}", full_output, arguments)
            for arguments in (["--help"], ["region", "list"], ["sem", "--list"], ["gc", "--help"])),
          *((f"closed output: {end}", closed_output, end) for end in (">&-", ">&- 2>&-", "<&- >&- 2>&-")),
          ("nothing is left behind", nothing_left)]
main(cases)
