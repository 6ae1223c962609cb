//! Block formats of quantised weights: layout and scalar decode and encode, one file each.
