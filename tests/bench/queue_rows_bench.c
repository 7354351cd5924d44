/* queue_rows_bench: how long a coordinator stands still for a queue of very many rows: when it is
 * described, when it is deleted, and while its rows are.
 *
 *     queue_rows_bench [rows, default 1000000]
 *
 * A whole coordinator on a simulated disk in memory: what is measured is processor time of the
 * loop, without syncs. Prints one JSON object.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/assert.h"

#include "schemas/gen/describe_groups_request.h"
#include "schemas/gen/describe_groups_response.h"
#include "schemas/gen/group_delete.h"
#include "schemas/gen/queue_ack.h"
#include "schemas/gen/queue_receive.h"
#include "schemas/gen/queue_receive_result.h"

#include "services/coordinator/coordinator.h"
#include "services/shared/group_operations.h"
#include "tests/unit/services/coordinator/fixture.h"

enum { TOPIC = 1, PARTITIONS = 20, BATCH = 1000 };

static void must(ria_err err, const char *what)
{
    if (err != RIA_OK) {
        (void)fprintf(stderr, "queue_rows_bench: %s: %s\n", what, ria_err_text(err));
        exit(EXIT_FAILURE);
    }
}

/* Processor time of this process. */
static double now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* A batch is leased, and every second record of it acknowledged: BATCH rows. */
static void make_batch(struct fixture *f, int32_t partition, int64_t first)
{
    struct queue_receive_queue_start start = {.partition = partition};
    struct queue_receive_queue_end end = {.partition = partition, .offset = first + BATCH};
    const struct queue_receive request = {
        .group = RIA_SLICE_LITERAL("q"),
        .topic_id = fixture_uuid(TOPIC),
        .lock_ms = 12 * 3600 * 1000,
        .records_max = BATCH,
        .starts = &start,
        .starts_count = 1,
        .ends = &end,
        .ends_count = 1,
    };
    struct queue_ack_queue_ack_entry entries[BATCH / 2];
    struct queue_receive_result received;

    must(fixture_group_call(f, GROUP_OPERATION_QUEUE_RECEIVE, &request, &received), "receive");
    RIA_ASSERT(received.granted_count == 1 && received.granted[0].first == first);
    for (int64_t i = 0; i < BATCH / 2; i++) {
        entries[i] = (struct queue_ack_queue_ack_entry){
            .partition = partition,
            .lease_id = received.granted[0].lease_id,
            .first = first + 2 * i + 1,
            .last = first + 2 * i + 1,
            .action = 1,
            .delay_ms = -1,
        };
    }
    const struct queue_ack ack = {
        .group = request.group,
        .topic_id = request.topic_id,
        .entries = entries,
        .entries_count = BATCH / 2,
    };
    must(fixture_group_call(f, GROUP_OPERATION_QUEUE_ACK, &ack, NULL), "ack");
}

static double describe(struct fixture *f)
{
    const struct describe_groups_request request = {.name = RIA_SLICE_LITERAL("q")};
    struct describe_groups_response described;
    double start = now_ms();

    must(fixture_call(f, API_DESCRIBE_GROUPS, &request, &described), "describe");
    return now_ms() - start;
}

/* Longest and all steps of the loop until nothing is left. */
static void sweep(struct fixture *f, int64_t *out_steps, double *out_longest, double *out_all)
{
    bool any = true;

    *out_steps = 0;
    *out_longest = 0;
    *out_all = 0;
    while (any) {
        int64_t before = f->coordinator->applied_index;
        double start = now_ms();
        fixture_advance(f, 1);
        double took = now_ms() - start;
        if (f->coordinator->applied_index > before) {
            ++*out_steps;
            *out_all += took;
            *out_longest = took > *out_longest ? took : *out_longest;
        }
        struct meta_stmt *stmt = meta_query(f->coordinator->db, META_LEFTOVERS_ANY);
        any = meta_step(stmt) && meta_column_int(stmt, 0) != 0;
        meta_done(stmt);
    }
}

int main(int argc, char **argv)
{
    const struct group_delete request = {.group = RIA_SLICE_LITERAL("q"), .force = true};
    struct create_topic_request topic = fixture_topic(TOPIC, "jobs", PARTITIONS, 1);
    int64_t rows = argc > 1 ? strtoll(argv[1], NULL, 10) : 1000000;
    struct fixture f;
    int64_t steps = 0;
    double longest = 0;
    double all = 0;

    fixture_up(&f);
    fixture_register_nodes(&f, 1);
    must(fixture_call(&f, API_CREATE_TOPIC, &topic, NULL), "topic");
    for (int64_t made = 0; made < rows; made += BATCH) {
        make_batch(&f, (int32_t)(made / BATCH % PARTITIONS), made / BATCH / PARTITIONS * BATCH);
    }
    double describe_ms = describe(&f);
    double start = now_ms();
    must(fixture_group_call(&f, GROUP_OPERATION_DELETE, &request, NULL), "delete");
    double delete_ms = now_ms() - start;
    sweep(&f, &steps, &longest, &all);
    (void)printf(
        "{\"rows\": %" PRId64 ", \"describe_ms\": %.1f, \"delete_ms\": %.1f, \"steps\": %" PRId64
        ", \"longest_step_ms\": %.1f, \"all_steps_ms\": %.0f}\n",
        rows,
        describe_ms,
        delete_ms,
        steps,
        longest,
        all
    );
    fixture_close(&f);
    return EXIT_SUCCESS;
}
