/* What Linux does for a process per invocation, measured: the first process of the peer guest.
 *
 * Each figure is printed as one line `PEER {"name": …, "ticks": …, "ns": …}`, the median of its samples. Ticks are
 * those of the time-stamp counter; under QEMU's `-icount shift=0` one tick is one instruction. Everything runs on
 * CPU 0, with neither address-space randomization nor huge pages, as is best for Linux here.
 *
 * The kernel's command line has `peer=boot` if only the time to this program is wanted.
 */
#define _GNU_SOURCE
#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum {
    CALLS_PER_SAMPLE = 100,
    PAGES_PER_SAMPLE = 512,
    PAGE_SIZE = 4096,
    IDLE_WARM_UP = 64,   /* children before the first reading: they fill the kernel's caches */
    IDLE_MEASURED = 256,
    EXIT_PORT = 0xf4,    /* QEMU's isa-debug-exit: 0x10 makes exit status 33, 0x11 makes 35 */
};

uint64_t samples[MAX_SAMPLES];
double ticks_per_ns;

static _Noreturn void finish(int is_success) {
    fflush(stdout);
    tcdrain(STDOUT_FILENO); /* the exit below does not wait for the serial line */
    if (ioperm(EXIT_PORT, 4, 1) == 0)
        outl(is_success ? 0x10 : 0x11, EXIT_PORT);
    reboot(RB_AUTOBOOT);
    for (;;)
        pause();
}

void fail(const char *what) {
    printf("peer: %s: %s\n", what, strerror(errno));
    finish(0);
}

uint64_t ticks(void) {
    uint32_t low, high;
    __asm__ volatile("lfence; rdtsc; lfence" : "=a"(low), "=d"(high)::"memory");
    return (uint64_t)high << 32 | low;
}

uint64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static void calibrate(void) {
    uint64_t time = nanoseconds(), tick = ticks();
    while (nanoseconds() - time < 50000000)
        ;
    ticks_per_ns = (double)(ticks() - tick) / (double)(nanoseconds() - time);
}

static int compare(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

void report(const char *name, int count, double divisor) {
    qsort(samples, count, sizeof samples[0], compare);
    double median = samples[count / 2] / divisor;
    printf("PEER {\"name\": \"%s\", \"ticks\": %.1f, \"ns\": %.1f}\n", name, median, median / ticks_per_ns);
    fflush(stdout);
}

void report_point(const char *series, const char *line, double x, int count) {
    qsort(samples, count, sizeof samples[0], compare);
    double median = samples[count / 2];
    printf("PEER {\"series\": \"%s\", \"line\": \"%s\", \"x\": %.0f, \"ticks\": %.1f, \"ns\": %.1f}\n", series, line, x,
           median, median / ticks_per_ns);
    fflush(stdout);
}

void report_memory(const char *name, double kib) {
    printf("PEER {\"name\": \"%s\", \"kib\": %.1f}\n", name, kib);
    fflush(stdout);
}

static void measure_null_call(int count) {
    for (int i = 0; i < count; i++) {
        uint64_t start = ticks();
        for (int j = 0; j < CALLS_PER_SAMPLE; j++)
            syscall(SYS_getppid);
        samples[i] = ticks() - start;
    }
    report("null_call", count, CALLS_PER_SAMPLE);
}

static void measure_page_fault(int count) {
    size_t size = (size_t)PAGES_PER_SAMPLE * PAGE_SIZE;
    for (int i = 0; i < count; i++) {
        char *area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (area == MAP_FAILED)
            fail("mmap");
        madvise(area, size, MADV_NOHUGEPAGE);
        uint64_t start = ticks();
        for (int page = 0; page < PAGES_PER_SAMPLE; page++)
            ((volatile char *)area)[(size_t)page * PAGE_SIZE] = 1;
        samples[i] = ticks() - start;
        munmap(area, size);
    }
    report("page_fault", count, PAGES_PER_SAMPLE);
}

/* Answers each byte on standard input with a byte on standard output. */
static void echo(void) {
    char byte;
    while (read(0, &byte, 1) == 1)
        if (write(1, &byte, 1) != 1)
            break;
    _exit(0);
}

static void run_on(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set))
        fail("sched_setaffinity");
}

/* A byte to another process and one back. That process is a fork of this one, or a program of its own. */
static void measure_round_trip(const char *name, int count, int is_own_program, int cpu) {
    int to[2], from[2];
    if (pipe(to) || pipe(from))
        fail("pipe");
    pid_t child = fork();
    if (child < 0)
        fail("fork");
    if (child == 0) {
        dup2(to[0], 0);
        dup2(from[1], 1);
        close(to[1]);
        close(from[0]);
        run_on(cpu);
        if (!is_own_program)
            echo();
        execl("/init", "/init", "echo", (char *)NULL);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    char byte = 'x';
    for (int i = -10; i < count; i++) {
        uint64_t start = ticks();
        if (write(to[1], &byte, 1) != 1 || read(from[0], &byte, 1) != 1)
            fail(name);
        if (i >= 0)
            samples[i] = ticks() - start;
    }
    close(to[1]);
    close(from[0]);
    waitpid(child, NULL, 0);
    report(name, count, 1);
}

static void measure_process(int count) {
    char *arguments[] = {"/noop", NULL};
    for (int i = -3; i < count; i++) {
        uint64_t start = ticks();
        pid_t child = vfork();
        if (child == 0) {
            execve(arguments[0], arguments, NULL);
            _exit(127);
        }
        int status;
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
            fail("vfork, execve, waitpid");
        if (i >= 0)
            samples[i] = ticks() - start;
    }
    report("process", count, 1);
}

long free_kib(void) {
    char text[256] = {0};
    int file = open("/proc/meminfo", O_RDONLY);
    if (file < 0 || read(file, text, sizeof text - 1) < 0)
        fail("/proc/meminfo");
    close(file);
    const char *field = strstr(text, "MemFree:");
    return field ? strtol(field + strlen("MemFree:"), NULL, 10) : 0;
}

static void measure_idle_memory(void) {
    int ready[2];
    if (pipe(ready))
        fail("pipe");
    char *arguments[] = {"/noop", "wait", NULL};
    static pid_t children[IDLE_WARM_UP + IDLE_MEASURED];
    long before = 0;
    for (int i = 0; i < IDLE_WARM_UP + IDLE_MEASURED; i++) {
        if (i == IDLE_WARM_UP)
            before = free_kib();
        children[i] = vfork();
        if (children[i] == 0) {
            dup2(ready[1], 1);
            execve(arguments[0], arguments, NULL);
            _exit(127);
        }
        char byte;
        if (children[i] < 0 || read(ready[0], &byte, 1) != 1)
            fail("idle child");
    }
    report_memory("idle_process", (double)(before - free_kib()) / IDLE_MEASURED);
    for (int i = 0; i < IDLE_WARM_UP + IDLE_MEASURED; i++)
        kill(children[i], SIGKILL);
    while (wait(NULL) > 0)
        ;
}

static void put(const char *path, const char *text) {
    int file = open(path, O_WRONLY);
    /* A kernel without the setting does not do what it would turn off. */
    if (file >= 0 && write(file, text, strlen(text)) < 0)
        fail(path);
    if (file >= 0)
        close(file);
}

static void prepare(void) {
    if (mount("proc", "/proc", "proc", 0, NULL) || mount("sys", "/sys", "sysfs", 0, NULL))
        fail("mount");
    put("/proc/sys/kernel/randomize_va_space", "0");
    put("/sys/kernel/mm/transparent_hugepage/enabled", "never");
    run_on(0);
}

int main(int count, char **arguments) {
    if (count > 1 && strcmp(arguments[1], "echo") == 0)
        echo();
    puts("PEER START");
    fflush(stdout);
    if (getenv("peer") && strcmp(getenv("peer"), "boot") == 0)
        finish(1);
    prepare();
    calibrate();
    measure_null_call(500);
    measure_page_fault(30);
    measure_round_trip("pipe_fork", 1000, 0, 0);
    measure_round_trip("pipe_program", 1000, 1, 0);
    if (sysconf(_SC_NPROCESSORS_ONLN) > 1)
        measure_round_trip("pipe_cross_core", 1000, 0, 1);
    measure_process(200);
    measure_idle_memory();
    measure_processes();
    measure_containers();
    measure_interpreter();
    measure_programs();
    finish(1);
}
