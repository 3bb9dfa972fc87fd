/* The mean is rounded half away from zero. */
KERNEL void average_pool(const pool_t *p, const int8_t *x, int8_t *y) {
  const int32_t whole = p->window_height * p->window_width;
  int32_t row, column, channel, r, c;
  for (row = 0; row < p->out_height; ++row) {
    for (column = 0; column < p->out_width; ++column) {
      const int32_t y0 = row * p->stride_y - p->pad_top, x0 = column * p->stride_x - p->pad_left;
      const int32_t top = low_end(y0), bottom = high_end(y0, p->window_height, p->in_height);
      const int32_t left = low_end(x0), right = high_end(x0, p->window_width, p->in_width);
      const int32_t inside = (bottom - top) * (right - left), count = p->border ? whole : inside;
      for (channel = 0; channel < p->channels; ++channel) {
        int32_t sum = p->border ? (whole - inside) * p->border_code : 0;
        for (r = top; r < bottom; ++r) {
          for (c = left; c < right; ++c) sum += x[(r * p->in_width + c) * p->channels + channel];
        }
        *y++ = (int8_t)((sum + (sum > 0 ? count / 2 : -(count / 2))) / count);
      }
    }
  }
}
