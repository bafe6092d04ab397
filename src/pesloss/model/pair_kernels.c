/* For every pair p of atoms i and j: features x and messages g of atoms, filters w (n) of pairs and
 * directions u (3). Rows of x, w, u and g are `rx`, `rw`, `ru` and `rg` numbers apart, channels n.
 * Pairs are summed in their order, so that a result depends on its input alone. An atom and its own
 * image (i = j) come apart, since the loops take it that the two atoms' rows are different memory.
 * Given by the compiler's command: REAL. */
#include <stdint.h>
#define LOOP _Pragma("omp simd") for (int64_t f = 0; f < n; f++)
#define PAIRS for (int64_t p = 0; p < pairs; p++)
#define ATOMS const int64_t i = first[p], j = second[p];
#define HEAD int64_t pairs, int64_t n, int64_t channels, const int64_t *first, const int64_t *second
typedef const REAL *restrict in;
typedef REAL *restrict out;

/* g[i] += x[j] w[p] and g[j] += x[i] w[p] */
static inline void message(int64_t n, in xi, in xj, in w, out gi, out gj) {
  LOOP { gi[f] += xj[f] * w[f]; gj[f] += xi[f] * w[f]; }
}
static inline void own_message(int64_t n, in x, in w, out g) { LOOP g[f] += 2 * x[f] * w[f]; }

void scalar_g(HEAD, const REAL *x, int64_t rx, const REAL *w, int64_t rw, REAL *g, int64_t rg) {
  PAIRS { ATOMS for (int64_t c = 0; c < channels; c++) {
    const REAL *xi = x + i * rx + c * n, *xj = x + j * rx + c * n;
    REAL *gi = g + i * rg + c * n, *gj = g + j * rg + c * n;
    if (i == j) own_message(n, xi, w + p * rw, gi);
    else message(n, xi, xj, w + p * rw, gi, gj);
  } }
}

/* w[p] = g[i] x[j] + g[j] x[i] */
static inline void product(int64_t n, in xi, in xj, in gi, in gj, out w) {
  LOOP w[f] += gi[f] * xj[f] + gj[f] * xi[f];
}

void scalar_w(HEAD, const REAL *g, int64_t rg, const REAL *x, int64_t rx, REAL *w, int64_t rw) {
  PAIRS { ATOMS for (int64_t c = 0; c < channels; c++)
    product(n, x + i * rx + c * n, x + j * rx + c * n, g + i * rg + c * n, g + j * rg + c * n,
            w + p * rw); }
}

/* g[i] += u[p] x[j] w[p] and g[j] -= u[p] x[i] w[p] */
static inline void vector_message(int64_t n, in xi, in xj, in w, in u, out gi, out gj) {
  LOOP {
    REAL a = xj[f] * w[f], b = xi[f] * w[f];
    gi[f] += u[0] * a; gi[n + f] += u[1] * a; gi[2 * n + f] += u[2] * a;
    gj[f] -= u[0] * b; gj[n + f] -= u[1] * b; gj[2 * n + f] -= u[2] * b;
  }
}

void vector_g(HEAD, const REAL *x, int64_t rx, const REAL *w, int64_t rw, const REAL *u, int64_t ru,
              REAL *g, int64_t rg) {
  PAIRS { ATOMS if (i != j)
    vector_message(n, x + i * rx, x + j * rx, w + p * rw, u + p * ru, g + i * rg, g + j * rg); }
}

/* x[j] += u[p] g[i] w[p] and x[i] -= u[p] g[j] w[p] */
static inline void vector_turned(int64_t n, in gi, in gj, in w, in u, out xi, out xj) {
  LOOP {
    xj[f] += (u[0] * gi[f] + u[1] * gi[n + f] + u[2] * gi[2 * n + f]) * w[f];
    xi[f] -= (u[0] * gj[f] + u[1] * gj[n + f] + u[2] * gj[2 * n + f]) * w[f];
  }
}

void vector_x(HEAD, const REAL *g, int64_t rg, const REAL *w, int64_t rw, const REAL *u, int64_t ru,
              REAL *x, int64_t rx) {
  PAIRS { ATOMS if (i != j)
    vector_turned(n, g + i * rg, g + j * rg, w + p * rw, u + p * ru, x + i * rx, x + j * rx); }
}

/* w[p] = u[p] (g[i] x[j] - g[j] x[i]) */
static inline void vector_product(int64_t n, in gi, in gj, in xi, in xj, in u, out w) {
  LOOP w[f] = (u[0] * gi[f] + u[1] * gi[n + f] + u[2] * gi[2 * n + f]) * xj[f]
            - (u[0] * gj[f] + u[1] * gj[n + f] + u[2] * gj[2 * n + f]) * xi[f];
}

void vector_w(HEAD, const REAL *g, int64_t rg, const REAL *x, int64_t rx, const REAL *u, int64_t ru,
              REAL *w, int64_t rw) {
  PAIRS { ATOMS
    vector_product(n, g + i * rg, g + j * rg, x + i * rx, x + j * rx, u + p * ru, w + p * rw); }
}

/* u[p] = sum_f (g[i] x[j] - g[j] x[i]) w[p] */
void vector_u(HEAD, const REAL *g, int64_t rg, const REAL *x, int64_t rx, const REAL *w, int64_t rw,
              REAL *u, int64_t ru) {
  PAIRS { ATOMS
    in gi = g + i * rg, gj = g + j * rg, xi = x + i * rx, xj = x + j * rx, v = w + p * rw;
    REAL a = 0, b = 0, c = 0;
    _Pragma("omp simd reduction(+:a,b,c)")
    for (int64_t f = 0; f < n; f++) {
      REAL to_i = xj[f] * v[f], to_j = xi[f] * v[f];
      a += gi[f] * to_i - gj[f] * to_j;
      b += gi[n + f] * to_i - gj[n + f] * to_j;
      c += gi[2 * n + f] * to_i - gj[2 * n + f] * to_j;
    }
    u[p * ru] = a; u[p * ru + 1] = b; u[p * ru + 2] = c;
  }
}
