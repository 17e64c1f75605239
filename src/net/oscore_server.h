/*
 * oscore_server - CoAP under OSCORE behind the interface of dtls.h: what comes out of `received`
 * and goes into dtls_send is plain CoAP, what travels is OSCORE.
 *
 * An association is a security context that has proven to be there: its client has returned an Echo
 * that we sealed for it and its address. So nothing recorded before a restart is ever taken, and
 * nobody's answers are turned on somebody else. It stays the same association when the client's
 * address changes; the new address returns an Echo, too, before anything goes there.
 *
 * A client that has lost its numbers, or sends under a kid context that we do not know any more, is
 * offered a context derived anew: our random part goes to it in a kid context, and the request that
 * brings it back with one of its own is taken. That proves its address and that it is there now, as
 * an Echo does.
 *
 * A stranger costs no state: kids are looked up, and what does not open is forgotten. What is not
 * protected is answered by 4.01 or 4.02 without a word, at most as long as it was; whether the kid,
 * the key or the number was wrong does not show. Acknowledgements and Resets are not protected by
 * OSCORE: they count when they come from the association's address.
 *
 * What the caller asks the client goes to the address that the client proved last, sealed under a
 * number of ours; an answer counts when it comes from there and opens as the answer to that very
 * request, once.
 *
 * No socket, no clock. SPEC: RFC8613 7.4, 8.1, 8.2, 8.3, B.1.2, B.2; RFC9175 2.3.
 */
#ifndef NET_OSCORE_SERVER_H
#define NET_OSCORE_SERVER_H

#include "engine/coap_endpoint.h"
#include "engine/oscore_context.h"
#include "net/dtls.h"

enum {
    OSCORE_CONTEXTS_MAX = 100000, /* known at a time */
    OSCORE_BINDINGS_MAX = 96, /* requests and observations of one context that may be answered */
    OSCORE_REPEAT_MS = 60 * 1000, /* so long a request may come again, for its earlier answer */
    OSCORE_ECHO_MS = 60 * 1000,   /* how long an Echo value is good */
    OSCORE_LINGER_MS = 2 * OSCORE_ECHO_MS, /* how long the window of a closed one is kept */
    OSCORE_CHALLENGES_PER_S = 8,           /* of one context */
    /* Keys are derived for whoever is not an association, so many times in a second: for kids that
     * exist, for others, and for those kids that share one of so many slots. */
    OSCORE_DERIVATIONS_PER_S = 2000,
    OSCORE_DERIVATIONS_OF_NOBODY_PER_S = 500,
    OSCORE_DERIVATIONS_OF_SLOT_PER_S = 16,
    OSCORE_SLOTS = 256,
    OSCORE_ASKED_MAX = 4,            /* requests of ours to one context whose answers are known */
    OSCORE_ASKED_MS = 5 * 60 * 1000, /* ... for so long, which is more than any is waited for */
    OSCORE_NUMBERS_LOW = 64          /* fewer than these left: more are asked for */
};

enum oscore_refusal {
    OSCORE_REFUSED_PLAIN,  /* a request without OSCORE */
    OSCORE_REFUSED_OPTION, /* its OSCORE option cannot be read */
    OSCORE_REFUSED_KID,    /* nobody calls itself so, or its credential is over */
    OSCORE_REFUSED_KEY,    /* sealed by another key, or changed on the way */
    OSCORE_REFUSED_REPLAY, /* its number was used before */
    OSCORE_REFUSED_INSIDE, /* opened, but is no request */
    OSCORE_REFUSALS
};

/* Who calls itself so. */
struct oscore_found {
    struct oscore_keys keys;
    uint64_t credential; /* never 0 */
    uint64_t owner;      /* whose numbers it uses */
};

struct oscore_server_config {
    void *ctx;
    /* Is there somebody who calls itself so, in force or not? Cheap. */
    bool (*knows)(void *ctx, struct slice kid);
    /* The context of a kid that is in force now, with this ID Context (NULL: none). ERR_NOT_FOUND:
     * none, at the same cost. */
    enum err (*find)(void *ctx, struct slice kid, const struct slice *id_context,
                     struct oscore_found *ret);
    /* Numbers are wanted for this owner: some that nobody had or will have come by
     * oscore_server_numbers, later and never inside this call. false: not now, ask again. */
    bool (*reserve)(void *ctx, const struct oscore_id *kid, uint64_t credential, uint64_t owner);
    /* A request was refused. kid is empty where there is none; all borrowed for the call. */
    void (*refused)(void *ctx, const struct net_peer *peer, enum oscore_refusal why,
                    struct slice kid);
    /* Another server has the context of this kid, or, when it is empty, who sends what has none
     * from this address: true: the datagram was given to it. Asked for what is not known here,
     * before anything is done with it. NULL: there is no other. */
    bool (*elsewhere)(void *ctx, const struct net_peer *peer, struct slice kid,
                      struct slice datagram);
    /* The association goes on from another address. */
    void (*moved)(void *ctx, uint64_t id, const struct net_peer *peer);
    const struct random_source *random;
    struct coap_counters *counters; /* unproven bytes are counted there; borrowed for life */
};

/* oscore_server_new - copies config and handler, of which transmit, opened, received and closed
 * are used (closed: the client began anew, with a context derived anew).
 * ERR_NOMEM, ERR_CRYPTO. */
MUST_USE enum err oscore_server_new(const struct oscore_server_config *config,
                                    const struct dtls_handler *handler, struct dtls **ret);

/* oscore_server_is_at - has an association proven itself to be at this address? O(1). */
bool oscore_server_is_at(const struct dtls *d, const struct net_peer *peer);

/* oscore_server_numbers - the numbers first..end-1 are this credential's from now on, whatever
 * happens. Gone meanwhile: they are never used. */
void oscore_server_numbers(struct dtls *d, const struct oscore_id *kid, uint64_t credential,
                           uint64_t first, uint64_t end, uint64_t now_ms);

#endif
