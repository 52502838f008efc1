/* Neighbouring positions of a row along the lanes, some of them in the padding: the plane tile and
 * the sums over planes. Included by kernels_impl.h. */

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
static inline CVL_INLINE void plane_tap(const int h, const int v, const bool edge, const bool start,
                                        plane_rows sum, const vec *av, const real *a,
                                        ptrdiff_t a_row, const real *b, some_lanes inside) {
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
    const real *const asked =
        b + (columns > 0 ? taps->column[0] : 0) + (h - 1) * from->row + from->ahead;
    for (ptrdiff_t r = 1 - h; r < to->rows; r++, b += from->row, place += b_rows->step) {
        CVL_UNROLL for (int j = 0; j < v * (int)L; j += line_reals)
            __builtin_prefetch(asked + r * from->row + j, 0, 2);
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
