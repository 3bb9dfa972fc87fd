/* The number of ones in each byte. */
INLINE uint32_t ones_by_byte(uint32_t v) {
  v -= (v >> 1) & 0x55555555u;
  v = (v & 0x33333333u) + ((v >> 2) & 0x33333333u);
  return (v + (v >> 4)) & 0x0f0f0f0fu;
}

/* A carry-save adder: a + b + c = 2 * *carry + *sum in each bit. */
INLINE void add_bits(uint32_t *carry, uint32_t *sum, uint32_t a, uint32_t b, uint32_t c) {
  const uint32_t u = a ^ b;
  *carry = (a & b) | (u & c);
  *sum = u ^ c;
}

/* The sum of the bytes of a word, less than 256. */
INLINE int32_t sum_of_bytes(uint32_t v) { return (int32_t)((v * 0x01010101u) >> 24); }

/* Words of which a byte holds the count: 31 times 8 is 248. */
#define SHORT 248

/* In how many bits n <= SHORT words differ: Harley and Seal's adders for each eight, the rest word by word. */
INLINE int32_t differing(const uint32_t *x, const uint32_t *w, int32_t n) {
  int32_t count = 0;
  if (n >= 8) {
    uint32_t ones = 0, twos = 0, fours = 0, bytes = 0, eights, two_a, two_b, four_a, four_b;
    for (; n >= 8; n -= 8, x += 8, w += 8) {
      add_bits(&two_a, &ones, ones, x[0] ^ w[0], x[1] ^ w[1]);
      add_bits(&two_b, &ones, ones, x[2] ^ w[2], x[3] ^ w[3]);
      add_bits(&four_a, &twos, twos, two_a, two_b);
      add_bits(&two_a, &ones, ones, x[4] ^ w[4], x[5] ^ w[5]);
      add_bits(&two_b, &ones, ones, x[6] ^ w[6], x[7] ^ w[7]);
      add_bits(&four_b, &twos, twos, two_a, two_b);
      add_bits(&eights, &fours, fours, four_a, four_b);
      bytes += ones_by_byte(eights);
    }
    bytes = (bytes & 0x00ff00ffu) + ((bytes >> 8) & 0x00ff00ffu);
    count = 8 * (int32_t)((bytes * 0x00010001u) >> 16) + sum_of_bytes(4 * ones_by_byte(fours) + 2 * ones_by_byte(twos) + ones_by_byte(ones));
  }
  ROLLED
  for (; n > 0; --n) count += sum_of_bytes(ones_by_byte(*x++ ^ *w++));
  return count;
}

KERNEL int32_t differing_long(const uint32_t *x, const uint32_t *w, int32_t n) {
  int32_t count = 0;
  for (; n > SHORT; n -= SHORT, x += SHORT, w += SHORT) count += differing(x, w, SHORT);
  return count + differing(x, w, n);
}

/* Writes n bits from bit `at` on: bits of `from` from `start` on, or copies of `code` if it is null. */
KERNEL void put_bits(uint32_t *to, uint32_t at, const uint32_t *from, uint32_t start, uint32_t n, int32_t code) {
  while (n > 0) {
    const uint32_t offset = at & 31u, skip = start & 31u, room = 32u - offset, take = n < room ? n : room;
    uint32_t v = code > 0 ? 0xffffffffu : 0u;
    if (from) {
      v = from[start >> 5] >> skip;
      if (skip + take > 32u) v |= from[(start >> 5) + 1u] << (32u - skip);
    }
    if (take < 32u) v &= (1u << take) - 1u;
    to[at >> 5] = offset ? to[at >> 5] | v << offset : v;
    at += take;
    start += take;
    n -= take;
  }
}

/* The signs of n codes -1 and +1 as bits. */
KERNEL void pack_signs(uint32_t *to, const int8_t *x, int32_t n) {
  uint32_t word = 0;
  int32_t i = 0;
#ifdef __ARM_FEATURE_DSP
  /* The signs of four codes at a time: the product moves bits 0, 8, 16 and 24 to 28, 29, 30 and 31. */
  for (; i + 32 <= n; i += 32) {
    int32_t j;
    uint32_t signs = 0;
    for (j = 0; j < 32; j += 4) signs |= ((((~word_at(x + i + j) >> 7) & 0x01010101u) * 0x10204080u) >> 28) << j;
    *to++ = signs;
  }
#endif
  for (; i < n; ++i) {
    word |= (uint32_t)(x[i] > 0) << (i & 31);
    if ((i & 31) == 31 || i == n - 1) {
      *to++ = word;
      word = 0;
    }
  }
}

/* The bits under a window. */
KERNEL void gather(const layer_t *l, const uint32_t *bits, int32_t y0, int32_t x0, int32_t group, uint32_t *patch) {
  const int32_t n = l->group_inputs, merged = l->dilation_x == 1 && l->groups == 1;
  uint32_t at = 0;
  int32_t ky, kx, run;
  for (ky = 0; ky < l->kernel_height; ++ky) {
    const int32_t row = y0 + ky * l->dilation_y;
    for (kx = 0; kx < l->kernel_width; kx += run) {
      const int32_t column = x0 + kx * l->dilation_x;
      const int32_t inside = row >= 0 && row < l->in_height && column >= 0 && column < l->in_width;
      const int32_t start = inside ? (row * l->in_width + column) * l->in_channels + group * n : 0;
      run = 1;
      if (inside && merged) {
        run = l->in_width - column;
        if (run > l->kernel_width - kx) run = l->kernel_width - kx;
      }
      put_bits(patch, at, inside ? bits : 0, (uint32_t)start, (uint32_t)(run * n), l->pad_code);
      at += (uint32_t)(run * n);
    }
  }
}

/* Outputs first to last - 1 of one pixel. */
KERNEL void binary_outputs(const uint32_t *patch, const uint32_t *w, int32_t taps, const stage_t *stage, int32_t first,
                           int32_t last, int8_t *y) {
  const int32_t words = (taps + 31) / 32, *thresholds = stage->thresholds;
  if (words > SHORT) {
    for (; first < last; ++first, w += words)
      *y++ = code_of(stage, first, taps - 2 * differing_long(patch, w, words));
  }
  for (; first < last; ++first, w += words) {
    const int32_t sum = taps - 2 * differing(patch, w, words);
    *y++ = thresholds ? (int8_t)(sum >= thresholds[first] ? 1 : -1) : code_of(stage, first, sum);
  }
}

/* 1-bit codes and weights: the sum of n products is n less twice the number of differing bits. */
KERNEL void binary_conv(const layer_t *l, const int8_t *x, int8_t *y, uint32_t *scratch) {
  const int32_t taps = l->kernel_height * l->kernel_width * l->group_inputs, words = (taps + 31) / 32;
  const int32_t codes = l->in_height * l->in_width * l->in_channels, whole = codes == taps && l->pad_top == 0;
  const int32_t n = l->group_outputs;
  uint32_t *patch = scratch;
  int32_t group, row, column;
  pack_signs(scratch, x, codes);
  if (!(whole && l->pad_left == 0)) patch += (codes + 31) / 32;
  for (row = 0; row < l->out_height; ++row) {
    for (column = 0; column < l->out_width; ++column) {
      const int32_t y0 = row * l->stride_y - l->pad_top, x0 = column * l->stride_x - l->pad_left;
      for (group = 0; group < l->groups; ++group, y += n) {
        const uint32_t *w = (const uint32_t *)l->weights + group * n * words;
        if (patch != scratch) gather(l, scratch, y0, x0, group, patch);
        binary_outputs(patch, w, taps, &l->stage, group * n, (group + 1) * n, y);
      }
    }
  }
}
