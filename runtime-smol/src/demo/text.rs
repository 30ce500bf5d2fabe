//! Text of either direction for a terminal.
//!
//! Hebrew is written from right to left. A terminal that knows puts each line's words in their order by itself, and must
//! be told where such a stretch begins and ends, or the number and the full stop beside it go astray: that is what the
//! isolates of Unicode are for. One that does not know shows the letters from left to right, and no column moves.

/// First strong isolate: what follows has the direction of its own first letter.
const ISOLATE: char = '\u{2068}';
/// Pop directional isolate: its end.
const END: char = '\u{2069}';

/// A line of text that stands for itself between others.
pub(super) fn isolated(line: &str) -> String {
    format!("{ISOLATE}{line}{END}")
}

/// The words of a text in lines of at most `width` characters; its own line breaks stay. What is no visible sign is left
/// out, for it could write over the table or turn it around. A longer word has a line of its own.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace().map(visible) {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&word);
        }
        if !line.is_empty() {
            lines.push(line);
        }
    }
    lines
}

fn visible(word: &str) -> String {
    let directs =
        |sign: char| matches!(sign, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    word.chars().filter(|sign| !sign.is_control() && !directs(*sign)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_go_to_the_next_line_where_they_do_not_fit() {
        assert_eq!(wrapped("שלום, מדבר יוסי.\nתודה", 11), ["שלום, מדבר", "יוסי.", "תודה"]);
        assert_eq!(wrapped("a longest_word b", 4), ["a", "longest_word", "b"]);
        assert_eq!(wrapped(" \n ", 4), [""; 0]);
    }

    #[test]
    fn what_a_service_answers_cannot_turn_or_overwrite_the_table() {
        assert_eq!(wrapped("\u{1b}[2Jשלום\u{2069}\u{202e} \u{7}עולם", 80), ["[2Jשלום עולם"]);
    }

    #[test]
    fn a_line_is_closed_where_it_was_opened() {
        assert_eq!(isolated("תודה רבה."), "\u{2068}תודה רבה.\u{2069}");
    }
}
