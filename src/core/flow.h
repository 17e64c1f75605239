/*
 * flow - segments, and what may pass from one to another.
 *
 * Who is in a segment hears what is published in it, as far as its grants go. What was published in
 * another one reaches it only by a flow of the policy; deny is the default.
 */
#ifndef CORE_FLOW_H
#define CORE_FLOW_H

#include "core/policy.h"

enum {
    POLICY_FLOWS_MAX = 64,
    FLOW_TOPICS_MAX = 32,
    FLOW_SEGMENT_LEAST = 256,
    FLOW_SEGMENT_NONE = 1
};

/* flow_segment - what messages carry instead of the name: a hash, the same in every run and
 * configuration. Never below FLOW_SEGMENT_LEAST. */
uint32_t flow_segment(struct slice name);
/* flow_segment_of - the number of a principal's segment: attribute `segment`, else SEGMENT_DEFAULT.
 */
uint32_t flow_segment_of(const struct principal *p);

struct flow;

/* policy_add_flow - nothing passes before flow_add_topic. *ret is borrowed from the policy.
 * ERR_MALFORMED: a name that no segment has; ERR_EXISTS: both are one segment (or two names with
 * one number); ERR_LIMIT: over POLICY_FLOWS_MAX; ERR_NOMEM. */
MUST_USE enum err policy_add_flow(struct policy *p, struct slice from, struct slice to,
                                  struct flow **ret);
/* flow_add_topic - a topic filter, without placeholders. ERR_MALFORMED, ERR_LIMIT (over
 * FLOW_TOPICS_MAX, or too long or deep), ERR_NOMEM. */
MUST_USE enum err flow_add_topic(struct flow *f, struct slice filter);

/* policy_lets_flow - may a message on this topic pass? Always within one segment. O(flows). */
bool policy_lets_flow(const struct policy *p, uint32_t from, uint32_t to, struct slice topic);
/* policy_each_flow - every topic filter of every flow, borrowed for the call; for listings. */
void policy_each_flow(const struct policy *p,
                      void (*each)(void *ctx, const char *from, const char *to,
                                   struct slice filter),
                      void *ctx);

#endif
