/* A trail that somebody wrote into, and a place in it that somebody made up: who follows ends,
 * never gives a record twice in one pass or one that was not written, and goes on from any place.
 * The input is {u8 n, n changes {u16 where, u8 value}, u8 turns, a spot, the rest}: the rest is a
 * file of its own.
 */
#include <assert.h>

#include "base/rd.h"
#include "service/watch/trail_disk_test.h"
#include "service/watch/trail_follow.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { LINES = 12, CHANGES_MAX = 32, RECORDS_MAX = 4 * LINES, PASSES_MAX = 3 };

static const uint8_t root[TRAIL_ROOT_BYTES] = {7};

static void write_lines(struct memory_disk *m)
{
    uint64_t seed = 1;
    struct trail_setup setup = {.disk = &m->disk,
                                .root = slice_of(root, sizeof root),
                                .clock = clock_system(),
                                .random = random_seeded(&seed),
                                .file_bytes = 1500};
    for (unsigned i = 0; i < LINES;) {
        struct trail *t = NULL;
        enum err err = trail_open(&setup, &t);
        assert(err == OK);
        for (unsigned end = i + 4; i < end; i++) { /* three openings */
            char line[32];
            int size = snprintf(line, sizeof line, "{\"n\":%u}\n", i);
            err = trail_append(t, slice_of(line, (size_t)size));
            assert(err == OK);
        }
        trail_free(t);
    }
}

static void change(struct memory_disk *m, struct rd *r)
{
    unsigned n_changes = rd_u8(r) % CHANGES_MAX;
    for (unsigned i = 0; i < n_changes; i++) {
        uint16_t where = rd_u16(r);
        uint8_t value = rd_u8(r);
        char name[TRAIL_NAME_BYTES];
        trail_name(1 + where % 3, name);
        struct disk_file *f = memory_find(m, name);
        if (f != NULL && f->bytes.n > 0) {
            f->bytes.p[where / 3 % f->bytes.n] ^= value;
        }
    }
}

static bool was_written(const struct chain_entry *e)
{
    char want[32];
    bool found = e->kind != CHAIN_EVENT;
    for (unsigned i = 0; i < LINES && !found; i++) {
        int size = snprintf(want, sizeof want, "{\"n\":%u}\n", i);
        found = slice_equal(e->body, slice_of(want, (size_t)size));
    }
    return found;
}

/* To the end from where it stands; one pass gives each record once. */
static void follow(struct trail_follow *f)
{
    struct trail_next next;
    unsigned n = 0;
    enum err err;
    while ((err = trail_follow_next(f, &next)) == OK) {
        assert(was_written(&next.entry) && ++n <= RECORDS_MAX);
        assert(trail_follow_spot(f).seq == next.entry.seq);
    }
    assert(err == ERR_AGAIN);
}

static struct trail_spot made_up(struct rd *r)
{
    uint8_t bytes[TRAIL_SPOT_BYTES];
    struct trail_spot again, s = {.file = rd_u32(r) % 300};
    s.opening = rd_u64(r);
    s.offset = rd_u64(r);
    s.seq = rd_u64(r);
    trail_spot_encode(&s, bytes);
    bool is_good = trail_spot_decode(slice_of(bytes, sizeof bytes), &again) == OK;
    assert(!is_good || (again.file == s.file && again.opening == s.opening &&
                        again.offset == s.offset && again.seq == s.seq));
    return is_good ? s : (struct trail_spot){0};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct memory_disk m;
    struct trail_follow *f = NULL;
    struct trail_spot spot;
    struct rd r = rd_from(slice_of(data, n));
    enum err err = trail_spot_decode(slice_of(data, n), &spot);
    assert(err != OK || n == TRAIL_SPOT_BYTES);
    memory_disk_init(&m);
    write_lines(&m);
    change(&m, &r);
    unsigned n_passes = rd_u8(&r) % PASSES_MAX;
    spot = made_up(&r);
    struct disk_file *own = NULL;
    err = m.disk.ops->open(&m.disk, TRAIL_DIR "/000000ff.sealed", DISK_APPEND, &own);
    assert(err == OK);
    err = m.disk.ops->append(own, rd_rest(&r));
    assert(err == OK);
    err = trail_follow_new(&m.disk, slice_of(root, sizeof root), &f);
    assert(err == OK);
    follow(f);
    for (unsigned i = 0; i < n_passes; i++) {
        trail_follow_to(f, &spot);
        follow(f);
    }
    trail_follow_free(f);
    memory_disk_done(&m);
    return 0;
}
