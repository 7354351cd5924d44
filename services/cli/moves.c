#include "services/cli/moves.h"

#include <stdio.h>
#include <string.h>

#include "services/cli/cli.h"
#include "services/cli/human.h"

enum { IDS_SIZE = 128, NOTES_SIZE = 512 };

const char *moves_ids(const json_t *ids, char *out, size_t size)
{
    const json_t *id;
    size_t used = 0;
    size_t i;

    out[0] = '\0';
    json_array_foreach(ids, i, id)
    {
        int n = snprintf(
            out + used, size - used, "%s%lld", i == 0 ? "" : ",", (long long)json_integer_value(id)
        );
        if (n < 0 || (size_t)n >= size - used) {
            break;
        }
        used += (size_t)n;
    }
    return out;
}

/* An integer member, -1 if it is null or missing. */
static long long known(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);

    return json_is_integer(value) ? (long long)json_integer_value(value) : -1;
}

/* ---- plans ---- */

static void print_each(const json_t *moves)
{
    static const char *const headings[] = {"TOPIC", "PARTITION", "REPLICAS", "WILL BE", "TO COPY"};
    struct cli_table *table = cli_table_new(headings, RIA_COUNT(headings));
    const json_t *move;
    char text[IDS_SIZE];
    size_t i;

    json_array_foreach(moves, i, move)
    {
        long long bytes = known(move, "bytes");
        cli_table_cell(table, "%s", cli_text(move, "topic"));
        cli_table_cell(table, "%lld", cli_integer(move, "partition"));
        cli_table_cell(
            table, "%s", moves_ids(json_object_get(move, "replicas"), text, sizeof(text))
        );
        cli_table_cell(table, "%s", moves_ids(json_object_get(move, "target"), text, sizeof(text)));
        cli_table_cell(table, "%s", bytes == 0 ? "-" : human_bytes(bytes, text));
    }
    cli_table_print(table, stdout);
    cli_table_free(table);
}

static bool is_in(const json_t *ids, json_int_t id)
{
    for (size_t i = 0; i < json_array_size(ids); i++) {
        if (json_integer_value(json_array_get(ids, i)) == id) {
            return true;
        }
    }
    return false;
}

/* New replicas of all moves. */
static long long count_new(const json_t *moves)
{
    const json_t *move;
    const json_t *id;
    long long count = 0;
    size_t i;
    size_t j;

    json_array_foreach(moves, i, move)
    {
        json_array_foreach(json_object_get(move, "target"), j, id)
        {
            count += is_in(json_object_get(move, "replicas"), json_integer_value(id)) ? 0 : 1;
        }
    }
    return count;
}

void moves_print_plan(const json_t *plan, bool each, double rate)
{
    const json_t *moves = json_object_get(plan, "moves");
    long long bytes = cli_integer(plan, "bytes");
    char size[HUMAN_SIZE];
    char time[HUMAN_SIZE];

    if (each && json_array_size(moves) > 0) {
        print_each(moves);
    }
    if (json_array_size(moves) == 0) {
        (void)printf("nothing to move\n");
    } else {
        (void)printf(
            "%zu partitions change, %lld new replicas, %s to copy: %s at %g MB/s; at most %lld "
            "partitions move at once\n",
            json_array_size(moves),
            count_new(moves),
            human_bytes(bytes, size),
            human_seconds((double)bytes / (rate * 1000 * 1000), time),
            rate,
            cli_integer(plan, "moves_max")
        );
    }
    if (cli_integer(plan, "sizes_unknown") > 0) {
        (void)printf(
            "the size of %lld of them is not known: the nodes that have them do not answer\n",
            cli_integer(plan, "sizes_unknown")
        );
    }
    if (cli_integer(plan, "stuck") > 0) {
        (void)printf(
            "%lld replicas cannot leave: no other node may take them, or nobody leads their "
            "partition\n",
            cli_integer(plan, "stuck")
        );
    }
    if (cli_integer(plan, "skipped") > 0) {
        (void)printf(
            "%lld partitions are left alone: not all of their replicas are in sync\n",
            cli_integer(plan, "skipped")
        );
    }
}

/* ---- moves under way ---- */

static void append(char *out, size_t size, const char *text)
{
    size_t used = strlen(out);

    (void)snprintf(out + used, size - used, "%s%s", used > 0 ? "; " : "", text);
}

/* "node 4 has 63 %, 120 records left". */
static const char *waits_for(const json_t *move, char *out, size_t size)
{
    const json_t *arriving = json_object_get(move, "arriving");
    long long whole = known(move, "bytes");
    const json_t *entry;
    char part[128];
    size_t i;

    out[0] = '\0';
    json_array_foreach(arriving, i, entry)
    {
        long long node = cli_integer(entry, "node_id");
        long long bytes = known(entry, "bytes");
        long long missing = known(entry, "missing_records");
        if (bytes < 0 || whole < 0 || missing < 0) {
            (void)snprintf(part, sizeof(part), "node %lld (does not say how far it is)", node);
        } else {
            (void)snprintf(
                part,
                sizeof(part),
                "node %lld has %.0f %%, %lld records left",
                node,
                missing == 0 || whole == 0 ? 100.0 : 100.0 * (double)bytes / (double)whole,
                missing
            );
        }
        append(out, size, part);
    }
    if (json_array_size(arriving) == 0) {
        append(out, size, "all in sync, about to end");
    }
    return out;
}

void moves_print(const json_t *moves)
{
    static const char *const headings[] = {
        "TOPIC", "PARTITION", "REPLICAS", "WILL BE", "SIZE", "WAITS FOR"};
    struct cli_table *table = cli_table_new(headings, RIA_COUNT(headings));
    const json_t *move;
    char text[NOTES_SIZE];
    size_t i;

    json_array_foreach(moves, i, move)
    {
        cli_table_cell(table, "%s", cli_text(move, "topic"));
        cli_table_cell(table, "%lld", cli_integer(move, "partition"));
        cli_table_cell(
            table, "%s", moves_ids(json_object_get(move, "replicas"), text, sizeof(text))
        );
        cli_table_cell(table, "%s", moves_ids(json_object_get(move, "target"), text, sizeof(text)));
        cli_table_cell(table, "%s", human_bytes(known(move, "bytes"), text));
        cli_table_cell(table, "%s", waits_for(move, text, sizeof(text)));
    }
    cli_table_print(table, stdout);
    cli_table_free(table);
}
