//! Phrases that such models make up where there is nothing to hear (T6).

/// What whisper's family is known to write over silence and noise (docs/twilio.md), in lower case and without marks.
const PHRASES: [&str; 21] = [
    "תודה",
    "תודה רבה",
    "תודה רבה לכם",
    "תודה רבה לך",
    "תודה על הצפייה",
    "תודה רבה על הצפייה",
    "תודה שצפיתם",
    "תודה שצפיתם בסרטון",
    "צפייה מהנה",
    "להתראות",
    "בבקשה",
    "שלום לכולם",
    "כתוביות",
    "עברית",
    "מוזיקה",
    "thank you",
    "thanks for watching",
    "you",
    "bye",
    "beep",
    "הכתוביות נעשו על ידי",
];
/// How the credits of subtitles begin; a name follows.
const CREDITS: &str = "הכתוביות נעשו על ידי";
/// The same, when a colon follows.
const CREDITS_BEFORE_COLON: &str = "כתוביות";

/// Whether the whole text is one such phrase, once or repeated; punctuation, vowel points, direction marks and letter
/// case aside. People say these things too ("thank you"): only for audio in which next to nothing could be heard.
#[must_use]
pub fn is_stock_phrase(text: &str) -> bool {
    let said = words(text);
    let credits = words(CREDITS);
    let is_repeated = |phrase: &str| {
        let phrase = words(phrase);
        !said.is_empty()
            && said.len().is_multiple_of(phrase.len())
            && said.chunks(phrase.len()).all(|part| part == phrase)
    };
    PHRASES.into_iter().any(is_repeated)
        || said.starts_with(&credits)
        || text.split_once(':').is_some_and(|(start, _)| words(start) == [CREDITS_BEFORE_COLON])
}

/// The words of a text in lower case. Marks that stand inside a word vanish; everything that is no letter and no digit
/// parts words.
fn words(text: &str) -> Vec<String> {
    let bare: String = text.chars().filter(|sign| !is_mark(*sign)).collect();
    let lower = bare.to_lowercase();
    lower.split(|sign: char| !sign.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Vowel points and cantillation of Hebrew (but not its hyphen, bar and colon), and characters without a width.
const fn is_mark(sign: char) -> bool {
    matches!(
        sign,
        '\u{591}'..='\u{5bd}' | '\u{5bf}' | '\u{5c1}' | '\u{5c2}' | '\u{5c4}' | '\u{5c5}' | '\u{5c7}'
            | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_known_phrase_is_one_with_marks_around_it_and_repeated() {
        for phrase in PHRASES {
            for text in [
                phrase.to_owned(),
                format!(" {phrase}."),
                format!("\u{200f}{phrase}!\u{202c}"),
                format!("- {phrase}… {phrase}, {phrase}"),
                phrase.to_uppercase(),
                phrase.replace(' ', "־"),
            ] {
                assert!(is_stock_phrase(&text), "{text}");
            }
        }
        for text in [
            "תּוֹדָה רַבָּה",
            "Thank you. Thank you. Thank you.",
            "הכתוביות נעשו על ידי ישראל ישראלי",
            "כתוביות: ישראל ישראלי, עריכה: מישהי",
            "כתוביות : ישראל",
            "♪ מוזיקה ♪",
            "[Beep]",
        ] {
            assert!(is_stock_phrase(text), "{text}");
        }
    }

    #[test]
    fn what_people_answer_is_none() {
        for text in [
            "תודה, אפשר תור ליום שלישי?",
            "תודה רבה ולהתראות ביום ראשון",
            "כן",
            "לא, תודה",
            "בבקשה תחזרו אליי",
            "שלום",
            "כתוביות לסרט שלי, כמה זה עולה?",
            "אני צריך כתוביות: עברית ואנגלית",
            "Thank you, call me back",
            "you there?",
            "goodbye",
            "תודהתודה",
            "050-1234567",
            "",
            " \u{200f} …",
        ] {
            assert!(!is_stock_phrase(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_repetition_of_a_phrase_is_one_and_a_number_after_it_makes_it_none(
            at in 0..PHRASES.len(),
            times in 1_usize..9,
            between in "[ .,!?…\u{200f}\u{200e}-]{1,4}",
        ) {
            let text = format!("{}{between}", PHRASES[at]).repeat(times);
            // A direction mark alone parts no words.
            prop_assume!(between.chars().any(|sign| !is_mark(sign)));
            prop_assert!(is_stock_phrase(&text));
            let longer = text + " 7";
            prop_assert!(!is_stock_phrase(&longer) || PHRASES[at] == CREDITS);
        }

        #[test]
        fn any_text_is_judged(text in ".{0,60}") {
            let text = "7".to_owned() + &text;
            prop_assert!(!is_stock_phrase(&text));
        }
    }
}
