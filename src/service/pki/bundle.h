/*
 * bundle - everything one device needs, as a handful of files.
 *
 * The daemon makes it in memory (its sandbox cannot write elsewhere), the command line saves it; in
 * between it is one JSON object {"file name": "contents"}, whose names are checked against the
 * known ones.
 */
#ifndef SERVICE_PKI_BUNDLE_H
#define SERVICE_PKI_BUNDLE_H

#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "base/why.h"
#include "service/directory/oscore_secret.h"

enum { BUNDLE_FILE_MAX = 64 * 1024 };

enum bundle_file {
    BUNDLE_JSON,     /* bundle.json */
    BUNDLE_CA,       /* ca.pem */
    BUNDLE_CERT,     /* cert.pem */
    BUNDLE_KEY,      /* key.pem */
    BUNDLE_PASSWORD, /* password.txt: one line */
    BUNDLE_PSK,      /* psk.txt: one line NAME:KEY, of an opaque one IDENTITY:KEY */
    BUNDLE_OSCORE, /* oscore.json: what an OSCORE context is made of, ids as the device sees them */
    BUNDLE_HOWTO,  /* howto.txt */
    BUNDLE_SCRAM,  /* scram.txt: one line, the password */
    BUNDLE_FILES
};

/* { 0 } is an empty one; a file of no bytes is not written. */
struct bundle {
    struct buf file[BUNDLE_FILES];
};
void bundle_done(struct bundle *b); /* wipes */
const char *bundle_file_name(enum bundle_file f);

/* Borrowed. Ports are 0 where the listener is not there; empty slices where the credential is not.
 */
struct bundle_order {
    struct slice device, role, host;
    uint16_t mqtts_port, coaps_port, wss_port;
    uint16_t coap_port;                     /* of OSCORE */
    uint16_t coaps_tcp_port, coaps_ws_port; /* CoAP over TLS, and over WebSocket */
    uint16_t enrol_port;                    /* where its certificate is renewed */
    struct slice wss_path;                  /* "/mqtt" */
    struct slice ca_pem;                    /* the roots that a device is to trust */
    struct slice cert_pem, key_pem;
    struct slice password, psk, scram;
    struct slice psk_identity;          /* empty: the device's name */
    const struct oscore_secret *oscore; /* NULL: none */
    struct slice publish;   /* an example topic this device may publish to; may be empty */
    struct slice subscribe; /* an example filter it may subscribe to; may be empty */
    bool is_successor;      /* of secrets that open until these are used: howto.txt says so */
    struct slice save_dir;  /* the directory howto.txt names, empty: "." */
};

/* bundle_make - fills the files. ERR_MALFORMED with *why: no device or host; ERR_NOMEM,
 * ERR_TOO_LARGE. *ret is written only on success; release with bundle_done. */
MUST_USE enum err bundle_make(const struct bundle_order *o, struct bundle *ret, struct why *why);

/* bundle_to_json - a new reference. ERR_NOMEM. */
MUST_USE enum err bundle_to_json(const struct bundle *b, json_t **ret);
/* bundle_from_json - ERR_MALFORMED: unknown file name, or not text; ERR_TOO_LARGE; ERR_NOMEM. */
MUST_USE enum err bundle_from_json(const json_t *json, struct bundle *ret);

/* bundle_save - makes the directory (0700) if it is not there and writes the files, all 0600, none
 * through a symbolic link. ERR_EXISTS: one of them is there already; nothing is overwritten.
 * ERR_IO; *why says which. */
MUST_USE enum err bundle_save(const struct bundle *b, const char *dir, struct why *why);
/* bundle_save_unsynced - the same for one of many, whose caller syncs them together. */
MUST_USE enum err bundle_save_unsynced(const struct bundle *b, const char *dir, struct why *why);

#endif
