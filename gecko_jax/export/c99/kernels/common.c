/* Sums are 32 bits wide, as the exporter has checked; shifts of negative numbers must be arithmetic. */
typedef char shifts_are_arithmetic[(-5 >> 1) == -3 ? 1 : -1];

#ifdef __GNUC__
#define KERNEL __attribute__((noinline)) static
#define INLINE __attribute__((always_inline)) static inline
#else
#define KERNEL static
#define INLINE static inline
#endif

/* Thirteen registers do not hold an unrolled loop of products. */
#ifdef __clang__
#define ROLLED _Pragma("clang loop unroll(disable)")
#else
#define ROLLED
#endif

#ifdef __ARM_FEATURE_DSP
INLINE uint32_t word_at(const int8_t *x) {
  uint32_t word;
  __builtin_memcpy(&word, x, 4);
  return word;
}
#endif

/* From a sum of products to a code: times 2^left_shift, plus the bias, times multiplier * 2^(shift - 31), and clipped;
   or compared with a threshold. */
typedef struct {
  const int32_t *multipliers, *thresholds; /* one of the two is null */
  const int32_t *bias; /* null: 0 */
  const int8_t *shifts;
  int32_t per_channel, left_shift, zero_point, low, high;
} stage_t;

/* SaturatingRoundingDoublingHighMul, then RoundingDivideByPOT. */
INLINE int32_t rescale(int32_t x, int32_t multiplier, int32_t shift) {
  if (shift > 0) x = (int32_t)((uint32_t)x << shift);
  x = (int32_t)(((int64_t)x * multiplier + (1 << 30)) >> 31);
  if (shift < 0) {
    const int32_t mask = (int32_t)((1u << -shift) - 1u), threshold = (mask >> 1) + (x < 0);
    x = (x >> -shift) + ((x & mask) > threshold);
  }
  return x;
}

KERNEL int8_t code_of(const stage_t *stage, int32_t channel, int32_t sum) {
  if (stage->thresholds) return sum >= stage->thresholds[channel] ? 1 : -1;
  sum = (int32_t)((uint32_t)sum << stage->left_shift);
  if (stage->bias) sum += stage->bias[channel];
  if (!stage->per_channel) channel = 0;
  sum = rescale(sum, stage->multipliers[channel], stage->shifts[channel]);
  sum += stage->zero_point;
  return (int8_t)(sum < stage->low ? stage->low : sum > stage->high ? stage->high : sum);
}
