/* certs roll prepare, switch, finish */
#include "base/mem.h"
#include "service/admin/admin_private.h"
#include "service/directory/left_behind.h"

enum step { STEP_PREPARE, STEP_SWITCH, STEP_FINISH, STEPS };

static const struct {
    const char *name, *done;
} steps[STEPS] = {
    [STEP_PREPARE] = {"prepare",
                      "a new root is made: bundles and certificates made from now on trust both. "
                      "When all clients have one, or at once: `certs roll switch`"},
    [STEP_SWITCH] = {"switch",
                     "the new authority signs, and the server shows a certificate of it; what the "
                     "former one signed is still let in. `certs plan` counts whom `certs roll "
                     "finish` would leave behind"},
    [STEP_FINISH] = {"finish", "the former authority is trusted no more"},
};

static enum step step_of(const char *name)
{
    unsigned step = STEP_PREPARE;
    while (step < STEPS && strcmp(steps[step].name, name) != 0) {
        step++;
    }
    return (enum step)step;
}

static struct left_behind find_behind(const struct admin *a, const struct directory_version *v)
{
    struct pki_roll roll = pki_roll_of(a->setup.pki);
    return left_behind_find(v, roll.is_root ? roll.prepared_at_wall_ms : 0,
                            roll.switched_at_wall_ms, admin_wall_ms(a));
}

static void names_of(const struct left_behind *l, char *dst, size_t cap)
{
    size_t used = 0;
    for (size_t i = 0; i < l->n && i < LEFT_BEHIND_NAMED && used < cap; i++) {
        used += (size_t)snprintf(dst + used, cap - used, "%s%s", i > 0 ? ", " : "",
                                 l->first[i]->principal->name);
    }
    if (l->n > LEFT_BEHIND_NAMED && used < cap) {
        (void)snprintf(dst + used, cap - used, " and %zu more", l->n - LEFT_BEHIND_NAMED);
    }
}

static enum err check_behind(const struct admin *a, struct why *why)
{
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    char names[LEFT_BEHIND_NAMED * (PRINCIPAL_NAME_MAX + 2) + 32] = "";
    struct left_behind l = find_behind(a, v);
    if (pki_roll_of(a->setup.pki).stage != PKI_ROLL_SWITCHED || l.n == 0) {
        return OK; /* pki_roll_finish says when it is too early */
    }
    names_of(&l, names, sizeof names);
    why_set(why,
            "%zu devices would be shut out: they have nothing of the new authority yet (%s). Give "
            "each a new bundle (`device rotate NAME`), or wait until they have renewed; "
            "--leave-behind shuts them out",
            l.n, names);
    return ERR_DENIED;
}

static enum err take_step(struct admin *a, enum step step, struct why *why)
{
    static const enum authority_roll_step as[STEPS] = {[STEP_PREPARE] = AUTHORITY_ROLL_PREPARE,
                                                       [STEP_SWITCH] = AUTHORITY_ROLL_SWITCH,
                                                       [STEP_FINISH] = AUTHORITY_ROLL_FINISH};
    /* It is an operator's: where the authority is another process's, it was told already. */
    return authority_is_operators(a->setup.authority)
               ? authority_roll(a->setup.authority, as[step], admin_wall_ms(a), why)
               : OK;
}

/* The server shows what goes with the step, and what it trusts is in force. */
static enum err follow(struct admin *a, struct why *why)
{
    AUTO(pki_autofree) struct pki *pki = NULL;
    struct slice root = keyring_root(a->setup.keyring);
    TRY(pki_open(a->setup.disk, root, &pki, why));
    TRY(pki_renew_server(pki, a->setup.authority, a->setup.disk, root, NULL, &a->setup.random,
                         admin_wall_ms(a), why));
    TRY(pki_save_ca(pki, a->setup.disk));
    return a->setup.certificate_changed != NULL ? a->setup.certificate_changed(a->setup.ctx, why)
                                                : OK;
}

/* Before anything is done: nobody is shut out who was not meant. */
static enum err check(const struct admin *a, enum step step, bool leave_behind, struct why *why)
{
    return step == STEP_FINISH && !leave_behind ? check_behind(a, why) : OK;
}

enum err verb_certs_roll(void *ctx, const struct control_request *r, uint64_t token,
                         struct control_reply *reply)
{
    struct admin *a = ctx;
    struct why why = {{0}};
    enum step step = step_of(control_arg_text(r, "step"));
    if (step == STEPS) {
        return control_finish(reply, 1, "the steps are prepare, switch, finish");
    }
    enum err err = check(a, step, control_arg_flag(r, "leave_behind"), &why);
    if (control_arg_flag(r, "check")) {
        return err == OK ? control_finish(reply, 0, NULL)
                         : admin_refuse(reply, "the roll-over", err, &why);
    }
    if (err == OK) {
        err = take_step(a, step, &why);
    }
    if (err == OK) {
        admin_act(a, token, EVENT_credential_rotated, SEVERITY_ALERT, "authority", "%s: %s",
                  steps[step].name, steps[step].done);
        err = follow(a, &why);
    }
    if (err != OK) {
        return admin_refuse(reply, "the roll-over", err, &why);
    }
    return admin_changed(
        a, token, reply,
        json_pack("{s:s,s:s}", "step", steps[step].name, "text", steps[step].done));
}

enum err admin_roll_line(const struct admin *a, struct control_reply *reply)
{
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    struct pki_roll roll = pki_roll_of(a->setup.pki);
    char text[512], names[LEFT_BEHIND_NAMED * (PRINCIPAL_NAME_MAX + 2) + 32] = "";
    struct left_behind l = {.n = 0};
    if (roll.stage == PKI_ROLL_NONE) {
        return OK;
    }
    if (roll.stage == PKI_ROLL_SWITCHED) {
        l = find_behind(a, v);
        names_of(&l, names, sizeof names);
        (void)snprintf(text, sizeof text,
                       "roll-over: switched; %zu devices have nothing of the new authority "
                       "yet%s%s%s",
                       l.n, l.n > 0 ? " (" : "", names,
                       l.n > 0 ? "): `device rotate` each, or wait until they renew"
                               : ": `certs roll finish`");
    } else {
        (void)snprintf(text, sizeof text, "roll-over: a new root is prepared: `certs roll switch`");
    }
    return control_line(reply, json_pack("{s:s,s:I,s:s}", "roll",
                                         roll.stage == PKI_ROLL_SWITCHED ? "switched" : "prepared",
                                         "left_behind", (json_int_t)l.n, "text", text));
}
