/* Any option block: what comes out is a topic that a client may name, and writes back to itself. */
#include <assert.h>

#include "service/gateway/door_path.h"
#include "wire/coap/uri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct topic_limits limits = {256, 16};
    uint8_t text[DOOR_PATH_BYTES], again[DOOR_PATH_BYTES], block[2 * DOOR_PATH_BYTES];
    char href[4 * DOOR_PATH_BYTES];
    struct door_path path, back;
    struct slice written, options;
    const char *why = NULL;
    if (door_path_read(slice_of(data, n), &limits, text, &path, &why) != OK) {
        assert(why != NULL && why[0] != '\0');
        return 0;
    }
    if (path.kind == DOOR_PATH_TOPIC) {
        assert(topic_name_check(path.text, &limits) == OK);
        assert(path.text.p[0] != '/' && path.text.p[0] != '$');
        bool is_written = door_path_write(path.text, href, sizeof(href), &written);
        assert(is_written);
        struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
        coap_uri_path_options(written, &o);
        enum err err = coap_option_writer_done(&o, &options);
        assert(err == OK);
        err = door_path_read(options, &limits, again, &back, &why);
        assert(err == OK && slice_equal(path.text, back.text));
    }
    return 0;
}
