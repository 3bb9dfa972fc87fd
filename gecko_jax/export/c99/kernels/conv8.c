/* The codes under a window, one after another; where they are neighbors already, they stay where they are. */
KERNEL const int8_t *patch_of(const layer_t *l, const int8_t *x, int32_t y0, int32_t x0, int8_t *patch) {
  const int32_t n = l->group_inputs, merged = l->dilation_x == 1 && l->groups == 1;
  int8_t *to = patch;
  int32_t ky, kx, run, i;
  if (l->kernel_height * l->kernel_width == 1 && y0 >= 0 && x0 >= 0 && y0 < l->in_height && x0 < l->in_width)
    return x + (y0 * l->in_width + x0) * l->in_channels;
  for (ky = 0; ky < l->kernel_height; ++ky) {
    const int32_t row = y0 + ky * l->dilation_y, inside = row >= 0 && row < l->in_height;
    for (kx = 0; kx < l->kernel_width; kx += run) {
      const int32_t column = x0 + kx * l->dilation_x;
      run = 1;
      if (inside && column >= 0 && column < l->in_width) {
        const int8_t *from = x + (row * l->in_width + column) * l->in_channels;
        if (merged) {
          run = l->in_width - column;
          if (run > l->kernel_width - kx) run = l->kernel_width - kx;
        }
        for (i = 0; i < run * n; ++i) *to++ = from[i];
      } else {
        for (i = 0; i < n; ++i) *to++ = (int8_t)l->pad_code;
      }
    }
  }
  return patch;
}

/* Outputs first to last - 1 of one pixel, two at a time. */
KERNEL void outputs_of(const int8_t *patch, const int8_t *w, int32_t taps, const stage_t *stage, int32_t first,
                       int32_t last, int8_t *y) {
  for (; first < last; first += 2, w += 2 * taps) {
    int32_t sums[2] = {0, 0};
    add_products(patch, w, first + 1 < last ? w + taps : w, taps, sums);
    *y++ = code_of(stage, first, sums[0]);
    if (first + 1 < last) *y++ = code_of(stage, first + 1, sums[1]);
  }
}

/* Weights of 8 bits, [output][tap]: all outputs of one pixel after another. */
KERNEL void conv8(const layer_t *l, const int8_t *x, int8_t *y, int8_t *scratch) {
  const int32_t taps = l->kernel_height * l->kernel_width * l->group_inputs, n = l->group_outputs;
  int32_t group, row, column;
  for (row = 0; row < l->out_height; ++row) {
    for (column = 0; column < l->out_width; ++column) {
      const int32_t y0 = row * l->stride_y - l->pad_top, x0 = column * l->stride_x - l->pad_left;
      for (group = 0; group < l->groups; ++group, y += n) {
        const int8_t *patch = patch_of(l, x + group * l->group_inputs, y0, x0, scratch);
        outputs_of(patch, (const int8_t *)l->weights + group * n * taps, taps, &l->stage, group * n, (group + 1) * n,
                   y);
      }
    }
  }
}
