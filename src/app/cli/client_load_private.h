/* client_load_private - a run in progress, shared by client_load.c and client_load_sleep.c only. */
#ifndef APP_CLI_CLIENT_LOAD_PRIVATE_H
#define APP_CLI_CLIENT_LOAD_PRIVATE_H

#include "app/cli/client_latency.h"
#include "app/cli/client_load.h"
#include "base/clock.h"
#include "net/stream.h"

enum {
    GO_ON = -1,
    OPENING_MAX = 32,
    OPEN_MS = 60 * 1000,
    CONNECT_MS = 5000,
    DRAIN_MS = 5000,
    PACKET_MAX = LOAD_PAYLOAD_MAX + 4096,
    REST_MAX = 2 * PACKET_MAX + STREAM_RECV_BYTES,
    ACKS_MAX = 4 * 1024 * 1024,
    HEAD_BYTES = 256,
    SEEN_BITS = 64,
    SLEEP_S = 3600
};

enum phase { CONNECTING, SUBSCRIBING, READY, ASLEEP };

/* What the connections are for. A sleeper subscribes, sleeps, comes back for its messages, and at
 * last ends its session. */
enum stage { STAGE_BEGIN, STAGE_WAKE, STAGE_ERASE };

struct load;

struct conn {
    struct load *load;
    struct stream *stream;
    struct ssl_session_st *session; /* a sleeper's: to resume TLS by; NULL: no ticket came */
    uint32_t index;                 /* among publishers, or among subscribers */
    bool is_publisher, is_dirty;
    enum phase phase;
    struct buf rest; /* an unfinished packet */
    struct buf acks; /* what is to be answered at the end of the turn */
    /* a publisher's */
    uint64_t n_sent, n_acked, n_delivered;
    uint8_t *packet; /* one whole PUBLISH; number and id are set for each */
    size_t packet_n, id_at, number_at;
    uint64_t *sent_us; /* LOAD_DURABLE: of the last `window` messages */
};

/* What one subscriber has seen of one publisher. */
struct seen {
    uint64_t next; /* the highest number and one */
    uint64_t bits; /* of the last SEEN_BITS numbers below next, lowest bit the highest */
};

struct load {
    struct cli *cli;
    const struct load_order *o;
    struct clock clock;
    struct loop *loop;
    struct tls *tls;
    struct stream_io *io;
    struct conn *conns;                     /* publishers, then subscribers */
    uint32_t n_conns, n_made, n_ready, fan; /* fan: subscribers of each message */
    struct conn **dirty;
    uint32_t n_dirty;
    struct seen *seen; /* by publisher in fan-in, by both in durable, else by subscriber */
    bool is_sending;
    enum stage stage;
    uint64_t now_us, begin_us, n_sent, n_woken; /* n_woken: messages that sleepers came back for */
    uint32_t pace_at;
    struct latency latency;
    struct load_result r;
    int code;
};

/* load_give_up - the run ends with this exit code; the first one counts. */
void load_give_up(struct load *l, int code);
/* load_open - connects (again) and says CONNECT. */
void load_open(struct load *l, uint32_t at);
/* load_turn - waits at most wait_ms, serves what is ready, flushes what has something to say. */
void load_turn(struct load *l, int wait_ms);

/* client_load_sleep.c: sleepers say goodbye; at the end all messages are collected and the sessions
 * ended. */
void load_sleep(struct load *l);
void load_collect(struct load *l);

static inline uint64_t load_now_ms(const struct load *l)
{
    return l->clock.mono_ms(l->clock.ctx);
}

#endif
