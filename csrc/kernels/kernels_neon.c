/* aarch64, where NEON is always there. */
#define CVL_ISA neon
#define CVL_VECTOR_BYTES 16
#define CVL_REGISTERS 32
#include "kernels/isa_impl.h"
