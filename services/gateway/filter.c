#include "services/gateway/filter.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "services/gateway/decimal.h"

typedef enum filter_op {
    FILTER_EXISTS,
    FILTER_EQUAL,
    FILTER_NOT_EQUAL,
    FILTER_PREFIX,
    FILTER_LESS,
    FILTER_LESS_EQUAL,
    FILTER_GREATER,
    FILTER_GREATER_EQUAL,
} filter_op;

typedef enum filter_subject {
    FILTER_KEY,
    FILTER_HEADER,
    FILTER_PATH,
} filter_subject;

struct filter_step {
    char *name; /* NULL: an index */
    uint32_t index;
};

struct filter {
    filter_subject subject;
    filter_op op;
    char *text;               /* the filter's own copy; names and plain operands point into it */
    struct ria_slice name;    /* of a header */
    struct ria_slice operand; /* of a key or header; a string literal's content, a number's text */
    struct filter_step steps[FILTER_STEPS_MAX];
    uint32_t step_count;
    ria_json_type type;     /* of the literal */
    struct ria_arena arena; /* an unescaped string literal */
};

struct filter_set {
    uint32_t count;
    struct filter filters[FILTERS_MAX];
};

struct parser {
    struct filter *filter;
    char *at;
    char *reason;
};

static const struct {
    const char *text;
    filter_op op;
} operators[] = {
    {"==", FILTER_EQUAL},
    {"!=", FILTER_NOT_EQUAL},
    {"^=", FILTER_PREFIX},
    {"<=", FILTER_LESS_EQUAL},
    {">=", FILTER_GREATER_EQUAL},
    {"=", FILTER_EQUAL},
    {"<", FILTER_LESS},
    {">", FILTER_GREATER},
};

void filter_scratch_init(struct filter_scratch *scratch)
{
    ria_json_init(&scratch->json);
}

void filter_scratch_fini(struct filter_scratch *scratch)
{
    ria_json_fini(&scratch->json);
}

/* --- parsing -----------------------------------------------------------------------------------*/

static ria_err RIA_PRINTF(2, 3) fail(const struct parser *parser, const char *fmt, ...)
{
    va_list args;

    int n = snprintf(
        parser->reason,
        FILTER_REASON_MAX,
        "at character %zu: ",
        (size_t)(parser->at - parser->filter->text) + 1
    );
    va_start(args, fmt);
    (void)vsnprintf(parser->reason + n, FILTER_REASON_MAX - (size_t)n, fmt, args);
    va_end(args);
    return RIA_ERR_INVALID;
}

static void skip_spaces(struct parser *parser)
{
    while (*parser->at == ' ' || *parser->at == '\t') {
        parser->at++;
    }
}

static bool take(struct parser *parser, const char *word)
{
    size_t size = strlen(word);

    if (strncmp(parser->at, word, size) != 0) {
        return false;
    }
    parser->at += size;
    return true;
}

static bool take_operator(struct parser *parser)
{
    for (size_t i = 0; i < RIA_COUNT(operators); i++) {
        if (take(parser, operators[i].text)) {
            parser->filter->op = operators[i].op;
            return true;
        }
    }
    return false;
}

/* "=TEXT" of a key or header: the text is everything up to the end. */
static ria_err parse_text(struct parser *parser)
{
    struct filter *filter = parser->filter;

    if (!take_operator(parser) || filter->op > FILTER_PREFIX) {
        return fail(parser, "=, != or ^= and a text is wanted here");
    }
    filter->operand = ria_slice_cstr(parser->at);
    return RIA_OK;
}

/* The operator ends the name, so its first character is not one of a header's name in a filter. */
static ria_err parse_header(struct parser *parser)
{
    size_t size = strcspn(parser->at, "=!^");

    if (size == 0) {
        return fail(parser, "the name of a header is wanted here");
    }
    parser->filter->name = ria_slice_of(parser->at, size);
    parser->at += size;
    return parse_text(parser);
}

/* A name is cut off in place: what ends it is read first. */
static ria_err parse_step(struct parser *parser)
{
    struct filter_step *step = &parser->filter->steps[parser->filter->step_count];

    if (take(parser, "['")) {
        char *end = strstr(parser->at, "']");
        if (end == NULL) {
            return fail(parser, "the name has no end: ']");
        }
        step->name = strndup(parser->at, (size_t)(end - parser->at));
        parser->at = end + 2;
    } else if (take(parser, "[")) {
        char *end = parser->at;
        unsigned long index = strtoul(parser->at, &end, 10);
        if (*parser->at < '0' || *parser->at > '9' || *end != ']' || index > UINT32_MAX - 1) {
            return fail(parser, "a number and ] are wanted here");
        }
        step->index = (uint32_t)index;
        parser->at = end + 1;
        parser->filter->step_count++;
        return RIA_OK;
    } else {
        parser->at++; /* the dot */
        size_t size = strcspn(parser->at, ".[=!^<> \t");
        if (size == 0) {
            return fail(parser, "the name of a member is wanted here");
        }
        step->name = strndup(parser->at, size);
        parser->at += size;
    }
    if (step->name == NULL) {
        return RIA_ERR_NOMEM;
    }
    parser->filter->step_count++;
    return RIA_OK;
}

static ria_err parse_literal(struct parser *parser)
{
    struct filter *filter = parser->filter;
    struct ria_slice text = ria_slice_cstr(parser->at);
    struct ria_json json;

    ria_json_init(&json);
    ria_err err = ria_json_parse(&json, text, 1);
    filter->type = err == RIA_OK ? json.tokens[0].type : RIA_JSON_NULL;
    if (err == RIA_OK && filter->type == RIA_JSON_STRING) {
        /* Without escapes it points into the filter's text, which stays. */
        err = ria_json_string(&json, 0, &filter->arena, &filter->operand);
    } else if (err == RIA_OK && filter->type == RIA_JSON_NUMBER) {
        filter->operand = ria_json_raw(&json, 0);
    } else if (filter->type == RIA_JSON_OBJECT || filter->type == RIA_JSON_ARRAY) {
        err = RIA_ERR_INVALID;
    }
    ria_json_fini(&json);
    if (err == RIA_ERR_NOMEM) {
        return err;
    }
    if (err != RIA_OK) {
        return fail(
            parser, "a JSON string in quotes, a number, true, false or null is wanted here"
        );
    }
    bool has_order = filter->type == RIA_JSON_STRING || filter->type == RIA_JSON_NUMBER;
    if (filter->op >= FILTER_LESS && !has_order) {
        return fail(parser, "<, <=, > and >= take a number or a string");
    }
    if (filter->op == FILTER_PREFIX && filter->type != RIA_JSON_STRING) {
        return fail(parser, "^= takes a string in quotes");
    }
    return RIA_OK;
}

static ria_err parse_path(struct parser *parser)
{
    struct filter *filter = parser->filter;

    while (*parser->at == '.' || *parser->at == '[') {
        if (filter->step_count == FILTER_STEPS_MAX) {
            return fail(parser, "a path has at most %d steps", FILTER_STEPS_MAX);
        }
        RIA_TRY(parse_step(parser));
    }
    if (filter->step_count == 0) {
        return fail(parser, "a path goes on with .NAME, ['NAME'] or [NUMBER]");
    }
    skip_spaces(parser);
    if (*parser->at == '\0') {
        filter->op = FILTER_EXISTS;
        return RIA_OK;
    }
    if (!take_operator(parser)) {
        return fail(parser, "=, !=, ^=, <, <=, > or >= is wanted here");
    }
    skip_spaces(parser);
    return parse_literal(parser);
}

static ria_err parse(struct filter *filter, struct ria_slice text, char *reason)
{
    struct parser parser = {.filter = filter, .reason = reason};

    ria_arena_init(&filter->arena, FILTER_SIZE_MAX * 2);
    if (text.size > FILTER_SIZE_MAX) {
        (void)snprintf(
            reason,
            FILTER_REASON_MAX,
            "at character %d: it is longer than %d bytes",
            FILTER_SIZE_MAX + 1,
            FILTER_SIZE_MAX
        );
        return RIA_ERR_INVALID;
    }
    filter->text = strndup((const char *)text.data, text.size);
    if (filter->text == NULL) {
        return RIA_ERR_NOMEM;
    }
    parser.at = filter->text;
    if (take(&parser, "header:")) {
        filter->subject = FILTER_HEADER;
        return parse_header(&parser);
    }
    if (take(&parser, "key")) {
        filter->subject = FILTER_KEY;
        return parse_text(&parser);
    }
    if (take(&parser, "$")) {
        filter->subject = FILTER_PATH;
        return parse_path(&parser);
    }
    return fail(&parser, "a filter begins with key, header: or $");
}

ria_err filter_set_new(
    const struct ria_slice *texts,
    uint32_t count,
    struct filter_set **out_set,
    char out_reason[FILTER_REASON_MAX]
)
{
    RIA_ASSERT(count <= FILTERS_MAX);
    if (count == 0) {
        *out_set = NULL;
        return RIA_OK;
    }
    struct filter_set *set = calloc(1, sizeof(*set));
    if (set == NULL) {
        return RIA_ERR_NOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        set->count = i + 1;
        ria_err err = parse(&set->filters[i], texts[i], out_reason);
        if (err != RIA_OK) {
            filter_set_free(set);
            return err;
        }
    }
    *out_set = set;
    return RIA_OK;
}

void filter_set_free(struct filter_set *set)
{
    if (set == NULL) {
        return;
    }
    for (uint32_t i = 0; i < set->count; i++) {
        struct filter *filter = &set->filters[i];
        for (uint32_t s = 0; s < RIA_COUNT(filter->steps); s++) {
            free(filter->steps[s].name);
        }
        free(filter->text);
        ria_arena_fini(&filter->arena);
    }
    free(set);
}

/* --- evaluating --------------------------------------------------------------------------------*/

static bool begins_with(struct ria_slice text, struct ria_slice with)
{
    return text.size >= with.size && ria_slice_equal(ria_slice_sub(text, 0, with.size), with);
}

static bool text_matches(const struct filter *filter, struct ria_slice text)
{
    switch (filter->op) {
    case FILTER_EQUAL:
        return ria_slice_equal(text, filter->operand);
    case FILTER_NOT_EQUAL:
        return !ria_slice_equal(text, filter->operand);
    case FILTER_PREFIX:
        return begins_with(text, filter->operand);
    case FILTER_EXISTS:
    case FILTER_LESS:
    case FILTER_LESS_EQUAL:
    case FILTER_GREATER:
    case FILTER_GREATER_EQUAL:
        break;
    }
    return false;
}

static bool header_matches(const struct filter *filter, const struct batch_record *record)
{
    struct ria_slice cursor = record->headers;
    struct batch_record_header header;
    bool more = false;

    while (batch_record_header_next(&cursor, &header, &more) == RIA_OK && more) {
        if (ria_slice_equal(header.name, filter->name) && !ria_slice_is_null(header.value) &&
            text_matches(filter, header.value)) {
            return true;
        }
    }
    return false;
}

static int compare_texts(struct ria_slice a, struct ria_slice b)
{
    size_t size = ria_min_size(a.size, b.size);
    int order = size == 0 ? 0 : memcmp(a.data, b.data, size);

    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static bool order_matches(filter_op op, int order)
{
    switch (op) {
    case FILTER_EXISTS:
        return true;
    case FILTER_EQUAL:
        return order == 0;
    case FILTER_NOT_EQUAL:
        return order != 0;
    case FILTER_LESS:
        return order < 0;
    case FILTER_LESS_EQUAL:
        return order <= 0;
    case FILTER_GREATER:
        return order > 0;
    case FILTER_GREATER_EQUAL:
        return order >= 0;
    case FILTER_PREFIX:
        break;
    }
    return false;
}

static bool string_matches(const struct filter *filter, const struct ria_json *json, uint32_t token)
{
    struct ria_arena arena;
    struct ria_slice text;

    ria_arena_init(&arena, json->text.size + 16);
    bool matches = false;
    if (ria_json_string(json, token, &arena, &text) == RIA_OK) {
        matches = filter->op == FILTER_PREFIX
                      ? begins_with(text, filter->operand)
                      : order_matches(filter->op, compare_texts(text, filter->operand));
    }
    ria_arena_fini(&arena);
    return matches;
}

static bool token_matches(const struct filter *filter, const struct ria_json *json, uint32_t token)
{
    ria_json_type type = json->tokens[token].type;

    if (filter->op == FILTER_EXISTS) {
        return true;
    }
    if (type != filter->type) {
        return filter->op == FILTER_NOT_EQUAL;
    }
    if (type == RIA_JSON_NUMBER) {
        return order_matches(
            filter->op, decimal_compare(ria_json_raw(json, token), filter->operand)
        );
    }
    if (type == RIA_JSON_STRING) {
        return string_matches(filter, json, token);
    }
    return filter->op == FILTER_EQUAL; /* true, false, null: of the same type is the same */
}

static int64_t element_of(const struct ria_json *json, uint32_t array, uint32_t index)
{
    if (json->tokens[array].type != RIA_JSON_ARRAY || index >= json->tokens[array].children) {
        return RIA_JSON_NONE;
    }
    uint32_t token = array + 1;
    for (uint32_t i = 0; i < index; i++) {
        token = json->tokens[token].next;
    }
    return token;
}

static bool path_matches(const struct filter *filter, const struct ria_json *json)
{
    int64_t token = 0;

    for (uint32_t i = 0; i < filter->step_count && token >= 0; i++) {
        const struct filter_step *step = &filter->steps[i];
        token = step->name == NULL ? element_of(json, (uint32_t)token, step->index)
                                   : ria_json_member(json, (uint32_t)token, step->name);
    }
    return token >= 0 && token_matches(filter, json, (uint32_t)token);
}

bool filter_set_matches(
    const struct filter_set *set, const struct batch_record *record, struct filter_scratch *scratch
)
{
    bool is_parsed = false;

    for (uint32_t i = 0; set != NULL && i < set->count; i++) {
        const struct filter *filter = &set->filters[i];
        bool matches = false;
        switch (filter->subject) {
        case FILTER_KEY:
            matches = !ria_slice_is_null(record->key) && text_matches(filter, record->key);
            break;
        case FILTER_HEADER:
            matches = header_matches(filter, record);
            break;
        case FILTER_PATH:
            if (!is_parsed &&
                (ria_slice_is_null(record->value) ||
                 ria_json_parse(&scratch->json, record->value, FILTER_TOKENS_MAX) != RIA_OK)) {
                return false;
            }
            is_parsed = true;
            matches = path_matches(filter, &scratch->json);
            break;
        }
        if (!matches) {
            return false;
        }
    }
    return true;
}
