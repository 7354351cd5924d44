#!/usr/bin/env python3
"""Generate C structs, sizes, encoders and decoders from message schemas.

    tools/schemagen.py           write schemas/gen/ and the generated tests
    tools/schemagen.py --check   exit 1 if writing would change anything

The dialect, the encoding and the generated API: docs/formats/messages.md.
In reading order, in tools/schemagen/: schema (parse and check), expressions (C of one field),
structs (functions of one struct), files (of one message, dispatch table), vectors (of the tests, by an
independent encoder).
"""

import argparse
import difflib
import os
import sys

from schemagen.schema import Message, SchemaError
from schemagen.files import header_file, make_file, source_file, table_header, table_source
from schemagen.vectors import test_files

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Package:
    """One set of messages that share a dispatch table and a prefix."""

    def __init__(self, inputs, out, prefix, tests):
        """tests: what the paths of the generated tests begin with."""
        self.inputs, self.out, self.prefix, self.tests = inputs, out, prefix, tests


PACKAGES = [
    Package(
        ["schemas/messages", "schemas/records"],
        "schemas/gen",
        "",
        "tests/unit/schemas/gen_",
    ),
]


def load(package, root):
    messages = []
    for folder in package.inputs:
        path = os.path.join(root, folder)
        for name in sorted(os.listdir(path)) if os.path.isdir(path) else []:
            if name.endswith(".json"):
                message = Message("%s/%s" % (folder, name), package.prefix)
                message.load(root)
                messages.append(message)
    messages.sort(key=lambda m: m.cname)
    check_together(messages)
    return messages


def check_together(messages):
    seen, keys, structs = {}, {}, {}
    for m in messages:
        for s in m.structs:
            other = structs.setdefault(s.cname, m.path)
            if other != m.path or sum(x.cname == s.cname for x in m.structs) > 1:
                raise SchemaError("%s: struct %s exists in %s" % (m.path, s.cname, other))
        if m.api is None:
            continue
        other = seen.setdefault((m.api_key, m.kind), m)
        if other is not m:
            raise SchemaError("%s: apiKey %d is %s's" % (m.path, m.api_key, other.path))
        other = keys.setdefault(m.api_key, m)
        if other.api != m.api:
            raise SchemaError("%s: apiKey %d is %s's" % (m.path, m.api_key, other.path))
        if (other.min, other.max, other.flexible) != (m.min, m.max, m.flexible):
            raise SchemaError("%s: versions differ from %s" % (m.path, other.path))
        for n in messages:
            if n.api == m.api and n.api_key != m.api_key:
                raise SchemaError("%s: apiKey differs from %s" % (m.path, n.path))


def generate(package, root):
    """path -> text"""
    messages = load(package, root)
    if not messages:
        return {}
    out = {}
    for m in messages:
        out["%s/%s.h" % (package.out, m.cname)] = header_file(m)
        out["%s/%s.c" % (package.out, m.cname)] = source_file(m, package.out)
    base = "%s/%smessages" % (package.out, package.prefix)
    out[base + ".h"] = table_header(package, messages)
    out[base + ".c"] = table_source(package, messages)
    out["%s/sources.mk" % package.out] = make_file(package, messages)
    out.update(test_files(package, messages))
    return out


def read(path):
    try:
        with open(path, encoding="utf-8") as f:
            return f.read()
    except FileNotFoundError:
        return None


def stale_files(package, root, wanted):
    stale = []
    for folder, prefix in ((package.out, ""), os.path.split(package.tests)):
        full = os.path.join(root, folder)
        names = sorted(os.listdir(full)) if os.path.isdir(full) else []
        paths = ["%s/%s" % (folder, n) for n in names if n.startswith(prefix)]
        stale += [p for p in paths if p not in wanted and os.path.isfile(os.path.join(root, p))]
    return stale


def show_diff(path, old, new):
    diff = list(difflib.unified_diff((old or "").split("\n"), new.split("\n"), lineterm="", n=0))
    state = "missing" if old is None else "differs"
    print("%s: %s, %d lines" % (path, state, sum(l[0] in "+-" for l in diff[2:])))
    for line in diff[2:8] if old is not None else []:
        print("    " + line)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 on a change")
    parser.add_argument("--root", default=ROOT, help="source tree (for tests of the generator)")
    args = parser.parse_args()
    changed = 0
    try:
        outputs = [(p, generate(p, args.root)) for p in PACKAGES]
    except SchemaError as e:
        print("schemagen: %s" % e, file=sys.stderr)
        return 2
    for package, wanted in outputs:
        for path in stale_files(package, args.root, wanted):
            changed += 1
            print("%s: stale" % path)
            if not args.check:
                os.remove(os.path.join(args.root, path))
        for path, text in sorted(wanted.items()):
            full = os.path.join(args.root, path)
            old = read(full)
            if old == text:
                continue
            changed += 1
            if args.check:
                show_diff(path, old, text)
                continue
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as f:
                f.write(text)
    if args.check and changed:
        print("schemagen: %d files are out of date: run tools/schemagen.py" % changed)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
