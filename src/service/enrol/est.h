/*
 * est - Enrolment over Secure Transport as its clients see it: paths, content types, encodings. Two
 * readings of it, over HTTP and (DER instead of base64) over CoAP, share the operations. Nothing is
 * decided here. SPEC: RFC7030 3.2, 4; RFC8951 3; RFC9148 5.
 */
#ifndef SERVICE_ENROL_EST_H
#define SERVICE_ENROL_EST_H

#include "engine/http_server.h"
#include "service/broker/enrolment.h"

enum est_operation {
    EST_CACERTS,
    EST_SIMPLEENROLL,
    EST_SIMPLEREENROLL,
    EST_SERVERKEYGEN,
    EST_CSRATTRS,
    EST_OPERATIONS
};

/*
 * est_find - what this path asks for
 *
 * ERR_NOT_FOUND    no path of EST
 * ERR_UNSUPPORTED  one of it that is not there (a label, fullcmc); *ret_why says so
 */
MUST_USE enum err est_find(struct slice path, enum est_operation *ret, const char **ret_why);
/* est_method - "GET" or "POST". */
const char *est_method(enum est_operation o);

/* The same over CoAP, where names are short and one of them has two. */
struct est_short {
    const char *name, *rt; /* rt: the resource type that discovery tells it by */
    enum est_operation operation;
    bool is_bare; /* one certificate by itself, where PKCS#7 would be */
};
/* est_short_next - each of them; *at starts at 0; NULL at the end. SPEC: RFC9148 4.1. */
const struct est_short *est_short_next(size_t *at);
/* est_short_find - NULL: there is none of this name. */
const struct est_short *est_short_find(struct slice name);

/* est_csr_attributes - what a request should have: a key on P-256, signed with SHA-256. DER, of
 * static life. SPEC: RFC7030 4.5.2. */
struct slice est_csr_attributes(void);

/* est_body - the bytes of a base64 body, white space left out; appended to *ret. ERR_MALFORMED,
 * ERR_TOO_LARGE over most, ERR_NOMEM. SPEC: RFC8951 3.1. */
MUST_USE enum err est_body(struct slice text, size_t most, struct buf *ret);
/* est_text - the other way. ERR_NOMEM. */
MUST_USE enum err est_text(struct slice der, struct buf *ret);

/* est_basic - user and password of an Authorization field. ERR_NOT_FOUND: there is none;
 * ERR_MALFORMED: another scheme, or longer than an enrolment has room for. SPEC: RFC7617 2. */
MUST_USE enum err est_basic(const struct http1_request *r, char user[ENROLMENT_NAME_BYTES],
                            char secret[ENROLMENT_SECRET_MAX + 1]);

/* est_pair - key and certificates as one multipart body. SPEC: RFC7030 4.4.2. ERR_NOMEM. */
#define EST_PAIR_TYPE "multipart/mixed; boundary=estServerKeyGenBoundary"
MUST_USE enum err est_pair(struct slice key_der, struct slice certs_der, struct buf *ret);

/* est_pair_core - the same as application/multipart-core, over CoAP: the key (284), and what is in
 * certs_format. ERR_TOO_LARGE: a part over 65,535 bytes; ERR_NOMEM. SPEC: RFC9148 4.3, RFC8710 2.
 */
MUST_USE enum err est_pair_core(struct slice key_der, uint16_t certs_format, struct slice certs,
                                struct buf *ret);

#define EST_CERTS_TYPE "application/pkcs7-mime; smime-type=certs-only"
#define EST_ATTRS_TYPE "application/csrattrs"
#define EST_CSR_TYPE   "application/pkcs10"

#endif
