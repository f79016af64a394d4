/* Looking for the canary in all memory of the own task, and below /tmp. */
#ifndef SEARCH_H
#define SEARCH_H

#include "plant.h"
#include <dirent.h>

/* Operations of the kernel, and numbers in a region's flags (docs/abi.md). */
enum { TASK_FIND = 8, TASK_SLOT = 1, SEND_RECEIVE = 3, ERROR_BIT = 1 << 15, NOT_FOUND = 2 };
enum { REGION_READ = 4, REGION_BACKING = 0xf0, REGION_RESERVED = 0x40 };
#define TASK_PROTOCOL (-11)
/* From this size on, regions are heaps that are filled from their beginning, such as the 128 MiB of linux-abi, and are looked at
 * only up to the first QUIET bytes of zeroes. */
enum { LARGE = 16 << 20, QUIET = 1 << 20 };

struct region {
    uint64_t start, size, flags;
};

/* How many words of the canary were found in a place. */
struct place {
    const char *name;
    uint64_t start, end;
    uint64_t count;
};

enum { DATA, BSS, THREAD, ALLOCATED, MAPPED, ENVIRONMENT, STDIO, UTCB, STACK, ELSEWHERE, PLACES };

/* Finds the task's region at an address, or the next one behind it. 0, or the kernel's error number. */
static int region_find(uint64_t address, struct region *region)
{
    volatile uint64_t *words = utcb();
    uint64_t tag = (uint64_t)TASK_PROTOCOL << 16 | ERROR_BIT | 2;
    uint64_t selector = TASK_SLOT << 12 | SEND_RECEIVE;
    register uint64_t send __asm__("r8") = UINT64_MAX;
    register uint64_t receive __asm__("r9") = UINT64_MAX;
    words[0] = TASK_FIND;
    words[1] = address;
    /* The x87 registers change as well; the compiler has nothing there, and finds their stack empty as it was. */
    __asm__ volatile("syscall"
                     : "+a"(tag), "+d"(selector), "+r"(send), "+r"(receive)
                     :
                     : "rcx", "rsi", "rdi", "r10", "r11", "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
                       "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
    if ((tag & ERROR_BIT) != 0) {
        return -1;
    }
    region->start = words[0];
    region->size = words[1];
    region->flags = words[2];
    return (int)-((int64_t)tag >> 16);
}

static struct place place_of(const char *name, const volatile void *start, size_t bytes)
{
    const uint64_t address = (uint64_t)start;
    return (struct place){name, address, start == NULL ? address : address + bytes, 0};
}

/* The places that are known; what is nowhere else is ELSEWHERE. */
static void places_find(struct place *places)
{
    const char *variable = getenv(VARIABLE);
    const size_t buffer = (size_t)(stdout->_IO_buf_end - stdout->_IO_buf_base);
    places[DATA] = place_of("data", data, sizeof data);
    places[BSS] = place_of("bss", bss, sizeof bss);
    places[THREAD] = place_of("thread", thread, sizeof thread);
    places[ALLOCATED] = place_of("allocated", allocated, WORDS * sizeof *allocated);
    places[MAPPED] = place_of("mapped", mapped, HEAP_WORDS * sizeof *mapped);
    places[ENVIRONMENT] = place_of("environment", variable, TEXT_BYTES);
    places[STDIO] = place_of("stdio", stdout->_IO_buf_base, buffer);
    places[UTCB] = place_of("utcb", utcb(), UTCB_WORDS * sizeof *utcb());
    places[STACK] = place_of("stack", NULL, 0);
    places[ELSEWHERE] = (struct place){"elsewhere", 0, UINT64_MAX, 0};
}

/* Counts the words of the canary in aligned, readable memory, and returns where it stopped. */
static uint64_t search_range(uint64_t start, uint64_t end, uint64_t wanted, struct place *places)
{
    const int is_large = end - start >= LARGE;
    uint64_t quiet = 0;
    for (uint64_t address = start; address < end; address += sizeof(uint64_t)) {
        const uint64_t word = *(const volatile uint64_t *)address;
        quiet = word == 0 ? quiet + sizeof word : 0;
        if (is_canary(word, wanted)) {
            struct place *place = places;
            while (address < place->start || address >= place->end) {
                place++;
            }
            place->count++;
        }
        if (is_large && quiet == QUIET) {
            return address;
        }
    }
    return end;
}

/* Looks for the canary in all regions of the task that can be read. 0, or the kernel's error number. */
static int search_memory(uint64_t wanted, struct place *places, uint64_t *bytes)
{
    struct region region;
    const uint64_t page = places[UTCB].start;
    uint64_t next = 0;
    int error;
    *bytes = search_range(page, places[UTCB].end, wanted, places) - page;
    while ((error = region_find(next, &region)) == 0) {
        const uint64_t here = (uint64_t)&region;
        uint64_t from = region.start;
        next = region.start + region.size;
        if ((region.flags & REGION_READ) == 0 || (region.flags & REGION_BACKING) == REGION_RESERVED) {
            continue;
        }
        if (here >= region.start && here < next) {
            places[STACK].start = region.start;
            places[STACK].end = next;
        }
        /* The UTCB may be part of a region or lie between them. It was looked at already. */
        if (page >= from && page < next) {
            *bytes += search_range(from, page, wanted, places) - from;
            from = places[UTCB].end;
        }
        *bytes += search_range(from, next, wanted, places) - from;
    }
    return error == NOT_FOUND ? 0 : error;
}

/* The number of files below /tmp; -1 if there is no way to tell. */
static int search_files(void)
{
    int count = 0;
    DIR *folder = opendir("/tmp");
    if (folder == NULL) {
        return -1;
    }
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    closedir(folder);
    return count;
}

#endif
