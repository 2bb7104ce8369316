//! The build context.

pub mod ignore;
