/* Neighbouring positions along the lanes: the pixel tile and the row tile. Included by
 * kernels_impl.h. */

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

static inline CVL_INLINE void pixel_body(const int m, const int v, real *c, ptrdiff_t c_row,
                                         const real *a, ptrdiff_t a_row, const real *b,
                                         const ptrdiff_t *b_offset, ptrdiff_t length,
                                         const real *init) {
    vec sum[CVL_MAX_ROWS][8];
    CVL_UNROLL for (int i = 0; i < m; i++)
        CVL_UNROLL for (int j = 0; j < v; j++) sum[i][j] = (vec){0};

    CVL_FOUR_A_JUMP for (ptrdiff_t k = 0; k < length; k++) {
        const real *bk = b + b_offset[k];
        if (m < v) { /* what is less stays in registers, the other passes through one */
            vec av[CVL_MAX_ROWS];
            CVL_UNROLL for (int i = 0; i < m; i++) av[i] = splat(a[i * a_row + k]);
            CVL_UNROLL for (int j = 0; j < v; j++) {
                const vec bv = load(bk + j * L);
                CVL_UNROLL for (int i = 0; i < m; i++) sum[i][j] += av[i] * bv;
            }
        } else {
            vec bv[8];
            CVL_UNROLL for (int j = 0; j < v; j++) bv[j] = load(bk + j * L);
            CVL_UNROLL for (int i = 0; i < m; i++) {
                const vec av = splat(a[i * a_row + k]);
                CVL_UNROLL for (int j = 0; j < v; j++) sum[i][j] += av * bv[j];
            }
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
