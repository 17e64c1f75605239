/* authority_private - what stands behind an authority. */
#ifndef SERVICE_PKI_AUTHORITY_PRIVATE_H
#define SERVICE_PKI_AUTHORITY_PRIVATE_H

#include "service/pki/authority.h"

/* As the functions of authority.h. */
struct authority_ops {
    enum err (*issue)(struct authority *a, const struct authority_order *o, int64_t now_wall_ms,
                      struct authority_certificate *ret, struct why *why);
    enum err (*issue_server)(struct authority *a, struct slice csr_der, int64_t now_wall_ms,
                             struct authority_certificate *ret, struct why *why);
    enum err (*revoke)(struct authority *a, struct slice name,
                       const struct authority_serial *serial, enum authority_reason reason,
                       int64_t now_wall_ms);
    enum err (*crl)(struct authority *a, int64_t now_wall_ms, struct buf *ret_der,
                    int64_t *ret_next_update_wall_ms);
    enum err (*ocsp)(struct authority *a, struct slice request_der, int64_t now_wall_ms,
                     struct buf *ret_der);
    enum err (*enrol)(struct authority *a, struct slice name, const struct digest *spki,
                      int64_t now_wall_ms, struct why *why);
    enum err (*allow)(struct authority *a, struct slice name, int64_t now_wall_ms, struct why *why);
    enum err (*forget)(struct authority *a, struct slice name, int64_t now_wall_ms);
    enum err (*token_make)(struct authority *a, const struct authority_claim *c,
                           int64_t now_wall_ms, char ret[AUTHORITY_TOKEN_BYTES], struct why *why);
    enum err (*roll)(struct authority *a, enum authority_roll_step step, int64_t now_wall_ms,
                     struct why *why);
    enum err (*host)(struct authority *a, struct slice host, struct why *why);
    enum err (*reload)(struct authority *a, struct why *why);
    enum err (*token_ask)(struct authority *a, struct slice token, int64_t now_wall_ms,
                          struct buf *ret_json);
    enum err (*tokens)(struct authority *a, int64_t now_wall_ms, struct buf *ret_lines);
    enum err (*token_cancel)(struct authority *a, struct slice which, int64_t now_wall_ms,
                             char ret_id[AUTHORITY_TOKEN_ID_BYTES], struct why *why);
    bool (*is_operators)(const struct authority *a);
    struct authority *(*free)(struct authority *a);
};

/* authority_token_random - a new token. */
void authority_token_random(const struct random_source *random, char ret[AUTHORITY_TOKEN_BYTES]);

struct authority {
    const struct authority_ops *ops;
};

#endif
