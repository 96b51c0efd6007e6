// ---- state.js: what the page shows now, and the same in its address, so that a link or the back button restores it

const state = { weights: [], request: 0, across: 0, up: 1 };

function clampWeight(number, value) {
  return heads[number].sign > 0 ? Math.min(Math.max(value, 0), 1) : Math.max(Math.min(value, 0), -1);
}

/** "#w.click=0.5&w.save=0.5&request=1&across=click&up=save" */
function address() {
  const fields = new URLSearchParams();
  heads.forEach((head, number) => fields.set(`w.${head.name}`, String(state.weights[number])));
  fields.set("request", String(state.request + 1));
  fields.set("across", heads[state.across].name);
  fields.set("up", heads[state.up].name);
  return `#${fields}`;
}

/** Take over what the address says; what it does not say, or says wrongly, is as at the beginning. */
function readAddress() {
  const fields = new URLSearchParams(location.hash.slice(1));
  const known = heads.some((head) => fields.has(`w.${head.name}`));
  state.weights = heads.map((head, number) => {
    const text = fields.get(`w.${head.name}`), value = Number(text);
    if (!known) return data.begin[number];
    return text === null || text.trim() === "" || !Number.isFinite(value) ? 0 : clampWeight(number, value);
  });
  const request = Number(fields.get("request") ?? 1) - 1;
  state.request = data.requests[request] ? request : 0;
  const axes = measured();
  const axis = (name, otherwise) => axes.find((number) => heads[number].name === fields.get(name)) ?? otherwise;
  state.across = axis("across", axes[0] ?? 0);
  state.up = axis("up", axes.find((number) => number !== state.across) ?? 0);
}

/** Whether every weight is 0, so that all rows tie. */
function nothingWeighs() {
  return state.weights.every((weight) => weight === 0);
}

/** Numbers of the heads that have a PR-AUC on these rows. */
function measured() {
  return heads.map((_, number) => number).filter((number) => referenceJudged.values[number] !== null);
}

let lastControl = null, lastTime = 0;

/** Put the state into the address: a new entry of the history, but not for every step of one sliding of one control. */
function remember(control) {
  const now = performance.now(), text = address();
  const goesOn = control !== null && control === lastControl && now - lastTime < 1000;
  [lastControl, lastTime] = [control, now];
  if (text === location.hash) return;
  if (goesOn) location.replace(text);
  else location.hash = text;
}
