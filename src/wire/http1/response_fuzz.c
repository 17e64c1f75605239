#include <assert.h>

#include "wire/http1/response.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct http1_response r, old;
    bool is_old = false;
    if (http1_response_decode_old(slice_of(data, n), &old, &is_old) == OK) {
        enum err err = http1_response_decode(slice_of(data, n), &r);
        assert(err == (is_old ? ERR_UNSUPPORTED : OK) && old.status >= 100 && old.status <= 599);
    }
    if (http1_response_decode(slice_of(data, n), &r) == OK) {
        size_t all = 0;
        for (size_t i = 0; i < r.fields.n_fields; i++) {
            all += r.fields.fields[i].name.n + r.fields.fields[i].value.n;
        }
        assert(all < n && r.status >= 100 && r.status <= 599);
        (void)http1_request_lists(&r.fields, "connection", "upgrade", false);
    }
    return 0;
}
