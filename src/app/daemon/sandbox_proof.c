/* Proves the sandbox on the running kernel: what must be refused is, and is counted; what the
 * broker needs works. A program of its own, because the sandbox cannot be taken off. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/daemon/sandbox.h"
#include "base/scope.h"

static int failures;

static void expect(bool good, const char *what)
{
    if (!good) {
        failures++;
    }
    dprintf(1, "%s: %s\n", good ? "ok" : "FAILED", what);
}

static unsigned taken(long call)
{
    struct sandbox_denial all[16];
    size_t n = sandbox_denials(all, 16);
    unsigned count = 0;
    for (size_t i = 0; i < n; i++) {
        count += all[i].call == (int)call ? all[i].count : 0;
    }
    return count;
}

static void refused(long result, long call, const char *what)
{
    bool good = result == -1 && errno == EPERM && taken(call) == 1;
    expect(good, what);
}

static void *thread_body(void *arg)
{
    *(int *)arg = 1;
    return NULL;
}

static void prove_refusals(int dir_fd, int udp, int bound)
{
    char *const argv[] = {"true", NULL};
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct sockaddr *address = (const struct sockaddr *)&to;
    refused(execve("/bin/true", argv, NULL), SYS_execve, "execve is refused and counted");
    refused(ptrace(PTRACE_TRACEME, 0, NULL, NULL), SYS_ptrace, "ptrace is refused and counted");
    refused(socket(AF_INET, SOCK_STREAM, 0), SYS_socket, "socket is refused and counted");
    refused(connect(udp, address, sizeof to), SYS_connect, "connect is refused and counted");
    refused(connect(bound, address, sizeof to), SYS_connect, "also of a socket that it was given");
    refused(open("/etc/passwd", O_RDONLY), SYS_openat, "reading /etc/passwd is refused, counted");
    refused(syscall(SYS_open, "/etc/passwd", O_RDONLY), SYS_open, "the old open also");
    refused(sendto(bound, "x", 1, MSG_FASTOPEN, address, sizeof to), SYS_sendto,
            "a fast-open send, which would connect");
    void *code = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    refused(code == MAP_FAILED ? -1 : 0, SYS_mmap, "new code in memory");
    refused(kill(getppid(), 0), SYS_kill, "a signal to the parent");
    refused(syscall(SYS_fork), SYS_fork, "fork");
    refused(syscall(SYS_io_uring_setup, 1, NULL), SYS_io_uring_setup, "io_uring");
    refused(chmod("/tmp", 0700), SYS_chmod, "chmod");
    expect(syscall(-1L) == -1 && taken(511) == 0, "a call that a tracer answers raises no alarm");
    /* By a descriptor seccomp lets it through, and Landlock refuses what is not below DIR. */
    expect(openat(dir_fd, "/etc/passwd", O_RDONLY) == -1 && errno == EACCES,
           "an absolute path beside a descriptor");
    expect(mkdirat(dir_fd, "folder", 0700) == -1 && errno == EACCES, "a new folder in DIR");
    expect(openat(dir_fd, "../../etc/passwd", O_RDONLY) == -1 && errno == EACCES,
           "a path that climbs out of DIR");
}

static void prove_needs(int dir_fd, int udp)
{
    int fd = openat(dir_fd, "file", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    char byte = 0;
    expect(fd >= 0 && write(fd, "x", 1) == 1 && fdatasync(fd) == 0 && pread(fd, &byte, 1, 0) == 1 &&
               byte == 'x',
           "a file in DIR is written and read");
    struct statvfs space;
    fd = openat(dir_fd, "room", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    expect(fd >= 0 && fallocate(fd, 0, 0, 65536) == 0 && fstatvfs(fd, &space) == 0 &&
               ftruncate(fd, 4096) == 0 && fsync(fd) == 0,
           "room for a segment is reserved, and the disk asked how much is left");
    expect(unlinkat(dir_fd, "room", 0) == 0, "and given back");
    int folder = openat(dir_fd, "store", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listed = folder >= 0 ? fdopendir(folder) : NULL;
    expect(listed != NULL && readdir(listed) != NULL && closedir(listed) == 0,
           "the store's folder is listed");
    expect(mkdirat(dir_fd, "store", 0700) == -1 && errno == EEXIST, "and known to be there");
    uint8_t *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    expect(page != MAP_FAILED && mlock(page, 4096) == 0 && madvise(page, 4096, MADV_DONTDUMP) == 0,
           "a page for keys is locked");
    struct rlimit core;
    expect(getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_cur == 0 && core.rlim_max == 0,
           "no core dump shows them");
    expect(renameat(dir_fd, "file", dir_fd, "file2") == 0 && unlinkat(dir_fd, "file2", 0) == 0,
           "renamed and removed");
    struct sockaddr_in self;
    socklen_t n = sizeof self;
    expect(getsockname(udp, (struct sockaddr *)&self, &n) == 0 &&
               sendto(udp, "x", 1, 0, (const struct sockaddr *)&self, n) == 1,
           "a datagram is sent from an inherited socket");
    pthread_t thread;
    int ran = 0;
    expect(pthread_create(&thread, NULL, thread_body, &ran) == 0 &&
               pthread_join(thread, NULL) == 0 && ran == 1,
           "a thread is made");
    expect(prctl(PR_SET_NAME, "worker", 0, 0, 0) == 0, "and can have a name");
    expect(taken(SYS_openat) == 0, "nothing of this was counted");
}

/* Who needs one folder only: a process of its own, because each sandbox is for good. */
static void prove_below(int dir_fd)
{
    pid_t child = fork();
    int status = 1;
    if (child == 0) {
        struct sandbox_report report = {0};
        int outside = openat(dir_fd, "outside", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        int folder = openat(dir_fd, "store", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        enum err e = sandbox_apply_below(dir_fd, folder, &report);
        expect(e == OK && report.seccomp && outside >= 0, "the sandbox for one folder applies");
        expect(openat(dir_fd, "store/inside", O_CREAT | O_RDWR | O_CLOEXEC, 0600) >= 0 &&
                   renameat(dir_fd, "store/inside", dir_fd, "store/moved") == 0 &&
                   unlinkat(dir_fd, "store/moved", 0) == 0,
               "in it, files are made, renamed and removed");
        expect(openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) >= 0,
               "the directory around it can be walked through");
        expect(openat(dir_fd, "outside", O_RDONLY | O_CLOEXEC) == -1 && errno == EACCES,
               "a file beside it is not read");
        expect(openat(dir_fd, "outside", O_WRONLY | O_CLOEXEC) == -1 && errno == EACCES,
               "nor written");
        expect(openat(dir_fd, "new", O_CREAT | O_WRONLY | O_CLOEXEC, 0600) == -1 && errno == EACCES,
               "nor made");
        expect(unlinkat(dir_fd, "outside", 0) == -1 && errno == EACCES, "nor removed");
        refused(socket(AF_UNIX, SOCK_SEQPACKET, 0), SYS_socket, "and there is no new socket");
        _exit(failures == 0 ? 0 : 1);
    }
    expect(child > 0 && waitpid(child, &status, 0) == child && status == 0, "all of that");
}

/* Who sends the trail away: reads one folder, writes another one, reads one file, serves nobody. */
static void prove_places(int dir_fd, int tcp)
{
    pid_t child = fork();
    int status = 1;
    if (child == 0) {
        struct sandbox_report report = {0};
        const char *const files[] = {"named.pem", "other.pem", "kept/place", "sent/old"};
        int fds[COUNT_OF(files)];
        bool made = mkdirat(dir_fd, "kept", 0700) == 0 && mkdirat(dir_fd, "sent", 0700) == 0;
        for (size_t i = 0; i < COUNT_OF(files); i++) {
            fds[i] = openat(dir_fd, files[i], O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
            made = made && fds[i] >= 0;
        }
        const struct sandbox_place places[] = {
            {openat(dir_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC), SANDBOX_WALK},
            {openat(dir_fd, "sent", O_PATH | O_DIRECTORY | O_CLOEXEC), SANDBOX_READ},
            {openat(dir_fd, "kept", O_PATH | O_DIRECTORY | O_CLOEXEC), SANDBOX_WRITE},
            {openat(dir_fd, "named.pem", O_PATH | O_CLOEXEC), SANDBOX_READ}};
        enum err e = sandbox_apply_places(places, COUNT_OF(places), false, &report);
        expect(made && e == OK && report.seccomp, "the sandbox for some places applies");
        expect(openat(dir_fd, "sent/old", O_RDONLY | O_CLOEXEC) >= 0, "a folder is read");
        expect(openat(dir_fd, "sent/old", O_WRONLY | O_CLOEXEC) == -1 && errno == EACCES &&
                   openat(dir_fd, "sent/new", O_CREAT | O_WRONLY | O_CLOEXEC, 0600) == -1 &&
                   errno == EACCES && unlinkat(dir_fd, "sent/old", 0) == -1 && errno == EACCES,
               "and not written");
        expect(openat(dir_fd, "kept/new", O_CREAT | O_WRONLY | O_CLOEXEC, 0600) >= 0 &&
                   renameat(dir_fd, "kept/new", dir_fd, "kept/place") == 0,
               "another one is");
        expect(openat(dir_fd, "named.pem", O_RDONLY | O_CLOEXEC) >= 0, "a file is read");
        expect(openat(dir_fd, "named.pem", O_WRONLY | O_CLOEXEC) == -1 && errno == EACCES,
               "and not written either");
        expect(openat(dir_fd, "other.pem", O_RDONLY | O_CLOEXEC) == -1 && errno == EACCES,
               "the one beside it is not read");
        expect(renameat(dir_fd, "kept/place", dir_fd, "sent/place") == -1, "nothing moves over");
        refused(socket(AF_INET, SOCK_STREAM, 0), SYS_socket, "there is no new socket");
        refused(listen(tcp, 1), SYS_listen, "and nobody is served");
        refused(accept4(tcp, NULL, NULL, SOCK_CLOEXEC), SYS_accept4, "nor let in");
        _exit(failures == 0 ? 0 : 1);
    }
    expect(child > 0 && waitpid(child, &status, 0) == child && status == 0, "all of that");
}

/* Folders of a directory, each with its own right; in the directory itself nothing is opened. */
static void prove_folders(int dir_fd)
{
    pid_t child = fork();
    int status = 1;
    if (child == 0) {
        struct sandbox_report report = {0};
        int top = openat(dir_fd, "top", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        int made = openat(dir_fd, "trail/record", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        int hidden = openat(dir_fd, "secret/key", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        const struct sandbox_place places[] = {
            {dir_fd, SANDBOX_WALK},
            {openat(dir_fd, "store", O_RDONLY | O_DIRECTORY | O_CLOEXEC), SANDBOX_WRITE},
            {openat(dir_fd, "trail", O_RDONLY | O_DIRECTORY | O_CLOEXEC), SANDBOX_READ}};
        enum err e = sandbox_apply_places(places, COUNT_OF(places), true, &report);
        expect(e == OK && top >= 0 && made >= 0 && hidden >= 0, "the sandbox of places applies");
        expect(openat(dir_fd, "store/new", O_CREAT | O_RDWR | O_CLOEXEC, 0600) >= 0 &&
                   unlinkat(dir_fd, "store/new", 0) == 0,
               "where it may write, it does");
        expect(openat(dir_fd, "trail/record", O_RDONLY | O_CLOEXEC) >= 0, "where it may read, too");
        expect(openat(dir_fd, "trail/record", O_WRONLY | O_CLOEXEC) == -1 && errno == EACCES,
               "what it may read is not written");
        expect(openat(dir_fd, "trail/more", O_CREAT | O_WRONLY | O_CLOEXEC, 0600) == -1 &&
                   errno == EACCES,
               "nothing is made there");
        expect(unlinkat(dir_fd, "trail/record", 0) == -1 && errno == EACCES, "nor removed");
        expect(renameat(dir_fd, "trail/record", dir_fd, "trail/other") == -1 && errno == EACCES,
               "nor renamed");
        expect(renameat(dir_fd, "store", dir_fd, "trail") == -1, "no folder takes its place");
        expect(openat(dir_fd, "secret/key", O_RDONLY | O_CLOEXEC) == -1 && errno == EACCES,
               "the folder beside it is not read");
        expect(openat(dir_fd, "top", O_RDONLY | O_CLOEXEC) == -1 && errno == EACCES,
               "nor a file of the directory itself");
        expect(openat(dir_fd, "top2", O_CREAT | O_WRONLY | O_CLOEXEC, 0600) == -1 &&
                   errno == EACCES,
               "nor made in it");
        _exit(failures == 0 ? 0 : 1);
    }
    expect(child > 0 && waitpid(child, &status, 0) == child && status == 0, "all of that, too");
}

int main(void)
{
    char place[] = "/tmp/sandbox-proof-XXXXXX";
    if (mkdtemp(place) == NULL) {
        return 1;
    }
    int dir_fd = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int made = mkdirat(dir_fd, "store", 0700);
    made = made == 0 ? mkdirat(dir_fd, "trail", 0700) : made;
    made = made == 0 ? mkdirat(dir_fd, "secret", 0700) : made;
    int udp = socket(AF_INET, SOCK_DGRAM, 0);
    int tcp = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (dir_fd < 0 || made != 0 || udp < 0 || tcp < 0 ||
        bind(udp, (const struct sockaddr *)&any, sizeof any) != 0) {
        return 1;
    }
    prove_below(dir_fd);
    prove_places(dir_fd, tcp);
    prove_folders(dir_fd);
    struct sandbox_report report = {0};
    enum err e = sandbox_apply(dir_fd, &report);
    expect(e == OK && report.seccomp, "the sandbox applies");
    expect(report.landlock_abi > 0, "this kernel has Landlock");
    expect(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1, "asking by prctl is refused too");
    (void)taken(SYS_prctl);
    prove_refusals(dir_fd, udp, tcp);
    prove_needs(dir_fd, udp);
    expect(strcmp(sandbox_call_name(SYS_execve), "execve") == 0, "calls have names");
    return failures == 0 ? 0 : 1;
}
