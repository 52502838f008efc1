/* One instruction set's kernels, both dtypes. Included once by each kernels_<isa>.c, which is built
 * with that instruction set's flags and defines
 *
 *     CVL_ISA            its name
 *     CVL_VECTOR_BYTES   the size of a vector register
 *     CVL_REGISTERS      how many of them there are
 *
 * Everything but the table is static, so that no function built for a newer CPU can be linked into
 * code that runs on an older one. */
#include <stdint.h>

#include "kernels/kernels.h"

#define CVL_INLINE __attribute__((always_inline))
#if defined(__clang__)
#define CVL_UNROLL _Pragma("clang loop unroll(full)")
#else
#define CVL_UNROLL _Pragma("GCC unroll 16")
#endif

#define real float
#define real_bits uint32_t
#define CVL_REAL_BYTES 4
#define CVL_NAME(name) name##_f32
#include "kernels/kernels_impl.h"
#undef real
#undef real_bits
#undef CVL_REAL_BYTES
#undef CVL_NAME

#define real double
#define real_bits uint64_t
#define CVL_REAL_BYTES 8
#define CVL_NAME(name) name##_f64
#include "kernels/kernels_impl.h"
#undef real
#undef real_bits
#undef CVL_REAL_BYTES
#undef CVL_NAME

#define CVL_TABLE_OF(isa) cvl_kernels_of_##isa
#define CVL_TABLE(isa) CVL_TABLE_OF(isa)
#define CVL_STRING_OF(isa) #isa
#define CVL_STRING(isa) CVL_STRING_OF(isa)

extern const cvl_kernels CVL_TABLE(CVL_ISA);
const cvl_kernels CVL_TABLE(CVL_ISA) = {CVL_STRING(CVL_ISA), &table_f32, &table_f64};
