/* Lets every allocation of every operation fail in turn, with all that follow and alone: the
 * operation says so, or has the right answer from fewer threads, frees all it has, and then gives
 * the right answer with memory enough.
 *
 *     check_allocation [--heap]
 */
#include <stdio.h>
#include <string.h>

#include "trial.h"

enum { cases_per_operation = 40, most_allocations = 1000 };

static int fewer; /* how often an operation went on with fewer threads */

/* Lets one allocation fail. Returns whether the operation makes so many. */
static bool check_one(trial *t, int nth, bool and_later) {
    guard_fail_allocation(nth, and_later);
    const cvl_status status = trial_run(t);
    const bool failed = guard_has_failed();
    guard_fail_allocation(0, false);
    if (guard_live_allocations())
        guard_fail("%ld allocations leaked when number %d failed", guard_live_allocations(), nth);
    /* One that fails alone may have been of a workspace for more threads than need be. */
    const bool went_on = failed && status == CVL_OK && !and_later && t->threads > 1;
    if (status != (failed ? CVL_NO_MEMORY : CVL_OK) && !went_on)
        guard_fail("status %d when allocation number %d failed", (int)status, nth);
    if (status == CVL_OK)
        trial_matches(t);
    fewer += went_on;
    return failed;
}

/* Returns how many allocations the operation makes. */
static int check_each(trial *t) {
    trial_expect(t);
    for (int nth = 1; nth <= most_allocations; nth++) {
        if (!check_one(t, nth, true))
            return nth - 1;
        check_one(t, nth, false);
    }
    guard_fail("more than %d allocations", most_allocations);
    return most_allocations;
}

int main(int argc, char **argv) {
    guard_use_heap(argc > 1 && strcmp(argv[1], "--heap") == 0);
    guard_catch_crashes();
    for (int op = 0; op < N_OPERATIONS; op++) {
        int points = 0;
        fewer = 0;
        for (int i = 0; i < cases_per_operation; i++) {
            source s = {.state = (uint64_t)(op * cases_per_operation + i)};
            trial t;
            trial_draw(&s, (operation)op, i % 2 ? CVL_F64 : CVL_F32, WHOLE, i % 4 ? 2e4 : 1e6, &t);
            if (cvl_check(&t.p) == CVL_OK)
                points += check_each(&t);
            trial_free(&t);
        }
        printf("%-12s %d allocations failed, %d times fewer threads did the work\n",
               operation_names[op], points, fewer);
        if (points == 0 && op < GRAD_BIAS)
            guard_fail("%s allocates nothing: the test reaches no cvl_alloc", operation_names[op]);
    }
    return guard_failures() > 0;
}
