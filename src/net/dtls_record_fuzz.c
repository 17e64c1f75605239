/* Datagrams against keys that the test has: records as they come, and the bytes behind their
 * headers sealed, so that what opens is looked at, too; beside the window one that remembers more.
 */
#include <assert.h>
#include <string.h>

#include "net/dtls_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { REMEMBERED = 256, TEXT_MAX = 2048 };

struct model {
    uint64_t taken[REMEMBERED];
    size_t n;
};

static bool is_taken(const struct model *m, uint64_t number)
{
    for (size_t i = 0; i < m->n; i++) {
        if (m->taken[i] == number) {
            return true;
        }
    }
    return false;
}

static void check_window(struct dtls_window *w, struct model *m, uint64_t number)
{
    if (m->n == REMEMBERED) {
        return;
    }
    if (dtls_window_is_fresh(w, number)) {
        assert(!is_taken(m, number));
        dtls_window_take(w, number);
        m->taken[m->n++] = number;
    }
    assert(!dtls_window_is_fresh(w, number));
}

static void check_sealed(struct record_aead *a, enum record_suite suite,
                         const struct dtls_side *side, const struct dtls_record *record)
{
    static uint8_t out[TEXT_MAX + 64], back[TEXT_MAX];
    struct slice plain = slice_head(record->body, TEXT_MAX), got = {0};
    struct wr w = wr_into(out, sizeof(out));
    enum err e = dtls_record_seal(a, suite, side, record->type, record->number, plain, &w);
    assert((e == OK) == (plain.n > 0));
    if (e == OK) {
        struct rd r = rd_from(slice_of(out, w.at));
        struct dtls_record again;
        assert(dtls_record_read(&r, &again) && rd_finish(&r) == OK);
        assert(again.number == record->number && again.type == record->type);
        assert(dtls_record_open(a, suite, side, &again, back, sizeof(back), &got) == OK);
        assert(slice_equal(got, plain));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct dtls_side side = {{1, 2, 3}, {4, 5}};
    static uint8_t text[TEXT_MAX];
    AUTO(record_aead_autofree) struct record_aead *a = NULL;
    if (record_aead_new(&a) != OK) {
        return 0;
    }
    struct dtls_window window = {0};
    struct model model = {.n = 0};
    struct rd r = rd_from(slice_of(data, n));
    struct dtls_record record;
    while (rd_left(&r) > 0 && dtls_record_read(&r, &record)) {
        for (int suite = 0; suite < 2; suite++) {
            struct slice got = {0};
            enum err e = dtls_record_open(a, (enum record_suite)suite, &side, &record, text,
                                          sizeof(text), &got);
            assert(e != OK || (got.p == text && got.n > 0 && got.n < record.body.n));
            check_sealed(a, (enum record_suite)suite, &side, &record);
        }
        check_window(&window, &model, record.number);
    }
    return 0;
}
