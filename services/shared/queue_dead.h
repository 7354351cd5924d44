/* queue_dead: what stands for the default of a queue's dead-letter topic.
 *
 * A queue's settings belong to its group, which may read many topics; its default dead-letter topic
 * is another one for each of them. So the group keeps this pattern, which is no topic's name, and
 * the gateway makes the name of it (queue_names.h). */
#pragma once

#define QUEUE_DEAD_DEFAULT "{topic}.{group}.dead"
