/*
 * What the times at both ends of a transmit cost: prints nanoseconds a burst, the best of several
 * rounds of the addon's own clock with them less as many without. Argument: bursts in a round.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../../native/xsk-napi/src/clock.h"

static const int kRounds = 16;
/* After which the clock goes by the CPU's counter. */
static const int kBurstsBefore = 1000;
static const long kPauseNanoseconds = 2000000;

static double Measure(xsk::WorkerClock* clock, long bursts, bool timed) {
  uint64_t begin = xsk::Nanoseconds();
  for (long burst = 0; burst < bursts; burst++) {
    clock->Write();
    if (!timed) continue;
    clock->WriteNanoseconds(xsk::kTransmitWord);
    clock->WriteNanoseconds(xsk::kNanosecondWord);
  }
  return static_cast<double>(xsk::Nanoseconds() - begin) / static_cast<double>(bursts);
}

int main(int count, char** words) {
  long bursts = count == 2 ? atol(words[1]) : 0;
  if (bursts < 1) {
    fprintf(stderr, "usage: readClock BURSTS\n");
    return 2;
  }
  int32_t memory[xsk::kClockWords] = {};
  xsk::WorkerClock clock;
  clock.words = memory;
  timespec pause = {0, kPauseNanoseconds};
  for (int burst = 0; burst < kBurstsBefore; burst++) {
    clock.Write();
    nanosleep(&pause, nullptr);
  }
  double best = 0;
  for (int round = 0; round < kRounds; round++) {
    double difference = -Measure(&clock, bursts, false);
    difference += Measure(&clock, bursts, true);
    if (round == 0 || difference < best) best = difference;
  }
  printf("%.3f\n", best);
  return 0;
}
