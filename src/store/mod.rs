//! One directory of blobs, layers, images and records.
