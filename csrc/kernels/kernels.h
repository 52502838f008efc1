/* The kernels: what each computes, and the geometry that travels with it.
 *
 * A kernel is one register tile or one in-cache move. It allocates nothing, starts no thread,
 * cannot fail, and does not know what a convolution is. Kernels are written once, in the files that
 * kernels_impl.h includes, and built once per instruction set and dtype; each build fills one
 * cvl_kernels table. Drivers take every tile size from the table and never name an instruction set.
 *
 * L is the number of lanes of a vector. No pointer needs alignment. Outputs overlap no input.
 */
#ifndef CVL_KERNELS_H
#define CVL_KERNELS_H

#include <stdbool.h>
#include <stddef.h>

enum {
    CVL_MAX_ROWS = 8,       /* the most rows any tile has, */
    CVL_MAX_TALL = 16,      /* but for the tall tile */
    CVL_MAX_VECTORS = 4,    /* the most vectors any product tile has */
    CVL_MAX_LANES = 16,     /* the most lanes any vector has */
    CVL_ROW_TILE = 4,       /* output rows that a row tile holds at once */
    CVL_MAX_RUN = 7,        /* the most taps of a run of a lane tile, and rows of a plane tile's */
    CVL_SWEEP_TAPS = 3,     /* of a row that a sweep tile has, and the most rows of them */
    CVL_DESCENT_TAPS = 3,   /* taps of a row and of a column where a lane tile walks down rows */
    CVL_PLANE_COLUMNS = 16, /* the most taps of one of these rows */
    CVL_PLANE_SUMS = 3,     /* the most rows, and taps of a row, of sums over planes */
    CVL_SPREAD_TAPS = 3,    /* taps of a row and of a column of a spread tile's filter, */
    CVL_SPREAD_STRIDE = 2,  /* and its stride in both directions */
    CVL_WINOGRAD_TAPS = 3,  /* the most taps along an axis that it is for */
};

/* One run of a product tile's reduction: `length` steps from offset a of A and row b of B on. Where
 * its rows of B are known to be even steps apart, b_step says how far; else it is 0. After a term
 * with `flush` the sums are added to those before it and start again from zero: short runs keep the
 * rounding error of long reductions low. */
typedef struct cvl_term {
    ptrdiff_t a, b, length, b_step;
    bool flush;
} cvl_term;

/* Some taps of a lane tile, one step after another, the first at offset x of X and w of W (of C
 * where the weights are summed). It lies `place` places further along its axis than the tile's
 * first pixel. After a run with `flush` the sums are added to C and start again from zero. */
typedef struct cvl_lane_run {
    ptrdiff_t x, w, taps, place;
    bool flush;
} cvl_lane_run;

/* The weights of a lane tile: groups of `width` channels that feed one another, of which one's
 * weights stand `channel` after those of the one before, and one tap's `step`. */
typedef struct cvl_lane_weights {
    ptrdiff_t width, channel, step;
} cvl_lane_weights;

/* Where a lane tile's pixels lie along an axis of `count` places: the first at `first`, each next
 * one `step` further. What lies outside is neither read nor summed. */
typedef struct cvl_places {
    ptrdiff_t first, step, count;
} cvl_places;

/* Rows of neighbouring positions, and how far it is to the next row and to the next plane; and to
 * what is to be asked for while a row is read. */
typedef struct cvl_plane {
    ptrdiff_t plane, row, rows, columns, ahead;
} cvl_plane;

/* The taps of a plane tile: `rows` of `columns` each. Weights stand `step` from one tap of a row to
 * the next, `row` from one row to the next, `plane` from one filter to the next. Tap w of a row
 * reads column[w] columns further than the output's. */
typedef struct cvl_plane_taps {
    ptrdiff_t plane, row, step, rows, columns;
    const ptrdiff_t *column;
} cvl_plane_taps;

/* The filter of a sweep tile: tap k of row h reads h*row + k*column further than the first of all,
 * from a place k*place further, and has the weight at weight[h][k]. */
typedef struct cvl_sweep {
    ptrdiff_t rows, row, column, place;
    ptrdiff_t weight[CVL_SWEEP_TAPS][CVL_SWEEP_TAPS];
} cvl_sweep;

/* clang-format off: one declaration per dtype, made from one text. */
#define CVL_DECLARE_KERNELS(real, suffix)                                                          \
    typedef struct cvl_product_##suffix {                                                          \
        real *c;                                                                                   \
        const ptrdiff_t *c_row;                                                                    \
        const real *init;                                                                          \
        const ptrdiff_t *init_row;                                                                 \
        bool init_splat;                                                                           \
        const real *a;                                                                             \
        const ptrdiff_t *a_row;                                                                    \
        ptrdiff_t a_step;                                                                          \
        const real *b;                                                                             \
        const ptrdiff_t *b_row;                                                                    \
        const cvl_term *terms;                                                                     \
        ptrdiff_t n_terms;                                                                         \
        bool stream;                                                                               \
    } cvl_product_##suffix;                                                                        \
    typedef void cvl_product_tile_##suffix(const cvl_product_##suffix *product, ptrdiff_t row,     \
                                           ptrdiff_t row_tiles, ptrdiff_t lane,                    \
                                           ptrdiff_t lane_tiles);                                  \
    typedef void cvl_tall_tile_##suffix(                                                           \
        real *c, ptrdiff_t c_row, const real *init, ptrdiff_t init_row, bool init_splat,           \
        const real *a, ptrdiff_t a_row, ptrdiff_t a_step, const real *b, const ptrdiff_t *b_row,   \
        const cvl_term *terms, ptrdiff_t n_terms, bool stream);                                    \
    typedef void cvl_pixel_tile_##suffix(real *c, ptrdiff_t c_row, const real *a, ptrdiff_t a_row, \
                                         const real *b, const ptrdiff_t *b_offset,                 \
                                         ptrdiff_t length, ptrdiff_t vectors, const real *init);   \
    typedef void cvl_row_tile_##suffix(real *c, ptrdiff_t c_row, const real *a, ptrdiff_t a_rows,  \
                                       ptrdiff_t a_columns, const real *b, ptrdiff_t b_row,        \
                                       const ptrdiff_t *b_column, ptrdiff_t rows,                  \
                                       ptrdiff_t vectors, const real *init);                       \
    typedef void cvl_plane_tile_##suffix(                                                          \
        real *c, const cvl_plane *to, const real *init, ptrdiff_t init_plane, const real *a,       \
        const cvl_plane_taps *taps, const real *b, const cvl_plane *from,                          \
        const cvl_places *b_rows, ptrdiff_t planes);                                               \
    typedef void cvl_lane_tile_##suffix(                                                           \
        real *c, ptrdiff_t c_row, ptrdiff_t c_step, const real *init, const real *x,               \
        ptrdiff_t x_row, ptrdiff_t x_step, const real *w, const cvl_lane_weights *weights,         \
        const cvl_lane_run *runs, ptrdiff_t n_runs, const cvl_places *places, ptrdiff_t ahead,     \
        ptrdiff_t rows, ptrdiff_t pixels, ptrdiff_t channels, bool stream);                        \
    typedef void cvl_sweep_tile_##suffix(                                                          \
        real *c, ptrdiff_t c_row, ptrdiff_t c_step, const real *init, const real *x,               \
        ptrdiff_t x_row, ptrdiff_t x_step, const real *w, const cvl_sweep *sweep,                  \
        const cvl_places *places, ptrdiff_t ahead, ptrdiff_t rows, ptrdiff_t pixels,               \
        ptrdiff_t channels, bool stream);                                                          \
    typedef void cvl_spread_tile_##suffix(                                                         \
        real *c, ptrdiff_t c_row, ptrdiff_t c_step, const real *init, const real *x,               \
        ptrdiff_t x_row, ptrdiff_t x_step, const real *w, ptrdiff_t w_step,                        \
        const cvl_places *at_rows, const cvl_places *at_columns, ptrdiff_t rows,                   \
        ptrdiff_t columns, ptrdiff_t channels, bool stream);                                       \
    typedef void cvl_tap_sums_##suffix(real *c, const real *dy, ptrdiff_t dy_row, const real *x,   \
                                       ptrdiff_t x_row, const ptrdiff_t *x_offset, ptrdiff_t taps, \
                                       ptrdiff_t rows, ptrdiff_t columns);                         \
    typedef void cvl_plane_sums_##suffix(                                                          \
        real *sums, const cvl_plane_taps *taps, const real *dy, const cvl_plane *dy_at,            \
        const real *x, const cvl_plane *x_at, const cvl_places *x_rows, ptrdiff_t planes);         \
    typedef void cvl_lane_sums_##suffix(                                                           \
        real *c, const cvl_lane_weights *weights, const real *dy, ptrdiff_t dy_row,                \
        ptrdiff_t dy_step, const real *x, ptrdiff_t x_row, ptrdiff_t x_step,                       \
        const cvl_lane_run *runs, ptrdiff_t n_runs, const cvl_places *places, ptrdiff_t rows,      \
        ptrdiff_t pixels, ptrdiff_t vectors, bool ask);                                            \
    typedef void cvl_dots_##suffix(real *c, ptrdiff_t c_row, ptrdiff_t c_column, const real *init, \
                                   const real *a, ptrdiff_t a_row, ptrdiff_t rows, const real *b,  \
                                   ptrdiff_t b_row, ptrdiff_t columns, ptrdiff_t length);          \
    typedef void cvl_winograd_inputs_##suffix(real *to, ptrdiff_t to_point, ptrdiff_t to_tile,     \
                                              const real *x, ptrdiff_t x_row, ptrdiff_t x_column,  \
                                              ptrdiff_t tiles, ptrdiff_t channels);                \
    typedef void cvl_winograd_weights_##suffix(real *to, ptrdiff_t to_point, const real *w,        \
                                               ptrdiff_t w_row, ptrdiff_t w_column,                \
                                               ptrdiff_t channels);                                \
    typedef bool cvl_winograd_taps_##suffix(real *w, ptrdiff_t w_row, ptrdiff_t w_column,          \
                                            ptrdiff_t rows, ptrdiff_t columns, const real *from,   \
                                            ptrdiff_t from_point, ptrdiff_t channels);             \
    typedef bool cvl_winograd_outputs_##suffix(                                                    \
        real *y, ptrdiff_t y_row, ptrdiff_t y_column, ptrdiff_t rows, ptrdiff_t columns,           \
        const real *from, ptrdiff_t from_point, ptrdiff_t from_tile, const real *init,             \
        ptrdiff_t tiles, ptrdiff_t channels, bool stream);                                         \
    typedef struct cvl_winograd_##suffix {                                                         \
        cvl_winograd_inputs_##suffix *inputs, *gradients;                                          \
        cvl_winograd_weights_##suffix *weights;                                                    \
        cvl_winograd_outputs_##suffix *outputs;                                                    \
        cvl_winograd_taps_##suffix *taps;                                                          \
    } cvl_winograd_##suffix;                                                                       \
    typedef void cvl_copy_##suffix(real *dst, ptrdiff_t dst_row, ptrdiff_t dst_column,             \
                                   const real *src, ptrdiff_t src_row, ptrdiff_t src_column,       \
                                   ptrdiff_t rows, ptrdiff_t columns);                             \
    typedef void cvl_gather_rows_##suffix(real *dst, ptrdiff_t dst_row, const real *src,           \
                                          const ptrdiff_t *src_offset, ptrdiff_t rows,             \
                                          ptrdiff_t columns);                                      \
    typedef void cvl_add_##suffix(real *c, const real *x, ptrdiff_t count);                        \
    typedef void cvl_add_parts_##suffix(real *c, const real *parts, ptrdiff_t count);              \
    typedef real cvl_sum_##suffix(const real *x, ptrdiff_t length);                                \
    typedef struct cvl_kernels_##suffix {                                                          \
        int lanes;                                                                                 \
        int vectors;                                                                               \
        int panel_vectors;                                                                         \
        int rows[CVL_MAX_VECTORS];                                                                 \
        cvl_product_tile_##suffix *product_tile[CVL_MAX_VECTORS][CVL_MAX_ROWS];                    \
        int tall_rows;                                                                             \
        cvl_tall_tile_##suffix *tall_tile[CVL_MAX_TALL];                                           \
        int pixel_rows;                                                                            \
        cvl_pixel_tile_##suffix *pixel_tile[CVL_MAX_ROWS];                                         \
        cvl_row_tile_##suffix *row_tile;                                                           \
        cvl_plane_tile_##suffix *plane_tile;                                                       \
        int group_width, sums_width;                                                               \
        cvl_lane_tile_##suffix *lane_tile;                                                         \
        cvl_sweep_tile_##suffix *sweep_tile; /* NULL: lane_tile is as good */                      \
        cvl_spread_tile_##suffix *spread_tile;                                                     \
        cvl_tap_sums_##suffix *tap_sums;                                                           \
        cvl_plane_sums_##suffix *plane_sums;                                                       \
        cvl_lane_sums_##suffix *lane_sums, *group_sums;                                            \
        cvl_dots_##suffix *dots;                                                                   \
        cvl_winograd_##suffix winograd[CVL_WINOGRAD_TAPS][CVL_WINOGRAD_TAPS];                      \
        cvl_copy_##suffix *copy;                                                                   \
        cvl_copy_##suffix *copy_past;                                                              \
        cvl_copy_##suffix *copy_between;                                                           \
        cvl_gather_rows_##suffix *gather_rows;                                                     \
        cvl_add_##suffix *add;                                                                     \
        cvl_add_parts_##suffix *add_parts;                                                         \
        cvl_sum_##suffix *sum;                                                                     \
    } cvl_kernels_##suffix;

CVL_DECLARE_KERNELS(float, f32)
CVL_DECLARE_KERNELS(double, f64)
/* clang-format on */

/* product_tile[v - 1][m - 1], for v <= vectors, m <= rows[v - 1]: rows of A times a panel of B.
 *
 *     C[i][j] = S[i][j] + sum over terms t, steps k < t.length of
 *               a[t.a + a_row[i] + k*a_step] * b[b_row[t.b + k] + j]
 *
 * is stored at c[c_row[i] + j], in `row_tiles` tiles of m rows, i from `row` on, each of them in
 * `lane_tiles` tiles of v vectors, j from `lane` on. It starts from S[i][j] = init[init_row[i] +
 * j], from init[init_row[i]] in all lanes with init_splat, or from zero with init NULL; with
 * init_row NULL every row starts from `init` itself; to add to C, init is c itself. C is stored
 * once. A is read one element at a time, B and C in full vectors: where fewer columns count, B must
 * be padded (its padding only reaches unused columns) and C must have the room. With `stream` sums
 * go past the caches where they are whole cache lines; a fence must follow before others read them.
 *
 * panel_vectors: how wide a panel of B is at its best, in whole tiles; where these are narrow, a
 * few rows of A meet several of them one after another.
 *
 * tall_tile[m - 1], for m <= tall_rows: the same for v = 1 and rows at even steps, i*a_row, i*c_row
 * and i*init_row; but C is stored after every flush, and loaded for the next.
 *
 * pixel_tile[m - 1], for m <= pixel_rows: lanes are neighbouring output positions.
 *
 *     C[i][j] = init[i] + sum over k < length of a[i*a_row + k] * b[b_offset[k] + j],
 *               i < m, j < vectors*L
 *
 * is stored at c[i*c_row + j]; with init NULL it is added to what stands there. Reads b up to
 * max(b_offset) + vectors*L.
 *
 * row_tile: lanes are neighbouring output positions, for several rows of them and one filter.
 *
 *     C[i][j] = init[0] + sum over h < a_rows, w < a_columns of
 *               a[h*a_columns + w] * b[(i + h)*b_row + b_column[w] + j],   i < rows, j < vectors*L
 *
 * is stored at c[i*c_row + j]; with init NULL it is added to what stands there. Each vector of b is
 * loaded once for all rows that it reaches, of CVL_ROW_TILE at a time.
 *
 * plane_tile: lanes are neighbouring output positions of a row, for some planes with a filter each.
 *
 *     C[p][i][j] = init[p*init_plane] + sum over h < taps.rows, w < taps.columns of
 *                  a[p*taps.plane + h*taps.row + w*taps.step] * B[p][i + h][taps.column[w] + j],
 *                  p < planes, i < to.rows, j < to.columns
 *
 * is stored at c[p*to.plane + i*to.row + j]; with init NULL it is added to what stands there.
 * B[p][r][s] is b[p*from.plane + r*from.row + s] where 0 <= places.first + r*places.step <
 * places.count and 0 <= s < from.columns; else nothing is read, and it is zero. There are 1 to
 * CVL_MAX_RUN rows of at most CVL_PLANE_COLUMNS taps. Each vector of b is loaded once for each of
 * the columns of taps.
 *
 * lane_tile: lanes are channels, of groups of a few that feed one another alone; of one
 * (depthwise), or of up to group_width.
 *
 *     C[i][p][j] = init[j] + sum over runs r, taps k < r.taps, channels h < width of
 *                  x[i*x_row + r.x + (p + k)*x_step + j - j % width + h] *
 *                  w[r.w + k*step + h*channel + j],
 *                  i < rows, p < pixels, j < channels; width, channel, step of weights,
 *
 * is stored at c[i*c_row + p*c_step + j], where only places 0 <= places.first + r.place + (p +
 * k)*places.step < places.count take part. A run has 1 to CVL_MAX_RUN taps. There are at least L
 * channels; the last vector of them overlaps its neighbour. The width divides L and the channels.
 * Several rows of a filter of CVL_DESCENT_TAPS in both directions, of one depth, or of several
 * whose runs follow one another in each row of taps, are walked down together, with a stride of one
 * or two. Then, with `ahead` not 0, what stands so much further than the inputs of the last depth
 * is asked for meanwhile; with 0, inputs are at hand, and several depths are not walked down.
 * `stream` is product_tile's.
 *
 * sweep_tile: the same for groups of one channel and a filter of 1 to CVL_SWEEP_TAPS rows of
 * CVL_SWEEP_TAPS taps, row after row.
 *
 *     C[i][p][j] = init[j] + sum over h < rows of taps, k < CVL_SWEEP_TAPS of
 *                  x[i*x_row + h*row + p*x_step + k*column + j] * w[weight[h][k] + j],
 *
 * where only places 0 <= places.first + p*places.step + k*place < places.count take part, and
 * `place` is positive. What stands `ahead` of what a pixel reads is asked for, so that `ahead` of
 * the last row's inputs those of the next should follow.
 *
 * spread_tile: the same for groups of one channel, seen from the inputs, to each of which there are
 * two rows and two columns of outputs: it is spread over a filter of CVL_SPREAD_TAPS in both
 * directions.
 *
 *     C[i][p][j] = init[j] + sum over taps h, k and all counted rows r and columns s of x with
 *                  2*r + h = at_rows.first + i, 2*s + k = at_columns.first + p, of
 *                  x[r*x_row + s*x_step + j] * w[(h*CVL_SPREAD_TAPS + k)*w_step + j],
 *                  i < rows, p < columns, j < channels,
 *
 * is stored at c[i*c_row + p*c_step + j]. Any row and column of x may be read. `stream` is
 * product_tile's.
 *
 * tap_sums: one filter's gradient from rows of neighbouring positions.
 *
 *     c[k] += sum over r < rows, j < columns of dy[r*dy_row + j] * x[r*x_row + x_offset[k] + j],
 *             k < taps.
 *
 * Reads dy and x up to `columns` rounded up to vectors; what lies beyond takes no part, be it NaN.
 *
 * plane_sums: the gradients of some filters from a plane each, in L parts:
 *
 *     sums[p*taps.plane + h*taps.row + w*taps.step + l],   p < planes, l < L,
 *
 * to which are added, so that the L of them make up for all,
 *
 *     dy[p*dy_at.plane + i*dy_at.row + j] * X[p][i + h][taps.column[w] + j],
 *     i < dy_at.rows, j < dy_at.columns,
 *
 * X being to x as plane_tile's B is to b; what lies outside takes no part. There are 1 to
 * CVL_PLANE_SUMS rows of as many taps.
 *
 * lane_sums: the gradient of some vectors of channels, their groups, weights, runs and places as
 * lane_tile's.
 *
 *     c[r.w + k*step + h*channel + j] +=
 *         sum over i < rows, p < pixels of
 *         dy[i*dy_row + p*dy_step + j] * x[i*x_row + r.x + (p + k)*x_step + j - j % width + h],
 *         r a run, k < r.taps, h < width, j < vectors*L.
 *
 * A place that does not exist adds dy times zero. Runs of the same taps and place are best
 * together. lane_sums is for groups of one channel, group_sums for those of up to sums_width. With
 * `ask` what as many rows after these read may be asked for, or as many pixels of a single row.
 *
 * dots: lanes are neighbouring steps of the reduction.
 *
 *     C[i][j] = init[i] + sum over k < length of a[i*a_row + k] * b[j*b_row + k],
 *               i < rows, j < columns, length >= L,
 *
 * is stored at c[i*c_row + j*c_column]; init NULL is zero. Each element is summed in the same order
 * whatever the rows and columns beside it.
 *
 * winograd[h - 1][w - 1]: the transforms of Winograd's minimal filtering for filters of h x w taps.
 * A tile is cvl_winograd_outputs of h by those of w outputs; it takes cvl_winograd_points of h by
 * those of w products, one to each point. An output takes part only of inputs that its own taps
 * meet. Lanes are channels, at least L of them; the last vector overlaps its neighbour.
 *
 * inputs:    of `tiles` tiles, the first at x and each next a tile's outputs further along the row,
 *            to to[point*to_point + tile*to_tile + i].
 * weights:   of one filter, to to[point*to_point + i].
 * outputs:   from sums of products, at from[point*from_point + tile*from_tile + i]; the first
 *            rows x columns of every tile, plus init[i], to y[r*y_row + s*y_column + i]. Returns
 *            whether all of them are finite. `stream` is product_tile's.
 * gradients: of outputs, as inputs does with inputs.
 * taps:      the gradient of one filter from sums of products of inputs and gradients, at
 *            from[point*from_point + i], to w[r*w_row + s*w_column + i]; the first rows x columns.
 *            Returns whether all of them are finite.
 *
 * Only instruction sets that fuse multiplication and addition have them: where products are rounded
 * by themselves they err too much.
 *
 * copy: dst[r*dst_row + s*dst_column] = src[r*src_row + s*src_column]. Fast where both have a unit
 * stride: as row copies where it is the same axis, as a transposition where it is not; and where
 * columns are gathered from every other element. No other element of dst is written.
 *
 * copy_between: the same, and fast where columns go to every other element. What lies between the
 * columns of a row of dst may be written back as it was: nobody else may write it meanwhile.
 *
 * copy_past: as copy. Whole cache lines of dst that are written at once go past the caches; a
 * fence must follow before others read them.
 *
 * gather_rows: dst[r*dst_row + s] = src[src_offset[r] + s], r < rows, s < columns.
 *
 * add: c[i] += x[i], i < count.
 *
 * add_parts: c[i] = sum over l < L of parts[i*L + l], i < count.
 *
 * sum: the sum of x[0..length), its rounding error growing like the logarithm of length in blocks.
 */
typedef struct cvl_kernels {
    const char *isa;
    const cvl_kernels_f32 *f32;
    const cvl_kernels_f64 *f64;
} cvl_kernels;

/* Of a filter of so many taps along one axis: the outputs of a tile, and the products they take. */
static inline ptrdiff_t cvl_winograd_outputs(ptrdiff_t taps) {
    return taps > 1 ? 2 : 1;
}

static inline ptrdiff_t cvl_winograd_points(ptrdiff_t taps) {
    return taps + cvl_winograd_outputs(taps) - 1;
}

/* The table in use. */
const cvl_kernels *cvl_kernels_in_use(void);

#endif
