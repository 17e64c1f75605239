/*
 * broker - the workers and the threads beside them: rings, the log's committer, verify pool, and
 * the one way in which a new realm reaches everybody. Owned by the service thread, which calls all
 * functions here but broker_event's sink.
 */
#ifndef SERVICE_BROKER_BROKER_H
#define SERVICE_BROKER_BROKER_H

#include "service/broker/aside.h"
#include "service/broker/browse.h"
#include "service/broker/committer.h"
#include "service/broker/driver.h"
#include "service/broker/enrolment.h"
#include "service/broker/renewal.h"
#include "service/broker/restore.h"
#include "service/broker/scrape.h"

enum {
    BROKER_WORKERS_MAX = 32,
    BROKER_SAMPLES = 1024, /* the same */
    BROKER_EVENTS = 4096   /* of one worker, waiting for the service thread */
};

struct broker;

struct broker_setup {
    unsigned n_workers;
    struct limits limits;
    struct clock clock;
    struct random_source random;
    struct slice server_reference;           /* as worker_setup's */
    const struct driver_entrance *entrances; /* borrowed for life, or as long as the edition */
    size_t n_entrances;
    /* Shared; in the place of limits, server_reference and entrances. NULL: those hold. */
    const struct edition *edition;
    const struct realm *realm;   /* shared */
    struct log *log;             /* borrowed for life; a writer for each worker */
    uint64_t fixed_bytes;        /* of the process, no heap: as ceiling_fixed says */
    struct committer *committer; /* borrowed for life: that of log's setup */
    struct progress *progress;   /* as restore_workers has it */
    /* Called when events or an acknowledged realm wait for the service thread; any thread. */
    void *ctx;
    void (*notify)(void *ctx);
};

/* broker_new - everything but the threads; what the log kept is with the workers then. ERR_NOMEM,
 * ERR_IO, ERR_LIMIT (workers), ERR_CLOSED (progress), and what the log says. restored may be NULL.
 */
MUST_USE enum err broker_new(const struct broker_setup *s, struct broker **ret,
                             struct restore_report *restored);
/* broker_start - the threads run from here on. ERR_IO: a thread could not be made; free the broker.
 */
MUST_USE enum err broker_start(struct broker *b);
/* broker_stop - stops and joins the threads, the committer last, so that all they recorded is
 * committed; events that wait can still be taken. Fine when it was never started. */
void broker_stop(struct broker *b);
/* broker_free - after broker_stop, or stops itself. */
struct broker *broker_free(struct broker *b);

/* broker_set_realm - gives it to every worker (shares), and with it, in one step, the edition that
 * was read beside it; NULL: limits and entrances stay. ERR_NOMEM, ERR_AGAIN (a worker's ring is
 * full): call again. */
MUST_USE enum err broker_set_realm(struct broker *b, const struct realm *realm,
                                   const struct edition *edition);
/* broker_browse - b is a worker's until it is ready again (shares). ERR_AGAIN: the worker's ring is
 * full, b stays. */
MUST_USE enum err broker_browse(struct broker *b, struct browse *browse);
/* broker_realm_epoch - the oldest epoch that some worker still decides by. */
uint64_t broker_realm_epoch(const struct broker *b);
/* broker_edition - the lowest number of an edition that some worker still lets clients in by. */
uint64_t broker_edition(const struct broker *b);
/* broker_next_event - the next event of the log or of any worker; false: none waits. */
bool broker_next_event(struct broker *b, struct event *ret);
/* broker_next_sample - the same for samples of what principals publish. */
bool broker_next_sample(struct broker *b, struct detect_sample *ret);
/* broker_news_at_ms - behind having taken both: when to look again, for while much comes nobody
 * wakes (news.h). UINT64_MAX: when woken. */
uint64_t broker_news_at_ms(struct broker *b, uint64_t now_ms);
/* broker_next_renewal - the next request for a certificate of any worker, in turn; the caller's;
 * NULL: none waits. broker_renewed - it is answered (takes r). ERR_AGAIN: the worker's ring is
 * full, and r is the caller's. */
struct renewal *broker_next_renewal(struct broker *b);
MUST_USE enum err broker_renewed(struct broker *b, struct renewal *r);
/* broker_ask_aside - gives the question to one worker, which shares it; poll aside_ask_is_done.
 * ERR_AGAIN: its ring is full. */
MUST_USE enum err broker_ask_aside(struct broker *b, unsigned worker, struct aside_ask *ask);
/* broker_next_enrolment - gives what a client asks for, of each worker in turn; NULL: nothing
 * waits. broker_enrolled - takes it back with its answer. ERR_AGAIN: the worker's ring is full, it
 * stays the caller's. */
struct enrolment *broker_next_enrolment(struct broker *b);
MUST_USE enum err broker_enrolled(struct broker *b, struct enrolment *e);
/* broker_next_scrape, broker_scraped - the same for who reads numbers. */
struct scrape *broker_next_scrape(struct broker *b);
MUST_USE enum err broker_scraped(struct broker *b, struct scrape *s);
/* broker_announce - the server itself publishes m (takes it, the only reference): a plain message
 * to whoever may hear its topic. ERR_AGAIN: the worker's ring is full, and m is the caller's. */
MUST_USE enum err broker_announce(struct broker *b, struct msg *m);
unsigned broker_workers(const struct broker *b);
const struct counters *broker_counters(const struct broker *b, unsigned worker);
/* broker_ceiling - of memory; any thread. */
struct ceiling *broker_ceiling(struct broker *b);
/* broker_drain - clients are told that the server goes down. broker_is_drained: all connections are
 * gone. */
void broker_drain(struct broker *b);
bool broker_is_drained(const struct broker *b);

#endif
