/* Vectors of `real`: the one header that knows they are GNU vector extensions.
 *
 * Included by kernels_impl.h with `real`, `real_bits` (the unsigned integer of its size), CVL_NAME
 * and CVL_VECTOR_BYTES defined. */

typedef real CVL_NAME(vec) __attribute__((vector_size(CVL_VECTOR_BYTES)));
typedef real CVL_NAME(unaligned_vec)
    __attribute__((vector_size(CVL_VECTOR_BYTES), aligned(sizeof(real)), may_alias));
typedef real_bits CVL_NAME(mask) __attribute__((vector_size(CVL_VECTOR_BYTES)));

#define vec CVL_NAME(vec)
#define L ((ptrdiff_t)(CVL_VECTOR_BYTES / sizeof(real)))

static inline vec CVL_NAME(load)(const real *p) {
    return *(const CVL_NAME(unaligned_vec) *)p;
}

static inline void CVL_NAME(store)(real *p, vec v) {
    *(CVL_NAME(unaligned_vec) *)p = v;
}

/* Subtracting zero keeps every value and its sign, so this is a bare broadcast; adding zero would
 * have to turn -0 into +0 and costs an addition in every step of the kernels. */
static inline vec CVL_NAME(splat)(real a) {
    return a - (vec){0};
}

/* The first n < L lanes of p, zero in the others; reads only those n. */
static inline vec CVL_NAME(load_first)(const real *p, ptrdiff_t n) {
    vec v = {0};
    __builtin_memcpy(&v, p, (size_t)n * sizeof(real));
    return v;
}

/* All bits set in lanes 0 .. n-1, none in the others. */
static inline CVL_NAME(mask) CVL_NAME(first_lanes)(ptrdiff_t n) {
    CVL_NAME(mask) m = {0};
    for (ptrdiff_t i = 0; i < L; i++)
        m[i] = i < n ? ~(real_bits)0 : 0;
    return m;
}

/* v where the mask is set, zero elsewhere, whatever v is there. */
static inline vec CVL_NAME(keep)(vec v, CVL_NAME(mask) m) {
    return (vec)((CVL_NAME(mask))v & m);
}

static inline real CVL_NAME(sum_lanes)(vec v) {
    real s[CVL_VECTOR_BYTES / sizeof(real)];
    __builtin_memcpy(s, &v, sizeof v);
    for (ptrdiff_t width = L / 2; width > 0; width /= 2)
        for (ptrdiff_t i = 0; i < width; i++)
            s[i] += s[i + width];
    return s[0];
}
