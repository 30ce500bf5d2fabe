//! Reads TwiML as strictly as Twilio's error dictionary describes it: a declaration before anything else (12100), the
//! root `<Response>` (12102), and a warning (12200) for every verb, noun or attribute that is not in the documentation.

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

/// One verb of a document, with its defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `<Play>`.
    Play {
        /// What is played.
        url: String,
        /// How often; 0 for ever.
        times: u32,
    },
    /// `<Say>`.
    Say {
        /// What is said.
        text: String,
        /// By whom.
        voice: Option<String>,
        /// In which language.
        language: Option<String>,
        /// How often; 0 for ever.
        times: u32,
    },
    /// `<Connect>` around a `<Stream>`.
    Connect {
        /// What is asked when the stream is over.
        action: Option<String>,
        /// How.
        method: String,
        /// The stream.
        stream: Box<StreamNoun>,
    },
    /// `<Record>`.
    Record(Box<RecordVerb>),
    /// `<Redirect>`.
    Redirect {
        /// Where the next document is.
        url: String,
        /// How it is asked for.
        method: String,
    },
    /// `<Pause>`, in seconds.
    Pause {
        /// How long.
        length: u32,
    },
    /// `<Hangup>`.
    Hangup,
    /// `<Reject>`.
    Reject,
}

/// `<Stream>` with its parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of Twilio's attributes")]
pub struct StreamNoun {
    pub url: String,
    pub name: Option<String>,
    pub track: Option<String>,
    pub status_callback: Option<String>,
    pub status_callback_method: Option<String>,
    pub parameters: Vec<(String, String)>,
}

/// `<Record>` with the documented defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of Twilio's attributes")]
pub struct RecordVerb {
    pub action: Option<String>,
    pub method: String,
    pub timeout: u32,
    pub max_length: u32,
    pub beep: bool,
    pub trim: bool,
    pub callback: Option<String>,
    pub callback_method: String,
    pub events: Vec<String>,
}

/// Something Twilio's debugger would show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Twilio's number for it.
    pub code: u32,
    /// In words.
    pub text: String,
}

impl Fault {
    pub(super) fn new(code: u32, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

/// A document that can be executed, and what Twilio would warn about.
#[derive(Debug, Default)]
pub struct Document {
    /// What is executed, in order.
    pub verbs: Vec<Verb>,
    /// What is not in Twilio's documentation, and ignored.
    pub warnings: Vec<Fault>,
}

/// An element with its attributes, text and children; TwiML is never deeper than four levels.
#[derive(Debug, Default)]
struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    text: String,
    children: Vec<Element>,
}

/// Reads a document.
///
/// # Errors
/// Why Twilio would not execute it.
pub fn read(text: &str) -> Result<Document, Fault> {
    let root = tree(text)?;
    if root.name != "Response" {
        return Err(Fault::new(12102, format!("the root element is <{}>, not <Response>", root.name)));
    }
    let mut document = Document::default();
    let warn = &mut document.warnings;
    for (name, _) in &root.attributes {
        warn.push(Fault::new(12200, format!("<Response> has no attribute {name}")));
    }
    stray_text(&root, warn);
    for element in root.children {
        document.verbs.extend(verb(element, warn));
    }
    Ok(document)
}

fn malformed(cause: impl core::fmt::Display) -> Fault {
    Fault::new(12100, format!("the document cannot be parsed: {cause}"))
}

fn tree(text: &str) -> Result<Element, Fault> {
    if !text.starts_with("<?xml ") {
        return Err(malformed("it does not begin with an XML declaration"));
    }
    let mut reader = Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    reader.config_mut().check_comments = true;
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    loop {
        match reader.read_event().map_err(malformed)? {
            Event::Decl(declaration) => {
                if open.len() + usize::from(root.is_some()) > 0 {
                    return Err(malformed("a second XML declaration"));
                }
                if &*declaration.version().map_err(malformed)? != "1.0" {
                    return Err(Fault::new(12101, "the XML version is not 1.0"));
                }
            }
            Event::Start(start) => {
                if root.is_some() {
                    return Err(malformed("a second root element"));
                }
                open.push(element(&start)?);
            }
            Event::End(_) => {
                let done = open.pop().ok_or_else(|| malformed("an end tag too many"))?;
                match open.last_mut() {
                    Some(parent) => parent.children.push(done),
                    None => root = Some(done),
                }
            }
            Event::Text(part) => append(&mut open, &part.xml10_content())?,
            Event::CData(part) => append(&mut open, &part.xml10_content())?,
            Event::GeneralRef(reference) => {
                let character = match reference.resolve_char_ref().map_err(malformed)? {
                    Some(character) => character,
                    None => named(&reference.xml10_content())?,
                };
                append(&mut open, character.encode_utf8(&mut [0; 4]))?;
            }
            Event::Comment(_) => {}
            Event::Empty(_) | Event::PI(_) | Event::DocType(_) => {
                return Err(malformed("processing instructions and document types are not TwiML"));
            }
            Event::Eof => break,
        }
    }
    match root {
        Some(root) if open.is_empty() => Ok(root),
        Some(_) | None => Err(malformed("it ends before its root element does")),
    }
}

fn named(entity: &str) -> Result<char, Fault> {
    match entity {
        "amp" => Ok('&'),
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "apos" => Ok('\''),
        "quot" => Ok('"'),
        other => Err(malformed(format_args!("unknown entity &{other};"))),
    }
}

fn append(open: &mut [Element], text: &str) -> Result<(), Fault> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim().is_empty() => {}
        None => return Err(malformed("text outside the root element")),
    }
    Ok(())
}

fn element(start: &BytesStart<'_>) -> Result<Element, Fault> {
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(malformed)?;
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(malformed)?;
        attributes.push((attribute.key.as_ref().to_owned(), value.into_owned()));
    }
    Ok(Element { name: start.name().as_ref().to_owned(), attributes, ..Element::default() })
}

fn stray_text(element: &Element, warn: &mut Vec<Fault>) {
    if !element.text.trim().is_empty() {
        warn.push(Fault::new(12200, format!("<{}> takes no text", element.name)));
    }
}

/// Takes known attributes out of an element; what is left at the end is warned about.
struct Attributes<'a> {
    element: Element,
    warn: &'a mut Vec<Fault>,
}

impl Attributes<'_> {
    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.element.attributes.iter().position(|(key, _)| key == name)?;
        Some(self.element.attributes.swap_remove(at).1)
    }

    /// A value out of a list, or the default with a warning.
    fn choice(&mut self, name: &str, choices: &[&str], code: u32) -> String {
        let default = choices[0].to_owned();
        let Some(value) = self.take(name) else { return default };
        if choices.contains(&value.as_str()) {
            return value;
        }
        self.warn.push(Fault::new(code, format!("{name}=\"{value}\" is not one of {choices:?}")));
        default
    }

    /// A whole number, or the default with a warning.
    fn number(&mut self, name: &str, default: u32, code: u32) -> u32 {
        let Some(value) = self.take(name) else { return default };
        value.parse().unwrap_or_else(|_| {
            self.warn.push(Fault::new(code, format!("{name}=\"{value}\" is not a number")));
            default
        })
    }

    fn times(&mut self, code: u32) -> u32 {
        match self.number("loop", 1, code) {
            0 => 1_000,
            times => times.min(1_000),
        }
    }

    /// Warns about everything that was not taken.
    fn finish(self, takes_text: bool) {
        for (name, _) in &self.element.attributes {
            self.warn.push(Fault::new(12200, format!("<{}> has no attribute {name}", self.element.name)));
        }
        if !takes_text {
            stray_text(&self.element, self.warn);
        }
        for child in &self.element.children {
            let (parent, child) = (&self.element.name, &child.name);
            self.warn.push(Fault::new(12200, format!("<{parent}> holds no <{child}>")));
        }
    }
}

fn verb(element: Element, warn: &mut Vec<Fault>) -> Option<Verb> {
    let text = element.text.trim().to_owned();
    let mut attributes = Attributes { element, warn };
    let (verb, takes_text) = match attributes.element.name.as_str() {
        "Play" => {
            attributes.take("digits");
            (Verb::Play { url: text, times: attributes.times(13410) }, true)
        }
        "Say" => {
            let (voice, language) = (attributes.take("voice"), attributes.take("language"));
            (Verb::Say { text, voice, language, times: attributes.times(13510) }, true)
        }
        "Redirect" => {
            let method = attributes.choice("method", &["POST", "GET"], 13710);
            (Verb::Redirect { url: text, method }, true)
        }
        "Pause" => (Verb::Pause { length: attributes.number("length", 1, 13910) }, false),
        "Hangup" => (Verb::Hangup, false),
        "Reject" => {
            attributes.choice("reason", &["rejected", "busy"], 12200);
            (Verb::Reject, false)
        }
        "Record" => (Verb::Record(Box::new(record(&mut attributes))), false),
        "Connect" => (connect(&mut attributes)?, false),
        other => {
            let text = format!("<{other}> is not a verb");
            attributes.warn.push(Fault::new(12200, text));
            return None;
        }
    };
    attributes.finish(takes_text);
    Some(verb)
}

fn record(attributes: &mut Attributes<'_>) -> RecordVerb {
    attributes.take("finishOnKey");
    let events = attributes.take("recordingStatusCallbackEvent").unwrap_or_else(|| "completed".to_owned());
    let events: Vec<String> = events.split_ascii_whitespace().map(str::to_owned).collect();
    if let Some(unknown) = events.iter().find(|event| !["in-progress", "completed", "absent"].contains(&event.as_str()))
    {
        attributes.warn.push(Fault::new(12200, format!("<Record> has no recording event {unknown}")));
    }
    RecordVerb {
        action: attributes.take("action"),
        method: attributes.choice("method", &["POST", "GET"], 13610),
        timeout: attributes.number("timeout", 5, 13611),
        max_length: attributes.number("maxLength", 3_600, 13612),
        beep: attributes.choice("playBeep", &["true", "false"], 12200) == "true",
        trim: attributes.choice("trim", &["trim-silence", "do-not-trim"], 13699) == "trim-silence",
        callback: attributes.take("recordingStatusCallback"),
        callback_method: attributes.choice("recordingStatusCallbackMethod", &["POST", "GET"], 12200),
        events,
    }
}

fn connect(attributes: &mut Attributes<'_>) -> Option<Verb> {
    let action = attributes.take("action");
    let method = attributes.choice("method", &["POST", "GET"], 12200);
    let nouns = core::mem::take(&mut attributes.element.children);
    let mut streams: Vec<StreamNoun> = Vec::new();
    for noun in nouns {
        if noun.name == "Stream" {
            streams.push(stream(noun, attributes.warn));
        } else {
            attributes.warn.push(Fault::new(12200, format!("<Connect> holds no <{}>", noun.name)));
        }
    }
    if streams.len() > 1 {
        attributes.warn.push(Fault::new(12200, "<Connect> holds one <Stream>"));
    }
    let stream = Box::new(streams.into_iter().next()?);
    Some(Verb::Connect { action, method, stream })
}

fn stream(element: Element, warn: &mut Vec<Fault>) -> StreamNoun {
    let mut attributes = Attributes { element, warn };
    let mut stream = StreamNoun {
        url: attributes.take("url").unwrap_or_default(),
        name: attributes.take("name"),
        track: attributes.take("track"),
        status_callback: attributes.take("statusCallback"),
        status_callback_method: attributes.take("statusCallbackMethod"),
        parameters: Vec::new(),
    };
    for child in core::mem::take(&mut attributes.element.children) {
        if child.name != "Parameter" {
            attributes.warn.push(Fault::new(12200, format!("<Stream> holds no <{}>", child.name)));
            continue;
        }
        let mut parameter = Attributes { element: child, warn: attributes.warn };
        let (name, value) = (parameter.take("name"), parameter.take("value"));
        parameter.finish(false);
        match (name, value) {
            (Some(name), Some(value)) if name.chars().count() + value.chars().count() < 500 => {
                stream.parameters.push((name, value));
            }
            (Some(name), Some(_)) => {
                attributes.warn.push(Fault::new(12200, format!("<Parameter> {name} is not under 500 characters")));
            }
            (None, _) | (_, None) => attributes.warn.push(Fault::new(12200, "<Parameter> lacks its name or value")),
        }
    }
    attributes.finish(false);
    stream
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(inner: &str) -> String {
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response>{inner}</Response>")
    }

    fn warnings(inner: &str) -> Vec<u32> {
        read(&document(inner)).expect("parses").warnings.iter().map(|fault| fault.code).collect()
    }

    #[test]
    fn nothing_may_stand_before_the_declaration() {
        for (text, code) in [
            ("<Response/>", 12100),
            ("\n<?xml version=\"1.0\"?><Response/>", 12100),
            ("\u{feff}<?xml version=\"1.0\"?><Response/>", 12100),
            ("<?xml version=\"1.1\"?><Response/>", 12101),
            ("<?xml version=\"1.0\"?><response/>", 12102),
            ("<?xml version=\"1.0\"?><Response>", 12100),
            ("<?xml version=\"1.0\"?><Response/><Response/>", 12100),
            ("<?xml version=\"1.0\"?><Response>&nbsp;</Response>", 12100),
            ("<?xml version=\"1.0\"?><Response><Play>a</Say></Response>", 12100),
            ("<?xml version=\"1.0\"?>", 12100),
        ] {
            assert_eq!(read(text).expect_err(text).code, code, "{text}");
        }
        assert_eq!(read("<?xml version=\"1.0\"?><!-- empty --><Response/>").expect("valid").verbs, []);
    }

    #[test]
    fn what_the_documentation_does_not_name_is_warned_about_and_skipped() {
        assert!(warnings("<Play>https://h/a.mp3</Play><Hangup/>").is_empty());
        assert_eq!(warnings("<play>https://h/a.mp3</play>"), [12200]);
        assert_eq!(warnings("<Connect record=\"true\"><Stream url=\"wss://h/\"/></Connect>"), [12200]);
        assert_eq!(warnings("<Record playBeep=\"yes\" trim=\"all\" timeout=\"ten\"/>"), [13611, 12200, 13699]);
        assert_eq!(warnings("<Pause length=\"-1\"/>"), [13910]);
        assert_eq!(warnings("text<Hangup>more</Hangup>"), [12200, 12200]);
        let long = "x".repeat(497);
        let stream =
            format!("<Connect><Stream url=\"wss://h/\"><Parameter name=\"abc\" value=\"{long}\"/></Stream></Connect>");
        assert_eq!(warnings(&stream), [12200]);
    }

    #[test]
    fn a_parameter_is_measured_in_characters_and_not_in_bytes() {
        for (letters, expected) in [(499, &[][..]), (500, &[12200])] {
            let value = "ש".repeat(letters - "name".len());
            let stream = format!("<Stream url=\"wss://h/\"><Parameter name=\"name\" value=\"{value}\"/></Stream>");
            assert_eq!(warnings(&format!("<Connect>{stream}</Connect>")), expected, "{letters} letters");
        }
    }

    #[test]
    fn hebrew_and_entities_arrive_as_written() {
        let text =
            document("<Say language=\"he-IL\" voice=\"Google.he-IL-Wavenet-A\">שלום &amp; ברוכים &#x5D4;באים</Say>");
        let Verb::Say { text, .. } = read(&text).expect("valid").verbs.remove(0) else { panic!("a <Say>") };
        assert_eq!(text, "שלום & ברוכים הבאים");
    }

    #[test]
    fn record_has_the_documented_defaults() {
        let Verb::Record(record) = read(&document("<Record/>")).expect("valid").verbs.remove(0) else {
            panic!("a <Record>")
        };
        assert_eq!((record.timeout, record.max_length, record.beep, record.trim), (5, 3_600, true, true));
        assert_eq!((record.method.as_str(), record.events.join(" ").as_str()), ("POST", "completed"));
    }
}
