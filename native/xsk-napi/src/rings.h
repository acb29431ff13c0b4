/*
 * The four rings between a socket and the kernel (Documentation/networking/af_xdp.rst), each with
 * one producer and one consumer:
 *
 *      fill        we produce chunks to receive into      kernel consumes
 *      rx          kernel produces received frames        we consume
 *      tx          we produce frames to send              kernel consumes
 *      completion  kernel produces chunks it has sent     we consume
 *
 * Producer and consumer are free-running 32-bit counters, masked on use. The side that writes a
 * counter may read it plainly; the other side's is read with acquire, our own is published with
 * release, so that descriptors are seen before the counter that covers them. Memory belongs to
 * the kernel and is mapped by Socket.
 */
#ifndef XSK_RINGS_H
#define XSK_RINGS_H

#include <stdint.h>

#include "uapi.h"

namespace xsk {

template <typename Entry>
struct Ring {
  uint32_t* producer = nullptr;
  uint32_t* consumer = nullptr;
  uint32_t* flags = nullptr;
  Entry* entries = nullptr;
  uint32_t mask = 0;
  uint32_t size = 0;
  // Our own counter and the last value seen of the other side's.
  uint32_t head = 0;
  uint32_t tail = 0;
  void* mapping = nullptr;
  size_t mappingBytes = 0;

  Entry& at(uint32_t counter) { return entries[counter & mask]; }
  bool needsWakeup() const {
    return __atomic_load_n(flags, __ATOMIC_RELAXED) & XDP_RING_NEED_WAKEUP;
  }
  uint32_t level() const {
    return __atomic_load_n(producer, __ATOMIC_ACQUIRE) -
           __atomic_load_n(consumer, __ATOMIC_ACQUIRE);
  }
};

// fill and tx: head is what we have produced, tail what the kernel had consumed when last seen.
template <typename Entry>
struct ProducerRing : Ring<Entry> {
  // Free slots; looks at the kernel's counter only when fewer than `wanted` are known.
  uint32_t room(uint32_t wanted) {
    uint32_t known = this->size - (this->head - this->tail);
    if (known >= wanted) return known;
    this->tail = __atomic_load_n(this->consumer, __ATOMIC_ACQUIRE);
    return this->size - (this->head - this->tail);
  }
  void publish() { __atomic_store_n(this->producer, this->head, __ATOMIC_RELEASE); }
  bool drained() {
    this->tail = __atomic_load_n(this->consumer, __ATOMIC_ACQUIRE);
    return this->tail == this->head;
  }
};

// rx and completion: head is what we have consumed, tail what was produced when last seen.
template <typename Entry>
struct ConsumerRing : Ring<Entry> {
  uint32_t available(uint32_t max) {
    uint32_t known = this->tail - this->head;
    if (known < max) {
      this->tail = __atomic_load_n(this->producer, __ATOMIC_ACQUIRE);
      known = this->tail - this->head;
    }
    return known < max ? known : max;
  }
  void release() { __atomic_store_n(this->consumer, this->head, __ATOMIC_RELEASE); }
};

}  // namespace xsk
#endif
