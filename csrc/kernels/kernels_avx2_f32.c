/* x86-64 with AVX2 and FMA; float32. */
#define CVL_TABLE cvl_kernels_avx2_f32
#define CVL_VECTOR_BYTES 32
#define CVL_REGISTERS 16
#include "support/real_f32.h"

#include "kernels/kernels_impl.h"
