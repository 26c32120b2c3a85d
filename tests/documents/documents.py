# SPDX-License-Identifier: MIT
"""What the README, the man pages and the headers say of each other is true.

usage: documents.py SOURCE LIBRARY CAPABILITIES COMPILER"""

import glob
import os
import re
import subprocess
import sys

from cases import Scratch, main, public_functions, run, same

source, library, capabilities, compiler = sys.argv[1:]
scratch = Scratch()


def text(path):
    with open(f"{source}/{path}", encoding="utf-8") as file:
        return file.read()


def readme_example():
    same(re.search(r"```c\n(.*?)```", text("README.md"), re.S).group(1), text("examples/hello.c"), "README's example")
    lines = [line for line in text("examples/hello.c").split("\n") if line]
    assert len(lines) <= 15, f"the README promises 15 lines, not {len(lines)}"


def readme_table():
    """The mechanism table says what hawser_capabilities() says."""
    rows = re.findall(r"^\| `(\w+)://[^|]*\|[^|]*\|(.*)\|$", text("README.md"), re.M)
    addresses = {"fifo": "fifo:///tmp/f", "unix": "unix://@x", "tcp": "tcp://127.0.0.1:0"}
    same([mechanism for mechanism, _ in rows], ["shm", "pipe", "fifo", "unix", "tcp", "mq", "sysv"], "mechanisms")
    code, output, errors = run(scratch, capabilities, *(addresses.get(row[0], f"{row[0]}://x") for row in rows))
    same(code, 0, errors)
    for (mechanism, columns), line in zip(rows, output.decode().split("\n")):
        same(",".join(column.strip() for column in columns.split("|")), line, mechanism)


def man_names():
    """Every public function stands in a man page, and no page names one that does not exist."""
    pages = "".join(text(os.path.relpath(path, source)) for path in glob.glob(f"{source}/man/*.scd"))
    named = set(re.findall(r"\b(hawser_\w+)\s*\*?\(", pages)) | set(re.findall(r"\b(hawser_\w+)\(", pages))
    functions = set(public_functions(source))
    assert len(functions) > 30, f"only {len(functions)} public functions found"
    same(sorted(functions - named), [], "not in any man page")
    same(sorted(name for name in named - functions if not os.path.exists(f"{source}/man/{name}.3.scd")), [], "do not exist")


def man_aliases():
    """man hawser_send finds its page: each function is an alias in man/meson.build of the page that defines it."""
    build = text("man/meson.build")
    for name in public_functions(source):
        assert f"'{name}'" in build or os.path.exists(f"{source}/man/{name}.3.scd"), f"{name} has no alias"


def man_options():
    """Every option stands in hawser_options(3) under its query name."""
    page = text("man/hawser_options.3.scd")
    for query in re.findall(r"/\* \[(\w+)", text("include/hawser/options.h")):
        assert f"*{query}*" in page, f"{query} is missing"


def man_example(path, number, example):
    """A man page's example compiles without a warning, and links when it is a program."""
    program = f"{scratch.path}/{os.path.basename(path)}.{number}.c"
    with open(program, "w", encoding="utf-8") as file:
        file.write(example)
    flags = ["-std=c11", "-D_DEFAULT_SOURCE", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{source}/include"]
    link = [library, f"-Wl,-rpath,{os.path.dirname(library)}"] if " main(" in example else ["-c"]
    subprocess.run(compiler.split() + flags + [program] + link + ["-o", f"{program}.out"], check=True)


def examples():
    """A case for each example of the man pages."""
    for path in sorted(glob.glob(f"{source}/man/*.3.scd")):
        blocks = re.findall(r"^```\n(.*?)^```", text(os.path.relpath(path, source)), re.S | re.M)
        for number, block in enumerate(blocks, 1):
            yield f"{os.path.basename(path)} example {number}", man_example, path, number, block.replace("\\\\", "\\")


main([
    ("README example", readme_example),
    ("README mechanism table", readme_table),
    ("man pages name every function", man_names),
    ("man pages have an alias for every function", man_aliases),
    ("man pages name every option", man_options),
    *examples(),
])
