# SPDX-License-Identifier: MIT
"""hawser inspect: the live links of a listener, segments, and all that is neither. usage: inspect.py HAWSER PEER"""

import os
import random
import re
import struct
import subprocess
import sys
import time

from cases import PATIENCE, Scratch, finish, main, run, same, start

hawser, peer = sys.argv[1:]
scratch = Scratch()
ADDRESS = "shm://looked-at"
NOBODY = 65534
KIND = 1 << 56


def say(place, mode, word, scratch=scratch, **others):
    """A peer that has said that it is where it should be."""
    process = start(scratch, peer, place, mode, stdin=subprocess.PIPE, **others)
    line = process.stdout.readline()
    if line != word.encode() + b"\n":
        raise AssertionError(f"{mode}: {line!r} {finish(process)}")
    return process


def three(scratch=scratch, **others):
    """A listener, one that sent three messages of which one is taken, and one that the listener sleeps for."""
    listener = say(f"{ADDRESS}?wait=block", "listen", "listening", scratch, **others)
    sender = say(ADDRESS, "send", "sent", scratch, **others)
    idle = say(ADDRESS, "idle", "connected", scratch, **others)
    return listener, sender, idle


def inspect(*arguments, scratch=scratch, **others):
    return run(scratch, hawser, "inspect", *arguments, **others)


def rows(output):
    """{(pid from, pid to): the other columns} of the table."""
    found = {}
    for line in output.decode().split("\n"):
        match = re.match(r" +\d+~? +(\d+) (\S+) +(\d+) (\S+) +(\S.*)", line)
        if match:
            found[int(match[1]), int(match[3])] = match[5].split()
    return found


def until_asleep(listener, idle, **others):
    """The table once the listener took what it takes and sleeps. It says nothing of that: it is asked until it does."""
    deadline = time.monotonic() + PATIENCE
    while True:
        code, output, errors = inspect(ADDRESS, **others)
        same((code, errors), (0, ""), "inspect")
        table = rows(output)
        if "receiver" in table[listener.pid, idle.pid]:
            return output, table
        assert time.monotonic() < deadline, output


def end(*processes):
    """The peers go first; nobody must have noticed that somebody looked."""
    for process in reversed(processes):
        same(finish(process, b"" if process.stdin else None)[0], 0, f"{process.args}")


def live_links():
    listener, sender, idle = three()
    output, table = until_asleep(listener, idle)
    assert output.startswith(f"{ADDRESS}: listener {listener.pid} cli_inspect_pee, 2 links\n".encode()), output
    same(len(table), 4, "directions")
    same(table[sender.pid, listener.pid], ["68K", "64K", "0K", "0", "1", "0", "3", str(100 + (1 << 20)), "open", "-"],
         "the sender's")
    same(table[listener.pid, sender.pid], ["68K", "64K", "0K", "0", "0", "0", "0", "0", "open", "-"], "its way back")
    same(table[idle.pid, listener.pid], ["68K", "64K", "0K", "0", "0", "0", "0", "0", "open", "-"], "the idle one's")
    same(table[listener.pid, idle.pid][-2:], ["open", "receiver"], "who sleeps")
    code, output, errors = inspect("--records", ADDRESS)
    same((code, errors), (0, ""), "--records")
    kinds = re.findall(r"^ +\d+ +\d+  (data|chunk|pool|own|skip) +(\d+) +(\d+)", output.decode(), re.M)
    same(kinds, [("data", "100", "100"), ("data", "0", "0"), ("chunk", "16", "2097152"), ("pool", "24", "1048576")], "records")
    end(listener, idle, sender)


def one_that_lies():
    """A peer that wrote nonsense into its ring: its link is told as such, the others are shown."""
    listener, sender, idle = three()
    until_asleep(listener, idle)
    with open(f"/proc/{sender.pid}/maps", encoding="ascii") as maps:
        at = [int(line.split("-")[0], 16) for line in maps if "rw-s" in line and "/memfd:hawser (deleted)" in line]
    for address in at:
        with open(f"/proc/{sender.pid}/mem", "r+b", buffering=0) as memory:
            memory.seek(address + 4096 + 112)
            memory.write(struct.pack("=Q", 9 * KIND))
    code, output, errors = inspect(ADDRESS)
    same((code, errors), (1, f"hawser inspect: {ADDRESS}: a link's memory is not as the format has it, as shown\n"), "a lie")
    assert b"after these: a record of no kind there is" in output, output
    assert b"receiver" in output, output
    for process in (idle, sender):
        same(finish(process, b"")[0], 0, "the peers")
    finish(listener)


def nobody_listens():
    same(inspect("shm://nobody"), (1, b"", f'hawser inspect: nobody listens at "{scratch.path}/runtime/nobody"\n'), "no name")
    listener, sender, idle = three()
    until_asleep(listener, idle)
    listener.kill()
    finish(listener)
    path = f"{scratch.path}/runtime/looked-at"
    assert os.path.exists(path)
    same(inspect(ADDRESS), (1, b"", f'hawser inspect: nobody listens at "{path}"\n'), "the name of a killed one")
    os.unlink(path)
    end(sender, idle)


def others_beside():
    """Names in the same directory are bound under the same temporary name: only one's own links are shown."""
    listener, sender, idle = three()
    other = say("shm://beside", "listen", "listening")
    same(len(until_asleep(listener, idle)[1]), 4, "directions")
    code, output, _ = inspect("shm://beside")
    same((code, output), (0, f"shm://beside: listener {other.pid} cli_inspect_pee, 0 links\n".encode()), "no links")
    code, output, _ = inspect(f"shm://{scratch.path}/runtime/looked-at")
    same((code, len(rows(output))), (0, 4), "by its path")
    other.kill()
    finish(other)
    os.unlink(f"{scratch.path}/runtime/beside")
    end(listener, sender, idle)


def may_change_user():
    """Can this test become another user who can run the command?"""
    if os.geteuid() != 0:
        return False
    try:
        return subprocess.run([hawser, "--version"], user=NOBODY, stdout=subprocess.DEVNULL, check=False).returncode == 0
    except PermissionError:
        return False


def another_user():
    if not may_change_user():
        return
    listener, sender, idle = three()
    until_asleep(listener, idle)
    code, output, errors = inspect(ADDRESS, user=NOBODY)
    same((code, output), (1, b""), "behind a closed directory")
    assert "Permission denied" in errors, errors
    for directory in (scratch.path, f"{scratch.path}/runtime"):
        os.chmod(directory, 0o711)
    code, output, errors = inspect(ADDRESS, user=NOBODY)
    os.chmod(f"{scratch.path}/runtime", 0o700)
    same((code, output), (1, b""), "another user's")
    assert errors.startswith(f"hawser inspect: may not look into the process that listens at {ADDRESS}"), errors
    end(listener, sender, idle)


def no_root():
    """The listener's user needs no right more, unless the kernel is told to be strict."""
    strict = "/proc/sys/kernel/yama/ptrace_scope"
    if not may_change_user() or (os.path.exists(strict) and open(strict, encoding="ascii").read() != "0\n"):
        return
    own = Scratch()
    for directory in (own.path, f"{own.path}/runtime"):
        os.chown(directory, NOBODY, NOBODY)
    listener, sender, idle = three(own, user=NOBODY)
    same(len(until_asleep(listener, idle, scratch=own, user=NOBODY)[1]), 4, "directions")
    end(listener, sender, idle)


def segment(*records, ring=65536, **changes):
    """A segment of this size with these (kind, body), as a file may hold it."""
    data = bytearray(4096 + ring)
    fields = {"magic": ("I", 0, 0x4d535748), "version": ("I", 4, 2), "size": ("Q", 8, len(data)), "ring": ("Q", 16, ring),
              "quota": ("Q", 24, 1 << 30), "barrier": ("I", 32, 3), "entries": ("I", 36, 512), "taken": ("Q", 256, 5),
              "freed": ("Q", 128, 800), "released": ("Q", 384, 2), "receiver": ("I", 512, 7), "sender": ("I", 516, 2),
              "asker": ("I", 520, 0), "state": ("I", 524, 1)}
    for name, (form, at, value) in fields.items():
        struct.pack_into(f"={form}", data, at, changes.get(name, value))
    at = 4096
    for kind, body in records:
        body = body if isinstance(body, bytes) else b"\0" * body
        struct.pack_into("=Q", data, at, kind * KIND | len(body))
        data[at + 8:at + 8 + len(body)] = body
        at += 8 + (len(body) + 7) // 8 * 8
    return bytes(data)


def dump(data, *arguments):
    path = f"{scratch.path}/segment"
    with open(path, "wb") as file:
        file.write(data)
    return inspect(*arguments, path)


def a_file():
    pool = struct.pack("=QQIHH", 70000, 128, 3, 17, 2)
    code, output, errors = dump(segment((1, b"hello"), (2, struct.pack("=II", 4, 0) + b"xy"), (3, pool)))
    same((code, errors), (0, ""), "a good one")
    text = re.sub(" +", " ", output.decode())
    for line in ("seals - (no memfd)", "size 69632", "ring 65536", "pool quota 1073741824", "barrier registered issues",
                 "taken 5", "freed 800", "released 2", "receiver asleep 7", "sender asleep 2", "asleep receiver",
                 "state shut-down", " 0 0 data 5 5", " 16 16 data+fds 10 2 4 descriptors",
                 " 40 40 pool 24 70000 slot 17 at 128 of pool memfd 3 2 descriptors",
                 " 3 records; empty at offset 72"):
        assert f"{line}\n" in text, (line, text)


HOSTILE = [
    ("empty", b"", "shorter than the header"),
    ("short", segment()[:300], "shorter than the header"),
    ("magic", segment(magic=1), "magic"),
    ("version", segment(version=1), "its version is not 2"),
    ("no ring", segment(ring=4096)[:4096], "shorter than its header says"),
    ("cut", segment()[:69631], "shorter than its header says"),
    ("huge", segment(size=1 << 63), "shorter than its header says"),
    ("small", segment(size=4096), "its ring does not fit"),
    ("entries", segment(entries=0), "its release ring"),
    ("state", segment(state=3), "its state is none"),
    ("cursor", segment(freed=4), "no multiple of 8"),
    ("kind", segment((1, 8), (7, 8)), "offset 16 of the ring: a record of no kind there is"),
    ("no kind", segment((0, 8)), "offset 0 of the ring: a record of no kind there is"),
    ("crossing", segment((1, 60000), (1, 6000)), "offset 60008 of the ring: a record crosses the ring's end"),
    ("enormous", segment()[:4096] + struct.pack("=Q", KIND + (1 << 55)) + bytes(65528), "crosses"),
    ("skip first", segment((6, 0)), "a skip at the ring's beginning"),
    ("skip with a body", segment((1, 8), (6, 8)), "a record whose size is not its kind's"),
    ("short descriptor", segment((3, 16)), "a record whose size is not its kind's"),
    ("short prefix", segment((2, 4)), "a record whose size is not its kind's"),
    ("no descriptors", segment((2, 8)), "impossible number of descriptors"),
    ("17 descriptors", segment((2, struct.pack("=II", 17, 0))), "impossible number of descriptors"),
    ("slot", segment((3, struct.pack("=QQIHH", 1, 0, 0, 512, 0))), "out of range"),
    ("index", segment((3, struct.pack("=QQIHH", 1, 0, 16, 0, 0))), "out of range"),
    ("offset", segment((3, struct.pack("=QQIHH", 1, 8, 0, 0, 0))), "offset is impossible"),
    ("overflow", segment((3, struct.pack("=QQIHH", 1 << 63, 1 << 63, 0, 0, 0))), "offset is impossible"),
    ("own", segment((4, struct.pack("=QQIHH", 1, 64, 0, 0, 0))), "a memfd of its own"),
    ("chunk", segment((5, struct.pack("=QII", 1, 16, 0))), "index is out of range"),
] + [(f"ring {ring}", segment()[:16] + struct.pack("=Q", ring) + segment()[24:], "impossible size")
     for ring in (0, 2048, 12288, 1 << 31, (1 << 64) - 4096)]


def hostile_file(data, part):
    code, _, errors = dump(data)
    same(code, 1, errors)
    assert errors.count("\n") == 1 and part in errors, errors


def full_ring():
    """No empty word in all of the ring: the walk ends where it began."""
    code, output, errors = dump(segment((1, 32760), (1, 32760)))
    same(code, 1, errors)
    assert b"2 records; wrong" in output and "more records than fit" in errors, (output, errors)


def walk(data, position):
    path = f"{scratch.path}/segment"
    with open(path, "wb") as file:
        file.write(data)
    code, output, errors = run(scratch, peer, path, str(position))
    same((code, errors), (0, ""), "walk")
    return output.decode().split("\n")[:-1]


def around_the_end():
    """A reader's position grows for ever, and the records in flight may lie around the ring's end."""
    lap = 1 << 40
    data = bytearray(segment((1, 100), (1, 0), ring=4096))
    struct.pack_into("=Q", data, 4096 + 4000, KIND | 24)
    struct.pack_into("=Q", data, 4096 + 4032, 6 * KIND)
    same(walk(data, lap + 4000), [f"data 24 at {lap + 4000}", f"skip 0 at {lap + 4032}", f"data 100 at {lap + 4096}",
                                  f"data 0 at {lap + 4096 + 112}", f"empty at {lap + 4096 + 120}"], "by a skip")
    struct.pack_into("=Q", data, 4096 + 4032, KIND | 56)
    same(walk(data, lap + 4032)[:2], [f"data 56 at {lap + 4032}", f"data 100 at {lap + 4096}"], "to the very end")
    struct.pack_into("=Q", data, 4096 + 4032, KIND | 57)
    same(walk(data, lap + 4032), [f"a record crosses the ring's end at {lap + 4032}"], "beyond the end")
    big = segment((1, 40000), (1, 40000), (1, 8), ring=1 << 20)
    same(walk(big, 0), ["data 40000 at 0", "data 40000 at 40008", "data 8 at 80016", "empty at 80032"],
         "more than is read at once")


def mutated_files():
    """Whatever the bytes are: shown or refused, by one sentence, and it ends."""
    chance = random.Random(7)
    good = segment((1, b"hello"), (3, struct.pack("=QQIHH", 70000, 128, 3, 17, 2)), (2, struct.pack("=II", 4, 0)), (1, 100),
                   ring=4096)
    for _ in range(40):
        data = bytearray(good)
        for _ in range(chance.randrange(1, 5)):
            at = chance.choice((chance.randrange(400), 4096 + chance.randrange(200)))
            data[at] = chance.choice((0, 1, 0x80, 0xff, chance.randrange(256)))
        code, _, errors = dump(bytes(data))
        assert (code, errors.count("\n")) in ((0, 0), (1, 1)), (code, errors)


def no_segments():
    os.mkfifo(f"{scratch.path}/fifo")
    for path, part in ((f"{scratch.path}/nothing", "No such file"), (scratch.path, "no file with a size"),
                       (f"{scratch.path}/fifo", "no file with a size"), ("/dev/zero", "no file with a size"),
                       ("/proc/self/mem", "no segment")):
        code, output, errors = inspect(path)
        same((code, output), (1, b""), path)
        assert part in errors, errors


def sealed_memfd():
    memory = os.memfd_create("hawser", os.MFD_ALLOW_SEALING)
    os.write(memory, segment((1, 1)))
    import fcntl
    fcntl.fcntl(memory, 1033, 1 | 2 | 4 | 16) # F_ADD_SEALS
    code, output, errors = inspect(f"/proc/{os.getpid()}/fd/{memory}")
    os.close(memory)
    same((code, errors), (0, ""), "a memfd")
    assert b" seal shrink grow future-write\n" in output, output


def wrong_usage():
    for arguments in ((), ("shm://a", "b"), ("unix://@a",), ("nosuch://a",), ("shm://../a",), ("--nosuch", "shm://a"),
                      ("--lines", "shm://a"), (f"shm:///{'a' * 200}",)):
        code, output, errors = inspect(*arguments)
        same((code, output, errors.count("\n")), (2, b"", 1), f"{arguments} {errors}")


main([("live links", live_links), ("one that lies", one_that_lies), ("nobody listens", nobody_listens),
      ("others beside", others_beside), ("another user", another_user), ("no root", no_root),
      ("a file", a_file), ("a full ring", full_ring), ("around the end", around_the_end)]
     + [(f"a hostile file: {name}", hostile_file, data, part) for name, data, part in HOSTILE]
     + [("mutated files", mutated_files), ("no segments", no_segments), ("a sealed memfd", sealed_memfd),
        ("wrong usage", wrong_usage)])
