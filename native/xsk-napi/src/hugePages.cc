/*
 * Huge pages for a large table: a look-up at random then finds its address in the CPU's cache of
 * translations instead of walking page tables (Documentation/admin-guide/mm/transhuge.rst).
 */
#include <sys/mman.h>

#include "system.h"
#include "umem.h"

namespace xsk {

namespace {
constexpr uintptr_t kHugePage = 2u << 20;
}

Napi::Value AdviseHugePages(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  size_t bytes = 0;
  uint8_t* memory = BufferMemory(env, info[0], &bytes);
  if (memory == nullptr) {
    Throw(env, {EINVAL, "adviseHugePages", "", -1, "buffer: must be a SharedArrayBuffer"});
    return env.Undefined();
  }
  // Only what belongs to the buffer alone.
  uintptr_t begin = (reinterpret_cast<uintptr_t>(memory) + kHugePage - 1) & ~(kHugePage - 1);
  uintptr_t end = (reinterpret_cast<uintptr_t>(memory) + bytes) & ~(kHugePage - 1);
  bool advised = end > begin &&
                 madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE) == 0;
  return Napi::Boolean::New(env, advised);
}

}  // namespace xsk
