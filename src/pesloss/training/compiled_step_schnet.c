/* SchNet (Schuett et al. 2018).
 *
 * Filters W(d) and their slopes W'(d) are computed side by side; forces come from
 * dE/dd = sum_l (dE/dW_l) W_l'(d). The gradient of a loss of forces is the derivative of
 * sum_p delta_p dE/dd_p by the weights, with delta_p = u_p (Fbar_i - Fbar_j) and Fbar the loss's
 * derivative by the forces.
 */
#define CHUNK_PAIRS 384
#define CHUNK_ATOMS 96

/* Weights: embedding, those of each block, readout. */
enum { W1, B1, W2, B2, IN, WA, BA, WB, BB, PER_BLOCK }; /* filters, in2f, f2out */
enum { R1, RB1, R2, RB2 };                              /* readout */

typedef struct {
  REAL *w, *dw, *h, *s, *dz, *wb;                                  /* of pairs */
  REAL *x, *y, *m, *t, *st, *out, *gt, *ga, *gm, *gy, *yb, *ab;    /* of atoms */
} block;

struct own {
  block blocks[64];
  REAL *xl, *r, *gr, *rb;                       /* last features, readout */
  REAL *gmb, *gtb, *gob, *gyb, *xb, *zb;        /* of atoms */
  REAL *t1, *t2, *t3, *t4, *t5;                 /* of a tile */
};

static void prepare_pair(space *s, int64_t k) { (void)s; (void)k; }

static void place(space *s, int64_t a, int64_t p) {
  const int64_t f = s->net->features, h = s->net->hidden;
  own *o = s->own;
  for (int64_t l = 0; l < s->net->blocks; l++) {
    block *b = o->blocks + l;
    REAL **of_pairs[] = {&b->w, &b->dw, &b->h, &b->s, &b->dz, &b->wb};
    REAL **of_atoms[] = {&b->x, &b->y, &b->m, &b->t, &b->st, &b->out, &b->gt, &b->ga, &b->gm, &b->gy,
                         &b->yb, &b->ab};
    for (int i = 0; i < 6; i++) TAKE(*of_pairs[i], p * f);
    for (int i = 0; i < 12; i++) TAKE(*of_atoms[i], a * f);
  }
  REAL **of_atoms[] = {&o->xl, &o->gmb, &o->gtb, &o->gob, &o->gyb, &o->xb, &o->zb};
  REAL **of_hidden[] = {&o->r, &o->gr, &o->rb}, **of_tile[] = {&o->t1, &o->t2, &o->t3, &o->t4, &o->t5};
  for (int i = 0; i < 7; i++) TAKE(*of_atoms[i], a * f);
  for (int i = 0; i < 3; i++) TAKE(*of_hidden[i], a * h);
  for (int i = 0; i < 5; i++) TAKE(*of_tile[i], TILE * f);
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
  own *o = s->own;
  for (int64_t k = 0; k < q->pairs; k += TILE) {
    const int64_t m = q->pairs - k < TILE ? q->pairs - k : TILE, row = q->pair + k;
    REAL *h = b->h + k * f, *slope = b->s + k * f, *dz = b->dz + k * f, *dh = o->t1;
    REAL *out = b->w + k * f, *d = b->dw + k * f;
    product(m, n, s->g + row * n, t + at[W1], f, w + at[B1], h);
    product(m, n, s->dg + row * n, t + at[W1], f, 0, dz);
    for (int64_t e = 0; e < m * f; e += VL) {
      vec value, by;
      softplus(AT(h + e), &value, &by);
      TO(h + e) = value;
      TO(slope + e) = by;
      TO(dh + e) = AT(dz + e) * by;
    }
    product(m, f, h, t + at[W2], f, w + at[B2], out);
    product(m, f, dh, t + at[W2], f, 0, d);
    for (int64_t r = 0; r < m; r++) {
      const REAL c = s->c[row + r], dc = s->dc[row + r];
      for (int64_t e = r * f; e < (r + 1) * f; e += VL) {
        vec plain = AT(out + e);
        TO(d + e) = AT(d + e) * c + plain * dc;
        TO(out + e) = plain * c;
      }
    }
  }
}

/* mb: derivative by the messages; adds to yb and to the gradient of the filter network */
static void filters_back(space *s, const chunk *q, block *b, const REAL *w, REAL *grad,
                         const int64_t *at, const REAL *mb, const REAL *wb) {
  const int64_t f = s->net->features, n = s->net->radial;
  own *o = s->own;
  REAL *gv = o->t1, *gd = o->t2, *gh = o->t3, *gdh = o->t4, *dh = o->t5;
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
  own *o = s->own;
  const int64_t a = q->atoms, f = net->features, h = net->hidden, L = net->blocks;
  const int64_t *top = net->at + 1 + L * PER_BLOCK, *numbers = s->data->numbers;
  const int32_t *atom = s->atom + q->atom;
  pairs p = {q->pairs, s->first + q->pair, s->second + q->pair};
  for (int64_t i = 0; i < a; i++)
    memcpy(o->blocks[0].x + i * f, w + net->at[0] + numbers[atom[i]] * f, f * sizeof(REAL));
  for (int64_t l = 0; l < L; l++) {
    block *b = o->blocks + l;
    const int64_t *at = net->at + 1 + l * PER_BLOCK;
    REAL *next = l + 1 < L ? b[1].x : o->xl;
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
  product(a, f, o->xl, t + top[R1], h, w + top[RB1], o->r);
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
  product(a, h, o->gr, w + top[R1], f, 0, o->blocks[L - 1].out);
  clear(q->pairs, s->delta);
  for (int64_t l = L - 1; l >= 0; l--) {
    block *b = o->blocks + l;
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
  own *o = s->own;
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
  clear(n, o->gob);
  for (int64_t l = 0; l < L; l++) {
    block *b = o->blocks + l;
    const int64_t *at = net->at + 1 + l * PER_BLOCK;
    clear(n, o->gmb);
    clear(n, b->yb);
    if (l > 0) {
      product(a, f, o->gob, t + at[IN], f, 0, o->gyb);
      outer(a, f, b->gy, o->gob, f, grad + at[IN]);
    }
    passed(IN_ATOMS);
    pulls_back(f, p, s->delta, b->dw, b->w, b->y, b->gm, l > 0 ? o->gyb : 0, o->gmb, b->yb, b->wb);
    passed(IN_PAIRS);
    product(a, f, o->gmb, t + at[WA], f, 0, o->gtb);
    outer(a, f, b->ga, o->gmb, f, grad + at[WA]);
    for (int64_t e = 0; e < n; e += VL) {
      vec back = AT(o->gtb + e), by = AT(b->st + e);
      TO(b->ab + e) = back * AT(b->gt + e) * by * (1 - by);
      TO(o->gtb + e) = back * by;
    }
    product_added(a, f, o->gtb, t + at[WB], f, 0, o->gob);
    outer(a, f, b->out, o->gtb, f, grad + at[WB]);
  }
  outer(a, h, o->gr, o->gob, f, grad + top[R1]);
  product(a, f, o->gob, t + top[R1], h, 0, o->rb);
  /* back through what made the energies */
  for (int64_t i = 0; i < a; i++) {
    const REAL scale = net->scale[numbers[atom[i]]], by_energy = s->lam[i] * scale;
    grad[top[RB2]] += by_energy;
    for (int64_t v = 0; v < h; v += VL) {
      vec value, slope, bend, last = AT(w + top[R2] + v), back = AT(o->rb + i * h + v) * scale;
      silu(AT(o->r + i * h + v), &value, &slope, &bend);
      ADD(grad + top[R2] + v, back * slope + by_energy * value);
      TO(o->rb + i * h + v) = back * last * bend + by_energy * last * slope;
    }
  }
  columns(a, h, o->rb, grad + top[RB1]);
  outer(a, h, o->rb, o->xl, f, grad + top[R1]);
  product(a, h, o->rb, w + top[R1], f, 0, o->xb);
  for (int64_t l = L - 1; l >= 0; l--) {
    block *b = o->blocks + l;
    const int64_t *at = net->at + 1 + l * PER_BLOCK;
    columns(a, f, o->xb, grad + at[BB]);
    outer(a, f, o->xb, b->t, f, grad + at[WB]);
    product(a, f, o->xb, w + at[WB], f, 0, o->zb);
    for (int64_t e = 0; e < n; e += VL)
      TO(o->zb + e) = AT(b->ab + e) + AT(o->zb + e) * AT(b->st + e);
    columns(a, f, o->zb, grad + at[BA]);
    outer(a, f, o->zb, b->m, f, grad + at[WA]);
    product(a, f, o->zb, w + at[WA], f, 0, o->gmb);
    passed(IN_ATOMS);
    filters_back(s, q, b, w, grad, at, o->gmb, l > 0 ? b->wb : 0);
    outer(a, f, b->yb, b->x, f, grad + at[IN]);
    product_added(a, f, b->yb, w + at[IN], f, 0, o->xb);
  }
  for (int64_t i = 0; i < a; i++) {
    REAL *row = grad + net->at[0] + numbers[atom[i]] * f;
    for (int64_t v = 0; v < f; v += VL) ADD(row + v, AT(o->xb + i * f + v));
  }
  passed(IN_ATOMS);
}
