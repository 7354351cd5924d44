/* riacho topic alter */
#include <stdlib.h>
#include <string.h>

#include "services/cli/cli.h"

enum { PATH_MAX_BYTES = 2048 };

/* Of `--name VALUE` or `--name=VALUE` at argv[*at]: the value, and *at moved to its last word.
 * NULL: it is another word. Without a value: "". */
static const char *value_of(int argc, char **argv, int *at, const char *name)
{
    const char *word = argv[*at];
    size_t size = strlen(name);

    if (strncmp(word, name, size) != 0 || (word[size] != '\0' && word[size] != '=')) {
        return NULL;
    }
    if (word[size] == '=') {
        return word + size + 1;
    }
    if (*at + 1 >= argc) {
        return "";
    }
    return argv[++*at];
}

static bool is_given(const json_t *config, const char *name)
{
    if (json_object_get(config, name) == NULL) {
        return false;
    }
    (void)cli_usage("setting %s is given twice", name);
    return true;
}

/* "a=1" */
static bool take_set(json_t *config, const char *text)
{
    const char *equals = strchr(text, '=');

    if (equals == NULL || equals == text) {
        (void)cli_usage("--set wants SETTING=VALUE, not \"%s\"", text);
        return false;
    }
    char *name = strndup(text, (size_t)(equals - text));
    bool fine = name != NULL && !is_given(config, name);
    if (fine && json_object_set_new(config, name, json_string(equals + 1)) != 0) {
        (void)cli_usage("--set %s is not UTF-8", text);
        fine = false;
    }
    free(name);
    return fine;
}

static bool take_unset(json_t *config, const char *name)
{
    if (name[0] == '\0') {
        (void)cli_usage("--unset wants a SETTING");
        return false;
    }
    if (is_given(config, name)) {
        return false;
    }
    if (json_object_set_new(config, name, json_null()) != 0) {
        (void)cli_usage("--unset %s is not UTF-8", name);
        return false;
    }
    return true;
}

/* Take every --set and --unset out of argv, which may be given more than once; returns how many
 * words are left, -1 after a message. */
static int take_settings(int argc, char **argv, json_t *config)
{
    int count = 0;

    for (int i = 0; i < argc; i++) {
        char *word = argv[i];
        const char *value = value_of(argc, argv, &i, "--set");
        if (value != NULL) {
            if (!take_set(config, value)) {
                return -1;
            }
            continue;
        }
        value = value_of(argc, argv, &i, "--unset");
        if (value == NULL) {
            argv[count++] = word;
        } else if (!take_unset(config, value)) {
            return -1;
        }
    }
    return count;
}

static void print_answer(const char *topic, json_t *config, const json_t *answer, bool dry)
{
    const json_t *now = json_object_get(answer, "config");
    const char *name;
    json_t *value;

    (void)printf(
        "topic %s %s: %lld partitions\n",
        topic,
        dry ? "would be changed" : "changed",
        cli_integer(answer, "partition_count")
    );
    json_object_foreach(config, name, value)
    {
        (void)printf("  %s=%s\n", name, cli_text(now, name));
    }
}

static int alter(struct cli *cli, int argc, char **argv, json_t *body)
{
    struct cli_option options[] = {{.name = "partitions"}, {.name = "dry-run", .is_flag = true}};
    json_t *config = json_object_get(body, "config");
    char escaped[PATH_MAX_BYTES - 64];
    char path[PATH_MAX_BYTES];
    json_t *answer = NULL;
    long long number;

    int words = take_settings(argc, argv, config);
    int count = words < 0 ? -1 : cli_parse(words, argv, options, RIA_COUNT(options));
    if (count < 0) {
        return CLI_USAGE;
    }
    if (count != 1 || (json_object_size(config) == 0 && options[0].value == NULL)) {
        return cli_usage(
            "topic alter wants one NAME and --set SETTING=VALUE, --unset SETTING or --partitions N"
        );
    }
    if (options[0].value != NULL) {
        if (!cli_number("partitions", options[0].value, 1, 1000000, &number)) {
            return CLI_USAGE;
        }
        (void)json_object_set_new(body, "partitions", json_integer(number));
    }
    bool dry = options[1].value != NULL;
    http_escape(escaped, sizeof(escaped), argv[0]);
    (void)snprintf(path, sizeof(path), "/v1/topics/%s%s", escaped, dry ? "?dry_run=true" : "");
    int status = cli_call(cli, "PATCH", path, body, &answer);
    if (status == CLI_OK && cli->json) {
        cli_print_json(answer);
    } else if (status == CLI_OK) {
        print_answer(argv[0], config, answer, dry);
    }
    json_decref(answer);
    return status;
}

int cli_topic_alter(struct cli *cli, int argc, char **argv)
{
    json_t *body = json_pack("{s:{}}", "config");

    if (body == NULL) {
        return cli_fail("out of memory");
    }
    int status = alter(cli, argc, argv, body);
    json_decref(body);
    return status;
}
