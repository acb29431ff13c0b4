/*
 * The clock of a worker: four words of JavaScript's, all CLOCK_MONOTONIC modulo 2^32, written where
 * the worker is in native code anyway, so that the time costs it no call.
 *
 *   0  ticks of 100 ms    1  microseconds    2  nanoseconds    3  nanoseconds, see kTransmitWord
 */
#ifndef XSK_CLOCK_H
#define XSK_CLOCK_H

#include <stdint.h>
#include <time.h>

namespace xsk {

constexpr uint32_t kClockWords = 4;
constexpr uint32_t kNanosecondWord = 2;
// When the last txBurst began.
constexpr uint32_t kTransmitWord = 3;

inline uint64_t Nanoseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000000 + static_cast<uint64_t>(now.tv_nsec);
}

// One of the nanosecond words.
inline void WriteNanoseconds(int32_t* clock, uint32_t word) {
  clock[word] = static_cast<int32_t>(Nanoseconds());
}

inline void WriteClock(int32_t* clock) {
  uint64_t now = Nanoseconds();
  clock[0] = static_cast<int32_t>(now / 100000000);
  clock[1] = static_cast<int32_t>(now / 1000);
  clock[kNanosecondWord] = static_cast<int32_t>(now);
}

}  // namespace xsk
#endif
