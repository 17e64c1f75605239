/* Stories: keys in wrong hands, anchors, crashes, keys that change, what was before. */
#include "service/watch/prove_case_test.h"

/* ---- who has the keys of the files, and not the one that signs ---- */

/* Seals record i again with other words, and, if asked, all behind it so that the hashes fit. */
static void reseal(struct place *p, size_t i, bool whole_chain)
{
    static uint8_t plain[TRAIL_PLAIN_MAX], out[TRAIL_RECORD_MAX];
    struct digest head = {{0}};
    for (size_t k = i; k < p->n && (k == i || whole_chain); k++) {
        const struct lying *r = &p->records[k];
        struct buf *b = file_bytes(&p->disk, r->file);
        AUTO(trail_seal_done) struct trail_seal seal = {0};
        struct trail_record record;
        struct trail_place at = {.file = r->file, .offset = r->offset};
        struct slice text, here = slice_from(buf_slice(b), (size_t)r->offset);
        for (uint64_t o = 0; o < r->offset; o++) { /* the last head before it */
            struct trail_place place = {.file = r->file, .offset = o};
            uint32_t copy;
            enum err err = trail_head_read(p->setup.root, place,
                                           slice_from(buf_slice(b), (size_t)o), &seal, &copy);
            assert_true(err == OK || err == ERR_NOT_FOUND);
        }
        assert_true(trail_record_head(&seal, at, here, &record));
        assert_int_equal(trail_record_open(&seal, &record, here, plain, &text), OK);
        if (k == i) {
            plain[text.n - 2] ^= 1;
        } else {
            memcpy(plain, head.bytes, sizeof head.bytes);
        }
        struct digest leaf, prev;
        memcpy(prev.bytes, plain, sizeof prev.bytes);
        assert_int_equal(chain_leaf(text, &leaf), OK);
        assert_int_equal(chain_head(&prev, &leaf, &head), OK);
        assert_int_equal(trail_record_write(&seal, at, record.number, text, out), OK);
        memcpy(b->p + r->offset, out, (size_t)r->bytes);
    }
}

static void test_resealed(void **state)
{
    struct place *p = *state;
    make(p);
    for (size_t i = 1; i + 1 < p->n; i++) {
        reseal(p, i, false);
        prove(p);
        expect(p, PROVE_rewritten, i + 1, i + 2);
        put_back(p);
    }
}

static void test_the_chain_made_anew(void **state)
{
    struct place *p = *state;
    make(p);
    for (size_t i = 1; i + 1 < p->n; i += 3) {
        reseal(p, i, true);
        prove(p);
        const struct prove_finding *f = finding(p, PROVE_rewritten);
        assert_non_null(f); /* the first checkpoint behind it */
        assert_true(f->first >= i + 1);
        put_back(p);
    }
}

/* ---- anchors ---- */

static void test_anchors(void **state)
{
    struct place *p = *state;
    struct anchor early, late;
    struct trail *t = open_trail(p);
    add(p, t, 3);
    assert_int_equal(trail_anchor(t, &early), OK);
    copy_disk(&p->disk, &p->copy); /* audit.head too */
    add(p, t, 3);
    assert_int_equal(trail_anchor(t, &late), OK);
    trail_free(t);
    const struct anchor both[] = {early, late};
    prove_with(p, both, 2, early.key);
    expect_good(p);

    /* All of it put back to an older day: only what is outside knows. */
    put_back(p);
    prove(p);
    expect_good(p);
    prove_with(p, both, 2, NULL);
    assert_int_equal(p->report.bad, 1);
    expect(p, PROVE_truncated, early.count + 1, late.count);

    struct anchor forged = early;
    forged.count++;
    prove_with(p, &forged, 1, NULL);
    expect(p, PROVE_anchor, forged.count, forged.count);
    prove_with(p, NULL, 0, p->root);
    assert_non_null(finding(p, PROVE_key));
}

static void test_all_of_it_replaced(void **state)
{
    struct place *p = *state;
    struct anchor a;
    struct trail *t = open_trail(p);
    add(p, t, 3);
    assert_int_equal(trail_anchor(t, &a), OK);
    trail_free(t);
    memory_disk_done(&p->disk);
    memory_disk_init(&p->disk);
    write_opening(p, 9);
    prove_with(p, &a, 1, a.key);
    assert_non_null(finding(p, PROVE_anchor));
    assert_non_null(finding(p, PROVE_key));
}

static void test_the_own_anchor(void **state)
{
    struct place *p = *state;
    make(p);
    struct disk_file *f = memory_find(&p->disk, ANCHOR_FILE);
    f->bytes.p[f->bytes.n / 2] ^= 1;
    prove(p);
    assert_int_equal(p->report.bad, 1);
    put_back(p);
    assert_int_equal(p->disk.disk.ops->remove(&p->disk.disk, ANCHOR_FILE), OK);
    prove(p);
    assert_int_equal(p->report.bad, 1);
    assert_non_null(finding(p, PROVE_deleted));
}

/* Everything is deleted while it stands still, and the daemon begins anew. */
static void test_begun_anew(void **state)
{
    struct place *p = *state;
    make(p);
    for (uint32_t file = 1; file <= 3; file++) {
        char name[TRAIL_NAME_BYTES];
        trail_name(file, name);
        assert_int_equal(p->disk.disk.ops->remove(&p->disk.disk, name), OK);
    }
    struct trail *t = open_trail(p);
    assert_int_equal(trail_amiss(t).missing, p->n);
    add(p, t, 1);
    trail_free(t);
    prove(p);
    expect(p, PROVE_deleted, 1, p->n);
}

/* Cut while it stands still: what goes on behind it does not hide it. */
static void test_cut_and_gone_on(void **state)
{
    struct place *p = *state;
    make(p);
    const struct lying *r = &p->records[p->n - 3];
    file_bytes(&p->disk, r->file)->n = (size_t)r->offset;
    struct trail *t = open_trail(p);
    assert_int_equal(trail_amiss(t).missing, 3);
    add(p, t, 2);
    trail_free(t);
    prove(p);
    assert_int_equal(p->report.bad, 1);
    expect(p, PROVE_deleted, r->seq, p->n);
}

/* ---- a crash is not tampering ---- */

static void test_a_crash_anywhere(void **state)
{
    struct place *p = *state;
    p->setup.file_bytes = 0;
    write_opening(p, 2);
    struct trail *t = open_trail(p);
    add(p, t, 1);
    assert_int_equal(trail_sync(t), OK);
    size_t from = file_bytes(&p->disk, 1)->n;
    add(p, t, 2);
    keep(p);
    trail_free(t);
    size_t until = file_bytes(&p->copy, 1)->n;
    for (size_t size = from; size <= until; size++) {
        bool is_full = size % 2 == 0; /* then what goes on begins a file for each line */
        put_back(p);
        p->setup.file_bytes = is_full ? 100 : 0;
        file_bytes(&p->disk, 1)->n = size;
        prove(p);
        expect_good(p);
        assert_non_null(finding(p, PROVE_open));
        uint64_t before = p->report.last;
        bool is_half = finding(p, PROVE_crash) != NULL;
        write_opening(p, 2);
        prove(p);
        expect_good(p);
        assert_int_equal(p->report.last, before + (is_full ? 6 : 4));
        assert_int_equal(finding(p, PROVE_crash) != NULL, is_half);
        assert_null(finding(p, PROVE_open));
        if (is_half) { /* which checkpoint says so, and where */
            assert_int_equal(finding(p, PROVE_crash)->first, before + 1);
            assert_int_equal(finding(p, PROVE_crash)->offset + finding(p, PROVE_crash)->bytes,
                             size);
        }
    }
}

/* A crash before the first checkpoint, in heads and in it. */
static void test_a_crash_at_the_beginning(void **state)
{
    struct place *p = *state;
    write_opening(p, 1);
    keep(p);
    size_t whole = (size_t)(p->records[0].offset + p->records[0].bytes);
    for (size_t size = 0; size < whole; size++) {
        put_back(p);
        assert_int_equal(p->disk.disk.ops->remove(&p->disk.disk, ANCHOR_FILE), OK);
        file_bytes(&p->disk, 1)->n = size;
        prove(p);
        expect_good(p);
        write_opening(p, 1);
        prove(p);
        expect_good(p);
    }
}

static void test_a_full_disk(void **state)
{
    struct place *p = *state;
    for (size_t room = 200; room < 1400; room += 37) {
        memory_disk_done(&p->disk);
        memory_disk_init(&p->disk);
        struct trail *t = open_trail(p);
        p->disk.tears = true;
        p->disk.room = room;
        unsigned n = 0;
        while (n < 3) {
            n += trail_append(t, slice_text("{\"n\":1}\n")) != OK;
        }
        p->disk.room = MEMORY_FILE_MAX;
        add(p, t, 3);
        trail_free(t);
        prove(p);
        expect_good(p);
    }
}

static enum err no_room(struct disk *d, const char *from, const char *to)
{
    (void)d;
    (void)from;
    (void)to;
    return ERR_SPACE;
}

/* The key and audit.head cannot be saved: lines are refused, the daemon starts, and goes on when
 * there is room. */
static void test_no_room_for_the_key(void **state)
{
    struct place *p = *state;
    const struct disk_ops *good = p->disk.disk.ops;
    struct disk_ops full = *good;
    full.rename = no_room;
    p->disk.disk.ops = &full;
    struct trail *t = open_trail(p);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(trail_append(t, slice_text("{}\n")), ERR_SPACE);
    }
    p->disk.disk.ops = good;
    add(p, t, 2);
    trail_free(t);
    prove(p);
    expect_good(p);
    assert_int_equal(p->report.records, 4);
    p->disk.disk.ops = &full; /* a key there is, audit.head stays behind */
    t = open_trail(p);
    assert_int_equal(trail_append(t, slice_text("{}\n")), ERR_SPACE);
    trail_free(t);
    p->disk.disk.ops = good;
    prove(p);
    expect_good(p);
    write_opening(p, 1);
    prove(p);
    expect_good(p);
}

/* ---- keys ---- */

static void test_the_key_changes(void **state)
{
    struct place *p = *state;
    struct anchor before, after;
    struct trail *t = open_trail(p);
    add(p, t, 2);
    assert_int_equal(trail_anchor(t, &before), OK);
    assert_int_equal(trail_roll_key(t), OK);
    add(p, t, 2);
    assert_int_equal(trail_anchor(t, &after), OK);
    assert_memory_not_equal(before.key, after.key, sizeof before.key);
    trail_free(t);
    write_opening(p, 2);
    const struct anchor both[] = {before, after};
    prove_with(p, both, 2, before.key);
    expect_good(p);
    prove_with(p, both, 2, after.key);
    expect_good(p);
    assert_memory_equal(p->report.key, after.key, sizeof after.key);
}

static void test_the_key_is_gone(void **state)
{
    struct place *p = *state;
    make(p);
    assert_int_equal(p->disk.disk.ops->remove(&p->disk.disk, TRAIL_KEY_FILE), OK);
    struct trail *t = open_trail(p);
    assert_true(trail_amiss(t).has_new_key);
    add(p, t, 1);
    trail_free(t);
    prove(p);
    assert_int_equal(p->report.bad, 1);
    assert_int_equal(finding(p, PROVE_key)->first, p->n + 1);
}

/* ---- pace ---- */

static void test_when_it_signs(void **state)
{
    struct place *p = *state;
    p->setup.file_bytes = 0;
    struct trail *t = open_trail(p);
    assert_int_equal(trail_deadline(t), UINT64_MAX);
    add(p, t, 1);
    uint64_t at = p->now_ms + TRAIL_SIGN_MS;
    assert_int_equal(trail_deadline(t), p->now_ms + TRAIL_IDLE_MS);
    p->now_ms += TRAIL_IDLE_MS - 1;
    assert_int_equal(trail_sync(t), OK);
    assert_int_equal(trail_deadline(t), p->now_ms + 1);
    p->now_ms++;
    assert_int_equal(trail_sync(t), OK); /* the anchor, nothing in the trail */
    assert_int_equal(trail_deadline(t), at);
    p->now_ms = at - 1;
    assert_int_equal(trail_sync(t), OK);
    assert_int_equal(trail_deadline(t), at);
    p->now_ms = at;
    assert_int_equal(trail_sync(t), OK);
    assert_int_equal(trail_deadline(t), UINT64_MAX);
    prove(p);
    assert_int_equal(p->report.checkpoints, 2);
    assert_int_equal(p->report.signed_to, 3);
    add(p, t, TRAIL_SIGN_ENTRIES);
    prove(p);
    assert_int_equal(p->report.checkpoints, 2);
    add(p, t, 1);
    prove(p);
    expect_good(p);
    assert_int_equal(p->report.checkpoints, 3);
    trail_free(t);
}

/* ---- files that were forgotten ---- */

static void test_forgotten(void **state)
{
    struct place *p = *state;
    write_opening(p, 150);
    prove(p);
    expect_good(p);
    assert_int_equal(p->report.files, TRAIL_FILES_MAX + 1);
    assert_non_null(finding(p, PROVE_forgotten));
    uint32_t oldest = 1;
    while (file_bytes(&p->disk, oldest) == NULL) {
        oldest++;
    }
    char name[TRAIL_NAME_BYTES];
    trail_name(oldest, name);
    assert_int_equal(p->disk.disk.ops->remove(&p->disk.disk, name), OK);
    prove(p);
    assert_int_equal(p->report.bad, 1);
    assert_int_equal(finding(p, PROVE_deleted)->file, oldest);
}

/* ---- the version before ---- */

static void write_older(struct place *p, unsigned n)
{
    static const uint8_t salt[TRAIL_SALT_BYTES] = {3};
    uint8_t bytes[256];
    AUTO(trail_seal_done) struct trail_seal seal = {0};
    struct disk_file *f;
    char name[TRAIL_NAME_BYTES];
    trail_name(1, name);
    assert_int_equal(p->disk.disk.ops->open(&p->disk.disk, name, DISK_APPEND, &f), OK);
    assert_int_equal(trail_seal_new(TRAIL_VERSION_LINES, p->setup.root, salt, &seal), OK);
    for (uint32_t i = 0; i < TRAIL_HEADS; i++) {
        struct trail_place at = {.file = 1, .offset = f->bytes.n};
        assert_int_equal(trail_head_write(&seal, at, i, bytes), OK);
        assert_int_equal(p->disk.disk.ops->append(f, slice_of(bytes, TRAIL_HEAD_BYTES_1)), OK);
    }
    for (unsigned i = 0; i <= n; i++) {
        struct trail_place at = {.file = 1, .offset = f->bytes.n};
        struct slice line = i < n ? slice_text("{\"n\":1}\n") : (struct slice){0};
        assert_int_equal(trail_record_write(&seal, at, i, line, bytes), OK);
        size_t size = trail_record_min(TRAIL_VERSION_LINES) + line.n;
        assert_int_equal(p->disk.disk.ops->append(f, slice_of(bytes, size)), OK);
    }
}

static void count_line(void *ctx, struct slice line)
{
    unsigned *n = ctx;
    assert_true(line.n > 0);
    (*n)++;
}

static void test_the_version_before(void **state)
{
    struct place *p = *state;
    unsigned lines = 0;
    struct trail_sink sink = {.ctx = &lines, .line = count_line};
    struct trail_report report;
    write_older(p, 5);
    prove(p);
    expect_good(p);
    assert_non_null(finding(p, PROVE_older));
    write_opening(p, 3);
    assert_int_equal(trail_read(p->setup.disk, p->setup.root, 0, &sink, &report), OK);
    assert_int_equal(lines, 8);
    assert_int_equal(report.damages + report.torn_bytes, 0);
    prove(p);
    expect_good(p);
    assert_int_equal(p->report.older_lines, 5);
    assert_int_equal(p->report.first, 1);
    assert_non_null(finding(p, PROVE_older));
    keep(p);
    size_t end = file_bytes(&p->copy, 1)->n - trail_record_min(TRAIL_VERSION_LINES);
    for (size_t at = 0; at < end; at += 3) { /* all but the mark of the end, which is no line */
        file_bytes(&p->disk, 1)->p[at] ^= 1;
        prove(p);
        assert_true(p->report.bad > 0);
        put_back(p);
    }
    cut(file_bytes(&p->disk, 1), (uint64_t)2 * TRAIL_HEAD_BYTES_1 + 4 * 40, 40);
    prove(p);
    assert_true(p->report.bad > 0);
    /* A version before that goes on writes a file of its own, which nothing binds. */
    put_back(p);
    struct disk_file *f = memory_find(&p->disk, TRAIL_DIR "/00000001.sealed");
    (void)slice_to_text(slice_text(TRAIL_DIR "/00000009.sealed"), f->path, sizeof f->path);
    prove(p);
    assert_true(p->report.bad > 0);
}

static void test_no_memory(void **state)
{
    struct place *p = *state;
    make(p);
    struct prove_setup s = {.disk = p->setup.disk, .root = p->setup.root};
    struct prove_report report;
    for (long n = 0; n < 200; n++) {
        mem_fail_after(n);
        enum err err = prove_trail(&s, &report);
        bool failed = mem_fail_after(-1) != 0;
        assert_true(err == OK ? report.bad == 0 : failed && err == ERR_NOMEM);
    }
    s.root = slice_of(p->root, 31);
    assert_int_equal(prove_trail(&s, &report), ERR_CRYPTO);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_resealed),
        CASE(test_the_chain_made_anew),
        CASE(test_anchors),
        CASE(test_all_of_it_replaced),
        CASE(test_the_own_anchor),
        CASE(test_begun_anew),
        CASE(test_cut_and_gone_on),
        CASE(test_a_crash_anywhere),
        CASE(test_a_crash_at_the_beginning),
        CASE(test_a_full_disk),
        CASE(test_no_room_for_the_key),
        CASE(test_the_key_changes),
        CASE(test_the_key_is_gone),
        CASE(test_when_it_signs),
        CASE(test_forgotten),
        CASE(test_the_version_before),
        CASE(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
