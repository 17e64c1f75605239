/*
 * edition - one reading of the configuration and the certificates, as the workers serve it: limits
 * and entrances. Immutable, shared by reference; the service thread makes a new one for a reload
 * and gives it to every worker. Connections that are there keep the one they came in by, so nothing
 * they stand on changes or goes (docs/ORDER.md, rule 14).
 */
#ifndef SERVICE_BROKER_EDITION_H
#define SERVICE_BROKER_EDITION_H

#include <stdatomic.h>

#include "base/slice.h"
#include "core/limits.h"

struct driver_entrance;

/* The maker has it in a struct of its own, with what the entrances point to. Every edition of a
 * process has the same entrances, in the same order and on the same sockets: what they let in, and
 * how, is what changes. */
struct edition {
    atomic_uint refs;
    uint64_t number; /* 1 is the first of the process; each reading has a higher one */
    struct limits limits;
    struct slice server_reference; /* where clients may go instead; empty: nowhere */
    const struct driver_entrance *entrances;
    size_t n_entrances;
    /* The last reference is gone; by any thread. */
    void (*release)(const struct edition *e);
};

/* NULL is fine for both; unref returns NULL. */
const struct edition *edition_ref(const struct edition *e);
const struct edition *edition_unref(const struct edition *e);

#endif
