/* The service thread and the verify pool: one change at a time, told to every worker through its
 * ring. */
#include "sim.h"

const struct sim_state *sim_state_of_worker(const struct sim *s, unsigned worker)
{
    uint64_t epoch = worker_realm_epoch(s->workers[worker]);
    for (unsigned i = s->n_states; i > 0; i--) {
        if (s->states[i - 1].epoch == epoch) {
            return &s->states[i - 1];
        }
    }
    return NULL;
}

unsigned sim_oldest_state(const struct sim *s)
{
    unsigned oldest = s->n_states - 1;
    for (unsigned i = 0; i < s->knobs.n_workers; i++) {
        const struct sim_state *st = sim_state_of_worker(s, i);
        unsigned at = st != NULL ? (unsigned)(st - s->states) : 0;
        oldest = at < oldest ? at : oldest;
    }
    return oldest;
}

/* The directory has changed, or the policy: a new realm, which the workers are still to be told. */
void sim_state_push(struct sim *s, unsigned policy)
{
    struct sim_state *st = &s->states[s->n_states];
    struct sim_state fresh = {0};
    for (unsigned i = 0; s->n_states == 0 && i < SIM_PRINCIPALS_MAX; i++) {
        fresh.is_active[i] = true;
    }
    *st = s->n_states > 0 ? s->states[s->n_states - 1] : fresh;
    st->policy = policy;
    for (unsigned i = 0; i < s->knobs.n_principals; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "p%u", i);
        const struct directory_version *v = directory_current(s->directory);
        const struct directory_entry *e = directory_find(v, slice_text(name));
        st->is_gone[i] = e == NULL;
        st->is_active[i] = e != NULL && e->principal->status == PRINCIPAL_ACTIVE;
        directory_version_unref(v);
    }
    const struct directory_version *v = directory_current(s->directory);
    realm_unref(s->realm);
    s->realm = NULL;
    if (realm_new(v, s->built[policy], &s->realm) != OK) {
        sim_fail(s, "-", "no memory for a realm");
    } else {
        st->epoch = s->realm->epoch;
        s->n_states++;
        s->n_untold = s->knobs.n_workers;
    }
    directory_version_unref(v);
}

bool sim_service_is_busy(const struct sim *s)
{
    bool busy = s->n_untold > 0;
    for (unsigned i = 0; i < s->knobs.n_workers; i++) {
        busy = busy || worker_realm_epoch(s->workers[i]) != s->realm->epoch;
    }
    return busy;
}

void sim_service_tell(struct sim *s)
{
    if (s->n_untold == 0) {
        return;
    }
    unsigned to = s->knobs.n_workers - s->n_untold;
    struct wmsg m = {.kind = WMSG_REALM, .realm = realm_ref(s->realm)};
    if (ring_push(s->from[to][s->knobs.n_workers], &m) != OK) {
        realm_unref(s->realm);
        return;
    }
    s->n_untold--;
    sim_say(s, "service", "tells worker %u epoch %llu", to, (unsigned long long)s->realm->epoch);
}

static enum err change_principal(struct sim *s, const char *name, unsigned principal)
{
    const struct sim_state *now = &s->states[s->n_states - 1];
    if (now->is_gone[principal]) {
        return ERR_NOT_FOUND;
    }
    if (!now->is_active[principal]) {
        sim_say(s, "service", "enables %s", name);
        return directory_enable(s->directory, slice_text(name), NULL);
    }
    if (sim_chance(s, 25)) {
        sim_say(s, "service", "removes %s", name);
        return directory_remove(s->directory, slice_text(name));
    }
    sim_say(s, "service", "disables %s", name);
    return directory_disable(s->directory, slice_text(name), slice_text("simulated"));
}

void sim_service_act(struct sim *s)
{
    if (sim_service_is_busy(s) || s->n_states == SIM_STATES_MAX - 2 ||
        !s->knobs.has_policy_changes) {
        return;
    }
    unsigned policy = s->states[s->n_states - 1].policy;
    enum err err;
    if (sim_chance(s, 60)) {
        uint64_t epoch;
        policy = sim_below(s, SIM_POLICIES);
        sim_say(s, "service", "applies policy %u", policy);
        err = directory_policy_changed(s->directory, &epoch);
    } else {
        char name[16];
        unsigned principal = sim_below(s, s->knobs.n_principals);
        (void)snprintf(name, sizeof(name), "p%u", principal);
        err = change_principal(s, name, principal);
    }
    if (err == ERR_NOT_FOUND) {
        return;
    }
    sim_trouble_tend(s);
    /* A service thread waits for a log that lags; in one thread it would wait for itself. */
    bool is_behind = err == ERR_SPACE && s->knobs.has_stalls;
    if (is_behind || (err != OK && sim_had_trouble(s, s->tick))) {
        sim_say(s, "service", "the change is refused: %s", err_name(err));
        return;
    }
    if (err != OK) {
        sim_fail(s, "10", "the directory refused a change: %s", err_name(err));
        return;
    }
    sim_state_push(s, policy);
    model_state_pushed(s);
}

/* Before the end: everybody who is left may come back and take what waits. */
bool sim_service_enable_all(struct sim *s)
{
    const struct sim_state *now = &s->states[s->n_states - 1];
    bool changed = false, is_done = true;
    for (unsigned i = 0; i < s->knobs.n_principals; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "p%u", i);
        if (!now->is_gone[i] && !now->is_active[i]) {
            bool ok = directory_enable(s->directory, slice_text(name), NULL) == OK;
            changed = ok || changed;
            is_done = is_done && ok;
        }
    }
    if (changed) {
        sim_say(s, "service", "enables everybody");
        sim_state_push(s, now->policy);
        model_state_pushed(s);
    }
    return is_done;
}
