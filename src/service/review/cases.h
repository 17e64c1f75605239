/*
 * cases - a file of tests for a policy, strict YAML with the place of every mistake, and their run.
 *
 *   version: 1
 *   devices:
 *     meter-1: { role: sensor, attrs: { site: lab }, gateway: hub }
 *     hub:     { role: gateway, attrs: { site: lab } }
 *     desk:    { role: console, attrs: { segment: control } }
 *   tests:
 *     - { device: meter-1, allow: publish, topic: sensors/lab/meter-1/t, qos: 1, retain: yes }
 *     - { device: meter-1, deny: subscribe, topic: "#" }
 *     - { device: meter-1, deny: PUT, path: /fw/1 }
 *     - { device: meter-1, allow: connect, client_id: meter-1 }
 *     - { device: desk, allow: hear, topic: sensors/lab/meter-1/t, from: meter-1 }
 *
 * The devices are made up: no test looks at a directory. `hear` is the whole way of a message: the
 * one may publish it with QoS 0, the other may subscribe to its topic, and the segments let it
 * pass.
 */
#ifndef SERVICE_REVIEW_CASES_H
#define SERVICE_REVIEW_CASES_H

#include "service/directory/yaml_reader.h"
#include "service/review/ask.h"

enum { CASES_DEVICES_MAX = 1000, CASES_MAX = 10000 };

struct cases;

/* cases_read - file is the name for complaints; borrowed until cases_free. ERR_CONFIG with a
 * complaint, ERR_NOMEM (the complaint says so too). Every question can be asked. */
MUST_USE enum err cases_read(struct slice bytes, const char *file,
                             struct yaml_complaint *ret_complaint, struct cases **ret);
struct cases *cases_free(struct cases *c); /* NULL is fine; returns NULL */
AUTOFREE(cases, cases_free)
size_t cases_count(const struct cases *c);

/* What came of one test. Borrowed for the call. */
struct case_result {
    unsigned line; /* of the file */
    bool expected, allowed;
    const char *device;
    struct slice action, what; /* topic, path or client id */
    uint8_t qos;
    bool retain;
    const char *from; /* of hear; NULL: another action */
    const char *rule; /* what decided */
};

/* cases_run - asks every question of the policy, in the order of the file. ERR_NOMEM. */
MUST_USE enum err cases_run(const struct cases *c, const struct policy *policy,
                            void (*each)(void *ctx, const struct case_result *r), void *ctx);

#endif
