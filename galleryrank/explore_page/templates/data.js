// ---- data.js: the page's data as typed arrays

const data = JSON.parse(document.getElementById("data").textContent);

function unpack(text, kind) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return new kind(bytes.buffer);
}

/** The bits of `text` as one byte each, (N,). */
function unpackBits(text, count) {
  const bytes = unpack(text, Uint8Array);
  const flags = new Uint8Array(count);
  for (let i = 0; i < count; i++) flags[i] = (bytes[i >> 3] >> (i & 7)) & 1;
  return flags;
}

/** Row weights (N,), 1 / keep_prob. */
function unpackWeights(packed, count) {
  if (packed === null) return new Float64Array(count).fill(1);
  if (packed.values) return unpack(packed.values, Float64Array);
  const table = unpack(packed.table, Float64Array);
  return Float64Array.from(unpack(packed.codes, Uint8Array), (code) => table[code]);
}

const rows = data.rows;
const heads = data.heads;
const rowWeights = unpackWeights(data.weights, rows);
const sizes = unpack(data.sizes, Uint32Array); // rows of each request
for (const head of heads) {
  head.probabilities = unpack(head.probabilities, Float32Array);
  head.labels = unpackBits(head.labels, rows);
  head.rowWeights = rowWeights;
  if (head.missing !== null) { // a row without a label is not there for this head
    const missing = unpackBits(head.missing, rows);
    head.rowWeights = rowWeights.map((weight, row) => (missing[row] ? 0 : weight));
  }
}
const reference = data.named[0];
