#include "app/daemon/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/scope.h"

#ifndef __has_feature
#define __has_feature(x) 0
#endif

enum {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) ||                               \
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    HAS_SECCOMP = 0,
#else
    HAS_SECCOMP = 1,
#endif
    CALLS = 512 /* numbers above are counted as the last one */
};

/* ---- Landlock: Debian 12's header stops at its second version, so the numbers are here ---- */

#define LL_FS_EXECUTE     (UINT64_C(1) << 0)
#define LL_FS_WRITE_FILE  (UINT64_C(1) << 1)
#define LL_FS_READ_FILE   (UINT64_C(1) << 2)
#define LL_FS_READ_DIR    (UINT64_C(1) << 3)
#define LL_FS_REMOVE_FILE (UINT64_C(1) << 5)
#define LL_FS_MAKE_REG    (UINT64_C(1) << 8)
#define LL_FS_TRUNCATE    (UINT64_C(1) << 14)
#define LL_NET_ALL        UINT64_C(3)
#define LL_SCOPE_ALL      UINT64_C(3)

enum { LL_RULE_PATH_BENEATH = 1, LL_CREATE_VERSION = 1 };

struct ll_ruleset {
    uint64_t fs, net, scoped;
};

struct ll_path {
    uint64_t allowed;
    int32_t parent_fd;
} __attribute__((packed));

/* All file rights that a kernel of this version can handle; what is not handled is not refused. */
static uint64_t ll_fs_rights(long abi)
{
    unsigned bits = abi >= 5 ? 16 : abi >= 3 ? 15 : abi >= 2 ? 14 : 13;
    return (UINT64_C(1) << bits) - 1;
}

static uint64_t ll_rights(const struct sandbox_place *p)
{
    const uint64_t change = LL_FS_WRITE_FILE | LL_FS_REMOVE_FILE | LL_FS_MAKE_REG | LL_FS_TRUNCATE;
    struct stat about;
    bool is_file = fstat(p->fd, &about) == 0 && S_ISREG(about.st_mode);
    uint64_t list = is_file ? 0 : LL_FS_READ_DIR;
    switch (p->use) {
    case SANDBOX_WALK:
        return list;
    case SANDBOX_READ:
        return list | LL_FS_READ_FILE;
    case SANDBOX_WRITE:
        return list | LL_FS_READ_FILE | change;
    }
    return 0;
}

static long ll_add(int rules, const struct sandbox_place *p, uint64_t handled)
{
    struct ll_path path = {.allowed = ll_rights(p) & handled, .parent_fd = p->fd};
    return syscall(SYS_landlock_add_rule, rules, LL_RULE_PATH_BENEATH, &path, 0);
}

static enum err apply_landlock(const struct sandbox_place *places, size_t n, int *ret_abi)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LL_CREATE_VERSION);
    if (abi < 1) {
        *ret_abi = 0;
        return OK;
    }
    struct ll_ruleset set = {.fs = ll_fs_rights(abi),
                             .net = abi >= 4 ? LL_NET_ALL : 0,
                             .scoped = abi >= 6 ? LL_SCOPE_ALL : 0};
    size_t size = abi >= 6   ? sizeof set
                  : abi >= 4 ? offsetof(struct ll_ruleset, scoped)
                             : offsetof(struct ll_ruleset, net);
    int rules = (int)syscall(SYS_landlock_create_ruleset, &set, size, 0);
    if (rules < 0) {
        return ERR_IO;
    }
    long done = 0;
    for (size_t i = 0; done == 0 && i < n; i++) {
        done = ll_add(rules, &places[i], set.fs);
    }
    done = done == 0 ? syscall(SYS_landlock_restrict_self, rules, 0) : -1;
    close(rules);
    *ret_abi = (int)abi;
    return done == 0 ? OK : ERR_IO;
}

/* ---- seccomp ---- */

static atomic_uint denied[CALLS];

#if defined(__x86_64__)
static void set_result(ucontext_t *context, long value)
{
    context->uc_mcontext.gregs[REG_RAX] = value;
}
static uintptr_t second_argument(const ucontext_t *context)
{
    return (uintptr_t)context->uc_mcontext.gregs[REG_RSI];
}
#elif defined(__aarch64__)
static void set_result(ucontext_t *context, long value)
{
    context->uc_mcontext.regs[0] = (unsigned long)value;
}
static uintptr_t second_argument(const ucontext_t *context)
{
    return (uintptr_t)context->uc_mcontext.regs[1];
}
#else
#error "say here where this machine returns the result of a system call"
#endif

/* A tracer (strace, a debugger) that answers a call itself puts this number in the place of the
 * call's own; what it answers stands. From anybody else it calls nothing. */
static bool is_tracers_answer(unsigned call)
{
    return call == UINT_MAX;
}

/* The C library's allocator asks this once when a thread's arena shrinks; "no" is a fine answer and
 * no alarm. */
static bool is_allocators_question(unsigned call, const ucontext_t *context)
{
    return call == (unsigned)SYS_openat &&
           strcmp((const char *)second_argument(context), "/proc/sys/vm/overcommit_memory") == 0;
}

static void on_refused_call(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    unsigned call = (unsigned)info->si_syscall;
    if (is_tracers_answer(call)) {
        return;
    }
    if (!is_allocators_question(call, context)) {
        atomic_fetch_add_explicit(&denied[call < CALLS ? call : CALLS - 1], 1,
                                  memory_order_relaxed);
    }
    set_result(context, -EPERM);
}

size_t sandbox_denials(struct sandbox_denial *dst, size_t cap)
{
    size_t n = 0;
    for (int call = 0; call < CALLS && n < cap; call++) {
        unsigned count = 0;
        if (atomic_load_explicit(&denied[call], memory_order_relaxed) > 0) {
            count = atomic_exchange_explicit(&denied[call], 0, memory_order_relaxed);
        }
        if (count > 0) {
            dst[n++] = (struct sandbox_denial){.call = call, .count = count};
        }
    }
    return n;
}

const char *sandbox_call_name(int call)
{
    static _Thread_local char name[48];
    char *found = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, call);
    snprintf(name, sizeof name, "%s", found != NULL ? found : "an unknown call");
    free(found); /* the library's own allocation */
    return name;
}

/* Calls that do nothing but with what the process already has. */
static const int free_calls[] = {
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(readv),
    SCMP_SYS(writev),
    SCMP_SYS(pread64),
    SCMP_SYS(pwrite64),
    SCMP_SYS(preadv),
    SCMP_SYS(pwritev),
    SCMP_SYS(lseek),
    SCMP_SYS(close),
    SCMP_SYS(fstat),
    SCMP_SYS(fstatfs),
    SCMP_SYS(fsync),
    SCMP_SYS(fdatasync),
    SCMP_SYS(ftruncate),
    SCMP_SYS(fallocate),
    SCMP_SYS(fcntl),
    SCMP_SYS(flock),
    SCMP_SYS(dup),
    SCMP_SYS(getdents64),
    SCMP_SYS(fadvise64),
    SCMP_SYS(sync_file_range),
    /* waiting */
    SCMP_SYS(epoll_create1),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_pwait2),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(eventfd2),
    SCMP_SYS(timerfd_create),
    SCMP_SYS(timerfd_settime),
    SCMP_SYS(nanosleep),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(futex),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(pipe2),
    /* sockets that exist */
    SCMP_SYS(shutdown),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),
    SCMP_SYS(recvmmsg),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    SCMP_SYS(getsockopt),
    SCMP_SYS(setsockopt),
    /* memory and threads */
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    SCMP_SYS(mlock),
    SCMP_SYS(mlock2),
    SCMP_SYS(munlock),
    SCMP_SYS(membarrier),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(set_tid_address),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(getcpu),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    /* signals of its own */
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigtimedwait),
    SCMP_SYS(sigaltstack),
    /* asking */
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(getrandom),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(getppid),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getegid),
    SCMP_SYS(getrusage),
    SCMP_SYS(sysinfo),
    SCMP_SYS(uname),
};

/* Who serves somebody. */
static const int door_calls[] = {SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(listen)};

struct bound_call {
    int call;
    struct scmp_arg_cmp arg;
};

/* A descriptor to start from, not the working directory: Landlock bounds what is below. */
#define FROM_DESCRIPTOR(arg) SCMP_CMP(arg, SCMP_CMP_MASKED_EQ, 0x80000000u, 0)
#define WITHOUT(arg, bits)   SCMP_CMP(arg, SCMP_CMP_MASKED_EQ, (bits), 0)
#define EXACTLY(arg, value)  SCMP_CMP(arg, SCMP_CMP_EQ, (value), 0)

static bool add_calls(scmp_filter_ctx filter, bool has_doors)
{
    const struct bound_call bound[] = {
        {SCMP_SYS(openat), FROM_DESCRIPTOR(0)},
        {SCMP_SYS(openat2), FROM_DESCRIPTOR(0)},
        {SCMP_SYS(newfstatat), FROM_DESCRIPTOR(0)},
        {SCMP_SYS(statx), FROM_DESCRIPTOR(0)},
        {SCMP_SYS(unlinkat), FROM_DESCRIPTOR(0)},
        /* Landlock makes none; that one is there already is all it can say */
        {SCMP_SYS(mkdirat), FROM_DESCRIPTOR(0)},
        {SCMP_SYS(renameat), FROM_DESCRIPTOR(0)},
        {SCMP_SYS(renameat2), FROM_DESCRIPTOR(0)},
        /* a fast-open send would be a connect */
        {SCMP_SYS(sendto), WITHOUT(3, MSG_FASTOPEN)},
        {SCMP_SYS(sendmsg), WITHOUT(2, MSG_FASTOPEN)},
        {SCMP_SYS(sendmmsg), WITHOUT(3, MSG_FASTOPEN)},
        /* no new code */
        {SCMP_SYS(mmap), WITHOUT(2, PROT_EXEC)},
        {SCMP_SYS(mprotect), WITHOUT(2, PROT_EXEC)},
        /* threads, not processes */
        {SCMP_SYS(clone), SCMP_CMP(0, SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD)},
        {SCMP_SYS(tgkill), EXACTLY(0, (scmp_datum_t)getpid())},
        {SCMP_SYS(prlimit64), EXACTLY(2, 0)},
        {SCMP_SYS(prctl), EXACTLY(0, PR_SET_NAME)},
        {SCMP_SYS(ioctl), EXACTLY(1, FIONREAD)},
        {SCMP_SYS(ioctl), EXACTLY(1, FIONBIO)},
        {SCMP_SYS(ioctl), EXACTLY(1, TCGETS)},
    };
    bool good = true;
    for (size_t i = 0; i < COUNT_OF(free_calls); i++) {
        good = good && seccomp_rule_add(filter, SCMP_ACT_ALLOW, free_calls[i], 0) == 0;
    }
    for (size_t i = 0; has_doors && i < COUNT_OF(door_calls); i++) {
        good = good && seccomp_rule_add(filter, SCMP_ACT_ALLOW, door_calls[i], 0) == 0;
    }
    for (size_t i = 0; i < COUNT_OF(bound); i++) {
        good = good &&
               seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, bound[i].call, 1, &bound[i].arg) == 0;
    }
    /* Its flags are behind a pointer, so the C library is sent to clone(2), whose flags are not. */
    return good && seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) == 0;
}

static enum err apply_seccomp(bool has_doors)
{
    struct sigaction action = {.sa_sigaction = on_refused_call,
                               .sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART};
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGSYS, &action, NULL) != 0) {
        return ERR_IO;
    }
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_TRAP);
    if (filter == NULL) {
        return ERR_NOMEM;
    }
    bool good = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2) == 0 &&
                add_calls(filter, has_doors) && seccomp_load(filter) == 0;
    seccomp_release(filter);
    return good ? OK : ERR_IO;
}

/* ---- privileges ---- */

/* Needs CAP_SETPCAP; without it there is nothing in the set that no_new_privs would let back. */
static void empty_bounding_set(void)
{
    for (int cap = 0; cap <= 63; cap++) {
        (void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
    }
}

static enum err drop_capabilities(void)
{
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) {
        return ERR_IO;
    }
    empty_bounding_set();
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};
    return syscall(SYS_capset, &header, none) == 0 ? OK : ERR_IO;
}

enum err sandbox_become(unsigned uid, unsigned gid)
{
    empty_bounding_set();
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0 || setgroups(0, NULL) != 0 ||
        setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0) {
        return ERR_IO;
    }
    /* A saved id that could be taken back would make all of the above a gesture. */
    return setresuid((uid_t)-1, 0, (uid_t)-1) == 0 && uid != 0 ? ERR_IO : OK;
}

static enum err apply(const struct sandbox_place *places, size_t n, bool has_doors,
                      struct sandbox_report *ret)
{
    struct sandbox_report report = {.seccomp = HAS_SECCOMP != 0};
    struct rlimit no_core = {0, 0};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || setrlimit(RLIMIT_CORE, &no_core) != 0 ||
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
        return ERR_IO;
    }
    TRY(drop_capabilities());
    TRY(apply_landlock(places, n, &report.landlock_abi));
    if (report.seccomp) {
        TRY(apply_seccomp(has_doors));
    }
    *ret = report;
    return OK;
}

enum err sandbox_apply(int dir_fd, struct sandbox_report *ret)
{
    const struct sandbox_place all = {.fd = dir_fd, .use = SANDBOX_WRITE};
    return apply(&all, 1, true, ret);
}

enum err sandbox_apply_below(int dir_fd, int folder_fd, struct sandbox_report *ret)
{
    const struct sandbox_place places[] = {{.fd = folder_fd, .use = SANDBOX_WRITE},
                                           {.fd = dir_fd, .use = SANDBOX_WALK}};
    return apply(places, COUNT_OF(places), true, ret);
}

enum err sandbox_apply_places(const struct sandbox_place *places, size_t n, bool has_doors,
                              struct sandbox_report *ret)
{
    return n <= SANDBOX_PLACES_MAX ? apply(places, n, has_doors, ret) : ERR_LIMIT;
}
