/* Vectors of `real`: the one header that knows they are GNU vector extensions.
 *
 * Included by kernels_impl.h with `real`, `real_bits` and CVL_VECTOR_BYTES defined. */

typedef real vec __attribute__((vector_size(CVL_VECTOR_BYTES)));
typedef real unaligned_vec
    __attribute__((vector_size(CVL_VECTOR_BYTES), aligned(sizeof(real)), may_alias));
typedef real_bits mask __attribute__((vector_size(CVL_VECTOR_BYTES)));

#define L ((ptrdiff_t)(CVL_VECTOR_BYTES / sizeof(real)))

/* Whether a product is added without being rounded first. */
#if defined(__FMA__) || defined(__aarch64__)
#define CVL_FUSES
#endif

static inline vec load(const real *p) {
    return *(const unaligned_vec *)p;
}

static inline void store(real *p, vec v) {
    *(unaligned_vec *)p = v;
}

/* Stores to an aligned address past the caches, where the instruction set has such a store. The
 * order of such stores among others is not kept: a fence must follow the last. */
static inline void store_past_caches(real *p, vec v) {
#if defined(__clang__)
    __builtin_nontemporal_store(v, (vec *)p);
#elif defined(__AVX512F__) && CVL_VECTOR_BYTES == 64
    typedef float floats __attribute__((vector_size(64)));
    __builtin_ia32_movntps512((float *)p, (floats)v);
#elif defined(__AVX__) && CVL_VECTOR_BYTES == 32
    typedef float floats __attribute__((vector_size(32)));
    __builtin_ia32_movntps256((float *)p, (floats)v);
#else
    store(p, v);
#endif
}

/* A vector that is loaded once, into a register: a compiler that sees a load used several times may
 * load again for each use, and loads are what bounds a tile that has few sums to each. */
static inline vec load_once(const real *p) {
    vec v = load(p);
#if defined(__aarch64__) && CVL_VECTOR_BYTES == 16
    __asm__("" : "+w"(v));
#elif defined(__AVX512F__) || (defined(__AVX__) && CVL_VECTOR_BYTES <= 32) ||                      \
    (defined(__SSE2__) && CVL_VECTOR_BYTES == 16)
    __asm__("" : "+v"(v));
#endif
    return v;
}

/* Subtracting zero keeps every value and its sign, so this is a bare broadcast; adding zero would
 * have to turn -0 into +0 and costs an addition in every step of the kernels. */
static inline vec splat(real a) {
    return a - (vec){0};
}

/* Lanes picked by an index that is known only when it runs, where the instruction set does so in
 * one step. */
#if (defined(__AVX512F__) && CVL_VECTOR_BYTES == 64) ||                                            \
    (defined(__AVX2__) && CVL_VECTOR_BYTES == 32 && CVL_REAL_BYTES == 4)
#define CVL_PICKS_LANES
static inline vec pick_lanes(vec v, mask index) {
#if !defined(__clang__)
    return __builtin_shuffle(v, index);
#elif CVL_VECTOR_BYTES == 32
    return __builtin_ia32_permvarsf256(v, index);
#elif CVL_REAL_BYTES == 4
    return __builtin_ia32_permvarsf512(v, index);
#else
    return __builtin_ia32_permvardf512(v, index);
#endif
}

/* For every lane, the first of its group of `width`, a power of two. */
static inline mask first_of_group(ptrdiff_t width) {
    mask m;
    for (ptrdiff_t i = 0; i < L; i++)
        m[i] = (real_bits)i;
    return m & -(real_bits)width;
}
#endif

/* The first n < L lanes of p, zero in the others; reads only those n. */
static inline vec load_first(const real *p, ptrdiff_t n) {
    vec v = {0};
    __builtin_memcpy(&v, p, (size_t)n * sizeof(real));
    return v;
}

/* All bits set in lanes 0 .. n-1, none in the others. */
static inline mask first_lanes(ptrdiff_t n) {
    mask m = {0};
    for (ptrdiff_t i = 0; i < L; i++)
        m[i] = i < n ? ~(real_bits)0 : 0;
    return m;
}

/* v where the mask is set, zero elsewhere, whatever v is there. */
static inline vec keep(vec v, mask m) {
    return (vec)((mask)v & m);
}

static inline real sum_lanes(vec v) {
    real s[CVL_VECTOR_BYTES / sizeof(real)];
    __builtin_memcpy(s, &v, sizeof v);
    for (ptrdiff_t width = L / 2; width > 0; width /= 2)
        for (ptrdiff_t i = 0; i < width; i++)
            s[i] += s[i + width];
    return s[0];
}
