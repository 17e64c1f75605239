/* Steps of ten bytes: a subscription comes or goes, or another worker's interest changes; then a
 * topic is matched and the answer compared with what the subscribers' own lists say. */
#include <assert.h>

#include "base/rd.h"
#include "core/filters.h"
#include "core/oracle_private.h"

enum { N_SUBSCRIBERS = 4, TEXT_BYTES = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(struct filters *f, struct subscriber *s, struct slice topic)
{
    struct match m;
    struct subscriber *ahead = NULL;
    filters_ahead(f, &topic, 1, &ahead);
    assert(ahead == NULL || (ahead >= s && ahead < s + N_SUBSCRIBERS));
    enum err e = filters_match(f, topic, NULL, &m);
    assert(e == OK);
    size_t n_hits = 0;
    for (size_t i = 0; i < N_SUBSCRIBERS; i++) {
        size_t n = 0;
        list_for_each (node, &s[i].subs) {
            const struct sub *sub = LIST_ENTRY(node, struct sub, in_subscriber);
            n += oracle_matches(sub_filter(sub), topic);
        }
        n_hits += n > 0;
        bool is_hit = false;
        for (size_t k = 0; k < m.n_hits; k++) {
            if (m.hits[k].subscriber == &s[i]) {
                is_hit = true;
                assert(m.hits[k].n_ids == n);
            }
        }
        assert(is_hit == (n > 0));
    }
    assert(m.n_hits == n_hits);
}

static void step(struct filters *f, struct subscriber *s, uint8_t op, struct slice filter)
{
    struct subscriber *who = &s[op % N_SUBSCRIBERS];
    struct sub *sub = filters_find(f, filter, who);
    struct interest_change c;
    enum err e = OK;
    if (op >= 128) {
        e = filters_set_remote(f, filter, op % 64, (op & 64) != 0, false);
    } else if (sub != NULL) {
        filters_remove(f, sub, &c);
    } else {
        e = filters_add(f, filter, who, &sub, &c);
        sub->id = 1;
    }
    assert(e == OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct siphash_key KEY = {.k0 = 1};
    char text[TEXT_BYTES];
    struct filters *f = NULL;
    struct subscriber s[N_SUBSCRIBERS];
    enum err e = filters_new(&KEY, &f);
    assert(e == OK);
    for (size_t i = 0; i < N_SUBSCRIBERS; i++) {
        subscriber_init(&s[i], SUBSCRIBER_SESSION, false);
    }
    struct rd r = rd_from(slice_of(data, n));
    while (rd_left(&r) >= 9) {
        uint8_t op = rd_u8(&r);
        step(f, s, op, oracle_text(rd_u32(&r), true, text));
        struct slice topic = oracle_text(rd_u32(&r), false, text);
        for (int again = 0; again < 3; again++) { /* the third answer is one that was kept */
            check(f, s, topic);
        }
    }
    for (size_t i = 0; i < N_SUBSCRIBERS; i++) {
        list_for_each_safe (node, next, &s[i].subs) {
            struct interest_change c;
            filters_remove(f, LIST_ENTRY(node, struct sub, in_subscriber), &c);
        }
    }
    filters_free(f);
    return 0;
}
