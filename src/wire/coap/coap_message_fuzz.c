#include <assert.h>

#include "wire/coap/option.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* First byte: the longest token. What decodes must encode, and decode to the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static uint8_t again[70000 * 2];
    struct slice in = slice_of(data, n);
    struct coap_message m, second;
    size_t token_max = n > 0 ? data[0] : 8, again_n = 0;
    if (n > sizeof(again) / 2 || coap_message_decode(slice_from(in, 1), token_max, &m) != OK) {
        return 0;
    }
    assert(m.token.n <= token_max);
    assert(coap_message_encode(&m, again, sizeof(again), &again_n) == OK);
    assert(coap_message_decode(slice_of(again, again_n), token_max, &second) == OK);
    assert(slice_equal(m.token, second.token) && slice_equal(m.payload, second.payload));
    assert(slice_equal(m.options, second.options));
    uint16_t number = 0;
    (void)!coap_options_check(m.options, COAP_OPTIONS_SERVED, &number);
    uint32_t value = 0;
    (void)coap_options_find_uint(m.options, COAP_OPTION_OBSERVE, &value);
    return 0;
}
