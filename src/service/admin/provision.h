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

/* A fleet is changed in pieces: so many devices in one request, and when bundles come back. */
enum { FLEET_CHANGES_MAX = 256, FLEET_BUNDLES_MAX = 32 };
enum { PROVISION_OVERLAP_MAX_S = 30 * 86400 };

/* provision_credential_find - by name ("x509"); 0 when there is none. */
unsigned provision_credential_find(struct slice name);

/* Borrowed for the call. */
struct provision {
    struct directory *directory;
    struct authority *authority; /* enrols the name itself where it may; else an operator has */
    struct slice ca_pem;         /* the roots, for bundles */
    const struct policy *policy; /* NULL: the role is not checked, howto.txt has no topics */
    struct random_source random;
    struct slice host; /* that the bundle names */
    uint16_t mqtts_port, coaps_port, wss_port;
    uint16_t coap_port; /* of OSCORE */
    uint16_t enrol_port;
    uint16_t coaps_tcp_port, coaps_ws_port;
    struct slice wss_path;
};

struct provision_order {
    struct slice name, role;
    struct slice gateway; /* that may speak for it; empty: none */
    const struct principal_attr *attrs;
    size_t n_attrs;
    unsigned credentials;  /* of enum provision_credential; 0: x509 */
    bool is_successor;     /* provision_rotate's own */
    bool is_opaque;        /* the PSK's identity is random; one that was so stays so */
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
 * overlap_ms  how long the old ones of these kinds stay; 0: not at all. Of secrets: so long from
 * the device's first use of the new one on (directory_succeed).
 *
 * ERR_NOT_FOUND; else as directory_rotate and authority_issue. As
 * provision_device otherwise; the bundle holds only what is new. In a batch of the directory it is
 * part of it; after ERR_NOMEM and errors of the disk only a rollback is left then.
 */
MUST_USE enum err provision_rotate(const struct provision *p, const struct provision_order *o,
                                   int64_t overlap_ms, int64_t now_wall_ms, struct bundle *ret,
                                   struct why *why);

/*
 * provision_rotate_again - the same, for a run that was cut short and is run again
 *
 * since_wall_ms  when the run began: credentials made since then that nobody has used are taken
 * back first. Their bundle was lost; what was there before the run keeps its overlap.
 */
MUST_USE enum err provision_rotate_again(const struct provision *p, const struct provision_order *o,
                                         int64_t since_wall_ms, int64_t overlap_ms,
                                         int64_t now_wall_ms, struct bundle *ret, struct why *why);

/* provision_kinds - bits of the kinds of credentials that it has. */
unsigned provision_kinds(const struct directory_entry *e);

#endif
