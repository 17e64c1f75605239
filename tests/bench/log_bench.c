/*
 * log_bench - what the log costs on a real disk. By hand:
 *
 *   log_bench DIR [SECONDS] [MESSAGES_PER_SECOND] [IN_FLIGHT] [PAYLOAD_BYTES]
 *
 * DIR must be empty. Two workers publish to sleeping sessions of their own; what is committed is
 * acknowledged by the receiver in the next turn. Without a rate each worker has IN_FLIGHT messages
 * on their way (100 publishers that wait for their PUBACK: 50). Prints messages, batches and CPU
 * time of each message; at the end it opens the store again and says how long that took.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "store/log.h"

enum { WORKERS = 2, TURN_US = 500, LATENCIES = 1 << 20 };

struct bench;

struct worker {
    struct bench *bench;
    unsigned index;
    struct journal *w;
    sem_t sem;
    uint64_t seq, acknowledged; /* of its session */
    uint64_t *lsns, *sent_us;   /* by seq, a ring */
    uint32_t *latency_us;
    size_t n_latencies;
    uint64_t cpu_us;
};

struct bench {
    struct log *log;
    sem_t sem;
    atomic_bool is_called, is_stopping;
    uint64_t rate, in_flight, payload;
    uint64_t log_cpu_us;
    struct worker workers[WORKERS];
};

enum { RING = 1 << 16 };

static uint64_t now_us(void)
{
    struct clock c = clock_system();
    return c.mono_us(c.ctx);
}

static uint64_t thread_cpu_us(void)
{
    struct rusage u;
    (void)getrusage(RUSAGE_THREAD, &u);
    return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void die(const char *what, enum err err)
{
    (void)fprintf(stderr, "log_bench: %s: %s\n", what, err_name(err));
    exit(1);
}

static void pause_us(uint64_t us)
{
    struct timespec t = {.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000};
    (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}

static void wake(void *ctx)
{
    struct bench *b = ctx;
    if (!atomic_exchange(&b->is_called, true)) {
        (void)sem_post(&b->sem);
    }
}

static void event(void *ctx, const struct event *e)
{
    (void)ctx;
    (void)fprintf(stderr, "event: %s: %s\n", e->target, e->reason);
}

/* ---- a worker ---- */

static uint64_t session_of(const struct worker *w)
{
    return w->index + 1;
}

static bool append(struct worker *w, enum journal_kind kind, uint64_t owner, const struct wr *head,
                   struct slice body, uint64_t *ret_lsn)
{
    enum err err = journal_append(w->w, kind, owner, wr_slice(head), body, ret_lsn);
    if (err != OK && err != ERR_SPACE) {
        die("append", err);
    }
    return err == OK;
}

static bool publish(struct worker *w)
{
    static const uint8_t bytes[4096] = "bench/topic";
    uint8_t head[JOURNAL_HEAD_MAX], entry[64];
    uint64_t id = (w->seq + 1) * WORKERS + w->index, lsn = 0;
    struct wr h = wr_into(head, sizeof head), e = wr_into(entry, sizeof entry);
    struct journal_body body = {.id = id,
                                .m = {.publisher = 5, .qos = 1, .expires_wall_ms = INT64_MAX}};
    body.m.topic = slice_of(bytes, 11);
    body.m.payload = slice_of(bytes + 11, w->bench->payload);
    if (journal_body_head(&body, &h) != OK ||
        !append(w, JOURNAL_BODY, 0, &h, slice_of(bytes, 11 + w->bench->payload), &lsn)) {
        return false;
    }
    h = wr_into(head, sizeof head);
    struct journal_delivery d = {.session = session_of(w), .seq = w->seq + 1, .qos = 1};
    journal_delivery_write(&d, NULL, &e);
    if (journal_deliver_head(id, (uint16_t)w->index, &h) != OK ||
        !append(w, JOURNAL_DELIVER, 0, &h, wr_slice(&e), &lsn)) {
        return false;
    }
    w->seq++;
    w->lsns[w->seq % RING] = lsn;
    w->sent_us[w->seq % RING] = now_us();
    return true;
}

static void acknowledge(struct worker *w, uint64_t now)
{
    uint64_t committed = journal_committed(w->w), lsn = 0;
    while (w->acknowledged < w->seq && w->lsns[(w->acknowledged + 1) % RING] <= committed) {
        uint64_t seq = ++w->acknowledged;
        uint8_t head[JOURNAL_HEAD_MAX];
        struct wr h = wr_into(head, sizeof head);
        struct journal_settle settle = {.session = session_of(w), .seq = seq};
        if (journal_settle_head(JOURNAL_ACK, &settle, &h) != OK ||
            !append(w, JOURNAL_ACK, 0, &h, (struct slice){0}, &lsn)) {
            die("acknowledge", ERR_SPACE);
        }
        w->latency_us[w->n_latencies++ % LATENCIES] = (uint32_t)(now - w->sent_us[seq % RING]);
    }
}

static void begin_session(struct worker *w)
{
    uint8_t head[JOURNAL_HEAD_MAX];
    uint64_t lsn = 0;
    struct wr h = wr_into(head, sizeof head);
    struct journal_session s = {.id = session_of(w),
                                .next_seq = 1,
                                .expiry_s = 100,
                                .asleep_wall_ms = INT64_MAX,
                                .client_id = slice_text("bench")};
    if (journal_session_head(&s, &h) != OK ||
        !append(w, JOURNAL_SESSION, 0, &h, s.client_id, &lsn)) {
        die("session", ERR_SPACE);
    }
}

static void *worker_thread(void *arg)
{
    struct worker *w = arg;
    struct bench *b = w->bench;
    uint64_t start = now_us(), owed = 0;
    begin_session(w);
    while (!atomic_load(&b->is_stopping)) {
        uint64_t now = now_us();
        acknowledge(w, now);
        owed = b->rate > 0 ? b->rate * (now - start) / 1000000 / WORKERS
                           : w->acknowledged + b->in_flight;
        while (w->seq < owed && w->seq - w->acknowledged < RING - 1 && publish(w)) {
        }
        journal_handover(w->w, true);
        if (b->rate > 0) {
            pause_us(TURN_US);
        } else {
            (void)sem_wait(&w->sem);
        }
    }
    w->cpu_us = thread_cpu_us();
    return NULL;
}

/* ---- the log's thread ---- */

/* true: somebody called. */
static bool sleep_until(struct bench *b, uint64_t at_ms)
{
    at_ms = at_ms < INT32_MAX ? at_ms : INT32_MAX;
    struct timespec until = {.tv_sec = (time_t)(at_ms / 1000),
                             .tv_nsec = (long)(at_ms % 1000) * 1000000};
    if (sem_clockwait(&b->sem, CLOCK_MONOTONIC, &until) != 0) {
        return false;
    }
    atomic_store(&b->is_called, false);
    return true;
}

static void *log_thread(void *arg)
{
    struct bench *b = arg;
    uint64_t moved = 0, at = 0;
    while (!atomic_load(&b->is_stopping)) {
        if (sleep_until(b, at)) {
            uint64_t us = log_pace(b->log);
            if (us > 0) {
                pause_us(us);
            }
        }
        if (log_commit(b->log, &moved) == OK) {
            for (unsigned i = 0; b->rate == 0 && i < WORKERS; i++) {
                if ((moved >> i & 1) != 0) {
                    (void)sem_post(&b->workers[i].sem);
                }
            }
        }
        log_tend(b->log, now_us() / 1000, &at);
    }
    b->log_cpu_us = thread_cpu_us();
    return NULL;
}

/* ---- figures ---- */

static int latency_order(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y ? 1 : 0;
}

static void report(struct bench *b, double seconds)
{
    struct log_status s;
    log_status(b->log, &s);
    uint64_t n = 0, worker_cpu_us = 0;
    for (unsigned i = 0; i < WORKERS; i++) {
        n += b->workers[i].acknowledged;
        worker_cpu_us += b->workers[i].cpu_us;
    }
    struct worker *w = &b->workers[0];
    size_t n_latencies = w->n_latencies < LATENCIES ? w->n_latencies : LATENCIES;
    qsort(w->latency_us, n_latencies, sizeof w->latency_us[0], latency_order);
    printf("%.0f messages/s, %.0f batches/s, %.1f messages each, %.0f us in write and sync\n",
           (double)n / seconds, (double)s.batches / seconds, (double)n / (double)s.batches,
           (double)s.sync_us / (double)s.batches);
    printf("CPU us for each message: workers %.2f, log %.2f\n", (double)worker_cpu_us / (double)n,
           (double)b->log_cpu_us / (double)n);
    if (n_latencies > 0) {
        printf("until committed: median %" PRIu32 " us, 99%% %" PRIu32 " us, most %" PRIu32 " us\n",
               w->latency_us[n_latencies / 2], w->latency_us[n_latencies * 99 / 100],
               w->latency_us[n_latencies - 1]);
    }
    printf("%" PRIu64 " records, %" PRIu64 " left out, %" PRIu64 " bytes copied by the cleaner, "
           "%u segments\n",
           s.records, s.elided, s.cleaned_bytes, s.segments);
}

static enum err open_log(struct bench *b, struct disk *disk, struct keyring *k)
{
    struct log_setup setup = {.disk = disk,
                              .keyring = k,
                              .random = random_system(),
                              .clock = clock_system(),
                              .n_writers = WORKERS,
                              .ctx = b,
                              .event = event,
                              .wake = wake};
    struct log_report found;
    struct why why = {0};
    uint64_t start = now_us();
    enum err err = log_open(&setup, &b->log, &found, &why);
    if (err == OK && found.records > 0) {
        printf("opened again in %.0f ms: %" PRIu64 " records, %" PRIu64 " MiB of segments\n",
               (double)(now_us() - start) / 1000, found.records, found.bytes >> 20);
    }
    return err;
}

static void run(struct bench *b, unsigned seconds)
{
    pthread_t threads[WORKERS + 1];
    uint64_t start = now_us();
    log_threaded(b->log, true);
    (void)pthread_create(&threads[WORKERS], NULL, log_thread, b);
    for (unsigned i = 0; i < WORKERS; i++) {
        struct worker *w = &b->workers[i];
        w->bench = b;
        w->index = i;
        w->w = log_writer(b->log, i);
        w->lsns = calloc(RING, sizeof *w->lsns);
        w->sent_us = calloc(RING, sizeof *w->sent_us);
        w->latency_us = calloc(LATENCIES, sizeof *w->latency_us);
        if (w->lsns == NULL || w->sent_us == NULL || w->latency_us == NULL) {
            die("memory", ERR_NOMEM);
        }
        (void)sem_init(&w->sem, 0, 0);
        (void)pthread_create(&threads[i], NULL, worker_thread, w);
    }
    pause_us((uint64_t)seconds * 1000000);
    atomic_store(&b->is_stopping, true);
    (void)sem_post(&b->sem);
    for (unsigned i = 0; i < WORKERS; i++) {
        (void)sem_post(&b->workers[i].sem);
        (void)pthread_join(threads[i], NULL);
    }
    (void)sem_post(&b->sem);
    (void)pthread_join(threads[WORKERS], NULL);
    report(b, (double)(now_us() - start) / 1e6);
    log_threaded(b->log, false);
}

static uint64_t argument(int argc, char **argv, int i, uint64_t otherwise)
{
    return i < argc ? strtoull(argv[i], NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
    static struct bench b;
    static const uint8_t master[32] = {1};
    struct disk *disk = NULL;
    struct keyring *k = NULL;
    int fd = argc > 1 ? open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd < 0 || disk_system(fd, &disk) != OK) {
        (void)fprintf(stderr, "usage: log_bench DIR [SECONDS] [MESSAGES_PER_SECOND] [IN_FLIGHT] "
                              "[PAYLOAD_BYTES]\n");
        return 2;
    }
    struct keyring_setup ks = {
        .disk = disk, .master = slice_of(master, sizeof master), .random = random_system()};
    enum err err = keyring_create(&ks, &k);
    err = err == ERR_EXISTS ? keyring_open(&ks, &k) : err;
    if (err != OK) {
        die("keyring", err);
    }
    b.rate = argument(argc, argv, 3, 0);
    b.in_flight = argument(argc, argv, 4, 50);
    b.payload = argument(argc, argv, 5, 100);
    b.payload = b.payload > 4000 ? 4000 : b.payload;
    (void)sem_init(&b.sem, 0, 0);
    err = open_log(&b, disk, k);
    if (err != OK) {
        die("open", err);
    }
    run(&b, (unsigned)argument(argc, argv, 2, 3));
    b.log = log_free(b.log);
    err = open_log(&b, disk, k);
    if (err != OK) {
        die("open again", err);
    }
    b.log = log_free(b.log);
    keyring_free(k);
    disk->ops->free(disk);
    return 0;
}
