/* config: a process's options from one table.
 *
 * Precedence: `--long-name=value` on the command line, then the environment (`RIACHO_LONG_NAME`),
 * then `long-name = value` lines of the file named by --config, then the default. The same table
 * prints --help and the documentation's tables. An unknown option or a value that breaks its rule
 * is an error that names the option, where it came from and the rule.
 */
#pragma once

#include "common/base.h"
#include "common/buf.h"
#include "common/err.h"

typedef enum ria_option_type {
    RIA_OPTION_STRING, /* const char *; max = longest in bytes; min = shortest */
    RIA_OPTION_INT,    /* int64_t; min..max */
    RIA_OPTION_SIZE,   /* int64_t bytes; accepts KiB, MiB, GiB; min..max */
    RIA_OPTION_BOOL,   /* bool; true/false */
    RIA_OPTION_CHOICE, /* const char *; one of the words in `choices`, separated by '|' */
} ria_option_type;

struct ria_option {
    const char *name; /* "data-dir" */
    ria_option_type type;
    size_t offset;     /* of the field in the options struct */
    const char *value; /* default, as text; NULL = must be given */
    int64_t min;
    int64_t max;
    const char *choices;
    const char *value_name; /* "PATH", for --help */
    const char *about;
};

#define RIA_OPTION_END \
    {                  \
        .name = NULL   \
    }

enum { RIA_CONFIG_TEXT_MAX = 512 };

struct ria_config {
    char error[RIA_CONFIG_TEXT_MAX]; /* set with RIA_ERR_INVALID: one sentence */
    bool help;                       /* --help was given */
    bool version;                    /* --version was given */
    char *memory;                    /* texts of values; options point into it */
};

/* Fill `out_options` (a struct with one field per option). environ_ is searched for RIACHO_* (may
 * be NULL); RIACHO_ variables that name no option of this program are ignored, since one
 * environment serves several programs. args that are not options go to `out_args` (count
 * *out_arg_count) if it is not NULL, else they are an error. `--` ends options. Errors:
 * RIA_ERR_INVALID (config->error), RIA_ERR_NOMEM. */
ria_err ria_config_load(
    struct ria_config *config,
    const struct ria_option *options,
    void *out_options,
    int argc,
    char **argv,
    char **environ_,
    char **out_args,
    int *out_arg_count
) RIA_MUST_USE;

/* Options point into config: keep it as long as they are used. */
void ria_config_fini(struct ria_config *config);

/* The --help text / a markdown table of the options. */
ria_err ria_config_help(
    const struct ria_option *options, const char *program, const char *about, struct ria_buf *out
) RIA_MUST_USE;
ria_err ria_config_markdown(const struct ria_option *options, struct ria_buf *out) RIA_MUST_USE;
