//! Faults on purpose: a checker that was never seen to fail proves nothing.

use clap::ValueEnum;

/// What is done to one frame in every [`EVERY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Break {
    /// It is not sent.
    Drop,
    /// It is sent twice.
    Duplicate,
    /// It is sent after the next one.
    Reorder,
    /// A byte of its payload changes.
    Corrupt,
    /// It says that it is from another channel.
    Misroute,
    /// Frames that do not fit a queue are dropped as ever, but nobody is told.
    SilentGap,
}

/// Prime to the sampling of the generator's payload check, so that a sampled frame is met too.
const EVERY: u64 = 101;

pub(super) struct Sabotage {
    fault: Option<Break>,
    frames: u64,
    held: Vec<u8>,
}

impl Sabotage {
    pub(super) fn new(fault: Option<Break>) -> Self {
        Self { fault, frames: 0, held: Vec::new() }
    }

    pub(super) fn is(&self, fault: Break) -> bool {
        self.fault == Some(fault)
    }

    /// `frames[start..]` is the frame that was just built.
    #[inline]
    pub(super) fn spoil(&mut self, frames: &mut Vec<u8>, start: usize) {
        if let Some(fault) = self.fault {
            self.apply(fault, frames, start);
        }
    }

    #[cold]
    fn apply(&mut self, fault: Break, frames: &mut Vec<u8>, start: usize) {
        self.frames += 1;
        if !self.held.is_empty() {
            frames.append(&mut self.held);
            return;
        }
        if !self.frames.is_multiple_of(EVERY) {
            return;
        }
        let marker = memchr::memmem::find(&frames[start..], &crate::payload::MARKER);
        match (fault, marker) {
            (Break::Drop, _) => frames.truncate(start),
            (Break::Duplicate, _) => frames.extend_from_within(start..),
            (Break::Reorder, _) => self.held = frames.split_off(start),
            (Break::Corrupt, Some(at)) => frames[start + at + crate::payload::STAMP_LEN] ^= 1,
            // The last digit of the channel's number.
            (Break::Misroute, Some(at)) => frames[start + at + 15] ^= 1,
            _ => {}
        }
    }
}
