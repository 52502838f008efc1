/* Moves in the cache: rows, transpositions, every other element. Included by kernels_impl.h. */

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
        lo =                                                                                       \
            __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23), \
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

static void add(real *c, const real *x, ptrdiff_t count) {
    ptrdiff_t i = 0;
    for (; i + L <= count; i += L)
        store(c + i, load(c + i) + load(x + i));
    for (; i < count; i++)
        c[i] += x[i];
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
    else if (columns == 2 * L)
        for (ptrdiff_t r = 0; r < rows; r++) {
            store(dst + r * dst_row, load(src + r * src_row));
            store(dst + r * dst_row + L, load(src + r * src_row + L));
        }
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
