/* A trail that somebody wrote into: the reader ends, and gives only lines that were written, in
 * their order; the proof finds that something is wrong. The input is a list of changes {u16 where,
 * u8 value}; the rest is a file of its own.
 */
#include <assert.h>

#include "base/rd.h"
#include "base/siphash.h"
#include "service/watch/prove.h"
#include "service/watch/trail.h"
#include "service/watch/trail_disk_test.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { LINES = 12, CHANGES_MAX = 32 };

static void is_next(void *ctx, struct slice line)
{
    unsigned *next = ctx;
    char want[32];
    bool found = false;
    while (!found && *next < LINES) {
        int size = snprintf(want, sizeof want, "{\"n\":%u}\n", (*next)++);
        found = slice_equal(line, slice_of(want, (size_t)size));
    }
    assert(found);
}

static void write_lines(struct trail_setup *s)
{
    for (unsigned i = 0; i < LINES;) {
        struct trail *t = NULL;
        enum err err = trail_open(s, &t);
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

/* Of the bytes of the trail; the files of the key and the anchor are not its. */
static uint64_t sum_of(const struct memory_disk *m)
{
    static const struct siphash_key key = {1, 2};
    uint64_t sum = 0;
    for (size_t i = 0; i < MEMORY_FILES_MAX; i++) {
        const struct disk_file *f = &m->files[i];
        if (f->is_there && strncmp(f->path, TRAIL_DIR "/", sizeof TRAIL_DIR) == 0) {
            sum = sum * 31 + siphash(&key, buf_slice(&f->bytes));
        }
    }
    return sum;
}

/* A file of the trail by its number among them. */
static struct buf *file_at(struct memory_disk *m, unsigned at)
{
    char name[TRAIL_NAME_BYTES];
    trail_name(1 + at, name);
    struct disk_file *f = memory_find(m, name);
    return f != NULL ? &f->bytes : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const uint8_t root[TRAIL_ROOT_BYTES] = {7};
    static struct memory_disk m;
    uint64_t seed = 1;
    memory_disk_init(&m);
    struct trail_setup setup = {.disk = &m.disk,
                                .root = slice_of(root, sizeof root),
                                .clock = clock_system(),
                                .random = random_seeded(&seed),
                                .file_bytes = 1500};
    write_lines(&setup);
    struct rd r = rd_from(slice_of(data, n));
    unsigned n_changes = rd_u8(&r) % CHANGES_MAX;
    uint64_t sum = sum_of(&m);
    for (unsigned i = 0; i < n_changes; i++) {
        uint16_t where = rd_u16(&r);
        uint8_t value = rd_u8(&r);
        struct buf *b = file_at(&m, where % 3);
        if (b != NULL && b->n > 0) {
            b->p[where / 3 % b->n] ^= value;
        }
    }
    struct prove_setup proof = {.disk = &m.disk, .root = setup.root};
    struct prove_report proven;
    bool is_changed = sum != sum_of(&m);
    enum err proved = prove_trail(&proof, &proven);
    assert(proved == OK && (proven.bad > 0) == is_changed);
    struct disk_file *own = NULL;
    enum err err = m.disk.ops->open(&m.disk, TRAIL_DIR "/000000ff.sealed", DISK_APPEND, &own);
    assert(err == OK);
    err = m.disk.ops->append(own, rd_rest(&r));
    proved = prove_trail(&proof, &proven);
    assert(proved == OK);
    unsigned next = 0;
    struct trail_sink sink = {.ctx = &next, .line = is_next};
    struct trail_report report;
    err = trail_read(&m.disk, setup.root, 0, &sink, &report);
    assert(err == OK);
    memory_disk_done(&m);
    return 0;
}
