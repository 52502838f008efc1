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
 * used: the loops over them vanish and the sums stay in registers. */
#include <stdint.h>

#include "kernels/kernels.h"
#include "kernels/vector.h"

#define CVL_INLINE __attribute__((always_inline))
#if defined(__clang__)
#define CVL_UNROLL _Pragma("clang loop unroll(full)")
#else
#define CVL_UNROLL _Pragma("GCC unroll 16")
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
    return (uintptr_t)p % 64 < CVL_VECTOR_BYTES;
}

static inline CVL_INLINE void put(real *p, vec v, bool past_caches) {
    if (past_caches)
        store_past_caches(p, v);
    else
        store(p, v);
}

/* ---- product tile --------------------------------------------------------------------------- */

/* Adds what the sums start from. */
static inline CVL_INLINE void product_start(const int m, const int v,
                                            vec sum[CVL_MAX_ROWS][CVL_MAX_VECTORS],
                                            const real *init, const ptrdiff_t *init_row,
                                            bool init_splat) {
    CVL_UNROLL for (int i = 0; i < m; i++) {
        const real *start = init + init_row[i];
        if (init_splat)
            CVL_UNROLL for (int j = 0; j < v; j++) sum[i][j] += splat(*start);
        else
            CVL_UNROLL for (int j = 0; j < v; j++) sum[i][j] += load(start + j * L);
    }
}

/* The steps of one term. Where they are so far apart that each reads a cache line of its own, the
 * lines beside them are the next tile's, and no prefetcher of the processor sees those coming. */
static inline CVL_INLINE void product_steps(const int m, const int v, const bool scattered,
                                            vec sum[CVL_MAX_ROWS][CVL_MAX_VECTORS],
                                            const real *const row[CVL_MAX_ROWS], ptrdiff_t a_step,
                                            const real *b, const ptrdiff_t *step,
                                            ptrdiff_t length) {
    for (ptrdiff_t k = 0; length > 0; length--, k += a_step) {
        const real *bk = b + *step++;
        vec bv[CVL_MAX_VECTORS];
        if (scattered)
            __builtin_prefetch(row[m - 1] + k + line_reals);
        CVL_UNROLL for (int j = 0; j < v; j++) bv[j] = load(bk + j * L);
        CVL_UNROLL for (int i = 0; i < m; i++) {
            const vec av = splat(row[i][k]);
            CVL_UNROLL for (int j = 0; j < v; j++) sum[i][j] += av * bv[j];
        }
    }
}

static inline CVL_INLINE void product_body(const int m, const int v, real *c,
                                           const ptrdiff_t *c_row, const real *init,
                                           const ptrdiff_t *init_row, bool init_splat,
                                           const real *a, const ptrdiff_t *a_row, ptrdiff_t a_step,
                                           const real *b, const ptrdiff_t *b_row,
                                           const cvl_term *terms, ptrdiff_t n_terms, bool stream) {
    const cvl_term *const end = terms + n_terms;
    do {
        vec sum[CVL_MAX_ROWS][CVL_MAX_VECTORS];
    CVL_UNROLL for (int i = 0; i < m; i++)
            CVL_UNROLL for (int j = 0; j < v; j++) sum[i][j] = (vec){0};

        for (bool more = terms < end; more; terms++) {
            const real *row[CVL_MAX_ROWS];
            const ptrdiff_t *step = b_row + terms->b;
            CVL_UNROLL for (int i = 0; i < m; i++) row[i] = a + (terms->a + a_row[i]);
            if (a_step > line_reals)
                product_steps(m, v, true, sum, row, a_step, b, step, terms->length);
            else
                product_steps(m, v, false, sum, row, a_step, b, step, terms->length);
            more = !terms->flush && terms + 1 < end;
        }

        /* All loads before the first store: a load waits for a store whose address looks the
         * same. */
        if (init)
            product_start(m, v, sum, init, init_row, init_splat);
        uintptr_t lines = (uintptr_t)c;
        CVL_UNROLL for (int i = 0; i < m; i++) lines |= (uintptr_t)(c + c_row[i]);
        const bool past = stream && terms == end && whole_lines(lines, v);
        CVL_UNROLL for (int i = 0; i < m; i++)
            CVL_UNROLL for (int j = 0; j < v; j++) put(c + c_row[i] + j * L, sum[i][j], past);
        init = c;
        init_row = c_row;
        init_splat = false;
    } while (terms < end);
}

#define PRODUCT_TILE(m, v)                                                                         \
    static void product_##m##x##v(                                                                 \
        real *c, const ptrdiff_t *c_row, const real *init, const ptrdiff_t *init_row,              \
        bool init_splat, const real *a, const ptrdiff_t *a_row, ptrdiff_t a_step, const real *b,   \
        const ptrdiff_t *b_row, const cvl_term *terms, ptrdiff_t n_terms, bool stream) {           \
        product_body(m, v, c, c_row, init, init_row, init_splat, a, a_row, a_step, b, b_row,       \
                     terms, n_terms, stream);                                                      \
    }
#define PRODUCT_TILES_TO_6(v)                                                                      \
    PRODUCT_TILE(1, v) PRODUCT_TILE(2, v) PRODUCT_TILE(3, v)                                       \
    PRODUCT_TILE(4, v) PRODUCT_TILE(5, v) PRODUCT_TILE(6, v)
#define PRODUCT_TILES_TO_8(v) PRODUCT_TILES_TO_6(v) PRODUCT_TILE(7, v) PRODUCT_TILE(8, v)

#define PRODUCT_ROWS_TO_6(v)                                                                       \
    product_1x##v, product_2x##v, product_3x##v, product_4x##v, product_5x##v, product_6x##v
#define PRODUCT_ROWS_TO_8(v) PRODUCT_ROWS_TO_6(v), product_7x##v, product_8x##v

PRODUCT_TILES_TO_8(1)
#if CVL_REGISTERS >= 32
PRODUCT_TILES_TO_8(2)
PRODUCT_TILES_TO_8(3)
PRODUCT_TILES_TO_6(4)
#else
PRODUCT_TILES_TO_6(2)
#endif

/* ---- tall tile ------------------------------------------------------------------------------ */

#if CVL_REGISTERS >= 32
#define TALL_ROWS 16
#else
#define TALL_ROWS 12
#endif

static inline CVL_INLINE real at_bytes(const real *p, ptrdiff_t bytes) {
    return *(const real *)((const char *)p + bytes);
}

/* A pointer to every row would not fit the registers, and then each row costs two loads a step:
 * these rows are reached from two pointers by multiples of one step, which the compiler is kept
 * from computing ahead. */
static inline CVL_INLINE void tall_body(const int m, real *c, ptrdiff_t c_row, const real *init,
                                        ptrdiff_t init_row, bool init_splat, const real *a,
                                        ptrdiff_t a_row, ptrdiff_t a_step, const real *b,
                                        const ptrdiff_t *b_row, const cvl_term *terms,
                                        ptrdiff_t n_terms, bool stream) {
    const cvl_term *const end = terms + n_terms;
    ptrdiff_t row1 = a_row * (ptrdiff_t)sizeof(real), row3 = 3 * row1, row5 = 5 * row1;
    ptrdiff_t row7 = 7 * row1;
    /* Rows of one term are met once, in a stream from memory: the next tile's are asked for
     * ahead. */
    for (int i = m; i < 2 * m && n_terms == 1 && a_step == 1; i++)
        for (ptrdiff_t k = 0; k < terms->length; k += line_reals)
            __builtin_prefetch(a + (terms->a + i * a_row + k));
    do {
        vec sum[CVL_MAX_TALL];
        CVL_UNROLL for (int i = 0; i < m; i++) sum[i] = (vec){0};
        for (bool more = terms < end; more; terms++) {
            const real *low = a + terms->a, *high = low + (m > 8 ? 8 * a_row : 0);
            const ptrdiff_t *step = b_row + terms->b;
            for (ptrdiff_t left = terms->length; left > 0; left--) {
                const vec bv = load_once(b + *step++);
                __asm__("" : "+r"(row1), "+r"(row3), "+r"(row5), "+r"(row7));
                const ptrdiff_t row[] = {0,        row1, 2 * row1, row3,
                                         4 * row1, row5, 2 * row3, row7};
                CVL_UNROLL for (int i = 0; i < m; i++)
                    sum[i] += splat(at_bytes(i < 8 ? low : high, row[i % 8])) * bv;
                low += a_step;
                high += a_step;
            }
            more = !terms->flush && terms + 1 < end;
        }
        if (init)
            CVL_UNROLL for (int i = 0; i < m; i++)
                sum[i] += init_splat ? splat(init[i * init_row]) : load(init + i * init_row);
        CVL_UNROLL for (int i = 0; i < m; i++)
            put(c + i * c_row, sum[i],
                stream && terms == end && whole_lines((uintptr_t)(c + i * c_row), 1));
        init = c;
        init_row = c_row;
        init_splat = false;
    } while (terms < end);
}

#define TALL_TILE(m)                                                                               \
    static void tall_##m(real *c, ptrdiff_t c_row, const real *init, ptrdiff_t init_row,           \
                         bool init_splat, const real *a, ptrdiff_t a_row, ptrdiff_t a_step,        \
                         const real *b, const ptrdiff_t *b_row, const cvl_term *terms,             \
                         ptrdiff_t n_terms, bool stream) {                                         \
        tall_body(m, c, c_row, init, init_row, init_splat, a, a_row, a_step, b, b_row, terms,      \
                  n_terms, stream);                                                                \
    }
TALL_TILE(1)
TALL_TILE(2)
TALL_TILE(3)
TALL_TILE(4)
TALL_TILE(5)
TALL_TILE(6)
TALL_TILE(7)
TALL_TILE(8)
TALL_TILE(9)
TALL_TILE(10)
TALL_TILE(11)
TALL_TILE(12)
#if TALL_ROWS == 16
TALL_TILE(13)
TALL_TILE(14)
TALL_TILE(15)
TALL_TILE(16)
#endif

/* ---- pixel tile ----------------------------------------------------------------------------- */

/* How many vectors a pixel tile of m rows holds at once: sums, loaded vectors and one broadcast fit
 * the registers, and there are sums enough to hide the latency of the multiply-add. */
#if CVL_REGISTERS >= 32
#define PIXEL_ROWS 8
#define PIXEL_VECTORS(m) ((m) <= 3 ? 8 : (m) == 4 ? 6 : (m) <= 6 ? 4 : 3)
#else
#define PIXEL_ROWS 6
#define PIXEL_VECTORS(m) ((m) == 1 ? 8 : (m) == 2 ? 6 : (m) == 3 ? 4 : (m) == 4 ? 3 : 2)
#endif

static inline CVL_INLINE void pixel_body(const int m, const int v, real *c,
                                                   ptrdiff_t c_row, const real *a, ptrdiff_t a_row,
                                                   const real *b, const ptrdiff_t *b_offset,
                                                   ptrdiff_t length, const real *init) {
    vec sum[CVL_MAX_ROWS][8];
    CVL_UNROLL for (int i = 0; i < m; i++)
        CVL_UNROLL for (int j = 0; j < v; j++) sum[i][j] = (vec){0};

    for (ptrdiff_t k = 0; k < length; k++) {
        const real *bk = b + b_offset[k];
        vec bv[8];
        CVL_UNROLL for (int j = 0; j < v; j++) bv[j] = load(bk + j * L);
        CVL_UNROLL for (int i = 0; i < m; i++) {
            const vec av = splat(a[i * a_row + k]);
            CVL_UNROLL for (int j = 0; j < v; j++) sum[i][j] += av * bv[j];
        }
    }

    CVL_UNROLL for (int i = 0; i < m; i++) {
        real *to = c + i * c_row;
        CVL_UNROLL for (int j = 0; j < v; j++)
            store(to + j * L, sum[i][j] + (init ? splat(init[i]) : load(to + j * L)));
    }
}

/* The last, narrower block: v vectors with v < PIXEL_VECTORS(m), chosen at run time. */
#define PIXEL_REST(m, v)                                                                           \
    case v:                                                                                        \
        if (v < PIXEL_VECTORS(m))                                                                  \
            pixel_body(m, v, c, c_row, a, a_row, b, b_offset, length, init);             \
        break;

#define PIXEL_TILE(m)                                                                              \
    static void pixel_##m(real * c, ptrdiff_t c_row, const real *a, ptrdiff_t a_row,     \
                                    const real *b, const ptrdiff_t *b_offset, ptrdiff_t length,    \
                                    ptrdiff_t vectors, const real *init) {                         \
        for (; vectors >= PIXEL_VECTORS(m); vectors -= PIXEL_VECTORS(m)) {                         \
            pixel_body(m, PIXEL_VECTORS(m), c, c_row, a, a_row, b, b_offset, length, init);        \
            c += PIXEL_VECTORS(m) * L;                                                             \
            b += PIXEL_VECTORS(m) * L;                                                             \
        }                                                                                          \
        switch (vectors) {                                                                         \
            PIXEL_REST(m, 1)                                                                       \
            PIXEL_REST(m, 2)                                                                       \
            PIXEL_REST(m, 3)                                                                       \
            PIXEL_REST(m, 4)                                                                       \
            PIXEL_REST(m, 5)                                                                       \
            PIXEL_REST(m, 6)                                                                       \
            PIXEL_REST(m, 7)                                                                       \
        default: break;                                                                            \
        }                                                                                          \
    }

PIXEL_TILE(1)
PIXEL_TILE(2)
PIXEL_TILE(3)
PIXEL_TILE(4)
PIXEL_TILE(5)
PIXEL_TILE(6)
#if PIXEL_ROWS == 8
PIXEL_TILE(7)
PIXEL_TILE(8)
#endif

/* ---- row tile ------------------------------------------------------------------------------- */

#if CVL_REGISTERS >= 32
#define ROW_VECTORS 4
#else
#define ROW_VECTORS 2
#endif

/* One row of inputs for output rows lo..hi; a points at the row of weights that output row 0 would
 * have. */
static inline CVL_INLINE void row_steps(const int lo, const int hi, const int v,
                                        vec sum[CVL_ROW_TILE][ROW_VECTORS], const real *a,
                                        ptrdiff_t a_columns, const real *b,
                                        const ptrdiff_t *b_column) {
    for (ptrdiff_t w = 0; w < a_columns; w++) {
        const real *bw = b + b_column[w];
        vec bv[ROW_VECTORS];
        CVL_UNROLL for (int j = 0; j < v; j++) bv[j] = load(bw + j * L);
        CVL_UNROLL for (int i = lo; i <= hi; i++) {
            const vec av = splat(a[w - i * a_columns]);
            CVL_UNROLL for (int j = 0; j < v; j++) sum[i][j] += av * bv[j];
        }
    }
}

static inline CVL_INLINE void row_body(const int v, real *c, ptrdiff_t c_row, const real *a,
                                       ptrdiff_t a_rows, ptrdiff_t a_columns, const real *b,
                                       ptrdiff_t b_row, const ptrdiff_t *b_column, ptrdiff_t rows,
                                       const real *init) {
    vec sum[CVL_ROW_TILE][ROW_VECTORS];
    CVL_UNROLL for (int i = 0; i < CVL_ROW_TILE; i++)
        CVL_UNROLL for (int j = 0; j < v; j++) sum[i][j] = (vec){0};

    for (ptrdiff_t r = 0; r < rows + a_rows - 1; r++, a += a_columns, b += b_row) {
        const ptrdiff_t lo = r < a_rows ? 0 : r - a_rows + 1, hi = r < rows ? r : rows - 1;
#define ROW_STEPS(lo, hi)                                                                          \
    case lo * CVL_ROW_TILE + hi: row_steps(lo, hi, v, sum, a, a_columns, b, b_column); break;
        switch (lo * CVL_ROW_TILE + hi) {
            ROW_STEPS(0, 0)
            ROW_STEPS(0, 1)
            ROW_STEPS(0, 2)
            ROW_STEPS(0, 3)
            ROW_STEPS(1, 1)
            ROW_STEPS(1, 2)
            ROW_STEPS(1, 3)
            ROW_STEPS(2, 2)
            ROW_STEPS(2, 3)
            ROW_STEPS(3, 3)
        default: break;
        }
#undef ROW_STEPS
    }

    CVL_UNROLL for (int i = 0; i < CVL_ROW_TILE; i++) {
        real *to = c + i * c_row;
        if (i < rows)
            CVL_UNROLL for (int j = 0; j < v; j++)
                store(to + j * L, sum[i][j] + (init ? splat(*init) : load(to + j * L)));
    }
}

static void row_tile(real *c, ptrdiff_t c_row, const real *a, ptrdiff_t a_rows, ptrdiff_t a_columns,
                     const real *b, ptrdiff_t b_row, const ptrdiff_t *b_column, ptrdiff_t rows,
                     ptrdiff_t vectors, const real *init) {
#define ROW_BODY(v) row_body(v, to, c_row, a, a_rows, a_columns, from, b_row, b_column, n, init)
    for (ptrdiff_t i = 0; i < rows; i += CVL_ROW_TILE) {
        const ptrdiff_t n = rows - i < CVL_ROW_TILE ? rows - i : CVL_ROW_TILE;
        real *to = c + i * c_row;
        const real *from = b + i * b_row;
        ptrdiff_t left = vectors;
        for (; left >= ROW_VECTORS;
             left -= ROW_VECTORS, to += ROW_VECTORS * L, from += ROW_VECTORS * L)
            ROW_BODY(ROW_VECTORS);
        if (left == 1)
            ROW_BODY(1);
#if ROW_VECTORS > 2
        else if (left == 2)
            ROW_BODY(2);
        else if (left == 3)
            ROW_BODY(3);
#endif
    }
#undef ROW_BODY
}

/* ---- plane tile ----------------------------------------------------------------------------- */

/* A vector of columns some of which lie outside the inputs or the outputs, or that begins before
 * the one before it ends. */
typedef struct plane_edge {
    some_lanes inside[CVL_PLANE_COLUMNS]; /* the inputs, for each tap of a row */
    some_lanes outputs;
    mask fresh;           /* outputs that no other vector has */
    ptrdiff_t whole_rows; /* of which all lanes may be written */
} plane_edge;

/* Vectors side by side that share the weights: their sums and a weight fit the registers. */
#define PLANE_VECTORS(h) ((h) == 1 ? 4 : (h) <= 6 || CVL_REGISTERS >= 32 ? 2 : 1)
enum { most_plane_vectors = 4, plane_kept = 3 };

typedef vec plane_rows[CVL_MAX_RUN][most_plane_vectors];

/* One tap of a row of inputs, which output row i meets as its row h - 1 - i of taps: av[i], or
 * where there is none, a[-i*a_row]. Starts the sums or adds to them. */
static inline CVL_INLINE void plane_tap(const int h, const int v, const bool edge,
                                        const bool start, plane_rows sum, const vec *av,
                                        const real *a, ptrdiff_t a_row, const real *b,
                                        some_lanes inside) {
    vec bv[most_plane_vectors];
    CVL_UNROLL for (int j = 0; j < v; j++) bv[j] =
        edge ? load_some(b, inside) : load_once(b + j * L);
    CVL_UNROLL for (int i = 0; i < h; i++) {
        const vec weight = av ? av[i] : splat(a[-i * a_row]);
        CVL_UNROLL for (int j = 0; j < v; j++) sum[i][j] =
            start ? weight * bv[j] : sum[i][j] + weight * bv[j];
    }
}

/* One row of three taps whose weights are in registers. One vector's sums wait for each other: its
 * products of a row are summed apart. */
static inline CVL_INLINE void plane_three(const int h, const int v, const bool edge, plane_rows sum,
                                          vec av[plane_kept][plane_kept], const real *b,
                                          const ptrdiff_t *column, const some_lanes *inside) {
    plane_rows row;
    for (int k = 0; k < plane_kept; k++)
        plane_tap(h, v, edge, v == 1 && k == 0, v == 1 ? row : sum, av[k], NULL, 0, b + column[k],
                  inside[k]);
    CVL_UNROLL for (int i = 0; i < h && v == 1; i++) sum[i][0] += row[i][0];
}

/* Stores a row's results. `whole` says that all lanes may be written: those that are not outputs
 * are the next rows', which are stored later. */
static inline CVL_INLINE void plane_store(const int v, const bool edge, real *c, const vec *sum,
                                          const real *init, const plane_edge *at, bool whole) {
    CVL_UNROLL for (int j = 0; j < v; j++, c += L) {
        if (!edge)
            store(c, sum[j] + (init ? splat(*init) : load(c)));
        else if (whole)
            store(c, init ? sum[j] + splat(*init) : keep(sum[j], at->fresh) + load(c));
        else
            store_some(c, sum[j] + (init ? splat(*init) : load_some(c, at->outputs)), at->outputs);
    }
}

/* v vectors of all rows of a plane, for h rows of taps, of three whose weights are kept in
 * registers or of any number. Every row of inputs is read once, for the h output rows that it
 * reaches; the first of these is then done. */
static inline CVL_INLINE void plane_strip(const int h, const bool kept, const int v,
                                          const bool edge, real *c, const cvl_plane *to,
                                          const real *init, const real *a,
                                          const cvl_plane_taps *taps, const real *b,
                                          const cvl_plane *from, const cvl_places *b_rows,
                                          const plane_edge *at) {
    plane_rows sum;
    vec av[plane_kept][plane_kept];
    ptrdiff_t column[plane_kept];
    some_lanes inside[plane_kept];
    const real *const last = a + (h - 1) * taps->row;
    const ptrdiff_t columns = taps->columns, a_row = taps->row, a_step = taps->step;
    CVL_UNROLL for (int k = 0; k < plane_kept && kept; k++) {
        column[k] = taps->column[k];
        inside[k] = at->inside[k];
        CVL_UNROLL for (int i = 0; i < h; i++) av[k][i] = splat(last[k * a_step - i * a_row]);
    }
    CVL_UNROLL for (int i = 0; i < h; i++)
        CVL_UNROLL for (int j = 0; j < v; j++) sum[i][j] = (vec){0};
    ptrdiff_t place = b_rows->first;
    for (ptrdiff_t r = 1 - h; r < to->rows; r++, b += from->row, place += b_rows->step) {
        CVL_UNROLL for (int j = 0; j < v * (int)L; j += line_reals)
            __builtin_prefetch(b + from->ahead + j, 0, 2);
        if ((size_t)place < (size_t)b_rows->count) {
            if (kept)
                plane_three(h, v, edge, sum, av, b, column, inside);
            else
                for (ptrdiff_t k = 0; k < columns; k++)
                    plane_tap(h, v, edge, false, sum, NULL, last + k * a_step, a_row,
                              b + taps->column[k], at->inside[k]);
        }
        if (r >= 0)
            plane_store(v, edge, c + r * to->row, sum[0], init, at, r < at->whole_rows);
        CVL_UNROLL for (int j = 0; j < v; j++) {
            CVL_UNROLL for (int i = 0; i < h - 1; i++) sum[i][j] = sum[i + 1][j];
            sum[h - 1][j] = (vec){0};
        }
    }
}

/* Where a vector from j on begins so that it ends with the columns, if these fill one. */
static inline ptrdiff_t vector_within(ptrdiff_t j, ptrdiff_t columns) {
    return j + L > columns && columns >= L ? columns - L : j;
}

/* What one vector from column j on meets, of which columns before `done` are another's. */
static plane_edge find_edge(const cvl_plane_taps *taps, const cvl_plane *from, const cvl_plane *to,
                            ptrdiff_t j, ptrdiff_t done) {
    const ptrdiff_t left = to->columns - j;
    plane_edge edge = {.outputs = lanes_between(0, left), .whole_rows = to->rows};
    if (left < L) { /* the lanes beyond are of rows that follow one another, or of nobody's */
        const ptrdiff_t beyond = (L - left + left - 1) / left;
        edge.whole_rows = to->row == left && to->rows > beyond ? to->rows - beyond : 0;
    }
    for (ptrdiff_t k = 0; k < taps->columns; k++) {
        const ptrdiff_t first = j + taps->column[k];
        edge.inside[k] = lanes_between(-first, from->columns - first);
    }
    edge.fresh = first_lanes(left < L ? left : L) & ~first_lanes(done - j);
    return edge;
}

/* All columns, v vectors at a time where all that taps read there is inside; a strip of all planes
 * before the next. */
static inline CVL_INLINE void plane_body(const int h, const bool kept, const int v, real *c,
                                         const cvl_plane *to, const real *init,
                                         ptrdiff_t init_plane, const real *a,
                                         const cvl_plane_taps *taps, const real *b,
                                         const cvl_plane *from, const cvl_places *b_rows,
                                         ptrdiff_t planes) {
    ptrdiff_t least = 0, most = 0; /* of the columns that taps read, for the first output */
    for (ptrdiff_t k = 0; k < taps->columns; k++) {
        least = k == 0 || taps->column[k] < least ? taps->column[k] : least;
        most = k == 0 || taps->column[k] > most ? taps->column[k] : most;
    }
    for (ptrdiff_t j = 0, next; j < to->columns; j = next) {
        const bool inside =
            to->columns - j >= v * L && j + least >= 0 && j + v * L <= from->columns - most;
        next = j + (inside ? v * L : L);
        const ptrdiff_t at = inside ? j : vector_within(j, to->columns);
        plane_edge edge;
        if (!inside)
            edge = find_edge(taps, from, to, at, j);
        for (ptrdiff_t p = 0; p < planes; p++) {
            real *const cp = c + p * to->plane + at;
            const real *const ap = a + p * taps->plane, *const bp = b + p * from->plane + at;
            const real *const start = init ? init + p * init_plane : NULL;
            if (inside)
                plane_strip(h, kept, v, false, cp, to, start, ap, taps, bp, from, b_rows, &edge);
            else
                plane_strip(h, kept, 1, true, cp, to, start, ap, taps, bp, from, b_rows, &edge);
        }
    }
}

static void plane_tile(real *c, const cvl_plane *to, const real *init, ptrdiff_t init_plane,
                       const real *a, const cvl_plane_taps *taps, const real *b,
                       const cvl_plane *from, const cvl_places *b_rows, ptrdiff_t planes) {
#define PLANE_BODY(h, kept)                                                                        \
    plane_body(h, kept, PLANE_VECTORS(h), c, to, init, init_plane, a, taps, b, from, b_rows, planes)
#define PLANE_CASE(h)                                                                              \
    case h: PLANE_BODY(h, false); break;
    if (taps->rows == 3 && taps->columns == 3) {
        PLANE_BODY(3, true);
        return;
    }
    switch (taps->rows) {
        PLANE_CASE(1)
        PLANE_CASE(2)
        PLANE_CASE(3)
        PLANE_CASE(4)
        PLANE_CASE(5)
        PLANE_CASE(6)
        PLANE_CASE(7)
    default: break;
    }
#undef PLANE_CASE
#undef PLANE_BODY
}

/* ---- sums over planes ----------------------------------------------------------------------- */

/* The sums of one vector of columns, and what it reads: rows of dy, of which h meet a row of x, the
 * last of them first, at n taps. */
typedef struct plane_reader {
    vec sum[CVL_PLANE_SUMS][CVL_PLANE_SUMS], dy[CVL_PLANE_SUMS];
    some_lanes fresh, inside[CVL_PLANE_SUMS]; /* lanes of dy, and of x at each tap, that count */
    ptrdiff_t column[CVL_PLANE_SUMS];
} plane_reader;

/* Of dy NULL there is none. */
static inline CVL_INLINE void plane_next_row(const int h, const bool edge, plane_reader *at,
                                             const real *dy) {
    CVL_UNROLL for (int i = h - 1; i > 0; i--) at->dy[i] = at->dy[i - 1];
    at->dy[0] = !dy ? (vec){0} : edge ? load_some(dy, at->fresh) : load_once(dy);
}

/* The products with row r of x: with all h rows of dy, or those of them that are before `rows`. */
static inline CVL_INLINE void plane_products(const int h, const int n, const bool edge,
                                             const bool all, plane_reader *at, const real *x,
                                             ptrdiff_t r, ptrdiff_t rows) {
    CVL_UNROLL for (int k = 0; k < n; k++) {
        const real *const xk = x + at->column[k];
        const vec xv = edge ? load_some(xk, at->inside[k]) : load_once(xk);
        CVL_UNROLL for (int i = 0; i < h; i++)
            if (all || (r >= i && r - i < rows))
                at->sum[i][k] += at->dy[i] * xv;
    }
}

/* One vector of columns of all rows of dy. Every row of x and of dy is loaded once. */
static inline CVL_INLINE void plane_sums_strip(const int h, const int n, const bool edge,
                                               real *sums, const cvl_plane_taps *taps,
                                               const real *dy, const cvl_plane *dy_at,
                                               const real *x, const cvl_plane *x_at,
                                               const cvl_places *x_rows,
                                               const plane_reader *lanes) {
    plane_reader at = *lanes;
    const ptrdiff_t rows = dy_at->rows, dy_row = dy_at->row, x_row = x_at->row;
    const ptrdiff_t dy_ahead = dy_at->ahead, x_ahead = x_at->ahead;
    ptrdiff_t first = 0, end = rows + h - 1; /* rows of x that there are */
    while (first < end && x_rows->first + first * x_rows->step < 0)
        first++;
    while (end > first && x_rows->first + (end - 1) * x_rows->step >= x_rows->count)
        end--;
    CVL_UNROLL for (int i = 0; i < h; i++) {
        at.dy[i] = (vec){0};
        CVL_UNROLL for (int k = 0; k < n; k++) at.sum[i][k] = (vec){0};
    }
    ptrdiff_t r = first < h ? 0 : first - h + 1;
    for (; r < first; r++)
        plane_next_row(h, edge, &at, r < rows ? dy + r * dy_row : NULL);
    for (; r < end && r < h - 1; r++) {
        __builtin_prefetch(x + r * x_row + x_ahead, 0, 2);
        __builtin_prefetch(dy + r * dy_row + dy_ahead, 0, 2);
        plane_next_row(h, edge, &at, r < rows ? dy + r * dy_row : NULL);
        plane_products(h, n, edge, false, &at, x + r * x_row, r, rows);
    }
    const real *xr = x + r * x_row, *dr = dy + r * dy_row;
    for (; r < end && r < rows; r++, xr += x_row, dr += dy_row) {
        __builtin_prefetch(xr + x_ahead, 0, 2);
        __builtin_prefetch(dr + dy_ahead, 0, 2);
        plane_next_row(h, edge, &at, dr);
        plane_products(h, n, edge, true, &at, xr, r, rows);
    }
    for (; r < end; r++, xr += x_row) {
        plane_next_row(h, edge, &at, NULL);
        plane_products(h, n, edge, false, &at, xr, r, rows);
    }
    CVL_UNROLL for (int i = 0; i < h; i++)
        CVL_UNROLL for (int k = 0; k < n; k++) {
            real *const to = sums + i * taps->row + k * taps->step;
            store(to, load(to) + at.sum[i][k]);
        }
}

static inline CVL_INLINE void plane_sums_body(const int h, const int n, real *sums,
                                              const cvl_plane_taps *taps, const real *dy,
                                              const cvl_plane *dy_at, const real *x,
                                              const cvl_plane *x_at, const cvl_places *x_rows,
                                              ptrdiff_t planes) {
    for (ptrdiff_t j = 0; j < dy_at->columns; j += L) {
        const ptrdiff_t at = vector_within(j, dy_at->columns), left = dy_at->columns - at;
        plane_reader reader = {.fresh = lanes_between(j - at, left)};
        bool edge = at < j || left < L;
        for (int k = 0; k < n; k++) {
            const ptrdiff_t first = at + taps->column[k], end = x_at->columns - first;
            reader.column[k] = taps->column[k];
            reader.inside[k] =
                lanes_between(j - at > -first ? j - at : -first, end < left ? end : left);
            edge = edge || first < 0 || end < L;
        }
        for (ptrdiff_t p = 0; p < planes; p++) {
            real *const to = sums + p * taps->plane;
            const real *const dp = dy + p * dy_at->plane + at, *const xp = x + p * x_at->plane + at;
            if (edge)
                plane_sums_strip(h, n, true, to, taps, dp, dy_at, xp, x_at, x_rows, &reader);
            else
                plane_sums_strip(h, n, false, to, taps, dp, dy_at, xp, x_at, x_rows, &reader);
        }
    }
}

static void plane_sums(real *sums, const cvl_plane_taps *taps, const real *dy,
                       const cvl_plane *dy_at, const real *x, const cvl_plane *x_at,
                       const cvl_places *x_rows, ptrdiff_t planes) {
#define SUMS_CASE(h, n)                                                                            \
    case h * (CVL_PLANE_SUMS + 1) + n:                                                             \
        plane_sums_body(h, n, sums, taps, dy, dy_at, x, x_at, x_rows, planes);                     \
        break;
    switch (taps->rows * (CVL_PLANE_SUMS + 1) + taps->columns) {
        SUMS_CASE(1, 1)
        SUMS_CASE(1, 2)
        SUMS_CASE(1, 3)
        SUMS_CASE(2, 1)
        SUMS_CASE(2, 2)
        SUMS_CASE(2, 3)
        SUMS_CASE(3, 1)
        SUMS_CASE(3, 2)
        SUMS_CASE(3, 3)
    default: break;
    }
#undef SUMS_CASE
}

/* The start of the next vector of a line of `length` >= L: the last one may overlap its neighbour,
 * and writes again what stands there. */
static inline ptrdiff_t next_vector(ptrdiff_t i, ptrdiff_t length) {
    return i + L < length && i + 2 * L > length ? length - L : i + L;
}

/* ---- lane tile ------------------------------------------------------------------------------ */

/* In groups of several channels: how many at most, and taps that are in registers at once. Where a
 * vector is a group, products do the same; in tiles of one vector they load an element for every
 * sum, which takes as long as the sums where registers are few and vectors short. */
enum {
    MOST_SUMMED = CVL_VECTOR_BYTES / CVL_REAL_BYTES / 2,
    MOST_GROUP = CVL_REGISTERS < 32 ? 2 * MOST_SUMMED : MOST_SUMMED,
    GROUP_RUN = 3
};

/* A vector of x, or those of its lanes that an index picks for all. */
static inline CVL_INLINE vec lane_inputs(const real *x, const mask *index) {
#ifdef CVL_PICKS_LANES
    if (index)
        return pick_lanes(load(x), *index);
#endif
    (void)index;
    return load_once(x);
}

/* A run of n taps for m pixels: every place is loaded once, for all pixels that it feeds. Places
 * are checked unless all of them are known to be `inside`. */
static inline CVL_INLINE void lane_run(const int m, const int n, const bool inside, vec *sum,
                                       const real *x, ptrdiff_t x_step, const mask *index,
                                       const real *w, ptrdiff_t w_step, ptrdiff_t place,
                                       const cvl_places *places) {
    vec wv[CVL_MAX_RUN];
    CVL_UNROLL for (int k = 0; k < n; k++, w += w_step) wv[k] = load(w);
    CVL_UNROLL for (int i = 0; i < m + n - 1; i++, x += x_step, place += places->step) {
        if (inside || (size_t)place < (size_t)places->count) {
            const vec xv = lane_inputs(x, index);
            CVL_UNROLL for (int k = 0; k < n; k++)
                if (i >= k && i - k < m)
                    sum[i - k] += xv * wv[k];
        }
    }
}

/* A run of any length. */
static inline CVL_INLINE void lane_taps(const int m, const bool inside, vec *sum, const real *x,
                                        ptrdiff_t x_step, const real *w,
                                        const cvl_lane_weights *weights, ptrdiff_t taps,
                                        ptrdiff_t place, const cvl_places *places) {
#define LANE_RUN(n)                                                                                \
    case n: lane_run(m, n, inside, sum, x, x_step, NULL, w, weights->step, place, places); break;
    switch (taps) {
        LANE_RUN(1)
        LANE_RUN(2)
        LANE_RUN(3)
        LANE_RUN(4)
        LANE_RUN(5)
        LANE_RUN(6)
        LANE_RUN(7)
    default: break;
    }
#undef LANE_RUN
}

#ifdef CVL_PICKS_LANES
/* The same for groups of several channels: one input of every group after another, picked for all
 * lanes of its group. */
static inline CVL_INLINE void group_run(const int m, const int n, const bool inside, vec *sum,
                                        const real *x, ptrdiff_t x_step, const real *w,
                                        const cvl_lane_weights *weights, ptrdiff_t place,
                                        const cvl_places *places) {
    mask index = first_of_group(weights->width);
    for (ptrdiff_t h = 0; h < weights->width; h++, index += 1, w += weights->channel)
        lane_run(m, n, inside, sum, x, x_step, &index, w, weights->step, place, places);
}

/* A run of any length, a few taps at a time. */
static inline CVL_INLINE void group_taps(const int m, const bool inside, vec *sum, const real *x,
                                         ptrdiff_t x_step, const real *w,
                                         const cvl_lane_weights *weights, ptrdiff_t taps,
                                         ptrdiff_t place, const cvl_places *places) {
    for (; taps >= GROUP_RUN; taps -= GROUP_RUN) {
        group_run(m, GROUP_RUN, inside, sum, x, x_step, w, weights, place, places);
        x += GROUP_RUN * x_step;
        w += GROUP_RUN * weights->step;
        place += GROUP_RUN * places->step;
    }
    if (taps == 2)
        group_run(m, 2, inside, sum, x, x_step, w, weights, place, places);
    else if (taps == 1)
        group_run(m, 1, inside, sum, x, x_step, w, weights, place, places);
}
#else
#define group_taps lane_taps /* never called: there is no such group */
#endif

static inline CVL_INLINE void
lane_body(const int m, const bool inside, const bool grouped, real *c, ptrdiff_t c_step,
          const real *init, const real *x, ptrdiff_t x_step, const real *w,
          const cvl_lane_weights *weights, const cvl_lane_run *runs, const cvl_lane_run *end,
          const cvl_places *places, ptrdiff_t first, bool stream) {
    ptrdiff_t init_step = 0;
    do {
        vec sum[CVL_MAX_ROWS];
        CVL_UNROLL for (int i = 0; i < m; i++) sum[i] = (vec){0};
        for (bool more = runs < end; more; runs++) {
            const real *xr = x + runs->x, *wr = w + runs->w;
            const ptrdiff_t place = first + runs->place;
            if (grouped)
                group_taps(m, inside, sum, xr, x_step, wr, weights, runs->taps, place, places);
            else
                lane_taps(m, inside, sum, xr, x_step, wr, weights, runs->taps, place, places);
            more = !runs->flush && runs + 1 < end;
        }
        const bool past = stream && runs == end &&
                          whole_lines((uintptr_t)c | (uintptr_t)(m > 1 ? c + c_step : c), 1);
        real *to = c;
        CVL_UNROLL for (int i = 0; i < m; i++, to += c_step, init += init_step)
            put(to, sum[i] + load(init), past);
        init = c;
        init_step = c_step;
    } while (runs < end);
}

#define LANE_PIXELS(one) one(1) one(2) one(3) one(4) one(5) one(6) one(7) one(8)
enum {
    lane_pixels = 8, /* their sums, the weights of a run and a place fit 16 registers */
    lane_strip = 8 * CVL_VECTOR_BYTES / CVL_REAL_BYTES,
};

/* m pixels of some rows, all channels: a strip of them for all rows, whose inputs overlap, before
 * the next. */
#define LANE_TILE(m)                                                                               \
    static void lane_##m(real *c, ptrdiff_t c_row, ptrdiff_t c_step, const real *init,             \
                         const real *x, ptrdiff_t x_row, ptrdiff_t x_step, const real *w,          \
                         const cvl_lane_weights *weights, const cvl_lane_run *runs,                \
                         const cvl_lane_run *end,                                                  \
                         const cvl_places *places, ptrdiff_t first, bool inside, ptrdiff_t rows,   \
                         ptrdiff_t begin, ptrdiff_t until, ptrdiff_t channels, bool stream) {      \
        const bool grouped = weights->width > 1;                                                   \
        for (ptrdiff_t r = 0; r < rows; r++, c += c_row, x += x_row)                               \
            for (ptrdiff_t j = begin; j < until; j = next_vector(j, channels))                     \
                if (grouped && inside)                                                             \
                    lane_body(m, true, true, LANE_ARGUMENTS);                                      \
                else if (grouped)                                                                  \
                    lane_body(m, false, true, LANE_ARGUMENTS);                                     \
                else if (inside)                                                                   \
                    lane_body(m, true, false, LANE_ARGUMENTS);                                     \
                else                                                                               \
                    lane_body(m, false, false, LANE_ARGUMENTS);                                    \
    }
#define LANE_ARGUMENTS                                                                             \
    c + j, c_step, init + j, x + j, x_step, w + j, weights, runs, end, places, first, stream
LANE_PIXELS(LANE_TILE)
#undef LANE_TILE
#undef LANE_ARGUMENTS

/* ---- lane tile: rows that share inputs ------------------------------------------------------- */

/* Filters of 3x3, with a stride of one or two in both directions: a strip of pixels is walked down
 * row by row, and what stands in a row of inputs is loaded once, for all rows of outputs that it
 * feeds. For loads are what bounds a lane tile: a vector that crosses cache lines is two. */
enum {
    descent_taps = 3,
    most_fed = 3, /* rows of outputs that a row of inputs feeds */
};

/* Pixels whose sums, of all these rows, fit the registers; the weights, too, where there are 32. */
#if CVL_REGISTERS >= 32
#define DESCENT_PIXELS(stride) ((stride) == 1 ? 7 : 8)
#else
#define DESCENT_PIXELS(stride) ((stride) == 1 ? 4 : 6)
#endif

/* How many taps of three there are from `first` on, a stride apart. */
#define DESCENT_TAPS(stride, first) ((descent_taps - 1 - (first)) / (stride) + 1)

typedef vec descent_sums[most_fed][CVL_MAX_ROWS];
typedef vec descent_weights[descent_taps][descent_taps];

/* What all strips share. Run h*stride + c has the taps c, c + stride, ... of their row h. */
typedef struct lane_descent {
    ptrdiff_t stride, rows, c_row, c_step;
    ptrdiff_t x_line, x_step, ahead; /* to the next row of inputs, pixel, strip below */
    const cvl_lane_run *runs;
    const cvl_lane_weights *weights;
    const cvl_places *places;
    bool stream;
} lane_descent;

/* A pointer that the compiler takes for another: it loads again what it would keep in registers,
 * where these are few. */
static inline const real *anew(const real *p) {
    __asm__ volatile("" : "+r"(p));
    return p;
}

/* Adds a row of inputs to sum[j], of the row of outputs that began j before the last, for j in
 * [from, to): these meet it with row q + j*stride of their taps. */
static inline CVL_INLINE void descent_line(const int m, const int stride, const bool inside,
                                           const int q, const int from, const int to,
                                           descent_sums sum, descent_weights wv,
                                           const lane_descent *d, const real *x, const real *w,
                                           ptrdiff_t first) {
    CVL_UNROLL for (int c = 0; c < stride; c++) {
        const cvl_lane_run *const run = d->runs + c;
        const int n = DESCENT_TAPS(stride, c);
        const real *xr = x + run->x;
        ptrdiff_t place = first + run->place;
#if CVL_REGISTERS >= 32
        (void)w;
        CVL_UNROLL for (int i = 0; i < m + n - 1; i++) {
            if (i < m)
                __builtin_prefetch(xr + d->ahead, 0, 2);
            if (inside || (size_t)place < (size_t)d->places->count) {
                const vec xv = load_once(xr);
                CVL_UNROLL for (int j = from; j < to; j++)
                    CVL_UNROLL for (int k = 0; k < n; k++)
                        if (i >= k && i - k < m)
                            sum[j][i - k] += xv * wv[q + j * stride][c + k * stride];
            }
            xr += d->x_step;
            place += d->places->step;
        }
#else
        (void)wv;
        if (first_in_line(xr))
            CVL_UNROLL for (int i = 0; i < m; i++)
                __builtin_prefetch(xr + i * d->x_step + d->ahead, 0, 2);
        CVL_UNROLL for (int j = from; j < to; j++)
            lane_run(m, n, inside, sum[j], anew(xr), d->x_step, NULL,
                     w + run[(q + j * stride) * stride].w, d->weights->step, place, d->places);
#endif
    }
}

/* Begins a row of outputs: adds the rows of inputs down to where the next will begin to the rows
 * [from, to) of outputs, counted backwards. Returns where it will. */
static inline CVL_INLINE const real *descent_row(const int m, const int stride, const bool inside,
                                                 const int from, const int to, descent_sums sum,
                                                 descent_weights wv, const lane_descent *d,
                                                 const real *x, const real *w, ptrdiff_t first) {
    CVL_UNROLL for (int i = 0; i < m; i++) {
        CVL_UNROLL for (int j = most_fed - 1; j > 0; j--) sum[j][i] = sum[j - 1][i];
        sum[0][i] = (vec){0};
    }
    CVL_UNROLL for (int q = 0; q < stride; q++, x += d->x_line) {
        const int reach = DESCENT_TAPS(stride, q);
        if (from < reach)
            descent_line(m, stride, inside, q, from, to < reach ? to : reach, sum, wv, d, x, w,
                         first);
    }
    return x;
}

/* All rows of a strip of m pixels, one vector of channels. */
static inline CVL_INLINE void descent_body(const int m, const int stride, const bool inside,
                                           const lane_descent *shared, real *c, const real *init,
                                           const real *x, const real *w, ptrdiff_t first) {
    const int last = DESCENT_TAPS(stride, 0) - 1; /* of the rows of outputs that are fed */
    const lane_descent copy = *shared, *const d = &copy; /* which no store to c can change */
    const bool past = d->stream && whole_lines((uintptr_t)c | (uintptr_t)(c + d->c_step) |
                                                   (uintptr_t)(c + d->c_row), 1);
    descent_sums sum = {{{0}}};
    descent_weights wv;
#if CVL_REGISTERS >= 32
    CVL_UNROLL for (int h = 0; h < descent_taps; h++)
        CVL_UNROLL for (int k = 0; k < descent_taps; k++)
            wv[h][k] = load_once(w + d->runs[h * stride + k % stride].w +
                                 k / stride * d->weights->step);
#endif
#define DESCENT_ROW(from, to) x = descent_row(m, stride, inside, from, to, sum, wv, d, x, w, first)
#define DESCENT_STORE()                                                                            \
    do {                                                                                           \
        real *to = c;                                                                              \
        CVL_UNROLL for (int i = 0; i < m; i++, to += d->c_step)                                    \
            put(to, sum[last][i] + load(init), past);                                              \
        c += d->c_row;                                                                             \
    } while (0)
    CVL_UNROLL for (int to = 1; to <= last; to++) DESCENT_ROW(0, to);
    for (ptrdiff_t r = last; r < d->rows; r++) {
        DESCENT_ROW(0, last + 1);
        DESCENT_STORE();
    }
    CVL_UNROLL for (int from = 1; from <= last; from++) {
        DESCENT_ROW(from, last + 1);
        DESCENT_STORE();
    }
#undef DESCENT_ROW
#undef DESCENT_STORE
}

/* A strip of m pixels, all channels. */
#define DESCENT_TILE(m)                                                                            \
    static void descent_##m(const lane_descent *d, real *c, const real *init, const real *x,       \
                            const real *w, ptrdiff_t first, bool inside, ptrdiff_t channels) {     \
        for (ptrdiff_t j = 0; j < channels; j = next_vector(j, channels))                          \
            if (d->stride == 1 && m <= DESCENT_PIXELS(1) && inside)                                \
                descent_body(m, 1, true, DESCENT_ARGUMENTS);                                       \
            else if (d->stride == 1 && m <= DESCENT_PIXELS(1))                                     \
                descent_body(m, 1, false, DESCENT_ARGUMENTS);                                      \
            else if (d->stride == 2 && m <= DESCENT_PIXELS(2) && inside)                           \
                descent_body(m, 2, true, DESCENT_ARGUMENTS);                                       \
            else if (d->stride == 2 && m <= DESCENT_PIXELS(2))                                     \
                descent_body(m, 2, false, DESCENT_ARGUMENTS);                                      \
    }
#define DESCENT_ARGUMENTS d, c + j, init + j, x + j, w + j, first
LANE_PIXELS(DESCENT_TILE)
#undef DESCENT_TILE
#undef DESCENT_ARGUMENTS

/* The stride, if these runs are a filter of 3x3 whose next row of outputs reads as many rows of
 * inputs further down as there are runs to a row of taps; else 0. */
static int descent_stride(const cvl_lane_run *runs, ptrdiff_t n_runs, ptrdiff_t width,
                          ptrdiff_t x_row, ptrdiff_t rows) {
    const int stride = n_runs == 3 ? 1 : n_runs == 6 ? 2 : 0;
    if (stride == 0 || width > 1 || rows < 2)
        return 0;
    const ptrdiff_t line = runs[stride].x - runs->x;
    for (int r = 0; r < n_runs; r++) {
        const cvl_lane_run *const above = runs + r % stride;
        if (runs[r].taps != DESCENT_TAPS(stride, r % stride) || runs[r].place != above->place ||
            runs[r].x != above->x + r / stride * line || (runs[r].flush && r + 1 < n_runs))
            return 0;
    }
    return stride * line == x_row ? stride : 0;
}

static void lane_tile(real *c, ptrdiff_t c_row, ptrdiff_t c_step, const real *init, const real *x,
                      ptrdiff_t x_row, ptrdiff_t x_step, const real *w,
                      const cvl_lane_weights *weights, const cvl_lane_run *runs, ptrdiff_t n_runs,
                      const cvl_places *places, ptrdiff_t rows, ptrdiff_t pixels,
                      ptrdiff_t channels, bool stream) {
    const int stride = descent_stride(runs, n_runs, weights->width, x_row, rows);
    const lane_descent descent = {
        stride,        rows, c_row,   c_step, stride ? x_row / stride : 0, x_step,
        rows * x_row, runs, weights, places, stream};
    const ptrdiff_t most = stride ? DESCENT_PIXELS(stride) : lane_pixels, step = places->step;
    ptrdiff_t least = 0, reach = 0; /* of the places of all runs, for the first pixel */
    for (ptrdiff_t r = 0; r < n_runs; r++) {
        const ptrdiff_t last = runs[r].place + (runs[r].taps - 1) * step;
        least = r == 0 || runs[r].place < least ? runs[r].place : least;
        reach = r == 0 || last > reach ? last : reach;
    }
    for (ptrdiff_t done = 0, left = (pixels + most - 1) / most, m; left > 0; left--, done += m) {
        m = (pixels - done) / left;
        const ptrdiff_t first = places->first + done * step;
        const bool inside = first + least >= 0 && first + reach + (m - 1) * step < places->count;
        real *const cp = c + done * c_step;
        const real *const xp = x + done * x_step;
        for (ptrdiff_t j = 0, next; j < channels; j = next) {
            next = stride || channels - j < lane_strip + L ? channels : j + lane_strip;
#define LANE_CASE(m)                                                                               \
    case m:                                                                                        \
        if (stride)                                                                                \
            descent_##m(&descent, cp, init, xp, w, first, inside, channels);                       \
        else                                                                                       \
            lane_##m(cp, c_row, c_step, init, xp, x_row, x_step, w, weights, runs, runs + n_runs,  \
                     places, first, inside, rows, j, next, channels, stream);                      \
        break;
            switch (m) {
                LANE_PIXELS(LANE_CASE)
            default: break;
            }
#undef LANE_CASE
        }
    }
}

/* ---- sums over positions -------------------------------------------------------------------- */

/* Taps summed at once: their sums, a vector of dy and the mask fit 16 registers. */
#define TAP_SUMS 12
#define TAP_SUMS_CASES(one)                                                                        \
    one(1) one(2) one(3) one(4) one(5) one(6) one(7) one(8) one(9) one(10) one(11) one(12)

static inline CVL_INLINE void tap_sums_body(const int v, real *c, const real *dy,
                                                      ptrdiff_t dy_row, const real *x,
                                                      ptrdiff_t x_row, const ptrdiff_t *x_offset,
                                                      ptrdiff_t rows, ptrdiff_t columns) {
    vec sum[TAP_SUMS];
    CVL_UNROLL for (int k = 0; k < v; k++) sum[k] = (vec){0};
    const ptrdiff_t whole = columns / L * L, rest = columns - whole;
    const mask kept = first_lanes(rest);
    for (ptrdiff_t r = 0; r < rows; r++, dy += dy_row, x += x_row) {
        for (ptrdiff_t j = 0; j < whole; j += L) {
            const vec d = load(dy + j);
            CVL_UNROLL for (int k = 0; k < v; k++) sum[k] += d * load(x + x_offset[k] + j);
        }
        if (rest) {
            const vec d = keep(load(dy + whole), kept);
            CVL_UNROLL for (int k = 0; k < v; k++)
                sum[k] += d * keep(load(x + x_offset[k] + whole), kept);
        }
    }
    CVL_UNROLL for (int k = 0; k < v; k++) c[k] += sum_lanes(sum[k]);
}

static void tap_sums(real *c, const real *dy, ptrdiff_t dy_row, const real *x, ptrdiff_t x_row,
                     const ptrdiff_t *x_offset, ptrdiff_t taps, ptrdiff_t rows,
                     ptrdiff_t columns) {
#define TAP_SUMS_CASE(v)                                                                           \
    case v: tap_sums_body(v, c, dy, dy_row, x, x_row, x_offset, rows, columns); break;
    const ptrdiff_t strips = (taps + TAP_SUMS - 1) / TAP_SUMS;
    for (ptrdiff_t strip = 0; strip < strips; strip++) {
        const ptrdiff_t first = taps * strip / strips, v = taps * (strip + 1) / strips - first;
        switch (v) {
            TAP_SUMS_CASES(TAP_SUMS_CASE)
        }
        c += v;
        x_offset += v;
    }
#undef TAP_SUMS_CASE
}

/* Runs of n taps summed at once: their sums and as many places fit the registers. */
#if CVL_REGISTERS >= 32
#define LANE_RUNS(n) ((n) == 1 ? 8 : (n) == 2 ? 6 : (n) == 3 ? 4 : (n) == 4 ? 3 : 2)
#else
#define LANE_RUNS(n) ((n) == 1 ? 7 : (n) == 2 ? 3 : (n) == 3 ? 2 : 1)
#endif

/* t runs of n taps. The n places that a pixel meets stay in registers, and one of them is new to
 * it. With `ask`, what the next rows read is asked for: dy, and the inputs of run r where bit r of
 * `asks` is set. */
static inline CVL_INLINE void lane_sums_body(const int t, const int n, const bool ask, real *c, ptrdiff_t c_step,
                                             const real *dy, ptrdiff_t dy_row, ptrdiff_t dy_step,
                                             const real *x, ptrdiff_t x_row, ptrdiff_t x_step,
                                             const cvl_lane_run *runs, const cvl_places *places,
                                             ptrdiff_t rows, ptrdiff_t pixels, unsigned asks) {
    vec sum[8][CVL_MAX_RUN], at[8][CVL_MAX_RUN];
    CVL_UNROLL for (int r = 0; r < t; r++)
        CVL_UNROLL for (int k = 0; k < n; k++) sum[r][k] = at[r][k] = (vec){0};
    for (ptrdiff_t i = 0; i < rows; i++) {
        const real *d = dy + i * dy_row, *xs = x + i * x_row;
        ptrdiff_t place = places->first + runs->place, p = 0;
#define LANE_PLACE(k)                                                                              \
    do {                                                                                           \
        if ((size_t)place < (size_t)places->count)                                                 \
            CVL_UNROLL for (int r = 0; r < t; r++) {                                               \
                at[r][k] = load_once(xs + runs[r].x);                                              \
                if (ask && asks >> r & 1)                                                                 \
                    __builtin_prefetch(xs + runs[r].x + rows * x_row, 0, 2);                       \
            }                                                                                      \
        else                                                                                       \
            CVL_UNROLL for (int r = 0; r < t; r++) at[r][k] = (vec){0};                            \
        place += places->step;                                                                     \
        xs += x_step;                                                                              \
    } while (0)
        CVL_UNROLL for (int k = 0; k < n - 1; k++) LANE_PLACE(k);
        for (; p + n <= pixels; p += n)
            CVL_UNROLL for (int q = 0; q < n; q++, d += dy_step) {
                const vec dv = load_once(d);
                if (ask)
                    __builtin_prefetch(d + rows * dy_row, 0, 2);
                LANE_PLACE((q + n - 1) % n);
                CVL_UNROLL for (int r = 0; r < t; r++)
                    CVL_UNROLL for (int k = 0; k < n; k++) sum[r][k] += dv * at[r][(q + k) % n];
            }
        CVL_UNROLL for (int q = 0; q < n - 1; q++, p++, d += dy_step)
            if (p < pixels) {
                const vec dv = load_once(d);
                LANE_PLACE((q + n - 1) % n);
                CVL_UNROLL for (int r = 0; r < t; r++)
                    CVL_UNROLL for (int k = 0; k < n; k++) sum[r][k] += dv * at[r][(q + k) % n];
            }
#undef LANE_PLACE
    }
    CVL_UNROLL for (int r = 0; r < t; r++) {
        real *to = c + runs[r].w;
        CVL_UNROLL for (int k = 0; k < n; k++)
            store(to + k * c_step, load(to + k * c_step) + sum[r][k]);
    }
}

#ifdef CVL_PICKS_LANES
/* Place q of a row of `pixels`, which taps [begin, end) of n meet as those of pixels q - k. */
static inline CVL_INLINE void group_place(const int n, const int width, ptrdiff_t begin,
                                          ptrdiff_t end, vec sum[GROUP_RUN][MOST_SUMMED],
                                          const real *d, ptrdiff_t dy_step, const real *x,
                                          mask first) {
    vec dv[GROUP_RUN];
    CVL_UNROLL for (int k = 0; k < n; k++) dv[k] =
        k >= begin && k < end ? load(d - k * dy_step) : (vec){0};
    const vec xv = load_once(x);
    CVL_UNROLL for (int h = 0; h < width; h++) {
        const vec xh = pick_lanes(xv, first + (real_bits)h);
        CVL_UNROLL for (int k = 0; k < n; k++)
            if (k >= begin && k < end)
                sum[k][h] += dv[k] * xh;
    }
}

/* n taps of a run, for groups of `width` channels. */
static inline CVL_INLINE void group_sums_body(const int n, const int width, real *c,
                                              const cvl_lane_weights *weights, const real *dy,
                                              ptrdiff_t dy_row, ptrdiff_t dy_step, const real *x,
                                              ptrdiff_t x_row, ptrdiff_t x_step, ptrdiff_t place,
                                              const cvl_places *places, ptrdiff_t rows,
                                              ptrdiff_t pixels) {
    const mask first = first_of_group(width);
    vec sum[GROUP_RUN][MOST_SUMMED];
    CVL_UNROLL for (int k = 0; k < n; k++)
        CVL_UNROLL for (int h = 0; h < width; h++) sum[k][h] = (vec){0};
    for (ptrdiff_t i = 0; i < rows; i++, dy += dy_row, x += x_row)
        for (ptrdiff_t q = 0; q < pixels + n - 1; q++) {
            if ((size_t)(place + q * places->step) >= (size_t)places->count)
                continue;
            const real *const d = dy + q * dy_step, *const xq = x + q * x_step;
            if (q >= n - 1 && q < pixels)
                group_place(n, width, 0, n, sum, d, dy_step, xq, first);
            else
                group_place(n, width, q < pixels ? 0 : q - pixels + 1, q + 1, sum, d, dy_step, xq,
                            first);
        }
    CVL_UNROLL for (int k = 0; k < n; k++)
        CVL_UNROLL for (int h = 0; h < width; h++) {
            real *const to = c + k * weights->step + h * weights->channel;
            store(to, load(to) + sum[k][h]);
        }
}

static void group_run_sums(real *c, const cvl_lane_weights *weights, const real *dy,
                           ptrdiff_t dy_row, ptrdiff_t dy_step, const real *x, ptrdiff_t x_row,
                           ptrdiff_t x_step, const cvl_lane_run *run, const cvl_places *places,
                           ptrdiff_t rows, ptrdiff_t pixels) {
    for (ptrdiff_t k = 0, n; k < run->taps; k += n) {
        real *const to = c + run->w + k * weights->step;
        const real *const from = x + run->x + k * x_step;
        const ptrdiff_t place = places->first + run->place + k * places->step;
        n = run->taps - k < GROUP_RUN ? run->taps - k : GROUP_RUN;
#define GROUP_SUMS(n, width)                                                                       \
    group_sums_body(n, width, to, weights, dy, dy_row, dy_step, from, x_row, x_step, place,        \
                    places, rows, pixels)
#define GROUP_SUMS_CASE(width)                                                                     \
    case width:                                                                                    \
        if (n == 3)                                                                                \
            GROUP_SUMS(3, width);                                                                  \
        else if (n == 2)                                                                           \
            GROUP_SUMS(2, width);                                                                  \
        else                                                                                       \
            GROUP_SUMS(1, width);                                                                  \
        break;
        switch (weights->width) {
            GROUP_SUMS_CASE(2)
            GROUP_SUMS_CASE(4)
#if LANES_ARE(16)
            GROUP_SUMS_CASE(8)
#endif
        default: break;
        }
#undef GROUP_SUMS_CASE
#undef GROUP_SUMS
    }
}

static void group_sums(real *c, const cvl_lane_weights *weights, const real *dy, ptrdiff_t dy_row,
                       ptrdiff_t dy_step, const real *x, ptrdiff_t x_row, ptrdiff_t x_step,
                       const cvl_lane_run *runs, ptrdiff_t n_runs, const cvl_places *places,
                       ptrdiff_t rows, ptrdiff_t pixels, bool ask) {
    (void)ask; /* these are bound by their sums */
    for (ptrdiff_t r = 0; r < n_runs && pixels > 0; r++)
        group_run_sums(c, weights, dy, dy_row, dy_step, x, x_row, x_step, runs + r, places, rows,
                       pixels);
}
#endif

/* Which of t runs, of some that are alike, read what none of them reads for the row before: bits. */
static unsigned fresh_runs(const cvl_lane_run *runs, ptrdiff_t t, ptrdiff_t alike,
                           ptrdiff_t x_row) {
    unsigned fresh = 0;
    for (ptrdiff_t r = 0; r < t; r++) {
        bool read = false;
        for (ptrdiff_t later = r + 1; later < alike && !read; later++)
            read = runs[later].x == runs[r].x + x_row;
        fresh |= (unsigned)!read << r;
    }
    return fresh;
}

static void lane_sums(real *c, const cvl_lane_weights *weights, const real *dy, ptrdiff_t dy_row,
                      ptrdiff_t dy_step, const real *x, ptrdiff_t x_row, ptrdiff_t x_step,
                      const cvl_lane_run *runs, ptrdiff_t n_runs, const cvl_places *places,
                      ptrdiff_t rows, ptrdiff_t pixels, bool ask) {
    enum { few_taps = 3 }; /* of more, it is the sums that take the time */
    static const int most[] = {0,           LANE_RUNS(1), LANE_RUNS(2), LANE_RUNS(3),
                               LANE_RUNS(4), LANE_RUNS(5), LANE_RUNS(6), LANE_RUNS(7)};
    while (n_runs > 0 && pixels > 0) {
        const ptrdiff_t taps = runs->taps;
        ptrdiff_t alike = 1;
        while (alike < n_runs && runs[alike].taps == taps && runs[alike].place == runs->place)
            alike++;
        const ptrdiff_t groups = (alike + most[taps] - 1) / most[taps];
        const ptrdiff_t t = (alike + groups - 1) / groups;
        const unsigned asks = ask && first_in_line(x) ? fresh_runs(runs, t, alike, x_row) : 0;
#define LANE_SUMS_ARGUMENTS                                                                        \
    c, weights->step, dy, dy_row, dy_step, x, x_row, x_step, runs, places, rows, pixels, asks
#define LANE_SUMS_CASE(t, n)                                                                       \
    case 8 * n + t - 1:                                                                            \
        if (t <= LANE_RUNS(n) && n <= few_taps && asks)                                            \
            lane_sums_body(t, n, true, LANE_SUMS_ARGUMENTS);                                       \
        else if (t <= LANE_RUNS(n))                                                                \
            lane_sums_body(t, n, false, LANE_SUMS_ARGUMENTS);                                      \
        break;
#define LANE_SUMS_CASES(n)                                                                         \
    LANE_SUMS_CASE(1, n)                                                                           \
    LANE_SUMS_CASE(2, n)                                                                           \
    LANE_SUMS_CASE(3, n)                                                                           \
    LANE_SUMS_CASE(4, n)                                                                           \
    LANE_SUMS_CASE(5, n)                                                                           \
    LANE_SUMS_CASE(6, n)                                                                           \
    LANE_SUMS_CASE(7, n)                                                                           \
    LANE_SUMS_CASE(8, n)
        switch (8 * taps + t - 1) {
            LANE_SUMS_CASES(1)
            LANE_SUMS_CASES(2)
            LANE_SUMS_CASES(3)
            LANE_SUMS_CASES(4)
            LANE_SUMS_CASES(5)
            LANE_SUMS_CASES(6)
            LANE_SUMS_CASES(7)
        default: break;
        }
#undef LANE_SUMS_CASES
#undef LANE_SUMS_CASE
#undef LANE_SUMS_ARGUMENTS
        runs += t;
        n_runs -= t;
    }
}

static real sum_run(const real *x, ptrdiff_t length) {
    enum { vectors = 4 };
    vec sum[vectors] = {{0}};
    ptrdiff_t i = 0;
    for (; i + vectors * L <= length; i += vectors * L)
        CVL_UNROLL for (int j = 0; j < vectors; j++) sum[j] += load(x + i + j * L);
    for (; i + L <= length; i += L)
        sum[0] += load(x + i);
    if (i < length)
        sum[1] += load_first(x + i, length - i);
    return sum_lanes((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

/* ---- copy ----------------------------------------------------------------------------------- */

/* Transposes L x L in registers: for each power of two s < L, rows i and i + s exchange the halves
 * of every block of 2s columns (Eklundh 1972). */
#if CVL_VECTOR_BYTES / CVL_REAL_BYTES == 2
#define EXCHANGES 1
#define EVENS(a, b) __builtin_shufflevector(a, b, 0, 2)
#define EVENS_ODDS(a, b) __builtin_shufflevector(a, b, 0, 3)
#define AT_EVENS(a, kept) __builtin_shufflevector(a, kept, 0, 3)
#define AT_ODDS(a, kept) __builtin_shufflevector(a, kept, 2, 1)
#define EXCHANGE(s, a, b, lo, hi)                                                                  \
    lo = __builtin_shufflevector(a, b, 0, 2), hi = __builtin_shufflevector(a, b, 1, 3)
#elif CVL_VECTOR_BYTES / CVL_REAL_BYTES == 4
#define EXCHANGES 2
#define EVENS(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6)
#define EVENS_ODDS(a, b) __builtin_shufflevector(a, b, 0, 2, 5, 7)
#define AT_EVENS(a, kept) __builtin_shufflevector(a, kept, 0, 5, 1, 7)
#define AT_ODDS(a, kept) __builtin_shufflevector(a, kept, 4, 2, 6, 3)
#define EXCHANGE(s, a, b, lo, hi)                                                                  \
    if (s == 2)                                                                                    \
        lo = __builtin_shufflevector(a, b, 0, 1, 4, 5),                                            \
        hi = __builtin_shufflevector(a, b, 2, 3, 6, 7);                                            \
    else                                                                                           \
        lo = __builtin_shufflevector(a, b, 0, 4, 2, 6),                                            \
        hi = __builtin_shufflevector(a, b, 1, 5, 3, 7)
#elif CVL_VECTOR_BYTES / CVL_REAL_BYTES == 8
#define EXCHANGES 3
#define EVENS(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14)
#define EVENS_ODDS(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6, 9, 11, 13, 15)
#define AT_EVENS(a, kept) __builtin_shufflevector(a, kept, 0, 9, 1, 11, 2, 13, 3, 15)
#define AT_ODDS(a, kept) __builtin_shufflevector(a, kept, 8, 4, 10, 5, 12, 6, 14, 7)
#define EXCHANGE(s, a, b, lo, hi)                                                                  \
    if (s == 4)                                                                                    \
        lo = __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11),                              \
        hi = __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15);                            \
    else if (s == 2)                                                                               \
        lo = __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13),                              \
        hi = __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15);                            \
    else                                                                                           \
        lo = __builtin_shufflevector(a, b, 0, 8, 2, 10, 4, 12, 6, 14),                             \
        hi = __builtin_shufflevector(a, b, 1, 9, 3, 11, 5, 13, 7, 15)
#else
#define EXCHANGES 4
#define EVENS(a, b)                                                                                \
    __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)
#define EVENS_ODDS(a, b)                                                                           \
    __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 17, 19, 21, 23, 25, 27, 29, 31)
#define AT_EVENS(a, kept)                                                                          \
    __builtin_shufflevector(a, kept, 0, 17, 1, 19, 2, 21, 3, 23, 4, 25, 5, 27, 6, 29, 7, 31)
#define AT_ODDS(a, kept)                                                                           \
    __builtin_shufflevector(a, kept, 16, 8, 18, 9, 20, 10, 22, 11, 24, 12, 26, 13, 28, 14, 30, 15)
#define EXCHANGE(s, a, b, lo, hi)                                                                  \
    if (s == 8)                                                                                    \
        lo = __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22,     \
                                     23),                                                          \
        hi = __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29,   \
                                     30, 31);                                                      \
    else if (s == 4)                                                                               \
        lo = __builtin_shufflevector(a, b, 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26,   \
                                     27),                                                          \
        hi = __builtin_shufflevector(a, b, 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, \
                                     31);                                                          \
    else if (s == 2)                                                                               \
        lo = __builtin_shufflevector(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28,   \
                                     29),                                                          \
        hi = __builtin_shufflevector(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, \
                                     31);                                                          \
    else                                                                                           \
        lo = __builtin_shufflevector(a, b, 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14,  \
                                     30),                                                          \
        hi = __builtin_shufflevector(a, b, 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15,  \
                                     31)
#endif

static inline CVL_INLINE void exchange_all(vec r[]) {
    CVL_UNROLL for (int level = EXCHANGES - 1; level >= 0; level--) {
        const int s = 1 << level;
        CVL_UNROLL for (int i = 0; i < L; i++) {
            if (i & s)
                continue;
            const vec a = r[i], b = r[i + s];
            EXCHANGE(s, a, b, r[i], r[i + s]);
        }
    }
}

/* The sums of the lanes of L vectors, one in each lane: the rows of the transposed block, added as
 * soon as they are exchanged. */
static inline CVL_INLINE vec sums_of_lanes(vec r[]) {
    CVL_UNROLL for (int level = EXCHANGES - 1; level >= 0; level--) {
        const int s = 1 << level;
        CVL_UNROLL for (int i = 0; i < s; i++) {
            vec low, high;
            EXCHANGE(s, r[i], r[i + s], low, high);
            r[i] = low + high;
        }
    }
    return r[0];
}

/* Whether rows of dst are whole cache lines, or long: a line of which a part goes past the caches
 * is read again for the rest. */
static inline bool worth_streaming(const real *dst, ptrdiff_t dst_row, ptrdiff_t columns) {
    enum { line = 64, many_lines = 8 };
    return columns >= many_lines * line_reals ||
           ((uintptr_t)dst | (uintptr_t)(dst + dst_row) | (uintptr_t)(dst + columns)) % line == 0;
}

static void add_parts(real *c, const real *parts, ptrdiff_t count) {
    for (; count >= L; count -= L, c += L, parts += L * L) {
        vec r[L];
        CVL_UNROLL for (int i = 0; i < L; i++) r[i] = load(parts + i * L);
        store(c, sums_of_lanes(r));
    }
    for (; count > 0; count--, parts += L)
        *c++ = sum_lanes(load(parts));
}

static inline CVL_INLINE void transpose_block(real *dst, ptrdiff_t dst_row, const real *src,
                                              ptrdiff_t src_row, const bool stream) {
    const bool past = stream && whole_lines((uintptr_t)dst | (uintptr_t)(dst + dst_row), 1);
    vec r[L];
    CVL_UNROLL for (int i = 0; i < L; i++) r[i] = load(src + i * src_row);
    exchange_all(r);
    CVL_UNROLL for (int i = 0; i < L; i++) put(dst + i * dst_row, r[i], past);
}

/* dst[s*dst_row + r] = src[r*src_row + s], r < rows, s < columns, one at a time. */
static inline void transpose_scalar(real *dst, ptrdiff_t dst_row, const real *src,
                                    ptrdiff_t src_row, ptrdiff_t rows, ptrdiff_t columns) {
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t s = 0; s < columns; s++)
            dst[s * dst_row + r] = src[r * src_row + s];
}

/* L rows of fewer than L columns. Rows are loaded whole where the next row lies that far away:
 * `last` says that there is none. */
static inline void transpose_narrow(real *dst, ptrdiff_t dst_row, const real *src,
                                    ptrdiff_t src_row, ptrdiff_t columns, bool last) {
    vec r[L];
    CVL_UNROLL for (int i = 0; i < L - 1; i++) r[i] = load(src + i * src_row);
    r[L - 1] = last ? load_first(src + (L - 1) * src_row, columns) : load(src + (L - 1) * src_row);
    exchange_all(r);
    for (ptrdiff_t s = 0; s < columns; s++)
        store(dst + s * dst_row, r[s]);
}

/* n < L elements as two moves that may overlap, each a power of two wide. */
static inline void copy_short(real *dst, const real *src, ptrdiff_t n) {
#define COPY_TWICE(width)                                                                          \
    if (n >= width) {                                                                              \
        real first[width], last[width];                                                            \
        __builtin_memcpy(first, src, sizeof first);                                                \
        __builtin_memcpy(last, src + n - width, sizeof last);                                      \
        __builtin_memcpy(dst, first, sizeof first);                                                \
        __builtin_memcpy(dst + n - width, last, sizeof last);                                      \
        return;                                                                                    \
    }
    COPY_TWICE(8)
    COPY_TWICE(4)
    COPY_TWICE(2)
#undef COPY_TWICE
    if (n == 1)
        *dst = *src;
}

#if !LANES_ARE(2)
#define MOST_PARTS (LANES_ARE(4) ? 2 : 4)
#if LANES_ARE(4)
#define HALF 0, 1
#define WHOLE 0, 1, 2, 3
#elif LANES_ARE(8)
#define HALF 0, 1, 2, 3
#define WHOLE 0, 1, 2, 3, 4, 5, 6, 7
#else
#define HALF 0, 1, 2, 3, 4, 5, 6, 7
#define WHOLE 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
#endif

/* A vector of two or four equal parts, `apart` elements from one to the next. */
static inline CVL_INLINE vec join(const int parts, const real *p, ptrdiff_t apart) {
    typedef real half __attribute__((vector_size(CVL_VECTOR_BYTES / 2), aligned(sizeof(real)),
                                     may_alias));
    if (parts == 2)
        return __builtin_shufflevector(*(const half *)p, *(const half *)(p + apart), WHOLE);
#if !LANES_ARE(4)
    typedef real quarter __attribute__((vector_size(CVL_VECTOR_BYTES / 4), aligned(sizeof(real)),
                                        may_alias));
    const quarter *const a = (const quarter *)p, *const b = (const quarter *)(p + apart);
    const quarter *const c = (const quarter *)(p + 2 * apart);
    const quarter *const d = (const quarter *)(p + 3 * apart);
    return __builtin_shufflevector(__builtin_shufflevector(*a, *b, HALF),
                                   __builtin_shufflevector(*c, *d, HALF), WHOLE);
#else
    return (vec){0};
#endif
}

/* Transposes within the parts of L/parts vectors. */
static inline CVL_INLINE void exchange_parts(const int parts, vec r[]) {
    CVL_UNROLL for (int level = EXCHANGES - 1; level >= 0; level--) {
        const int s = 1 << level;
        CVL_UNROLL for (int i = 0; i < L / parts; i++) {
            if (i & s || s >= L / parts)
                continue;
            const vec a = r[i], b = r[i + s];
            EXCHANGE(s, a, b, r[i], r[i + s]);
        }
    }
}

/* Rows of at most L/parts columns, as many of them as `readable` says can be read as if they had
 * just so many. */
static inline CVL_INLINE void transpose_few_columns(const int parts, real *dst, ptrdiff_t dst_row,
                                                    const real *src, ptrdiff_t src_row,
                                                    ptrdiff_t readable, ptrdiff_t columns) {
    for (ptrdiff_t r = 0; r < readable; r = next_vector(r, readable)) {
        const ptrdiff_t part = L / parts;
        vec v[L];
        CVL_UNROLL for (int i = 0; i < L / parts; i++) v[i] =
            join(parts, src + (r + i) * src_row, part * src_row);
        exchange_parts(parts, v);
        CVL_UNROLL for (int s = 0; s < L / parts; s++) if (s < columns)
            store(dst + s * dst_row + r, v[s]);
    }
}

/* At most L/parts rows, and less than L. */
static inline CVL_INLINE void transpose_few_rows(const int parts, real *dst, ptrdiff_t dst_row,
                                                 const real *src, ptrdiff_t src_row,
                                                 ptrdiff_t rows, ptrdiff_t columns) {
    for (ptrdiff_t s = 0; s < columns; s = next_vector(s, columns)) {
        const ptrdiff_t part = L / parts;
        real room[L * L];
        vec v[L];
        CVL_UNROLL for (int i = 0; i < L / parts; i++) v[i] =
            i < rows ? load(src + i * src_row + s) : (vec){0};
        exchange_parts(parts, v);
        CVL_UNROLL for (int i = 0; i < L / parts; i++) store(room + i * L, v[i]);
        for (ptrdiff_t k = 0; k < L; k++) {
            const real *const from = room + k % part * L + k / part * part;
            real *const to = dst + (s + k) * dst_row;
            if (rows == part)
                __builtin_memcpy(to, from, CVL_VECTOR_BYTES / parts);
            else
                copy_short(to, from, rows);
        }
    }
}

/* Into how many parts of a vector few elements fit, each into one. */
static inline int parts_of(ptrdiff_t few) {
    return MOST_PARTS == 4 && few <= L / 4 ? 4 : few <= L / 2 ? 2 : 1;
}

/* The same for so few rows or columns that they fit parts of vectors; returns whether they do. */
static bool transpose_parts(real *dst, ptrdiff_t dst_row, const real *src, ptrdiff_t src_row,
                            ptrdiff_t rows, ptrdiff_t columns) {
    const int column_parts = parts_of(columns), row_parts = parts_of(rows);
    if (columns > 1 && column_parts > 1 && src_row > 0) {
        const ptrdiff_t beyond = L / column_parts - columns;
        const ptrdiff_t readable = rows - (beyond + src_row - 1) / src_row;
        if (readable >= L) {
            if (column_parts == 2)
                transpose_few_columns(2, dst, dst_row, src, src_row, readable, columns);
            else
                transpose_few_columns(4, dst, dst_row, src, src_row, readable, columns);
            transpose_scalar(dst + readable, dst_row, src + readable * src_row, src_row,
                             rows - readable, columns);
            return true;
        }
    }
    if (rows <= 1 || rows >= L || columns < L)
        return false;
    if (row_parts == 1)
        transpose_few_rows(1, dst, dst_row, src, src_row, rows, columns);
    else if (row_parts == 2)
        transpose_few_rows(2, dst, dst_row, src, src_row, rows, columns);
    else
        transpose_few_rows(4, dst, dst_row, src, src_row, rows, columns);
    return true;
}
#else
static bool transpose_parts(real *dst, ptrdiff_t dst_row, const real *src, ptrdiff_t src_row,
                            ptrdiff_t rows, ptrdiff_t columns) {
    (void)dst, (void)dst_row, (void)src, (void)src_row, (void)rows, (void)columns;
    return false;
}
#endif

/* The same, block by block. A last column or two are not worth a block; nor are rows so close
 * together that a whole vector of the last but one would reach beyond the last. */
static inline CVL_INLINE void transpose(real *dst, ptrdiff_t dst_row, const real *src,
                                        ptrdiff_t src_row, ptrdiff_t rows, ptrdiff_t columns,
                                        const bool stream) {
    if (transpose_parts(dst, dst_row, src, src_row, rows, columns))
        return;
    const ptrdiff_t rest = columns % L;
    const bool narrow = rest > 2 && columns < L && src_row >= L - columns;
    if (rows < L || (columns < L && !narrow)) {
        transpose_scalar(dst, dst_row, src, src_row, rows, columns);
        return;
    }
    const ptrdiff_t blocks = narrow ? 0 : rest <= 2 ? columns - rest : columns;
    const bool whole = stream && worth_streaming(dst, dst_row, rows);
    for (ptrdiff_t r = 0; r < rows; r = next_vector(r, rows)) {
        const bool past = whole && (r + 2 * L <= rows || r + L == rows);
        for (ptrdiff_t s = 0; s < blocks; s = next_vector(s, blocks))
            transpose_block(dst + s * dst_row + r, dst_row, src + r * src_row + s, src_row, past);
        if (narrow)
            transpose_narrow(dst + r, dst_row, src + r * src_row, src_row, columns, r + L >= rows);
        else
            transpose_scalar(dst + blocks * dst_row + r, dst_row, src + r * src_row + blocks,
                             src_row, L, columns - blocks);
    }
}

/* dst[s*dst_row + r] = src[r*src_row + 2*s], r < rows, s < columns, at least L of both; no element
 * past the last is touched. */
static void transpose_evens(real *dst, ptrdiff_t dst_row, const real *src, ptrdiff_t src_row,
                            ptrdiff_t rows, ptrdiff_t columns) {
    for (ptrdiff_t r = 0; r < rows; r = next_vector(r, rows))
        for (ptrdiff_t s = 0; s < columns; s = next_vector(s, columns)) {
            const real *from = src + r * src_row + 2 * s;
            real *const to = dst + s * dst_row + r;
            vec v[L];
            CVL_UNROLL for (int i = 0; i < L; i++, from += src_row) v[i] =
                EVENS_ODDS(load(from), load(from + L - 1));
            exchange_all(v);
            CVL_UNROLL for (int i = 0; i < L; i++) store(to + i * dst_row, v[i]);
        }
}

/* dst[r*dst_row + s] = src[r*src_row + 2*s], r < rows, s < columns >= L; no element past the last
 * is touched. */
static void copy_evens(real *dst, ptrdiff_t dst_row, const real *src, ptrdiff_t src_row,
                       ptrdiff_t rows, ptrdiff_t columns) {
    for (ptrdiff_t r = 0; r < rows; r++, dst += dst_row, src += src_row)
        for (ptrdiff_t s = 0; s < columns; s = next_vector(s, columns)) {
            const real *from = src + 2 * s;
            store(dst + s, EVENS_ODDS(load(from), load(from + L - 1)));
        }
}

/* dst[r*dst_row + s] = src[r*src_row + 4*s], r < rows, s < columns > L; no element past the last
 * is touched. */
static void copy_fourths(real *dst, ptrdiff_t dst_row, const real *src, ptrdiff_t src_row,
                         ptrdiff_t rows, ptrdiff_t columns) {
    const ptrdiff_t last = columns - 1;
    for (ptrdiff_t r = 0; r < rows; r++, dst += dst_row, src += src_row) {
        for (ptrdiff_t s = 0; s < last; s = next_vector(s, last)) {
            const real *from = src + 4 * s;
            const vec low = EVENS(load(from), load(from + L));
            const vec high = EVENS(load(from + 2 * L), load(from + 3 * L));
            store(dst + s, EVENS(low, high));
        }
        dst[last] = src[4 * last];
    }
}

/* dst[r*dst_row + 2*s] = src[r*src_row + s], r < rows, s < columns >= L; what lies between is
 * written back as it was, and no element past the last is touched. Vectors of dst overlap: each is
 * loaded before the one before it is stored, for a load from what two stores have written waits for
 * both. */
static void copy_to_evens(real *dst, ptrdiff_t dst_row, const real *src, ptrdiff_t src_row,
                          ptrdiff_t rows, ptrdiff_t columns) {
    for (ptrdiff_t r = 0; r < rows; r++, dst += dst_row, src += src_row) {
        vec low = load(dst), high = load(dst + L - 1);
        for (ptrdiff_t s = 0, next; s < columns; s = next) {
            const vec v = load(src + s), evens = AT_EVENS(v, low), odds = AT_ODDS(v, high);
            next = next_vector(s, columns);
            if (next < columns) {
                low = load_once(dst + 2 * next);
                high = load_once(dst + 2 * next + L - 1);
            }
            store(dst + 2 * s, evens);
            store(dst + 2 * s + L - 1, odds);
        }
    }
}

/* One row of at least a vector. */
static inline void copy_row(real *dst, const real *src, ptrdiff_t columns) {
    ptrdiff_t s = 0;
    for (; s + 4 * L <= columns; s += 4 * L) {
        const vec a = load(src + s), b = load(src + s + L);
        const vec c = load(src + s + 2 * L), d = load(src + s + 3 * L);
        store(dst + s, a), store(dst + s + L, b);
        store(dst + s + 2 * L, c), store(dst + s + 3 * L, d);
    }
    for (; s + L <= columns; s += L)
        store(dst + s, load(src + s));
    if (s < columns)
        store(dst + columns - L, load(src + columns - L));
}

static inline void copy_part(real *dst, const real *src, ptrdiff_t columns) {
    if (columns >= L)
        copy_row(dst, src, columns);
    else
        copy_short(dst, src, columns);
}

/* One row, its whole cache lines past the caches. */
static inline void stream_row(real *dst, const real *src, ptrdiff_t columns) {
    const ptrdiff_t behind = (ptrdiff_t)((uintptr_t)dst / sizeof(real)) % line_reals;
    const ptrdiff_t head = behind ? line_reals - behind : 0;
    if ((uintptr_t)dst % sizeof(real) || columns < head + line_reals) {
        copy_part(dst, src, columns);
        return;
    }
    copy_part(dst, src, head);
    ptrdiff_t s = head;
    for (; s + line_reals <= columns; s += line_reals)
        CVL_UNROLL for (int i = 0; i < line_reals; i += L)
            store_past_caches(dst + s + i, load(src + s + i));
    copy_part(dst + s, src + s, columns - s);
}

static void copy_rows(real *dst, ptrdiff_t dst_row, const real *src, ptrdiff_t src_row,
                      ptrdiff_t rows, ptrdiff_t columns, bool stream) {
    if (stream && worth_streaming(dst, dst_row, columns))
        for (ptrdiff_t r = 0; r < rows; r++)
            stream_row(dst + r * dst_row, src + r * src_row, columns);
    else if (columns == L)
        for (ptrdiff_t r = 0; r < rows; r++)
            store(dst + r * dst_row, load(src + r * src_row));
    else if (columns > L)
        for (ptrdiff_t r = 0; r < rows; r++)
            copy_row(dst + r * dst_row, src + r * src_row, columns);
    else
        for (ptrdiff_t r = 0; r < rows; r++)
            copy_short(dst + r * dst_row, src + r * src_row, columns);
}

static void gather_rows(real *dst, ptrdiff_t dst_row, const real *src, const ptrdiff_t *src_offset,
                        ptrdiff_t rows, ptrdiff_t columns) {
    for (ptrdiff_t r = 0; r < rows; r++)
        copy_part(dst + r * dst_row, src + src_offset[r], columns);
}

/* Any steps, four elements at a time: one at a time takes up to twice as long, depending on where
 * the loop falls in the code. */
static void copy_strip(real *dst, ptrdiff_t dst_row, ptrdiff_t dst_column, const real *src,
                       ptrdiff_t src_row, ptrdiff_t src_column, ptrdiff_t rows, ptrdiff_t columns) {
    for (ptrdiff_t r = 0; r < rows; r++, dst += dst_row, src += src_row) {
        real *to = dst;
        const real *from = src;
        ptrdiff_t left = columns;
        for (; left >= 4; left -= 4, to += 4 * dst_column, from += 4 * src_column) {
            const real a = from[0], b = from[src_column];
            const real c = from[2 * src_column], d = from[3 * src_column];
            to[0] = a, to[dst_column] = b;
            to[2 * dst_column] = c, to[3 * dst_column] = d;
        }
        for (; left > 0; left--, to += dst_column, from += src_column)
            *to = *from;
    }
}

/* Where rows of the source are nearer than columns, a few columns at a time: their cache lines are
 * still there for the next rows. */
static void copy_scalar(real *dst, ptrdiff_t dst_row, ptrdiff_t dst_column, const real *src,
                        ptrdiff_t src_row, ptrdiff_t src_column, ptrdiff_t rows,
                        ptrdiff_t columns) {
    const ptrdiff_t few = 16, row = src_row < 0 ? -src_row : src_row;
    const ptrdiff_t column = src_column < 0 ? -src_column : src_column;
    const ptrdiff_t most = row < column ? few : columns;
    for (ptrdiff_t c = 0; c < columns; c += most)
        copy_strip(dst + c * dst_column, dst_row, dst_column, src + c * src_column, src_row,
                   src_column, rows, columns - c < most ? columns - c : most);
}

static inline CVL_INLINE void copy_any(real *dst, ptrdiff_t dst_row, ptrdiff_t dst_column,
                                       const real *src, ptrdiff_t src_row, ptrdiff_t src_column,
                                       ptrdiff_t rows, ptrdiff_t columns, const bool stream) {
    if (dst_column == 1 && src_column == 1)
        copy_rows(dst, dst_row, src, src_row, rows, columns, stream);
    else if (dst_row == 1 && src_row == 1)
        copy_rows(dst, dst_column, src, src_column, columns, rows, stream);
    else if (dst_column == 1 && src_column == 2 && columns >= L)
        copy_evens(dst, dst_row, src, src_row, rows, columns);
    else if (dst_column == 1 && src_column == 4 && columns > L)
        copy_fourths(dst, dst_row, src, src_row, rows, columns);
    else if (dst_row == 1 && src_column == 1)
        transpose(dst, dst_column, src, src_row, rows, columns, stream);
    else if (dst_column == 1 && src_row == 1)
        transpose(dst, dst_row, src, src_column, columns, rows, stream);
    else if (dst_column == 1 && src_row == 2 && rows >= L && columns >= L)
        transpose_evens(dst, dst_row, src, src_column, columns, rows);
    else
        copy_scalar(dst, dst_row, dst_column, src, src_row, src_column, rows, columns);
}

static void copy(real *dst, ptrdiff_t dst_row, ptrdiff_t dst_column, const real *src,
                 ptrdiff_t src_row, ptrdiff_t src_column, ptrdiff_t rows, ptrdiff_t columns) {
    copy_any(dst, dst_row, dst_column, src, src_row, src_column, rows, columns, false);
}

static void copy_past(real *dst, ptrdiff_t dst_row, ptrdiff_t dst_column, const real *src,
                      ptrdiff_t src_row, ptrdiff_t src_column, ptrdiff_t rows, ptrdiff_t columns) {
    copy_any(dst, dst_row, dst_column, src, src_row, src_column, rows, columns, true);
}

static void copy_between(real *dst, ptrdiff_t dst_row, ptrdiff_t dst_column, const real *src,
                         ptrdiff_t src_row, ptrdiff_t src_column, ptrdiff_t rows,
                         ptrdiff_t columns) {
    if (dst_column == 2 && src_column == 1 && columns >= L)
        copy_to_evens(dst, dst_row, src, src_row, rows, columns);
    else
        copy(dst, dst_row, dst_column, src, src_row, src_column, rows, columns);
}

/* ---- dots ----------------------------------------------------------------------------------- */

enum {
    dot_rows = 4,
    dot_sums = CVL_REGISTERS / 2, /* of a tile, in registers */
};

/* One step of m x n sums: L of the reduction, or the last few, the others having been summed. */
static inline CVL_INLINE void dot_step(const int m, const int n, vec *sum, const real *a,
                                       ptrdiff_t a_row, const real *b, ptrdiff_t b_row,
                                       const mask *kept) {
    vec av[dot_rows];
    CVL_UNROLL for (int i = 0; i < m; i++) {
        av[i] = load_once(a + i * a_row);
        if (kept)
            av[i] = keep(av[i], *kept);
    }
    CVL_UNROLL for (int j = 0; j < n; j++) {
        vec bv = load_once(b + j * b_row);
        if (kept)
            bv = keep(bv, *kept);
        CVL_UNROLL for (int i = 0; i < m; i++) sum[i * n + j] += av[i] * bv;
    }
}

static inline CVL_INLINE void dot_tile(const int m, const int n, real *c, ptrdiff_t c_row,
                                       ptrdiff_t c_column, const real *init, const real *a,
                                       ptrdiff_t a_row, const real *b, ptrdiff_t b_row,
                                       ptrdiff_t length) {
    enum { rounds = (dot_sums * CVL_REAL_BYTES - 1) / CVL_VECTOR_BYTES + 1 };
    vec total[rounds] = {{0}};
    for (ptrdiff_t k = 0, end; k < length; k = end) {
        vec sum[rounds * L] = {{0}};
        end = k + CVL_LONGEST_CUT * L < length ? k + CVL_LONGEST_CUT * L : length;
        for (; k + L <= end; k += L)
            dot_step(m, n, sum, a + k, a_row, b + k, b_row, NULL);
        if (k < end) {
            const mask kept = ~first_lanes(L - (end - k));
            dot_step(m, n, sum, a + end - L, a_row, b + end - L, b_row, &kept);
        }
        CVL_UNROLL for (int r = 0; r * L < m * n; r++) total[r] += sums_of_lanes(sum + r * L);
    }
    real sums[rounds * CVL_VECTOR_BYTES / sizeof(real)];
    __builtin_memcpy(sums, total, sizeof sums);
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++)
            c[i * c_row + j * c_column] = (init ? init[i] : 0) + sums[i * n + j];
}

/* m rows: a few columns at a time, the last of which may be some of those before them once more,
 * or, where all are fewer, two and one. */
#define DOT_ROWS(m)                                                                                \
    static void dots_##m(real *c, ptrdiff_t c_row, ptrdiff_t c_column, const real *init,           \
                         const real *a, ptrdiff_t a_row, const real *b, ptrdiff_t b_row,           \
                         ptrdiff_t columns, ptrdiff_t length) {                                    \
        enum { most = m <= 2 ? 4 : dot_sums / 4 };                                                 \
        for (ptrdiff_t j = 0, n; j < columns; j += n) {                                            \
            n = columns >= most ? most : columns - j >= 2 ? 2 : 1;                                 \
            if (j + n > columns)                                                                   \
                j = columns - n;                                                                   \
            real *const to = c + j * c_column;                                                     \
            const real *const from = b + j * b_row;                                                \
            if (n == most)                                                                         \
                dot_tile(m, most, to, c_row, c_column, init, a, a_row, from, b_row, length);       \
            else if (n == 2)                                                                       \
                dot_tile(m, 2, to, c_row, c_column, init, a, a_row, from, b_row, length);          \
            else                                                                                   \
                dot_tile(m, 1, to, c_row, c_column, init, a, a_row, from, b_row, length);          \
        }                                                                                          \
    }
DOT_ROWS(1)
DOT_ROWS(2)
DOT_ROWS(3)
DOT_ROWS(4)

static void dots(real *c, ptrdiff_t c_row, ptrdiff_t c_column, const real *init, const real *a,
                 ptrdiff_t a_row, ptrdiff_t rows, const real *b, ptrdiff_t b_row, ptrdiff_t columns,
                 ptrdiff_t length) {
#define DOT_TILE(m)                                                                                \
    case m:                                                                                        \
        dots_##m(c + i * c_row, c_row, c_column, init ? init + i : NULL, a + i * a_row, a_row, b,  \
                 b_row, columns, length);                                                          \
        break;
    for (ptrdiff_t i = 0; i < rows; i += dot_rows)
        switch (rows - i < dot_rows ? rows - i : dot_rows) {
            DOT_TILE(1)
            DOT_TILE(2)
            DOT_TILE(3)
            DOT_TILE(4)
        default: break;
        }
#undef DOT_TILE
}

/* ---- Winograd's minimal filtering ------------------------------------------------------------ */

#ifdef CVL_FUSES

/* Winograd's minimal filtering (S. Winograd, Arithmetic Complexity of Computations, 1980; for
 * convolutional layers A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks",
 * 2016): two outputs of a filter of 3 taps from 4 products, of 2 taps from 3. One axis of each
 * transform, in place, elements `step` apart: */

enum { MOST_POINTS = CVL_WINOGRAD_TAPS + 1 };

static inline CVL_INLINE void inputs_to_points(const int taps, vec *d, const int step) {
    if (taps == 3) {
        const vec d1 = d[step], d2 = d[2 * step];
        d[0] -= d2;
        d[step] = d1 + d2;
        d[2 * step] = d2 - d1;
        d[3 * step] = d1 - d[3 * step];
    } else if (taps == 2) {
        d[0] -= d[step];
        d[2 * step] -= d[step];
    }
}

static inline CVL_INLINE void weights_to_points(const int taps, vec *g, const int step) {
    if (taps == 3) {
        const vec half = splat((real)0.5) * (g[0] + g[2 * step]);
        const vec middle = splat((real)0.5) * g[step];
        g[3 * step] = g[2 * step];
        g[step] = half + middle;
        g[2 * step] = half - middle;
    } else if (taps == 2) {
        g[2 * step] = g[step];
        g[step] += g[0];
    }
}

static inline CVL_INLINE void points_to_outputs(const int taps, vec *m, const int step) {
    if (taps == 3) {
        m[0] += m[step] + m[2 * step];
        m[step] -= m[2 * step] + m[3 * step];
    } else if (taps == 2) {
        m[0] += m[step];
        m[step] += m[2 * step];
    }
}

/* The transposes of the two before. */
static inline CVL_INLINE void outputs_to_points(const int taps, vec *y, const int step) {
    if (taps == 3) {
        const vec y0 = y[0], y1 = y[step];
        y[step] = y0 + y1;
        y[2 * step] = y0 - y1;
        y[3 * step] = -y1;
    } else if (taps == 2) {
        y[2 * step] = y[step];
        y[step] += y[0];
    }
}

static inline CVL_INLINE void points_to_weights(const int taps, vec *s, const int step) {
    if (taps == 3) {
        const vec s1 = splat((real)0.5) * s[step], s2 = splat((real)0.5) * s[2 * step];
        const vec half = s1 + s2;
        s[0] += half;
        s[step] = s1 - s2;
        s[2 * step] = half + s[3 * step];
    } else if (taps == 2) {
        s[0] += s[step];
        s[step] += s[2 * step];
    }
}

static inline CVL_INLINE void winograd_inputs(const int h, const int w, real *to,
                                              ptrdiff_t to_point, ptrdiff_t to_tile, const real *x,
                                              ptrdiff_t x_row, ptrdiff_t x_column, ptrdiff_t tiles,
                                              ptrdiff_t channels) {
    const int rows = (int)cvl_winograd_points(h), columns = (int)cvl_winograd_points(w);
    for (; tiles > 0; tiles--, to += to_tile, x += cvl_winograd_outputs(w) * x_column)
        for (ptrdiff_t c = 0; c < channels; c = next_vector(c, channels)) {
            vec d[MOST_POINTS * MOST_POINTS];
            CVL_UNROLL for (int i = 0; i < rows; i++)
                CVL_UNROLL for (int j = 0; j < columns; j++)
                    d[i * MOST_POINTS + j] = load(x + i * x_row + j * x_column + c);
            CVL_UNROLL for (int j = 0; j < columns; j++)
                inputs_to_points(h, d + j, MOST_POINTS);
            CVL_UNROLL for (int i = 0; i < rows; i++) {
                inputs_to_points(w, d + i * MOST_POINTS, 1);
                CVL_UNROLL for (int j = 0; j < columns; j++)
                    store(to + (i * columns + j) * to_point + c, d[i * MOST_POINTS + j]);
            }
        }
}

static inline CVL_INLINE void winograd_weights(const int h, const int w, real *to,
                                               ptrdiff_t to_point, const real *from,
                                               ptrdiff_t w_row, ptrdiff_t w_column,
                                               ptrdiff_t channels) {
    const int rows = (int)cvl_winograd_points(h), columns = (int)cvl_winograd_points(w);
    for (ptrdiff_t c = 0; c < channels; c = next_vector(c, channels)) {
        vec g[MOST_POINTS * MOST_POINTS];
        CVL_UNROLL for (int i = 0; i < h; i++)
            CVL_UNROLL for (int j = 0; j < w; j++)
                g[i * MOST_POINTS + j] = load(from + i * w_row + j * w_column + c);
        CVL_UNROLL for (int j = 0; j < w; j++) weights_to_points(h, g + j, MOST_POINTS);
        CVL_UNROLL for (int i = 0; i < rows; i++) {
            weights_to_points(w, g + i * MOST_POINTS, 1);
            CVL_UNROLL for (int j = 0; j < columns; j++)
                store(to + (i * columns + j) * to_point + c, g[i * MOST_POINTS + j]);
        }
    }
}

static inline CVL_INLINE bool winograd_outputs(const int h, const int w, real *y, ptrdiff_t y_row,
                                               ptrdiff_t y_column, ptrdiff_t rows,
                                               ptrdiff_t columns, const real *from,
                                               ptrdiff_t from_point, ptrdiff_t from_tile,
                                               const real *init, ptrdiff_t tiles,
                                               ptrdiff_t channels, bool stream) {
    const int high = (int)cvl_winograd_points(h), wide = (int)cvl_winograd_points(w);
    const int n = (int)cvl_winograd_outputs(h), m = (int)cvl_winograd_outputs(w);
    const bool past = stream && channels % line_reals == 0 &&
                      whole_lines((uintptr_t)y | (uintptr_t)(y + y_row) | (uintptr_t)(y + y_column),
                                  line_reals / L);
    vec check = {0}; /* NaN once an output is not finite */
    for (; tiles > 0; tiles--, from += from_tile, y += m * y_column)
        for (ptrdiff_t c = 0; c < channels; c = next_vector(c, channels)) {
            vec p[MOST_POINTS * MOST_POINTS];
            CVL_UNROLL for (int i = 0; i < high; i++) {
                CVL_UNROLL for (int j = 0; j < wide; j++)
                    p[i * MOST_POINTS + j] = load(from + (i * wide + j) * from_point + c);
                points_to_outputs(w, p + i * MOST_POINTS, 1);
            }
            const vec start = load(init + c);
            CVL_UNROLL for (int j = 0; j < m; j++) points_to_outputs(h, p + j, MOST_POINTS);
            CVL_UNROLL for (int i = 0; i < n; i++)
                CVL_UNROLL for (int j = 0; j < m; j++) {
                    if (i >= rows || j >= columns)
                        continue;
                    const vec sum = p[i * MOST_POINTS + j] + start;
                    check += sum * splat(0);
                    put(y + i * y_row + j * y_column + c, sum, past);
                }
        }
    return sum_lanes(check) == 0;
}

static inline CVL_INLINE void winograd_gradients(const int h, const int w, real *to,
                                                 ptrdiff_t to_point, ptrdiff_t to_tile,
                                                 const real *y, ptrdiff_t y_row,
                                                 ptrdiff_t y_column, ptrdiff_t tiles,
                                                 ptrdiff_t channels) {
    const int rows = (int)cvl_winograd_points(h), columns = (int)cvl_winograd_points(w);
    const int n = (int)cvl_winograd_outputs(h), m = (int)cvl_winograd_outputs(w);
    for (; tiles > 0; tiles--, to += to_tile, y += m * y_column)
        for (ptrdiff_t c = 0; c < channels; c = next_vector(c, channels)) {
            vec p[MOST_POINTS * MOST_POINTS];
            CVL_UNROLL for (int i = 0; i < n; i++)
                CVL_UNROLL for (int j = 0; j < m; j++)
                    p[i * MOST_POINTS + j] = load(y + i * y_row + j * y_column + c);
            CVL_UNROLL for (int j = 0; j < m; j++) outputs_to_points(h, p + j, MOST_POINTS);
            CVL_UNROLL for (int i = 0; i < rows; i++) {
                outputs_to_points(w, p + i * MOST_POINTS, 1);
                CVL_UNROLL for (int j = 0; j < columns; j++)
                    store(to + (i * columns + j) * to_point + c, p[i * MOST_POINTS + j]);
            }
        }
}

static inline CVL_INLINE bool winograd_taps(const int h, const int w, real *to, ptrdiff_t w_row,
                                            ptrdiff_t w_column, ptrdiff_t rows, ptrdiff_t columns,
                                            const real *from, ptrdiff_t from_point,
                                            ptrdiff_t channels) {
    const int high = (int)cvl_winograd_points(h), wide = (int)cvl_winograd_points(w);
    vec check = {0}; /* NaN once a weight is not finite */
    for (ptrdiff_t c = 0; c < channels; c = next_vector(c, channels)) {
        vec s[MOST_POINTS * MOST_POINTS];
        CVL_UNROLL for (int i = 0; i < high; i++) {
            CVL_UNROLL for (int j = 0; j < wide; j++)
                s[i * MOST_POINTS + j] = load(from + (i * wide + j) * from_point + c);
            points_to_weights(w, s + i * MOST_POINTS, 1);
        }
        CVL_UNROLL for (int j = 0; j < w; j++) points_to_weights(h, s + j, MOST_POINTS);
        CVL_UNROLL for (int i = 0; i < h; i++)
            CVL_UNROLL for (int j = 0; j < w; j++) {
                if (i >= rows || j >= columns)
                    continue;
                check += s[i * MOST_POINTS + j] * splat(0);
                store(to + i * w_row + j * w_column + c, s[i * MOST_POINTS + j]);
            }
    }
    return sum_lanes(check) == 0;
}

#define WINOGRAD(h, w)                                                                             \
    static void winograd_inputs_##h##x##w(real *to, ptrdiff_t to_point, ptrdiff_t to_tile,         \
                                          const real *x, ptrdiff_t x_row, ptrdiff_t x_column,      \
                                          ptrdiff_t tiles, ptrdiff_t channels) {                   \
        winograd_inputs(h, w, to, to_point, to_tile, x, x_row, x_column, tiles, channels);         \
    }                                                                                              \
    static void winograd_gradients_##h##x##w(real *to, ptrdiff_t to_point, ptrdiff_t to_tile,      \
                                             const real *y, ptrdiff_t y_row, ptrdiff_t y_column,   \
                                             ptrdiff_t tiles, ptrdiff_t channels) {                \
        winograd_gradients(h, w, to, to_point, to_tile, y, y_row, y_column, tiles, channels);      \
    }                                                                                              \
    static void winograd_weights_##h##x##w(real *to, ptrdiff_t to_point, const real *from,         \
                                           ptrdiff_t w_row, ptrdiff_t w_column,                    \
                                           ptrdiff_t channels) {                                   \
        winograd_weights(h, w, to, to_point, from, w_row, w_column, channels);                     \
    }                                                                                              \
    static bool winograd_outputs_##h##x##w(                                                        \
        real *y, ptrdiff_t y_row, ptrdiff_t y_column, ptrdiff_t rows, ptrdiff_t columns,           \
        const real *from, ptrdiff_t from_point, ptrdiff_t from_tile, const real *init,             \
        ptrdiff_t tiles, ptrdiff_t channels, bool stream) {                                        \
        return winograd_outputs(h, w, y, y_row, y_column, rows, columns, from, from_point,         \
                                from_tile, init, tiles, channels, stream);                         \
    }                                                                                              \
    static bool winograd_taps_##h##x##w(real *to, ptrdiff_t w_row, ptrdiff_t w_column,             \
                                        ptrdiff_t rows, ptrdiff_t columns, const real *from,       \
                                        ptrdiff_t from_point, ptrdiff_t channels) {                \
        return winograd_taps(h, w, to, w_row, w_column, rows, columns, from, from_point,           \
                             channels);                                                            \
    }
WINOGRAD(1, 2)
WINOGRAD(1, 3)
WINOGRAD(2, 1)
WINOGRAD(2, 2)
WINOGRAD(2, 3)
WINOGRAD(3, 1)
WINOGRAD(3, 2)
WINOGRAD(3, 3)

#define WINOGRAD_KERNELS(h, w)                                                                     \
    {.inputs = winograd_inputs_##h##x##w,                                                          \
     .gradients = winograd_gradients_##h##x##w,                                                    \
     .weights = winograd_weights_##h##x##w,                                                        \
     .outputs = winograd_outputs_##h##x##w,                                                        \
     .taps = winograd_taps_##h##x##w}

#endif

/* ---- the table ------------------------------------------------------------------------------ */

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
    .tall_rows = TALL_ROWS,
    .tall_tile = {tall_1, tall_2, tall_3, tall_4, tall_5, tall_6,
                  tall_7, tall_8, tall_9, tall_10, tall_11, tall_12,
#if TALL_ROWS == 16
                  tall_13, tall_14, tall_15, tall_16,
#endif
    },
    .pixel_rows = PIXEL_ROWS,
    .pixel_tile = {pixel_1, pixel_2, pixel_3, pixel_4,
                   pixel_5, pixel_6,
#if PIXEL_ROWS == 8
                   pixel_7, pixel_8,
#endif
    },
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
    .add_parts = add_parts,
    .sum = sum_run,
};
