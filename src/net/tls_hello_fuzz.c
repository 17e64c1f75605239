#include <assert.h>

#include "net/tls_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A ticket lies within the bytes it came in, and a hello that was cut never shows another one than
 * the first it held, whole. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct slice bytes = slice_of(data, n);
    struct slice ticket = tls_hello_ticket(bytes);
    assert(ticket.n == 0 || (ticket.p >= data && ticket.p + ticket.n <= data + n));
    assert(tls_hello_ticket(slice_head(bytes, n / 2)).n <= n / 2);
    (void)tls_hello_greases(bytes);
    return 0;
}
