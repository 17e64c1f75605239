/* audit_trust - what an auditor brings from outside: anchors and a public key. */
#ifndef APP_CLI_AUDIT_TRUST_H
#define APP_CLI_AUDIT_TRUST_H

#include "app/cli/cli.h"
#include "service/watch/prove.h"

struct audit_trust {
    struct anchor anchors[PROVE_ANCHORS_MAX];
    size_t n;
    bool has_key;
    uint8_t key[ED25519_PUBLIC_BYTES];
};

/* audit_trust_read - of --anchor FILE... and --key HEX. The exit code, after a message unless
 * CLI_DONE. */
int audit_trust_read(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                     struct audit_trust *ret);
/* audit_trust_words - whose word a key is, for the end of a report. */
const char *audit_trust_words(const struct audit_trust *t);

#endif
