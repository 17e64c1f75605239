#include <assert.h>

#include "app/cli/client_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { FORMAT_MAX = 256 };

/* The first byte: how; then a format that ends with NUL; the rest is the payload. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char format[FORMAT_MAX];
    struct slice rest = slice_of(data, n);
    bool more;
    uint8_t how = n > 0 ? data[0] : 0;
    rest = slice_from(rest, 1);
    struct slice head = slice_cut(&rest, '\0', &more);
    if (!slice_to_text(head, format, sizeof(format))) {
        return 0;
    }
    const char *wrong = client_format_check(format);
    if (wrong != NULL) {
        assert(*wrong == '%' || *wrong == '\\' || *wrong == '@');
        return 0;
    }
    FILE *to = fopen("/dev/null", "w");
    struct client_print print = {
        .format = format, .is_terminal = how & 1, .pretty = how & 2, .own_json = how & 4};
    struct mqtt_publish m = {
        .topic = slice_text("a/b"), .payload = rest, .qos = how >> 6 & 1, .packet_id = 1};
    if (to != NULL) {
        (void)!client_format_print(to, &print, &m, (int64_t)how * 1000000007);
        fclose(to);
    }
    return 0;
}
