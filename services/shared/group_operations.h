/* group_operations: the kinds of operations that a GroupRequest carries
 * (docs/design/010-consuming.md). */
#pragma once

typedef enum group_operation {
    GROUP_OPERATION_READ = 1,
    GROUP_OPERATION_COMMIT = 2,
    GROUP_OPERATION_MEMBER = 3,
    GROUP_OPERATION_LEAVE = 4,
    GROUP_OPERATION_RESET = 5,
    GROUP_OPERATION_DELETE = 6,
    GROUP_OPERATION_QUEUE_OPEN = 10,
    GROUP_OPERATION_QUEUE_RECEIVE = 11,
    GROUP_OPERATION_QUEUE_SETTLE = 12,
    GROUP_OPERATION_QUEUE_ACK = 13,
} group_operation;
