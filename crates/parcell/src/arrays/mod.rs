//! Arrays over processes: [`DArray`], whose pieces lie on workers and are computed on there.
//!
//! The code reads from what users call down to the messages: [`construct`](dzeros) makes arrays,
//! `map`, `reduce` and the others compute; [`Layout`] says who has what; `operand` and `block` bring
//! what is elsewhere; `parts` keeps and finds pieces; `work` sends orders to their owners. What runs
//! on an owner is a function `body` inside of the operation that orders it.

mod access;
mod block;
mod construct;
mod darray;
mod dims;
mod display;
mod element;
mod error;
mod function;
mod halo;
mod iterate;
mod lanes;
mod layout;
mod linear;
mod map;
mod npy;
mod operand;
mod operators;
mod parallel;
mod parts;
mod reduce;
mod shared;
mod solve;
mod sort;
mod work;

pub use access::{DSlice, allow_scalar};
pub use construct::{
    dfill, distribute, distribute_like, distribute_over, dones, drand, drandn, dzeros,
    try_distribute_over,
};
pub use darray::{DArray, DArray1, DArray2, DArray3, LocalPart};
pub use dims::{Dims, IntoDims, dims};
pub use element::{Element, Rank};
pub use error::{ArrayError, LostPiece};
pub use function::ElementFunction;
pub use halo::{Boundary, Halo};
pub use iterate::{
    Iterated, conjugate_gradient_steps, conjugate_gradients, try_conjugate_gradients,
};
pub use layout::{Layout, default_grid};
pub use map::PieceFunction;
pub use npy::NpyElement;
pub use operand::Operand;
pub use shared::{
    FreezeError, FrozenArray, On, Plain, SharedArray, SharedCell, SharedError, SharedFile,
    SharedMatrix, SharedVector,
};
pub use solve::Real;
