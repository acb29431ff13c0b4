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
#ifdef __x86_64__
#include <cpuid.h>
#endif

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

inline void WriteClock(int32_t* clock, uint64_t now) {
  clock[0] = static_cast<int32_t>(now / 100000000);
  clock[1] = static_cast<int32_t>(now / 1000);
  clock[kNanosecondWord] = static_cast<int32_t>(now);
}

// Does the CPU's counter go on evenly, whatever the CPU does (CPUID 0x80000007, EDX bit 8)?
inline bool HasEvenCounter() {
#ifdef __x86_64__
  uint32_t a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(0x80000007, &a, &b, &c, &d) != 0 && (d & 1 << 8) != 0;
#else
  return false;
#endif
}

inline uint64_t Counter() {
#ifdef __x86_64__
  return __builtin_ia32_rdtsc();
#else
  return 0;
#endif
}

// The clock of a worker. Between two readings of the kernel's it goes on by the CPU's counter,
// which takes less than half as long to read. How fast that counts is found anew each second.
class WorkerClock {
 public:
  int32_t* words = nullptr;

  // Words 0 to 2, by the kernel's clock.
  void Write() {
    uint64_t before = Counter();
    uint64_t now = Nanoseconds();
    // Read last, so that what is told by it is never before `now`.
    counter_ = Counter();
    nanoseconds_ = now;
    WriteClock(words, now);
    // Else something else had the CPU in between, and the two are not of one moment.
    isOneMoment_ = counter_ - before <= kMomentCounts;
    if (isEven_ && isOneMoment_ && now - sinceNanoseconds_ >= kPeriod) Calibrate();
  }

  // One of the nanosecond words.
  void WriteNanoseconds(uint32_t word) { words[word] = static_cast<int32_t>(Now()); }

 private:
  static constexpr uint64_t kPeriod = 1000000000;
  // Counts after which the kernel is asked again: some milliseconds.
  static constexpr uint64_t kCountsMax = 1 << 24;
  // About a microsecond.
  static constexpr uint64_t kMomentCounts = 1 << 12;

  uint64_t Now() const {
    uint64_t passed = Counter() - counter_;
    if (rate_ == 0 || !isOneMoment_ || passed > kCountsMax) return Nanoseconds();
    return nanoseconds_ + (passed * rate_ >> 32);
  }

  void Calibrate() {
    uint64_t counts = counter_ - sinceCounter_;
    uint64_t nanoseconds = nanoseconds_ - sinceNanoseconds_;
    // The first time there is nothing to compare with; after a long sleep it would not fit.
    bool fits = sinceNanoseconds_ != 0 && counts > 0 && nanoseconds < 4 * kPeriod;
    rate_ = fits ? (nanoseconds << 32) / counts : 0;
    sinceCounter_ = counter_;
    sinceNanoseconds_ = nanoseconds_;
  }

  bool isEven_ = HasEvenCounter();
  bool isOneMoment_ = false;
  uint64_t counter_ = 0;
  uint64_t nanoseconds_ = 0;
  // Of the last calibration.
  uint64_t sinceCounter_ = 0;
  uint64_t sinceNanoseconds_ = 0;
  // Nanoseconds a count, in 1 / 2^32; 0: unknown.
  uint64_t rate_ = 0;
};

}  // namespace xsk
#endif
