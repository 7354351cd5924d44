/* AlterIsr: a leader's proposals on their way to the coordinator. */
#include <stdlib.h>

#include "common/limits.h"

#include "schemas/gen/alter_isr_request.h"
#include "schemas/gen/alter_isr_response.h"

#include "services/storage/storage.h"

/* The replica may be gone when the answer comes: it is found again by its name. So may the service
 * be: then storage is NULL. */
struct proposal {
    struct ria_list link; /* in storage.proposals */
    struct storage *storage;
    struct partition_id id;
    int32_t leader_epoch;
    int32_t partition_epoch;
};

static ria_err open_answer(struct storage *s, struct ria_msg *reply, int32_t *out_partition_epoch)
{
    struct response_header header;
    struct alter_isr_response response;
    struct ria_slice body;
    struct ria_slice payload;
    struct ria_arena arena;

    ria_err err = envelope_open_reply(reply, API_ALTER_ISR, &header, &body, &payload, NULL, 0);
    if (err == RIA_OK) {
        ria_arena_init(&arena, STORAGE_ARENA_MAX);
        err = envelope_decode_body(
            schema_response(API_ALTER_ISR), header.api_version, body, &arena, &response
        );
        ria_arena_fini(&arena);
        if (err == RIA_OK) {
            *out_partition_epoch = response.partition_epoch;
        }
    }
    if (err == RIA_ERR_NOT_LEADER || err == RIA_ERR_NO_LEADER) {
        cluster_coordinator_failed(s->cluster);
    }
    /* A reply that cannot be read, for whatever reason, tells nothing about what was done. */
    return err != RIA_OK && (header.error_code == RIA_OK || err == RIA_ERR_MALFORMED)
               ? RIA_ERR_UNKNOWN_OUTCOME
               : err;
}

static void on_answer(void *arg, ria_err err, struct ria_msg *reply)
{
    struct proposal *proposal = arg;
    struct storage *s = proposal->storage;
    int32_t partition_epoch = -1;

    ria_list_remove(&proposal->link);
    if (s == NULL) {
        ria_msg_free(reply);
        free(proposal);
        return;
    }
    s->isr_calls--;
    if (err == RIA_OK) {
        err = open_answer(s, reply, &partition_epoch);
        ria_msg_free(reply);
    } else if (err == RIA_ERR_TIMEOUT || err == RIA_ERR_DISCONNECTED) {
        cluster_coordinator_failed(s->cluster);
    }
    struct replica *replica = storage_find_id(s, &proposal->id);
    if (replica != NULL) {
        char text[RIA_UUID_TEXT_SIZE];
        ria_uuid_format(proposal->id.topic_id, text);
        ria_log_info(
            s->env->log,
            "storage.isr_proposed",
            "topic=%s partition=%d members=%d err=\"%s\"",
            text,
            partition_id_number(&proposal->id),
            __builtin_popcount(replica->partition.proposed),
            ria_err_text(err)
        );
        partition_isr_done(
            &replica->partition,
            proposal->leader_epoch,
            proposal->partition_epoch,
            err,
            partition_epoch
        );
    }
    free(proposal);
}

void storage_propose_isr(struct storage *s, struct partition *p)
{
    int32_t isr[RIA_REPLICAS_MAX];
    uint32_t count = partition_proposal(p, isr);
    struct alter_isr_request request = {
        .topic_id = p->id.topic_id,
        .partition = partition_id_number(&p->id),
        .leader_epoch = p->leader_epoch,
        .partition_epoch = p->partition_epoch,
        .isr = isr,
        .isr_count = count,
    };
    struct proposal *proposal = malloc(sizeof(*proposal));
    struct ria_msg *msg = envelope_request(
        API_ALTER_ISR,
        ALTER_ISR_REQUEST_VERSION_MAX,
        s->identity.node_id,
        STORAGE_ISR_CALL_MS,
        &request,
        0,
        NULL
    );
    if (proposal == NULL || msg == NULL) {
        free(proposal);
        ria_msg_free(msg);
        partition_isr_done(p, p->leader_epoch, p->partition_epoch, RIA_ERR_NOMEM, -1);
        return;
    }
    *proposal = (struct proposal){
        .storage = s,
        .id = p->id,
        .leader_epoch = p->leader_epoch,
        .partition_epoch = p->partition_epoch,
    };
    if ((uint32_t)__builtin_popcount(p->isr) > count) {
        s->metrics.isr_shrinks.value++;
    } else {
        s->metrics.isr_expands.value++;
    }
    s->isr_calls++;
    ria_list_push_back(&s->proposals, &proposal->link);
    ria_rpc_call(
        s->env->rpc, cluster_coordinator(s->cluster), msg, STORAGE_ISR_CALL_MS, on_answer, proposal
    );
}

void storage_forget_proposals(struct storage *s)
{
    struct ria_list *node = NULL;

    while ((node = ria_list_pop_front(&s->proposals)) != NULL) {
        RIA_CONTAINER(node, struct proposal, link)->storage = NULL;
    }
}
