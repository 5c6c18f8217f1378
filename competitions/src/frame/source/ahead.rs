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
            let sent = match stream.by_ref().take(size as u64).read_to_end(&mut block) {
                Ok(0) => return,
                Ok(_) => send.send(Ok(block)),
                Err(error) => {
                    // Nobody may want to know.
                    let _ = send.send(Err(error));
                    return;
                }
            };
            // Nobody may want the rest.
            if sent.is_err() {
                return;
            }
        }
    });
    receive.into_iter()
}
