// ---- request.js: the candidates of one request in the order of the weights

const FEW_TILES = 12, MOST_TILES = 48; // before and after "show all"
let allTiles = false;
const tiles = new Map(); // row -> its tile

function buildRequest() {
  const select = document.getElementById("request");
  data.requests.forEach((each, number) => {
    select.append(element("option", { value: number }, `${number + 1} of ${data.requests.length}`));
    each.size = each.items.length;
    each.before = new Map(rankRequest(referenceJudged.scores, each.start, each.size).map((row, place) => [row, place]));
  });
  const go = (number) => {
    state.request = (number + data.requests.length) % data.requests.length;
    showRequest();
    remember(null);
  };
  select.addEventListener("change", () => go(Number(select.value)));
  document.getElementById("before").addEventListener("click", () => go(state.request - 1));
  document.getElementById("after").addEventListener("click", () => go(state.request + 1));
  document.getElementById("all").addEventListener("click", () => {
    allTiles = !allTiles;
    showRequest();
  });
  document.getElementById("reference-name").textContent = reference.name;
}

/** A tile without what changes with the weights. */
function makeTile(request, row) {
  const item = request.items[row - request.start], photo = data.photos[item];
  const picture = photo
    ? element("img", { src: photo, alt: `photo of item ${item}`, width: 112, height: 112 })
    : element("div", { class: `blank tint-${tint(item)}`, "aria-hidden": "true" }, item.slice(-4));
  const place = element("span", { class: "place" }), move = element("span", { class: "move" });
  const bar = element("div", { class: "bar", "aria-hidden": "true" });
  const did = heads.filter((head) => head.labels[row]).map((head) => element("span", { class: head.sign > 0 ? "did" : "did unwanted" }, head.name));
  const shown = request.positions.length ? request.positions[row - request.start] : null;
  const caption = element("small", { class: "item", title: `item ${item}` }, item);
  if (shown !== null) caption.append(element("span", {}, ` · log: ${shown}`));
  const tile = element("li", {}, element("div", { class: "top" }, place, move), picture, bar, caption, element("div", { class: "dids" }, ...did));
  return Object.assign(tile, { place, move, bar });
}

function tint(text) {
  let sum = 0;
  for (const letter of text) sum = (31 * sum + letter.codePointAt(0)) % 9973;
  return sum % 6;
}

/** Set rank, arrow and bar of a tile; `largest` is the largest sum |w p| of the request. */
function showTile(tile, request, row, rank, largest) {
  const nothing = nothingWeighs(), moved = nothing ? 0 : request.before.get(row) - rank;
  tile.place.textContent = nothing ? "–" : String(rank + 1);
  tile.move.textContent = nothing ? "" : moved > 0 ? `▲ ${moved}` : moved < 0 ? `▼ ${-moved}` : "=";
  tile.move.className = moved > 0 ? "move up" : moved < 0 ? "move down" : "move";
  tile.move.setAttribute("aria-label", moved > 0 ? `${moved} up` : moved < 0 ? `${-moved} down` : nothing ? "not ranked" : "same place");
  tile.title = `sum ${formatNumber(current.scores[row])}`;
  tile.dataset.row = String(row);
  const parts = heads.map((head, number) => {
    const part = element("span", { class: head.sign > 0 ? colourOf(number) : `${colourOf(number)} minus` });
    part.style.width = `${(100 * Math.abs(state.weights[number]) * head.probabilities[row]) / largest}%`;
    return part;
  });
  tile.bar.replaceChildren(...parts);
}

function showRequest() {
  const request = data.requests[state.request], list = document.getElementById("tiles");
  document.getElementById("request").value = state.request;
  document.getElementById("facts").textContent =
    [`id ${request.request}`, `${request.size} candidates`, ...request.facts.map(([name, value]) => `${name}: ${value}`)].join(" · ");
  const ranked = rankRequest(current.scores, request.start, request.size), shown = ranked.slice(0, allTiles ? MOST_TILES : FEW_TILES);
  const sum = (row) => heads.reduce((total, head, n) => total + Math.abs(state.weights[n]) * head.probabilities[row], 0);
  const largest = Math.max(...ranked.map(sum)) || 1;
  if (tiles.request !== request) tiles.clear();
  tiles.request = request;
  const was = new Map([...list.children].map((tile) => [tile, tile.getBoundingClientRect()]));
  shown.forEach((row, rank) => {
    if (!tiles.has(row)) tiles.set(row, makeTile(request, row));
    showTile(tiles.get(row), request, row, rank, largest);
  });
  const order = shown.map((row) => tiles.get(row));
  if (order.length !== list.children.length || order.some((tile, at) => list.children[at] !== tile)) {
    list.replaceChildren(...order);
    glide(order, was);
  }
  const all = document.getElementById("all"), most = Math.min(request.size, MOST_TILES);
  all.hidden = request.size <= FEW_TILES;
  all.setAttribute("aria-expanded", allTiles);
  all.textContent = allTiles ? `Show the first ${FEW_TILES}` : `Show ${most < request.size ? `the first ${most}` : `all ${most}`}`;
}

/** Tiles move to their new places, unless the reader asked for less motion. */
function glide(order, was) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  for (const tile of order) {
    const from = was.get(tile);
    if (!from) continue;
    const to = tile.getBoundingClientRect(), [x, y] = [from.left - to.left, from.top - to.top];
    if (x || y) tile.animate([{ transform: `translate(${x}px, ${y}px)` }, { transform: "none" }], { duration: 180, easing: "ease-out" });
  }
}
