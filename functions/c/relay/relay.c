/* Calls another function: the request is `NAME [REQUEST]`, the response what NAME answered, or why it did not. */
#include <aerie.h>
#include <string.h>

/* The longest name that a function can have. */
#define NAME_MAX_BYTES 48

static void relay(aerie_invocation *invocation, void *state)
{
    aerie_bytes request = aerie_request(invocation);
    const char *space = memchr(request.data, ' ', request.length);
    size_t name_length = space ? (size_t)(space - request.data) : request.length;
    size_t rest = space ? name_length + 1 : request.length;
    char name[NAME_MAX_BYTES + 1];
    aerie_limits limits = {aerie_remaining_ns(invocation) / 2, 0};
    aerie_reply *reply;
    (void)state;

    if (name_length == 0 || name_length > NAME_MAX_BYTES) {
        aerie_fail(invocation, "the request must be NAME [REQUEST]");
        return;
    }
    memcpy(name, request.data, name_length);
    name[name_length] = '\0';
    /* Half of the time is left to tell of a function that takes too long. */
    reply = aerie_invoke(invocation, name, request.data + rest, request.length - rest, &limits);
    if (aerie_reply_status(reply) == AERIE_OK) {
        aerie_bytes response = aerie_reply_bytes(reply);
        aerie_log(AERIE_INFO, "%s answered with %zu bytes", name, response.length);
        aerie_respond(invocation, response.data, response.length);
    } else {
        aerie_log(AERIE_WARN, "%s: %s", name, aerie_reply_message(reply));
        aerie_respondf(invocation, "%s has no answer: %s", name, aerie_status_name(aerie_reply_status(reply)));
    }
    aerie_reply_free(reply);
}

int main(void)
{
    return aerie_serve(relay, NULL);
}
