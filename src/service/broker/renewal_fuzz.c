/* A CSR as a device sends it, in either form: what comes out is within its limit and begins as DER
 * does, and nothing comes out of what is refused. */
#include <assert.h>

#include "service/broker/renewal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct buf der = {0};
    enum err err = renewal_csr(slice_of(data, n), &der);
    assert(err == OK ? der.n > 0 && der.n <= RENEWAL_CSR_MAX && der.p[0] == 0x30 : der.n == 0);
    buf_done(&der);
    return 0;
}
