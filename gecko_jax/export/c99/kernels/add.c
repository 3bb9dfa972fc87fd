typedef struct {
  int32_t size, left_shift, zero_points[2], multipliers[2], shifts[2];
  stage_t stage;
} add_t;

KERNEL void add(const add_t *a, const int8_t *x, const int8_t *z, int8_t *y) {
  int32_t i;
  for (i = 0; i < a->size; ++i) {
    const int32_t u = (int32_t)((uint32_t)(x[i] - a->zero_points[0]) << a->left_shift);
    const int32_t v = (int32_t)((uint32_t)(z[i] - a->zero_points[1]) << a->left_shift);
    y[i] = code_of(&a->stage, 0, rescale(u, a->multipliers[0], a->shifts[0]) + rescale(v, a->multipliers[1], a->shifts[1]));
  }
}
