//! Images as a whole.
