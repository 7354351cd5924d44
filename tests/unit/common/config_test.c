#include "common/config.h"

#include <stdio.h>
#include <string.h>

#include "tests/lib/harness.h"

struct options {
    const char *config;
    const char *data_dir;
    int64_t port;
    int64_t memory;
    bool sync;
    const char *mode;
};

/* clang-format off */
static const struct ria_option table[] = {
    {"config", RIA_OPTION_STRING, offsetof(struct options, config), "", 0, 4096, NULL, "PATH", "file"},
    {"data-dir", RIA_OPTION_STRING, offsetof(struct options, data_dir), NULL, 1, 16, NULL, "PATH", "where"},
    {"port", RIA_OPTION_INT, offsetof(struct options, port), "80", 1, 65535, NULL, "PORT", "which"},
    {"memory", RIA_OPTION_SIZE, offsetof(struct options, memory), "1MiB", 1024, 1LL << 40, NULL, "SIZE", "most"},
    {"sync", RIA_OPTION_BOOL, offsetof(struct options, sync), "false", 0, 0, NULL, NULL, "sync"},
    {"mode", RIA_OPTION_CHOICE, offsetof(struct options, mode), "fast", 0, 0, "fast|slow", "MODE", "how"},
    RIA_OPTION_END,
};
/* clang-format on */

enum { ARGS_MAX = 8 };

static struct ria_config config;
static struct options options;

/* Load with these arguments (up to NULL) and environment. */
static ria_err load(char **args, char **environ_)
{
    char *argv[ARGS_MAX + 1] = {(char[]){"program"}};
    int argc = 1;

    for (; args != NULL && args[argc - 1] != NULL; argc++) {
        argv[argc] = args[argc - 1];
    }
    options = (struct options){.port = -1};
    return ria_config_load(&config, table, &options, argc, argv, environ_, NULL, NULL);
}

#define ARGS(...)         \
    (char *[])            \
    {                     \
        __VA_ARGS__, NULL \
    }
#define S(text) ((char[]){text})

static void check_error(char **args, const char *want)
{
    CU_ASSERT_EQUAL(load(args, NULL), RIA_ERR_INVALID);
    CU_ASSERT_STRING_EQUAL(config.error, want);
    CU_ASSERT_EQUAL(options.port, -1); /* nothing is written */
    ria_config_fini(&config);
}

static void write_file(char *path, size_t path_size, const char *text)
{
    char dir[256];

    harness_tmpdir(dir, sizeof(dir));
    (void)snprintf(path, path_size, "%s/conf", dir);
    FILE *file = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    (void)fputs(text, file);
    (void)fclose(file);
}

static void defaults_fill_what_is_not_given(void)
{
    CU_ASSERT_EQUAL(load(ARGS(S("--data-dir=/d")), NULL), RIA_OK);
    CU_ASSERT_STRING_EQUAL(options.data_dir, "/d");
    CU_ASSERT_EQUAL(options.port, 80);
    CU_ASSERT_EQUAL(options.memory, 1024 * 1024);
    CU_ASSERT_FALSE(options.sync);
    CU_ASSERT_STRING_EQUAL(options.mode, "fast");
    ria_config_fini(&config);
}

static void value_may_be_the_next_argument(void)
{
    CU_ASSERT_EQUAL(
        load(ARGS(S("--data-dir"), S("/d"), S("--sync"), S("--port"), S("81")), NULL), RIA_OK
    );
    CU_ASSERT_STRING_EQUAL(options.data_dir, "/d");
    CU_ASSERT_EQUAL(options.port, 81);
    CU_ASSERT_TRUE(options.sync);
    ria_config_fini(&config);
}

static void command_line_wins_over_environment_over_file(void)
{
    char path[300];
    char arg[400];

    write_file(
        path,
        sizeof(path),
        "# comment\n\n  port = 1 \r\ndata-dir=/file\nmemory = 2KiB\nmode\t= slow"
    );
    (void)snprintf(arg, sizeof(arg), "--config=%s", path);
    char **environ_ =
        ARGS(S("RIACHO_PORT=2"), S("RIACHO_DATA_DIR=/env"), S("RIACHO_OTHER=x"), S("PORT=9"));
    CU_ASSERT_EQUAL(load(ARGS(arg, S("--port=3")), environ_), RIA_OK);
    CU_ASSERT_EQUAL(options.port, 3);
    CU_ASSERT_STRING_EQUAL(options.data_dir, "/env");
    CU_ASSERT_EQUAL(options.memory, 2048);
    CU_ASSERT_STRING_EQUAL(options.mode, "slow");
    ria_config_fini(&config);
}

static void errors_name_option_origin_and_rule(void)
{
    check_error(NULL, "--data-dir must be given: 1 to 16 bytes of text");
    check_error(ARGS(S("--nope=1")), "--nope: there is no such option");
    check_error(ARGS(S("--port")), "--port: a value must follow");
    check_error(ARGS(S("stray")), "stray: not an option; options start with --");
    check_error(
        ARGS(S("--data-dir=/d"), S("--port=0")), "--port: `0` is not a whole number, 1 to 65535"
    );
    check_error(
        ARGS(S("--data-dir=/d"), S("--port=1x")), "--port: `1x` is not a whole number, 1 to 65535"
    );
    check_error(
        ARGS(S("--data-dir=/d"), S("--memory=9EiB")),
        "--memory: `9EiB` is not bytes (or KiB, MiB, GiB), 1KiB to 1024GiB"
    );
    check_error(ARGS(S("--data-dir=/d"), S("--mode=fas")), "--mode: `fas` is not one of fast|slow");
    check_error(ARGS(S("--data-dir=/d"), S("--sync=yes")), "--sync: `yes` is not true or false");
    check_error(
        ARGS(S("--data-dir=/much/too/long/a/path")),
        "--data-dir: `/much/too/long/a/path` is not 1 to 16 bytes of text"
    );
    CU_ASSERT_EQUAL(load(ARGS(S("--data-dir=/d")), ARGS(S("RIACHO_PORT=x"))), RIA_ERR_INVALID);
    CU_ASSERT_STRING_EQUAL(config.error, "RIACHO_PORT: `x` is not a whole number, 1 to 65535");
}

static void errors_in_the_file_name_the_line(void)
{
    static const char *const texts[] = {
        "port = 1\nport = x\n", "\nwhat\n", "\nnope = 1", "\nconfig = a"};
    static const char *const wants[] = {
        "port (%s, line 2): `x` is not a whole number, 1 to 65535",
        "%s, line 2: not `name = value`",
        "%s, line 2: there is no option `nope`",
        "%s, line 2: there is no option `config`",
    };

    for (size_t i = 0; i < RIA_COUNT(texts); i++) {
        char path[300];
        char arg[400];
        char want[500];
        char *percent = want;
        write_file(path, sizeof(path), texts[i]);
        (void)snprintf(arg, sizeof(arg), "--config=%s", path);
        const char *place = strstr(wants[i], "%s");
        percent += snprintf(want, sizeof(want), "%.*s", (int)(place - wants[i]), wants[i]);
        (void)snprintf(percent, 400, "%s%s", path, place + 2);
        check_error(ARGS(arg, S("--data-dir=/d")), want);
    }
    check_error(
        ARGS(S("--config=/nonexistent")),
        "--config: cannot open /nonexistent: No such file or directory"
    );
}

static void sizes_and_numbers_do_not_overflow(void)
{
    check_error(
        ARGS(S("--data-dir=/d"), S("--memory=99999999999GiB")),
        "--memory: `99999999999GiB` is not bytes (or KiB, MiB, GiB), 1KiB to 1024GiB"
    );
    check_error(
        ARGS(S("--data-dir=/d"), S("--port=99999999999999999999")),
        "--port: `99999999999999999999` is not a whole number, 1 to 65535"
    );
    CU_ASSERT_EQUAL(load(ARGS(S("--data-dir=/d"), S("--memory=3GiB")), NULL), RIA_OK);
    CU_ASSERT_EQUAL(options.memory, INT64_C(3) << 30);
    ria_config_fini(&config);
}

static void help_and_version_need_nothing_else(void)
{
    CU_ASSERT_EQUAL(load(ARGS(S("--help")), NULL), RIA_OK);
    CU_ASSERT_TRUE(config.help);
    CU_ASSERT_EQUAL(load(ARGS(S("--version")), NULL), RIA_OK);
    CU_ASSERT_TRUE(config.version);
}

static void other_arguments_are_handed_out(void)
{
    char *argv[] = {S("program"), S("get"), S("--data-dir=/d"), S("-"), S("--"), S("--port=1")};
    char *args[6];
    int count = 0;

    CU_ASSERT_EQUAL(ria_config_load(&config, table, &options, 6, argv, NULL, args, &count), RIA_OK);
    CU_ASSERT_EQUAL_FATAL(count, 3);
    CU_ASSERT_STRING_EQUAL(args[0], "get");
    CU_ASSERT_STRING_EQUAL(args[1], "-");
    CU_ASSERT_STRING_EQUAL(args[2], "--port=1");
    CU_ASSERT_EQUAL(options.port, 80);
    ria_config_fini(&config);
}

static void documentation_lists_every_option(void)
{
    struct ria_buf help;
    struct ria_buf markdown;

    ria_buf_init(&help, 16 * 1024);
    ria_buf_init(&markdown, 16 * 1024);
    CU_ASSERT_EQUAL(ria_config_help(table, "riacho-x", "does x", &help), RIA_OK);
    CU_ASSERT_EQUAL(ria_config_markdown(table, &markdown), RIA_OK);
    CU_ASSERT_EQUAL(ria_buf_append(&help, "", 1), RIA_OK);
    CU_ASSERT_EQUAL(ria_buf_append(&markdown, "", 1), RIA_OK);
    for (const struct ria_option *option = table; option->name != NULL; option++) {
        char name[64];
        (void)snprintf(name, sizeof(name), "--%s", option->name);
        CU_ASSERT_PTR_NOT_NULL(strstr((char *)help.data, name));
        CU_ASSERT_PTR_NOT_NULL(strstr((char *)markdown.data, name));
    }
    CU_ASSERT_PTR_NOT_NULL(strstr((char *)help.data, "default: 80"));
    CU_ASSERT_PTR_NOT_NULL(strstr(
        (char *)markdown.data, "| `--mode` | `RIACHO_MODE` | fast | one of fast\\|slow | how |\n"
    ));
    ria_buf_fini(&help);
    ria_buf_fini(&markdown);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(defaults_fill_what_is_not_given),
    HARNESS_TEST(value_may_be_the_next_argument),
    HARNESS_TEST(command_line_wins_over_environment_over_file),
    HARNESS_TEST(errors_name_option_origin_and_rule),
    HARNESS_TEST(errors_in_the_file_name_the_line),
    HARNESS_TEST(sizes_and_numbers_do_not_overflow),
    HARNESS_TEST(help_and_version_need_nothing_else),
    HARNESS_TEST(other_arguments_are_handed_out),
    HARNESS_TEST(documentation_lists_every_option),
};
HARNESS_MAIN(tests);
