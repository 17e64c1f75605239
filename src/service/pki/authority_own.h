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

/* pki (of pki_open_signing) and reg are borrowed for life. */
struct authority_own_setup {
    const struct pki *pki;
    struct pki_register *reg;
    struct random_source random;
    struct authority_policy policy;
    struct disk *disk; /* borrowed for life: to read pki anew, or to roll it over; NULL: never */
    const char *url;   /* borrowed for life: as pki_set_url, of what is read anew; NULL: none */
    const struct authority_maker *makers;
    size_t n_makers;
};

/* authority_own_new - ERR_NOMEM. */
MUST_USE enum err authority_own_new(const struct authority_own_setup *s, struct authority **ret);
/* authority_own_set_policy - from now on; what was signed in this minute stays counted. a is of
 * authority_own_new. */
void authority_own_set_policy(struct authority *a, const struct authority_policy *p);
/* All that signing needs, opened. { 0 } is none. */
struct authority_files {
    struct pki *pki; /* of pki_open_signing */
    struct pki_register *reg;
    struct authority *authority;
};

/* Borrowed: disk (the data directory's) for life, signing_key (pki_signing_key) for the call. */
struct authority_files_setup {
    struct disk *disk;
    struct slice signing_key;
    struct random_source random;
    struct authority_policy policy;
    int64_t now_wall_ms;
    const struct authority_maker *makers; /* borrowed for life */
    size_t n_makers;
    const char *url; /* as authority_own_setup; borrowed for life */
};
/* authority_files_open - errors as pki_open_signing and register_open, *why says which file; *ret
 * is to be released then too. */
MUST_USE enum err authority_files_open(const struct authority_files_setup *s,
                                       struct authority_files *ret, struct why *why);
void authority_files_close(struct authority_files *f);

#endif
