/*
 * door_path - what the Uri-Path of a request names: a topic under /mq, the list of resources, or
 * another resource.
 *
 * Segments become levels one by one and are never parsed again: a '/' that came inside a segment
 * would be a separator of the topic that the client did not write, so it is refused.
 */
#ifndef SERVICE_GATEWAY_DOOR_PATH_H
#define SERVICE_GATEWAY_DOOR_PATH_H

#include "core/topic.h"
#include "wire/coap/message.h"

/* The longest path that a message can carry. */
enum { DOOR_PATH_BYTES = COAP_MESSAGE_BYTES };

enum door_path_kind {
    DOOR_PATH_TOPIC, /* /mq/{level}/{level}...: text is the topic */
    DOOR_PATH_CORE,  /* /.well-known/core */
    DOOR_PATH_EST,   /* /.well-known/est/x or /est/x: text is "x" */
    DOOR_PATH_OTHER  /* text is "/segment/segment", or "/" */
};

struct door_path {
    enum door_path_kind kind;
    struct slice text; /* borrows from dst, or static */
};

/*
 * door_path_read - the Uri-Path options of a well-formed block
 *
 * dst      DOOR_PATH_BYTES; holds the text.
 * ret_why  static text for the client, written on errors: what is wrong and what to do.
 *
 * ERR_UTF8       a segment is not well-formed UTF-8, or holds U+0000
 * ERR_MALFORMED  '/' in a segment, or a segment "." or ".."; for topics also '+', '#', no level, or
 * an empty first level ERR_DENIED     a topic that starts with '$' ERR_TOO_LARGE, ERR_LIMIT  the
 * topic is over limits->bytes or limits->levels O(bytes). SPEC: RFC7252 5.10.1; MQTT5 4.7.
 */
MUST_USE enum err door_path_read(struct slice options, const struct topic_limits *limits,
                                 uint8_t dst[DOOR_PATH_BYTES], struct door_path *ret,
                                 const char **ret_why);

/* door_path_text - the same as text alone, appended: each segment behind a '/'; nothing when there
 * is none. ERR_UTF8, ERR_MALFORMED, ERR_SPACE. */
MUST_USE enum err door_path_text(struct slice options, struct wr *w, const char **ret_why);

/* door_path_write - a topic as the escaped path of a link, "/mq/a/b%20c". false when no path names
 * this topic (see the errors above) or it does not fit; nothing is written then. */
bool door_path_write(struct slice topic, char *dst, size_t cap, struct slice *ret);

#endif
