/*
 * serving - an edition made out of sallyport.yaml and the certificates: for each listener what it
 * lets in, and how. All that can be wrong with it is found while it is made.
 */
#ifndef APP_DAEMON_SERVING_H
#define APP_DAEMON_SERVING_H

#include "app/daemon/config.h"
#include "app/daemon/message.h"
#include "base/buf.h"
#include "base/why.h"
#include "service/broker/driver.h"
#include "service/broker/edition.h"
#include "service/enrol/makers.h"
#include "service/pki/pki.h"

struct serving {
    struct edition edition; /* first */
    struct config config;
    struct clock clock;
    const struct random_source *random;
    struct tls_tickets *tickets;           /* borrowed; NULL: none are given */
    struct tls_staple *staple;             /* borrowed */
    struct tls *tls[CONFIG_LISTENERS_MAX]; /* by entrance */
    struct ws_rules ws[CONFIG_LISTENERS_MAX];
    struct slice origins[CONFIG_LISTENERS_MAX][CONFIG_ORIGINS_MAX]; /* into config */
    struct driver_entrance entrances[CONFIG_LISTENERS_MAX];
    int fds[CONFIG_LISTENERS_MAX][BOOT_SOCKETS_MAX];
    int ask_fds[CONFIG_LISTENERS_MAX][BOOT_SOCKETS_MAX];
    struct dtls_server_config dtls[CONFIG_LISTENERS_MAX]; /* into the three below */
    struct perimeter perimeters[CONFIG_LISTENERS_MAX];
    struct buf chain_pem, key_pem, ca_pem;
    struct buf enrol_chain_pem, enrol_ca_pem, cacerts; /* of enrolment doors */
};

struct serving_setup {
    uint64_t number;
    const struct serving *before; /* borrowed; NULL: it is the first */
    const struct boot *boot;
    const struct config *config;
    const struct pki *pki;
    struct clock clock;
    /* Borrowed for the life of the process. */
    const struct random_source *random;
    struct tls_tickets *tickets; /* NULL: none are given */
    struct tls_staple *staple;   /* NULL: nothing is stapled */
    const struct enrol_makers *makers;
};

/* serving_new - everything is copied; gives one reference of its edition. Every listener of boot
 * must be in config, with the same door and `plain`. ERR_CONFIG with *why; ERR_CRYPTO, ERR_NOMEM.
 */
MUST_USE enum err serving_new(const struct serving_setup *setup, const struct serving **ret,
                              struct why *why);
/* serving_unref - NULL is fine; returns NULL. */
const struct serving *serving_unref(const struct serving *s);

#endif
