INLINE void add_border(int32_t code, const int8_t *v, const int8_t *w, int32_t n, int32_t *sums) {
  int32_t i, a = 0, b = 0;
  for (i = 0; i < n; ++i) {
    a += v[i];
    b += w[i];
  }
  sums[0] += code * a;
  sums[1] += code * b;
}

/* One pixel of two outputs. The taps of a kernel's row that are neighbors in memory are one product. */
KERNEL void window(const layer_t *l, const int8_t *x, int32_t y0, int32_t x0, const int8_t *v, const int8_t *w,
                   int32_t *sums) {
  const int32_t n = l->group_inputs, merged = l->dilation_x == 1 && l->groups == 1;
  int32_t ky, kx, run;
  for (ky = 0; ky < l->kernel_height; ++ky) {
    const int32_t row = y0 + ky * l->dilation_y, inside = row >= 0 && row < l->in_height;
    for (kx = 0; kx < l->kernel_width; kx += run) {
      const int32_t column = x0 + kx * l->dilation_x;
      run = 1;
      if (inside && column >= 0 && column < l->in_width) {
        if (merged) {
          run = l->in_width - column;
          if (run > l->kernel_width - kx) run = l->kernel_width - kx;
        }
        add_products(x + (row * l->in_width + column) * l->in_channels, v, w, run * n, sums);
      } else {
        add_border(l->pad_code, v, w, n, sums);
      }
      v += run * n;
      w += run * n;
    }
  }
}

KERNEL void conv(const layer_t *l, const int8_t *x, int8_t *y, int8_t *scratch) {
  const int32_t taps = l->kernel_height * l->kernel_width * l->group_inputs;
  int32_t group, output, row, column, pair;
  for (group = 0; group < l->groups; ++group) {
    const int32_t first = group * l->group_outputs;
    for (output = first; output < first + l->group_outputs; output += pair) {
      const int8_t *v = unpacked(l, output * taps, taps, scratch), *w = v;
      int8_t *to = y + output;
      pair = output + 1 < first + l->group_outputs ? 2 : 1;
      if (pair == 2) w = unpacked(l, (output + 1) * taps, taps, scratch + taps);
      for (row = 0; row < l->out_height; ++row) {
        for (column = 0; column < l->out_width; ++column, to += l->outputs) {
          int32_t sums[2] = {0, 0};
          window(l, x + group * l->group_inputs, row * l->stride_y - l->pad_top, column * l->stride_x - l->pad_left, v,
                 w, sums);
          to[0] = code_of(&l->stage, output, sums[0]);
          if (pair == 2) to[1] = code_of(&l->stage, output + 1, sums[1]);
        }
      }
    }
  }
}
