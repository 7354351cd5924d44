#include "tests/unit/services/storage/storage_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "schemas/envelope.h"
#include "schemas/gen/heartbeat_request.h"
#include "schemas/gen/heartbeat_response.h"
#include "schemas/gen/metadata_request.h"
#include "schemas/gen/produce_request.h"
#include "schemas/gen/register_node_request.h"
#include "schemas/gen/register_node_response.h"
#include "schemas/gen/replica_report_request.h"
#include "schemas/gen/replica_report_response.h"
#include "schemas/gen/shutdown_node_request.h"
#include "schemas/gen/shutdown_node_response.h"

enum { ARENA_MAX = 64 * 1024 * 1024, SYNC_US = 1000 };

/* ---- the world ---- */

static int64_t mono_us(const struct ria_clock *clock)
{
    return ((const struct storage_fixture
                 *)(const void *)((const char *)clock - offsetof(struct storage_fixture, clock)))
        ->now_us;
}

static int64_t wall_ms(const struct ria_clock *clock)
{
    return mono_us(clock) / 1000;
}

static void write_log(void *arg, const char *line, size_t size)
{
    struct storage_fixture *f = arg;

    RIA_ASSERT(f->log_size + size < sizeof(f->log_text));
    memcpy(f->log_text + f->log_size, line, size);
    f->log_size += size;
    f->log_text[f->log_size] = '\0';
    if (getenv("FIXTURE_LOG") != NULL) { /* to look into a test that fails */
        (void)fprintf(stderr, "%lld %.*s", (long long)f->now_us, (int)size, line);
    }
}

unsigned fixture_logged(const struct storage_fixture *f, const char *text)
{
    unsigned count = 0;

    for (const char *p = f->log_text; (p = strstr(p, text)) != NULL; p++) {
        count++;
    }
    return count;
}

void fixture_init(struct storage_fixture *f)
{
    struct ria_fs_sim_faults faults = {.sync_delay_us_min = SYNC_US, .sync_delay_us_max = SYNC_US};

    memset(f, 0, sizeof(*f));
    f->clock = (struct ria_clock){.mono_us = mono_us, .wall_ms = wall_ms};
    f->now_us = 1000000000;
    f->log = (struct ria_log){.level = RIA_LOG_DEBUG, .write = write_log, .arg = f};
    f->node_id = FIXTURE_NODE;
    f->leaders_left = INT32_MAX;
    f->data_dir = "data";
    f->cluster_id = fixture_topic_id(200);
    ria_rand_init(&f->rand, 1);
    ria_timers_init(&f->timers, &f->clock);
    fake_rpc_init(&f->rpc);
    ria_arena_init(&f->arena, ARENA_MAX);
    ria_err err = ria_fs_sim_new(&f->timers, &f->rand, &f->fs);
    RIA_ASSERT(err == RIA_OK);
    ria_fs_sim_set_faults(f->fs, &faults);
    f->env = (struct ria_env){
        .clock = &f->clock,
        .timers = &f->timers,
        .rpc = &f->rpc.rpc,
        .fs = f->fs,
        .rand = &f->rand,
        .log = &f->log,
    };
}

void fixture_fini(struct storage_fixture *f)
{
    if (f->storage != NULL) {
        fixture_stop(f);
    }
    fake_rpc_fini(&f->rpc);
    RIA_ASSERT(ria_fs_sim_open_count(f->fs) == 0);
    ria_fs_sim_free(f->fs);
    ria_arena_fini(&f->arena);
    ria_timers_fini(&f->timers);
}

/* ---- the coordinator ---- */

static void answer_register(struct storage_fixture *f, struct fake_rpc_call *call)
{
    struct register_node_request request;
    struct register_node_response response = {.node_id = f->node_id, .cluster_id = f->cluster_id};

    fake_rpc_decode(call, &f->arena, &request);
    f->register_count++;
    f->incarnation = request.incarnation;
    f->newest_incarnation = ria_max_i64(f->newest_incarnation, request.incarnation);
    response.incarnation = f->newest_incarnation;
    f->unregistered = false;
    if (f->register_err != RIA_OK) {
        fake_rpc_refuse(call, f->register_err);
    } else {
        fake_rpc_answer(call, &response);
    }
}

/* By itself it gives nobody else the lead: a test that wants that publishes other rows. */
static void answer_shutdown(struct storage_fixture *f, struct fake_rpc_call *call)
{
    struct shutdown_node_request request;
    struct shutdown_node_response response = {.leaders_left = f->leaders_left};

    fake_rpc_decode(call, &f->arena, &request);
    RIA_ASSERT(request.node_id == f->node_id && request.incarnation == f->incarnation);
    f->shutdown_count++;
    if (f->shutdown_err != RIA_OK) {
        fake_rpc_refuse(call, f->shutdown_err);
    } else {
        fake_rpc_answer(call, &response);
    }
}

static void answer_metadata(struct storage_fixture *f, struct fake_rpc_call *call)
{
    struct metadata_request request;
    struct metadata_response response;

    fake_rpc_decode(call, &f->arena, &request);
    if (request.known_version >= f->metadata_version) {
        return; /* parked */
    }
    metadata_response_init(&response);
    response.version = f->metadata_version;
    response.cluster_id = f->cluster_id;
    response.nodes = f->node_rows;
    response.nodes_count = f->node_count;
    response.topics = f->topics;
    response.topics_count = f->topic_count;
    response.partitions = f->partitions;
    response.partitions_count = f->partition_count;
    fake_rpc_answer(call, &response);
}

/* Who asks for the newest version, not for rows. */
static bool is_question(struct storage_fixture *f, const struct fake_rpc_call *call)
{
    struct metadata_request request;

    fake_rpc_decode(call, &f->arena, &request);
    return request.known_version == INT64_MAX;
}

static bool is_metadata(const struct fake_rpc_call *call)
{
    struct request_header header;
    struct ria_slice body;
    struct ria_slice payload;

    ria_err err = envelope_open_request(call->msg, &header, &body, &payload);
    RIA_ASSERT(err == RIA_OK);
    return header.api_key == API_METADATA;
}

static struct fake_rpc_call *find_metadata(struct storage_fixture *f, bool question)
{
    RIA_LIST_FOREACH (link, &f->rpc.calls) {
        struct fake_rpc_call *call = RIA_CONTAINER(link, struct fake_rpc_call, link);
        if (is_metadata(call) && is_question(f, call) == question) {
            return call;
        }
    }
    return NULL;
}

struct fake_rpc_call *fixture_question(struct storage_fixture *f)
{
    return find_metadata(f, true);
}

static void confirm(struct storage_fixture *f)
{
    struct fake_rpc_call *call = NULL;

    ria_arena_reset(&f->arena);
    while (!f->coordinator_away && (call = fixture_question(f)) != NULL) {
        struct metadata_response response;
        metadata_response_init(&response);
        response.version = f->metadata_version;
        response.cluster_id = f->cluster_id;
        fake_rpc_answer(call, &response);
    }
}

static void play_coordinator(struct storage_fixture *f)
{
    struct fake_rpc_call *call = NULL;

    if (f->coordinator_away) {
        return;
    }
    ria_arena_reset(&f->arena);
    while ((call = fake_rpc_find(&f->rpc, API_REGISTER_NODE)) != NULL) {
        answer_register(f, call);
    }
    while ((call = fake_rpc_find(&f->rpc, API_SHUTDOWN_NODE)) != NULL) {
        answer_shutdown(f, call);
    }
    while ((call = fake_rpc_find(&f->rpc, API_HEARTBEAT)) != NULL) {
        struct heartbeat_request request;
        struct heartbeat_response response;
        fake_rpc_decode(call, &f->arena, &request);
        f->told_full = request.full;
        heartbeat_response_init(&response);
        response.registered = !f->unregistered;
        response.metadata_version = f->metadata_version;
        fake_rpc_answer(call, &response);
    }
    confirm(f);
    call = find_metadata(f, false);
    if (call != NULL) {
        answer_metadata(f, call);
    }
}

static void core(struct storage_fixture *f, bool runs)
{
    if (f->around != NULL) {
        f->around(f->around_arg, runs);
    }
}

void fixture_run_ms(struct storage_fixture *f, int64_t ms)
{
    int64_t end_us = f->now_us + ms * 1000;

    play_coordinator(f);
    while (ria_timers_next_us(&f->timers) <= end_us) {
        f->now_us = ria_max_i64(f->now_us, ria_timers_next_us(&f->timers));
        core(f, true);
        (void)ria_timers_run(&f->timers);
        core(f, false);
        play_coordinator(f);
        if (f->storage != NULL) {
            storage_check(f->storage);
        }
    }
    f->now_us = end_us;
}

struct ria_uuid fixture_topic_id(uint8_t number)
{
    struct ria_uuid id = {{0}};

    id.bytes[0] = 0xaa;
    id.bytes[15] = number;
    return id;
}

void fixture_topic(
    struct storage_fixture *f,
    uint8_t topic,
    int32_t partition_count,
    int16_t replication_factor,
    bool deleted,
    const char *setting
)
{
    uint32_t i = 0;

    while (i < f->topic_count && !ria_uuid_equal(f->topics[i].topic_id, fixture_topic_id(topic))) {
        i++;
    }
    f->topic_count += i == f->topic_count ? 1 : 0;
    RIA_ASSERT(i < FIXTURE_ROWS_MAX);
    (void)snprintf(f->names[i], sizeof(f->names[i]), "topic-%u", topic);
    f->topics[i] = (struct metadata_response_metadata_topic){
        .topic_id = fixture_topic_id(topic),
        .name = ria_slice_cstr(f->names[i]),
        .deleted = deleted,
        .partition_count = partition_count,
        .replication_factor = replication_factor,
        .configs = f->configs[i],
    };
    if (setting != NULL) {
        const char *equals = strchr(setting, '=');
        RIA_ASSERT(equals != NULL);
        f->configs[i][0].name = ria_slice_of(setting, (size_t)(equals - setting));
        f->configs[i][0].value = ria_slice_cstr(equals + 1);
        f->topics[i].configs_count = 1;
    }
}

static uint32_t digits(const char *text, int32_t out[8])
{
    uint32_t count = 0;

    for (; text[count] != '\0'; count++) {
        RIA_ASSERT(count < 8);
        out[count] = text[count] - '0';
    }
    return count;
}

/* The row of that partition, or the first free one. */
static uint32_t partition_row(const struct storage_fixture *f, uint8_t topic, int32_t number)
{
    uint32_t i = 0;

    while (i < f->partition_count &&
           (!ria_uuid_equal(f->partitions[i].topic_id, fixture_topic_id(topic)) ||
            f->partitions[i].partition != number)) {
        i++;
    }
    RIA_ASSERT(i < FIXTURE_ROWS_MAX);
    return i;
}

void fixture_dropped(struct storage_fixture *f, uint8_t topic, int32_t number, const char *nodes)
{
    uint32_t i = partition_row(f, topic, number);

    f->partitions[i].dropped = f->nodes[i][3];
    f->partitions[i].dropped_count = digits(nodes, f->nodes[i][3]);
}

void fixture_partition(
    struct storage_fixture *f,
    uint8_t topic,
    int32_t number,
    int32_t leader,
    int32_t leader_epoch,
    int32_t partition_epoch,
    const char *replicas,
    const char *isr
)
{
    uint32_t i = partition_row(f, topic, number);

    f->partition_count = (uint32_t)ria_max_i64(f->partition_count, i + 1);
    f->partitions[i] = (struct metadata_response_metadata_partition){
        .topic_id = fixture_topic_id(topic),
        .partition = number,
        .leader = leader,
        .leader_epoch = leader_epoch,
        .partition_epoch = partition_epoch,
        .replicas = f->nodes[i][0],
        .replicas_count = digits(replicas, f->nodes[i][0]),
        .isr = f->nodes[i][1],
        .isr_count = digits(isr, f->nodes[i][1]),
        .forced_epoch = -1,
    };
}

void fixture_force(struct storage_fixture *f, uint8_t topic, int32_t number, int32_t forced_epoch)
{
    f->partitions[partition_row(f, topic, number)].forced_epoch = forced_epoch;
}

void fixture_unfit(struct storage_fixture *f, uint8_t topic, int32_t number, const char *nodes)
{
    uint32_t i = partition_row(f, topic, number);

    f->partitions[i].unfit = f->nodes[i][2];
    f->partitions[i].unfit_count = digits(nodes, f->nodes[i][2]);
}

void fixture_node(struct storage_fixture *f, int32_t id, int8_t state)
{
    uint32_t i = 0;

    while (i < f->node_count && f->node_rows[i].node_id != id) {
        i++;
    }
    f->node_count += i == f->node_count ? 1 : 0;
    RIA_ASSERT(i < FIXTURE_ROWS_MAX);
    (void)snprintf(f->addresses[i], sizeof(f->addresses[i]), "tcp://node-%d:9111", id);
    f->node_rows[i] = (struct metadata_response_metadata_node){
        .node_id = id,
        .address = ria_slice_cstr(f->addresses[i]),
        .rack = ria_slice_cstr(""),
        .state = state,
    };
}

void fixture_publish(struct storage_fixture *f)
{
    f->metadata_version++;
    fixture_run_ms(f, 1);
}

void fixture_forget(struct storage_fixture *f)
{
    f->topic_count = 0;
    f->partition_count = 0;
}

/* ---- the service ---- */

static void on_fatal(void *arg, const char *reason)
{
    struct storage_fixture *f = arg;

    (void)snprintf(f->fatal, sizeof(f->fatal), "%s", reason);
}

bool fixture_start(struct storage_fixture *f)
{
    struct storage_options options = {
        .data_dir = f->data_dir,
        .forget_missing_dirs = f->forget_missing_dirs,
        .coordinator = "tcp://coordinator:9100",
        .address = "tcp://node:9111",
        .rack = "",
        .open_segments = 64,
        .disk_reserve = f->disk_reserve,
        .scrub_period_ms = f->scrub_period_ms,
        .scrub_rate = f->scrub_rate,
    };

    RIA_ASSERT(f->storage == NULL);
    f->fatal[0] = '\0';
    core(f, true);
    ria_err err = storage_new(&f->env, &options, on_fatal, f, f->fatal, &f->storage);
    if (err == RIA_OK) {
        f->fatal[0] = '\0';
        storage_start(f->storage);
    }
    core(f, false);
    if (err != RIA_OK) {
        f->storage = NULL;
        return false;
    }
    fixture_run_ms(f, 1);
    return true;
}

/* The service is gone; its calls end all the same. */
static void free_storage(struct storage_fixture *f)
{
    storage_free(f->storage);
    f->storage = NULL;
    f->rpc.handler = NULL;
    while (!ria_list_is_empty(&f->rpc.calls)) {
        fake_rpc_fail(
            RIA_CONTAINER(f->rpc.calls.next, struct fake_rpc_call, link), RIA_ERR_SHUTDOWN
        );
    }
}

void fixture_stop(struct storage_fixture *f)
{
    bool done = false;

    core(f, true);
    storage_stop(f->storage, &done);
    core(f, false);
    for (int i = 0; i < 1000 && !done; i++) {
        fixture_run_ms(f, 10);
    }
    RIA_ASSERT(done);
    free_storage(f);
}

static void crash(struct storage_fixture *f, bool lose_unsynced)
{
    ria_fs_sim_crash(f->fs, lose_unsynced);
    free_storage(f);
}

void fixture_kill(struct storage_fixture *f)
{
    crash(f, false);
}

void fixture_power_cut(struct storage_fixture *f)
{
    crash(f, true);
}

static void
start_with(struct storage_fixture *f, int32_t leader, const char *replicas, const char *setting)
{
    bool started = fixture_start(f);

    RIA_ASSERT(started);
    fixture_topic(f, 1, 1, (int16_t)strlen(replicas), false, setting);
    fixture_partition(f, 1, 0, leader, 5, 1, replicas, replicas);
    fixture_publish(f);
    fixture_run_ms(f, 5);
    RIA_ASSERT(storage_is_ready(f->storage));
}

void fixture_lead(struct storage_fixture *f, const char *replicas, const char *setting)
{
    start_with(f, FIXTURE_NODE, replicas, setting);
}

void fixture_follow(struct storage_fixture *f, const char *replicas, const char *setting)
{
    start_with(f, 2, replicas, setting);
}

/* ---- requests ---- */

static struct ria_rpc_request *send(
    struct storage_fixture *f,
    int16_t api_key,
    uint32_t deadline_ms,
    const void *body,
    struct ria_slice payload
)
{
    uint8_t *room = NULL;
    struct ria_msg *msg = envelope_request(api_key, 0, -1, deadline_ms, body, payload.size, &room);

    RIA_ASSERT(msg != NULL);
    if (payload.size > 0) {
        memcpy(room, payload.data, payload.size);
    }
    struct ria_rpc_request *request = fake_rpc_send(&f->rpc, msg);
    confirm(f);
    return request;
}

struct ria_rpc_request *
fixture_send(struct storage_fixture *f, int16_t api_key, const void *body, struct ria_slice payload)
{
    struct ria_rpc_request *request = send(f, api_key, 30000, body, payload);

    storage_check(f->storage);
    return request;
}

static void
build(struct batch_builder *builder, int records, size_t value_size, int64_t timestamp_ms)
{
    uint8_t *value = calloc(1, value_size + 1);

    RIA_ASSERT(value != NULL);
    batch_builder_init(builder, RIA_BATCH_SIZE_MAX);
    for (int i = 0; i < records; i++) {
        ria_err err = batch_builder_add(
            builder, timestamp_ms + i, RIA_SLICE_NULL, ria_slice_of(value, value_size), NULL, 0
        );
        RIA_ASSERT(err == RIA_OK);
    }
    free(value);
}

struct ria_rpc_request *fixture_produce(struct storage_fixture *f, struct produce_args args)
{
    struct produce_request body = {
        .topic_id = fixture_topic_id(args.topic == 0 ? 1 : args.topic),
        .partition = args.partition,
        .leader_epoch = args.leader_epoch,
        .producer_last_offset = args.check_last_offset ? args.producer_last_offset : -2,
    };
    struct batch_builder builder;

    build(
        &builder,
        args.records == 0 ? 1 : args.records,
        args.value_size == 0 ? 10 : args.value_size,
        1000
    );
    bool idempotent = args.producer_id != 0;
    struct ria_slice batch = batch_builder_finish(
        &builder,
        idempotent ? args.producer_id : -1,
        idempotent ? args.producer_epoch : -1,
        idempotent ? args.sequence : -1
    );
    uint32_t deadline_ms = args.deadline_ms == 0 ? 30000 : args.deadline_ms;
    struct ria_rpc_request *request = send(f, API_PRODUCE, deadline_ms, &body, batch);
    batch_builder_fini(&builder);
    storage_check(f->storage);
    return request;
}

struct ria_rpc_request *fixture_produce_one(struct storage_fixture *f)
{
    struct ria_rpc_request *request = fixture_produce(f, (struct produce_args){.leader_epoch = 5});

    fixture_run_ms(f, 5);
    return request;
}

/* ---- replies ---- */

static ria_err open_reply(
    const struct ria_rpc_request *request,
    int16_t api_key,
    struct response_header *header,
    struct ria_slice *body,
    struct ria_slice *payload,
    char *text,
    size_t text_size
)
{
    if (!request->done) {
        return RIA_ERR_BUSY;
    }
    if (request->reply == NULL) {
        return RIA_ERR_DISCONNECTED; /* dropped */
    }
    return envelope_open_reply(request->reply, api_key, header, body, payload, text, text_size);
}

ria_err fixture_reply(
    struct storage_fixture *f, int16_t api_key, const struct ria_rpc_request *request, void *out
)
{
    struct response_header header;
    struct ria_slice body;
    struct ria_slice payload;

    ria_err err = open_reply(request, api_key, &header, &body, &payload, NULL, 0);
    if (err == RIA_OK) {
        ria_arena_reset(&f->arena);
        err = envelope_decode_body(
            schema_response(api_key), header.api_version, body, &f->arena, out
        );
        RIA_ASSERT(err == RIA_OK);
    }
    return err;
}

/* The api a reply is of is in its first two bytes. */
static int16_t api_of(const struct ria_rpc_request *request)
{
    const uint8_t *data = ria_msg_data(request->reply);

    return (int16_t)(data[0] << 8 | data[1]);
}

struct ria_slice fixture_payload(const struct ria_rpc_request *request)
{
    struct response_header header;
    struct ria_slice body;
    struct ria_slice payload = RIA_SLICE_NULL;

    RIA_ASSERT(request->reply != NULL);
    ria_err err = open_reply(request, api_of(request), &header, &body, &payload, NULL, 0);
    RIA_ASSERT(err == RIA_OK);
    return payload;
}

const char *fixture_error_text(const struct ria_rpc_request *request)
{
    static char text[RIA_ERROR_TEXT_MAX + 1];
    struct response_header header;
    struct ria_slice body;
    struct ria_slice payload;

    if (!request->done || request->reply == NULL) {
        return "";
    }
    (void)open_reply(request, api_of(request), &header, &body, &payload, text, sizeof(text));
    return text;
}

ria_err fixture_error(const struct ria_rpc_request *request)
{
    if (!request->done) {
        return RIA_ERR_BUSY;
    }
    if (request->reply == NULL) {
        return RIA_ERR_DISCONNECTED;
    }
    const uint8_t *data = ria_msg_data(request->reply); /* docs/formats/messages.md */
    return (ria_err)(data[8] << 8 | data[9]);
}

ria_err fixture_report(struct storage_fixture *f, int32_t node, int32_t epoch, int64_t end_offset)
{
    struct replica_report_request_replica_report_partition partition = {
        .topic_id = fixture_topic_id(1),
        .partition = 0,
        .leader_epoch = epoch,
        .replica = node,
        .incarnation = f->reporter_incarnation,
        .end_offset = end_offset,
    };
    struct replica_report_request request = {.partitions = &partition, .partitions_count = 1};
    struct replica_report_response response;
    struct ria_rpc_request *sent = fixture_send(f, API_REPLICA_REPORT, &request, RIA_SLICE_NULL);

    ria_err err = fixture_reply(f, API_REPLICA_REPORT, sent, &response);
    RIA_ASSERT(err == RIA_OK && response.partitions_count == 1);
    fake_rpc_forget(sent);
    fixture_run_ms(f, 0);
    return (ria_err)response.partitions[0].error_code;
}

struct storage_replica_info fixture_info(const struct storage_fixture *f)
{
    struct storage_replica_info info;
    struct ria_uuid id = fixture_topic_id(1);
    bool there = storage_describe_replica(f->storage, &id, 0, &info);

    RIA_ASSERT(there);
    return info;
}

struct ria_slice fixture_batches(int64_t base_offset, int count, int32_t leader_epoch)
{
    struct batch_builder builder;

    build(&builder, 1, 10, 1000);
    struct ria_slice one = batch_builder_finish(&builder, -1, -1, -1);
    uint8_t *all = malloc(one.size * (size_t)count);
    RIA_ASSERT(all != NULL);
    for (int i = 0; i < count; i++) {
        uint8_t *batch = all + one.size * (size_t)i;
        memcpy(batch, one.data, one.size);
        batch_patch(batch, base_offset + i, leader_epoch);
    }
    size_t size = one.size * (size_t)count;
    batch_builder_fini(&builder);
    return ria_slice_of(all, size);
}
