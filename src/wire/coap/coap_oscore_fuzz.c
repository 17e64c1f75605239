#include <assert.h>

#include "wire/coap/oscore.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* What decodes has one form only: it encodes to the very same bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    uint8_t again[COAP_OSCORE_OPTION_MAX];
    struct coap_oscore o;
    struct wr w = wr_into(again, sizeof(again));
    if (coap_oscore_decode(slice_of(data, n), &o) != OK) {
        return 0;
    }
    coap_oscore_encode(&o, &w);
    assert(wr_ok(&w) && slice_equal(wr_slice(&w), slice_of(data, n)));
    return 0;
}
