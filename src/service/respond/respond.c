#include "base/mem.h"
#include "service/respond/respond_private.h"

/* Who was answered by rule, and when: for the hour. */
struct recent {
    uint64_t principal;
    int64_t at_wall_ms; /* 0: a free row */
};

struct respond {
    struct respond_rules rules;
    struct respond_row running[RESPOND_RUNNING_MAX];
    size_t n_running;
    struct respond_trial trials[RESPOND_TRIALS_MAX];
    struct recent recent[RESPOND_PER_HOUR_MAX];
    struct respond_counts counts; /* but running */
};

enum err respond_new(struct respond **ret)
{
    struct respond *r = mem_zalloc(sizeof *r);
    if (r == NULL) {
        return ERR_NOMEM;
    }
    respond_rules_preset(&r->rules);
    *ret = r;
    return OK;
}

struct respond *respond_free(struct respond *r)
{
    return mem_free(r);
}

void respond_set_rules(struct respond *r, const struct respond_rules *rules)
{
    r->rules = *rules;
}

const struct respond_rules *respond_rules(const struct respond *r)
{
    return &r->rules;
}

/* ---- the hour ---- */

/* A clock that went back leaves rows of a time to come: they count until it is over. */
static bool is_recent(const struct recent *x, int64_t now_wall_ms)
{
    return x->at_wall_ms != 0 && x->at_wall_ms > now_wall_ms - RESPOND_HOUR_MS;
}

/* The row of this principal, else a free one; NULL: as many others as may be. */
static struct recent *recent_row(struct respond *r, uint64_t principal, int64_t now_wall_ms)
{
    struct recent *free_one = NULL;
    uint32_t n = 0;
    for (size_t i = 0; i < RESPOND_PER_HOUR_MAX; i++) {
        struct recent *x = &r->recent[i];
        if (!is_recent(x, now_wall_ms)) {
            free_one = x;
        } else if (x->principal == principal) {
            return x;
        } else {
            n++;
        }
    }
    return n < r->rules.per_hour ? free_one : NULL;
}

static bool note_recent(struct respond *r, uint64_t principal, int64_t at_wall_ms,
                        int64_t now_wall_ms)
{
    struct recent *x = recent_row(r, principal, now_wall_ms);
    if (x == NULL) {
        return false;
    }
    *x = (struct recent){principal, at_wall_ms};
    return true;
}

/* ---- dry runs ---- */

static struct respond_trial *trial_row(struct respond *r, uint64_t principal, const char *rule)
{
    struct respond_trial *oldest = &r->trials[0];
    for (size_t i = 0; i < RESPOND_TRIALS_MAX; i++) {
        struct respond_trial *t = &r->trials[i];
        if (t->count > 0 && t->principal == principal && strcmp(t->rule, rule) == 0) {
            return t;
        }
        bool is_older = t->count == 0 || t->last_wall_ms < oldest->last_wall_ms;
        oldest = oldest->count > 0 && is_older ? t : oldest;
    }
    *oldest = (struct respond_trial){.principal = principal};
    return oldest;
}

static uint64_t note_trial(struct respond *r, const struct respond_rule *rule,
                           const struct respond_finding *f, int64_t now_wall_ms)
{
    struct respond_trial *t = trial_row(r, f->id, rule->name);
    memcpy(t->rule, rule->name, sizeof t->rule);
    t->first_wall_ms = t->count == 0 ? now_wall_ms : t->first_wall_ms;
    t->last_wall_ms = now_wall_ms;
    t->detector = f->detector;
    t->answer = rule->answer;
    r->counts.trials++;
    return ++t->count;
}

/* ---- the question ---- */

static int64_t end_of(const struct respond_rule *rule, int64_t now_wall_ms)
{
    return rule->for_s == 0 ? DIRECTORY_ANSWER_STAYS : now_wall_ms + (int64_t)rule->for_s * 1000;
}

/* Something as strong runs already, and as long. */
static bool is_done(const struct respond *r, const struct respond_rule *rule, uint64_t principal,
                    int64_t now_wall_ms)
{
    for (size_t i = 0; i < r->n_running; i++) {
        const struct respond_row *x = &r->running[i];
        bool is_longer = x->until_wall_ms >= end_of(rule, now_wall_ms);
        if (x->principal == principal &&
            (x->answer > rule->answer || (x->answer == rule->answer && is_longer))) {
            return true;
        }
    }
    return false;
}

static bool runs(const struct respond *r, const struct respond_rule *rule, uint64_t principal)
{
    for (size_t i = 0; i < r->n_running; i++) {
        if (r->running[i].principal == principal && r->running[i].answer == rule->answer) {
            return true;
        }
    }
    return false;
}

static enum respond_kind enforce(struct respond *r, const struct respond_rule *rule,
                                 const struct respond_finding *f, int64_t now_wall_ms)
{
    if (is_done(r, rule, f->id, now_wall_ms)) {
        return RESPOND_NOTHING;
    }
    if (respond_excepts(&r->rules, f)) {
        r->counts.exempt++;
        return RESPOND_EXEMPT;
    }
    if (r->n_running == RESPOND_RUNNING_MAX && !runs(r, rule, f->id)) {
        r->counts.capped++;
        return RESPOND_FULL;
    }
    if (!note_recent(r, f->id, now_wall_ms, now_wall_ms)) {
        r->counts.capped++;
        return RESPOND_CAPPED;
    }
    return RESPOND_START;
}

static struct respond_verdict verdict(const struct respond_rule *rule, enum respond_kind kind)
{
    return (struct respond_verdict){
        .kind = kind, .answer = rule->answer, .for_s = rule->for_s, .by = rule};
}

size_t respond_ask(struct respond *r, const struct respond_finding *f, int64_t now_wall_ms,
                   struct respond_verdict ret[RESPOND_VERDICTS])
{
    size_t n = 0;
    if (f->id == 0) {
        return 0;
    }
    const struct respond_rule *rule = respond_rule_for(&r->rules, f, true);
    const struct respond_rule *dry = respond_rule_for(&r->rules, f, false);
    if (rule != NULL && rule->answer != ANSWER_ALERT) {
        enum respond_kind kind = enforce(r, rule, f, now_wall_ms);
        if (kind != RESPOND_NOTHING) {
            ret[n++] = verdict(rule, kind);
        }
    }
    if (dry != NULL && dry->answer != ANSWER_ALERT && respond_is_more(dry, rule) &&
        !respond_excepts(&r->rules, f)) {
        ret[n] = verdict(dry, RESPOND_TRIAL);
        ret[n++].count = note_trial(r, dry, f, now_wall_ms);
    }
    return n;
}

/* ---- what runs ---- */

static struct respond_row *find(struct respond *r, uint64_t id)
{
    for (size_t i = 0; i < r->n_running; i++) {
        if (r->running[i].id == id) {
            return &r->running[i];
        }
    }
    return NULL;
}

enum err respond_began(struct respond *r, const struct respond_row *row)
{
    struct respond_row *place = find(r, row->id);
    if (place == NULL && r->n_running == RESPOND_RUNNING_MAX) {
        return ERR_LIMIT;
    }
    if (place == NULL) {
        place = &r->running[r->n_running++];
        r->counts.started[row->answer]++;
    }
    *place = *row;
    if (row->is_by_rule) { /* after a restart, too */
        (void)note_recent(r, row->principal, row->since_wall_ms, row->since_wall_ms);
    }
    return OK;
}

void respond_restarted(struct respond *r)
{
    memset(r->counts.started, 0, sizeof r->counts.started);
}

bool respond_ended(struct respond *r, uint64_t id)
{
    struct respond_row *x = find(r, id);
    if (x == NULL) {
        return false;
    }
    size_t behind = (size_t)(r->running + r->n_running - (x + 1));
    memmove(x, x + 1, behind * sizeof *x);
    r->n_running--;
    return true;
}

const struct respond_row *respond_find(const struct respond *r, uint64_t id)
{
    size_t at = 0;
    const struct respond_row *x = respond_each(r, &at);
    while (x != NULL && x->id != id) {
        x = respond_each(r, &at);
    }
    return x;
}

const struct respond_row *respond_due(const struct respond *r, int64_t now_wall_ms)
{
    size_t at = 0;
    const struct respond_row *x = respond_each(r, &at);
    while (x != NULL && x->until_wall_ms > now_wall_ms) {
        x = respond_each(r, &at);
    }
    return x;
}

int64_t respond_next_end(const struct respond *r)
{
    int64_t next = INT64_MAX;
    for (size_t i = 0; i < r->n_running; i++) {
        next = r->running[i].until_wall_ms < next ? r->running[i].until_wall_ms : next;
    }
    return next;
}

const struct respond_row *respond_each(const struct respond *r, size_t *at)
{
    return *at < r->n_running ? &r->running[(*at)++] : NULL;
}

const struct respond_trial *respond_trials(const struct respond *r, size_t *at)
{
    while (*at < RESPOND_TRIALS_MAX) {
        const struct respond_trial *t = &r->trials[(*at)++];
        if (t->count > 0) {
            return t;
        }
    }
    return NULL;
}

void respond_counts(const struct respond *r, struct respond_counts *ret)
{
    *ret = r->counts;
    memset(ret->running, 0, sizeof ret->running);
    for (size_t i = 0; i < r->n_running; i++) {
        ret->running[r->running[i].answer]++;
    }
}
