#define _GNU_SOURCE
#include "guard.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static bool use_heap;

void guard_use_heap(bool heap) {
    use_heap = heap;
}

/* data is NULL when there is no memory. `alignment` is a power of two. */
static guarded try_alloc(size_t bytes, bool flush_with_end, size_t alignment) {
    guarded g = {.bytes = bytes};
    if (use_heap) {
        g.data = aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
        return g;
    }
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t inner = (bytes + page - 1) / page * page;
    if (inner < bytes || inner > PTRDIFF_MAX - 2 * page)
        return g;
    char *map = mmap(NULL, inner + 2 * page, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        return g;
    mprotect(map, page, PROT_NONE);
    mprotect(map + page + inner, page, PROT_NONE);
    g.map = map;
    g.map_bytes = inner + 2 * page;
    g.data = map + page + (flush_with_end ? (inner - bytes) / alignment * alignment : 0);
    return g;
}

guarded guard_alloc(size_t bytes, bool flush_with_end) {
    /* malloc, unlike aligned_alloc, takes any size: the byte after the last is watched too. */
    const guarded g = use_heap ? (guarded){.data = malloc(bytes ? bytes : 1), .bytes = bytes}
                               : try_alloc(bytes, flush_with_end, bytes % sizeof(double) ? 4 : 8);
    if (!g.data) {
        fprintf(stderr, "no memory for a test of %zu bytes\n", bytes);
        abort();
    }
    return g;
}

void guard_free(guarded *g) {
    if (g->map)
        munmap(g->map, g->map_bytes);
    else
        free(g->data);
    *g = (guarded){0};
}

void guard_read_only(const guarded *g) {
    if (g->map && g->bytes) {
        const size_t page = (size_t)sysconf(_SC_PAGESIZE);
        mprotect((char *)g->map + page, g->map_bytes - 2 * page, PROT_READ);
    }
}

/* ---- the core's allocations ----------------------------------------------------------------- */

enum { most_live = 4096, most_poisoned = 32 << 20 };
static guarded live[most_live];
static long n_live, countdown;
static bool has_failed, later_fail;
static size_t most_allocated;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void *__wrap_cvl_alloc(size_t bytes);
void __wrap_cvl_free(void *p);

void *__wrap_cvl_alloc(size_t bytes) {
    void *result = NULL;
    pthread_mutex_lock(&lock);
    if (bytes > most_allocated)
        most_allocated = bytes;
    if (countdown > 0 && --countdown == 0) {
        has_failed = true;
        countdown = later_fail;
    } else if (bytes <= PTRDIFF_MAX - 64) {
        const size_t lines = (bytes + 63) / 64 * 64;
        const guarded g = try_alloc(lines ? lines : 64, true, 64);
        if (g.data && n_live < most_live) {
            live[n_live++] = g;
            result = g.data;
        }
    }
    pthread_mutex_unlock(&lock);
    /* All bits set is NaN: what the core reads and never wrote shows in its result. On the heap it
     * stays undefined, for valgrind to see. */
    if (result && !use_heap)
        memset(result, 0xff, bytes < most_poisoned ? bytes : most_poisoned);
    return result;
}

void __wrap_cvl_free(void *p) {
    if (!p)
        return;
    pthread_mutex_lock(&lock);
    for (long i = n_live - 1; i >= 0; i--)
        if (live[i].data == p) {
            guard_free(&live[i]);
            live[i] = live[--n_live];
            p = NULL;
            break;
        }
    pthread_mutex_unlock(&lock);
    if (p) {
        fprintf(stderr, "cvl_free of what cvl_alloc did not give\n");
        abort();
    }
}

void guard_fail_allocation(long nth, bool and_later) {
    countdown = nth;
    later_fail = and_later;
    has_failed = false;
    most_allocated = 0;
}

size_t guard_most_allocated(void) {
    return most_allocated;
}

long guard_live_allocations(void) {
    return n_live;
}

bool guard_has_failed(void) {
    return has_failed;
}

/* ---- failures ------------------------------------------------------------------------------- */

static _Thread_local char case_text[2048];
static int failures;

void guard_case(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(case_text, sizeof case_text, format, args);
    va_end(args);
}

void guard_fail(const char *format, ...) {
    va_list args;
    fprintf(stderr, "FAILED %s\n       ", case_text);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    failures++;
}

int guard_failures(void) {
    return failures;
}

/* Only calls that a signal handler may make. */
static void write_case(const char *why) {
    const ssize_t ignored = write(STDERR_FILENO, why, strlen(why)) +
                            write(STDERR_FILENO, case_text, strlen(case_text)) +
                            write(STDERR_FILENO, "\n", 1);
    (void)ignored;
}

static void on_crash(int number) {
    write_case(number == SIGALRM ? "HANGS " : "CRASHED ");
    _exit(1);
}

/* The sanitizers call them before they end the process. */
void __asan_on_error(void);
void __asan_on_error(void) {
    write_case("CRASHED ");
}

void __ubsan_on_report(void);
void __ubsan_on_report(void) {
    write_case("UNDEFINED ");
}

void guard_catch_crashes(void) {
    const int numbers[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGALRM};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        signal(numbers[i], on_crash);
}
