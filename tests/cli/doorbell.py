# SPDX-License-Identifier: MIT
"""hawser event and hawser signal between processes. usage: doorbell.py HAWSER"""

import functools
import signal
import sys

from cases import Scratch, finish, main, run, same, start, until

hawser = sys.argv[1]
scratch = Scratch()


def until_listening(name):
    until(lambda: name in scratch.left(), f"{name} does not appear")


def raised(address):
    waiter = start(scratch, hawser, "event", "wait", "--count", 3, "--timeout", "30s", address)
    until_listening("bell")
    for value in ("7", "18446744073709551614"):
        same(run(scratch, hawser, "event", "raise", "--value", value, address)[0], 0)
    same(run(scratch, hawser, "event", "raise", address), (0, b"", ""))
    code, output, errors = finish(waiter)
    same((code, output, errors), (0, b"7\n18446744073709551614\n1\n", ""))
    same(scratch.left(), [])


def nobody(verb, address):
    code, output, errors = run(scratch, hawser, "event", verb, "--timeout", "30ms", address)
    same((code, output), (3, b""), errors)
    assert errors.startswith(f"hawser event {verb}: ") and errors.count("\n") == 1, errors
    assert verb == "wait" or "while somebody waits" in errors, errors
    same(scratch.left(), [])


def signalled(name, number, value, said):
    block = functools.partial(signal.pthread_sigmask, signal.SIG_BLOCK, [number])  # else it could come before it is waited for
    waiter = start(scratch, hawser, "signal", "wait", "--timeout", "30s", "SIGUSR2", name, preexec_fn=block)
    sender = start(scratch, hawser, "signal", "send", "--value", value, waiter.pid, name)
    same(finish(sender), (0, b"", ""))
    code, output, errors = finish(waiter)
    same((code, errors), (0, ""))
    words = output.decode().split()
    same(words[1:3], [str(value), str(sender.pid)])
    assert words[0].startswith(said), words


def signal_times_out():
    code, output, errors = run(scratch, hawser, "signal", "wait", "--timeout", "30ms", "SIGRTMIN+5")
    same((code, output), (3, b""), errors)


def gone():
    process = start(scratch, "true")
    finish(process)
    code, _, errors = run(scratch, hawser, "signal", "send", process.pid, "SIGTERM")
    same(code, 1, errors)
    assert str(process.pid) in errors, errors


def wrong(arguments, sentence):
    code, output, errors = run(scratch, hawser, *arguments)
    same((code, output), (2, b""), errors)
    assert sentence in errors and errors.startswith("hawser") and errors.count("\n") == 1, errors


def helped(verb):
    for arguments in ((verb, "--help"), (verb, "wait", "--help")):
        code, output, errors = run(scratch, hawser, *arguments)
        same((code, errors), (0, ""))
        text = output.decode()
        assert text.startswith(f"usage: hawser {verb}") and "example" in text, text
        for line in text.split("\n"):
            assert len(line) <= 120, line


WRONG = [
    (("event",), "expected raise or wait"),
    (("event", "ring", "event://a"), "not ring"),
    (("event", "raise"), "the address is missing"),
    (("event", "wait", "event://a", "b"), "one argument too many: b"),
    (("event", "raise", "--count", "1", "event://a"), "unknown option --count"),
    (("event", "raise", "--count=1", "event://a"), "unknown option --count"),
    (("event", "wait", "--nosuch", "event://a"), "unknown option --nosuch"),
    (("event", "wait", "--timeout"), "a value is missing after --timeout"),
    (("event", "wait", "--timeout", "5", "event://a"), "5: a time is"),
    (("event", "raise", "--value", "x", "event://a"), "x: a count is"),
    (("event", "raise", "--value", "0", "event://a"), "a raise is by 1 to 2^64-2"),
    (("event", "raise", "--value", "18446744073709551615", "event://a"), "a raise is by 1 to 2^64-2"),
    (("event", "wait", "--count", "0", "event://a"), "0: a count is"),
    (("event", "wait", "shm://a"), "the mechanisms are event"),
    (("event", "wait", "signal://a"), "expected signal=SIGRTMIN+3"),
    (("event", "raise", "event://"), "the name is missing"),
    (("signal", "wait"), "expected one SIGNAL or more"),
    (("signal", "wait", "NOTHING"), "is no signal"),
    (("signal", "wait", "KILL"), "cannot be received"),
    (("signal", "send", "1"), "expected PID and SIGNAL"),
    (("signal", "send", "x", "TERM"), "x: a process is its pid"),
    (("signal", "send", "0", "TERM"), "0: a process is its pid"),
    (("signal", "send", "--timeout", "1s", "1", "TERM"), "unknown option --timeout"),
]

cases = [(f"{address} is raised", raised, address)
         for address in ("bell", "event://bell", "eventfd://bell", "signal://bell?signal=SIGRTMIN+3")]
cases += [(f"{verb} {address} times out", nobody, verb, address)
          for verb in ("raise", "wait") for address in ("event://bell", "signal://bell?signal=SIGRTMIN+3")]
cases += [(f"{name} with {value}", signalled, name, number, value, said)
          for name, number, value, said in (("SIGRTMAX-2", 62, 42, "SIGRTMIN+2"), ("USR1", 10, 2**64 - 1, "SIGUSR1"), ("64", 64, 0, "SIGRTMAX"))]
cases += [("no signal comes", signal_times_out), ("the process is gone", gone)]
cases += [(f"wrong usage: hawser {' '.join(arguments)}", wrong, arguments, sentence) for arguments, sentence in WRONG]
cases += [(f"help: {verb}", helped, verb) for verb in ("event", "signal")]
main(cases)
