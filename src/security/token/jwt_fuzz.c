#include <assert.h>

#include "security/token/jwt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* The public keys of RFC 7515 A.2, A.3 and RFC 8037 A.2, whose tokens are among the seeds. */
static const char set[] =
    "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"r\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_"
    "wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJ"
    "PMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0"
    "LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uD"
    "Zlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2"
    "PAcDTW9gb54h4FRWyuXpoQ\",\"e\":\"AQAB\"},"
    "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"e\",\"x\":"
    "\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"y\":\"x_FEzRu9m36HLN_"
    "tue659LNpXW6pCyStikYjKIWI5a0\"},"
    "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"d\",\"x\":\"11qYAYKxCrfVS_"
    "7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}";

/* Nobody forges: these keys signed nothing for this audience. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const struct jwks *keys = NULL;
    struct jwt_claims claims;
    struct why why = {.text = ""};
    struct jwt_rules rules = {
        .issuer = slice_text("joe"), .audience = slice_text("sallyport"), .skew_s = 60};
    enum err err = jwks_parse(slice_text(set), NULL, &keys);
    assert(err == OK);
    char issuer[32] = "";
    if (jwt_issuer(slice_of(data, n), issuer, sizeof issuer) == OK) {
        assert(strlen(issuer) < sizeof issuer);
    }
    err = jwt_verify(slice_of(data, n), keys, &rules, 0, &why, &claims);
    assert(err != OK && why.text[0] != '\0');
    jwks_unref(keys);
    return 0;
}
