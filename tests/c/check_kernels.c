/* Every kernel of every instruction set that runs here, against kernels.h's formulas in plain C.
 *
 * Offsets and strides are drawn, of either sign; each array's memory is exactly what the contract
 * lets a kernel touch, with pages that fault beyond it; what a kernel may read but must not use is
 * NaN, and what it must not write is found unchanged. Elements are small integers: sums are exact.
 *
 *     check_kernels [--heap] [--seed S] [--cases N]
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cvl.h"
#include "draw.h"
#include "guard.h"
#include "kernels/kernels.h"

/* The elements of an array that are used, found before it is allocated. */
typedef struct span {
    ptrdiff_t low, high; /* [low, high) */
} span;

static void reach(span *s, ptrdiff_t at, ptrdiff_t count) {
    if (count <= 0)
        return;
    if (s->low == s->high)
        *s = (span){at, at + count};
    if (at < s->low)
        s->low = at;
    if (at + count > s->high)
        s->high = at + count;
}

/* Rows of pixels, each of all channels. */
static void reach_pixels(span *s, ptrdiff_t row, ptrdiff_t step, ptrdiff_t rows, ptrdiff_t pixels,
                         ptrdiff_t channels) {
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t p = 0; p < pixels; p++)
            reach(s, i * row + p * step, channels);
}

static ptrdiff_t draw_stride(source *s, ptrdiff_t least) {
    const ptrdiff_t stride = least + draw(s, 0, 1) * draw(s, 0, 20);
    return draw(s, 0, 2) ? stride : -stride;
}

#define real float
#define CVL_DTYPE f32
#define CVL_NAME(name) name##_f32
#include "check_kernels_impl.h"
#undef real
#undef CVL_DTYPE
#undef CVL_NAME

#define real double
#define CVL_DTYPE f64
#define CVL_NAME(name) name##_f64
#include "check_kernels_impl.h"
#undef real
#undef CVL_DTYPE
#undef CVL_NAME

int main(int argc, char **argv) {
    uint64_t seed = 1;
    int cases = 40; /* of each kernel */
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
        const cvl_kernels *kernels = cvl_kernels_in_use();
        source s = {.state = seed};
        const int before = guard_failures();
        check_all_f32(kernels->f32, *isa, &s, cases);
        check_all_f64(kernels->f64, *isa, &s, cases);
        printf("%-8s seed %llu: %d x %d lanes, %d cases of each kernel, %d failures\n", *isa,
               (unsigned long long)seed, kernels->f32->lanes, kernels->f64->lanes, cases,
               guard_failures() - before);
    }
    return guard_failures() > 0;
}
