# SPDX-License-Identifier: MIT
"""Runs the fuzzers. usage: fuzz.py CORPUS FUZZER... | fuzz.py --missing REASON | fuzz.py --pack DIRECTORY FILE

The quick form makes a fixed number of runs from the committed corpus, the long one runs each fuzzer for minutes. A corpus is a file
of inputs in base64, one a line. What a fuzzer finds it prints in base64 too: add that line once it is mended. --pack makes such a file of
a directory that libFuzzer has filled (-merge=1 first)."""

import base64
import os
import re
import subprocess
import sys
import tempfile

import cases

RUNS = 2000
SECONDS = 1200  # of each, in the long form


def fuzz(corpus, fuzzer):
    """One fuzzer, on a copy of its part of the corpus."""
    name = os.path.basename(fuzzer)
    with tempfile.TemporaryDirectory(prefix="hawser-fuzz-") as scratch:
        inputs = f"{scratch}/corpus"
        os.mkdir(inputs)
        with open(f"{corpus}/{name}.txt", encoding="ascii") as lines:
            for number, line in enumerate(lines):
                with open(f"{inputs}/{number}", "wb") as target:
                    target.write(base64.b64decode(line))
        limit = f"-max_total_time={SECONDS}" if cases.LONG else f"-runs={RUNS}"
        seed = [] if cases.LONG else ["-seed=1"]
        command = [fuzzer, limit, *seed, "-max_len=4096", "-timeout=60", "-print_final_stats=1", f"-artifact_prefix={scratch}/", inputs]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, errors="replace", check=False)
        text = done.stdout + done.stderr
        if done.returncode != 0:
            raise AssertionError("\n".join(text.splitlines()[-60:]))
        runs = re.search(r"stat::number_of_executed_units:\s*(\d+)", text)
        edges = re.findall(r"cov: (\d+)", text)
        print(f"# {name}: {runs.group(1) if runs else '?'} runs, {edges[-1] if edges else '?'} edges covered")


def pack(directory, path):
    """Smallest first, so that a diff shows what came."""
    inputs = []
    for name in os.listdir(directory):
        with open(f"{directory}/{name}", "rb") as source:
            inputs.append(source.read())
    with open(path, "w", encoding="ascii") as target:
        for data in sorted(inputs, key=lambda data: (len(data), data)):
            target.write(base64.b64encode(data).decode() + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "--pack":
        sys.exit(pack(sys.argv[2], sys.argv[3]))
    if sys.argv[1] == "--missing":
        print(f"the fuzzers were not built: {sys.argv[2]}")
        sys.exit(77)
    cases.main([(f"fuzz: {os.path.basename(fuzzer)}", fuzz, sys.argv[1], fuzzer) for fuzzer in sys.argv[2:]])
