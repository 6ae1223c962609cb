//! How fast a drive gives a file: `drive FILE [MEBIBYTES AT A TIME] [IN FLIGHT] [SECONDS] [io_uring|threads] [BUFFERS PER READ IN
//! FLIGHT]`.
//!
//! Reads random places of the file, by the store's own means: what decision 0007 says of request sizes and depths was
//! measured with this.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use shoal_base::{BlobBuf, Prng};
use shoal_checkpoint::Source;
use shoal_store::IoMode;
use shoal_store::disk::{ALIGN, Extent, Fill, open};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let path = PathBuf::from(args.first().expect("FILE [MEBIBYTES] [IN FLIGHT] [SECONDS] [MODE]"));
    let number = |i: usize, usual: f64| args.get(i).map_or(usual, |text| text.parse().expect("a number"));
    let bytes = (number(1, 2.0) * f64::from(1 << 20)) as usize / ALIGN * ALIGN;
    let in_flight = number(2, 8.0) as usize;
    let time = Duration::from_secs_f64(number(3, 3.0));
    let mode = if args.get(4).is_some_and(|mode| mode == "threads") { IoMode::Threads } else { IoMode::Auto };
    let len = path.metadata().expect("the file").len();
    let mut disk = open(&[Source::File { path, len }], mode).expect("it opens");
    let mut prng = Prng::new(1);
    let mut ask = |buf: BlobBuf, disk: &mut dyn shoal_store::disk::Disk| {
        let offset = prng.below((len - bytes as u64) / ALIGN as u64) * ALIGN as u64;
        let extents = vec![Extent { source_idx: 0, offset, len: bytes, at: 0 }];
        disk.submit(Fill { ticket: 0, extents, buf });
    };
    // Memory is filled in turn: what was just filled still lies in a cache, which weights in use do not.
    let buffers = number(5, 1.0) as usize * in_flight;
    let mut spare: VecDeque<BlobBuf> = BlobBuf::side_by_side(&vec![bytes; buffers]).into();
    for _ in 0..in_flight {
        ask(spare.pop_front().expect("as many as in flight"), disk.as_mut());
    }
    // The first turn pays for fresh memory.
    let (mut start, mut done, mut slowest) = (Instant::now(), 0u64, Duration::ZERO);
    let mut last = Instant::now();
    for turn in 0.. {
        let filled = disk.wait(Duration::from_secs(60)).expect("the drive answers");
        filled.result.expect("the drive reads");
        if turn == 2 * buffers {
            (start, done) = (Instant::now(), 0);
        } else if turn > 2 * buffers {
            slowest = slowest.max(last.elapsed());
        }
        (last, done) = (Instant::now(), done + bytes as u64);
        if turn > 2 * buffers && start.elapsed() > time {
            break;
        }
        spare.push_back(filled.buf);
        ask(spare.pop_front().expect("one came back"), disk.as_mut());
    }
    let rate = done as f64 / start.elapsed().as_secs_f64() / 1e9;
    let (name, mib) = (disk.name(), bytes as f64 / f64::from(1 << 20));
    println!("{name}: {mib:.2} MiB, {in_flight} in flight: {rate:.2} GB/s, longest gap {slowest:?}");
}
