#include "core/flow.h"

#include "base/mem.h"
#include "core/policy_private.h"
#include "core/topic.h"

struct flow {
    char from[PRINCIPAL_NAME_MAX + 1], to[PRINCIPAL_NAME_MAX + 1];
    uint32_t from_number, to_number;
    struct slice topics[FLOW_TOPICS_MAX]; /* checked filters; owned */
    size_t n_topics;
};

/* FNV-1a: the names are the operator's, so nobody chooses them to collide. */
uint32_t flow_segment(struct slice name)
{
    uint32_t hash = 2166136261U;
    for (size_t i = 0; i < name.n; i++) {
        hash = (hash ^ name.p[i]) * 16777619U;
    }
    return hash >= FLOW_SEGMENT_LEAST ? hash : hash + FLOW_SEGMENT_LEAST;
}

uint32_t flow_segment_of(const struct principal *p)
{
    return flow_segment(slice_text(principal_attr(p, slice_text(PRINCIPAL_SEGMENT))));
}

enum err policy_add_flow(struct policy *p, struct slice from, struct slice to, struct flow **ret)
{
    if (!principal_name_ok(from) || !principal_name_ok(to)) {
        return ERR_MALFORMED;
    }
    if (flow_segment(from) == flow_segment(to)) {
        return ERR_EXISTS;
    }
    if (p->n_flows >= POLICY_FLOWS_MAX) {
        return ERR_LIMIT;
    }
    struct flow **flows =
        policy_array_room(p->flows, p->n_flows, sizeof(struct flow *), &p->flows_cap);
    if (flows == NULL) {
        return ERR_NOMEM;
    }
    p->flows = flows;
    struct flow *f = mem_zalloc(sizeof *f);
    if (f == NULL) {
        return ERR_NOMEM;
    }
    memcpy(f->from, from.p, from.n);
    memcpy(f->to, to.p, to.n);
    f->from_number = flow_segment(from);
    f->to_number = flow_segment(to);
    p->flows[p->n_flows++] = f;
    *ret = f;
    return OK;
}

enum err flow_add_topic(struct flow *f, struct slice filter)
{
    const struct topic_limits limits = {.bytes = UINT16_MAX, .levels = POLICY_LEVELS_MAX};
    struct slice group, rest;
    if (f->n_topics >= FLOW_TOPICS_MAX) {
        return ERR_LIMIT;
    }
    enum err err = topic_filter_check(filter, &limits);
    if (err == OK && topic_share_split(filter, &group, &rest)) {
        err = ERR_MALFORMED;
    }
    if (err != OK) {
        return err == ERR_TOO_LARGE || err == ERR_LIMIT ? ERR_LIMIT : ERR_MALFORMED;
    }
    TRY(policy_text_copy(filter, &f->topics[f->n_topics]));
    f->n_topics++;
    return OK;
}

void policy_free_flows(struct policy *p)
{
    for (size_t i = 0; i < p->n_flows; i++) {
        for (size_t k = 0; k < p->flows[i]->n_topics; k++) {
            policy_text_free(p->flows[i]->topics[k]);
        }
        mem_free(p->flows[i]);
    }
    mem_free(p->flows);
}

bool policy_lets_flow(const struct policy *p, uint32_t from, uint32_t to, struct slice topic)
{
    if (from == to) {
        return true;
    }
    for (size_t i = 0; i < p->n_flows; i++) {
        const struct flow *f = p->flows[i];
        bool is_ours = f->from_number == from && f->to_number == to;
        for (size_t k = 0; is_ours && k < f->n_topics; k++) {
            if (topic_matches(f->topics[k], topic)) {
                return true;
            }
        }
    }
    return false;
}

void policy_each_flow(const struct policy *p,
                      void (*each)(void *ctx, const char *from, const char *to,
                                   struct slice filter),
                      void *ctx)
{
    for (size_t i = 0; i < p->n_flows; i++) {
        const struct flow *f = p->flows[i];
        for (size_t k = 0; k < f->n_topics; k++) {
            each(ctx, f->from, f->to, f->topics[k]);
        }
    }
}
