#include "app/cli/client_hex.h"

#include "base/hex.h"

enum err client_hex(struct slice text, void *dst, size_t cap, size_t *ret_n)
{
    return hex_read(text, dst, cap, ret_n);
}

void client_hex_write(struct slice s, char *dst)
{
    hex_write(s, dst);
}
