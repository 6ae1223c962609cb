//! Many reads in flight without a thread, by Linux's io_uring.
//!
//! Whoever asks hands the reads to the kernel itself, and takes in what has ended when it next looks. A thread of the disk's own
//! would have to be given a core first: with one compute thread for each, the scheduler lets it wait for the end of a
//! slice, 3 ms, as long as a drive takes for an expert, and again when the read has ended.
//!
//! Every drive has its own queue: reads start in the order they were asked for, as long as no more than
//! [`IN_FLIGHT_BYTES`] are on their way from that drive, or what [`set_depth`](Disk::set_depth) said. More makes no drive faster
//! and delays whatever comes next.
//!
//! While the kernel writes into a buffer, the buffer lies in `reads.fills` and is neither touched nor dropped: a disk that is
//! dropped waits for its last read, and if the drive does not answer, the memory is leaked.

use std::collections::{HashMap, VecDeque};
use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use io_uring::{IoUring, opcode, squeue, types};
use shoal_base::BlobBuf;

use super::files::DataFile;
use super::pieces::{Piece, Progress, pieces};
use super::{Disk, Fill, Filled};
use crate::Error;

/// Bytes on their way from one drive at most, where nothing else was said.
const IN_FLIGHT_BYTES: usize = 64 << 20;

/// Entries of the ring; no more reads are in flight, whatever the number of drives.
const ENTRIES: u32 = 256;

/// How long a disk that is dropped waits for its reads.
const LAST_WAIT: Duration = Duration::from_secs(2);

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
}

/// A ring and what it is at.
pub(crate) struct Uring {
    ring: IoUring,
    files: Arc<[DataFile]>,
    /// Never dropped with reads in flight.
    reads: ManuallyDrop<Reads>,
    drives: HashMap<u64, Drive>,
    ended: VecDeque<Filled>,
    next_id: u64,
    in_flight_max: usize,
}

impl Uring {
    /// A ring that reads `files`; `None` where the system has none to give, or cannot wait for it a limited time.
    pub(crate) fn new(files: Arc<[DataFile]>) -> Option<Self> {
        let ring = IoUring::new(ENTRIES).ok()?;
        let mut probe = io_uring::Probe::new();
        ring.submitter().register_probe(&mut probe).ok()?;
        if !probe.is_supported(opcode::Read::CODE) || !ring.params().is_feature_ext_arg() {
            return None;
        }
        Some(Self {
            ring,
            files,
            reads: ManuallyDrop::new(Reads::default()),
            drives: HashMap::new(),
            ended: VecDeque::new(),
            next_id: 0,
            in_flight_max: IN_FLIGHT_BYTES,
        })
    }

    /// Takes in what has ended, and starts what may start then.
    fn take_in(&mut self) {
        let completions: Vec<(u64, i32)> =
            self.ring.completion().map(|entry| (entry.user_data(), entry.result())).collect();
        if !completions.is_empty() {
            completions.into_iter().for_each(|(id, result)| self.read_ended(id, result));
            self.start_reads();
        }
    }

    /// Sleeps until a read ends, `at_most` so long.
    fn sleep(&self, at_most: Duration) {
        let limit = types::Timespec::from(at_most);
        let args = types::SubmitArgs::new().timespec(&limit);
        if let Err(error) = self.ring.submitter().submit_with_args(1, &args)
            && error.raw_os_error() != Some(libc::ETIME)
        {
            // Interrupted, or out of kernel memory for a moment: nothing was lost, the next turn asks again.
            std::thread::sleep(Duration::from_micros(100));
        }
    }
}

impl Disk for Uring {
    fn submit(&mut self, fill: Fill) {
        self.take_up(fill);
        self.start_reads();
    }

    fn wait(&mut self, at_most: Duration) -> Option<Filled> {
        let start = Instant::now();
        loop {
            self.take_in();
            let left = at_most.saturating_sub(start.elapsed());
            if !self.ended.is_empty() || left.is_zero() || self.reads.in_flight.is_empty() {
                return self.ended.pop_front();
            }
            self.sleep(left);
        }
    }

    fn set_depth(&mut self, bytes: usize) {
        self.in_flight_max = bytes;
    }

    fn name(&self) -> &'static str {
        "io_uring"
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        self.drives.values_mut().for_each(|drive| drive.waiting.clear());
        let start = Instant::now();
        while !self.reads.in_flight.is_empty() {
            let left = LAST_WAIT.saturating_sub(start.elapsed());
            if left.is_zero() {
                return;
            }
            self.take_in();
            self.sleep(left);
        }
        // SAFETY: no read is in flight, so the kernel writes to none of the buffers; `reads` is not used again.
        unsafe { ManuallyDrop::drop(&mut self.reads) };
    }
}

impl Uring {
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
                if queue.in_flight_bytes > 0 && queue.in_flight_bytes + piece.len > self.in_flight_max {
                    break;
                }
                queue.waiting.pop_front();
                queue.in_flight_bytes += piece.len;
                self.start(Read { fill, piece, drive });
            }
        }
        // What the kernel does not take now it is given again when somebody waits.
        let _ = self.ring.submit();
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
            Err(_) if [libc::EINTR, libc::EAGAIN, libc::ECANCELED].contains(&-result) => {
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
            self.ended.push_back(Filled { ticket, buf, result });
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
