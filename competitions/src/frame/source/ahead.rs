//! A stream that is read by a thread of its own, so that unpacking goes on while rows are looked at.

use std::io::{self, Read};
use std::sync::mpsc::sync_channel;
use std::thread;

/// The blocks of a stream in order, each of `size` bytes but the last; an error ends them.
pub(super) fn blocks(
    mut stream: Box<dyn Read + Send>,
    size: usize,
) -> impl Iterator<Item = io::Result<Vec<u8>>> {
    /// Blocks that wait to be looked at.
    const WAITING: usize = 2;
    let (send, receive) = sync_channel(WAITING);
    thread::spawn(move || {
        loop {
            let mut block = Vec::with_capacity(size);
            let read = stream.by_ref().take(size as u64).read_to_end(&mut block);
            let is_last = read.as_ref().map_or(true, |read| *read == 0);
            let block = read.map(|_| block);
            // Nobody may want the rest.
            if is_last && block.is_ok() || send.send(block).is_err() || is_last {
                return;
            }
        }
    });
    receive.into_iter()
}
