/* sample - what a worker tells the detectors about one principal: how much it has published lately,
 * or a topic that it had not used before on this worker's record. Fixed size: it crosses a ring. */
#ifndef SERVICE_DETECT_SAMPLE_H
#define SERVICE_DETECT_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

enum detect_sample_kind { DETECT_SAMPLE_TRAFFIC, DETECT_SAMPLE_TOPIC };

struct detect_sample {
    enum detect_sample_kind kind;
    bool is_many;       /* its role has many clients: one picture of them all would say nothing */
    uint64_t principal; /* id */
    uint64_t at_ms;     /* monotonic: of the last message */
    uint64_t bytes;     /* TRAFFIC: payloads since the sample before; n of them */
    uint32_t n, n_retained;
    uint32_t n_held;     /* QoS 2 packet ids that it has not released */
    uint32_t n_released; /* since the sample before */
    uint32_t topic;      /* TOPIC: keyed hash; */
    uint32_t shape;      /* the same with its own name and attributes left out: of its peers, too */
    char text[66];       /* cut */
};

#endif
