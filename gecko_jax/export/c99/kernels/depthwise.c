#ifdef __ARM_FEATURE_DSP
/* Four neighboring outputs of one pixel, each of its own channel. */
KERNEL void four_outputs(const layer_t *l, const stage_t *stage, const int8_t *x, const int8_t *w, int32_t y0,
                         int32_t x0, int32_t output, int8_t *y) {
  const uint32_t border = (uint32_t)(uint8_t)l->pad_code * 0x01010101u, width = (uint32_t)l->in_width;
  const int32_t step = l->dilation_x * l->in_channels, next = l->outputs, dilation = l->dilation_x;
  int32_t a = 0, b = 0, c = 0, d = 0, ky, kx;
  ROLLED
  for (ky = 0; ky < l->kernel_height; ++ky) {
    const int32_t row = y0 + ky * l->dilation_y;
    const uint32_t end = row >= 0 && row < l->in_height ? width : 0;
    const int8_t *from = x + ((row * l->in_width + x0) * l->in_channels + output);
    uint32_t column = (uint32_t)x0;
    ROLLED
    for (kx = l->kernel_width; kx > 0; --kx, column += (uint32_t)dilation, from += step, w += next) {
      const uint32_t xs = column < end ? word_at(from) : border, ws = word_at(w);
      const int32_t xe = (int32_t)EVEN(xs), xo = (int32_t)ODD(xs), we = (int32_t)EVEN(ws), wo = (int32_t)ODD(ws);
      a = __smlabb(xe, we, a);
      b = __smlabb(xo, wo, b);
      c = __smlatt(xe, we, c);
      d = __smlatt(xo, wo, d);
    }
  }
  y[0] = code_of(stage, output, a);
  y[1] = code_of(stage, output + 1, b);
  y[2] = code_of(stage, output + 2, c);
  y[3] = code_of(stage, output + 3, d);
}
#endif

KERNEL int8_t one_output(const layer_t *l, const stage_t *stage, const int8_t *x, const int8_t *w, int32_t y0,
                         int32_t x0, int32_t channel, int32_t output) {
  int32_t sum = 0, ky, kx;
  for (ky = 0; ky < l->kernel_height; ++ky) {
    const int32_t r = y0 + ky * l->dilation_y, inside = r >= 0 && r < l->in_height;
    for (kx = 0; kx < l->kernel_width; ++kx, w += l->outputs) {
      const int32_t c = x0 + kx * l->dilation_x;
      const int32_t code = inside && c >= 0 && c < l->in_width ? x[(r * l->in_width + c) * l->in_channels + channel]
                                                               : l->pad_code;
      sum += code * *w;
    }
  }
  return code_of(stage, output, sum);
}

/* Weights [tap][output]: each output reads one channel. */
KERNEL void depthwise(const layer_t *l, const int8_t *x, int8_t *y, int8_t *scratch) {
  const int8_t *weights = unpacked(l, 0, l->kernel_height * l->kernel_width * l->outputs, scratch);
  int32_t row, column, channel, copy;
  for (row = 0; row < l->out_height; ++row) {
    for (column = 0; column < l->out_width; ++column) {
      const int32_t y0 = row * l->stride_y - l->pad_top, x0 = column * l->stride_x - l->pad_left;
      int32_t output = 0;
      channel = 0;
#ifdef __ARM_FEATURE_DSP
      if (l->group_outputs == 1) {
        for (; channel + 4 <= l->in_channels; channel += 4, output += 4, y += 4)
          four_outputs(l, &l->stage, x, weights + output, y0, x0, output, y);
      }
#endif
      for (; channel < l->in_channels; ++channel) {
        for (copy = 0; copy < l->group_outputs; ++copy, ++output)
          *y++ = one_output(l, &l->stage, x, weights + output, y0, x0, channel, output);
      }
    }
  }
}
