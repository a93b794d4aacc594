//! Which values can be sent to another process.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A value that can be sent to another process: it owns what it holds, and serde can write it
/// down and read it again.
///
/// Every type with these properties is `Portable`; nothing is implemented by hand. Numbers,
/// strings, tuples, vectors, maps and arrays are; an own type becomes so by
/// `#[derive(Serialize, Deserialize)]`. A large vector or array of numbers, sent as such and not
/// inside something else, travels without being copied or converted.
///
/// ```
/// use parcell::distributed::Portable;
/// use parcell::serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// # #[serde(crate = "parcell::serde")]
/// struct Sample {
///     mass: f64,
///     spectrum: Vec<f32>,
/// }
///
/// fn portable<T: Portable>() {}
/// portable::<Sample>();
/// portable::<(usize, Vec<Sample>)>();
/// ```
#[diagnostic::on_unimplemented(
    message = "a value of type `{Self}` cannot be sent to another process",
    label = "another process would need this value",
    note = "a value travels if it owns its data and serde can write and read it: put \
            `#[derive(Clone, Serialize, Deserialize)]` before the definition of your own type",
    note = "references, pointers, locks, guards, files and sockets mean something in one process \
            only: send the data they lead to, or make them where they are used"
)]
pub trait Portable: Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Portable for T {}
