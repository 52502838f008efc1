/* Vectors of `real`: the one header that knows they are GNU vector extensions.
 *
 * Included by kernels_impl.h with `real`, `real_bits` and CVL_VECTOR_BYTES defined. */

#if defined(__AVX__)
#include <immintrin.h>
#endif

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

/* All bits set in lanes 0 .. n-1, none in the others; 0 <= n <= L. */
static inline mask first_lanes(ptrdiff_t n) {
    static const real_bits bits[2 * L] = {[0 ... L - 1] = ~(real_bits)0};
    mask m;
    __builtin_memcpy(&m, bits + L - n, sizeof m);
    return m;
}

/* Some neighbouring lanes. The others are neither read nor written in memory, even where there is
 * none. */
#if defined(__AVX512F__) && CVL_VECTOR_BYTES == 64
typedef uint16_t some_lanes;

static inline some_lanes lanes_between(ptrdiff_t first, ptrdiff_t end) {
    first = first < 0 ? 0 : first > L ? L : first;
    end = end < first ? first : end > L ? L : end;
    return (some_lanes)((1u << end) - (1u << first));
}

static inline vec load_some(const real *p, some_lanes lanes) {
#if CVL_REAL_BYTES == 4
    return (vec)_mm512_maskz_loadu_ps(lanes, p);
#else
    return (vec)_mm512_maskz_loadu_pd((__mmask8)lanes, p);
#endif
}

static inline void store_some(real *p, vec v, some_lanes lanes) {
#if CVL_REAL_BYTES == 4
    _mm512_mask_storeu_ps(p, lanes, (__m512)v);
#else
    _mm512_mask_storeu_pd(p, (__mmask8)lanes, (__m512d)v);
#endif
}
#elif defined(__AVX__) && CVL_VECTOR_BYTES == 32
typedef mask some_lanes;

static inline some_lanes lanes_between(ptrdiff_t first, ptrdiff_t end) {
    first = first < 0 ? 0 : first > L ? L : first;
    end = end < first ? first : end > L ? L : end;
    return first_lanes(end) & ~first_lanes(first);
}

static inline vec load_some(const real *p, some_lanes lanes) {
#if CVL_REAL_BYTES == 4
    return (vec)_mm256_maskload_ps(p, (__m256i)lanes);
#else
    return (vec)_mm256_maskload_pd(p, (__m256i)lanes);
#endif
}

static inline void store_some(real *p, vec v, some_lanes lanes) {
#if CVL_REAL_BYTES == 4
    _mm256_maskstore_ps(p, (__m256i)lanes, (__m256)v);
#else
    _mm256_maskstore_pd(p, (__m256i)lanes, (__m256d)v);
#endif
}
#else
typedef struct some_lanes {
    ptrdiff_t first, end;
} some_lanes;

static inline some_lanes lanes_between(ptrdiff_t first, ptrdiff_t end) {
    first = first < 0 ? 0 : first;
    end = end > L ? L : end;
    return (some_lanes){first, end};
}

static inline vec load_some(const real *p, some_lanes lanes) {
    if (lanes.end - lanes.first == L)
        return load(p);
    vec v = {0};
    for (ptrdiff_t i = lanes.first; i < lanes.end; i++)
        v[i] = p[i];
    return v;
}

static inline void store_some(real *p, vec v, some_lanes lanes) {
    if (lanes.end - lanes.first == L)
        store(p, v);
    else
        for (ptrdiff_t i = lanes.first; i < lanes.end; i++)
            p[i] = v[i];
}
#endif

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
