//! `distributed!`: the iterations of a loop on all workers.
