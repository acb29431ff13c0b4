/*
 * What reading CLOCK_MONOTONIC costs, as the addon does it twice a burst: prints the nanoseconds of
 * one reading, the best of several rounds. Argument: readings in a round.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROUNDS 16

static uint64_t nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int main(int count, char** words) {
  long readings = count == 2 ? atol(words[1]) : 0;
  if (readings < 1) {
    fprintf(stderr, "usage: readClock READINGS\n");
    return 2;
  }
  volatile int32_t word = 0;
  double best = 0;
  for (int round = 0; round < ROUNDS; round++) {
    uint64_t begin = nanoseconds();
    for (long reading = 0; reading < readings; reading++) word = (int32_t)nanoseconds();
    double each = (double)(nanoseconds() - begin) / (double)readings;
    if (round == 0 || each < best) best = each;
  }
  (void)word;
  printf("%.3f\n", best);
  return 0;
}
