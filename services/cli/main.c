/* riacho: the command line of the cluster, a client of the gateway's HTTP interface. See README.md.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "services/cli/cli.h"

#ifndef RIA_VERSION
#    define RIA_VERSION "unknown"
#endif

/* In parts: C99 compilers need not take longer strings. */
static const char *const help[] = {
    "usage: riacho [--gateway=URL,...] [--json] COMMAND ...\n"
    "\n"
    "  topic create NAME [--partitions N] [--replicas N] [--config SETTING=VALUE,...]\n"
    "  topic list\n"
    "  topic describe NAME\n"
    "  topic alter NAME [--set SETTING=VALUE]... [--unset SETTING]... [--partitions N] "
    "[--dry-run]\n"
    "                           change settings while the topic is used; --unset: back to the "
    "default;\n"
    "                           --partitions: more of them\n"
    "  topic delete NAME\n"
    "  topic elect NAME --partition N [--node N] [--force [--yes]]\n"
    "                           another leader; with --force one that may lack acknowledged "
    "records:\n"
    "                           says first how many, and does it only with --yes\n"
    "  produce TOPIC [--key FIELD] [--partition N] [FILE...]\n"
    "                           each line of the files (standard input without any) is a record;\n"
    "                           --key takes the key from that field of the line's JSON object\n"
    "  consume TOPIC [--from beginning|end|OFFSET|TIME] [--partition N] [--max N] [--follow]\n"
    "                [--output json|value|raw]\n"
    "                           all partitions, merged by time; TIME is 2026-01-31T12:00:00Z;\n"
    "                           default: from the beginning to the end as it is now\n"
    "  consume TOPIC,... --group G [--member NAME] [--from beginning|end] [--max N] [--follow]\n"
    "                [--output json|value|raw]\n"
    "                           as one of a group, from where it is; commits what was printed;\n"
    "                           --from is for a group that is new\n"
    "                           --follow: on and on, at the next gateway if one dies\n"
    "  stream TOPIC [--from beginning|end|PARTITION:OFFSET,...|TIME] [--partition N]\n"
    "                [--filter F]... [--cursor C | --resume FILE] [--max N]\n"
    "                [--on-out-of-range error|earliest|latest] [--output json|value|raw]\n"
    "                           records as they come, until Ctrl-C; default: from the end on;\n"
    "                           F is key=a, header:h=a, $.user.id=7 (docs/http.md);\n"
    "                           --resume keeps in FILE where it is, and goes on from there\n"
    "  stream TOPIC,... --group G [--member NAME] [--from beginning|end] [--filter F]...\n"
    "                [--max N] [--output json|value|raw]\n"
    "                           as one of a group; commits what was printed\n"
    "  group list\n"
    "  group describe GROUP     members, positions, lag, who holds what\n"
    "  group reset GROUP --to earliest|latest|OFFSET|TIME [--topic T [--partition N]]\n"
    "                [--dry-run] [--force]\n"
    "                           refused while somebody holds a lease, unless forced\n"
    "  group delete GROUP [--force]\n"
    "  queue list\n"
    "  queue describe TOPIC GROUP   settings, and what is ready, locked, dead\n"
    "  queue set TOPIC GROUP [--lock-ms N] [--max-deliveries N] [--order key|none]\n"
    "              [--retry-ms N,...] [--dead-letter-topic T | --no-dead-letter-topic]\n"
    "  queue receive TOPIC GROUP [--max N] [--wait-ms N] [--lock-ms N] [--consumer NAME] [--ack]\n"
    "                           a record a line; --ack: acknowledged when printed\n"
    "  queue ack|nack|extend|reject TOPIC GROUP LOCK... [--delay-ms N] [--lock-ms N] [--reason R]\n"
    "  queue redrive TOPIC GROUP [--reason R] [--key K] [--from-time T] [--to-time T] [--rate N]\n"
    "                [--max N] [--dry-run]\n"
    "                           dead letters back to their topic\n"
    "  queue delete TOPIC GROUP [--force]\n",
    "  transform create SQL     CREATE STREAM name AS SELECT ... FROM topic [WHERE ...]\n"
    "  transform list\n"
    "  transform describe NAME\n"
    "  transform delete NAME    the derived topic stays\n"
    "  cluster                  the processes and whether they are heard\n"
    "  node list [--orphans]    the storage nodes and what they hold\n"
    "  node drain N [--dry-run] [--stop] [--rate MB]\n"
    "                           move everything off a node, until it is empty\n"
    "  node remove N            forget a node that is empty and stopped, for good\n"
    "  rebalance [--dry-run | --status | --stop | --cancel] [--rate MB]\n"
    "                           even out replicas, racks and leaders; --dry-run only says what "
    "would\n"
    "                           move, --stop begins no more moves, --cancel also ends those under "
    "way\n"
    "\n"
    "  --gateway=URL[,URL...]   default $RIACHO_GATEWAY or http://127.0.0.1:8080; when one cannot\n"
    "                           be connected to, the next is tried\n"
    "  --json                   print the gateway's JSON instead of tables\n"
    "  --version, --help\n"
    "\n"
    "Exit status: 0 done, 1 failed (the reason is on standard error), 2 wrong usage.\n",
};

static void print_help(FILE *out)
{
    for (size_t i = 0; i < RIA_COUNT(help); i++) {
        (void)fputs(help[i], out);
    }
}

/* The lines of one command: those that begin with its name, and what is indented below them. */
static void print_help_of(const char *command)
{
    size_t length = strlen(command);
    bool is_its_own = false;

    (void)fputs("usage: riacho [--gateway=URL,...] [--json] COMMAND ...\n\n", stdout);
    for (size_t i = 0; i < RIA_COUNT(help); i++) {
        for (const char *line = help[i]; *line != '\0';) {
            size_t size = strcspn(line, "\n") + 1;
            if (strncmp(line, "   ", 3) != 0) {
                is_its_own = strncmp(line, "  ", 2) == 0 &&
                             strncmp(line + 2, command, length) == 0 &&
                             (line[2 + length] == ' ' || line[2 + length] == '\n');
            }
            if (is_its_own) {
                (void)fwrite(line, 1, size, stdout);
            }
            line += size;
        }
    }
}

struct command {
    const char *name;
    int (*run)(struct cli *cli, int argc, char **argv);
};

static const struct command commands[] = {
    {"topic", cli_topic},
    {"produce", cli_produce},
    {"consume", cli_consume},
    {"stream", cli_stream},
    {"group", cli_group},
    {"queue", cli_queue},
    {"transform", cli_transform},
    {"cluster", cli_cluster},
    {"node", cli_node},
    {"rebalance", cli_rebalance},
};

/* Options in front of the command. Returns the index of the command, -1 when all is said. */
static int global_options(struct cli *cli, int argc, char **argv, int *out_status)
{
    int at = 1;

    for (; at < argc && strncmp(argv[at], "--", 2) == 0; at++) {
        if (strncmp(argv[at], "--gateway=", 10) == 0) {
            cli->gateway = argv[at] + 10;
        } else if (strcmp(argv[at], "--gateway") == 0 && at + 1 < argc) {
            cli->gateway = argv[++at];
        } else if (strcmp(argv[at], "--json") == 0) {
            cli->json = true;
        } else if (strcmp(argv[at], "--help") == 0) {
            print_help(stdout);
            *out_status = CLI_OK;
            return -1;
        } else if (strcmp(argv[at], "--version") == 0) {
            (void)puts("riacho " RIA_VERSION);
            *out_status = CLI_OK;
            return -1;
        } else {
            *out_status = cli_usage("%s is not an option", argv[at]);
            return -1;
        }
    }
    if (at == argc) {
        print_help(stderr);
        *out_status = CLI_USAGE;
        return -1;
    }
    return at;
}

/* --json may also stand behind the command. */
static int drop_json_flag(struct cli *cli, int argc, char **argv)
{
    int kept = 0;

    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            cli->json = true;
        } else {
            argv[kept++] = argv[i];
        }
    }
    return kept;
}

static bool wants_help(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            return true;
        }
    }
    return false;
}

int main(int argc, char **argv)
{
    const char *from_environment = getenv("RIACHO_GATEWAY");
    struct cli cli = {
        .gateway = from_environment != NULL ? from_environment : "http://127.0.0.1:8080",
        .terminal = isatty(STDOUT_FILENO) != 0,
    };
    int status = CLI_OK;
    int at = global_options(&cli, argc, argv, &status);

    if (at < 0) {
        return status;
    }
    ria_err err = http_client_new(cli.gateway, &cli.client);
    if (err != RIA_OK) {
        return err == RIA_ERR_INVALID ? cli_usage("--gateway names none")
                                      : cli_fail("out of memory");
    }
    const struct command *command = NULL;
    for (size_t i = 0; i < RIA_COUNT(commands); i++) {
        if (strcmp(argv[at], commands[i].name) == 0) {
            command = &commands[i];
        }
    }
    if (command == NULL) {
        status = cli_usage("\"%s\" is not a command", argv[at]);
    } else if (wants_help(argc - at - 1, argv + at + 1)) {
        print_help_of(command->name);
    } else {
        int rest = drop_json_flag(&cli, argc - at - 1, argv + at + 1);
        status = command->run(&cli, rest, argv + at + 1);
    }
    http_client_free(cli.client);
    if (fflush(stdout) != 0 && status == CLI_OK) {
        status = cli_fail("cannot write to standard output");
    }
    return status;
}
