//! The two clocks of this process, read together.

use callwarden_core::time::{Instant, Now, UnixMillis};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Reads time for the machines. All machines of one server share one clock, so that their instants compare.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    /// A clock whose origin is this moment.
    #[must_use]
    pub fn start() -> Self {
        Self { origin: std::time::Instant::now() }
    }

    /// Both clocks now. To be read after every wait: a deadline is never passed off as the present.
    #[must_use]
    pub fn now(&self) -> Now {
        let unix = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis),
        };
        Now { mono: self.mono(), unix: UnixMillis(unix) }
    }

    /// The monotonic clock alone, for a socket's task.
    #[must_use]
    pub fn mono(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// What a timer must be set to; `None` for an instant beyond this machine's clock, which is never reached.
    #[must_use]
    pub fn deadline(&self, at: Instant) -> Option<tokio::time::Instant> {
        self.origin.checked_add(Duration::from_micros(at.as_micros())).map(Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_the_same_moment_on_both_sides() {
        let clock = Clock::start();
        let soon = clock.mono() + Duration::from_secs(3);
        let deadline = clock.deadline(soon).expect("within the clock");
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        assert!(left <= Duration::from_secs(3));
        // Both sides are cut to whole microseconds.
        let cut = Duration::from_micros(2);
        assert!(left + clock.mono().since(Instant::default()) + cut >= Duration::from_secs(3));
    }

    #[test]
    fn the_end_of_the_clock_is_no_deadline_that_comes() {
        let clock = Clock::start();
        // Whether the system's clock reaches that far is its own affair; asking must not panic.
        let end = clock.deadline(Instant::from_micros(u64::MAX));
        assert!(end.is_none_or(|end| end > tokio::time::Instant::now() + Duration::from_secs(1 << 32)));
    }

    #[test]
    fn the_unix_clock_counts_milliseconds_since_1970() {
        let (year_2020, year_2200) = (UnixMillis(1_577_836_800_000), UnixMillis(7_258_118_400_000));
        assert!((year_2020..year_2200).contains(&Clock::start().now().unix));
    }
}
