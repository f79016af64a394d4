/*
 * What a function in C links against; C++ has aerie.hpp on top of it. The image tool links the library where a function's source
 * includes this file (docs/writing-functions.md).
 *
 *     #include <aerie.h>
 *
 *     static void hello(aerie_invocation *invocation, void *state)
 *     {
 *         aerie_bytes name = aerie_request(invocation);
 *         (void)state;
 *         aerie_respondf(invocation, "Hello, %.*s!", (int)name.length, name.data);
 *     }
 *
 *     int main(void)
 *     {
 *         return aerie_serve(hello, NULL);
 *     }
 *
 * Rules that hold for all declarations:
 *
 * - An aerie_invocation belongs to the library. It is valid, and so are all pointers got from it, until the handler returns.
 *   It is to be used by the thread that runs the handler.
 * - What is passed in is copied before the call returns, and stays the caller's.
 * - Texts end with a zero byte and are UTF-8; bytes that are not are replaced. Texts and bytes that come out never are NULL.
 * - NULL is never undefined behaviour: each function says what it does with it, or answers AERIE_INVALID_ARGUMENT.
 * - Standard output and error go to the worker's log, which is flushed when the handler returns. The variables of function.toml
 *   ([env]) are what getenv() finds.
 */
#ifndef AERIE_H
#define AERIE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define AERIE_FORMAT(text, arguments) __attribute__((__format__(__printf__, text, arguments)))
#else
#define AERIE_FORMAT(text, arguments)
#endif

/* The longest request or response in bytes. */
#define AERIE_MAX_BYTES 1048576

/* How many bytes of a failure's message the caller gets. */
#define AERIE_ERROR_BYTES 384

/* The longest text that aerie_respondf, aerie_failf and aerie_log make of their format, in bytes; more is cut off. */
#define AERIE_FORMAT_MAX 4095

/* Whether a call succeeded, or what became of it. The numbers never change; there may be more of them one day. */
typedef enum aerie_status {
    AERIE_OK = 0,
    AERIE_UNKNOWN_ACTION = 1,        /* there is no function of this name */
    AERIE_ACTION_EXISTS = 2,         /* there is a function of this name already */
    AERIE_INVALID_NAME = 3,          /* the name cannot be a function's */
    AERIE_INVALID_IMAGE = 4,         /* the code cannot be run */
    AERIE_INVALID_CONFIG = 5,        /* a value of the configuration makes no sense */
    AERIE_NOT_FREEZABLE = 6,         /* no snapshot of the function can be made */
    AERIE_TIMEOUT = 7,               /* no result in time */
    AERIE_MEMORY_LIMIT = 8,          /* the worker needed more memory than its limit */
    AERIE_FAULT = 9,                 /* the worker did what the processor or the kernel does not let it do */
    AERIE_PANIC = 10,                /* the function panicked */
    AERIE_FAILED = 11,               /* the function returned an error */
    AERIE_EXIT = 12,                 /* the worker ended itself without a response */
    AERIE_REQUEST_TOO_LARGE = 13,    /* the request has more than AERIE_MAX_BYTES */
    AERIE_RESULT_TOO_LARGE = 14,     /* the response has more than AERIE_MAX_BYTES */
    AERIE_INVALID_PAYLOAD = 15,      /* the payload is not what it is said to be */
    AERIE_TOO_MANY_CLIENTS = 16,     /* all cores are taken */
    AERIE_TOO_MANY_ACTIONS = 17,     /* the client has as many functions as it may */
    AERIE_TOO_MANY_ACTIVATIONS = 18, /* the client has as many activations as it may */
    AERIE_QUEUE_FULL = 19,           /* as many invocations wait for the function as may */
    AERIE_NESTED_TOO_DEEP = 20,      /* functions called functions called functions */
    AERIE_UNKNOWN_ACTIVATION = 21,   /* there is no such activation */
    AERIE_NOT_FINISHED = 22,         /* the activation still runs */
    AERIE_CANCELLED = 23,            /* the activation was ended on request */
    AERIE_ENVIRONMENT_TOO_LARGE = 24, /* the environment is longer than permitted */
    AERIE_WORKER_PROTOCOL = 25,      /* the worker sent a message that makes no sense */
    AERIE_NOT_PERMITTED = 26,        /* a worker asked for what only clients may */
    AERIE_OUT_OF_MEMORY = 27,        /* the client's account is used up */
    AERIE_SYSTEM = 28,               /* the kernel refused what the manager needed */
    AERIE_NOT_STORABLE = 29,         /* the function's snapshot cannot be stored */
    AERIE_NOT_RESTORED = 30,         /* the stored snapshot cannot be used */
    AERIE_PROTOCOL = 100,            /* the call itself failed: the manager is gone, or of another version */
    AERIE_INVALID_ARGUMENT = 101     /* an argument is NULL that must not be */
} aerie_status;

/* The short name of a status as it appears in tables, such as "memory-limit"; "unknown" for other numbers. Static. */
const char *aerie_status_name(aerie_status status);

/* Some bytes; they may contain zero bytes, and none follows them. */
typedef struct aerie_bytes {
    const char *data;
    size_t length;
} aerie_bytes;

/* ---- Serving ---- */

/* The invocation that a handler serves. */
typedef struct aerie_invocation aerie_invocation;

/*
 * Turns a request into a response. `state` is what aerie_serve was given. The handler answers with aerie_respond or aerie_fail
 * before it returns; if it does neither, the caller gets AERIE_FAILED. No C++ exception may leave it and no longjmp: an exception
 * that does ends the worker with SIGABRT (aerie.hpp makes failures of them).
 */
typedef void (*aerie_handler)(aerie_invocation *invocation, void *state);

/*
 * Serves requests until the manager ends the worker: all that main() has to do. Standard input and output must not have been used
 * before. Returns an exit code for main() only if the program was not started as a worker, `handler` is NULL, or the manager is
 * gone; standard error says which.
 */
int aerie_serve(aerie_handler handler, void *state);

/* ---- The request and its answer ---- */

/* The request; none for NULL. */
aerie_bytes aerie_request(const aerie_invocation *invocation);

/*
 * Sets the response to a copy of `length` bytes; `data` may be NULL if `length` is 0. The last call of aerie_respond and
 * aerie_fail counts. With more than AERIE_MAX_BYTES the caller gets AERIE_RESULT_TOO_LARGE.
 */
aerie_status aerie_respond(aerie_invocation *invocation, const void *data, size_t length);

/*
 * Lets the invocation fail: the caller gets AERIE_FAILED with up to AERIE_ERROR_BYTES of `message` (NULL is an empty one). The
 * worker is as good as before. The last call of aerie_respond and aerie_fail counts.
 */
aerie_status aerie_fail(aerie_invocation *invocation, const char *message);

/* ---- What a function knows of its invocation ---- */

/* The invocation's number, unique for the client; 0 for NULL. */
uint64_t aerie_request_id(const aerie_invocation *invocation);

/* The kernel's clock in nanoseconds since boot. */
uint64_t aerie_now_ns(void);

/* When the worker is ended if it has not answered, by the kernel's clock; 0 for NULL. */
uint64_t aerie_deadline_ns(const aerie_invocation *invocation);

/* The time until then in nanoseconds, 0 if it is over; 0 for NULL. */
uint64_t aerie_remaining_ns(const aerie_invocation *invocation);

/* How many invocations this one is nested in: 0 if a client made it; 0 for NULL. */
uint32_t aerie_depth(const aerie_invocation *invocation);

/* Puts 128 random bits, new in each invocation, into `seed`. */
aerie_status aerie_seed(const aerie_invocation *invocation, uint64_t seed[2]);

/* What the manager knows of the function. */
typedef struct aerie_function {
    const char *name;
    const char *handler;   /* `handler` of function.toml, "" without one */
    uint32_t version;      /* 1 at first, one more with each update */
    uint64_t memory_bytes; /* the worker's memory limit */
} aerie_function;

/* Fills `*function`; its texts are valid until the handler returns. AERIE_PROTOCOL if the manager cannot be asked. */
aerie_status aerie_function_info(aerie_invocation *invocation, aerie_function *function);

/* ---- Calling other functions ---- */

/* What became of a function that was called. It belongs to the caller, until aerie_reply_free. */
typedef struct aerie_reply aerie_reply;

/*
 * Narrower limits of a call; 0 is the function's own limit. What is left of the calling invocation holds in any case. The memory
 * comes back shortly after the reply; a page that the caller touches before waits for that.
 */
typedef struct aerie_limits {
    uint64_t timeout_ns;
    uint64_t memory_bytes;
} aerie_limits;

/*
 * Calls the function `name` with a copy of `length` bytes (`request` may be NULL if `length` is 0) and waits for its reply.
 * `limits` may be NULL. Whatever happens to the called function is a status of the reply; the caller goes on. Never returns NULL.
 */
aerie_reply *aerie_invoke(aerie_invocation *invocation, const char *name, const void *request, size_t length,
                          const aerie_limits *limits);

/* AERIE_OK, or why there is no response; AERIE_INVALID_ARGUMENT for NULL. */
aerie_status aerie_reply_status(const aerie_reply *reply);

/* The response; none without AERIE_OK. Valid until aerie_reply_free. */
aerie_bytes aerie_reply_bytes(const aerie_reply *reply);

/* What the error says; "" with AERIE_OK. Valid until aerie_reply_free. */
const char *aerie_reply_message(const aerie_reply *reply);

/* The exit code with AERIE_EXIT, 0 otherwise. */
int64_t aerie_reply_exit_code(const aerie_reply *reply);

/* Frees a reply, once; NULL is fine. It need not be of an invocation that still runs. */
void aerie_reply_free(aerie_reply *reply);

/* ---- The log ---- */

typedef enum aerie_level {
    AERIE_ERROR = 1,
    AERIE_WARN = 2,
    AERIE_INFO = 3,
    AERIE_DEBUG = 4,
    AERIE_TRACE = 5
} aerie_level;

/* Drops messages that are less severe than `level`. At first, that is AERIE_INFO. Other numbers change nothing. */
void aerie_log_level(aerie_level level);

/* Writes a message with its place in the source to the worker's log; aerie_log is what programs use. NULL is an empty text. */
void aerie_log_text(aerie_level level, const char *file, int line, const char *text);

/* ---- With a format, as printf has it ---- */

/* Writes at most AERIE_FORMAT_MAX bytes to `text` and returns their number; SIZE_MAX if the format is NULL or wrong. */
AERIE_FORMAT(2, 0)
static inline size_t aerie_format(char *text, const char *format, va_list arguments)
{
    int length = format == NULL ? -1 : vsnprintf(text, AERIE_FORMAT_MAX + 1, format, arguments);
    if (length < 0) {
        return SIZE_MAX;
    }
    return length > AERIE_FORMAT_MAX ? AERIE_FORMAT_MAX : (size_t)length;
}

AERIE_FORMAT(2, 3)
static inline aerie_status aerie_respondf(aerie_invocation *invocation, const char *format, ...)
{
    char text[AERIE_FORMAT_MAX + 1];
    size_t length;
    va_list arguments;
    va_start(arguments, format);
    length = aerie_format(text, format, arguments);
    va_end(arguments);
    return length == SIZE_MAX ? AERIE_INVALID_ARGUMENT : aerie_respond(invocation, text, length);
}

AERIE_FORMAT(2, 3)
static inline aerie_status aerie_failf(aerie_invocation *invocation, const char *format, ...)
{
    char text[AERIE_FORMAT_MAX + 1];
    va_list arguments;
    size_t length;
    va_start(arguments, format);
    length = aerie_format(text, format, arguments);
    va_end(arguments);
    return length == SIZE_MAX ? AERIE_INVALID_ARGUMENT : aerie_fail(invocation, text);
}

AERIE_FORMAT(4, 5)
static inline void aerie_log_format(aerie_level level, const char *file, int line, const char *format, ...)
{
    char text[AERIE_FORMAT_MAX + 1];
    va_list arguments;
    va_start(arguments, format);
    if (aerie_format(text, format, arguments) == SIZE_MAX) {
        text[0] = '\0';
    }
    va_end(arguments);
    aerie_log_text(level, file, line, text);
}

/* Logs a message: aerie_log(AERIE_INFO, "%zu bytes", length). */
#define aerie_log(level, ...) aerie_log_format((level), __FILE__, __LINE__, __VA_ARGS__)

#ifdef __cplusplus
}
#endif

#endif
