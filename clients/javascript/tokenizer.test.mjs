// Checks the tokenizer on the golden vectors: node --test clients/javascript
// GOLDEN names another folder than tests/golden.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { Tokenizer } from "./tokenizer.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const GOLDEN = process.env.GOLDEN ?? join(HERE, "../../tests/golden");
const WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "film"];

const read = (name) => readFileSync(join(GOLDEN, name), "utf-8");

test("the golden texts have their ids", () => {
  const lines = read("tokens.jsonl").trimEnd().split("\n");
  const tokenizers = new Map();
  for (const [index, line] of lines.entries()) {
    const { vocabulary, lower_case, max_length, text, ids } = JSON.parse(line);
    const key = [vocabulary, lower_case, max_length].join();
    if (!tokenizers.has(key)) {
      tokenizers.set(key, new Tokenizer(
        read(vocabulary), { lowerCase: lower_case, maxLength: max_length }));
    }
    const found = tokenizers.get(key).encode(text);
    assert.deepEqual(found, ids, `line ${index + 1}: ${text}`);
  }
});

test("a batch is padded to its longest text", () => {
  const { data, shape } = new Tokenizer(WORDS).encodeBatch(["a film", "", "a"]);
  assert.deepEqual(shape, [3, 2]);
  assert.deepEqual(data, Int32Array.of(5, 6, 1, 0, 5, 0));
});

test("an empty batch has no rows", () => {
  assert.deepEqual(new Tokenizer(WORDS).encodeBatch([]).shape, [0, 0]);
});

test("lines may end as on Windows", () => {
  assert.deepEqual(new Tokenizer(WORDS.join("\r\n")).encode("a film"), [5, 6]);
});

test("a vocabulary without its special tokens is refused", () => {
  assert.throws(
    () => new Tokenizer(WORDS.slice(1)),
    { message: 'vocabulary: line 1 is "[UNK]", expected "[PAD]"' });
});
