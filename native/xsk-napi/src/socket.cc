/* The hot path of a socket: receive, refill, transmit, reap. Rings: rings.h, chunks: socket.h. */
#include "socket.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

namespace xsk {

namespace {

constexpr uint32_t kRefillBatch = 32;
// Upper bound of wake-ups of one txBurst. The kernel's default budget is 32 frames a wake-up.
constexpr int kWakeupsMax = 64;

template <typename Entry>
void Unmap(Ring<Entry>* ring) {
  if (ring->mapping != nullptr) munmap(ring->mapping, ring->mappingBytes);
  ring->mapping = nullptr;
}

// Ones' complement sum of big-endian words, as it lies in memory.
uint16_t FoldedSum(const uint8_t* bytes, uint32_t length) {
  uint64_t sum = 0;
  uint32_t at = 0;
  for (; at + 4 <= length; at += 4) {
    uint32_t word;
    memcpy(&word, bytes + at, 4);
    sum += word;
  }
  if (at + 2 <= length) {
    uint16_t word;
    memcpy(&word, bytes + at, 2);
    sum += word;
    at += 2;
  }
  if (at < length) {
    uint16_t word = 0;
    memcpy(&word, bytes + at, 1);
    sum += word;
  }
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

// Finishes a checksum: the field already holds the pseudo-header's sum, which is summed with it.
void FinishChecksum(uint8_t* frame, uint32_t length, uint32_t start, uint32_t offset) {
  uint16_t sum = static_cast<uint16_t>(~FoldedSum(frame + start, length - start));
  if (sum == 0) sum = 0xffff;  // 0 would mean "no checksum" to UDP, and is the same number
  memcpy(frame + start + offset, &sum, 2);
}

}  // namespace

// What a loop over a burst needs of the UMEM, in registers: as far as the compiler knows, the words
// that it writes may be the UMEM's own.
struct Socket::Chunks {
  explicit Chunks(const Umem& umem)
      : area(umem.area), owner(umem.owner.get()), count(umem.chunkCount), size(umem.chunkSize),
        shift(umem.chunkShift), metadata(umem.MetadataBytes()) {}
  uint32_t Of(uint64_t offset) const { return static_cast<uint32_t>(offset >> shift); }

  uint8_t* const area;
  uint16_t* const owner;
  const uint32_t count;
  const uint32_t size;
  const uint32_t shift;
  const uint32_t metadata;
};

std::string Socket::DescribePlace(uint32_t chunk, bool transmit) const {
  uint64_t base = static_cast<uint64_t>(chunk) << umem->chunkShift;
  uint64_t mask = ~static_cast<uint64_t>(umem->chunkSize - 1);
  if (transmit) {
    uint32_t at = __atomic_load_n(completion.consumer, __ATOMIC_ACQUIRE);
    for (; at != __atomic_load_n(completion.producer, __ATOMIC_ACQUIRE); at++) {
      if ((completion.entries[at & completion.mask] & mask) == base) return "completion ring";
    }
    return "tx ring";
  }
  uint32_t at = __atomic_load_n(rx.consumer, __ATOMIC_ACQUIRE);
  for (; at != __atomic_load_n(rx.producer, __ATOMIC_ACQUIRE); at++) {
    if ((rx.entries[at & rx.mask].addr & mask) == base) return "rx ring";
  }
  return "fill ring";
}

std::string Socket::DescribeOwner(uint32_t chunk, uint16_t owner) const {
  if (owner == kOwnerUser) return umem->OnFreeStack(chunk) ? "free stack" : "worker";
  const Socket* holder = umem->sockets[(owner - 1u) / 2];
  if (holder == nullptr) return "closed socket";
  return holder->DescribePlace(chunk, owner % 2 == 0) + " of " + holder->interface + " queue " +
         std::to_string(holder->queue);
}

bool Socket::FaultOwner(uint32_t chunk, uint16_t found, const std::string& expected) {
  fault = "chunk " + std::to_string(chunk) + " is owned by " + DescribeOwner(chunk, found) +
          ", expected " + expected;
  return false;
}

bool Socket::FaultChunk(uint32_t chunk, const char* from) {
  fault = std::string(from) + ": chunk " + std::to_string(chunk) + " is none of " +
          std::to_string(umem->chunkCount);
  return false;
}

bool Socket::FaultFreeStack() {
  fault = "free stack is full: a chunk was freed twice";
  return false;
}

// Hands a chunk over. The debug build first looks whether it is where it has to come from.
inline bool Socket::Take(const Chunks& chunks, uint32_t chunk, uint16_t expected, uint16_t next,
                         const char* from) {
  if (__builtin_expect(chunk >= chunks.count, 0)) return FaultChunk(chunk, from);
  if (kDebug && chunks.owner[chunk] != expected) {
    return FaultOwner(chunk, chunks.owner[chunk], from);
  }
  chunks.owner[chunk] = next;
  return true;
}

bool Socket::Reap() {
  if (transmitHeld_ == 0) return true;
  uint32_t count = completion.available(transmitHeld_);
  if (count == 0) return true;
  const Chunks chunks(*umem);
  const uint16_t held = TransmitOwner(slot);
  for (uint32_t at = 0; at < count; at++) {
    uint32_t chunk = chunks.Of(completion.at(completion.head + at));
    if (!Take(chunks, chunk, held, kOwnerUser, "completion ring")) return false;
    if (kDebug && umem->OnFreeStack(chunk)) return FaultOwner(chunk, kOwnerUser, "tx ring");
    if (!umem->PushFree(chunk)) return FaultFreeStack();
  }
  completion.head += count;
  completion.release();
  transmitHeld_ -= count;
  return true;
}

bool Socket::Refill(uint32_t limit) {
  uint32_t free = umem->FreeCount();
  if (__builtin_expect(free > umem->chunkCount, 0)) {
    fault = "free stack says " + std::to_string(free) + " of " + std::to_string(umem->chunkCount) +
            " chunks";
    return false;
  }
  if (free == 0) counters[kFillStarved] += 1;
  uint32_t count = limit < free ? limit : free;
  if (count == 0) return true;
  const Chunks chunks(*umem);
  const uint16_t held = ReceiveOwner(slot);
  const int32_t* top = umem->freeStack + free;
  for (uint32_t at = 0; at < count; at++) {
    uint32_t chunk = chunks.Of(static_cast<uint32_t>(*top--));
    if (!Take(chunks, chunk, kOwnerUser, held, "free stack")) return false;
    fill.at(fill.head + at) = static_cast<uint64_t>(chunk) << chunks.shift;
  }
  umem->freeStack[0] = static_cast<int32_t>(free - count);
  fill.head += count;
  fill.publish();
  receiveHeld_ += count;
  return true;
}

void Socket::SetReceiveLimit() {
  uint32_t share = umem->ReceiveShare();
  receiveLimit_ = share < ringSize ? share : ringSize;
  if (receiveLimit_ == 0) receiveLimit_ = 1;
}

void Socket::WakeReceive() {
  counters[kRxWakeups] += 1;
  recvfrom(fd, nullptr, 0, MSG_DONTWAIT, nullptr, nullptr);
}

bool Socket::Receive(uint32_t max, uint32_t* received) {
  *received = 0;
  if (!Reap()) return false;
  if (unsent_ && !Wake(1)) return false;
  uint32_t count = rx.available(max < rxMax ? max : rxMax);
  if (count > 0) {
    const Chunks chunks(*umem);
    const uint16_t held = ReceiveOwner(slot);
    int32_t* word = rxWords;
    uint64_t bytes = 0;
    for (uint32_t at = 0; at < count; at++) {
      const xdp_desc descriptor = rx.at(rx.head + at);
      __builtin_prefetch(chunks.area + descriptor.addr);
      uint32_t chunk = chunks.Of(descriptor.addr);
      if (!Take(chunks, chunk, held, kOwnerUser, "rx ring")) return false;
      *word++ = static_cast<int32_t>(descriptor.addr);
      *word++ = static_cast<int32_t>(descriptor.len);
      bytes += descriptor.len;
    }
    rx.head += count;
    rx.release();
    receiveHeld_ -= count;
    counters[kRxFrames] += count;
    counters[kRxBytes] += static_cast<double>(bytes);
  }
  if (receiveHeld_ < receiveLimit_) {
    uint32_t missing = receiveLimit_ - receiveHeld_;
    if ((missing >= kRefillBatch || missing >= receiveLimit_ / 2) && !Refill(missing)) return false;
  }
  if (busyPoll || fill.needsWakeup()) WakeReceive();
  umem->clock.Write();
  *received = count;
  return true;
}

// Asks the kernel to send until it has taken everything or the bound is reached.
bool Socket::Wake(int attemptsMax) {
  unsent_ = false;
  for (int attempt = 0; attempt < attemptsMax; attempt++) {
    if (!tx.needsWakeup() && !busyPoll) return true;
    counters[kTxWakeups] += 1;
    if (sendto(fd, nullptr, 0, MSG_DONTWAIT, nullptr, 0) >= 0) return true;
    if (errno != EAGAIN && errno != EBUSY && errno != ENOBUFS && errno != EINTR) {
      counters[kTxWakeupFailures] += 1;
      return true;
    }
    // EAGAIN also says "budget used up": then there was progress, and the next call goes on.
    counters[kTxWakeupRetries] += 1;
    if (!Reap()) return false;
    if (tx.drained()) return true;
  }
  counters[kTxWakeupFailures] += 1;
  unsent_ = true;
  return true;
}

bool Socket::FaultFrame(uint32_t at, const int32_t* word) {
  uint32_t request = static_cast<uint32_t>(word[2]);
  uint32_t inside = static_cast<uint32_t>(word[0]) & (umem->chunkSize - 1);
  uint64_t length = static_cast<uint32_t>(word[1]);
  const char* wrong = "checksum field must lie within the frame";
  if (umem->ChunkOf(static_cast<uint32_t>(word[0])) >= umem->chunkCount) {
    wrong = "offset is outside of the UMEM";
  } else if (inside < umem->MetadataBytes()) {
    wrong = "frame must begin 24 bytes after its chunk, where the tx metadata lies";
  } else if (length == 0 || inside + length > umem->chunkSize) {
    wrong = "frame must have a byte and end within its chunk";
  }
  fault = "frame " + std::to_string(at) + " (offset " + std::to_string(word[0]) + ", length " +
          std::to_string(word[1]) + ", checksum start " + std::to_string(request >> 16) +
          " offset " + std::to_string(request & 0xffff) + "): " + wrong;
  return false;
}

inline bool Socket::CheckFrame(const Chunks& chunks, uint32_t at, const int32_t* word) {
  uint32_t offset = static_cast<uint32_t>(word[0]);
  uint32_t length = static_cast<uint32_t>(word[1]);
  uint32_t request = static_cast<uint32_t>(word[2]);
  uint32_t inside = offset & (chunks.size - 1);
  bool lies = chunks.Of(offset) < chunks.count && inside >= chunks.metadata && length != 0 &&
              length <= chunks.size - inside;
  bool fits = request == 0 || (request >> 16) + (request & 0xffff) + 2 <= length;
  return __builtin_expect(lies && fits, 1) || FaultFrame(at, word);
}

// Asks the kernel for a checksum, or finishes it. Returns the descriptor's options.
uint32_t Socket::RequestChecksum(uint8_t* frame, uint32_t length, uint32_t request) {
  uint32_t start = request >> 16;
  uint32_t offset = request & 0xffff;
  // A zero-copy driver may ignore the request: there the sum is computed here.
  if (!umem->txMetadata || zeroCopy) {
    FinishChecksum(frame, length, start, offset);
    return 0;
  }
  TxMetadata metadata = {};
  metadata.flags = kTxMetadataChecksum;
  metadata.checksumStart = static_cast<uint16_t>(start);
  metadata.checksumOffset = static_cast<uint16_t>(offset);
  memcpy(frame - sizeof(metadata), &metadata, sizeof(metadata));
  return kTxMetadataOption;
}

// Fills one tx descriptor.
inline bool Socket::Queue(const Chunks& chunks, uint32_t at, const int32_t* word,
                          xdp_desc* descriptor) {
  if (!CheckFrame(chunks, at, word)) return false;
  uint32_t offset = static_cast<uint32_t>(word[0]);
  uint32_t length = static_cast<uint32_t>(word[1]);
  uint32_t request = static_cast<uint32_t>(word[2]);
  uint32_t chunk = chunks.Of(offset);
  if (kDebug && umem->OnFreeStack(chunk)) return FaultOwner(chunk, kOwnerUser, "worker");
  if (!Take(chunks, chunk, kOwnerUser, TransmitOwner(slot), "worker")) return false;
  descriptor->addr = offset;
  descriptor->len = length;
  descriptor->options = request == 0 ? 0 : RequestChecksum(chunks.area + offset, length, request);
  return true;
}

// Frames for which the tx ring had no room go back to the free stack.
bool Socket::FreeUnsent(uint32_t from, uint32_t count) {
  const Chunks chunks(*umem);
  for (uint32_t at = from; at < count; at++) {
    if (!CheckFrame(chunks, at, txWords + at * 3)) return false;
    uint32_t chunk = chunks.Of(static_cast<uint32_t>(txWords[at * 3]));
    if (kDebug && umem->OnFreeStack(chunk)) return FaultOwner(chunk, kOwnerUser, "worker");
    if (!Take(chunks, chunk, kOwnerUser, kOwnerUser, "worker")) return false;
    if (!umem->PushFree(chunk)) return FaultFreeStack();
    counters[kTxRingFull] += 1;
  }
  return true;
}

bool Socket::Transmit(uint32_t count, uint32_t* queued) {
  *queued = 0;
  umem->clock.WriteNanoseconds(kTransmitWord);
  if (count > txMax) {
    fault = "count " + std::to_string(count) + ": tx holds " + std::to_string(txMax) + " frames";
    return false;
  }
  if (transmitHeld_ > ringSize / 2 && !Reap()) return false;
  if (tx.room(count) < count && !Wake(kWakeupsMax)) return false;
  uint32_t room = tx.room(count);
  uint32_t take = room < count ? room : count;
  const Chunks chunks(*umem);
  const int32_t* word = txWords;
  uint64_t bytes = 0;
  bool valid = true;
  uint32_t done = 0;
  for (; done < take; done++, word += 3) {
    valid = Queue(chunks, done, word, &tx.at(tx.head + done));
    if (!valid) break;
    bytes += static_cast<uint32_t>(word[1]);
  }
  if (done > 0) {
    tx.head += done;
    tx.publish();
    transmitHeld_ += done;
    counters[kTxFrames] += done;
    counters[kTxBytes] += static_cast<double>(bytes);
    if (!Wake(kWakeupsMax)) return false;
  }
  *queued = done;
  if (!valid || !FreeUnsent(done, count)) return false;
  umem->clock.WriteNanoseconds(kNanosecondWord);
  return true;
}

bool Socket::Statistics() {
  xdp_statistics statistics = {};
  socklen_t length = sizeof(statistics);
  if (getsockopt(fd, SOL_XDP, XDP_STATISTICS, &statistics, &length) != 0) return false;
  counters[kKernelRxDropped] = static_cast<double>(statistics.rx_dropped);
  counters[kKernelRxInvalid] = static_cast<double>(statistics.rx_invalid_descs);
  counters[kKernelTxInvalid] = static_cast<double>(statistics.tx_invalid_descs);
  counters[kKernelRxRingFull] = static_cast<double>(statistics.rx_ring_full);
  counters[kKernelFillRingEmpty] = static_cast<double>(statistics.rx_fill_ring_empty_descs);
  counters[kKernelTxRingEmpty] = static_cast<double>(statistics.tx_ring_empty_descs);
  counters[kRxRingLevel] = rx.level();
  counters[kTxRingLevel] = tx.level();
  counters[kFillRingLevel] = fill.level();
  counters[kCompletionRingLevel] = completion.level();
  return true;
}

void Socket::Levels(int32_t* levels) const {
  levels[0] = static_cast<int32_t>(rx.level());
  levels[1] = static_cast<int32_t>(tx.level());
  levels[2] = static_cast<int32_t>(fill.level());
  levels[3] = static_cast<int32_t>(completion.level());
}

void Socket::OnClose() {
  if (fd >= 0) close(fd);
  fd = -1;
  Unmap(&fill);
  Unmap(&completion);
  Unmap(&rx);
  Unmap(&tx);
  if (umem == nullptr || slot >= umem->sockets.size() || umem->sockets[slot] != this) return;
  umem->sockets[slot] = nullptr;
  // A zero-copy driver lets go of its chunks shortly after the close; the copy path at once.
  if (zeroCopy) usleep(20000);
  for (uint32_t chunk = 0; chunk < umem->chunkCount; chunk++) {
    uint16_t owner = umem->owner[chunk];
    if (owner != ReceiveOwner(slot) && owner != TransmitOwner(slot)) continue;
    umem->owner[chunk] = kOwnerUser;
    umem->PushFree(chunk);
  }
  for (Socket* other : umem->sockets) {
    if (other != nullptr) other->SetReceiveLimit();
  }
}

}  // namespace xsk
