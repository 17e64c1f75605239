/* The file of an incident, checked by whoever has it: no keys of ours, nothing but the file. */
#include <stdarg.h>

#include "base/clock.h"
#include "base/hex.h"
#include "base/mem.h"
#include "service/watch/incident_tally.h"
#include "service/watch/trail.h"

enum { FORM = 1, WRONG_BYTES = 300, DEVICE_BYTES = 66 };

struct incident_check {
    struct incident_terms terms;
    struct anchor anchors[INCIDENT_ANCHORS_MAX];
    uint8_t wanted[ED25519_PUBLIC_BYTES];
    bool is_wanted_seen;
    bool has_head, has_end, has_key;
    char device[DEVICE_BYTES];
    uint8_t trail[CHAIN_ID_BYTES];
    uint8_t key[ED25519_PUBLIC_BYTES]; /* in force */
    struct digest head;                /* of record report.last */
    bool is_followed;                  /* a `from` was there */
    struct incident_report report;
    struct incident_tally tally;
};

typedef unsigned long long ull;

static void wrong(struct incident_check *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void wrong(struct incident_check *c, const char *format, ...)
{
    char text[WRONG_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (c->terms.wrong != NULL) {
        c->terms.wrong(c->terms.ctx, text);
    }
}

struct incident_check *incident_check_free(struct incident_check *c)
{
    if (c != NULL) {
        incident_tally_done(&c->tally);
        mem_free(c);
    }
    return NULL;
}

enum err incident_check_new(const struct incident_terms *terms, struct incident_check **ret)
{
    AUTO(incident_check_autofree) struct incident_check *c = mem_zalloc(sizeof *c);
    if (c == NULL) {
        return ERR_NOMEM;
    }
    c->terms = *terms;
    for (size_t i = 0; i < terms->n_anchors && i < INCIDENT_ANCHORS_MAX; i++) {
        c->anchors[i] = terms->anchors[i];
    }
    if (terms->key != NULL) {
        memcpy(c->wanted, terms->key, sizeof c->wanted);
    }
    TRY(incident_tally_init(&c->tally));
    *ret = TAKE(c);
    return OK;
}

static void json_release(json_t **j)
{
    json_decref(*j);
}

/* ---- members ---- */

static enum err hex_of(const json_t *text, void *dst, size_t n)
{
    size_t got;
    if (!json_is_string(text) || json_string_length(text) != 2 * n) {
        return ERR_MALFORMED;
    }
    return hex_read(slice_of(json_string_value(text), 2 * n), dst, n, &got);
}

static enum err number_of(const json_t *line, const char *name, uint64_t *ret)
{
    const json_t *n = json_object_get(line, name);
    if (!json_is_integer(n) || json_integer_value(n) < 1 || json_integer_value(n) > INT64_MAX / 2) {
        return ERR_MALFORMED;
    }
    *ret = (uint64_t)json_integer_value(n);
    return OK;
}

static bool has_members(const json_t *line, size_t n)
{
    return json_object_size(line) == n;
}

/* ---- the chain ---- */

/* One record more: its leaf is all that the chain needs. */
static enum err go_on(struct incident_check *c, const struct digest *leaf)
{
    TRY(chain_head(&c->head, leaf, &c->head));
    c->report.last++;
    c->report.records++;
    for (size_t i = 0; i < c->terms.n_anchors; i++) {
        const struct anchor *a = &c->anchors[i];
        if (a->count == c->report.last &&
            !slice_equal(digest_slice(&a->head), digest_slice(&c->head))) {
            wrong(c, "up to record %llu the trail is not the one that the anchor was made of",
                  (ull)a->count);
        }
    }
    return OK;
}

static enum err take_head(struct incident_check *c, const json_t *line)
{
    const json_t *form = json_object_get(line, "sallyport_incident");
    const json_t *device = json_object_get(line, "device");
    if (!json_is_integer(form)) {
        return ERR_MALFORMED;
    }
    if (json_integer_value(form) != FORM) {
        return ERR_UNSUPPORTED;
    }
    if (!json_is_string(device) ||
        !slice_to_text(slice_of(json_string_value(device), json_string_length(device)), c->device,
                       sizeof c->device)) {
        return ERR_MALFORMED;
    }
    c->has_head = true;
    return OK;
}

static enum err take_from(struct incident_check *c, const json_t *line)
{
    uint64_t from;
    struct digest prev;
    TRY(number_of(line, "from", &from));
    TRY(has_members(line, 2) ? OK : ERR_MALFORMED);
    TRY(hex_of(json_object_get(line, "prev"), prev.bytes, sizeof prev.bytes));
    if (c->is_followed) {
        c->report.breaks++;
        wrong(c,
              "the trail does not go on from record %llu to record %llu: what was between them "
              "is gone or was changed",
              (ull)c->report.last, (ull)from);
    } else {
        c->report.first = from;
    }
    c->is_followed = true;
    c->head = prev;
    c->report.last = from - 1;
    return OK;
}

static enum err take_leaves(struct incident_check *c, const json_t *line)
{
    const json_t *leaves = json_object_get(line, "leaves");
    size_t n = json_array_size(leaves);
    if (!c->is_followed || !has_members(line, 1) || n == 0 || n > INCIDENT_LEAVES_MAX) {
        return ERR_MALFORMED;
    }
    for (size_t i = 0; i < n; i++) {
        struct digest leaf;
        TRY(hex_of(json_array_get(leaves, i), leaf.bytes, sizeof leaf.bytes));
        TRY(go_on(c, &leaf));
        c->report.left_out++;
    }
    return OK;
}

/* The entry that a line is of, without its body. */
static enum err entry_of(const struct incident_check *c, const json_t *line, enum chain_kind kind,
                         struct chain_entry *ret)
{
    struct chain_entry e = {.prev = c->head, .kind = kind};
    const json_t *ms = json_object_get(line, "ms");
    TRY(number_of(line, "seq", &e.seq));
    TRY(hex_of(json_object_get(line, "salt"), e.salt, sizeof e.salt));
    if (!c->is_followed || !has_members(line, 4) || !json_is_integer(ms) ||
        e.seq != c->report.last + 1) {
        return ERR_MALFORMED;
    }
    e.wall_ms = json_integer_value(ms);
    *ret = e;
    return OK;
}

static enum err leaf_of(const struct chain_entry *e, struct digest *ret)
{
    uint8_t bytes[CHAIN_FRONT_BYTES + TRAIL_LINE_MAX];
    struct wr w = wr_into(bytes, sizeof bytes);
    size_t n;
    chain_entry_encode(e, &w);
    TRY(wr_done(&w, &n));
    return chain_leaf(slice_of(bytes, n), ret);
}

static enum err take_event(struct incident_check *c, const json_t *line)
{
    struct chain_entry e;
    struct digest leaf;
    const json_t *text = json_object_get(line, "event");
    TRY(entry_of(c, line, CHAIN_EVENT, &e));
    if (!json_is_string(text) || json_string_length(text) == 0) {
        return ERR_MALFORMED;
    }
    e.body = slice_of(json_string_value(text), json_string_length(text));
    AUTO(json_release)
    json_t *event = json_loadb((const char *)e.body.p, e.body.n, JSON_REJECT_DUPLICATES, NULL);
    TRY(event != NULL ? OK : ERR_MALFORMED);
    TRY(leaf_of(&e, &leaf));
    TRY(go_on(c, &leaf));
    TRY(incident_tally_add(&c->tally, event));
    struct incident_report *r = &c->report;
    r->first_ms = r->events == 0 || e.wall_ms < r->first_ms ? e.wall_ms : r->first_ms;
    r->last_ms = r->events == 0 || e.wall_ms > r->last_ms ? e.wall_ms : r->last_ms;
    r->events++;
    return OK;
}

static void judge_keys(struct incident_check *c, const struct chain_checkpoint *p, uint64_t seq)
{
    if (c->has_key && memcmp(c->key, p->key, sizeof c->key) != 0) {
        wrong(c, "checkpoint %llu is signed by a key that the one before did not introduce",
              (ull)seq);
    }
    if (c->has_key && memcmp(c->trail, p->trail, sizeof c->trail) != 0) {
        wrong(c, "checkpoint %llu is of another trail", (ull)seq);
    }
    memcpy(c->trail, p->trail, sizeof c->trail);
    memcpy(c->key, p->next_key, sizeof c->key);
    c->has_key = true;
    c->is_wanted_seen = c->is_wanted_seen || memcmp(c->wanted, p->key, sizeof c->wanted) == 0 ||
                        memcmp(c->wanted, p->next_key, sizeof c->wanted) == 0;
}

static enum err take_checkpoint(struct incident_check *c, const json_t *line)
{
    uint8_t body[CHAIN_CHECKPOINT_BYTES];
    struct chain_entry e;
    struct chain_checkpoint p;
    struct digest leaf;
    TRY(entry_of(c, line, CHAIN_CHECKPOINT, &e));
    TRY(hex_of(json_object_get(line, "checkpoint"), body, sizeof body));
    e.body = slice_of(body, sizeof body);
    TRY(chain_checkpoint_decode(e.body, &p));
    enum err err = chain_checkpoint_verify(&p, &e);
    if (err == ERR_NOMEM) {
        return err;
    }
    if (err == OK) {
        c->report.signed_to = e.seq;
        judge_keys(c, &p, e.seq);
    } else {
        wrong(c,
              "the signature of checkpoint %llu does not cover what stands before it: one of the "
              "records since the last good one, %llu, is not what was written",
              (ull)e.seq, (ull)c->report.signed_to);
    }
    c->report.checkpoints++;
    TRY(leaf_of(&e, &leaf));
    return go_on(c, &leaf);
}

static enum err take_unproven(struct incident_check *c, const json_t *line)
{
    const json_t *text = json_object_get(line, "unproven");
    if (!json_is_string(text) || !has_members(line, 1) || c->is_followed) {
        return ERR_MALFORMED;
    }
    AUTO(json_release)
    json_t *event =
        json_loadb(json_string_value(text), json_string_length(text), JSON_REJECT_DUPLICATES, NULL);
    TRY(event != NULL ? OK : ERR_MALFORMED);
    c->report.older++;
    return incident_tally_add(&c->tally, event);
}

static enum err take_end(struct incident_check *c, const json_t *line)
{
    AUTO(json_release) json_t *counted = incident_end_line(&c->tally, &c->report);
    if (counted == NULL) {
        return ERR_NOMEM;
    }
    if (json_equal(counted, line) != 1) {
        wrong(c, "the sums at the end are not those of the events in the file");
    }
    c->has_end = true;
    return OK;
}

enum err incident_check_line(struct incident_check *c, struct slice line)
{
    static const struct {
        const char *member;
        enum err (*take)(struct incident_check *c, const json_t *line);
    } kinds[] = {{"end", take_end},
                 {"from", take_from},
                 {"leaves", take_leaves},
                 {"event", take_event},
                 {"checkpoint", take_checkpoint},
                 {"unproven", take_unproven}};
    if (line.n > INCIDENT_LINE_MAX) {
        return ERR_TOO_LARGE;
    }
    if (line.n == 0 || c->has_end) {
        return ERR_MALFORMED;
    }
    AUTO(json_release)
    json_t *o = json_loadb((const char *)line.p, line.n, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(o)) {
        return ERR_MALFORMED;
    }
    if (!c->has_head) {
        return take_head(c, o);
    }
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        if (json_object_get(o, kinds[i].member) != NULL) {
            return kinds[i].take(c, o);
        }
    }
    return ERR_MALFORMED;
}

static void judge_anchors(struct incident_check *c)
{
    for (size_t i = 0; i < c->terms.n_anchors; i++) {
        const struct anchor *a = &c->anchors[i];
        if (anchor_verify(a) != OK) {
            wrong(c, "the anchor of %llu records is not signed by the key it names", (ull)a->count);
        } else if (c->has_key && memcmp(a->trail, c->trail, sizeof a->trail) != 0) {
            wrong(c, "the anchor of %llu records is of another trail", (ull)a->count);
        }
    }
}

enum err incident_check_end(struct incident_check *c, struct incident_report *ret,
                            const char **ret_device)
{
    if (!c->has_end) {
        return ERR_TRUNCATED;
    }
    judge_anchors(c);
    if (c->terms.key != NULL && !c->is_wanted_seen) {
        wrong(c, "the key that was given signed nothing in this file");
    }
    if (c->report.signed_to < c->report.last) {
        wrong(c, "records %llu to %llu are behind the last good signature",
              (ull)(c->report.signed_to < c->report.first ? c->report.first
                                                          : c->report.signed_to + 1),
              (ull)c->report.last);
    }
    *ret = c->report;
    *ret_device = c->device;
    return OK;
}

const uint8_t *incident_check_key(const struct incident_check *c)
{
    return c->has_key ? c->key : NULL;
}
