/* The very programs that Aerie's guest runs as functions, or beside them, run by vfork and execve. */
#define _GNU_SOURCE
#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OUTPUT_SIZE = 256 };

static int exists(const char *program) {
    return access(program, X_OK) == 0;
}

/* Starts a program; -1 leaves it the standard stream that it would have anyway. */
static pid_t start(char *const arguments[], int input, int output) {
    pid_t child = vfork();
    if (child == 0) {
        if (input >= 0)
            dup2(input, STDIN_FILENO);
        if (output >= 0)
            dup2(output, STDOUT_FILENO);
        execv(arguments[0], arguments);
        _exit(127);
    }
    if (child < 0)
        fail("vfork");
    return child;
}

static void await(pid_t child, const char *name) {
    int status;
    if (waitpid(child, &status, 0) != child || status != 0)
        fail(name);
}

/* Runs a program with `request` on its standard input. What it writes to its standard output, which must be less than
   OUTPUT_SIZE, ends up in `output` with a NUL behind it. Returns CLOCK_MONOTONIC before its start; `*taken` are the ticks
   from there until it has ended. The pipes and the request in them are ready before. */
static uint64_t run(char *const arguments[], const char *request, char output[OUTPUT_SIZE], uint64_t *taken) {
    int to[2], from[2];
    if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC))
        fail("pipe2");
    if (write(to[1], request, strlen(request)) != (ssize_t)strlen(request))
        fail("the request");
    close(to[1]);
    uint64_t time = nanoseconds(), begun = ticks();
    pid_t child = start(arguments, to[0], from[1]);
    close(from[1]);
    size_t length = 0;
    for (;;) {
        ssize_t got = read(from[0], output + length, OUTPUT_SIZE - 1 - length);
        if (got < 0)
            fail("the response");
        if (got == 0)
            break;
        length += got;
    }
    await(child, arguments[0]);
    *taken = ticks() - begun;
    output[length] = '\0';
    close(to[0]);
    close(from[0]);
    return time;
}

/* A program in C gets a request from standard input and answers on standard output. */
static void measure_stream(int count) {
    char *arguments[] = {"/word-count", NULL};
    char output[OUTPUT_SIZE];
    for (int i = -3; i < count; i++) {
        uint64_t taken;
        run(arguments, "three short words\n", output, &taken);
        if (strcmp(output, "1 lines, 3 words, 18 bytes\n") != 0)
            fail(output);
        if (i >= 0)
            samples[i] = taken;
    }
    report("stream", count, 1);
}

/* A number that a function in Python answers. */
static uint64_t run_python(char *file, uint64_t *begun) {
    char *arguments[] = {"/python-runtime", file, "main", NULL};
    char output[OUTPUT_SIZE], *end;
    uint64_t taken;
    *begun = run(arguments, "", output, &taken);
    uint64_t number = strtoull(output, &end, 10);
    if (end == output || *end != '\0')
        fail(output);
    return number;
}

/* From before vfork to the first line of the handler, which reads the same clock. */
static void measure_python_start(int count) {
    for (int i = -1; i < count; i++) {
        uint64_t begun, line = run_python("/first-line.zip", &begun);
        if (i >= 0)
            samples[i] = (line - begun) * ticks_per_ns;
    }
    report("python_boot", count, 1);
}

/* A computation, as the function itself measures it. */
static void measure_python_computation(int count) {
    for (int i = 0; i < count; i++) {
        uint64_t begun;
        samples[i] = run_python("/compute.zip", &begun) * ticks_per_ns;
    }
    report("python_cpu", count, 1);
}

void measure_programs(void) {
    char *calls[] = {"/linux-calls", "figures", NULL};
    if (exists(calls[0]))
        await(start(calls, -1, -1), calls[0]); /* prints its figures itself */
    char *sandboxes[] = {"/wasm-peer", NULL};
    if (exists(sandboxes[0]))
        await(start(sandboxes, -1, -1), sandboxes[0]); /* so does this */
    if (exists("/word-count"))
        measure_stream(200);
    if (exists("/python-runtime")) {
        measure_python_start(9);
        measure_python_computation(3);
    }
}
