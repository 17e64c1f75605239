#include "security/crypto/crl_make.h"
#include "service/directory/directory_record_private.h"

bool certificate_to_json(const struct credential *c, json_t *object)
{
    char hex[SERIAL_HEX_BYTES];
    if (c->cert.serial.n == 0 && c->cert.revoked_wall_ms == 0) {
        return true;
    }
    serial_hex(&c->cert.serial, hex);
    json_t *json = json_pack("{s:s, s:I, s:i}", "serial", hex, "revoked",
                             (json_int_t)c->cert.revoked_wall_ms, "reason", (int)c->cert.reason);
    return json_object_set_new(object, "cert", json) == 0;
}

enum err certificate_from_json(json_t *json, struct credential *c)
{
    const char *hex = NULL;
    json_int_t revoked = 0;
    int reason = 0;
    if (c->kind != CREDENTIAL_X509 ||
        json_unpack_ex(json, NULL, JSON_STRICT, "{s:s, s:I, s:i}", "serial", &hex, "revoked",
                       &revoked, "reason", &reason) != 0 ||
        revoked < 0 || reason < 0 || reason > CRL_REASON_LAST ||
        (hex[0] != '\0' && serial_from_hex(slice_text(hex), &c->cert.serial) != OK)) {
        return ERR_CONFIG;
    }
    c->cert.revoked_wall_ms = revoked;
    c->cert.reason = (uint8_t)reason;
    return OK;
}
