//! Time as the core sees it: two plain values that the runtime reads together and hands in.
//!
//! The core owns no clock. [`Instant`] orders deadlines and can be built from any number, so a test can start
//! anywhere; [`UnixMillis`] dates rows and tokens. Time that goes backwards is treated as time standing still
//! (invariant I4): each machine keeps the latest instant it has seen and clamps what it is given.

use core::fmt;
use core::time::Duration;

/// A point on a monotonic clock, in microseconds since an origin the runtime chooses (usually its start).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The instant `micros` microseconds after the origin.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// The instant `millis` milliseconds after the origin.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// Microseconds since the origin.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Time since `earlier`; zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl core::ops::Add<Duration> for Instant {
    type Output = Self;

    /// Saturates at the end of the clock (584,000 years).
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(rhs.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// Milliseconds since 1970-01-01 00:00 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct UnixMillis(pub i64);

impl core::ops::Add<Duration> for UnixMillis {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(rhs.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Both clocks, read by the runtime at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For deadlines.
    pub mono: Instant,
    /// For rows, tokens and log texts.
    pub unix: UnixMillis,
}

impl Now {
    /// This moment, or `floor`'s where a clock went backwards.
    #[must_use]
    pub fn not_before(self, floor: Self) -> Self {
        Self { mono: self.mono.max(floor.mono), unix: self.unix.max(floor.unix) }
    }
}

/// Tells a runtime when its one timer must be touched.
///
/// A timer that moves later is left alone: it fires early, the machine does nothing, and the next
/// [`Alarm::rearm`] sets it anew. So a stream of fifty frames a second that keeps pushing its deadline back
/// touches the timer about once per deadline, not once per frame.
#[derive(Debug, Default)]
pub struct Alarm {
    armed: Option<Instant>,
}

impl Alarm {
    /// The instant to set the timer to, or `None` when it may stay as it is.
    pub fn rearm(&mut self, next: Option<Instant>) -> Option<Instant> {
        let next = next?;
        if self.armed.is_some_and(|armed| armed <= next) {
            return None;
        }
        self.armed = Some(next);
        self.armed
    }

    /// The timer fired; it is armed no longer.
    pub fn fired(&mut self) {
        self.armed = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_touched_only_when_the_deadline_moves_earlier_or_it_fired() {
        let mut alarm = Alarm::default();
        assert_eq!(alarm.rearm(None), None);
        assert_eq!(alarm.rearm(Some(Instant::from_millis(10))), Some(Instant::from_millis(10)));
        assert_eq!(alarm.rearm(Some(Instant::from_millis(30))), None);
        assert_eq!(alarm.rearm(Some(Instant::from_millis(5))), Some(Instant::from_millis(5)));
        alarm.fired();
        assert_eq!(alarm.rearm(Some(Instant::from_millis(30))), Some(Instant::from_millis(30)));
    }

    #[test]
    fn sixty_seconds_of_frames_touch_the_timer_a_dozen_times() {
        let (mut alarm, mut touches, mut armed) = (Alarm::default(), 0, None::<Instant>);
        for frame in 0..3_000_u64 {
            let now = Instant::from_millis(frame * 20);
            if armed.is_some_and(|at| at <= now) {
                alarm.fired();
            }
            if let Some(at) = alarm.rearm(Some(now + Duration::from_secs(5))) {
                (touches, armed) = (touches + 1, Some(at));
            }
        }
        assert_eq!(touches, 12);
    }

    #[test]
    fn time_backwards_is_time_standing_still() {
        let floor = Now { mono: Instant::from_millis(7), unix: UnixMillis(100) };
        let back = Now { mono: Instant::from_millis(3), unix: UnixMillis(200) };
        assert_eq!(back.not_before(floor), Now { mono: Instant::from_millis(7), unix: UnixMillis(200) });
        assert_eq!(back.mono.since(floor.mono), Duration::ZERO);
    }
}
