#include <assert.h>

#include "security/password/password.h"
#include "security/password/psk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* The first byte cuts the rest into a secret and a name. Hashing is left out: it is not ours and
 * costs too much here. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0) {
        return 0;
    }
    struct slice rest = slice_of(data + 1, n - 1);
    struct slice secret = slice_head(rest, rest.n - (rest.n < data[0] ? rest.n : data[0]));
    struct slice name = slice_from(rest, secret.n);
    struct why why;
    if (password_check_new(secret, name, &why) == OK) {
        assert(secret.n >= PASSWORD_CHOSEN_MIN && secret.n <= PASSWORD_MAX);
    }
    if (psk_check_new(secret, name, &why) == OK) {
        assert(secret.n * 8 >= PSK_BITS_MIN);
    }
    enum password_profile profile;
    if (password_phc_ok(secret, &profile)) {
        assert(secret.n < PASSWORD_PHC_BYTES);
    }
    if (password_profile_of(secret) == PASSWORD_GENERATED) {
        assert(secret.n == PASSWORD_GENERATED_BYTES - 1);
    }
    return 0;
}
