#include "services/transform/statement.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/utf8.h"

#include "services/shared/topic_config.h"

/* 1-based; columns count characters. */
static void position_of(struct ria_slice sql, size_t at, unsigned *out_line, unsigned *out_column)
{
    *out_line = 1;
    *out_column = 1;
    for (size_t i = 0; i < at && i < sql.size; i++) {
        if (sql.data[i] == '\n') {
            ++*out_line;
            *out_column = 1;
        } else if ((sql.data[i] & 0xC0) != 0x80) {
            ++*out_column;
        }
    }
}

ria_err statement_refuse(
    struct statement_refusal *refusal, struct ria_slice sql, size_t at, const char *fmt, ...
)
{
    unsigned line;
    unsigned column;
    va_list args;

    refusal->at = ria_min_size(at, sql.size);
    position_of(sql, refusal->at, &line, &column);
    int size = snprintf(refusal->text, sizeof(refusal->text), "line %u, column %u: ", line, column);
    va_start(args, fmt);
    (void)vsnprintf(refusal->text + size, sizeof(refusal->text) - (size_t)size, fmt, args);
    va_end(args);
    return RIA_ERR_SQL;
}

static ria_err check_text(struct ria_slice sql, struct statement_refusal *refusal)
{
    if (sql.size > RIA_SQL_MAX) {
        return statement_refuse(
            refusal,
            sql,
            RIA_SQL_MAX,
            "the statement has %zu bytes, at most %d are allowed",
            sql.size,
            RIA_SQL_MAX
        );
    }
    for (size_t at = 0; at < sql.size;) {
        size_t size = ria_utf8_sequence(sql.data + at, sql.size - at);
        if (size == 0 || sql.data[at] == '\0') {
            return statement_refuse(
                refusal, sql, at, "the statement must be UTF-8 text without NUL characters"
            );
        }
        at += size;
    }
    return RIA_OK;
}

static bool is_topic_byte(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '.' ||
           c == '_' || c == '-';
}

/* What stands where a word was expected, for the error's text. */
static struct ria_slice found_text(struct ria_slice sql, const struct token *token)
{
    enum { FOUND_SIZE_MAX = 40 };

    if (token->type == TOKEN_END) {
        return RIA_SLICE_LITERAL("the end");
    }
    return ria_slice_sub(
        sql, token->start, ria_min_size(token->end - token->start, FOUND_SIZE_MAX)
    );
}

static ria_err expect_word(
    struct token_scanner *scanner,
    const char *word,
    struct token *out_token,
    struct statement_refusal *refusal
)
{
    *out_token = token_next(scanner);
    if (token_is(scanner->text, out_token, word)) {
        return RIA_OK;
    }
    return statement_refuse(
        refusal,
        scanner->text,
        out_token->start,
        "expected %s, found " RIA_SLICE_FMT "; a statement is CREATE STREAM name AS SELECT ...",
        word,
        RIA_SLICE_ARG(found_text(scanner->text, out_token))
    );
}

/* The stream's name: bare (every character that a topic may have), or quoted. */
static ria_err expect_name(
    struct token_scanner *scanner, struct statement *statement, struct statement_refusal *refusal
)
{
    struct ria_slice sql = scanner->text;
    struct token token = token_next(scanner);
    struct ria_slice name = ria_slice_sub(sql, token.start, 0);
    char reason[256];

    if (token.type == TOKEN_QUOTED) {
        name = ria_slice_sub(sql, token.start + 1, token.end - token.start - 2);
    } else if (token.type != TOKEN_OPEN) {
        while (token.start + name.size < sql.size &&
               is_topic_byte(sql.data[token.start + name.size])) {
            name.size++;
        }
        scanner->pos = token.start + name.size;
    }
    if (name.size == 0) {
        return statement_refuse(
            refusal,
            sql,
            token.start,
            "expected the name of the stream, found " RIA_SLICE_FMT,
            RIA_SLICE_ARG(found_text(sql, &token))
        );
    }
    if (topic_name_check(name, reason, sizeof(reason)) != RIA_OK) {
        return statement_refuse(refusal, sql, token.start, "name of the stream: %s", reason);
    }
    if (name.size > STATEMENT_NAME_MAX) {
        return statement_refuse(
            refusal,
            sql,
            token.start,
            "name of the stream: %zu bytes, at most %d are allowed because its errors go to the "
            "topic <name>" STATEMENT_ERRORS_SUFFIX,
            name.size,
            STATEMENT_NAME_MAX
        );
    }
    memcpy(statement->name, name.data, name.size);
    statement->name[name.size] = '\0';
    return RIA_OK;
}

ria_err statement_split(
    struct ria_slice sql, struct statement *out_statement, struct statement_refusal *out_refusal
)
{
    struct token_scanner scanner = token_scanner_of(sql, 0);
    struct statement statement = {.sql = sql};
    struct token token;

    RIA_TRY(check_text(sql, out_refusal));
    RIA_TRY(expect_word(&scanner, "CREATE", &token, out_refusal));
    RIA_TRY(expect_word(&scanner, "STREAM", &token, out_refusal));
    RIA_TRY(expect_name(&scanner, &statement, out_refusal));
    RIA_TRY(expect_word(&scanner, "AS", &token, out_refusal));
    RIA_TRY(expect_word(&scanner, "SELECT", &token, out_refusal));
    statement.select = ria_slice_sub(sql, token.start, SIZE_MAX);
    *out_statement = statement;
    return RIA_OK;
}

/* ---- clauses ---- */

/* Reserved words: SQLite has accepted the text, so outside parentheses each is its clause. */
static const struct clause {
    const char *word;
    const char *text;
} clauses[] = {
    {"DISTINCT", "DISTINCT is not supported: a stream is computed record by record"},
    {"JOIN", "JOIN is not supported yet: a stream reads one topic"},
    {"GROUP", "GROUP BY is not supported yet: a stream is computed record by record"},
    {"HAVING", "HAVING is not supported yet: a stream is computed record by record"},
    {"ORDER", "ORDER BY is not supported: records keep the order of their partition"},
    {"LIMIT", "LIMIT is not supported: a stream has no end"},
    {"UNION", "UNION is not supported: a stream has one SELECT"},
    {"EXCEPT", "EXCEPT is not supported: a stream has one SELECT"},
    {"INTERSECT", "INTERSECT is not supported: a stream has one SELECT"},
};

static bool is_byte(struct ria_slice sql, const struct token *token, char c)
{
    return token->type == TOKEN_OTHER && sql.data[token->start] == (uint8_t)c;
}

static ria_err check_token(
    struct ria_slice sql,
    const struct token *before,
    const struct token *token,
    struct statement_refusal *refusal
)
{
    if (token->type == TOKEN_OPEN) {
        return statement_refuse(refusal, sql, token->start, "a comment has no end");
    }
    if (token->type == TOKEN_VARIABLE) {
        return statement_refuse(
            refusal, sql, token->start, "parameters cannot be used in a stream"
        );
    }
    /* IS [NOT] DISTINCT FROM is a comparison. */
    if (token->depth > 0 || token_is(sql, before, "IS") || token_is(sql, before, "NOT")) {
        return RIA_OK;
    }
    for (size_t i = 0; i < RIA_COUNT(clauses); i++) {
        if (token_is(sql, token, clauses[i].word)) {
            return statement_refuse(refusal, sql, token->start, "%s", clauses[i].text);
        }
    }
    return RIA_OK;
}

/* WINDOW name AS ( ... ): the word alone may be a name. */
static ria_err check_window(
    struct token_scanner after, const struct token *token, struct statement_refusal *refusal
)
{
    struct ria_slice sql = after.text;

    if (!token_is(sql, token, "WINDOW") || token->depth > 0) {
        return RIA_OK;
    }
    (void)token_next(&after);
    struct token as = token_next(&after);
    struct token open = token_next(&after);
    if (token_is(sql, &as, "AS") && is_byte(sql, &open, '(')) {
        return statement_refuse(
            refusal, sql, token->start, "WINDOW is not supported yet: a stream has no windows"
        );
    }
    return RIA_OK;
}

/* date(), date('now'), strftime(..., 'now'): what a user would write; the rest is found when the
 * time is asked for. */
static ria_err
check_time(struct token_scanner after, const struct token *token, struct statement_refusal *refusal)
{
    static const char *const names[] = {
        "date", "time", "datetime", "julianday", "unixepoch", "strftime"};
    struct ria_slice sql = after.text;
    bool is_date = false;

    for (size_t i = 0; i < RIA_COUNT(names); i++) {
        is_date = is_date || token_is(sql, token, names[i]);
    }
    struct token open = token_next(&after);
    if (!is_date || !is_byte(sql, &open, '(')) {
        return RIA_OK;
    }
    struct token inner = token_next(&after);
    bool bad = is_byte(sql, &inner, ')');
    while (!bad && inner.type != TOKEN_END && inner.depth > open.depth) {
        bad = inner.type == TOKEN_STRING && inner.depth == open.depth + 1 &&
              inner.end - inner.start == 5 &&
              strncasecmp((const char *)sql.data + inner.start, "'now'", 5) == 0;
        if (!bad) {
            inner = token_next(&after);
        }
    }
    return bad ? statement_refuse(refusal, sql, inner.start, STATEMENT_REASON_TIME) : RIA_OK;
}

ria_err
statement_check_clauses(const struct statement *statement, struct statement_refusal *out_refusal)
{
    struct ria_slice sql = statement->sql;
    struct token_scanner scanner =
        token_scanner_of(sql, (size_t)(statement->select.data - sql.data));
    struct token before = {.type = TOKEN_END};

    for (;;) {
        struct token token = token_next(&scanner);
        if (token.type == TOKEN_END) {
            return RIA_OK;
        }
        RIA_TRY(check_token(sql, &before, &token, out_refusal));
        RIA_TRY(check_window(scanner, &token, out_refusal));
        RIA_TRY(check_time(scanner, &token, out_refusal));
        before = token;
    }
}
