/* What a sink names in DIR: certificates, a secret. */
#include "service/courier/courier.h"

#include "base/mem.h"
#include "net/tls.h"

enum { PEM_MAX = 256 * 1024 };

enum err courier_sink_tls(struct disk *d, const struct courier_sink *s, char *ret_text,
                          struct tls **ret)
{
    AUTO(buf_wipe) struct buf ca = {0}, cert = {0}, key = {0};
    const struct {
        const char *name;
        struct buf *to;
    } files[] = {{s->ca, &ca}, {s->cert, &cert}, {s->key, &key}};
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        enum err err =
            files[i].name[0] == '\0' ? OK : disk_load(d, files[i].name, PEM_MAX, files[i].to);
        if (err != OK) {
            (void)snprintf(ret_text, TLS_TEXT_BYTES, "DIR/%.60s cannot be read: %s", files[i].name,
                           err_name(err));
            return err;
        }
    }
    struct tls_client_config config = {.ca_pem = buf_slice(&ca),
                                       .host = s->host,
                                       .chain_pem = buf_slice(&cert),
                                       .key_pem = buf_slice(&key)};
    return tls_client_new(&config, ret_text, ret);
}

enum err courier_sink_secret(struct disk *d, const struct courier_sink *s, char *ret_text,
                             struct buf *ret)
{
    AUTO(buf_wipe) struct buf file = {0};
    struct slice secret;
    enum err err = disk_load(d, s->secret, WEBHOOK_SECRET_MAX + 2, &file);
    if (err != OK) {
        (void)snprintf(ret_text, TLS_TEXT_BYTES, "DIR/%.60s cannot be read: %s", s->secret,
                       err_name(err));
        return err;
    }
    err = webhook_secret_read(buf_slice(&file), &secret);
    if (err != OK) {
        (void)snprintf(ret_text, TLS_TEXT_BYTES,
                       "DIR/%.60s must hold one line of %d to %d characters, as `openssl rand "
                       "-hex 32` makes one",
                       s->secret, WEBHOOK_SECRET_MIN, WEBHOOK_SECRET_MAX);
        return err;
    }
    return buf_append(ret, secret, WEBHOOK_SECRET_MAX);
}
