#!/usr/bin/env python3
"""check_files.py [FOLDER...]: each source file says what it is for; none is longer than 800 lines, no
function longer than 70 (docs/style.md).

A file says it in the comment that it begins with; a .c file whose first include is its own header says
it there. A function of C counts from its first line to its closing brace, which clang-format puts at
the left margin; one of Python from `def` to its last line. Generated code does not count.
"""
import ast
import os
import re
import subprocess
import sys

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 800
TOOLS = os.path.dirname(os.path.abspath(__file__))
PATTERNS = ["*.[ch]", "*.py", "*.sh", "*.mk", "Makefile", "tests/run", ".ci/*"]
GENERATED = re.compile(r"^schemas/gen/")


def functions_of_c(lines):
    """(name, first line, last line) of what opens at the left margin, behind a parameter list."""
    start = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line == "}" and start is not None:
            first = start - 1
            while first > 1 and lines[first - 2] and lines[first - 2][-1] not in ";}/{\\":
                first -= 1
            name = re.search(r"(\w+)\(", " ".join(lines[first - 1:start]))
            yield name.group(1) if name else "?", first, number
            start = None


def functions_of_python(lines):
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node.lineno, node.end_lineno


def says_what_it_is_for(name, lines):
    text = [line for line in lines if line and not line.startswith("#!")]
    if name.endswith((".mk", "Makefile")):
        return True
    if not name.endswith((".c", ".h")):
        return bool(text) and text[0].startswith(("#", '"""'))
    own = re.match(r'#include "(.*)\.h"', text[0]) if text and name.endswith(".c") else None
    if own and os.path.basename(name) in (os.path.basename(own.group(1)) + end for end in (".c", "_test.c")):
        return os.path.exists(own.group(1) + ".h")
    return bool(text) and text[0].startswith("/*")


def complaints(name, lines):
    if not says_what_it_is_for(name, lines):
        yield "%s: does not begin with a comment that says what it is for" % name
    if len(lines) > FILE_LINES_MAX:
        yield "%s: %d lines, %d at most: split it by subject" % (name, len(lines), FILE_LINES_MAX)
    python = name.endswith(".py") or (lines and lines[0].startswith("#!") and "python" in lines[0])
    functions = (functions_of_c(lines) if name.endswith((".c", ".h")) else
                 functions_of_python(lines) if python else ())
    for function, first, last in functions:
        size = last - first + 1
        if size > FUNCTION_LINES_MAX:
            yield "%s:%d: %s has %d lines, %d at most" % (name, first, function, size, FUNCTION_LINES_MAX)


def main():
    files = subprocess.run([os.path.join(TOOLS, "files.sh"), *PATTERNS, "--", *sys.argv[1:]],
                           check=True, stdout=subprocess.PIPE, text=True).stdout.split("\n")
    os.chdir(os.path.dirname(TOOLS))
    bad = False
    for name in files:
        if name and not GENERATED.search(name):
            with open(name, encoding="utf-8", errors="replace") as file:
                lines = file.read().splitlines()
            for complaint in complaints(name, lines):
                print(complaint)
                bad = True
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
