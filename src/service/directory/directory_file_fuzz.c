#include <assert.h>

#include "service/directory/directory_file_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Whatever the file of a former version says: it is refused, or every principal can be found. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const struct siphash_key key = {1, 2};
    const struct random_source random = random_system();
    AUTO(credential_guard_autofree) const struct credential_guard *guard = NULL;
    AUTO(version_autofree) struct directory_version *v = NULL;
    enum err err = credential_guard_new(&random, &guard);
    assert(err == OK);
    if (directory_file_decode(slice_of(data, n), &key, guard, &v) == OK) {
        size_t at = 0;
        size_t found = 0;
        const struct directory_entry *e;
        while ((e = directory_next(v, &at)) != NULL) {
            assert(directory_find_id(v, e->principal->id) == e);
            found++;
        }
        assert(found == directory_version_count(v));
    }
    return 0;
}
