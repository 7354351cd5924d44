#include "services/gateway/gateway.h"

/* clang-format off */
const struct route gateway_routes[] = {
    /* Confluent REST Proxy v2 */
    {HTTP_POST,   ROUTE_BODY_RECORDS,  true,  "/topics/{topic}", handle_v2_produce},
    {HTTP_POST,   ROUTE_BODY_RECORDS,  true,  "/topics/{topic}/partitions/{partition}", handle_v2_produce},
    {HTTP_GET,    ROUTE_BODY_NONE,     true,  "/", handle_v2_root},
    {HTTP_POST,   ROUTE_BODY_NONE,     true,  "/", handle_v2_root},
    {HTTP_GET,    ROUTE_BODY_NONE,     true,  "/brokers", handle_v2_brokers},
    {HTTP_GET,    ROUTE_BODY_NONE,     true,  "/topics", handle_v2_topics},
    {HTTP_GET,    ROUTE_BODY_NONE,     true,  "/topics/{topic}", handle_v2_topic},
    {HTTP_GET,    ROUTE_BODY_NONE,     true,  "/topics/{topic}/partitions", handle_v2_partitions},
    {HTTP_GET,    ROUTE_BODY_NONE,     true,  "/topics/{topic}/partitions/{partition}", handle_v2_partition},
    {HTTP_GET,    ROUTE_BODY_NONE,     true,  "/topics/{topic}/partitions/{partition}/offsets", handle_v2_offsets},
    /* ours */
    {HTTP_POST,   ROUTE_BODY_RECORDS,  false, "/v1/topics/{topic}/records", handle_records_write},
    {HTTP_POST,   ROUTE_BODY_RECORDS,  false, "/v1/topics/{topic}/partitions/{partition}/records", handle_records_write},
    {HTTP_GET,    ROUTE_BODY_NONE,     false, "/v1/topics/{topic}/partitions/{partition}/records", handle_records_read},
    {HTTP_GET,    ROUTE_BODY_NONE,     false, "/v1/topics/{topic}/partitions/{partition}/offsets", handle_offsets},
    {HTTP_GET,    ROUTE_BODY_NONE,     false, "/v1/topics", handle_topics_list},
    {HTTP_POST,   ROUTE_BODY_DOCUMENT, false, "/v1/topics", handle_topic_create},
    {HTTP_GET,    ROUTE_BODY_NONE,     false, "/v1/topics/{topic}", handle_topic_describe},
    {HTTP_DELETE, ROUTE_BODY_NONE,     false, "/v1/topics/{topic}", handle_topic_delete},
    {HTTP_GET,    ROUTE_BODY_NONE,     false, "/v1/transforms", handle_transforms_list},
    {HTTP_POST,   ROUTE_BODY_DOCUMENT, false, "/v1/transforms", handle_transform_create},
    {HTTP_GET,    ROUTE_BODY_NONE,     false, "/v1/transforms/{name}", handle_transform_describe},
    {HTTP_DELETE, ROUTE_BODY_NONE,     false, "/v1/transforms/{name}", handle_transform_delete},
    {HTTP_GET,    ROUTE_BODY_NONE,     false, "/v1/cluster", handle_cluster},
    {HTTP_POST,   ROUTE_BODY_NONE,     false, "/v1/producer-ids", handle_producer_ids},
    {HTTP_GET,    ROUTE_BODY_NONE,     false, "/healthz", handle_health},
    {HTTP_GET,    ROUTE_BODY_NONE,     false, "/readyz", handle_ready},
    {HTTP_GET,    ROUTE_BODY_NONE,     false, "/metrics", handle_metrics},
    {HTTP_GET,    ROUTE_BODY_NONE,     false, "/openapi.yaml", handle_openapi},
    {HTTP_OTHER,  ROUTE_BODY_NONE,     false, NULL, NULL},
};
/* clang-format on */
