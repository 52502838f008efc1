/* Every operation on drawn problems, common and extreme, against plain loops, on every instruction
 * set that runs here. Elements are small integers, so results are compared exactly.
 *
 *     check_ops [--heap] [--seed S] [--cases N]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "trial.h"

enum { seconds_a_case_may_take = 120 };

/* Case i is made from seed + i alone: --seed S --cases 1 repeats it. One in five has a second
 * problem, for Winograd's filtering or for a gather by columns. */
static void check_cases(uint64_t seed, int cases) {
    for (int i = 0; i < cases; i++) {
        source s = {.state = seed + (uint64_t)i};
        const operation op = (operation)draw(&s, 0, N_OPERATIONS - 1);
        const cvl_dtype dtype = draw(&s, 0, 1) ? CVL_F64 : CVL_F32;
        const values values = one_in(&s, 4) ? HOSTILE : WHOLE;
        const int before = guard_failures();
        alarm(seconds_a_case_may_take);
        trial_check(&s, op, dtype, values, one_in(&s, 20) ? 1e6 : 5e4);
        if ((seed + (uint64_t)i) % 10 == 0)
            trial_check_kind(&s, FOR_FILTERING, (operation)draw(&s, FORWARD, GRAD_WEIGHT), dtype,
                             values);
        if ((seed + (uint64_t)i) % 10 == 5)
            trial_check_kind(&s, FOR_COLUMNS, (operation)draw(&s, FORWARD, GRAD_INPUT), dtype,
                             values);
        if (guard_failures() > before)
            fprintf(stderr, "       --seed %llu --cases 1\n", (unsigned long long)seed + i);
    }
}

/* The output of a problem large enough for several threads, bit for bit the same with each
 * number. */
static void check_threads(uint64_t seed, int cases) {
    for (int i = 0; i < cases; i++) {
        source s = {.state = seed + (uint64_t)i};
        trial t;
        do {
            trial_draw(&s, (operation)(i % N_OPERATIONS), i % 2 ? CVL_F64 : CVL_F32, REAL, 4e6, &t);
            if (t.p.n * t.p.groups * (t.p.ic + t.p.oc) < 20 || t.out->memory.bytes < 4000)
                trial_free(&t);
        } while (!t.out->memory.data);
        const size_t bytes = t.out->memory.bytes;
        void *const one = malloc(bytes);
        t.threads = 1;
        const cvl_status status = trial_run(&t);
        memcpy(one, t.out->memory.data, bytes);
        for (t.threads = 2; t.threads <= 7; t.threads++)
            if (trial_run(&t) != status || memcmp(one, t.out->memory.data, bytes) != 0)
                guard_fail("%d threads give other bits than one", t.threads);
        free(one);
        trial_free(&t);
    }
}

int main(int argc, char **argv) {
    uint64_t seed = 1;
    int cases = 600;
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--heap") == 0)
            guard_use_heap(true);
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--cases") == 0 && i + 1 < argc)
            cases = atoi(argv[++i]);
    guard_catch_crashes();
    for (const char *const *isa = cvl_isas(); *isa; isa++) {
        if (!cvl_select_isa(*isa)) {
            printf("%-8s not available here\n", *isa);
            continue;
        }
        const int before = guard_failures(), filtered = trials_taken(FOR_FILTERING);
        const int columns = trials_taken(FOR_COLUMNS);
        check_cases(seed, cases);
        if (cases > 1)
            check_threads(seed, (cases + 11) / 12);
        printf("%-8s seed %llu: %d cases, %d runs filtered, %d by columns, %d failures\n", *isa,
               (unsigned long long)seed, cases, trials_taken(FOR_FILTERING) - filtered,
               trials_taken(FOR_COLUMNS) - columns, guard_failures() - before);
    }
    return guard_failures() > 0;
}
