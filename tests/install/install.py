# SPDX-License-Identifier: MIT
"""Installs into a directory, and builds and runs programs against nothing but what was installed there.

usage: install.py SOURCE BUILD COMPILER"""

import glob
import os
import re
import shutil
import subprocess
import sys

from cases import Scratch, main, public_functions, run, same

source, build, compiler = sys.argv[1:]
scratch = Scratch()
root = f"{scratch.path}/root"
PROGRAM = f"{source}/tests/install/program.c"
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]


def output(*command, **environment):
    return subprocess.run(command, check=True, capture_output=True, text=True, env=dict(os.environ, **environment)).stdout


def found(pattern):
    """The one installed file that matches."""
    matches = glob.glob(f"{root}/{pattern}", recursive=True)
    same(len(matches), 1, f"{pattern} in the installation")
    return matches[0]


def install():
    output("meson", "install", "-C", build, "--no-rebuild", "--destdir", root)
    for pattern in ("**/libhawser.so", "**/libhawser.a", "**/bin/hawser", "**/hawser.pc", "**/hawser/hawser.h"):
        found(pattern)
    same(sorted(os.listdir(os.path.dirname(found("**/hawser/hawser.h")))), sorted(os.listdir(f"{source}/include/hawser")))
    if shutil.which("scdoc"):
        found("**/man1/hawser.1")
        same(os.path.realpath(found("**/man3/hawser_send.3")), found("**/man3/hawser_channel.3"))


def pkg_config(*arguments):
    """What pkg-config says about the installed library, seen from here; another that the environment names is not asked."""
    return output("pkg-config", *arguments, "hawser", PKG_CONFIG_SYSROOT_DIR=root, PKG_CONFIG_PATH="",
                  PKG_CONFIG_LIBDIR=os.path.dirname(found("**/hawser.pc"))).split()


def cplusplus():
    """The C++ compiler beside the C compiler; None where there is none (musl)."""
    names = {"clang": "clang++", "gcc": "g++", "cc": "g++"}
    words = compiler.split()
    name = os.path.basename(words[0])
    return [names[name]] + words[1:] if name in names and shutil.which(names[name]) else None


def build_and_run(command, static):
    """Compiles the program with the command and runs it."""
    binary = f"{scratch.path}/program"
    libraries = pkg_config("--static", "--libs") if static else pkg_config("--libs")
    if static:
        libraries = ["-l:libhawser.a" if word == "-lhawser" else word for word in libraries]
    output(*command, *WARNINGS, *pkg_config("--cflags"), PROGRAM, "-x", "none", "-o", binary, *libraries)
    scratch.environment["LD_LIBRARY_PATH"] = os.path.dirname(found("**/libhawser.so"))
    needed = output("readelf", "-d", binary)
    same("libhawser.so.0" in needed, not static, "needs libhawser.so.0")
    same(run(scratch, binary)[0::2], (0, ""), "the program")


def languages():
    yield "C", compiler.split() + ["-std=c11", "-x", "c"]
    if cplusplus():
        yield "C++", cplusplus() + ["-std=c++20", "-Wno-missing-field-initializers", "-x", "c++"]


def header_alone(command, header):
    """A header includes what it needs."""
    output(*command, *WARNINGS, "-fsyntax-only", f"-I{source}/include", "-include", f"hawser/{header}", "/dev/null")


def exported():
    """The library exports each function that the headers declare, and nothing else."""
    lines = output("nm", "-D", "--defined-only", found("**/libhawser.so")).split("\n")
    names = sorted(line.split()[2].split("@")[0] for line in lines if line and not line.endswith(" A HAWSER_0"))
    declared = public_functions(source)
    same([name for name in names if name not in declared], [], "exported, but in no header")
    same([name for name in declared if name not in names], [], "declared, but not exported")


def exported_static():
    """The static library has no other global names either: they would meet the user's."""
    lines = output("nm", "-g", "--defined-only", found("**/libhawser.a")).split("\n")
    names = sorted(line.split()[2] for line in lines if len(line.split()) == 3)
    same(names, public_functions(source), "global names of libhawser.a")


def soname():
    assert re.search(r"SONAME.*\[libhawser\.so\.0\]", output("readelf", "-d", found("**/libhawser.so")))


def installed_command():
    environment = {"LD_LIBRARY_PATH": os.path.dirname(found("**/libhawser.so"))}
    version = pkg_config("--modversion")[0]
    same(output(found("**/bin/hawser"), "--version", **environment), f"hawser {version}\n")


cases = [("install", install), ("soname", soname), ("exported symbols", exported),
         ("global names of the static library", exported_static), ("installed command", installed_command)]
for language, command in languages():
    cases.append((f"{language} program, shared", build_and_run, command, False))
    cases.append((f"{language} program, static", build_and_run, command, True))
    for header in sorted(os.listdir(f"{source}/include/hawser")):
        cases.append((f"{language} header {header} alone", header_alone, command, header))
main(cases)
