typedef struct {
  int32_t in_height, in_width, channels, out_height, out_width;
  int32_t window_height, window_width, stride_y, stride_x, pad_top, pad_left;
  int32_t border; /* average: whether the border counts */
  int32_t border_code;
} pool_t;

INLINE int32_t low_end(int32_t start) { return start < 0 ? 0 : start; }
INLINE int32_t high_end(int32_t start, int32_t length, int32_t side) {
  return start + length > side ? side : start + length;
}
