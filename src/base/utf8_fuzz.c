#include "base/utf8.h"

#include <assert.h>

/* What is said to be good up to an offset must be good, and stay good when cut there; strict text
 * is MQTT text. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct slice s = slice_of(data, n);
    size_t mqtt_at = n;
    size_t strict_at = n;
    enum err mqtt = utf8_check(s, UTF8_MQTT, &mqtt_at);
    enum err strict = utf8_check(s, UTF8_STRICT, &strict_at);
    assert((mqtt == OK) == (mqtt_at == n) && (strict == OK) == (strict_at == n));
    assert(strict_at <= mqtt_at && mqtt_at <= n);
    assert(utf8_check(slice_head(s, mqtt_at), UTF8_MQTT, NULL) == OK);
    assert(utf8_check(slice_head(s, strict_at), UTF8_STRICT, NULL) == OK);
    if (mqtt_at < n) {
        size_t at = 1;
        assert(utf8_check(slice_from(s, mqtt_at), UTF8_MQTT, &at) == ERR_UTF8 && at == 0);
    }
    return 0;
}
