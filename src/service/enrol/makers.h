/*
 * makers - manufacturers whose devices may enrol by the certificate they left the factory with, and
 * what such a device is called here.
 */
#ifndef SERVICE_ENROL_MAKERS_H
#define SERVICE_ENROL_MAKERS_H

#include "base/buf.h"
#include "base/why.h"
#include "core/principal.h"
#include "security/crypto/x509.h"

enum { ENROL_MAKERS_MAX = 8, ENROL_MAKER_FILE_MAX = 64 * 1024 };

/* The part of its certificate that is its name. */
enum enrol_name_rule {
    ENROL_NAME_CN,
    ENROL_NAME_SAN /* a DNS name */
};

struct enrol_maker {
    struct buf ca_pem; /* its authority: root, and what is between */
    char role[PRINCIPAL_NAME_MAX + 1];
    enum enrol_name_rule rule;
};

struct enrol_makers {
    struct enrol_maker maker[ENROL_MAKERS_MAX];
    size_t n;
};

void enrol_makers_done(struct enrol_makers *m);

/* Where their authorities are: a folder that is the operator's, not the broker's. */
#define ENROL_MAKERS_DIR "manufacturers"

/* enrol_makers_add - reads DIR/manufacturers/FILE. ERR_CONFIG with *why; ERR_LIMIT, ERR_NOMEM. */
struct disk;
MUST_USE enum err enrol_makers_add(struct enrol_makers *m, struct disk *disk, const char *file,
                                   const char *role, enum enrol_name_rule rule, struct why *why);

/* enrol_maker_find - whose certificate this is: its chain holds at this time. ERR_NOT_FOUND: none
 * of theirs; *why says why the last one's does not. */
MUST_USE enum err enrol_maker_find(const struct enrol_makers *m, const struct x509 *leaf,
                                   int64_t now_wall_ms, const struct enrol_maker **ret,
                                   struct why *why);
/* enrol_maker_name - what the device is called. ERR_MALFORMED: its certificate has no such name, or
 * one that no device may have here. */
MUST_USE enum err enrol_maker_name(const struct enrol_maker *m, const struct x509 *leaf,
                                   char ret[PRINCIPAL_NAME_MAX + 1]);

#endif
