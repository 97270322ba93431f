/** The student: a MediaPipe bundle that gives each class a score. */

import "./offline.mjs";

const BYTES_PER_REPORT = 1 << 18;

/** A failure whose message can be shown to anybody. */
export class DemoError extends Error {}

/** Throws a DemoError when the browser lacks what MediaPipe needs. */
export function checkBrowser() {
  if (typeof WebAssembly !== "object") {
    throw new DemoError(
      "This browser cannot run the demo: it has no WebAssembly, or it is " +
        "switched off. Current Chrome, Edge, Firefox and Safari have it.",
    );
  }
}

/**
 * Fetches a file of the page.
 *
 * @param {string} path
 * @param {(bytes: number) => void} [onBytes] Told how many have arrived.
 * @param {AbortSignal} [signal]
 * @returns {Promise<Uint8Array>}
 */
export async function download(path, onBytes = () => {}, signal = undefined) {
  let response;
  try {
    response = await fetch(path, { signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new DemoError(`${path} could not be loaded: is the server there?`);
  }
  if (!response.ok) {
    throw new DemoError(
      `${path} could not be loaded: the server answered ${response.status}.`,
    );
  }
  const parts = [];
  let bytes = 0;
  let told = 0;
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    bytes += value.length;
    if (bytes - told >= BYTES_PER_REPORT) onBytes((told = bytes));
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

export class Classifier {
  #task;

  constructor(task) {
    this.#task = task;
  }

  /**
   * Starts a bundle.
   *
   * @param {Uint8Array} bundle
   * @returns {Promise<Classifier>}
   */
  static async start(bundle) {
    checkBrowser();
    let task;
    try {
      const { FilesetResolver, TextClassifier } =
        await import("./mediapipe/text_bundle.mjs");
      const files = await FilesetResolver.forTextTasks("mediapipe/wasm");
      task = await TextClassifier.createFromModelBuffer(files, bundle);
      // The first call prepares the interpreter and says nothing of speed.
      task.classify("");
    } catch (error) {
      // After the first line MediaPipe lists places in its source.
      const reason = error?.message?.split("\n")[0].split("; ")[0];
      throw new DemoError(
        "This browser could not start the model: " +
          (reason || "a file of MediaPipe could not be loaded"),
      );
    }
    return new Classifier(task);
  }

  /**
   * Scores a text.
   *
   * @param {string} text
   * @returns {{scores: Map<string, number>, milliseconds: number}} The
   *   scores by class name add up to 1.
   */
  classify(text) {
    const start = performance.now();
    const { classifications } = this.#task.classify(text);
    const milliseconds = performance.now() - start;
    const scores = new Map();
    for (const { categoryName, score } of classifications[0].categories) {
      scores.set(categoryName, score);
    }
    return { scores, milliseconds };
  }

  close() {
    this.#task.close();
  }
}
