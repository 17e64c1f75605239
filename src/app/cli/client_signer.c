#include "app/cli/client_signer.h"

#include <sys/socket.h>

#include "service/pki/authority_remote.h"

int client_signer(struct cli *cli, struct authority **ret)
{
    const struct random_source random = random_system();
    int fd = -1;
    int code = cli_connect(cli, "signer.sock", SOCK_SEQPACKET, &fd);
    if (code != CLI_DONE) {
        return code;
    }
    return authority_remote_new(fd, true, &random, ret) == OK ? CLI_DONE
                                                              : cli_fail(cli, "out of memory");
}

static int answer(struct cli *cli, enum err err, const struct why *why)
{
    return err == OK ? CLI_DONE
                     : cli_fail(cli, "%s", why->text[0] != '\0' ? why->text : err_name(err));
}

static enum err say(struct authority *a, enum client_signer_word word, struct slice name,
                    struct why *why)
{
    enum err err = OK;
    switch (word) {
    case CLIENT_SIGNER_ENROL:
        return authority_enrol(a, name, NULL, 0, why);
    case CLIENT_SIGNER_ALLOW:
        err = authority_allow(a, name, 0, why);
        return err == ERR_NOT_FOUND ? OK : err; /* one without a certificate */
    case CLIENT_SIGNER_FORGET:
        break;
    }
    err = authority_forget(a, name, 0);
    if (err == ERR_TIMEOUT || err == ERR_CLOSED || err == ERR_IO || err == ERR_SPACE) {
        why_set(why,
                "%.*s is not removed: the signer could not put that on its register (%s). Mend "
                "that, and say it again",
                SLICE_ARG(name), err_name(err));
        return err;
    }
    return err == ERR_NOT_FOUND || err == ERR_TOO_LARGE ? OK : err;
}

int client_signer_each(struct cli *cli, enum client_signer_word word, const char *const *names,
                       size_t n)
{
    AUTO(authority_autofree) struct authority *a = NULL;
    int code = n > 0 ? client_signer(cli, &a) : CLI_DONE;
    for (size_t i = 0; i < n && code == CLI_DONE; i++) {
        struct why why = {{0}};
        enum err err = say(a, word, slice_text(names[i]), &why);
        bool is_its_own = err == ERR_DENIED || err == ERR_MALFORMED;
        code = is_its_own ? CLI_DONE : answer(cli, err, &why);
    }
    return code;
}

static int one(struct cli *cli, enum client_signer_word word, const char *name)
{
    AUTO(authority_autofree) struct authority *a = NULL;
    struct why why = {{0}};
    int code = client_signer(cli, &a);
    return code == CLI_DONE ? answer(cli, say(a, word, slice_text(name), &why), &why) : code;
}

int client_signer_enrol(struct cli *cli, const char *name)
{
    return one(cli, CLIENT_SIGNER_ENROL, name);
}

int client_signer_allow(struct cli *cli, const char *name)
{
    return one(cli, CLIENT_SIGNER_ALLOW, name);
}

int client_signer_forget(struct cli *cli, const char *name)
{
    return one(cli, CLIENT_SIGNER_FORGET, name);
}

int client_signer_host(struct cli *cli, const char *host)
{
    AUTO(authority_autofree) struct authority *a = NULL;
    struct why why = {{0}};
    int code = client_signer(cli, &a);
    if (code != CLI_DONE) {
        return code;
    }
    enum err err = authority_host(a, slice_text(host), &why);
    return err == ERR_MALFORMED
               ? cli_fail(cli, "--host %s is neither a DNS name nor an IP address", host)
               : answer(cli, err, &why);
}

int client_signer_roll(struct cli *cli, enum authority_roll_step step)
{
    AUTO(authority_autofree) struct authority *a = NULL;
    struct why why = {{0}};
    int code = client_signer(cli, &a);
    return code == CLI_DONE ? answer(cli, authority_roll(a, step, 0, &why), &why) : code;
}
