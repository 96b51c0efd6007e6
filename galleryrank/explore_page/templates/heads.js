// ---- heads.js: PR-AUC of every head beside the reference's, with its guardrail

const cells = [];

function buildHeads() {
  const table = document.getElementById("heads");
  const titles = ["engagement", "now", reference.name, "change", "from lowest to highest"];
  table.append(element("tr", {}, ...titles.map((title) => element("th", { scope: "col" }, title))));
  const ranges = cloudRanges();
  heads.forEach((head, number) => {
    const at = referenceJudged.values[number], limit = limitOf(number, referenceJudged.values);
    const own = { now: element("td", { class: "now" }), change: element("td"), range: ranges[number] };
    own.strip = element("td", { class: "strip" });
    const name = element("th", { scope: "row" }, element("span", { class: `dot ${colourOf(number)}` }), head.name);
    if (head.sign < 0) name.append(element("small", {}, " unwanted: less is better"));
    if (limit !== null) name.append(element("small", {}, limitWords(number, limit)));
    const before = element("td", { "data-value": String(at) }, formatNumber(at));
    table.append(element("tr", {}, name, own.now, before, own.change, own.strip));
    if (at === null) {
      own.now.textContent = "–";
      own.strip.replaceWith(element("td", { class: "why" }, "no row has this engagement"));
    } else drawStrip(own, number, at, limit);
    cells[number] = own;
  });
}

function limitWords(number, limit) {
  const share = `${heads[number].floor} × ${reference.name}`;
  return heads[number].sign > 0 ? ` at least ${formatNumber(limit)} = ${share}` : ` at most ${formatNumber(limit)} = ${share}`;
}

/** Lowest and highest PR-AUC of each head over the cloud and the named weights. */
function cloudRanges() {
  return heads.map((_, number) => {
    const all = [...data.cloud.map((point) => point.values[number]), ...namedJudged.map((each) => each.values[number])];
    return [Math.min(...all), Math.max(...all)];
  });
}

function drawStrip(own, number, at, limit) {
  const [low, high] = own.range;
  const room = 0.08 * (high - low || at);
  own.low = Math.min(low, limit ?? low) - room;
  own.high = Math.max(high, limit ?? high) + room;
  const place = (value) => `${(100 * (Math.min(Math.max(value, own.low), own.high) - own.low)) / (own.high - own.low)}%`;
  const part = (kind, from, to) => {
    const made = element("span", { class: kind });
    made.style.left = place(from);
    if (to !== undefined) made.style.width = `calc(${place(to)} - ${place(from)})`;
    return made;
  };
  own.place = place;
  own.dot = part("strip-now", at);
  const track = element("div", { class: "track", "aria-hidden": "true" }, part("strip-range", low, high));
  if (limit !== null) {
    const edge = heads[number].sign > 0 ? [own.low, limit] : [limit, own.high];
    track.append(part(heads[number].sign > 0 ? "strip-floor" : "strip-floor strip-ceiling", ...edge));
  }
  track.append(part("strip-reference", at), own.dot);
  own.strip.append(track);
}

/** The table's numbers, and in words whether every guardrail holds. */
function showHeads(judged) {
  const broken = [], nothing = nothingWeighs();
  judged.values.forEach((value, number) => {
    const own = cells[number], at = referenceJudged.values[number], limit = limitOf(number, referenceJudged.values);
    own.now.dataset.value = String(value);
    own.now.textContent = formatNumber(value);
    own.change.textContent = nothing ? "–" : formatChange(value, at);
    const better = nothing || value === null ? 0 : Math.sign(heads[number].sign * (value - at));
    own.change.className = better > 0 ? "better" : better < 0 ? "worse" : "";
    const kept = nothing || keeps(number, value, limit);
    own.now.classList.toggle("breaks", !kept);
    if (!kept) broken.push(heads[number].name);
    if (own.dot) {
      own.dot.style.left = own.place(value);
      own.dot.classList.toggle("breaks", !kept);
    }
  });
  const guarded = heads.filter((_, number) => limitOf(number, referenceJudged.values) !== null).length;
  const status = document.getElementById("status");
  status.classList.toggle("breaks", broken.length > 0);
  status.classList.toggle("holds", !nothing && broken.length === 0 && guarded > 0);
  if (nothing) {
    status.textContent = "Every weight is 0: nothing is ranked.";
    return;
  }
  const rails = guarded === 0 ? "No guardrails are set." : broken.length === 0
    ? `✓ ${guarded === 1 ? "The guardrail holds" : `All ${guarded} guardrails hold`}.`
    : `✗ Guardrail broken: ${broken.join(", ")}.`;
  let changed = 0;
  judged.first.forEach((row, request) => { changed += row !== referenceJudged.first[request]; });
  const share = ((100 * changed) / sizes.length).toFixed(1);
  status.textContent = `${rails} Against ${reference.name}, another candidate comes first in ${share} % of requests.`;
}
