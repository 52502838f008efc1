/* Channels along the lanes, of groups of one or a few: the lane tile. Included by kernels_impl.h.
 */

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
    lone_pixels = 4, /* that share weights alone: few, each of which reads as many places as taps */
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

/* Filters of 3x3, of any depth, with a stride of one or two in both directions: a strip of pixels
 * is walked down row by row, and what stands in a row of inputs is loaded once, for all rows of
 * outputs that it feeds. For loads are what bounds a lane tile: one of a vector that crosses cache
 * lines is two. */
enum {
    descent_taps = CVL_DESCENT_TAPS, /* of a row and of a column, */
    most_fed = descent_taps,         /* and the most rows of outputs that a row of inputs feeds */
};

/* Pixels whose sums, of all these rows, fit the registers; a depth's weights, too, where there are
 * 32. */
#if CVL_REGISTERS >= 32
#define DESCENT_PIXELS(stride) ((stride) == 1 ? 7 : 8)
#else
#define DESCENT_PIXELS(stride) ((stride) == 1 ? 4 : 6)
#endif

/* How many taps of three there are from `first` on, a stride apart. */
#define DESCENT_TAPS(stride, first) ((descent_taps - 1 - (first)) / (stride) + 1)

typedef vec descent_sums[most_fed][CVL_MAX_ROWS];
typedef vec descent_weights[descent_taps][descent_taps];

/* What all strips share. Run (h*depths + d)*stride + c has, of depth d, the taps c, c + stride, ...
 * of their row h. */
typedef struct lane_descent {
    ptrdiff_t stride, depths, rows, c_row, c_step;
    ptrdiff_t x_line, x_step, ahead; /* to the next row of inputs, pixel, what is asked for */
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

/* Loads the weights of the depth whose runs begin with these, where registers keep them. */
static inline CVL_INLINE void descent_filter(const int stride, descent_weights wv,
                                             const lane_descent *d, const cvl_lane_run *runs,
                                             ptrdiff_t row_runs, const real *w) {
    if (CVL_REGISTERS < 32)
        return;
    CVL_UNROLL for (int h = 0; h < descent_taps; h++)
        CVL_UNROLL for (int k = 0; k < descent_taps; k++)
            wv[h][k] = load_once(w + runs[h * row_runs + k % stride].w +
                                 k / stride * d->weights->step);
}

/* Adds a row of inputs, of the depth whose runs begin with these, to sum[j], of the row of outputs
 * that began j before the last, for j in [from, to): these meet it with row q + j*stride of their
 * taps. With `ahead` not 0, asks for what stands so much further. */
static inline CVL_INLINE void descent_line(const int m, const int stride, const bool inside,
                                           const int q, const int from, const int to,
                                           descent_sums sum, descent_weights wv,
                                           const lane_descent *d, const cvl_lane_run *runs,
                                           ptrdiff_t row_runs, ptrdiff_t ahead, const real *x,
                                           const real *w, ptrdiff_t first) {
    CVL_UNROLL for (int c = 0; c < stride; c++) {
        const cvl_lane_run *const run = runs + c;
        const int n = DESCENT_TAPS(stride, c);
        const real *xr = x + run->x;
        ptrdiff_t place = first + run->place;
        const bool asks = ahead && first_in_line(xr);
#if CVL_REGISTERS >= 32
        (void)row_runs, (void)w;
        CVL_UNROLL for (int i = 0; i < m + n - 1; i++) {
            if (asks && i < m)
                __builtin_prefetch(xr + ahead, 0, 2);
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
        if (asks)
            CVL_UNROLL for (int i = 0; i < m; i++)
                __builtin_prefetch(xr + i * d->x_step + ahead, 0, 2);
        CVL_UNROLL for (int j = from; j < to; j++)
            lane_run(m, n, inside, sum[j], anew(xr), d->x_step, NULL,
                     w + run[(q + j * stride) * row_runs].w, d->weights->step, place, d->places);
#endif
    }
}

/* Begins a row of outputs: adds the rows of inputs, of all depths, down to where the next will
 * begin to the rows [from, to) of outputs, counted backwards. Returns where it will. */
static inline CVL_INLINE const real *
descent_row(const int m, const int stride, const bool inside, const bool deep, const int from,
            const int to, descent_sums sum, descent_weights wv, const lane_descent *d,
            const real *x, const real *w, ptrdiff_t first) {
    const ptrdiff_t depths = deep ? d->depths : 1, row_runs = depths * stride;
    CVL_UNROLL for (int i = 0; i < m; i++) {
        CVL_UNROLL for (int j = most_fed - 1; j > 0; j--) sum[j][i] = sum[j - 1][i];
        sum[0][i] = (vec){0};
    }
    CVL_UNROLL for (int q = 0; q < stride; q++, x += d->x_line) {
        const int reach = DESCENT_TAPS(stride, q);
        if (from >= reach)
            continue;
        for (ptrdiff_t i = 0; i < depths; i++) {
            const cvl_lane_run *const runs = d->runs + i * stride;
            if (deep)
                descent_filter(stride, wv, d, runs, row_runs, w);
            descent_line(m, stride, inside, q, from, to < reach ? to : reach, sum, wv, d, runs,
                         row_runs, i + 1 < depths ? 0 : d->ahead, x, w, first);
        }
    }
    return x;
}

/* All rows of a strip of m pixels, one vector of channels. */
static inline CVL_INLINE void descent_body(const int m, const int stride, const bool inside,
                                           const bool deep, const lane_descent *shared, real *c,
                                           const real *init, const real *x, const real *w,
                                           ptrdiff_t first) {
    const int last = DESCENT_TAPS(stride, 0) - 1; /* of the rows of outputs that are fed */
    const lane_descent copy = *shared, *const d = &copy; /* which no store to c can change */
    const bool past = d->stream && whole_lines((uintptr_t)c | (uintptr_t)(c + d->c_step) |
                                                   (uintptr_t)(c + d->c_row), 1);
    descent_sums sum = {{{0}}};
    descent_weights wv;
    if (!deep)
        descent_filter(stride, wv, d, d->runs, stride, w);
#define DESCENT_ROW(from, to)                                                                      \
    x = descent_row(m, stride, inside, deep, from, to, sum, wv, d, x, w, first)
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

/* A strip of m pixels, all channels, of one depth or of several: functions of their own, for a
 * compiler gives registers out worse in long ones. */
#define DESCENT_TILE(name, m, deep)                                                                \
    static void name##_##m(const lane_descent *d, real *c, const real *init, const real *x,        \
                           const real *w, ptrdiff_t first, bool inside, ptrdiff_t channels) {      \
        for (ptrdiff_t j = 0; j < channels; j = next_vector(j, channels))                          \
            if (d->stride == 1 && m <= DESCENT_PIXELS(1) && inside)                                \
                descent_body(m, 1, true, deep, DESCENT_ARGUMENTS);                                 \
            else if (d->stride == 1 && m <= DESCENT_PIXELS(1))                                     \
                descent_body(m, 1, false, deep, DESCENT_ARGUMENTS);                                \
            else if (d->stride == 2 && m <= DESCENT_PIXELS(2) && inside)                           \
                descent_body(m, 2, true, deep, DESCENT_ARGUMENTS);                                 \
            else if (d->stride == 2 && m <= DESCENT_PIXELS(2))                                     \
                descent_body(m, 2, false, deep, DESCENT_ARGUMENTS);                                \
    }
#define DESCENT_ARGUMENTS d, c + j, init + j, x + j, w + j, first
#define DESCENT_TILES(m) DESCENT_TILE(descent, m, false) DESCENT_TILE(deep_descent, m, true)
LANE_PIXELS(DESCENT_TILES)
#undef DESCENT_TILES
#undef DESCENT_TILE
#undef DESCENT_ARGUMENTS

/* Sets the stride and the number of depths, if these runs are a filter of 3x3 whose next row of
 * outputs reads as many rows of inputs further down as there are runs to a row of one depth's taps;
 * else a stride of 0. */
static void find_descent(lane_descent *d, ptrdiff_t n_runs, ptrdiff_t x_row) {
    const cvl_lane_run *const runs = d->runs;
    if (n_runs == 0 || d->weights->width > 1 || d->rows < 2)
        return;
    const ptrdiff_t stride = runs->taps == DESCENT_TAPS(1, 0) ? 1 : 2;
    const ptrdiff_t depths = n_runs / (descent_taps * stride);
    if (n_runs != depths * descent_taps * stride || (depths > 1 && d->ahead == 0))
        return;
    const ptrdiff_t line = runs[depths * stride].x - runs->x;
    for (ptrdiff_t r = 0; r < n_runs; r++) {
        const ptrdiff_t h = r / (depths * stride), c = r % stride;
        if (runs[r].taps != DESCENT_TAPS(stride, c) || runs[r].place != runs[c].place ||
            runs[r].x != runs[r % (depths * stride)].x + h * line ||
            (runs[r].flush && r + 1 < n_runs))
            return;
    }
    if (stride * line != x_row)
        return;
    d->stride = stride;
    d->depths = depths;
    d->x_line = line;
}

static void lane_tile(real *c, ptrdiff_t c_row, ptrdiff_t c_step, const real *init, const real *x,
                      ptrdiff_t x_row, ptrdiff_t x_step, const real *w,
                      const cvl_lane_weights *weights, const cvl_lane_run *runs, ptrdiff_t n_runs,
                      const cvl_places *places, ptrdiff_t ahead, ptrdiff_t rows, ptrdiff_t pixels,
                      ptrdiff_t channels, bool stream) {
    lane_descent descent = {.rows = rows,
                            .c_row = c_row,
                            .c_step = c_step,
                            .x_step = x_step,
                            .ahead = ahead,
                            .runs = runs,
                            .weights = weights,
                            .places = places,
                            .stream = stream};
    find_descent(&descent, n_runs, x_row);
    const ptrdiff_t stride = descent.stride;
    const ptrdiff_t step = places->step;
    ptrdiff_t least = 0, reach = 0; /* of the places of all runs, for the first pixel */
    bool share = n_runs == 1;       /* whether pixels share what they read */
    for (ptrdiff_t r = 0; r < n_runs; r++) {
        const ptrdiff_t last = runs[r].place + (runs[r].taps - 1) * step;
        share = share || runs[r].taps > 1;
        least = r == 0 || runs[r].place < least ? runs[r].place : least;
        reach = r == 0 || last > reach ? last : reach;
    }
    const ptrdiff_t most = stride ? DESCENT_PIXELS(stride) : share ? lane_pixels : lone_pixels;
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
        if (descent.depths > 1)                                                                    \
            deep_descent_##m(&descent, cp, init, xp, w, first, inside, channels);                  \
        else if (stride)                                                                           \
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
