#include <assert.h>

#include "base/mem.h"
#include "service/directory/credential_private.h"
#include "service/directory/directory_file_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* What is read can be written, and what was written reads back as the same text. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const struct siphash_key key = {1, 2};
    const struct random_source random = random_system();
    AUTO(credential_guard_autofree) const struct credential_guard *guard = NULL;
    AUTO(version_autofree) struct directory_version *v = NULL;
    enum err err = credential_guard_new(&random, &guard);
    assert(err == OK);
    if (directory_file_decode(slice_of(data, n), &key, guard, &v) != OK) {
        return 0;
    }
    AUTO(version_autofree) struct directory_version *again = NULL;
    AUTO(buf_wipe) struct buf first = {0};
    AUTO(buf_wipe) struct buf second = {0};
    err = directory_file_encode(v, &first);
    assert(err == OK);
    err = directory_file_decode(buf_slice(&first), &key, guard, &again);
    assert(err == OK);
    err = directory_file_encode(again, &second);
    assert(err == OK && slice_equal(buf_slice(&first), buf_slice(&second)));
    return 0;
}
