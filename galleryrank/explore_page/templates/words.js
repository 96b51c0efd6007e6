// ---- words.js: numbers as text as in every report, and elements

const COLOURS = 7; // classes colour-0 .. colour-6 of the style sheet

/** Four significant digits, as in reports and in metrics.json's tables. */
function formatNumber(value) {
  if (value === null) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-4 || size >= 1e7) return value.toExponential(3);
  return size >= 9999.5 ? value.toFixed(0) : value.toPrecision(4);
}

/** "+1.2 %": a change as a share of the reference. */
function formatChange(value, of) {
  if (value === null || of === null || of === 0) return "–";
  const change = 100 * (value / of - 1);
  return `${change < 0 ? "−" : "+"}${Math.abs(change).toFixed(1)} %`;
}

/** A weight as it is typed: at most five digits after the point. */
function formatWeight(weight) {
  return String(Number(weight.toFixed(5)));
}

/** "click 0.34, save 0.66" */
function weightWords(weights) {
  return heads.map((head, number) => `${head.name} ${formatWeight(weights[number])}`).join(", ");
}

function element(tag, attributes, ...children) {
  const made = tag.startsWith("svg:")
    ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4))
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function colourOf(number) {
  return `colour-${number % COLOURS}`;
}
