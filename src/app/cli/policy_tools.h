/*
 * policy_tools - `policy test`, `policy diff`: what needs more than one call to the daemon, or
 * none.
 */
#ifndef APP_CLI_POLICY_TOOLS_H
#define APP_CLI_POLICY_TOOLS_H

#include "app/cli/cli.h"
#include "base/buf.h"
#include "core/policy.h"

/* policy_file_read - FILE, read and found right: CLI_DONE with a reference in *ret and its text
 * appended to *text (NULL: nobody wants it), else the exit code after a message. */
int policy_file_read(struct cli *cli, const char *file, struct buf *text,
                     const struct policy **ret);

static inline void policy_release(const struct policy **p)
{
    *p = policy_unref(*p);
}

/* policy_test - the tests of `file` against the policy in `policy`; NULL: that of DIR. */
int policy_test(struct cli *cli, const char *file, const char *policy);

/* policy_diff - `file` against the policy in force: whom it concerns, and which of the newest
 * traffic it would refuse. Changes nothing. */
int policy_diff(struct cli *cli, const char *file);

#endif
