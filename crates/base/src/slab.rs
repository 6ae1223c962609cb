//! One stretch of memory cut into parts, each with an owner of its own.
//!
//! A drive writes to large pages several times faster than to small ones, a core reads them faster, and a part is seldom a whole
//! number of large pages long. Side by side in one mapping the parts need not be: only the mapping has to begin at a large page.
//! When a part is dropped its pages go back to the system; the addresses go when the last part does.
//!
//! This file is the only one of the crate with unsafe code, for one reason: the borrow checker cannot see that ranges
//! of one mapping do not overlap.

#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::Arc;

use memmap2::MmapMut;

/// A large page.
pub(crate) const LARGE: usize = 2 << 20;

/// Pages that parts point into.
struct Mapping {
    /// The first byte of the first part.
    base: NonNull<u8>,
    pages: MmapMut,
}

// SAFETY: `base` points into `pages`, which is plain memory of this process, free to be used from any thread; who may
// touch which byte is the parts' matter.
unsafe impl Send for Mapping {}
// SAFETY: as above; through a shared `Mapping` nothing is read or written.
unsafe impl Sync for Mapping {}

/// One part: nobody else reads or writes its bytes.
pub(crate) struct Part {
    mapping: Arc<Mapping>,
    start: usize,
    len: usize,
}

impl Part {
    /// A part of zeroed bytes for each of `lens`, which are multiples of a page; none if the system has no such memory.
    pub(crate) fn cut(lens: &[usize]) -> Vec<Self> {
        let total: usize = lens.iter().sum();
        let Ok(mut pages) = MmapMut::map_anon(total + LARGE) else { return Vec::new() };
        let lead = Some(pages.as_ptr().align_offset(LARGE)).filter(|lead| *lead <= LARGE).unwrap_or(0);
        advise_large(&pages, lead, total);
        let base = NonNull::from(&mut pages[lead]);
        let mapping = Arc::new(Mapping { base, pages });
        let mut end = 0;
        let part = |&len: &usize| {
            let start = end;
            end += len;
            Self { mapping: Arc::clone(&mapping), start, len }
        };
        lens.iter().map(part).collect()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `cut` made `start + len` at most the bytes of the mapping behind `base`, which lives as long as the part;
        // the only part with these bytes is this one, borrowed here.
        unsafe { std::slice::from_raw_parts(self.mapping.base.as_ptr().add(self.start), self.len) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.mapping.base.as_ptr().add(self.start), self.len) }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        #[cfg(target_os = "linux")]
        {
            let lead = self.mapping.base.as_ptr() as usize - self.mapping.pages.as_ptr() as usize;
            // SAFETY: the bytes are this part's alone and nobody looks at them again. If the advice is refused the memory
            // stays until the mapping goes.
            let _ = unsafe {
                let unneeded = memmap2::UncheckedAdvice::DontNeed;
                self.mapping.pages.unchecked_advise_range(unneeded, lead + self.start, self.len)
            };
        }
    }
}

/// Asks for large pages as far as whole ones fit: a started one would take memory that nobody asked for. Advice may be
/// refused; pages of the usual size are slower, never wrong.
pub(crate) fn advise_large(pages: &MmapMut, start: usize, len: usize) {
    #[cfg(target_os = "linux")]
    {
        let whole = len / LARGE * LARGE;
        let _ = pages.advise_range(memmap2::Advice::HugePage, start, whole);
        let _ = pages.advise_range(memmap2::Advice::NoHugePage, start + whole, len - whole);
    }
    let _ = (pages, start, len);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_zero_apart_and_outlive_each_other() {
        let lens: Vec<usize> = (0..300).map(|i| (1 + i % 9) * 4096).collect();
        let mut parts = Part::cut(&lens);
        assert_eq!(parts.len(), 300);
        for (i, part) in parts.iter_mut().enumerate() {
            assert!(part.bytes().len() == lens[i] && part.bytes().iter().all(|byte| *byte == 0), "part {i}");
            part.bytes_mut().fill(i as u8);
        }
        let last = parts.pop().expect("a part");
        for (i, part) in parts.iter().enumerate() {
            assert!(part.bytes().iter().all(|byte| *byte == i as u8), "part {i}");
        }
        assert_eq!(parts[0].bytes().as_ptr().align_offset(LARGE), 0);
        drop(parts);
        assert!(last.bytes().iter().all(|byte| *byte == 299u16 as u8) && last.bytes().len() == lens[299]);
    }
}
