/* x86-64 with AVX-512 F, VL, DQ and BW. */
#define CVL_ISA avx512
#define CVL_VECTOR_BYTES 64
#define CVL_REGISTERS 32
#include "kernels/isa_impl.h"
