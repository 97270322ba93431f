/** The student in student.tflite: for pairs of texts, and for cased ones. */

import { checkBrowser, DemoError } from "./classifier.mjs";
import { fixedShape } from "./fixed_shape.mjs";

// Every call takes as many steps as its input has places. Texts that are all
// shorter than this get a model of so many, prepared when it is first needed.
const FEW = 32;

export class LiteClassifier {
  #file;
  #tokenizer;
  #labels;
  #words;
  #models = new Map();
  #runtime;

  /**
   * Starts a model.
   *
   * @param {Uint8Array} file
   * @param {Tokenizer} tokenizer Cuts texts after `words` ids.
   * @param {{labels: string[], words: number}} demo
   * @returns {Promise<LiteClassifier>}
   */
  static async start(file, tokenizer, { labels, words }) {
    checkBrowser();
    const started = new LiteClassifier();
    started.#file = file;
    started.#tokenizer = tokenizer;
    started.#labels = labels;
    started.#words = words;
    try {
      const runtime = await import("./litert/core.mjs");
      // Once a page, also when another model takes this one's place.
      await (runtime.getGlobalLiteRtPromise() ??
        runtime.loadLiteRt("litert/wasm/"));
      started.#runtime = runtime;
      await started.#model(Math.min(FEW, words));
    } catch (error) {
      throw new DemoError(
        "This browser could not start the model: " +
          (error?.message?.split("\n")[0] ||
            "a file of LiteRT.js could not be loaded"),
      );
    }
    return started;
  }

  /**
   * Scores a text, or a pair of them. One call at a time.
   *
   * @param {...string} texts
   * @returns {Promise<{scores: Map<string, number>, milliseconds: number}>}
   *   The scores by class name add up to 1.
   */
  async classify(...texts) {
    let start = performance.now();
    const rows = texts.map((text) => this.#tokenizer.encode(text));
    const longest = Math.max(...rows.map((row) => row.length));
    const length = longest <= FEW ? Math.min(FEW, this.#words) : this.#words;
    if (!this.#models.has(length)) {
      await this.#model(length);
      // That is no part of what a text takes.
      start = performance.now();
    }
    const model = await this.#model(length);
    const inputs = {};
    rows.forEach((row, place) => {
      const ids = new Int32Array(length);
      ids.set(row);
      const name = place ? "ids_b" : "ids_a";
      inputs[name] = new this.#runtime.Tensor(ids, [1, length]);
    });
    const outputs = await model.run(inputs);
    const found = outputs.probabilities.toTypedArray();
    const scores = new Map(
      this.#labels.map((label, place) => [label, found[place]]),
    );
    for (const tensor of Object.values({ ...inputs, ...outputs })) {
      tensor.delete();
    }
    return { scores, milliseconds: performance.now() - start };
  }

  close() {
    for (const model of this.#models.values()) model.delete();
    this.#models.clear();
  }

  async #model(length) {
    if (!this.#models.has(length)) {
      const file = fixedShape(this.#file.slice().buffer, 1, length);
      const model = await this.#runtime.loadAndCompile(file, {
        accelerator: "wasm",
      });
      this.#models.set(length, model);
    }
    return this.#models.get(length);
  }
}
