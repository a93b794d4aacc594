//! A value of a channel, or one that another process gave to a future: as it was put here, or as it
//! came from elsewhere, so that a process that only passes values on needs not know their type.

use std::any::Any;
use std::sync::Arc;

use super::blob::{Blob, BlobReader, BlobWriter, DecodeError, EncodeError, Incoming};
use super::error::RemoteError;
use super::function::{AnyValue, Held, hold};
use super::jobs::{not_read, not_written};
use super::portable::Portable;

/// A value on its way through this process.
#[derive(Clone)]
pub(crate) enum Item {
    /// Put by this process.
    Own(Arc<dyn AnyValue>),
    /// Come from another.
    Sent(Blob),
}

impl Item {
    pub(crate) fn own<T: Portable>(value: T) -> Item {
        Item::Own(hold(value))
    }

    pub(crate) fn sent(blob: Incoming) -> Item {
        Item::Sent(blob.into_blob())
    }

    /// The value as bytes, to be sent on.
    pub(crate) fn into_blob(self) -> Result<Blob, EncodeError> {
        match self {
            Item::Own(value) => {
                let mut writer = BlobWriter::default();
                value.encode(&mut writer)?;
                Ok(writer.finish())
            }
            Item::Sent(blob) => Ok(blob),
        }
    }

    /// The value itself. Costs a copy if others hold it, too.
    pub(crate) fn into_value<T: Portable>(self) -> Result<T, RemoteError> {
        match self {
            Item::Own(value) => match Arc::clone(&value).as_any().downcast::<T>() {
                Ok(same) => {
                    drop(value);
                    Arc::try_unwrap(same).or_else(|shared| copy(&share(shared)))
                }
                Err(_) => copy(&value),
            },
            Item::Sent(blob) => read(blob.into_incoming().map_err(not_read)?),
        }
    }
}

impl AnyValue for Item {
    fn encode(self: Arc<Self>, to: &mut BlobWriter) -> Result<(), EncodeError> {
        to.append(&(*self).clone().into_blob()?);
        Ok(())
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn is_small(&self) -> bool {
        false
    }
}

fn share<T: Portable>(value: Arc<T>) -> Arc<dyn AnyValue> {
    Arc::new(Held(value))
}

/// A copy by way of bytes: the type may be the same definition, compiled again for another cell.
pub(crate) fn copy<T: Portable>(value: &Arc<dyn AnyValue>) -> Result<T, RemoteError> {
    let mut writer = BlobWriter::default();
    Arc::clone(value).encode(&mut writer).map_err(not_written)?;
    read(writer.finish().into_incoming().map_err(not_read)?)
}

/// Reads a value that stands alone in a blob.
pub(crate) fn read<T: Portable>(blob: Incoming) -> Result<T, RemoteError> {
    let mut value = None;
    read_by(blob, &mut |reader| {
        value = Some(reader.read()?);
        Ok(())
    })?;
    Ok(value.expect("a reader that does not fail gives a value"))
}

/// Reads a value, or fails.
pub(crate) type Read<'a> = &'a mut dyn FnMut(&mut BlobReader<'_>) -> Result<(), DecodeError>;

pub(crate) fn read_by(mut blob: Incoming, read: Read<'_>) -> Result<(), RemoteError> {
    read(&mut blob.reader()).map_err(not_read)
}
