/* Steps: a kind, a place, a length and so much content; between them records are found, copied,
 * lost, segments go, and the restart ends. What counts as living must be what can be found. */
#include <assert.h>

#include "base/mem.h"
#include "base/rd.h"
#include "base/scope.h"
#include "store/index.h"

enum { STEPS_MAX = 64, HELD_MAX = 8, BYTES = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct step {
    enum journal_kind kind;
    struct slice content;
    struct place place;
};

struct run {
    struct index *x;
    struct step steps[STEPS_MAX];
    size_t n_steps;
    struct item *held[HELD_MAX];
    struct place places[HELD_MAX];
    size_t n_held;
};

static void let_all_go(struct run *r)
{
    for (size_t i = 0; i < r->n_held; i++) {
        if (index_is_alive(r->held[i])) {
            index_placed(r->x, r->held[i], r->places[i]);
        } else {
            index_let_go(r->x, r->held[i]);
        }
    }
    r->n_held = 0;
}

static void apply(struct run *r, struct step s, bool is_live)
{
    struct item *item = NULL, *ended = NULL;
    struct place nowhere = {0};
    enum err e = index_apply(r->x, s.kind, s.content, is_live ? nowhere : s.place, &item, &ended);
    assert(e == OK || (item == NULL && ended == NULL));
    assert(e != ERR_NOMEM && (is_live || item == NULL));
    if (ended != NULL) {
        (void)index_is_alive(ended);
    }
    if (item != NULL) {
        r->places[r->n_held] = s.place;
        r->held[r->n_held++] = item;
    }
    if (r->n_held == HELD_MAX) {
        let_all_go(r);
    }
    r->steps[r->n_steps++] = s;
}

static void copy(struct run *r, const struct step *s)
{
    AUTO(buf_done) struct buf b = {0};
    struct item *item = index_find(r->x, s->kind, s->content, s->place);
    if (item != NULL) {
        enum err e = index_rewrite(r->x, item, s->kind, s->content, &b);
        assert(e == OK && b.n <= s->content.n);
        index_let_go(r->x, item);
    }
}

static enum err each(void *ctx, uint64_t id, struct place place)
{
    (void)ctx;
    (void)place;
    assert(id != 0);
    return OK;
}

static enum err each_session(void *ctx, uint64_t id, struct place place, uint64_t next_seq)
{
    (void)next_seq;
    return each(ctx, id, place);
}

static enum err each_inbound(void *ctx, uint64_t id, uint16_t packet_id)
{
    assert(packet_id != 0);
    return each(ctx, id, (struct place){0});
}

static enum err each_delivery(void *ctx, const struct journal_delivery *d, const uint32_t *ids,
                              uint64_t body_id, struct place body)
{
    uint32_t sum = 0;
    for (uint16_t i = 0; i < d->n_ids; i++) {
        sum += ids[i];
    }
    (void)sum;
    return each(ctx, body_id, body);
}

static enum err each_unanswered(void *ctx, uint64_t body_id, struct place body,
                                const uint64_t *sessions, size_t n)
{
    assert(n == 0 || sessions[0] != 0);
    return each(ctx, body_id, body);
}

static enum err each_entry(void *ctx, uint8_t table, uint64_t id, struct place place)
{
    (void)ctx;
    (void)table;
    (void)id;
    (void)place;
    return OK;
}

/* No record that can be found is counted twice, or not at all. */
static void check(struct run *r)
{
    static const struct index_sink SINK = {.session = each_session,
                                           .sub = each,
                                           .will = each,
                                           .inbound = each_inbound,
                                           .delivery = each_delivery,
                                           .retained = each,
                                           .unanswered = each_unanswered,
                                           .set_aside = each,
                                           .entry = each_entry};
    uint64_t living = 0, sum = 0;
    for (size_t i = 0; i < r->n_steps; i++) {
        const struct step *s = &r->steps[i];
        struct item *item = index_find(r->x, s->kind, s->content, s->place);
        if (item != NULL) {
            assert(index_is_alive(item));
            index_let_go(r->x, item);
            living += s->place.bytes;
        }
    }
    for (uint32_t segment = 1; segment <= 4; segment++) {
        sum += index_living(r->x, segment);
    }
    assert(sum == index_living_all(r->x) && living == sum);
    enum err e = index_walk(r->x, &SINK);
    assert(e == OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct siphash_key KEY = {.k0 = 1};
    struct run r = {0};
    struct rd in = rd_from(slice_of(data, n));
    enum err e = index_new(&KEY, &r.x);
    assert(e == OK);
    bool is_complete = rd_u8(&in) % 2 == 0;
    if (is_complete) {
        index_complete(r.x);
    }
    while (rd_left(&in) > 2 && r.n_steps < STEPS_MAX) {
        uint8_t op = rd_u8(&in), arg = rd_u8(&in);
        if (op < 200) {
            struct step s = {.kind = (enum journal_kind)(op % (JOURNAL_KIND_END + 1))};
            uint8_t length = rd_u8(&in);
            s.content = rd_bytes(&in, length < rd_left(&in) ? length : rd_left(&in));
            s.place = (struct place){1 + arg % 4, (uint32_t)r.n_steps, BYTES};
            apply(&r, s, op >= 100 && is_complete);
        } else if (op < 215 && r.n_steps > 0) {
            copy(&r, &r.steps[arg % r.n_steps]);
        } else if (op < 225 && r.n_steps > 0) {
            index_lost(r.x, r.steps[arg % r.n_steps].place);
        } else if (op < 235) {
            index_segment_gone(r.x, 1 + arg % 4);
        } else if (op < 245) {
            let_all_go(&r);
        } else {
            index_complete(r.x);
            is_complete = true;
        }
    }
    let_all_go(&r);
    index_complete(r.x);
    check(&r);
    index_free(r.x);
    return 0;
}
