/* Rows of A times a panel of B: the product tile, and the tall one. Included by kernels_impl.h. */

/* ---- product tile --------------------------------------------------------------------------- */

typedef CVL_TYPED(cvl_product) product;

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

/* Rows of A: where the first begins, and how far from it each other does. */
typedef struct tile_rows {
    const real *first;
    ptrdiff_t apart[CVL_MAX_ROWS];
} tile_rows;

static inline CVL_INLINE tile_rows find_rows(const int m, const real *a, const ptrdiff_t *a_row) {
    tile_rows rows = {.first = a + a_row[0], .apart = {0}};
    CVL_UNROLL for (int i = 1; i < m; i++) {
        rows.apart[i] = a_row[i] - a_row[0];
        __asm__("" : "+r"(rows.apart[i]));
    }
    return rows;
}

/* One step. One pointer moves along A, and registers hold how far from it the rows are. */
static inline CVL_INLINE void product_step(const int m, const int v,
                                           vec sum[CVL_MAX_ROWS][CVL_MAX_VECTORS],
                                           const tile_rows *rows, const real *ak, const real *bk) {
    vec bv[CVL_MAX_VECTORS];
    CVL_UNROLL for (int j = 0; j < v; j++) bv[j] = load(bk + j * L);
    CVL_UNROLL for (int i = 0; i < m; i++) {
        const vec av = splat(ak[rows->apart[i]]);
        CVL_UNROLL for (int j = 0; j < v; j++) sum[i][j] += av * bv[j];
    }
}

/* The steps of a term whose rows of B are as they are listed. Left alone, the compiler makes more
 * pointers: a second one to B, sums of pointers in every step, and a loop for steps of one beside
 * another whose addresses wait in memory. */
static inline CVL_INLINE void listed_steps(const int m, const int v,
                                           vec sum[CVL_MAX_ROWS][CVL_MAX_VECTORS],
                                           const tile_rows *rows, const real *ak, ptrdiff_t a_step,
                                           const real *b, const ptrdiff_t *b_row,
                                           ptrdiff_t length) {
    __asm__("" : "+r"(b));
    for (const ptrdiff_t *const end = b_row + length; b_row < end; ak += a_step) {
        const real *const bk = b + *b_row++;
        __asm__("" : "+r"(a_step));
        product_step(m, v, sum, rows, ak, bk);
    }
}

/* What a step asks for: the line beside its last one, of A or of B, which is the next tile's and
 * which no prefetcher of the processor sees coming. */
enum { ASK_NOTHING, ASK_A, ASK_B };

/* The steps of a term whose rows of B are even steps apart: with fewer instructions, which counts
 * where another thread shares the core. */
static inline CVL_INLINE void even_steps(const int m, const int v, const int ask,
                                         vec sum[CVL_MAX_ROWS][CVL_MAX_VECTORS],
                                         const tile_rows *rows, const real *ak, ptrdiff_t a_step,
                                         const real *bk, ptrdiff_t b_step, ptrdiff_t length) {
    CVL_FOUR_A_JUMP for (ptrdiff_t k = 0; k < length; k++, ak += a_step, bk += b_step) {
        if (ask == ASK_A)
            __builtin_prefetch(ak + rows->apart[m - 1] + line_reals);
        if (ask == ASK_B)
            __builtin_prefetch(bk + v * L);
        product_step(m, v, sum, rows, ak, bk);
    }
}

/* The steps of a term. Where A moves by more than a line, each reads lines of A of its own; where
 * by less, but not by one, the reduction is over positions, and B may come from memory. */
static inline CVL_INLINE void product_steps(const int m, const int v,
                                            vec sum[CVL_MAX_ROWS][CVL_MAX_VECTORS],
                                            const product *p, const tile_rows *rows,
                                            ptrdiff_t lane, const cvl_term *term) {
    const ptrdiff_t *const b_row = p->b_row + term->b;
    const real *const a = rows->first + term->a, *const b = p->b + lane;
    const ptrdiff_t length = term->length;
    if (term->b_step == 0)
        listed_steps(m, v, sum, rows, a, p->a_step, b, b_row, length);
    else if (p->a_step == 1)
        even_steps(m, v, ASK_NOTHING, sum, rows, a, 1, b + *b_row, term->b_step, length);
    else if (p->a_step > line_reals)
        even_steps(m, v, ASK_A, sum, rows, a, p->a_step, b + *b_row, term->b_step, length);
    else
        even_steps(m, v, ASK_B, sum, rows, a, p->a_step, b + *b_row, term->b_step, length);
}

/* One tile, whose rows begin at `first` and its columns at `lane`. What it does besides its sums
 * takes as long as a few of its steps, so that each instruction counts; and C, whose lines may be
 * far away, is written once: sums between two flushes are kept here. */
static inline CVL_INLINE void product_tile(const int m, const int v, const product *p,
                                           const tile_rows *rows, ptrdiff_t first, ptrdiff_t lane) {
    static const ptrdiff_t one_row[CVL_MAX_ROWS];
    const cvl_term *term = p->terms, *const end = term + p->n_terms;
    real *const c = p->c + lane;
    const ptrdiff_t *const c_row = p->c_row + first;
    vec kept[CVL_MAX_ROWS][CVL_MAX_VECTORS];
    for (bool adds = false;; adds = true) {
        vec sum[CVL_MAX_ROWS][CVL_MAX_VECTORS];
    CVL_UNROLL for (int i = 0; i < m; i++)
            CVL_UNROLL for (int j = 0; j < v; j++) sum[i][j] = (vec){0};
        for (bool more = term < end; more; term++) {
            product_steps(m, v, sum, p, rows, lane, term);
            more = !term->flush && term + 1 < end;
        }

        /* All loads before the first store: a load waits for a store whose address looks the
         * same. */
        if (adds)
            CVL_UNROLL for (int i = 0; i < m; i++)
                CVL_UNROLL for (int j = 0; j < v; j++) sum[i][j] += kept[i][j];
        else if (p->init)
            product_start(m, v, sum, p->init_splat ? p->init : p->init + lane,
                          p->init_row ? p->init_row + first : one_row, p->init_splat);
        if (term < end) {
            CVL_UNROLL for (int i = 0; i < m; i++)
                CVL_UNROLL for (int j = 0; j < v; j++) kept[i][j] = sum[i][j];
            continue;
        }
        bool past = false;
        if (p->stream) {
            uintptr_t lines = (uintptr_t)c;
            CVL_UNROLL for (int i = 0; i < m; i++) lines |= (uintptr_t)(c + c_row[i]);
            past = whole_lines(lines, v);
        }
        CVL_UNROLL for (int i = 0; i < m; i++)
            CVL_UNROLL for (int j = 0; j < v; j++) put(c + c_row[i] + j * L, sum[i][j], past);
        return;
    }
}

#define PRODUCT_TILE(m, v)                                                                         \
    static void product_##m##x##v(const product *p, ptrdiff_t row, ptrdiff_t row_tiles,            \
                                  ptrdiff_t lane, ptrdiff_t lane_tiles) {                          \
        for (ptrdiff_t tile = 0; tile < row_tiles; tile++, row += m) {                             \
            const tile_rows rows = find_rows(m, p->a, p->a_row + row);                             \
            for (ptrdiff_t column = 0; column < lane_tiles; column++)                              \
                product_tile(m, v, p, &rows, row, lane + column * v * L);                          \
        }                                                                                          \
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
            CVL_FOUR_A_JUMP for (ptrdiff_t left = terms->length; left > 0; left--) {
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
