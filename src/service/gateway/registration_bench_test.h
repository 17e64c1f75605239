/* enrol_bench_test - devices that register in the resource directory, and somebody who looks: what
 * its tests stand on. */
#ifndef SERVICE_GATEWAY_REGISTRATION_BENCH_TEST_H
#define SERVICE_GATEWAY_REGISTRATION_BENCH_TEST_H

#include "core/flow.h"
#include "service/gateway/errand_bench_test.h"

#define LIGHTS "</light>;rt=\"light lamp\";if=core.a,</fw>;rt=fw,</t>;ct=50;obs"

static inline void allow(struct role *r, const char *path, unsigned methods)
{
    assert_int_equal(role_add_resource(r, slice_text(path), methods, 1), OK);
}

/* A lamp registers and looks; an operator looks, and may GET lights and temperatures only. */
static inline struct policy *directory_policy(bool may_command)
{
    struct policy *p = make_policy(false);
    struct role *r = NULL;
    assert_int_equal(policy_add_role(p, slice_text("lamp"), &r), OK);
    allow(r, "/rd/#", METHOD_POST | METHOD_DELETE);
    allow(r, "/.well-known/rd", METHOD_POST);
    allow(r, "/rd-lookup/+", METHOD_GET);
    role_limits(r)->publish_burst = 30;
    role_limits(r)->publish_rate = 1;
    assert_int_equal(policy_add_role(p, slice_text("operator"), &r), OK);
    allow(r, "/rd-lookup/+", METHOD_GET);
    if (may_command) {
        grant(r, POLICY_PUBLISH, "$coap/+/GET/light", false, 1);
        grant(r, POLICY_PUBLISH, "$coap/+/GET/t", false, 1);
    }
    return p;
}

static inline void directory_follow(struct fortress *f, struct policy *p)
{
    policy_unref(f->policy);
    f->policy = p;
    publish_realm(f);
}

/* lamp1 is 1 and lamp2 2 at worker 0, oper 3 there and 4 at worker 1. */
static inline int enrol_open(void **state)
{
    (void)fortress_open(state);
    struct fortress *f = *state;
    add_device(f, "lamp1", "lamp");
    add_device(f, "lamp2", "lamp");
    add_device(f, "oper", "operator");
    directory_follow(f, directory_policy(true));
    assert_true(link_device(f, 0, 1, "lamp1") && link_device(f, 0, 2, "lamp2"));
    assert_true(link_device(f, 0, 3, "oper") && link_device(f, 1, 4, "oper"));
    forget_sent(f);
    return 0;
}

static inline struct coap_message post(struct fortress *f, uint64_t id, const char *path,
                                       const char *query, const char *links)
{
    struct ask a = {ASK(COAP_CON, COAP_POST, path), .query = query, .payload = slice_text(links)};
    a.format = links != NULL ? COAP_FORMAT_LINK : -1;
    return asks(f, 0, id, &a);
}

static inline struct coap_message enrols(struct fortress *f, uint64_t id, const char *query,
                                         const char *links)
{
    return post(f, id, "/rd", query, links);
}

/* In blocks of 1024 bytes; gives the last answer. */
static inline struct coap_message enrols_in_blocks(struct fortress *f, uint64_t id,
                                                   struct slice links)
{
    struct ask a = {ASK(COAP_CON, COAP_POST, "/rd")};
    struct coap_message m = {.code = COAP_EMPTY};
    a.format = COAP_FORMAT_LINK;
    for (int i = 0; links.n > 0; i++) {
        a.payload = slice_head(links, 1024);
        links = slice_from(links, 1024);
        a.block1 = i << 4 | (links.n > 0 ? 8 : 0) | 6;
        m = asks(f, 0, id, &a);
    }
    return m;
}

/* What a lookup gives, as text; empty when it is no 2.05. */
static inline const char *looks(struct fortress *f, unsigned worker, uint64_t id, const char *path,
                                const char *query)
{
    static char text[2048];
    struct ask a = {ASK(COAP_CON, COAP_GET, path), .query = query};
    struct coap_message m = asks(f, worker, id, &a);
    text[0] = '\0';
    if (m.code == COAP_CONTENT) {
        assert_true(slice_to_text(m.payload, text, sizeof(text)));
    }
    return text;
}

#define RES "/rd-lookup/res"
#define EP  "/rd-lookup/ep"

#endif
