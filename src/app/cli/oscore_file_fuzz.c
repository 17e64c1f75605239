#include <assert.h>

#include "app/cli/oscore_file.h"
#include "base/scope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* What is read of a context derives keys; what is read of a record is written so that it is read
 * again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct oscore_given g;
    struct oscore_record r, again;
    if (oscore_given_read(slice_of(data, n), &g) == OK) {
        struct oscore_keys keys;
        struct oscore_material m = oscore_given_material(&g);
        enum err err = oscore_keys_derive(&m, &keys);
        assert(err == OK);
        (void)err;
    }
    if (oscore_record_read(slice_of(data, n), &r) == OK) {
        AUTO(buf_done) struct buf text = {0};
        enum err err = oscore_record_write(&r, &text);
        err = err == OK ? oscore_record_read(buf_slice(&text), &again) : err;
        assert(err == OK && again.next == r.next);
    }
    return 0;
}
