/* Weights number start to start + n - 1 as bytes; a 1-bit weight is -1 or +1, others are two's complement. */
KERNEL const int8_t *unpacked(const layer_t *layer, int32_t start, int32_t n, int8_t *to) {
  const int32_t bits = layer->weight_bits;
  const uint8_t *from = (const uint8_t *)layer->weights;
  uint32_t at = (uint32_t)start * (uint32_t)bits;
  const uint32_t mask = (1u << bits) - 1u;
  const int32_t half = 1 << (bits - 1);
  int32_t i;
  if (bits == 8) return (const int8_t *)layer->weights + start;
  ROLLED
  for (i = 0; i < n; ++i, at += (uint32_t)bits) {
    const int32_t code = (int32_t)((uint32_t)(from[at >> 3] >> (at & 7u)) & mask);
    to[i] = (int8_t)(bits == 1 ? 2 * code - 1 : (code ^ half) - half);
  }
  return to;
}
