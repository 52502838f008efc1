/* Calls from several threads at once, while another keeps changing the settings. For
 * ThreadSanitizer, which sees every race, and without it: each result is the one computed alone.
 *
 *     check_threads [--heap] [--rounds N]
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trial.h"

enum { callers = 4, trials_per_caller = 48 };

static int rounds = 3;
static atomic_bool done;
static pthread_mutex_t report = PTHREAD_MUTEX_INITIALIZER;

typedef struct caller {
    pthread_t thread;
    trial trials[trials_per_caller];
} caller;

static void *call(void *argument) {
    caller *c = argument;
    for (int round = 0; round < rounds; round++)
        for (int i = 0; i < trials_per_caller; i++) {
            trial *t = &c->trials[i];
            if (!cvl_isas()[0] || cvl_get_num_threads() < 1)
                abort();
            const cvl_status status = trial_run(t);
            pthread_mutex_lock(&report);
            guard_case("%s in caller %td, trial %d", operation_names[t->op],
                       (ptrdiff_t)(c->trials[0].p.n), i);
            if (status == CVL_OK)
                trial_matches(t);
            else
                guard_fail("status %d", (int)status);
            pthread_mutex_unlock(&report);
        }
    return NULL;
}

static void *meddle(void *unused) {
    const char *const *isa = cvl_isas();
    for (int i = 0; !atomic_load(&done); i++) {
        if (!isa[i % 8])
            i = 0;
        cvl_select_isa(isa[i % 8]);
        cvl_set_num_threads(1 + i % 3);
    }
    return unused;
}

int main(int argc, char **argv) {
    static caller all[callers];
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--heap") == 0)
            guard_use_heap(true);
        else if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc)
            rounds = atoi(argv[++i]);
    guard_catch_crashes();
    for (int c = 0; c < callers; c++)
        for (int i = 0; i < trials_per_caller; i++) {
            source s = {.state = (uint64_t)(c * trials_per_caller + i)};
            trial *t = &all[c].trials[i];
            do {
                trial_free(t);
                trial_draw(&s, (operation)(i % N_OPERATIONS), i / 6 % 2 ? CVL_F64 : CVL_F32, WHOLE,
                           i < 12 ? 1e6 : 2e4, t);
            } while (cvl_check(&t->p) != CVL_OK);
            trial_expect(t);
        }

    pthread_t meddler;
    pthread_create(&meddler, NULL, meddle, NULL);
    for (int c = 0; c < callers; c++)
        pthread_create(&all[c].thread, NULL, call, &all[c]);
    for (int c = 0; c < callers; c++)
        pthread_join(all[c].thread, NULL);
    atomic_store(&done, true);
    pthread_join(meddler, NULL);

    for (int c = 0; c < callers; c++)
        for (int i = 0; i < trials_per_caller; i++)
            trial_free(&all[c].trials[i]);
    if (guard_live_allocations())
        guard_fail("%ld allocations leaked", guard_live_allocations());
    printf("%d callers, %d trials each, %d failures\n", callers, rounds * trials_per_caller,
           guard_failures());
    return guard_failures() > 0;
}
