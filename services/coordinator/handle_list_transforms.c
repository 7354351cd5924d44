/* ListTransforms: transforms with the state of their tasks. */
#include <stdlib.h>

#include "common/limits.h"

#include "schemas/gen/list_transforms_request.h"
#include "schemas/gen/list_transforms_response.h"

#include "services/coordinator/coordinator.h"
#include "services/coordinator/rows.h"

enum { RESPONSE_SIZE_MAX = RIA_FRAME_SIZE_MAX - 4096 };

typedef struct list_transforms_response_listed_transform transform_entry;
typedef struct list_transforms_response_listed_task task_entry;

static bool add_transform(struct meta_stmt *stmt, struct rows *rows)
{
    transform_entry *entry = rows_add(rows);

    if (entry == NULL) {
        return false;
    }
    entry->transform_id = meta_column_uuid(stmt, 0);
    entry->created_ms = meta_column_int(stmt, 6);
    return rows_copy_text(rows->arena, meta_column_text(stmt, 1), &entry->name) &&
           rows_copy_text(rows->arena, meta_column_text(stmt, 2), &entry->sql) &&
           rows_copy_text(rows->arena, meta_column_text(stmt, 3), &entry->source_topic) &&
           rows_copy_text(rows->arena, meta_column_text(stmt, 4), &entry->output_topic) &&
           rows_copy_text(rows->arena, meta_column_text(stmt, 5), &entry->errors_topic);
}

static bool add_task(struct meta_stmt *stmt, struct rows *rows)
{
    task_entry *entry = rows_add(rows);

    if (entry == NULL) {
        return false;
    }
    entry->partition = (int32_t)meta_column_int(stmt, 0);
    entry->worker = meta_column_uuid(stmt, 1);
    entry->epoch = (int16_t)meta_column_int(stmt, 2);
    entry->position = meta_column_int(stmt, 3);
    entry->records_in = meta_column_int(stmt, 4);
    entry->records_out = meta_column_int(stmt, 5);
    entry->errors = meta_column_int(stmt, 6);
    return rows_copy_text(rows->arena, meta_column_text(stmt, 7), &entry->last_error);
}

static ria_err
read_transforms(struct coordinator *coordinator, struct ria_slice name, struct rows *rows)
{
    bool ok = true;
    struct meta_stmt *stmt = meta_query(coordinator->db, META_TRANSFORMS_LISTED);

    meta_bind_text(stmt, 1, name);
    while (ok && meta_step(stmt)) {
        ok = add_transform(stmt, rows);
    }
    meta_done(stmt);
    return ok ? RIA_OK : ria_arena_err(rows->arena);
}

static ria_err read_tasks(struct coordinator *coordinator, transform_entry *transform)
{
    bool ok = true;
    struct rows rows = rows_of(&coordinator->arena, sizeof(task_entry));
    struct meta_stmt *stmt = meta_query(coordinator->db, META_TASKS_OF_TRANSFORM);

    meta_bind_uuid(stmt, 1, &transform->transform_id);
    while (ok && meta_step(stmt)) {
        ok = add_task(stmt, &rows);
    }
    meta_done(stmt);
    transform->tasks = rows.items;
    transform->tasks_count = rows.count;
    return ok ? RIA_OK : ria_arena_err(&coordinator->arena);
}

static ria_err read_all(
    struct coordinator *coordinator, struct ria_slice name, struct list_transforms_response *out
)
{
    struct rows rows = rows_of(&coordinator->arena, sizeof(transform_entry));

    RIA_TRY(read_transforms(coordinator, name, &rows));
    out->transforms = rows.items;
    out->transforms_count = rows.count;
    for (uint32_t i = 0; i < out->transforms_count; i++) {
        RIA_TRY(read_tasks(coordinator, &out->transforms[i]));
    }
    uint32_t size = list_transforms_response_size(out, LIST_TRANSFORMS_RESPONSE_VERSION_MAX);
    return size > RESPONSE_SIZE_MAX ? RIA_ERR_TOO_LARGE : RIA_OK;
}

void handle_list_transforms(struct coordinator *coordinator, const struct coordinator_call *call)
{
    struct list_transforms_request request;
    struct list_transforms_response response;

    if (!coordinator_decode(coordinator, call, &request)) {
        return;
    }
    list_transforms_response_init(&response);
    ria_err err = read_all(coordinator, request.name, &response);
    if (err == RIA_OK) {
        coordinator_reply(coordinator, call, &response);
    } else if (err == RIA_ERR_LIMIT || err == RIA_ERR_TOO_LARGE) {
        coordinator_refuse(
            coordinator,
            call,
            RIA_ERR_TOO_LARGE,
            "there are too many transforms for one answer: ask by name"
        );
    } else {
        coordinator_refuse(coordinator, call, err, "%s", ria_err_text(err));
    }
}
