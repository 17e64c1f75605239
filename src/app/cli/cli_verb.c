#include "app/cli/cli.h"

#include <string.h>

#include "base/slice.h"

/* Of "--role --attr": is this one there? */
static bool is_among(const char *options, const char *name)
{
    struct slice rest = slice_text(options);
    for (bool more = rest.n > 0; more;) {
        if (slice_is(slice_cut(&rest, ' ', &more), name)) {
            return true;
        }
    }
    return false;
}

/* "NAME [ROLE]": one word at least, two at most. */
static void count_words(const char *words, size_t *ret_least, size_t *ret_most)
{
    struct slice rest = slice_text(words);
    *ret_least = *ret_most = 0;
    for (bool more = rest.n > 0; more;) {
        struct slice word = slice_cut(&rest, ' ', &more);
        *ret_least += slice_has_prefix(word, slice_text("[")) ? 0 : 1;
        *ret_most += 1;
    }
}

static const struct cli_verb *find(const struct cli_verb *verbs, const char *name)
{
    for (; verbs->name != NULL; verbs++) {
        if (strcmp(verbs->name, name) == 0) {
            return verbs;
        }
    }
    return NULL;
}

bool cli_verb_is(const struct cli_verb *verbs, const struct cli_args *a)
{
    return a->n_words > 0 && find(verbs, a->words[0]) != NULL;
}

/* Behind what was said before it: every verb with its words. */
static int list_verbs(struct cli *cli, const struct cli_command *self, const struct cli_verb *verbs,
                      const char *unknown)
{
    char all[1024] = "";
    size_t n = 0;
    for (const struct cli_verb *v = verbs; v->name != NULL && n < sizeof all; v++) {
        int more = snprintf(all + n, sizeof all - n, "%s%s%s%s", n > 0 ? ", " : "", v->name,
                            v->words[0] != '\0' ? " " : "", v->words);
        n += more > 0 ? (size_t)more : 0;
    }
    return unknown == NULL ? cli_usage(cli, self, "%s does: %s", self->name, all)
                           : cli_usage(cli, self, "there is no \"%s %s\"; %s does: %s", self->name,
                                       unknown, self->name, all);
}

static int refuse_option(struct cli *cli, const struct cli_command *self,
                         const struct cli_verb *verbs, const struct cli_verb *v, const char *option)
{
    char whose[512] = "";
    size_t n = 0;
    for (; verbs->name != NULL && n < sizeof whose; verbs++) {
        if (is_among(verbs->options, option)) {
            int more = snprintf(whose + n, sizeof whose - n, "%s%s %s", n > 0 ? ", " : "",
                                self->name, verbs->name);
            n += more > 0 ? (size_t)more : 0;
        }
    }
    return cli_usage(cli, self, "%s is not for %s %s: it belongs to %s", option, self->name,
                     v->name, n > 0 ? whose : "another form of it");
}

int cli_verbs(struct cli *cli, const struct cli_command *self, const struct cli_verb *verbs,
              const struct cli_args *a)
{
    const struct cli_verb *v = a->n_words > 0 ? find(verbs, a->words[0]) : NULL;
    size_t least, most;
    if (v == NULL) {
        return list_verbs(cli, self, verbs, a->n_words > 0 ? a->words[0] : NULL);
    }
    count_words(v->words, &least, &most);
    if (a->n_words - 1 < least || a->n_words - 1 > most) {
        return most == 0 ? cli_usage(cli, self, "%s %s takes no further word: \"%s\"", self->name,
                                     v->name, a->words[1])
                         : cli_usage(cli, self, "%s %s takes %s, and not %zu word%s", self->name,
                                     v->name, v->words, a->n_words - 1, a->n_words == 2 ? "" : "s");
    }
    for (size_t i = 0; a->options[i].name != NULL; i++) {
        if (a->n_values[i] > 0 && !is_among(v->options, a->options[i].name)) {
            return refuse_option(cli, self, verbs, v, a->options[i].name);
        }
    }
    return v->run(cli, self, a);
}
