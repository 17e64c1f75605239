/*
 * reload - SIGHUP: sallyport.yaml, the server's certificate, the keys of tokens, policy.yaml and
 * DIR/pki/crl-extra.pem are read again and come into force together, as one edition; or none of
 * them does, with an alert until a reload succeeds. No connection ends. What cannot change while it
 * runs is named.
 */
#ifndef APP_DAEMON_RELOAD_H
#define APP_DAEMON_RELOAD_H

#include "app/daemon/assembly.h"
#include "service/admin/admin.h"

enum { RELOAD_RESTS_MAX = 48, RELOAD_REST_BYTES = 64, RELOAD_FAULTS_MAX = 5 };

/* The names of what differs and needs a restart. */
struct reload_rest {
    size_t n;
    char name[RELOAD_RESTS_MAX][RELOAD_REST_BYTES];
};

/* A file that is refused. */
struct reload_fault {
    char file[CONFIG_NAME_BYTES];
    struct why why;
};

/* { the four pointers } is ready. */
struct reload {
    /* Borrowed for life. */
    const struct boot *boot;
    struct assembly *parts;
    struct admin *admin;
    struct admin_listener *listeners; /* those of admin, in the order of boot */
    bool is_waiting;                  /* nobody was told yet what became of it */
    bool only_certificate;            /* the rest was not asked for */
    uint64_t epoch;                   /* of the newest realm */
    struct reload_rest rest;
    size_t n_faults;
    struct reload_fault faults[RELOAD_FAULTS_MAX];
    char refused[BOOT_TEXT_BYTES]; /* all of them, for the supervisor; empty: none */
};

/* reload_begin - reads everything; when all of it is right, gives it to the workers. While it is
 * under way another one may begin: the newest counts. */
void reload_begin(struct reload *r);
/* reload_certificate - the server's certificate alone, which was renewed; what was loaded last
 * stays beside it. After an error so does the old one, *why says more. */
MUST_USE enum err reload_certificate(struct reload *r, struct why *why);
/* reload_tick - true once, when every worker serves by the newest reading, or it was refused: the
 * event is noted and r->refused says what is wrong (empty: nothing). */
bool reload_tick(struct reload *r);

/*
 * reload_merge - what of `now` can come into force while the daemon runs
 *
 * start   the configuration that the daemon started with.
 * served  the newest one in force: a listener that cannot follow stays as it is there.
 * ret     listeners in the order of `start`; the rest as in now.
 * rest    gets the names of what differs and needs a restart.
 */
void reload_merge(const struct config *start, const struct config *served, const struct config *now,
                  struct config *ret, struct reload_rest *rest);
/* reload_rest_text - names from the at-th on into dst, with commas, as many as fit whole; returns
 * the first that did not. dst takes one of RELOAD_REST_BYTES at least. */
size_t reload_rest_text(const struct reload_rest *rest, size_t at, char *dst, size_t cap);

#endif
