/*
 * oscore_client - the client of OSCORE behind the interface of dtls.h: what goes into dtls_send and
 * comes out of `received` is plain CoAP, what travels is sealed. No request ever leaves unsealed.
 *
 * Numbers are the caller's, who keeps them over restarts: none is used twice under one context. Who
 * does not know which ones were used has no context to go on with: then, or when the server does
 * not know the context (any more), a new one is derived by Appendix B.2, from random parts of both
 * sides. `opened` is called at the first tick, and again, with another id, each time when what was
 * asked has to be asked anew: under a context that takes it.
 *
 * A message that is sent again is the very same bytes. An answer counts when it opens, once; a
 * notification when its number is higher than that of the one before it. Acknowledgements and
 * Resets are not protected by OSCORE: they count when they come from the server's address.
 *
 * No socket, no clock. SPEC: RFC8613 8.1, 8.4, B.1.1, B.2.
 */
#ifndef NET_OSCORE_CLIENT_H
#define NET_OSCORE_CLIENT_H

#include "engine/oscore_context.h"
#include "net/dtls.h"

enum {
    OSCORE_CLIENT_ASKED = 8,     /* requests whose answers can be opened; observations stay */
    OSCORE_CLIENT_OFFERS_MAX = 4 /* contexts that a server may want to derive anew in one run */
};

struct oscore_client_config {
    void *ctx;
    /* What both sides were given, without an ID context; borrowed for the call. */
    struct oscore_material material;
    /* The context derived anew that the caller has numbers of; empty: there is none. Borrowed for
     * the call. */
    struct slice id_context;
    /* The next number of the context, never given before. An error: the request is not sent. */
    enum err (*number)(void *ctx, uint64_t *ret);
    /* From now on this context is used, from number 0 on; borrowed for the call. It must be kept
     * before OK is said; an error: nothing is sent any more. */
    enum err (*begin)(void *ctx, struct slice id_context);
    /* The server answered without protection, and no new context will help. COAP_EMPTY: nobody was
     * asked, for no keys could be derived. */
    void (*refused)(void *ctx, uint8_t code);
    const struct random_source *random;
};

/*
 * oscore_client_new - one server, through the interface of dtls.h
 *
 * config   copied, with the material. handler: copied; transmit, opened and received are used.
 *
 * ERR_TOO_LARGE, ERR_DENIED  the material, as oscore_keys_derive
 * ERR_CRYPTO, ERR_NOMEM
 */
MUST_USE enum err oscore_client_new(const struct oscore_client_config *config,
                                    const struct net_peer *server,
                                    const struct dtls_handler *handler, struct dtls **ret);

#endif
