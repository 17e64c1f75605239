/* mosquitto_private - what is known of a mosquitto.conf while its lines are read. */
#ifndef SERVICE_DOCTOR_MOSQUITTO_PRIVATE_H
#define SERVICE_DOCTOR_MOSQUITTO_PRIVATE_H

#include "service/doctor/lines.h"
#include "service/doctor/mosquitto_conf.h"

/* A further file, as the configuration names it. */
struct named_file {
    char path[SOURCE_PATH_BYTES];
    struct facts_place at;
    bool is_named;
};

/* What per_listener_settings binds to one listener, and without it is everybody's. */
struct scope {
    struct facts_value anonymous, empty_client_id;
    struct named_file passwords, acl, keys;
    bool has_plugin;
};

/* 0, one for each listener, and one for those that did not fit. */
enum { MOSQUITTO_LOST = FACTS_LISTENERS_MAX + 1, MOSQUITTO_SCOPES };

struct reading {
    const struct source *source;
    struct facts *f;
    const char *path;     /* of the file whose lines these are */
    struct scope *scopes; /* 0: everybody's, or the default listener's */
    struct named_file certificate[MOSQUITTO_SCOPES], authority[MOSQUITTO_SCOPES];
    struct named_file key[MOSQUITTO_SCOPES];
    bool has_psk[MOSQUITTO_SCOPES], is_user_the_id[MOSQUITTO_SCOPES];
    size_t listener;         /* 1 + the one that lines are about now; 0: none yet */
    size_t default_listener; /* the same of the one of port and bind_address */
    size_t n_includes;
    struct facts_bridge *bridge; /* the one that lines are about now */
    bool per_listener;
    struct facts_place scoped_at; /* a setting of a scope below a listener, or before any */
};

/* mosquitto_scope - whose settings those of a listener are: an index of scopes. */
static inline size_t mosquitto_scope(const struct reading *r, size_t listener)
{
    return !r->per_listener || listener == r->default_listener ? 0 : listener;
}

/* mosquitto_key - one line that is KEY VALUE. */
MUST_USE enum err mosquitto_key(struct reading *r, struct facts_place at, struct slice key,
                                struct slice value);
/* mosquitto_listener_of - the one that listener keys are about: the last one, else the default one,
 * which is there then. NULL with OK: there are too many. */
MUST_USE enum err mosquitto_listener_of(struct reading *r, struct facts_place at,
                                        struct facts_listener **ret);

#endif
