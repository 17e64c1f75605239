#include <assert.h>

#include "wire/coap/forward.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static size_t count(struct slice options, uint16_t number)
{
    struct coap_options it = coap_options_from(options);
    struct coap_option o;
    size_t found = 0;
    while (coap_options_next(&it, &o)) {
        found += o.number == number ? 1 : 0;
    }
    assert(coap_options_finish(&it) == OK);
    return found;
}

static void check_request(struct slice options, const struct coap_forward *target)
{
    uint8_t dst[COAP_FORWARD_BYTES], again[COAP_FORWARD_BYTES];
    struct slice gone, twice, value;
    uint16_t number = 0;
    struct coap_forward_change change = {.uri = target->uri, .hops = COAP_FORWARD_HOPS};
    if (coap_forward_hops(options, &change.hops) != OK ||
        coap_forward_request(options, &change, dst, &gone, &number) != OK) {
        return;
    }
    assert(change.hops > 0 && count(gone, COAP_OPTION_HOP_LIMIT) == 1);
    assert(!coap_forward_is_asked(gone));
    assert(count(gone, COAP_OPTION_OSCORE) == count(options, COAP_OPTION_OSCORE));
    assert(!coap_options_find(gone, COAP_OPTION_NO_RESPONSE, &value));
    /* What has gone on once may go on again, and is the same then. */
    assert(coap_forward_request(gone, &change, again, &twice, &number) == OK);
    assert(slice_equal(gone, twice));
}

/* An option block: as a request's, and as an answer's. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    uint8_t into[COAP_FORWARD_BYTES], dst[COAP_FORWARD_BYTES];
    struct slice options = slice_of(data, n), back;
    struct coap_options it = coap_options_from(options);
    struct coap_option o;
    struct coap_forward target;
    uint16_t number = 0;
    while (coap_options_next(&it, &o)) {
    }
    if (coap_options_finish(&it) != OK) {
        return 0;
    }
    if (coap_forward_read(options, into, &target) == OK) {
        assert(coap_forward_is_asked(options) && target.host.n > 0 && target.port > 0);
        check_request(options, &target);
    }
    if (coap_forward_answer(options, (struct slice){0}, dst, &back, &number) == OK) {
        assert(count(back, COAP_OPTION_OBSERVE) == 0 && count(back, COAP_OPTION_PROXY_URI) == 0);
    }
    return 0;
}
