#include <assert.h>

#include "service/gateway/link_set.h"
#include "wire/coap/option.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* First line: the query, its parts with '&' between them. The rest: links. What passes can be kept
 * and read again, and names paths that stay below the device. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static uint8_t block[70000], text[70000], out[8192];
    bool has_more = false, has_part = true;
    struct slice links = slice_of(data, n), options;
    struct slice query = slice_cut(&links, '\n', &has_more);
    struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
    struct link_set_query q;
    const char *why = "";
    while (query.n > 0 && has_part) {
        coap_option_add(&o, COAP_OPTION_URI_QUERY,
                        slice_head(slice_cut(&query, '&', &has_part), LINK_SET_PARAMETER_MAX));
    }
    if (coap_option_writer_done(&o, &options) == OK &&
        link_set_query_read(options, &q, &why) == OK) {
        struct wr w = wr_into(text, sizeof(text)), again = wr_into(out, sizeof(out));
        if (link_set_attributes((struct slice){0}, &q, &w) == OK) {
            struct link_set_query none = {.n_extras = 0};
            assert(link_set_attributes(wr_slice(&w), &none, &again) == OK);
            assert(slice_equal(wr_slice(&w), wr_slice(&again)));
        }
    }
    uint32_t n_links;
    if (link_set_check(links, 64, &n_links, &why) == OK) {
        struct coap_link_reader it = coap_link_reader_from(links);
        struct coap_link_item item;
        while (coap_link_next(&it, &item)) {
            struct wr w = wr_into(out, sizeof(out));
            bool is_named = link_set_topic(item.href, &w);
            assert(is_named && memmem(w.base, w.at, "/../", 4) == NULL && n_links-- > 0);
        }
        assert(n_links == 0);
    }
    return 0;
}
