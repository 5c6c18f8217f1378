//! A stream that is read by a thread of its own, so that unpacking goes on while rows are looked at.

use std::io::{self, Read};
use std::sync::mpsc::sync_channel;
use std::thread;

/// The blocks of a stream in order, each of at most `size` bytes; an error ends them. They are cut
/// behind line feeds, which are mostly ends of rows.
pub(super) fn blocks(
    mut stream: Box<dyn Read + Send>,
    size: usize,
) -> impl Iterator<Item = io::Result<Vec<u8>>> {
    /// Blocks that wait to be looked at.
    const WAITING: usize = 2;
    let (send, receive) = sync_channel(WAITING);
    thread::spawn(move || {
        let mut rest = Vec::new();
        loop {
            let mut block = Vec::with_capacity(size);
            block.append(&mut rest);
            let space = size - block.len();
            let read = stream.by_ref().take(space as u64).read_to_end(&mut block);
            let is_last = !matches!(read, Ok(1..));
            let sent = match read {
                Ok(0) if block.is_empty() => return,
                Ok(0) => send.send(Ok(block)),
                Ok(_) => {
                    if let Some(end) = memchr::memrchr(b'\n', &block) {
                        rest = block.split_off(end + 1);
                    }
                    send.send(Ok(block))
                }
                Err(error) => send.send(Err(error)),
            };
            // Nobody may want the rest.
            if is_last || sent.is_err() {
                return;
            }
        }
    });
    receive.into_iter()
}
