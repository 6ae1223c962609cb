//! Model catalogue, downloads with resume and checksum, cache folder.
