// ---- cloud.js: the trials as points over two heads; a click takes a point's weights

const SVG = "svg:";
const ROUNDING = 1e-5; // the points' values were computed in float32
const EDGE = { left: 58, right: 16, top: 14, bottom: 44 };
const GAP = 4; // pixels between two names beside each other
const cloud = { points: [], frame: null, active: 0 };

function buildCloud() {
  const axes = measured();
  for (const which of ["across", "up"]) {
    const select = document.getElementById(which);
    for (const number of axes) select.append(element("option", { value: number }, heads[number].name));
    select.addEventListener("change", () => {
      state[which] = Number(select.value);
      drawCloud();
      showCloud();
      remember(null);
    });
  }
  const box = document.getElementById("cloud");
  if (axes.length < 2) {
    box.replaceWith(element("p", { class: "why" }, "Fewer than two engagements have a PR-AUC on these rows: there is nothing to plot."));
    return;
  }
  let width = 0;
  new ResizeObserver(() => {
    if (box.clientWidth === width) return;
    width = box.clientWidth;
    drawCloud();
    showCloud();
  }).observe(box);
}

function ticks(low, high) {
  const raw = (high - low) / 5, unit = 10 ** Math.floor(Math.log10(raw));
  const step = unit * [1, 2, 5, 10].find((factor) => factor * unit >= raw);
  const made = [];
  for (let k = Math.ceil(low / step); k * step <= high; k++) made.push(Number((k * step).toPrecision(6)));
  return made;
}

/** Points that no other one beats on both axes, from left to right. */
function frontier(points, signs) {
  const sorted = [...points].sort((a, b) => signs[0] * (b.at[0] - a.at[0]) || signs[1] * (b.at[1] - a.at[1]));
  let best = -Infinity;
  return sorted.filter((point) => signs[1] * point.at[1] > best && ((best = signs[1] * point.at[1]), true));
}

function drawCloud() {
  const box = document.getElementById("cloud");
  if (!box || !box.clientWidth) return;
  const axes = [state.across, state.up], signs = axes.map((number) => heads[number].sign);
  document.getElementById("across").value = state.across;
  document.getElementById("up").value = state.up;
  const limits = heads.map((_, number) => limitOf(number, referenceJudged.values));
  cloud.points = data.cloud.map((trial) => ({
    at: axes.map((number) => trial.values[number]),
    weights: trial.weights,
    kept: trial.values.every((value, number) => keeps(number, value, limits[number], ROUNDING * limits[number])),
  })).sort((a, b) => a.at[0] - b.at[0]);
  const named = data.named.map((each, at) => ({ ...each, at: axes.map((number) => namedJudged[at].values[number]) }));
  const width = box.clientWidth, height = Math.round(Math.min(400, Math.max(280, 0.55 * width)));
  const scales = axes.map((number, axis) => {
    const values = [...cloud.points, ...named].map((point) => point.at[axis]), limit = limits[number];
    let low = Math.min(...values), high = Math.max(...values);
    const span = high - low || high || 1, far = limit === null || limit < low - span / 3 || limit > high + span / 3;
    if (!far) [low, high] = [Math.min(low, limit), Math.max(high, limit)]; // a guardrail far from all points is left out
    const room = 0.06 * span;
    const [from, to] = axis ? [height - EDGE.bottom, EDGE.top] : [EDGE.left, width - EDGE.right];
    const scale = (value) => from + ((to - from) * (value - low + room)) / (high - low + 2 * room);
    return Object.assign(scale, { low: low - room, high: high + room, from, to });
  });
  cloud.frame = { scales, axes, width, height };
  const svg = element(`${SVG}svg`, { width, height, role: "group", "aria-label": cloudWords() });
  drawAxes(svg, limits);
  const kept = cloud.points.filter((point) => point.kept);
  const line = frontier(kept.length ? kept : cloud.points, signs).map((point) => point.at.map((v, a) => scales[a](v)));
  svg.append(element(`${SVG}polyline`, { class: "frontier", points: line.map((xy) => xy.join(",")).join(" ") }));
  cloud.active = Math.min(cloud.active, cloud.points.length - 1);
  cloud.points.forEach((point, at) => {
    const [cx, cy] = point.at.map((value, axis) => scales[axis](value));
    point.place = [cx, cy];
    point.mark = element(`${SVG}circle`, {
      cx, cy, r: 4, class: point.kept ? "point" : "point breaks", role: "button", "aria-label": pointWords(point),
      tabindex: at === cloud.active ? 0 : -1,
    });
    point.mark.addEventListener("focus", () => sayPoint(point));
    svg.append(point.mark);
  });
  const taken = named.map((each) => each.at.map((value, axis) => scales[axis](value)))
    .map(([x, y]) => ({ left: x - 7, right: x + 7, top: y - 7, bottom: y + 7 })); // the diamonds themselves
  named.forEach((each) => drawNamed(svg, each, taken));
  cloud.now = element(`${SVG}g`, { class: "now-mark", "aria-hidden": "true" },
    element(`${SVG}circle`, { r: 9 }), element(`${SVG}circle`, { r: 2.5, class: "centre" }));
  svg.append(cloud.now);
  svg.addEventListener("click", (event) => takePoint(nearest(event, 24)));
  svg.addEventListener("pointermove", (event) => sayPoint(nearest(event, 24)));
  svg.addEventListener("pointerleave", () => sayPoint(null));
  svg.addEventListener("keydown", moveInCloud);
  box.replaceChildren(svg);
}

function drawAxes(svg, limits) {
  const { scales: [x, y], axes, width, height } = cloud.frame;
  const line = (x1, y1, x2, y2, kind) => svg.append(element(`${SVG}line`, { x1, y1, x2, y2, class: kind }));
  const text = (at, kind, words, more) => svg.append(element(`${SVG}text`, { x: at[0], y: at[1], class: kind, ...more }, words));
  for (const value of ticks(x.low, x.high)) {
    line(x(value), y.from, x(value), y.to, "grid");
    text([x(value), y.from + 16], "middle", String(value));
  }
  for (const value of ticks(y.low, y.high)) {
    line(x.from, y(value), x.to, y(value), "grid");
    text([x.from - 6, y(value) + 4], "end", String(value));
  }
  const better = axes.map((number) => (heads[number].sign > 0 ? "" : " (less is better)"));
  text([(x.from + x.to) / 2, height - 6], "middle title", `PR-AUC of ${heads[axes[0]].name}${better[0]}`);
  const turned = { transform: `rotate(-90 12 ${(y.from + y.to) / 2})` };
  text([12, (y.from + y.to) / 2], "middle title", `PR-AUC of ${heads[axes[1]].name}${better[1]}`, turned);
  const shade = (from, to, axis) => {
    const [a, b] = [Math.min(from, to), Math.abs(to - from)];
    const place = axis ? { x: x.from, y: a, width: x.to - x.from, height: b } : { x: a, y: y.to, width: b, height: y.from - y.to };
    svg.append(element(`${SVG}rect`, { ...place, class: "beyond" }));
  };
  [x, y].forEach((scale, axis) => {
    const limit = limits[axes[axis]];
    if (limit === null || limit < scale.low || limit > scale.high) return;
    shade(scale(limit), heads[axes[axis]].sign > 0 ? scale.from : scale.to, axis);
    if (axis) line(x.from, y(limit), x.to, y(limit), "limit");
    else line(x(limit), y.from, x(limit), y.to, "limit");
  });
}

/** A diamond with its name, where the name covers no diamond and no other name (boxes `taken`). */
function drawNamed(svg, each, taken) {
  const [x, y] = each.at.map((value, axis) => cloud.frame.scales[axis](value));
  const width = 7.5 * each.name.length;
  const places = [-8, 20, -24, 36, -40, 52, -56, 68].flatMap((dy) => [[12, dy], [-12 - width, dy]]);
  const boxes = places.map(([dx, dy]) => ({ left: x + dx, right: x + dx + width, top: y + dy - 11, bottom: y + dy + 3 }));
  const free = boxes.find((box) => box.left > EDGE.left && box.right < cloud.frame.width && box.top > 0 && box.bottom < cloud.frame.height - EDGE.bottom && taken.every((other) =>
    box.left > other.right + GAP || box.right < other.left - GAP || box.top > other.bottom || box.bottom < other.top)) ?? boxes[0];
  taken.push(free);
  svg.append(element(`${SVG}rect`, { x: x - 5, y: y - 5, width: 10, height: 10, class: "named", transform: `rotate(45 ${x} ${y})` }));
  svg.append(element(`${SVG}text`, { x: free.left, y: free.bottom - 3, class: "label" }, each.name));
}

function cloudWords() {
  const kept = cloud.points.filter((point) => point.kept).length;
  const [across, up] = cloud.frame.axes.map((number) => heads[number].name);
  return `${cloud.points.length} sets of weights by PR-AUC of ${across} and of ${up}; ${kept} keep every guardrail`;
}

function pointWords(point) {
  const values = cloud.frame.axes.map((number, axis) => `PR-AUC of ${heads[number].name} ${formatNumber(point.at[axis])}`);
  const rails = heads.some((head) => head.floor !== null) ? (point.kept ? "; keeps every guardrail" : "; breaks a guardrail") : "";
  return `${values.join(", ")}${rails}; weights: ${weightWords(point.weights)}`;
}

function sayPoint(point) {
  cloud.points.forEach((each) => each.mark.classList.toggle("near", each === point));
  document.getElementById("point").textContent = point ? `${pointWords(point)}.` : pointKey();
}

function pointKey() {
  const rails = heads.some((head) => head.floor !== null) ? "Filled: every guardrail holds; hollow: one is broken; red: beyond a guardrail of these two. " : "";
  return `${rails}Line: the best trade-offs between the two. Ring: the weights now.`;
}

/** The point within `reach` pixels of the pointer that is nearest to it. */
function nearest(event, reach) {
  const box = event.currentTarget.getBoundingClientRect();
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  let found = null, least = reach;
  for (const point of cloud.points) {
    const away = Math.hypot(point.place[0] - x, point.place[1] - y);
    if (away < least) [found, least] = [point, away];
  }
  return found;
}

function takePoint(point) {
  if (point) takeWeights(point.weights);
}

function moveInCloud(event) {
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowUp: 10, ArrowDown: -10, Home: -Infinity, End: Infinity };
  if (event.key === "Enter" || event.key === " ") takePoint(cloud.points[cloud.active]);
  else if (event.key in steps) {
    cloud.points[cloud.active].mark.setAttribute("tabindex", -1);
    cloud.active = Math.min(Math.max(cloud.active + steps[event.key], 0), cloud.points.length - 1);
    cloud.points[cloud.active].mark.setAttribute("tabindex", 0);
    cloud.points[cloud.active].mark.focus();
  } else return;
  event.preventDefault();
}

/** The ring at the weights of now. */
function showCloud() {
  if (!cloud.frame || !current) return;
  const [x, y] = cloud.frame.axes.map((number, axis) => cloud.frame.scales[axis](current.values[number]));
  cloud.now.setAttribute("transform", `translate(${x} ${y})`);
  cloud.now.dataset.across = String(current.values[state.across]);
}
