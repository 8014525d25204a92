//! Whether an answer is right: exact match, the number, the letter.

/// Lower case, without punctuation and the articles a, an and the, words joined
/// by single spaces.
pub fn normalised(text: &str) -> String {
    let letters: String = text
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            '-' | '/' | '\u{2010}'..='\u{2015}' => Some(' '),
            c if c.is_alphanumeric() || c.is_whitespace() => Some(c),
            _ => None,
        })
        .collect();
    let words = letters.split_whitespace().filter(|word| !["a", "an", "the"].contains(word));
    words.collect::<Vec<_>>().join(" ")
}

/// Whether two texts are equal after [`normalised`]. Texts of which nothing
/// remains, such as "A" or "+", are compared as they are, without case.
pub fn exact_match(answer: &str, expected: &str) -> bool {
    match normalised(expected).as_str() {
        "" => answer.trim().to_lowercase() == expected.trim().to_lowercase(),
        expected => normalised(answer) == expected,
    }
}

/// The number an answer ends up with: the first one after the last `####`, as
/// GSM8K (Cobbe et al. 2021, arXiv 2110.14168) writes it, else the last number of
/// the text. Thousands separators are ignored.
pub fn final_number(text: &str) -> Option<f64> {
    match text.rsplit_once("####") {
        Some((_, marked)) => numbers(marked).next(),
        None => numbers(text).last(),
    }
}

/// Whether the final number of an answer is that of the expected one.
pub fn number_match(answer: &str, expected: &str) -> bool {
    match (final_number(answer), final_number(expected)) {
        (Some(answer), Some(expected)) => {
            (answer - expected).abs() <= 1e-9 * expected.abs().max(1.0)
        }
        _ => false,
    }
}

/// Decimal numbers in a text. A minus counts if no word or digit stands before it,
/// so that "5-3" has 5 and 3; a comma counts as part of a number before three digits.
fn numbers(text: &str) -> impl Iterator<Item = f64> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < bytes.len() && !bytes[at].is_ascii_digit() {
            at += 1;
        }
        let start = at;
        if start == bytes.len() {
            return None;
        }
        let digits = |from: usize| {
            bytes[from.min(bytes.len())..].iter().take_while(|b| b.is_ascii_digit()).count()
        };
        at += digits(at);
        while bytes.get(at) == Some(&b',') && digits(at + 1) == 3 {
            at += 4;
        }
        if bytes.get(at) == Some(&b'.') && digits(at + 1) > 0 {
            at += 1 + digits(at + 1);
        }
        let magnitude: f64 = text[start..at].replace(',', "").parse().ok()?;
        Some(if is_negative(&text[..start]) { -magnitude } else { magnitude })
    })
}

/// Whether the text before a number ends in its minus sign, perhaps with a
/// currency sign between.
fn is_negative(before: &str) -> bool {
    let before = before.trim_end_matches(['$', '€', '£']);
    let Some(rest) = before.strip_suffix(['-', '\u{2212}']) else {
        return false;
    };
    !rest.ends_with(|c: char| c.is_alphanumeric() || c == ')')
}

/// The letter of a multiple-choice answer among the first `choices` letters:
/// one that opens the answer ("B", "(b)", "B. Paris"), else one that follows
/// "answer is" or "answer:".
pub fn choice_letter(answer: &str, choices: usize) -> Option<char> {
    let leading = |text: &str| {
        let text = text.trim_start_matches(|c: char| c.is_whitespace() || "(*[:\"'".contains(c));
        let mut chars = text.chars();
        let letter = chars.next()?.to_ascii_uppercase();
        let known = letter.is_ascii_uppercase() && ((letter as u8 - b'A') as usize) < choices;
        // "A cat" opens with an article, "A) cat" and "A" with a letter.
        let alone =
            chars.next().is_none_or(|next| !next.is_alphanumeric() && !" '-".contains(next));
        (known && alone).then_some(letter)
    };
    leading(answer).or_else(|| {
        let lower = answer.to_ascii_lowercase();
        ["answer is", "answer:"]
            .iter()
            .find_map(|mark| leading(&answer[lower.find(mark)? + mark.len()..]))
    })
}

/// The most likely of several choices, each with its log-probability and its
/// number of tokens, by log-probability per token; the first of equals. Nothing
/// for no choices, a NaN or a choice without tokens.
pub fn pick_choice(choices: &[(f64, usize)]) -> Option<usize> {
    if choices.iter().any(|(log_prob, tokens)| log_prob.is_nan() || *tokens == 0) {
        return None;
    }
    let mean = |at: usize| choices[at].0 / choices[at].1 as f64;
    (0..choices.len()).reduce(|best, at| if mean(at) > mean(best) { at } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_match_ignores_case_punctuation_and_articles() {
        assert!(exact_match("  Positive.", "positive"));
        assert!(exact_match("The well-known answer!", "well known answer"));
        assert!(exact_match("A", "a") && exact_match("+", "+"));
        assert!(!exact_match("positive, I think", "positive"));
        assert!(!exact_match("", "positive") && !exact_match("B", "A") && !exact_match("-", "+"));
    }

    #[test]
    fn the_final_number_is_the_marked_or_the_last_one() {
        assert_eq!(final_number("3 + 4 = 7\n#### 7"), Some(7.0));
        assert_eq!(final_number("#### $1,234.50 for 2 people"), Some(1234.5));
        assert_eq!(final_number("First 12, then 15."), Some(15.0));
        assert_eq!(final_number("from 5-3 follows"), Some(3.0));
        assert_eq!(final_number("it is -8"), Some(-8.0));
        assert_eq!(final_number("a loss of -$40"), Some(-40.0));
        assert_eq!(final_number("1,2,3"), Some(3.0));
        assert_eq!(final_number("year 2,0241"), Some(241.0));
        assert_eq!(final_number("none at all"), None);
        assert_eq!(final_number("#### ?"), None);
    }

    #[test]
    fn number_match_compares_values() {
        assert!(number_match("So it costs 1,000 dollars", "... #### 1000"));
        assert!(number_match("#### 18.00", "#### 18"));
        assert!(!number_match("#### 18", "#### -18"));
        assert!(!number_match("no idea", "#### 18"));
        assert!(!number_match("12", "no number"));
    }

    #[test]
    fn choice_letters() {
        for answer in [
            "B",
            "b)",
            "(B) Paris",
            "B. Paris",
            "**B**",
            "The answer is (B).",
            "Answer: B",
            "Final answer: b.",
        ] {
            assert_eq!(choice_letter(answer, 4), Some('B'), "{answer}");
        }
        for answer in ["", "Because", "A cat", "E", "It may be B", "42"] {
            assert_eq!(choice_letter(answer, 4), None, "{answer}");
        }
    }

    #[test]
    fn the_picked_choice_is_the_likeliest_per_token() {
        assert_eq!(pick_choice(&[(-4.0, 2), (-5.0, 4), (-9.0, 3)]), Some(1));
        assert_eq!(pick_choice(&[(-1.0, 1), (-1.0, 1)]), Some(0));
        assert_eq!(pick_choice(&[]), None);
        assert_eq!(pick_choice(&[(f64::NAN, 1)]), None);
        assert_eq!(pick_choice(&[(-1.0, 0)]), None);
    }
}
