#include "support/threads.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "cvl.h"
#include "support/denormals.h"
#include "support/memory.h"

/* Waking a second thread costs several microseconds: the time of about this many
 * multiplications. */
static const double worth_a_thread = 500e3;

static atomic_int wanted_threads = 1;

void cvl_set_num_threads(int n) {
    atomic_store(&wanted_threads, n);
}

int cvl_get_num_threads(void) {
    return atomic_load(&wanted_threads);
}

#ifdef _OPENMP

/* libgomp's threads do not exist in a forked child, yet it would wait for them: a child of a
 * process whose pool has run stays on one thread. */
static atomic_bool pool_used, pool_lost;

static void after_fork_in_child(void) {
    if (atomic_load(&pool_used))
        atomic_store(&pool_lost, true);
}

static void watch_forks(void) {
    pthread_atfork(NULL, NULL, after_fork_in_child);
}

static bool may_use_pool(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    return !atomic_load(&pool_lost);
}

/* What a thread of a trial does: wait until all are started. */
static void *pass(void *gate) {
    pthread_mutex_lock(gate);
    pthread_mutex_unlock(gate);
    return NULL;
}

/* libgomp ends the process when it cannot start a thread, and it keeps a pool for each caller. So
 * before a caller's pool grows, as many threads are started and ended here, all at once: the system
 * gave them and will again. Returns how many there can be, the caller with them. */
static int threads_to_be_had(int threads) {
    static _Thread_local int had = 1;
    if (threads <= had)
        return threads;
    pthread_t *const started = malloc((size_t)threads * sizeof *started);
    if (!started)
        return had;
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    int n = 1;
    pthread_mutex_lock(&gate);
    while (n < threads && pthread_create(&started[n], NULL, pass, &gate) == 0)
        n++;
    pthread_mutex_unlock(&gate);
    for (int i = 1; i < n; i++)
        pthread_join(started[i], NULL);
    free(started);
    if (n > had)
        had = n;
    return n;
}

#else

static bool may_use_pool(void) {
    return false;
}

static int threads_to_be_had(int threads) {
    return threads;
}

#endif

/* No gain lies in more threads than this. */
static int most_threads(void) {
    enum { least = 16, per_processor = 4 };
    const long processors = sysconf(_SC_NPROCESSORS_ONLN);
    return processors > least / per_processor ? (int)processors * per_processor : least;
}

ptrdiff_t cvl_enough_tasks(double work) {
    enum { per_thread = 4, many = 1 << 20 };
    const int threads = cvl_threads_for(many, work);
    return threads > 1 ? per_thread * threads : 1;
}

bool cvl_shared_well(ptrdiff_t tasks, double work) {
    enum { many = 1 << 20 };
    const ptrdiff_t threads = cvl_threads_for(many, work);
    const ptrdiff_t rounds = (tasks + threads - 1) / threads;
    return 5 * tasks >= 4 * rounds * threads;
}

int cvl_threads_for(ptrdiff_t tasks, double work) {
    int wanted = cvl_get_num_threads();
    if (wanted <= 1 || tasks <= 1 || work < 2 * worth_a_thread || !may_use_pool())
        return 1;
    const double useful = work / worth_a_thread;
    if (wanted > most_threads())
        wanted = most_threads();
    int threads = wanted;
    if (threads > tasks)
        threads = (int)tasks;
    if (threads > useful)
        threads = (int)useful;
    return threads_to_be_had(threads);
}

void *cvl_alloc_workspace(ptrdiff_t shared, ptrdiff_t each, int *threads) {
    for (;; *threads /= 2) {
        void *p = cvl_alloc((size_t)cvl_add_bytes(shared, cvl_scale_bytes(each, *threads)));
        if (p || *threads == 1)
            return p;
    }
}

void cvl_parallel_for(ptrdiff_t tasks, ptrdiff_t grain, int threads, cvl_task_fn fn,
                      void *context) {
#ifdef _OPENMP
    if (threads > 1) {
        _Atomic ptrdiff_t next = 0;
        atomic_store(&pool_used, true);
#pragma omp parallel num_threads(threads)
        {
            const int thread = omp_get_thread_num();
            const cvl_float_mode mode = cvl_flush_denormals();
            for (;;) {
                const ptrdiff_t begin = atomic_fetch_add(&next, grain);
                if (begin >= tasks)
                    break;
                fn(context, begin, begin + grain < tasks ? begin + grain : tasks, thread);
            }
            cvl_restore_denormals(mode);
        }
        return;
    }
#endif
    (void)grain;
    (void)threads;
    fn(context, 0, tasks, 0);
}
