# SPDX-License-Identifier: MIT
"""hawser echo: many peers at once, those that die or do not read among them, until a signal. usage: echo.py HAWSER CLIENT"""

import os
import signal
import subprocess
import sys
import time

from cases import Scratch, finish, main, run, same, start

hawser, client = sys.argv[1:]
scratch = Scratch()
LOOPBACK = "tcp://127.0.0.1:0"
ADDRESSES = ["shm://e", "pipe://e", f"unix://{scratch.path}/socket", f"unix://@hawser-echo-{os.getpid()}", LOOPBACK, "mq://e",
             "sysv://e"]


def serve(address):
    """Starts the server: (process, the address to connect to)."""
    server = start(scratch, hawser, "echo", address)
    if address == LOOPBACK: # the kernel chooses the port, and the server tells it first of all
        address = server.stderr.readline().decode().split()[-1]
    return server, address


def stop(server, number=signal.SIGTERM):
    server.send_signal(number)
    same(finish(server), (0, b"", ""), "the server")


def stall(place):
    """A client that sends until nothing more fits, and holds on."""
    mute = start(scratch, client, place, "mute", stdin=subprocess.PIPE)
    line = mute.stdout.readline()
    if line != b"stalled\n":
        raise AssertionError(f"mute client: {line!r} {finish(mute)}")
    return mute


def crowd(address):
    """Ten talk while one does not read; then that one is killed, and others come."""
    server, place = serve(address)
    mute = stall(place)
    talkers = [start(scratch, client, place, "talk") for _ in range(10)]
    for talker in talkers:
        same(finish(talker), (0, b"", ""), "a client beside one that does not read")
    mute.kill()
    finish(mute)
    talkers = [start(scratch, client, place, mode) for mode in ("last", "talk", "last")]
    for talker in talkers:
        same(finish(talker), (0, b"", ""), "a client after one that died")
    stop(server)


def killed_in_the_middle(address):
    """Clients that are killed while they talk stop nobody."""
    server, place = serve(address)
    for _ in range(5):
        talker = start(scratch, client, place, "talk")
        talker.kill() # anywhere: before it connected, in the hello, in the middle
        finish(talker)
    same(run(scratch, client, place, "talk"), (0, b"", ""), "the client after them")
    stop(server)


def ends_with_stalled_peer(address):
    """A signal ends the server though a peer does not read; the peer notices."""
    server, place = serve(address)
    mute = stall(place)
    stop(server, signal.SIGINT)
    same(finish(mute)[0], 0, "the mute client")


def sleeps_beside_stalled_peer(address):
    """Room for a small message is none for the large one that the server owes."""
    server, place = serve(address)
    mute = stall(place)

    def cpu_seconds():
        with open(f"/proc/{server.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = cpu_seconds()
    time.sleep(0.4) # what is measured, not a wait for something
    used = cpu_seconds() - before
    assert used < 0.1, f"{used} s of CPU in 0.4 s"
    stop(server)
    finish(mute)


def name_taken():
    server, place = serve("shm://e")
    same(run(scratch, client, place, "last"), (0, b"", ""))
    code, _, errors = run(scratch, hawser, "echo", "shm://e")
    same(code, 1, errors)
    assert "shm://e" in errors, errors
    stop(server)


def nothing_left():
    same(scratch.left(), [], "names left behind")


main([(f"{function.__name__.replace('_', ' ')} {address.replace(scratch.path, '...')}", function, address)
      for address in ADDRESSES for function in (crowd, killed_in_the_middle, ends_with_stalled_peer, sleeps_beside_stalled_peer)]
     + [("a name that is taken", name_taken), ("nothing is left behind", nothing_left)])
