//! ThreadsX.jl's functions, and what to call in Rust.
#![cfg_attr(doc, doc = include_str!("../../../../docs/threadsx.md"))]
