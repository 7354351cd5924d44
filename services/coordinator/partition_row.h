/* partition_row: a row of `partitions` with its lists parsed, and the ways to read them: one, those
 * of a node, those it leads, those that another leads than should.
 *
 * Several are read in pages, so that they may be changed between two pages: a walk goes on behind
 * the last row it gave, whatever has become of that row.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/uuid.h"

#include "services/coordinator/meta_db.h"
#include "services/coordinator/node_list.h"

struct partition_row {
    struct ria_uuid topic_id;
    int32_t partition;
    int32_t leader; /* -1 = none */
    int32_t leader_epoch;
    int32_t partition_epoch;
    int32_t forced_epoch; /* -1 = never */
    struct node_list replicas;
    struct node_list isr;
    struct node_list eligible;
    struct node_list unfit;
    struct node_list target; /* empty = it is not being moved */
    struct node_list dropped;
    struct node_list origin; /* replicas before the move began; empty = it is not being moved */
};

/* False: there is none. */
bool partition_row_read(
    struct meta_db *db,
    const struct ria_uuid *topic_id,
    int32_t partition,
    struct partition_row *out_row
);

/* It is being moved, and all of its target are in sync and fit: what is damaged at one of them may
 * have to come from a replica that would be dropped. */
bool partition_row_is_reached(const struct partition_row *row);

enum { PARTITION_PAGE = 64 };

struct partition_walk {
    struct meta_db *db;
    meta_sql sql;
    int32_t node_id;
    struct ria_uuid topic_id; /* behind this one */
    int32_t partition;
    uint32_t count; /* of rows */
    struct partition_row rows[PARTITION_PAGE];
};

/* Partitions with a replica on the node; those that it leads (-1: that nobody leads); those that
 * another than the preferred leader leads, or nobody. Borrows db for the walk. */
void partition_walk_node(struct partition_walk *walk, struct meta_db *db, int32_t node_id);
void partition_walk_led(struct partition_walk *walk, struct meta_db *db, int32_t node_id);
void partition_walk_astray(struct partition_walk *walk, struct meta_db *db);

/* All partitions; those that are being moved. */
void partition_walk_all(struct partition_walk *walk, struct meta_db *db);
void partition_walk_moving(struct partition_walk *walk, struct meta_db *db);

/* The next rows, in order of topic id and partition, into rows and count. False: no more. */
bool partition_walk_next(struct partition_walk *walk);
