// Checks the tokenizer on the golden vectors.
//
//     kotlinc Tokenizer.kt TokenizerTest.kt -include-runtime -d test.jar
//     java -jar test.jar ../../tests/golden

package keras_distill

import java.io.File
import kotlin.system.exitProcess

fun main(arguments: Array<String>) {
    val folder = File(arguments.firstOrNull() ?: "tests/golden")
    val lines = File(folder, "tokens.jsonl").readLines()
    val tokenizers = HashMap<List<Any?>, Tokenizer>()
    var failed = 0
    for ((number, line) in lines.withIndex()) {
        val case = Json(line).value() as Map<*, *>
        val settings = listOf("vocabulary", "lower_case", "max_length")
            .map { case[it] }
        val tokenizer = tokenizers.getOrPut(settings) {
            Tokenizer(
                File(folder, settings[0] as String).readText().split("\n"),
                settings[1] as Boolean,
                (settings[2] as Double).toInt(),
            )
        }
        val expected = (case["ids"] as List<*>).map { (it as Double).toInt() }
        val found = tokenizer.encode(case["text"] as String).toList()
        if (found != expected) {
            failed++
            println("line ${number + 1}: expected $expected, found $found")
        }
    }
    failed += checkBatch() + checkForeignVocabulary()
    println("${lines.size} golden texts, $failed failed")
    exitProcess(if (failed == 0 && lines.isNotEmpty()) 0 else 1)
}

private val WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] a film".split(" ")

private fun checkBatch(): Int {
    val found = Tokenizer(WORDS).encodeBatch(listOf("a film", "", "a"))
    val expected = listOf(listOf(5, 6), listOf(1, 0), listOf(5, 0))
    if (found.map { it.toList() } == expected) return 0
    println("a batch is not padded to the longest text")
    return 1
}

private fun checkForeignVocabulary(): Int {
    try {
        Tokenizer(WORDS.drop(1))
    } catch (error: IllegalArgumentException) {
        if ("line 1 is [UNK], expected [PAD]" in error.message!!) return 0
    }
    println("a vocabulary without its special tokens is accepted")
    return 1
}

/** As much of JSON as the golden vectors need. */
private class Json(private val text: String) {
    private var at = 0

    fun value(): Any? = when (val first = next()) {
        '{' -> items('}') {
            (value() as String).also { expect(':') } to value()
        }.toMap()
        '[' -> items(']') { value() }
        '"' -> string()
        't' -> true.also { at += "rue".length }
        'f' -> false.also { at += "alse".length }
        else -> {
            val start = at - 1
            while (at < text.length && text[at] in "0123456789+-.eE") at++
            check(at > start + 1 || first.isDigit()) { "unexpected $first" }
            text.substring(start, at).toDouble()
        }
    }

    private fun <T> items(end: Char, item: () -> T): List<T> {
        val found = ArrayList<T>()
        if (next() == end) return found
        at--
        do found.add(item()) while (next() == ',')
        check(text[at - 1] == end) { "expected $end at $at" }
        return found
    }

    private fun string(): String {
        val found = StringBuilder()
        while (true) {
            val character = text[at++]
            if (character == '"') return found.toString()
            if (character != '\\') {
                found.append(character)
                continue
            }
            when (val escaped = text[at++]) {
                'u' -> {
                    found.append(text.substring(at, at + 4).toInt(16).toChar())
                    at += 4
                }
                'n' -> found.append('\n')
                't' -> found.append('\t')
                'r' -> found.append('\r')
                'b' -> found.append('\b')
                'f' -> found.append('\u000c')
                else -> found.append(escaped)
            }
        }
    }

    private fun next(): Char {
        while (text[at] == ' ') at++
        return text[at++]
    }

    private fun expect(character: Char) {
        check(next() == character) { "expected $character at $at" }
    }
}
