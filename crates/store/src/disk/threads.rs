//! Blocking reads by a pool of threads: works everywhere, for a drive almost as well as `uring`.
//!
//! A thread takes a whole fill, so as many experts are in flight as there are threads. The threads sleep in the
//! kernel nearly always; they do not compete with those that compute.

use std::fs::File;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::files::DataFile;
use super::pieces::{Piece, Progress, pieces};
use super::{Disk, Fill, Filled};
use crate::Error;

/// How many fills are read at a time: what a solid-state drive needs to be busy.
const THREADS: usize = 16;

/// The pool. Its threads end when it is dropped, each after the fill it is at.
pub(crate) struct Threads {
    fills: Sender<Fill>,
    filled: Receiver<Filled>,
}

impl Threads {
    pub(crate) fn start(files: &Arc<[DataFile]>) -> Self {
        let (fills, queue) = channel::<Fill>();
        let (done, filled) = channel();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..THREADS {
            let (files, queue, done) = (Arc::clone(files), Arc::clone(&queue), done.clone());
            std::thread::spawn(move || {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(fill) = next else { return };
                    if done.send(read(&files, fill)).is_err() {
                        return;
                    }
                }
            });
        }
        Self { fills, filled }
    }
}

impl Disk for Threads {
    fn submit(&mut self, fill: Fill) {
        self.fills.send(fill).expect("the threads live as long as this");
    }

    fn wait(&mut self, at_most: Duration) -> Option<Filled> {
        self.filled.recv_timeout(at_most).ok()
    }

    fn name(&self) -> &'static str {
        "threads"
    }
}

fn read(files: &[DataFile], fill: Fill) -> Filled {
    let Fill { ticket, extents, mut buf } = fill;
    let memory = buf.as_mut_slice();
    let result = pieces(&extents, memory.len())
        .iter()
        .try_for_each(|piece| read_piece(&files[piece.source_idx], piece, memory));
    Filled { ticket, buf, result }
}

fn read_piece(data: &DataFile, piece: &Piece, memory: &mut [u8]) -> Result<(), Error> {
    let mut piece = *piece;
    loop {
        let out = &mut memory[piece.at..][..piece.len];
        match data.file.as_ref().map_or(Ok(0), |file| read_at(file, out, piece.offset)) {
            Ok(bytes) => match piece.after(bytes) {
                Progress::Done => return Ok(()),
                Progress::Left(left) => piece = left,
                Progress::Ended => return Err(data.ended(&piece, bytes)),
            },
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(data.failed(&piece, error)),
        }
    }
}

#[cfg(unix)]
fn read_at(file: &File, out: &mut [u8], offset: u64) -> std::io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, out, offset)
}

#[cfg(windows)]
fn read_at(file: &File, out: &mut [u8], offset: u64) -> std::io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, out, offset)
}
