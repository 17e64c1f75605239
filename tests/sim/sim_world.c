/* The steps of a seed: who acts next, until nobody does. */
#include "sim.h"

enum { SETTLE_ROUNDS_MAX = 3000, QUIET_ROUNDS = 4, STALLS = 60 /* in ten thousand steps */ };

static void turn(struct sim *s, unsigned i)
{
    struct worker *w = s->workers[i];
    sim_say(s, "worker", "%u: turn", i);
    s->turned_ms[i] = s->now_ms;
    sim_memory_begin(s);
    worker_turn(w, s->now_ms, s->wall_ms);
    sim_memory_end(s);
    for (unsigned at = 0; at < s->n_links; at++) {
        if (s->links[at]->is_held && s->links[at]->worker == (int)i) {
            model_held(s, s->links[at]);
        }
    }
    uint64_t conn;
    while (!s->has_failed && (conn = worker_next_dirty(w)) != 0) {
        struct sim_link *l = worker_transport(w, conn);
        if (l == NULL || l->conn != conn || l->worker != (int)i) {
            sim_fail(s, "2", "worker %u calls a connection dirty that is not its own", i);
            return;
        }
        sim_link_pump(s, l);
    }
    (void)worker_take_wakes(w);
}

/* Worker 0 lags behind the others in some seeds: what is said to it comes late. */
static void turn_one(struct sim *s)
{
    unsigned i = sim_below(s, s->knobs.n_workers);
    if (!s->knobs.has_laggard || i > 0 || sim_chance(s, 20)) {
        turn(s, i);
    }
}

/* Every other seed's log waits for acknowledgements. */
static void commit(struct sim *s, bool is_patient)
{
    uint64_t moved = 0;
    sim_trouble_note(s); /* for it may be over after this */
    enum err err = is_patient ? log_commit_due(s->store, &moved) : log_commit(s->store, &moved);
    s->is_trouble_news = s->is_trouble_news && err != OK;
    if (err != ERR_AGAIN) {
        sim_say(s, "log", "commit: %s, moved %llx", err_name(err), (unsigned long long)moved);
    }
    sim_trouble_tend(s);
}

static uint64_t tend(struct sim *s)
{
    uint64_t at_ms = UINT64_MAX;
    log_tend(s->store, s->now_ms, &at_ms);
    sim_trouble_tend(s);
    return at_ms;
}

static bool has_uncommitted(const struct sim *s)
{
    bool has = false;
    for (unsigned i = 0; i < s->knobs.n_workers; i++) {
        has = has || worker_has_uncommitted(s->workers[i]);
    }
    return has;
}

/* The clock of the next life may be wrong by an hour. */
static void crash(struct sim *s)
{
    sim_stall_end(s);
    sim_end(s, (enum sim_end)sim_below(s, 3));
    s->now_ms = sim_chance(s, 50) ? s->now_ms + sim_below(s, 5000) : 1000 + sim_below(s, 5000);
    s->wall_ms += sim_chance(s, 70) ? sim_below(s, 5000) : (int64_t)sim_below(s, 7200000) - 3600000;
    if (!s->has_failed) {
        sim_start(s);
    }
}

/* What happens seldom, and to everybody. */
static void fate(struct sim *s)
{
    if (sim_below(s, 10000) < s->knobs.crashes) {
        crash(s);
    } else if (s->knobs.has_stalls && !sim_is_stalled(s) && sim_below(s, 10000) < STALLS) {
        sim_stall_begin(s);
    } else if (sim_below(s, 10000) < s->knobs.troubles) {
        if (sim_chance(s, 70)) {
            sim_trouble_begin(s);
        } else {
            s->memory_steps = 1 + sim_below(s, 20);
            sim_say(s, "memory", "ends for %u calls", s->memory_steps);
        }
    }
}

static void verify_one(struct sim *s)
{
    if (s->n_questions == 0) {
        return;
    }
    struct verified *v = s->questions[0];
    verified_check(v, s->wall_ms);
    struct wmsg m = {.kind = WMSG_VERIFIED, .verified = v};
    if (ring_push(s->from[v->worker][s->knobs.n_workers + 1], &m) != OK) {
        return;
    }
    sim_say(s, "verify", "answers worker %u: %s", v->worker, err_name(v->result));
    s->n_questions--;
    memmove(s->questions, s->questions + 1, s->n_questions * sizeof(s->questions[0]));
}

/* The log answers the oldest question, or says that it is short of something. */
static void read_one(struct sim *s)
{
    if (s->n_readings == 0) {
        return;
    }
    struct reading *r = s->readings[0];
    struct wmsg m = {.kind = WMSG_BODY, .reading = r};
    sim_memory_begin(s);
    reading_do(r, s->store);
    sim_memory_end(s);
    sim_say(s, "log", "body %llx for worker %u: %s", (unsigned long long)r->husk->body_id,
            r->worker, err_name(r->result));
    s->n_readings--;
    memmove(s->readings, s->readings + 1, s->n_readings * sizeof(s->readings[0]));
    if (ring_push(s->from[r->worker][s->knobs.n_workers + 2], &m) != OK) {
        sim_fail(s, "11", "worker %u waits for more bodies than its ring takes", r->worker);
        reading_free(r);
    }
}

static void step_time(struct sim *s, unsigned ms)
{
    s->now_ms += ms;
    s->wall_ms += ms;
}

/* A link that is alive in any sense, drawn; NULL: none. */
static struct sim_link *any_link(struct sim *s)
{
    struct sim_link *found = NULL;
    unsigned n = 0;
    for (unsigned i = 0; i < s->n_links; i++) {
        struct sim_link *l = s->links[i];
        if (l->is_cut && l->is_over) {
            continue;
        }
        n++;
        if (sim_below(s, n) == 0) {
            found = l;
        }
    }
    return found;
}

static void link_act(struct sim *s)
{
    struct sim_link *l = any_link(s);
    if (l == NULL) {
        return;
    }
    if (l->is_cut) {
        sim_link_reap(s, l);
        return;
    }
    switch (sim_below(s, 8)) {
    case 0:
    case 1:
    case 2:
        if (l->up.n > 0 && l->worker >= 0 && worker_wants_input(s->workers[l->worker], l->conn)) {
            sim_link_feed(s, l, sim_chance(s, 60) ? l->up.n : 1 + sim_below(s, (unsigned)l->up.n));
        }
        break;
    case 3:
    case 4:
    case 5:
        if (l->down.n > 0 || l->is_over) {
            sim_link_receive(s, l,
                             sim_chance(s, 60) || l->down.n == 0
                                 ? l->down.n
                                 : 1 + sim_below(s, (unsigned)l->down.n));
        }
        break;
    case 6:
        l->is_blocked = sim_chance(s, 30) && !s->is_settling;
        break;
    default:
        sim_link_pump(s, l);
        break;
    }
}

static void step(struct sim *s)
{
    fate(s);
    if (s->has_failed) {
        return;
    }
    unsigned dice = sim_below(s, 100);
    bool is_stalled = sim_is_stalled(s);
    if (is_stalled && ((dice >= 84 && dice < 90) || dice == 99)) {
        return; /* nobody's turn that needs the disk comes */
    }
    if (dice < 28) {
        sim_client_act(s, &s->clients[sim_below(s, s->knobs.n_clients)]);
    } else if (dice < 65) {
        link_act(s);
    } else if (dice < 84) {
        turn_one(s);
    } else if (dice < 89) {
        commit(s, s->seed % 2 == 1);
        if (s->knobs.has_spill && sim_chance(s, 60)) {
            read_one(s);
        }
    } else if (dice < 90) {
        (void)tend(s);
    } else if (dice < 93) {
        verify_one(s);
    } else if (dice < 97) {
        step_time(s, sim_chance(s, 90) ? sim_below(s, 30) : sim_below(s, 3000));
    } else if (dice < 99) {
        sim_service_tell(s);
    } else {
        sim_service_act(s);
    }
}

/* ---- the dust settles ---- */

static bool round_links(struct sim *s)
{
    bool busy = false;
    for (unsigned i = 0; i < s->n_links && !s->has_failed; i++) {
        struct sim_link *l = s->links[i];
        l->is_blocked = false;
        sim_link_reap(s, l);
        if (l->up.n > 0 && l->worker >= 0 && !l->is_cut &&
            worker_wants_input(s->workers[l->worker], l->conn)) {
            sim_link_feed(s, l, l->up.n);
            busy = true;
        }
        sim_link_pump(s, l);
        if (l->down.n > 0 || (l->is_over && !l->is_cut)) {
            sim_link_receive(s, l, l->down.n);
            busy = true;
        }
        busy = busy || (l->up.n > 0 && !l->is_cut);
    }
    return busy;
}

static bool round_rest(struct sim *s)
{
    bool busy = s->n_questions > 0 || s->n_readings > 0 || sim_service_is_busy(s);
    verify_one(s);
    while (s->n_readings > 0 && !s->has_failed) {
        read_one(s);
    }
    sim_service_tell(s);
    busy = busy || has_uncommitted(s);
    commit(s, false);
    busy = tend(s) <= s->now_ms || busy;
    for (unsigned i = 0; i < s->knobs.n_workers && !s->has_failed; i++) {
        turn(s, i);
        busy = busy || worker_is_replaying(s->workers[i]) || worker_is_reading(s->workers[i]);
    }
    for (unsigned to = 0; to < s->knobs.n_workers; to++) {
        for (unsigned from = 0; from < s->knobs.n_workers + 3; from++) {
            busy = busy || (s->from[to][from] != NULL && ring_count(s->from[to][from]) > 0);
        }
    }
    for (unsigned i = 0; i < s->knobs.n_clients && !s->has_failed; i++) {
        struct sim_client *c = &s->clients[i];
        bool is_gone = s->states[s->n_states - 1].is_gone[c->principal];
        if (c->link == NULL && !is_gone) {
            sim_client_connect(s, c, false);
            busy = true;
        }
        while (sim_client_reply(s, c)) {
            busy = true;
        }
        busy = busy || (c->link != NULL && c->n_flights > 0);
    }
    return busy;
}

static void fail_restless(struct sim *s)
{
    for (unsigned i = 0; i < s->knobs.n_clients; i++) {
        const struct sim_client *c = &s->clients[i];
        if (c->n_flights > 0 && c->link != NULL) {
            sim_fail(s, "7", "client %u, link %u: m%u, id %u (%s) is never acknowledged", i,
                     c->link->id, c->flights[0].pub, c->flights[0].packet_id,
                     c->flights[0].is_released ? "PUBREL" : "PUBLISH");
        }
    }
    for (unsigned i = 0; i < s->n_links; i++) {
        const struct sim_link *l = s->links[i];
        if (!l->is_cut && l->up.n > 0) {
            sim_fail(s, "-",
                     "it does not come to rest: worker %d leaves %zu bytes on link %u unread",
                     l->worker, l->up.n, l->id);
        }
    }
    struct log_status status;
    log_status(s->store, &status);
    bool is_tended = tend(s) > s->now_ms;
    sim_fail(
        s, "-",
        "it does not come to rest: %zu questions, service %s, records %s, log %s in state %d: %u "
        "segments, %llu of %llu bytes living",
        s->n_questions, sim_service_is_busy(s) ? "busy" : "idle",
        has_uncommitted(s) ? "wait" : "committed", is_tended ? "idle" : "busy", (int)status.state,
        status.segments, (unsigned long long)status.living_bytes, (unsigned long long)status.bytes);
}

static void settle(struct sim *s)
{
    s->is_settling = true;
    sim_trouble_end(s);
    sim_stall_end(s);
    sim_say(s, "sim", "the dust settles");
    if (s->knobs.crashes > 0 && sim_chance(s, 50)) {
        crash(s);
    }
    unsigned quiet = 0, rounds = 0;
    bool enabled = false;
    while (!s->has_failed && quiet < QUIET_ROUNDS) {
        bool busy = round_links(s);
        busy = round_rest(s) || busy;
        if (!enabled && !sim_service_is_busy(s)) {
            enabled = sim_service_enable_all(s);
            busy = true;
        }
        step_time(s, 20);
        quiet = busy ? 0 : quiet + 1;
        rounds++;
        if (rounds == SETTLE_ROUNDS_MAX) {
            fail_restless(s);
        }
    }
}

bool sim_run(struct sim *s)
{
    sim_setup(s);
    for (unsigned i = 0; i < s->knobs.n_steps && !s->has_failed; i++) {
        step(s);
    }
    if (!s->has_failed) {
        settle(s);
    }
    if (!s->has_failed) {
        check_end(s);
    }
    sim_teardown(s);
    return !s->has_failed;
}
