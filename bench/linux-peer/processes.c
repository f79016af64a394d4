/* What Linux does to begin an invocation by `fork`: a zygote that answers requests, processes with much memory, and
   what a forked process costs in memory. */
#define _GNU_SOURCE
#include "peer.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    PAGE_SIZE = 4096,
    REQUESTS_PER_SAMPLE = 10,
    LARGEST_HEAP_MIB = 128,
    IDLE_WARM_UP = 64,   /* children before the first reading: they fill the kernel's caches */
    IDLE_MEASURED = 256,
};

void serve_with(struct server *server, void (*serve)(void *), void *argument) {
    int to[2], from[2];
    if (pipe(to) || pipe(from))
        fail("pipe");
    server->process = fork();
    if (server->process < 0)
        fail("fork");
    if (server->process == 0) {
        dup2(to[0], STDIN_FILENO);
        dup2(from[1], STDOUT_FILENO);
        for (int i = 0; i < 2; i++) {
            close(to[i]);
            close(from[i]);
        }
        serve(argument);
        _exit(0);
    }
    close(to[0]);
    close(from[1]);
    server->requests = to[1];
    server->answers = from[0];
}

void request(const struct server *server) {
    char byte = 'r';
    if (write(server->requests, &byte, 1) != 1 || read(server->answers, &byte, 1) != 1)
        fail("a server's answer");
}

void end(const struct server *server) {
    close(server->requests);
    close(server->answers);
    if (waitpid(server->process, NULL, 0) != server->process)
        fail("a server's end");
}

/* Back to back, so that a sample has its share of what the server does behind an answer: to end the child and wait. */
void measure_requests(const char *name, const struct server *server, int count) {
    for (int i = -1; i < count; i++) {
        uint64_t start = ticks();
        for (int j = 0; j < REQUESTS_PER_SAMPLE; j++)
            request(server);
        if (i >= 0)
            samples[i] = ticks() - start;
    }
    report(name, count, REQUESTS_PER_SAMPLE);
}

/* Answers each request from a child of its own. */
static void zygote(void *unused) {
    (void)unused;
    char byte;
    while (read(STDIN_FILENO, &byte, 1) == 1) {
        pid_t child = fork();
        if (child == 0)
            _exit(write(STDOUT_FILENO, &byte, 1) == 1 ? 0 : 1);
        if (child < 0 || waitpid(child, NULL, 0) != child)
            break;
    }
}

static void measure_zygote(void) {
    struct server server;
    serve_with(&server, zygote, NULL);
    measure_requests("zygote", &server, 50);
    end(&server);
}

/* A process that has written so much forks; the child exits at once and is waited for. */
static void measure_fork(int mib, int count) {
    size_t size = (size_t)mib << 20;
    char *heap = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (heap == MAP_FAILED)
        fail("mmap");
    madvise(heap, size, MADV_NOHUGEPAGE);
    memset(heap, 1, size);
    for (int i = -2; i < count; i++) {
        uint64_t start = ticks();
        pid_t child = fork();
        if (child == 0)
            _exit(0);
        if (child < 0 || waitpid(child, NULL, 0) != child)
            fail("fork, waitpid");
        if (i >= 0)
            samples[i] = ticks() - start;
    }
    munmap(heap, size);
    report_point("image_size", "Linux: fork + exit + wait", (double)size, count);
}

static _Noreturn void say_and_wait(int output) {
    char byte = 'w';
    if (write(output, &byte, 1) != 1)
        _exit(1);
    for (;;)
        pause();
}

static void measure_forked_memory(void) {
    static pid_t children[IDLE_WARM_UP + IDLE_MEASURED];
    int ready[2];
    if (pipe(ready))
        fail("pipe");
    long before = 0;
    for (int i = 0; i < IDLE_WARM_UP + IDLE_MEASURED; i++) {
        if (i == IDLE_WARM_UP)
            before = free_kib();
        children[i] = fork();
        if (children[i] == 0)
            say_and_wait(ready[1]);
        char byte;
        if (children[i] < 0 || read(ready[0], &byte, 1) != 1)
            fail("idle child");
    }
    report_memory("forked_child", (double)(before - free_kib()) / IDLE_MEASURED);
    for (int i = 0; i < IDLE_WARM_UP + IDLE_MEASURED; i++)
        kill(children[i], SIGKILL);
    for (int i = 0; i < IDLE_WARM_UP + IDLE_MEASURED; i++)
        waitpid(children[i], NULL, 0);
    close(ready[0]);
    close(ready[1]);
}

void measure_processes(void) {
    measure_zygote();
    for (int mib = 1; mib <= LARGEST_HEAP_MIB; mib *= 2)
        measure_fork(mib, mib < 16 ? 50 : 10);
    measure_forked_memory();
}
