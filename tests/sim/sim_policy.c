#include "sim_policy.h"
#include "base/random.h"

static const char *const topics[SIM_TOPICS] = {"a/1", "a/22", "b/1", "b/2/x", "count", "a"};
static const char *const filters[SIM_FILTERS] = {
    "a/1",   "a/+",   "a/#",          "b/#",        "+/1",           "#",
    "count", "b/2/x", "$share/g/a/#", "$share/h/#", "$share/g/b/2/x"};

const char *sim_topic(unsigned i)
{
    return topics[i];
}

const char *sim_filter(unsigned i)
{
    return filters[i];
}

unsigned sim_topic_find(struct slice topic)
{
    unsigned i = 0;
    while (i < SIM_TOPICS && !slice_is(topic, topics[i])) {
        i++;
    }
    return i;
}

unsigned sim_filter_find(struct slice filter)
{
    unsigned i = 0;
    while (i < SIM_FILTERS && !slice_is(filter, filters[i])) {
        i++;
    }
    return i;
}

/* Does the filter `wide` hold everything that `narrow` (a filter or a topic) can match? */
static bool holds(struct slice wide, struct slice narrow)
{
    bool more_wide = true, more_narrow = true;
    while (more_wide && more_narrow) {
        struct slice w = slice_cut(&wide, '/', &more_wide);
        if (slice_is(w, "#")) {
            return true;
        }
        struct slice n = slice_cut(&narrow, '/', &more_narrow);
        bool same = slice_is(w, "+") ? !slice_is(n, "#") : slice_equal(w, n);
        if (!same) {
            return false;
        }
    }
    /* "a/#" also holds "a" */
    return !more_narrow && (!more_wide || slice_is(wide, "#"));
}

/* Without `$share/` and the name of the group. */
static struct slice inner(unsigned filter)
{
    struct slice f = slice_text(filters[filter]);
    bool more = true;
    if (filter >= SIM_PLAIN) {
        (void)slice_cut(&f, '/', &more);
        (void)slice_cut(&f, '/', &more);
    }
    return f;
}

bool sim_matches(unsigned filter, unsigned topic)
{
    return holds(inner(filter), slice_text(topics[topic]));
}

bool sim_may_publish(const struct sim_policy *p, unsigned role, unsigned topic, uint8_t qos,
                     bool retain)
{
    for (unsigned i = 0; i < SIM_GRANTS; i++) {
        const struct sim_grant *g = &p->roles[role].publish[i];
        if (g->filter < SIM_PLAIN && sim_matches(g->filter, topic) && qos <= g->qos &&
            (!retain || g->retain)) {
            return true;
        }
    }
    return false;
}

static bool covered(const struct sim_policy *p, unsigned role, struct slice text)
{
    for (unsigned i = 0; i < SIM_GRANTS; i++) {
        const struct sim_grant *g = &p->roles[role].subscribe[i];
        if (g->filter < SIM_PLAIN && holds(inner(g->filter), text)) {
            return true;
        }
    }
    return false;
}

bool sim_may_subscribe(const struct sim_policy *p, unsigned role, unsigned filter)
{
    return covered(p, role, inner(filter));
}

bool sim_may_hear(const struct sim_policy *p, unsigned role, unsigned topic)
{
    return covered(p, role, slice_text(topics[topic]));
}

void sim_policy_make(struct sim_policy *p, unsigned index, const struct random_source *random)
{
    for (unsigned role = 0; role < SIM_ROLES; role++) {
        bool is_full = index == 0 || random_below(random, 100) < 40;
        for (unsigned i = 0; i < SIM_GRANTS; i++) {
            struct sim_grant *pub = &p->roles[role].publish[i];
            struct sim_grant *sub = &p->roles[role].subscribe[i];
            pub->filter = is_full ? 5 : (uint8_t)random_below(random, SIM_PLAIN + 1);
            sub->filter = is_full ? 5 : (uint8_t)random_below(random, SIM_PLAIN + 1);
            pub->qos = is_full ? 2 : (uint8_t)random_below(random, 3);
            pub->retain = is_full || random_below(random, 2) == 0;
        }
    }
}

static enum err role_fill(struct role *r, const struct sim_role *from)
{
    TRY(role_set_client_id(r, slice_text("*")));
    for (unsigned i = 0; i < SIM_GRANTS; i++) {
        const struct sim_grant *pub = &from->publish[i], *sub = &from->subscribe[i];
        if (pub->filter < SIM_PLAIN) {
            TRY(role_add_topic(r, POLICY_PUBLISH, slice_text(filters[pub->filter]), pub->retain,
                               pub->qos, 1));
        }
        if (sub->filter < SIM_PLAIN) {
            TRY(role_add_topic(r, POLICY_SUBSCRIBE, slice_text(filters[sub->filter]), false, 0, 1));
        }
    }
    return OK;
}

const struct policy *sim_policy_build(const struct sim_policy *p, const struct role_limits *limits)
{
    static const char *const names[SIM_ROLES] = {"r0", "r1", "r2"};
    struct policy *built = NULL;
    enum err err = policy_new(&built);
    for (unsigned i = 0; err == OK && i < SIM_ROLES; i++) {
        struct role *r = NULL;
        err = policy_add_role(built, slice_text(names[i]), &r);
        if (err == OK) {
            *role_limits(r) = *limits;
            role_set_many(r, i == 1);
            err = role_fill(r, &p->roles[i]);
        }
    }
    return err == OK ? built : policy_unref(built);
}
