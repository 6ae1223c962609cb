//! Many reads in flight from one thread, by Linux's io_uring.
//!
//! The thread sleeps in the kernel until a read ends or a fill arrives (a byte on a socket pair that the ring reads
//! as well). Every drive has its own queue: reads start in the order they were asked for, as long as no more than
//! [`IN_FLIGHT_BYTES`] are on their way to that drive. More makes no drive faster and delays whatever comes next.
//!
//! While the kernel writes into a buffer, the buffer lies in `reads.fills` and is neither touched nor dropped: not when
//! the disk is dropped (the thread then ends with its last read), not when the thread panics (the memory is leaked).

use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use io_uring::{IoUring, opcode, squeue, types};
use shoal_base::BlobBuf;

use super::files::DataFile;
use super::pieces::{Piece, Progress, pieces};
use super::{Disk, Fill, Filled};
use crate::Error;

/// Bytes on their way from one drive at most.
const IN_FLIGHT_BYTES: usize = 64 << 20;

/// Entries of the ring; no more reads are in flight, whatever the number of drives.
const ENTRIES: u32 = 256;

/// The completion that says that fills have arrived.
const WAKE: u64 = u64::MAX;

/// A ring and the thread that serves it.
pub(crate) struct Uring {
    fills: Sender<Fill>,
    filled: Receiver<Filled>,
    waker: UnixStream,
}

impl Uring {
    /// A ring that reads `files`; `None` where the system has none to give.
    pub(crate) fn start(files: Arc<[DataFile]>) -> Option<Self> {
        let ring = IoUring::new(ENTRIES).ok()?;
        let mut probe = io_uring::Probe::new();
        ring.submitter().register_probe(&mut probe).ok()?;
        if !probe.is_supported(opcode::Read::CODE) {
            return None;
        }
        let (waker, wakened) = UnixStream::pair().ok()?;
        // A full socket has woken the thread already, so a byte that does not fit may be lost.
        waker.set_nonblocking(true).ok()?;
        let (fills, inbox) = channel();
        let (done, filled) = channel();
        let mut server = Server::new(ring, files, inbox, done, wakened);
        std::thread::Builder::new().name("disk".to_owned()).spawn(move || server.serve()).ok()?;
        Some(Self { fills, filled, waker })
    }
}

impl Disk for Uring {
    fn submit(&mut self, fill: Fill) {
        self.fills.send(fill).expect("the thread lives as long as this");
        let _ = self.waker.write(&[0]);
    }

    fn wait(&mut self, at_most: Duration) -> Option<Filled> {
        self.filled.recv_timeout(at_most).ok()
    }

    fn name(&self) -> &'static str {
        "io_uring"
    }
}

/// A fill some of whose reads have not ended.
struct OpenFill {
    ticket: u64,
    buf: BlobBuf,
    reads_left: usize,
    result: Result<(), Error>,
}

/// A read that the kernel is at.
struct Read {
    fill: u64,
    piece: Piece,
    drive: u64,
}

#[derive(Default)]
struct Drive {
    waiting: VecDeque<(u64, Piece)>,
    in_flight_bytes: usize,
}

/// What the kernel may be writing to.
#[derive(Default)]
struct Reads {
    fills: HashMap<u64, OpenFill>,
    in_flight: HashMap<u64, Read>,
    /// Where the bytes of the socket go; nobody looks at them.
    wake_bytes: Vec<u8>,
}

struct Server {
    ring: IoUring,
    files: Arc<[DataFile]>,
    inbox: Receiver<Fill>,
    done: Sender<Filled>,
    wakened: UnixStream,
    /// Never dropped with reads in flight.
    reads: ManuallyDrop<Reads>,
    drives: HashMap<u64, Drive>,
    next_id: u64,
    is_open: bool,
}

impl Server {
    fn new(
        ring: IoUring,
        files: Arc<[DataFile]>,
        inbox: Receiver<Fill>,
        done: Sender<Filled>,
        wakened: UnixStream,
    ) -> Self {
        Self {
            ring,
            files,
            inbox,
            done,
            wakened,
            reads: ManuallyDrop::new(Reads { wake_bytes: vec![0; 64], ..Reads::default() }),
            drives: HashMap::new(),
            next_id: 0,
            is_open: true,
        }
    }

    /// Serves until the disk is dropped and nothing is in flight.
    fn serve(&mut self) {
        self.listen();
        while self.is_open || !self.reads.in_flight.is_empty() {
            self.start_reads();
            if self.ring.submit_and_wait(1).is_err() {
                // Interrupted, or out of kernel memory for a moment: nothing was lost, the next turn asks again.
                std::thread::sleep(Duration::from_micros(100));
            }
            let completions: Vec<(u64, i32)> =
                self.ring.completion().map(|entry| (entry.user_data(), entry.result())).collect();
            for (id, result) in completions {
                if id == WAKE { self.wake(result) } else { self.read_ended(id, result) }
            }
        }
    }

    /// Asks for the next bytes of the socket.
    fn listen(&mut self) {
        let (bytes, len) = (self.reads.wake_bytes.as_mut_ptr(), self.reads.wake_bytes.len() as u32);
        let entry =
            opcode::Read::new(types::Fd(self.wakened.as_raw_fd()), bytes, len).build().user_data(WAKE);
        // SAFETY: `wake_bytes` is never resized, and not dropped unless the server ends by itself, which it does only
        // after the last such read; nobody but the kernel uses it.
        unsafe { push(&mut self.ring, &entry) };
    }

    fn wake(&mut self, bytes: i32) {
        while let Ok(fill) = self.inbox.try_recv() {
            self.take_up(fill);
        }
        // The end of the socket: the disk was dropped.
        self.is_open = bytes > 0 || bytes == -libc::EINTR || bytes == -libc::EAGAIN;
        if self.is_open {
            self.listen();
        }
    }

    fn take_up(&mut self, fill: Fill) {
        let Fill { ticket, extents, mut buf } = fill;
        let pieces = pieces(&extents, buf.as_mut_slice().len());
        let id = self.new_id();
        for piece in &pieces {
            let drive = self.files[piece.source_idx].drive;
            self.drives.entry(drive).or_default().waiting.push_back((id, *piece));
        }
        self.reads.fills.insert(id, OpenFill { ticket, buf, reads_left: pieces.len(), result: Ok(()) });
        if pieces.is_empty() {
            self.close(id);
        }
    }

    const fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn start_reads(&mut self) {
        let drives: Vec<u64> = self.drives.keys().copied().collect();
        for drive in drives {
            while self.reads.in_flight.len() + 2 < ENTRIES as usize {
                let Some(queue) = self.drives.get_mut(&drive) else { break };
                let Some(&(fill, piece)) = queue.waiting.front() else { break };
                if queue.in_flight_bytes > 0 && queue.in_flight_bytes + piece.len > IN_FLIGHT_BYTES {
                    break;
                }
                queue.waiting.pop_front();
                queue.in_flight_bytes += piece.len;
                self.start(Read { fill, piece, drive });
            }
        }
    }

    fn start(&mut self, read: Read) {
        let id = self.new_id();
        let Piece { source_idx, offset, at, len, .. } = read.piece;
        let fill = self.reads.fills.get_mut(&read.fill).expect("a fill is open while reads are left");
        let memory = &mut fill.buf.as_mut_slice()[at..][..len];
        // Bytes of the program are not read through a disk; without a file the kernel answers that it is none.
        let fd = self.files[source_idx].file.as_ref().map_or(-1, AsRawFd::as_raw_fd);
        let entry = opcode::Read::new(types::Fd(fd), memory.as_mut_ptr(), len as u32).offset(offset);
        let entry = entry.build().user_data(id);
        self.reads.in_flight.insert(id, read);
        // SAFETY: `memory` belongs to a buffer in `reads.fills`, which stays there untouched until the kernel has ended
        // all its reads (`reads_left`), and whose memory does not move with the buffer; pieces do not overlap.
        unsafe { push(&mut self.ring, &entry) };
    }

    fn read_ended(&mut self, id: u64, result: i32) {
        let Some(read) = self.reads.in_flight.remove(&id) else { return };
        let drive = self.drives.entry(read.drive).or_default();
        drive.in_flight_bytes -= read.piece.len;
        let file = &self.files[read.piece.source_idx];
        let outcome = match usize::try_from(result) {
            Ok(bytes) => match read.piece.after(bytes) {
                Progress::Done => Ok(()),
                Progress::Left(left) => return drive.waiting.push_front((read.fill, left)),
                Progress::Ended => Err(file.ended(&read.piece, bytes)),
            },
            Err(_) if result == -libc::EINTR || result == -libc::EAGAIN => {
                return drive.waiting.push_front((read.fill, read.piece));
            }
            Err(_) => Err(file.failed(&read.piece, std::io::Error::from_raw_os_error(-result))),
        };
        let Some(fill) = self.reads.fills.get_mut(&read.fill) else { return };
        fill.reads_left -= 1;
        if fill.result.is_ok() {
            fill.result = outcome;
        }
        if fill.reads_left == 0 {
            self.close(read.fill);
        }
    }

    fn close(&mut self, id: u64) {
        if let Some(OpenFill { ticket, buf, result, .. }) = self.reads.fills.remove(&id) {
            // Nobody waits any more once the disk was dropped.
            let _ = self.done.send(Filled { ticket, buf, result });
        }
    }
}

/// Puts `entry` in the ring's queue, handing the queue to the kernel if it is full.
///
/// # Safety
/// What `entry` points to stays valid, and is used by nobody else, until its completion was seen.
unsafe fn push(ring: &mut IoUring, entry: &squeue::Entry) {
    loop {
        // SAFETY: the caller's promise is what `push` asks for.
        if unsafe { ring.submission().push(entry) }.is_ok() {
            return;
        }
        let _ = ring.submit();
    }
}
