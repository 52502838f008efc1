/* x86-64 with AVX2 and FMA. */
#define CVL_ISA avx2
#define CVL_VECTOR_BYTES 32
#define CVL_REGISTERS 16
#include "kernels/isa_impl.h"
