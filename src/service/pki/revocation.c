#include "service/pki/revocation.h"

#include "base/buf.h"
#include "security/crypto/crl_make.h"

enum err revocation_load(struct disk *disk, const char *path, struct slice authorities_pem,
                         int64_t now_wall_ms, const struct crl_set **ret, struct why *why)
{
    AUTO(buf_done) struct buf pem = {0};
    struct why inner = {{0}};
    enum err err = disk_load(disk, path, CRL_FILE_MAX, &pem);
    if (err == ERR_NOT_FOUND) {
        *ret = NULL;
        return OK;
    }
    if (err == OK) {
        err = crl_set_new(buf_slice(&pem), authorities_pem, now_wall_ms, ret, &inner);
    }
    if (err != OK) {
        why_set(why, "DIR/%s: %.250s. Put a good one there, or take it away", path,
                inner.text[0] != '\0' ? inner.text : err_name(err));
    }
    return err;
}

enum err revocation_found(struct disk *disk, const struct x509 *root, const struct key *root_key,
                          int64_t now_wall_ms, int64_t until_wall_ms)
{
    AUTO(buf_done) struct buf der = {0};
    AUTO(buf_done) struct buf pem = {0};
    struct crl_order order = {.issuer = root,
                              .issuer_key = root_key,
                              .number = 1,
                              .now_wall_ms = now_wall_ms,
                              .next_update_wall_ms = until_wall_ms};
    TRY(crl_make(&order, &der));
    TRY(crl_to_pem(buf_slice(&der), &pem));
    return disk_save(disk, REVOCATION_ROOT_FILE, buf_slice(&pem));
}
