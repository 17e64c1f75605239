#include <assert.h>

#include "app/cli/client_url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct client_url u;
    if (client_url_parse(slice_of(data, n), &u) == OK) {
        assert(u.host[0] != '\0' && u.path.n < n);
        assert(u.password[0] == '\0' || u.username[0] != '\0');
    }
    return 0;
}
