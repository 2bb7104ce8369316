//! lith compiles a Dockerfile or a KDL file into an OCI image the way Nix compiles a derivation.
//!
//! `ARCHITECTURE.md` has the map: floors, what each module owns, and what must stay true. A module names only
//! modules of a lower floor or its own; `tests/it/architecture.rs` holds that table.

// Floor 0: values.
pub mod canon;
pub mod capabilities;
pub mod csv;
pub mod diag;
pub mod digest;
pub mod epoch;
pub mod limits;
pub mod mount;
pub mod path;
pub mod platform;
pub mod size;
pub mod sys;

// Floor 1: the wire types, and what every frontend lowers to.
pub mod action;
pub mod lock;
pub mod login;
pub mod oci;
pub mod recipe;
pub mod remote;
pub mod sbom;
pub mod sign;

// Floor 2: text to recipe, files to entries, entries to bytes.
pub mod context;
pub mod frontend;
pub mod graph;
pub mod layer;
pub mod transfer;

// Floor 3.
pub mod plan;
pub mod registries;
pub mod sandbox;
pub mod store;

// Floor 4.
pub mod fetch;
pub mod image;
pub mod sched;

// Packages with what was fetched; images from registries and to them.
pub mod debian;
pub mod diff;
pub mod registry;
pub mod shared;

// Floor 5 and 6.
pub mod bundle;
pub mod container;
pub mod engine;
pub mod exec;
pub mod init;
pub mod view;

// Floor 7.
pub mod cli;
