#include <assert.h>

#include "service/directory/directory_record_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static enum err again_principal(struct slice text, const struct credential_guard *guard,
                                struct buf *ret)
{
    AUTO(entry_autofree) const struct directory_entry *e = NULL;
    TRY(principal_record_read(text, guard, &e));
    return principal_record_write(e, ret);
}

static enum err again_exception(struct slice text, struct buf *ret)
{
    struct directory_exception e;
    TRY(exception_record_read(text, &e));
    return exception_record_write(&e, ret);
}

static enum err again_head(struct slice text, struct buf *ret)
{
    AUTO(directory_head_done) struct directory_head h = {0};
    TRY(head_record_read(text, &h));
    return head_record_write(&h, ret);
}

static enum err again_roster(struct slice text, struct buf *ret)
{
    struct roster_page p = {0};
    TRY(roster_record_read(text, &p));
    return roster_record_write(&p, ret);
}

static enum err again(uint8_t kind, struct slice text, const struct credential_guard *guard,
                      struct buf *ret)
{
    switch (kind % 4) {
    case 0:
        return again_principal(text, guard, ret);
    case 1:
        return again_exception(text, ret);
    case 2:
        return again_head(text, ret);
    default:
        return again_roster(text, ret);
    }
}

/* What is read can be written, and what was written reads back as the same text. The first byte
 * says which record it is. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const struct random_source random = random_system();
    AUTO(credential_guard_autofree) const struct credential_guard *guard = NULL;
    AUTO(buf_wipe) struct buf first = {0};
    AUTO(buf_wipe) struct buf second = {0};
    enum err err = credential_guard_new(&random, &guard);
    assert(err == OK);
    if (n > 0 && again(data[0], slice_of(data + 1, n - 1), guard, &first) == OK) {
        err = again(data[0], buf_slice(&first), guard, &second);
        assert(err == OK && slice_equal(buf_slice(&first), buf_slice(&second)));
    }
    return 0;
}
