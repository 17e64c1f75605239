/* Bad days: the disk fails, or memory ends, for a while. And the one thing that no day excuses: two
 * different records under one key and nonce. */
#include "base/mem.h"
#include "base/rd.h"
#include "base/siphash.h"
#include "sim.h"
#include "sim_disk.h"

enum { NONCES_MAX = 1 << 16, SEGMENTS_KNOWN = 256 };

/* ---- disk ---- */

void sim_trouble_begin(struct sim *s)
{
    static const struct sim_disk_faults kinds[] = {
        {.sync_io = 400},
        {.sync_io = 1000},
        {.write_io = 400},
        {.write_io = 1000},
        {.space = 1000},
        {.space = 300},
        {.sync_io = 100, .write_io = 100, .space = 100},
    };
    if (s->trouble_until > 0) {
        return;
    }
    struct sim_disk_faults f = kinds[sim_below(s, COUNT_OF(kinds))];
    f.read_io = s->knobs.has_spill ? 300 : 0;
    s->trouble_until = s->now_ms + 100 + sim_below(s, 4000);
    sim_say(s, "disk", "fails: %u writes, %u syncs, %u growths, %u reads of a thousand", f.write_io,
            f.sync_io, f.space, f.read_io);
    s->trouble_at = s->tick;
    sim_disk_set_faults(s->disk, &f);
}

void sim_trouble_end(struct sim *s)
{
    if (s->trouble_until > 0) {
        sim_say(s, "disk", "is well again");
        s->trouble_until = 0;
        s->is_trouble_news = true;
        s->trouble_at = s->tick;
        sim_disk_set_faults(s->disk, &(struct sim_disk_faults){0});
    }
}

/* What was refused may be noticed later than the disk is well: the log asks again once a second. */
void sim_trouble_note(struct sim *s)
{
    struct log_status status;
    log_status(s->store, &status);
    if (s->trouble_until > 0 || s->is_trouble_news || status.state != LOG_FINE) {
        s->trouble_at = s->tick;
    }
}

void sim_trouble_tend(struct sim *s)
{
    if (s->trouble_until > 0 && s->now_ms >= s->trouble_until) {
        sim_trouble_end(s);
    }
    sim_trouble_note(s);
}

bool sim_had_trouble(const struct sim *s, uint64_t since)
{
    struct log_status status = {0};
    if (s->store != NULL) {
        log_status(s->store, &status);
    }
    return status.state != LOG_FINE || (s->trouble_at > 0 && s->trouble_at >= since);
}

/* Mostly for a moment, for which everybody waits. Whoever meets one that lasts is refused: that is
 * trouble. */
void sim_stall_begin(struct sim *s)
{
    bool is_long = sim_chance(s, 20);
    s->stalled_from = s->now_ms;
    s->stalled_until =
        s->now_ms + 500 + sim_below(s, 4000) + (is_long ? JOURNAL_STALL_S * 1000 : 0);
    sim_say(s, "disk", "stands still");
}

void sim_stall_end(struct sim *s)
{
    if (s->stalled_until > 0) {
        sim_say(s, "disk", "goes on");
        s->stalled_until = 0;
    }
}

bool sim_is_stalled(struct sim *s)
{
    if (s->stalled_until > 0 && s->now_ms >= s->stalled_until) {
        sim_stall_end(s);
    }
    if (s->stalled_until > 0 && s->now_ms >= s->stalled_from + JOURNAL_STALL_S * 1000) {
        s->trouble_at = s->tick;
    }
    return s->stalled_until > 0;
}

/* ---- memory ---- */

void sim_memory_begin(struct sim *s)
{
    if (s->memory_steps == 0 || s->is_settling) {
        return;
    }
    s->memory_steps--;
    s->trouble_at = s->tick;
    (void)mem_fail_after((long)sim_below(s, 40));
}

void sim_memory_end(struct sim *s)
{
    if (mem_fail_after(-1)) {
        s->trouble_at = s->starved_at = s->tick;
        sim_say(s, "memory", "an allocation failed");
    }
}

/* ---- nonces ---- */

struct sim_nonces {
    struct sim *sim;
    struct siphash_key key;
    size_t n;
    struct {
        uint32_t number;
        uint64_t salt; /* a hash of it */
    } segments[SEGMENTS_KNOWN];
    size_t n_segments;
    struct {
        uint64_t name, content;
    } seen[NONCES_MAX];
};

static void forget_segment(struct sim_nonces *n, uint32_t number)
{
    for (size_t i = 0; i < n->n_segments; i++) {
        if (n->segments[i].number == number) {
            n->segments[i] = n->segments[--n->n_segments];
            return;
        }
    }
}

static bool salt_of(struct sim_nonces *n, uint32_t number, uint64_t *ret)
{
    for (size_t i = 0; i < n->n_segments; i++) {
        if (n->segments[i].number == number) {
            *ret = n->segments[i].salt;
            return true;
        }
    }
    struct segment_head head;
    struct disk_file *file = NULL;
    struct sim *s = n->sim;
    if (n->n_segments == SEGMENTS_KNOWN ||
        segment_open(s->disk, s->keyring, number, false, &head, &file) != OK) {
        return false;
    }
    s->disk->ops->close(file);
    *ret = siphash(&n->key, slice_of(head.salt, sizeof(head.salt)));
    n->segments[n->n_segments].number = number;
    n->segments[n->n_segments++].salt = *ret;
    return true;
}

static void see(struct sim_nonces *n, uint64_t salt, uint64_t owner, uint64_t number,
                struct slice record)
{
    uint64_t parts[3] = {salt, owner, number};
    uint64_t name = siphash(&n->key, slice_of(parts, sizeof(parts))) | 1;
    uint64_t content = siphash(&n->key, record);
    size_t at = name % NONCES_MAX;
    while (n->seen[at].name != 0 && n->seen[at].name != name) {
        at = (at + 1) % NONCES_MAX;
    }
    if (n->seen[at].name == name && n->seen[at].content != content) {
        sim_fail(n->sim, "-",
                 "two records are sealed under one key and nonce: number %llu of "
                 "owner %llu",
                 (unsigned long long)number, (unsigned long long)owner);
    }
    if (n->seen[at].name == 0 && n->n < NONCES_MAX / 2) {
        n->seen[at].name = name;
        n->seen[at].content = content;
        n->n++;
    }
}

static void wrote(void *ctx, const char *name, uint64_t at, struct slice bytes)
{
    struct sim_nonces *n = ctx;
    uint32_t number = 0;
    uint64_t salt = 0;
    struct slice path = slice_text(name), folder = slice_text(STORE_DIR "/");
    if (!slice_has_prefix(path, folder) || !segment_number(name + folder.n, &number)) {
        return;
    }
    if (at == 0) {
        forget_segment(n, number);
        return;
    }
    if (!salt_of(n, number, &salt)) {
        return;
    }
    while (bytes.n >= RECORD_HEAD_BYTES) {
        struct rd r = rd_from(bytes);
        (void)rd_u32(&r);
        uint32_t size = rd_u32(&r);
        (void)rd_u32(&r);
        uint64_t owner = rd_u64(&r), record = rd_u64(&r);
        if (size < RECORD_HEAD_BYTES || size > bytes.n) {
            return;
        }
        see(n, salt, owner, record, slice_head(bytes, size));
        bytes = slice_from(bytes, size);
    }
}

struct sim_nonces *sim_nonces_new(struct sim *s)
{
    struct sim_nonces *n = mem_zalloc(sizeof(*n));
    if (n != NULL) {
        n->sim = s;
        n->key = (struct siphash_key){.k0 = 1, .k1 = 2};
        sim_disk_set_watch(s->disk, &(struct sim_disk_watch){.ctx = n, .wrote = wrote});
    }
    return n;
}

struct sim_nonces *sim_nonces_free(struct sim_nonces *n)
{
    return mem_free(n);
}
