/* hocon_private - what the readers of emqx.conf and nanomq.conf share. */
#ifndef SERVICE_DOCTOR_HOCON_PRIVATE_H
#define SERVICE_DOCTOR_HOCON_PRIVATE_H

#include "service/doctor/hocon.h"

struct hocon_reading {
    const struct source *source;
    struct facts *f;
    const struct hocon *h;
    const char *path; /* of the main file */
};

struct hocon_number {
    const char *path;
    hocon_meaning *meaning;
    int64_t preset;
    enum facts_number number;
};

/* What their listeners are, and where one of each binds by default: both products say the same. */
enum { HOCON_DOORS = 4 };
struct hocon_door {
    const char *type, *preset;
    enum facts_door door;
    bool is_tls;
};
extern const struct hocon_door hocon_doors[HOCON_DOORS];

/* hocon_below - the value of below.key, as hocon_value. */
MUST_USE enum err hocon_below(const struct hocon_reading *r, const char *below, const char *key,
                              hocon_meaning *meaning, int64_t preset, struct facts_value *ret);
/* hocon_numbers - rows of paths and what they are. */
MUST_USE enum err hocon_numbers(const struct hocon_reading *r, const struct hocon_number *rows,
                                size_t n);
/* What the words of both products come to: "allow" and "ignore" are 1, "deny" and "disconnect" 0;
 * of enable_authn "false" is 0, "true" and "quick_deny_anonymous" are 1. */
MUST_USE enum err hocon_allow(struct slice text, int64_t *ret);
MUST_USE enum err hocon_ignore(struct slice text, int64_t *ret);
MUST_USE enum err hocon_authn(struct slice text, int64_t *ret);
/* hocon_bind - an address of a listener, which may be a port alone or have a path behind it. */
void hocon_bind(struct facts_listener *l, struct slice text);
/* hocon_is - is the text of a path this one? false when it is absent. */
bool hocon_is(const struct hocon *h, const char *path, const char *text);
/* hocon_secret_of - a password or cookie that stands there: default or clear, by its name. A
 * "file://…" is none. ERR_NOMEM, ERR_CRYPTO. */
MUST_USE enum err hocon_secret_of(const struct hocon_reading *r, const struct hocon_entry *e,
                                  const char *name, bool is_management);
/* hocon_tls_files - certificate, authority and key below a path, which ends without a dot. */
MUST_USE enum err hocon_tls_files(const struct hocon_reading *r, const char *below);

#endif
