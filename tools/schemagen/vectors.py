"""Test vectors: values, an encoder that shares nothing with the C one, C initializers."""

import struct as pystruct
import textwrap

from schemagen.schema import FIXED, INT_RANGE
from schemagen.expressions import Code, HEAD, c_bytes, c_number, c_type

KEYS_OF_A_TEST = 5
ALIKE_MIN = 5  # so many records that begin with the same word have a test of their own


class Filler:
    """Deterministic values. style: "empty" (defaults, null), "full" (nothing null or empty),
    "mixed" (every other nullable is null, extreme numbers, single items)."""

    def __init__(self, style):
        self.style, self.n = style, 0

    def struct(self, s, v):
        """Fields that v does not have keep their default, as a decoder leaves them."""
        return {
            f.cname: self.field(f, v) if v in f.versions else default_value(f) for f in s.fields
        }

    def field(self, f, v):
        self.n += 1
        if self.style == "empty":
            if f.kind() == "struct":
                if v in f.nullable:
                    return None
                return self.struct(f.struct, v)
            return None if v in f.nullable and v not in f.tagged else default_value(f)
        if self.style == "mixed" and v in f.nullable and self.n % 2:
            return None
        if f.array:
            count = min(2 if self.style == "full" else 1, f.max)
            return [self.item(f, v, f.item_max) for _ in range(count)]
        return self.item(f, v, f.max)

    def item(self, f, v, maximum):
        self.n += 1
        n, full = self.n, self.style == "full"
        if f.struct:
            return self.struct(f.struct, v)
        if f.item == "bool":
            return n % 2 == 0
        if f.item == "float64":
            return n + 0.25
        if f.item == "uuid":
            return bytes((n * 7 + i) % 256 for i in range(16))
        if f.item in INT_RANGE:
            low, high = INT_RANGE[f.item]
            spread = low + (n * 0x9E3779B97F4A7C15) % (high - low + 1)
            return spread if full else (low if n % 2 else high)
        if f.item == "string":
            long = n % 5 == 0 and full  # takes a two-byte compact length
            return (b"%s-%d" % (f.cname.encode(), n) + b"x" * (150 if long else 0))[:maximum]
        return bytes((n + i) % 256 for i in range(min(maximum, 3 + n % 4)))


def default_value(f):
    if f.array:
        return None if f.default is None else []
    if f.struct:
        if f.nullable and f.default is None:
            return None
        return {x.cname: default_value(x) for x in f.struct.fields}
    return b"\0" * 16 if f.item == "uuid" else f.default


class Encoder:
    """Bytes of a value, and where its lengths are: (offset, kind, nullable, max)."""

    def __init__(self, version, extra_tag=False):
        self.version, self.extra_tag = version, extra_tag

    def uvarint(self, n):
        out = bytearray()
        while n > 0x7F:
            out.append(n & 0x7F | 0x80)
            n >>= 7
        out.append(n)
        return bytes(out)

    def length(self, out, marks, f, value, string, maximum, nullable):
        flexible = self.version in f.flexible
        n = len(value) if value is not None else -1 if nullable else 0
        kind = "COMPACT" if flexible else "I16" if string else "I32"
        marks.append((len(out), kind, nullable, maximum))
        if flexible:
            out += self.uvarint(n + 1)
        else:
            out += pystruct.pack(">h" if string else ">i", n)

    def scalar(self, out, marks, f, value, maximum, nullable):
        if f.item in FIXED:
            code = {"bool": "?", "int8": "b", "int16": "h", "uint16": "H", "int32": "i",
                    "uint32": "I", "int64": "q", "float64": "d", "uuid": "16s"}  # fmt: skip
            out += pystruct.pack(">" + code[f.item], value)
            return
        self.length(out, marks, f, value, f.item == "string", maximum, nullable)
        out += value or b""

    def value(self, f, value):
        out, marks = bytearray(), []
        nullable = self.version in f.nullable
        if f.array:
            self.length(out, marks, f, value, False, f.max, nullable)
            for item in value or []:
                if f.struct:
                    self.join(out, marks, self.struct(f.struct, item))
                else:
                    self.scalar(out, marks, f, item, f.item_max, False)
        elif f.struct:
            if nullable:
                out += b"\xff" if value is None else b"\x01"
            if value is not None:
                self.join(out, marks, self.struct(f.struct, value))
        else:
            self.scalar(out, marks, f, value, f.max, nullable)
        return out, marks

    def join(self, out, marks, part):
        marks += [(mark[0] + len(out),) + mark[1:] for mark in part[1]]
        out += part[0]

    def struct(self, s, value):
        out, marks, v = bytearray(), [], self.version
        for f in s.fields:
            if v in f.versions and v not in f.tagged:
                self.join(out, marks, self.value(f, value[f.cname]))
        if v not in s.message.flexible:
            return out, marks
        tags = [f for f in s.tagged() if v in f.tagged and value[f.cname] != default_value(f)]
        marks.append((len(out), "COMPACT", True, 0))
        out += self.uvarint(len(tags) + self.extra_tag)
        for f in tags:
            part = self.value(f, value[f.cname])
            out += self.uvarint(f.tag)
            marks.append((len(out), "COMPACT", False, 0))
            out += self.uvarint(len(part[0]))
            self.join(out, marks, part)
        if self.extra_tag:
            out += self.uvarint(10000) + b"\x03new"
        return out, marks


def c_value(f, value):
    """Initializers of f's members."""
    name = "." + f.cname

    def one(item):
        if f.struct:
            return c_struct(f.struct, item)
        if f.item == "uuid":
            return "{{%s}}" % ", ".join(str(b) for b in item)
        if f.item in FIXED:
            return c_number(f.item, item)
        if item is None:
            return "{NULL, 0}"
        return "{(const uint8_t *)%s, %d}" % (c_bytes(item), len(item))

    if f.array:
        if value is None:
            return "%s = NULL, %s_count = 0" % (name, name)
        if not value and not f.nullable:
            return "%s = NULL, %s_count = 0" % (name, name)
        none = "0" if f.item in FIXED and f.item != "uuid" else "{0}"
        items = ", ".join(one(x) for x in value) or none
        return "%s = (%s[]){%s}, %s_count = %d" % (name, c_type(f), items, name, len(value))
    if f.struct and f.nullable:
        if value is None:
            return ".has_%s = false" % f.cname
        return ".has_%s = true, %s = %s" % (f.cname, name, one(value))
    return "%s = %s" % (name, one(value))


def c_struct(s, value):
    parts = [c_value(f, value[f.cname]) for f in s.fields]
    return "{%s}" % (", ".join(parts) or "0")


def c_byte_lines(data):
    text = ", ".join("0x%02x" % b for b in data) or "0"
    return textwrap.wrap(text, 94)


def c_mark_lines(marks):
    items = ("{%d, LENGTH_%s, %s, %d}," % (offset, kind, "true" if nullable else "false", maximum)
             for offset, kind, nullable, maximum in marks)  # fmt: skip
    # A line does not end within an item.
    lines = textwrap.wrap(" ".join(item.replace(" ", "~") for item in items), 94)
    return [line.replace("~", " ") for line in lines]


def emit_byte_array(c, name, data):
    c.open("static const uint8_t %s[] =" % name)
    for line in c_byte_lines(data):
        c.add(line)
    c.close(";")


def subject(message, messages):
    """What the test of a message is named after: the least of the keys that share a test with its own;
    of a record its first word, if others begin with it, too."""
    if message.api is not None:
        return "messages_%02d" % (message.api_key // KEYS_OF_A_TEST * KEYS_OF_A_TEST)
    if message.kind != "data":
        return "headers"
    first = message.cname.split("_")[0]
    alike = [m for m in messages if m.kind == "data" and m.cname.split("_")[0] == first]
    return "records_" + first if len(alike) >= ALIKE_MIN else "records"


def test_files(package, messages):
    """path -> text of a test for each subject, and of the make file that has them built."""
    subjects = {}
    for m in messages:
        subjects.setdefault(subject(m, messages), []).append(m)
    out, lines = {}, ["# Generated by tools/schemagen.py. Do not edit."]
    for name, members in sorted(subjects.items()):
        base = "%s%s_test" % (package.tests, name)
        out[base + ".c"] = test_file(package, members)
        lines.append("$(call test,%s,harness schemas common)" % base)
    out[package.tests + "tests.mk"] = "\n".join(lines) + "\n"
    return out


def test_file(package, messages):
    c = Code()
    c.add((HEAD % " and ".join(package.inputs)).rstrip("\n"))
    for m in messages:
        c.add('#include "%s/%s.h"' % (package.out, m.cname))
    c.add('#include "tests/unit/schemas/vector_checks.h"')
    c.add()
    rows = []
    for m in messages:
        for v in range(m.min, m.max + 1):
            seen = set()
            for style in ("empty", "full", "mixed"):
                value = Filler(style).struct(m.root, v)
                data, marks = Encoder(v).struct(m.root, value)
                if bytes(data) in seen:
                    continue
                seen.add(bytes(data))
                rows.append(emit_vector(c, m, v, style, value, data, marks))
    c.open("static const struct vector vectors[] =")
    for row in rows:
        c.add("{%s}," % ", ".join(row))
    c.close(";")
    c.add()
    c.add("VECTOR_CHECKS_MAIN(vectors);")
    return c.text()


def emit_vector(c, m, v, style, value, data, marks):
    base = "%s_v%d_%s" % (m.cname, v, style)
    c.add("static const struct %s %s = %s;" % (m.cname, base, c_struct(m.root, value)))
    emit_byte_array(c, base + "_bytes", data)
    extra = "NULL, 0"
    if v in m.flexible and style == "full":
        emit_byte_array(c, base + "_newer", Encoder(v, True).struct(m.root, value)[0])
        extra = "%s_newer, sizeof(%s_newer)" % (base, base)
    where = "NULL, 0"
    if marks:
        c.open("static const struct vector_length %s_lengths[] =" % base)
        for line in c_mark_lines(marks):
            c.add(line)
        c.close(";")
        where = "%s_lengths, RIA_COUNT(%s_lengths)" % (base, base)
    c.add()
    return [
        '"%s"' % m.name, '"%s"' % style, str(v), "&" + base, base + "_bytes", str(len(data)),
        extra, where,
    ]  # fmt: skip
