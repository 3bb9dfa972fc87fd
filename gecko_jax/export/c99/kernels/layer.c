/* A dense layer is a convolution of one pixel. */
typedef struct {
  int32_t in_height, in_width, in_channels, out_height, out_width, outputs;
  int32_t kernel_height, kernel_width, groups, group_inputs, group_outputs;
  int32_t stride_y, stride_x, dilation_y, dilation_x, pad_top, pad_left, pad_code;
  int32_t weight_bits;
  const void *weights;
  stage_t stage;
} layer_t;
