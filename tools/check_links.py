#!/usr/bin/env python3
"""check_links.py [FOLDER...]: every relative link of the Markdown files leads to a file, and to a heading in it."""
import os
import re
import subprocess
import sys

FENCE = re.compile(r"^```.*?^```", re.S | re.M)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.*?) *$", re.M)


def text_of(path):
    with open(path, encoding="utf-8") as file:
        return FENCE.sub("", file.read())


def anchors(path):
    """As the forges make them: lower case, spaces to dashes, no punctuation."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
            for heading in HEADING.findall(text_of(path))}


def complaints(path):
    for target in LINK.findall(text_of(path)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path
        if not os.path.exists(file):
            yield "%s: there is no %s" % (path, target)
        elif anchor and anchor not in anchors(file):
            yield "%s: there is no such heading: %s" % (path, target)


def main(folders):
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    listed = subprocess.run(["tools/files.sh", "*.md", "--"] + folders, check=True, stdout=subprocess.PIPE, text=True)
    bad = [line for path in listed.stdout.split("\n") if path for line in complaints(path)]
    print("\n".join(bad), end="\n" if bad else "")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
