/* Sums over positions: for the taps of one filter, for channels along the lanes, and of elements
 * alone. Included by kernels_impl.h. */

/* Taps summed at once: their sums, a vector of dy and the mask fit 16 registers. */
#define TAP_SUMS 12
#define TAP_SUMS_CASES(one)                                                                        \
    one(1) one(2) one(3) one(4) one(5) one(6) one(7) one(8) one(9) one(10) one(11) one(12)

static inline CVL_INLINE void tap_sums_body(const int v, real *c, const real *dy, ptrdiff_t dy_row,
                                            const real *x, ptrdiff_t x_row,
                                            const ptrdiff_t *x_offset, ptrdiff_t rows,
                                            ptrdiff_t columns) {
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

/* t runs of n taps, for some vectors of channels. The n places that a pixel meets stay in
 * registers, and one of them is new to it. With `ask`, what stands ahead is asked for: dy, and the
 * inputs of run r where bit r of `asks` is set. */
static inline CVL_INLINE void
lane_sums_body(const int t, const int n, const bool ask, real *c, ptrdiff_t c_step, const real *dy,
               ptrdiff_t dy_row, ptrdiff_t dy_step, ptrdiff_t dy_ahead, const real *x,
               ptrdiff_t x_row, ptrdiff_t x_step, ptrdiff_t x_ahead, const cvl_lane_run *runs,
               const cvl_places *places, ptrdiff_t rows, ptrdiff_t pixels, ptrdiff_t vectors,
               unsigned asks) {
    for (ptrdiff_t v = 0; v < vectors; v++, c += L, dy += L, x += L) {
        vec sum[8][CVL_MAX_RUN], at[8][CVL_MAX_RUN];
        CVL_UNROLL for (int r = 0; r < t; r++)
            CVL_UNROLL for (int k = 0; k < n; k++) sum[r][k] = at[r][k] = (vec){0};
        const unsigned now = ask && first_in_line(x) ? asks : 0;
        for (ptrdiff_t i = 0; i < rows; i++) {
            const real *d = dy + i * dy_row, *xs = x + i * x_row;
            ptrdiff_t place = places->first + runs->place, p = 0;
#define LANE_PLACE(k)                                                                              \
    do {                                                                                           \
        if ((size_t)place < (size_t)places->count)                                                 \
            CVL_UNROLL for (int r = 0; r < t; r++) {                                               \
                at[r][k] = load_once(xs + runs[r].x);                                              \
                if (ask && now >> r & 1)                                                           \
                    __builtin_prefetch(xs + runs[r].x + x_ahead, 0, 2);                            \
            }                                                                                      \
        else                                                                                       \
            CVL_UNROLL for (int r = 0; r < t; r++) at[r][k] = (vec){0};                            \
        place += places->step;                                                                     \
        xs += x_step;                                                                              \
    } while (0)
#define LANE_PIXEL(q)                                                                              \
    do {                                                                                           \
        const vec dv = load_once(d);                                                               \
        LANE_PLACE((q + n - 1) % n);                                                               \
        CVL_UNROLL for (int r = 0; r < t; r++)                                                     \
            CVL_UNROLL for (int k = 0; k < n; k++) sum[r][k] += dv * at[r][(q + k) % n];           \
    } while (0)
            CVL_UNROLL for (int k = 0; k < n - 1; k++) LANE_PLACE(k);
            for (; p + n <= pixels; p += n)
                CVL_UNROLL for (int q = 0; q < n; q++, d += dy_step) {
                    if (ask && now)
                        __builtin_prefetch(d + dy_ahead, 0, 2);
                    LANE_PIXEL(q);
                }
            CVL_UNROLL for (int q = 0; q < n - 1; q++, p++, d += dy_step)
                if (p < pixels)
                    LANE_PIXEL(q);
#undef LANE_PIXEL
#undef LANE_PLACE
        }
        CVL_UNROLL for (int r = 0; r < t; r++) {
            real *to = c + runs[r].w;
            CVL_UNROLL for (int k = 0; k < n; k++, to += c_step) store(to, load(to) + sum[r][k]);
        }
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
                       ptrdiff_t rows, ptrdiff_t pixels, ptrdiff_t vectors, bool ask) {
    (void)ask; /* these are bound by their sums */
    for (ptrdiff_t v = 0; v < vectors; v++, c += L, dy += L, x += L)
        for (ptrdiff_t r = 0; r < n_runs && pixels > 0; r++)
            group_run_sums(c, weights, dy, dy_row, dy_step, x, x_row, x_step, runs + r, places,
                           rows, pixels);
}
#endif

/* Which of t runs, of some that are alike, read for the next row what none of them reads for this
 * one: bits. */
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

/* Where all runs are summed at once, and few taps, so are all vectors; else runs follow one another
 * for each vector, whose operands stay in the level-1 cache. */
static void lane_sums(real *c, const cvl_lane_weights *weights, const real *dy, ptrdiff_t dy_row,
                      ptrdiff_t dy_step, const real *x, ptrdiff_t x_row, ptrdiff_t x_step,
                      const cvl_lane_run *runs, ptrdiff_t n_runs, const cvl_places *places,
                      ptrdiff_t rows, ptrdiff_t pixels, ptrdiff_t vectors, bool ask) {
    enum { few_taps = 3 }; /* of more, it is the sums that take the time */
    static const int most[] = {0,           LANE_RUNS(1), LANE_RUNS(2), LANE_RUNS(3),
                               LANE_RUNS(4), LANE_RUNS(5), LANE_RUNS(6), LANE_RUNS(7)};
    const ptrdiff_t x_ahead = rows > 1 ? rows * x_row : pixels * x_step;
    const ptrdiff_t dy_ahead = rows > 1 ? rows * dy_row : pixels * dy_step;
    if (n_runs == 0 || pixels <= 0)
        return;
    for (ptrdiff_t now; vectors > 0; vectors -= now, c += now * L, dy += now * L, x += now * L) {
        now = 1;
        for (ptrdiff_t r = 0, t; r < n_runs; r += t) {
            const ptrdiff_t taps = runs[r].taps;
            ptrdiff_t alike = 1;
            while (r + alike < n_runs && runs[r + alike].taps == taps &&
                   runs[r + alike].place == runs[r].place)
                alike++;
            const ptrdiff_t groups = (alike + most[taps] - 1) / most[taps];
            t = (alike + groups - 1) / groups;
            if (t == n_runs && taps <= few_taps)
                now = vectors;
            const unsigned asks = ask ? fresh_runs(runs + r, t, alike, x_row) : 0;
#define LANE_SUMMED(n)                                                                             \
    c, weights->step, dy, dy_row, dy_step, dy_ahead, x, x_row, x_step, x_ahead, runs + r, places,  \
        rows, pixels, n <= few_taps ? now : 1, asks
#define LANE_SUMS_CASE(t, n)                                                                       \
    case 8 * n + t - 1:                                                                            \
        if (t <= LANE_RUNS(n) && n <= few_taps && asks)                                            \
            lane_sums_body(t, n, true, LANE_SUMMED(n));                                            \
        else if (t <= LANE_RUNS(n))                                                                \
            lane_sums_body(t, n, false, LANE_SUMMED(n));                                           \
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
#undef LANE_SUMMED
        }
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
