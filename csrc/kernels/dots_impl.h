/* Sums of products along the lanes. Included by kernels_impl.h. */

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
