"use strict";
// Loss max-pooling (Rota Bulò et al. 2017) in plain JavaScript, float64, after Algorithm 1: a pool
// is sorted once, and each p and m then costs one pass over it. The tests hold every function to
// the oracle, lossmaxpool.paper.

/** The valid losses of a pool in ascending order; a negative one marks a pixel without a label. */
function sortPool(maps) {
  let valid = 0;
  for (const losses of maps) for (const loss of losses) if (loss >= 0) valid++;
  const ascending = new Float64Array(valid);
  let i = 0;
  for (const losses of maps) for (const loss of losses) if (loss >= 0) ascending[i++] = loss;
  return ascending.sort();
}

/** The number of entries of an ascending array that are at most `value`. */
function countUpTo(ascending, value) {
  let low = 0, high = ascending.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ascending[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** log(value / anchor) for 0 <= value <= anchor: near the anchor, the quotient would be rounded. */
function logRatio(value, anchor) {
  return value > anchor / 2 ? Math.log1p((value - anchor) / anchor) : Math.log(value / anchor);
}

/**
 * Maximize w·l over ||w||_p <= gamma, max(w) <= tau (Eq. 4 and 5).
 *
 * @param ascending the pool, from sortPool, with at least one loss
 * @param p in [1, Infinity]
 * @param fraction m / n in (0, 1]; m is at least 1
 * @returns m, gamma, tau, alpha*, the number of pixels in J* = {l > alpha*}, the value L_W, the
 *   mean, and weight(loss), the weight w* of a pixel with that loss
 */
function solve(ascending, p, fraction) {
  const n = ascending.length;
  const m = Math.min(Math.max(fraction * n, 1), n);
  const tau = Math.pow(n / m, 1 / p) / n;
  const gamma = Math.pow(n, 1 / p - 1);
  const found = p === 1 ? hardest(ascending, m, tau) : belowTheCap(ascending, p, m, tau);
  let sum = 0, hard = 0;
  for (let i = 0; i < n; i++) sum += ascending[i];
  for (let i = n - found.capped; i < n; i++) hard += ascending[i];
  const value = tau * (hard + (m - found.capped) * found.alpha); // Eq. 10 and 11
  return { n, p, m, gamma, tau, value, mean: sum / n, ...found };
}

/** Theorem 2: the floor(m) largest losses, and what is left of m shared by the ties after them. */
function hardest(ascending, m, tau) {
  const n = ascending.length, k = Math.floor(m);
  const alpha = k < n ? ascending[n - k - 1] : 0;
  const upTo = countUpTo(ascending, alpha);
  let below = upTo;
  while (below > 0 && ascending[below - 1] === alpha) below--;
  const capped = n - upTo, shared = tau * (m - capped) / Math.max(upTo - below, 1);
  const weight = loss => loss > alpha ? tau : loss === alpha && alpha > 0 ? shared : 0;
  return { alpha, capped, weight };
}

/** Theorem 1, by Algorithm 1; the powers are tracked in units of the current loss's own. */
function belowTheCap(ascending, p, m, tau) {
  const n = ascending.length, q = p === Infinity ? 1 : p / (p - 1);
  const zeros = countUpTo(ascending, 0);
  let first = zeros, powers = 0; // sum of l^q over the losses before `first`, over the last one's
  for (; first < n; first++) {
    const shrink = first > zeros
      ? Math.exp(q * logRatio(ascending[first - 1], ascending[first])) : 0;
    const next = powers * shrink + 1;
    if (m - (n - first - 1) - next > 0) break; // eta > 0
    powers = next;
  }
  const capped = n - first, largest = first > zeros ? ascending[first - 1] : 0;
  const logAlpha = largest > 0 ? Math.log(powers / (m - capped)) / q : 0; // relative to `largest`
  const weight = loss => {
    if (loss > largest || p === Infinity) return tau;
    if (largest === 0) return 0;
    return tau * Math.exp(Math.min((logRatio(loss, largest) - logAlpha) / (p - 1), 0));
  };
  return { alpha: largest * Math.exp(logAlpha), capped, weight };
}

/** (sum w)^2 / sum w^2: as many equal weights would be as concentrated as these. */
function effectiveSupport(ascending, weight) {
  let sum = 0, squares = 0;
  for (const loss of ascending) {
    const w = weight(loss);
    sum += w;
    squares += w * w;
  }
  return squares > 0 ? sum * sum / squares : 0;
}

/** Bins of equal width in log(loss): the share of the pixels and of the weight in each. */
function histogram(ascending, weight, low, high, bins) {
  const pixels = new Float64Array(bins), weights = new Float64Array(bins);
  const scale = bins / Math.log(high / low);
  let total = 0;
  for (const loss of ascending) {
    const bin = Math.min(Math.max(Math.floor(Math.log(Math.max(loss, low) / low) * scale), 0), bins - 1);
    const w = weight(loss);
    pixels[bin] += 1 / ascending.length;
    weights[bin] += w;
    total += w;
  }
  if (total > 0) for (let bin = 0; bin < bins; bin++) weights[bin] /= total;
  return { pixels, weights };
}

/** The exponent on a slider from 0 to 1: 1/q = 1 - 1/p, from p = 1 to p = infinity. */
const exponentAt = place => place >= 1 ? Infinity : 1 / (1 - place);
const placeOf = p => 1 - 1 / p;

if (typeof module !== "undefined") {
  module.exports = { sortPool, solve, effectiveSupport, histogram, exponentAt, placeOf };
}
