/*
 * status_door - what the authority says of its certificates, as an HTTP server's resources: the
 * list at /crl.der and /crl.pem, answers about single ones at /ocsp. Pure: a request to a question,
 * a question to an answer. Whoever has connections hangs it into its paths; nothing of it is
 * secret, so nobody has to be anybody. SPEC: RFC6960 A.1, RFC5280 4.2.1.13, RFC2585 3.
 */
#ifndef SERVICE_PKI_STATUS_DOOR_H
#define SERVICE_PKI_STATUS_DOOR_H

#include "security/crypto/ocsp.h"
#include "service/pki/authority.h"

#define STATUS_DOOR_LIST_PATH "/crl.der"
#define STATUS_DOOR_OCSP_PATH "/ocsp"

enum status_kind { STATUS_LIST_DER, STATUS_LIST_PEM, STATUS_OCSP };

struct status_question {
    enum status_kind kind;
    size_t n; /* bytes of the OCSPRequest */
    uint8_t ocsp_der[OCSP_REQUEST_MAX];
};

/* Borrowed. */
struct status_request {
    struct slice method, path; /* path as it came: not decoded, without a query */
    struct slice type;         /* Content-Type without its parameters */
    struct slice body;
};

/*
 * status_door_find - what is asked
 *
 * ERR_NOT_FOUND     no path of these
 * ERR_UNSUPPORTED   another method; *ret_allow says which there are (405)
 * ERR_PROTOCOL      a POST of another type than application/ocsp-request (415)
 * ERR_MALFORMED     a GET whose path is no base64 (400)
 * ERR_TOO_LARGE     over OCSP_REQUEST_MAX (413)
 */
MUST_USE enum err status_door_find(const struct status_request *r, struct status_question *ret,
                                   const char **ret_allow);

struct status_answer {
    const char *type;
    struct buf body;    /* owned; release with buf_done */
    uint32_t max_age_s; /* that it may be kept for others; 0: not at all */
};
/* status_door_answer - by the authority. Errors of authority_crl and authority_ocsp: 503. */
MUST_USE enum err status_door_answer(struct authority *a, const struct status_question *q,
                                     int64_t now_wall_ms, struct status_answer *ret);

#endif
