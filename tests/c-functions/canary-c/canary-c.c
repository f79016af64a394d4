/* Plants a canary in each place that a C program has, or looks for one, in registers, all memory that can be read, and files. It is
 * asked as `Order` of tests/fresh-functions/canary says. */
#include <aerie.h>
#include <inttypes.h>

#include "plant.h"
#include "registers.h"
#include "search.h"

/* Bytes of an order's first word, in front of its value. */
enum { ORDER = 8 };
/* Bytes of a response that does not fit into a message. */
enum { LONG = 64 << 10 };

/* The registers as they were when the handler began. */
static struct registers at_start;
/* The registers full of letters, and behind a Linux call. */
static struct registers full, after;

static int is_order(aerie_bytes request, const char *word)
{
    return request.length >= ORDER + sizeof(uint32_t) && memcmp(request.data, word, ORDER) == 0;
}

static uint32_t letters_of(aerie_bytes request)
{
    uint32_t letters;
    memcpy(&letters, request.data + ORDER, sizeof letters);
    return letters;
}

/* Plants, answers with a response full of letters behind its first line, and leaves the registers full. */
static void serve_plant(aerie_invocation *invocation, uint32_t letters)
{
    static const char line[] = "planted data bss thread allocated mapped environment stdio stack utcb files\n";
    static char response[LONG];
    unsigned seen;
    if (plant(letters) != 0) {
        aerie_fail(invocation, "a place cannot be filled");
        return;
    }
    memcpy(response, line, sizeof line - 1);
    for (size_t i = sizeof line - 1; i + sizeof letters <= sizeof response; i += sizeof letters) {
        memcpy(response + i, &letters, sizeof letters);
    }
    aerie_respond(invocation, response, sizeof response);
    registers_fill(&full, canary_word(letters));
    registers_call(&full, &after, canary_word(letters));
    seen = registers_count(&after, canary_mixed(letters));
    if (seen != registers_kept(&full)) {
        /* What a search would not find in registers is not looked for. */
        aerie_failf(invocation, "%u of %u words in registers are seen", seen, registers_kept(&full));
        return;
    }
    registers_call(&full, &after, canary_word(letters));
}

static void serve_search(aerie_invocation *invocation, uint64_t wanted)
{
    struct place places[PLACES];
    char text[AERIE_FORMAT_MAX];
    uint64_t bytes;
    const unsigned registers = registers_count(&at_start, wanted);
    const int files = search_files();
    int found = registers != 0 || files != 0, error;
    size_t length = 0;
    places_find(places);
    error = search_memory(wanted, places, &bytes);
    if (error != 0 || files < 0) {
        aerie_failf(invocation, "the search ended: error %d, %d files", error, files);
        return;
    }
    for (int i = 0; i < PLACES; i++) {
        found |= places[i].count != 0;
    }
    length += (size_t)sprintf(text, "%s", found ? "" : "nothing ");
    if (registers != 0) {
        length += (size_t)sprintf(text + length, "registers %u ", registers);
    }
    for (int i = 0; i < PLACES; i++) {
        if (places[i].count != 0) {
            length += (size_t)sprintf(text + length, "%s %" PRIu64 " ", places[i].name, places[i].count);
        }
    }
    if (files != 0) {
        length += (size_t)sprintf(text + length, "files %d ", files);
    }
    aerie_respondf(invocation, "%sin %" PRIu64 " KiB", text, bytes >> 10);
}

static void serve(aerie_invocation *invocation, void *state)
{
    aerie_bytes request;
    registers_look(&at_start);
    (void)state;
    request = aerie_request(invocation);
    if (is_order(request, "plant   ")) {
        serve_plant(invocation, letters_of(request));
    } else if (is_order(request, "fault   ")) {
        const uint32_t letters = letters_of(request);
        if (plant(letters) == 0) {
            registers_fill(&full, canary_word(letters));
            registers_fault(&full, NULL, canary_word(letters));
        }
        aerie_fail(invocation, "a place cannot be filled");
    } else if (is_order(request, "search  ")) {
        char digits[2 * sizeof(uint64_t) + 1] = "";
        const size_t length = request.length - ORDER;
        memcpy(digits, request.data + ORDER, length < sizeof digits ? length : sizeof digits - 1);
        serve_search(invocation, strtoull(digits, NULL, 16));
    } else {
        aerie_fail(invocation, "no such order");
    }
}

int main(void)
{
    return aerie_serve(serve, NULL);
}
