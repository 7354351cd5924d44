"""The schemas: parsed, and checked as strictly as they can be."""

import json
import math
import os
import re


class SchemaError(Exception):
    pass


# name -> (C type, reader/writer suffix, bytes on the wire)
FIXED = {
    "bool": ("bool", "bool", 1),
    "int8": ("int8_t", "i8", 1),
    "int16": ("int16_t", "i16", 2),
    "uint16": ("uint16_t", "u16", 2),
    "int32": ("int32_t", "i32", 4),
    "uint32": ("uint32_t", "u32", 4),
    "int64": ("int64_t", "i64", 8),
    "float64": ("double", "f64", 8),
    "uuid": ("struct ria_uuid", "uuid", 16),
}
INT_RANGE = {
    "int8": (-(2**7), 2**7 - 1),
    "int16": (-(2**15), 2**15 - 1),
    "uint16": (0, 2**16 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
}
BLOBS = ("bytes", "records")
MESSAGE_KEYS = {
    "apiKey", "type", "name", "validVersions", "flexibleVersions", "about", "fields",
    "commonStructs", "listeners", "latestVersionUnstable", "deprecatedVersions",
}  # fmt: skip
FIELD_KEYS = {
    "name", "type", "versions", "nullableVersions", "taggedVersions", "flexibleVersions", "tag",
    "default", "about", "max", "itemMax", "fields", "mapKey", "ignorable", "entityType",
    "zeroCopy",
}  # fmt: skip
STRUCT_KEYS = {"name", "versions", "fields", "about"}
KEYWORDS = set(
    """auto break case char const continue default do double else enum extern float for goto if
    inline int long register restrict return short signed sizeof static struct switch typedef union
    unsigned void volatile while bool true false asm typeof""".split()
)
LENGTH_MAX = 2**31 - 2
STRING_MAX = 2**15 - 1


def snake(name):
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()


def versions(text, top, where, key):
    """The set of versions meant by "3", "1-2", "1+" or "none"; top closes an open range."""
    match = re.fullmatch(r"(\d+)(?:(\+)|-(\d+))?", text if isinstance(text, str) else "")
    if text == "none":
        return frozenset()
    if not match:
        raise SchemaError("%s: %s: not a version range: %r" % (where, key, text))
    low = int(match.group(1))
    high = top if match.group(2) else int(match.group(3) or low)
    if high < low and not match.group(2):
        raise SchemaError("%s: %s: empty version range: %r" % (where, key, text))
    return frozenset(range(low, high + 1))


def strip_comments(text):
    """Remove // comments that are not inside strings."""
    return re.sub(r'("(?:\\.|[^"\\\n])*")|//[^\n]*', lambda m: m.group(1) or "", text)


def unique_object(pairs):
    out = {}
    for key, value in pairs:
        if key in out:
            raise ValueError("key %r appears twice" % key)
        out[key] = value
    return out


def only_keys(node, allowed, where):
    if not isinstance(node, dict):
        raise SchemaError("%s: expected an object" % where)
    for key in node:
        if key not in allowed:
            raise SchemaError("%s: unknown key %r" % (where, key))


class Struct:
    def __init__(self, name, cname):
        self.name = name
        self.cname = cname
        self.fields = []
        self.used = set()  # versions in which it can occur
        self.about = ""

    def tagged(self):
        return sorted((f for f in self.fields if f.tagged), key=lambda f: f.tag)


class Field:
    """item: the type without []; struct: the Struct of that name, or None."""

    def __init__(self):
        self.struct = None

    def kind(self):
        if self.array:
            return "array"
        if self.struct:
            return "struct"
        return self.item if self.item in ("string",) + BLOBS else "fixed"


class Message:
    def __init__(self, path, prefix):
        self.path = path
        self.structs = []  # leaves first
        self.prefix = prefix

    def load(self, root):
        with open(os.path.join(root, self.path), encoding="utf-8") as f:
            text = f.read()
        try:
            node = json.loads(strip_comments(text), object_pairs_hook=unique_object)
        except ValueError as e:
            raise SchemaError("%s: %s" % (self.path, e))
        only_keys(node, MESSAGE_KEYS, self.path)
        for key in ("type", "name", "validVersions", "flexibleVersions", "fields"):
            if key not in node:
                raise SchemaError("%s: %s is missing" % (self.path, key))
        self.name = node["name"]
        self.kind = node["type"]
        self.about = node.get("about", "")
        if self.name != os.path.splitext(os.path.basename(self.path))[0]:
            raise SchemaError("%s: name %r differs from the file's" % (self.path, self.name))
        self.check_kind(node)
        valid = versions(node["validVersions"], -1, self.path, "validVersions")
        if not valid or max(valid) > 32767:
            raise SchemaError("%s: validVersions must be one range, like 0-2" % self.path)
        self.min, self.max = min(valid), max(valid)
        self.valid = valid
        self.flexible = (
            versions(node["flexibleVersions"], self.max, self.path, "flexibleVersions") & valid
        )
        self.cname = self.prefix + snake(self.name)
        self.common = {}
        for entry in node.get("commonStructs", []):
            only_keys(entry, STRUCT_KEYS, self.path + ": commonStructs")
            if entry.get("name") in self.common:
                raise SchemaError("%s: struct %s appears twice" % (self.path, entry.get("name")))
            self.common[entry.get("name")] = entry
        self.made = {}
        self.root = Struct(self.name, self.cname)
        self.root.about = self.about
        self.root.used |= valid
        self.parse_fields(self.root, node["fields"], self.path, [])
        self.structs.append(self.root)
        self.spread()
        for entry in self.common:
            if entry not in self.made:
                raise SchemaError("%s: struct %s is never used" % (self.path, entry))
        self.check_sizes()

    def check_kind(self, node):
        if self.kind not in ("request", "response", "header", "data"):
            raise SchemaError("%s: type: %r is not known" % (self.path, self.kind))
        called = self.kind in ("request", "response")
        if called != ("apiKey" in node):
            raise SchemaError("%s: apiKey belongs to requests and responses" % self.path)
        suffix = {"request": "Request", "response": "Response"}.get(self.kind, "")
        if not self.name.endswith(suffix):
            raise SchemaError("%s: the name must end in %s" % (self.path, suffix))
        self.api = self.name[: -len(suffix)] if suffix else None
        self.api_key = node.get("apiKey", -1)
        if called and not (isinstance(self.api_key, int) and 0 <= self.api_key <= 32767):
            raise SchemaError("%s: apiKey: not an int16: %r" % (self.path, self.api_key))

    def parse_fields(self, into, nodes, where, stack):
        if not isinstance(nodes, list):
            raise SchemaError("%s: fields must be a list" % where)
        names, tags = set(), set()
        for node in nodes:
            name = node.get("name", "?") if isinstance(node, dict) else "?"
            at = "%s: %s%s" % (self.path, "".join(s + "." for s in stack), name)
            only_keys(node, FIELD_KEYS, at)
            field = self.parse_field(node, at, stack)
            members = [field.cname] + ([field.cname + "_count"] if field.array else [])
            members += ["has_" + field.cname] if field.struct and not field.array else []
            for member in members:
                if member in names:
                    raise SchemaError("%s: the member %s exists already" % (at, member))
                names.add(member)
            if field.tag is not None and field.tag in tags:
                raise SchemaError("%s: tag %d is taken" % (at, field.tag))
            tags.add(field.tag)
            into.fields.append(field)
        for i, tag in enumerate(sorted(t for t in tags if t is not None)):
            if i != tag:
                raise SchemaError("%s: tag %d is not used: tags count from 0" % (where, i))

    def parse_field(self, node, at, stack):
        f = Field()
        for key in ("name", "type", "versions"):
            if not isinstance(node.get(key), str):
                raise SchemaError("%s: %s is missing" % (at, key))
        f.where, f.name = at, node["name"]
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", f.name):
            raise SchemaError("%s: not a field name" % at)
        f.cname = snake(f.name) + ("_" if snake(f.name) in KEYWORDS else "")
        f.about = node.get("about", "")
        f.array = node["type"].startswith("[]")
        f.item = node["type"][2:] if f.array else node["type"]
        top = self.max
        f.versions = versions(node["versions"], top, at, "versions") & self.valid
        f.nullable = self.subset(f, node, "nullableVersions", at) & f.versions
        f.tagged = self.subset(f, node, "taggedVersions", at) & f.versions
        f.flexible = self.flexible
        if "flexibleVersions" in node:
            f.flexible = self.subset(f, node, "flexibleVersions", at)
        f.tag = node.get("tag")
        if bool(f.tagged) != (f.tag is not None):
            raise SchemaError("%s: tag and taggedVersions go together" % at)
        if not f.tagged <= self.flexible or not f.flexible <= self.flexible:
            raise SchemaError("%s: needs a version that is not flexible" % at)
        if not f.tagged <= f.flexible:
            raise SchemaError("%s: a tagged field is always flexible" % at)
        self.parse_struct(f, node, at, stack)
        if f.nullable and f.kind() == "fixed":
            raise SchemaError("%s: %s cannot be null" % (at, f.item))
        self.parse_max(f, node, at)
        f.default = parse_default(f, node, at)
        return f

    def subset(self, f, node, key, at):
        return versions(node.get(key, "none"), self.max, at, key) & self.valid

    def parse_struct(self, f, node, at, stack):
        scalar = f.item in FIXED or f.item == "string" or f.item in BLOBS
        if scalar:
            if "fields" in node:
                raise SchemaError("%s: %s has no fields" % (at, f.item))
            return
        if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", f.item):
            raise SchemaError("%s: unknown type %r" % (at, f.item))
        inline = "fields" in node
        if inline == (f.item in self.common) or (inline and f.item in self.made):
            problem = "is declared twice" if inline else "is not declared"
            raise SchemaError("%s: struct %s %s" % (at, f.item, problem))
        if f.item in stack:
            raise SchemaError("%s: struct %s contains itself" % (at, f.item))
        if f.item not in self.made:
            made = Struct(f.item, "%s_%s" % (self.cname, snake(f.item)))
            source = node if inline else self.common[f.item]
            made.about = "" if inline else source.get("about", "")
            self.parse_fields(made, source.get("fields"), at, stack + [f.item])
            self.made[f.item] = made
            self.structs.append(made)
        f.struct = self.made[f.item]

    def parse_max(self, f, node, at):
        sized = f.array or f.item == "string" or f.item in BLOBS
        f.max, f.item_max = node.get("max"), node.get("itemMax")
        if sized != (f.max is not None):
            raise SchemaError("%s: max %s" % (at, "is missing" if sized else "means nothing here"))
        if f.array and f.item == "string" and f.item_max is None:
            f.item_max = STRING_MAX
        items_sized = f.array and (f.item == "string" or f.item in BLOBS)
        if items_sized != (f.item_max is not None):
            problem = "is missing" if items_sized else "means nothing here"
            raise SchemaError("%s: itemMax %s" % (at, problem))
        for key in ("max", "itemMax"):
            string = f.item == "string" and (key == "itemMax" or not f.array)
            limit = STRING_MAX if string else LENGTH_MAX
            value = node.get(key, 1)
            if type(value) is not int or not 1 <= value <= limit:
                raise SchemaError("%s: %s: not in 1..%d: %r" % (at, key, limit, value))

    def spread(self):
        """Narrow each field to the versions its struct occurs in. Users come after what they use."""
        for s in reversed(self.structs):
            s.message = self
            for f in s.fields:
                f.versions &= s.used
                f.nullable &= s.used
                f.tagged &= s.used
                if not f.versions:
                    raise SchemaError("%s: in no valid version" % f.where)
                if f.struct:
                    f.struct.used |= f.versions

    def check_sizes(self):
        for s in self.structs:
            for f in s.fields:
                if not f.array:
                    continue
                for v in f.versions:
                    if item_wire_size_min(f, v) == 0:
                        raise SchemaError("%s: an item may take 0 bytes" % f.where)


def parse_default(f, node, at):
    """A Python value; None for null; arrays and structs have only null and empty."""
    kind, value = f.kind(), node.get("default")
    if value is None:
        if kind == "fixed":
            return {"bool": False, "float64": 0.0}.get(f.item, 0)
        # Kafka's record fields start as null; everything else is empty.
        return None if f.item == "records" and not f.array else b""
    if value == "null":
        if not f.nullable:
            raise SchemaError("%s: default null, but never nullable" % at)
        return None
    if kind == "string" and isinstance(value, str):
        if len(value.encode()) > f.max:
            raise SchemaError("%s: the default is longer than max" % at)
        return value.encode()
    try:
        if f.item == "bool" and kind == "fixed":
            return {"true": True, "false": False}[str(value).lower()]
        if f.item == "float64" and kind == "fixed" and math.isfinite(float(value)):
            return float(value)
        if f.item in INT_RANGE and kind == "fixed" and not isinstance(value, (bool, float)):
            number = int(value, 0) if isinstance(value, str) else int(value)
            low, high = INT_RANGE[f.item]
            if low <= number <= high:
                return number
    except (KeyError, ValueError, TypeError):
        pass
    raise SchemaError("%s: %r cannot be the default of %s" % (at, value, node["type"]))


# ---- sizes known to the generator ----


def item_wire_size_min(f, v):
    """Least bytes of one element (of an array) or of the field's value."""
    flexible = v in f.flexible
    if f.struct:
        return struct_wire_size_min(f.struct, v)
    if f.item in FIXED:
        return FIXED[f.item][2]
    if f.item == "string":
        return 1 if flexible else 2
    return 1 if flexible else 4


def struct_wire_size_min(s, v):
    size = 0
    for f in s.fields:
        if v not in f.versions or v in f.tagged:
            continue
        if f.array:
            size += 1 if v in f.flexible else 4
        elif f.struct and v in f.nullable:
            size += 1
        else:
            size += item_wire_size_min(f, v)
    return size + (1 if v in s.message.flexible else 0)
