/** The demo: classifies what is typed, in this browser alone. */

import {
  checkBrowser,
  Classifier,
  DemoError,
  download,
} from "./classifier.mjs";
import { LiteClassifier } from "./lite_classifier.mjs";
import { Tokenizer } from "./tokenizer.mjs";
import * as view from "./view.mjs";

const TIMES_KEPT = 100;
const REST_BEFORE_SPEECH_MS = 700;
const LONGEST_WAIT_MS = 250;
const UNKNOWN = 1;
// About what BERT's tokenizer takes for one word each.
const WORDS = /[\p{L}\p{N}\p{M}]+|[^\s\p{L}\p{N}\p{M}]/gu;

const fields = [view.element("text")];
let demo;
let classifier = null;
let tokenizer = null;
let loading = null;
let waiting = 0;
let speaking = 0;
let running = false;
let again = false;
let times = [];
let median = 0;

async function classify() {
  clearTimeout(waiting);
  if (running) {
    again = true;
    return;
  }
  running = true;
  view.showBusy(true);
  do {
    again = false;
    await classifyOnce();
  } while (again);
  running = false;
  view.showBusy(false);
}

async function classifyOnce() {
  if (!classifier) return;
  const texts = fields.map((field) => field.value);
  clearTimeout(speaking);
  view.showHint(texts.map(hint).find(Boolean) ?? "");
  if (!texts.every((text) => text.trim())) {
    view.showNoScores(demo);
    view.say("");
    return;
  }
  const asked = classifier;
  try {
    const { scores, milliseconds } = await asked.classify(...texts);
    // Another model may have been chosen meanwhile.
    if (asked !== classifier) return;
    const summary = view.showScores(demo, scores);
    times = [...times, milliseconds].slice(-TIMES_KEPT);
    median = [...times].sort((a, b) => a - b)[times.length >> 1];
    view.showLatency(milliseconds, median, times.length);
    // A screen reader would read every keystroke's result aloud otherwise.
    speaking = setTimeout(() => view.say(summary), REST_BEFORE_SPEECH_MS);
  } catch (error) {
    if (asked !== classifier) return;
    view.showFailure(`The model failed on this text: ${error.message}`);
    classifier = null;
  }
}

function hint(text) {
  if (text.trim() && tokenizer.encode(text).every((id) => id === UNKNOWN)) {
    return (
      "The model knows no word of this text: its scores are about the " +
      "share of each class."
    );
  }
  if (text.length <= demo.words) return "";
  const words = text.match(WORDS)?.length ?? 0;
  return words > demo.words
    ? `A long text: the model reads about the first ${demo.words} words and ` +
        "punctuation marks."
    : "";
}

/** Classifies soon, and on a slow device not while the keys still come. */
function soon() {
  clearTimeout(waiting);
  view.showBusy(true);
  waiting = setTimeout(classify, Math.min(2 * median, LONGEST_WAIT_MS));
}

function show(texts) {
  fields.forEach((field, place) => {
    field.value = texts[place] ?? "";
  });
  soon();
}

async function use(model) {
  loading?.abort();
  const mine = (loading = new AbortController());
  classifier?.close();
  classifier = null;
  times = [];
  median = 0;
  view.hideFailure();
  view.showState("loading");
  view.showNoLatency();
  view.showModel(model);
  const size = view.megabytes(model.bytes);
  view.showWaiting(`Loading the model (${size})…`);
  try {
    const bundle = await download(
      model.file,
      (bytes) => {
        const share = Math.min(99, Math.floor((100 * bytes) / model.bytes));
        view.showWaiting(`Loading the model (${size})… ${share}%`);
      },
      mine.signal,
    );
    const words = await download(model.vocabulary, () => {}, mine.signal);
    const reader = new Tokenizer(new TextDecoder().decode(words), {
      lowerCase: demo.lowerCase,
      maxLength: demo.words,
    });
    const started =
      demo.runtime === "litert"
        ? await LiteClassifier.start(bundle, reader, demo)
        : await Classifier.start(bundle);
    if (mine.signal.aborted) {
      started.close();
      return;
    }
    tokenizer = reader;
    classifier = started;
    view.showState("ready");
    classify();
  } catch (error) {
    if (!mine.signal.aborted) fail(error);
  }
}

function fail(error) {
  view.showFailure(
    error instanceof DemoError ? error.message : `The demo failed: ${error}`,
  );
}

async function start() {
  view.element("unstarted").remove();
  checkBrowser();
  const file = new TextDecoder().decode(await download("demo.json"));
  demo = JSON.parse(file);
  view.showDemo(demo, show, use);
  if (demo.fields.length > 1) fields.push(view.element("second"));
  fields.forEach((field, place) => {
    // A browser may have kept what was typed before the page was reloaded.
    field.value ||= demo.examples[0]?.[place] ?? "";
    field.addEventListener("input", soon);
  });
  view.element("clear").addEventListener("click", () => {
    show([]);
    fields[0].focus();
  });
  await use(demo.models[0]);
}

start().catch(fail);
