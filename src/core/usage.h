/* usage - what one principal has published since somebody was told: a few plain numbers, for the
 * detectors. An account has them from its first message on; who counts is service/broker/usage.c.
 */
#ifndef CORE_USAGE_H
#define CORE_USAGE_H

#include <stdint.h>

#include "base/list.h"

enum { USAGE_TOPICS = 8 /* different ones; who uses more is not watched for new ones */ };

struct account;

struct usage {
    struct list_node node; /* while there is something to tell */
    struct account *account;
    uint64_t last_ms; /* of its messages, */
    uint64_t bytes;   /* their payloads */
    uint32_t n, n_retained;
    uint32_t n_released;           /* QoS 2 */
    uint32_t topics[USAGE_TOPICS]; /* keyed hashes of those that were told */
    uint64_t clocks_ms;            /* until then so many packs more are read for their time: */
    uint8_t n_clocks;
    uint8_t n_topics;
    uint8_t n_hashed; /* topics that were looked at since somebody was told */
};

#endif
