/* What the files of the measuring program share. */
#ifndef PEER_H
#define PEER_H

#include <stdint.h>
#include <sys/types.h>

enum { MAX_SAMPLES = 2000 };

/* Ticks of each measurement, until `report` has printed their median. */
extern uint64_t samples[MAX_SAMPLES];
/* Ticks of the time-stamp counter in a nanosecond. */
extern double ticks_per_ns;

/* Says what failed, and why, and ends the guest. */
_Noreturn void fail(const char *what);

/* The time-stamp counter. */
uint64_t ticks(void);

/* CLOCK_MONOTONIC. */
uint64_t nanoseconds(void);

/* Memory that nobody uses. */
long free_kib(void);

/* Prints the median of the first `count` samples, each of which covers `divisor` operations. */
void report(const char *name, int count, double divisor);

/* Prints the median of the first `count` samples as a point of a line in a plot. */
void report_point(const char *series, const char *line, double x, int count);

/* Prints a size. */
void report_memory(const char *name, double kib);

/* A process that answers each byte with one. */
struct server {
    pid_t process;
    int requests;
    int answers;
};

/* Starts one that serves its standard input and output. */
void serve_with(struct server *server, void (*serve)(void *), void *argument);

/* Has one request answered. */
void request(const struct server *server);

/* Prints what a request costs, in `count` samples of ten. */
void measure_requests(const char *name, const struct server *server, int count);

/* Ends a server and waits for it. */
void end(const struct server *server);

/* Processes that begin with `fork`. */
void measure_processes(void);

/* Containers. */
void measure_containers(void);

/* Functions in CPython, if it is there. */
void measure_interpreter(void);

/* Runs the programs that Aerie runs as well, those that are there, and the one that embeds Wasmtime. */
void measure_programs(void);

#endif
