/* Lines of text: the first is an attribute's value, each further one a grant and, after a tab, a
 * question. What is allowed must be within the template with the value as one literal level, and
 * ${assigned} as the one device that is ours and active. */
#include <assert.h>

#include "base/scope.h"
#include "core/oracle_private.h"
#include "core/policy.h"
#include "core/topic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const struct topic_limits LIMITS = {.bytes = 1024, .levels = ORACLE_LEVELS_MAX};

/* d1 is ours; d2 is another's; d3 is ours and disabled. */
struct crowd {
    struct principal *all[3];
};

static const struct principal *by_name(void *ctx, struct slice name)
{
    const struct crowd *crowd = ctx;
    for (size_t i = 0; i < COUNT_OF(crowd->all); i++) {
        if (slice_is(name, crowd->all[i]->name)) {
            return crowd->all[i];
        }
    }
    return NULL;
}

static const struct principal *by_id(void *ctx, uint64_t id)
{
    (void)ctx;
    (void)id;
    return NULL;
}

static void crowd_make(struct crowd *crowd)
{
    static const char *const NAMES[] = {"d1", "d2", "d3"};
    for (size_t i = 0; i < COUNT_OF(crowd->all); i++) {
        enum err e =
            principal_new(i + 2, slice_text(NAMES[i]), slice_text("r"), NULL, 0, &crowd->all[i]);
        assert(e == OK);
        crowd->all[i]->gateway = i == 1 ? 9 : 1;
        crowd->all[i]->status = i == 2 ? PRINCIPAL_DISABLED : PRINCIPAL_ACTIVE;
    }
}

static void crowd_done(struct crowd *crowd)
{
    for (size_t i = 0; i < COUNT_OF(crowd->all); i++) {
        principal_unref(crowd->all[i]);
    }
}

/* Each level for ${assigned} is a device of ours, also in a filter. */
static bool is_ours(struct slice template, struct slice question)
{
    struct oracle_levels want = oracle_split(template), got = oracle_split(question);
    for (size_t i = 0; i < want.n; i++) {
        if (slice_is(want.at[i], "${assigned}") && (i >= got.n || !slice_is(got.at[i], "d1"))) {
            return false;
        }
    }
    return true;
}

/* Never parsed again: each level of the template must stand alone against its level of the topic.
 */
static bool may_mean(struct slice template, struct slice topic, const char *value)
{
    struct oracle_levels want = oracle_split(template), got = oracle_split(topic);
    for (size_t i = 0; i < want.n; i++) {
        if (slice_is(want.at[i], "#")) {
            return got.n >= i;
        }
        if (i >= got.n) {
            return false;
        }
        bool is_value = slice_is(want.at[i], "${v}");
        bool is_open =
            slice_is(want.at[i], "+") || (!is_value && slice_find(want.at[i], '$') < want.at[i].n);
        if (!is_open && !slice_equal(got.at[i], is_value ? slice_text(value) : want.at[i])) {
            return false;
        }
    }
    return got.n == want.n;
}

static void ask(struct slice template, struct slice question, const struct principal *who,
                const struct people *people)
{
    struct policy *p = NULL;
    struct role *r = NULL;
    struct grants *g = NULL;
    struct decision d;
    enum err e = policy_new(&p);
    assert(e == OK);
    e = policy_add_role(p, slice_text("r"), &r);
    assert(e == OK);
    if (role_add_topic(r, POLICY_PUBLISH, template, false, 1, 1) == OK &&
        role_add_topic(r, POLICY_SUBSCRIBE, template, false, 1, 1) == OK) {
        e = grants_new(p, who, &g);
        assert(e == OK);
        grants_know(g, people);
        if (topic_name_check(question, &LIMITS) == OK &&
            grants_publish(g, question, 1, false, &d) == OK) {
            assert(may_mean(template, question, who->attrs[0].value));
            assert(is_ours(template, question));
            assert(grants_publish(g, question, 2, false, &d) == ERR_DENIED);
        }
        if (topic_filter_check(question, &LIMITS) == OK) {
            e = grants_subscribe(g, question, &d);
            assert(e == d.err && d.rule[0] != '\0');
            struct slice group, filter;
            topic_share_split(question, &group, &filter);
            size_t n_levels = 1;
            for (size_t i = 0; i < filter.n; i++) {
                n_levels += filter.p[i] == '/';
            }
            assert(e != OK || n_levels > ORACLE_LEVELS_MAX || is_ours(template, filter));
        }
    }
    grants_free(g);
    policy_unref(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct slice rest = slice_of(data, n < 1024 ? n : 1024);
    struct principal_attr attr = {.key = "v"};
    struct principal *who = NULL;
    bool more = false;
    struct slice value = slice_cut(&rest, '\n', &more);
    if (!slice_to_text(value, attr.value, sizeof attr.value) ||
        principal_new(1, slice_text("d"), slice_text("r"), &attr, 1, &who) != OK) {
        return 0;
    }
    struct crowd crowd;
    crowd_make(&crowd);
    const struct people people = {.ctx = &crowd, .by_name = by_name, .by_id = by_id};
    while (more) {
        struct slice question = slice_cut(&rest, '\n', &more);
        bool has_question = false;
        struct slice template = slice_cut(&question, '\t', &has_question);
        size_t n_levels = 1;
        for (size_t i = 0; i < template.n; i++) {
            n_levels += template.p[i] == '/';
        }
        if (n_levels <= ORACLE_LEVELS_MAX) {
            ask(template, question, who, &people);
        }
    }
    crowd_done(&crowd);
    principal_unref(who);
    return 0;
}
