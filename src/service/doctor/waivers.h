/*
 * waivers - findings that somebody has decided to live with, why, and until when.
 *
 * They are a file of the data directory (WAIVERS_FILE). One is in force before its end and not from
 * then on, whoever looks; ended ones are listed for WAIVERS_KEPT_DAYS more.
 */
#ifndef SERVICE_DOCTOR_WAIVERS_H
#define SERVICE_DOCTOR_WAIVERS_H

#include "base/buf.h"
#include "base/why.h"
#include "service/doctor/findings.h"

#define WAIVERS_FILE      "waivers.json"
#define WAIVERS_TOLD_FILE "waivers-told.json" /* of the daemon: what the audit trail has of it */

enum {
    WAIVERS_MAX = 256,
    WAIVERS_BYTES_MAX = 512 * 1024,
    WAIVERS_DAYS_MAX = 366,
    WAIVERS_KEPT_DAYS = 90,
    WAIVER_REASON_BYTES = 256,
    WAIVER_NAME_BYTES = 64
};

struct waiver {
    uint32_t id; /* from 1 */
    enum facts_product product;
    char rule[WAIVER_NAME_BYTES];
    char object[FACTS_PATH]; /* of a finding; empty: all of the rule */
    char by[WAIVER_NAME_BYTES];
    char reason[WAIVER_REASON_BYTES];
    int64_t made_wall_ms, ends_wall_ms;
};

struct waivers {
    struct waiver *items;
    size_t n;
};

/* waivers_read - the bytes of the file. ERR_CONFIG with *why: it is none, or holds what no version
 * wrote; ERR_NOMEM. *ret is released by waivers_done, also after an error. */
MUST_USE enum err waivers_read(struct slice bytes, struct waivers *ret, struct why *why);
/* waivers_write - those that are kept at this time, appended to *ret. ERR_NOMEM. */
MUST_USE enum err waivers_write(const struct waivers *w, int64_t now_wall_ms, struct buf *ret);
void waivers_done(struct waivers *w);

/* waivers_add - *w but for its id, which is given. ERR_NOT_FOUND: no such rule, or it says nothing
 * of this product; ERR_MALFORMED: no reason; ERR_LIMIT: ends in the past or too late, or there are
 * WAIVERS_MAX; each with *why. ERR_NOMEM. */
MUST_USE enum err waivers_add(struct waivers *l, const struct waiver *w, uint32_t *ret_id,
                              struct why *why);
/* waivers_end - from now on. ERR_NOT_FOUND: there is none in force under this id. */
MUST_USE enum err waivers_end(struct waivers *l, uint32_t id, int64_t now_wall_ms);
bool waiver_is_in_force(const struct waiver *w, int64_t now_wall_ms);
/* waivers_apply - marks the findings of a product. */
void waivers_apply(const struct waivers *l, enum facts_product product, int64_t now_wall_ms,
                   struct findings *findings);

/* waiver_date - "2027-01-31": until the end of that day, UTC. ERR_MALFORMED. */
MUST_USE enum err waiver_date(struct slice text, int64_t *ret_wall_ms);

#endif
