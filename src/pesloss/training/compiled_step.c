/* A training step in C: what potentials of every kind have in common, first part.
 *
 * A structure does not know of the others of its batch. So a few structures at a time go all the
 * way, forward, loss and back, and what is kept for the way back stays near the processor.
 *
 * The source is this file, that of a potential (`compiled_step_schnet.c`, …) and
 * `compiled_step_end.c`, one after the other. A potential defines `own`, `prepare_pair`, `place`,
 * `turn_all`, `forward` and `backward`.
 *
 * Matrices are rows of numbers, as wide as they are padded. Padding of weights is zero and stays so.
 * Whatever is summed is summed in an order that the input alone decides: neither the number of
 * members nor where memory lies changes a bit.
 *
 * Given by the compiler's command: REAL, INT (an integer of its size), DOUBLE and VBYTES.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define VL ((int64_t)(VBYTES / sizeof(REAL)))
#define INLINE static inline __attribute__((always_inline))
#define TILE 48 /* pairs whose filters are computed at once */
/* What is kept in registers: rows of a product, rows of a sum of outer products. */
#if VBYTES == 64
#define ROWS 12
#define EACH_ROW(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)
#define OUTER 8
#define EACH_OUTER(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7)
#else
#define ROWS 6
#define EACH_ROW(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5)
#define OUTER 4
#define EACH_OUTER(DO) DO(0) DO(1) DO(2) DO(3)
#endif

typedef REAL vec __attribute__((vector_size(VBYTES), aligned(sizeof(REAL)), may_alias));
typedef INT ivec __attribute__((vector_size(VBYTES), may_alias));
#define AT(x) (*(const vec *)(x))
#define TO(x) (*(vec *)(x))
#define CAT(a, b) a##b

/* What the library is asked for, and has in common with its caller. */
typedef struct {
  int64_t features, radial, hidden, blocks; /* padded widths F, R, H, and L */
  int64_t size;                             /* numbers in the weights of a member */
  const int64_t *at;      /* where each weight begins */
  const REAL *mask;       /* (size) 0 in padding; NULL where there is none */
  const REAL *centres;    /* (R) of Gaussians, length */
  const REAL *exponents;  /* (R) of Gaussians, 1/length^2, negative */
  const REAL *scale;      /* of outputs, by atomic number */
  double epsilon;          /* under PaiNN's roots */
} network;

typedef struct {
  const int64_t *n_atoms, *first_atom, *n_pairs, *first_pair; /* (S) */
  const int64_t *numbers;                                     /* (A) */
  const int64_t *first, *second; /* (P) atoms of a pair, counted from the structure's first */
  const REAL *length, *cutoff, *cutoff_slope; /* (P) */
  const REAL *direction;                      /* (P, 3) from the first atom to the second */
  const REAL *energy, *forces;                /* labels (S), (A, 3) */
} dataset;

typedef struct {
  REAL *weights, *gradient, *mean, *square; /* (size) */
  const REAL *energy_scale, *force_scale;   /* (S), (A) */
  double force_weight, delta;
  int64_t metric;  /* 0: squares, 1: absolute values, 2: Huber */
  double *total;   /* (S, 3): visits, energy terms, sums of force terms */
} member;

typedef struct { int64_t atom, atoms, pair, pairs, structure, structures; } chunk;

typedef struct own own; /* what a potential keeps of a chunk */
typedef struct {
  const network *net;
  const dataset *data;
  int64_t structures, atoms, pairs;             /* room of a batch */
  int64_t n_chunks;
  chunk *chunks;
  int64_t *chosen;                              /* (structures) */
  int32_t *atom;                                /* (atoms) row of the dataset */
  int32_t *first, *second;                      /* (pairs) counted from the chunk's first atom */
  REAL *u, *d, *c, *dc, *g, *dg;                /* (pairs) */
  REAL *turned;                                 /* (members, size) transposed weights */
  REAL *local, *force, *lam, *fbar, *delta;     /* of a chunk */
  own *own;
  char *memory;
  int64_t taken;
} space;

/* Hand out memory; only count as long as there is none. */
static void *take(space *s, int64_t bytes) {
  char *place = s->memory ? s->memory + s->taken : 0;
  s->taken += (bytes + 63) / 64 * 64;
  return place;
}
#define TAKE(pointer, number) (pointer) = take(s, (int64_t)(number) * (int64_t)sizeof *(pointer))

/* --- where the time goes, for the benchmark alone */

enum { IN_BATCHES, IN_FILTERS, IN_FILTERS_BACK, IN_PAIRS, IN_ATOMS, IN_LOSSES, IN_ADAM, N_PARTS };
#ifdef CLOCK
#include <time.h>
double spent[N_PARTS];
static double last_time;
static void passed(int part) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  const double seconds = now.tv_sec + 1e-9 * now.tv_nsec;
  spent[part] += seconds - last_time;
  last_time = seconds;
}
static void begun(void) {
  const double before = spent[0];
  passed(0);
  spent[0] = before;
}
#else
#define passed(part)
#define begun()
#endif

/* --- functions of one number */

INLINE vec chosen_of(ivec where, vec yes, vec no) {
  return (vec)((where & (ivec)yes) | (~where & (ivec)no));
}

/* e^x for x <= 0: 2^n times a polynomial on |r| <= ln 2 / 2; n ln 2 is taken off in two parts */
INLINE vec exponential(vec x) {
#if DOUBLE
  const REAL least = -700, magic = 6755399441055744.0, per = 1.4426950408889634;
  const REAL high = 6.93145751953125e-1, low = 1.42860682030941723212e-6;
#else
  const REAL least = -87, magic = 12582912.0f, per = 1.442695040888963f;
  const REAL high = 0.693359375f, low = -2.12194440e-4f;
#endif
  vec zero = x - x;
  x = chosen_of((ivec)(x < least), zero + least, x);
  vec shifted = x * per + magic, n = shifted - magic;
  vec r = x - n * high - n * low;
#if DOUBLE
  vec p = r * (1 / 6227020800.0) + 1 / 479001600.0;
  p = p * r + 1 / 39916800.0;
  p = p * r + 1 / 3628800.0;
  p = p * r + 1 / 362880.0;
  p = p * r + 1 / 40320.0;
  p = p * r + 1 / 5040.0;
  p = p * r + 1 / 720.0;
  p = p * r + 1 / 120.0;
  p = p * r + 1 / 24.0;
  p = p * r + 1 / 6.0;
  const int bits = 52;
#else
  vec p = r * (1 / 5040.0f) + 1 / 720.0f;
  p = p * r + 1 / 120.0f;
  p = p * r + 1 / 24.0f;
  p = p * r + 1 / 6.0f;
  const int bits = 23;
#endif
  p = p * r + (REAL)0.5;
  p = p * r * r + r + (REAL)1;
  return (vec)((ivec)p + ((ivec)shifted << bits));
}

INLINE vec minus_size(vec x) { return chosen_of((ivec)(x < 0), x, -x); }

/* shifted softplus ln(1 + e^z) - ln 2 = max(z, 0) + ln(1 + t) - ln 2 with t = e^-|z|, and its slope;
 * ln(1 + t) = 2 artanh q with q = t / (2 + t) <= 1/3 */
INLINE void softplus(vec z, vec *value, vec *slope) {
  vec t = exponential(minus_size(z));
  vec q = t / (t + 2), q2 = q * q;
#if DOUBLE
  vec p = q2 * (1 / 35.0) + 1 / 33.0;
  for (int k = 31; k >= 3; k -= 2) p = p * q2 + 1.0 / k;
#else
  vec p = q2 * (1 / 15.0f) + 1 / 13.0f;
  p = p * q2 + 1 / 11.0f;
  p = p * q2 + 1 / 9.0f;
  p = p * q2 + 1 / 7.0f;
  p = p * q2 + 1 / 5.0f;
  p = p * q2 + 1 / 3.0f;
#endif
  ivec positive = (ivec)(z > 0);
  vec inverse = 1 / (1 + t);
  *value = (vec)(positive & (ivec)z) + 2 * (q + q * q2 * p) - (REAL)0.69314718055994530942;
  *slope = chosen_of(positive, inverse, t * inverse);
}

/* silu x / (1 + e^-x), its slope and the slope of that */
INLINE void silu(vec x, vec *value, vec *slope, vec *bend) {
  vec t = exponential(minus_size(x)), inverse = 1 / (1 + t);
  vec s = chosen_of((ivec)(x > 0), inverse, t * inverse);
  *value = x * s;
  *slope = s * (1 + x * (1 - s));
  *bend = s * (1 - s) * (2 + x * (1 - 2 * s));
}

INLINE REAL sum_of(vec x) {
  REAL part[VL], sum = 0;
  memcpy(part, &x, sizeof x);
  for (int n = VL / 2; n >= 4; n /= 2)
    for (int i = 0; i < n; i++) part[i] += part[i + n];
  for (int i = 0; i < (VL < 4 ? VL : 4); i++) sum += part[i];
  return sum;
}

/* --- products; rows are rounded up to whole groups of ROWS, which memory has room for */

#define TIMES2(r) { REAL x = row[r * depth]; p##r += x * w0; q##r += x * w1; }
#define TIMES1(r) p##r += row[r * depth] * w0;
#define START2(r) vec p##r = start0, q##r = start1;
#define START1(r) vec p##r = start0;
#define ADDED2(r) p##r += AT(o + r * wide); q##r += AT(o + r * wide + VL);
#define ADDED1(r) p##r += AT(o + r * wide);
#define STORED2(r) TO(o + r * wide) = p##r; TO(o + r * wide + VL) = q##r;
#define STORED1(r) TO(o + r * wide) = p##r;

/* out (rows, wide) = in (rows, depth) w (depth, wide) + bias or, with `add`, what is there */
INLINE void product_of(const int add, int64_t rows, int64_t depth, const REAL *restrict in,
                       const REAL *restrict w, int64_t wide, const REAL *bias, REAL *restrict out) {
  const vec zero = {0};
  int64_t v = 0;
  for (; v + 2 * VL <= wide; v += 2 * VL) {
    vec start0 = bias ? AT(bias + v) : zero, start1 = bias ? AT(bias + v + VL) : zero;
    for (int64_t r = 0; r < rows; r += ROWS) {
      const REAL *row = in + r * depth, *column = w + v;
      REAL *o = out + r * wide + v;
      EACH_ROW(START2)
      for (int64_t k = 0; k < depth; k++, row++, column += wide) {
        vec w0 = AT(column), w1 = AT(column + VL);
        EACH_ROW(TIMES2)
      }
      if (add) { EACH_ROW(ADDED2) }
      EACH_ROW(STORED2)
    }
  }
  for (; v < wide; v += VL) {
    vec start0 = bias ? AT(bias + v) : zero;
    for (int64_t r = 0; r < rows; r += ROWS) {
      const REAL *row = in + r * depth, *column = w + v;
      REAL *o = out + r * wide + v;
      EACH_ROW(START1)
      for (int64_t k = 0; k < depth; k++, row++, column += wide) {
        vec w0 = AT(column);
        EACH_ROW(TIMES1)
      }
      if (add) { EACH_ROW(ADDED1) }
      EACH_ROW(STORED1)
    }
  }
}
static void product(int64_t rows, int64_t depth, const REAL *in, const REAL *w, int64_t wide,
                    const REAL *bias, REAL *out) {
  product_of(0, rows, depth, in, w, wide, bias, out);
}
static void product_added(int64_t rows, int64_t depth, const REAL *in, const REAL *w, int64_t wide,
                          const REAL *bias, REAL *out) {
  product_of(1, rows, depth, in, w, wide, bias, out);
}

#define OUTER_START2(r) vec p##r = AT(o + r * wide), q##r = AT(o + r * wide + VL);
#define OUTER_START1(r) vec p##r = AT(o + r * wide);
#define OUTER_TIMES2(r) { REAL x = left[r]; p##r += x * w0; q##r += x * w1; }
#define OUTER_TIMES1(r) p##r += left[r] * w0;

INLINE void outer_of(int64_t rows, int64_t tall, const REAL *a, const REAL *b, const REAL *c,
                     const REAL *d, int64_t wide, REAL *restrict out) {
  for (int64_t i = 0; i < tall; i += OUTER) {
    int64_t v = 0;
    for (; v + 2 * VL <= wide; v += 2 * VL) {
      REAL *o = out + i * wide + v;
      EACH_OUTER(OUTER_START2)
      const REAL *left = a + i, *right = b + v;
      for (int64_t k = 0; k < rows; k++, left += tall, right += wide) {
        vec w0 = AT(right), w1 = AT(right + VL);
        EACH_OUTER(OUTER_TIMES2)
      }
      if (c) {
        left = c + i; right = d + v;
        for (int64_t k = 0; k < rows; k++, left += tall, right += wide) {
          vec w0 = AT(right), w1 = AT(right + VL);
          EACH_OUTER(OUTER_TIMES2)
        }
      }
      EACH_OUTER(STORED2)
    }
    for (; v < wide; v += VL) {
      REAL *o = out + i * wide + v;
      EACH_OUTER(OUTER_START1)
      const REAL *left = a + i, *right = b + v;
      for (int64_t k = 0; k < rows; k++, left += tall, right += wide) {
        vec w0 = AT(right);
        EACH_OUTER(OUTER_TIMES1)
      }
      if (c) {
        left = c + i; right = d + v;
        for (int64_t k = 0; k < rows; k++, left += tall, right += wide) {
          vec w0 = AT(right);
          EACH_OUTER(OUTER_TIMES1)
        }
      }
      EACH_OUTER(STORED1)
    }
  }
}
/* out (tall, wide) += a^T b with a (rows, tall) and b (rows, wide) */
static inline void outer(int64_t rows, int64_t tall, const REAL *a, const REAL *b, int64_t wide, REAL *out) {
  outer_of(rows, tall, a, b, 0, 0, wide, out);
}
/* out += a^T b + c^T d */
static void outer_twice(int64_t rows, int64_t tall, const REAL *a, const REAL *b, const REAL *c,
                        const REAL *d, int64_t wide, REAL *out) {
  outer_of(rows, tall, a, b, c, d, wide, out);
}

/* out (wide) += sum of rows */
static void columns(int64_t rows, int64_t wide, const REAL *a, REAL *out) {
  for (int64_t v = 0; v < wide; v += VL) {
    vec sum = AT(out + v);
    for (int64_t r = 0; r < rows; r++) sum += AT(a + r * wide + v);
    TO(out + v) = sum;
  }
}

static void turn(int64_t tall, int64_t wide, const REAL *w, REAL *t) {
  for (int64_t i = 0; i < tall; i++)
    for (int64_t j = 0; j < wide; j++) t[j * tall + i] = w[i * wide + j];
}

static void clear(int64_t n, REAL *x) { memset(x, 0, n * sizeof(REAL)); }

/* --- sums over the pairs of a chunk; an atom and its own image come out right, since what is added
 * to the second is read after the first is written */

typedef struct { int64_t n; const int32_t *first, *second; } pairs;
#define EACH_PAIR for (int64_t k = 0; k < p.n; k++)
#define ENDS const int64_t i = p.first[k] * f, j = p.second[k] * f;
#define EACH_VECTOR for (int64_t v = 0; v < f; v += VL)
#define ADD(to, what) TO(to) = AT(to) + (what)
#define BY_WIDTH(CALL) \
  switch (f / VL) { case 1: CALL(VL); break; case 2: CALL(2 * VL); break; \
                    case 4: CALL(4 * VL); break; default: CALL(f); }

