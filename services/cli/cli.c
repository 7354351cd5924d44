#include "services/cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

/* ---- options ---- */

static struct cli_option *
find_option(struct cli_option *options, size_t option_count, const char *name, size_t name_size)
{
    for (size_t i = 0; i < option_count; i++) {
        if (strlen(options[i].name) == name_size &&
            strncmp(options[i].name, name, name_size) == 0) {
            return &options[i];
        }
    }
    return NULL;
}

/* Reads the option at argv[*at]; moves *at to the last argument it used. False: message printed. */
static bool
take_option(int argc, char **argv, int *at, struct cli_option *options, size_t option_count)
{
    const char *name = argv[*at] + 2;
    const char *equals = strchr(name, '=');
    size_t name_size = equals == NULL ? strlen(name) : (size_t)(equals - name);
    struct cli_option *option = find_option(options, option_count, name, name_size);

    if (option == NULL) {
        (void)cli_usage("--%.*s is not an option of this command", (int)name_size, name);
        return false;
    }
    if (option->is_flag) {
        if (equals != NULL) {
            (void)cli_usage("--%s takes no value", option->name);
            return false;
        }
        option->value = "true";
        return true;
    }
    if (equals != NULL) {
        option->value = equals + 1;
        return true;
    }
    if (*at + 1 >= argc) {
        (void)cli_usage("--%s needs a value", option->name);
        return false;
    }
    option->value = argv[++*at];
    return true;
}

int cli_parse(int argc, char **argv, struct cli_option *options, size_t option_count)
{
    bool only_arguments = false;
    int count = 0;

    for (int i = 0; i < argc; i++) {
        if (!only_arguments && strcmp(argv[i], "--") == 0) {
            only_arguments = true;
        } else if (!only_arguments && strncmp(argv[i], "--", 2) == 0) {
            if (!take_option(argc, argv, &i, options, option_count)) {
                return -1;
            }
        } else {
            argv[count++] = argv[i];
        }
    }
    return count;
}

const char *cli_option(const struct cli_option *options, size_t option_count, const char *name)
{
    for (size_t i = 0; i < option_count; i++) {
        if (strcmp(options[i].name, name) == 0) {
            return options[i].value;
        }
    }
    RIA_ASSERT(false);
    return NULL;
}

bool cli_number(const char *what, const char *text, long long min, long long max, long long *out)
{
    char *end = NULL;

    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < min || value > max) {
        (void
        )cli_usage("%s must be a whole number from %lld to %lld, not \"%s\"", what, min, max, text);
        return false;
    }
    *out = value;
    return true;
}

int cli_output_of(const char *text, cli_output *out_format)
{
    if (text == NULL || strcmp(text, "json") == 0) {
        *out_format = CLI_OUTPUT_JSON;
    } else if (strcmp(text, "value") == 0) {
        *out_format = CLI_OUTPUT_VALUE;
    } else if (strcmp(text, "raw") == 0) {
        *out_format = CLI_OUTPUT_RAW;
    } else {
        return cli_usage("--output wants json, value or raw, not \"%s\"", text);
    }
    return CLI_OK;
}

/* ---- errors ---- */

int cli_usage(const char *fmt, ...)
{
    va_list args;

    (void)fputs("riacho: ", stderr);
    va_start(args, fmt);
    (void)vfprintf(stderr, fmt, args);
    va_end(args);
    (void)fputs("; try `riacho --help`\n", stderr);
    return CLI_USAGE;
}

int cli_fail(const char *fmt, ...)
{
    va_list args;

    (void)fputs("riacho: ", stderr);
    va_start(args, fmt);
    (void)vfprintf(stderr, fmt, args);
    va_end(args);
    (void)fputc('\n', stderr);
    return CLI_FAILED;
}

int cli_fail_reply(const struct http_reply *reply)
{
    json_t *document = json_loadb((const char *)reply->body.data, reply->body.size, 0, NULL);
    const json_t *error = json_object_get(document, "error");
    const char *message = json_string_value(json_object_get(error, "message"));

    if (message == NULL) {
        message = json_string_value(json_object_get(document, "message"));
    }
    if (message != NULL) {
        (void)cli_fail("%s", message);
    } else {
        (void)cli_fail("the gateway answered with HTTP status %ld", reply->status);
    }
    json_decref(document);
    return CLI_FAILED;
}

/* ---- calls ---- */

int cli_call(
    struct cli *cli, const char *method, const char *path, const json_t *body, json_t **out_json
)
{
    struct http_reply reply;
    char *text = NULL;
    int status = CLI_OK;
    json_error_t why;

    *out_json = NULL;
    if (body != NULL) {
        text = json_dumps(body, JSON_COMPACT);
        if (text == NULL) {
            return cli_fail("out of memory");
        }
    }
    http_reply_init(&reply);
    ria_err err = http_client_call(
        cli->client,
        method,
        path,
        body != NULL ? "application/json" : NULL,
        "application/json",
        text,
        text != NULL ? strlen(text) : 0,
        &reply
    );
    if (err != RIA_OK) {
        status = cli_fail("%s: %s", cli->gateway, reply.error);
    } else if (reply.status >= 300) {
        status = cli_fail_reply(&reply);
    } else if (reply.body.size > 0) {
        *out_json =
            json_loadb((const char *)reply.body.data, reply.body.size, JSON_DECODE_ANY, &why);
        if (*out_json == NULL) {
            status = cli_fail("the gateway's answer is no JSON: %s", why.text);
        }
    }
    free(text);
    http_reply_fini(&reply);
    return status;
}

void cli_print_json(const json_t *json)
{
    if (json != NULL) {
        (void)json_dumpf(json, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
        (void)fputc('\n', stdout);
    }
}

/* ---- tables ---- */

struct cli_table {
    size_t columns;
    size_t cells;
    size_t capacity;
    char **texts; /* row by row, headings first */
};

static void add_cell(struct cli_table *table, char *text)
{
    if (table->cells == table->capacity) {
        size_t capacity = table->capacity == 0 ? 64 : table->capacity * 2;
        char **texts = realloc(table->texts, capacity * sizeof(*texts));
        RIA_ASSERT(texts != NULL);
        table->texts = texts;
        table->capacity = capacity;
    }
    table->texts[table->cells++] = text;
}

struct cli_table *cli_table_new(const char *const *headings, size_t columns)
{
    struct cli_table *table = calloc(1, sizeof(*table));

    RIA_ASSERT(table != NULL);
    table->columns = columns;
    for (size_t i = 0; i < columns; i++) {
        cli_table_cell(table, "%s", headings[i]);
    }
    return table;
}

void cli_table_cell(struct cli_table *table, const char *fmt, ...)
{
    char *text = NULL;
    va_list args;

    va_start(args, fmt);
    int length = vasprintf(&text, fmt, args);
    va_end(args);
    RIA_ASSERT(length >= 0);
    for (char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 127) {
            *c = ' '; /* what others stored must not steer the terminal */
        }
    }
    add_cell(table, text);
}

static bool is_number(const char *text)
{
    return *text != '\0' && strspn(text, "-0123456789.,%") == strlen(text);
}

void cli_table_number(struct cli_table *table, const json_t *object, const char *name)
{
    if (json_is_integer(json_object_get(object, name))) {
        cli_table_cell(table, "%lld", cli_integer(object, name));
    } else {
        cli_table_cell(table, "?");
    }
}

void cli_table_print(struct cli_table *table, FILE *out)
{
    size_t rows = table->cells / table->columns;

    for (size_t row = 0; row < rows; row++) {
        for (size_t column = 0; column < table->columns; column++) {
            size_t width = 0;
            bool numbers = rows > 1;
            for (size_t r = 0; r < rows; r++) {
                const char *cell = table->texts[r * table->columns + column];
                width = strlen(cell) > width ? strlen(cell) : width;
                numbers = numbers && (r == 0 || is_number(cell));
            }
            const char *text = table->texts[row * table->columns + column];
            bool last = column + 1 == table->columns;
            if (numbers) {
                (void)fprintf(out, "%*s%s", (int)width, text, last ? "" : "  ");
            } else if (last) {
                (void)fputs(text, out);
            } else {
                (void)fprintf(out, "%-*s  ", (int)width, text);
            }
        }
        (void)fputc('\n', out);
    }
}

void cli_table_free(struct cli_table *table)
{
    for (size_t i = 0; i < table->cells; i++) {
        free(table->texts[i]);
    }
    free(table->texts);
    free(table);
}

const char *cli_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text == NULL ? "" : text;
}

long long cli_integer(const json_t *object, const char *name)
{
    return (long long)json_integer_value(json_object_get(object, name));
}
