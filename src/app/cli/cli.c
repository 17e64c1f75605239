#include "app/cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "service/admin/control.h"

enum { READ_BYTES = 65536 };

const char *cli_value(const struct cli_args *a, const char *name)
{
    const char *const *values;
    size_t n = cli_values(a, name, &values);
    return n > 0 ? values[n - 1] : NULL;
}

size_t cli_values(const struct cli_args *a, const char *name, const char *const **ret)
{
    for (size_t i = 0; a->options[i].name != NULL; i++) {
        if (strcmp(a->options[i].name, name) == 0) {
            *ret = a->values[i];
            return a->n_values[i];
        }
    }
    *ret = NULL;
    return 0;
}

bool cli_digits(const char *text, uint64_t most, uint64_t *ret)
{
    uint64_t n = 0;
    for (const char *at = text; *at != '\0'; at++) {
        if (*at < '0' || *at > '9' || n > most / 10 || (uint64_t)(*at - '0') > most - n * 10) {
            return false;
        }
        n = n * 10 + (uint64_t)(*at - '0');
    }
    *ret = n;
    return n > 0;
}

bool cli_has(const struct cli_args *a, const char *name)
{
    return cli_value(a, name) != NULL;
}

int cli_usage(struct cli *cli, const struct cli_command *self, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("sallyport: ", cli->err);
    vfprintf(cli->err, format, args);
    va_end(args);
    fprintf(cli->err, "\nSee `%s%s%s --help`.\n", cli->program, self != NULL ? " " : "",
            self != NULL ? self->name : "");
    return CLI_USAGE;
}

int cli_fail(struct cli *cli, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("sallyport: ", cli->err);
    vfprintf(cli->err, format, args);
    va_end(args);
    fputc('\n', cli->err);
    return CLI_FAILED;
}

/* The option that an argument names: by its brief or long form, or NULL. For "--name=value"
 * *ret_value is the part behind '='. */
static const struct cli_option *find_option(const struct cli_option *options, const char *arg,
                                            size_t *ret_at, const char **ret_value)
{
    *ret_value = NULL;
    for (size_t i = 0; options[i].name != NULL; i++) {
        size_t n = strlen(options[i].name);
        bool is_long = strncmp(arg, options[i].name, n) == 0 && (arg[n] == '\0' || arg[n] == '=');
        bool is_brief = options[i].brief != NULL && strcmp(arg, options[i].brief) == 0;
        if (is_long || is_brief) {
            *ret_at = i;
            *ret_value = is_long && arg[n] == '=' ? arg + n + 1 : NULL;
            return &options[i];
        }
    }
    return NULL;
}

bool cli_parse(struct cli *cli, const struct cli_command *self, const struct cli_option *options,
               int argc, char **argv, struct cli_args *ret)
{
    *ret = (struct cli_args){.options = options};
    bool only_words = false;
    for (int i = 0; i < argc; i++) {
        const char *arg = argv[i];
        if (only_words || arg[0] != '-' || arg[1] == '\0') {
            if (ret->n_words == CLI_WORDS_MAX) {
                (void)cli_usage(cli, self, "too many arguments");
                return false;
            }
            ret->words[ret->n_words++] = arg;
            continue;
        }
        if (strcmp(arg, "--") == 0) {
            only_words = true;
            continue;
        }
        if (strcmp(arg, "--json") == 0) {
            cli->json = true;
            continue;
        }
        size_t at = 0;
        const char *value;
        const struct cli_option *o = find_option(options, arg, &at, &value);
        if (o == NULL && strcmp(arg, "-C") == 0 && i + 1 < argc) {
            cli->dir = argv[++i]; /* a global option, where a command has no -C of its own */
            continue;
        }
        if (o == NULL || (o->arity == CLI_FLAG && value != NULL)) {
            (void)cli_usage(cli, self, "%s %s", arg,
                            o == NULL ? "is not an option here" : "takes no value");
            return false;
        }
        if (o->arity != CLI_FLAG && value == NULL) {
            if (i + 1 == argc) {
                (void)cli_usage(cli, self, "%s needs a value", arg);
                return false;
            }
            value = argv[++i];
        }
        if (ret->n_values[at] == CLI_VALUES_MAX) {
            (void)cli_usage(cli, self, "%s is given too often", o->name);
            return false;
        }
        ret->values[at][ret->n_values[at]++] = value != NULL ? value : "";
    }
    return true;
}

/* ---- the way to the daemon ---- */

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
}

static int no_daemon(struct cli *cli)
{
    return cli_fail(cli, "no daemon serves %s; start the daemon: `%s serve %s`", cli->dir,
                    cli->program, cli->dir);
}

int cli_connect(struct cli *cli, const char *name, int type, int *ret_fd)
{
    AUTO(close_fd) int dir = open(cli->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    AUTO(close_fd) int run = dir >= 0 ? openat(dir, "run", O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    if (run < 0) {
        return errno == EACCES
                   ? cli_fail(cli, "%s: not permitted; run it as the user who serves", cli->dir)
                   : no_daemon(cli);
    }
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", run, name);
    AUTO(close_fd) int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        return errno == EACCES
                   ? cli_fail(cli, "%s: not permitted; run it as the user who serves", cli->dir)
                   : no_daemon(cli);
    }
    *ret_fd = fd;
    fd = -1;
    return CLI_DONE;
}

static enum err send_all(int fd, struct slice s)
{
    while (s.n > 0) {
        ssize_t n = send(fd, s.p, s.n, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) {
            return ERR_CLOSED;
        }
        s = slice_from(s, n > 0 ? (size_t)n : 0);
    }
    return OK;
}

static void print_json(struct cli *cli, const json_t *line)
{
    /* ASCII: names come from strangers, and a terminal obeys more than JSON escapes. */
    json_dumpf(line, cli->out, JSON_COMPACT | JSON_ENSURE_ASCII);
    fputc('\n', cli->out);
}

static int print_answer(struct cli *cli, const struct control_answer *a)
{
    if (cli->json && a->text != NULL && json_object_size(a->line) > 1) {
        (void)json_object_del(a->line, "text"); /* for people; the members say the same */
        print_json(cli, a->line);
    } else if (cli->json || a->text == NULL) {
        print_json(cli, a->line);
    } else {
        size_t n = strlen(a->text);
        fputs(a->text, cli->out);
        if (n == 0 || a->text[n - 1] != '\n') {
            fputc('\n', cli->out);
        }
    }
    (void)fflush(cli->out); /* a stream is watched as it comes */
    return CLI_DONE;
}

/* One answer line. *ret_done: it was the last, and the result is the exit code. */
static int take_line(struct cli *cli, struct slice line, cli_each *each, void *ctx, bool *ret_done)
{
    AUTO(control_answer_done) struct control_answer a = {0};
    if (control_answer_decode(line, &a) != OK) {
        *ret_done = true;
        return cli_fail(cli, "the daemon's answer does not read; are both the same version?");
    }
    if (a.is_done) {
        *ret_done = true;
        if (a.error != NULL) {
            (void)cli_fail(cli, "%s", a.error);
        }
        return a.exit_code;
    }
    int code = each != NULL ? each(cli, ctx, a.line) : print_answer(cli, &a);
    *ret_done = code != CLI_DONE;
    return code;
}

static int read_answers(struct cli *cli, int fd, cli_each *each, void *ctx)
{
    AUTO(buf_wipe) struct buf in = {0};
    for (;;) {
        uint8_t *room;
        if (buf_room(&in, READ_BYTES, CONTROL_ANSWER_MAX + READ_BYTES, &room) != OK) {
            return cli_fail(cli, "the daemon's answer is too large");
        }
        ssize_t n = recv(fd, room, READ_BYTES, 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return cli_fail(cli, "the daemon ended before it answered; look at its log");
        }
        in.n += (size_t)n;
        struct slice all = buf_slice(&in);
        for (size_t at = slice_find(all, '\n'); at < all.n; at = slice_find(all, '\n')) {
            bool done = false;
            int code = take_line(cli, slice_head(all, at), each, ctx, &done);
            if (done) {
                return code;
            }
            all = slice_from(all, at + 1);
        }
        buf_drop(&in, in.n - all.n);
    }
}

static void json_release(json_t **j)
{
    json_decref(*j);
}

int cli_call(struct cli *cli, const char *verb, json_t *args, cli_each *each, void *ctx)
{
    AUTO(json_release) json_t *owned = args;
    AUTO(buf_wipe) struct buf request = {0};
    AUTO(close_fd) int fd = -1;
    if (control_request_encode(verb, owned, &request) != OK) {
        return cli_fail(cli, "the request is too large, or memory is out");
    }
    int code = cli_connect(cli, "control.sock", SOCK_STREAM, &fd);
    if (code != CLI_DONE) {
        return code;
    }
    if (send_all(fd, buf_slice(&request)) != OK) {
        return cli_fail(cli, "the daemon closed the connection; look at its log");
    }
    return read_answers(cli, fd, each, ctx);
}

static int print_and_count(struct cli *cli, void *ctx, const json_t *line)
{
    size_t *n = ctx;
    const char *text = json_string_value(json_object_get(line, "text"));
    const struct control_answer a = {.line = (json_t *)(uintptr_t)line, .text = text};
    *n += 1;
    return print_answer(cli, &a);
}

int cli_call_or(struct cli *cli, const char *nothing, const char *verb, json_t *args)
{
    size_t n = 0;
    int code = cli_call(cli, verb, args, print_and_count, &n);
    if (code == CLI_DONE && n == 0 && !cli->json) {
        fprintf(cli->err, "%s\n", nothing);
    }
    return code;
}
