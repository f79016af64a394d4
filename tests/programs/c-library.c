/* What C programs use of their library and of threads (POSIX.1-2017). Each check ends the program with code 1 if something is not
   as it should be; the last line says how many there were. */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

#define REQUIRE(condition) \
    do { \
        if (!(condition)) \
            fail(__LINE__, #condition); \
    } while (0)

static _Noreturn void fail(int line, const char *condition)
{
    printf("line %d: not so: %s (errno %d, %s)\n", line, condition, errno, strerror(errno));
    fflush(stdout);
    _exit(1);
}

/* Formats and compares. */
static void formats(const char *expected, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (strcmp(text, expected) != 0) {
        printf("'%s' became '%s', not '%s'\n", format, text, expected);
        fflush(stdout);
        _exit(1);
    }
}

static void numbers_as_text(void)
{
    formats("3.141593 -0.500 1e+100 0x1.8p+1", "%f %.3f %g %a", M_PI, -0.5, 1e100, 3.0);
    formats("2.2250738585072014e-308 inf nan", "%.17g %f %f", 2.2250738585072014e-308, INFINITY, NAN);
    formats("-7|   42|00ff|0x1f|+5|18446744073709551615", "%d|%5d|%04x|%#x|%+d|%lu", -7, 42, 255, 31, 5, ULONG_MAX);
    formats("  abc|de   |f%", "%5s|%-5.2s|%c%%", "abc", "def", 'f');
    REQUIRE(strtod("0x1.8p3 rest", NULL) == 12.0 && strtod("-1e-3", NULL) == -0.001);
    char *end;
    errno = 0;
    REQUIRE(strtol("-123abc", &end, 10) == -123 && strcmp(end, "abc") == 0 && errno == 0);
    REQUIRE(strtol("99999999999999999999", NULL, 10) == LONG_MAX && errno == ERANGE);
    REQUIRE(strtoul("7fffffff", NULL, 16) == 0x7fffffff);
    int one, two;
    char word[16];
    REQUIRE(sscanf("12:34 word", "%d:%d %15s", &one, &two, word) == 3 && one == 12 && two == 34 && !strcmp(word, "word"));
    volatile double x = 1.0;
    REQUIRE(fabs(sin(x) - 0.8414709848078965) < 1e-15 && pow(x + 1, 0.5) == sqrt(x + 1) && fmod(x + 6.5, 2.0) == 1.5);
}

static void texts(void)
{
    const char *name = setlocale(LC_ALL, "C");
    REQUIRE(name != NULL && strcmp(name, "C") == 0 && localeconv()->decimal_point[0] == '.');
    char line[] = "one,two,,three";
    char *rest = line, *word;
    int words = 0;
    while ((word = strsep(&rest, ",")) != NULL)
        words += *word != 0;
    REQUIRE(words == 3);
    REQUIRE(strstr("a needle in it", "needle") != NULL && memmem("abc", 3, "bc", 2) != NULL && isalpha('x') && toupper('x') == 'X');
    wchar_t wide[8];
    REQUIRE(mbstowcs(wide, "wide", 8) == 4 && wcscmp(wide, L"wide") == 0);
}

static int compare(const void *left, const void *right)
{
    int l = *(const int *)left, r = *(const int *)right;
    return (l > r) - (l < r);
}

static void sorting(void)
{
    enum { COUNT = 20000 };
    int *all = malloc(COUNT * sizeof *all);
    REQUIRE(all != NULL);
    unsigned state = 1;
    for (int i = 0; i < COUNT; i++)
        all[i] = (int)((state = state * 1103515245u + 12345u) >> 8);
    int wanted = all[777];
    qsort(all, COUNT, sizeof *all, compare);
    for (int i = 1; i < COUNT; i++)
        REQUIRE(all[i - 1] <= all[i]);
    int *found = bsearch(&wanted, all, COUNT, sizeof *all, compare);
    REQUIRE(found != NULL && *found == wanted);
    free(all);
}

/* The linker's: where the program's image ends. */
extern char end;

static void memory(void)
{
    REQUIRE((char *)sbrk(0) >= &end);
    for (size_t size = 1; size < (64u << 20); size *= 3) {
        char *block = calloc(1, size);
        REQUIRE(block != NULL && block[size - 1] == 0);
        block[size - 1] = 1;
        block = realloc(block, 2 * size);
        REQUIRE(block != NULL && block[size - 1] == 1);
        free(block);
    }
    void *aligned;
    REQUIRE(posix_memalign(&aligned, 4096, 100) == 0 && (size_t)aligned % 4096 == 0);
    free(aligned);
    REQUIRE(malloc((size_t)1 << 62) == NULL && errno == ENOMEM);
}

static void files(void)
{
    FILE *file = fopen("/tmp/table", "w+");
    REQUIRE(file != NULL);
    long length = 0;
    for (int i = 0; i < 1000; i++)
        length += fprintf(file, "%d %d\n", i, i * i);
    REQUIRE(fseek(file, 0, SEEK_END) == 0 && ftell(file) == length && length > 9000);
    rewind(file);
    long sum = 0;
    int number, square;
    while (fscanf(file, "%d %d", &number, &square) == 2)
        sum += square;
    REQUIRE(sum == 332833500 && feof(file) && !ferror(file) && fclose(file) == 0);
    file = fopen("/tmp/table", "a+");
    REQUIRE(file != NULL && fputs("end\n", file) >= 0 && fclose(file) == 0);
    file = fopen("/tmp/table", "r");
    char *line = NULL;
    size_t room = 0;
    int lines = 0;
    while (getline(&line, &room, file) > 0)
        lines++;
    REQUIRE(lines == 1001 && strcmp(line, "end\n") == 0 && fclose(file) == 0);
    free(line);
    REQUIRE(rename("/tmp/table", "/tmp/renamed") == 0 && access("/tmp/table", F_OK) == -1 && errno == ENOENT);
    REQUIRE(remove("/tmp/renamed") == 0 && fopen("/tmp/renamed", "r") == NULL && errno == ENOENT);
    char name[] = "/tmp/new-XXXXXX";
    int fd = mkstemp(name);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    REQUIRE(fd >= 0 && write(fd, "x", 1) == 1 && fcntl(fd, F_SETLK, &lock) == 0);
    REQUIRE(fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type == F_UNLCK && close(fd) == 0 && unlink(name) == 0);
    file = tmpfile();
    REQUIRE(file != NULL && fputc('t', file) == 't' && fclose(file) == 0);
    char *buffer;
    size_t size;
    file = open_memstream(&buffer, &size);
    REQUIRE(file != NULL && fprintf(file, "%s-%d", "in memory", 1) == 11 && fclose(file) == 0);
    REQUIRE(size == 11 && strcmp(buffer, "in memory-1") == 0);
    free(buffer);
}

static void times(void)
{
    time_t leap = 951782400; /* 29 February 2000, a Tuesday */
    struct tm parts;
    char text[64];
    REQUIRE(gmtime_r(&leap, &parts) != NULL && parts.tm_mon == 1 && parts.tm_mday == 29 && parts.tm_wday == 2);
    REQUIRE(strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S %a", &parts) > 0 && !strcmp(text, "2000-02-29 00:00:00 Tue"));
    REQUIRE(mktime(&parts) == leap && time(NULL) > leap);
    struct timespec before, after, nap = {0, 3000000};
    REQUIRE(clock_gettime(CLOCK_MONOTONIC, &before) == 0 && nanosleep(&nap, NULL) == 0);
    REQUIRE(clock_gettime(CLOCK_MONOTONIC, &after) == 0);
    REQUIRE((after.tv_sec - before.tv_sec) * 1000000000L + after.tv_nsec - before.tv_nsec >= nap.tv_nsec);
    clock_t used = clock();
    REQUIRE(used != (clock_t)-1);
}

static jmp_buf back;

static void jump(int depth)
{
    volatile char room[100];
    room[depth % 100] = 1;
    if (depth > 0)
        jump(depth - 1);
    if (room[depth % 100] == 1)
        longjmp(back, 7);
}

static void jumps(void)
{
    volatile int kept = 5;
    int code = setjmp(back);
    if (code == 0)
        jump(100);
    REQUIRE(code == 7 && kept == 5);
}

/* Threads. */

enum { THREADS = 8, ROUNDS = 500 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static long counter;
static atomic_int destroyed, initialised, atomically;
static _Thread_local int own = 1;

static void destroy(void *value)
{
    atomic_fetch_add(&destroyed, *(int *)value);
    free(value);
}

static void initialise(void)
{
    atomic_fetch_add(&initialised, 1);
}

static void *count(void *argument)
{
    long number = (long)argument;
    pthread_once(&once, initialise);
    int *value = malloc(sizeof *value);
    *value = (int)number;
    REQUIRE(pthread_setspecific(key, value) == 0);
    own += (int)number;
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < ROUNDS; i++) {
        REQUIRE(pthread_mutex_lock(&mutex) == 0);
        counter++;
        REQUIRE(pthread_mutex_unlock(&mutex) == 0);
        atomic_fetch_add(&atomically, 1);
    }
    pthread_barrier_wait(&barrier);
    REQUIRE(own == 1 + number && *(int *)pthread_getspecific(key) == number);
    return (void *)(number * number);
}

static void threads(void)
{
    pthread_t all[THREADS];
    REQUIRE(pthread_key_create(&key, destroy) == 0 && pthread_barrier_init(&barrier, NULL, THREADS) == 0);
    for (long i = 0; i < THREADS; i++)
        REQUIRE(pthread_create(&all[i], NULL, count, (void *)i) == 0);
    long squares = 0;
    for (int i = 0; i < THREADS; i++) {
        void *result;
        REQUIRE(pthread_join(all[i], &result) == 0);
        squares += (long)result;
    }
    REQUIRE(squares == 140 && counter == THREADS * ROUNDS && atomically == THREADS * ROUNDS);
    REQUIRE(destroyed == 28 && initialised == 1 && own == 1 && pthread_barrier_destroy(&barrier) == 0);
}

static int turn;

static void *answer(void *argument)
{
    REQUIRE(argument == NULL);
    REQUIRE(pthread_mutex_lock(&mutex) == 0);
    for (int i = 0; i < ROUNDS; i++) {
        while (turn != 1)
            REQUIRE(pthread_cond_wait(&changed, &mutex) == 0);
        turn = 0;
        REQUIRE(pthread_cond_broadcast(&changed) == 0);
    }
    REQUIRE(pthread_mutex_unlock(&mutex) == 0);
    return NULL;
}

static void conditions(void)
{
    pthread_t other;
    REQUIRE(pthread_create(&other, NULL, answer, NULL) == 0 && pthread_mutex_lock(&mutex) == 0);
    for (int i = 0; i < ROUNDS; i++) {
        turn = 1;
        REQUIRE(pthread_cond_signal(&changed) == 0);
        while (turn != 0)
            REQUIRE(pthread_cond_wait(&changed, &mutex) == 0);
    }
    struct timespec soon;
    REQUIRE(clock_gettime(CLOCK_REALTIME, &soon) == 0);
    soon.tv_nsec += 5000000;
    soon.tv_sec += soon.tv_nsec / 1000000000;
    soon.tv_nsec %= 1000000000;
    REQUIRE(pthread_cond_timedwait(&changed, &mutex, &soon) == ETIMEDOUT);
    REQUIRE(pthread_mutex_unlock(&mutex) == 0 && pthread_join(other, NULL) == 0);
}

static sem_t items, room;
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;

static void *produce(void *sum)
{
    for (int i = 1; i <= ROUNDS; i++) {
        REQUIRE(sem_wait(&room) == 0 && pthread_rwlock_wrlock(&lock) == 0);
        *(long *)sum += i;
        REQUIRE(pthread_rwlock_unlock(&lock) == 0 && sem_post(&items) == 0);
    }
    return NULL;
}

static void other_locks(void)
{
    long sum = 0;
    pthread_t producer;
    REQUIRE(sem_init(&items, 0, 0) == 0 && sem_init(&room, 0, 4) == 0);
    REQUIRE(pthread_create(&producer, NULL, produce, &sum) == 0);
    for (int i = 0; i < ROUNDS; i++) {
        REQUIRE(sem_wait(&items) == 0 && pthread_rwlock_rdlock(&lock) == 0);
        REQUIRE(sum > 0 && pthread_rwlock_unlock(&lock) == 0 && sem_post(&room) == 0);
    }
    REQUIRE(pthread_join(producer, NULL) == 0 && sum == (long)ROUNDS * (ROUNDS + 1) / 2);
    pthread_mutexattr_t kind;
    pthread_mutex_t recursive;
    REQUIRE(pthread_mutexattr_init(&kind) == 0 && pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_RECURSIVE) == 0);
    REQUIRE(pthread_mutex_init(&recursive, &kind) == 0 && pthread_mutex_lock(&recursive) == 0);
    REQUIRE(pthread_mutex_lock(&recursive) == 0 && pthread_mutex_unlock(&recursive) == 0);
    REQUIRE(pthread_mutex_unlock(&recursive) == 0 && pthread_mutex_trylock(&recursive) == 0);
}

static void *end_early(void *result)
{
    pthread_exit(result);
}

static void attributes(void)
{
    pthread_attr_t small;
    pthread_t thread;
    void *result;
    REQUIRE(pthread_attr_init(&small) == 0 && pthread_attr_setstacksize(&small, 64 << 10) == 0);
    REQUIRE(pthread_create(&thread, &small, end_early, "result") == 0);
    REQUIRE(pthread_join(thread, &result) == 0 && strcmp(result, "result") == 0);
    for (int i = 0; i < 200; i++) {
        REQUIRE(pthread_create(&thread, NULL, end_early, NULL) == 0 && pthread_join(thread, NULL) == 0);
    }
}

static atomic_int handled, computing, enough;
static _Thread_local int in_handler;

static void handle(int signal, siginfo_t *info, void *context)
{
    REQUIRE(signal == SIGURG && info->si_signo == SIGURG && context != NULL);
    in_handler++;
    atomic_fetch_add(&handled, 1);
}

static void *compute(void *argument)
{
    REQUIRE(argument == NULL);
    atomic_store(&computing, (int)syscall(SYS_gettid));
    volatile double sum = 0;
    while (!atomic_load_explicit(&enough, memory_order_relaxed))
        sum += 0.5;
    REQUIRE(in_handler == 20 && sum > 0 && floor(2 * sum) == 2 * sum);
    return NULL;
}

/* A thread that makes no calls is interrupted, each time it is told to. */
static void signals(void)
{
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_RESTART};
    pthread_t thread;
    REQUIRE(sigaction(SIGURG, &action, NULL) == 0 && pthread_create(&thread, NULL, compute, NULL) == 0);
    while (computing == 0)
        sched_yield();
    for (int i = 0; i < 20; i++) {
        REQUIRE(syscall(SYS_tgkill, getpid(), computing, SIGURG) == 0);
        while (handled == i)
            sched_yield();
    }
    enough = 1;
    REQUIRE(pthread_join(thread, NULL) == 0 && in_handler == 0);
}

static atomic_int cleaned;

static void clean(void *argument)
{
    cleaned += *(int *)argument;
}

static void *sleep_long(void *argument)
{
    pthread_cleanup_push(clean, argument);
    atomic_store(&computing, -1);
    sleep(1000);
    pthread_cleanup_pop(0);
    return NULL;
}

static void *compute_long(void *argument)
{
    REQUIRE(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL) == 0);
    pthread_cleanup_push(clean, argument);
    atomic_store(&computing, -1);
    for (volatile int i = 0;; i++)
        if (atomic_load_explicit(&computing, memory_order_relaxed) == 1)
            break;
    pthread_cleanup_pop(0);
    return NULL;
}

/* Threads are cancelled where they wait, and where they compute if they allow it. */
static void cancellation(void)
{
    void *(*const starts[])(void *) = {sleep_long, compute_long};
    int values[] = {1, 10};
    for (int i = 0; i < 2; i++) {
        pthread_t thread;
        void *result;
        computing = 0;
        REQUIRE(pthread_create(&thread, NULL, starts[i], &values[i]) == 0);
        while (computing == 0)
            sched_yield();
        REQUIRE(pthread_cancel(thread) == 0 && pthread_join(thread, &result) == 0);
        REQUIRE(result == PTHREAD_CANCELED);
    }
    REQUIRE(cleaned == 11);
}

static sigjmp_buf out_of_fault;

static void leave_fault(int signal)
{
    siglongjmp(out_of_fault, signal);
}

static void faults(void)
{
    struct sigaction action = {.sa_handler = leave_fault}, old;
    REQUIRE(sigaction(SIGSEGV, &action, &old) == 0);
    for (int i = 0; i < 3; i++) {
        int *volatile nowhere = NULL;
        if (sigsetjmp(out_of_fault, 1) == 0) {
            *nowhere = 1;
            REQUIRE(!"reached");
        }
    }
    REQUIRE(sigaction(SIGSEGV, &old, NULL) == 0);
}

int main(int count, char **words)
{
    static const struct {
        const char *name;
        void (*check)(void);
    } checks[] = {
        {"numbers become texts and back", numbers_as_text},
        {"texts are taken apart in the locale C", texts},
        {"20,000 numbers are sorted and found", sorting},
        {"memory is given, grows and is taken back", memory},
        {"files in /tmp are written, read and renamed", files},
        {"times are computed and slept", times},
        {"a long jump ends a hundred calls", jumps},
        {"eight threads exclude each other and have variables of their own", threads},
        {"conditions are waited for, and not for ever", conditions},
        {"semaphores, read-write and recursive locks", other_locks},
        {"stacks of a wanted size, 200 threads in turn", attributes},
        {"a computing thread gets twenty signals", signals},
        {"threads are cancelled", cancellation},
        {"faults are handled and left by a long jump", faults},
    };
    REQUIRE(count == 2 && strcmp(words[1], "argument") == 0);
    size_t number = sizeof checks / sizeof *checks;
    for (size_t i = 0; i < number; i++) {
        checks[i].check();
        printf("ok %s\n", checks[i].name);
    }
    printf("%zu checks, all fine\n", number);
    return 0;
}
