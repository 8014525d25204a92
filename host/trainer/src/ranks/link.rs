//! What carries numbers between ranks.

/// Words of one rank at a meeting.
pub(super) const HEADER_WORDS: usize = 8;
pub type Header = [u64; HEADER_WORDS];

/// All ranks call the same methods in the same order. A link that breaks ends the
/// process: there is no run without it.
pub trait Link {
    /// Counts from 0.
    fn rank(&self) -> usize;

    fn size(&self) -> usize;

    /// What each rank says, in order of the ranks, to all of them. Ranks may come long
    /// before the last one does, so waiting here must leave the processor to others.
    fn exchange(&self, words: Header) -> Vec<Header>;

    /// What rank `from` holds, to all of them; the buffers have the same length.
    fn broadcast(&self, from: usize, bytes: &mut [u8]);

    /// What all ranks hold, in order of the ranks, at rank 0; nothing elsewhere.
    /// `counts` has the number of values of each.
    fn gather(&self, values: &[f32], counts: &[usize]) -> Vec<f32>;

    /// Adds up value by value, always in the same order: every rank, and every run with
    /// as many ranks, gets the same bits.
    fn sum(&self, values: &mut [f32]);

    /// Ends all ranks at once.
    fn abort(&self);
}
