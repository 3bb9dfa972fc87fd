typedef struct {
  int32_t pixels, channels, zero_point;
  const int8_t *signs;
  const int32_t *values;
} threshold_t;

KERNEL void threshold(const threshold_t *t, const int8_t *x, int8_t *y) {
  const int32_t channels = t->channels, zero_point = t->zero_point, *values = t->values;
  const int8_t *signs = t->signs;
  int32_t i, channel;
  for (i = 0; i < t->pixels; ++i) {
    for (channel = 0; channel < channels; ++channel)
      *y++ = (*x++ - zero_point) * signs[channel] >= values[channel] ? 1 : -1;
  }
}
