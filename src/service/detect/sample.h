/* sample - what a worker tells the detectors about one principal: how much it has published lately,
 * a topic that it had not used before on this worker's record, how it has come, that it is heard
 * from another address, or what its clock says. Fixed size: it crosses a ring. */
#ifndef SERVICE_DETECT_SAMPLE_H
#define SERVICE_DETECT_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

enum detect_sample_kind {
    DETECT_SAMPLE_TRAFFIC,
    DETECT_SAMPLE_TOPIC,
    DETECT_SAMPLE_HELLO, /* of a CONNECT that was taken */
    DETECT_SAMPLE_HEARD, /* over CoAP, from where: at once when that changes, else every few seconds
                          */
    DETECT_SAMPLE_CLOCK  /* the newest time in a SenML pack */
};

/* What a CONNECT says of the program behind it. Numbers are compared, hashes are keyed. */
struct detect_self {
    uint32_t id;       /* how its client id is made: hash; 1: it is the principal's name */
    uint32_t will;     /* hash of the shape of its will's topic; 0: it has none */
    uint32_t settings; /* hash of the properties that a client sets once for good */
    uint16_t keep_alive_s;
    uint8_t version; /* enum mqtt_version */
    bool is_clean;
};

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
    uint32_t from, place; /* HELLO, HEARD: hashes of addresses without port, before (0: not known)
                             and now; never 0 */
    struct detect_self self;   /* HELLO */
    int64_t clock_ms, wall_ms; /* CLOCK: what it told, and the server's clock then; since 1970 */
    bool has_taken_over;       /* HELLO: a connection of this session stood */
    char text[66];             /* the topic, or the address; cut */
};

#endif
