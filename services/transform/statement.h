/* statement: CREATE STREAM name AS SELECT ..., taken apart.
 *
 * Only the words in front of SELECT are ours; the SELECT itself is compiled by SQLite
 * (sql_engine.h). Besides, a scanner for SQL's tokens: it names the line and column of a mistake,
 * and finds the clauses that are not supported, which SQLite would accept.
 *
 * Thread: any; pure.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/limits.h"
#include "common/slice.h"

/* Derived topics are called name and name STATEMENT_ERRORS_SUFFIX. */
#define STATEMENT_ERRORS_SUFFIX ".errors"

/* Also said of a record at run time. */
#define STATEMENT_REASON_TIME                                                                \
    "'now' is not allowed: the result must depend on the record alone (its timestamp is in " \
    "the column timestamp)"

enum {
    STATEMENT_NAME_MAX = RIA_TOPIC_NAME_MAX - (int)sizeof(STATEMENT_ERRORS_SUFFIX) + 1,
    STATEMENT_REASON_SIZE = 640,
};

/* Why a statement is refused: one sentence that begins with the position. */
struct statement_refusal {
    char text[STATEMENT_REASON_SIZE];
    size_t at; /* byte offset into the statement */
};

struct statement {
    char name[RIA_TOPIC_NAME_MAX + 1]; /* of the derived topic */
    struct ria_slice sql;              /* the whole text; borrowed */
    struct ria_slice select;           /* its part from SELECT to the end */
};

/* Borrows sql. Errors: RIA_ERR_SQL, with the refusal. */
ria_err statement_split(
    struct ria_slice sql, struct statement *out_statement, struct statement_refusal *out_refusal
) RIA_MUST_USE;

/* What SQLite has accepted in the SELECT and is not supported: clauses, parameters, the current
 * time where it stands in the text.
 * Errors: RIA_ERR_SQL, with the refusal. */
ria_err statement_check_clauses(
    const struct statement *statement, struct statement_refusal *out_refusal
) RIA_MUST_USE;

/* Fill a refusal; at: byte offset into sql (what is behind its end is its end). Returns
 * RIA_ERR_SQL. */
ria_err statement_refuse(
    struct statement_refusal *refusal, struct ria_slice sql, size_t at, const char *fmt, ...
) RIA_PRINTF(4, 5) RIA_MUST_USE;

/* ---- tokens ---- */

typedef enum token_type {
    TOKEN_WORD,     /* a keyword or a bare name */
    TOKEN_QUOTED,   /* "name", `name` or [name] */
    TOKEN_STRING,   /* 'text' */
    TOKEN_NUMBER,   /* also a blob literal */
    TOKEN_VARIABLE, /* ?1 :a @a $a */
    TOKEN_OTHER,    /* one byte of punctuation */
    TOKEN_OPEN,     /* a quote or a comment without its end */
    TOKEN_END,
} token_type;

struct token {
    token_type type;
    size_t start; /* byte offset */
    size_t end;
    unsigned depth; /* of parentheses around it */
};

struct token_scanner {
    struct ria_slice text;
    size_t pos;
    unsigned depth;
};

struct token_scanner token_scanner_of(struct ria_slice text, size_t start);

/* The next token behind white space and comments. */
struct token token_next(struct token_scanner *scanner);

/* Is it this word, in any case? */
bool token_is(struct ria_slice text, const struct token *token, const char *word);

/* Is there a quoted name or a string in text that says exactly name? */
bool token_quoted_exists(struct ria_slice text, const char *name);

/* Offset of the first bare or quoted occurrence of name in text, SIZE_MAX if there is none. */
size_t token_find_name(struct ria_slice text, const char *name);
