/* One life of the broker's process: start on what the disk holds, end in order or not. */
#include "base/mem.h"
#include "service/broker/restore.h"
#include "sim.h"
#include "sim_disk.h"

enum { SERVICE_RING = 64 }; /* as many answers of the log as a worker waits for, too */

static enum err must(struct sim *s, enum err err, const char *what)
{
    if (err != OK) {
        sim_fail(s, "-", "life %u cannot start: %s: %s", s->n_lives, what, err_name(err));
    }
    return err;
}

/* ---- what a worker asks of its driver ---- */

static void driver_depart(void *ctx, void *transport)
{
    struct sim_worker *w = ctx;
    struct sim_link *l = transport;
    sim_say(w->sim, "worker", "%u: hands link %u over", w->index, l->id);
    l->worker = -1;
}

static enum err driver_arrive(void *ctx, void *transport, uint64_t conn)
{
    struct sim_worker *w = ctx;
    struct sim_link *l = transport;
    sim_say(w->sim, "worker", "%u: takes link %u", w->index, l->id);
    l->worker = (int)w->index;
    l->conn = conn;
    return OK;
}

static void driver_discard(void *ctx, void *transport)
{
    struct sim_worker *w = ctx;
    struct sim_link *l = transport;
    sim_say(w->sim, "worker", "%u: discards link %u", w->index, l->id);
    l->worker = -1;
    l->is_over = true;
}

static enum err driver_verify(void *ctx, struct verified *v)
{
    struct sim *s = ((struct sim_worker *)ctx)->sim;
    if (s->n_questions == SIM_QUESTIONS_MAX) {
        verified_free(v);
        return ERR_AGAIN;
    }
    s->questions[s->n_questions++] = v;
    return OK;
}

static enum err driver_read(void *ctx, struct reading *r)
{
    struct sim *s = ((struct sim_worker *)ctx)->sim;
    if (s->n_readings == SIM_READINGS_MAX) {
        reading_free(r);
        return ERR_AGAIN;
    }
    s->readings[s->n_readings++] = r;
    return OK;
}

static void driver_event(void *ctx, const struct event *e)
{
    struct sim_worker *w = ctx;
    if (w->sim->log->is_dead) {
        return;
    }
    sim_say(w->sim, "event", "%u: %s %s/%s %s: %.90s", w->index, event_category_name(e->category),
            e->principal, e->client_id, e->target, e->reason);
    model_event(w->sim, w->index, e);
}

static void log_event(void *ctx, const struct event *e)
{
    struct sim *s = ctx;
    if (s->log->is_dead && s->store != NULL) {
        return; /* the last words of a process that nobody hears */
    }
    sim_say(s, "event", "log: %s %s: %.90s", event_category_name(e->category), e->target,
            e->reason);
    if (e->category == EVENT_store_integrity && strstr(e->reason, "again") == NULL &&
        !sim_had_trouble(s, s->crashed_at)) {
        sim_fail(s, "7", "the log calls itself damaged on a disk that never lied: %s", e->reason);
    }
}

/* ---- start ---- */

static enum err open_keyring(struct sim *s)
{
    static const uint8_t master[32] = {7};
    struct keyring_setup setup = {
        .disk = s->disk, .master = slice_of(master, sizeof(master)), .random = s->random};
    return s->n_lives == 0 ? keyring_create(&setup, &s->keyring)
                           : keyring_open(&setup, &s->keyring);
}

static int64_t wall_now(void *ctx)
{
    return ((const struct sim *)ctx)->wall_ms;
}

static uint64_t monotonic_now(void *ctx)
{
    return ((const struct sim *)ctx)->now_ms;
}

static uint64_t monotonic_us(void *ctx)
{
    return ((const struct sim *)ctx)->now_ms * 1000;
}

static enum err open_log(struct sim *s)
{
    struct log_setup setup = {
        .disk = s->disk,
        .keyring = s->keyring,
        .random = s->random,
        .clock = {.mono_ms = monotonic_now, .mono_us = monotonic_us, .wall_ms = wall_now, .ctx = s},
        .n_writers = s->knobs.n_workers,
        .segment_bytes = s->knobs.segment_bytes,
        .holds_always = true,
        .keep_bytes = s->knobs.keep_bytes,
        .lag_bytes = s->knobs.lag_bytes,
        .ctx = s,
        .event = log_event};
    struct log_report report;
    struct why why = {0};
    TRY(log_open(&setup, &s->store, &report, &why));
    sim_say(s, "log", "%u segments, %llu records, %llu damaged, %llu torn bytes%s", report.segments,
            (unsigned long long)report.records, (unsigned long long)report.damaged,
            (unsigned long long)report.torn_bytes, report.was_closed ? ", closed in order" : "");
    return OK;
}

static enum err make_rings(struct sim *s)
{
    unsigned n = s->knobs.n_workers;
    for (unsigned from = 0; from < n + 3; from++) {
        for (unsigned to = 0; to < n; to++) {
            if (from == to) {
                continue;
            }
            size_t capacity = from < n ? s->knobs.ring_capacity : SERVICE_RING;
            TRY(ring_init(&s->rings[from][to], sizeof(struct wmsg), capacity));
            s->from[to][from] = &s->rings[from][to];
            if (from < n) {
                s->to[from][to] = &s->rings[from][to];
            }
        }
    }
    return OK;
}

static struct worker_driver driver_of(struct sim_worker *w)
{
    return (struct worker_driver){.ctx = w,
                                  .depart = driver_depart,
                                  .arrive = driver_arrive,
                                  .discard = driver_discard,
                                  .verify = driver_verify,
                                  .read = driver_read,
                                  .event = driver_event};
}

static enum err make_workers(struct sim *s)
{
    unsigned n = s->knobs.n_workers;
    struct siphash_key key = {.k0 = random_u64(&s->random), .k1 = random_u64(&s->random)};
    s->retained_counter = 0;
    for (unsigned i = 0; i < n; i++) {
        s->ctx[i] = (struct sim_worker){.sim = s, .index = i};
        s->counters[i] = (struct counters){0};
        struct worker_setup setup = {.index = i,
                                     .n_workers = n,
                                     .limits = &s->limits,
                                     .key = key,
                                     .random = s->random,
                                     .journal = sim_log_attach(s->log, i, log_writer(s->store, i)),
                                     .to = s->to[i],
                                     .from = s->from[i],
                                     .n_from = n + 3,
                                     .retained_counter = &s->retained_counter,
                                     .counters = &s->counters[i],
                                     .ceiling = &s->ceiling,
                                     .realm = s->realm,
                                     .driver = driver_of(&s->ctx[i])};
        TRY(worker_new(&setup, s->now_ms, s->wall_ms, &s->workers[i]));
        s->turned_ms[i] = s->now_ms; /* the turns of its former life ended nothing in this one */
    }
    return OK;
}

static enum err restore(struct sim *s)
{
    struct restore_report report = {0};
    TRY(restore_workers(s->store, s->workers, s->knobs.n_workers, s->now_ms, s->wall_ms, NULL,
                        &report));
    sim_say(s, "restore",
            "%llu sessions, %llu subscriptions, %llu deliveries, %llu retained, %llu lost, %llu "
            "ended, %llu matched again",
            (unsigned long long)report.sessions, (unsigned long long)report.subscriptions,
            (unsigned long long)report.deliveries, (unsigned long long)report.retained,
            (unsigned long long)report.lost, (unsigned long long)report.ended,
            (unsigned long long)report.rematched);
    return OK;
}

/* Between log_open and the workers' first record: the only moment when the tap and the log can be
 * laid side by side. */
static void survey(struct sim *s)
{
    struct sim_survey *found = sim_survey_take(s, s->store);
    if (found != NULL) {
        sim_survey_compare(s, found);
        model_crashed(s, found);
        mem_free(found);
    }
}

void sim_start(struct sim *s)
{
    sim_disk_start(s->disk);
    if (must(s, open_keyring(s), "keyring") != OK || must(s, open_log(s), "log") != OK ||
        must(s, sim_open_directory(s), "directory") != OK) {
        return;
    }
    sim_state_push(s, s->n_states > 0 ? s->states[s->n_states - 1].policy : 0);
    if (s->has_failed) {
        return;
    }
    model_state_pushed(s);
    if (s->n_lives > 0) {
        survey(s);
    }
    if (must(s, make_rings(s), "rings") != OK || must(s, make_workers(s), "workers") != OK) {
        return;
    }
    s->n_untold = 0;
    s->n_lives++;
    enum err err = must(s, restore(s), "restore");
    (void)err;
}

/* ---- end ---- */

static void empty_rings(struct sim *s)
{
    for (unsigned from = 0; from < s->knobs.n_workers + 3; from++) {
        for (unsigned to = 0; to < s->knobs.n_workers; to++) {
            struct wmsg m;
            struct ring *r = &s->rings[from][to];
            while (r->items != NULL && ring_pop(r, &m)) {
                wmsg_done(&m);
            }
            ring_done(r);
        }
    }
    memset(s->to, 0, sizeof(s->to));
    memset(s->from, 0, sizeof(s->from));
}

/* What the kernel had taken from the broker may still arrive. */
static void end_links(struct sim *s)
{
    for (unsigned i = 0; i < s->n_links; i++) {
        struct sim_link *l = s->links[i];
        if (!l->is_over && l->worker >= 0) {
            worker_gone(s->workers[l->worker], l->conn, "the end of the process", s->now_ms);
        }
        l->worker = -1;
        l->is_over = true;
    }
}

static void free_process(struct sim *s)
{
    for (unsigned i = 0; i < SIM_WORKERS_MAX; i++) {
        s->workers[i] = worker_free(s->workers[i]);
        s->n_spilled += s->counters[i].spilled;
        s->n_read_back += s->counters[i].read_back;
    }
    empty_rings(s);
    while (s->n_readings > 0) {
        reading_free(s->readings[--s->n_readings]);
    }
    for (size_t i = 0; i < s->n_questions; i++) {
        verified_free(s->questions[i]);
    }
    s->n_questions = 0;
    s->directory = directory_free(s->directory);
    s->store = log_free(s->store);
    s->keyring = keyring_free(s->keyring);
}

static void cut_links(struct sim *s)
{
    bool arrives = sim_chance(s, 50);
    for (unsigned i = 0; i < s->n_links; i++) {
        struct sim_link *l = s->links[i];
        if (!l->is_cut && arrives) {
            sim_link_receive(s, l, l->down.n);
        }
        if (!l->is_cut) {
            sim_link_cut(s, l);
        }
    }
}

void sim_end(struct sim *s, enum sim_end how)
{
    static const char *const words[] = {"the power fails", "the process is killed",
                                        "the process stops in order"};
    sim_say(s, "sim", "%s", words[how]);
    s->crashed_at = s->tick;
    sim_trouble_end(s);
    if (how == SIM_STOPPED && s->store != NULL) {
        uint64_t moved;
        enum err err = log_commit(s->store, &moved);
        (void)err; /* what it did is seen in the journals' positions */
    } else {
        sim_disk_stop(s->disk);
    }
    sim_log_die(s->log);
    end_links(s);
    free_process(s);
    sim_disk_stop(s->disk);
    if (how == SIM_POWER_CUT) {
        sim_disk_cut(s->disk);
    }
    cut_links(s);
}
