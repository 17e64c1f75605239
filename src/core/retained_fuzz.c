/* Steps of seven bytes: the same puts and clears go to one index in order and to another one in
 * reverse; both must end with the same messages and say what a plain list says. */
#include <assert.h>

#include "base/rd.h"
#include "core/oracle_private.h"
#include "core/retained.h"

enum { STEPS_MAX = 64, TEXT_BYTES = 64, WALK_AFTER = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct change {
    char text[TEXT_BYTES];
    struct slice topic;
    const struct msg *msg;
    uint64_t number;
};

static void apply(struct retained *r, const struct change *c)
{
    struct retained_change change;
    enum err e = c->msg != NULL ? retained_put(r, c->msg, &change)
                                : retained_clear(r, c->topic, c->number, &change);
    assert(e == OK);
}

static bool on_each(void *ctx, const struct msg *m)
{
    *(uint64_t *)ctx += m->number + 1000;
    return true;
}

/* One look at a place after each change; what it brings was there when it began. */
static void step(struct retained *r, struct retained_cursor *c, size_t steps, uint64_t arrival)
{
    const struct msg *m = retained_cursor_find(r, c, 0, &steps);
    assert(c->arrival == arrival);
    if (m != NULL) {
        assert(oracle_matches(c->filter, m->topic) && retained_find(r, m->topic, 0) == m);
        retained_cursor_next(r, c);
    }
}

/* What a match of `filter` must add up to. */
static uint64_t expected(const struct change *list, size_t n, struct slice filter)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        bool is_last = list[i].msg != NULL && oracle_matches(filter, list[i].topic);
        for (size_t k = 0; k < n && is_last; k++) {
            bool is_later =
                list[k].number > list[i].number || (list[k].number == list[i].number && k < i);
            is_last = k == i || !slice_equal(list[k].topic, list[i].topic) || !is_later;
        }
        sum += is_last ? list[i].number + 1000 : 0;
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct siphash_key KEY = {.k0 = 1};
    struct change list[STEPS_MAX];
    struct retained *ahead = NULL, *back = NULL;
    struct rd r = rd_from(slice_of(data, n));
    char text[TEXT_BYTES];
    struct slice filter = oracle_text(rd_u32(&r), true, text);
    struct retained_cursor cursor = {0};
    uint64_t arrival = 0;
    size_t n_list = 0;
    enum err e = retained_new(&KEY, &ahead);
    assert(e == OK);
    e = retained_new(&KEY, &back);
    assert(e == OK);
    for (; n_list < STEPS_MAX && rd_left(&r) >= 4; n_list++) {
        struct change *c = &list[n_list];
        uint8_t op = rd_u8(&r);
        *c = (struct change){.number = 1 + n_list * 37 % STEPS_MAX}; /* each once, in no order */
        c->topic = oracle_text(rd_u8(&r) * 256U + rd_u16(&r), false, c->text);
        struct msg *m = NULL;
        e = op % 3 == 0 ? OK : msg_new(c->topic, (struct slice){0}, (struct slice){0}, &m);
        assert(e == OK);
        if (m != NULL) {
            m->number = c->number;
        }
        c->msg = m;
        apply(ahead, c);
        if (n_list == WALK_AFTER) {
            retained_cursor_init(ahead, filter, &cursor);
            arrival = cursor.arrival;
        } else if (n_list > WALK_AFTER) {
            step(ahead, &cursor, op >> 6, arrival);
        }
    }
    retained_cursor_done(ahead, &cursor);
    uint64_t sum_ahead = 0, sum_back = 0, want = expected(list, n_list, filter);
    for (size_t i = n_list; i > 0; i--) {
        apply(back, &list[i - 1]);
    }
    retained_match(ahead, filter, 0, on_each, &sum_ahead);
    assert(retained_estimate(ahead, filter, n % 16) >= (sum_ahead > 0 ? 1U : 0U));
    retained_passed(back, STEPS_MAX);
    retained_match(back, filter, 0, on_each, &sum_back);
    assert(sum_ahead == want && sum_back == want);
    assert(retained_bytes(ahead) == retained_bytes(back) && retained_marker_count(back) == 0);
    for (size_t i = 0; i < n_list; i++) {
        msg_unref(list[i].msg);
    }
    retained_free(ahead);
    retained_free(back);
    return 0;
}
