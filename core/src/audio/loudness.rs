//! Two questions about a run of loudnesses: where it is quietest, and whether there is anything in it (T1, T2, T6).

use crate::limits;

/// Where to cut: between the pieces of sound of these loudnesses, at the place with the least sound in the `reach`
/// pieces before and after it. The number of pieces before the cut; of equal places the last. `None` when there are
/// fewer than twice `reach` pieces.
#[must_use]
pub(crate) fn quietest(loudness: &[u32], reach: usize) -> Option<usize> {
    let around = |pieces: &[u32]| pieces.iter().copied().map(u64::from).sum::<u64>();
    let (place, _) = loudness
        .windows((2 * reach).max(1))
        .map(around)
        .enumerate()
        .reduce(|best, place| if place.1 <= best.1 { place } else { best })?;
    Some(place + reach)
}

/// Whether sound of these loudnesses, one for each 20 ms, never stays at this loudness for as long as a syllable lasts
/// (T6).
#[must_use]
pub(crate) fn is_quieter(frames: impl IntoIterator<Item = u32>, than: u32) -> bool {
    let mut loud_in_a_row = 0;
    frames.into_iter().all(|loudness| {
        loud_in_a_row = if loudness >= than { loud_in_a_row + 1 } else { 0 };
        loud_in_a_row < limits::SPEECH_FRAMES_MIN
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quietest_place_has_the_least_sound_on_both_sides() {
        assert_eq!(quietest(&[9, 9, 1, 2, 9, 0, 9, 9], 1), Some(3), "a lone quiet piece is no pause");
        assert_eq!(quietest(&[0, 0, 5, 0, 0, 5], 1), Some(4), "of equal places the last");
        assert_eq!(quietest(&[u32::MAX; 4], 2), Some(2));
    }

    #[test]
    fn too_little_sound_has_no_quietest_place() {
        assert_eq!((quietest(&[1, 1, 1], 2), quietest(&[], 1)), (None, None));
    }

    #[test]
    fn clicks_are_near_silent_and_a_soft_syllable_is_not() {
        let (soft, click) = (limits::NEAR_SILENT_MEAN_SQUARE, u32::MAX);
        assert!(is_quieter([], soft));
        assert!(is_quieter([soft - 1; 50], soft));
        assert!(is_quieter([click, click, click, click, 0, click, click, click, click], soft));
        assert!(!is_quieter([0, soft, soft, soft, soft, soft, 0], soft));
    }
}
