/*
 * The file: a head {magic, salt} and blocks {length, sealed records}. The key of a file is derived
 * from its salt, the nonce of a block is its number, and no file is ever continued after it was
 * closed: it is written anew.
 *
 * A block that does not open is a torn tail only when it is the last one: each was synced before
 * the next was written. Anywhere else the file was changed, and nothing of it is believed.
 */
#include "base/mem.h"
#include "security/crypto/kdf.h"
#include "service/pki/register_private.h"

#define NEW_FILE REGISTER_FILE ".new"

enum { MAGIC_BYTES = 8, SALT_BYTES = 32, HEAD_BYTES = MAGIC_BYTES + SALT_BYTES };

/* The last byte is the format's version. */
static const uint8_t magic[MAGIC_BYTES] = {'S', 'P', 'R', 'E', 'G', 'I', 'S', 1};

static void key_wipe(uint8_t (*key)[AEAD_KEY_BYTES])
{
    mem_wipe(*key, sizeof *key);
}

static enum err open_aead(const struct pki_register *r, struct slice salt, struct aead **ret)
{
    AUTO(key_wipe) uint8_t key[AEAD_KEY_BYTES];
    TRY(kdf_hkdf(secret_bytes(r->seal), salt, slice_text("sallyport register"), key, sizeof key));
    return aead_new(slice_of(key, sizeof key), ret);
}

static void nonce_of(uint64_t number, uint8_t dst[AEAD_NONCE_BYTES])
{
    struct wr w = wr_into(dst, AEAD_NONCE_BYTES);
    wr_u32(&w, 0);
    wr_u64(&w, number);
}

void register_file_close(struct pki_register *r)
{
    if (r->file != NULL) {
        r->disk->ops->close(r->file);
    }
    r->file = NULL;
    r->aead = aead_free(r->aead);
}

static void begin_block(struct pki_register *r)
{
    r->writing = wr_into(r->block + REGISTER_BLOCK_HEAD_BYTES, REGISTER_BLOCK_MAX);
}

/* Appends, without a sync, what was put. */
static enum err append_block(struct pki_register *r)
{
    size_t n = 0;
    uint8_t nonce[AEAD_NONCE_BYTES];
    TRY(wr_done(&r->writing, &n));
    if (n == 0) {
        return OK;
    }
    uint8_t *at = r->block + REGISTER_BLOCK_HEAD_BYTES;
    struct wr head = wr_into(r->block, REGISTER_BLOCK_HEAD_BYTES);
    wr_u32(&head, (uint32_t)(n + AEAD_TAG_BYTES));
    nonce_of(r->n_blocks, nonce);
    TRY(aead_seal(r->aead, nonce, (struct slice){0}, slice_of(at, n), at));
    size_t all = REGISTER_BLOCK_HEAD_BYTES + n + AEAD_TAG_BYTES;
    TRY(r->disk->ops->append(r->file, slice_of(r->block, all)));
    r->n_blocks++;
    r->n_bytes += all;
    begin_block(r);
    return OK;
}

/* ---- all of it ---- */

static enum err write_one(struct pki_register *r, const struct register_entry *e)
{
    if (wr_left(&r->writing) < REGISTER_ENTRY_MAX) {
        TRY(append_block(r));
    }
    register_entry_encode(e, &r->writing);
    return OK;
}

static enum err write_head(struct pki_register *r)
{
    uint8_t head[HEAD_BYTES];
    memcpy(head, magic, MAGIC_BYTES);
    r->random.fill(r->random.ctx, head + MAGIC_BYTES, SALT_BYTES);
    TRY(open_aead(r, slice_of(head + MAGIC_BYTES, SALT_BYTES), &r->aead));
    TRY(r->disk->ops->append(r->file, slice_of(head, sizeof head)));
    r->n_bytes = sizeof head;
    r->n_blocks = 0;
    begin_block(r);
    const struct register_entry born = {
        .kind = REGISTER_BORN, .at_wall_ms = r->born_wall_ms, .spki = r->token_key};
    TRY(write_one(r, &born));
    const struct register_entry crl = {.kind = REGISTER_CRL, .number = r->crl_number};
    TRY(write_one(r, &crl));
    struct register_entry hosts = {.kind = REGISTER_HOSTS, .n_hosts = r->n_hosts};
    for (size_t i = 0; i < r->n_hosts; i++) {
        hosts.hosts[i] =
            (struct x509_san){r->hosts[i].kind, slice_of(r->hosts[i].bytes, r->hosts[i].n)};
    }
    return write_one(r, &hosts);
}

static enum err write_issued(struct pki_register *r, const struct register_issued *i)
{
    for (; i != NULL; i = i->of_name) {
        if (i->not_after_wall_ms + REGISTER_KEEP_MS >= r->now_wall_ms) {
            const struct register_entry e = register_entry_of_issued(i);
            TRY(write_one(r, &e));
        }
    }
    return OK;
}

static enum err write_all(struct pki_register *r)
{
    const struct register_name *n;
    const struct register_token *t;
    size_t at = 0;
    TRY(write_head(r));
    while ((n = register_name_next(r, &at)) != NULL) {
        if (n->state != REGISTER_FORGOTTEN || n->issued != NULL) {
            const struct register_entry e = register_entry_of_name(n);
            TRY(write_one(r, &e));
        }
        TRY(write_issued(r, n->issued));
    }
    TRY(write_issued(r, r->servers));
    at = 0;
    while ((t = register_token_next(r, &at)) != NULL) {
        if (t->uses > 0 && t->expires_wall_ms > r->now_wall_ms) {
            const struct register_entry e = register_entry_of_token(t);
            TRY(write_one(r, &e));
        }
    }
    TRY(append_block(r));
    TRY(r->disk->ops->sync(r->file));
    TRY(r->disk->ops->rename(r->disk, NEW_FILE, REGISTER_FILE));
    r->n_clean_bytes = r->n_bytes;
    return OK;
}

MUST_USE enum err register_file_write(struct pki_register *r)
{
    register_file_close(r);
    enum err err = r->disk->ops->remove(r->disk, NEW_FILE); /* of one that was cut short */
    if (err != OK && err != ERR_NOT_FOUND) {
        return err;
    }
    TRY(r->disk->ops->open(r->disk, NEW_FILE, DISK_APPEND, &r->file));
    err = write_all(r);
    if (err != OK) {
        register_file_close(r);
    }
    return err;
}

/* ---- one change ---- */

MUST_USE enum err register_file_begin(struct pki_register *r)
{
    bool is_grown = r->n_bytes > 2 * r->n_clean_bytes + REGISTER_REWRITE_BYTES;
    if (r->file == NULL || is_grown) {
        TRY(register_file_write(r));
    }
    begin_block(r);
    return OK;
}

void register_file_put(struct pki_register *r, const struct register_entry *e)
{
    register_entry_encode(e, &r->writing);
}

MUST_USE enum err register_file_commit(struct pki_register *r)
{
    enum err err = append_block(r);
    if (err == OK) {
        err = r->disk->ops->sync(r->file);
    }
    if (err != OK) {
        register_file_close(r); /* what of it is on disk, nobody knows */
    }
    return err;
}

/* ---- reading ---- */

static enum err take_block(struct pki_register *r, struct slice plain, register_take *take)
{
    struct rd records = rd_from(plain);
    while (rd_left(&records) > 0) {
        struct register_entry e;
        TRY(register_entry_decode(&records, &e));
        TRY(take(r, &e));
    }
    return OK;
}

static enum err read_blocks(struct pki_register *r, struct rd *file, register_take *take,
                            bool *ret_torn)
{
    *ret_torn = false;
    for (uint64_t number = 0; rd_left(file) > 0; number++) {
        uint8_t nonce[AEAD_NONCE_BYTES];
        size_t n = rd_u32(file);
        struct slice sealed = rd_bytes(file, n);
        if (!rd_ok(file) || n < AEAD_TAG_BYTES) {
            *ret_torn = true;
            return number > 0 ? OK : ERR_CRYPTO;
        }
        if (n > REGISTER_BLOCK_MAX + AEAD_TAG_BYTES) {
            return ERR_CRYPTO;
        }
        nonce_of(number, nonce);
        uint8_t *plain = r->block + REGISTER_BLOCK_HEAD_BYTES;
        enum err err = aead_open(r->aead, nonce, (struct slice){0}, sealed, plain);
        if (err != OK) {
            *ret_torn = rd_left(file) == 0;
            return *ret_torn && number > 0 ? OK : ERR_CRYPTO;
        }
        TRY(take_block(r, slice_of(plain, n - AEAD_TAG_BYTES), take));
    }
    return OK;
}

MUST_USE enum err register_file_read(struct pki_register *r, register_take *take, struct why *why)
{
    AUTO(buf_done) struct buf file = {0};
    bool is_torn = false;
    enum err err = disk_load(r->disk, REGISTER_FILE, REGISTER_FILE_MAX, &file);
    if (err != OK) {
        why_set(why, "DIR/" REGISTER_FILE ": %s", err_name(err));
        return err;
    }
    struct rd in = rd_from(buf_slice(&file));
    struct slice head = rd_bytes(&in, HEAD_BYTES);
    if (!slice_has_prefix(head, slice_of(magic, sizeof magic))) {
        err = ERR_CRYPTO;
    }
    if (err == OK) {
        err = open_aead(r, slice_from(head, MAGIC_BYTES), &r->aead);
    }
    if (err == OK) {
        err = read_blocks(r, &in, take, &is_torn);
    }
    r->aead = aead_free(r->aead);
    if (err != OK) {
        why_set(why,
                "DIR/" REGISTER_FILE " (who is enrolled and what was revoked) %s: %s. Nothing is "
                "signed without it: restore DIR/pki from a backup",
                err == ERR_CRYPTO ? "was changed, or belongs to another keyring" : "cannot be read",
                err_name(err));
    }
    return err;
}
