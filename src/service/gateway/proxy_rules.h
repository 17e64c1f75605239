/*
 * proxy_rules - what the operator lets CoAP clients reach through this server: targets that a
 * client may name, and paths of ours that are another server's. Immutable, part of an edition.
 *
 * Addresses only: no name is ever looked up. What is loopback or link-local counts only where it is
 * listed as one address; what is no single host (multicast, unspecified, broadcast) never does.
 */
#ifndef SERVICE_GATEWAY_PROXY_RULES_H
#define SERVICE_GATEWAY_PROXY_RULES_H

#include "net/network.h"
#include "wire/coap/message.h"

enum {
    PROXY_TARGETS_MAX = 32,
    PROXY_PATHS_MAX = 16,
    PROXY_NAME_BYTES = 64,
    PROXY_PATH_BYTES = 64,
    PROXY_WAIT_MIN_S = 1,
    PROXY_WAIT_MAX_S = 50, /* below the time after which a request of ours is answered with 5.03 */
    PROXY_WAIT_DEFAULT_S = 45
};

/* Servers that a client may name by their address, or one that has a name here. */
struct proxy_target {
    struct net_network to;
    uint16_t port;
    char name[PROXY_NAME_BYTES]; /* empty: it has none. Then `to` may be a network */
};

/* Requests below this path of ours go on to that server, without the path. */
struct proxy_path {
    char path[PROXY_PATH_BYTES]; /* "/line2/plc" */
    struct net_peer to;
};

struct proxy_rules {
    struct proxy_target targets[PROXY_TARGETS_MAX];
    struct proxy_path paths[PROXY_PATHS_MAX];
    size_t n_targets, n_paths; /* both 0: there is no proxy */
    uint32_t wait_ms;          /* so long a server has for its answer */
};

/* proxy_rules_is_one - may this address be a server's at all? Not multicast, broadcast, or none. */
bool proxy_rules_is_one(const struct net_peer *to);
/* proxy_rules_allow - is this address and port among the targets? */
bool proxy_rules_allow(const struct proxy_rules *r, const struct net_peer *to);
/* proxy_rules_reach - is it a target, or where a path leads? */
bool proxy_rules_reach(const struct proxy_rules *r, const struct net_peer *to);
/* proxy_rules_name - the target of this name, or NULL. Case does not count. */
const struct proxy_target *proxy_rules_name(const struct proxy_rules *r, struct slice name);
/* proxy_target_peer - the one server of a target with a name. */
struct net_peer proxy_target_peer(const struct proxy_target *t);
/* proxy_rules_path - the longest path that the Uri-Path of a request begins with, segment by
 * segment, or NULL; *ret_n (may be NULL): how many segments it has. */
const struct proxy_path *proxy_rules_path(const struct proxy_rules *r, struct slice options,
                                          size_t *ret_n);

#endif
