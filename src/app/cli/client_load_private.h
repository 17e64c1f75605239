/* client_load_private - a run in progress, shared by the client_load*.c files only. */
#ifndef APP_CLI_CLIENT_LOAD_PRIVATE_H
#define APP_CLI_CLIENT_LOAD_PRIVATE_H

#include "app/cli/client_latency.h"
#include "app/cli/client_load.h"
#include "app/cli/client_seen.h"
#include "base/clock.h"
#include "base/wr.h"
#include "net/peer.h"
#include "net/stream.h"

enum {
    GO_ON = -1,
    OPENING_MAX = 32,
    OPEN_MS = 60 * 1000,
    CONNECT_MS = 5000,
    DRAIN_MS = 5000,
    PACKET_MAX = LOAD_PAYLOAD_MAX + 4096,
    ACKS_MAX = 4 * 1024 * 1024,
    HEAD_BYTES = 256,
    SLEEP_S = 3600,
    SETTLE_MS = 500,    /* before memory is looked at */
    SUBJECT_DIGITS = 8, /* of the number in a topic that changes */
    FILTERS_AT_ONCE = 8 /* what servers take in one SUBSCRIBE without being told otherwise */
};

enum phase { CONNECTING, SUBSCRIBING, READY, ASLEEP, LEAVING, GONE };

/* What the connections are for. A sleeper subscribes, sleeps, comes back for its messages, and at
 * last ends its session. */
enum stage { STAGE_BEGIN, STAGE_WAKE, STAGE_ERASE };

struct load;

struct conn {
    /* what each message looks at is together, in front */
    struct load *load;
    struct stream *stream;
    uint32_t index; /* among publishers, or among subscribers */
    enum phase phase;
    bool is_publisher, is_dirty, is_counted;
    uint64_t n_sent, n_acked, n_delivered; /* a publisher's */
    uint64_t n_received;                   /* QoS 2: of what it sent, by PUBREC */
    struct buf rest;                       /* an unfinished packet */
    struct buf acks;                       /* what is to be answered at the end of the turn */
    struct ssl_session_st *session;        /* a sleeper's: to resume TLS by; NULL: no ticket came */
    /* a publisher's */
    uint8_t *packet; /* one whole PUBLISH; number and id are set for each */
    size_t packet_n, id_at, number_at;
    size_t subject_at; /* SUBJECT_DIGITS of the topic; 0: it stays the same */
    uint64_t *sent_us; /* LOAD_DURABLE: of the last `window` messages */
    uint64_t n_owed;   /* LOAD_LATENCY: messages that were due so far */
    uint64_t began_us; /* LOAD_CONNECT, LOAD_RESUMED: its connect */
    uint32_t n_asked;  /* LOAD_SUBSCRIPTIONS: filters of its own that it has asked for */
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
    struct seen *seen; /* by publisher in fan-in; by both in durable and subscriptions; by message
                        * in retained; else by subscriber */
    size_t seen_by_sub, seen_by_pub; /* a place is that of index * these, but for retained */
    uint64_t *n_told;                /* LOAD_SUBSCRIPTIONS: of each publisher to each subscriber */
    bool is_sending, is_measuring, is_filling;
    uint64_t n_limit;             /* of each publisher's messages */
    void (*step)(struct load *l); /* each turn of the measured time; NULL: nothing */
    const struct load_watch *watch;
    uint64_t dice, n_due;              /* n_due: LOAD_LATENCY, messages whose time has come */
    char address[NET_PEER_TEXT_BYTES]; /* of the server, once it was found; "" before */
    enum stage stage;
    uint64_t now_us, begin_us, n_sent, n_woken; /* n_woken: messages that sleepers came back for */
    uint64_t measure_us[2], tick_us;            /* the measured time; the next tick */
    uint32_t pace_at;
    struct latency latency;
    struct load_result r;
    int code;
};

/* load_give_up - the run ends with this exit code; the first one counts. */
void load_give_up(struct load *l, int code);
/* load_open - connects (again) and says CONNECT. */
void load_open(struct load *l, uint32_t at);
/* load_open_until - the first n connections are made and ready. */
void load_open_until(struct load *l, uint32_t n);
/* load_close - without a word. */
void load_close(struct conn *c);
/* load_wait - turns until `is_done`, or nothing more was counted for DRAIN_MS: then false. */
bool load_wait(struct load *l, bool (*is_done)(const struct load *l));
/* load_rest - turns for so long. */
void load_rest(struct load *l, uint32_t ms);
/* load_measure - warm-up and measured time, with l->step. */
void load_measure(struct load *l);
/* load_measure_begin, load_measure_end - of the measured time; load_measure calls them. */
void load_measure_begin(struct load *l);
void load_measure_end(struct load *l);
/* load_drain - what is under way arrives; what does not, is lost. */
void load_drain(struct load *l);
void load_tell(struct load *l, enum load_moment m);
/* load_turn - waits at most wait_ms, serves what is ready, flushes what has something to say. */
void load_turn(struct load *l, int wait_ms);

/* client_load_packets.c: what connections say and hear. */
void load_mark_dirty(struct load *l, struct conn *c);
/* load_say - appends to what the connection says at the end of the turn. */
void load_say(struct conn *c, const struct wr *w);
void load_say_connect(struct conn *c);
void load_say_subscribe(struct conn *c);
void load_say_disconnect(struct conn *c);
/* load_make_packet - the one PUBLISH of a publisher, and where the changing parts stand in it.
 * ERR_NOMEM. */
MUST_USE enum err load_make_packet(struct conn *c, uint32_t payload_n);
/* load_due - how many messages should have been sent by now; with a rate. */
uint64_t load_due(const struct load *l);
/* load_room - how many messages it may send now: by window, rate, and what is asked for. 0 for who
 * is no publisher. */
uint64_t load_room(const struct conn *c);
void load_put_publish(struct conn *c, struct wr *w);
/* load_take - bytes that came: whole packets are handled where they are, the rest is kept. */
void load_take(struct conn *c, struct slice plain);
/* load_refused - ends the run: what the server refused, and what an identity needs. */
void load_refused(struct conn *c, const char *what, uint8_t code);

/* client_load_count.c: what a delivery proves. subject: the number in its topic. */
void load_count(struct load *l, const struct conn *sub, uint32_t from, uint64_t number,
                uint32_t subject);

/* client_load_sleep.c: sleepers say goodbye; at the end all messages are collected and the sessions
 * ended. */
void load_sleep(struct load *l);
void load_collect(struct load *l);

/* client_load_rate.c: LOAD_LATENCY, and other loads with a rate. */
void load_pace(struct load *l);
void load_pace_exactly(struct load *l);
/* load_due_us - when this message of this publisher was due. */
uint64_t load_due_us(const struct load *l, uint32_t from, uint64_t number);

/* client_load_storm.c, client_load_idle.c, client_load_retained.c, client_load_subscriptions.c: one
 * scenario each, from the first connection to the last. */
void load_storm(struct load *l);
void load_idle(struct load *l);
void load_retained(struct load *l);
void load_subscriptions(struct load *l);
/* Who has a filter, and what a publisher's next message is about. */
uint32_t load_owner_of(const struct load *l, uint32_t filter);
/* load_asked - a SUBACK came for some of a client's filters. */
void load_asked(struct conn *c, struct slice codes);

static inline bool load_is_pairs(const struct load *l)
{
    return l->o->shape == LOAD_PAIRS || l->o->shape == LOAD_LATENCY;
}

/* load_has_window - of those that a publisher has sent so few are under way, and wait for an
 * acknowledgement, that one more may leave. */
static inline bool load_has_window(const struct conn *c)
{
    const struct load *l = c->load;
    return c->n_sent * l->fan - c->n_delivered <= (uint64_t)(l->o->window - 1) * l->fan &&
           (l->o->qos == 0 || c->n_sent - c->n_acked < l->o->window);
}

static inline uint64_t load_now_ms(const struct load *l)
{
    return l->clock.mono_ms(l->clock.ctx);
}

#endif
