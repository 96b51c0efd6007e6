// ---- main.js: the beginning, and what follows a change

const namedJudged = data.named.map((each) => judge(each.weights));
const referenceJudged = namedJudged[0];
let current = null, asked = false, movingNow = null;

/** Show the state; at most once per picture of the screen, however fast a slider moves. */
function update(moving) {
  movingNow = moving;
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    show(movingNow);
  });
}

function show(moving) {
  const began = performance.now();
  current = judge(state.weights);
  document.documentElement.dataset.milliseconds = (performance.now() - began).toFixed(1);
  showWeights(moving);
  showHeads(current);
  showCloud();
  showRequest();
  document.documentElement.dataset.shown = JSON.stringify(state.weights);
}

function restore() {
  readAddress();
  drawCloud();
  show(null);
}

addEventListener("hashchange", () => {
  if (location.hash !== address()) restore();
});
document.getElementById("key-name").textContent = reference.name;
buildWeights();
buildHeads();
buildCloud();
buildRequest();
restore();
sayPoint(null);
