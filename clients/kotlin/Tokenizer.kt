// Turns text into the word ids of a keras_distill student: for student.tflite
// on Android and the JVM. No dependencies.
//
//     val tokenizer = Tokenizer(vocabTxt.lines(), maxLength = 128)
//     tokenizer.encode("A gripping film")      // 5, 812, 9
//
// It gives the ids that the student was trained with: Penn-Treebank spelling
// is undone ("do n't"), BERT's basic tokenizer splits, words are looked up.

package keras_distill

import java.text.Normalizer
import java.util.Locale

private val SPECIALS = listOf("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
private const val UNK = 1
private const val MASK = 4

// BERT's splitter would cut "[MASK]" in three: this mark stands for it.
private const val MASK_MARK = "\u2e16"
private const val MAX_WORD_BYTES = 100

private const val MARKS = "\\p{P}\$+<=>\\^`|~"
private const val CHINESE =
    "\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff\\x{20000}-\\x{2a6df}" +
        "\\x{2a700}-\\x{2ceaf}\\x{2f800}-\\x{2fa1f}"
private const val NO_WORD = "\\p{Z}\\p{Cc}\\p{Cf}"
private val WORDS =
    Regex("[$MARKS$CHINESE]|[^$MARKS$CHINESE$NO_WORD]+")

/**
 * A student's tokenizer.
 *
 * @param vocabulary the lines of `vocab.txt`; an empty last one is ignored.
 * @param lowerCase as in the student's `text.json`.
 * @param maxLength as in the student's `text.json`.
 */
class Tokenizer(
    vocabulary: List<String>,
    private val lowerCase: Boolean = true,
    private val maxLength: Int = Int.MAX_VALUE,
) {
    private val ids = HashMap<String, Int>()

    init {
        SPECIALS.forEachIndexed { line, special ->
            val found = vocabulary.getOrNull(line)
            require(found == special) {
                "vocabulary: line ${line + 1} is $found, expected $special"
            }
        }
        vocabulary.forEachIndexed { id, word ->
            if (word.isNotEmpty()) ids[word] = id
        }
        ids.remove(SPECIALS[MASK])
        ids[MASK_MARK] = MASK
    }

    /** Returns 1 to `maxLength` ids; a text without words is `[UNK]`. */
    fun encode(text: String): IntArray {
        var clean = asTyped(text).replace("[MASK]", MASK_MARK)
        if (lowerCase) clean = folded(clean)
        val found = ArrayList<Int>()
        for (match in WORDS.findAll(clean)) {
            if (found.size >= maxLength) break
            found.addAll(pieces(match.value))
        }
        if (found.isEmpty()) return intArrayOf(UNK)
        return found.take(maxLength).toIntArray()
    }

    /** Encodes texts, padded with 0 to the longest: the student's input. */
    fun encodeBatch(texts: List<String>): Array<IntArray> {
        val rows = texts.map(::encode)
        val length = rows.maxOfOrNull { it.size } ?: 0
        return Array(rows.size) { rows[it].copyOf(length) }
    }

    // The longest known beginning, then the longest known "##" piece, and so
    // on. Without pieces in the vocabulary: the word or [UNK].
    private fun pieces(word: String): List<Int> {
        if (word.toByteArray().size > MAX_WORD_BYTES) return listOf(UNK)
        val found = ArrayList<Int>()
        var start = 0
        while (start < word.length) {
            val prefix = if (start > 0) "##" else ""
            var end = word.length
            var id = ids[prefix + word.substring(start, end)]
            while (id == null && --end > start) {
                id = ids[prefix + word.substring(start, end)]
            }
            found.add(id ?: return listOf(UNK))
            start = end
        }
        return found
    }
}

private val NOT_LOWER_ASCII = Regex("[A-Z]|[^\\x00-\\x7f]")
private val CHEROKEE = Regex("\\p{IsCherokee}")
private val NONSPACING = Regex("\\p{Mn}")

// Unicode's Default_Ignorable_Code_Point, those that are marks left out.
private val IGNORED = Regex(
    "[\\xad\\u061c\\u115f\\u1160\\u180e\\u200b-\\u200f\\u202a-\\u202e" +
        "\\u2060-\\u206f\\u3164\\ufeff\\uffa0\\ufff0-\\ufff8" +
        "\\x{1bca0}-\\x{1bca3}\\x{1d173}-\\x{1d17a}\\x{e0000}-\\x{e0fff}]"
)

// Lower-cases and strips accents, character by character: what Unicode calls
// NFKC_Casefold, then NFD without the marks.
private fun folded(text: String): String =
    NOT_LOWER_ASCII.replace(text) { foldedCharacter(it.value) }

private fun foldedCharacter(character: String): String {
    if (IGNORED.matches(character)) return ""
    val compatible = Normalizer.normalize(character, Normalizer.Form.NFKC)
    val folded = StringBuilder()
    var index = 0
    while (index < compatible.length) {
        val code = compatible.codePointAt(index)
        folded.append(caseFolded(code))
        index += Character.charCount(code)
    }
    val apart = Normalizer.normalize(folded, Normalizer.Form.NFD)
    return NONSPACING.replace(apart, "")
}

private fun caseFolded(code: Int): String {
    val character = String(Character.toChars(code))
    // Its upper case is that of the dotted i.
    if (character == "\u0131") return character
    // ROOT: Turkish has capitals of its own.
    val upper = character.lowercase(Locale.ROOT).uppercase(Locale.ROOT)
    // The one script whose capitals are the older letters.
    return if (CHEROKEE.matches(upper)) upper else upper.lowercase(Locale.ROOT)
}

private val INVISIBLE = Regex(
    "[\\x00-\\x08\\x0e-\\x1b\\x7f-\\x84\\x86-\\x9f\\xad\\u200b\\ufeff]"
)
private val SINGLE_QUOTE = Regex("[\\u2018\\u2019]")
private val DOUBLE_QUOTE = Regex("[\\u201c\\u201d]")
private val SPACES = Regex("[\\t-\\r\\x1c-\\x20\\x85\\p{Z}]+")

private val BRACKET = Regex("-[lr][rsc]b-", RegexOption.IGNORE_CASE)
private val BRACKETS = mapOf(
    "-lrb-" to "(", "-rrb-" to ")", "-lsb-" to "[",
    "-rsb-" to "]", "-lcb-" to "{", "-rcb-" to "}",
)
private const val START = "(^|[^\\p{L}\\p{N}_])"
private const val END = "(?![\\p{L}\\p{N}_])"
private val RULES = listOf(
    "\\\\([/*])" to "\$1",
    "(^| )`` (?=[^ ])" to "\$1\"",
    "``|''" to "\"",
    "(^| )` (?=[^ ])" to "\$1'",
    "`" to "'",
    "' '(?=[ ,.!?;:)\\]}]|\\z)" to "''",
    "([a-z]) (n't)$END" to "\$1\$2",
    // "can not only" is another construction.
    "$START(can) (not)$END(?! (?:only|just|merely|simply)$END)" to
        "\$1\$2\$3",
    "$START(gon|wan) (na)$END" to "\$1\$2\$3",
    "$START(got) (ta)$END" to "\$1\$2\$3",
    "$START(lem|gim) (me)$END" to "\$1\$2\$3",
).map { (pattern, by) -> Regex(pattern, RegexOption.IGNORE_CASE) to by }

// Text that anybody writes is done after two.
private const val MAX_ROUNDS = 10

// Makes curly quotes straight and undoes Penn-Treebank spelling, as far as ids
// depend on it: "do n't" is "don't", "-lrb-" is "(".
private fun asTyped(text: String): String {
    val straight = text.replace(SINGLE_QUOTE, "'").replace(DOUBLE_QUOTE, "\"")
    var typed = SPACES.replace(INVISIBLE.replace(straight, ""), " ").trim(' ')
    repeat(MAX_ROUNDS) {
        val before = typed
        typed = BRACKET.replace(typed) {
            BRACKETS[it.value.lowercase(Locale.ROOT)] ?: it.value
        }
        for ((pattern, by) in RULES) typed = pattern.replace(typed, by)
        if (typed == before) return typed
    }
    return typed
}
