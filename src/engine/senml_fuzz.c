#include <assert.h>
#include <stdlib.h>

#include "base/rd.h"
#include "engine/senml_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool is_good(enum senml_form form, struct slice pack, enum senml_kind kind)
{
    const char *why = NULL;
    enum err err = senml_check(form, pack, kind, &why);
    assert(err == OK || why != NULL);
    return err == OK;
}

/* What is selected is a pack, not larger than its target, and all of it is selected again. */
static void fetches(enum senml_form form, struct slice target, struct slice fetch)
{
    struct buf once = {0}, twice = {0};
    enum err err = senml_fetch(form, target, fetch, &once);
    assert(err == OK && once.n <= target.n + 8 && is_good(form, buf_slice(&once), SENML_PACK));
    err = senml_fetch(form, buf_slice(&once), fetch, &twice);
    assert(err == OK && slice_equal(buf_slice(&once), buf_slice(&twice)));
    buf_done(&once);
    buf_done(&twice);
}

/* Are these the same records, however their base fields are written? */
static bool is_same(enum senml_form form, struct slice a, struct slice b)
{
    struct senml_reader s = senml_read(form, a, SENML_PACK), t = senml_read(form, b, SENML_PACK);
    struct senml_record x, y;
    enum err err = OK;
    while (err == OK) {
        err = senml_next(&s, &x);
        enum err other = senml_next(&t, &y);
        if (err != other) {
            return false;
        }
        bool is_equal =
            err != OK ||
            (slice_equal(slice_of(x.name, x.name_n), slice_of(y.name, y.name_n)) &&
             x.has_unit == y.has_unit &&
             slice_equal(slice_of(x.unit, x.unit_n), slice_of(y.unit, y.unit_n)) &&
             (x.fields & SENML_VALUES) == (y.fields & SENML_VALUES) && x.time - y.time == 0);
        if (!is_equal) {
            return false;
        }
    }
    return true;
}

/* What is patched is a pack, and the same patch changes nothing more. Only a field that a patch may
 * bring and a pack must understand is in the way. SPEC: RFC8790 3.2, 5 */
static void patches(enum senml_form form, struct slice target, struct slice patch)
{
    struct buf once = {0}, twice = {0};
    if (senml_patch(form, target, patch, &once) == OK) {
        const char *why = NULL;
        enum err err = senml_check(form, buf_slice(&once), SENML_PACK, &why);
        assert(err == OK || err == ERR_UNSUPPORTED);
        if (err == OK && senml_patch(form, buf_slice(&once), patch, &twice) == OK) {
            assert(is_same(form, buf_slice(&once), buf_slice(&twice)));
        }
    }
    buf_done(&once);
    buf_done(&twice);
}

/* The form, and how long the target is, in two bytes; the target; a fetch or patch pack. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct rd r = rd_from(slice_of(data, n));
    uint16_t head = rd_u16(&r);
    enum senml_form form = (head >> 15 & 1) != 0 ? SENML_CBOR : SENML_JSON;
    struct slice target = rd_bytes(&r, head & 0x7FFF), etch = rd_rest(&r);
    bool has_target = is_good(form, target, SENML_PACK);
    int64_t newest_ms = 0;
    bool has_time = senml_newest(form, target, &newest_ms);
    assert(!has_time || (has_target && newest_ms >= 268435456000 && newest_ms < 253402300800000));
    if (has_target && is_good(form, etch, SENML_FETCH)) {
        fetches(form, target, etch);
    }
    if ((has_target || target.n == 0) && is_good(form, etch, SENML_PATCH)) {
        patches(form, target, etch);
    }
    return 0;
}
