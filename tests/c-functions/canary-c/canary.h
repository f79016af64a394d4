/* The canary, as `canary` in Rust has it: four letters, over and over, so that any aligned word of it has two equal halves,
 * wherever it begins. Who looks for it is told only what a multiplication makes of it, and so does not have it in its own
 * memory. */
#ifndef CANARY_H
#define CANARY_H

#include <stdint.h>

/* The letters twice. */
static inline uint64_t canary_word(uint32_t letters)
{
    return (uint64_t)letters << 32 | letters;
}

/* What is told to those who look for the letters: an odd factor loses nothing of them. */
static inline uint64_t canary_mixed(uint32_t letters)
{
    return letters * UINT64_C(0x9e3779b97f4a7c15);
}

/* Tells whether a word is the letters that are wanted, wherever they begin. */
static inline int is_canary(uint64_t word, uint64_t wanted)
{
    uint32_t half = (uint32_t)word;
    if (half != word >> 32 || half == 0) {
        return 0;
    }
    for (unsigned bits = 0; bits < 32; bits += 8) {
        /* Without bits, the second shift is by all 32, which is possible in a wider word only. */
        if (canary_mixed(half << bits | (uint32_t)((uint64_t)half >> (32 - bits))) == wanted) {
            return 1;
        }
    }
    return 0;
}

#endif
