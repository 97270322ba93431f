// Turns text into the word ids of a keras_distill student: for student.tflite
// in browsers and Node.js. No dependencies.
//
//     const tokenizer = new Tokenizer(vocabTxt, { maxLength: 128 });
//     tokenizer.encode("A gripping film");      // [5, 812, 9]
//
// It gives the ids that the student was trained with: Penn-Treebank spelling
// is undone ("do n't"), BERT's basic tokenizer splits, words are looked up.

const SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
const [PAD, UNK, , , MASK] = SPECIALS.keys();
// BERT's splitter would cut "[MASK]" in three: this mark stands for it.
const MASK_MARK = "\u2e16";
const MAX_WORD_BYTES = 100;
const UTF8 = new TextEncoder();

const MARKS = "\\p{P}$+<=>^`|~";
const CHINESE =
  "\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff\\u{20000}-\\u{2a6df}" +
  "\\u{2a700}-\\u{2ceaf}\\u{2f800}-\\u{2fa1f}";
const NO_WORD = "\\p{Z}\\p{Cc}\\p{Cf}";
const WORDS = new RegExp(
  `[${MARKS}${CHINESE}]|[^${MARKS}${CHINESE}${NO_WORD}]+`, "gu");

export class Tokenizer {
  #ids = new Map();
  #lowerCase;
  #maxLength;

  // vocabulary: the content of vocab.txt, or its lines. lowerCase and
  // maxLength: as in the student's text.json.
  constructor(vocabulary, { lowerCase = true, maxLength = Infinity } = {}) {
    const words = typeof vocabulary === "string"
      ? vocabulary.replace(/\r?\n$/, "").split(/\r?\n/)
      : [...vocabulary];
    SPECIALS.forEach((special, line) => {
      if (words[line] !== special) {
        throw new Error(
          `vocabulary: line ${line + 1} is ${JSON.stringify(words[line])}, ` +
          `expected "${special}"`);
      }
    });
    words[MASK] = MASK_MARK;
    words.forEach((word, id) => this.#ids.set(word, id));
    this.#lowerCase = lowerCase;
    this.#maxLength = maxLength;
  }

  // Returns an array of 1 to maxLength ids; a text without words is [UNK].
  encode(text) {
    let clean = asTyped(text).replaceAll("[MASK]", MASK_MARK);
    if (this.#lowerCase) clean = folded(clean);
    const ids = [];
    for (const [word] of clean.matchAll(WORDS)) {
      if (ids.length >= this.#maxLength) break;
      ids.push(...this.#pieces(word));
    }
    return ids.length ? ids.slice(0, this.#maxLength) : [UNK];
  }

  // Encodes texts, padded with 0 to the longest: the student's input, int32
  // of this shape.
  encodeBatch(texts) {
    const rows = texts.map((text) => this.encode(text));
    const length = Math.max(0, ...rows.map((row) => row.length));
    const data = new Int32Array(rows.length * length).fill(PAD);
    rows.forEach((row, i) => data.set(row, i * length));
    return { data, shape: [rows.length, length] };
  }

  // The longest known beginning, then the longest known "##" piece, and so
  // on. Without pieces in the vocabulary: the word or [UNK].
  #pieces(word) {
    if (UTF8.encode(word).length > MAX_WORD_BYTES) return [UNK];
    const found = [];
    let start = 0;
    while (start < word.length) {
      const prefix = start ? "##" : "";
      let end = word.length;
      while (end > start && !this.#ids.has(prefix + word.slice(start, end))) {
        end--;
      }
      if (end === start) return [UNK];
      found.push(this.#ids.get(prefix + word.slice(start, end)));
      start = end;
    }
    return found;
  }
}

// Lower-cases and strips accents, character by character: what Unicode calls
// NFKC_Casefold, then NFD without the marks.
function folded(text) {
  return text
    .replace(/[A-Z]+/g, (ascii) => ascii.toLowerCase())
    .replace(/[^\0-\x7f]/gu, foldedCharacter);
}

// Default_Ignorable_Code_Point, those that are marks left out.
const IGNORED = new RegExp(
  "[\\xad\\u061c\\u115f\\u1160\\u180e\\u200b-\\u200f\\u202a-\\u202e" +
  "\\u2060-\\u206f\\u3164\\ufeff\\uffa0\\ufff0-\\ufff8" +
  "\\u{1bca0}-\\u{1bca3}\\u{1d173}-\\u{1d17a}\\u{e0000}-\\u{e0fff}]", "u");

function foldedCharacter(character) {
  if (IGNORED.test(character)) return "";
  return Array.from(character.normalize("NFKC"), caseFolded)
    .join("").normalize("NFD").replace(/\p{Mn}/gu, "");
}

function caseFolded(character) {
  // Its upper case is that of the dotted i.
  if (character === "\u0131") return character;
  const upper = character.toLowerCase().toUpperCase();
  // The one script whose capitals are the older letters.
  return /\p{Script=Cherokee}/u.test(upper) ? upper : upper.toLowerCase();
}

const INVISIBLE =
  /[\0-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u200b\ufeff]/g;
const CURLY_QUOTES = { "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"' };
const SPACES = /[\t-\r\x1c-\x20\x85\p{Z}]+/gu;
const BRACKETS = {
  "-lrb-": "(", "-rrb-": ")", "-lsb-": "[",
  "-rsb-": "]", "-lcb-": "{", "-rcb-": "}",
};
const START = "(^|[^\\p{L}\\p{N}_])", END = "(?![\\p{L}\\p{N}_])";
const RULES = [
  ["\\\\([/*])", "$1"],
  ["(^| )`` (?=[^ ])", '$1"'],
  ["``|''", '"'],
  ["(^| )` (?=[^ ])", "$1'"],
  ["`", "'"],
  ["' '(?=[ ,.!?;:)\\]}]|$)", "''"],
  [`([a-z]) (n't)${END}`, "$1$2"],
  // "can not only" is another construction.
  [`${START}(can) (not)${END}(?! (?:only|just|merely|simply)${END})`,
    "$1$2$3"],
  [`${START}(gon|wan) (na)${END}`, "$1$2$3"],
  [`${START}(got) (ta)${END}`, "$1$2$3"],
  [`${START}(lem|gim) (me)${END}`, "$1$2$3"],
].map(([pattern, by]) => [new RegExp(pattern, "giu"), by]);
// Text that anybody writes is done after two.
const MAX_ROUNDS = 10;

// Makes curly quotes straight and undoes Penn-Treebank spelling, as far as ids
// depend on it: "do n't" is "don't", "-lrb-" is "(".
function asTyped(text) {
  text = text
    .replace(INVISIBLE, "")
    .replace(/[\u2018\u2019\u201c\u201d]/g, (quote) => CURLY_QUOTES[quote])
    .replace(SPACES, " ").trim();
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const before = text;
    text = text.replace(
      /-[lr][rsc]b-/gi, (name) => BRACKETS[name.toLowerCase()]);
    for (const [pattern, by] of RULES) text = text.replace(pattern, by);
    if (text === before) break;
  }
  return text;
}
