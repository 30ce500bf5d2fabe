//! The phases of a call and every way from one to the next.
//!
//! ```text
//! announced --start--> streaming
//! announced --lost--> between
//! announced --recording--> recording
//! announced --over--> ended
//! streaming --start--> streaming
//! streaming --lost--> between
//! streaming --recording--> recording
//! streaming --over--> ended
//! between --start--> streaming
//! between --lost--> between
//! between --recording--> recording
//! between --over--> ended
//! recording --lost--> recording
//! recording --recording--> recording
//! recording --over--> ended
//! ```
//!
//! What is not listed does not happen: nothing leaves `ended`, and a call that is being recorded takes no stream
//! (W6). A test holds this list against [`Phase::after`].

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// TwiML asked for a stream; none has started.
    Announced,
    /// A stream has started and its socket is open.
    Streaming,
    /// The stream went away and the call is not known to be over.
    Between,
    /// The caller is being recorded, or was given the document that does it.
    Recording,
    /// Over.
    Ended,
}

/// What moves a call from one phase to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A `start` was accepted.
    Start,
    /// The stream ended, by `stop`, close or loss, or will never come.
    Lost,
    /// A recording is confirmed: the document was answered, the update accepted, or a recording called back (W5).
    Recording,
    /// The call is over (W6).
    Over,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Self; 5] = [Self::Announced, Self::Streaming, Self::Between, Self::Recording, Self::Ended];

    /// The phase after `cause`, or `None` where it changes nothing and must not happen.
    #[must_use]
    pub const fn after(self, cause: Cause) -> Option<Self> {
        match (self, cause) {
            (Self::Announced | Self::Streaming | Self::Between, Cause::Start) => Some(Self::Streaming),
            (Self::Announced | Self::Streaming | Self::Between, Cause::Lost) => Some(Self::Between),
            (Self::Announced | Self::Streaming | Self::Between | Self::Recording, Cause::Recording)
            | (Self::Recording, Cause::Lost) => Some(Self::Recording),
            (Self::Announced | Self::Streaming | Self::Between | Self::Recording, Cause::Over) => Some(Self::Ended),
            (Self::Recording, Cause::Start) | (Self::Ended, _) => None,
        }
    }

    /// The name in the diagram.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::Streaming => "streaming",
            Self::Between => "between",
            Self::Recording => "recording",
            Self::Ended => "ended",
        }
    }
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 4] = [Self::Start, Self::Lost, Self::Recording, Self::Over];

    /// The name in the diagram.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Lost => "lost",
            Self::Recording => "recording",
            Self::Over => "over",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_diagram_lists_exactly_the_transitions_of_the_table() {
        let drawn: Vec<&str> = include_str!("phase.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("//! "))
            .filter(|line| line.contains("--> "))
            .collect();
        let table: Vec<String> = Phase::ALL
            .into_iter()
            .flat_map(|from| Cause::ALL.into_iter().map(move |cause| (from, cause)))
            .filter_map(|(from, cause)| {
                from.after(cause).map(|to| format!("{} --{}--> {}", from.as_str(), cause.as_str(), to.as_str()))
            })
            .collect();
        assert_eq!(drawn, table);
    }
}
