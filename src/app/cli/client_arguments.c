/* The command line of pub, sub and rpc: -o, -D and the table of mqtt_flags.c. */
#include "app/cli/client_mqtt.h"
#include "base/scope.h"

enum { OPTIONS_FILE_MAX = 64 * 1024, PAIR_WORDS = 4 };

struct words {
    struct client_mqtt *m;
    int n;
};

static bool add_word(struct words *w, char *word)
{
    if (w->n == CLIENT_ARGS_MAX) {
        return false;
    }
    w->m->words[w->n++] = word;
    return true;
}

static bool is_property(const char *word)
{
    return strcmp(word, "-D") == 0 || strcmp(word, "--property") == 0;
}

/* ---- -o: an option and its value on each line ---- */

/* The text up to a blank; *rest begins with what follows it. */
static char *cut_word(char **rest)
{
    char *word = *rest;
    char *end = word + strcspn(word, " \t");
    *rest = end + strspn(end, " \t");
    *end = '\0';
    return word;
}

/* The rest of a line is one value, blanks and all; only -D takes several. */
static bool add_line(struct words *w, char *line)
{
    char *rest = line + strspn(line, " \t");
    if (*rest == '\0' || *rest == '#') {
        return true;
    }
    char *option = cut_word(&rest);
    int more = is_property(option) ? PAIR_WORDS - 1 : 0;
    bool ok = add_word(w, option);
    while (ok && *rest != '\0' && more > 0) {
        ok = add_word(w, cut_word(&rest));
        more--;
    }
    return ok && (*rest == '\0' || add_word(w, rest));
}

static int add_file(struct cli *cli, const struct cli_command *self, const char *path,
                    struct words *w)
{
    struct buf *text = &w->m->options_file;
    int code = client_file(cli, path, OPTIONS_FILE_MAX, text);
    if (code != CLI_DONE) {
        return code;
    }
    static const uint8_t end = '\0';
    if (slice_find(buf_slice(text), '\0') != text->n ||
        buf_append(text, slice_of(&end, 1), OPTIONS_FILE_MAX + 1) != OK) {
        return cli_usage(cli, self, "-o %s: it is no text, or too long", path);
    }
    char *rest = (char *)text->p;
    while (*rest != '\0') {
        char *line = rest;
        char *stop = line + strcspn(line, "\n");
        rest = *stop == '\0' ? stop : stop + 1;
        *stop = '\0';
        line[strcspn(line, "\r")] = '\0';
        if (!add_line(w, line)) {
            return cli_usage(cli, self, "-o %s: too many options", path);
        }
    }
    return CLI_DONE;
}

/* ---- what others can see ---- */

static bool has_password(const char *url)
{
    const char *scheme = url != NULL ? strstr(url, "://") : NULL;
    if (scheme == NULL) {
        return false;
    }
    bool more;
    struct slice rest = slice_from(slice_text(scheme), strlen("://"));
    struct slice authority = slice_cut(&rest, '/', &more);
    size_t at = slice_find(authority, '@');
    return at < authority.n && slice_find(authority, ':') < at;
}

/* Said once, because the list of processes is open to everybody on the machine. */
static void warn_of_secrets(struct cli *cli, const struct cli_args *a)
{
    if (cli_has(a, "--pw") || has_password(cli_value(a, "--url"))) {
        fprintf(cli->err, "sallyport: everybody on this machine can read the password on the "
                          "command line while this runs;\n  safe are --password-file FILE (-: "
                          "standard input), -o FILE and --bundle DIR\n");
    }
}

/* ---- the whole ---- */

/* Takes -D out of the words. */
static int take_properties(struct cli *cli, const struct cli_command *self, struct words *w)
{
    int kept = 0;
    for (int i = 0; i < w->n; i++) {
        char **word = &w->m->words[i];
        if (!is_property(*word)) {
            w->m->words[kept++] = *word;
            continue;
        }
        int used = 0;
        int code = client_props_add(&w->m->props, cli, self, word + 1, w->n - i - 1, &used);
        if (code != CLI_DONE) {
            return code;
        }
        i += used;
    }
    w->n = kept;
    client_props_finish(&w->m->props);
    return CLI_DONE;
}

/* Options of the file come first, so that those of the command line win. */
static int parse(struct cli *cli, const struct cli_command *self, const char *path, int argc,
                 char **argv, struct client_mqtt *m, struct cli_args *ret)
{
    struct words w = {.m = m};
    client_props_init(&m->props);
    int code = path != NULL ? add_file(cli, self, path, &w) : CLI_DONE;
    for (int i = 0; code == CLI_DONE && i < argc; i++) {
        if (!add_word(&w, argv[i])) {
            code = cli_usage(cli, self, "too many arguments");
        }
    }
    code = code == CLI_DONE ? take_properties(cli, self, &w) : code;
    if (code != CLI_DONE) {
        return code;
    }
    return cli_parse(cli, self, m->options, w.n, m->words, ret) ? CLI_DONE : CLI_USAGE;
}

int client_mqtt_arguments(struct cli *cli, const struct cli_command *self, enum mqtt_tool tool,
                          int argc, char **argv, struct client_mqtt *m, struct cli_args *ret)
{
    mqtt_flags_table(tool, m->options);
    int code = parse(cli, self, NULL, argc, argv, m, ret);
    if (code != CLI_DONE) {
        return code;
    }
    code = mqtt_flags_refuse(cli, self, ret);
    if (code != CLI_DONE) {
        return code;
    }
    warn_of_secrets(cli, ret);
    const char *path = cli_value(ret, "--options-file");
    if (path == NULL) {
        return CLI_DONE;
    }
    code = parse(cli, self, path, argc, argv, m, ret);
    return code == CLI_DONE ? mqtt_flags_refuse(cli, self, ret) : code;
}
