/* The smallest container that Linux can make: a process with namespaces of its own, which sees a folder as its root,
   with and without a control group. No daemon, no image, no configuration: container engines do more. */
#define _GNU_SOURCE
#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define JAIL "/jail"
#define IMAGE "/image"
#define GROUPS "/groups"
#define GROUP GROUPS "/function"

static const uint64_t NAMESPACES =
    CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;

static void copy(const char *from, const char *to) {
    char bytes[4096];
    int source = open(from, O_RDONLY), target = open(to, O_WRONLY | O_CREAT | O_EXCL, 0755);
    if (source < 0 || target < 0)
        fail(from);
    ssize_t length;
    while ((length = read(source, bytes, sizeof bytes)) > 0)
        if (write(target, bytes, length) != length)
            fail(to);
    close(source);
    close(target);
}

static void make_folders(const char *const folders[], int count) {
    for (int i = 0; i < count; i++)
        if (mkdir(folders[i], 0755) && errno != EEXIST)
            fail(folders[i]);
}

/* The first file system can't be left by `pivot_root`: so this process goes to one that can, with an image in it. */
static void enter_jail(void) {
    make_folders((const char *const[]){JAIL}, 1);
    if (unshare(CLONE_NEWNS) || mount("jail", JAIL, "tmpfs", 0, "mode=755"))
        fail("the container's file system");
    make_folders((const char *const[]){JAIL "/proc", JAIL GROUPS, JAIL IMAGE, JAIL IMAGE "/proc"}, 4);
    copy("/noop", JAIL IMAGE "/noop");
    if (chdir(JAIL) || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || mount("proc", "/proc", "proc", 0, NULL))
        fail("the container's root");
}

/* The child: everything that makes it a container, and then the program. Exit codes say which step failed. */
static _Noreturn void run_inside(void) {
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount(IMAGE, IMAGE, NULL, MS_BIND, NULL))
        _exit(2);
    if (mount("proc", IMAGE "/proc", "proc", 0, NULL))
        _exit(3);
    if (chdir(IMAGE) || syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
        _exit(4);
    if (sethostname("function", strlen("function")))
        _exit(5);
    char *arguments[] = {"/noop", NULL};
    execve(arguments[0], arguments, NULL);
    _exit(127);
}

/* Returns the exit status, or -1 if there was no container. `group` is a control group's folder, or -1. */
static int run_container(int group) {
    struct clone_args arguments = {
        .flags = NAMESPACES | (group >= 0 ? CLONE_INTO_CGROUP : 0),
        .exit_signal = SIGCHLD,
        .cgroup = group >= 0 ? (uint64_t)group : 0,
    };
    pid_t child = syscall(SYS_clone3, &arguments, sizeof arguments);
    if (child == 0)
        run_inside();
    int status;
    return child > 0 && waitpid(child, &status, 0) == child ? status : -1;
}

static void measure_in_namespaces(int count) {
    for (int i = -3; i < count; i++) {
        uint64_t start = ticks();
        if (run_container(-1) != 0)
            fail("container");
        if (i >= 0)
            samples[i] = ticks() - start;
    }
    report("container", count, 1);
}

/* With a control group, which is made before and removed behind. */
static void measure_in_group(int count) {
    if (mount("groups", GROUPS, "cgroup2", 0, NULL)) {
        printf("peer: no control groups: %s\n", strerror(errno));
        return;
    }
    for (int i = -3; i < count; i++) {
        uint64_t start = ticks();
        if (mkdir(GROUP, 0755))
            fail(GROUP);
        int group = open(GROUP, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (group < 0 || run_container(group) != 0)
            fail("container in a control group");
        close(group);
        if (rmdir(GROUP))
            fail("the control group's end");
        if (i >= 0)
            samples[i] = ticks() - start;
    }
    report("container_group", count, 1);
}

/* In a process of its own, as it changes its root folder. */
void measure_containers(void) {
    pid_t child = fork();
    if (child == 0) {
        enter_jail();
        measure_in_namespaces(50);
        measure_in_group(50);
        fflush(stdout);
        _exit(0);
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        fail("containers");
}
