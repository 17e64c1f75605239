/*
 * coap_echo - the value of an Echo option that proves an address without any state.
 *
 * Time in seconds and a keyed hash over it and the peer. SPEC: RFC9175 2.3, A.2.
 */
#ifndef ENGINE_COAP_ECHO_H
#define ENGINE_COAP_ECHO_H

#include "base/siphash.h"

enum { COAP_ECHO_BYTES = 12 };

/* coap_echo_make - a value for the peer of this tag (a keyed hash of its address). */
void coap_echo_make(const struct siphash_key *key, uint64_t peer_tag, uint64_t now_ms,
                    uint8_t dst[COAP_ECHO_BYTES]);
/* coap_echo_check - is it ours, for this peer, and not older than window_ms? *ret_age_ms is written
 * only then. Constant time in the hash. */
bool coap_echo_check(const struct siphash_key *key, uint64_t peer_tag, struct slice value,
                     uint64_t now_ms, uint64_t window_ms, uint64_t *ret_age_ms);

#endif
