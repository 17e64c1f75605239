/* master-key rotate */
#include "base/mem.h"
#include "security/crypto/digest.h"
#include "service/admin/admin_private.h"

/* 32 bytes, as a digest has them. */
static void key_wipe(struct digest *k)
{
    mem_wipe(k, sizeof *k);
}

static void keyring_release(struct keyring **k)
{
    *k = keyring_free(*k);
}

static enum err arg_key(const struct control_request *r, const char *name, struct digest *ret)
{
    const char *text = control_arg_text(r, name);
    return text != NULL ? digest_from_hex(slice_text(text), ret) : ERR_MALFORMED;
}

/* Does this key open the keyring as it is on the disk now? */
static enum err check_key(const struct admin *a, const struct digest *key)
{
    AUTO(keyring_release) struct keyring *k = NULL;
    struct keyring_setup s = {
        .disk = a->setup.disk, .master = digest_slice(key), .random = a->setup.random};
    return keyring_open(&s, &k);
}

static enum err rotate(struct admin *a, uint64_t token, const struct digest *old_key,
                       const struct digest *new_key, struct control_reply *reply)
{
    enum err e = check_key(a, old_key);
    if (e == ERR_CRYPTO && check_key(a, new_key) == OK) {
        return control_finish(reply, 0, NULL); /* an interrupted rotation had come so far */
    }
    if (e == ERR_CRYPTO) {
        return control_finish(reply, 1,
                              "that file is not the master key in force; name the right one by "
                              "--master-key");
    }
    if (e == OK) {
        e = keyring_rotate(a->setup.keyring, digest_slice(new_key));
    }
    if (e != OK) {
        return admin_refuse(reply, "the keyring", e, NULL);
    }
    admin_act(a, token, EVENT_credential_rotated, SEVERITY_NOTICE, "master key",
              "the keyring is sealed under a new master key; the old one opens nothing any more");
    return control_finish(reply, 0, NULL);
}

enum err verb_master_key_rotate(void *ctx, const struct control_request *r, uint64_t token,
                                struct control_reply *reply)
{
    struct admin *a = ctx;
    AUTO(key_wipe) struct digest old_key = {{0}};
    AUTO(key_wipe) struct digest new_key = {{0}};
    if (a->setup.key_source->no_rotation != NULL) {
        return control_finish(reply, 1, "%s", a->setup.key_source->no_rotation);
    }
    if (arg_key(r, "old", &old_key) != OK || arg_key(r, "new", &new_key) != OK) {
        return control_finish(reply, 1, "old and new must be keys of 32 bytes, in hexadecimal");
    }
    return rotate(a, token, &old_key, &new_key, reply);
}
