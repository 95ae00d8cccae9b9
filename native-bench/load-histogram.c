/*
 * A histogram with logarithmic buckets, each split into 1,024 linear parts, after HdrHistogram: a value is
 * kept to 0.1 % from 1 ns to hours, in constant time and constant memory, and no sample is dropped.
 */
#include "load.h"

#include <string.h>

#define SUB_BITS 10
#define SUB (1u << SUB_BITS)
#define BUCKETS (64 - SUB_BITS + 1)

static uint64_t counts[BUCKETS * SUB];
static uint64_t total, lowest, highest;
static double sum;

static unsigned slot(uint64_t value) {
  if (value < SUB) return (unsigned)value;
  unsigned shift = 63 - __builtin_clzll(value) - (SUB_BITS - 1);
  /* After the shift the value lies in [SUB / 2, SUB): half of each bucket's slots are used. */
  return shift * (SUB / 2) + (unsigned)(value >> shift);
}

/* The middle of a slot. */
static uint64_t slot_value(unsigned index) {
  if (index < SUB) return index;
  unsigned shift = (index - SUB / 2) / (SUB / 2);
  uint64_t base = (uint64_t)(index - shift * (SUB / 2)) << shift;
  return base + ((1ull << shift) >> 1);
}

void histogram_reset(void) {
  memset(counts, 0, sizeof counts);
  total = highest = 0;
  lowest = UINT64_MAX;
  sum = 0;
}

void histogram_record(uint64_t value) {
  counts[slot(value)]++;
  total++;
  sum += (double)value;
  if (value < lowest) lowest = value;
  if (value > highest) highest = value;
}

uint64_t histogram_percentile(double percent) {
  if (total == 0) return 0;
  uint64_t wanted = (uint64_t)(percent / 100 * (double)total + 0.999999);
  if (wanted < 1) wanted = 1;
  uint64_t seen = 0;
  for (unsigned i = 0; i < BUCKETS * SUB; i++) {
    seen += counts[i];
    if (seen >= wanted) return slot_value(i) > highest ? highest : slot_value(i);
  }
  return highest;
}

void histogram_print(FILE *out) {
  fprintf(out, "\"latency\":{\"count\":%lu,\"min\":%lu,\"mean\":%.0f,\"p50\":%lu,\"p90\":%lu,\"p99\":%lu,\"p999\":%lu,\"max\":%lu},",
          total, total ? lowest : 0, total ? sum / (double)total : 0, histogram_percentile(50),
          histogram_percentile(90), histogram_percentile(99), histogram_percentile(99.9), highest);
  fprintf(out, "\"histogram\":[");
  bool first = true;
  for (unsigned i = 0; i < BUCKETS * SUB; i++) {
    if (counts[i] == 0) continue;
    fprintf(out, "%s[%lu,%lu]", first ? "" : ",", slot_value(i), counts[i]);
    first = false;
  }
  fprintf(out, "]");
}
