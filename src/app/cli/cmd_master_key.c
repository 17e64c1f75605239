/* master-key rotate */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/cli/commands.h"
#include "app/daemon/config.h"
#include "app/daemon/places.h"
#include "base/mem.h"
#include "base/secret.h"
#include "security/crypto/digest.h"
#include "service/pki/key_source.h"
#include "service/pki/master_key.h"

enum { PATH_BYTES = 4096 };

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
}

struct key_text {
    char hex[DIGEST_HEX_BYTES];
};

static void key_text_wipe(struct key_text *t)
{
    mem_wipe(t, sizeof *t);
}

static void key_text_make(const struct secret *key, struct key_text *ret)
{
    struct digest bytes;
    memcpy(bytes.bytes, secret_bytes(key).p, sizeof bytes.bytes);
    digest_hex(&bytes, ret->hex);
    mem_wipe(&bytes, sizeof bytes);
}

/* The file that holds the key in force: of the option, else as `serve` finds it. */
static int find_file(struct cli *cli, const char *option, char dst[PATH_BYTES])
{
    AUTO(close_fd) int dir_fd = open(cli->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct config_machine machine = config_machine_ask();
    struct yaml_complaint complaint;
    struct config config;
    if (dir_fd < 0) {
        return cli_fail(cli, "%s cannot be opened: %s", cli->dir, strerror(errno));
    }
    if (config_load(dir_fd, cli->dir, &machine, &complaint, &config) != OK) {
        return cli_fail(cli, "%s", complaint.text);
    }
    const char *text = option != NULL ? option : config.master_key;
    size_t n = strlen(cli->dir);
    while (n > 1 && cli->dir[n - 1] == '/') {
        n--;
    }
    const char *name;
    const struct key_source *source = key_source_of(text, &name);
    if (source->no_rotation != NULL) {
        return cli_fail(cli, "%s", source->no_rotation);
    }
    int written = text[0] != '\0' ? snprintf(dst, PATH_BYTES, "%s", name)
                                  : snprintf(dst, PATH_BYTES, "%.*s.key", (int)n, cli->dir);
    return written > 0 && written < PATH_BYTES - 8 ? CLI_DONE
                                                   : cli_fail(cli, "the key's path is too long");
}

/* The next key in FILE.new, with FILE's owner: made, or as an interrupted rotation left it. */
static int next_key(struct cli *cli, const char *file, const char *file_new, const char *given,
                    struct secret **ret)
{
    struct random_source random = random_system();
    struct why why = {{0}};
    struct stat st;
    AUTO(secret_autofree) struct secret *given_key = NULL;
    bool is_there = lstat(file_new, &st) == 0;
    if (is_there && given != NULL) {
        return cli_fail(cli,
                        "%s is there from an interrupted rotation: run this without --new-key to "
                        "finish it",
                        file_new);
    }
    if (is_there) {
        fprintf(cli->err, "going on with %s of an interrupted rotation\n", file_new);
        return master_key_open(file_new, ret, &why) == OK ? CLI_DONE
                                                          : cli_fail(cli, "%s", why.text);
    }
    if (given != NULL && master_key_open(given, &given_key, &why) != OK) {
        return cli_fail(cli, "%s", why.text);
    }
    enum err e = given_key != NULL ? master_key_copy(file_new, given_key, &why)
                                   : master_key_create(file_new, &random, ret, &why);
    if (e != OK) {
        return cli_fail(cli, "%s", why.text);
    }
    if (given_key != NULL) {
        *ret = TAKE(given_key);
    }
    if (stat(file, &st) == 0 && st.st_uid != geteuid()) {
        (void)!chown(file_new, st.st_uid, st.st_gid); /* root may own it as well */
    }
    return CLI_DONE;
}

/* FILE.new takes FILE's place, also after a power cut. */
static int replace(struct cli *cli, const char *file, const char *file_new)
{
    char folder[PATH_BYTES];
    if (rename(file_new, file) != 0) {
        return cli_fail(cli,
                        "the keyring is sealed under the new key, but %s cannot take the place of "
                        "%s: %s. Do it: mv %s %s",
                        file_new, file, strerror(errno), file_new, file);
    }
    snprintf(folder, sizeof folder, "%s", file);
    AUTO(close_fd) int fd = open(dirname(folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0) {
        fprintf(cli->err, "the folder of %s could not be synced: %s\n", file, strerror(errno));
    }
    return CLI_DONE;
}

static int rotate(struct cli *cli, const char *option, const char *given)
{
    char file[PATH_BYTES], file_new[PATH_BYTES];
    AUTO(secret_autofree) struct secret *old_key = NULL;
    AUTO(secret_autofree) struct secret *new_key = NULL;
    AUTO(key_text_wipe) struct key_text old_text = {{0}};
    AUTO(key_text_wipe) struct key_text new_text = {{0}};
    struct why why = {{0}};
    int code = find_file(cli, option, file);
    if (code != CLI_DONE) {
        return code;
    }
    snprintf(file_new, sizeof file_new, "%.*s" PLACES_KEY_NEW, PATH_BYTES - 8, file);
    if (master_key_open(file, &old_key, &why) != OK) {
        return cli_fail(cli, "%s", why.text);
    }
    if ((code = next_key(cli, file, file_new, given, &new_key)) != CLI_DONE) {
        return code;
    }
    key_text_make(old_key, &old_text);
    key_text_make(new_key, &new_text);
    code = cli_call(cli, "master-key.rotate",
                    json_pack("{s:s,s:s}", "old", old_text.hex, "new", new_text.hex), NULL, NULL);
    if (code != CLI_DONE) {
        fprintf(cli->err, "%s is kept: run this again when the reason is gone\n", file_new);
        return code;
    }
    if ((code = replace(cli, file, file_new)) == CLI_DONE && !cli->json) {
        fprintf(cli->out,
                "%s is new, and the old key opens nothing any more: keep a copy of it, "
                "apart from copies of %s\n",
                file, cli->dir);
    } else if (code == CLI_DONE) {
        json_t *line = json_pack("{s:s,s:b}", "master_key", file, "rotated", 1);
        (void)json_dumpf(line, cli->out, JSON_COMPACT | JSON_ENSURE_ASCII);
        (void)fputc('\n', cli->out);
        json_decref(line);
    }
    return code;
}

int cmd_master_key(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    static const struct cli_option options[] = {
        {"--master-key", NULL, CLI_VALUE}, {"--new-key", NULL, CLI_VALUE}, {NULL, NULL, CLI_FLAG}};
    struct cli_args a;
    if (!cli_parse(cli, self, options, argc, argv, &a)) {
        return CLI_USAGE;
    }
    if (a.n_words != 1 || strcmp(a.words[0], "rotate") != 0) {
        return cli_usage(cli, self, "master-key does: rotate");
    }
    return rotate(cli, cli_value(&a, "--master-key"), cli_value(&a, "--new-key"));
}
