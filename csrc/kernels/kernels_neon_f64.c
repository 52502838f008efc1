/* aarch64, where NEON is always there; float64. */
#define CVL_TABLE cvl_kernels_neon_f64
#define CVL_VECTOR_BYTES 16
#define CVL_REGISTERS 32
#include "support/real_f64.h"

#include "kernels/kernels_impl.h"
