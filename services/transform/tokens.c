/* The scanner of statement.h. It cuts a text where SQLite's own tokenizer does, as far as strings,
 * names and comments are concerned; operators of several characters come out in pieces. */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "services/transform/statement.h"

static bool is_name_byte(uint8_t c)
{
    return c >= 0x80 || isalnum(c) || c == '_' || c == '$';
}

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static uint8_t byte_at(struct ria_slice text, size_t at)
{
    return at < text.size ? text.data[at] : 0;
}

/* Offset behind the comment that begins at `at`, or `at` if there is none. SQLite takes a comment
 * without an end for one that ends with the text; *out_open tells. */
static size_t skip_comment(struct ria_slice text, size_t at, bool *out_open)
{
    if (byte_at(text, at) == '-' && byte_at(text, at + 1) == '-') {
        while (at < text.size && text.data[at] != '\n') {
            at++;
        }
        return at;
    }
    if (byte_at(text, at) == '/' && byte_at(text, at + 1) == '*') {
        for (at += 2; at < text.size; at++) {
            if (text.data[at] == '*' && byte_at(text, at + 1) == '/') {
                return at + 2;
            }
        }
        *out_open = true;
    }
    return at;
}

/* Offset behind the quoted text that begins at `at`; a doubled quote stands for one. SIZE_MAX:
 * without an end. */
static size_t skip_quoted(struct ria_slice text, size_t at)
{
    uint8_t quote = text.data[at] == '[' ? ']' : text.data[at];

    for (at++; at < text.size; at++) {
        if (text.data[at] != quote) {
            continue;
        }
        if (quote == ']' || byte_at(text, at + 1) != quote) {
            return at + 1;
        }
        at++;
    }
    return SIZE_MAX;
}

static size_t skip_name(struct ria_slice text, size_t at)
{
    while (at < text.size && is_name_byte(text.data[at])) {
        at++;
    }
    return at;
}

struct token_scanner token_scanner_of(struct ria_slice text, size_t start)
{
    return (struct token_scanner){.text = text, .pos = start, .depth = 0};
}

static void read_quoted(struct ria_slice text, struct token *token)
{
    size_t end = skip_quoted(text, token->start);

    token->type = text.data[token->start] == '\'' ? TOKEN_STRING : TOKEN_QUOTED;
    if (end == SIZE_MAX) {
        token->type = TOKEN_OPEN;
        end = text.size;
    }
    token->end = end;
}

static void read_word(struct ria_slice text, struct token *token)
{
    uint8_t c = text.data[token->start];

    token->end = skip_name(text, token->start);
    token->type = isdigit(c) ? TOKEN_NUMBER : TOKEN_WORD;
    if ((c == 'x' || c == 'X') && token->end == token->start + 1 &&
        byte_at(text, token->end) == '\'') {
        size_t end = skip_quoted(text, token->end);
        token->type = end == SIZE_MAX ? TOKEN_OPEN : TOKEN_NUMBER;
        token->end = end == SIZE_MAX ? text.size : end;
    }
}

struct token token_next(struct token_scanner *scanner)
{
    struct ria_slice text = scanner->text;
    struct token token = {.type = TOKEN_END, .depth = scanner->depth};
    bool open = false;

    for (size_t before = SIZE_MAX; scanner->pos != before && !open;) {
        before = scanner->pos;
        while (scanner->pos < text.size && is_space(text.data[scanner->pos])) {
            scanner->pos++;
        }
        token.start = scanner->pos;
        scanner->pos = skip_comment(text, scanner->pos, &open);
    }
    token.end = scanner->pos;
    if (open) {
        token.type = TOKEN_OPEN;
        return token;
    }
    if (scanner->pos >= text.size) {
        return token;
    }
    uint8_t c = text.data[token.start];
    if (c == '\'' || c == '"' || c == '`' || c == '[') {
        read_quoted(text, &token);
    } else if (c == '?' || c == ':' || c == '@' || c == '#' || c == '$') {
        token.type = TOKEN_VARIABLE;
        token.end = skip_name(text, token.start + 1);
    } else if (is_name_byte(c)) {
        read_word(text, &token);
    } else {
        token.type = TOKEN_OTHER;
        token.end = token.start + 1;
    }
    if (c == ')' && scanner->depth > 0) {
        token.depth = --scanner->depth;
    } else if (c == '(') {
        scanner->depth++;
    }
    scanner->pos = token.end;
    return token;
}

bool token_is(struct ria_slice text, const struct token *token, const char *word)
{
    size_t size = strlen(word);

    return token->type == TOKEN_WORD && token->end - token->start == size &&
           strncasecmp((const char *)text.data + token->start, word, size) == 0;
}

/* Does the quoted token say exactly name? */
static bool quoted_is(struct ria_slice text, const struct token *token, const char *name)
{
    uint8_t quote = text.data[token->end - 1];
    size_t at = token->start + 1;

    for (; at < token->end - 1; at++) {
        if ((uint8_t)*name != text.data[at] || *name == '\0') {
            return false;
        }
        name++;
        if (text.data[at] == quote) {
            at++; /* the second of a pair */
        }
    }
    return *name == '\0';
}

bool token_quoted_exists(struct ria_slice text, const char *name)
{
    struct token_scanner scanner = token_scanner_of(text, 0);

    for (;;) {
        struct token token = token_next(&scanner);
        if (token.type == TOKEN_END || token.type == TOKEN_OPEN) {
            return false;
        }
        if ((token.type == TOKEN_QUOTED || token.type == TOKEN_STRING) &&
            quoted_is(text, &token, name)) {
            return true;
        }
    }
}

size_t token_find_name(struct ria_slice text, const char *name)
{
    struct token_scanner scanner = token_scanner_of(text, 0);

    for (;;) {
        struct token token = token_next(&scanner);
        if (token.type == TOKEN_END || token.type == TOKEN_OPEN) {
            return SIZE_MAX;
        }
        if (token_is(text, &token, name) ||
            (token.type == TOKEN_QUOTED && quoted_is(text, &token, name))) {
            return token.start;
        }
    }
}
