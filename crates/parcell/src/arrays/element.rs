//! What an array may hold, and of which rank it may be.

use ndarray::Dimension;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::distributed::Portable;

/// What a [`DArray`](super::DArray) may hold: any value that can be sent and cloned. Every such type
/// is an `Element`; nothing is implemented by hand. Arrays of numbers travel as they lie in memory.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an element of a `DArray`",
    label = "an element must be a value that can be sent and cloned",
    note = "put `#[derive(Clone, Serialize, Deserialize)]` before the definition of your own type"
)]
pub trait Element: Portable + Clone {}

impl<T: Portable + Clone> Element for T {}

/// The dimensions of a [`DArray`](super::DArray): `Ix1` to `Ix6` and `IxDyn` of ndarray.
pub trait Rank: Dimension + Serialize + DeserializeOwned + 'static {}

impl<D: Dimension + Serialize + DeserializeOwned + 'static> Rank for D {}
