/* The produce core against a log that checks producers as storage does, on a network that loses and
 * delays: requests, answers, or the wait for an answer while the request is still on its way.
 * Leaders change, are missing for a while, and do not know at once that they lead no more. Besides
 * the gateway's own batches there are those of a client with numbers of its own, two at a time.
 * Whatever happens: an acknowledged record is at its offset, nothing is stored twice, what failed
 * for certain is not stored, and acknowledged records of a partition stand in the order in which
 * they were added. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"

#include "services/gateway/produce.h"
#include "tests/lib/harness.h"
#include "tests/unit/services/gateway/world.h"

enum {
    SEEDS = 200,
    STEPS = 400,
    PARTITIONS = 2,
    CALLS_MAX = 400,
    RECORDS_PER_CALL_MAX = 4,
    LOG_MAX = 4096,
    PRODUCERS_MAX = 64,
    WINDOW = 5,
    OWN_UNDER_WAY_MAX = 2,
    OWN_PRODUCER = 5,
    TIMEOUT_MS = 5000,
};

/* What the log knows of a producer: its epoch and its last batches. */
struct producer {
    int64_t id;
    int16_t epoch;
    uint32_t count;
    struct {
        int32_t sequence;
        int32_t records;
        int64_t base_offset;
    } window[WINDOW]; /* newest last */
};

struct log {
    uint32_t values[LOG_MAX]; /* by offset */
    int64_t end;
    int64_t acknowledged; /* what is below was promised to somebody */
    int32_t leader;       /* who has it; metadata may say that nobody leads */
    int32_t epoch;
    int32_t deposed; /* led before, and does not know better; 0: nobody */
    int32_t deposed_epoch;
    struct producer producers[PRODUCERS_MAX];
    uint32_t producer_count;
    struct {
        int64_t end; /* the log's end before the batch */
        struct producer before;
        uint32_t producer;
        bool is_new;
    } undo[LOG_MAX];
    uint32_t undo_count;
};

struct client {
    struct produce_call call;
    struct produce_result results[RECORDS_PER_CALL_MAX];
    uint32_t first_value;
    bool done;
    bool is_own; /* with the client's numbers */
};

/* A client that numbers its batches; the next epoch begins after any that was not acknowledged. */
struct own {
    struct client *under_way[OWN_UNDER_WAY_MAX];
    int16_t epoch;
    int32_t sequence;
    bool failed;
};

struct model {
    struct world world;
    struct world_topic *topic;
    struct cluster *cluster;
    struct coordinator_calls coordinator;
    struct produce *produce;
    struct cluster_topic *view;
    struct log logs[PARTITIONS];
    struct client clients[CALLS_MAX];
    uint32_t client_count;
    struct own own[PARTITIONS];
    uint32_t value_next;
    ria_err refusal; /* what leaders say to everything at the moment; RIA_OK: nothing */
    uint32_t failures;
};

#define EXPECT(m, condition)                                       \
    do {                                                           \
        if (!(condition)) {                                        \
            (m)->failures++;                                       \
            (void)printf("\n  line %d: %s", __LINE__, #condition); \
        }                                                          \
    } while (0)

/* --- the log -----------------------------------------------------------------------------------*/

static struct producer *find_producer(struct log *log, int64_t id, bool *out_is_new)
{
    for (uint32_t i = 0; i < log->producer_count; i++) {
        if (log->producers[i].id == id) {
            *out_is_new = false;
            return &log->producers[i];
        }
    }
    CU_ASSERT_TRUE_FATAL(log->producer_count < PRODUCERS_MAX);
    *out_is_new = true;
    log->producers[log->producer_count] = (struct producer){.id = id, .epoch = -1};
    return &log->producers[log->producer_count++];
}

static bool find_duplicate(
    const struct producer *producer, const struct batch_header *header, int64_t *out_base_offset
)
{
    for (uint32_t i = 0; i < producer->count; i++) {
        if (producer->window[i].sequence == header->base_sequence &&
            producer->window[i].records == header->record_count) {
            *out_base_offset = producer->window[i].base_offset;
            return true;
        }
    }
    return false;
}

/* May the batch follow what the producer wrote? */
static ria_err check_sequence(const struct producer *producer, const struct batch_header *header)
{
    if (header->producer_epoch < producer->epoch) {
        return RIA_ERR_FENCED_PRODUCER;
    }
    int32_t wanted = 0;
    if (header->producer_epoch == producer->epoch && producer->count > 0) {
        wanted = producer->window[producer->count - 1].sequence +
                 producer->window[producer->count - 1].records;
    }
    return header->base_sequence == wanted ? RIA_OK : RIA_ERR_OUT_OF_ORDER;
}

static void append(
    struct model *m,
    struct log *log,
    struct producer *producer,
    struct ria_slice payload,
    bool is_new
)
{
    struct batch_record record;
    struct batch_iter iter;
    bool more = true;
    bool same_epoch = false;

    log->undo[log->undo_count].end = log->end;
    log->undo[log->undo_count].before = *producer;
    log->undo[log->undo_count].producer = (uint32_t)(producer - log->producers);
    log->undo[log->undo_count++].is_new = is_new;
    CU_ASSERT_EQUAL_FATAL(batch_iter_init(&iter, payload), RIA_OK);
    same_epoch = iter.header.producer_epoch == producer->epoch;
    if (!same_epoch) {
        producer->count = 0;
    }
    if (producer->count == WINDOW) {
        memmove(
            &producer->window[0], &producer->window[1], sizeof(producer->window[0]) * (WINDOW - 1)
        );
        producer->count--;
    }
    producer->epoch = iter.header.producer_epoch;
    producer->window[producer->count].sequence = iter.header.base_sequence;
    producer->window[producer->count].records = iter.header.record_count;
    producer->window[producer->count++].base_offset = log->end;
    while (batch_iter_next(&iter, &record, &more) == RIA_OK && more) {
        EXPECT(m, record.value.size == sizeof(uint32_t));
        memcpy(&log->values[log->end], record.value.data, sizeof(uint32_t));
        log->end++;
        CU_ASSERT_TRUE_FATAL(log->end < LOG_MAX);
    }
}

/* A request arrives at the node it was sent to. */
static void process(struct model *m, struct world_call *call)
{
    struct produce_request request;
    struct batch_header header;
    struct ria_slice payload;
    struct ria_arena arena;
    const char *reason = NULL;
    int32_t node = call->address[strlen(call->address) - 1] - '0';
    bool is_new = false;

    ria_arena_init(&arena, 65536);
    world_open(call, &arena, &request, &payload);
    ria_arena_fini(&arena);
    call->processed = true;
    CU_ASSERT_EQUAL_FATAL(batch_validate(payload, RIA_BATCH_SIZE_MAX, &header, &reason), RIA_OK);
    struct log *log = &m->logs[request.partition];
    if (node == log->deposed && request.leader_epoch == log->deposed_epoch) {
        call->outcome = RIA_ERR_UNKNOWN_OUTCOME; /* appended, and cut off when it hears the news */
    } else if (node != log->leader) {
        call->outcome = RIA_ERR_NOT_LEADER;
    } else if (request.leader_epoch != log->epoch) {
        call->outcome =
            request.leader_epoch < log->epoch ? RIA_ERR_FENCED_EPOCH : RIA_ERR_UNKNOWN_EPOCH;
    } else if (m->refusal != RIA_OK) {
        call->outcome = m->refusal;
    } else {
        struct producer *producer = find_producer(log, header.producer_id, &is_new);
        call->outcome = RIA_OK;
        if (header.producer_epoch != producer->epoch ||
            !find_duplicate(producer, &header, &call->base_offset)) {
            call->outcome = check_sequence(producer, &header);
            call->base_offset = log->end;
            if (call->outcome == RIA_OK) {
                append(m, log, producer, payload, is_new);
            }
        }
    }
}

static void deliver(struct model *m, struct world_call *call)
{
    struct produce_request request;
    struct ria_slice payload;
    struct ria_arena arena;

    if (call->outcome != RIA_OK) {
        world_refuse(&m->world, call, call->outcome, "");
        return;
    }
    ria_arena_init(&arena, 65536);
    world_open(call, &arena, &request, &payload);
    ria_arena_fini(&arena);
    struct batch_header header;
    CU_ASSERT_EQUAL_FATAL(batch_header_decode(payload, &header), RIA_OK);
    struct log *log = &m->logs[request.partition];
    log->acknowledged = ria_max_i64(log->acknowledged, call->base_offset + header.record_count);
    world_ack(&m->world, call, call->base_offset);
}

/* The new leader has everything that was promised, and maybe more. */
static void change_leader(struct model *m, int32_t partition)
{
    struct log *log = &m->logs[partition];

    log->deposed = ria_rand_one_in(&m->world.rand, 2) ? log->leader : 0;
    log->deposed_epoch = log->epoch;
    log->leader = 1 + (int32_t)ria_rand_below(&m->world.rand, WORLD_NODES);
    log->epoch++;
    m->topic->leaders[partition] = log->leader;
    m->topic->epochs[partition] = log->epoch;
    while (log->undo_count > 0 && log->undo[log->undo_count - 1].end >= log->acknowledged &&
           ria_rand_one_in(&m->world.rand, 2)) {
        log->undo_count--;
        log->end = log->undo[log->undo_count].end;
        log->producers[log->undo[log->undo_count].producer] = log->undo[log->undo_count].before;
    }
    /* What is under way belongs to the leader that was: answers of what was cut off never come. */
    RIA_LIST_FOREACH (link, &m->world.calls) {
        struct world_call *call = RIA_CONTAINER(link, struct world_call, link);
        if (call->processed && call->outcome == RIA_OK) {
            world_lose(&m->world, call, RIA_ERR_DISCONNECTED);
        }
    }
    if (!ria_rand_one_in(&m->world.rand, 3)) {
        world_publish(&m->world);
    }
}

/* Its leader is not heard of any more, which does not mean that it takes nothing. */
static void lose_leader(struct model *m, int32_t partition)
{
    m->topic->leaders[partition] = -1;
    world_publish(&m->world);
}

/* --- the network -------------------------------------------------------------------------------*/

/* Requests of one connection arrive in order. */
static void process_one(struct model *m)
{
    bool seen[WORLD_NODES + 1] = {false};
    uint64_t node = 1 + ria_rand_below(&m->world.rand, WORLD_NODES);

    RIA_LIST_FOREACH (link, &m->world.calls) {
        struct world_call *call = RIA_CONTAINER(link, struct world_call, link);
        size_t to = (size_t)(call->address[strlen(call->address) - 1] - '0');
        if (!call->processed && to == node && !seen[to]) {
            process(m, call);
            return;
        }
        seen[to] = seen[to] || !call->processed;
    }
}

static void deliver_one(struct model *m)
{
    RIA_LIST_FOREACH (link, &m->world.calls) {
        struct world_call *call = RIA_CONTAINER(link, struct world_call, link);
        if (call->processed && ria_rand_one_in(&m->world.rand, 2)) {
            deliver(m, call);
            return;
        }
    }
}

static void lose_answer(struct model *m)
{
    RIA_LIST_FOREACH (link, &m->world.calls) {
        struct world_call *call = RIA_CONTAINER(link, struct world_call, link);
        if (call->processed && ria_rand_one_in(&m->world.rand, 2)) {
            world_lose(&m->world, call, RIA_ERR_TIMEOUT);
            return;
        }
    }
}

static void ghost_done(void *arg, ria_err err, struct ria_msg *reply)
{
    (void)arg;
    (void)err;
    ria_msg_free(reply);
}

/* Nobody waits for the answer any more, but the request will arrive, in its place. */
static void haunt(struct model *m)
{
    RIA_LIST_FOREACH (link, &m->world.calls) {
        struct world_call *call = RIA_CONTAINER(link, struct world_call, link);
        if (!call->processed && ria_rand_one_in(&m->world.rand, 3)) {
            struct world_call *ghost = calloc(1, sizeof(*ghost));
            CU_ASSERT_PTR_NOT_NULL_FATAL(ghost);
            *ghost = *call;
            ria_list_init(&ghost->link);
            ghost->done = ghost_done;
            ghost->msg = ria_msg_new(ria_msg_size(call->msg));
            CU_ASSERT_PTR_NOT_NULL_FATAL(ghost->msg);
            memcpy(ria_msg_data(ghost->msg), ria_msg_data(call->msg), ria_msg_size(call->msg));
            ria_list_push_back(&call->link, &ghost->link);
            world_lose(&m->world, call, RIA_ERR_TIMEOUT);
            return;
        }
    }
}

/* Everything on it is lost, in both directions. */
static void cut_connection(struct model *m)
{
    uint64_t node = 1 + ria_rand_below(&m->world.rand, WORLD_NODES);

    RIA_LIST_FOREACH (link, &m->world.calls) {
        struct world_call *call = RIA_CONTAINER(link, struct world_call, link);
        if ((uint64_t)(call->address[strlen(call->address) - 1] - '0') == node) {
            world_lose(&m->world, call, RIA_ERR_DISCONNECTED);
        }
    }
}

/* --- clients -----------------------------------------------------------------------------------*/

static void client_done(struct produce_call *call)
{
    struct client *client = call->arg;

    CU_ASSERT_FALSE(client->done);
    client->done = true;
}

static struct client *new_client(struct model *m)
{
    if (m->client_count == CALLS_MAX) {
        return NULL;
    }
    struct client *client = &m->clients[m->client_count++];
    client->call = (struct produce_call){
        .topic = m->view,
        .results = client->results,
        .capacity = RECORDS_PER_CALL_MAX,
        .done = client_done,
        .arg = client,
    };
    client->first_value = m->value_next;
    return client;
}

static void add_record(struct model *m, struct client *client, int32_t partition)
{
    uint32_t value = m->value_next++;
    const struct produce_record record = {
        .timestamp_ms = -1,
        .partition = partition,
        .value = ria_slice_of(&value, sizeof(value)),
    };

    CU_ASSERT_EQUAL(produce_add(m->produce, &client->call, &record), RIA_OK);
}

static void new_request(struct model *m)
{
    struct client *client = new_client(m);
    uint64_t count = 1 + ria_rand_below(&m->world.rand, RECORDS_PER_CALL_MAX);

    if (client == NULL) {
        return;
    }
    produce_begin(m->produce, &client->call);
    for (uint64_t i = 0; i < count; i++) {
        add_record(m, client, (int32_t)ria_rand_below(&m->world.rand, PARTITIONS + 1) - 1);
    }
    CU_ASSERT_TRUE(produce_end(m->produce, &client->call));
}

/* Take note of what has been answered. Returns a free place for the next, NULL: none. */
static struct client **own_place(struct own *own)
{
    struct client **place = NULL;
    bool busy = false;

    for (int i = 0; i < OWN_UNDER_WAY_MAX; i++) {
        struct client *client = own->under_way[i];
        if (client != NULL && client->done) {
            own->failed = own->failed || client->call.failed_count > 0;
            own->under_way[i] = NULL;
        }
        busy = busy || own->under_way[i] != NULL;
        place = own->under_way[i] == NULL ? &own->under_way[i] : place;
    }
    if (own->failed && !busy) {
        own->failed = false;
        own->epoch++;
        own->sequence = 0;
    }
    return own->failed ? NULL : place;
}

static void new_own_request(struct model *m, int32_t partition)
{
    struct own *own = &m->own[partition];
    struct client **place = own_place(own);
    struct client *client = place == NULL ? NULL : new_client(m);
    const struct produce_identity identity = {
        .producer_id = OWN_PRODUCER, .epoch = own->epoch, .sequence = own->sequence};

    if (client == NULL) {
        return;
    }
    *place = client;
    client->is_own = true;
    CU_ASSERT_EQUAL(produce_begin_direct(m->produce, &client->call, &identity), RIA_OK);
    add_record(m, client, partition);
    CU_ASSERT_TRUE(produce_end(m->produce, &client->call));
    own->sequence++;
}

/* --- checks ------------------------------------------------------------------------------------*/

static uint32_t count_in_logs(const struct model *m, uint32_t value)
{
    uint32_t count = 0;

    for (int p = 0; p < PARTITIONS; p++) {
        for (int64_t o = 0; o < m->logs[p].end; o++) {
            count += m->logs[p].values[o] == value;
        }
    }
    return count;
}

static void check_record(struct model *m, const struct produce_result *result, uint32_t value)
{
    uint32_t count = count_in_logs(m, value);

    EXPECT(m, count <= 1);
    if (result->err == RIA_OK) {
        const struct log *log = &m->logs[result->partition];
        EXPECT(m, result->offset >= 0 && result->offset < log->end);
        EXPECT(m, log->values[result->offset] == value);
    } else if (result->err != RIA_ERR_UNKNOWN_OUTCOME) {
        EXPECT(m, ria_err_is_definite(result->err));
        EXPECT(m, count == 0);
    }
}

static void check(struct model *m)
{
    int64_t last[PARTITIONS][2]; /* the gateway's, and the client's own */

    for (int p = 0; p < PARTITIONS; p++) {
        last[p][0] = last[p][1] = -1;
    }
    for (uint32_t c = 0; c < m->client_count; c++) {
        const struct client *client = &m->clients[c];
        EXPECT(m, client->done);
        for (uint32_t i = 0; i < client->call.count; i++) {
            const struct produce_result *result = &client->results[i];
            check_record(m, result, client->first_value + i);
            if (result->err == RIA_OK) {
                EXPECT(m, result->offset > last[result->partition][client->is_own]);
                last[result->partition][client->is_own] = result->offset;
            }
        }
    }
    EXPECT(m, m->world.budget.used.value == 0);
}

/* --- runs --------------------------------------------------------------------------------------*/

static void topic_changed(void *arg, struct cluster_topic *topic)
{
    struct model *m = arg;

    produce_topic_changed(m->produce, topic);
}

static void partition_changed(void *arg, struct cluster_partition *partition)
{
    struct model *m = arg;

    produce_partition_changed(m->produce, partition);
}

static void view_changed(void *arg)
{
    struct model *m = arg;

    produce_view_changed(m->produce);
}

static void open_model(struct model *m, uint64_t seed)
{
    static const struct cluster_callbacks callbacks = {
        .topic = topic_changed, .partition = partition_changed, .done = view_changed};
    const struct produce_options options = {
        .timeout_ms = TIMEOUT_MS,
        .linger_us = PRODUCE_LINGER_US,
        .batch_bytes = 200,
        .in_flight_max = PRODUCE_IN_FLIGHT_MAX,
    };

    world_init(&m->world, seed);
    m->topic = world_add_topic(&m->world, "t", PARTITIONS);
    m->value_next = 1;
    for (int p = 0; p < PARTITIONS; p++) {
        m->logs[p].leader = m->topic->leaders[p];
        m->logs[p].epoch = m->topic->epochs[p];
    }
    CU_ASSERT_EQUAL_FATAL(
        cluster_new(&m->world.env, "tcp://c", &callbacks, m, &m->cluster), RIA_OK
    );
    coordinator_calls_init(&m->coordinator, &m->world.env, m->cluster);
    CU_ASSERT_EQUAL_FATAL(
        produce_new(
            &m->world.env, m->cluster, &m->coordinator, &m->world.budget, &options, &m->produce
        ),
        RIA_OK
    );
    cluster_start(m->cluster);
    produce_start(m->produce);
    world_run(&m->world);
    m->view = cluster_topic_by_name(m->cluster, "t");
    CU_ASSERT_PTR_NOT_NULL_FATAL(m->view);
}

static void close_model(struct model *m)
{
    produce_free(m->produce);
    coordinator_calls_fini(&m->coordinator);
    cluster_free(m->cluster);
    world_fini(&m->world);
}

static ria_err random_refusal(struct ria_rand *rand)
{
    static const ria_err refusals[] = {
        RIA_OK,
        RIA_OK,
        RIA_OK,
        RIA_ERR_NOT_ENOUGH_REPLICAS,
        RIA_ERR_BUSY,
        RIA_ERR_NO_SPACE,
        RIA_ERR_TOO_LARGE, /* for good */
        RIA_ERR_CORRUPT,
        RIA_ERR_UNKNOWN_PARTITION,
    };

    return refusals[ria_rand_below(rand, RIA_COUNT(refusals))];
}

static void step(struct model *m)
{
    struct ria_rand *rand = &m->world.rand;
    uint64_t dice = ria_rand_below(rand, 100);

    if (dice < 24) {
        new_request(m);
    } else if (dice < 30) {
        new_own_request(m, (int32_t)ria_rand_below(rand, PARTITIONS));
    } else if (dice < 60) {
        process_one(m);
    } else if (dice < 85) {
        deliver_one(m);
    } else if (dice < 86) {
        lose_answer(m);
    } else if (dice < 87) {
        haunt(m);
    } else if (dice < 88) {
        cut_connection(m);
    } else if (dice < 90) {
        change_leader(m, (int32_t)ria_rand_below(rand, PARTITIONS));
    } else if (dice < 91 && ria_rand_one_in(rand, 2)) {
        lose_leader(m, (int32_t)ria_rand_below(rand, PARTITIONS));
    } else if (dice < 92) {
        m->refusal = random_refusal(rand);
    } else if (dice < 93) {
        world_publish(&m->world);
    } else {
        world_advance(&m->world, (int64_t)ria_rand_below(rand, dice < 98 ? 20000 : 2000000));
    }
    world_run(&m->world);
    produce_check_invariants(m->produce);
}

/* The network and the leaders are well again. */
static void heal(struct model *m)
{
    m->refusal = RIA_OK;
    for (int p = 0; p < PARTITIONS; p++) {
        m->topic->leaders[p] = m->logs[p].leader;
    }
    world_publish(&m->world);
    for (int i = 0; i < 10000 && !produce_is_idle(m->produce); i++) {
        for (int n = 0; n < 20; n++) {
            process_one(m);
            deliver_one(m);
        }
        world_advance(&m->world, 10000);
        produce_check_invariants(m->produce);
    }
    EXPECT(m, produce_is_idle(m->produce));
}

static void run_seed(uint64_t seed, struct ria_counter *acknowledged)
{
    struct model *m = calloc(1, sizeof(*m));

    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    open_model(m, seed);
    for (int i = 0; i < STEPS; i++) {
        step(m);
    }
    heal(m);
    check(m);
    for (uint32_t c = 0; c < m->client_count; c++) {
        acknowledged->value += m->clients[c].call.count - m->clients[c].call.failed_count;
    }
    if (m->failures > 0) {
        (void)printf("\n  seed %llu\n", (unsigned long long)seed);
    }
    CU_ASSERT_EQUAL(m->failures, 0);
    close_model(m);
    free(m);
}

static void no_record_is_lost_doubled_or_out_of_order(void)
{
    struct ria_counter acknowledged = {0};
    const char *seed = getenv("PRODUCE_MODEL_SEED");

    if (seed != NULL) {
        run_seed(strtoull(seed, NULL, 10), &acknowledged);
        return;
    }
    for (uint64_t s = 1; s <= SEEDS; s++) {
        run_seed(s, &acknowledged);
    }
    CU_ASSERT_TRUE(acknowledged.value > SEEDS * 50);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(no_record_is_lost_doubled_or_out_of_order),
};

HARNESS_MAIN(tests);
