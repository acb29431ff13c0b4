/*
 * One AF_XDP socket: a queue of an interface, four rings, and the two calls of the hot path.
 *
 * Chunks on their way (Umem::owner in brackets):
 *
 *   free stack --refill--> fill ring, rx ring [receive] --rxBurst--> worker [user]
 *   worker [user] --txBurst--> tx ring, completion ring [transmit] --reap--> free stack
 *
 * A socket never has more chunks out for receiving than its fill ring has slots, so that refilling
 * need not look at the kernel's counter.
 */
#ifndef XSK_SOCKET_H
#define XSK_SOCKET_H

#include "common.h"
#include "rings.h"
#include "umem.h"

namespace xsk {

// Words of SocketOptions.counters; the names are SOCKET_COUNTERS in index.d.ts.
enum Counter {
  kRxFrames,
  kRxBytes,
  kTxFrames,
  kTxBytes,
  kTxWakeups,
  kTxWakeupRetries,
  kTxWakeupFailures,
  kTxRingFull,
  kRxWakeups,
  kFillStarved,
  kKernelRxDropped,
  kKernelRxInvalid,
  kKernelTxInvalid,
  kKernelRxRingFull,
  kKernelFillRingEmpty,
  kKernelTxRingEmpty,
  kRxRingLevel,
  kTxRingLevel,
  kFillRingLevel,
  kCompletionRingLevel,
  kCounters
};

class Socket final : public Handle {
 public:
  explicit Socket(napi_env env) : Handle(env, Kind::kSocket) {}
  ~Socket() override { Close(); }
  void OnClose() override;

  // The hot calls. False: `fault` says why, nothing further was done.
  bool Receive(uint32_t max, uint32_t* received);
  bool Transmit(uint32_t count, uint32_t* queued);
  bool Statistics();
  // Entries in rx, tx, fill and completion ring.
  void Levels(int32_t* levels) const;
  // Gives up to `limit` free chunks to the kernel.
  bool Refill(uint32_t limit);
  void SetReceiveLimit();
  using Handle::Keep;

  std::shared_ptr<Umem> umem;
  int fd = -1;
  uint32_t slot = 0;
  std::string interface;
  int queue = 0;
  uint32_t ringSize = 0;
  bool zeroCopy = false;
  bool busyPoll = false;
  uint32_t maxTxSkbBudget = 0;
  int32_t* rxWords = nullptr;
  uint32_t rxMax = 0;
  const int32_t* txWords = nullptr;
  uint32_t txMax = 0;
  double* counters = nullptr;

  ProducerRing<uint64_t> fill;
  ConsumerRing<uint64_t> completion;
  ConsumerRing<xdp_desc> rx;
  ProducerRing<xdp_desc> tx;
  std::string fault;

 private:
  struct Chunks;

  bool Reap();
  bool Queue(const Chunks& chunks, uint32_t at, const int32_t* word, xdp_desc* descriptor);
  uint32_t RequestChecksum(uint8_t* frame, uint32_t length, uint32_t request);
  bool CheckFrame(const Chunks& chunks, uint32_t at, const int32_t* word);
  bool FreeUnsent(uint32_t from, uint32_t count);
  bool Wake(int attemptsMax);
  void WakeReceive();
  bool Take(const Chunks& chunks, uint32_t chunk, uint16_t expected, uint16_t next,
            const char* from);
  // Each says what is wrong, and is false.
  bool FaultFrame(uint32_t at, const int32_t* word);
  bool FaultChunk(uint32_t chunk, const char* from);
  bool FaultFreeStack();
  bool FaultOwner(uint32_t chunk, uint16_t found, const std::string& expected);
  std::string DescribeOwner(uint32_t chunk, uint16_t owner) const;
  std::string DescribePlace(uint32_t chunk, bool transmit) const;

  uint32_t receiveHeld_ = 0;   // chunks in the fill or rx ring or with the driver
  uint32_t receiveLimit_ = 0;  // how many may be
  uint32_t transmitHeld_ = 0;  // chunks in the tx or completion ring or with the driver
  bool unsent_ = false;        // the last wake-up left frames in the tx ring
};

Napi::Value OpenSocket(const Napi::CallbackInfo& info);
const char* const* SocketCounterNames();

}  // namespace xsk
#endif
