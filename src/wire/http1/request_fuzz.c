#include <assert.h>

#include "wire/http1/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Where a head ends does not depend on how it came, and what was decoded lies inside of it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct slice in = slice_of(data, n);
    struct http1_request r;
    size_t whole = 0, pieced = 0, at = 0;
    enum err e = http1_head_find(in, 0, &whole);
    enum err piece = ERR_AGAIN;
    while (piece == ERR_AGAIN && at < n) {
        piece = http1_head_find(slice_head(in, at + 1), at, &pieced);
        at++;
    }
    assert(e == piece && whole == pieced);
    struct slice head = e == OK ? slice_head(in, whole) : in;
    if (http1_request_decode(head, &r) == OK) {
        assert(e == OK && r.n_fields <= HTTP1_FIELDS_MAX && r.target.n > 0);
        size_t all = r.method.n + r.target.n;
        for (size_t i = 0; i < r.n_fields; i++) {
            all += r.fields[i].name.n + r.fields[i].value.n;
        }
        assert(all < head.n);
        (void)http1_request_lists(&r, "connection", "upgrade", false);
    }
    return 0;
}
