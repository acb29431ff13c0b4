/* UMEM: registration and the account of chunks. Layout and ownership: umem.h. */
#include "umem.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "socket.h"

namespace xsk {

// The memory of a SharedArrayBuffer, seen through a Uint8Array made for the purpose, since
// Node-API 9 has no call for shared buffers.
uint8_t* BufferMemory(Napi::Env env, Napi::Value buffer, size_t* bytes) {
  Napi::Object global = env.Global();
  Napi::Function shared = global.Get("SharedArrayBuffer").As<Napi::Function>();
  if (!buffer.IsObject() || !buffer.As<Napi::Object>().InstanceOf(shared)) return nullptr;
  Napi::Object view = global.Get("Uint8Array").As<Napi::Function>().New({buffer});
  void* data = nullptr;
  napi_get_typedarray_info(env, view, nullptr, bytes, &data, nullptr, nullptr);
  return static_cast<uint8_t*>(data);
}

namespace {

// Kernels that charge UMEM and maps to RLIMIT_MEMLOCK need it raised. Without CAP_SYS_RESOURCE
// that fails, and is not needed where CAP_IPC_LOCK is there: so the result does not matter.
void RaiseLockedMemory() {
  rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
  setrlimit(RLIMIT_MEMLOCK, &unlimited);
}

int TryRegister(const Umem& umem, bool txMetadata, const char** syscall) {
  *syscall = "socket(AF_XDP)";
  int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  UmemRegistration registration = {};
  registration.address = reinterpret_cast<uint64_t>(umem.area);
  registration.length = umem.areaBytes;
  registration.chunkSize = umem.chunkSize;
  if (txMetadata) {
    registration.flags = kUmemTxMetadataLength;
    registration.txMetadataLength = sizeof(TxMetadata);
  }
  *syscall = "setsockopt(XDP_UMEM_REG)";
  if (setsockopt(fd, SOL_XDP, XDP_UMEM_REG, &registration, sizeof(registration)) == 0) return fd;
  int saved = errno;
  close(fd);
  errno = saved;
  return -1;
}

std::string RegistrationHint(int number, const char* syscall) {
  if (number == EPERM) return "opening AF_XDP sockets needs CAP_NET_RAW";
  if (number == EAFNOSUPPORT) return "this kernel has no AF_XDP (CONFIG_XDP_SOCKETS)";
  if (number == ENOBUFS && strchr(syscall, '(') != nullptr) {
    return "RLIMIT_MEMLOCK does not allow to pin the UMEM; grant CAP_IPC_LOCK or raise the limit";
  }
  return "";
}

}  // namespace

void Umem::OnClose() {
  for (Socket* socket : sockets) {
    if (socket != nullptr) socket->Close();
  }
  if (registeredFd >= 0) close(registeredFd);
  registeredFd = -1;
}

int Umem::Register(const char** syscall) {
  int fd = TryRegister(*this, txMetadata, syscall);
  return fd;
}

bool Umem::OnFreeStack(uint32_t chunk) const {
  int32_t offset = static_cast<int32_t>(chunk << chunkShift);
  for (uint32_t at = 1; at <= FreeCount() && at <= chunkCount; at++) {
    if (freeStack[at] == offset) return true;
  }
  return false;
}

uint32_t Umem::OpenSockets() const {
  uint32_t count = 0;
  for (Socket* socket : sockets) count += socket != nullptr;
  return count;
}

Socket* Umem::AnySocket() const {
  for (Socket* socket : sockets) {
    if (socket != nullptr) return socket;
  }
  return nullptr;
}

uint32_t Umem::ReceiveShare() const {
  uint32_t count = OpenSockets();
  // An eighth stays for frames that the worker and the tx rings hold.
  return (chunkCount - chunkCount / 8) / (count == 0 ? 1 : count);
}

Napi::Value PageOffset(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  size_t bytes = 0;
  uint8_t* memory = BufferMemory(env, info[0], &bytes);
  if (memory == nullptr) {
    Throw(env, {EINVAL, "pageOffset", "", -1, "buffer: must be a SharedArrayBuffer"});
    return env.Undefined();
  }
  uint64_t page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  uint64_t address = reinterpret_cast<uint64_t>(memory);
  return Napi::Number::New(env, static_cast<double>((page - address % page) % page));
}

namespace {

// Reads UmemOptions into `umem`; false when something was thrown.
bool ReadUmemOptions(Napi::Env env, Napi::Object options, Umem* umem, bool* txMetadata) {
  Arguments arguments(env, "createUmem");
  size_t bytes = 0;
  uint8_t* memory = BufferMemory(env, options.Get("buffer"), &bytes);
  if (memory == nullptr) arguments.Refuse("buffer: must be a SharedArrayBuffer");
  double offset = arguments.Number(options.Get("offset"), "offset", 0, 9007199254740991.0);
  int chunkSize = arguments.Int(options.Get("chunkSize"), "chunkSize", 2048, 4096);
  if (arguments.ok && chunkSize != 2048 && chunkSize != 4096) {
    arguments.Refuse("chunkSize " + std::to_string(chunkSize) + ": must be 2048 or 4096");
  }
  if (!arguments.ok) return false;
  // Offsets of frames are int32 in JavaScript.
  int chunksMax = INT32_MAX / chunkSize;
  int chunkCount = arguments.Int(options.Get("chunkCount"), "chunkCount", 1, chunksMax);
  *txMetadata = arguments.Boolean(options.Get("txMetadata"), "txMetadata");
  uint64_t page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  umem->areaBytes = static_cast<uint64_t>(chunkSize) * static_cast<uint64_t>(chunkCount);
  umem->area = memory + static_cast<uint64_t>(offset);
  if (arguments.ok && reinterpret_cast<uint64_t>(umem->area) % page != 0) {
    uint64_t over = reinterpret_cast<uint64_t>(umem->area) % page;
    arguments.Refuse("offset " + std::to_string(static_cast<uint64_t>(offset)) + ": is " +
                     std::to_string(over) + " bytes past a page boundary; use pageOffset(buffer)");
  }
  if (arguments.ok && static_cast<uint64_t>(offset) + umem->areaBytes > bytes) {
    arguments.Refuse("buffer of " + std::to_string(bytes) + " bytes: offset and chunks need " +
                     std::to_string(static_cast<uint64_t>(offset) + umem->areaBytes));
  }
  umem->chunkSize = static_cast<uint32_t>(chunkSize);
  umem->chunkShift = chunkSize == 2048 ? 11 : 12;
  umem->chunkCount = static_cast<uint32_t>(chunkCount);
  umem->freeStack = static_cast<int32_t*>(arguments.Array(
      options.Get("free"), "free", napi_int32_array, umem->chunkCount + 1, nullptr));
  umem->clock.words = static_cast<int32_t*>(
      arguments.Array(options.Get("clock"), "clock", napi_int32_array, kClockWords, nullptr));
  return arguments.ok;
}

}  // namespace

Napi::Value CreateUmem(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!info[0].IsObject()) {
    Throw(env, {EINVAL, "createUmem", "", -1, "options: must be an object"});
    return env.Undefined();
  }
  Napi::Object options = info[0].As<Napi::Object>();
  auto umem = std::make_shared<Umem>(env);
  bool wanted = false;
  if (!ReadUmemOptions(env, options, umem.get(), &wanted)) return env.Undefined();
  umem->owner.reset(new uint16_t[umem->chunkCount]());
  umem->clock.Write();
  RaiseLockedMemory();
  const char* syscall = "";
  umem->txMetadata = wanted;
  int fd = umem->Register(&syscall);
  if (fd < 0 && wanted && errno == EINVAL) {  // a kernel before 6.8
    umem->txMetadata = false;
    fd = umem->Register(&syscall);
  }
  if (fd < 0) {
    int number = errno;
    Throw(env, {number, syscall, "", -1, RegistrationHint(number, syscall)});
    return env.Undefined();
  }
  umem->registeredFd = fd;
  umem->Keep(options.Get("buffer"));
  umem->Keep(options.Get("free"));
  umem->Keep(options.Get("clock"));
  Napi::Object object = Wrap(env, umem);
  object.Set("txMetadata", umem->txMetadata);
  object.Set("headroom", kPacketHeadroom);
  return object;
}

}  // namespace xsk
