//! Looks for a provider's key in what goes to an agent.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;

/// Keys shorter than this are words that answers may hold by chance.
const SHORTEST: usize = 12;

/// The forms of one key to look for.
#[derive(Debug)]
pub struct Needles {
    finders: Vec<Finder<'static>>,
    longest: usize,
}

impl Needles {
    /// The key itself and what base64 makes of it at each offset; none of a key of fewer than 12
    /// characters.
    pub fn new(key: &str) -> Self {
        let mut forms = Vec::new();
        if key.len() >= SHORTEST {
            forms.push(key.as_bytes().to_vec());
            for offset in 0..3 {
                let padded = [&[0u8; 3][..offset], key.as_bytes()].concat();
                let text = STANDARD_NO_PAD.encode(&padded);
                // The first and last letters depend on what stands beside the key.
                let start = [0, 2, 3][offset];
                let end = text.len() - usize::from(padded.len() % 3 != 0);
                forms.push(text.as_bytes()[start..end].to_vec());
            }
        }
        let longest = forms.iter().map(Vec::len).max().unwrap_or(0);
        Self { finders: forms.iter().map(|f| Finder::new(f).into_owned()).collect(), longest }
    }

    /// Whether the key is in a whole text.
    pub fn found_in(&self, text: &[u8]) -> bool {
        self.finders.iter().any(|f| f.find(text).is_some())
    }

    /// Bytes of the longest form; 0 if there is none.
    pub fn longest(&self) -> usize {
        self.longest
    }
}

/// Watches a stream; what may be the beginning of a key stays back until it is clear.
#[derive(Debug)]
pub(crate) struct Scrubber {
    needles: std::sync::Arc<Needles>,
    held: Bytes,
}

impl Scrubber {
    pub(crate) fn new(needles: std::sync::Arc<Needles>) -> Self {
        Self { needles, held: Bytes::new() }
    }

    /// What may pass; none once the key has been seen.
    pub(crate) fn next(&mut self, piece: Bytes) -> Option<Bytes> {
        if self.needles.finders.is_empty() {
            return Some(piece);
        }
        let mut text = if self.held.is_empty() {
            piece
        } else {
            let mut joined = BytesMut::with_capacity(self.held.len() + piece.len());
            joined.extend_from_slice(&self.held);
            joined.extend_from_slice(&piece);
            joined.freeze()
        };
        if self.needles.found_in(&text) {
            return None;
        }
        self.held = text.split_off(self.safe_end(&text));
        Some(text)
    }

    /// What was kept back, once nothing more comes.
    pub(crate) fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.held)
    }

    /// Where the first end of `text` starts that begins a form of the key.
    fn safe_end(&self, text: &[u8]) -> usize {
        let from = text.len().saturating_sub(self.needles.longest - 1);
        let begins = |start: &usize| {
            let end = &text[*start..];
            self.needles.finders.iter().any(|f| f.needle().starts_with(end))
        };
        (from..text.len()).find(begins).unwrap_or(text.len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "sk-test-0123456789abcdef";

    fn feed(text: &[u8], cuts: &[usize]) -> (Vec<u8>, bool) {
        let mut scrubber = Scrubber::new(Arc::new(Needles::new(KEY)));
        let (mut out, mut start) = (Vec::new(), 0);
        for end in cuts.iter().copied().chain([text.len()]) {
            let end = end.clamp(start, text.len());
            match scrubber.next(Bytes::copy_from_slice(&text[start..end])) {
                Some(passed) => out.extend(passed),
                None => return (out, true),
            }
            start = end;
        }
        out.extend(scrubber.rest());
        (out, false)
    }

    proptest! {
        #[test]
        fn a_key_never_passes_and_all_else_does(
            before in "[a-z \n-]{0,60}", after in "[a-z]{0,60}", mut cuts in prop::collection::vec(0..200usize, 0..8),
            form in 0..5usize,
        ) {
            cuts.sort_unstable();
            let key = match form {
                0 => KEY.to_owned(),
                4 => "sk-test-012345".to_owned(),
                offset => STANDARD_NO_PAD.encode(format!("{}{KEY}..", &"xyz"[..offset - 1])),
            };
            let text = format!("{before}{key}{after}");
            let (out, found) = feed(text.as_bytes(), &cuts);
            prop_assert_eq!(found, form != 4);
            if found {
                prop_assert!(!out.windows(8).any(|w| w == &KEY.as_bytes()[..8]) || before.contains(&KEY[..8]));
                prop_assert!(text.as_bytes().starts_with(&out));
            } else {
                prop_assert_eq!(out, text.into_bytes());
            }
        }
    }
}
