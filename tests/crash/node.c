#include "tests/crash/node.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/assert.h"

#include "schemas/envelope.h"
#include "schemas/gen/heartbeat_response.h"
#include "schemas/gen/metadata_request.h"
#include "schemas/gen/register_node_request.h"
#include "schemas/gen/register_node_response.h"
#include "schemas/gen/shutdown_node_response.h"

enum {
    NODE_ARENA_MAX = 16 * 1024 * 1024,
    NODE_PATIENCE_MS = 60000,
    NODE_HEARTBEAT_US = 50 * 1000,
    NODE_ENV_MAX = 4096,
};

static struct ria_rpc *rpc(struct node *node)
{
    return ria_net_rpc(node->net);
}

/* ---- the coordinator ---- */

static void reply(struct node *node, struct ria_rpc_request *request, const void *body)
{
    struct request_header header;
    struct ria_slice in;
    struct ria_slice payload;

    ria_err err =
        envelope_open_request(ria_rpc_request_msg(rpc(node), request), &header, &in, &payload);
    RIA_ASSERT(err == RIA_OK);
    ria_rpc_reply(rpc(node), request, envelope_reply(&header, body, 0, NULL));
}

static struct ria_uuid cluster_id(void)
{
    return (struct ria_uuid){{0xc1}};
}

static void answer_heartbeat(struct node *node)
{
    struct heartbeat_response response;

    if (node->heartbeat != NULL) {
        heartbeat_response_init(&response);
        response.registered = node->registered;
        response.metadata_version = node->version;
        reply(node, node->heartbeat, &response);
        node->heartbeat = NULL;
    }
}

static void on_heartbeat_due(struct ria_timer *timer, void *arg)
{
    (void)timer;
    answer_heartbeat(arg);
}

static void fill_topic(
    struct metadata_response_metadata_topic *topic,
    struct metadata_response_metadata_config *config,
    const struct node *node,
    int32_t partition
)
{
    metadata_response_metadata_topic_init(topic);
    *config = (struct metadata_response_metadata_config
    ){.name = RIA_SLICE_LITERAL("segment.bytes"), .value = RIA_SLICE_LITERAL("65536")};
    topic->topic_id = layout_topic_id(partition);
    topic->name = partition == LAYOUT_DELETED ? RIA_SLICE_LITERAL("two") : RIA_SLICE_LITERAL("one");
    topic->deleted = node->rows[partition].deleted;
    topic->partition_count = partition == LAYOUT_DELETED ? 1 : LAYOUT_PARTITIONS - 1;
    topic->replication_factor = 1;
    topic->configs = config;
    topic->configs_count = 1;
}

/* Everything there is, each time. */
static void answer_metadata(struct node *node)
{
    static int32_t alone[] = {LAYOUT_NODE};
    static int32_t both[] = {LAYOUT_PEER, LAYOUT_NODE};
    struct metadata_response_metadata_topic topics[2];
    struct metadata_response_metadata_config configs[2];
    struct metadata_response_metadata_partition partitions[LAYOUT_PARTITIONS];
    struct metadata_response response;

    metadata_response_init(&response);
    fill_topic(&topics[0], &configs[0], node, 0);
    fill_topic(&topics[1], &configs[1], node, LAYOUT_DELETED);
    for (int32_t i = 0; i < LAYOUT_PARTITIONS; i++) {
        const struct node_row *row = &node->rows[i];
        struct metadata_response_metadata_partition *out = &partitions[i];
        metadata_response_metadata_partition_init(out);
        out->topic_id = layout_topic_id(i);
        out->partition = layout_number(i);
        out->leader_epoch = row->leader_epoch;
        out->partition_epoch = row->partition_epoch;
        if (row->led || i < LAYOUT_LED || i == LAYOUT_DELETED) {
            out->leader = row->led ? LAYOUT_NODE : -1;
            out->replicas = out->isr = alone;
            out->replicas_count = out->isr_count = 1;
        } else {
            out->leader = LAYOUT_PEER;
            out->replicas = out->isr = both;
            out->replicas_count = out->isr_count = 2;
        }
    }
    response.version = node->version;
    response.cluster_id = cluster_id();
    response.topics = topics;
    response.topics_count = 2;
    response.partitions = partitions;
    response.partitions_count = LAYOUT_PARTITIONS;
    reply(node, node->metadata, &response);
    node->metadata = NULL;
}

/* Who the node leads is for the coordinator to say: nobody, while it is going down. */
static void set_led(struct node *node, bool led)
{
    for (int32_t i = 0; i < LAYOUT_PARTITIONS; i++) {
        if (i < LAYOUT_LED || i == LAYOUT_DELETED) {
            node->rows[i].led = led;
            node->rows[i].leader_epoch++;
            node->rows[i].partition_epoch++;
        }
    }
}

static void on_register(struct node *node, struct ria_rpc_request *request, struct ria_slice body)
{
    struct register_node_request in;
    struct register_node_response response;

    ria_err err =
        envelope_decode_body(schema_request(API_REGISTER_NODE), 0, body, &node->arena, &in);
    RIA_ASSERT(err == RIA_OK && in.address.size < sizeof(node->address));
    /* A node that has had its number must not come back as a new one. */
    RIA_ASSERT(node->known == ria_uuid_equal(in.cluster_id, cluster_id()));
    memcpy(node->address, in.address.data, in.address.size);
    node->address[in.address.size] = '\0';
    node->registered = node->known = true;
    register_node_response_init(&response);
    response.node_id = LAYOUT_NODE;
    response.cluster_id = cluster_id();
    reply(node, request, &response);
}

static void on_metadata(struct node *node, struct ria_rpc_request *request, struct ria_slice body)
{
    struct metadata_request in;

    ria_err err = envelope_decode_body(schema_request(API_METADATA), 0, body, &node->arena, &in);
    RIA_ASSERT(err == RIA_OK);
    if (node->metadata != NULL) {
        answer_metadata(node);
    }
    node->metadata = request;
    if (in.known_version < node->version) {
        answer_metadata(node);
    }
}

static void on_shutdown(struct node *node, struct ria_rpc_request *request)
{
    struct shutdown_node_response response;

    set_led(node, false);
    shutdown_node_response_init(&response);
    response.leaders_left = 0;
    reply(node, request, &response);
    node_publish(node);
}

static void on_request(void *arg, struct ria_rpc_request *request)
{
    struct node *node = arg;
    struct request_header header;
    struct ria_slice body;
    struct ria_slice payload;

    ria_err err =
        envelope_open_request(ria_rpc_request_msg(rpc(node), request), &header, &body, &payload);
    if (err != RIA_OK) {
        ria_rpc_drop(rpc(node), request);
        return;
    }
    ria_arena_reset(&node->arena);
    if (header.api_key == API_REGISTER_NODE) {
        on_register(node, request, body);
    } else if (header.api_key == API_METADATA) {
        on_metadata(node, request, body);
    } else if (header.api_key == API_SHUTDOWN_NODE) {
        on_shutdown(node, request);
    } else if (header.api_key == API_HEARTBEAT) {
        answer_heartbeat(node);
        node->heartbeat = request;
        ria_timer_start(ria_loop_timers(node->loop), &node->heartbeat_timer, NODE_HEARTBEAT_US);
    } else {
        ria_rpc_reply(
            rpc(node), request, envelope_reply_error(&header, RIA_ERR_UNSUPPORTED, "not played")
        );
    }
}

void node_publish(struct node *node)
{
    node->version++;
    if (node->metadata != NULL) {
        answer_metadata(node);
    }
    answer_heartbeat(node);
}

/* ---- the process ---- */

static void exec_node(const struct node *node, unsigned die_at, const char *coordinator)
{
    char data_dir[NODE_ENV_MAX];
    char die[16];

    (void)snprintf(data_dir, sizeof(data_dir), "--data-dir=%s", node->dir);
    (void)snprintf(die, sizeof(die), "%u", die_at);
    (void)setenv("JOURNAL_FILE", node->journal, 1);
    (void)setenv("JOURNAL_ROOT", node->dir, 1);
    (void)setenv("JOURNAL_SYNC_US", "1500", 1);
    (void)setenv("JOURNAL_DIE_AT", die, 1);
    (void)setenv("ASAN_OPTIONS", "verify_asan_link_order=0", 1);
    (void)setenv("LD_PRELOAD", node->preload, 1);
    (void)execl(
        node->program,
        node->program,
        "--listen=tcp://127.0.0.1:0",
        "--log-level=warn",
        data_dir,
        coordinator,
        (char *)NULL
    );
    perror(node->program);
    _exit(127);
}

void node_start(struct node *node, unsigned die_at)
{
    char coordinator[64];

    RIA_ASSERT(node->pid == 0);
    node->registered = false;
    set_led(node, true);
    node->version++;
    (void)snprintf(
        coordinator,
        sizeof(coordinator),
        "--coordinator=tcp://127.0.0.1:%u",
        ria_net_port(node->net)
    );
    node->pid = fork();
    RIA_ASSERT(node->pid >= 0);
    if (node->pid == 0) {
        exec_node(node, die_at, coordinator);
    }
    ria_loop_run_until(node->loop, &node->registered, NODE_PATIENCE_MS);
    RIA_ASSERT(node->registered);
}

bool node_is_dead(const struct node *node)
{
    siginfo_t info = {.si_pid = 0};

    return waitid(P_PID, (id_t)node->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == node->pid;
}

/* Requests it left behind have nobody to answer to. */
static int reap(struct node *node)
{
    int status = 0;

    for (int i = 0; i < NODE_PATIENCE_MS / 10 && !node_is_dead(node); i++) {
        node_run_ms(node, 10);
    }
    RIA_ASSERT(waitpid(node->pid, &status, WNOHANG) == node->pid);
    node->pid = 0;
    if (node->metadata != NULL) {
        ria_rpc_drop(rpc(node), node->metadata);
        node->metadata = NULL;
    }
    if (node->heartbeat != NULL) {
        ria_rpc_drop(rpc(node), node->heartbeat);
        node->heartbeat = NULL;
    }
    return status;
}

void node_stop(struct node *node)
{
    (void)kill(node->pid, SIGTERM);
    int status = reap(node);
    RIA_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

void node_bury(struct node *node)
{
    int status = reap(node);

    RIA_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* ---- requests ---- */

void node_run_ms(struct node *node, int64_t ms)
{
    bool never = false;

    ria_loop_run_until(node->loop, &never, ms);
}

static void on_answer(void *arg, ria_err err, struct ria_msg *answer)
{
    struct node_call *call = arg;

    call->done = true;
    call->err = err;
    call->reply = answer;
}

void node_call(
    struct node *node,
    int16_t api_key,
    const void *body,
    struct ria_slice payload,
    struct node_call *call
)
{
    uint8_t *room = NULL;
    struct ria_msg *msg =
        envelope_request(api_key, 0, -1, NODE_PATIENCE_MS, body, payload.size, &room);

    RIA_ASSERT(msg != NULL);
    if (payload.size > 0) {
        memcpy(room, payload.data, payload.size);
    }
    *call = (struct node_call){.api_key = api_key};
    ria_rpc_call(rpc(node), node->address, msg, NODE_PATIENCE_MS, on_answer, call);
}

void node_wait(struct node *node, struct node_call *call)
{
    ria_loop_run_until(node->loop, &call->done, 2 * NODE_PATIENCE_MS);
    RIA_ASSERT(call->done);
}

ria_err node_end_call(struct node *node, struct node_call *call, void *out)
{
    struct response_header header;
    struct ria_slice body;
    struct ria_slice payload;
    ria_err err = call->err;

    if (err == RIA_OK) {
        err = envelope_open_reply(call->reply, call->api_key, &header, &body, &payload, NULL, 0);
    }
    if (err == RIA_OK) {
        ria_arena_reset(&node->arena);
        err = envelope_decode_body(
            schema_response(call->api_key), header.api_version, body, &node->arena, out
        );
        RIA_ASSERT(err == RIA_OK);
    }
    ria_msg_free(call->reply);
    call->reply = NULL;
    return err;
}

/* ---- life ---- */

void node_mark(struct node *node, const struct journal_mark *mark)
{
    struct {
        struct journal_entry entry;
        struct journal_mark mark;
    } both = {.entry = {.kind = JOURNAL_MARK, .fd = -1, .data_size = sizeof(*mark)}, .mark = *mark};

    RIA_ASSERT(write(node->journal_fd, &both, sizeof(both)) == (ssize_t)sizeof(both));
}

void node_init(struct node *node)
{
    RIA_ASSERT(ria_loop_new(&node->loop) == RIA_OK);
    RIA_ASSERT(ria_net_new(node->loop, "tcp://127.0.0.1:0", &node->net) == RIA_OK);
    ria_arena_init(&node->arena, NODE_ARENA_MAX);
    ria_timer_init(&node->heartbeat_timer, on_heartbeat_due, node);
    ria_rpc_set_handler(rpc(node), on_request, node);
    node->journal_fd = open(node->journal, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    RIA_ASSERT(node->journal_fd >= 0);
    for (int i = 0; i < LAYOUT_PARTITIONS; i++) {
        node->rows[i].leader_epoch = 1;
        node->rows[i].partition_epoch = 1;
    }
}

void node_fini(struct node *node)
{
    RIA_ASSERT(node->pid == 0);
    ria_timer_stop(ria_loop_timers(node->loop), &node->heartbeat_timer);
    (void)close(node->journal_fd);
    ria_net_free(node->net);
    ria_loop_free(node->loop);
    ria_arena_fini(&node->arena);
}
