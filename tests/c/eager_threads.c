/* Small problems on several threads.
 *
 * The core keeps on one thread what is too small to gain from more, so a test of threads would need
 * large arrays. Where this file is linked with -Wl,--wrap=cvl_threads_for, every call of it comes
 * here and its work is said to be large. All else that decides the number stays: the setting, the
 * tasks, a fork. Both the C tests and `make threads` are linked so. */
#include "support/threads.h"

int __real_cvl_threads_for(ptrdiff_t tasks, double work);
int __wrap_cvl_threads_for(ptrdiff_t tasks, double work);

int __wrap_cvl_threads_for(ptrdiff_t tasks, double work) {
    const double large = 1e30;
    return __real_cvl_threads_for(tasks, work < large ? large : work);
}
