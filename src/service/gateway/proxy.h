/*
 * proxy - requests of associations that another CoAP server answers. The door's; files of this
 * folder only.
 *
 * proxy.c decides what a request asks for and whether it may go there; proxy_upstream.c has the
 * other servers, what was asked of them, and their answers. A request goes on as one of our own:
 * with a token and message id of ours, to an address that stands in the rules; an answer counts
 * when it comes from there and carries that token. What is under OSCORE passes as it is. SPEC:
 * RFC7252 5.7; RFC8613 10; RFC8768.
 */
#ifndef SERVICE_GATEWAY_PROXY_H
#define SERVICE_GATEWAY_PROXY_H

#include "engine/coap_cache.h"
#include "service/gateway/door_private.h"
#include "service/gateway/proxy_rules.h"
#include "wire/coap/forward.h"

enum {
    PROXY_UPSTREAMS_MAX = 256,      /* other servers that one door remembers */
    PROXY_REQUESTS_MAX = 64,        /* requests and observations at one of them at a time */
    PROXY_REQUESTS_OF_ONE_MAX = 16, /* ... of one principal */
    PROXY_SEEN_MAX = 1024,          /* message ids of one of them that are remembered */
    PROXY_IDLE_MS = 247000,         /* so long message ids of a server are remembered */
    PROXY_UPLOAD_MS =
        30000, /* one client's blocks keep another's away for so long after the last */
    PROXY_CACHE_ENTRIES = 512,
    PROXY_CACHE_BYTES = 1024 * 1024,
    PROXY_CACHE_OF_ONE_ENTRIES = 128,
    PROXY_CACHE_OF_ONE_BYTES = 256 * 1024,
    PROXY_RETRANSMIT_MAX = 3, /* all tries are over within PROXY_WAIT_MAX_S */
    PROXY_KEY_BYTES = COAP_MESSAGE_BYTES + 64,
    PROXY_WHAT_BYTES = DOOR_PATH_BYTES + NET_PEER_TEXT_BYTES + PROXY_NAME_BYTES,
    PROXY_MAX_AGE_S = 60 /* SPEC: RFC7252 5.10.5, the default */
};

/* Another server. */
struct upstream {
    struct net_peer peer; /* first: its key */
    struct proxy *proxy;
    struct coap_endpoint *endpoint;
    struct timer timer;
    struct list_node by_use;
    struct list relays;
    size_t n_relays;
    uint64_t used_at_ms;
    uint64_t upload_owner, upload_until_ms; /* the association whose blocks go up now */
};

/* A request of an association at another server, or an observation there. */
struct relay {
    struct list_node in_upstream, in_association;
    struct upstream *upstream;
    struct asker asker;
    uint32_t request;     /* the endpoint's name for it */
    uint64_t deadline_ms; /* 5.04 then; UINT64_MAX: it observes */
    uint64_t key;         /* of the observation at the client's endpoint; 0: none */
    bool wants_observe, is_oscore, may_cache, knows_etag;
    bool is_upload, is_last_block;
    bool changes; /* what it succeeds at makes cached answers old */
    unsigned method;
    uint64_t resource;
    struct buf name; /* what it is called in the cache */
    struct buf what; /* what the policy was asked for */
    uint8_t etag_n;  /* of the answer that is to be confirmed */
    uint8_t etag[8];
    char path[PROXY_PATH_BYTES]; /* what stands before a Location-Path; empty: nothing */
};

struct proxy {
    struct coap_door *door;
    const struct proxy_rules *rules; /* borrowed; NULL: nothing goes anywhere */
    struct coap_limits limits;
    struct coap_counters counts;
    struct map upstreams;
    struct list by_use; /* the one that was used longest ago first */
    struct wheel wheel;
    struct coap_cache cache;
};

/* What is to be sent. */
struct proxy_order {
    const struct request *rq;
    struct net_peer to;
    struct slice options;
    struct slice name; /* empty: it is not to be cached */
    struct slice what;
    uint64_t resource;
    unsigned method;
    bool wants_observe, is_oscore, knows_etag, is_upload, is_last_block;
    struct slice etag;
    const struct proxy_path *path;
};

/* ---- proxy_upstream.c ---- */

/* proxy_send - answers the request now or later. */
void proxy_send(struct proxy *p, const struct proxy_order *order);
/* proxy_respond - one answer as it is. */
void proxy_respond(const struct asker *asker, const struct coap_answer *answer);
/* proxy_respond_cached - what is kept, as it is now; 2.03 for whoever has it. */
void proxy_respond_cached(const struct asker *asker, const struct coap_cached *kept,
                          bool knows_etag);
void proxy_upstreams_turn(struct proxy *p);
/* proxy_upstreams_recheck - what waits for servers that the rules do not have any more ends with
 * 4.03. */
void proxy_upstreams_recheck(struct proxy *p);
void proxy_upstreams_done(struct proxy *p);
struct slice upstream_key(const void *value);

#endif
