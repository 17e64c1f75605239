/*
 * cli - the frame of every command: global options, arguments by table, exit codes, the way to the
 * daemon.
 */
#ifndef APP_CLI_CLI_H
#define APP_CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

enum cli_exit { CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

struct cli {
    const char *program;
    const char *dir; /* -C, else $SALLYPORT_DIR, else /var/lib/sallyport */
    bool json;
    FILE *out, *err;
};

enum cli_arity { CLI_FLAG, CLI_VALUE, CLI_MANY };

struct cli_option {
    const char *name;  /* "--host"; NULL ends a table */
    const char *brief; /* "-h", or NULL */
    enum cli_arity arity;
};

enum { CLI_OPTIONS_MAX = 80, CLI_VALUES_MAX = 64, CLI_WORDS_MAX = 16 };

/* Arguments after parsing; all text is borrowed from argv. */
struct cli_args {
    const struct cli_option *options;
    const char *values[CLI_OPTIONS_MAX][CLI_VALUES_MAX];
    size_t n_values[CLI_OPTIONS_MAX];
    const char *words[CLI_WORDS_MAX]; /* what is not an option */
    size_t n_words;
};

/* A command, or a family of them. run gets argv without the command's own name and returns the exit
 * code. A command that is not there yet has no run, and comes_with says what brings it. */
struct cli_command {
    const char *name;
    const char *summary; /* one line of --help */
    const char *help;    /* an example first */
    int (*run)(struct cli *cli, const struct cli_command *self, int argc, char **argv);
    const char *comes_with;
};

/* cli_main - what main() calls. */
int cli_main(int argc, char **argv);

/* cli_parse - options (a NULL-name-ended table) and words of argv. false after a usage message:
 * return CLI_USAGE then. */
bool cli_parse(struct cli *cli, const struct cli_command *self, const struct cli_option *options,
               int argc, char **argv, struct cli_args *ret);
/* cli_value - the (last) value of an option, or NULL; a flag that was given has "". */
const char *cli_value(const struct cli_args *a, const char *name);
size_t cli_values(const struct cli_args *a, const char *name, const char *const **ret);
bool cli_has(const struct cli_args *a, const char *name);

/* One verb of a command: the row `device add`. */
struct cli_verb {
    const char *name;    /* NULL ends a table */
    const char *words;   /* what follows it, as the help has it: "NAME [ROLE]", or "" */
    const char *options; /* which ones it takes: "--role --attr", or "" */
    int (*run)(struct cli *cli, const struct cli_command *self, const struct cli_args *a);
};

/* cli_verbs - runs the verb that a's first word names; CLI_USAGE after a message when there is
 * none, when it takes more or fewer words, or when an option is another verb's. */
int cli_verbs(struct cli *cli, const struct cli_command *self, const struct cli_verb *verbs,
              const struct cli_args *a);

/* cli_verb_is - is a's first word in this table? */
bool cli_verb_is(const struct cli_verb *verbs, const struct cli_args *a);
/* cli_digits - a number of digits alone, from 1 to most; false: it is none. */
bool cli_digits(const char *text, uint64_t most, uint64_t *ret);

/* cli_usage - "what is wrong" and where help is; returns CLI_USAGE. */
int cli_usage(struct cli *cli, const struct cli_command *self, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* cli_fail - "sallyport: what happened" on stderr; returns CLI_FAILED. */
int cli_fail(struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* cli_each - called with every answer line but the final one; borrows. Returns CLI_DONE to go on.
 */
typedef int cli_each(struct cli *cli, void *ctx, const json_t *line);

/* cli_call - one request to the daemon; takes args (an object, NULL for none). Lines go to each, or
 * when that is NULL are printed: as they are with --json, else their "text". Returns the exit code
 * of the answer; without a daemon says how to start it. */
int cli_call(struct cli *cli, const char *verb, json_t *args, cli_each *each, void *ctx);
/* cli_call_or - cli_call for a list: a person who gets no line is told so on stderr ("no response
 * is in force"); stdout stays empty, also for programs. */
int cli_call_or(struct cli *cli, const char *nothing, const char *verb, json_t *args);
/* cli_connect - to DIR/run/NAME, a socket of this type: CLI_DONE with *ret_fd, which the caller
 * closes, or the exit code after a message. */
int cli_connect(struct cli *cli, const char *name, int type, int *ret_fd);

#endif
