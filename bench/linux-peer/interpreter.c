/* CPython as a worker: started for each invocation, forked from a zygote that has imported everything, and kept. */
#define _GNU_SOURCE
#include "peer.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PYTHON "/python/bin/python3"
#define SCRIPT "/python/worker.py"

enum { IDLE_WARM_UP = 8, IDLE_MEASURED = 32 };

/* Its standard library and its libraries are where the guest's file system has them; nothing else is looked for. */
static char *environment[] = {"PYTHONHOME=/python", "PYTHONDONTWRITEBYTECODE=1", NULL};

/* From before `vfork` until the interpreter, which does nothing, has ended. */
static void measure_start(int count) {
    char *arguments[] = {PYTHON, "-S", "-c", "pass", NULL};
    for (int i = -1; i < count; i++) {
        uint64_t start = ticks();
        pid_t child = vfork();
        if (child == 0) {
            execve(arguments[0], arguments, environment);
            _exit(127);
        }
        int status;
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
            fail(PYTHON);
        if (i >= 0)
            samples[i] = ticks() - start;
    }
    report("cpython_exec", count, 1);
}

/* The script; `way` says how it answers. */
static void work(void *way) {
    char *arguments[] = {PYTHON, "-S", SCRIPT, way, NULL};
    execve(arguments[0], arguments, environment);
    _exit(127);
}

static void measure_way(const char *name, char *way, int count) {
    struct server server;
    serve_with(&server, work, way);
    request(&server); /* until it is up */
    measure_requests(name, &server, count);
    end(&server);
}

/* Children of a zygote that have answered and stay, and what is private to them. */
static void measure_memory(void) {
    struct server server;
    serve_with(&server, work, "stay");
    for (int i = 0; i < IDLE_WARM_UP; i++)
        request(&server);
    long before = free_kib();
    for (int i = 0; i < IDLE_MEASURED; i++)
        request(&server);
    report_memory("cpython_child", (double)(before - free_kib()) / IDLE_MEASURED);
    end(&server);
}

void measure_interpreter(void) {
    if (access(PYTHON, X_OK) != 0)
        return;
    measure_start(7);
    measure_way("cpython_warm", "warm", 20);
    measure_way("cpython_zygote", "fork", 10);
    measure_memory();
}
