#include "store/segment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/segment_made_private.h"

/* Four batches of records of several kinds, sizes and owners (9 has no key). */
static void made_usual(struct made *m)
{
    made_init(m, random_system());
    made_batch(m, 3, (size_t[]){5, 40, 0}, (uint64_t[]){1, 0, 2});
    made_batch(m, 1, (size_t[]){33}, (uint64_t[]){3});
    made_batch(m, 4, (size_t[]){7, 1, 130, 2}, (uint64_t[]){9, 1, 4, 0});
    made_batch(m, 2, (size_t[]){18, 61}, (uint64_t[]){2, 0});
}

static size_t met_of_batch(const struct met *met, unsigned batch)
{
    size_t n = 0;
    for (size_t i = 0; i < met->made->n; i++) {
        n += met->is_met[i] && met->made->records[i].batch == batch;
    }
    return n;
}

static void whole_segments_come_back(void **state)
{
    (void)state;
    AUTO(made_done) struct made m;
    struct met met;
    made_usual(&m);
    struct batch_link later = {.segment = MADE_NUMBER, .offset = made_end(&m)};
    for (int told = 0; told < 2; told++) {
        assert_int_equal(made_scan(&m, told ? &later : NULL, &met), OK);
        assert_int_equal(met.n_met, m.n);
        assert_int_equal(met.n_strange, 0);
        assert_int_equal(met.n_damages, 0);
        assert_int_equal(met.end.offset, made_end(&m));
        assert_int_equal(met.end.torn_bytes, 0);
        assert_int_equal(met.end.last_number, m.number);
    }
    struct segment_head head;
    struct disk_file *f = NULL;
    assert_int_equal(segment_open(&m.disk->disk, m.keyring, MADE_NUMBER, true, &head, &f), OK);
    assert_memory_equal(head.salt, m.head.salt, sizeof head.salt);
    assert_true(head.wall_ms == m.head.wall_ms && head.bytes == m.head.bytes);
    assert_memory_equal(&head.ids, &m.head.ids, sizeof head.ids);
    assert_int_equal(head.bad.bytes, 0);
    struct batch_link link = {9, 9};
    assert_int_equal(segment_first_link(m.sealer, &m.disk->disk, f, &head, &link), OK);
    assert_true(link.segment == 0 && link.offset == 0);
    AUTO(buf_done) struct buf scratch = {0};
    for (size_t i = 0; i < m.n; i++) {
        struct record_head h;
        struct slice content;
        assert_int_equal(
            record_read(m.sealer, &m.disk->disk, f, m.records[i].place, &scratch, &h, &content),
            OK);
        assert_true(slice_equal(content, slice_of(m.records[i].content, m.records[i].n)));
        assert_memory_equal(&h.owner, &m.records[i].head.owner, sizeof h.owner);
        struct place wrong = m.records[i].place;
        wrong.segment++;
        assert_int_equal(record_read(m.sealer, &m.disk->disk, f, wrong, &scratch, &h, &content),
                         ERR_CRYPTO);
        wrong = m.records[i].place;
        wrong.bytes += 4;
        assert_int_equal(record_read(m.sealer, &m.disk->disk, f, wrong, &scratch, &h, &content),
                         ERR_CRYPTO);
    }
    f->disk->disk.ops->close(f);
}

static void nothing_readable_is_on_disk(void **state)
{
    (void)state;
    AUTO(made_done) struct made m;
    AUTO(buf_done) struct buf batch = {0};
    struct place place;
    made_init(&m, random_system());
    struct record_head head = {.kind = 1, .owner = 1, .number = 1};
    struct slice text = slice_text("plant/hall7/secret payload of a sensor");
    assert_int_equal(record_seal(m.sealer, 1, 0, &head, NULL, text, text, &batch, &place), OK);
    for (size_t at = 0; at + 8 <= text.n; at++) {
        assert_null(memmem(batch.p, batch.n, text.p + at, 8));
    }
    /* the same content again looks different */
    size_t first = batch.n;
    head.number = 2;
    assert_int_equal(record_seal(m.sealer, 1, 0, &head, NULL, text, text, &batch, &place), OK);
    assert_int_not_equal(memcmp(batch.p + RECORD_HEAD_BYTES, batch.p + first + RECORD_HEAD_BYTES,
                                first - RECORD_HEAD_BYTES),
                         0);
    static const uint8_t big[16];
    struct slice huge = {big, RECORD_CONTENT_MAX + 1}; /* refused before it is read */
    head.number = 3;
    assert_int_equal(record_seal(m.sealer, 1, 0, &head, NULL, huge, text, &batch, &place),
                     ERR_TOO_LARGE);
    assert_int_equal(record_seal(m.sealer, 1, 0, &head, NULL, text, huge, &batch, &place),
                     ERR_TOO_LARGE);
    assert_int_equal(
        record_seal(m.sealer, 1, UINT32_MAX - 3, &head, NULL, text, text, &batch, &place),
        ERR_TOO_LARGE);
    assert_int_equal(batch.n, 2 * first);
}

static const struct made_record *record_around(const struct made *m, uint32_t byte)
{
    for (size_t i = 0; i < m->n; i++) {
        const struct made_record *r = &m->records[i];
        if (byte >= r->place.offset && byte < r->place.offset + r->place.bytes) {
            return r;
        }
    }
    return NULL;
}

/* One flip in a record that was committed: all others come, and the damage has the right name. */
static void check_named(const struct met *met, const struct made_record *r, uint32_t byte)
{
    size_t n_head = (r->head.flags & RECORD_FIRST) != 0 ? RECORD_HEAD_BYTES + RECORD_LINK_BYTES
                                                        : RECORD_HEAD_BYTES;
    const struct damage *d = &met->damages[0];
    bool is_head = byte - r->place.offset < n_head;
    assert_int_equal(met->n_met, met->made->n - 1);
    assert_false(met->is_met[r->head.number - 1]);
    assert_int_equal(met->n_damages, 1);
    assert_int_equal(d->what, is_head ? DAMAGE_HEAD : DAMAGE_CONTENT);
    assert_memory_equal(&d->place, &r->place, sizeof d->place);
    if (!is_head) {
        assert_true(d->head.owner == r->head.owner && d->head.kind == r->head.kind &&
                    d->head.number == r->head.number);
    }
    assert_int_equal(met->end.offset, made_end(met->made));
}

/* Where the zeros begin: a tag may end in some. */
static uint32_t written_end(const struct made *m)
{
    uint32_t end = made_end(m);
    while (m->file->bytes.p[end - 1] == 0) {
        end--;
    }
    return end;
}

static void every_flipped_bit_is_contained(void **state)
{
    (void)state;
    AUTO(made_done) struct made m;
    struct met met;
    made_usual(&m);
    uint8_t *bytes = m.file->bytes.p;
    struct batch_link later = {.segment = MADE_NUMBER, .offset = made_end(&m)};
    uint32_t last = m.ends[m.n_batches - 2];
    for (uint32_t bit = 0; bit < (made_end(&m) + 64) * 8; bit++) {
        uint32_t byte = bit / 8;
        if (byte >= 140 && byte < SEGMENT_COPY_AT - 4) {
            continue; /* zeros between the copies of the header: more of the same */
        }
        bytes[byte] ^= (uint8_t)(1U << bit % 8);
        for (int told = 0; told < 2; told++) {
            assert_int_equal(made_scan(&m, told ? &later : NULL, &met), OK);
            assert_int_equal(met.n_strange, 0);
            const struct made_record *r = record_around(&m, byte);
            if (byte < SEGMENT_HEAD_BYTES) {
                assert_int_equal(met.n_met, m.n);
                assert_int_equal(met.n_damages, 1);
                assert_int_equal(met.damages[0].place.offset,
                                 byte < SEGMENT_COPY_AT ? 0 : SEGMENT_COPY_AT);
            } else if (r == NULL) {
                assert_int_equal(met.n_met, m.n);
                assert_int_equal(met.end.torn_bytes, byte - made_end(&m) + 1);
            } else if (byte < last || told) {
                check_named(&met, r, byte);
                assert_int_equal(met.end.torn_bytes, 0);
            } else {
                assert_int_equal(met_of_batch(&met, m.n_batches - 1), 0);
                assert_int_equal(met.n_met, m.n - 2);
                assert_int_equal(met.n_damages, 0);
                assert_int_equal(met.end.offset, last);
                assert_int_equal(met.end.torn_bytes, written_end(&m) - last);
            }
        }
        bytes[byte] ^= (uint8_t)(1U << bit % 8);
    }
}

/* Damage in one batch, and the header that begins the next one gone too: the first is known to have
 * been whole all the same, by what is left of the second. */
static void damage_in_neighbours(void **state)
{
    (void)state;
    AUTO(made_done) struct made m;
    struct met met;
    made_usual(&m);
    m.file->bytes.p[m.ends[2] - 1] ^= 1; /* the tag of the third one's last record */
    m.file->bytes.p[m.ends[2]] ^= 1;
    assert_int_equal(made_scan(&m, NULL, &met), OK);
    assert_int_equal(met.n_met, m.n - 3);
    assert_int_equal(met_of_batch(&met, 2), 3);
    assert_int_equal(met.n_damages, 1);
    assert_int_equal(met.damages[0].what, DAMAGE_CONTENT);
    assert_int_equal(met.end.offset, m.ends[2]);
    assert_int_equal(met.end.torn_bytes, written_end(&m) - m.ends[2]);
    assert_int_equal(met.n_strange, 0);
}

/* Any sectors of the last batch that never reached the disk: none of it counts, all before does. */
static void a_power_cut_takes_a_batch_whole_or_not(void **state)
{
    (void)state;
    enum { SECTOR = 512 };
    AUTO(made_done) struct made m;
    struct met met;
    static uint8_t before[MADE_BYTES], after[MADE_BYTES];
    made_usual(&m);
    memcpy(before, m.file->bytes.p, MADE_BYTES);
    size_t n_before = m.n;
    uint32_t from = made_end(&m);
    made_batch(&m, 6, (size_t[]){700, 20, 600, 1000, 300, 50}, (uint64_t[]){1, 2, 0, 3, 0, 4});
    memcpy(after, m.file->bytes.p, MADE_BYTES);
    uint32_t first = from / SECTOR, n_sectors = (made_end(&m) + SECTOR - 1) / SECTOR - first;
    assert_true(n_sectors >= 6 && n_sectors < 10);
    for (unsigned subset = 0; subset < 1U << n_sectors; subset++) {
        for (uint32_t i = 0; i < n_sectors; i++) {
            size_t at = (size_t)(first + i) * SECTOR;
            memcpy(m.file->bytes.p + at, ((subset >> i & 1) != 0 ? after : before) + at, SECTOR);
        }
        bool is_whole = subset == (1U << n_sectors) - 1;
        assert_int_equal(made_scan(&m, NULL, &met), OK);
        assert_int_equal(met.n_strange, 0);
        assert_int_equal(met.n_damages, 0);
        assert_int_equal(met.n_met, is_whole ? m.n : n_before);
        assert_int_equal(met.end.offset, is_whole ? made_end(&m) : from);
        assert_true((met.end.torn_bytes > 0) == (!is_whole && subset != 0));
    }
}

/* A batch whose sync failed stands in the file, perhaps whole; the next segment says that it does
 * not count. */
static void a_failed_batch_does_not_count(void **state)
{
    (void)state;
    AUTO(made_done) struct made m;
    struct met met;
    made_usual(&m);
    uint32_t last = m.ends[m.n_batches - 2];
    struct batch_link later = {.segment = MADE_NUMBER, .offset = last};
    assert_int_equal(made_scan(&m, &later, &met), OK);
    assert_int_equal(met.n_met, m.n - 2);
    assert_int_equal(met.end.offset, last);
    assert_int_equal(met.end.torn_bytes, written_end(&m) - last);
    later = (struct batch_link){.segment = MADE_NUMBER - 1, .offset = 5000};
    assert_int_equal(made_scan(&m, &later, &met), OK);
    assert_int_equal(met.end.torn_bytes, 0U + written_end(&m) - met.end.offset);
}

static void erased_owners_are_no_damage(void **state)
{
    (void)state;
    AUTO(made_done) struct made m;
    struct met met;
    made_usual(&m);
    assert_int_equal(keyring_erase(m.keyring, (uint64_t[]){1, 3}, 2), OK);
    assert_int_equal(made_scan(&m, NULL, &met), OK); /* the sealer had their keys */
    unsigned n = 0;
    for (size_t i = 0; i < m.n; i++) {
        bool is_erased = m.records[i].head.owner == 1 || m.records[i].head.owner == 3;
        assert_true(met.is_met[i] != is_erased);
        if (is_erased) {
            assert_int_equal(met.damages[n].what, DAMAGE_ERASED);
            assert_true(met.damages[n].head.number == m.records[i].head.number);
            n++;
        }
    }
    assert_int_equal(met.n_damages, n);
    AUTO(buf_done) struct buf scratch = {0};
    struct record_head h;
    struct slice content;
    assert_int_equal(
        record_read(m.sealer, &m.disk->disk, m.file, m.records[0].place, &scratch, &h, &content),
        ERR_NOT_FOUND);
    assert_int_equal(keyring_add(m.keyring, (uint64_t[]){1}, 1), OK); /* another key */
    assert_int_equal(
        record_read(m.sealer, &m.disk->disk, m.file, m.records[0].place, &scratch, &h, &content),
        ERR_CRYPTO);
}

static void a_cut_file_says_what_is_missing(void **state)
{
    (void)state;
    AUTO(made_done) struct made m;
    struct met met;
    made_usual(&m);
    struct batch_link later = {.segment = MADE_NUMBER, .offset = made_end(&m)};
    for (uint32_t n = 0; n < made_end(&m); n++) {
        m.file->bytes.n = n;
        enum err e = made_scan(&m, &later, &met);
        if (n < 128) {
            assert_int_equal(e, ERR_TRUNCATED);
            continue;
        }
        assert_int_equal(e, OK);
        assert_int_equal(met.n_strange, 0);
        size_t n_whole = 0;
        for (size_t i = 0; i < m.n; i++) {
            n_whole += m.records[i].place.offset + m.records[i].place.bytes <= n;
        }
        assert_int_equal(met.n_met, n_whole);
        assert_true(met.n_damages > 0);
        const struct place *p = &met.damages[met.n_damages - 1].place;
        assert_int_equal(p->offset + p->bytes, MADE_BYTES);
        assert_int_equal(made_scan(&m, NULL, &met), OK);
        assert_true(met.n_damages > 0);
    }
}

static void bad_sectors_are_damage(void **state)
{
    (void)state;
    AUTO(made_done) struct made m;
    struct met met;
    made_usual(&m);
    m.disk->bad_n = 1;
    for (uint32_t at = 0; at < m.ends[m.n_batches - 2]; at += 50) {
        m.disk->bad_at = at;
        assert_int_equal(made_scan(&m, NULL, &met), OK);
        assert_int_equal(met.n_strange, 0);
        assert_true(met.n_damages > 0);
        assert_true(met.n_met < m.n || at < SEGMENT_HEAD_BYTES);
        assert_true(met.is_met[m.n - 1] || at / 512 == made_end(&m) / 512 || at >= 4608);
    }
    m.disk->bad_at = MADE_BYTES - 1; /* where nothing was written: said, and nothing lost */
    assert_int_equal(made_scan(&m, NULL, &met), OK);
    assert_int_equal(met.n_met, m.n);
    assert_int_equal(met.n_damages, 1);
}

static void headers_and_names(void **state)
{
    (void)state;
    AUTO(made_done) struct made m;
    made_init(&m, random_system());
    struct disk *d = &m.disk->disk;
    struct disk_file *f = NULL;
    struct segment_head head = m.head;
    static const struct {
        const char *name;
        bool want;
        uint32_t number;
    } names[] = {
        {"0000001f.log", true, 0x1f},
        {"ffffffff.log", true, UINT32_MAX},
        {"00000000.log", false, 0},
        {"0000001F.log", false, 0},
        {"0000001f.lo", false, 0},
        {"000001f.log", false, 0},
        {"0000001f.logs", false, 0},
        {"0000001g.log", false, 0},
        {"", false, 0},
    };
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        uint32_t number = 0;
        assert_int_equal(segment_number(names[i].name, &number), names[i].want);
        assert_true(!names[i].want || number == names[i].number);
    }
    char name[SEGMENT_NAME_BYTES];
    segment_name(0x1f, name);
    assert_string_equal(name, "store/0000001f.log");
    assert_int_equal(segment_create(d, m.keyring, &head, &f), ERR_EXISTS);
    assert_int_equal(segment_open(d, m.keyring, 8, true, &head, &f), ERR_NOT_FOUND);
    assert_int_equal(d->ops->rename(d, "store/00000007.log", "store/00000008.log"), OK);
    assert_int_equal(segment_open(d, m.keyring, 8, false, &head, &f), ERR_CRYPTO);
    for (long n = 0; n < 5; n++) {
        m.disk->fail_after = n;
        assert_int_equal(segment_create(d, m.keyring, &m.head, &f), ERR_IO);
        m.disk->fail_after = -1;
        enum err left = d->ops->remove(d, "store/00000007.log"); /* no disk to remove it then */
        assert_int_equal(left, n == 0 ? ERR_NOT_FOUND : OK);
    }
    m.disk->room_free = MADE_BYTES - 1;
    assert_int_equal(segment_create(d, m.keyring, &m.head, &f), ERR_SPACE);
    assert_int_equal(d->ops->remove(d, "store/00000007.log"), ERR_NOT_FOUND);
    head = m.head;
    head.bytes = SEGMENT_HEAD_BYTES - 1;
    assert_int_equal(segment_create(d, m.keyring, &head, &f), ERR_TOO_LARGE);
    head.bytes = UINT64_C(1) << 32;
    assert_int_equal(segment_create(d, m.keyring, &head, &f), ERR_TOO_LARGE);
}

static void more_owners_than_keys_are_kept(void **state)
{
    (void)state;
    enum { N = 4200 };
    AUTO(made_done) struct made m;
    AUTO(buf_done) struct buf batch = {0};
    static uint64_t ids[N];
    static struct place places[N];
    made_init(&m, random_system());
    for (size_t i = 0; i < N; i++) {
        ids[i] = 100 + i;
    }
    assert_int_equal(keyring_add(m.keyring, ids, N), OK);
    for (size_t i = 0; i < N; i++) {
        struct record_head head = {.kind = 1, .owner = ids[i], .number = i + 1};
        struct slice content = slice_of(&ids[i], sizeof ids[i]);
        assert_int_equal(record_seal(m.sealer, MADE_NUMBER, SEGMENT_HEAD_BYTES, &head, NULL,
                                     content, (struct slice){0}, &batch, &places[i]),
                         OK);
    }
    assert_int_equal(m.disk->disk.ops->write_at(m.file, SEGMENT_HEAD_BYTES, buf_slice(&batch)), OK);
    AUTO(buf_done) struct buf scratch = {0};
    for (size_t i = 0; i < N; i += 17) {
        struct record_head h;
        struct slice content;
        assert_int_equal(
            record_read(m.sealer, &m.disk->disk, m.file, places[i], &scratch, &h, &content), OK);
        assert_memory_equal(content.p, &ids[i], sizeof ids[i]);
    }
}

static void no_memory_is_an_error(void **state)
{
    (void)state;
    AUTO(made_done) struct made m;
    struct met met;
    made_usual(&m);
    bool failed = true;
    for (long n = 0; failed; n++) {
        (void)mem_fail_after(n);
        enum err e = made_scan(&m, NULL, &met);
        failed = mem_fail_after(-1);
        assert_int_equal(e, failed ? ERR_NOMEM : OK);
    }
    failed = true;
    for (long n = 0; failed; n++) {
        AUTO(buf_done) struct buf batch = {0};
        struct sealer *s = NULL;
        struct place place;
        struct record_head head = {.kind = 1, .owner = 1, .number = 1};
        (void)mem_fail_after(n);
        enum err e = sealer_new(m.keyring, m.head.salt, &s);
        if (e == OK) {
            e = record_seal(s, 1, 0, &head, NULL, slice_text("x"), (struct slice){0}, &batch,
                            &place);
        }
        failed = mem_fail_after(-1);
        assert_int_equal(e, failed ? ERR_NOMEM : OK);
        assert_true(e == OK || batch.n == 0);
        sealer_free(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_segments_come_back),
        cmocka_unit_test(nothing_readable_is_on_disk),
        cmocka_unit_test(every_flipped_bit_is_contained),
        cmocka_unit_test(damage_in_neighbours),
        cmocka_unit_test(a_power_cut_takes_a_batch_whole_or_not),
        cmocka_unit_test(a_failed_batch_does_not_count),
        cmocka_unit_test(erased_owners_are_no_damage),
        cmocka_unit_test(a_cut_file_says_what_is_missing),
        cmocka_unit_test(bad_sectors_are_damage),
        cmocka_unit_test(headers_and_names),
        cmocka_unit_test(more_owners_than_keys_are_kept),
        cmocka_unit_test(no_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
