/* A libFuzzer target on the C core: the bytes are the draws of one trial (tests/c/trial.c), a
 * problem with its layouts, parameters of every size and small data. What the core computes is
 * compared with plain loops, or must be refused; a difference, a leak, a stray access or undefined
 * behaviour ends it.
 *
 *     make fuzz                        a minute, from fuzz/corpus
 *     make fuzz FUZZ_SECONDS=3600      an hour
 *     make fuzz FUZZ_INPUTS=FILE       run what was found, or any file of bytes, once
 *
 * New inputs and crashes go to build/c/fuzz/found. After a change of how trials are drawn, or to
 * keep what an hour has found, make the corpus anew, small:
 *
 *     build/c/fuzz/fuzz_ops -set_cover_merge=1 NEW fuzz/corpus build/c/fuzz/found
 */
#include <stdlib.h>

#include "trial.h"

enum { most_work = 20000 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    source s = {.bytes = bytes, .left = size};
    const char *const *isas = cvl_isas();
    ptrdiff_t n_isas = 0;
    while (isas[n_isas])
        n_isas++;
    guard_use_heap(true);
    if (size == 0 || !cvl_select_isa(isas[draw(&s, 0, n_isas - 1)]))
        return 0;
    const operation op = (operation)draw(&s, 0, N_OPERATIONS - 1);
    const cvl_dtype dtype = draw(&s, 0, 1) ? CVL_F64 : CVL_F32;
    trial_check(&s, op, dtype, draw(&s, 0, 1) ? HOSTILE : WHOLE, most_work);
    if (guard_failures())
        abort();
    return 0;
}
