/* What the files of the measuring program share. */
#ifndef PEER_H
#define PEER_H

#include <stdint.h>

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

/* Prints the median of the first `count` samples, each of which covers `divisor` operations. */
void report(const char *name, int count, double divisor);

/* Runs the programs that Aerie runs as well, those that are there. */
void measure_programs(void);

#endif
