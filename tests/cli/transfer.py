# SPDX-License-Identifier: MIT
"""hawser send and hawser recv over every mechanism: what comes out is what went in, and each end tells how it ended.

usage: transfer.py HAWSER"""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys

from cases import LONG, PATIENCE, Scratch, finish, main, run, same, start

hawser = sys.argv[1]
scratch = Scratch()
TREE = "/usr/include" if LONG else "/usr/include/linux"
LOOPBACK = "tcp://127.0.0.1:0"
ADDRESSES = ["shm://t", "pipe://t", f"fifo://{scratch.path}/fifo", f"unix://{scratch.path}/socket",
             f"unix://@hawser-transfer-{os.getpid()}", LOOPBACK, "mq://t", "sysv://t"]
TOLD_ENDS = [address for address in ADDRESSES if not address.startswith("fifo")]


def listen(*command, **others):
    """Starts the listening end; (process, the address to connect to)."""
    process = start(scratch, hawser, *command, **others)
    address = command[-1] if "://" in command[-1] else command[-2]
    if address == LOOPBACK: # the kernel chooses the port, and the listening end tells it first of all
        line = process.stderr.readline().decode()
        address = line.split()[-1] if " listening on tcp://" in line else line
    return process, address


def transfer(address, data, send=(), recv=()):
    """Sends data from one process to another; what came out, once both said that all went well."""
    path = f"{scratch.path}/data"
    with open(path, "wb") as out:
        out.write(data)
    receiver, place = listen("recv", *recv, address)
    sender = start(scratch, hawser, "send", *send, place, path)
    code, output, errors = finish(receiver) # first: its output must be read for the sender to get on
    same((code, errors), (0, ""), "recv")
    same(finish(sender), (0, b"", ""), "send")
    return output


def tree(address):
    """The README's promise: tar | send, recv | tar."""
    receiver, place = listen("recv", address)
    lister = start(scratch, "tar", "t", stdin=receiver.stdout)
    tar = start(scratch, "tar", "c", "-C", "/", TREE[1:], stderr=None)
    sender = start(scratch, hawser, "send", place, stdin=tar.stdout)
    for process in (tar, receiver):
        process.stdout.close()
    same(finish(sender)[0::2], (0, ""), "send")
    listed = finish(lister)
    same((tar.wait(), receiver.wait(timeout=PATIENCE), listed[0]), (0, 0, 0), "tar c, recv, tar t")
    expected = subprocess.run(["sh", "-c", f"tar c -C / {TREE[1:]} | tar t"], check=True, capture_output=True).stdout
    same(listed[1], expected, "names in the archive")


def contents(address):
    """Many megabytes, byte for byte, in blocks of several sizes."""
    data = random.Random(7).randbytes((64 if LONG else 8) << 20) + b"tail"
    for size in ("64K", "1000", "1M"):
        part = data[: len(data) // 16] if size == "1000" else data
        output = transfer(address, part, send=("--size", size))
        same(hashlib.sha256(output).hexdigest(), hashlib.sha256(part).hexdigest(), f"--size {size}")


def lines(address):
    """Text lines, with empty ones, NUL bytes, long ones and no newline at the end."""
    chosen = random.Random(11)
    text = [b"", b"one", b"", b"nul\0byte", b"x" * 300000] + [b"%d" % chosen.getrandbits(200) for _ in range(2000)]
    for end in (b"\n", b""):
        output = transfer(address, b"\n".join(text) + end, send=["--lines"], recv=["--lines"])
        same(output, b"\n".join(text) + b"\n", "lines")


def blocks(address):
    same(transfer(address, b"abcdefgh", send=("--size", "3"), recv=["--lines"]), b"abc\ndef\ngh\n")


def nothing(address):
    same(transfer(address, b""), b"")


def file(address):
    path = f"{scratch.path}/file"
    with open(path, "wb") as out:
        out.write(b"from a file")
    receiver, place = listen("recv", address)
    same(run(scratch, hawser, "send", place, path)[0], 0)
    same(finish(receiver), (0, b"from a file", ""))
    receiver, place = listen("recv", address)
    code, _, errors = run(scratch, hawser, "send", place, "/")
    assert code == 1 and "standard" not in errors and "directory" in errors, errors
    same(finish(receiver)[1], b"")


def swapped(address):
    sender, place = listen("send", "--listen", address, stdin=subprocess.PIPE)
    receiver = start(scratch, hawser, "recv", "--connect", place)
    same(finish(sender, b"other way round")[0], 0, "send")
    same(finish(receiver), (0, b"other way round", ""), "recv")


def counted(address):
    """recv --count ends early; the sender is told that not all was taken."""
    receiver, place = listen("recv", "--lines", "--count", "2", address)
    sender = start(scratch, hawser, "send", "--lines", place, stdin=subprocess.PIPE)
    sender.stdin.write(b"one\ntwo\nthree\n")
    sender.stdin.flush()
    same(finish(receiver), (0, b"one\ntwo\n", ""), "recv")
    code, _, errors = finish(sender)
    same((code, errors != ""), (1, True), f"send: {errors}")


def sender_killed(address):
    """What a killed sender had sent is written; then recv says that it died."""
    receiver, place = listen("recv", "--lines", address)
    sender = start(scratch, hawser, "send", "--lines", place, stdin=subprocess.PIPE)
    sender.stdin.write(b"whole\n" * 5000) # more than the sender's stdio keeps to itself
    sender.stdin.flush()
    same(receiver.stdout.read(6), b"whole\n")
    sender.send_signal(signal.SIGKILL)
    sender.wait()
    code, output, errors = finish(receiver)
    same((code, errors != ""), (1, True), f"recv: {errors}")
    same(output.replace(b"whole\n", b""), b"", "rest of the output")


def receiver_killed(address):
    receiver, place = listen("recv", "--lines", address)
    sender = start(scratch, hawser, "send", "--lines", place, stdin=subprocess.PIPE)
    sender.stdin.write(b"whole\n" * 5000)
    sender.stdin.flush()
    same(receiver.stdout.read(6), b"whole\n")
    receiver.send_signal(signal.SIGKILL)
    finish(receiver)
    try:
        code, _, errors = finish(sender, b"more\n" * 100000)
    except BrokenPipeError: # it had ended before it was given more
        code, _, errors = finish(sender)
    same((code, errors != ""), (1, True), f"send: {errors}")


def output_fails():
    """A full disk, and a reader of standard output that left, are failures with a sentence."""
    for broken in ("/dev/full", "pipe"):
        descriptor = os.open(broken, os.O_WRONLY) if broken != "pipe" else closed_pipe()
        receiver = start(scratch, hawser, "recv", "shm://t", stdout=descriptor)
        os.close(descriptor)
        run(scratch, hawser, "send", "shm://t", given=b"lost")
        code, _, errors = finish(receiver)
        same(code, 1, errors)
        assert "standard output" in errors, errors


def closed_pipe():
    """The writing end of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def line_by_line():
    """A plain tool writes to a FIFO, and recv gives its lines."""
    address = f"fifo://{scratch.path}/plain?framing=line"
    receiver = start(scratch, hawser, "recv", "--lines", "--count", "2", address)
    sender = start(scratch, hawser, "send", "--lines", address, stdin=subprocess.PIPE)
    same(finish(sender, b"one\ntwo\n")[0], 0)
    same(finish(receiver), (0, b"one\ntwo\n", ""))


def accept_timeout():
    code, output, _ = run(scratch, hawser, "recv", "--timeout", "30ms", LOOPBACK)
    same((code, output), (3, b""))


def nothing_left():
    same(scratch.left(), [], "names left behind")


cases = [(f"{function.__name__.replace('_', ' ')} {address.replace(scratch.path, '...')}", function, address)
         for function in (nothing, blocks, file, lines, contents, tree) for address in ADDRESSES]
cases += [(f"{function.__name__.replace('_', ' ')} {address.replace(scratch.path, '...')}", function, address)
          for function in (swapped, counted, sender_killed, receiver_killed) for address in TOLD_ENDS]
cases += [("output fails", output_fails), ("a FIFO with lines", line_by_line), ("accept times out", accept_timeout),
          ("nothing is left behind", nothing_left)]
if not shutil.which("tar"):
    cases = [case for case in cases if case[1] is not tree]
main(cases)
