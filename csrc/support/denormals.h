/* Numbers below the normal range (below 1.2e-38 in float, 2.2e-308 in double) as zeros.
 *
 * Many processors multiply them a hundred times slower than others. While a problem is computed
 * they are read as zero and none is produced, whatever the caller's mode, which comes back
 * afterwards; so the results do not depend on who calls, or in which thread. */
#ifndef CVL_DENORMALS_H
#define CVL_DENORMALS_H

#include <stdint.h>

typedef uint64_t cvl_float_mode;

#if defined(__SSE2__)

static inline cvl_float_mode cvl_flush_denormals(void) {
    const unsigned results_to_zero = 1u << 15, inputs_are_zero = 1u << 6;
    const unsigned mode = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(mode | results_to_zero | inputs_are_zero);
    return mode;
}

static inline void cvl_restore_denormals(cvl_float_mode mode) {
    __builtin_ia32_ldmxcsr((unsigned)mode);
}

#elif defined(__aarch64__)

static inline cvl_float_mode cvl_flush_denormals(void) {
    const cvl_float_mode flush = 1u << 24;
    cvl_float_mode mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    __asm__ volatile("msr fpcr, %0" : : "r"(mode | flush));
    return mode;
}

static inline void cvl_restore_denormals(cvl_float_mode mode) {
    __asm__ volatile("msr fpcr, %0" : : "r"(mode));
}

#else

static inline cvl_float_mode cvl_flush_denormals(void) {
    return 0;
}

static inline void cvl_restore_denormals(cvl_float_mode mode) {
    (void)mode;
}

#endif

#endif
