#include <assert.h>

#include "service/pki/status_door.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Method, path and type, a line each; then the body. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct slice rest = slice_of(data, n);
    bool more;
    struct status_request r = {.method = slice_cut(&rest, '\n', &more)};
    r.path = slice_cut(&rest, '\n', &more);
    r.type = slice_cut(&rest, '\n', &more);
    r.body = rest;
    const char *allow = NULL;
    struct status_question q;
    enum err err = status_door_find(&r, &q, &allow);
    assert(err != OK || q.n <= OCSP_REQUEST_MAX);
    assert(err != ERR_UNSUPPORTED || allow != NULL);
    return 0;
}
