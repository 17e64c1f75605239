#include "app/cli/audit_trust.h"

#include "app/cli/archive.h"
#include "base/hex.h"

static int read_anchor(struct cli *cli, const char *file, struct anchor *ret)
{
    AUTO(archive_place_done) struct archive_place place = {0};
    AUTO(buf_done) struct buf text = {0};
    struct why why = {{0}};
    enum err err = archive_place_open(file, &place, &why);
    if (err != OK) {
        return cli_fail(cli, "%s", why.text);
    }
    err = disk_load(place.disk, place.name, ANCHOR_BYTES_MAX, &text);
    if (err == OK) {
        err = anchor_decode(buf_slice(&text), ret);
    }
    if (err == ERR_NOT_FOUND) {
        return cli_fail(cli, "--anchor %s: there is no such file", file);
    }
    return err == OK ? CLI_DONE
                     : cli_fail(cli, "%s is not an anchor (%s); `%s audit anchor` prints one", file,
                                err_name(err), cli->program);
}

int audit_trust_read(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                     struct audit_trust *ret)
{
    const char *const *files;
    const char *text = cli_value(a, "--key");
    size_t got = 0;
    *ret = (struct audit_trust){.n = cli_values(a, "--anchor", &files), .has_key = text != NULL};
    if (ret->n > PROVE_ANCHORS_MAX) {
        return cli_usage(cli, self, "at most %d anchors at once", (int)PROVE_ANCHORS_MAX);
    }
    if (text != NULL && (hex_read(slice_text(text), ret->key, sizeof ret->key, &got) != OK ||
                         got != sizeof ret->key)) {
        return cli_usage(cli, self,
                         "--key takes 64 hexadecimal digits, as `audit key` prints them");
    }
    for (size_t i = 0; i < ret->n; i++) {
        int code = read_anchor(cli, files[i], &ret->anchors[i]);
        if (code != CLI_DONE) {
            return code;
        }
    }
    return CLI_DONE;
}

const char *audit_trust_words(const struct audit_trust *t)
{
    return t->has_key ? "as you gave it"
           : t->n > 0 ? "as your anchors say"
                      : "its own word; --key or --anchor prove it";
}
