/* Memory for the C tests that shows a stray read or write, and what a test says when it fails. */
#ifndef CVL_TEST_GUARD_H
#define CVL_TEST_GUARD_H

#include <stdbool.h>
#include <stddef.h>

/* Exactly `bytes` bytes between two pages that fault when touched: flush with the second one, or
 * with the first. For a tool that watches the heap (valgrind, AddressSanitizer),
 * guard_use_heap(true) makes it a malloc of exactly that size. Ends the program when there is no
 * memory. */
typedef struct guarded {
    void *data;
    size_t bytes;
    void *map; /* NULL when it is from the heap */
    size_t map_bytes;
} guarded;

void guard_use_heap(bool heap);
guarded guard_alloc(size_t bytes, bool flush_with_end);
void guard_free(guarded *g);

/* Makes a write fault. Does nothing on the heap. */
void guard_read_only(const guarded *g);

/* The core's own allocations, linked to come here (-Wl,--wrap=cvl_alloc,--wrap=cvl_free): filled
 * with NaN and guarded in the same way. The nth one from now fails (0: none does), alone or with
 * all that follow. */
void guard_fail_allocation(long nth, bool and_later);
long guard_live_allocations(void);
bool guard_has_failed(void);
size_t guard_most_allocated(void); /* at once, since guard_fail_allocation was called */

/* The case at hand, printed by guard_fail and when the process crashes. */
void guard_case(const char *format, ...) __attribute__((format(printf, 1, 2)));
void guard_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
int guard_failures(void);
void guard_catch_crashes(void);

#endif
