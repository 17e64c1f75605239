#include "service/doctor/weak_words.h"

#include "base/scope.h"
#include "service/doctor/lines.h"

enum { PASSWORD_LEAST = 8, CIPHER_MAX = 128 };

bool is_weak_word(struct slice name, struct slice password)
{
    static const char *const words[] = {
        "mosquitto",     "password", "password1",     "12345678",        "123456789",
        "administrator", "changeme", "emqx_password", "nanomq_password", "emqxsecretcookie",
        "raspberry",     "iloveyou", "qwertyuiop",    "qwerty123"};
    if (password.n < PASSWORD_LEAST || slice_equal(name, password)) {
        return true;
    }
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (lines_same(password, words[i])) {
            return true;
        }
    }
    return false;
}

bool is_weak_cipher(struct slice name)
{
    static const char *const words[] = {"NULL",  "RC4", "DES",   "EXP",  "MD5",  "ADH",
                                        "AECDH", "LOW", "SSLv3", "IDEA", "SEED", "COMPLEMENTOFALL"};
    char text[CIPHER_MAX];
    name = slice_head(name, CIPHER_MAX - 1);
    if (!slice_to_text(name, text, sizeof text) || text[0] == '!' || text[0] == '-') {
        return false;
    }
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (strstr(text, words[i]) != NULL) {
            return true;
        }
    }
    return strcmp(text, "ALL") == 0;
}
