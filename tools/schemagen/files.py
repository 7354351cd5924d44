"""The files of one message, and the dispatch table of all."""

from schemagen.schema import snake
from schemagen.expressions import Code, HEAD, needs_is_default
from schemagen.structs import (
    emit_decode, emit_encode, emit_init, emit_is_default, emit_size, emit_struct,
)


def emit_enums(c, m):
    c.add("enum { %s_VERSION_MIN = %d, %s_VERSION_MAX = %d };"
          % (m.cname.upper(), m.min, m.cname.upper(), m.max))  # fmt: skip
    if m.api is not None:
        c.add("#define %s%s_API_KEY %d" % (m.prefix.upper(), snake(m.api).upper(), m.api_key))
    c.add()


def header_file(m):
    c = Code()
    c.add((HEAD % m.path).rstrip("\n"))
    c.add("#pragma once")
    c.add()
    c.add('#include "common/codec.h"')
    c.add()
    emit_enums(c, m)
    for s in m.structs:
        emit_struct(c, s)
    c.add("/* Sets the defaults. Memory that is only zeroed has null for whatever may be null. */")
    for s in m.structs:
        c.add("void %s_init(struct %s *m);" % (s.cname, s.cname))
    c.add()
    c.add("/* The exact size of what encode writes. */")
    c.add("uint32_t %s_size(const struct %s *m, int16_t version);" % (m.cname, m.cname))
    c.add(
        "void %s_encode(const struct %s *m, int16_t version, struct ria_writer *w);"
        % (m.cname, m.cname)
    )
    c.add()
    c.add("/* Slices borrow from r's bytes, arrays come from arena. After an error *out holds the")
    c.add(" * defaults. Errors: RIA_ERR_MALFORMED, RIA_ERR_LIMIT, RIA_ERR_NOMEM,")
    c.add(" * RIA_ERR_UNKNOWN_VERSION. */")
    c.add(
        "ria_err %s_decode(struct %s *out, int16_t version, struct ria_reader *r, "
        "struct ria_arena *arena) RIA_MUST_USE;" % (m.cname, m.cname)
    )
    return c.text()


def source_file(m, out):
    c = Code()
    c.add((HEAD % m.path).rstrip("\n"))
    c.add('#include "%s/%s.h"' % (out, m.cname))
    c.add()
    compared = needs_is_default(m)
    for s in m.structs:
        emit_init(c, s)
        if s.name in compared and s is not m.root:
            emit_is_default(c, s)
        emit_size(c, s)
        emit_encode(c, s)
        emit_decode(c, s)
    low, high = m.cname.upper() + "_VERSION_MIN", m.cname.upper() + "_VERSION_MAX"
    c.add("uint32_t %s_size(const struct %s *m, int16_t version)" % (m.cname, m.cname))
    c.add("{")
    c.depth += 1
    c.add("RIA_ASSERT(version >= %s && version <= %s);" % (low, high))
    c.add("size_t size = %s_size_(m, version);" % m.cname)
    c.add("RIA_ASSERT(size <= INT32_MAX);")
    c.add("return (uint32_t)size;")
    c.close()
    c.add()
    c.add(
        "void %s_encode(const struct %s *m, int16_t version, struct ria_writer *w)"
        % (m.cname, m.cname)
    )
    c.add("{")
    c.depth += 1
    c.add("RIA_ASSERT(version >= %s && version <= %s);" % (low, high))
    c.add("%s_encode_(m, version, w);" % m.cname)
    c.close()
    c.add()
    c.add(
        "ria_err %s_decode(struct %s *out, int16_t version, struct ria_reader *r, "
        "struct ria_arena *arena)" % (m.cname, m.cname)
    )
    c.add("{")
    c.depth += 1
    c.open("if (version < %s || version > %s)" % (low, high))
    c.add("%s_init(out);" % m.cname)
    c.add("return RIA_ERR_UNKNOWN_VERSION;")
    c.close()
    c.add("%s_decode_(out, version, r, arena);" % m.cname)
    c.open("if (r->err != RIA_OK)")
    c.add("%s_init(out);" % m.cname)
    c.close()
    c.add("return r->err;")
    c.close()
    return c.text()


# ---- dispatch table ----

SCHEMA_STRUCT = """\
/* What is known of one version range of one message, with its functions on untyped memory. */
struct schema_message {
    const char *name;
    int16_t api_key; /* -1: a header or a record */
    bool is_request;
    int16_t version_min;
    int16_t version_max;
    int16_t flexible_version_min; /* INT16_MAX: never flexible */
    size_t struct_size;
    uint32_t (*size)(const void *m, int16_t version);
    void (*encode)(const void *m, int16_t version, struct ria_writer *w);
    ria_err (*decode)(
        void *out, int16_t version, struct ria_reader *r, struct ria_arena *arena
    );
    void (*init)(void *m);
};
"""

THUNKS = """\
#define THUNKS(name)                                                                           \\
    static uint32_t name##_size_(const void *m, int16_t version)                               \\
    {                                                                                          \\
        return name##_size(m, version);                                                        \\
    }                                                                                          \\
    static void name##_encode_(const void *m, int16_t version, struct ria_writer *w)           \\
    {                                                                                          \\
        name##_encode(m, version, w);                                                          \\
    }                                                                                          \\
    static ria_err name##_decode_(                                                             \\
        void *out, int16_t version, struct ria_reader *r, struct ria_arena *arena              \\
    )                                                                                          \\
    {                                                                                          \\
        return name##_decode(out, version, r, arena);                                          \\
    }                                                                                          \\
    static void name##_init_(void *m)                                                          \\
    {                                                                                          \\
        name##_init(m);                                                                        \\
    }
"""


def apis(messages):
    out = {}
    for m in messages:
        if m.api is not None:
            out[m.api_key] = m.api
    return sorted(out.items())


def table_header(package, messages):
    p = package.prefix
    c = Code()
    c.add((HEAD % " and ".join(package.inputs)).rstrip("\n"))
    c.add("#pragma once")
    c.add()
    c.add('#include "common/codec.h"' if not p else '#include "schemas/gen/messages.h"')
    c.add()
    if apis(messages):
        c.open("enum %sapi_key" % p)
        for key, api in apis(messages):
            c.add("%sAPI_%s = %d," % (p.upper(), snake(api).upper(), key))
        c.close(";")
        c.add()
    if not p:
        c.add(SCHEMA_STRUCT)
    c.add("/* NULL: there is none. */")
    c.add("const struct schema_message *%sschema_request(int16_t api_key);" % p)
    c.add("const struct schema_message *%sschema_response(int16_t api_key);" % p)
    c.add("const struct schema_message *%sschema_find(const char *name);" % p)
    c.add()
    c.add("/* Every message, header and record, in order of name; index < count. */")
    c.add("size_t %sschema_count(void);" % p)
    c.add("const struct schema_message *%sschema_at(size_t index);" % p)
    c.add()
    c.add('/* "Produce"; "unknown" for a key that is in no table. */')
    c.add("const char *%sapi_name(int16_t api_key);" % p)
    return c.text()


def emit_lookup(c, p, kind, messages):
    c.add("const struct schema_message *%sschema_%s(int16_t api_key)" % (p, kind))
    c.add("{")
    c.depth += 1
    c.open("switch (api_key)")
    for i, m in enumerate(messages):
        if m.kind == kind:
            c.add("case %d:" % m.api_key)
            c.add("    return &table[%d]; /* %s */" % (i, m.name))
    c.add("default:")
    c.add("    return NULL;")
    c.close()
    c.close()
    c.add()


def emit_table(c, messages):
    c.open("static const struct schema_message table[] =")
    for m in messages:
        flexible = "%d" % min(m.flexible) if m.flexible else "INT16_MAX"
        c.open("")
        c.lines[-1] = c.lines[-1].replace(" {", "{")
        c.add('.name = "%s",' % m.name)
        c.add(".api_key = %d," % m.api_key)
        c.add(".is_request = %s," % ("true" if m.kind == "request" else "false"))
        c.add(".version_min = %d," % m.min)
        c.add(".version_max = %d," % m.max)
        c.add(".flexible_version_min = %s," % flexible)
        c.add(".struct_size = sizeof(struct %s)," % m.cname)
        for name in ("size", "encode", "decode", "init"):
            c.add(".%s = %s_%s_," % (name, m.cname, name))
        c.close(",")
    c.close(";")
    c.add()


def table_source(package, messages):
    p = package.prefix
    c = Code()
    c.add((HEAD % " and ".join(package.inputs)).rstrip("\n"))
    c.add('#include "%s/%smessages.h"' % (package.out, p))
    c.add()
    c.add("#include <string.h>")
    c.add()
    for m in messages:
        c.add('#include "%s/%s.h"' % (package.out, m.cname))
    c.add()
    c.add(THUNKS)
    for m in messages:
        c.add("THUNKS(%s)" % m.cname)
    c.add()
    emit_table(c, messages)
    emit_lookup(c, p, "request", messages)
    emit_lookup(c, p, "response", messages)
    c.lines += TABLE_FUNCTIONS.replace("PREFIX_", p).rstrip("\n").split("\n")
    c.open("switch (api_key)")
    for key, api in apis(messages):
        c.add("case %d:" % key)
        c.add('    return "%s";' % api)
    c.add("default:")
    c.add('    return "unknown";')
    c.close()
    c.add("}")
    return c.text()


TABLE_FUNCTIONS = """\
const struct schema_message *PREFIX_schema_find(const char *name)
{
    size_t low = 0;
    size_t high = RIA_COUNT(table);

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(table[middle].name, name);
        if (order == 0) {
            return &table[middle];
        }
        low = order < 0 ? middle + 1 : low;
        high = order < 0 ? high : middle;
    }
    return NULL;
}

size_t PREFIX_schema_count(void)
{
    return RIA_COUNT(table);
}

const struct schema_message *PREFIX_schema_at(size_t index)
{
    RIA_ASSERT(index < RIA_COUNT(table));
    return &table[index];
}

const char *PREFIX_api_name(int16_t api_key)
{
"""


def make_file(package, messages):
    names = [m.cname for m in messages] + [package.prefix + "messages"]
    lines = ["# Generated by tools/schemagen.py. Do not edit."]
    lines.append("%sSCHEMAS_GEN_SOURCES := \\" % package.prefix.upper())
    paths = sorted("%s/%s.c" % (package.out, n) for n in names)
    return "\n".join(lines + ["    %s \\" % x for x in paths[:-1]] + ["    " + paths[-1]]) + "\n"
