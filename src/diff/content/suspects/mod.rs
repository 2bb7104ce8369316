//! Why two files may differ: classes of causes, told from the bytes of both sides where they differ.

mod class;

pub use class::Class;
