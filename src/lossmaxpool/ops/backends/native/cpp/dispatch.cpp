// The widest instruction set that this machine has.
#include "kernels.h"

namespace lossmaxpool {

extern const Kernels kernels_plain;

#ifdef LOSSMAXPOOL_X86
extern const Kernels kernels_avx2;
extern const Kernels kernels_avx512;

static const Kernels& choose() {
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  return avx512 ? kernels_avx512 : avx2 ? kernels_avx2 : kernels_plain;
}
#else
static const Kernels& choose() { return kernels_plain; }
#endif

const Kernels& kernels() {
  static const Kernels& table = choose();
  return table;
}

}  // namespace lossmaxpool
