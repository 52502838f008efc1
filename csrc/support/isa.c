/* Which build of the kernels runs: the best one that this CPU and this operating system have (the
 * compiler's cpu_supports asks cpuid and, for wide registers, whether they are saved), or the one
 * asked for. */
#include <stdatomic.h>
#include <string.h>

#include "cvl.h"
#include "kernels/kernels.h"

typedef struct isa {
    cvl_kernels kernels;
    bool (*available)(void);
} isa;

static bool always(void) {
    return true;
}

#ifdef CVL_BUILD_AVX512
extern const cvl_kernels_f32 cvl_kernels_avx512_f32;
extern const cvl_kernels_f64 cvl_kernels_avx512_f64;
static bool has_avx512(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("fma");
}
#endif
#ifdef CVL_BUILD_AVX2
extern const cvl_kernels_f32 cvl_kernels_avx2_f32;
extern const cvl_kernels_f64 cvl_kernels_avx2_f64;
static bool has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif
#ifdef CVL_BUILD_NEON
extern const cvl_kernels_f32 cvl_kernels_neon_f32;
extern const cvl_kernels_f64 cvl_kernels_neon_f64;
#endif
extern const cvl_kernels_f32 cvl_kernels_generic_f32;
extern const cvl_kernels_f64 cvl_kernels_generic_f64;

/* Best first. */
static const isa built[] = {
#ifdef CVL_BUILD_AVX512
    {{"avx512", &cvl_kernels_avx512_f32, &cvl_kernels_avx512_f64}, has_avx512},
#endif
#ifdef CVL_BUILD_AVX2
    {{"avx2", &cvl_kernels_avx2_f32, &cvl_kernels_avx2_f64}, has_avx2},
#endif
#ifdef CVL_BUILD_NEON
    {{"neon", &cvl_kernels_neon_f32, &cvl_kernels_neon_f64}, always},
#endif
    {{"generic", &cvl_kernels_generic_f32, &cvl_kernels_generic_f64}, always},
};
enum { n_built = sizeof built / sizeof built[0] };

static const isa *_Atomic in_use = &built[n_built - 1];

bool cvl_select_isa(const char *name) {
    for (int i = 0; i < n_built; i++)
        if ((!name || strcmp(name, built[i].kernels.isa) == 0) && built[i].available()) {
            atomic_store(&in_use, &built[i]);
            return true;
        }
    return false;
}

const char *cvl_isa(void) {
    return atomic_load(&in_use)->kernels.isa;
}

const char *const *cvl_isas(void) {
    /* The names of built[], in its order. */
    static const char *const names[n_built + 1] = {
#ifdef CVL_BUILD_AVX512
        "avx512",
#endif
#ifdef CVL_BUILD_AVX2
        "avx2",
#endif
#ifdef CVL_BUILD_NEON
        "neon",
#endif
        "generic",
    };
    return names;
}

bool cvl_isa_available(const char *name) {
    for (int i = 0; i < n_built; i++)
        if (strcmp(name, built[i].kernels.isa) == 0)
            return built[i].available();
    return false;
}

const cvl_kernels *cvl_kernels_in_use(void) {
    return &atomic_load(&in_use)->kernels;
}
