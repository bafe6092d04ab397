/* Multiplications and additions as fast as a processor does them: none waits for another.
 * Given by the compiler's command: REAL and VBYTES. */
#include <stdint.h>
#define EACH(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)
typedef REAL vec __attribute__((vector_size(VBYTES)));

/* n rounds of 12 on each number of a vector; return how many operations that was */
double fused(int64_t n, double *out) {
  vec factor = {0}, term = {0};
  factor += (REAL)0.999;
  term += (REAL)1e-3;
#define START(k) vec a##k = term * (REAL)k;
#define ROUND(k) a##k = a##k * factor + term;
#define SUM(k) *out += a##k[0];
  EACH(START)
  for (int64_t i = 0; i < n; i++) { EACH(ROUND) }
  *out = 0;
  EACH(SUM)
  return 2.0 * 12 * (VBYTES / sizeof(REAL)) * (double)n;
}
