// ---- ranking.js: the utility, the order by it, and how good that order is

/** Utility of every row into `out` (N,) float64, as Utility.score adds it: head by head in the order of their names. */
function utilities(weights, out) {
  out.fill(0);
  for (const number of data.order) {
    const weight = weights[number], p = heads[number].probabilities;
    if (weight !== 0) for (let i = 0; i < rows; i++) out[i] += weight * p[i];
  }
  return out;
}

const DIGITS = [[0, 0], [0, 11], [0, 22], [1, 0], [1, 11], [1, 22]]; // word, shift: 11 bits each, of the top 10 remain
const buffers = [new Uint32Array(rows), new Uint32Array(rows)];
const words = [new Uint32Array(rows), new Uint32Array(rows)]; // low and high half of the sort keys

/** Row numbers (N,), highest score first: a radix sort of the 64 bits, which takes a fifth of a sort by comparison. */
function rankRows(scores) {
  const bits = new Uint32Array(scores.buffer, scores.byteOffset, 2 * rows);
  const [low, high] = words;
  const counts = DIGITS.map(() => new Uint32Array(2048));
  for (let i = 0; i < rows; i++) {
    let l = bits[2 * i], h = bits[2 * i + 1];
    // ascending bits = descending numbers: of a positive number all bits but the sign are turned, of a negative none
    if (h >>> 31 === 0) { l = ~l >>> 0; h = (~h & 0x7fffffff) >>> 0; }
    low[i] = l;
    high[i] = h;
    for (let d = 0; d < DIGITS.length; d++) counts[d][((DIGITS[d][0] ? h : l) >>> DIGITS[d][1]) & 2047]++;
  }
  let [from, to] = buffers;
  for (let i = 0; i < rows; i++) from[i] = i;
  DIGITS.forEach(([word, shift], d) => {
    const count = counts[d], key = words[word];
    if (rows === 0 || count[(key[0] >>> shift) & 2047] === rows) return; // the same digit everywhere
    let sum = 0;
    for (let v = 0; v < 2048; v++) { const c = count[v]; count[v] = sum; sum += c; }
    for (let i = 0; i < rows; i++) { const row = from[i]; to[count[(key[row] >>> shift) & 2047]++] = row; }
    [from, to] = [to, from];
  });
  return from;
}

/** Average precision of a head, equal scores as one group; null without a positive row that carries weight. */
function averagePrecision(order, ends, head) {
  const labels = head.labels, weight = head.rowWeights;
  let found = 0, retrieved = 0, sum = 0, i = 0; // weight of positives and of all rows so far
  for (let g = 0; g < ends.length; g++) {
    const before = found;
    for (; i < ends[g]; i++) {
      const row = order[i], w = weight[row];
      retrieved += w;
      if (labels[row]) found += w;
    }
    if (found > before) sum += (found - before) * (found / retrieved);
  }
  return found > 0 ? sum / found : null;
}

/** Where each group of equal scores ends. */
function groupEnds(order, scores) {
  const ends = new Uint32Array(rows);
  let count = 0;
  for (let i = 1; i < rows; i++) if (scores[order[i]] !== scores[order[i - 1]]) ends[count++] = i;
  ends[count++] = rows;
  return ends.subarray(0, count);
}

/** The row of each request that comes first; of equal ones the first, whose item id is the lowest. */
function firstRows(scores) {
  const first = new Uint32Array(sizes.length);
  let start = 0;
  sizes.forEach((size, request) => {
    let best = start;
    for (let row = start + 1; row < start + size; row++) if (scores[row] > scores[best]) best = row;
    first[request] = best;
    start += size;
  });
  return first;
}

/** All that the page shows of some weights: scores (N,), PR-AUC of every head, the first row of every request. */
function judge(weights) {
  const scores = utilities(weights, new Float64Array(rows));
  const order = rankRows(scores);
  const ends = groupEnds(order, scores);
  return { scores, values: heads.map((head) => averagePrecision(order, ends, head)), first: firstRows(scores) };
}

/** Rows start .. start + size - 1 by descending score, equal ones by item id as they stand. */
function rankRequest(scores, start, size) {
  return Array.from({ length: size }, (_, i) => start + i).sort((a, b) => scores[b] - scores[a] || a - b);
}

/** What a head's guardrail asks for: at least so much of a wanted head, at most so much of an unwanted one. */
function limitOf(number, values) {
  const floor = heads[number].floor;
  return floor === null || values[number] === null ? null : floor * values[number];
}

/** Whether `value` keeps a head's guardrail, equality included; without a guardrail every value does. */
function keeps(number, value, limit, rounding = 1e-12) {
  return limit === null || value === null || heads[number].sign * (value - limit) >= -rounding;
}
