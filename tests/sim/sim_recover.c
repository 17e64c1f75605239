/* The reference model after a crash: which session of each client is the one that came back. */
#include "sim.h"

/* Everything the model knew of it is open: it may have any subscription, and had anything. */
static void make_vague(struct sim *s, struct sim_session *t)
{
    model_session_reset(s, t);
    t->is_vague = true;
    for (unsigned f = 0; f < SIM_FILTERS; f++) {
        t->subs[f].possible_until = UINT64_MAX;
    }
}

static void recover(struct sim *s, unsigned client, const struct survey_session *found)
{
    struct sim_session *t = &s->model.sessions[client];
    struct sim_session *former = &s->model.former[client];
    t->link = NULL;
    share_crashed(t);
    if (t->asleep_at == 0) {
        t->asleep_at = s->crashed_at;
    }
    if (found == NULL) {
        t->exists = false;
        t->will = -1;
        t->is_will_due = false;
        return;
    }
    if (found->id != t->sid && found->id == former->sid) {
        share_session_over(s, t);
        *t = *former;
        share_crashed(t);
        t->link = NULL;
    } else if (found->id != t->sid) {
        make_vague(s, t);
        t->sid = found->id;
    }
    /* A session that ends with its connection has ended by now, or does so soon. Whether a change
     * of its expiry was on record cannot be seen here. */
    t->is_vague = t->is_vague || found->expiry_s == 0 || !t->is_durable;
    t->exists = true;
    t->is_durable = true;
    t->expiry_s = found->expiry_s;
    will_recovered(s, t, found);
    sim_say(s, "model", "client %u has session %llu%s", client, (unsigned long long)t->sid,
            t->is_vague ? ", or not" : "");
}

void model_crashed(struct sim *s, const struct sim_survey *found)
{
    for (unsigned i = 0; i < s->knobs.n_clients; i++) {
        recover(s, i, sim_survey_session(found, i));
        if (s->states[s->n_states - 1].is_gone[s->clients[i].principal]) {
            s->model.sessions[i].exists = false;
        }
    }
    share_process_over(s);
}

/* What a removed principal said cannot be read after a restart, not even that it had replaced what
 * somebody else said before. */
bool model_has_erased(const struct sim *s, unsigned topic)
{
    const struct sim_state *st = &s->states[s->n_states - 1];
    for (size_t i = 0; i < s->model.n_pubs; i++) {
        const struct sim_pub *p = &s->model.pubs[i];
        if (p->topic == topic && p->retain && st->is_gone[s->clients[p->client].principal]) {
            return s->crashed_at > 0;
        }
    }
    return false;
}
