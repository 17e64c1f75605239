/* Any topic and any properties: what is taken as a command could be carried out and answered. The
 * first byte is how long the topic is. */
#include <assert.h>

#include "core/topic.h"
#include "service/broker/command.h"
#include "wire/coap/code.h"
#include "wire/mqtt/props.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const struct topic_limits any = {UINT32_MAX, UINT32_MAX};
    size_t topic_n = n > 0 ? data[0] : 0;
    struct slice rest = slice_from(slice_of(data, n), 1);
    struct slice topic = slice_head(rest, topic_n);
    struct rd r = rd_from(slice_from(rest, topic_n));
    struct mqtt_props props;
    struct command_ask ask;
    const char *why = NULL;
    if (!command_is(topic) || mqtt_props_decode(&r, MQTT_PUBLISH, 64, NULL, &props) != OK) {
        return 0;
    }
    if (command_read(topic, props.block, &ask, &why) != OK) {
        assert(why != NULL && why[0] != '\0');
        return 0;
    }
    assert(principal_name_ok(ask.device) && coap_code_is_request(ask.method));
    assert(topic_name_check(ask.response_topic, &any) == OK && !command_is(ask.response_topic));
    assert(ask.has_path || ask.path.n == 0);
    bool has_more = ask.path.n > 0;
    while (has_more) {
        struct slice segment = slice_cut(&ask.path, '/', &has_more);
        assert(segment.n <= 255 && !slice_is(segment, ".."));
    }
    return 0;
}
