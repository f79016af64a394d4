/* Everything that aerie.h has, one way of using it for each request. What it does not know comes back as it came. */
#include <aerie.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Tells how often this worker was called: in `warm` mode more than once. */
static unsigned served;

/* The part of the request behind `word` and a space, as a text; NULL if it begins with something else. */
static const char *argument(const char *request, const char *word)
{
    size_t length = strlen(word);
    if (strncmp(request, word, length) != 0) {
        return NULL;
    }
    return request[length] == ' ' ? request + length + 1 : request[length] == '\0' ? request + length : NULL;
}

static void about(aerie_invocation *invocation)
{
    aerie_function function;
    const char *greeting = getenv("GREETING");
    if (aerie_function_info(invocation, &function) != AERIE_OK) {
        aerie_fail(invocation, "no information");
        return;
    }
    aerie_respondf(invocation, "%s, version %" PRIu32 ", handler %s, %" PRIu64 " KiB, depth %" PRIu32 ", %s", function.name,
                   function.version, function.handler, function.memory_bytes / 1024, aerie_depth(invocation),
                   greeting ? greeting : "no greeting");
}

static void times(aerie_invocation *invocation)
{
    uint64_t seed[2] = {0, 0};
    uint64_t remaining = aerie_remaining_ns(invocation), now = aerie_now_ns(), deadline = aerie_deadline_ns(invocation);
    int is_right = now != 0 && remaining != 0 && remaining <= UINT64_C(2000000000) && deadline - now <= remaining;
    is_right = is_right && aerie_seed(invocation, seed) == AERIE_OK && (seed[0] != 0 || seed[1] != 0);
    is_right = is_right && aerie_request_id(invocation) != 0;
    aerie_respondf(invocation, "%s", is_right ? "times are right" : "times are WRONG");
}

static void call(aerie_invocation *invocation, const char *text, const aerie_limits *limits)
{
    char name[64] = "";
    const char *rest = strchr(text, ' ');
    size_t length = rest ? (size_t)(rest - text) : strlen(text);
    aerie_reply *reply;
    memcpy(name, text, length < sizeof name ? length : sizeof name - 1);
    rest = rest ? rest + 1 : "";
    reply = aerie_invoke(invocation, name, rest, strlen(rest), limits);
    if (aerie_reply_status(reply) == AERIE_OK) {
        aerie_respond(invocation, aerie_reply_bytes(reply).data, aerie_reply_bytes(reply).length);
    } else {
        aerie_respondf(invocation, "%d %s %" PRId64 ": %s", (int)aerie_reply_status(reply),
                       aerie_status_name(aerie_reply_status(reply)), aerie_reply_exit_code(reply), aerie_reply_message(reply));
    }
    aerie_reply_free(reply);
}

static void nulls(aerie_invocation *invocation)
{
    aerie_reply *reply = aerie_invoke(invocation, NULL, NULL, 0, NULL);
    int is_right = aerie_reply_status(reply) == AERIE_INVALID_ARGUMENT && aerie_reply_bytes(reply).length == 0;
    aerie_reply_free(reply);
    reply = aerie_invoke(invocation, "calls", NULL, 1, NULL);
    is_right = is_right && aerie_reply_status(reply) == AERIE_INVALID_ARGUMENT;
    aerie_reply_free(reply);
    aerie_reply_free(NULL);
    is_right = is_right && aerie_respond(invocation, NULL, 1) == AERIE_INVALID_ARGUMENT;
    is_right = is_right && aerie_seed(invocation, NULL) == AERIE_INVALID_ARGUMENT;
    is_right = is_right && aerie_function_info(invocation, NULL) == AERIE_INVALID_ARGUMENT;
    is_right = is_right && aerie_request(NULL).length == 0 && aerie_request(NULL).data != NULL;
    is_right = is_right && aerie_remaining_ns(NULL) == 0;
    aerie_log_text(AERIE_INFO, NULL, 0, NULL);
    is_right = is_right && aerie_fail(invocation, NULL) == AERIE_OK;
    is_right = is_right && aerie_respond(invocation, is_right ? "NULL is fine" : "NULL is WRONG", 12) == AERIE_OK;
    if (!is_right) {
        aerie_fail(invocation, "NULL is not answered as it should be");
    }
}

static void respond_at_length(aerie_invocation *invocation, size_t length)
{
    char *bytes = malloc(length + 1);
    if (bytes == NULL) {
        aerie_fail(invocation, "no memory");
        return;
    }
    memset(bytes, 'x', length);
    aerie_respond(invocation, bytes, length);
    free(bytes);
}

/* The requests that are one word. Tells whether it was one of them. */
static int simple(aerie_invocation *invocation, const char *text)
{
    if (strcmp(text, "about") == 0) {
        about(invocation);
    } else if (strcmp(text, "times") == 0) {
        times(invocation);
    } else if (strcmp(text, "null") == 0) {
        nulls(invocation);
    } else if (strcmp(text, "count") == 0) {
        aerie_respondf(invocation, "%u", served);
    } else if (strcmp(text, "silent") == 0) {
        puts("not a word");
    } else if (strcmp(text, "last") == 0) {
        aerie_respond(invocation, "the first", 9);
        aerie_fail(invocation, "the second");
        aerie_respond(invocation, "the last", 8);
    } else if (strcmp(text, "levels") == 0) {
        aerie_log(AERIE_DEBUG, "%s", "this is NOT to be seen");
        aerie_log_level(AERIE_DEBUG);
        aerie_log(AERIE_DEBUG, "a detail");
        aerie_log(AERIE_ERROR, "a failure of %d parts", 2);
        aerie_respond(invocation, NULL, 0);
    } else if (strcmp(text, "abort") == 0) {
        abort();
    } else {
        return 0;
    }
    return 1;
}

static void serve(aerie_invocation *invocation, void *state)
{
    static char text[256];
    const char *rest;
    aerie_bytes request = aerie_request(invocation);
    size_t length = request.length < sizeof text ? request.length : 0;
    memcpy(text, request.data, length);
    text[length] = '\0';
    ++*(unsigned *)state;
    printf("request of %zu bytes", request.length);
    if (simple(invocation, text)) {
        return;
    }
    if ((rest = argument(text, "call")) != NULL) {
        call(invocation, rest, NULL);
    } else if ((rest = argument(text, "quickly")) != NULL) {
        const aerie_limits limits = {UINT64_C(50000000), 0};
        call(invocation, rest, &limits);
    } else if ((rest = argument(text, "fail")) != NULL) {
        aerie_failf(invocation, "%s says no", rest);
    } else if ((rest = argument(text, "length")) != NULL) {
        respond_at_length(invocation, (size_t)strtoul(rest, NULL, 10));
    } else if ((rest = argument(text, "exit")) != NULL) {
        exit(atoi(rest));
    } else if (strcmp(text, "spin") == 0) {
        for (;;) {
            aerie_now_ns();
        }
    } else {
        aerie_respond(invocation, request.data, request.length);
    }
}

int main(void)
{
    return aerie_serve(serve, &served);
}
