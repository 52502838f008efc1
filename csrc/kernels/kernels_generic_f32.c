/* Any CPU: SSE2 on x86-64, whatever the compiler makes of 16-byte vectors elsewhere; float32. */
#define CVL_TABLE cvl_kernels_generic_f32
#define CVL_VECTOR_BYTES 16
#define CVL_REGISTERS 16
#include "support/real_f32.h"

#include "kernels/kernels_impl.h"
