/** What the page shows: elements and words, no decisions. */

const MOST_ROWS = 10;

const percent = new Intl.NumberFormat("en", {
  style: "percent",
  minimumFractionDigits: 1,
  maximumFractionDigits: 1,
});

/** @param {string} id */
export const element = (id) => document.getElementById(id);

function make(tag, content, className = "") {
  const made = document.createElement(tag);
  made.append(...[content].flat());
  if (className) made.className = className;
  return made;
}

/** "9.7 MB", as sizes are given elsewhere in the project. */
export function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(bytes < 1e5 ? 2 : 1)} MB`;
}

function time(milliseconds) {
  // Some browsers' clocks only tick once a millisecond.
  if (milliseconds < 0.05) return "< 1 ms";
  return `${milliseconds.toFixed(milliseconds < 10 ? 1 : 0)} ms`;
}

export function showState(state) {
  document.body.dataset.state = state;
}

/** Whether the scores are still those of an older text. */
export function showBusy(busy) {
  element("result").setAttribute("aria-busy", busy);
}

export function showFailure(message) {
  showState("failed");
  element("notice").textContent = message;
  element("notice").hidden = false;
  element("verdict").replaceChildren(make("span", "No scores.", "muted"));
  element("scores").replaceChildren();
  element("unsure").textContent = "";
  element("spoken").textContent = "";
}

export function hideFailure() {
  element("notice").textContent = "";
  element("notice").hidden = true;
}

export function showWaiting(message) {
  element("verdict").replaceChildren(make("span", message, "muted"));
}

/** Fills in what does not change while the page is open. */
export function showDemo(demo, onExample, onModel) {
  document.title = `${demo.title}: a classifier in your browser`;
  element("title").textContent = demo.title;
  element("facts").textContent = demo.facts ?? "";
  demo.fields.forEach((name, place) => {
    element(place ? "second-name" : "text-name").textContent = name;
  });
  element("second").hidden = demo.fields.length < 2;
  element("second-name").hidden = demo.fields.length < 2;
  element("runtime").textContent =
    demo.runtime === "litert" ? "LiteRT.js" : "MediaPipe Tasks";
  const examples = demo.examples.map((texts) => {
    const lines = texts.map((text) => make("span", text));
    const button = make("button", lines);
    button.type = "button";
    button.addEventListener("click", () => onExample(texts));
    return make("li", button);
  });
  element("examples")
    .querySelector("ul")
    .replaceChildren(...examples);
  element("examples").hidden = examples.length === 0;
  for (const [index, model] of demo.models.entries()) {
    const input = make("input", []);
    Object.assign(input, { type: "radio", name: "model", value: model.name });
    input.checked = index === 0;
    input.addEventListener("change", () => onModel(model));
    const lines = [`${model.name}, ${megabytes(model.bytes)}`];
    if (model.accuracy != null) {
      lines.push(`${percent.format(model.accuracy)} accurate`);
    }
    const small = lines.map((line) => make("small", line));
    const label = make("label", [input, make("span", [model.title, ...small])]);
    element("models").append(label);
  }
  element("models").closest("section").hidden = demo.models.length < 2;
}

export function showModel(model) {
  element("size").textContent = megabytes(model.bytes);
  element("precision").textContent = model.name;
}

/**
 * One bar a class, in the order of the classes while they are few.
 *
 * @returns {string} The best class and its score.
 */
export function showScores({ labels, shown, caption, threshold }, scores) {
  const ranked = [...labels].sort((a, b) => scores.get(b) - scores.get(a));
  const rows = labels.length > MOST_ROWS ? ranked.slice(0, MOST_ROWS) : labels;
  const list = element("scores");
  while (list.children.length < rows.length) {
    const bar = make("span", make("span", []), "bar");
    bar.setAttribute("aria-hidden", "true");
    list.append(
      make("li", [make("span", "", "name"), bar, make("span", "", "share")]),
    );
  }
  rows.forEach((label, index) => {
    const row = list.children[index];
    const [name, bar, share] = row.children;
    const score = scores.get(label);
    row.classList.toggle("best", label === ranked[0]);
    row.dataset.label = label;
    row.dataset.score = score;
    name.textContent = shown[label] ?? label;
    share.textContent = percent.format(score);
    bar.firstChild.style.setProperty("--score", score);
  });
  const best = shown[ranked[0]] ?? ranked[0];
  const name = caption ? `${caption}: ${best}` : best;
  const share = percent.format(scores.get(ranked[0]));
  element("verdict").replaceChildren(`${name} `, make("span", share, "share"));
  const unsure = scores.get(ranked[0]) < threshold;
  element("unsure").textContent = unsure
    ? `Not sure: below ${percent.format(threshold)} its teacher should answer.`
    : "";
  return unsure ? `${name}, ${share}, not sure` : `${name}, ${share}`;
}

/** Empty bars: there is no text yet. */
export function showNoScores(demo) {
  showScores(demo, new Map(demo.labels.map((label) => [label, 0])));
  element("unsure").textContent = "";
  for (const row of element("scores").children) {
    row.classList.remove("best");
    row.querySelector(".share").textContent = "–";
    delete row.dataset.score;
  }
  showWaiting(
    demo.fields.length > 1
      ? "Type two texts to see the scores."
      : "Type something to see the scores.",
  );
}

export function showLatency(milliseconds, median, count) {
  element("latency").textContent = time(milliseconds);
  element("latency").dataset.milliseconds = milliseconds;
  element("median").textContent = count > 1 ? `median ${time(median)}` : "";
}

export function showNoLatency() {
  element("latency").textContent = "–";
  element("median").textContent = "";
  delete element("latency").dataset.milliseconds;
}

/** For screen readers, once the typing rests. */
export function say(message) {
  element("spoken").textContent = message;
}

export function showHint(message) {
  element("hint").textContent = message;
}
