/* The one owner of parallelism. */
#ifndef CVL_THREADS_H
#define CVL_THREADS_H

#include <stdbool.h>
#include <stddef.h>

/* Does tasks [begin, end); `thread` is in [0, threads) and names this thread's workspace. */
typedef void (*cvl_task_fn)(void *context, ptrdiff_t begin, ptrdiff_t end, int thread);

/* How many threads to give a job of so many tasks and multiplications: at least 1, and 1 where the
 * job is too small to gain. */
int cvl_threads_for(ptrdiff_t tasks, double work);

/* Into how many tasks it is worth cutting a job of so many multiplications, where the results do
 * not depend on the cut: one, or a few for each thread that may take part. */
ptrdiff_t cvl_enough_tasks(double work);

/* Whether the threads that such a job is given are busy for four fifths of the time with so many
 * tasks of one size. */
bool cvl_shared_well(ptrdiff_t tasks, double work);

/* What such a job works in: `shared` bytes and, behind them, `each` for every thread. Where there
 * is no memory for so many threads they become fewer; NULL where there is none for one. Free with
 * cvl_free. */
void *cvl_alloc_workspace(ptrdiff_t shared, ptrdiff_t each, int *threads);

/* Does all tasks, handing them out in runs of `grain`, and returns when the last is done. Which
 * thread does which task is not determined; results must not depend on it. */
void cvl_parallel_for(ptrdiff_t tasks, ptrdiff_t grain, int threads, cvl_task_fn fn, void *context);

#endif
