/* What this kernel can do, found by trying it on a socket that is never bound. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "system.h"
#include "uapi.h"

namespace xsk {

namespace {

constexpr uint32_t kProbeRing = 64;

bool HasTxMetadata(int fd, void* page, uint32_t bytes) {
  UmemRegistration registration = {};
  registration.address = reinterpret_cast<uint64_t>(page);
  registration.length = bytes;
  registration.chunkSize = bytes;
  registration.flags = kUmemTxMetadataLength;
  registration.txMetadataLength = sizeof(TxMetadata);
  return setsockopt(fd, SOL_XDP, XDP_UMEM_REG, &registration, sizeof(registration)) == 0;
}

bool HasMaxTxSkbBudget(int fd) {
  uint32_t size = kProbeRing;
  return setsockopt(fd, SOL_XDP, XDP_TX_RING, &size, sizeof(size)) == 0 &&
         setsockopt(fd, SOL_XDP, kMaxTxSkbBudgetOption, &size, sizeof(size)) == 0;
}

bool HasPreferBusyPoll(int fd) {
  int yes = 1;
  return setsockopt(fd, SOL_SOCKET, SO_PREFER_BUSY_POLL, &yes, sizeof(yes)) == 0;
}

}  // namespace

Napi::Value Probe(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  uint32_t bytes = 4096;
  void* page = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
  utsname kernel = {};
  uname(&kernel);
  const napi_node_version* version = nullptr;
  napi_get_node_version(env, &version);
  Napi::Object object = Napi::Object::New(env);
  object.Set("afXdp", fd >= 0);
  object.Set("txMetadata", fd >= 0 && page != MAP_FAILED && HasTxMetadata(fd, page, bytes));
  object.Set("maxTxSkbBudget", fd >= 0 && HasMaxTxSkbBudget(fd));
  object.Set("preferBusyPoll", fd >= 0 && HasPreferBusyPoll(fd));
  object.Set("nodeVersion", std::to_string(version->major) + "." + std::to_string(version->minor) +
                                "." + std::to_string(version->patch));
  object.Set("kernel", std::string(kernel.release));
  if (fd >= 0) close(fd);
  if (page != MAP_FAILED) munmap(page, bytes);
  return object;
}

}  // namespace xsk
