/* The transforms of Winograd's minimal filtering. Included by kernels_impl.h. */

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
