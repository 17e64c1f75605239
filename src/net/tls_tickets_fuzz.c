#include <assert.h>

#include "net/tls_tickets.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* The same bytes as saved keys and as a ticket. What loads is saved again and loads again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct tls_tickets_setup s = {
        .life_s = TLS_TICKETS_LIFE_S_MAX, .clock = clock_system(), .random = random_system()};
    AUTO(tls_tickets_autofree) struct tls_tickets *t = NULL;
    AUTO(buf_wipe) struct buf again = {0};
    bool changed;
    if (tls_tickets_new(&s, &t) != OK) {
        return 0;
    }
    assert(!tls_tickets_open(t, slice_of(data, n)));
    if (tls_tickets_load(t, slice_of(data, n)) != OK) {
        return 0;
    }
    enum err err = tls_tickets_save(t, &again);
    assert(err == OK && again.n <= TLS_TICKETS_SAVED_MAX);
    err = tls_tickets_load(t, buf_slice(&again));
    assert(err == OK);
    err = tls_tickets_rotate(t, &changed);
    assert(err == OK);
    return 0;
}
