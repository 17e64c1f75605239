/*
 * client_load - publishers and subscribers by the thousand, on one thread, each message verified.
 *
 * Closed loop: a publisher has at most `window` messages that were sent and not yet received by
 * every subscriber. Packets are gathered by hand: one write for a connection in a turn.
 *
 * LOAD_DURABLE measures promises: the subscribers' sessions are durable and asleep, so a message is
 * done when the server has acknowledged it. Afterwards the subscribers come back and must get all
 * of them; then their sessions are ended. Without subscribers it is the same load with nothing to
 * keep.
 *
 *   payload: index of the publisher (4 bytes), number of the message (8), zeros
 */
#ifndef APP_CLI_CLIENT_LOAD_H
#define APP_CLI_CLIENT_LOAD_H

#include "app/cli/client_target.h"
#include "wire/mqtt/mqtt.h"

enum load_shape { LOAD_FAN_IN, LOAD_FAN_OUT, LOAD_PAIRS, LOAD_DURABLE };

enum {
    LOAD_CONNECTIONS_MAX = 60000,
    LOAD_PAYLOAD_MIN = 12,
    LOAD_PAYLOAD_MAX = 256 * 1024,
    LOAD_WINDOW_MAX = 10000,
    LOAD_PREFIX_BYTES = 64
};

struct load_order {
    const struct client_target *target;
    const char *prefix; /* of topics and client ids */
    enum load_shape shape;
    enum mqtt_version version;
    uint32_t n_publishers, n_subscribers, payload_n, window;
    uint32_t warm_ms, measure_ms;
    uint32_t rate; /* messages a second of all publishers; 0: as fast as the window allows */
    uint8_t qos;
    bool is_plain;
    bool is_kept; /* the subscribers' sessions last: what they get is on disk first */
};

struct load_result {
    uint64_t sent, delivered, lost, duplicates, misordered, foreign; /* over the whole run */
    uint64_t counted;                                                /* deliveries measured */
    uint64_t measured_us, own_cpu_us;
    uint64_t p50_us, p99_us; /* LOAD_DURABLE: from PUBLISH to its acknowledgement */
    const char *version;     /* of TLS, "-" without; static */
    const char *cipher;
};

/* Called when the measured time begins (false) and ends (true). */
typedef void load_mark(void *ctx, bool is_end);

/* client_load_run - CLI_DONE with *ret (look at its counts), or the exit code after a message. */
int client_load_run(struct cli *cli, const struct load_order *o, load_mark *mark, void *ctx,
                    struct load_result *ret);

#endif
