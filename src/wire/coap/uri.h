/*
 * uri - coap:// and coaps:// URIs, and those over TCP, to options and back. SPEC: RFC7252 6,
 * RFC8323 8, RFC3986.
 *
 * A path travels as one Uri-Path option per segment, without escapes; text of it (logs, resource
 * tables, what a user types) has '/' between segments and %XX where a byte is not plain.
 */
#ifndef WIRE_COAP_URI_H
#define WIRE_COAP_URI_H

#include "wire/coap/option.h"

enum {
    COAP_PORT = 5683,
    COAPS_PORT = 5684,
    COAP_WS_PORT = 80,
    COAPS_WS_PORT = 443,
    COAP_URI_BYTES = 1024,
    COAP_URI_SEGMENT_BYTES = 255
};

/* SPEC: RFC7252 6, RFC8323 8 */
enum coap_uri_carrier { COAP_URI_UDP, COAP_URI_TCP, COAP_URI_WEBSOCKET };

struct coap_uri {
    enum coap_uri_carrier carrier;
    bool secure;        /* coaps */
    bool is_ip_literal; /* "[...]", whose brackets are not in host, or dotted IPv4 */
    struct slice host;  /* still escaped; not empty */
    uint16_t port;      /* the scheme's own when the text names none */
    struct slice path;  /* still escaped, from the first '/' on; may be empty */
    struct slice query; /* still escaped, without the '?' */
};

/*
 * coap_uri_parse - an absolute URI
 *
 * text  borrows; the slices of *ret point into it.
 * ERR_UNSUPPORTED  another scheme
 * ERR_MALFORMED    no host, a user part, a bad port, a fragment, a broken escape, or a byte that a
 *                  URI cannot hold
 * ERR_TOO_LARGE    over COAP_URI_BYTES
 */
MUST_USE enum err coap_uri_parse(struct slice text, struct coap_uri *ret);
/* coap_uri_parse_any - the same, and coap+tcp, coaps+tcp, coap+ws and coaps+ws. */
MUST_USE enum err coap_uri_parse_any(struct slice text, struct coap_uri *ret);

/* coap_uri_options - adds Uri-Host (only for a name, not for an address), Uri-Path and Uri-Query in
 * this order, unescaped; errors stick in o. "/" and "" give no Uri-Path. A segment or query part
 * over COAP_URI_SEGMENT_BYTES is ERR_TOO_LARGE. Uri-Port is left to the transport: it is the port
 * the datagram goes to. Dot segments are resolved as RFC 3986 5.2.4 says. SPEC: RFC7252 6.4 */
void coap_uri_options(const struct coap_uri *u, struct coap_option_writer *o);

/* coap_uri_path_options - only the Uri-Path options of an escaped path such as "/mq/a%20b". */
void coap_uri_path_options(struct slice path, struct coap_option_writer *o);

/* coap_uri_path_write - the Uri-Path options of a block as text: "/" when there are none, else
 * "/a/b%2Fc". Errors stick in w (ERR_SPACE). SPEC: RFC7252 6.5 */
void coap_uri_path_write(struct slice options, struct wr *w);
/* coap_uri_query_write - the Uri-Query options as "a=1&b"; nothing when there are none. */
void coap_uri_query_write(struct slice options, struct wr *w);

/* coap_uri_path_is - whether the Uri-Path options say exactly this plain path
 * ("/.well-known/core"). Compares segment by segment, so that an escaped '/' inside a segment never
 * matches a boundary. */
bool coap_uri_path_is(struct slice options, const char *path);

/* coap_uri_path_next - the next Uri-Path segment, unescaped bytes; start with
 * coap_options_from(options). false when there are no more. */
bool coap_uri_path_next(struct coap_options *it, struct slice *ret);

/* coap_uri_query_find - the value of the Uri-Query part "name=value"; a part that is only "name"
 * gives the empty value. false when there is none. Borrows from options. */
bool coap_uri_query_find(struct slice options, const char *name, struct slice *ret);

/* coap_percent_decode - unescapes into dst, at most n bytes. ERR_MALFORMED for a broken escape,
 * ERR_SPACE. */
MUST_USE enum err coap_percent_decode(struct slice text, void *dst, size_t cap, size_t *ret_n);

#endif
