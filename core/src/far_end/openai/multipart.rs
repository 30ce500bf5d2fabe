//! `multipart/form-data` (RFC 7578), taken apart.

use crate::limits;

/// One field of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) name: String,
    pub(super) file_name: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) content: &'a [u8],
}

/// The boundary a content type names; an error says what is wrong with it.
pub(super) fn boundary(content_type: &str) -> Result<String, &'static str> {
    let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return Err("the content type is not multipart/form-data");
    }
    let boundary = parameter(parameters, "boundary").ok_or("the content type names no boundary")?;
    // RFC 2046: 1 to 70 characters.
    if boundary.is_empty() || boundary.len() > 70 { Err("the boundary has no proper length") } else { Ok(boundary) }
}

/// The parts between the boundaries; an error says where the body stops being a form.
pub(super) fn parts<'a>(boundary: &str, body: &'a [u8]) -> Result<Vec<Part<'a>>, &'static str> {
    let between = format!("\r\n--{boundary}");
    let opening = &between.as_bytes()[2..];
    let mut rest = body.strip_prefix(opening).ok_or("the body does not begin with the boundary")?;
    let mut parts = Vec::new();
    loop {
        if let Some(end) = rest.strip_prefix(b"--") {
            let clean = matches!(end, b"" | b"\r\n");
            return if clean { Ok(parts) } else { Err("something follows the last boundary") };
        }
        rest = rest.strip_prefix(b"\r\n").ok_or("a boundary is not followed by a line end")?;
        if parts.len() == limits::FAR_END_FORM_PARTS_MAX {
            return Err("the form has too many parts");
        }
        let end = find(rest, between.as_bytes()).ok_or("the last boundary is missing")?;
        parts.push(part(&rest[..end])?);
        rest = &rest[end + between.len()..];
    }
}

fn part(bytes: &[u8]) -> Result<Part<'_>, &'static str> {
    let head_end = find(bytes, b"\r\n\r\n").ok_or("a part has no empty line after its head")?;
    let head = core::str::from_utf8(&bytes[..head_end]).map_err(|_| "the head of a part is not UTF-8")?;
    let line = |name: &str| {
        let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    let disposition = line("content-disposition").ok_or("a part has no content-disposition")?;
    let (kind, parameters) = disposition.split_once(';').ok_or("a content-disposition has no name")?;
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return Err("a content-disposition is not form-data");
    }
    Ok(Part {
        name: parameter(parameters, "name").ok_or("a content-disposition has no name")?,
        file_name: parameter(parameters, "filename"),
        content_type: line("content-type").map(str::to_owned),
        content: &bytes[head_end + 4..],
    })
}

/// The value of `name` among `; name=value; other="quoted"`.
fn parameter(parameters: &str, name: &str) -> Option<String> {
    let mut rest = parameters;
    loop {
        let (key, after) = rest.split_once('=')?;
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let (value, next) = after.split_once(';').unwrap_or((after, ""));
                (value.trim().to_owned(), next)
            }
        };
        if key.trim_matches([' ', '\t', ';']).eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = next;
    }
}

/// A text up to its closing quote, and what follows; a backslash takes the next character as it is.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let (mut text, mut characters) = (String::new(), quoted.char_indices());
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((text, &quoted[at + 1..])),
            '\\' => text.push(characters.next()?.1),
            _ => text.push(character),
        }
    }
    None
}

/// Where `wanted`, which begins with a carriage return, first stands.
fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        from += bytes.get(from..)?.iter().position(|byte| *byte == b'\r')?;
        if bytes[from..].starts_with(wanted) {
            return Some(from);
        }
        from += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FORM: &str = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n\
        --b\r\ncontent-type: audio/wav\r\ncontent-disposition: form-data; filename=\"a \\\"b\\\";.wav\"; name=file\r\n\r\n\
        \r\n--\r\n-\r\n--b--\r\n";

    #[test]
    fn a_boundary_has_seventy_characters_at_most() {
        let read = |length: usize| boundary(&format!("multipart/form-data; boundary={}", "b".repeat(length)));
        assert_eq!(read(70), Ok("b".repeat(70)));
        assert_eq!([read(0), read(71)].map(|read| read.is_err()), [true, true]);
    }

    #[test]
    fn a_form_is_taken_apart_whatever_the_order_of_its_lines() {
        let parts = parts("b", FORM.as_bytes()).expect("a form");
        assert_eq!(
            (parts[0].name.as_str(), parts[0].content, &parts[0].file_name),
            ("model", &b"whisper-1"[..], &None)
        );
        assert_eq!((parts[1].name.as_str(), parts[1].content), ("file", &b"\r\n--\r\n-"[..]));
        assert_eq!(parts[1].file_name.as_deref(), Some("a \"b\";.wav"));
        assert_eq!(parts[1].content_type.as_deref(), Some("audio/wav"));
    }

    #[test]
    fn a_form_that_is_cut_or_damaged_says_where() {
        for cut in 0..FORM.len() - 2 {
            assert!(parts("b", &FORM.as_bytes()[..cut]).is_err(), "{cut}");
        }
        for (body, error) in [
            ("x--b--", "the body does not begin with the boundary"),
            ("--b--x", "something follows the last boundary"),
            ("--bx--", "a boundary is not followed by a line end"),
            ("--b\r\nno head\r\n--b--", "a part has no empty line after its head"),
            ("--b\r\na: b\r\n\r\n\r\n--b--", "a part has no content-disposition"),
            ("--b\r\ncontent-disposition: form-data\r\n\r\n\r\n--b--", "a content-disposition has no name"),
            ("--b\r\ncontent-disposition: file; name=a\r\n\r\n\r\n--b--", "a content-disposition is not form-data"),
        ] {
            assert_eq!(parts("b", body.as_bytes()), Err(error), "{body}");
        }
    }

    #[test]
    fn a_form_has_only_so_many_parts() {
        let part = "--b\r\ncontent-disposition: form-data; name=a\r\n\r\n\r\n";
        let form = |count: usize| format!("{}--b--", part.repeat(count));
        let most = limits::FAR_END_FORM_PARTS_MAX;
        assert_eq!(parts("b", form(most).as_bytes()).map(|parts| parts.len()), Ok(most));
        assert_eq!(parts("b", form(most + 1).as_bytes()), Err("the form has too many parts"));
    }

    #[test]
    fn a_boundary_is_read_from_the_content_type() {
        assert_eq!(boundary("multipart/form-data; boundary=abc"), Ok("abc".to_owned()));
        assert_eq!(boundary("Multipart/Form-Data; charset=utf-8; boundary=\"a;b\""), Ok("a;b".to_owned()));
        let long = format!("multipart/form-data; boundary={}", "x".repeat(71));
        for wrong in ["application/json", "multipart/form-data", "multipart/form-data; boundary=", &long] {
            assert!(boundary(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_survived(body in proptest::collection::vec(prop_oneof![
            Just(b"--b".to_vec()), Just(b"\r\n".to_vec()), Just(b"content-disposition: form-data; name=\"".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..8),
        ], 0..30)) {
            let body = [&b"--b\r\n"[..], &body.concat()].concat();
            if let Ok(parts) = parts("b", &body) {
                prop_assert!(parts.iter().all(|part| part.content.len() < body.len()));
            }
        }

        #[test]
        fn any_content_comes_out_as_it_went_in(content in proptest::collection::vec(any::<u8>(), 0..200)) {
            let head = b"--a long boundary\r\ncontent-disposition: form-data; name=\"file\"\r\n\r\n";
            let body = [&head[..], &content, b"\r\n--a long boundary--\r\n"].concat();
            let parts = parts("a long boundary", &body).expect("a form");
            prop_assert_eq!(parts[0].content, &content[..]);
        }
    }
}
