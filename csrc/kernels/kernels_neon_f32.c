/* aarch64, where NEON is always there; float32. */
#define CVL_TABLE cvl_kernels_neon_f32
#define CVL_VECTOR_BYTES 16
#define CVL_REGISTERS 32
#include "support/real_f32.h"

#include "kernels/kernels_impl.h"
