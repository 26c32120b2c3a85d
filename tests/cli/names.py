# SPDX-License-Identifier: MIT
"""hawser gc: what a killed process left goes, what lives stays. usage: names.py HAWSER"""

import os
import sys

from cases import Scratch, finish, main, run, same, start, until

hawser = sys.argv[1]
scratch = Scratch()
RUNTIME = f"{scratch.path}/runtime"


def listener(name):
    """A listener that is there."""
    process = start(scratch, hawser, "recv", "--timeout", "60s", f"shm://{name}")
    until(lambda: os.path.exists(f"{RUNTIME}/{name}"), "the listener never came")
    return process


def gc(*words):
    code, output, errors = run(scratch, hawser, "gc", *words)
    same(code, 0, errors)
    return output.decode()


def sweeps():
    same(gc(), "", "nothing is there")
    dead, alive = listener("dead"), listener("alive")
    dead.kill()
    dead.wait()
    same(gc("--dry-run"), f"listener  {RUNTIME}/dead\n", "a look")
    assert os.path.exists(f"{RUNTIME}/dead")
    same(gc(), f"listener  {RUNTIME}/dead\n", "a sweep")
    same(sorted(os.listdir(RUNTIME)), ["alive"], "what is left")
    alive.terminate()
    alive.wait()
    gc()
    same(os.listdir(RUNTIME), [], "what is left of a listener that ended by a signal")


def wrong_usage():
    for words in (("--nosuch",), ("a", "b")):
        same(run(scratch, hawser, "gc", *words)[0], 2, words)
    same(run(scratch, hawser, "gc", f"{scratch.path}/nowhere")[0], 1, "no such directory")
    code, output, _ = run(scratch, hawser, "gc", "--help")
    same(code, 0, "--help")
    assert b"example:" in output


def region(*words, code=0, given=None):
    got, output, errors = run(scratch, hawser, "region", *words, given=given)
    same(got, code, f"region {' '.join(words)}: {errors}")
    return output if code == 0 else errors


def regions():
    region("create", "--size", "64K", "settings")
    assert "settings is there already" in region("create", "--size", "64K", "settings", code=1)
    region("write", "settings", given=b"blue\n")
    same(region("read", "--size", "5", "settings"), b"blue\n", "what was written")
    region("write", "--offset", "65534", "settings", given=b"en")
    same(region("read", "--offset", "65533", "region://settings"), b"\0en", "its end")
    assert "has 65536 bytes, which is too few" in region("write", "--offset", "65535", "settings", given=b"xy", code=1)
    assert "has 65536 bytes, and not as many" in region("read", "--offset", "65535", "--size", "2", "settings", code=1)
    listed = region("list").decode().split("\n")
    same(listed[1].split(), ["region://settings", "65536", "0", "permanent"], "a line of the list")
    same(gc(), "", "what is permanent stays")
    region("remove", "settings")
    assert "there is no region" in region("remove", "settings", code=1)
    same(scratch.left(), [], "what is left")


def regions_of_files():
    path = f"{scratch.path}/file"
    with open(path, "wb") as file:
        file.write(bytes(range(256)) * 100)
    region("create", "copy", path)
    same(region("read", "copy"), bytes(range(256)) * 100, "the copy of a file")
    region("remove", "copy")
    assert "--size" in region("create", "copy", "--size", "5", path, code=1)
    same(region("create", "copy", "/nonexistent", code=1), "hawser region: cannot read /nonexistent: No such file or directory\n", "a sentence")
    same(region("create", "copy", scratch.path, code=1), f"hawser region: cannot read {scratch.path}: Is a directory\n", "a sentence")
    same(scratch.left(), [], "what is left")


def generation(path, value):
    """As if somebody began to write, or ended."""
    with open(path, "r+b") as file:
        file.seek(4096)
        file.write(value.to_bytes(8, sys.byteorder))


def naps(pid):
    """How often a process gave up its CPU by itself."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return int(next(line for line in status if line.startswith("voluntary")).split()[1])


def regions_of_others():
    """Who may only read has no guard, and waits for who writes as long as it was told to."""
    if os.geteuid() != 0:
        return
    os.chmod(scratch.path, 0o755)
    path = f"{scratch.path}/shared"
    region("create", "--size", "4", "--share", "read", "--users", "65533", path)
    region("write", path, given=b"blue")
    generation(path, 3)
    reader = start(scratch, hawser, "region", "read", "--timeout", "forever", path, user=65533, group=65533, extra_groups=[])
    until(lambda: naps(reader.pid) > 3, "the reader never waited")
    generation(path, 4)
    same(finish(reader), (0, b"blue", ""), "read after it was written")
    generation(path, 5)
    code, output, errors = run(scratch, hawser, "region", "read", "--timeout", "5ms", path, user=65533, group=65533, extra_groups=[])
    same((code, output, "half-written" in errors), (1, b"blue", True), errors)
    region("remove", path)


WRONG = [(), ("nosuch",), ("create",), ("create", "a"), ("create", "--size", "0", "a"), ("create", "--size", "x", "a"), ("list", "a"), ("read",),
         ("read", "--users", "any", "a"), ("read", "a", "b"), ("read", "--timeout", "5", "a"), ("write", "--size"),
         ("remove", "--nosuch", "a"), ("create", "--size", "5", "--share", "none", "a"), ("read", "shm://a"), ("read", "../a")]


def region_usage():
    for words in WRONG:
        region(*words, code=2)
    assert b"example:" in region("--help") and b"example:" in region("read", "--help")
    assert "there is no region" in region("read", "nosuch", code=1)


main([("regions are made, filled, read and removed", regions), ("regions are made of files", regions_of_files),
      ("regions of others are read when they are whole", regions_of_others),
      ("region refuses wrong words", region_usage), ("gc sweeps what is dead", sweeps), ("gc refuses wrong words", wrong_usage)])
