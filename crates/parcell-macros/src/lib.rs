//! Procedural macros of the `parcell` library. The macros that capture variables for remote calls live here.
