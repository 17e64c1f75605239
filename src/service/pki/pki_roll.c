/* The roll-over of the authority: a new root, a new intermediate, the end of the former ones. */
#include <inttypes.h>

#include "service/pki/pki_private.h"
#include "service/pki/revocation.h"

/* One authority as its file has it. */
struct holder {
    struct pki_sealed file;
    struct key *key;
    struct x509 *cert;
    struct slice rest_pem; /* behind cert */
};

static void holder_done(struct holder *h)
{
    h->key = key_free(h->key);
    h->cert = x509_free(h->cert);
    pki_sealed_done(&h->file);
}

static enum err open_holder(struct disk *disk, const char *path, struct slice seal,
                            const char *purpose, struct holder *ret, struct why *why)
{
    TRY(pki_load(disk, path, seal, purpose, &ret->file, why));
    TRY(key_from_pem(ret->file.key_pem, &ret->key));
    ret->rest_pem = ret->file.certs_pem;
    return x509_next_pem(&ret->rest_pem, &ret->cert);
}

static enum err open_root(struct disk *disk, const char *path, struct slice seal,
                          struct holder *ret, struct why *why)
{
    enum err err = open_holder(disk, path, seal, PKI_PURPOSE_ROOT, ret, why);
    if (err == ERR_NOT_FOUND) {
        why_set(why, "%s is not there: put the root's file back for this step", path);
    }
    return err;
}

static bool is_there(struct disk *disk, const char *path, struct slice seal)
{
    AUTO(pki_sealed_done) struct pki_sealed s = {0};
    return pki_load(disk, path, seal, PKI_PURPOSE_ROOT, &s, NULL) != ERR_NOT_FOUND;
}

static enum err stage_of(struct disk *disk, struct slice seal, struct holder *intermediate,
                         enum pki_roll_stage *ret, struct why *why)
{
    struct slice rest;
    enum err err = OK;
    *ret = is_there(disk, PKI_FILE_NEXT_ROOT, seal) ? PKI_ROLL_PREPARED : PKI_ROLL_NONE;
    TRY(open_holder(disk, PKI_FILE_INTERMEDIATE, seal, PKI_PURPOSE_INTERMEDIATE, intermediate,
                    why));
    rest = intermediate->rest_pem;
    for (;;) {
        AUTO(x509_autofree) struct x509 *x = NULL;
        if ((err = x509_next_pem(&rest, &x)) != OK) {
            return err == ERR_NOT_FOUND ? OK : err;
        }
        if (!pki_is_root(x)) {
            *ret = PKI_ROLL_SWITCHED;
        }
    }
}

static enum err remove_file(struct disk *disk, const char *path)
{
    enum err err = disk->ops->remove(disk, path);
    return err == ERR_NOT_FOUND ? OK : err;
}

enum err pki_roll_prepare(struct disk *disk, struct slice seal, const struct random_source *random,
                          int64_t now_wall_ms, struct why *why)
{
    enum pki_roll_stage stage;
    AUTO(holder_done) struct holder intermediate = {.key = NULL};
    AUTO(holder_done) struct holder root = {.key = NULL};
    AUTO(holder_done) struct holder next = {.key = NULL};
    AUTO(buf_done) struct buf pem = {0};
    TRY(stage_of(disk, seal, &intermediate, &stage, why));
    if (stage != PKI_ROLL_NONE) {
        why_set(why, stage == PKI_ROLL_PREPARED
                         ? "a new root is prepared already; the next step is `certs roll switch`"
                         : "a roll-over is under way: `certs roll finish` ends it");
        return ERR_EXISTS;
    }
    TRY(open_root(disk, PKI_FILE_ROOT, seal, &root, why)); /* the switch will need it */
    TRY(pki_make_root(random, now_wall_ms, &next.key, &next.cert));
    TRY(x509_to_pem(next.cert, &pem));
    return pki_save_authority(disk, PKI_FILE_NEXT_ROOT, seal, PKI_PURPOSE_ROOT, random, next.key,
                              buf_slice(&pem));
}

/* ---- switch ---- */

/* Both roots in their places: former-root, root. Each step can be done again. */
static enum err move_roots(struct disk *disk, struct slice seal, const struct random_source *random,
                           struct holder *former, struct holder *next, struct why *why)
{
    bool is_moved = is_there(disk, PKI_FILE_FORMER_ROOT, seal);
    TRY(open_root(disk, is_moved ? PKI_FILE_FORMER_ROOT : PKI_FILE_ROOT, seal, former, why));
    TRY(open_root(disk, PKI_FILE_NEXT_ROOT, seal, next, why));
    if (!is_moved) {
        TRY(pki_save(disk, PKI_FILE_FORMER_ROOT, seal, PKI_PURPOSE_ROOT, random,
                     former->file.key_pem, former->file.certs_pem));
    }
    return pki_save(disk, PKI_FILE_ROOT, seal, PKI_PURPOSE_ROOT, random, next->file.key_pem,
                    next->file.certs_pem);
}

/* What the new intermediate's file holds: it, its root, and what else is still trusted. */
static enum err list_trusted(const struct x509 *made, const struct x509 *cross,
                             const struct holder *root, const struct holder *former_root,
                             const struct holder *former, struct buf *ret)
{
    TRY(x509_to_pem(made, ret));
    TRY(x509_to_pem(root->cert, ret));
    if (cross != NULL) {
        TRY(x509_to_pem(cross, ret));
        TRY(x509_to_pem(former_root->cert, ret));
    }
    return x509_to_pem(former->cert, ret);
}

/* A certificate has no fractions of a second, and others were signed in this one. */
static enum err save_time(struct disk *disk, int64_t now_wall_ms)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRId64 "\n", now_wall_ms);
    return disk_save(disk, PKI_FILE_SWITCHED, slice_text(text));
}

enum err pki_roll_switch(struct disk *disk, struct slice seal, const struct random_source *random,
                         int64_t now_wall_ms, struct why *why)
{
    enum pki_roll_stage stage;
    char name[PKI_AUTHORITY_NAME_BYTES];
    AUTO(holder_done) struct holder former = {.key = NULL};
    AUTO(holder_done) struct holder former_root = {.key = NULL};
    AUTO(holder_done) struct holder root = {.key = NULL};
    AUTO(key_autofree) struct key *key = NULL;
    AUTO(x509_autofree) struct x509 *made = NULL;
    AUTO(x509_autofree) struct x509 *cross = NULL;
    AUTO(buf_done) struct buf certs = {0};
    TRY(stage_of(disk, seal, &former, &stage, why));
    if (stage == PKI_ROLL_SWITCHED) {
        why_set(why, "a roll-over is under way: `certs roll finish` ends it");
        return ERR_EXISTS;
    }
    if (stage == PKI_ROLL_PREPARED) {
        TRY(move_roots(disk, seal, random, &former_root, &root, why));
    } else {
        TRY(open_root(disk, PKI_FILE_ROOT, seal, &root, why));
    }
    pki_authority_name("intermediate", random, name);
    TRY(key_generate(&key));
    TRY(pki_make_intermediate(key, name, root.cert, root.key, random, now_wall_ms, &made));
    if (stage == PKI_ROLL_PREPARED) {
        TRY(pki_make_intermediate(key, name, former_root.cert, former_root.key, random, now_wall_ms,
                                  &cross));
    }
    TRY(revocation_found(disk, root.cert, root.key, now_wall_ms,
                         x509_info(made)->not_after_wall_ms));
    TRY(list_trusted(made, cross, &root, &former_root, &former, &certs));
    TRY(save_time(disk, now_wall_ms));
    TRY(pki_save_authority(disk, PKI_FILE_INTERMEDIATE, seal, PKI_PURPOSE_INTERMEDIATE, random, key,
                           buf_slice(&certs)));
    return remove_file(disk, PKI_FILE_NEXT_ROOT);
}

/* ---- finish ---- */

enum err pki_roll_finish(struct disk *disk, struct slice seal, const struct random_source *random,
                         struct why *why)
{
    enum pki_roll_stage stage;
    AUTO(holder_done) struct holder intermediate = {.key = NULL};
    AUTO(x509_autofree) struct x509 *root = NULL;
    AUTO(buf_done) struct buf certs = {0};
    AUTO(buf_done) struct buf root_pem = {0};
    TRY(stage_of(disk, seal, &intermediate, &stage, why));
    if (stage != PKI_ROLL_SWITCHED) {
        why_set(why, "no roll-over is under way, or it has not switched yet: `certs roll switch` "
                     "comes first");
        return ERR_NOT_FOUND;
    }
    struct slice rest = intermediate.rest_pem;
    TRY(x509_next_pem(&rest, &root)); /* its own comes first */
    TRY(x509_to_pem(root, &root_pem));
    TRY(x509_to_pem(intermediate.cert, &certs));
    TRY(buf_append(&certs, buf_slice(&root_pem), PKI_FILE_MAX));
    TRY(pki_save(disk, PKI_FILE_INTERMEDIATE, seal, PKI_PURPOSE_INTERMEDIATE, random,
                 intermediate.file.key_pem, buf_slice(&certs)));
    TRY(remove_file(disk, PKI_FILE_NEXT_ROOT));
    TRY(remove_file(disk, PKI_FILE_SWITCHED));
    return remove_file(disk, PKI_FILE_FORMER_ROOT);
}
