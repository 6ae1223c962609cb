//! Hit rates of a routing trace by policy: `hit_rate TRACE.npy [FIRST TOKEN] [TOKENS]`.
//!
//! The trace is an array `[tokens, layers, experts per token]` of u8. "least recently used" and "clairvoyant" are played here; "this" is the
//! crate's own cache, fed with the trace from a drive that answers at once.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use shoal_base::{Bytes, ExpertId};
use shoal_checkpoint::{Checkpoint, TensorInfo};
use shoal_store::disk::{Disk, Fill, Filled};
use shoal_store::{ExpertBank, Role, STALL_LIMIT, Store, StoreOptions};
use shoal_testkit::gguf::GgufWriter;

/// `[tokens][layers][experts of the token]`.
type Trace = Vec<Vec<Vec<u32>>>;

/// Fills nothing, at once.
#[derive(Default)]
struct Instant(Vec<Fill>);

impl Disk for Instant {
    fn submit(&mut self, fill: Fill) {
        self.0.push(fill);
    }

    fn wait(&mut self, _: Duration) -> Option<Filled> {
        self.0.pop().map(|Fill { ticket, buf, .. }| Filled { ticket, buf, result: Ok(()) })
    }

    fn name(&self) -> &'static str {
        "instant"
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let path = PathBuf::from(args.first().expect("TRACE.npy [FIRST TOKEN] [TOKENS]"));
    let number = |i: usize, usual: usize| args.get(i).map_or(usual, |text| text.parse().expect("a number"));
    let (trace, expert_count) = read(&path, number(1, 20_000), number(2, 3000));
    let all = trace[0].len() * expert_count;
    println!("{} tokens, {} layers of {expert_count} experts", trace.len(), trace[0].len());
    println!("slots  least recently used  this  clairvoyant");
    for slots in [all / 8, all / 4, all / 2, 3 * all / 4] {
        let percent = [lru(&trace, slots), own(&trace, expert_count, slots), clairvoyant(&trace, slots)];
        println!("{slots:>5}  {:>19.1}  {:>4.1}  {:>11.1}", percent[0], percent[1], percent[2]);
    }
}

fn read(path: &PathBuf, first: usize, count: usize) -> (Trace, usize) {
    let bytes = std::fs::read(path).expect("the trace");
    let header_len = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = String::from_utf8_lossy(&bytes[10..header_len]).into_owned();
    let shape = header.split('(').nth(1).and_then(|rest| rest.split(')').next()).expect("a shape");
    let shape: Vec<usize> = shape.split(',').filter_map(|n| n.trim().parse().ok()).collect();
    let [_, layers, per_token] = shape[..] else { panic!("[tokens, layers, experts], found {shape:?}") };
    let data = &bytes[header_len..];
    let expert_count = usize::from(*data.iter().max().expect("an expert")) + 1;
    let tokens = data.chunks_exact(layers * per_token).skip(first).take(count);
    let of_layer = |layer: &[u8]| layer.iter().map(|&id| u32::from(id)).collect();
    (tokens.map(|token| token.chunks_exact(per_token).map(of_layer).collect()).collect(), expert_count)
}

/// Plays the trace on a set of `slots`; `victim(set, needed, now)` says who goes.
fn play(trace: &Trace, slots: usize, victim: impl Fn(&HashSet<u32>, &[u32], usize) -> u32) -> f64 {
    let (mut set, mut hits, mut all) = (HashSet::new(), 0, 0);
    for (now, keys) in rounds(trace).enumerate() {
        let missing: Vec<u32> = keys.iter().copied().filter(|key| !set.contains(key)).collect();
        (hits, all) = (hits + keys.len() - missing.len(), all + keys.len());
        for key in missing {
            if set.len() >= slots {
                let victim = victim(&set, &keys, now);
                set.remove(&victim);
            }
            set.insert(key);
        }
    }
    100.0 * hits as f64 / all as f64
}

/// The keys of every layer of every token, in order.
fn rounds(trace: &Trace) -> impl Iterator<Item = Vec<u32>> {
    let keys =
        |(layer, experts): (usize, &Vec<u32>)| experts.iter().map(|id| layer as u32 * 1000 + id).collect();
    trace.iter().flat_map(move |token| token.iter().enumerate().map(keys))
}

fn lru(trace: &Trace, slots: usize) -> f64 {
    let rounds: Vec<Vec<u32>> = rounds(trace).collect();
    let last_use = |key: u32, now: usize| (0..now).rev().find(|&then| rounds[then].contains(&key));
    play(trace, slots, |set, needed, now| {
        let others = set.iter().copied().filter(|key| !needed.contains(key));
        others.min_by_key(|&key| (last_use(key, now), key)).expect("more slots than a layer needs")
    })
}

fn clairvoyant(trace: &Trace, slots: usize) -> f64 {
    let rounds: Vec<Vec<u32>> = rounds(trace).collect();
    let next_use = |key: u32, now: usize| {
        (now + 1..rounds.len()).find(|&then| rounds[then].contains(&key)).unwrap_or(usize::MAX)
    };
    play(trace, slots, |set, needed, now| {
        let others = set.iter().copied().filter(|key| !needed.contains(key));
        others.max_by_key(|&key| (next_use(key, now), key)).expect("more slots than a layer needs")
    })
}

fn own(trace: &Trace, expert_count: usize, slots: usize) -> f64 {
    const F32: u32 = 0;
    let layers = trace[0].len();
    let mut file = GgufWriter::new(3).kv("general.architecture", "none");
    for layer in 0..layers {
        file = file.tensor(&format!("e{layer}"), F32, &[1, expert_count as u64], &vec![0; 4 * expert_count]);
    }
    let dir = std::env::temp_dir().join(format!("hit_rate.{}.gguf", std::process::id()));
    std::fs::write(&dir, file.finish()).expect("a temporary file");
    let checkpoint = std::sync::Arc::new(Checkpoint::open(&dir).expect("our own file"));
    std::fs::remove_file(&dir).expect("our own file");
    let role = |_: &TensorInfo| Role::Experts;
    let (disk, stall_limit) = (Box::new(Instant::default()), STALL_LIMIT);
    let options = StoreOptions { budget: None, role: &role, disk, stall_limit, progress: &|_, _| {} };
    let store = Store::open(checkpoint, options).expect("nothing to read");
    let bank = |layer| {
        let name = format!("e{layer}");
        store.expert_bank([&name, &name, &name], expert_count).expect("a stack")
    };
    let banks: Vec<ExpertBank> = (0..layers).map(bank).collect();
    store.set_expert_budget(Some(Bytes(slots as u64 * store.slot_bytes().one.0)));
    for token in trace {
        for (bank, ids) in banks.iter().zip(token) {
            let ids: Vec<ExpertId> = ids.iter().map(|&id| ExpertId(id)).collect();
            let mut arrivals = bank.fetch(&ids);
            while !arrivals.take().expect("this drive does not fail").is_empty() {}
        }
    }
    let traffic = store.traffic();
    100.0 * traffic.hits as f64 / (traffic.hits + traffic.misses) as f64
}
