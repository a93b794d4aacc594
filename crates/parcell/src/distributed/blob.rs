//! Values as bytes: what is written here is read in another process.
//!
//! A blob holds several values, one after another. A large plain array lies in a *bulk*, memory
//! that is sent from where it is and stays where it arrives; everything else is
//! [postcard](https://docs.rs/postcard). Handles, such as futures, travel inside values as their
//! [`RefId`]; the blob keeps alive what they lead to.
//!
//! ```text
//! value: form: u8 | name: u16 and bytes | length: u64 | length bytes
//! form 0  postcard
//! form 1  plain array: dimensions: u8 | each: u64 | the elements
//! form 2  plain array: dimensions: u8 | each: u64; the elements are the next bulk
//! ```

use std::any::{Any, TypeId, type_name};
use std::cell::RefCell;
use std::sync::Arc;
use std::thread::LocalKey;

use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

use super::Portable;
use super::bulk::PlainType;
use super::transport::{Buffer, Bulk, Misfit, NoMemory};

const POSTCARD: u8 = 0;
const PLAIN: u8 = 1;
const PLAIN_BULK: u8 = 2;

/// Plain arrays of so many bytes or more travel as bulks.
const BULK: usize = 16 << 10;
/// Bulks of one blob; what would be more lies in the bytes.
const MAX_BULKS: usize = 1 << 10;

/// The name of something in another process that a handle leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RefId {
    /// The process that holds the value.
    pub owner: u32,
    /// The process that gave the number.
    pub creator: u32,
    /// Counts what the creator named.
    pub number: u64,
}

/// What keeps alive the thing that a handle leads to.
pub type KeepAlive = Arc<dyn Any + Send + Sync>;

/// Why a value could not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// serde could not write the value down.
    #[error("a value of type `{kind}` could not be written: {why}")]
    Serde {
        /// The value's type.
        kind: String,
        /// What serde says.
        why: String,
    },
}

/// Why a value could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// There is another value.
    #[error("a value of type `{wanted}` was expected, and one of type `{found}` arrived")]
    Type {
        /// The type to be read.
        wanted: String,
        /// The type that was written.
        found: String,
    },
    /// There is no further value.
    #[error("a value of type `{wanted}` was expected, and nothing more arrived")]
    Nothing {
        /// The type to be read.
        wanted: String,
    },
    /// The bytes of the value itself make no sense.
    #[error("a value of type `{wanted}` arrived damaged: {why}")]
    Damaged {
        /// The type to be read.
        wanted: String,
        /// What is wrong with the bytes.
        why: String,
    },
    /// The bytes around the values make no sense.
    #[error("values arrived damaged: {why}")]
    Frame {
        /// What is wrong with the bytes.
        why: String,
    },
    /// There is no memory for the value.
    #[error("a value of type `{wanted}` does not fit into memory: {bytes} bytes")]
    Memory {
        /// The type to be read.
        wanted: String,
        /// How much was needed.
        bytes: usize,
    },
}

/// The bytes that postcard writes.
pub struct Sink(Vec<u8>);

impl Flavor for Sink {
    type Output = Vec<u8>;

    #[inline]
    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Vec<u8>> {
        Ok(self.0)
    }
}

type Serializer = postcard::Serializer<Sink>;
type Deserializer<'a> = postcard::Deserializer<'a, postcard::de_flavors::Slice<'a>>;

/// Writes values, one after another, into a [`Blob`].
#[derive(Default)]
pub struct BlobWriter {
    bytes: Vec<u8>,
    bulks: Vec<Bulk>,
    refs: Vec<(RefId, KeepAlive)>,
}

impl BlobWriter {
    /// Nothing written yet.
    pub fn new() -> BlobWriter {
        BlobWriter::default()
    }

    /// Writes a value. The elements of a plain array are copied once.
    pub fn write<T: Portable>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.write_any(value, type_name::<T>(), &|serializer| value.serialize(serializer))
    }

    /// Writes a value that the blob may share: the elements of a plain array are not copied.
    pub fn write_owned<T: Portable>(&mut self, value: Arc<T>) -> Result<(), EncodeError> {
        let kept = Arc::clone(&value) as KeepAlive;
        self.write_kept(kept, type_name::<T>(), &|serializer| value.serialize(serializer))
    }

    fn write_kept(
        &mut self,
        value: KeepAlive,
        kind: &str,
        serialize: &dyn Fn(&mut Serializer) -> postcard::Result<()>,
    ) -> Result<(), EncodeError> {
        if self.write_shared(Arc::clone(&value), kind) {
            return Ok(());
        }
        self.write_any(&*value, kind, serialize)
    }

    /// Takes a handle along without writing it anywhere: what it leads to lives as long as the blob.
    pub(crate) fn carry(&mut self, id: RefId, handle: KeepAlive) {
        self.refs.push((id, handle));
    }

    /// Writes all that another blob holds.
    pub(crate) fn append(&mut self, blob: &Blob) {
        self.bytes.extend_from_slice(&blob.0.bytes);
        self.bulks.extend(blob.0.bulks.iter().cloned());
        self.refs.extend(blob.0.refs.iter().cloned());
    }

    /// Bytes written so far, with all bulks.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len() + self.bulks.iter().map(Bulk::len).sum::<usize>()
    }

    /// What was written.
    pub fn finish(self) -> Blob {
        let BlobWriter { bytes, bulks, refs } = self;
        Blob(Arc::new(Written { bytes: Arc::new(bytes), bulks, refs }))
    }

    fn write_any(
        &mut self,
        value: &dyn Any,
        kind: &str,
        serialize: &dyn Fn(&mut Serializer) -> postcard::Result<()>,
    ) -> Result<(), EncodeError> {
        if let Some(plain) = PlainType::of(value.type_id()) {
            self.write_plain(value, plain, kind);
            return Ok(());
        }
        let before = self.bytes.len();
        let length_at = self.begin(POSTCARD, kind);
        let mut serializer = Serializer { output: Sink(std::mem::take(&mut self.bytes)) };
        let (result, carried) = with(&CARRYING, Vec::new(), || serialize(&mut serializer));
        self.bytes = serializer.output.0;
        match result {
            Ok(()) => {
                self.end(length_at);
                self.refs.extend(carried);
                Ok(())
            }
            Err(error) => {
                self.bytes.truncate(before);
                Err(EncodeError::Serde { kind: short_name(kind), why: reason(error).to_owned() })
            }
        }
    }

    /// Writes a large plain array without a copy; `false` for anything else.
    fn write_shared(&mut self, value: KeepAlive, kind: &str) -> bool {
        let Some(plain) = PlainType::of((*value).type_id()) else { return false };
        let Some(shape) = plain.shape(&*value) else { return false };
        if !self.large(plain, &shape) {
            return false;
        }
        let Some(bulk) = plain.share(value) else { return false };
        self.write_bulk(bulk, kind, &shape);
        true
    }

    /// Writes the elements of a large plain array without a copy, in row-major order, to be read as
    /// a vector, whose type this is; `false` for anything else.
    pub(crate) fn write_elements_of(&mut self, array: KeepAlive, kind: &str) -> bool {
        let Some(plain) = PlainType::of((*array).type_id()) else { return false };
        let Some(shape) = plain.shape(&*array) else { return false };
        if !self.large(plain, &shape) {
            return false;
        }
        let Some(bulk) = plain.share(array) else { return false };
        self.write_bulk(bulk, kind, &[shape.iter().product()]);
        true
    }

    fn write_plain(&mut self, value: &dyn Any, plain: &PlainType, kind: &str) {
        let Some(shape) = plain.shape(value) else { return };
        if self.large(plain, &shape)
            && let Some(bulk) = plain.copy(value)
        {
            return self.write_bulk(bulk, kind, &shape);
        }
        let length_at = self.begin(PLAIN, kind);
        self.write_shape(&shape);
        plain.append(value, &mut self.bytes);
        self.end(length_at);
    }

    fn write_bulk(&mut self, bulk: Bulk, kind: &str, shape: &[usize]) {
        let length_at = self.begin(PLAIN_BULK, kind);
        self.write_shape(shape);
        self.end(length_at);
        self.bulks.push(bulk);
    }

    fn large(&self, plain: &PlainType, shape: &[usize]) -> bool {
        let bytes = shape.iter().product::<usize>() * plain.element_size();
        bytes >= BULK && self.bulks.len() < MAX_BULKS
    }

    fn write_shape(&mut self, shape: &[usize]) {
        self.bytes.push(shape.len() as u8);
        for &extent in shape {
            self.bytes.extend_from_slice(&(extent as u64).to_le_bytes());
        }
    }

    /// Writes what goes before a value; where its length belongs.
    fn begin(&mut self, form: u8, kind: &str) -> usize {
        self.bytes.push(form);
        let name_at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        push_short_name(kind, &mut self.bytes);
        let name = (self.bytes.len() - name_at - 2).min(usize::from(u16::MAX));
        self.bytes.truncate(name_at + 2 + name);
        self.bytes[name_at..name_at + 2].copy_from_slice(&(name as u16).to_le_bytes());
        self.bytes.extend_from_slice(&[0; 8]);
        self.bytes.len() - 8
    }

    fn end(&mut self, length_at: usize) {
        let length = (self.bytes.len() - length_at - 8) as u64;
        self.bytes[length_at..length_at + 8].copy_from_slice(&length.to_le_bytes());
    }
}

struct Written {
    bytes: Arc<Vec<u8>>,
    bulks: Vec<Bulk>,
    refs: Vec<(RefId, KeepAlive)>,
}

/// Values that were written. A clone is a second handle on the same memory.
#[derive(Clone)]
pub struct Blob(Arc<Written>);

/// What goes before the bytes of a blob in a message.
#[derive(Serialize, Deserialize)]
struct Preface {
    bytes: usize,
    /// Whether the bytes are a bulk of their own.
    apart: bool,
    bulks: usize,
    refs: Vec<RefId>,
}

impl Default for Blob {
    fn default() -> Blob {
        Blob::empty()
    }
}

/// A blob inside a value: everything in one piece. Its handles travel with the value.
impl Serialize for Blob {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        for (id, kept) in &self.0.refs {
            carry::<S::Error>(Arc::clone(kept), *id)?;
        }
        let ids: Vec<RefId> = self.0.refs.iter().map(|(id, _)| *id).collect();
        let bulks: Vec<(usize, &[u8])> =
            self.0.bulks.iter().map(|bulk| (bulk.align(), bulk.bytes())).collect();
        (&*self.0.bytes, bulks, ids).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Blob, D::Error> {
        use serde::de::Error;
        type Parts = (Vec<u8>, Vec<(usize, Vec<u8>)>, Vec<RefId>);
        let (bytes, bulks, ids) = Parts::deserialize(from)?;
        let bulk = |(align, bytes): (usize, Vec<u8>)| {
            let mut buffer = Buffer::new(bytes.len(), align).map_err(D::Error::custom)?;
            buffer.fill(&bytes);
            Ok(Bulk::of_buffer(Arc::new(buffer)))
        };
        let bulks = bulks.into_iter().map(bulk).collect::<Result<_, D::Error>>()?;
        let refs = ids.into_iter().map(|id| {
            let kept = super::handles::came_with(id)
                .ok_or_else(|| D::Error::custom("a handle can only come in a remote call"))?;
            Ok((id, Arc::new(super::handles::Lent::of(&kept)) as KeepAlive))
        });
        let refs = refs.collect::<Result<_, D::Error>>()?;
        Ok(Blob(Arc::new(Written { bytes: Arc::new(bytes), bulks, refs })))
    }
}

impl Blob {
    /// A blob without values.
    pub fn empty() -> Blob {
        BlobWriter::new().finish()
    }

    /// The handles inside, and what keeps their things alive.
    pub fn refs(&self) -> &[(RefId, KeepAlive)] {
        &self.0.refs
    }

    /// Bytes of memory, with all bulks.
    pub fn size(&self) -> usize {
        self.0.bytes.len() + self.0.bulks.iter().map(Bulk::len).sum::<usize>()
    }

    /// Appends the blob to a message: what is short to its head, what is long to its bulks.
    pub(crate) fn attach(&self, head: &mut Vec<u8>, bulks: &mut Vec<Bulk>) {
        let written = &*self.0;
        let preface = Preface {
            bytes: written.bytes.len(),
            apart: written.bytes.len() >= BULK,
            bulks: written.bulks.len(),
            refs: written.refs.iter().map(|(id, _)| *id).collect(),
        };
        let before = std::mem::take(head);
        *head = postcard::to_extend(&preface, before)
            .unwrap_or_else(|_| unreachable!("numbers are written to memory"));
        if preface.apart {
            bulks.push(Bulk::of(Arc::clone(&written.bytes)));
        } else {
            head.extend_from_slice(&written.bytes);
        }
        bulks.extend(written.bulks.iter().cloned());
    }

    /// The blob as it would arrive, for a reader in this process. Copies everything once.
    pub(crate) fn arrive(&self) -> Result<Incoming, DecodeError> {
        let copy = |bulk: &Bulk| Buffer::copy_of(bulk.bytes(), bulk.align());
        let bulks = self.0.bulks.iter().map(copy).collect::<Result<Vec<_>, _>>();
        Ok(Incoming {
            bytes: Bytes::Own(self.0.bytes.to_vec()),
            bulks: bulks.map_err(|error| damaged_frame(error.to_string()))?.into_iter(),
            refs: self.0.refs.iter().map(|(id, _)| *id).collect(),
            kept: self.0.refs.iter().map(|(_, kept)| Arc::clone(kept)).collect(),
        })
    }

    /// As [`Blob::arrive`], but copies only what others hold, too, or what was never sent.
    pub(crate) fn into_incoming(self) -> Result<Incoming, DecodeError> {
        let written = match Arc::try_unwrap(self.0) {
            Ok(written) => written,
            Err(shared) => return Blob(shared).arrive(),
        };
        let bulks = written.bulks.into_iter().map(Bulk::into_buffer).collect::<Result<Vec<_>, _>>();
        let (refs, kept) = written.refs.into_iter().unzip();
        Ok(Incoming {
            bytes: Bytes::Own(Arc::unwrap_or_clone(written.bytes)),
            bulks: bulks.map_err(|error| damaged_frame(error.to_string()))?.into_iter(),
            refs,
            kept,
        })
    }
}

enum Bytes {
    Own(Vec<u8>),
    Bulk(Buffer),
}

/// Values that have arrived, to be read once by a [`BlobReader`].
pub struct Incoming {
    bytes: Bytes,
    bulks: std::vec::IntoIter<Buffer>,
    refs: Vec<RefId>,
    /// What the handles lead to, until they are read.
    kept: Vec<KeepAlive>,
}

impl Default for Incoming {
    fn default() -> Incoming {
        let (bytes, bulks) = (Bytes::Own(Vec::new()), Vec::new().into_iter());
        Incoming { bytes, bulks, refs: Vec::new(), kept: Vec::new() }
    }
}

impl Incoming {
    /// Takes a blob from the front of a message: the reverse of [`Blob::attach`].
    pub(crate) fn detach(
        head: &mut &[u8],
        bulks: &mut std::vec::IntoIter<Buffer>,
    ) -> Result<Incoming, DecodeError> {
        let (preface, rest) = postcard::take_from_bytes::<Preface>(head)
            .map_err(|error| damaged_frame(reason(error).to_owned()))?;
        let bytes = if preface.apart {
            *head = rest;
            bulks.next().filter(|bulk| bulk.len() == preface.bytes).map(Bytes::Bulk)
        } else {
            let split = rest.split_at_checked(preface.bytes);
            split.map(|(bytes, rest)| {
                *head = rest;
                Bytes::Own(bytes.to_vec())
            })
        };
        let bytes = bytes.ok_or_else(|| {
            damaged_frame(format!("{} bytes were announced, and did not come", preface.bytes))
        })?;
        if preface.bulks > bulks.len() {
            let (wanted, found) = (preface.bulks, bulks.len());
            return Err(damaged_frame(format!("{wanted} arrays were announced, {found} came")));
        }
        let own = bulks.by_ref().take(preface.bulks).collect::<Vec<_>>();
        Ok(Incoming { bytes, bulks: own.into_iter(), refs: preface.refs, kept: Vec::new() })
    }

    /// The handles inside.
    pub fn refs(&self) -> &[RefId] {
        &self.refs
    }

    /// Keeps alive what the handles lead to, as long as this lives.
    pub(crate) fn keep(&mut self, kept: Vec<KeepAlive>) {
        self.kept.extend(kept);
    }

    /// The values as a blob again, to be sent on without knowing their types.
    pub(crate) fn into_blob(self) -> Blob {
        let bytes = match self.bytes {
            Bytes::Own(bytes) => bytes,
            Bytes::Bulk(buffer) => buffer.bytes().to_vec(),
        };
        let bulks = self.bulks.map(|buffer| Bulk::of_buffer(Arc::new(buffer))).collect();
        let refs = self.refs.into_iter().zip(self.kept).collect();
        Blob(Arc::new(Written { bytes: Arc::new(bytes), bulks, refs }))
    }

    /// Reads the values, from the first on.
    pub fn reader(&mut self) -> BlobReader<'_> {
        let bytes = match &self.bytes {
            Bytes::Own(bytes) => bytes,
            Bytes::Bulk(buffer) => buffer.bytes(),
        };
        BlobReader { rest: bytes, bulks: &mut self.bulks, refs: &self.refs }
    }
}

/// Where a value that is read goes: an `Option<T>`.
trait Place {
    fn as_any(&mut self) -> &mut dyn Any;
    fn deserialize(&mut self, from: &mut Deserializer<'_>) -> postcard::Result<()>;
}

impl<T: Portable> Place for Option<T> {
    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn deserialize(&mut self, from: &mut Deserializer<'_>) -> postcard::Result<()> {
        *self = Some(T::deserialize(from)?);
        Ok(())
    }
}

/// Reads values, one after another, as they were written.
pub struct BlobReader<'a> {
    rest: &'a [u8],
    bulks: &'a mut std::vec::IntoIter<Buffer>,
    refs: &'a [RefId],
}

/// A value that is about to be read.
struct Found<'a> {
    form: u8,
    payload: &'a [u8],
}

impl<'a> BlobReader<'a> {
    /// Reads the next value. The elements of a large plain array stay where they arrived.
    pub fn read<T: Portable>(&mut self) -> Result<T, DecodeError> {
        let mut value: Option<T> = None;
        self.read_into(TypeId::of::<T>(), type_name::<T>(), &mut value)?;
        value.ok_or_else(|| damaged(type_name::<T>(), "it was not read"))
    }

    /// The part of `read` that is the same for all types, compiled once instead of in every cell.
    fn read_into(
        &mut self,
        id: TypeId,
        kind: &str,
        place: &mut dyn Place,
    ) -> Result<(), DecodeError> {
        match PlainType::of(id) {
            Some(plain) => self.read_plain(plain, kind, place.as_any()),
            None => self.read_any(kind, place),
        }
    }

    /// Whether all values have been read.
    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    fn read_any(&mut self, kind: &str, place: &mut dyn Place) -> Result<(), DecodeError> {
        let Found { form, payload } = self.next(kind)?;
        if form != POSTCARD {
            return Err(damaged(kind, &format!("its form is {form}")));
        }
        let mut deserializer = Deserializer::from_bytes(payload);
        let refs = self.refs.to_vec();
        let (result, _) = with(&CARRIED, refs, || place.deserialize(&mut deserializer));
        let left = result.and_then(|()| deserializer.finalize());
        match left {
            Ok([]) => Ok(()),
            Ok(left) => Err(damaged(kind, &format!("{} bytes were left over", left.len()))),
            Err(error) => Err(damaged(kind, reason(error))),
        }
    }

    fn read_plain(
        &mut self,
        plain: &PlainType,
        kind: &str,
        place: &mut dyn Any,
    ) -> Result<(), DecodeError> {
        let Found { form, payload } = self.next(kind)?;
        let (shape, elements) =
            split_shape(payload).ok_or_else(|| damaged(kind, "its shape is cut off"))?;
        let elements = match form {
            PLAIN => Buffer::copy_of(elements, plain.element_align())
                .map_err(|error| no_memory(kind, error))?,
            PLAIN_BULK => {
                self.bulks.next().ok_or_else(|| damaged(kind, "its elements did not come"))?
            }
            _ => return Err(damaged(kind, &format!("its form is {form}"))),
        };
        let bytes = elements.len();
        match plain.assemble(&shape, elements, place) {
            Ok(true) => Ok(()),
            Ok(false) => Err(damaged(kind, &format!("{bytes} bytes do not have shape {shape:?}"))),
            Err(misfit) => Err(misfits(kind, misfit)),
        }
    }

    /// Reads what goes before a value, which must be of this type.
    fn next(&mut self, kind: &str) -> Result<Found<'a>, DecodeError> {
        if self.rest.is_empty() {
            return Err(DecodeError::Nothing { wanted: short_name(kind) });
        }
        let cut_off = || damaged(kind, "it is cut off");
        let (&[form, low, high], rest) = self.rest.split_first_chunk().ok_or_else(cut_off)?;
        let (name, rest) = rest
            .split_at_checked(usize::from(u16::from_le_bytes([low, high])))
            .ok_or_else(cut_off)?;
        let mut wanted = Vec::with_capacity(name.len());
        push_short_name(kind, &mut wanted);
        wanted.truncate(usize::from(u16::MAX));
        if wanted != name {
            let found = String::from_utf8_lossy(name).into_owned();
            return Err(DecodeError::Type { wanted: short_name(kind), found });
        }
        let (length, rest) = rest.split_first_chunk().ok_or_else(cut_off)?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| cut_off())?;
        let (payload, rest) = rest.split_at_checked(length).ok_or_else(cut_off)?;
        self.rest = rest;
        Ok(Found { form, payload })
    }
}

/// The dimensions at the front of a plain array, and what follows.
fn split_shape(payload: &[u8]) -> Option<(Vec<usize>, &[u8])> {
    let (&dimensions, rest) = payload.split_first()?;
    let (extents, rest) = rest.split_at_checked(8 * usize::from(dimensions))?;
    let (extents, _) = extents.as_chunks::<8>();
    let shape = extents.iter().map(|&extent| usize::try_from(u64::from_le_bytes(extent)));
    Some((shape.collect::<Result<_, _>>().ok()?, rest))
}

/// Appends a type's name without paths: cells compile the same type again in other crates.
fn push_short_name(name: &str, to: &mut Vec<u8>) {
    let mut word = to.len();
    let mut bytes = name.bytes().peekable();
    while let Some(byte) = bytes.next() {
        if byte == b':' && bytes.peek() == Some(&b':') {
            bytes.next();
            to.truncate(word);
            continue;
        }
        to.push(byte);
        if !(byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80) {
            word = to.len();
        }
    }
}

/// A type's name without paths: `Complex<f64>`.
pub(crate) fn short_name(name: &str) -> String {
    let mut short = Vec::with_capacity(name.len());
    push_short_name(name, &mut short);
    String::from_utf8_lossy(&short).into_owned()
}

fn damaged(kind: &str, why: &str) -> DecodeError {
    DecodeError::Damaged { wanted: short_name(kind), why: why.to_owned() }
}

fn damaged_frame(why: String) -> DecodeError {
    DecodeError::Frame { why }
}

fn misfits(kind: &str, misfit: Misfit) -> DecodeError {
    damaged(kind, &misfit.to_string())
}

fn no_memory(kind: &str, error: NoMemory) -> DecodeError {
    match error {
        NoMemory::Refused(bytes) => DecodeError::Memory { wanted: short_name(kind), bytes },
        NoMemory::Alignment(_) => damaged(kind, &error.to_string()),
    }
}

/// What postcard's errors mean to somebody who does not know postcard.
fn reason(error: postcard::Error) -> &'static str {
    use postcard::Error;
    match error {
        Error::SerializeSeqLengthUnknown => "its `Serialize` does not tell a sequence's length",
        Error::WontImplement => "its type needs a format that describes itself (`deserialize_any`)",
        Error::SerdeSerCustom | Error::SerdeDeCustom => "its own (de)serialization refused it",
        Error::DeserializeUnexpectedEnd => "its bytes are cut off",
        Error::DeserializeBadVarint => "a number in it is too large for its type",
        Error::DeserializeBadBool => "a bool in it is neither 0 nor 1",
        Error::DeserializeBadChar => "a char in it is not Unicode",
        Error::DeserializeBadUtf8 => "a string in it is not UTF-8",
        Error::DeserializeBadOption => "an Option in it is neither None nor Some",
        Error::DeserializeBadEnum => "an enum in it has no such variant",
        _ => "its bytes make no sense",
    }
}

thread_local! {
    /// The handles inside the value that is being written, innermost writer.
    static CARRYING: RefCell<Option<Vec<(RefId, KeepAlive)>>> = const { RefCell::new(None) };
    /// The handles that came with the value that is being read, innermost reader.
    static CARRIED: RefCell<Option<Vec<RefId>>> = const { RefCell::new(None) };
}

/// Runs `action` with `list` in place, and gives both results. What was in place before is back
/// afterwards, also after a panic.
fn with<E, R>(
    place: &'static LocalKey<RefCell<Option<Vec<E>>>>,
    list: Vec<E>,
    action: impl FnOnce() -> R,
) -> (R, Vec<E>) {
    struct Restore<E: 'static>(&'static LocalKey<RefCell<Option<Vec<E>>>>, Option<Vec<E>>);
    impl<E> Drop for Restore<E> {
        fn drop(&mut self) {
            self.0.set(self.1.take());
        }
    }
    let restore = Restore(place, place.replace(Some(list)));
    let result = action();
    let list = restore.0.take().unwrap_or_default();
    (result, list)
}

/// Says that the value being written holds a handle, whose thing `handle` keeps alive. Called by
/// `Serialize` of handles; an error unless a [`BlobWriter`] is writing on this thread.
pub(crate) fn carry<E: serde::ser::Error>(handle: KeepAlive, id: RefId) -> Result<(), E> {
    if carry_in_writer(handle, id) {
        return Ok(());
    }
    Err(E::custom("a handle can only travel in a remote call"))
}

fn carry_in_writer(handle: KeepAlive, id: RefId) -> bool {
    CARRYING.with_borrow_mut(|list| list.as_mut().map(|list| list.push((id, handle))).is_some())
}

/// The handles that came with the value that a [`BlobReader`] is reading on this thread; `None` if
/// none is reading.
pub(crate) fn carried() -> Option<Vec<RefId>> {
    CARRIED.with_borrow(Clone::clone)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ndarray::{Array1, Array2, Array3, ArrayD, IxDyn, ShapeBuilder, array};
    use num_complex::Complex;

    use super::*;

    fn blob<T: Portable>(value: &T) -> Blob {
        let mut writer = BlobWriter::new();
        writer.write(value).unwrap();
        writer.finish()
    }

    /// As if the blob had been sent: attached to a message and taken from it.
    fn sent(blob: &Blob) -> Incoming {
        let (mut head, mut bulks) = (b"before".to_vec(), Vec::new());
        blob.attach(&mut head, &mut bulks);
        head.extend_from_slice(b"after");
        let arrived = bulks.iter().map(|bulk| Buffer::copy_of(bulk.bytes(), bulk.align()).unwrap());
        let mut bulks = arrived.collect::<Vec<_>>().into_iter();
        let mut rest = &head[6..];
        let incoming = Incoming::detach(&mut rest, &mut bulks).unwrap();
        assert_eq!((rest, bulks.len()), (&b"after"[..], 0));
        incoming
    }

    fn there<T: Portable>(value: &T) -> T {
        let mut incoming = sent(&blob(value));
        let mut reader = incoming.reader();
        let value = reader.read().unwrap();
        assert!(reader.is_at_end());
        value
    }

    fn arrives<T: Portable + PartialEq + std::fmt::Debug>(value: T) {
        assert_eq!(there(&value), value);
        let value = Arc::new(value);
        let mut writer = BlobWriter::new();
        writer.write_owned(Arc::clone(&value)).unwrap();
        assert_eq!(&sent(&writer.finish()).reader().read::<T>().unwrap(), &*value);
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Sample {
        name: String,
        data: Vec<f64>,
        next: Option<Box<Sample>>,
        matrix: Array2<f32>,
        table: BTreeMap<String, (i64, char)>,
    }

    #[test]
    fn values_of_all_kinds_arrive() {
        arrives(());
        arrives(-7_i64);
        arrives((1_u8, "text".to_owned(), vec![Some(1.5_f32), None]));
        arrives(vec![(1.0, vec![2.0, f64::INFINITY]); 10_000]);
        let inner = Sample {
            name: "inner".to_owned(),
            data: vec![0.1; 10_000],
            next: None,
            matrix: array![[1.0, 2.0], [3.0, 4.0]],
            table: BTreeMap::from([("a".to_owned(), (i64::MIN, 'ß'))]),
        };
        arrives(Sample { next: Some(Box::new(inner.clone())), ..inner });
        arrives(vec!["x".repeat(100_000)]);
    }

    #[test]
    fn plain_arrays_of_all_sizes_arrive() {
        for count in [0, 1, 100, 2047, 2048, 2049, 100_000] {
            arrives((0..count).map(|i| i as f64).collect::<Vec<_>>());
            arrives((0..count).collect::<Vec<usize>>().into_boxed_slice());
            arrives((0..count).map(|i| i as u8).collect::<Vec<_>>());
            arrives(vec![Complex::new(1.0_f32, -2.0); count]);
            arrives(vec![i128::MIN; count]);
            arrives(Array1::<i32>::from_iter(0..count as i32));
            arrives(Array2::<f64>::from_elem((count, 3), 2.5));
            arrives(Array3::<f64>::from_elem((2, count, 0), 2.5));
            arrives(ArrayD::<u16>::from_elem(IxDyn(&[1, count, 2, 1, 1, 1, 1]), 9));
        }
    }

    #[test]
    fn arrays_in_any_layout_arrive() {
        for size in [4, 100] {
            let ordered = Array2::from_shape_fn((size, 2 * size), |(i, j)| (i * 1000 + j) as f64);
            arrives(ordered.clone().reversed_axes());
            let mut other = Array2::zeros((size, 2 * size).f());
            other.assign(&ordered);
            arrives(other);
            let mut every_second = ordered.clone();
            every_second.slice_collapse(ndarray::s![..;-1, ..;2]);
            arrives(every_second);
            let mut part = ordered;
            part.slice_collapse(ndarray::s![1.., ..]);
            arrives(part);
        }
    }

    #[test]
    fn shared_arrays_are_not_copied() {
        let array = Arc::new(Array2::<f64>::zeros((100, 100)));
        let mut writer = BlobWriter::new();
        writer.write_owned(Arc::clone(&array)).unwrap();
        let blob = writer.finish();
        assert_eq!(blob.0.bulks[0].bytes().as_ptr(), array.as_ptr().cast());
        assert!(blob.size() > 80_000);
        let mut incoming = sent(&blob);
        let arrived = incoming.bulks.as_slice()[0].bytes().as_ptr();
        let read = incoming.reader().read::<Array2<f64>>().unwrap();
        assert_eq!(read.as_ptr().cast(), arrived);
        drop(blob);
        assert_eq!(Arc::strong_count(&array), 1);
    }

    #[test]
    fn several_values_are_read_in_their_order() {
        let mut writer = BlobWriter::new();
        writer.write(&vec![1.0_f64; 10_000]).unwrap();
        writer.write(&"text".to_owned()).unwrap();
        writer.write(&vec![2_u8; 100_000]).unwrap();
        let blob = writer.finish();
        for mut incoming in [sent(&blob), blob.arrive().unwrap()] {
            let mut reader = incoming.reader();
            assert_eq!(reader.read::<Vec<f64>>().unwrap()[9_999], 1.0);
            assert_eq!(reader.read::<String>().unwrap(), "text");
            assert!(!reader.is_at_end());
            assert_eq!(reader.read::<Vec<u8>>().unwrap().len(), 100_000);
            assert!(reader.is_at_end());
            let nothing = reader.read::<u8>().unwrap_err();
            assert_eq!(nothing, DecodeError::Nothing { wanted: "u8".to_owned() });
        }
    }

    #[test]
    fn many_large_arrays_of_one_blob_arrive() {
        let mut writer = BlobWriter::new();
        let array = Arc::new(vec![3_u64; BULK / 8]);
        for _ in 0..MAX_BULKS + 5 {
            writer.write_owned(Arc::clone(&array)).unwrap();
        }
        let mut incoming = sent(&writer.finish());
        let mut reader = incoming.reader();
        for _ in 0..MAX_BULKS + 5 {
            assert_eq!(reader.read::<Vec<u64>>().unwrap(), *array);
        }
        assert!(reader.is_at_end());
    }

    #[test]
    fn another_type_is_refused_by_name() {
        let mut incoming = sent(&blob(&vec![(1_i32, 2.0)]));
        let error = incoming.reader().read::<Vec<f64>>().unwrap_err();
        let text =
            "a value of type `Vec<f64>` was expected, and one of type `Vec<(i32, f64)>` arrived";
        assert_eq!(error.to_string(), text);
        let mut incoming = sent(&blob(&vec![1_u64; 10_000]));
        let error = incoming.reader().read::<Array1<u64>>().unwrap_err();
        assert!(matches!(error, DecodeError::Type { .. }), "{error}");
    }

    #[test]
    fn names_lose_their_paths() {
        let name = short_name("alloc::vec::Vec<(a::b::C, [ünï::Fn; 3], &dyn x::Y<core::Z>)>");
        assert_eq!(name, "Vec<(C, [Fn; 3], &dyn Y<Z>)>");
    }

    #[test]
    fn bulks_of_another_size_are_refused() {
        let mut incoming = sent(&blob(&vec![1.0_f64; 10_000]));
        for (len, align) in [(80_001, 8), (80_000, 4), (79_992, 8), (0, 8)] {
            let buffer = Buffer::copy_of(&vec![0; len], align).unwrap();
            incoming.bulks = vec![buffer].into_iter();
            let error = incoming.reader().read::<Vec<f64>>().unwrap_err();
            assert!(matches!(error, DecodeError::Damaged { .. }), "{error}");
        }
        let error = incoming.reader().read::<Vec<f64>>().unwrap_err();
        assert!(error.to_string().ends_with("its elements did not come"), "{error}");
    }

    /// Reads as somebody does who expects these values, and reports only whether it was possible.
    fn attempt(bytes: &[u8], bulks: &[usize]) -> bool {
        let bulks = bulks.iter().map(|&len| Buffer::copy_of(&vec![1; len], 8).unwrap());
        let mut bulks = bulks.collect::<Vec<_>>().into_iter();
        let Ok(mut incoming) = Incoming::detach(&mut &*bytes, &mut bulks) else { return false };
        let mut reader = incoming.reader();
        reader.read::<(Sample, bool)>().is_ok()
            && reader.read::<Vec<f64>>().is_ok()
            && reader.read::<Array2<u16>>().is_ok()
    }

    #[test]
    fn damaged_bytes_give_errors() {
        use rand::{Rng, SeedableRng};
        let sample = Sample {
            name: "name".to_owned(),
            data: vec![1.0, 2.0],
            next: None,
            matrix: Array2::zeros((2, 3)),
            table: BTreeMap::from([("key".to_owned(), (5, 'x'))]),
        };
        let mut writer = BlobWriter::new();
        writer.write(&(sample, true)).unwrap();
        writer.write(&vec![1.0_f64; 5_000]).unwrap();
        writer.write(&Array2::<u16>::zeros((3, 4))).unwrap();
        let (mut head, mut bulks) = (Vec::new(), Vec::new());
        writer.finish().attach(&mut head, &mut bulks);
        assert!(attempt(&head, &[40_000]));
        assert!(!attempt(&head, &[]));
        assert!((0..head.len()).all(|end| !attempt(&head[..end], &[40_000])));
        let mut random = rand::rngs::SmallRng::seed_from_u64(3);
        let mut refused = 0;
        for _ in 0..200_000 {
            let mut damaged = head.clone();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..damaged.len());
                damaged[at] = random.random();
            }
            refused += usize::from(!attempt(&damaged, &[40_000]));
        }
        assert!(refused > 100_000, "{refused}");
    }

    /// A handle as futures are: serde sees its name, the blob keeps its thing.
    #[derive(Debug, Clone, PartialEq)]
    struct Handle(RefId, Arc<String>);

    impl Serialize for Handle {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            carry::<S::Error>(Arc::clone(&self.1) as KeepAlive, self.0)?;
            self.0.serialize(serializer)
        }
    }

    impl<'de> Deserialize<'de> for Handle {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Handle, D::Error> {
            let id = RefId::deserialize(deserializer)?;
            assert!(carried().is_some_and(|list| list.contains(&id)));
            Ok(Handle(id, Arc::default()))
        }
    }

    fn handle(number: u64) -> Handle {
        Handle(RefId { owner: 2, creator: 1, number }, Arc::new(number.to_string()))
    }

    #[test]
    fn handles_travel_inside_values() {
        let handles = [handle(5), handle(6)];
        let mut writer = BlobWriter::new();
        writer.write(&("first".to_owned(), vec![handles[0].clone()])).unwrap();
        writer.write(&Some(handles[1].clone())).unwrap();
        let blob = writer.finish();
        let ids = handles.iter().map(|handle| handle.0).collect::<Vec<_>>();
        assert_eq!(blob.refs().iter().map(|(id, _)| *id).collect::<Vec<_>>(), ids);
        assert_eq!(Arc::strong_count(&handles[0].1), 2);
        let mut incoming = sent(&blob);
        assert_eq!(incoming.refs(), ids);
        let mut reader = incoming.reader();
        let (_, first) = reader.read::<(String, Vec<Handle>)>().unwrap();
        assert_eq!((first[0].0, carried()), (ids[0], None));
        assert_eq!(reader.read::<Option<Handle>>().unwrap().unwrap().0, ids[1]);
        drop(blob);
        assert_eq!(Arc::strong_count(&handles[0].1), 1);
    }

    #[test]
    fn handles_travel_in_calls_only() {
        let error = carry::<serde::de::value::Error>(Arc::new(()), handle(1).0).unwrap_err();
        assert_eq!(error.to_string(), "a handle can only travel in a remote call");
    }

    /// Writes a blob of its own while it is written, and refuses itself if it is told to.
    #[derive(Clone)]
    struct Odd(bool);

    impl Serialize for Odd {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            carry::<S::Error>(Arc::new(()), handle(1).0)?;
            assert_eq!(blob(&handle(2)).refs().len(), 1);
            if self.0 { Err(serde::ser::Error::custom("odd")) } else { serializer.serialize_u8(7) }
        }
    }

    impl<'de> Deserialize<'de> for Odd {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Odd, D::Error> {
            struct Any;
            impl serde::de::Visitor<'_> for Any {
                type Value = Odd;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("anything")
                }
            }
            deserializer.deserialize_any(Any)
        }
    }

    #[test]
    fn a_value_that_refuses_itself_leaves_nothing_behind() {
        let mut writer = BlobWriter::new();
        writer.write(&1_u8).unwrap();
        let error = writer.write(&Odd(true)).unwrap_err();
        assert!(error.to_string().starts_with("a value of type `Odd` could not be written"));
        writer.write(&2_u8).unwrap();
        let blob = writer.finish();
        assert_eq!(blob.refs().len(), 0);
        let mut incoming = sent(&blob);
        let mut reader = incoming.reader();
        assert_eq!((reader.read::<u8>(), reader.read::<u8>()), (Ok(1), Ok(2)));
        assert!(reader.is_at_end());
    }

    #[test]
    fn writers_inside_writers_keep_their_handles_apart() {
        let blob = blob(&Odd(false));
        assert_eq!(blob.refs().iter().map(|(id, _)| id.number).collect::<Vec<_>>(), [1]);
        let Err(error) = sent(&blob).reader().read::<Odd>() else { panic!("postcard guesses") };
        assert!(error.to_string().contains("deserialize_any"), "{error}");
    }

    /// Seconds that two ways of writing and reading large values take.
    #[test]
    #[ignore = "a measurement"]
    fn rates() {
        fn rate<T: Portable>(what: &str, value: &T, bytes: usize) {
            let (mut write, mut read) = (f64::INFINITY, f64::INFINITY);
            for _ in 0..5 {
                let start = std::time::Instant::now();
                let blob = blob(value);
                write = write.min(start.elapsed().as_secs_f64());
                let mut incoming = blob.arrive().unwrap();
                let start = std::time::Instant::now();
                let value = incoming.reader().read::<T>().unwrap();
                read = read.min(start.elapsed().as_secs_f64());
                drop(value);
            }
            let [write, read] = [write, read].map(|time| bytes as f64 / time / 1e9);
            println!("{what}: written at {write:.2} GB/s, read at {read:.2}");
        }
        let data = vec![1.5_f64; 10_000_000];
        rate("Vec<f64>, 80 MB", &data, 80_000_000);
        rate("(f64, Vec<f64>), 80 MB", &(1.0, data), 80_000_000);
        let rows = vec![(1.0_f64, vec![2.0_f64; 100]); 100_000];
        rate("Vec<(f64, Vec<f64>)>, 81 MB", &rows, 80_800_000);
        rate("(u8, Array2<f64>), 80 MB", &(0_u8, Array2::<f64>::ones((1000, 10_000))), 80_000_000);
        rate("(u8, Vec<i64>), 80 MB", &(0_u8, vec![123_456_i64; 10_000_000]), 80_000_000);
        rate("(u8, Vec<u8>), 80 MB", &(0_u8, vec![123_u8; 80_000_000]), 80_000_000);
        rate("(u8, String), 80 MB", &(0_u8, "x".repeat(80_000_000)), 80_000_000);
        for bytes in [1 << 10, 4 << 10, 16 << 10, 64 << 10] {
            rate(&format!("Vec<f64>, {bytes} B"), &vec![1.0_f64; bytes / 8], bytes);
        }
        rate("(f64, f64), 16 B", &(1.0_f64, 2.0_f64), 16);
    }
}
