KERNEL void max_pool(const pool_t *p, const int8_t *x, int8_t *y) {
  int32_t row, column, channel, r, c;
  for (row = 0; row < p->out_height; ++row) {
    for (column = 0; column < p->out_width; ++column) {
      const int32_t y0 = row * p->stride_y - p->pad_top, x0 = column * p->stride_x - p->pad_left;
      const int32_t bottom = high_end(y0, p->window_height, p->in_height);
      const int32_t right = high_end(x0, p->window_width, p->in_width);
      for (channel = 0; channel < p->channels; ++channel) {
        int8_t best = -128;
        for (r = low_end(y0); r < bottom; ++r) {
          for (c = low_end(x0); c < right; ++c) {
            const int8_t code = x[(r * p->in_width + c) * p->channels + channel];
            best = code > best ? code : best;
          }
        }
        *y++ = best;
      }
    }
  }
}
