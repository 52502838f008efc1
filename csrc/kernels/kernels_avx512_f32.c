/* x86-64 with AVX-512 F, VL, DQ and BW; float32. */
#define CVL_TABLE cvl_kernels_avx512_f32
#define CVL_VECTOR_BYTES 64
#define CVL_REGISTERS 32
#include "support/real_f32.h"

#include "kernels/kernels_impl.h"
