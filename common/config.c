#include "common/config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

enum {
    CONFIG_OPTIONS_MAX = 128,
    CONFIG_FILE_SIZE_MAX = 1024 * 1024,
    CONFIG_ENV_NAME_SIZE = 128,
    CONFIG_LINE_NUMBER_SIZE = 64,
};

static const char env_prefix[] = "RIACHO_";

/* Where an option's text comes from, strongest last: a source only replaces a weaker one. */
typedef enum source_kind {
    SOURCE_DEFAULT,
    SOURCE_FILE,
    SOURCE_ENVIRONMENT,
    SOURCE_COMMAND_LINE,
} source_kind;

struct setting {
    const char *text; /* NULL: not given anywhere */
    source_kind kind;
    int line; /* in the file */
};

struct loader {
    struct ria_config *config;
    const struct ria_option *options;
    size_t count;
    struct setting settings[CONFIG_OPTIONS_MAX];
    const char *file_path;
    char *file_text; /* settings from the file point into it */
};

/* --- errors -----------------------------------------------------------------------------------*/

RIA_PRINTF(2, 3)
static ria_err fail(struct ria_config *config, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(config->error, sizeof(config->error), fmt, args);
    va_end(args);
    return RIA_ERR_INVALID;
}

static void env_name(char *out, size_t out_size, const char *name)
{
    int n = snprintf(out, out_size, "%s%s", env_prefix, name);

    RIA_ASSERT(n > 0 && (size_t)n < out_size);
    for (char *c = out; *c != '\0'; c++) {
        if (*c == '-') {
            *c = '_';
        } else if (*c >= 'a' && *c <= 'z') {
            *c = (char)(*c - 'a' + 'A');
        }
    }
}

/* "--port", "RIACHO_PORT" or "port (riacho.conf, line 3)": the name as its user wrote it. */
static void describe(const struct loader *loader, size_t index, char *out, size_t out_size)
{
    const struct setting *setting = &loader->settings[index];
    const char *name = loader->options[index].name;

    switch (setting->kind) {
    case SOURCE_DEFAULT:
        (void)snprintf(out, out_size, "--%s (default)", name);
        return;
    case SOURCE_FILE:
        (void)snprintf(out, out_size, "%s (%s, line %d)", name, loader->file_path, setting->line);
        return;
    case SOURCE_ENVIRONMENT:
        env_name(out, out_size, name);
        return;
    case SOURCE_COMMAND_LINE:
        (void)snprintf(out, out_size, "--%s", name);
        return;
    }
}

/* --- one value --------------------------------------------------------------------------------*/

static bool parse_int(const char *text, const char **out_rest, int64_t *out_value)
{
    char *end;

    if (strspn(text, "0123456789") == 0 &&
        (text[0] != '-' || strspn(text + 1, "0123456789") == 0)) {
        return false;
    }
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno != 0) {
        return false;
    }
    *out_rest = end;
    *out_value = value;
    return true;
}

static bool parse_size(const char *text, int64_t *out_value)
{
    static const struct {
        const char *name;
        int64_t bytes;
    } units[] = {{"", 1}, {"KiB", 1024}, {"MiB", 1024 * 1024}, {"GiB", 1024 * 1024 * 1024}};
    const char *rest;
    int64_t value;

    if (!parse_int(text, &rest, &value) || value < 0) {
        return false;
    }
    for (size_t i = 0; i < RIA_COUNT(units); i++) {
        if (strcmp(rest, units[i].name) == 0) {
            return !__builtin_mul_overflow(value, units[i].bytes, out_value);
        }
    }
    return false;
}

static bool is_choice(const char *choices, const char *text)
{
    size_t size = strlen(text);

    for (const char *word = choices; word != NULL; word = strchr(word, '|')) {
        word += *word == '|';
        if (strncmp(word, text, size) == 0 && (word[size] == '|' || word[size] == '\0')) {
            return size > 0;
        }
    }
    return false;
}

/* A byte count the way options are written: 8 MiB rather than 8388608. */
static void format_size(char *out, size_t out_size, int64_t bytes)
{
    static const char *const units[] = {"", "KiB", "MiB", "GiB"};
    size_t unit = 0;

    while (unit + 1 < RIA_COUNT(units) && bytes != 0 && bytes % 1024 == 0) {
        bytes /= 1024;
        unit++;
    }
    (void)snprintf(out, out_size, "%" PRId64 "%s", bytes, units[unit]);
}

/* The rule a value must follow, for errors and the documentation. "" if there is none to tell. */
static void describe_rule(const struct ria_option *option, char *out, size_t out_size)
{
    char min[32];
    char max[32];

    out[0] = '\0';
    switch (option->type) {
    case RIA_OPTION_STRING:
        if (option->min > 0) {
            (void)snprintf(
                out, out_size, "%" PRId64 " to %" PRId64 " bytes of text", option->min, option->max
            );
        } else {
            (void)snprintf(out, out_size, "at most %" PRId64 " bytes of text", option->max);
        }
        return;
    case RIA_OPTION_INT:
        (void)snprintf(
            out, out_size, "a whole number, %" PRId64 " to %" PRId64, option->min, option->max
        );
        return;
    case RIA_OPTION_SIZE:
        format_size(min, sizeof(min), option->min);
        format_size(max, sizeof(max), option->max);
        (void)snprintf(out, out_size, "bytes (or KiB, MiB, GiB), %s to %s", min, max);
        return;
    case RIA_OPTION_BOOL:
        (void)snprintf(out, out_size, "true or false");
        return;
    case RIA_OPTION_CHOICE:
        (void)snprintf(out, out_size, "one of %s", option->choices);
        return;
    }
}

/* Does text follow the option's rule? If so and field is not NULL, store it there. */
static bool store(const struct ria_option *option, const char *text, void *field)
{
    const char *rest = "";
    int64_t number = 0;

    switch (option->type) {
    case RIA_OPTION_STRING:
        number = (int64_t)strlen(text);
        if (number < option->min || number > option->max) {
            return false;
        }
        break;
    case RIA_OPTION_CHOICE:
        if (!is_choice(option->choices, text)) {
            return false;
        }
        break;
    case RIA_OPTION_INT:
        if (!parse_int(text, &rest, &number) || *rest != '\0' || number < option->min ||
            number > option->max) {
            return false;
        }
        memcpy(field, &number, sizeof(number));
        return true;
    case RIA_OPTION_SIZE:
        if (!parse_size(text, &number) || number < option->min || number > option->max) {
            return false;
        }
        memcpy(field, &number, sizeof(number));
        return true;
    case RIA_OPTION_BOOL:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0) {
            return false;
        }
        *(bool *)field = text[0] == 't';
        return true;
    }
    memcpy(field, &text, sizeof(text));
    return true;
}

/* --- sources ----------------------------------------------------------------------------------*/

/* Index of the option of that name, count if there is none. */
static size_t find(const struct loader *loader, const char *name, size_t name_size)
{
    size_t i = 0;

    while (i < loader->count && (strncmp(loader->options[i].name, name, name_size) != 0 ||
                                 loader->options[i].name[name_size] != '\0')) {
        i++;
    }
    return i;
}

static void give(struct loader *loader, size_t index, const char *text, source_kind kind, int line)
{
    if (kind >= loader->settings[index].kind) {
        loader->settings[index] = (struct setting){.text = text, .kind = kind, .line = line};
    }
}

/* `arg` starts with "--". *at is its index; moved on if the value is the next argument. */
static ria_err read_option(struct loader *loader, int argc, char **argv, int *at)
{
    const char *name = argv[*at] + 2;
    const char *equals = strchr(name, '=');
    size_t name_size = equals == NULL ? strlen(name) : (size_t)(equals - name);
    size_t index = find(loader, name, name_size);

    if (index == loader->count) {
        return fail(
            loader->config,
            "--%.*s: there is no such option",
            (int)ria_min_size(name_size, 100),
            name
        );
    }
    const char *text = equals == NULL ? NULL : equals + 1;
    if (text == NULL && loader->options[index].type == RIA_OPTION_BOOL) {
        text = "true";
    } else if (text == NULL) {
        if (*at + 1 >= argc) {
            return fail(loader->config, "--%s: a value must follow", loader->options[index].name);
        }
        text = argv[++*at];
    }
    give(loader, index, text, SOURCE_COMMAND_LINE, 0);
    return RIA_OK;
}

static ria_err
read_command_line(struct loader *loader, int argc, char **argv, char **out_args, int *out_arg_count)
{
    bool ended = false;
    int count = 0;

    for (int i = 1; i < argc; i++) {
        if (!ended && strcmp(argv[i], "--") == 0) {
            ended = true;
        } else if (!ended && (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)) {
            loader->config->help = true;
        } else if (!ended && strcmp(argv[i], "--version") == 0) {
            loader->config->version = true;
        } else if (!ended && strncmp(argv[i], "--", 2) == 0) {
            RIA_TRY(read_option(loader, argc, argv, &i));
        } else if (out_args == NULL || (!ended && argv[i][0] == '-' && argv[i][1] != '\0')) {
            return fail(loader->config, "%.100s: not an option; options start with --", argv[i]);
        } else {
            out_args[count++] = argv[i];
        }
    }
    if (out_arg_count != NULL) {
        *out_arg_count = count;
    }
    return RIA_OK;
}

static void read_environment(struct loader *loader, char **environ_)
{
    for (size_t i = 0; i < loader->count; i++) {
        char name[CONFIG_ENV_NAME_SIZE];
        env_name(name, sizeof(name), loader->options[i].name);
        size_t size = strlen(name);
        for (char **at = environ_; at != NULL && *at != NULL; at++) {
            if (strncmp(*at, name, size) == 0 && (*at)[size] == '=') {
                give(loader, i, *at + size + 1, SOURCE_ENVIRONMENT, 0);
                break;
            }
        }
    }
}

static char *trim(char *text)
{
    static const char space[] = " \t\r";

    text += strspn(text, space);
    size_t size = strlen(text);
    while (size > 0 && strchr(space, text[size - 1]) != NULL) {
        size--;
    }
    text[size] = '\0';
    return text;
}

static ria_err read_line(struct loader *loader, char *text, int line)
{
    char *name = trim(text);

    if (*name == '\0' || *name == '#') {
        return RIA_OK;
    }
    char *equals = strchr(name, '=');
    if (equals == NULL) {
        return fail(loader->config, "%s, line %d: not `name = value`", loader->file_path, line);
    }
    *equals = '\0';
    name = trim(name);
    size_t index = find(loader, name, strlen(name));
    if (index == loader->count || strcmp(name, "config") == 0) {
        return fail(
            loader->config,
            "%s, line %d: there is no option `%.100s`",
            loader->file_path,
            line,
            name
        );
    }
    give(loader, index, trim(equals + 1), SOURCE_FILE, line);
    return RIA_OK;
}

/* The whole file as one string. */
static ria_err slurp(struct loader *loader)
{
    struct ria_config *config = loader->config;
    FILE *file = fopen(loader->file_path, "re");

    if (file == NULL) {
        return fail(config, "--config: cannot open %s: %s", loader->file_path, strerror(errno));
    }
    loader->file_text = malloc(CONFIG_FILE_SIZE_MAX);
    if (loader->file_text == NULL) {
        (void)fclose(file);
        return RIA_ERR_NOMEM;
    }
    size_t size = fread(loader->file_text, 1, CONFIG_FILE_SIZE_MAX, file);
    bool failed = ferror(file) != 0;
    (void)fclose(file);
    if (failed) {
        return fail(config, "--config: cannot read %s", loader->file_path);
    }
    if (size == CONFIG_FILE_SIZE_MAX) {
        return fail(config, "--config: %s is larger than 1 MiB", loader->file_path);
    }
    if (memchr(loader->file_text, '\0', size) != NULL) {
        return fail(config, "--config: %s is not a text file", loader->file_path);
    }
    loader->file_text[size] = '\0';
    return RIA_OK;
}

static ria_err read_file(struct loader *loader)
{
    size_t index = find(loader, "config", strlen("config"));
    int line = 1;

    if (index == loader->count || loader->settings[index].text == NULL ||
        loader->settings[index].text[0] == '\0') {
        return RIA_OK;
    }
    loader->file_path = loader->settings[index].text;
    RIA_TRY(slurp(loader));
    for (char *text = loader->file_text, *next; text != NULL; text = next, line++) {
        next = strchr(text, '\n');
        if (next != NULL) {
            *next++ = '\0';
        }
        RIA_TRY(read_line(loader, text, line));
    }
    return RIA_OK;
}

/* --- loading ----------------------------------------------------------------------------------*/

static ria_err check(const struct loader *loader, size_t index)
{
    const struct ria_option *option = &loader->options[index];
    const struct setting *setting = &loader->settings[index];
    union {
        int64_t number;
        bool flag;
        const char *text;
    } scratch;
    char name[RIA_CONFIG_TEXT_MAX / 2];
    char rule[RIA_CONFIG_TEXT_MAX / 4];

    describe_rule(option, rule, sizeof(rule));
    if (setting->text == NULL) {
        return fail(loader->config, "--%s must be given: %s", option->name, rule);
    }
    if (!store(option, setting->text, &scratch)) {
        describe(loader, index, name, sizeof(name));
        return fail(loader->config, "%s: `%.60s` is not %s", name, setting->text, rule);
    }
    return RIA_OK;
}

/* Texts move to memory of their own, so that nothing depends on argv, environment or the file. */
static ria_err store_all(const struct loader *loader, void *out_options)
{
    size_t size = 0;

    for (size_t i = 0; i < loader->count; i++) {
        RIA_TRY(check(loader, i));
        size += strlen(loader->settings[i].text) + 1;
    }
    char *memory = malloc(size + 1);
    if (memory == NULL) {
        return RIA_ERR_NOMEM;
    }
    loader->config->memory = memory;
    for (size_t i = 0; i < loader->count; i++) {
        const struct ria_option *option = &loader->options[i];
        size_t text_size = strlen(loader->settings[i].text) + 1;
        memcpy(memory, loader->settings[i].text, text_size);
        bool stored = store(option, memory, (char *)out_options + option->offset);
        RIA_ASSERT(stored);
        memory += text_size;
    }
    return RIA_OK;
}

static ria_err load(
    struct loader *loader,
    void *out_options,
    int argc,
    char **argv,
    char **environ_,
    char **out_args,
    int *out_arg_count
)
{
    RIA_TRY(read_command_line(loader, argc, argv, out_args, out_arg_count));
    if (loader->config->help || loader->config->version) {
        return RIA_OK;
    }
    read_environment(loader, environ_);
    RIA_TRY(read_file(loader));
    return store_all(loader, out_options);
}

ria_err ria_config_load(
    struct ria_config *config,
    const struct ria_option *options,
    void *out_options,
    int argc,
    char **argv,
    char **environ_,
    char **out_args,
    int *out_arg_count
)
{
    struct loader loader = {.config = config, .options = options};

    *config = (struct ria_config){.memory = NULL};
    while (options[loader.count].name != NULL) {
        RIA_ASSERT(loader.count < CONFIG_OPTIONS_MAX);
        loader.settings[loader.count].text = options[loader.count].value;
        loader.count++;
    }
    ria_err err = load(&loader, out_options, argc, argv, environ_, out_args, out_arg_count);
    free(loader.file_text);
    return err;
}

void ria_config_fini(struct ria_config *config)
{
    free(config->memory);
    config->memory = NULL;
}

/* --- documentation ----------------------------------------------------------------------------*/

static const char *default_text(const struct ria_option *option)
{
    if (option->value == NULL) {
        return "required";
    }
    return option->value[0] == '\0' ? "empty" : option->value;
}

ria_err ria_config_help(
    const struct ria_option *options, const char *program, const char *about, struct ria_buf *out
)
{
    RIA_TRY(
        ria_buf_printf(out, "%s: %s\n\nUsage: %s [--name=value ...]\n\n", program, about, program)
    );
    for (const struct ria_option *option = options; option->name != NULL; option++) {
        char rule[RIA_CONFIG_TEXT_MAX / 4];
        describe_rule(option, rule, sizeof(rule));
        RIA_TRY(ria_buf_printf(
            out,
            "  --%s=%s\n        %s (%s; %s%s)\n",
            option->name,
            option->value_name == NULL ? "VALUE" : option->value_name,
            option->about,
            rule,
            option->value == NULL ? "" : "default: ",
            default_text(option)
        ));
    }
    return ria_buf_append_str(
        out,
        "  --help, --version\n"
        "        print this text, or the version\n\n"
        "Each option may also be an environment variable (--data-dir is RIACHO_DATA_DIR) or a "
        "line\n"
        "`data-dir = ...` of the file named by --config. The command line wins, then the\n"
        "environment, then the file.\n"
    );
}

/* A cell of a markdown table: '|' is the only character that ends one. */
static ria_err append_cell(struct ria_buf *out, const char *text)
{
    RIA_TRY(ria_buf_append_str(out, " "));
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '|') {
            RIA_TRY(ria_buf_append_str(out, "\\"));
        }
        RIA_TRY(ria_buf_append(out, c, 1));
    }
    return ria_buf_append_str(out, " |");
}

ria_err ria_config_markdown(const struct ria_option *options, struct ria_buf *out)
{
    RIA_TRY(ria_buf_append_str(
        out,
        "| option | environment | default | value | what it does |\n| --- | --- | --- | --- | --- "
        "|\n"
    ));
    for (const struct ria_option *option = options; option->name != NULL; option++) {
        char rule[RIA_CONFIG_TEXT_MAX / 4];
        char name[CONFIG_ENV_NAME_SIZE];
        env_name(name, sizeof(name), option->name);
        describe_rule(option, rule, sizeof(rule));
        RIA_TRY(ria_buf_printf(out, "| `--%s` | `%s` |", option->name, name));
        RIA_TRY(append_cell(out, default_text(option)));
        RIA_TRY(append_cell(out, rule));
        RIA_TRY(append_cell(out, option->about));
        RIA_TRY(ria_buf_append_str(out, "\n"));
    }
    return RIA_OK;
}
