/*
 * UMEM: the memory that holds frames, cut into chunks, shared by all sockets of one worker.
 *
 * The memory is JavaScript's (a SharedArrayBuffer, referenced while the UMEM is open). A chunk is
 * at any time in exactly one place: on the free stack, with the worker, or with the kernel on
 * behalf of one socket (fill and rx ring, or tx and completion ring). `owner` says which socket,
 * so that closing it gets back every chunk, also those the kernel never returned; the debug build
 * checks it at each handover.
 */
#ifndef XSK_UMEM_H
#define XSK_UMEM_H

#include "clock.h"
#include "common.h"
#include "uapi.h"

namespace xsk {

class Socket;

// Values of Umem::owner: 0, or a socket's slot in two roles.
constexpr uint16_t kOwnerUser = 0;
constexpr uint16_t ReceiveOwner(uint32_t slot) { return static_cast<uint16_t>(slot * 2 + 1); }
constexpr uint16_t TransmitOwner(uint32_t slot) { return static_cast<uint16_t>(slot * 2 + 2); }

class Umem final : public Handle {
 public:
  static constexpr uint32_t kSocketsMax = 256;

  explicit Umem(napi_env env) : Handle(env, Kind::kUmem) {}
  ~Umem() override { Close(); }
  void OnClose() override;

  // Registers the memory on a new AF_XDP socket and returns it; -1 with errno.
  int Register(const char** syscall);
  uint32_t ChunkOf(uint64_t offset) const { return static_cast<uint32_t>(offset >> chunkShift); }
  // In front of a frame that leaves.
  uint32_t MetadataBytes() const { return txMetadata ? sizeof(TxMetadata) : 0; }
  uint32_t FreeCount() const { return static_cast<uint32_t>(freeStack[0]); }
  // Puts a chunk on the free stack; false when the stack says that all are there already.
  bool PushFree(uint32_t chunk) {
    uint32_t count = FreeCount();
    if (__builtin_expect(count >= chunkCount, 0)) return false;
    freeStack[count + 1] = static_cast<int32_t>(chunk << chunkShift);
    freeStack[0] = static_cast<int32_t>(count + 1);
    return true;
  }
  bool OnFreeStack(uint32_t chunk) const;
  // How many chunks one socket may hold for receiving, so that the others get theirs.
  uint32_t ReceiveShare() const;
  uint32_t OpenSockets() const;
  Socket* AnySocket() const;
  using Handle::Keep;

  uint8_t* area = nullptr;
  uint64_t areaBytes = 0;
  uint32_t chunkSize = 0;
  uint32_t chunkShift = 0;
  uint32_t chunkCount = 0;
  int32_t* freeStack = nullptr;
  WorkerClock clock;
  bool txMetadata = false;
  int registeredFd = -1;  // registered, not yet used by a socket
  std::vector<Socket*> sockets;  // by slot; null = slot is free
  std::unique_ptr<uint16_t[]> owner;
};

// Where a SharedArrayBuffer's memory begins, and its length; null of anything else.
uint8_t* BufferMemory(Napi::Env env, Napi::Value buffer, size_t* bytes);
Napi::Value AdviseHugePages(const Napi::CallbackInfo& info);
Napi::Value PageOffset(const Napi::CallbackInfo& info);
Napi::Value CreateUmem(const Napi::CallbackInfo& info);

}  // namespace xsk
#endif
