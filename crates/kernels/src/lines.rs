//! Memory in whole cache lines, so that no register of it lies across two: loads and stores of such take twice as long.

use crate::lanes::LINE;

/// Memory that is kept from call to call.
#[derive(Default)]
pub(crate) struct Lines<T>(Vec<T>);

impl<T: Copy + Default> Lines<T> {
    /// `count` lines of `N` elements. They hold what was written when as many were asked for last, and anything else otherwise.
    pub(crate) fn get<const N: usize>(&mut self, count: usize) -> &mut [[T; N]] {
        const { assert!(N * size_of::<T>() == LINE) };
        let len = (count + 1) * N;
        if self.0.len() < len {
            self.0.resize(len, T::default());
        }
        let first = self.0.as_ptr().align_offset(LINE);
        &mut self.0[first..].as_chunks_mut().0[..count]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_begin_where_those_of_the_cache_do() {
        let (mut bytes, mut floats) = (Lines::<u8>::default(), Lines::<f32>::default());
        for count in [1, 3, 2, 100] {
            let line: &mut [[u8; 64]] = bytes.get(count);
            assert!(line.len() == count && line.as_ptr().addr().is_multiple_of(LINE));
            let line: &mut [[f32; 16]] = floats.get(count);
            assert!(line.len() == count && line.as_ptr().addr().is_multiple_of(LINE));
        }
    }
}
