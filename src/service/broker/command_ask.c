/* What a command says, and whether its answer may go where it is wanted. */
#include "core/topic.h"
#include "service/broker/command.h"
#include "wire/coap/code.h"
#include "wire/mqtt/props.h"

enum { SEGMENT_MAX = 255 }; /* bytes of one Uri-Path or Uri-Query. SPEC: RFC7252 5.10 */

static const char prefix[] = "$coap/";

struct method {
    const char *name;
    uint8_t code;
    bool changes, may_repeat;
};

/* SPEC: RFC7252 5.8, RFC8132 2 and 3 */
static const struct method methods[] = {
    {"GET", COAP_GET, false, true},      {"FETCH", COAP_FETCH, false, true},
    {"PUT", COAP_PUT, true, true},       {"DELETE", COAP_DELETE, true, true},
    {"iPATCH", COAP_IPATCH, true, true}, {"POST", COAP_POST, true, false},
    {"PATCH", COAP_PATCH, true, false},
};

static const struct method *method_find(uint8_t code)
{
    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        if (methods[i].code == code) {
            return &methods[i];
        }
    }
    return NULL;
}

bool command_is(struct slice topic)
{
    return slice_has_prefix(topic, slice_text(prefix));
}

bool command_may_repeat(uint8_t method)
{
    const struct method *m = method_find(method);
    return m != NULL && m->may_repeat;
}

bool command_changes(uint8_t method)
{
    const struct method *m = method_find(method);
    return m == NULL || m->changes;
}

static enum err refuse(const char **ret_why, const char *why)
{
    *ret_why = why;
    return ERR_DENIED;
}

/* ---- the topic ---- */

static enum err check_path(struct slice path, const char **ret_why)
{
    bool has_more = true;
    while (has_more) {
        struct slice segment = slice_cut(&path, '/', &has_more);
        if (slice_is(segment, ".") || slice_is(segment, "..")) {
            return refuse(ret_why, "a command's path holds no '.' or '..'");
        }
        if (segment.n > SEGMENT_MAX) {
            return refuse(ret_why, "a level of a command's path has 255 bytes at most");
        }
    }
    return OK;
}

static enum err read_topic(struct slice topic, struct command_ask *a, const char **ret_why)
{
    struct slice rest = slice_from(topic, sizeof(prefix) - 1);
    bool has_more = false;
    a->device = slice_cut(&rest, '/', &has_more);
    if (!has_more || !principal_name_ok(a->device)) {
        return refuse(ret_why, "a command's topic is $coap/DEVICE/METHOD/PATH");
    }
    struct slice name = slice_cut(&rest, '/', &a->has_path);
    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        if (slice_is(name, methods[i].name)) {
            a->method = methods[i].code;
        }
    }
    if (a->method == 0) {
        return refuse(ret_why, "the method of a command, the level behind the device, is GET, "
                               "FETCH, PUT, POST, DELETE, PATCH or iPATCH");
    }
    a->path = rest;
    return a->has_path ? check_path(rest, ret_why) : OK;
}

/* ---- the properties ---- */

static enum err read_props(struct slice props, struct command_ask *a, const char **ret_why)
{
    struct mqtt_props_iter it = mqtt_props_each(props);
    struct mqtt_prop p;
    size_t n_queries = 0;
    while (mqtt_props_next(&it, &p)) {
        if (p.id == MQTT_PROP_RESPONSE_TOPIC) {
            a->response_topic = p.text;
        } else if (p.id == MQTT_PROP_CORRELATION_DATA) {
            a->correlation = p.text;
        } else if (p.id == MQTT_PROP_CONTENT_TYPE) {
            a->content_type = p.text;
        } else if (p.id == MQTT_PROP_USER && slice_is(p.key, "coap-query") &&
                   (++n_queries > COMMAND_QUERIES_MAX || p.text.n > SEGMENT_MAX)) {
            return refuse(ret_why, "a command has 16 coap-query at most, of 255 bytes each");
        }
    }
    return OK;
}

MUST_USE enum err command_read(struct slice topic, struct slice props, struct command_ask *ret,
                               const char **ret_why)
{
    const struct topic_limits any = {UINT32_MAX, UINT32_MAX};
    struct command_ask a = {.method = 0};
    TRY(read_topic(topic, &a, ret_why));
    TRY(read_props(props, &a, ret_why));
    if (a.response_topic.n == 0) {
        return refuse(ret_why, "a command needs a Response Topic, so it is asked by MQTT 5");
    }
    if (topic_name_check(a.response_topic, &any) != OK || a.response_topic.p[0] == '$') {
        return refuse(ret_why, "the Response Topic of a command names one topic, without wildcards "
                               "and not below '$'");
    }
    *ret = a;
    return OK;
}

/* ---- rights ---- */

MUST_USE enum err command_allowed(const struct grants *g, const struct command_ask *ask,
                                  struct decision *ret)
{
    static const char *const acts[] = {"subscribe to it", "publish to it"};
    enum err err = grants_subscribe(g, ask->response_topic, NULL);
    size_t at = 0;
    if (err == OK) {
        err = grants_publish(g, ask->response_topic, 0, false, NULL);
        at = 1;
    }
    if (err != OK && ret != NULL) {
        ret->err = ERR_DENIED;
        snprintf(ret->rule, sizeof(ret->rule),
                 "Response Topic %.*s: role %.32s does not let it %s; who asks a command must be "
                 "allowed both",
                 SLICE_ARG(slice_head(ask->response_topic, 40)), grants_principal(g)->role,
                 acts[at]);
    }
    return err == OK ? OK : ERR_DENIED;
}
