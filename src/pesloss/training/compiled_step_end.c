/* A training step in C: what potentials of every kind have in common, last part. */

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
    s->d[at + k] = d->length[from + k];
    radial(s, at + k, s->d[at + k]);
    prepare_pair(s, at + k);
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

static void place_all(space *s, int64_t members, int64_t a, int64_t p) {
  const int64_t n = s->pairs + TILE; /* what products read beyond the last row */
  s->taken = 0;
  TAKE(s->chunks, s->structures + 1);
  TAKE(s->chosen, s->structures);
  TAKE(s->atom, s->atoms);
  TAKE(s->first, n);
  TAKE(s->second, n);
  TAKE(s->u, 3 * n);
  REAL **of_pairs[] = {&s->d, &s->c, &s->dc};
  for (int i = 0; i < 3; i++) TAKE(*of_pairs[i], n);
  TAKE(s->g, n * s->net->radial);
  TAKE(s->dg, n * s->net->radial);
  TAKE(s->turned, members * s->net->size);
  TAKE(s->local, a);
  TAKE(s->lam, a);
  TAKE(s->force, 3 * a);
  TAKE(s->fbar, 3 * a);
  TAKE(s->delta, p);
  place(s, a, p);
}

void space_free(space *s) {
  free(s->memory);
  free(s->own);
  free(s);
}

/* Memory for batches of so many structures, atoms and pairs; NULL where there is none. */
space *space_new(const network *net, const dataset *data, int64_t n_structures, int64_t members,
                 int64_t structures, int64_t atoms, int64_t pairs_) {
  const int64_t a = most(n_structures, data->n_atoms, CHUNK_ATOMS) + ROWS;
  const int64_t p = most(n_structures, data->n_pairs, CHUNK_PAIRS) + TILE;
  space *s = calloc(1, sizeof *s);
  if (!s) return 0;
  s->net = net;
  s->data = data;
  s->structures = structures;
  s->atoms = most(1, &atoms, a);
  s->pairs = most(1, &pairs_, p);
  s->own = calloc(1, sizeof *s->own);
  if (s->own) {
    place_all(s, members, a, p);
    s->memory = aligned_alloc(64, s->taken);
  }
  if (!s->memory) { space_free(s); return 0; }
  memset(s->memory, 0, s->taken);
  place_all(s, members, a, p);
  return s;
}
