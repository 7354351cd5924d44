"""The functions of one struct: defaults, sizes, encoder, decoder."""

from schemagen.schema import FIXED, item_wire_size_min
from schemagen.expressions import (
    c_bytes, c_number, c_type, comment, condition, differs, flag, is_zero_default,
)


def emit_struct(c, s):
    comment(c, s.about)
    c.open("struct %s" % s.cname)
    if not s.fields:
        c.add("uint8_t unused_; /* C has no empty structs */")
    for f in s.fields:
        about = f.about
        if f.nullable:
            about = (about.rstrip(". ") + ". " if about else "") + "May be null."
        comment(c, about)
        if f.array:
            c.add("%s *%s;" % (c_type(f), f.cname))
            c.add("uint32_t %s_count;" % f.cname)
            continue
        if f.struct and f.nullable:
            c.add("bool has_%s;" % f.cname)
        c.add("%s %s;" % (c_type(f), f.cname))
    c.close(";")
    c.add()


def emit_init(c, s):
    c.add("void %s_init(struct %s *m)" % (s.cname, s.cname))
    c.add("{")
    c.depth += 1
    c.add("*m = (struct %s){0};" % s.cname)
    for f in s.fields:
        if is_zero_default(f):
            continue
        kind = f.kind()
        if kind == "struct":
            if f.nullable:
                c.add("m->has_%s = true;" % f.cname)
            c.add("%s_init(&m->%s);" % (f.struct.cname, f.cname))
        elif kind == "array":
            c.add("m->%s = ria_arena_empty();" % f.cname)
        elif kind == "fixed":
            c.add("m->%s = %s;" % (f.cname, c_number(f.item, f.default)))
        else:
            c.add("m->%s = RIA_SLICE_LITERAL(%s);" % (f.cname, c_bytes(f.default)))
    c.close()
    c.add()


def emit_is_default(c, s):
    c.add("static bool %s_is_default(const struct %s *m)" % (s.cname, s.cname))
    c.add("{")
    c.depth += 1
    for f in s.fields:
        c.open("if (%s)" % differs(f, "m->"))
        c.add("return false;")
        c.close()
    c.add("return true;")
    c.close()
    c.add()


def emit_value_size(c, f, s, within):
    """Statements that add the encoded size of m's field to size."""
    flexible = flag(f.flexible, within)
    x = "m->" + f.cname
    one = lambda item: {
        "string": "ria_string_size(%s, %s)",
        "bytes": "ria_blob_size(%s, %s)",
        "records": "ria_blob_size(%s, %s)",
    }[f.item] % (item, flexible)
    if f.array:
        c.add("size += ria_count_size(%s_count, %s);" % (x, flexible))
        if f.item in FIXED:
            c.add("size += (size_t)%s_count * %d;" % (x, FIXED[f.item][2]))
            return
        c.open("for (uint32_t i = 0; i < %s_count; i++)" % x)
        if f.struct:
            c.add("size += %s_size_(&%s[i], version);" % (f.struct.cname, x))
        else:
            c.add("size += %s;" % one(x + "[i]"))
        c.close()
    elif f.struct:
        add = lambda: c.add("size += %s_size_(&%s, version);" % (f.struct.cname, x))
        nullable = condition(f.nullable, within)
        if nullable == "false":
            add()
            return
        if nullable is None:
            c.add("size += 1;")
            c.when("m->has_%s" % f.cname, add)
            return
        c.add("size += %s ? 1 : 0;" % nullable)
        c.when("m->has_%s || !(%s)" % (f.cname, nullable), add)
    elif f.item in FIXED:
        c.add("size += %d;" % FIXED[f.item][2])
    else:
        c.add("size += %s;" % one(x))


def emit_value_write(c, f, s, within):
    flexible, nullable = flag(f.flexible, within), flag(f.nullable, within)
    x = "m->" + f.cname

    def one(item, maximum, null):
        if f.item in FIXED:
            c.add("ria_write_%s(w, %s);" % (FIXED[f.item][1], item))
        elif f.struct:
            c.add("%s_encode_(&%s, version, w);" % (f.struct.cname, item))
        else:
            call = "string" if f.item == "string" else "blob"
            c.add("ria_write_%s(w, %s, %s, %s, %d);" % (call, item, flexible, null, maximum))

    if f.array:
        c.add(
            "ria_write_count(w, %s, %s_count, %s, %s, %d);" % (x, x, flexible, nullable, f.max)
        )
        c.open("for (uint32_t i = 0; i < %s_count; i++)" % x)
        one(x + "[i]", f.item_max, "false")
        c.close()
    elif f.struct and nullable != "false":
        write = lambda: one(x, f.max, nullable)
        c.when(
            condition(f.nullable, within) or "true",
            lambda: c.add("ria_write_i8(w, m->has_%s ? 1 : -1);" % f.cname),
        )
        always = condition(f.nullable, within)
        c.when("m->has_%s" % f.cname + (" || !(%s)" % always if always else ""), write)
    else:
        one(x, f.max, nullable)


def emit_value_read(c, f, s, within):
    flexible, nullable = flag(f.flexible, within), flag(f.nullable, within)
    x = "out->" + f.cname

    def one(item, maximum, null):
        if f.item in FIXED:
            c.add("%s = ria_read_%s(r);" % (item, FIXED[f.item][1]))
        elif f.struct:
            c.add("%s_decode_(&%s, version, r, arena);" % (f.struct.cname, item))
        else:
            call = "string" if f.item == "string" else "blob"
            c.add("%s = ria_read_%s(r, %s, %s, %d);" % (item, call, flexible, null, maximum))

    if f.array:
        least = min(item_wire_size_min(f, v) for v in f.versions & within)
        shape = "(struct ria_array_shape){%s, %s, %d, %d, sizeof(*%s)}" % (
            flexible, nullable, f.max, least, x,
        )  # fmt: skip
        c.add("%s = ria_read_array(r, arena, %s, &%s_count);" % (x, shape, x))
        c.open("for (uint32_t i = 0; i < %s_count && r->err == RIA_OK; i++)" % x)
        one(x + "[i]", f.item_max, "false")
        c.close()
    elif f.struct and nullable != "false":
        always = condition(f.nullable, within)
        c.add(
            "out->has_%s = %sria_read_i8(r) >= 0;"
            % (f.cname, "!(%s) || " % always if always else "")
        )
        c.when("out->has_%s" % f.cname, lambda: one(x, f.max, nullable))
    else:
        one(x, f.max, nullable)


def tag_guard(f, s):
    cond = condition(f.tagged, s.used)
    if cond and "||" in cond:
        cond = "(%s)" % cond
    return cond


def emit_tag_sizes(c, s):
    """One function per tagged field: its size is needed twice."""
    for f in s.tagged():
        c.add(
            "static size_t %s_%s_size_(const struct %s *m, int16_t version)"
            % (s.cname, f.cname, s.cname)
        )
        c.add("{")
        c.depth += 1
        c.add("size_t size = 0;")
        c.add("(void)m;")
        c.add("(void)version;")
        emit_value_size(c, f, s, f.tagged)
        c.add("return size;")
        c.close()
        c.add()


def flexible_guard(s):
    return condition(s.message.flexible, s.used)


def emit_size(c, s):
    emit_tag_sizes(c, s)
    c.add("static size_t %s_size_(const struct %s *m, int16_t version)" % (s.cname, s.cname))
    c.add("{")
    c.depth += 1
    c.add("size_t size = 0;")
    c.add("(void)m;")
    c.add("(void)version;")
    for f in s.fields:
        plain = f.versions - f.tagged
        c.when(condition(plain, s.used), lambda f=f: emit_value_size(c, f, s, plain))

    def tags():
        if not s.tagged():
            c.add("size += 1; /* no tagged fields */")
            return
        c.add("uint32_t tags = 0;")
        for f in s.tagged():
            guard = tag_guard(f, s)
            c.open("if (%s%s)" % (guard + " && " if guard else "", differs(f, "m->")))
            c.add("size_t field_size = %s_%s_size_(m, version);" % (s.cname, f.cname))
            c.add("tags++;")
            c.add("size += ria_uvarint_size(%d);" % f.tag)
            c.add("size += ria_uvarint_size((uint32_t)field_size) + field_size;")
            c.close()
        c.add("size += ria_uvarint_size(tags);")

    c.when(flexible_guard(s), tags)
    c.add("return size;")
    c.close()
    c.add()


def emit_encode(c, s):
    c.add(
        "static void %s_encode_(const struct %s *m, int16_t version, struct ria_writer *w)"
        % (s.cname, s.cname)
    )
    c.add("{")
    c.depth += 1
    c.add("(void)m;")
    c.add("(void)version;")
    c.add("(void)w;")
    for f in s.fields:
        plain = f.versions - f.tagged
        c.when(condition(plain, s.used), lambda f=f: emit_value_write(c, f, s, plain))

    def tags():
        if not s.tagged():
            c.add("ria_write_uvarint(w, 0); /* no tagged fields */")
            return
        c.add("uint32_t tags = 0;")
        guards = []
        for f in s.tagged():
            guard = tag_guard(f, s)
            guards.append((guard + " && " if guard else "") + differs(f, "m->"))
            c.open("if (%s)" % guards[-1])
            c.add("tags++;")
            c.close()
        c.add("ria_write_uvarint(w, tags);")
        for f, guard in zip(s.tagged(), guards):
            c.open("if (%s)" % guard)
            c.add("ria_write_uvarint(w, %d);" % f.tag)
            c.add(
                "ria_write_uvarint(w, (uint32_t)%s_%s_size_(m, version));" % (s.cname, f.cname)
            )
            emit_value_write(c, f, s, f.tagged)
            c.close()

    c.when(flexible_guard(s), tags)
    c.close()
    c.add()


def emit_decode(c, s):
    c.add(
        "static void %s_decode_(struct %s *out, int16_t version, struct ria_reader *r, "
        "struct ria_arena *arena)" % (s.cname, s.cname)
    )
    c.add("{")
    c.depth += 1
    c.add("(void)version;")
    c.add("(void)r;")
    c.add("(void)arena;")
    c.add("%s_init(out);" % s.cname)
    for f in s.fields:
        plain = f.versions - f.tagged
        c.when(condition(plain, s.used), lambda f=f: emit_value_read(c, f, s, plain))

    def tags():
        if not s.tagged():
            c.add("ria_read_tags_unknown(r);")
            return
        c.add("struct ria_tags tags = ria_read_tags(r);")
        c.open("while (ria_tags_next(&tags, r))")
        first = True
        for f in s.tagged():
            guard = tag_guard(f, s)
            test = "tags.tag == %d%s" % (f.tag, " && " + guard if guard else "")
            if first:
                c.open("if (%s)" % test)
            else:
                c.depth -= 1
                c.open("} else if (%s)" % test)
            first = False
            emit_value_read(c, f, s, f.tagged)
        c.depth -= 1
        c.open("} else")
        c.add("ria_tags_skip(r);")
        c.close()
        c.close()

    c.when(flexible_guard(s), tags)
    c.close()
    c.add()
