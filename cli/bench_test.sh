#!/bin/sh
# SPDX-License-Identifier: MIT
# The verb as a user meets it: what it refuses, that its JSON is JSON, that nothing is left behind.
# usage: bench_test.sh HAWSER
set -u
hawser=$1
failed=0
TMPDIR=$(mktemp -d /tmp/hawser-test-XXXXXX)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT

fail() {
    echo "FAILED: $*"
    failed=1
}

# refuses WORD ARGUMENTS...: wrong usage, and the sentence holds WORD
refuses() {
    word=$1
    shift
    said=$("$hawser" bench "$@" 2>&1 >/dev/null)
    [ $? -eq 2 ] || fail "bench $*: not refused"
    case $said in *"$word"*) ;; *) fail "bench $*: says '$said'" ;; esac
}

refuses "a size is a number" --sizes 8,6x
refuses "at most 64M" --sizes 1G
refuses "a time is a number" --time 5
refuses "spin, adaptive, block" --wait spin,never
refuses "no mechanism 'pigeon'" pigeon
refuses "no option --fast" --fast
refuses "wants a value" --json
refuses "wants a value" --html
refuses "no other option" --targets --one-cpu
refuses "no other option" --peers --sizes 8
refuses "no other option" --idle shm
refuses "nobody can spin" --one-cpu cache

"$hawser" bench --help | grep -q "example" || fail "--help has no example"

"$hawser" bench memcpy futex --time 6ms --json "$TMPDIR/rows.json" --html "$TMPDIR/rows.html" >"$TMPDIR/table" || fail "memcpy futex"
grep -q "</html>" "$TMPDIR/rows.html" || fail "no page"
grep -q "ONE WAY" "$TMPDIR/table" || fail "no table"
if command -v python3 >/dev/null; then
    python3 - "$TMPDIR/rows.json" <<'PYTHON' || fail "the JSON is not as promised"
import json, sys
rows = json.load(open(sys.argv[1]))
keys = ["mechanism", "pattern", "wait", "size", "p50_ns", "p99_ns", "p999_ns", "mean_ns", "messages_per_s", "bytes_per_s",
        "cpu_ns_per_message", "syscalls_per_message", "switches_per_message", "interrupts_per_message", "raw_p50_ns",
        "raw_messages_per_s"]
assert len(rows) == 5 and all(list(row)[:16] == keys for row in rows)
assert [row["pattern"] for row in rows].count("rtt") == 1
PYTHON
fi
rm -f "$TMPDIR/rows.html" "$TMPDIR/rows.json" "$TMPDIR/table"

# What carries no messages.
refuses "measured by themselves" cell shm
refuses "no other option" cell --sizes 8
"$hawser" bench cell --quick --time 6ms --json "$TMPDIR/rows.json" >"$TMPDIR/table" || fail "cell"
grep -q "memcpy" "$TMPDIR/table" || fail "nothing beside a cell"
if command -v python3 >/dev/null; then
    python3 - "$TMPDIR/rows.json" <<'PYTHON' || fail "the JSON of cells is not as promised"
import json, sys
rows = json.load(open(sys.argv[1]))
keys = ["mechanism", "pattern", "wait", "size", "p50_ns", "p99_ns", "p999_ns", "mean_ns", "messages_per_s", "bytes_per_s",
        "cpu_ns_per_message", "syscalls_per_message", "switches_per_message", "interrupts_per_message", "raw_p50_ns",
        "raw_messages_per_s"]
assert rows and all(list(row)[:16] == keys and row["p50_ns"] > 0 and row["raw_p50_ns"] > 0 and row["others"] for row in rows)
PYTHON
fi
rm -f "$TMPDIR/rows.json" "$TMPDIR/table"

# The peers: a command without their modules beside it names each, with what building it takes, and depends on none.
mkdir "$TMPDIR/bare"
cp "$hawser" "$TMPDIR/bare/hawser"
LD_LIBRARY_PATH=$(dirname "$hawser")/../src "$TMPDIR/bare/hawser" bench --peers --quick --time 6ms --json "$TMPDIR/peers.json" \
    >"$TMPDIR/table" || fail "--peers without any"
for package in libiceoryx-posh-dev libucx-dev libboost-dev libnng-dev libzmq3-dev; do
    grep -q "not built: install $package" "$TMPDIR/table" || fail "--peers does not name $package"
done
if command -v python3 >/dev/null; then
    python3 - "$TMPDIR/peers.json" <<'PYTHON' || fail "the JSON of --peers is not as promised"
import json, sys
rows = json.load(open(sys.argv[1]))
assert [(row["mechanism"], row["pattern"], row["size"]) for row in rows] == [
    ("shm", "rtt", 8), ("shm", "rtt", 1024), ("shm", "rtt", 65536), ("shm", "oneway", 8), ("shm", "oneway", 64),
    ("shm", "oneway", 256), ("shm", "oneway", 1024), ("shm", "oneway", 4096), ("shm", "oneway", 65536)]
PYTHON
fi
rm -rf "$TMPDIR/bare" "$TMPDIR/peers.json" "$TMPDIR/table"

# Killed in the midst of it: nothing that it started lives on.
if command -v setsid >/dev/null && command -v pgrep >/dev/null; then
    setsid "$hawser" bench --peers --time 60s >/dev/null 2>&1 &
    pid=$!
    while [ "$(pgrep -c -g $pid)" -lt 3 ] && kill -0 $pid 2>/dev/null; do :; done
    kill -KILL $pid
    wait $pid 2>/dev/null
    tries=0
    while pgrep -g $pid >/dev/null && [ $tries -lt 500 ]; do tries=$((tries + 1)); done
    [ $tries -lt 500 ] || fail "--peers, killed, leaves processes: $(pgrep -a -g $pid)"
    rm -rf "$TMPDIR"/hawser-bench-*
fi

# A user who has had enough: dies of the signal, and takes everything along.
"$hawser" bench sysv mq pipe --time 60s --wait block >/dev/null 2>&1 &
pid=$!
while [ -z "$(ls -A "$TMPDIR")" ] && kill -0 $pid 2>/dev/null; do :; done
kill -TERM $pid
wait $pid
[ $? -eq 143 ] || fail "ended by $? instead of the signal"
[ -z "$(ls -A "$TMPDIR")" ] || fail "left behind: $(ls -A "$TMPDIR")"
exit $failed
