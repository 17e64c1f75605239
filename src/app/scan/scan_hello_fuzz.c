/* What a server answers to a hello: whatever it is, it is read within its bytes, and more of it
 * never turns a verdict round. */
#include <assert.h>

#include "app/scan/scan_hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct slice all = slice_of(data, n);
    for (int is_dtls = 0; is_dtls < 2; is_dtls++) {
        struct scan_hello_answer half, whole;
        enum err early = scan_hello_decode(slice_head(all, n / 2), is_dtls, &half);
        enum err late = scan_hello_decode(all, is_dtls, &whole);
        assert(late != OK || whole.kind <= SCAN_HELLO_ALERT);
        assert(is_dtls == 0 || late != ERR_AGAIN);
        if (is_dtls == 0 && early == OK) {
            assert(late == OK && half.kind == whole.kind && half.suite == whole.suite);
        }
        assert(is_dtls != 0 || early == OK || early == ERR_AGAIN || early == late);
    }
    return 0;
}
