//! Order and threads.
