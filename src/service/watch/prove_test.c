/* The sweep: all that can be done to the files of a small trail without their keys. */
#include "service/watch/prove_case_test.h"

/* ---- as it is ---- */

static void test_untouched(void **state)
{
    struct place *p = *state;
    prove(p);
    expect_good(p);
    assert_int_equal(p->report.records, 0);
    make(p);
    prove(p);
    expect_good(p);
    assert_int_equal(p->report.notes, 0);
    assert_int_equal(p->report.records, p->n);
    assert_int_equal(p->report.first, 1);
    assert_int_equal(p->report.last, p->n);
    assert_int_equal(p->report.signed_to, p->n);
    assert_int_equal(p->report.files, 3);
}

/* ---- the sweep ---- */

static void test_every_edit(void **state)
{
    struct place *p = *state;
    make(p);
    for (uint32_t file = 1; file <= p->report.files || file_bytes(&p->disk, file) != NULL; file++) {
        struct buf *b = file_bytes(&p->disk, file);
        for (size_t at = file; at < b->n; at += 5) {
            uint8_t bit = (uint8_t)(1U << (at % 8));
            b->p[at] ^= bit;
            prove(p);
            b->p[at] ^= bit;
            const struct prove_finding *f = finding(p, PROVE_edited);
            if (f == NULL || f->file != file || f->offset > at || at >= f->offset + f->bytes) {
                show(p);
                fail_msg("byte %zu of file %x", at, (unsigned)file);
            } else {
                assert_true(f->bytes <= TRAIL_LINE_OVERHEAD + CHAIN_CHECKPOINT_BYTES);
            }
        }
    }
}

static void test_every_deletion(void **state)
{
    struct place *p = *state;
    make(p);
    for (size_t i = 0; i < p->n; i++) {
        const struct lying *r = &p->records[i];
        cut(file_bytes(&p->disk, r->file), r->offset, r->bytes);
        prove(p);
        expect(p, i + 1 < p->n ? PROVE_deleted : PROVE_truncated, r->seq, r->seq);
        put_back(p);
    }
}

static void test_every_record_wiped(void **state)
{
    struct place *p = *state;
    make(p);
    for (size_t i = 0; i < p->n; i++) {
        const struct lying *r = &p->records[i];
        memset(file_bytes(&p->disk, r->file)->p + r->offset, 0xa5, (size_t)r->bytes);
        prove(p);
        expect(p, PROVE_edited, r->seq, r->seq);
        put_back(p);
    }
}

/* Of each two records of an opening's file; others' bytes move with them when they differ in size.
 */
static void test_every_swap(void **state)
{
    struct place *p = *state;
    make(p);
    for (size_t i = 0; i < p->n; i++) {
        for (size_t k = i + 1; k < p->n && p->records[k].file == p->records[i].file; k++) {
            const struct lying *a = &p->records[i], *c = &p->records[k];
            struct buf *b = file_bytes(&p->disk, a->file);
            const uint8_t *was = file_bytes(&p->copy, a->file)->p;
            size_t at = (size_t)a->offset;
            size_t between = (size_t)(c->offset - a->offset - a->bytes);
            memcpy(b->p + at, was + c->offset, (size_t)c->bytes);
            memcpy(b->p + at + c->bytes, was + a->offset + a->bytes, between);
            memcpy(b->p + at + c->bytes + between, was + a->offset, (size_t)a->bytes);
            prove(p);
            const struct prove_finding *f = finding(p, PROVE_reordered);
            bool is_told = f != NULL && ((f->first >= a->seq && f->first <= c->seq));
            /* Between openings the keys differ: there the places no longer verify. */
            if (f == NULL) {
                f = finding(p, PROVE_edited);
                is_told = f != NULL && f->first >= a->seq && f->first <= c->seq;
            }
            if (!is_told) {
                show(p);
                fail_msg("records %zu and %zu", i + 1, k + 1);
            }
            put_back(p);
        }
    }
}

static void test_every_swap_of_files(void **state)
{
    struct place *p = *state;
    make(p);
    uint32_t n = p->records[p->n - 1].file;
    for (uint32_t i = 1; i <= n; i++) {
        for (uint32_t k = i + 1; k <= n; k++) {
            struct buf hold = *file_bytes(&p->disk, i);
            *file_bytes(&p->disk, i) = *file_bytes(&p->disk, k);
            *file_bytes(&p->disk, k) = hold;
            prove(p);
            assert_non_null(finding(p, PROVE_swapped));
            assert_int_equal(p->report.bad, 2);
            assert_int_equal(p->found[0].file, i);
            assert_int_equal(p->found[1].file, k);
            put_back(p);
        }
    }
}

static uint64_t first_of(const struct place *p, uint32_t file)
{
    for (size_t i = 0; i < p->n; i++) {
        if (p->records[i].file == file) {
            return p->records[i].seq;
        }
    }
    return p->n + 1;
}

static void test_every_file_taken_away(void **state)
{
    struct place *p = *state;
    make(p);
    uint32_t n = p->records[p->n - 1].file;
    for (uint32_t i = 1; i <= n; i++) {
        char name[TRAIL_NAME_BYTES];
        trail_name(i, name);
        assert_int_equal(p->disk.disk.ops->remove(&p->disk.disk, name), OK);
        prove(p);
        expect(p, i == n ? PROVE_truncated : PROVE_deleted, first_of(p, i), first_of(p, i + 1) - 1);
        assert_int_equal(p->report.bad, 1);
        put_back(p);
    }
}

/* Of the whole trail from a byte on, the later files too. */
static void test_every_truncation(void **state)
{
    struct place *p = *state;
    make(p);
    uint32_t n = p->records[p->n - 1].file;
    for (uint32_t file = n; file >= 1; file--) {
        struct buf *b = file_bytes(&p->disk, file);
        for (size_t size = b->n; size-- > 0;) {
            if (size % 3 != 0) {
                continue;
            }
            b->n = size;
            prove(p);
            uint64_t left = 0;
            for (size_t i = 0; i < p->n; i++) {
                const struct lying *r = &p->records[i];
                bool is_there = r->file < file || (r->file == file && r->offset + r->bytes <= size);
                left = is_there ? r->seq : left;
            }
            expect(p, PROVE_truncated, left + 1, p->n);
        }
        char name[TRAIL_NAME_BYTES];
        trail_name(file, name);
        assert_int_equal(p->disk.disk.ops->remove(&p->disk.disk, name), OK);
    }
}

/* Of one file, while those behind it stay. */
static void test_every_cut_of_a_file(void **state)
{
    struct place *p = *state;
    make(p);
    for (uint32_t file = 1; file < p->records[p->n - 1].file; file++) {
        struct buf *b = file_bytes(&p->disk, file);
        size_t whole = b->n;
        for (size_t size = whole - 1; size > 0; size -= size > 5 ? 5 : size) {
            uint64_t left = first_of(p, file) - 1;
            for (size_t i = 0; i < p->n; i++) {
                const struct lying *r = &p->records[i];
                bool is_there = r->file == file && r->offset + r->bytes <= size;
                left = is_there ? r->seq : left;
            }
            b->n = size;
            prove(p);
            b->n = whole;
            expect(p, PROVE_deleted, left + 1, first_of(p, file + 1) - 1);
            assert_int_equal(p->report.bad, 1);
        }
    }
}

static void test_a_copy_put_in(void **state)
{
    struct place *p = *state;
    make(p);
    for (size_t i = 1; i + 1 < p->n; i++) {
        const struct lying *r = &p->records[i];
        struct buf *b = file_bytes(&p->disk, r->file);
        uint8_t *room;
        size_t n = (size_t)r->bytes, end = (size_t)(r->offset + r->bytes);
        assert_int_equal(buf_room(b, n, SIZE_MAX, &room), OK);
        memmove(b->p + end + n, b->p + end, b->n - end);
        memcpy(b->p + end, b->p + r->offset, n);
        b->n += n;
        prove(p);
        expect(p, PROVE_inserted, r->seq, r->seq);
        put_back(p);
    }
}

static void test_shredded(void **state)
{
    struct place *p = *state;
    make(p);
    for (uint32_t file = 1; file <= 3; file++) {
        struct buf *b = file_bytes(&p->disk, file);
        memset(b->p, 0x5a, b->n);
    }
    prove(p);
    assert_true(p->report.bad > 0);
    assert_int_equal(p->report.records, 0);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_untouched),
        CASE(test_every_edit),
        CASE(test_every_deletion),
        CASE(test_every_record_wiped),
        CASE(test_every_swap),
        CASE(test_every_swap_of_files),
        CASE(test_every_file_taken_away),
        CASE(test_every_truncation),
        CASE(test_every_cut_of_a_file),
        CASE(test_a_copy_put_in),
        CASE(test_shredded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
