//! Text of a policy on its way to a terminal.

use host_contract::clean;

#[test]
fn plain_text_stays() {
    for text in ["risk is 0.7", "Größe, 風險, 🙂", "[31m looks odd but is harmless"] {
        assert_eq!(clean(text, 100), text);
    }
}

#[test]
fn escapes_and_tricks_go() {
    let cases = [
        ("\u{1b}[31mred\u{1b}[0m", "red"),
        ("a\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{7}b", "alinkb"),
        ("\u{9b}2Jclear", "clear"),
        ("\u{90}device\u{9c}x", "x"),
        ("\u{1b}]0;never ends", ""),
        ("\u{1b}cx", "x"),
        ("a\u{8}\u{8}b\0", "ab"),
        ("two\r\nlines\t and  blanks ", "two lines and blanks"),
        ("re\u{202e}versed\u{2066}", "reversed"),
        ("zero\u{200b}width\u{feff}", "zerowidth"),
    ];
    for (text, shown) in cases {
        assert_eq!(clean(text, 100), shown, "{text:?}");
    }
}

#[test]
fn long_text_is_cut() {
    assert_eq!(clean("abcde", 5), "abcde");
    assert_eq!(clean("abcdef", 5), "abcde…");
    assert_eq!(clean("äöüß", 2), "äö…");
    assert_eq!(clean("ab cd", 3), "ab…");
    assert!(clean(&"x ".repeat(1 << 20), 50).chars().count() <= 51);
}
