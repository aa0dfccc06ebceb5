// Selection of the widest instruction set that this machine supports.
#include <cstring>
#include <initializer_list>

#include "interface.h"
#include "kernels.h"

namespace lossmaxpool {

extern const Kernels kernels_plain;
#ifdef LOSSMAXPOOL_X86
extern const Kernels kernels_avx2;
extern const Kernels kernels_avx512;
#endif

namespace {

// The named table; null if the machine lacks its instructions.
const Kernels* table(const char* name) {
#ifdef LOSSMAXPOOL_X86
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  if (std::strcmp(name, "avx512") == 0) return avx512 ? &kernels_avx512 : nullptr;
  if (std::strcmp(name, "avx2") == 0) return avx2 ? &kernels_avx2 : nullptr;
#endif
  return std::strcmp(name, "plain") == 0 ? &kernels_plain : nullptr;
}

const Kernels* widest() {
  for (const char* name : {"avx512", "avx2"})
    if (const Kernels* found = table(name)) return found;
  return &kernels_plain;
}

const Kernels* in_use = widest();

}  // namespace

const Kernels& kernels() { return *in_use; }

bool use_instructions(const char* name) {
  const Kernels* found = table(name);
  if (found) in_use = found;
  return found != nullptr;
}

}  // namespace lossmaxpool

extern "C" int64_t lossmaxpool_interface() { return kInterface; }
