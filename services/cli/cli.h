/* cli: what the commands of `riacho` share: the gateway, options, errors and tables.
 *
 * Exit status: 0 done, 1 failed (the reason is on standard error), 2 wrong usage.
 */
#pragma once

#include <stdio.h>

#include <jansson.h>

#include "common/base.h"

#include "services/cli/http_client.h"

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

/* MB a second at which moved replicas are expected to be copied, unless --rate says better: a
 * replication worker's --catch-up-rate. */
enum { CLI_COPY_RATE = 50 };

struct cli {
    struct http_client *client;
    const char *gateway;
    bool json;     /* --json: print the gateway's JSON instead of tables */
    bool terminal; /* standard output is one */
};

/* ---- options of a command ---- */

/* An option of one command. Flags take no value. */
struct cli_option {
    const char *name;  /* "partitions"; written --partitions=N or --partitions N */
    const char *value; /* NULL until given */
    bool is_flag;
};

/* Takes options out of argv (argv[0] is the first argument behind the command) and leaves the
 * arguments in front; returns how many there are, -1 after an error message on stderr. */
int cli_parse(int argc, char **argv, struct cli_option *options, size_t option_count);

/* Value of an option, NULL if not given. Aborts on a name that is not in the table. */
const char *cli_option(const struct cli_option *options, size_t option_count, const char *name);

/* A whole number within bounds; prints what is wrong with `what` and returns false if it is not. */
bool cli_number(const char *what, const char *text, long long min, long long max, long long *out);

typedef enum cli_output { CLI_OUTPUT_JSON, CLI_OUTPUT_VALUE, CLI_OUTPUT_RAW } cli_output;

/* The value of --output; NULL: JSON. CLI_USAGE: said. */
int cli_output_of(const char *text, cli_output *out_output);

/* ---- errors ---- */

int cli_usage(const char *fmt, ...) RIA_PRINTF(1, 2);
int cli_fail(const char *fmt, ...) RIA_PRINTF(1, 2);

/* The reason in an error reply of the gateway, printed. Returns CLI_FAILED. */
int cli_fail_reply(const struct http_reply *reply);

/* ---- calls ---- */

/* Call and parse a JSON answer. On success *out_json is the caller's (NULL for an empty body);
 * errors are printed and CLI_FAILED is returned. */
int cli_call(
    struct cli *cli, const char *method, const char *path, const json_t *body, json_t **out_json
);

/* The document as --json output: indented, one newline at the end. */
void cli_print_json(const json_t *json);

/* ---- tables ---- */

/* Columns are as wide as their widest cell; numbers right-aligned; headings only on a terminal or
 * always: they are part of the output. Cells are copied. */
struct cli_table;
struct cli_table *cli_table_new(const char *const *headings, size_t columns);
void cli_table_cell(struct cli_table *table, const char *fmt, ...) RIA_PRINTF(2, 3);

/* A number of a JSON object, "?" if it is none. */
void cli_table_number(struct cli_table *table, const json_t *object, const char *name);
void cli_table_print(struct cli_table *table, FILE *out);
void cli_table_free(struct cli_table *table);

/* Members of a JSON object with defaults, so that a missing one never crashes a table. */
const char *cli_text(const json_t *object, const char *name);
long long cli_integer(const json_t *object, const char *name);

/* ---- commands: argv[0] is the first argument behind the command ---- */

int cli_topic(struct cli *cli, int argc, char **argv);
int cli_produce(struct cli *cli, int argc, char **argv);
int cli_consume(struct cli *cli, int argc, char **argv);
int cli_stream(struct cli *cli, int argc, char **argv);
int cli_group(struct cli *cli, int argc, char **argv);
int cli_queue(struct cli *cli, int argc, char **argv);
int cli_transform(struct cli *cli, int argc, char **argv);
int cli_cluster(struct cli *cli, int argc, char **argv);
int cli_node(struct cli *cli, int argc, char **argv);
int cli_rebalance(struct cli *cli, int argc, char **argv);

/* Behind "consume --group". */
struct cli_consume_group {
    const char *group;
    const char *member; /* NULL: none */
    bool from_end;      /* where a group that is new begins */
    bool follow;
    long long max; /* -1: all */
    cli_output output;
};

/* topics: names with commas between; changed. */
int cli_consume_group(struct cli *cli, const struct cli_consume_group *options, char *topics);

/* Behind "topic elect" and "topic alter". */
int cli_topic_elect(struct cli *cli, int argc, char **argv);
int cli_topic_alter(struct cli *cli, int argc, char **argv);
