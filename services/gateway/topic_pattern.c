#include "services/gateway/topic_pattern.h"

#include <regex.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = TOPIC_PATTERN_SIZE_MAX * 16 }; /* a byte becomes a class at most */

struct topic_pattern {
    regex_t regex;
};

/* The text for regcomp(), and where the translation is. */
struct translation {
    char out[TEXT_MAX];
    size_t size;
    int depth;
    bool in_class;
    size_t class_at;    /* characters since it began */
    bool may_repeat;    /* a quantifier may follow */
    const char *reason; /* NULL: fine so far */
};

static void put(struct translation *t, const char *text)
{
    size_t size = strlen(text);

    if (t->size + size < sizeof(t->out)) {
        memcpy(t->out + t->size, text, size + 1);
        t->size += size;
    } else {
        t->reason = "it is too long";
    }
}

static void put_char(struct translation *t, char c)
{
    const char text[2] = {c, '\0'};

    put(t, text);
}

static void take_escape(struct translation *t, char c)
{
    t->may_repeat = true;
    if (c == 'd') {
        put(t, "[0-9]");
    } else if (c == 'w') {
        put(t, "[A-Za-z0-9_]");
    } else if (c == 's') {
        put(t, "[[:space:]]");
    } else if (strchr(".\\+*?()[]{}|^$-/_", c) != NULL) {
        if (strchr("-/_}]", c) == NULL) {
            put_char(t, '\\');
        }
        put_char(t, c);
    } else {
        t->reason = "it has an escape that is not known here";
    }
}

/* Between brackets; a bracket that comes first is an ordinary one. */
static void take_in_class(struct translation *t, char c)
{
    if (c == '[' || c == '\\') {
        t->reason = "it has a bracket or an escape in a class";
    } else if (c == ']' && t->class_at > 0) {
        t->in_class = false;
        t->may_repeat = true;
    }
    t->class_at += c == '^' && t->class_at == 0 ? 0 : 1;
    put_char(t, c);
}

static void take(struct translation *t, char c)
{
    if (strchr("*+?", c) != NULL) {
        if (!t->may_repeat) {
            t->reason = "a quantifier follows nothing, or another one";
        }
        t->may_repeat = false;
    } else if (c == '{' || c == '}') {
        t->reason = "it has a count in braces";
    } else if (c == '(') {
        t->depth++;
        t->may_repeat = false;
        if (t->depth > TOPIC_PATTERN_DEPTH_MAX) {
            t->reason = "its groups are too deep";
        }
    } else if (c == ')') {
        t->depth--;
        t->may_repeat = true;
        if (t->depth < 0) {
            t->reason = "its parentheses do not match";
        }
    } else if (c == '[') {
        t->in_class = true;
        t->class_at = 0;
    } else {
        t->may_repeat = c != '|' && c != '^';
    }
    put_char(t, c);
}

static const char *translate(struct ria_slice text, struct translation *t)
{
    put(t, "^(");
    for (size_t i = 0; i < text.size && t->reason == NULL; i++) {
        char c = (char)text.data[i];
        if (c == '\0' || (unsigned char)c >= 0x80) {
            return "topics have names of ASCII letters, digits, dots, dashes and underscores";
        }
        if (t->in_class) {
            take_in_class(t, c);
        } else if (c == '\\' && i + 1 < text.size) {
            take_escape(t, (char)text.data[++i]);
        } else if (c == '\\') {
            return "it ends in an escape";
        } else {
            take(t, c);
        }
    }
    put(t, ")$");
    if (t->reason == NULL && (t->in_class || t->depth != 0)) {
        return "its brackets or parentheses do not match";
    }
    return t->reason;
}

struct topic_pattern *topic_pattern_new(struct ria_slice text, const char **out_reason)
{
    struct translation translation = {.size = 0};
    struct topic_pattern *pattern = NULL;

    if (text.size == 0 || text.size > TOPIC_PATTERN_SIZE_MAX) {
        *out_reason = "it must have 1 to 256 bytes";
        return NULL;
    }
    *out_reason = translate(text, &translation);
    if (*out_reason != NULL) {
        return NULL;
    }
    pattern = calloc(1, sizeof(*pattern));
    if (pattern == NULL) {
        *out_reason = "there is no memory for it";
        return NULL;
    }
    if (regcomp(&pattern->regex, translation.out, REG_EXTENDED | REG_NOSUB) != 0) {
        *out_reason = "it is no regular expression";
        free(pattern);
        return NULL;
    }
    return pattern;
}

void topic_pattern_free(struct topic_pattern *pattern)
{
    if (pattern != NULL) {
        regfree(&pattern->regex);
        free(pattern);
    }
}

bool topic_pattern_matches(const struct topic_pattern *pattern, const char *name)
{
    return regexec(&pattern->regex, name, 0, NULL, 0) == 0;
}
