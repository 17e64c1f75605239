#include <assert.h>

#include "wire/coap/link.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* First line: a filter. The rest: a list of links, whose checked attributes must all be readable.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    bool has_more = false;
    struct slice text = slice_of(data, n);
    struct slice query = slice_cut(&text, '\n', &has_more);
    struct coap_link_filter f;
    bool has_filter = coap_link_filter_from(query, &f) == OK;
    struct coap_link_reader it = coap_link_reader_from(text);
    struct coap_link_item item;
    while (coap_link_next(&it, &item)) {
        struct coap_link l = {.href = item.href, .ct = {0, 40}, .n_ct = 2};
        struct coap_link_attribute a;
        (void)(has_filter && coap_link_attributes_match(&f, item.attributes));
        while (coap_link_attribute_next(&item.attributes, &a)) {
            l.rt = slice_is(a.name, "rt") ? a.value : l.rt;
        }
        assert(item.attributes.n == 0);
        uint8_t out[512];
        struct wr w = wr_into(out, sizeof(out));
        coap_link_write(&w, &l);
        (void)(has_filter && coap_link_matches(&f, &l));
    }
    (void)!coap_link_finish(&it);
    return 0;
}
