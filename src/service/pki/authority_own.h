/*
 * authority_own - the authority in this process: the key, the register, the rules.
 */
#ifndef SERVICE_PKI_AUTHORITY_OWN_H
#define SERVICE_PKI_AUTHORITY_OWN_H

#include "service/pki/authority.h"
#include "service/pki/pki.h"
#include "service/pki/register.h"

/* What is signed, and how much of it. { 0 } members mean the default. */
struct authority_policy {
    int64_t device_lifetime_ms; /* 90 days */
    int64_t grace_ms;           /* after its end a certificate may still renew; 30 days */
    uint32_t per_second, burst; /* certificates in all; 100 and 1,000 */
    uint32_t per_name_minute;   /* certificates of one name; 10 */
};

/* An authority of a manufacturer whose devices may claim names. */
struct authority_maker {
    struct slice roots_pem, pattern; /* borrowed for life */
};

/* pki and reg are borrowed for life. */
struct authority_own_setup {
    const struct pki *pki;
    struct pki_register *reg;
    struct random_source random;
    struct authority_policy policy;
    const struct authority_maker *makers;
    size_t n_makers;
};

/* authority_own_new - ERR_NOMEM. */
MUST_USE enum err authority_own_new(const struct authority_own_setup *s, struct authority **ret);
/* authority_own_set_pki - another one of the same authority, in its place; borrowed for life. */
void authority_own_set_pki(struct authority *a, const struct pki *pki);

#endif
