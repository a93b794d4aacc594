//! The cells of a parcell notebook: threads, displays.
