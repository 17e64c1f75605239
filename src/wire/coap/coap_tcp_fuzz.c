#include <assert.h>

#include "wire/coap/tcp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* First byte: the longest token, and in its lowest bit the form. What decodes must encode, in as
 * many bytes as were foretold, and decode to the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static uint8_t again[70000 * 2];
    size_t token_max = n > 0 ? data[0] : 8, again_n = 0, size = 0;
    enum coap_tcp_form form = (token_max & 1) != 0 ? COAP_TCP_FRAMED : COAP_TCP_STREAM;
    struct slice in = slice_from(slice_of(data, n), 1);
    struct coap_message m, second;
    if (n > sizeof(again) / 2) {
        return 0;
    }
    enum err err = coap_tcp_size(in, 1000, &size);
    assert(err != OK || size <= 1000);
    struct slice one = form == COAP_TCP_STREAM && err == OK ? slice_head(in, size) : in;
    if (coap_tcp_decode(one, form, token_max, &m) != OK) {
        return 0;
    }
    assert(m.token.n <= token_max);
    assert(form == COAP_TCP_FRAMED || err != OK || one.n == size);
    assert(coap_tcp_encode(&m, form, again, sizeof(again), &again_n) == OK);
    assert(again_n == coap_tcp_bytes(&m, form));
    assert(coap_tcp_decode(slice_of(again, again_n), form, token_max, &second) == OK);
    assert(slice_equal(m.token, second.token) && slice_equal(m.payload, second.payload));
    assert(slice_equal(m.options, second.options) && m.code == second.code);
    return 0;
}
