#ifdef __ARM_FEATURE_DSP
/* The bytes of a word as 16-bit numbers: the even ones, and the odd ones. */
#define EVEN(word) __sxtb16(word)
#define ODD(word) __sxtb16(__ror(word, 8))
#endif

/* Adds the products of n codes with two rows of weights to two sums. */
INLINE void add_products(const int8_t *x, const int8_t *v, const int8_t *w, int32_t n, int32_t *sums) {
  int32_t a = sums[0], b = sums[1];
#ifdef __ARM_FEATURE_DSP
  ROLLED
  for (; n >= 8; n -= 8, x += 8, v += 8, w += 8) {
    const uint32_t x0 = word_at(x), v0 = word_at(v), w0 = word_at(w);
    const uint32_t x1 = word_at(x + 4), v1 = word_at(v + 4), w1 = word_at(w + 4);
    a = __smlad(ODD(x0), ODD(v0), __smlad(EVEN(x0), EVEN(v0), a));
    b = __smlad(ODD(x0), ODD(w0), __smlad(EVEN(x0), EVEN(w0), b));
    a = __smlad(ODD(x1), ODD(v1), __smlad(EVEN(x1), EVEN(v1), a));
    b = __smlad(ODD(x1), ODD(w1), __smlad(EVEN(x1), EVEN(w1), b));
  }
  if (n >= 4) {
    const uint32_t x0 = word_at(x), v0 = word_at(v), w0 = word_at(w);
    a = __smlad(ODD(x0), ODD(v0), __smlad(EVEN(x0), EVEN(v0), a));
    b = __smlad(ODD(x0), ODD(w0), __smlad(EVEN(x0), EVEN(w0), b));
    n -= 4;
    x += 4;
    v += 4;
    w += 4;
  }
#endif
  ROLLED
  for (; n > 0; --n, ++x, ++v, ++w) {
    a += *x * *v;
    b += *x * *w;
  }
  sums[0] = a;
  sums[1] = b;
}
