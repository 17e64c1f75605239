/*
 * plain_server - CoAP without protection, in front of an OSCORE server and behind the interface of
 * dtls.h, for as long as somebody lets it in.
 *
 * A peer is an address and port that has returned an Echo which we made for it: until then it costs
 * no state, nothing of its requests is done, and it gets the Echo, within net/unproven.h. From then
 * on its datagrams are what any other association's are. A proof lasts PLAIN_PROOF_MS; then the
 * next request has to bring another one. Whoever can write the address of a peer on its datagrams
 * can ask in its name: that is what plain UDP is.
 *
 * Requests with an OSCORE option, and all while nothing lets plain ones in, are the other server's;
 * so are acknowledgements, Resets and answers from an address where it has somebody, too: both get
 * them.
 *
 * When there are as many peers as may be, in all or of one address, a new one takes the place of
 * the one that was not heard for longest, if that is PLAIN_QUIET_MS or more; else it is refused by
 * 5.03. So a flood of addresses that prove themselves ends nobody who speaks. No socket, no clock.
 * SPEC: RFC9175 2.3, 2.4
 */
#ifndef NET_PLAIN_SERVER_H
#define NET_PLAIN_SERVER_H

#include "net/dtls.h"

enum {
    PLAIN_PEERS_MAX = 4096,           /* at a time */
    PLAIN_PEERS_OF_ADDRESS_MAX = 512, /* of one IP address */
    PLAIN_ECHO_MS = 60 * 1000,        /* how long an Echo value is good */
    /* Not less than an Echo is good: whoever had to leave and repeats its last request is asked for
     * another Echo, so nothing is done twice. */
    PLAIN_QUIET_MS = PLAIN_ECHO_MS + 1000,
    PLAIN_PROOF_MS = 3600 * 1000
};

enum plain_refusal {
    PLAIN_REFUSED_FULL,  /* as many peers as may be, and all have just spoken */
    PLAIN_REFUSED_ADMIT, /* the handler's admit does not want it now: it hears nothing, and repeats
                          */
    PLAIN_REFUSED_OPENED /* the handler's opened has closed it, or there is no memory */
};

struct plain_server_config {
    void *ctx;
    /* By what plain CoAP is let in now; 0: by nothing. Another number is another permission: peers
     * prove themselves anew. Asked for each datagram; cheap. */
    uint64_t (*let_in_by)(void *ctx);
    /* Does the server behind know somebody at this address? */
    bool (*is_known_behind)(void *ctx, const struct net_peer *peer);
    /* An address that has proven itself gets 5.03, or nothing. */
    void (*refused)(void *ctx, const struct net_peer *peer, enum plain_refusal why);
    const struct random_source *random;
    struct coap_counters *counters;         /* borrowed for life */
    size_t peers_max, peers_of_address_max; /* 0: the named limits above */
};

/* plain_server_new - takes `behind`, also on an error; copies config and handler, of which
 * transmit, admit, opened, received and closed are used. dtls_info.permission of what it opens is
 * what let_in_by said, and is never 0. dtls_counts are those of the server behind. ERR_NOMEM. */
MUST_USE enum err plain_server_new(const struct plain_server_config *config,
                                   const struct dtls_handler *handler, struct dtls *behind,
                                   struct dtls **ret);

/* plain_server_count - peers now. */
size_t plain_server_count(const struct dtls *d);

#endif
