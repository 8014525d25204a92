//! Whether an answer is in a language in which refusals can be found.
//!
//! English is told by its words. Other languages are told by runs of letters (whatlang),
//! and have to have some of their own common words too, since a detector takes languages
//! that it wasn't made for as those that look like them.

use whatlang::{Lang, detect};

use super::phrases::{is_common, languages};
use super::text::{Text, is_letter};
use super::weights;

/// Words by which the language is told.
const TOLD_BY: usize = 60;
/// Letters from which on the detector is relied on alone.
const SURE: usize = 20;
/// Of so many words one is common, in any text of a language.
const COMMON: usize = 12;

/// The names of phrases.txt and those of the detector.
const CODES: [(&str, Lang); 18] = [
    ("en", Lang::Eng),
    ("de", Lang::Deu),
    ("fr", Lang::Fra),
    ("es", Lang::Spa),
    ("pt", Lang::Por),
    ("it", Lang::Ita),
    ("nl", Lang::Nld),
    ("pl", Lang::Pol),
    ("tr", Lang::Tur),
    ("ru", Lang::Rus),
    ("zh", Lang::Cmn),
    ("ja", Lang::Jpn),
    ("ko", Lang::Kor),
    ("ar", Lang::Ara),
    ("hi", Lang::Hin),
    ("sv", Lang::Swe),
    ("vi", Lang::Vie),
    ("id", Lang::Ind),
];

/// How many of the first words are common in English, of how many.
pub(super) fn english_words(text: &Text) -> (usize, usize) {
    let words = first_words(text);
    (words.iter().filter(|word| is_common(0, word)).count(), words.len())
}

/// Whether the language is English, by words that the classifier or the table knows. An
/// answer without a word is in no language that isn't.
pub(super) fn is_english(text: &Text) -> bool {
    let words = first_words(text);
    let known = words.iter().filter(|word| is_common(0, word) || weights::knows(word));
    known.count() * 5 >= words.len() * 2
}

/// Whether the language is one of phrases.txt.
pub(super) fn is_known(text: &Text) -> bool {
    if is_english(text) {
        return true;
    }
    let words = first_words(text);
    let letters: usize = words.iter().map(|word| word.chars().count()).sum();
    let told = detect(&text.plain);
    let reliable = told.as_ref().is_some_and(whatlang::Info::is_reliable);
    let told = told.and_then(|told| {
        let code = CODES.iter().find(|(_, lang)| *lang == told.lang());
        languages().iter().position(|name| code.is_some_and(|(code, _)| code == name))
    });
    let of = |language: usize| words.iter().filter(|word| is_common(language, word)).count();
    match told {
        // Written without spaces, or in a script of its own.
        Some(language) if ["zh", "ja", "ko"].contains(&languages()[language]) => true,
        Some(language) if letters >= SURE => {
            let needed = if reliable { 1 } else { words.len().div_ceil(COMMON) };
            of(language) >= needed
        }
        None if letters >= SURE => false,
        _ => (0..languages().len()).any(|language| of(language) > 0),
    }
}

fn first_words(text: &Text) -> Vec<&str> {
    let words = text.sentences.iter().flat_map(|sentence| &sentence.words);
    words.map(String::as_str).filter(|word| word.starts_with(is_letter)).take(TOLD_BY).collect()
}
