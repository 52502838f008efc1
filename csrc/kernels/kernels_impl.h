/* Every kernel of kernels.h, for one dtype and one instruction set. Included once by each
 * kernels_<isa>_<dtype>.c, which is built with that instruction set's flags and defines
 *
 *     CVL_TABLE          the name of the table to fill
 *     CVL_VECTOR_BYTES   the size of a vector register
 *     CVL_REGISTERS      how many of them there are
 *
 * besides support/real_<dtype>.h. Everything but the table is static, so that no function built for
 * a newer CPU can be linked into code that runs on an older one.
 *
 * A tile is an always-inlined body whose row and vector counts are constants at each place it is
 * used: the loops over them vanish and the sums stay in registers.
 *
 * Here stand what they share and the table; the kernels, in the files included below. */
#include <stdint.h>

#include "kernels/kernels.h"
#include "kernels/vector.h"

#define CVL_INLINE __attribute__((always_inline))
#if !defined(__OPTIMIZE__)
#define CVL_UNROLL
#define CVL_FOUR_A_JUMP
#elif defined(__clang__)
#define CVL_UNROLL _Pragma("clang loop unroll(full)")
#define CVL_FOUR_A_JUMP _Pragma("clang loop unroll_count(4)")
#else
#define CVL_UNROLL _Pragma("GCC unroll 16")
#define CVL_FOUR_A_JUMP _Pragma("GCC unroll 4") /* the same registers in each of the four */
#endif

#define LANES_ARE(n) (CVL_VECTOR_BYTES == (n) * CVL_REAL_BYTES)

enum { line_reals = 64 / sizeof(real) }; /* to a cache line */

/* Whether v vectors from an address on, or from the bitwise or of several, are whole cache lines,
 * which may be written without being read first. */
static inline bool whole_lines(uintptr_t at, int v) {
    enum { line = 64 };
    return v * CVL_VECTOR_BYTES % line == 0 && at % line == 0;
}

/* Whether a vector is the first of those in its cache line: it asks for the line, for all. */
static inline bool first_in_line(const real *p) {
    return (uintptr_t)p % (line_reals * sizeof(real)) < CVL_VECTOR_BYTES;
}

static inline CVL_INLINE void put(real *p, vec v, bool past_caches) {
    if (past_caches)
        store_past_caches(p, v);
    else
        store(p, v);
}

/* The start of the next vector of a line of `length` >= L: the last one may overlap its neighbour,
 * and writes again what stands there. */
static inline ptrdiff_t next_vector(ptrdiff_t i, ptrdiff_t length) {
    return i + L < length && i + 2 * L > length ? length - L : i + L;
}

#include "kernels/copies_impl.h"
#include "kernels/dots_impl.h"
#include "kernels/lanes_impl.h"
#include "kernels/pixels_impl.h"
#include "kernels/planes_impl.h"
#include "kernels/products_impl.h"
#include "kernels/spread_impl.h"
#include "kernels/sums_impl.h"
#include "kernels/sweeps_impl.h"
#include "kernels/transforms_impl.h"

/* Four cache lines to a step, or a tile. */
#define PANEL_VECTORS(tile) (4 * line_reals / L > (tile) ? 4 * line_reals / L : (tile))

extern const CVL_TYPED(cvl_kernels) CVL_TABLE;
const CVL_TYPED(cvl_kernels) CVL_TABLE = {
    .lanes = L,
#if CVL_REGISTERS >= 32
    .vectors = 4,
    .panel_vectors = PANEL_VECTORS(4),
    .rows = {8, 8, 8, 6},
    .product_tile = {{PRODUCT_ROWS_TO_8(1)},
                     {PRODUCT_ROWS_TO_8(2)},
                     {PRODUCT_ROWS_TO_8(3)},
                     {PRODUCT_ROWS_TO_6(4)}},
#else
    .vectors = 2,
    .panel_vectors = PANEL_VECTORS(2),
    .rows = {8, 6},
    .product_tile = {{PRODUCT_ROWS_TO_8(1)}, {PRODUCT_ROWS_TO_6(2)}},
#endif
    /* clang-format off */
    .tall_rows = TALL_ROWS,
    .tall_tile = {tall_1, tall_2, tall_3, tall_4, tall_5, tall_6,
                  tall_7, tall_8, tall_9, tall_10, tall_11, tall_12,
#if TALL_ROWS == 16
                  tall_13, tall_14, tall_15, tall_16,
#endif
    },
    .pixel_rows = PIXEL_ROWS,
    .pixel_tile = {pixel_1, pixel_2, pixel_3, pixel_4, pixel_5, pixel_6,
#if PIXEL_ROWS == 8
                   pixel_7, pixel_8,
#endif
    },
    /* clang-format on */
    .row_tile = row_tile,
    .plane_tile = plane_tile,
#ifdef CVL_PICKS_LANES
    .group_width = MOST_GROUP,
    .sums_width = MOST_SUMMED,
    .group_sums = group_sums,
#else
    .group_width = 1,
    .sums_width = 1,
#endif
    .lane_tile = lane_tile,
#if CVL_REGISTERS < 32
    .sweep_tile = sweep_tile,
#endif
    .spread_tile = spread_tile,
    .tap_sums = tap_sums,
    .plane_sums = plane_sums,
    .lane_sums = lane_sums,
    .dots = dots,
#ifdef CVL_FUSES
    .winograd = {{{0}, WINOGRAD_KERNELS(1, 2), WINOGRAD_KERNELS(1, 3)},
                 {WINOGRAD_KERNELS(2, 1), WINOGRAD_KERNELS(2, 2), WINOGRAD_KERNELS(2, 3)},
                 {WINOGRAD_KERNELS(3, 1), WINOGRAD_KERNELS(3, 2), WINOGRAD_KERNELS(3, 3)}},
#endif
    .copy = copy,
    .copy_past = copy_past,
    .copy_between = copy_between,
    .gather_rows = gather_rows,
    .add = add,
    .add_parts = add_parts,
    .sum = sum_run,
};
