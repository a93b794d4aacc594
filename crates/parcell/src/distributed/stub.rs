//! STUB, to be replaced by `portable.rs` and `blob.rs`: values to bytes by postcard.

#![allow(missing_docs)]

use serde::Serialize;
use serde::de::DeserializeOwned;

pub type EncodeError = postcard::Error;
pub type DecodeError = postcard::Error;

#[diagnostic::on_unimplemented(
    message = "a value of type `{Self}` cannot be sent to another process",
    label = "sent to another process",
    note = "a type of your own can be sent if all its parts can and it has \
            `#[derive(serde::Serialize, serde::Deserialize)]`"
)]
pub trait Portable: Serialize + DeserializeOwned + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Portable for T {}

#[derive(Debug, Default)]
pub struct BlobWriter(pub Vec<u8>);

impl BlobWriter {
    pub fn write<T: Portable>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.0 = postcard::to_extend(value, std::mem::take(&mut self.0))?;
        Ok(())
    }
}

pub struct BlobReader<'a>(pub &'a [u8]);

impl BlobReader<'_> {
    pub fn read<T: Portable>(&mut self) -> Result<T, DecodeError> {
        let (value, rest) = postcard::take_from_bytes(self.0)?;
        self.0 = rest;
        Ok(value)
    }
}
