typedef struct {
  int32_t pixels, channels, zero_point;
  const int8_t *signs;
  const int32_t *values;
} threshold_t;

KERNEL void threshold(const threshold_t *t, const int8_t *x, int8_t *y) {
  int32_t i, channel;
  for (i = 0; i < t->pixels; ++i) {
    for (channel = 0; channel < t->channels; ++channel, ++x)
      *y++ = (*x - t->zero_point) * t->signs[channel] >= t->values[channel] ? 1 : -1;
  }
}
