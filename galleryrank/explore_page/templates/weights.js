// ---- weights.js: the sliders, the numbers beside them, the buttons and the texts to copy

const sliders = [], numbers = [], shares = [];
const NOTHING = "# every weight is 0: nothing is ranked";
const NO_OPTION = "# the name of an engagement holds a comma or =: only the TOML can say it";

function buildWeights() {
  const box = document.getElementById("sliders");
  heads.forEach((head, number) => {
    const [low, high] = head.sign > 0 ? [0, 1] : [-1, 0];
    const name = element("span", { class: "name" }, element("span", { class: `dot ${colourOf(number)}` }), head.name);
    if (head.sign < 0) name.append(element("small", {}, " unwanted: −1 to 0"));
    const about = { "aria-label": `weight of ${head.name}` };
    sliders[number] = element("input", { type: "range", min: low, max: high, step: 0.005, ...about });
    numbers[number] = element("input", { type: "number", min: low, max: high, step: "any", ...about });
    shares[number] = element("output", { class: "why" });
    box.append(element("div", { class: "slider" }, name, numbers[number], shares[number], sliders[number]));
    sliders[number].addEventListener("input", () => setWeight(number, Number(sliders[number].value), sliders[number]));
    sliders[number].addEventListener("change", () => remember(sliders[number]));
    numbers[number].addEventListener("change", () => {
      const typed = numbers[number].valueAsNumber;
      setWeight(number, Number.isFinite(typed) ? clampWeight(number, typed) : state.weights[number], null);
      remember(numbers[number]);
    });
  });
  const buttons = document.getElementById("named");
  for (const each of data.named) {
    const button = element("button", { type: "button" }, each.label);
    button.addEventListener("click", () => takeWeights(each.weights));
    buttons.append(button);
  }
  document.getElementById("copy").addEventListener("click", () => copy(toml(), "toml", "as TOML"));
  document.getElementById("copy-option").addEventListener("click", () => copy(option(), "option", "for --utility"));
  const change = document.getElementById("to-weights"), panel = document.querySelector(".panel");
  change.addEventListener("click", () => {
    panel.scrollIntoView();
    sliders[0].focus({ preventScroll: true });
  });
  // on a narrow screen the sliders scroll away: then a line below says what they are, and leads back to them
  new IntersectionObserver(([seen]) => { change.parentElement.hidden = seen.isIntersecting; }).observe(panel);
}

function setWeight(number, weight, moving) {
  state.weights[number] = weight + 0; // no -0
  update(moving);
}

function takeWeights(weights) {
  state.weights = [...weights];
  update(null);
  remember(null);
}

/** `moving` is the slider under the hand: it is not set, so that nothing pulls at it. */
function showWeights(moving) {
  const sum = state.weights.reduce((total, weight) => total + Math.abs(weight), 0);
  state.weights.forEach((weight, number) => {
    if (sliders[number] !== moving) sliders[number].value = weight;
    if (numbers[number].valueAsNumber !== weight) numbers[number].value = formatWeight(weight);
    sliders[number].setAttribute("aria-valuetext", formatWeight(weight));
    shares[number].textContent = sum > 0 ? `${((100 * Math.abs(weight)) / sum).toFixed(0)} %` : "–";
  });
  [...document.getElementById("named").children].forEach((button, at) => {
    const same = data.named[at].weights.every((weight, number) => weight === state.weights[number]);
    button.setAttribute("aria-pressed", same);
  });
  document.getElementById("toml").textContent = toml();
  document.getElementById("option").textContent = option() ?? NO_OPTION;
  document.getElementById("copy").disabled = sum === 0;
  document.getElementById("copy-option").disabled = sum === 0 || option() === null;
  document.getElementById("summary").textContent = weightWords(state.weights);
  document.getElementById("copied").textContent = "";
}

/** A [utility] table as `galleryrank tune` writes it: these very weights, so that Python ranks as this page does. */
function toml() {
  if (nothingWeighs()) return NOTHING;
  const key = (name) => (/^[A-Za-z0-9_-]+$/.test(name) ? name : JSON.stringify(name).replaceAll("\x7f", "\\u007f"));
  const value = (weight) => (Number.isInteger(weight) ? weight.toFixed(1) : String(weight));
  return ["[utility]", ...heads.map((head, n) => `${key(head.name)} = ${value(state.weights[n])}`), ""].join("\n");
}

/** "click=0.34,save=0.66", quoted for a shell where a name needs it; null where a name cannot be written so. */
function option() {
  if (nothingWeighs()) return NOTHING;
  if (heads.some((head) => /[,=]|^\s|\s$/.test(head.name))) return null;
  const text = heads.map((head, number) => `${head.name}=${state.weights[number]}`).join(",");
  return /^[\w.,=+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

async function copy(text, from, how) {
  const said = document.getElementById("copied");
  try {
    await navigator.clipboard.writeText(text);
    said.textContent = `copied ${how}`;
  } catch (refused) { // a browser may forbid it: then the text is selected, for the reader's own copying
    const shown = document.getElementById(from);
    shown.closest("details").open = true;
    getSelection().selectAllChildren(shown);
    said.textContent = "the browser forbids copying: the text is selected";
  }
}
