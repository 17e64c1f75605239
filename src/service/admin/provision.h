/*
 * provision - one new device from an order to its bundle: credentials made, registered with the
 * directory, packed. The daemon does it for `device add`, `quickstart` before there is a daemon.
 */
#ifndef SERVICE_ADMIN_PROVISION_H
#define SERVICE_ADMIN_PROVISION_H

#include "base/random.h"
#include "core/policy.h"
#include "service/directory/directory.h"
#include "service/pki/authority.h"
#include "service/pki/bundle.h"

enum provision_credential {
    PROVISION_X509 = 1,
    PROVISION_PASSWORD = 2,
    PROVISION_PSK = 4,
    PROVISION_OSCORE = 8,
    PROVISION_SCRAM = 16
};

/* provision_credential_find - by name ("x509"); 0 when there is none. */
unsigned provision_credential_find(struct slice name);

/* Borrowed for the call. */
struct provision {
    struct directory *directory;
    struct authority *authority; /* certifies; one that an operator's word enrols in */
    struct slice ca_pem;         /* the first certificate, the root, goes into bundles */
    const struct policy *policy; /* NULL: the role is not checked, howto.txt has no topics */
    struct random_source random;
    struct slice host; /* that the bundle names */
    uint16_t mqtts_port, coaps_port, wss_port;
    uint16_t coap_port; /* of OSCORE */
    struct slice wss_path;
};

struct provision_order {
    struct slice name, role;
    const struct principal_attr *attrs;
    size_t n_attrs;
    unsigned credentials;  /* of enum provision_credential; 0: x509 */
    struct slice save_dir; /* where the bundle will be, for howto.txt; may be empty */
};

/*
 * provision_device - makes, registers and packs
 *
 * ERR_NOT_FOUND: the policy has no such role; else as directory_add and authority_issue. *why says
 * it in words. After an error the directory is as it was. *ret is written only on success; release
 * with bundle_done.
 */
MUST_USE enum err provision_device(const struct provision *p, const struct provision_order *o,
                                   int64_t now_wall_ms, struct bundle *ret, struct why *why);

/* provision_describe - the bundle of a device that made its own key and has its certificate
 * (cert_pem: leaf, then intermediate): all but the key. Nothing is made or registered. Errors as
 * bundle_make; ERR_NOT_FOUND: no such device. */
MUST_USE enum err provision_describe(const struct provision *p, struct slice name,
                                     struct slice cert_pem, struct bundle *ret, struct why *why);

/*
 * provision_rotate - new credentials for one that is there, all or none
 *
 * o           name, save_dir; credentials 0: one of each kind that it has. The rest is not read.
 * overlap_ms  how long the old ones of these kinds stay; 0: not at all.
 *
 * ERR_NOT_FOUND; else as directory_rotate and authority_issue. As
 * provision_device otherwise; the bundle holds only what is new.
 */
MUST_USE enum err provision_rotate(const struct provision *p, const struct provision_order *o,
                                   int64_t overlap_ms, int64_t now_wall_ms, struct bundle *ret,
                                   struct why *why);

#endif
