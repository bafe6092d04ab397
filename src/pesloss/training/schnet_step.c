/* SchNet (Schuett et al. 2018): energies, forces, and the gradient of a loss of both by the weights.
 *
 * A structure does not know of the others of its batch. So a few structures at a time go all the
 * way, forward, loss and back, and what is kept for the way back stays near the processor.
 *
 * Filters W(d) and their slopes W'(d) are computed side by side; forces come from
 * dE/dd = sum_l (dE/dW_l) W_l'(d). The gradient of a loss of forces is the derivative of
 * sum_p delta_p dE/dd_p by the weights, with delta_p = u_p (Fbar_i - Fbar_j) and Fbar the loss's
 * derivative by the forces.
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
#define CHUNK_PAIRS 384
#define CHUNK_ATOMS 96
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

enum { W1, B1, W2, B2, IN, WA, BA, WB, BB, PER_BLOCK }; /* filters, in2f, f2out */
enum { R1, RB1, R2, RB2 };                              /* readout */

/* What the library is asked for, and has in common with its caller. */
typedef struct {
  int64_t features, radial, hidden, blocks; /* padded widths F, R, H, and L */
  int64_t size;                             /* numbers in the weights of a member */
  const int64_t *at;      /* where each weight begins: embedding, blocks, readout */
  const REAL *mask;       /* (size) 0 in padding; NULL where there is none */
  const REAL *centres;    /* (R) of Gaussians, length */
  const REAL *exponents;  /* (R) of Gaussians, 1/length^2, negative */
  const REAL *scale;      /* of outputs, by atomic number */
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

typedef struct {
  REAL *w, *dw, *h, *s, *dz, *wb;                                  /* of pairs */
  REAL *x, *y, *m, *t, *st, *out, *gt, *ga, *gm, *gy, *yb, *ab;    /* of atoms */
} block;

typedef struct { int64_t atom, atoms, pair, pairs, structure, structures; } chunk;

typedef struct {
  const network *net;
  const dataset *data;
  int64_t structures, atoms, pairs;             /* room of a batch */
  int64_t n_chunks;
  chunk *chunks;
  int64_t *chosen;                              /* (structures) */
  int32_t *atom;                                /* (atoms) row of the dataset */
  int32_t *first, *second;                      /* (pairs) counted from the chunk's first atom */
  REAL *u, *c, *dc, *g, *dg;                    /* (pairs) */
  REAL *turned;                                 /* (members, size) transposed weights */
  block *blocks;
  REAL *xl, *r, *gr, *rb;                       /* last features, readout */
  REAL *local, *force, *lam, *fbar;             /* of a chunk */
  REAL *delta;                                  /* dE/dd of a chunk's pairs, later its weight */
  REAL *gmb, *gtb, *gob, *gyb, *xb, *zb;        /* of atoms */
  REAL *t1, *t2, *t3, *t4, *t5;                 /* of a tile */
  void *memory;
} space;

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
static void outer(int64_t rows, int64_t tall, const REAL *a, const REAL *b, int64_t wide, REAL *out) {
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

/* m_i += w y_j, m_j += w y_i */
INLINE void messages_of(const int64_t f, pairs p, const REAL *y, const REAL *w, REAL *m) {
  EACH_PAIR {
    ENDS EACH_VECTOR {
      vec filter = AT(w + k * f + v);
      ADD(m + i + v, filter * AT(y + j + v));
      ADD(m + j + v, filter * AT(y + i + v));
    }
  }
}
static void messages(int64_t f, pairs p, const REAL *y, const REAL *w, REAL *m) {
#define CALL(n) messages_of(n, p, y, w, m)
  BY_WIDTH(CALL)
#undef CALL
}

/* d += dE/dw w' with dE/dw = gm_i y_j + gm_j y_i; where gy is asked for, gy_i += w gm_j */
INLINE void pulls_of(const int64_t f, pairs p, const REAL *gm, const REAL *y, const REAL *w,
                     const REAL *dw, REAL *gy, REAL *d) {
  EACH_PAIR {
    ENDS vec sum = {0};
    EACH_VECTOR {
      vec gi = AT(gm + i + v), gj = AT(gm + j + v);
      sum += (gi * AT(y + j + v) + gj * AT(y + i + v)) * AT(dw + k * f + v);
      if (gy) {
        vec filter = AT(w + k * f + v);
        ADD(gy + i + v, filter * gj);
        ADD(gy + j + v, filter * gi);
      }
    }
    d[k] += sum_of(sum);
  }
}
static void pulls(int64_t f, pairs p, const REAL *gm, const REAL *y, const REAL *w, const REAL *dw,
                  REAL *gy, REAL *d) {
#define CALL(n) pulls_of(n, p, gm, y, w, dw, gy, d)
  BY_WIDTH(CALL)
#undef CALL
}

/* Derivatives of `pulls` weighted by delta, and of gy weighted by gyb where there is one:
 * gmb by gm, yb by y, wb by w. */
INLINE void pulls_back_of(const int64_t f, pairs p, const REAL *delta, const REAL *dw, const REAL *w,
                          const REAL *y, const REAL *gm, const REAL *gyb, REAL *gmb, REAL *yb,
                          REAL *wb) {
  EACH_PAIR {
    ENDS REAL weight = delta[k];
    EACH_VECTOR {
      vec slope = weight * AT(dw + k * f + v), gi = AT(gm + i + v), gj = AT(gm + j + v);
      vec to_i = slope * AT(y + j + v), to_j = slope * AT(y + i + v);
      if (gyb) {
        vec filter = AT(w + k * f + v), bi = AT(gyb + i + v), bj = AT(gyb + j + v);
        to_i += filter * bj;
        to_j += filter * bi;
        TO(wb + k * f + v) = bi * gj + bj * gi;
      }
      ADD(gmb + i + v, to_i);
      ADD(gmb + j + v, to_j);
      ADD(yb + i + v, slope * gj);
      ADD(yb + j + v, slope * gi);
    }
  }
}
static void pulls_back(int64_t f, pairs p, const REAL *delta, const REAL *dw, const REAL *w,
                       const REAL *y, const REAL *gm, const REAL *gyb, REAL *gmb, REAL *yb, REAL *wb) {
#define CALL(n) pulls_back_of(n, p, delta, dw, w, y, gm, gyb, gmb, yb, wb)
  BY_WIDTH(CALL)
#undef CALL
}

/* Derivatives of `messages` weighted by mb: yb by y; and from those by w and by w', which are
 * dw = wb + mb_i y_j + mb_j y_i and delta (gm_i y_j + gm_j y_i), those by the filter network's output
 * (gv) and its slope (gd), of which w = c output and w' = c' output + c slope. */
INLINE void messages_back_of(const int64_t f, pairs p, const REAL *mb, const REAL *y, const REAL *w,
                             const REAL *wb, const REAL *gm, const REAL *delta, const REAL *c,
                             const REAL *dc, REAL *yb, REAL *gv, REAL *gd) {
  EACH_PAIR {
    ENDS REAL by_c = delta[k] * c[k], by_dc = delta[k] * dc[k], cut = c[k];
    EACH_VECTOR {
      vec yi = AT(y + i + v), yj = AT(y + j + v), bi = AT(mb + i + v), bj = AT(mb + j + v);
      vec filter = AT(w + k * f + v);
      vec plain = bi * yj + bj * yi, slope = AT(gm + i + v) * yj + AT(gm + j + v) * yi;
      if (wb) plain += AT(wb + k * f + v);
      ADD(yb + i + v, filter * bj);
      ADD(yb + j + v, filter * bi);
      TO(gv + k * f + v) = plain * cut + slope * by_dc;
      TO(gd + k * f + v) = slope * by_c;
    }
  }
}
static void messages_back(int64_t f, pairs p, const REAL *mb, const REAL *y, const REAL *w,
                          const REAL *wb, const REAL *gm, const REAL *delta, const REAL *c,
                          const REAL *dc, REAL *yb, REAL *gv, REAL *gd) {
#define CALL(n) messages_back_of(n, p, mb, y, w, wb, gm, delta, c, dc, yb, gv, gd)
  BY_WIDTH(CALL)
#undef CALL
}

/* --- filter networks */

static void filters(space *s, const chunk *q, block *b, const REAL *w, const REAL *t,
                    const int64_t *at) {
  const int64_t f = s->net->features, n = s->net->radial;
  for (int64_t k = 0; k < q->pairs; k += TILE) {
    const int64_t m = q->pairs - k < TILE ? q->pairs - k : TILE, row = q->pair + k;
    REAL *h = b->h + k * f, *slope = b->s + k * f, *dz = b->dz + k * f, *dh = s->t1;
    REAL *o = b->w + k * f, *d = b->dw + k * f;
    product(m, n, s->g + row * n, t + at[W1], f, w + at[B1], h);
    product(m, n, s->dg + row * n, t + at[W1], f, 0, dz);
    for (int64_t e = 0; e < m * f; e += VL) {
      vec value, by;
      softplus(AT(h + e), &value, &by);
      TO(h + e) = value;
      TO(slope + e) = by;
      TO(dh + e) = AT(dz + e) * by;
    }
    product(m, f, h, t + at[W2], f, w + at[B2], o);
    product(m, f, dh, t + at[W2], f, 0, d);
    for (int64_t r = 0; r < m; r++) {
      const REAL c = s->c[row + r], dc = s->dc[row + r];
      for (int64_t e = r * f; e < (r + 1) * f; e += VL) {
        vec plain = AT(o + e);
        TO(d + e) = AT(d + e) * c + plain * dc;
        TO(o + e) = plain * c;
      }
    }
  }
}

/* mb: derivative by the messages; adds to yb and to the gradient of the filter network */
static void filters_back(space *s, const chunk *q, block *b, const REAL *w, REAL *grad,
                         const int64_t *at, const REAL *mb, const REAL *wb) {
  const int64_t f = s->net->features, n = s->net->radial;
  REAL *gv = s->t1, *gd = s->t2, *gh = s->t3, *gdh = s->t4, *dh = s->t5;
  for (int64_t k = 0; k < q->pairs; k += TILE) {
    const int64_t m = q->pairs - k < TILE ? q->pairs - k : TILE, row = q->pair + k;
    const REAL *h = b->h + k * f, *slope = b->s + k * f, *dz = b->dz + k * f;
    pairs p = {m, s->first + row, s->second + row};
    messages_back(f, p, mb, b->y, b->w + k * f, wb ? wb + k * f : 0, b->gm, s->delta + k,
                  s->c + row, s->dc + row, b->yb, gv, gd);
    passed(IN_PAIRS);
    product(m, f, gv, w + at[W2], f, 0, gh);
    product(m, f, gd, w + at[W2], f, 0, gdh);
    columns(m, f, gv, grad + at[B2]);
    for (int64_t e = 0; e < m * f; e += VL) {
      vec by = AT(slope + e), bent = AT(dz + e), back = AT(gdh + e) * by;
      TO(dh + e) = bent * by;
      TO(gh + e) = AT(gh + e) * by + back * (1 - by) * bent;
      TO(gdh + e) = back;
    }
    outer_twice(m, f, gv, h, gd, dh, f, grad + at[W2]);
    columns(m, f, gh, grad + at[B1]);
    outer_twice(m, f, gh, s->g + row * n, gdh, s->dg + row * n, n, grad + at[W1]);
    passed(IN_FILTERS_BACK);
  }
}

/* --- a chunk forward: local energies and forces, and what the way back needs */

static void forward(space *s, const chunk *q, const REAL *w, const REAL *t) {
  const network *net = s->net;
  const int64_t a = q->atoms, f = net->features, h = net->hidden, L = net->blocks;
  const int64_t *top = net->at + 1 + L * PER_BLOCK, *numbers = s->data->numbers;
  const int32_t *atom = s->atom + q->atom;
  pairs p = {q->pairs, s->first + q->pair, s->second + q->pair};
  for (int64_t i = 0; i < a; i++)
    memcpy(s->blocks[0].x + i * f, w + net->at[0] + numbers[atom[i]] * f, f * sizeof(REAL));
  for (int64_t l = 0; l < L; l++) {
    block *b = s->blocks + l;
    const int64_t *at = net->at + 1 + l * PER_BLOCK;
    REAL *next = l + 1 < L ? b[1].x : s->xl;
    filters(s, q, b, w, t, at);
    passed(IN_FILTERS);
    product(a, f, b->x, t + at[IN], f, 0, b->y);
    clear(a * f, b->m);
    passed(IN_ATOMS);
    messages(f, p, b->y, b->w, b->m);
    passed(IN_PAIRS);
    product(a, f, b->m, t + at[WA], f, w + at[BA], b->t);
    for (int64_t e = 0; e < a * f; e += VL) {
      vec value, by;
      softplus(AT(b->t + e), &value, &by);
      TO(b->t + e) = value;
      TO(b->st + e) = by;
    }
    memcpy(next, b->x, a * f * sizeof(REAL));
    product_added(a, f, b->t, t + at[WB], f, w + at[BB], next);
    passed(IN_ATOMS);
  }
  product(a, f, s->xl, t + top[R1], h, w + top[RB1], s->r);
  for (int64_t i = 0; i < a; i++) {
    const REAL scale = net->scale[numbers[atom[i]]];
    vec sum = {0};
    for (int64_t v = 0; v < h; v += VL) {
      vec value, slope, bend, last = AT(w + top[R2] + v);
      silu(AT(s->r + i * h + v), &value, &slope, &bend);
      sum += value * last;
      TO(s->gr + i * h + v) = scale * last * slope;
    }
    s->local[i] = scale * (sum_of(sum) + w[top[RB2]]);
  }
  product(a, h, s->gr, w + top[R1], f, 0, s->blocks[L - 1].out);
  clear(q->pairs, s->delta);
  for (int64_t l = L - 1; l >= 0; l--) {
    block *b = s->blocks + l;
    const int64_t *at = net->at + 1 + l * PER_BLOCK;
    product(a, f, b->out, w + at[WB], f, 0, b->gt);
    for (int64_t e = 0; e < a * f; e += VL) TO(b->ga + e) = AT(b->gt + e) * AT(b->st + e);
    product(a, f, b->ga, w + at[WA], f, 0, b->gm);
    if (l > 0) clear(a * f, b->gy);
    passed(IN_ATOMS);
    pulls(f, p, b->gm, b->y, b->w, b->dw, l > 0 ? b->gy : 0, s->delta);
    passed(IN_PAIRS);
    if (l > 0) {
      memcpy(b[-1].out, b->out, a * f * sizeof(REAL));
      product_added(a, f, b->gy, w + at[IN], f, 0, b[-1].out);
    }
  }
  clear(3 * a, s->force);
  for (int64_t k = 0; k < q->pairs; k++)
    for (int x = 0; x < 3; x++) {
      REAL pull = s->delta[k] * s->u[3 * (q->pair + k) + x];
      s->force[3 * p.first[k] + x] += pull;
      s->force[3 * p.second[k] + x] -= pull;
    }
  passed(IN_PAIRS);
}

/* --- and back: adds the derivative of sum lam E + sum fbar F by the weights to `grad` */

static void backward(space *s, const chunk *q, const REAL *w, const REAL *t, REAL *grad) {
  const network *net = s->net;
  const int64_t a = q->atoms, f = net->features, h = net->hidden, L = net->blocks, n = a * f;
  const int64_t *top = net->at + 1 + L * PER_BLOCK, *numbers = s->data->numbers;
  const int32_t *atom = s->atom + q->atom;
  pairs p = {q->pairs, s->first + q->pair, s->second + q->pair};
  for (int64_t k = 0; k < q->pairs; k++) {
    const REAL *u = s->u + 3 * (q->pair + k);
    const REAL *one = s->fbar + 3 * p.first[k], *other = s->fbar + 3 * p.second[k];
    REAL sum = 0;
    for (int x = 0; x < 3; x++) sum += u[x] * (one[x] - other[x]);
    s->delta[k] = sum;
  }
  passed(IN_PAIRS);
  /* back through what made the forces, which is forward through the blocks */
  clear(n, s->gob);
  for (int64_t l = 0; l < L; l++) {
    block *b = s->blocks + l;
    const int64_t *at = net->at + 1 + l * PER_BLOCK;
    clear(n, s->gmb);
    clear(n, b->yb);
    if (l > 0) {
      product(a, f, s->gob, t + at[IN], f, 0, s->gyb);
      outer(a, f, b->gy, s->gob, f, grad + at[IN]);
    }
    passed(IN_ATOMS);
    pulls_back(f, p, s->delta, b->dw, b->w, b->y, b->gm, l > 0 ? s->gyb : 0, s->gmb, b->yb, b->wb);
    passed(IN_PAIRS);
    product(a, f, s->gmb, t + at[WA], f, 0, s->gtb);
    outer(a, f, b->ga, s->gmb, f, grad + at[WA]);
    for (int64_t e = 0; e < n; e += VL) {
      vec back = AT(s->gtb + e), by = AT(b->st + e);
      TO(b->ab + e) = back * AT(b->gt + e) * by * (1 - by);
      TO(s->gtb + e) = back * by;
    }
    product_added(a, f, s->gtb, t + at[WB], f, 0, s->gob);
    outer(a, f, b->out, s->gtb, f, grad + at[WB]);
  }
  outer(a, h, s->gr, s->gob, f, grad + top[R1]);
  product(a, f, s->gob, t + top[R1], h, 0, s->rb);
  /* back through what made the energies */
  for (int64_t i = 0; i < a; i++) {
    const REAL scale = net->scale[numbers[atom[i]]], by_energy = s->lam[i] * scale;
    grad[top[RB2]] += by_energy;
    for (int64_t v = 0; v < h; v += VL) {
      vec value, slope, bend, last = AT(w + top[R2] + v), back = AT(s->rb + i * h + v) * scale;
      silu(AT(s->r + i * h + v), &value, &slope, &bend);
      ADD(grad + top[R2] + v, back * slope + by_energy * value);
      TO(s->rb + i * h + v) = back * last * bend + by_energy * last * slope;
    }
  }
  columns(a, h, s->rb, grad + top[RB1]);
  outer(a, h, s->rb, s->xl, f, grad + top[R1]);
  product(a, h, s->rb, w + top[R1], f, 0, s->xb);
  for (int64_t l = L - 1; l >= 0; l--) {
    block *b = s->blocks + l;
    const int64_t *at = net->at + 1 + l * PER_BLOCK;
    columns(a, f, s->xb, grad + at[BB]);
    outer(a, f, s->xb, b->t, f, grad + at[WB]);
    product(a, f, s->xb, w + at[WB], f, 0, s->zb);
    for (int64_t e = 0; e < n; e += VL)
      TO(s->zb + e) = AT(b->ab + e) + AT(s->zb + e) * AT(b->st + e);
    columns(a, f, s->zb, grad + at[BA]);
    outer(a, f, s->zb, b->m, f, grad + at[WA]);
    product(a, f, s->zb, w + at[WA], f, 0, s->gmb);
    passed(IN_ATOMS);
    filters_back(s, q, b, w, grad, at, s->gmb, l > 0 ? b->wb : 0);
    outer(a, f, b->yb, b->x, f, grad + at[IN]);
    product_added(a, f, b->yb, w + at[IN], f, 0, s->xb);
  }
  for (int64_t i = 0; i < a; i++) {
    REAL *row = grad + net->at[0] + numbers[atom[i]] * f;
    for (int64_t v = 0; v < f; v += VL) ADD(row + v, AT(s->xb + i * f + v));
  }
  passed(IN_ATOMS);
}

/* --- batches */

static void radial(space *s, int64_t k, REAL length) {
  const network *net = s->net;
  for (int64_t v = 0; v < net->radial; v += VL) {
    vec exponent = AT(net->exponents + v), far = length - AT(net->centres + v);
    vec gaussian = exponential(exponent * far * far);
    TO(s->g + k * net->radial + v) = gaussian;
    TO(s->dg + k * net->radial + v) = gaussian * (2 * exponent * far);
  }
}

static void add_structure(space *s, int64_t structure, chunk *q) {
  const dataset *d = s->data;
  const int64_t from = d->first_pair[structure], n = d->n_pairs[structure];
  const int64_t at = q->pair + q->pairs;
  for (int64_t i = 0; i < d->n_atoms[structure]; i++)
    s->atom[q->atom + q->atoms + i] = (int32_t)(d->first_atom[structure] + i);
  for (int64_t k = 0; k < n; k++) {
    s->first[at + k] = (int32_t)(q->atoms + d->first[from + k]);
    s->second[at + k] = (int32_t)(q->atoms + d->second[from + k]);
    s->c[at + k] = d->cutoff[from + k];
    s->dc[at + k] = d->cutoff_slope[from + k];
    radial(s, at + k, d->length[from + k]);
  }
  memcpy(s->u + 3 * at, d->direction + 3 * from, 3 * n * sizeof(REAL));
  q->atoms += d->n_atoms[structure];
  q->pairs += n;
  q->structures += 1;
}

/* Take structures as long as there is room, and divide them into chunks; return how many. */
static int64_t gather(space *s, int64_t n, const int64_t *chosen) {
  const dataset *d = s->data;
  chunk *q = s->chunks;
  *q = (chunk){0};
  s->n_chunks = n > 0;
  for (int64_t k = 0; k < n; k++) {
    const int64_t atoms = d->n_atoms[chosen[k]], count = d->n_pairs[chosen[k]];
    if (k == s->structures || q->atom + q->atoms + atoms > s->atoms ||
        q->pair + q->pairs + count > s->pairs)
      return k;
    if (q->structures && (q->pairs + count > CHUNK_PAIRS || q->atoms + atoms > CHUNK_ATOMS)) {
      q[1] = (chunk){q->atom + q->atoms, 0, q->pair + q->pairs, 0, k, 0};
      q++;
      s->n_chunks++;
    }
    s->chosen[k] = chosen[k];
    add_structure(s, chosen[k], q);
  }
  return n;
}

/* --- losses */

static double metric(int64_t kind, double delta, double x, double *slope) {
  const double size = fabs(x), sign = (x > 0) - (x < 0);
  if (kind == 1) { *slope = sign; return size; }
  if (kind == 0) { *slope = 2 * x; return x * x; }
  if (size <= delta) { *slope = x; return x * x / 2; }
  *slope = delta * sign;
  return delta * (size - delta / 2);
}

/* Errors of a chunk to terms by structure, energy and force (2, structures), and to the derivatives
 * `lam` and `fbar` of by_energy x energy terms + by_force x force terms. */
static void losses(space *s, const chunk *q, const member *m, double by_energy, double by_force,
                   double *energy_terms, double *force_terms) {
  const dataset *d = s->data;
  for (int64_t k = 0, i = 0; k < q->structures; k++) {
    const int64_t structure = s->chosen[q->structure + k], n = d->n_atoms[structure];
    double energy = 0, sum = 0, slope;
    for (int64_t a = i; a < i + n; a++) energy += s->local[a];
    const double scale = m->energy_scale[structure];
    const double error = ((REAL)energy - d->energy[structure]) / scale;
    energy_terms[k] = metric(m->metric, m->delta, error, &slope);
    for (int64_t a = i; a < i + n; a++) s->lam[a] = (REAL)(by_energy * slope / scale);
    for (int64_t a = i; a < i + n; a++) {
      const int64_t row = s->atom[q->atom + a];
      const double width = m->force_scale[row];
      for (int x = 0; x < 3; x++) {
        const double off = (s->force[3 * a + x] - d->forces[3 * row + x]) / width;
        sum += metric(m->metric, m->delta, off, &slope);
        s->fbar[3 * a + x] = (REAL)(by_force * slope / width);
      }
    }
    force_terms[k] = sum;
    i += n;
  }
}

static void turn_all(const network *net, const REAL *w, REAL *t) {
  const int64_t f = net->features, *top = net->at + 1 + net->blocks * PER_BLOCK;
  for (int64_t l = 0; l < net->blocks; l++) {
    const int64_t *at = net->at + 1 + l * PER_BLOCK;
    turn(f, net->radial, w + at[W1], t + at[W1]);
    turn(f, f, w + at[W2], t + at[W2]);
    turn(f, f, w + at[IN], t + at[IN]);
    turn(f, f, w + at[WA], t + at[WA]);
    turn(f, f, w + at[WB], t + at[WB]);
  }
  turn(net->hidden, f, w + top[R1], t + top[R1]);
}

static void adam(const network *net, member *m, double rate, double steps) {
  const REAL keep = (REAL)(1 - 0.9), one = (REAL)0.999, other = (REAL)(1 - 0.999);
  const REAL size = (REAL)(rate / (1 - pow(0.9, steps))), eps = (REAL)1e-8;
  const REAL root = (REAL)sqrt(1 - pow(0.999, steps));
  REAL *restrict w = m->weights, *restrict mean = m->mean, *restrict square = m->square;
  const REAL *restrict g = m->gradient;
  _Pragma("omp simd")
  for (int64_t i = 0; i < net->size; i++) {
    mean[i] += keep * (g[i] - mean[i]);
    square[i] = one * square[i] + other * g[i] * g[i];
#if DOUBLE
    w[i] -= size * mean[i] / (sqrt(square[i]) / root + eps);
#else
    w[i] -= size * mean[i] / (sqrtf(square[i]) / root + eps);
#endif
  }
}

static void masked(const network *net, REAL *g) {
  if (net->mask)
    for (int64_t i = 0; i < net->size; i++) g[i] *= net->mask[i];
}

/* --- what is called from outside */

/* The gradient of each member's loss of a batch; terms (members, 2, n): energy terms and sums of
 * force terms by structure. Return the number of structures taken, n unless they have no room. */
int64_t gradients(space *s, int64_t n, const int64_t *chosen, int64_t members, member *all,
                  double *terms) {
  begun();
  const int64_t taken = gather(s, n, chosen);
  if (taken < n) return taken;
  passed(IN_BATCHES);
  const chunk *last = s->chunks + s->n_chunks - 1;
  const double atoms = (double)(last->atom + last->atoms);
  for (int64_t k = 0; k < members; k++) {
    member *m = all + k;
    REAL *t = s->turned + k * s->net->size;
    double *energy = terms + 2 * k * n, *force = energy + n;
    turn_all(s->net, m->weights, t);
    clear(s->net->size, m->gradient);
    passed(IN_ADAM);
    for (const chunk *q = s->chunks; q <= last; q++) {
      forward(s, q, m->weights, t);
      losses(s, q, m, 1.0 / n, (REAL)m->force_weight / (3 * atoms), energy + q->structure,
             force + q->structure);
      passed(IN_LOSSES);
      backward(s, q, m->weights, t, m->gradient);
    }
    masked(s->net, m->gradient);
  }
  passed(IN_ADAM);
  return n;
}

/* One step of every member whose loss is finite; found (members, 3): the mean of energy terms, that
 * of force terms, and the loss. steps: how many have been taken with this one. */
int64_t step(space *s, int64_t n, const int64_t *chosen, int64_t members, member *all, double rate,
             double steps, double *terms, double *found) {
  const int64_t taken = gradients(s, n, chosen, members, all, terms);
  if (taken < n) return taken;
  const chunk *last = s->chunks + s->n_chunks - 1;
  const double components = 3.0 * (double)(last->atom + last->atoms);
  for (int64_t k = 0; k < members; k++) {
    const double *energy = terms + 2 * k * n, *force = energy + n;
    double sums[2] = {0, 0};
    for (int64_t i = 0; i < n; i++) { sums[0] += energy[i]; sums[1] += force[i]; }
    double *mean = found + 3 * k;
    mean[0] = sums[0] / n;
    mean[1] = sums[1] / components;
    mean[2] = (REAL)(mean[0] + (REAL)all[k].force_weight * mean[1]);
    if (!isfinite(mean[2])) continue;
    adam(s->net, all + k, rate, steps);
    for (int64_t i = 0; i < n; i++) {
      double *total = all[k].total + 3 * chosen[i];
      total[0] += 1;
      total[1] += energy[i];
      total[2] += force[i];
    }
  }
  passed(IN_ADAM);
  return n;
}

/* Local energies (members, atoms) and forces (members, atoms, 3) of structures in their order */
void predict(space *s, int64_t n, const int64_t *chosen, int64_t members, const member *all,
             int64_t atoms, REAL *local, REAL *force) {
  for (int64_t k = 0; k < members; k++)
    turn_all(s->net, all[k].weights, s->turned + k * s->net->size);
  for (int64_t from = 0, row = 0; from < n;) {
    const int64_t taken = gather(s, n - from, chosen + from);
    if (!taken) return;
    const chunk *last = s->chunks + s->n_chunks - 1;
    for (int64_t k = 0; k < members; k++)
      for (const chunk *q = s->chunks; q <= last; q++) {
        const int64_t to = k * atoms + row + q->atom;
        forward(s, q, all[k].weights, s->turned + k * s->net->size);
        memcpy(local + to, s->local, q->atoms * sizeof(REAL));
        memcpy(force + 3 * to, s->force, 3 * q->atoms * sizeof(REAL));
      }
    row += last->atom + last->atoms;
    from += taken;
  }
}

static double norm(int64_t n, const REAL *g) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += (double)g[i] * g[i];
  return sqrt(sum);
}

/* Of each structure alone: norms of the gradients of its energy term, its energy and the sum of its
 * force terms, (members, n, 3) */
void signals(space *s, int64_t n, const int64_t *chosen, int64_t members, member *all, double *norms) {
  double terms[2];
  for (int64_t k = 0; k < members; k++)
    turn_all(s->net, all[k].weights, s->turned + k * s->net->size);
  for (int64_t i = 0; i < n; i++) {
    if (!gather(s, 1, chosen + i)) return;
    for (int64_t k = 0; k < members; k++) {
      member *m = all + k;
      const chunk *q = s->chunks;
      const REAL *t = s->turned + k * s->net->size;
      double *found = norms + 3 * (k * n + i);
      forward(s, q, m->weights, t);
      losses(s, q, m, 1.0, 1.0, terms, terms + 1);
      const double slope = fabs((double)s->lam[0]);
      for (int64_t a = 0; a < q->atoms; a++) s->lam[a] = 0;
      clear(s->net->size, m->gradient);
      backward(s, q, m->weights, t, m->gradient);
      masked(s->net, m->gradient);
      found[2] = norm(s->net->size, m->gradient);
      for (int64_t a = 0; a < q->atoms; a++) s->lam[a] = 1;
      clear(3 * q->atoms, s->fbar);
      clear(s->net->size, m->gradient);
      backward(s, q, m->weights, t, m->gradient);
      masked(s->net, m->gradient);
      found[1] = norm(s->net->size, m->gradient);
      found[0] = slope * found[1];
    }
  }
}

static int64_t most(int64_t n, const int64_t *values, int64_t least) {
  for (int64_t k = 0; k < n; k++) least = values[k] > least ? values[k] : least;
  return least;
}

/* Memory for batches of so many structures, atoms and pairs; NULL where there is none. */
space *space_new(const network *net, const dataset *data, int64_t n_structures, int64_t members,
                 int64_t structures, int64_t atoms, int64_t pairs_) {
  const int64_t f = net->features, h = net->hidden, L = net->blocks;
  const int64_t a = most(n_structures, data->n_atoms, CHUNK_ATOMS) + ROWS;
  const int64_t p = most(n_structures, data->n_pairs, CHUNK_PAIRS) + TILE;
  atoms = most(1, &atoms, a);
  pairs_ = most(1, &pairs_, p) + TILE;
  space *s = calloc(1, sizeof *s);
  if (!s) return 0;
  struct { void **where; int64_t bytes; } parts[64 + 18 * 64];
  int64_t count = 0, bytes = 0;
#define PART(pointer, number, type) \
  parts[count].where = (void **)&(pointer); \
  parts[count++].bytes = ((number) * (int64_t)sizeof(type) + 63) / 64 * 64;
  s->blocks = calloc(L, sizeof *s->blocks);
  if (!s->blocks) { free(s); return 0; }
  PART(s->chunks, structures + 1, chunk)
  PART(s->chosen, structures, int64_t)
  PART(s->atom, atoms, int32_t)
  PART(s->first, pairs_, int32_t)
  PART(s->second, pairs_, int32_t)
  PART(s->u, 3 * pairs_, REAL)
  PART(s->c, pairs_, REAL)
  PART(s->dc, pairs_, REAL)
  PART(s->g, pairs_ * net->radial, REAL)
  PART(s->dg, pairs_ * net->radial, REAL)
  PART(s->turned, members * net->size, REAL)
  for (int64_t l = 0; l < L; l++) {
    block *b = s->blocks + l;
    REAL **wide[] = {&b->w, &b->dw, &b->h, &b->s, &b->dz, &b->wb};
    REAL **narrow[] = {&b->x, &b->y, &b->m, &b->t, &b->st, &b->out, &b->gt, &b->ga, &b->gm, &b->gy,
                       &b->yb, &b->ab};
    for (int i = 0; i < 6; i++) { PART(*wide[i], p * f, REAL) }
    for (int i = 0; i < 12; i++) { PART(*narrow[i], a * f, REAL) }
  }
  REAL **of_atoms[] = {&s->xl, &s->gmb, &s->gtb, &s->gob, &s->gyb, &s->xb, &s->zb};
  REAL **of_hidden[] = {&s->r, &s->gr, &s->rb};
  REAL **of_tile[] = {&s->t1, &s->t2, &s->t3, &s->t4, &s->t5};
  for (int i = 0; i < 7; i++) { PART(*of_atoms[i], a * f, REAL) }
  for (int i = 0; i < 3; i++) { PART(*of_hidden[i], a * h, REAL) }
  for (int i = 0; i < 5; i++) { PART(*of_tile[i], TILE * f, REAL) }
  PART(s->local, a, REAL)
  PART(s->lam, a, REAL)
  PART(s->force, 3 * a, REAL)
  PART(s->fbar, 3 * a, REAL)
  PART(s->delta, p, REAL)
  for (int64_t k = 0; k < count; k++) bytes += parts[k].bytes;
  s->memory = aligned_alloc(64, bytes);
  if (!s->memory) { free(s->blocks); free(s); return 0; }
  memset(s->memory, 0, bytes);
  char *place = s->memory;
  for (int64_t k = 0; k < count; k++) { *parts[k].where = place; place += parts[k].bytes; }
  s->net = net;
  s->data = data;
  s->structures = structures;
  s->atoms = atoms;
  s->pairs = pairs_ - TILE;
  return s;
}

void space_free(space *s) {
  free(s->memory);
  free(s->blocks);
  free(s);
}
