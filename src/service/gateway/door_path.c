#include "service/gateway/door_path.h"

#include "base/utf8.h"
#include "wire/coap/uri.h"

static bool has_byte(struct slice s, uint8_t byte)
{
    return slice_find(s, byte) != s.n;
}

/* What the levels mean is not asked yet. */
enum err door_path_text(struct slice options, struct wr *w, const char **ret_why)
{
    struct coap_options it = coap_options_from(options);
    struct slice segment;
    while (coap_uri_path_next(&it, &segment)) {
        if (utf8_check(segment, UTF8_MQTT, NULL) != OK) {
            *ret_why = "the path is not well-formed UTF-8, or holds U+0000";
            return ERR_UTF8;
        }
        /* SPEC: RFC7252 5.10.1: no segment is "." or ".." */
        if (slice_is(segment, ".") || slice_is(segment, "..")) {
            *ret_why = "a path segment is '.' or '..'";
            return ERR_MALFORMED;
        }
        if (has_byte(segment, '/')) {
            *ret_why = "a path segment holds a '/' (%2F): write it as two segments";
            return ERR_MALFORMED;
        }
        wr_u8(w, '/');
        wr_bytes(w, segment);
    }
    TRY(coap_options_finish(&it));
    return w->err;
}

static enum err check_topic(struct slice topic, const struct topic_limits *limits,
                            const char **ret_why)
{
    enum err err = topic_name_check(topic, limits);
    if (err == ERR_TOO_LARGE) {
        *ret_why = "the topic is longer than topic_bytes allows";
    } else if (err == ERR_LIMIT) {
        *ret_why = "the topic has more levels than topic_levels allows";
    } else if (err != OK) {
        *ret_why = topic.n == 0 ? "name a topic behind /mq/"
                                : "'+' and '#' are wildcards of filters: name one topic";
    } else if (topic.p[0] == '/') {
        *ret_why = "the first level of the topic is empty";
        err = ERR_MALFORMED;
    } else if (topic.p[0] == '$') {
        *ret_why = "topics that start with '$' belong to the server";
        err = ERR_DENIED;
    }
    return err;
}

MUST_USE enum err door_path_read(struct slice options, const struct topic_limits *limits,
                                 uint8_t dst[DOOR_PATH_BYTES], struct door_path *ret,
                                 const char **ret_why)
{
    static const char mq[] = "/mq", core[] = "/.well-known/core";
    static const char est[] = "/.well-known/est/", short_est[] = "/est/"; /* SPEC: RFC9148 4.1 */
    struct wr w = wr_into(dst, DOOR_PATH_BYTES);
    *ret_why = "the path is too long";
    TRY(door_path_text(options, &w, ret_why));
    struct slice path = wr_slice(&w);
    struct door_path p = {.kind = DOOR_PATH_OTHER, .text = path.n > 0 ? path : slice_text("/")};
    bool below_mq = slice_has_prefix(path, slice_text("/mq/"));
    if (below_mq || slice_is(path, mq)) {
        p.kind = DOOR_PATH_TOPIC;
        p.text = slice_from(path, sizeof("/mq/") - 1);
        TRY(check_topic(p.text, limits, ret_why));
    } else if (slice_is(path, core)) {
        p.kind = DOOR_PATH_CORE;
    } else if (slice_has_prefix(path, slice_text(est)) && path.n > sizeof(est) - 1) {
        p.kind = DOOR_PATH_EST;
        p.text = slice_from(path, sizeof(est) - 1);
    } else if (slice_has_prefix(path, slice_text(short_est)) && path.n > sizeof(short_est) - 1) {
        p.kind = DOOR_PATH_EST;
        p.text = slice_from(path, sizeof(short_est) - 1);
    }
    *ret = p;
    return OK;
}

bool door_path_write(struct slice topic, char *dst, size_t cap, struct slice *ret)
{
    static const struct topic_limits any = {UINT32_MAX, UINT32_MAX};
    uint8_t block[DOOR_PATH_BYTES];
    const char *ignored;
    struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
    struct slice options, rest = topic;
    bool more = true;
    if (check_topic(topic, &any, &ignored) != OK) {
        return false;
    }
    coap_option_add(&o, COAP_OPTION_URI_PATH, slice_text("mq"));
    while (more) {
        struct slice level = slice_cut(&rest, '/', &more);
        if (slice_is(level, ".") || slice_is(level, "..")) {
            return false;
        }
        coap_option_add(&o, COAP_OPTION_URI_PATH, level);
    }
    struct wr w = wr_into(dst, cap);
    if (coap_option_writer_done(&o, &options) != OK) {
        return false;
    }
    coap_uri_path_write(options, &w);
    *ret = wr_slice(&w);
    return wr_ok(&w);
}
