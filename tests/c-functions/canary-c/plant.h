/* Planting: each place, how it is filled, and where it is. */
#ifndef PLANT_H
#define PLANT_H

#include "canary.h"
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Words in each place, and on the heap: more pages than a clone changes otherwise, so that the next clones get some of them. */
enum { WORDS = 512, HEAP_WORDS = 32 * WORDS, STACK_WORDS = 16 * WORDS };
/* Bytes of a text full of letters. */
enum { TEXT_BYTES = 2048 };
/* Words of the page of a thread's UTCB; from UTCB_FREE on neither the kernel nor a runtime uses them (docs/abi.md). */
enum { UTCB_WORDS = 512, UTCB_FREE = 224 };
/* The environment's variable. */
#define VARIABLE "PLANTED"

/* What is not zero at first is part of the program's file. */
static uint64_t data[WORDS] = {1};
static uint64_t bss[WORDS];
static _Thread_local uint64_t thread[WORDS];
/* NULL in a clone. */
static uint64_t *allocated, *mapped;

/* The page of this thread's UTCB. */
static volatile uint64_t *utcb(void)
{
    volatile uint64_t *page;
    __asm__("mov %%gs:504, %0" : "=r"(page));
    return page;
}

static void fill(volatile uint64_t *words, size_t count, uint64_t word)
{
    for (size_t i = 0; i < count; i++) {
        words[i] = word;
    }
}

/* Below the caller's frame. */
static __attribute__((noinline)) void plant_on_stack(uint64_t word)
{
    volatile uint64_t frame[STACK_WORDS];
    fill(frame, STACK_WORDS, word);
}

/* On the heap, and in a mapping: some that stays, and some that is given back and is there all the same. */
static int plant_in_heap(uint64_t word)
{
    const size_t bytes = HEAP_WORDS * sizeof word;
    uint64_t *freed = malloc(bytes);
    uint64_t *unmapped = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    allocated = malloc(WORDS * sizeof word);
    mapped = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (freed == NULL || allocated == NULL || mapped == MAP_FAILED || unmapped == MAP_FAILED) {
        return -1;
    }
    fill(freed, HEAP_WORDS, word);
    fill(allocated, WORDS, word);
    fill(unmapped, HEAP_WORDS, word);
    fill(mapped, HEAP_WORDS, word);
    free(freed);
    return munmap(unmapped, bytes);
}

/* In a file below /tmp, whose buffer is the C library's, and in that of standard output. Neither is written out here. */
static int plant_in_streams(uint32_t letters, const char *text)
{
    char path[] = "/tmp/????";
    FILE *file;
    memcpy(strchr(path, '?'), &letters, sizeof letters);
    file = fopen(path, "w");
    if (file == NULL || fputs(text, file) == EOF) {
        return -1;
    }
    return printf("%.64s", text) < 0 ? -1 : 0;
}

/* Plants in memory and files. -1 if a place cannot be filled; errno says why. */
static int plant(uint32_t letters)
{
    static char text[TEXT_BYTES + 1];
    const uint64_t word = canary_word(letters);
    for (size_t i = 0; i < TEXT_BYTES; i += sizeof letters) {
        memcpy(text + i, &letters, sizeof letters);
    }
    fill(data, WORDS, word);
    fill(bss, WORDS, word);
    fill(thread, WORDS, word);
    plant_on_stack(word);
    fill(utcb() + UTCB_FREE, UTCB_WORDS - UTCB_FREE, word);
    /* The heap is last: what is given back there would be what others get, and full already. */
    if (plant_in_streams(letters, text) != 0 || setenv(VARIABLE, text, 1) != 0) {
        return -1;
    }
    return plant_in_heap(word);
}

#endif
