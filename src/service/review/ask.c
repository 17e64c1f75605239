#include "service/review/ask.h"

#include <strings.h>

#include "base/scope.h"
#include "core/topic.h"
#include "service/gateway/door_path.h"
#include "wire/coap/uri.h"

enum {
    METHODS_OF_PATCH = METHOD_PATCH | METHOD_IPATCH, /* a GET and a PUT: decision 0047 */
    METHODS_OF_PUBLISH = METHOD_PUT | METHOD_POST | METHOD_DELETE | METHODS_OF_PATCH,
    METHODS_OF_READ = METHOD_GET | METHODS_OF_PATCH
};

static bool is_elsewhere(struct slice path)
{
    static const char scheme[] = "coap://";
    return slice_is(slice_head(path, sizeof scheme - 1), scheme);
}

static void ask_topic(const struct grants *g, unsigned method, struct slice topic,
                      struct decision *ret)
{
    enum err err = (method & METHODS_OF_READ) != 0 ? grants_subscribe(g, topic, ret) : OK;
    if (err == OK && (method & METHODS_OF_PUBLISH) != 0) {
        (void)grants_publish(g, topic, 1, method != METHOD_POST, ret);
    }
}

unsigned review_method(struct slice action)
{
    static const struct {
        const char *name;
        unsigned method;
    } table[] = {{"get", METHOD_GET},       {"post", METHOD_POST},   {"put", METHOD_PUT},
                 {"delete", METHOD_DELETE}, {"fetch", METHOD_FETCH}, {"patch", METHOD_PATCH},
                 {"ipatch", METHOD_IPATCH}};
    for (size_t i = 0; action.n > 0 && i < COUNT_OF(table); i++) {
        if (strncasecmp(table[i].name, (const char *)action.p, action.n) == 0 &&
            table[i].name[action.n] == '\0') {
            return table[i].method;
        }
    }
    return 0;
}

/* What a path is to the CoAP door; text is the memory of what ret names. */
static enum err read_path(struct slice path, uint8_t text[DOOR_PATH_BYTES], struct door_path *ret,
                          struct why *why)
{
    const struct topic_limits limits = {.bytes = 65535, .levels = POLICY_LEVELS_MAX};
    uint8_t options[COAP_MESSAGE_BYTES];
    struct coap_option_writer w = coap_option_writer_into(options, sizeof(options));
    struct slice block;
    const char *wrong = "that is no path";
    coap_uri_path_options(path, &w);
    enum err err = coap_option_writer_done(&w, &block);
    if (err == OK) {
        err = door_path_read(block, &limits, text, ret, &wrong);
    }
    if (err != OK) {
        why_set(why, "%s; a path is like /mq/a/b for the topic a/b, or /name", wrong);
        return ERR_MALFORMED;
    }
    return OK;
}

/* A method on a path is asked as the CoAP door asks it: below /mq it is about a topic, by the rules
 * that MQTT has, confirmable as a client sends it by default. */
static enum err ask_method(const struct grants *g, unsigned method, struct slice path,
                           struct decision *ret, struct why *why)
{
    uint8_t text[DOOR_PATH_BYTES];
    struct door_path p;
    if (is_elsewhere(path)) { /* through the proxy */
        (void)grants_resource(g, path, method, ret);
        return OK;
    }
    TRY(read_path(path, text, &p, why));
    if (p.kind != DOOR_PATH_TOPIC || (method & (METHODS_OF_READ | METHODS_OF_PUBLISH)) == 0) {
        (void)grants_resource(g, p.text, method, ret);
    } else {
        ask_topic(g, method, p.text, ret);
    }
    return OK;
}

static bool is_publish(struct slice action)
{
    return slice_is(action, "publish") || slice_is(action, "retain");
}

enum err review_check(const struct review_question *q, struct why *why)
{
    const struct topic_limits limits = {.bytes = 65535, .levels = POLICY_LEVELS_MAX};
    uint8_t text[DOOR_PATH_BYTES];
    struct door_path p;
    if (is_publish(q->action)) {
        why_set(why, "that is no topic to publish to: 1 byte or more, without + and #");
        return topic_name_check(q->what, &limits) == OK ? OK : ERR_MALFORMED;
    }
    if (slice_is(q->action, "subscribe")) {
        why_set(why, "that is no topic filter: + and # stand alone in their level, # last");
        return topic_filter_check(q->what, &limits) == OK ? OK : ERR_MALFORMED;
    }
    if (review_method(q->action) == 0) {
        why_set(why, "actions are publish, retain, subscribe, and for resources get, put, post, "
                     "delete, fetch, patch, ipatch");
        return ERR_MALFORMED;
    }
    return is_elsewhere(q->what) ? OK : read_path(q->what, text, &p, why);
}

enum err review_ask(const struct grants *g, const struct review_question *q, struct decision *ret,
                    struct why *why)
{
    TRY(review_check(q, why));
    if (is_publish(q->action)) {
        (void)grants_publish(g, q->what, q->qos, q->retain || slice_is(q->action, "retain"), ret);
    } else if (slice_is(q->action, "subscribe")) {
        (void)grants_subscribe(g, q->what, ret);
    } else {
        TRY(ask_method(g, review_method(q->action), q->what, ret, why));
    }
    return OK;
}
