#include "services/coordinator/node_list.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/assert.h"

bool node_list_has(const struct node_list *list, int32_t node_id)
{
    for (uint32_t i = 0; i < list->count; i++) {
        if (list->ids[i] == node_id) {
            return true;
        }
    }
    return false;
}

bool node_list_equal(const struct node_list *a, const struct node_list *b)
{
    return a->count == b->count && memcmp(a->ids, b->ids, a->count * sizeof(a->ids[0])) == 0;
}

void node_list_add(struct node_list *list, int32_t node_id)
{
    if (!node_list_has(list, node_id)) {
        RIA_ASSERT(list->count < RIA_REPLICAS_MAX);
        list->ids[list->count++] = node_id;
    }
}

void node_list_remove(struct node_list *list, int32_t node_id)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < list->count; i++) {
        if (list->ids[i] != node_id) {
            list->ids[kept++] = list->ids[i];
        }
    }
    list->count = kept;
}

void node_list_format(const int32_t *ids, uint32_t count, char out[NODE_LIST_TEXT_SIZE])
{
    size_t used = 0;

    RIA_ASSERT(count <= RIA_REPLICAS_MAX);

    out[0] = '\0';
    for (uint32_t i = 0; i < count; i++) {
        int n = snprintf(
            out + used, NODE_LIST_TEXT_SIZE - used, i == 0 ? "%" PRId32 : ",%" PRId32, ids[i]
        );
        RIA_ASSERT(n > 0 && used + (size_t)n < NODE_LIST_TEXT_SIZE);
        used += (size_t)n;
    }
}

ria_err node_list_parse(struct ria_slice text, struct node_list *out)
{
    struct node_list list = {.count = 0};
    int64_t value = 0;
    bool digits = false;

    for (size_t i = 0; i <= text.size; i++) {
        if (i < text.size && text.data[i] >= '0' && text.data[i] <= '9') {
            value = value * 10 + (text.data[i] - '0');
            digits = true;
            if (value > INT32_MAX) {
                return RIA_ERR_CORRUPT;
            }
        } else if (i == text.size && !digits && list.count == 0) {
            break; /* an empty list */
        } else if ((i < text.size && text.data[i] != ',') || !digits || list.count == RIA_REPLICAS_MAX) {
            return RIA_ERR_CORRUPT;
        } else {
            list.ids[list.count++] = (int32_t)value;
            value = 0;
            digits = false;
        }
    }
    *out = list;
    return RIA_OK;
}
