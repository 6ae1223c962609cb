//! Results in f64 that kernels are held against.

/// The dot product of two slices and the sum of the magnitudes of its terms, which error bounds are made of.
#[must_use]
pub fn dot_f64(a: &[f32], b: &[f32]) -> (f64, f64) {
    assert_eq!(a.len(), b.len(), "a dot product of equal lengths");
    a.iter().zip(b).fold((0.0, 0.0), |(value, magnitude), (a, b)| {
        let term = f64::from(*a) * f64::from(*b);
        (value + term, magnitude + term.abs())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_cancel_in_the_value_and_not_in_the_magnitude() {
        assert_eq!(dot_f64(&[1.0, 2.0, 3.0], &[4.0, -5.0, 2.0]), (0.0, 20.0));
    }
}
