# SPDX-License-Identifier: MIT
"""hawser inspect: the live links of a listener, segments, and all that is neither. usage: inspect.py HAWSER PEER"""

import os
import random
import re
import signal
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


FILL = 100 # messages of 1000 bytes: 64 of them, 64512 bytes, and the record of a larger ring lie in the first ring
FROM = 64512 + 24 # the position from which on records lie in the larger one


def grown(listens):
    """(who sends, who receives): one that sent more than fits into its first ring, to one that took nothing of it."""
    receiver = say(f"{ADDRESS}?wait=block", "drain-listening", "listening") if not listens else None
    if listens:
        sender = start(scratch, peer, ADDRESS, "fill-listening", stdin=subprocess.PIPE)
        same(sender.stdout.readline(), b"listening\n", "the sender")
        receiver = say(ADDRESS, "drain", "connected")
    else:
        sender = start(scratch, peer, ADDRESS, "fill", stdin=subprocess.PIPE)
        same(receiver.stdout.readline(), b"connected\n", "the receiver")
    same(sender.stdout.readline(), b"sent\n", "the sender")
    return sender, receiver


def tell(receiver, orders):
    for order in orders:
        receiver.stdin.write(order.encode())
        same(receiver.stdout.readline(), b"done\n", order)


def grown_row(sender, receiver):
    code, output, errors = inspect(ADDRESS)
    same((code, errors), (0, ""), output)
    return rows(output)[sender.pid, receiver.pid]


def a_row(freed, taken, messages):
    return ["68K", "1024K", "0K", str(freed), str(taken), "0", str(messages), str(1000 * messages), "open", "-"]


def grown_ring(listens):
    """Before its reader came to the larger ring, when it did, and when it holds on to a message of the first one."""
    sender, receiver = grown(listens)
    same(grown_row(sender, receiver), a_row(0, 0, FILL), "before")
    code, output, errors = inspect("--records", ADDRESS)
    same((code, errors), (0, ""), "--records")
    found = re.findall(r"^ +(\d+) +(\d+)  (\S+) +(\d+) +(\d+)", output.decode(), re.M)
    same(found[63:67], [("63504", "63504", "data", "1000", "1000"), ("64512", "64512", "ring", "16", str(1 << 20)),
                        (str(FROM), str(FROM), "data", "1000", "1000"),
                        (str(FROM + 1008), str(FROM + 1008), "data", "1000", "1000")], "records")
    same(len(found), FILL + 1, "records")
    tell(receiver, "ttt")
    row = grown_row(sender, receiver)
    same(row[4:8], ["30", "0", row[6], row[6] + "000"], "within the first")
    assert 70 <= int(row[6]) <= FILL, row
    tell(receiver, "kttttt")
    row = grown_row(sender, receiver)
    same((row[1], row[3:8]), ("1024K", [str(30 * 1008), "81", "0", "70", "70000"]), "a message of the first held")
    end(receiver, sender)


def grown_and_crossed(listens):
    sender, receiver = grown(listens)
    tell(receiver, "tttttttt")
    row = grown_row(sender, receiver)
    same((row[1], row[4], row[5], row[7]), ("1024K", "80", "0", row[6] + "000"), "behind")
    same(FROM + (36 - int(row[6])) * 1008, int(row[3]), "its cursor")
    same(int(row[6]) <= 36, True, "in flight")
    tell(receiver, "tt")
    row = grown_row(sender, receiver)
    same(row[1], "1024K", "all of it taken")
    end(receiver, sender)


def grown_maps():
    """The listener maps its peer's larger ring only when it came to its record; looking needs nothing of the peer."""
    sender, receiver = grown(False)
    ring = Segment(sender, "hawser-ring")
    same(is_mapped(receiver, ring.inode), False, "before")
    same(grown_row(sender, receiver), a_row(0, 0, FILL), "by the peer's memory")
    tell(receiver, "ttttttt")
    same(is_mapped(receiver, ring.inode), True, "behind")
    sender.send_signal(signal.SIGSTOP)
    row = grown_row(sender, receiver)
    sender.send_signal(signal.SIGCONT)
    same(row[4], "70", "taken")
    end(receiver, sender)


def is_mapped(process, inode):
    with open(f"/proc/{process.pid}/maps", encoding="ascii") as maps:
        return any("/memfd:hawser-ring" in line and int(line.split()[4]) == inode for line in maps)


class Segment:
    """The segment of a process with one link, to write lies into, in words."""

    def __init__(self, process, name="hawser"):
        with open(f"/proc/{process.pid}/maps", encoding="ascii") as maps:
            found = [line.split() for line in maps if "rw-s" in line and f"/memfd:{name} (deleted)" in line]
        same(len(found), 1, f"maps of {name}")
        self.at, self.inode = int(found[0][0].split("-")[0], 16), int(found[0][4])
        self.memory = f"/proc/{process.pid}/mem"

    def read(self, offset):
        with open(self.memory, "rb", buffering=0) as memory:
            memory.seek(self.at + offset)
            return struct.unpack("=Q", memory.read(8))[0]

    def write(self, offset, value):
        with open(self.memory, "r+b", buffering=0) as memory:
            memory.seek(self.at + offset)
            memory.write(struct.pack("=Q", value))


SIZE, BEGIN, INODE = 40, 48, 56 # the words of a larger ring
DENIED = "a larger ring's record that the header's words deny: "
NONE_MAPPED = "its larger ring is none that its process maps"
IMPOSSIBLE = "no segment: its larger ring has an impossible size"
POSITION = "no segment: its larger ring begins at an impossible position"
BEFORE_LIES = [(SIZE, 0, DENIED + "its size"), (SIZE, 3 << 18, IMPOSSIBLE), (SIZE, 1 << 16, IMPOSSIBLE), (SIZE, 1 << 12, IMPOSSIBLE),
               (SIZE, 1 << 31, IMPOSSIBLE), (SIZE, 1 << 63, IMPOSSIBLE), (SIZE, 1 << 19, DENIED + "its size"),
               (SIZE, 1 << 30, DENIED + "its size"), (BEGIN, 0, POSITION), (BEGIN, 16, POSITION),
               (BEGIN, FROM + 4, POSITION), (BEGIN, FROM + 8, DENIED + "it begins"), (BEGIN, FROM + (1 << 16), DENIED + "it begins"),
               (BEGIN, (1 << 64) - 8, DENIED + "it begins"), (INODE, 0, NONE_MAPPED), (INODE, (1 << 64) - 1, NONE_MAPPED)]
BEHIND_LIES = [(SIZE, 1 << 30, "its larger ring is smaller than its header says"), (INODE, 1, NONE_MAPPED)]


def told(part, code=1):
    got, output, _ = inspect("--records", ADDRESS)
    same(got, code, output)
    assert f"{part}".encode() in output, (part, output[-300:])


def lies_about_a_ring():
    """Words of which nothing is believed: each is told, and with the truth back all is shown."""
    sender, receiver = grown(False)
    segment_of_it, ring = Segment(sender), Segment(sender, "hawser-ring")
    lies = BEFORE_LIES + [(INODE, segment_of_it.inode, NONE_MAPPED)]
    for orders, lies in (("", lies), ("tttttttt", BEHIND_LIES)):
        tell(receiver, orders)
        for offset, lie, part in lies:
            truth = segment_of_it.read(offset)
            segment_of_it.write(offset, lie)
            told(part)
            segment_of_it.write(offset, truth)
        grown_row(sender, receiver)
    at = ring.read(0)
    same(at, 0, "the word at the larger ring's beginning")
    last = FROM + 36 * 1008
    for word, part in ((9 * KIND, "a record of no kind there is"), (KIND | (1 << 20), "a record crosses the ring's end"),
                       (7 * KIND | 16, "a second larger ring"), (6 * KIND, None)):
        ring.write(last, word)
        told(part or "skip", 1 if part else 0)
        ring.write(last, 0)
    for at in range(0, 1 << 20, 1 << 16): # no empty word in all of it
        ring.write(at, KIND | ((1 << 16) - 8))
    ring.write(last, KIND | ((1 << 20) - last - 8))
    told("more records than fit into the ring")
    for process in (sender, receiver):
        process.kill()
        finish(process)


def promised_ring():
    """Words of a larger ring that the process does not have."""
    listener, sender, idle = three()
    until_asleep(listener, idle)
    words = Segment(sender)
    words.write(BEGIN, 1 << 40)
    words.write(SIZE, 1 << 20)
    words.write(INODE, words.inode)
    told(NONE_MAPPED)
    words.write(SIZE, 0)
    same(inspect(ADDRESS)[0], 0, "with the truth back")
    end(listener, sender, idle)


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
    fields = {"magic": ("I", 0, 0x4d535748), "version": ("I", 4, 3), "size": ("Q", 8, len(data)), "ring": ("Q", 16, ring),
              "quota": ("Q", 24, 1 << 30), "barrier": ("I", 32, 3), "entries": ("I", 36, 512), "taken": ("Q", 256, 5),
              "freed": ("Q", 128, 800), "released": ("Q", 384, 2), "receiver": ("I", 512, 7), "sender": ("I", 516, 2),
              "asker": ("I", 520, 0), "state": ("I", 524, 1), "larger": ("Q", 40, 0), "from": ("Q", 48, 0), "inode": ("Q", 56, 0)}
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


LARGER = struct.pack("=QQ", 1 << 20, 0)


def a_file_of_a_grown_ring():
    data = segment((1, 1000), (7, LARGER), larger=1 << 20, inode=77, **{"from": (1 << 30) + 1032})
    code, output, errors = dump(data)
    same((code, errors), (0, ""), "a good one")
    text = re.sub(" +", " ", output.decode())
    for line in (f"larger ring {1 << 20}, from position {(1 << 30) + 1032} on, inode 77",
                 f" 1008 1008 ring 16 {1 << 20} a larger ring follows", " 2 records; ring at offset 1032",
                 f"the records go on in a larger ring of {1 << 20} bytes, which is a memfd of its own"):
        assert f"{line}\n" in text, (line, text)


HOSTILE = [
    ("ring untold", segment((7, LARGER)), DENIED + "its size"),
    ("ring of another size", segment((7, LARGER), larger=1 << 21, **{"from": 24}), DENIED + "its size"),
    ("ring from elsewhere", segment((7, LARGER), larger=1 << 20, **{"from": 32}), DENIED + "it begins"),
    ("ring too short", segment((7, 8)), "a record whose size is not its kind's"),
    ("ring too long", segment((7, 24)), "a record whose size is not its kind's"),
    ("ring before it can be", segment(larger=1 << 20, **{"from": 16}), "begins at an impossible position"),
    ("ring from nowhere", segment(larger=1 << 20, **{"from": 4100}), "begins at an impossible position"),
] + [(f"larger ring {larger}", segment(larger=larger, **{"from": 24}), "its larger ring has an impossible size")
     for larger in (8, 65536, 3 << 17, 1 << 31, 1 << 63, (1 << 64) - 1)] + [
    ("empty", b"", "shorter than the header"),
    ("short", segment()[:300], "shorter than the header"),
    ("magic", segment(magic=1), "magic"),
    ("version", segment(version=1), "its version is not 3"),
    ("no ring", segment(ring=4096)[:4096], "shorter than its header says"),
    ("cut", segment()[:69631], "shorter than its header says"),
    ("huge", segment(size=1 << 63), "shorter than its header says"),
    ("small", segment(size=4096), "its ring does not fit"),
    ("entries", segment(entries=0), "its release ring"),
    ("state", segment(state=3), "its state is none"),
    ("cursor", segment(freed=4), "no multiple of 8"),
    ("kind", segment((1, 8), (8, 8)), "offset 16 of the ring: a record of no kind there is"),
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


def walk(data, position, *larger):
    path = f"{scratch.path}/segment"
    with open(path, "wb") as file:
        file.write(data)
    code, output, errors = run(scratch, peer, path, str(position), *larger)
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


def over_to_another():
    """A walk that begins before, at and behind the record of a larger ring, which lies anywhere in it, and its end in that."""
    lap = 1 << 40
    begin = lap + 2 * 1008 + 24
    first = segment((1, 1000), (1, 1000), (7, struct.pack("=QQ", 8192, 0)), ring=4096, larger=8192, **{"from": begin})
    larger = bytearray(8192)
    for at, word in ((begin, KIND | 4000), (begin + 4008, KIND | 1000), (begin + 5016, 6 * KIND), (lap + 8192, KIND | 8)):
        struct.pack_into("=Q", larger, at % 8192, word)
    path = f"{scratch.path}/larger"
    with open(path, "wb") as file:
        file.write(larger)
    behind = [f"data 4000 at {begin}", f"data 1000 at {begin + 4008}", f"skip 0 at {begin + 5016}", f"data 8 at {lap + 8192}",
              f"empty at {lap + 8208}"]
    same(walk(first, lap + 1008, path), [f"data 1000 at {lap + 1008}", f"ring 16 at {lap + 2016}"] + behind, "before")
    same(walk(first, lap + 2016, path), [f"ring 16 at {lap + 2016}"] + behind, "at its record")
    same(walk(first, begin, path), behind, "at its beginning")
    same(walk(first, begin + 4008, path), behind[1:], "behind")
    same(walk(first, lap + 1008), [f"data 1000 at {lap + 1008}", f"ring 16 at {lap + 2016}", f"empty at {begin}"], "without it")
    same(walk(first, begin), [f"empty at {begin}"], "within one that is not there")
    same(walk(segment((1, 1000), ring=4096, larger=8192, **{"from": begin}), lap, path),
         [f"data 1000 at {lap}", f"the header tells of a larger ring to which no record leads at {lap + 1008}"], "promised")
    full = bytearray(8192)
    struct.pack_into("=Q", full, begin % 8192, KIND | (8192 - begin % 8192 - 8))
    struct.pack_into("=Q", full, 0, KIND | (begin % 8192 - 16))
    with open(path, "wb") as file:
        file.write(full)
    same(walk(first, lap, path)[-1], f"empty at {begin + 8184}", "full, with what lies before")
    with open(path, "wb") as file:
        file.write(larger[:4096])
    same(walk(first, begin, path), [f"it cannot be read any more at {begin}"], "shorter than it should be")


def mutated_files():
    """Whatever the bytes are: shown or refused, by one sentence, and it ends."""
    chance = random.Random(7)
    good = segment((1, b"hello"), (3, struct.pack("=QQIHH", 70000, 128, 3, 17, 2)), (2, struct.pack("=II", 4, 0)), (1, 100),
                   (7, struct.pack("=QQ", 8192, 0)), ring=4096, larger=8192, **{"from": 16 + 32 + 16 + 112 + 24})
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


main([("live links", live_links), ("one that lies", one_that_lies)]
     + [(f"{name}: {who}", function, who == "the listener's")
        for name, function in (("a grown ring", grown_ring), ("a grown ring, crossed", grown_and_crossed))
        for who in ("the listener's", "its peer's")]
     + [("a grown ring's maps", grown_maps), ("lies about a larger ring", lies_about_a_ring),
      ("a ring that is promised", promised_ring), ("nobody listens", nobody_listens),
      ("others beside", others_beside), ("another user", another_user), ("no root", no_root),
      ("a file", a_file), ("a full ring", full_ring), ("around the end", around_the_end), ("over to another ring", over_to_another),
      ("a file of a grown ring", a_file_of_a_grown_ring)]
     + [(f"a hostile file: {name}", hostile_file, data, part) for name, data, part in HOSTILE]
     + [("mutated files", mutated_files), ("no segments", no_segments), ("a sealed memfd", sealed_memfd),
        ("wrong usage", wrong_usage)])
