/* PaiNN (Schuett, Unke and Gastegger 2021).
 *
 * Prefixes of what belongs to a number x: none, its value; g, dE/dx; t, the derivative of x along a
 * displacement of the atoms; b, dS/dx, with S the sum of what is differentiated. The loss's derivative
 * by the weights is that of S = sum lam E + sum fbar F by them. The forces along fbar are the derivative
 * of E along the displacement -fbar. So forward gives values and g's, with them the forces; and back
 * goes once more forward, with t's, and then back with b's: for y = f(x) and ty = f'(x) tx,
 *
 *   bx = f'(x) by + (d/dx f'(x) tx) gy,   and for y = x w, ty = tx w:   bw = x by + tx gy.
 *
 * Filters are linear in Gaussians times cutoff and in the cutoff, whose slopes by the length are known.
 * Vectors are three rows of features. What is zero is left out: vectors before the first block, their
 * messages, and vectors after the last.
 */
#define CHUNK_PAIRS 192
#define CHUNK_ATOMS 48

/* Weights: embedding; filters of all blocks, of each block three times weight and bias; those of each
 * block; readout. Three: to features, to vectors along pairs, to vectors. */
enum { FILTERS = 1, PER_FILTERS = 6 };
enum { C0, BC0, CQ, BCQ, CD, BCD, CM, BCM, UV, UW, DQ, DN, BD, KQ, BKQ, KM, BKM, KX, BKX, PER_BLOCK };
enum { R1, RB1, R2, RB2 };

typedef struct {
  REAL *wq, *wd, *wm, *dwq, *dwd, *dwm;             /* of pairs: filters and their slopes */
  REAL *q, *s1, *e1, *h, *xq, *xd, *xm;             /* of atoms: context, with slope and bend of silu */
  REAL *q1, *n, *s2, *e2, *k, *dm, *dx, *vw;        /* mixing */
  REAL *gq2, *gdm, *gdx, *gk, *ga2, *gq1, *gn, *gh, *ga1, *gxq, *gxd, *gxm;
  REAL *tq, *ta1, *th, *txq, *txd, *txm, *tq1, *tn, *ta2, *tk, *tdm, *tdx, *tvw;
  REAL *mu, *y, *mu1, *v, *w;                       /* three rows each */
  REAL *gmu2, *gv, *gw, *gmu1, *gy;
  REAL *tmu, *ty, *tmu1, *tv, *tw;
} block;
enum { OF_PAIRS = 6, OF_ATOMS = 15 + 12 + 13, OF_VECTORS = 15 };

struct own {
  block blocks[64];
  REAL *ql, *r, *gr, *tql, *rb;                         /* last features, readout */
  REAL *gq, *gs;                                        /* of atoms, on the way */
  REAL *bq, *bk, *ba, *bdm, *bdx, *bn, *bxq, *bxd, *bxm, *bh;
  REAL *gmu, *bmu, *bv, *bw, *by;                       /* three rows each */
  REAL *gu, *du;                                        /* (pairs, 3): dE/du, u along the displacement */
  REAL *tile[6];
};

/* Gaussians times the cutoff, and the slope of that. */
static void prepare_pair(space *s, int64_t k) {
  const int64_t n = s->net->radial;
  for (int64_t i = k * n; i < (k + 1) * n; i++) {
    s->dg[i] = s->dg[i] * s->c[k] + s->g[i] * s->dc[k];
    s->g[i] *= s->c[k];
  }
}

static void place(space *s, int64_t a, int64_t p) {
  const int64_t f = s->net->features, h = s->net->hidden;
  own *o = s->own;
  for (int64_t l = 0; l < s->net->blocks; l++) {
    REAL **every = (REAL **)(o->blocks + l);
    for (int i = 0; i < OF_PAIRS; i++) TAKE(every[i], p * f);
    for (int i = 0; i < OF_ATOMS; i++) TAKE(every[OF_PAIRS + i], a * f);
    for (int i = 0; i < OF_VECTORS; i++) TAKE(every[OF_PAIRS + OF_ATOMS + i], 3 * a * f);
  }
  REAL **of_atoms[] = {&o->ql, &o->tql, &o->gq, &o->gs, &o->bq, &o->bk, &o->ba, &o->bdm, &o->bdx,
                       &o->bn, &o->bxq, &o->bxd, &o->bxm, &o->bh};
  REAL **of_vectors[] = {&o->gmu, &o->bmu, &o->bv, &o->bw, &o->by};
  REAL **of_hidden[] = {&o->r, &o->gr, &o->rb}, **of_pairs[] = {&o->gu, &o->du};
  for (int i = 0; i < 14; i++) TAKE(*of_atoms[i], a * f);
  for (int i = 0; i < 5; i++) TAKE(*of_vectors[i], 3 * a * f);
  for (int i = 0; i < 3; i++) TAKE(*of_hidden[i], a * h);
  for (int i = 0; i < 2; i++) TAKE(*of_pairs[i], 3 * p);
  for (int i = 0; i < 6; i++) TAKE(o->tile[i], TILE * f);
}

static const int64_t *filters_at(const network *net, int64_t l, int kind) {
  return net->at + FILTERS + l * PER_FILTERS + 2 * kind;
}
static const int64_t *block_at(const network *net, int64_t l) {
  return net->at + FILTERS + net->blocks * PER_FILTERS + l * PER_BLOCK;
}
static const int64_t *readout_at(const network *net) { return block_at(net, net->blocks); }

static void turn_all(const network *net, const REAL *w, REAL *t) {
  static const int square[] = {C0, CQ, CD, CM, UV, UW, DQ, DN, KQ, KM, KX};
  const int64_t f = net->features, *top = readout_at(net);
  for (int64_t l = 0; l < net->blocks; l++) {
    for (int kind = 0; kind < 3; kind++) {
      const int64_t at = *filters_at(net, l, kind);
      turn(f, net->radial, w + at, t + at);
    }
    for (int i = 0; i < 11; i++) {
      const int64_t at = block_at(net, l)[square[i]];
      turn(f, f, w + at, t + at);
    }
  }
  turn(net->hidden, f, w + top[R1], t + top[R1]);
}

#define EACH(n) for (int64_t e = 0; e < (n); e += VL)
/* three rows of each atom, beside its one row */
#define EACH_ROW3(a) \
  for (int64_t i = 0; i < (a); i++) for (int c = 0; c < 3; c++) \
    for (int64_t v = 0, e = i * f, g = (3 * i + c) * f; v < f; v += VL, e += VL, g += VL)
/* each number of an atom, with its three rows from g on, f apart */
#define EACH_ATOM(a) \
  for (int64_t i = 0; i < (a); i++) \
    for (int64_t v = 0, e = i * f, g = 3 * i * f; v < f; v += VL, e += VL, g += VL)
#define EACH_C for (int64_t c = 0, row = g; c < 3; c++, row += f)

/* --- sums over pairs: symmetric for filters of features and of vectors, with the direction u, which
 * changes sign, for filters from features to vectors; `deep` tells whether there are vectors yet */

INLINE void to_atoms_of(const int64_t f, const int deep, pairs p, const REAL *u, const block *b,
                        REAL *q1, REAL *mu1) {
  EACH_PAIR {
    ENDS EACH_VECTOR {
      const int64_t at = k * f + v;
      vec wq = AT(b->wq + at), wd = AT(b->wd + at), xi = AT(b->xd + i + v), xj = AT(b->xd + j + v);
      ADD(q1 + i + v, wq * AT(b->xq + j + v));
      ADD(q1 + j + v, wq * AT(b->xq + i + v));
      for (int c = 0; c < 3; c++) {
        const int64_t ci = 3 * i + c * f + v, cj = 3 * j + c * f + v;
        vec along = u[3 * k + c] * wd, to_i = along * xj, to_j = -along * xi;
        if (deep) {
          vec wm = AT(b->wm + at);
          to_i += wm * AT(b->y + cj);
          to_j += wm * AT(b->y + ci);
        }
        ADD(mu1 + ci, to_i);
        ADD(mu1 + cj, to_j);
      }
    }
  }
}

/* From gq1 and gmu1 those by xq, xd and y; d += dE/dd of the filters, gu += dE/du. */
INLINE void from_atoms_of(const int64_t f, const int deep, pairs p, const REAL *u, const block *b,
                          REAL *d, REAL *gu) {
  EACH_PAIR {
    ENDS vec by_d = {0}, by_u[3] = {{0}, {0}, {0}};
    EACH_VECTOR {
      const int64_t at = k * f + v;
      vec wq = AT(b->wq + at), wd = AT(b->wd + at), xi = AT(b->xd + i + v), xj = AT(b->xd + j + v);
      vec gi = AT(b->gq1 + i + v), gj = AT(b->gq1 + j + v), turned = {0}, to_i = {0}, to_j = {0};
      by_d += AT(b->dwq + at) * (gi * AT(b->xq + j + v) + gj * AT(b->xq + i + v));
      ADD(b->gxq + i + v, wq * gj);
      ADD(b->gxq + j + v, wq * gi);
      for (int c = 0; c < 3; c++) {
        const int64_t ci = 3 * i + c * f + v, cj = 3 * j + c * f + v;
        vec hi = AT(b->gmu1 + ci), hj = AT(b->gmu1 + cj), across = hi * xj - hj * xi;
        by_u[c] += wd * across;
        turned += u[3 * k + c] * across;
        to_j += u[3 * k + c] * hi;
        to_i += u[3 * k + c] * hj;
        if (deep) {
          vec wm = AT(b->wm + at);
          by_d += AT(b->dwm + at) * (hi * AT(b->y + cj) + hj * AT(b->y + ci));
          ADD(b->gy + ci, wm * hj);
          ADD(b->gy + cj, wm * hi);
        }
      }
      by_d += AT(b->dwd + at) * turned;
      ADD(b->gxd + j + v, wd * to_j);
      ADD(b->gxd + i + v, -wd * to_i);
    }
    d[k] += sum_of(by_d);
    for (int c = 0; c < 3; c++) gu[3 * k + c] += sum_of(by_u[c]);
  }
}

/* Along the displacement, that changes lengths by `along` and directions by du: tq1 and tmu1. */
INLINE void moved_of(const int64_t f, const int deep, pairs p, const REAL *u, const REAL *along,
                     const REAL *du, const block *b) {
  EACH_PAIR {
    ENDS const REAL by = along[k];
    EACH_VECTOR {
      const int64_t at = k * f + v;
      vec wq = AT(b->wq + at), wd = AT(b->wd + at), tq = by * AT(b->dwq + at), td = by * AT(b->dwd + at);
      vec xi = AT(b->xd + i + v), xj = AT(b->xd + j + v), ti = AT(b->txd + i + v), tj = AT(b->txd + j + v);
      ADD(b->tq1 + i + v, wq * AT(b->txq + j + v) + tq * AT(b->xq + j + v));
      ADD(b->tq1 + j + v, wq * AT(b->txq + i + v) + tq * AT(b->xq + i + v));
      for (int c = 0; c < 3; c++) {
        const int64_t ci = 3 * i + c * f + v, cj = 3 * j + c * f + v;
        vec one = u[3 * k + c] * wd, other = u[3 * k + c] * td + du[3 * k + c] * wd;
        vec to_i = one * tj + other * xj, to_j = -(one * ti + other * xi);
        if (deep) {
          vec wm = AT(b->wm + at), tm = by * AT(b->dwm + at);
          to_i += wm * AT(b->ty + cj) + tm * AT(b->y + cj);
          to_j += wm * AT(b->ty + ci) + tm * AT(b->y + ci);
        }
        ADD(b->tmu1 + ci, to_i);
        ADD(b->tmu1 + cj, to_j);
      }
    }
  }
}

/* From bq1 and bmu1 those by xq, xd, y, and by the filters and their slopes, to out: six tiles. */
INLINE void moved_back_of(const int64_t f, const int deep, pairs p, int64_t from, const REAL *u,
                          const REAL *along, const REAL *du, const block *b, const REAL *bq1,
                          const REAL *bmu1, REAL *bxq, REAL *bxd, REAL *by_, REAL *const *out) {
  EACH_PAIR {
    ENDS const REAL by = along[k];
    EACH_VECTOR {
      const int64_t at = (from + k) * f + v, to = k * f + v;
      vec wq = AT(b->wq + at), wd = AT(b->wd + at), tq = by * AT(b->dwq + at), td = by * AT(b->dwd + at);
      vec bi = AT(bq1 + i + v), bj = AT(bq1 + j + v), gi = AT(b->gq1 + i + v), gj = AT(b->gq1 + j + v);
      vec qi = AT(b->xq + i + v), qj = AT(b->xq + j + v);
      TO(out[0] + to) = bi * qj + bj * qi + gi * AT(b->txq + j + v) + gj * AT(b->txq + i + v);
      TO(out[1] + to) = by * (gi * qj + gj * qi);
      ADD(bxq + i + v, wq * bj + tq * gj);
      ADD(bxq + j + v, wq * bi + tq * gi);
      vec xi = AT(b->xd + i + v), xj = AT(b->xd + j + v), ti = AT(b->txd + i + v), tj = AT(b->txd + j + v);
      vec plain = {0}, slope = {0}, to_i = {0}, to_j = {0}, deep_plain = {0}, deep_slope = {0};
      for (int c = 0; c < 3; c++) {
        const int64_t ci = 3 * i + c * f + v, cj = 3 * j + c * f + v;
        const REAL uc = u[3 * k + c], dc = du[3 * k + c];
        vec hi = AT(b->gmu1 + ci), hj = AT(b->gmu1 + cj), mi = AT(bmu1 + ci), mj = AT(bmu1 + cj);
        vec across = hi * xj - hj * xi, one = uc * wd, other = uc * td + dc * wd;
        plain += uc * (mi * xj - mj * xi + hi * tj - hj * ti) + dc * across;
        slope += uc * across;
        to_j += one * mi + other * hi;
        to_i -= one * mj + other * hj;
        if (deep) {
          vec yi = AT(b->y + ci), yj = AT(b->y + cj), wm = AT(b->wm + at), tm = by * AT(b->dwm + at);
          deep_plain += mi * yj + mj * yi + hi * AT(b->ty + cj) + hj * AT(b->ty + ci);
          deep_slope += hi * yj + hj * yi;
          ADD(by_ + ci, wm * mj + tm * hj);
          ADD(by_ + cj, wm * mi + tm * hi);
        }
      }
      ADD(bxd + i + v, to_i);
      ADD(bxd + j + v, to_j);
      TO(out[2] + to) = plain;
      TO(out[3] + to) = by * slope;
      if (deep) {
        TO(out[4] + to) = deep_plain;
        TO(out[5] + to) = by * deep_slope;
      }
    }
  }
}

#define BY_DEPTH(CALL) if (deep) { BY_WIDTH(CALL) } else { BY_WIDTH(FLAT_##CALL) }
static void to_atoms(int64_t f, int deep, pairs p, const REAL *u, const block *b, REAL *q1, REAL *mu1) {
#define TO_ATOMS(n) to_atoms_of(n, 1, p, u, b, q1, mu1)
#define FLAT_TO_ATOMS(n) to_atoms_of(n, 0, p, u, b, q1, mu1)
  BY_DEPTH(TO_ATOMS)
}
static void from_atoms(int64_t f, int deep, pairs p, const REAL *u, const block *b, REAL *d, REAL *gu) {
#define FROM_ATOMS(n) from_atoms_of(n, 1, p, u, b, d, gu)
#define FLAT_FROM_ATOMS(n) from_atoms_of(n, 0, p, u, b, d, gu)
  BY_DEPTH(FROM_ATOMS)
}
static void moved(int64_t f, int deep, pairs p, const REAL *u, const REAL *along, const REAL *du,
                  const block *b) {
#define MOVED(n) moved_of(n, 1, p, u, along, du, b)
#define FLAT_MOVED(n) moved_of(n, 0, p, u, along, du, b)
  BY_DEPTH(MOVED)
}
static void moved_back(int64_t f, int deep, pairs p, int64_t from, const REAL *u, const REAL *along,
                       const REAL *du, const block *b, const REAL *bq1, const REAL *bmu1, REAL *bxq,
                       REAL *bxd, REAL *by, REAL *const *out) {
#define BACK(n) moved_back_of(n, 1, p, from, u, along, du, b, bq1, bmu1, bxq, bxd, by, out)
#define FLAT_BACK(n) moved_back_of(n, 0, p, from, u, along, du, b, bq1, bmu1, bxq, bxd, by, out)
  BY_DEPTH(BACK)
}

/* --- filters */

static void filters(space *s, const chunk *q, int64_t l, const REAL *w, const REAL *t) {
  const int64_t f = s->net->features, n = s->net->radial;
  block *b = s->own->blocks + l;
  REAL *values[] = {b->wq, b->wd, b->wm}, *slopes[] = {b->dwq, b->dwd, b->dwm};
  for (int kind = 0; kind < (l > 0 ? 3 : 2); kind++) {
    const int64_t *at = filters_at(s->net, l, kind);
    product(q->pairs, n, s->g + q->pair * n, t + at[0], f, 0, values[kind]);
    product(q->pairs, n, s->dg + q->pair * n, t + at[0], f, 0, slopes[kind]);
    for (int64_t k = 0; k < q->pairs; k++) {
      const REAL c = s->c[q->pair + k], dc = s->dc[q->pair + k];
      EACH_VECTOR {
        vec bias = AT(w + at[1] + v);
        ADD(values[kind] + k * f + v, c * bias);
        ADD(slopes[kind] + k * f + v, dc * bias);
      }
    }
  }
}

static void filters_back(space *s, const chunk *q, int64_t l, REAL *grad, const REAL *bq1,
                         const REAL *bmu1) {
  const int64_t f = s->net->features, n = s->net->radial;
  own *o = s->own;
  const block *b = o->blocks + l;
  for (int64_t k = 0; k < q->pairs; k += TILE) {
    const int64_t m = q->pairs - k < TILE ? q->pairs - k : TILE, row = q->pair + k;
    pairs p = {m, s->first + row, s->second + row};
    moved_back(f, l > 0, p, k, s->u + 3 * row, s->delta + k, o->du + 3 * k, b, bq1, bmu1, o->bxq,
               o->bxd, o->by, o->tile);
    passed(IN_PAIRS);
    for (int kind = 0; kind < (l > 0 ? 3 : 2); kind++) {
      const int64_t *at = filters_at(s->net, l, kind);
      const REAL *plain = o->tile[2 * kind], *slope = o->tile[2 * kind + 1];
      outer_twice(m, f, plain, s->g + row * n, slope, s->dg + row * n, n, grad + at[0]);
      EACH_VECTOR {
        vec sum = AT(grad + at[1] + v);
        for (int64_t r = 0; r < m; r++)
          sum += s->c[row + r] * AT(plain + r * f + v) + s->dc[row + r] * AT(slope + r * f + v);
        TO(grad + at[1] + v) = sum;
      }
    }
    passed(IN_FILTERS_BACK);
  }
}

/* --- within atoms, forward: values, g's, t's */

static void context(const network *net, block *b, int64_t l, int64_t a, const REAL *w, const REAL *t) {
  const int64_t f = net->features, *at = block_at(net, l);
  product(a, f, b->q, t + at[C0], f, w + at[BC0], b->h);
  EACH(a * f) {
    vec value, slope, bend;
    silu(AT(b->h + e), &value, &slope, &bend);
    TO(b->h + e) = value;
    TO(b->s1 + e) = slope;
    TO(b->e1 + e) = bend;
  }
  product(a, f, b->h, t + at[CQ], f, w + at[BCQ], b->xq);
  product(a, f, b->h, t + at[CD], f, w + at[BCD], b->xd);
  if (l == 0) return;
  product(a, f, b->h, t + at[CM], f, w + at[BCM], b->xm);
  EACH_ROW3(a) TO(b->y + g) = AT(b->xm + e) * AT(b->mu + g);
}

static void mix(const network *net, block *b, int64_t l, int64_t a, const REAL *w, const REAL *t,
                REAL *q2, REAL *mu2) {
  const int64_t f = net->features, *at = block_at(net, l);
  const vec eps = (vec){0} + (REAL)net->epsilon;
  product(3 * a, f, b->mu1, t + at[UV], f, 0, b->v);
  product(3 * a, f, b->mu1, t + at[UW], f, 0, b->w);
  EACH_ATOM(a) {
    vec squares = eps, both = {0}, root;
    EACH_C {
      squares += AT(b->v + row) * AT(b->v + row);
      both += AT(b->v + row) * AT(b->w + row);
    }
    for (int x = 0; x < VL; x++) root[x] = DOUBLE ? sqrt(squares[x]) : sqrtf(squares[x]);
    TO(b->n + e) = root;
    TO(b->vw + e) = both;
  }
  product(a, f, b->q1, t + at[DQ], f, w + at[BD], b->k);
  product_added(a, f, b->n, t + at[DN], f, 0, b->k);
  EACH(a * f) {
    vec value, slope, bend;
    silu(AT(b->k + e), &value, &slope, &bend);
    TO(b->k + e) = value;
    TO(b->s2 + e) = slope;
    TO(b->e2 + e) = bend;
  }
  product(a, f, b->k, t + at[KX], f, w + at[BKX], b->dx);
  memcpy(q2, b->q1, a * f * sizeof(REAL));
  product_added(a, f, b->k, t + at[KQ], f, w + at[BKQ], q2);
  EACH(a * f) ADD(q2 + e, AT(b->dx + e) * AT(b->vw + e));
  if (!mu2) return;
  product(a, f, b->k, t + at[KM], f, w + at[BKM], b->dm);
  EACH_ROW3(a) TO(mu2 + g) = AT(b->mu1 + g) + AT(b->dm + e) * AT(b->w + g);
}

/* gq2 and, but for the last block, gmu2 are there; leaves gq1 and gmu1 */
static void mix_g(space *s, block *b, int64_t l, int64_t a, const REAL *w) {
  const network *net = s->net;
  const int64_t f = net->features, *at = block_at(net, l);
  const int last = l + 1 == net->blocks;
  own *o = s->own;
  EACH(a * f) {
    TO(o->gs + e) = AT(b->gq2 + e) * AT(b->dx + e);
    TO(b->gdx + e) = AT(b->gq2 + e) * AT(b->vw + e);
  }
  if (!last) EACH_ATOM(a) {
    vec sum = {0};
    EACH_C sum += AT(b->gmu2 + row) * AT(b->w + row);
    TO(b->gdm + e) = sum;
  }
  product(a, f, b->gq2, w + at[KQ], f, 0, b->gk);
  product_added(a, f, b->gdx, w + at[KX], f, 0, b->gk);
  if (!last) product_added(a, f, b->gdm, w + at[KM], f, 0, b->gk);
  EACH(a * f) TO(b->ga2 + e) = AT(b->gk + e) * AT(b->s2 + e);
  memcpy(b->gq1, b->gq2, a * f * sizeof(REAL));
  product_added(a, f, b->ga2, w + at[DQ], f, 0, b->gq1);
  product(a, f, b->ga2, w + at[DN], f, 0, b->gn);
  EACH_ROW3(a) {
    vec v_ = AT(b->v + g), w_ = AT(b->w + g), gs = AT(o->gs + e);
    TO(b->gv + g) = gs * w_ + AT(b->gn + e) / AT(b->n + e) * v_;
    TO(b->gw + g) = last ? gs * v_ : gs * v_ + AT(b->dm + e) * AT(b->gmu2 + g);
  }
  product(3 * a, f, b->gv, w + at[UV], f, 0, b->gmu1);
  product_added(3 * a, f, b->gw, w + at[UW], f, 0, b->gmu1);
  if (!last) EACH(3 * a * f) ADD(b->gmu1 + e, AT(b->gmu2 + e));
}

/* gxq, gxd and gy are there; leaves gq and gmu of what came into the block in the block before */
static void context_g(space *s, block *b, int64_t l, int64_t a, const REAL *w) {
  const int64_t f = s->net->features, *at = block_at(s->net, l);
  product(a, f, b->gxq, w + at[CQ], f, 0, b->gh);
  product_added(a, f, b->gxd, w + at[CD], f, 0, b->gh);
  if (l > 0) {
    EACH_ATOM(a) {
      vec sum = {0}, x = AT(b->xm + e);
      EACH_C {
        sum += AT(b->gy + row) * AT(b->mu + row);
        TO(b[-1].gmu2 + row) = AT(b->gmu1 + row) + x * AT(b->gy + row);
      }
      TO(b->gxm + e) = sum;
    }
    product_added(a, f, b->gxm, w + at[CM], f, 0, b->gh);
  }
  EACH(a * f) TO(b->ga1 + e) = AT(b->gh + e) * AT(b->s1 + e);
  if (l == 0) return;
  memcpy(b[-1].gq2, b->gq1, a * f * sizeof(REAL));
  product_added(a, f, b->ga1, w + at[C0], f, 0, b[-1].gq2);
}

static void forward(space *s, const chunk *q, const REAL *w, const REAL *t) {
  const network *net = s->net;
  own *o = s->own;
  const int64_t a = q->atoms, f = net->features, h = net->hidden, L = net->blocks;
  const int64_t *top = readout_at(net), *numbers = s->data->numbers;
  const int32_t *atom = s->atom + q->atom;
  const REAL *u = s->u + 3 * q->pair;
  pairs p = {q->pairs, s->first + q->pair, s->second + q->pair};
  for (int64_t i = 0; i < a; i++)
    memcpy(o->blocks[0].q + i * f, w + net->at[0] + numbers[atom[i]] * f, f * sizeof(REAL));
  for (int64_t l = 0; l < L; l++) {
    block *b = o->blocks + l;
    filters(s, q, l, w, t);
    passed(IN_FILTERS);
    context(net, b, l, a, w, t);
    memcpy(b->q1, b->q, a * f * sizeof(REAL));
    if (l > 0) memcpy(b->mu1, b->mu, 3 * a * f * sizeof(REAL));
    else clear(3 * a * f, b->mu1);
    passed(IN_ATOMS);
    to_atoms(f, l > 0, p, u, b, b->q1, b->mu1);
    passed(IN_PAIRS);
    mix(net, b, l, a, w, t, l + 1 < L ? b[1].q : o->ql, l + 1 < L ? b[1].mu : 0);
  }
  product(a, f, o->ql, t + top[R1], h, w + top[RB1], o->r);
  for (int64_t i = 0; i < a; i++) {
    const REAL scale = net->scale[numbers[atom[i]]];
    vec sum = {0};
    for (int64_t v = 0; v < h; v += VL) {
      vec value, slope, bend, last = AT(w + top[R2] + v);
      silu(AT(o->r + i * h + v), &value, &slope, &bend);
      sum += value * last;
      TO(o->gr + i * h + v) = scale * last * slope;
    }
    s->local[i] = scale * (sum_of(sum) + w[top[RB2]]);
  }
  product(a, h, o->gr, w + top[R1], f, 0, o->blocks[L - 1].gq2);
  clear(q->pairs, s->delta);
  clear(3 * q->pairs, o->gu);
  for (int64_t l = L - 1; l >= 0; l--) {
    block *b = o->blocks + l;
    mix_g(s, b, l, a, w);
    clear(a * f, b->gxq);
    clear(a * f, b->gxd);
    if (l > 0) clear(3 * a * f, b->gy);
    passed(IN_ATOMS);
    from_atoms(f, l > 0, p, u, b, s->delta, o->gu);
    passed(IN_PAIRS);
    context_g(s, b, l, a, w);
  }
  passed(IN_ATOMS);
  clear(3 * a, s->force);
  for (int64_t k = 0; k < q->pairs; k++) {
    const REAL *v = u + 3 * k, *g = o->gu + 3 * k;
    const REAL along = v[0] * g[0] + v[1] * g[1] + v[2] * g[2];
    for (int x = 0; x < 3; x++) {
      const REAL pull = s->delta[k] * v[x] + (g[x] - along * v[x]) / s->d[q->pair + k];
      s->force[3 * p.first[k] + x] += pull;
      s->force[3 * p.second[k] + x] -= pull;
    }
  }
  passed(IN_PAIRS);
}

/* --- back */

static void along_displacement(space *s, const chunk *q, pairs p) {
  for (int64_t k = 0; k < p.n; k++) {
    const REAL *u = s->u + 3 * (q->pair + k), length = s->d[q->pair + k];
    const REAL *one = s->fbar + 3 * p.first[k], *other = s->fbar + 3 * p.second[k];
    REAL sum = 0, *turned = s->own->du + 3 * k;
    for (int x = 0; x < 3; x++) sum += u[x] * (one[x] - other[x]);
    for (int x = 0; x < 3; x++) turned[x] = (one[x] - other[x] - sum * u[x]) / length;
    s->delta[k] = sum;
  }
}

static void context_t(const network *net, block *b, int64_t l, int64_t a, const REAL *t) {
  const int64_t f = net->features, *at = block_at(net, l);
  product(a, f, b->tq, t + at[C0], f, 0, b->ta1);
  EACH(a * f) TO(b->th + e) = AT(b->ta1 + e) * AT(b->s1 + e);
  product(a, f, b->th, t + at[CQ], f, 0, b->txq);
  product(a, f, b->th, t + at[CD], f, 0, b->txd);
  if (l == 0) return;
  product(a, f, b->th, t + at[CM], f, 0, b->txm);
  EACH_ROW3(a)
    TO(b->ty + g) = AT(b->txm + e) * AT(b->mu + g) + AT(b->xm + e) * AT(b->tmu + g);
}

static void mix_t(const network *net, block *b, int64_t l, int64_t a, const REAL *t, REAL *tq2,
                  REAL *tmu2) {
  const int64_t f = net->features, *at = block_at(net, l);
  product(3 * a, f, b->tmu1, t + at[UV], f, 0, b->tv);
  product(3 * a, f, b->tmu1, t + at[UW], f, 0, b->tw);
  EACH_ATOM(a) {
    vec sum = {0}, both = {0};
    EACH_C {
      sum += AT(b->v + row) * AT(b->tv + row);
      both += AT(b->tv + row) * AT(b->w + row) + AT(b->v + row) * AT(b->tw + row);
    }
    TO(b->tn + e) = sum / AT(b->n + e);
    TO(b->tvw + e) = both;
  }
  product(a, f, b->tq1, t + at[DQ], f, 0, b->ta2);
  product_added(a, f, b->tn, t + at[DN], f, 0, b->ta2);
  EACH(a * f) TO(b->tk + e) = AT(b->ta2 + e) * AT(b->s2 + e);
  product(a, f, b->tk, t + at[KX], f, 0, b->tdx);
  memcpy(tq2, b->tq1, a * f * sizeof(REAL));
  product_added(a, f, b->tk, t + at[KQ], f, 0, tq2);
  EACH(a * f) ADD(tq2 + e, AT(b->tdx + e) * AT(b->vw + e) + AT(b->dx + e) * AT(b->tvw + e));
  if (!tmu2) return;
  product(a, f, b->tk, t + at[KM], f, 0, b->tdm);
  EACH_ROW3(a)
    TO(tmu2 + g) = AT(b->tmu1 + g) + AT(b->tdm + e) * AT(b->w + g) + AT(b->dm + e) * AT(b->tw + g);
}

/* o->bq and, but for the last block, o->bmu are those of what the block returns; then of q1 and mu1 */
static void mix_b(space *s, block *b, int64_t l, int64_t a, const REAL *w, REAL *grad) {
  const network *net = s->net;
  const int64_t f = net->features, *at = block_at(net, l);
  const int last = l + 1 == net->blocks;
  own *o = s->own;
  EACH(a * f)
    TO(o->bdx + e) = AT(o->bq + e) * AT(b->vw + e) + AT(b->gq2 + e) * AT(b->tvw + e);
  EACH_ATOM(a) {
    vec gq = AT(b->gq2 + e), bq = AT(o->bq + e), sum = {0};
    vec bs = bq * AT(b->dx + e) + gq * AT(b->tdx + e), gs = gq * AT(b->dx + e);
    EACH_C {
      vec v_ = AT(b->v + row), w_ = AT(b->w + row), tv = AT(b->tv + row), tw = AT(b->tw + row);
      vec bw = v_ * bs + tv * gs;
      TO(o->bv + row) = w_ * bs + tw * gs;
      if (!last) {
        vec bm = AT(o->bmu + row), gm = AT(b->gmu2 + row);
        sum += w_ * bm + tw * gm;
        bw += AT(b->dm + e) * bm + AT(b->tdm + e) * gm;
      }
      TO(o->bw + row) = bw;
    }
    TO(o->bdm + e) = sum;
  }
  outer_twice(a, f, o->bq, b->k, b->gq2, b->tk, f, grad + at[KQ]);
  outer_twice(a, f, o->bdx, b->k, b->gdx, b->tk, f, grad + at[KX]);
  columns(a, f, o->bq, grad + at[BKQ]);
  columns(a, f, o->bdx, grad + at[BKX]);
  product(a, f, o->bq, w + at[KQ], f, 0, o->bk);
  product_added(a, f, o->bdx, w + at[KX], f, 0, o->bk);
  if (!last) {
    outer_twice(a, f, o->bdm, b->k, b->gdm, b->tk, f, grad + at[KM]);
    columns(a, f, o->bdm, grad + at[BKM]);
    product_added(a, f, o->bdm, w + at[KM], f, 0, o->bk);
  }
  EACH(a * f)
    TO(o->ba + e) = AT(o->bk + e) * AT(b->s2 + e) + AT(b->e2 + e) * AT(b->ta2 + e) * AT(b->gk + e);
  outer_twice(a, f, o->ba, b->q1, b->ga2, b->tq1, f, grad + at[DQ]);
  outer_twice(a, f, o->ba, b->n, b->ga2, b->tn, f, grad + at[DN]);
  columns(a, f, o->ba, grad + at[BD]);
  product_added(a, f, o->ba, w + at[DQ], f, 0, o->bq);
  product(a, f, o->ba, w + at[DN], f, 0, o->bn);
  EACH_ATOM(a) {
    vec n = AT(b->n + e), bn = AT(o->bn + e) / n, gn = AT(b->gn + e) / n, tn = AT(b->tn + e) / n;
    EACH_C ADD(o->bv + row, bn * AT(b->v + row) + gn * (AT(b->tv + row) - tn * AT(b->v + row)));
  }
  outer_twice(3 * a, f, o->bv, b->mu1, b->gv, b->tmu1, f, grad + at[UV]);
  outer_twice(3 * a, f, o->bw, b->mu1, b->gw, b->tmu1, f, grad + at[UW]);
  if (last) product(3 * a, f, o->bv, w + at[UV], f, 0, o->bmu);
  else product_added(3 * a, f, o->bv, w + at[UV], f, 0, o->bmu);
  product_added(3 * a, f, o->bw, w + at[UW], f, 0, o->bmu);
}

/* o->bxq, o->bxd and o->by are there; o->bq and o->bmu, those of q1 and mu1, become those of q and mu */
static void context_b(space *s, block *b, int64_t l, int64_t a, const REAL *w, REAL *grad) {
  const int64_t f = s->net->features, *at = block_at(s->net, l);
  own *o = s->own;
  outer_twice(a, f, o->bxq, b->h, b->gxq, b->th, f, grad + at[CQ]);
  outer_twice(a, f, o->bxd, b->h, b->gxd, b->th, f, grad + at[CD]);
  columns(a, f, o->bxq, grad + at[BCQ]);
  columns(a, f, o->bxd, grad + at[BCD]);
  product(a, f, o->bxq, w + at[CQ], f, 0, o->bh);
  product_added(a, f, o->bxd, w + at[CD], f, 0, o->bh);
  if (l > 0) {
    EACH_ATOM(a) {
      vec sum = {0}, x = AT(b->xm + e), tx = AT(b->txm + e);
      EACH_C {
        vec by = AT(o->by + row), gy = AT(b->gy + row);
        sum += AT(b->mu + row) * by + AT(b->tmu + row) * gy;
        ADD(o->bmu + row, x * by + tx * gy);
      }
      TO(o->bxm + e) = sum;
    }
    outer_twice(a, f, o->bxm, b->h, b->gxm, b->th, f, grad + at[CM]);
    columns(a, f, o->bxm, grad + at[BCM]);
    product_added(a, f, o->bxm, w + at[CM], f, 0, o->bh);
  }
  EACH(a * f)
    TO(o->ba + e) = AT(o->bh + e) * AT(b->s1 + e) + AT(b->e1 + e) * AT(b->ta1 + e) * AT(b->gh + e);
  outer_twice(a, f, o->ba, b->q, b->ga1, b->tq, f, grad + at[C0]);
  columns(a, f, o->ba, grad + at[BC0]);
  product_added(a, f, o->ba, w + at[C0], f, 0, o->bq);
}

static void backward(space *s, const chunk *q, const REAL *w, const REAL *t, REAL *grad) {
  const network *net = s->net;
  own *o = s->own;
  const int64_t a = q->atoms, f = net->features, h = net->hidden, L = net->blocks;
  const int64_t *top = readout_at(net), *numbers = s->data->numbers;
  const int32_t *atom = s->atom + q->atom;
  pairs p = {q->pairs, s->first + q->pair, s->second + q->pair};
  along_displacement(s, q, p);
  clear(a * f, o->blocks[0].tq);
  for (int64_t l = 0; l < L; l++) {
    block *b = o->blocks + l;
    context_t(net, b, l, a, t);
    memcpy(b->tq1, b->tq, a * f * sizeof(REAL));
    if (l > 0) memcpy(b->tmu1, b->tmu, 3 * a * f * sizeof(REAL));
    else clear(3 * a * f, b->tmu1);
    passed(IN_ATOMS);
    moved(f, l > 0, p, s->u + 3 * q->pair, s->delta, o->du, b);
    passed(IN_PAIRS);
    mix_t(net, b, l, a, t, l + 1 < L ? b[1].tq : o->tql, l + 1 < L ? b[1].tmu : 0);
  }
  product(a, f, o->tql, t + top[R1], h, 0, o->rb);
  for (int64_t i = 0; i < a; i++) {
    const REAL scale = net->scale[numbers[atom[i]]], by_energy = s->lam[i] * scale;
    grad[top[RB2]] += by_energy;
    for (int64_t v = 0; v < h; v += VL) {
      vec value, slope, bend, last = AT(w + top[R2] + v), along = AT(o->rb + i * h + v) * scale;
      silu(AT(o->r + i * h + v), &value, &slope, &bend);
      ADD(grad + top[R2] + v, along * slope + by_energy * value);
      TO(o->rb + i * h + v) = along * last * bend + by_energy * last * slope;
    }
  }
  columns(a, h, o->rb, grad + top[RB1]);
  outer_twice(a, h, o->rb, o->ql, o->gr, o->tql, f, grad + top[R1]);
  product(a, h, o->rb, w + top[R1], f, 0, o->bq);
  for (int64_t l = L - 1; l >= 0; l--) {
    block *b = o->blocks + l;
    mix_b(s, b, l, a, w, grad);
    clear(a * f, o->bxq);
    clear(a * f, o->bxd);
    if (l > 0) clear(3 * a * f, o->by);
    passed(IN_ATOMS);
    filters_back(s, q, l, grad, o->bq, o->bmu);
    context_b(s, b, l, a, w, grad);
  }
  for (int64_t i = 0; i < a; i++) {
    REAL *row = grad + net->at[0] + numbers[atom[i]] * f;
    EACH_VECTOR ADD(row + v, AT(o->bq + i * f + v));
  }
  passed(IN_ATOMS);
}
