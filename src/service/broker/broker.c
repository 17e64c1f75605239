#include "service/broker/broker.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>

#include "base/event_ring.h"
#include "base/mem.h"
#include "core/msg_pool.h"
#include "service/broker/news.h"
#include "service/broker/reading.h"

enum {
    RING_MESSAGES = 4096,
    VERIFY_QUEUE = 1024,
    DROPS_SAID_EVERY_MS = 1000,
    SENDERS_EXTRA = 3, /* service thread, verify pool, log */
    OTHER_THREADS = 3  /* and the committer */
};

/* A thread that sleeps until somebody has work for it. */
struct sleeper {
    sem_t sem;
    atomic_bool is_called; /* many calls before it wakes are one */
    pthread_t thread;
    bool is_running;
};

/* What a worker's thread begins with. */
struct seat {
    struct driver *driver;
    struct msg_depot *depot; /* NULL: there is no other worker to share one with */
};

struct broker {
    struct broker_setup setup;
    unsigned n;
    struct driver *drivers[BROKER_WORKERS_MAX];
    struct seat seats[BROKER_WORKERS_MAX];
    struct msg_depot depot;
    pthread_t threads[BROKER_WORKERS_MAX];
    unsigned n_threads;
    struct ring rings[BROKER_WORKERS_MAX + SENDERS_EXTRA][BROKER_WORKERS_MAX]; /* [from][to] */
    struct ring *to[BROKER_WORKERS_MAX][BROKER_WORKERS_MAX];
    struct ring *from[BROKER_WORKERS_MAX][BROKER_WORKERS_MAX + SENDERS_EXTRA];
    struct ring events[BROKER_WORKERS_MAX];
    struct ring samples[BROKER_WORKERS_MAX];
    struct news news;                           /* both of them are */
    struct ring questions[BROKER_WORKERS_MAX];  /* to the verify pool */
    struct ring readings[BROKER_WORKERS_MAX];   /* to the committer */
    struct ring enrolments[BROKER_WORKERS_MAX]; /* to the service thread */
    struct ring scrapes[BROKER_WORKERS_MAX];    /* the same */
    struct ring renewals[BROKER_WORKERS_MAX];   /* to the service thread */
    unsigned next_enrolment_from, next_scrape_from;
    unsigned next_reading_from;
    _Atomic uint64_t events_lost;
    struct counters counters[BROKER_WORKERS_MAX];
    _Atomic uint64_t retained_counter;
    struct ceiling ceiling;
    struct sleeper verify;
    atomic_bool is_stopping;
    unsigned next_event_from, next_renewal_from;
};

/* ---- sleepers ---- */

static void sleeper_call(struct sleeper *s)
{
    if (!atomic_exchange_explicit(&s->is_called, true, memory_order_acq_rel)) {
        (void)sem_post(&s->sem);
    }
}

static void sleeper_wait(struct sleeper *s)
{
    while (sem_wait(&s->sem) != 0) {
    }
    atomic_store_explicit(&s->is_called, false, memory_order_release);
}

static bool verify_one(struct broker *b, unsigned worker)
{
    struct verified *v;
    if (!ring_pop(&b->questions[worker], &v)) {
        return false;
    }
    verified_check(v, b->setup.clock.wall_ms(b->setup.clock.ctx));
    struct wmsg m = {.kind = WMSG_VERIFIED, .verified = v};
    /* The ring is as long as the queue of questions: there is room for every answer. */
    while (ring_push(b->from[worker][b->n + 1], &m) != OK) {
        driver_wake(b->drivers[worker]);
        (void)sched_yield();
    }
    driver_wake(b->drivers[worker]);
    return true;
}

static void *verify_thread(void *arg)
{
    struct broker *b = arg;
    while (!atomic_load_explicit(&b->is_stopping, memory_order_acquire)) {
        bool worked = false;
        sleeper_wait(&b->verify);
        do { /* one of each worker in turn: nobody starves the others */
            worked = false;
            for (unsigned i = 0; i < b->n; i++) {
                worked |= verify_one(b, i);
            }
        } while (worked && !atomic_load_explicit(&b->is_stopping, memory_order_acquire));
    }
    return NULL;
}

static void *worker_thread(void *arg)
{
    const struct seat *s = arg;
    msg_pool_open(s->depot);
    driver_run(s->driver);
    msg_pool_clear(msg_pool_own());
    return NULL;
}

/* ---- what the drivers call ---- */

static void tell(struct broker *b, const struct ring *r)
{
    if (news_brought(&b->news, r)) {
        b->setup.notify(b->setup.ctx);
    }
}

static void on_event(void *ctx, unsigned worker, const struct event *e)
{
    struct broker *b = ctx;
    if (event_ring_push(&b->events[worker], e) != OK) {
        atomic_fetch_add_explicit(&b->events_lost, 1, memory_order_relaxed);
    }
    tell(b, &b->events[worker]);
}

static bool on_sample(void *ctx, unsigned worker, const struct detect_sample *s)
{
    struct broker *b = ctx;
    bool is_taken = ring_push(&b->samples[worker], s) == OK;
    tell(b, &b->samples[worker]);
    return is_taken;
}

static enum err on_verify(void *ctx, struct verified *v)
{
    struct broker *b = ctx;
    if (ring_push(&b->questions[v->worker], &v) != OK) {
        verified_free(v);
        return ERR_AGAIN;
    }
    sleeper_call(&b->verify);
    return OK;
}

static enum err on_read(void *ctx, struct reading *r)
{
    struct broker *b = ctx;
    if (ring_push(&b->readings[r->worker], &r) != OK) {
        reading_free(r);
        return ERR_AGAIN;
    }
    committer_wake(b->setup.committer);
    return OK;
}

static enum err on_enrol(void *ctx, struct enrolment *e)
{
    struct broker *b = ctx;
    if (ring_push(&b->enrolments[e->worker], &e) != OK) {
        enrolment_free(e);
        return ERR_AGAIN;
    }
    b->setup.notify(b->setup.ctx);
    return OK;
}

static enum err on_scrape(void *ctx, struct scrape *s)
{
    struct broker *b = ctx;
    if (ring_push(&b->scrapes[s->worker], &s) != OK) {
        scrape_free(s);
        return ERR_AGAIN;
    }
    b->setup.notify(b->setup.ctx);
    return OK;
}

static enum err on_renew(void *ctx, struct renewal *r)
{
    struct broker *b = ctx;
    if (ring_push(&b->renewals[r->worker], &r) != OK) {
        renewal_free(r);
        return ERR_AGAIN;
    }
    b->setup.notify(b->setup.ctx);
    return OK;
}

/* A worker has no more under way than its ring of answers takes. */
static bool read_one(struct broker *b, unsigned worker, size_t *bytes)
{
    struct reading *r;
    if (!ring_pop(&b->readings[worker], &r)) {
        return false;
    }
    struct wmsg m = {.kind = WMSG_BODY, .reading = r};
    *bytes += r->husk->n_away;
    reading_do(r, b->setup.log);
    if (ring_push(b->from[worker][b->n + 2], &m) != OK) {
        reading_free(r);
    }
    return true;
}

static void on_wake(void *ctx, uint64_t workers)
{
    struct broker *b = ctx;
    for (unsigned i = 0; i < b->n; i++) {
        if ((workers >> i & 1) != 0) {
            driver_wake(b->drivers[i]);
        }
    }
}

/* One of each worker in turn, while the piece lasts. */
static bool on_work(void *ctx)
{
    struct broker *b = ctx;
    size_t bytes = 0;
    uint64_t answered = 0;
    for (unsigned silent = 0; silent < b->n && bytes < READING_PIECE_BYTES;) {
        unsigned i = b->next_reading_from++ % b->n;
        bool is_one = read_one(b, i, &bytes);
        silent = is_one ? 0 : silent + 1;
        answered |= (uint64_t)is_one << i;
    }
    on_wake(b, answered);
    return bytes >= READING_PIECE_BYTES;
}

static void on_log_event(void *ctx)
{
    struct broker *b = ctx;
    b->setup.notify(b->setup.ctx);
}

/* ---- life ---- */

static enum err rings_init(struct broker *b)
{
    for (unsigned from = 0; from < b->n + SENDERS_EXTRA; from++) {
        for (unsigned to = 0; to < b->n; to++) {
            if (from == to) {
                continue;
            }
            TRY(ring_init(&b->rings[from][to], sizeof(struct wmsg), RING_MESSAGES));
            b->from[to][from] = &b->rings[from][to];
            if (from < b->n) {
                b->to[from][to] = &b->rings[from][to];
            }
        }
    }
    for (unsigned i = 0; i < b->n; i++) {
        TRY(event_ring_init(&b->events[i], BROKER_EVENTS));
        TRY(ring_init(&b->samples[i], sizeof(struct detect_sample), BROKER_SAMPLES));
        TRY(ring_init(&b->questions[i], sizeof(struct verified *), VERIFY_QUEUE));
        TRY(ring_init(&b->readings[i], sizeof(struct reading *), READING_MAX));
        TRY(ring_init(&b->enrolments[i], sizeof(struct enrolment *), ENROLMENTS_WAITING));
        TRY(ring_init(&b->scrapes[i], sizeof(struct scrape *), SCRAPES_WAITING));
        TRY(ring_init(&b->renewals[i], sizeof(struct renewal *), RENEWALS_MAX));
    }
    return OK;
}

static enum err broker_init(struct broker *b, struct restore_report *restored)
{
    struct siphash_key key = {random_u64(&b->setup.random), random_u64(&b->setup.random)};
    TRY(rings_init(b));
    if (sem_init(&b->verify.sem, 0, 0) != 0) {
        return ERR_IO;
    }
    const struct edition *edition = b->setup.edition;
    if (edition != NULL) {
        b->setup.limits = edition->limits;
        b->setup.server_reference = edition->server_reference;
        b->setup.entrances = edition->entrances;
        b->setup.n_entrances = edition->n_entrances;
    }
    atomic_store_explicit(&b->ceiling.bytes, b->setup.limits.memory_bytes, memory_order_relaxed);
    struct driver_setup drivers = {.clock = b->setup.clock,
                                   .entrances = b->setup.entrances,
                                   .n_entrances = b->setup.n_entrances,
                                   .edition = edition,
                                   .ceiling = &b->ceiling,
                                   .ctx = b,
                                   .event = on_event,
                                   .sample = on_sample,
                                   .verify = on_verify,
                                   .read = on_read,
                                   .enrol = on_enrol,
                                   .scrape = on_scrape,
                                   .renew = on_renew,
                                   .wake = on_wake};
    struct worker *workers[BROKER_WORKERS_MAX];
    for (unsigned i = 0; i < b->n; i++) {
        struct worker_setup worker = {.index = i,
                                      .n_workers = b->n,
                                      .limits = &b->setup.limits,
                                      .key = key,
                                      .random = b->setup.random,
                                      .server_reference = b->setup.server_reference,
                                      .journal = log_writer(b->setup.log, i),
                                      .to = b->to[i],
                                      .from = b->from[i],
                                      .n_from = b->n + SENDERS_EXTRA,
                                      .retained_counter = &b->retained_counter,
                                      .counters = &b->counters[i],
                                      .ceiling = &b->ceiling,
                                      .say_every_ms = DROPS_SAID_EVERY_MS,
                                      .realm = b->setup.realm};
        TRY(driver_new(&drivers, &worker, &b->drivers[i]));
        workers[i] = driver_worker(b->drivers[i]);
    }
    return restore_workers(b->setup.log, workers, b->n, b->setup.clock.mono_ms(b->setup.clock.ctx),
                           b->setup.clock.wall_ms(b->setup.clock.ctx), b->setup.progress, restored);
}

MUST_USE enum err broker_new(const struct broker_setup *s, struct broker **ret,
                             struct restore_report *restored)
{
    struct restore_report unasked;
    if (s->n_workers == 0 || s->n_workers > BROKER_WORKERS_MAX) {
        return ERR_LIMIT;
    }
    struct broker *b = mem_zalloc(sizeof(*b));
    if (b == NULL) {
        return ERR_NOMEM;
    }
    b->setup = *s;
    b->n = s->n_workers;
    b->ceiling.fixed_bytes = s->fixed_bytes;
    b->ceiling.n_workers = s->n_workers;
    b->ceiling.n_threads = s->n_workers + OTHER_THREADS;
    enum err err = broker_init(b, restored != NULL ? restored : &unasked);
    if (err != OK) {
        broker_free(b);
        return err;
    }
    *ret = b;
    return OK;
}

MUST_USE enum err broker_start(struct broker *b)
{
    sigset_t all, before;
    enum err err = OK;
    /* Signals are the service thread's; but a fault, or a call that the sandbox refuses, is
     * answered where it happens. */
    (void)sigfillset(&all);
    static const int own[] = {SIGSYS, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP};
    for (size_t i = 0; i < COUNT_OF(own); i++) {
        (void)sigdelset(&all, own[i]);
    }
    if (pthread_sigmask(SIG_BLOCK, &all, &before) != 0) {
        return ERR_IO;
    }
    struct committer_listener listener = {
        .ctx = b, .moved = on_wake, .notify = on_log_event, .work = on_work};
    b->verify.is_running = pthread_create(&b->verify.thread, NULL, verify_thread, b) == 0;
    err = b->verify.is_running ? committer_start(b->setup.committer, b->setup.log, &listener)
                               : ERR_IO;
    for (unsigned i = 0; err == OK && i < b->n; i++) {
        b->seats[i].driver = b->drivers[i];
        b->seats[i].depot = b->n > 1 ? &b->depot : NULL;
        if (pthread_create(&b->threads[i], NULL, worker_thread, &b->seats[i]) != 0) {
            err = ERR_IO;
        } else {
            b->n_threads++;
        }
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err;
}

void broker_stop(struct broker *b)
{
    atomic_store_explicit(&b->is_stopping, true, memory_order_release);
    while (b->n_threads > 0) {
        b->n_threads--;
        driver_stop(b->drivers[b->n_threads]);
        (void)pthread_join(b->threads[b->n_threads], NULL);
    }
    if (b->verify.is_running) {
        sleeper_call(&b->verify);
        (void)pthread_join(b->verify.thread, NULL);
        b->verify.is_running = false;
    }
    committer_stop(b->setup.committer);
}

/* After all drivers are gone: what was still under way, a connection in a hand-over included. */
static void rings_free(struct broker *b)
{
    for (unsigned from = 0; from < b->n + SENDERS_EXTRA; from++) {
        for (unsigned to = 0; to < b->n; to++) {
            struct wmsg m;
            while (b->rings[from][to].items != NULL && ring_pop(&b->rings[from][to], &m)) {
                wmsg_done(&m);
            }
            ring_done(&b->rings[from][to]);
        }
    }
    for (unsigned i = 0; i < b->n; i++) {
        struct verified *v;
        while (b->questions[i].items != NULL && ring_pop(&b->questions[i], &v)) {
            verified_free(v);
        }
        struct reading *r;
        struct renewal *renewal;
        while (b->renewals[i].items != NULL && ring_pop(&b->renewals[i], &renewal)) {
            renewal_free(renewal);
        }
        while (b->readings[i].items != NULL && ring_pop(&b->readings[i], &r)) {
            reading_free(r);
        }
        struct enrolment *e;
        while (b->enrolments[i].items != NULL && ring_pop(&b->enrolments[i], &e)) {
            enrolment_free(e);
        }
        struct scrape *scrape;
        while (b->scrapes[i].items != NULL && ring_pop(&b->scrapes[i], &scrape)) {
            scrape_free(scrape);
        }
        ring_done(&b->scrapes[i]);
        ring_done(&b->enrolments[i]);
        ring_done(&b->events[i]);
        ring_done(&b->samples[i]);
        ring_done(&b->questions[i]);
        ring_done(&b->readings[i]);
        ring_done(&b->renewals[i]);
    }
}

struct broker *broker_free(struct broker *b)
{
    if (b == NULL) {
        return NULL;
    }
    broker_stop(b);
    for (unsigned i = 0; i < b->n; i++) {
        b->drivers[i] = driver_free(b->drivers[i]);
    }
    rings_free(b);
    (void)sem_destroy(&b->verify.sem);
    return mem_free(b);
}

/* ---- the service thread ---- */

static enum err send_worker(struct broker *b, unsigned to, const struct wmsg *m)
{
    TRY(ring_push(b->from[to][b->n], m));
    driver_wake(b->drivers[to]);
    return OK;
}

MUST_USE enum err broker_set_realm(struct broker *b, const struct realm *realm,
                                   const struct edition *edition)
{
    if (edition != NULL) {
        atomic_store_explicit(&b->ceiling.bytes, edition->limits.memory_bytes,
                              memory_order_relaxed);
    }
    for (unsigned i = 0; i < b->n; i++) {
        struct wmsg m = {
            .kind = WMSG_REALM, .realm = realm_ref(realm), .edition = edition_ref(edition)};
        enum err err = send_worker(b, i, &m);
        if (err != OK) {
            wmsg_done(&m);
            return err; /* workers that have it already lose nothing by getting it again */
        }
    }
    return OK;
}

/* Every worker holds all of the index: any will do. */
enum err broker_browse(struct broker *b, struct browse *browse)
{
    struct wmsg m = {.kind = WMSG_BROWSE, .browse = browse_ref(browse)};
    atomic_store_explicit(&browse->is_ready, false, memory_order_relaxed);
    enum err err = send_worker(b, 0, &m);
    if (err != OK) {
        atomic_store_explicit(&browse->is_ready, true, memory_order_relaxed);
        browse_unref(browse);
    }
    return err;
}

struct enrolment *broker_next_enrolment(struct broker *b)
{
    struct enrolment *e;
    for (unsigned i = 0; i < b->n; i++) {
        unsigned from = (b->next_enrolment_from + i) % b->n;
        if (ring_pop(&b->enrolments[from], &e)) {
            b->next_enrolment_from = from + 1;
            return e;
        }
    }
    return NULL;
}

enum err broker_enrolled(struct broker *b, struct enrolment *e)
{
    struct wmsg m = {.kind = WMSG_ENROLLED, .enrolment = e};
    return send_worker(b, e->worker, &m);
}

struct scrape *broker_next_scrape(struct broker *b)
{
    struct scrape *s;
    for (unsigned i = 0; i < b->n; i++) {
        unsigned from = (b->next_scrape_from + i) % b->n;
        if (ring_pop(&b->scrapes[from], &s)) {
            b->next_scrape_from = from + 1;
            return s;
        }
    }
    return NULL;
}

enum err broker_scraped(struct broker *b, struct scrape *s)
{
    struct wmsg m = {.kind = WMSG_SCRAPED, .scrape = s};
    return send_worker(b, s->worker, &m);
}

enum err broker_announce(struct broker *b, struct msg *m)
{
    struct wmsg out = {.kind = WMSG_ANNOUNCE, .msg = m};
    return send_worker(b, 0, &out);
}

uint64_t broker_edition(const struct broker *b)
{
    uint64_t oldest = UINT64_MAX;
    for (unsigned i = 0; i < b->n; i++) {
        uint64_t number = driver_edition(b->drivers[i]);
        oldest = number < oldest ? number : oldest;
    }
    return oldest;
}

uint64_t broker_realm_epoch(const struct broker *b)
{
    uint64_t oldest = UINT64_MAX;
    for (unsigned i = 0; i < b->n; i++) {
        uint64_t epoch = driver_realm_epoch(b->drivers[i]);
        oldest = epoch < oldest ? epoch : oldest;
    }
    return oldest;
}

struct renewal *broker_next_renewal(struct broker *b)
{
    struct renewal *r = NULL;
    for (unsigned i = 0; i < b->n && r == NULL; i++) {
        if (!ring_pop(&b->renewals[b->next_renewal_from++ % b->n], &r)) {
            r = NULL;
        }
    }
    return r;
}

enum err broker_renewed(struct broker *b, struct renewal *r)
{
    struct wmsg m = {.kind = WMSG_RENEWED, .renewal = r};
    return send_worker(b, r->worker, &m);
}

bool broker_next_event(struct broker *b, struct event *ret)
{
    if (committer_next_event(b->setup.committer, ret)) {
        return true;
    }
    for (unsigned i = 0; i < b->n; i++) {
        unsigned from = (b->next_event_from + i) % b->n;
        if (event_ring_pop(&b->events[from], ret)) {
            b->next_event_from = from + 1;
            news_taken(&b->news);
            return true;
        }
    }
    uint64_t lost = atomic_exchange_explicit(&b->events_lost, 0, memory_order_relaxed);
    if (lost > 0) {
        *ret = event_make(EVENT_flood);
        ret->count = lost < UINT32_MAX ? (uint32_t)lost : UINT32_MAX;
        event_reason(
            ret, "%llu events came faster than they could be recorded and are only counted here",
            (unsigned long long)lost);
        return true;
    }
    return false;
}

bool broker_next_sample(struct broker *b, struct detect_sample *ret)
{
    for (unsigned i = 0; i < b->n; i++) {
        if (ring_pop(&b->samples[i], ret)) {
            news_taken(&b->news);
            return true;
        }
    }
    return false;
}

uint64_t broker_news_at_ms(struct broker *b, uint64_t now_ms)
{
    return news_look_at_ms(&b->news, now_ms);
}

MUST_USE enum err broker_ask_aside(struct broker *b, unsigned worker, struct aside_ask *ask)
{
    struct wmsg m = {.kind = WMSG_ASIDE, .ask = aside_ask_ref(ask)};
    enum err err = send_worker(b, worker, &m);
    if (err != OK) {
        aside_ask_unref(ask);
    }
    return err;
}

unsigned broker_workers(const struct broker *b)
{
    return b->n;
}

const struct counters *broker_counters(const struct broker *b, unsigned worker)
{
    return &b->counters[worker];
}

struct ceiling *broker_ceiling(struct broker *b)
{
    return &b->ceiling;
}

void broker_drain(struct broker *b)
{
    for (unsigned i = 0; i < b->n; i++) {
        struct wmsg m = {.kind = WMSG_DRAIN};
        enum err ignored =
            send_worker(b, i, &m); /* the deadline of the stop takes care of the rest */
        (void)ignored;
    }
}

bool broker_is_drained(const struct broker *b)
{
    bool drained = true;
    for (unsigned i = 0; i < b->n; i++) {
        drained = drained && driver_is_drained(b->drivers[i]);
    }
    return drained;
}
