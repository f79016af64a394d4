/* Tells what clones must not have in common, as fresh-native does, with nothing but the C library. What is drawn before
 * standard input is read for the first time, clones have in common; such names begin with "function-". */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/random.h>
#include <time.h>

enum { WORDS = 1024 };

static uint64_t table[WORDS];
static unsigned long uses;

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec time;
    if (clock_gettime(clock, &time) != 0) {
        perror("clock_gettime");
        exit(EXIT_FAILURE);
    }
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void show(const char *name, const unsigned char *bytes, size_t size)
{
    printf("%s ", name);
    for (size_t i = 0; i < size; i++) {
        printf("%02x", bytes[i]);
    }
    putchar('\n');
}

static void draw(void)
{
    unsigned char bytes[16];
    FILE *urandom = fopen("/dev/urandom", "rb");
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes) {
        perror("getrandom");
        exit(EXIT_FAILURE);
    }
    show("getrandom", bytes, sizeof bytes);
    if (getentropy(bytes, sizeof bytes) != 0) {
        perror("getentropy");
        exit(EXIT_FAILURE);
    }
    show("getentropy", bytes, sizeof bytes);
    if (!urandom || fread(bytes, sizeof bytes, 1, urandom) != 1) {
        perror("/dev/urandom");
        exit(EXIT_FAILURE);
    }
    fclose(urandom);
    show("urandom", bytes, sizeof bytes);
    show("function-at-random", (const unsigned char *)getauxval(AT_RANDOM), 16);
}

static void state(void)
{
    uint64_t digest = 0xcbf29ce484222325;
    for (int i = 0; i < WORDS; i++) {
        digest = (digest ^ table[i]++) * 0x100000001b3;
    }
    printf("table %016llx\nuses %lu\n", (unsigned long long)digest, ++uses);
}

int main(void)
{
    char request[16] = "";
    uint64_t until = clock_ns(CLOCK_MONOTONIC) + 20000000;
    if (getrandom(table, 256, 0) != 256) {
        perror("getrandom");
        return EXIT_FAILURE;
    }
    while (clock_ns(CLOCK_MONOTONIC) < until) {
    }
    if (!fgets(request, sizeof request, stdin)) {
        perror("standard input");
        return EXIT_FAILURE;
    }
    if (strcmp(request, "draw") == 0) {
        draw();
    } else if (strcmp(request, "clocks") == 0) {
        struct timespec wall;
        timespec_get(&wall, TIME_UTC);
        printf("monotonic %llu\n", (unsigned long long)clock_ns(CLOCK_MONOTONIC));
        printf("wall %llu\n", (unsigned long long)wall.tv_sec * 1000000000u + (unsigned long long)wall.tv_nsec);
        printf("cpu %llu\n", (unsigned long long)clock_ns(CLOCK_PROCESS_CPUTIME_ID));
    } else if (strcmp(request, "state") == 0) {
        state();
    } else {
        fprintf(stderr, "unknown request `%s`\n", request);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
