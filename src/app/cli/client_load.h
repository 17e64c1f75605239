/*
 * client_load - publishers and subscribers by the thousand, on one thread, each message verified.
 *
 * Closed loop: a publisher has at most `window` messages that were sent and not yet received by
 * every subscriber. Packets are gathered by hand: one write for a connection in a turn.
 *
 *   LOAD_FAN_IN, LOAD_FAN_OUT, LOAD_PAIRS
 *       what arrives is counted
 *   LOAD_DURABLE
 *       promises: the subscribers' sessions are durable and asleep, so a message is done when the
 *       server has acknowledged it. Afterwards the subscribers come back and must get all of them;
 *       then their sessions are ended. Without subscribers it is the same load with nothing to keep
 *   LOAD_LATENCY
 *       pairs with a rate, from the time at which a message was due to that at which it came: a
 *       server that stands still makes each message late that was due meanwhile
 *   LOAD_CONNECT, LOAD_RESUMED
 *       n_publishers connections at a time connect, log in and leave, again and again; with TLS in
 *       full, or by a ticket of the connection before
 *   LOAD_IDLE
 *       n_publishers connections are held for measure_ms and must all answer a ping then
 *   LOAD_RETAINED
 *       `count` retained messages, then one new subscriber gets them all; they are removed at last
 *   LOAD_SUBSCRIPTIONS
 *       `count` filters (half of them exact, a quarter each with + and #) of n_subscribers clients,
 *       then messages that match one each
 *
 *   payload: index of the publisher (4 bytes), number of the message (8), zeros
 */
#ifndef APP_CLI_CLIENT_LOAD_H
#define APP_CLI_CLIENT_LOAD_H

#include "app/cli/client_target.h"
#include "wire/mqtt/mqtt.h"

enum load_shape {
    LOAD_FAN_IN,
    LOAD_FAN_OUT,
    LOAD_PAIRS,
    LOAD_DURABLE,
    LOAD_LATENCY,
    LOAD_CONNECT,
    LOAD_RESUMED,
    LOAD_IDLE,
    LOAD_RETAINED,
    LOAD_SUBSCRIPTIONS,
    LOAD_COAP_GET, /* these two: client_load_coap.h */
    LOAD_COAP_HANDSHAKE
};

enum {
    LOAD_CONNECTIONS_MAX = 60000,
    LOAD_PAYLOAD_MIN = 12,
    LOAD_PAYLOAD_MAX = 256 * 1024,
    LOAD_WINDOW_MAX = 10000,
    LOAD_COUNT_MAX = 10000000,
    LOAD_TICK_MS = 250,
    LOAD_PREFIX_BYTES = 64
};

struct load_order {
    const struct client_target *target;
    const char *prefix; /* of topics and client ids */
    enum load_shape shape;
    enum mqtt_version version;
    uint32_t n_publishers, n_subscribers, payload_n, window;
    uint32_t count; /* LOAD_RETAINED: messages; LOAD_SUBSCRIPTIONS: filters */
    uint32_t warm_ms, measure_ms;
    uint32_t rate; /* messages a second of all publishers; 0: as fast as the window allows */
    uint8_t qos;
    const char *path; /* CoAP: of what is asked for */
    bool is_plain;
    bool is_kept; /* the subscribers' sessions last: what they get is on disk first */
};

/* Of each shape one thing is counted: deliveries, acknowledgements, logins, answers. */
struct load_result {
    uint64_t sent, delivered, lost, duplicates, misordered, foreign; /* over the whole run */
    uint64_t unasked; /* PUBACK, PUBREC, PUBCOMP for what was not sent, or had them already */
    uint64_t counted; /* in the measured time */
    uint64_t measured_us, own_cpu_us;
    uint64_t p50_us, p99_us, p999_us, max_us; /* where has_latency */
    bool has_latency;
    uint64_t filled, fill_us; /* connections, messages or filters that were put there before */
    uint64_t repeated;        /* CoAP: requests that were sent again; that is not wrong */
    uint64_t forgotten;       /* LOAD_DURABLE: sleepers whose session the server had no more */
    uint64_t unresumed;       /* LOAD_RESUMED: logins by a full handshake, after the first ones */
    const char *version;      /* of TLS, "-" without; static */
    const char *cipher;
};

/* What a load tells while it runs. Between the two of filling stands what the server then has to
 * keep in memory. LOAD_TICK comes about every LOAD_TICK_MS of the measured time, LOAD_FILL_TICK
 * while it is filled. */
enum load_moment {
    LOAD_FILL_BEGINS,
    LOAD_FILL_TICK,
    LOAD_FILL_ENDS,
    LOAD_BEGINS,
    LOAD_TICK,
    LOAD_ENDS
};

struct load_watch {
    void *ctx;
    /* n: counted so far, over the whole run; of a LOAD_FILL_TICK: filled so far */
    void (*moment)(void *ctx, enum load_moment m, uint64_t now_us, uint64_t n);
};

/* client_load_run - CLI_DONE with *ret (look at its counts), or the exit code after a message. */
int client_load_run(struct cli *cli, const struct load_order *o, const struct load_watch *watch,
                    struct load_result *ret);
/* client_load_is_right - nothing was lost, came twice, out of order or from somebody else,
 * and nothing was acknowledged that was not sent. */
bool client_load_is_right(const struct load_result *r);
/* client_load_own_cpu_us - of this process so far. */
uint64_t client_load_own_cpu_us(void);
/* client_load_raise_descriptors - to what the system allows. */
void client_load_raise_descriptors(void);

#endif
