/* Classes of streams (stream_flock.h): those that want the same records in the same form, whose
 * flocks may share reads. */
#include <stdlib.h>
#include <string.h>

#include "services/gateway/stream_flock.h"

static ria_err make_key(const struct stream_wish *wish, struct ria_buf *key)
{
    const uint8_t head[] = {(uint8_t)wish->form, (uint8_t)wish->policy};

    RIA_TRY(ria_buf_append(key, wish->topic->id.bytes, RIA_UUID_SIZE));
    RIA_TRY(ria_buf_append(key, head, sizeof(head)));
    RIA_TRY(ria_buf_append(key, &wish->slot_count, sizeof(wish->slot_count)));
    RIA_TRY(ria_buf_append(key, wish->partitions, wish->slot_count * sizeof(wish->partitions[0])));
    for (uint32_t i = 0; i < wish->filter_count; i++) {
        RIA_TRY(ria_buf_append(key, wish->filter_texts[i].data, wish->filter_texts[i].size));
        RIA_TRY(ria_buf_append(key, "", 1));
    }
    return RIA_OK;
}

static ria_err class_fill(struct stream_class *class, const struct stream_wish *wish)
{
    char reason[FILTER_REASON_MAX];
    size_t size = wish->slot_count * sizeof(wish->partitions[0]);
    struct filter_set *filter = NULL;

    int32_t *partitions = malloc(size);
    if (partitions == NULL) {
        return RIA_ERR_NOMEM;
    }
    memcpy(partitions, wish->partitions, size);
    class->shape = (struct stream_shape){
        .cluster_id = cluster_id(class->streams->cluster),
        .topic_id = wish->topic->id,
        .partitions = partitions,
        .slot_count = wish->slot_count,
        .form = wish->form,
    };
    RIA_TRY(filter_set_new(wish->filter_texts, wish->filter_count, &filter, reason));
    class->shape.filter = filter;
    return ria_map_put(&class->streams->classes, class->key.data, class->key.size, class);
}

void stream_class_free(struct stream_class *class)
{
    if (class == NULL) {
        return;
    }
    (void)ria_map_remove(&class->streams->classes, class->key.data, class->key.size);
    filter_set_free((struct filter_set *)(uintptr_t) class->shape.filter);
    free((void *)(uintptr_t) class->shape.partitions);
    free((void *)(uintptr_t) class->key.data);
    free(class);
}

ria_err stream_class_get(
    struct streams *streams, const struct stream_wish *wish, struct stream_class **out_class
)
{
    struct ria_buf key;
    uint8_t *data = NULL;
    size_t size = 0;

    ria_buf_init(&key, REQUEST_ARENA_MAX);
    ria_err err = make_key(wish, &key);
    struct stream_class *class =
        err == RIA_OK ? ria_map_get(&streams->classes, key.data, key.size) : NULL;
    if (err != RIA_OK || class != NULL) {
        ria_buf_fini(&key);
        *out_class = class;
        return err;
    }
    class = calloc(1, sizeof(*class));
    if (class == NULL) {
        ria_buf_fini(&key);
        return RIA_ERR_NOMEM;
    }
    ria_buf_take(&key, &data, &size);
    class->key = ria_slice_of(data, size);
    class->streams = streams;
    class->topic = wish->topic;
    class->policy = wish->policy;
    ria_list_init(&class->flocks);
    err = class_fill(class, wish);
    if (err != RIA_OK) {
        stream_class_free(class);
        return err;
    }
    *out_class = class;
    return RIA_OK;
}

void stream_class_check(struct stream_class *class)
{
    if (ria_list_is_empty(&class->flocks)) {
        stream_class_free(class);
    }
}
