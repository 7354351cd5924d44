/* fixture: worlds for the coordinator's tests: a state machine alone, and a whole coordinator on a
 * simulated disk with a clock that only the test moves. */
#pragma once

#include "common/arena.h"
#include "common/env.h"
#include "common/fs_sim.h"
#include "common/rpc.h"

#include "schemas/gen/create_topic_request.h"
#include "schemas/gen/create_transform_request.h"
#include "schemas/gen/group_request.h"
#include "schemas/gen/group_response.h"
#include "schemas/gen/messages.h"
#include "schemas/gen/metadata_response.h"
#include "schemas/gen/register_node_request.h"

#include "services/coordinator/service.h"
#include "services/coordinator/state_machine.h"

/* A uuid that is n in its last bytes. */
struct ria_uuid fixture_uuid(uint32_t n);

/* ---- requests with every field set to something valid ---- */

struct register_node_request fixture_register(uint32_t node, int64_t incarnation);
struct create_topic_request
fixture_topic(uint32_t id, const char *name, int32_t partitions, int16_t replicas);
struct create_transform_request
fixture_transform(uint32_t id, const char *name, const char *source);

/* ---- a state machine alone, in memory ---- */

struct fixture_machine {
    struct meta_db *db;
    struct state_machine *state;
    int64_t index;
    int64_t time_ms;
    int64_t lease_ms; /* the proposer's lease clock */
    int32_t sender_id;
    int32_t live[64];
    uint32_t live_count;
    struct command_result result;      /* of the last command */
    struct ria_arena arena;            /* of operations on groups */
    char text[RIA_ERROR_TEXT_MAX + 1]; /* why it was refused */
};

void fixture_machine_open(struct fixture_machine *m);
void fixture_machine_close(struct fixture_machine *m);

/* Apply one command in a transaction of its own. Returns the result's err. */
ria_err fixture_apply(struct fixture_machine *m, int16_t kind, const void *body);

/* One operation on a group, in a command of its own. Returns the operation's error; out_result (may
 * be NULL) borrows from the machine's arena. */
ria_err fixture_group(struct fixture_machine *m, int8_t kind, const void *body, void *out_result);

/* An operation with its body encoded; bytes come from arena. */
struct group_request_group_operation
fixture_operation(struct ria_arena *arena, int8_t kind, const void *body);

/* Decode an operation's result, which was not refused. */
void fixture_operation_result(
    struct ria_arena *arena,
    int8_t kind,
    const struct group_response_group_result *result,
    void *out_result
);

/* Register nodes 1..count with racks[i] (NULL = none) and let them live. */
void fixture_nodes(struct fixture_machine *m, uint32_t count, const char *const *racks);

/* First column of a query as a number; -1 if there is no row. */
int64_t fixture_number(struct fixture_machine *m, meta_sql sql);

/* ---- a whole coordinator ---- */

/* A request and, once it came, its answer. */
struct fixture_request;

struct fixture {
    struct ria_clock clock;
    int64_t mono_us;
    int64_t wall_ms;
    struct ria_timers timers;
    struct ria_rand rand;
    struct ria_fs *fs;
    struct ria_rpc rpc;
    struct ria_rpc_ops rpc_ops;
    ria_rpc_handler_fn handler;
    void *handler_arg;
    struct ria_env env;
    struct coordinator_options options;
    struct coordinator *coordinator; /* NULL while it is down */
    char reason[COORDINATOR_REASON_SIZE];
    struct ria_arena arena;             /* of the last answer that was decoded */
    char text[RIA_ERROR_TEXT_MAX + 1];  /* of the last answer that was an error */
    struct fixture_request *unanswered; /* for the check at the end */
};

void fixture_open(struct fixture *f);
void fixture_close(struct fixture *f);

/* fixture_open() and a first start. */
void fixture_up(struct fixture *f);

ria_err fixture_start(struct fixture *f);
void fixture_stop(struct fixture *f);
/* As kill -9, or with lose_unsynced as a power cut. */
void fixture_crash(struct fixture *f, bool lose_unsynced);

/* Let time pass, timer by timer. */
void fixture_advance(struct fixture *f, int64_t ms);

/* Send without waiting. The answer is taken with fixture_answer(). */
struct fixture_request *fixture_send(struct fixture *f, int16_t api_key, const void *body);
struct fixture_request *fixture_send_frame(struct fixture *f, struct ria_msg *frame);

/* The connection it came on breaks. */
void fixture_disconnect(struct fixture_request *request);

bool fixture_is_answered(const struct fixture_request *request);
bool fixture_is_dropped(const struct fixture_request *request);

/* Of an answered request, whatever its api. */
ria_err fixture_error_code(const struct fixture_request *request);

/* The answer, decoded into the api's response (may be NULL); frees request. RIA_ERR_TIMEOUT: there
 * is none. */
ria_err fixture_answer(struct fixture *f, struct fixture_request *request, void *out_response);

/* Send, run what is due, take the answer. */
ria_err fixture_call(struct fixture *f, int16_t api_key, const void *body, void *out_response);

/* One operation on a group. Returns the operation's error, its text in text; out_result (may be
 * NULL) borrows from the arena until the next answer. */
ria_err fixture_group_call(struct fixture *f, int8_t kind, const void *body, void *out_result);

/* One heartbeat; the node id is the uuid's number for storage. */
ria_err fixture_heartbeat(struct fixture *f, uint32_t uuid, int role, void *out_response);

/* Register nodes 1..count. */
void fixture_register_nodes(struct fixture *f, uint32_t count);

/* A topic of 4 partitions with one replica. */
ria_err fixture_create_topic(struct fixture *f, uint32_t id, const char *name);

/* All metadata newer than known. */
ria_err fixture_metadata(struct fixture *f, int64_t known, struct metadata_response *out);
