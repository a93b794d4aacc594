//! The files of a module on their way to another host, where they never touch a disk.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lz4_flex::{compress_prepend_size, decompress_size_prepended};
use parcell_link::Code;
use rustix::fs::{MemfdFlags, memfd_create};
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::modules::ModuleKey;
use super::objects;

/// A compressed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packed(Arc<[u8]>);

/// The files that a module's [`Code`] names, compressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Files {
    module: Packed,
    /// Of those libraries that are not the system's, by the name in the code.
    libraries: Vec<(String, Packed)>,
}

/// The libraries that have come to this process: their names on the driver, and where they are here.
static HELD: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

fn held_here() -> MutexGuard<'static, BTreeMap<String, String>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The names of the libraries that have come to this process.
pub(crate) fn held() -> Vec<String> {
    held_here().keys().cloned().collect()
}

impl Files {
    /// The files, without those libraries that the receiver has: those that it holds, and those that
    /// every process has from its start. `module` is where the module's file lies here. Blocks while
    /// what was not packed before is read and packed.
    pub(crate) fn pack(code: &Code, module: &str, held: &[String]) -> Result<Files, String> {
        let wanted = |library: &&String| {
            !is_of_system(library) && !is_from_start(library) && !held.contains(library)
        };
        let own = code.libraries.iter().filter(wanted);
        let place = |library: &String| held_here().get(library).unwrap_or(library).clone();
        let libraries = own.map(|library| Ok((library.clone(), packed(&place(library))?)));
        let libraries = libraries.collect::<Result<_, String>>()?;
        Ok(Files { module: packed(module)?, libraries })
    }

    /// Makes files of this process alone of them; the code that names these. They live as long as the
    /// process. With `keep`, others will ask for them, and they stay packed as well.
    pub(crate) fn unpack(&self, code: Code, key: &ModuleKey, keep: bool) -> Result<Code, String> {
        let module = self.module.unpacked()?;
        if Sha256::digest(&module)[..] != key[..] {
            return Err("the code of a call is not what its hash says".to_owned());
        }
        let place = |packed: &Packed, bytes: &[u8]| {
            let place = in_memory(bytes)?;
            if keep {
                kept().insert(place.clone(), packed.clone());
            }
            Ok::<_, String>(place)
        };
        // Two modules on their way at once may bring the same library.
        let mut held = held_here();
        for (name, packed) in &self.libraries {
            if !held.contains_key(name) {
                held.insert(name.clone(), place(packed, &packed.unpacked()?)?);
            }
        }
        // A second copy of what was loaded at the start would have variables of its own.
        let needed = code.libraries.iter().filter(|library| !is_from_start(library));
        let libraries =
            needed.map(|library| held.get(library).unwrap_or(library).clone()).collect();
        drop(held);
        Ok(Code { file: place(&self.module, &module)?, libraries, ..code })
    }

    /// How long they are on their way.
    pub(crate) fn bytes(&self) -> u64 {
        let libraries = self.libraries.iter().map(|(_, packed)| packed);
        libraries.chain([&self.module]).map(|packed| packed.0.len() as u64).sum()
    }
}

impl Packed {
    fn unpacked(&self) -> Result<Vec<u8>, String> {
        let damaged = |e| format!("the code of a call arrived damaged: {e}");
        decompress_size_prepended(&self.0).map_err(damaged)
    }
}

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Packed, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Packed;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Packed, E> {
                Ok(Packed(bytes.into()))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

/// So much stays packed; the oldest goes first.
const ROOM: usize = 64 << 20;

/// What was packed and will be asked for again, by the names of the files.
struct Kept {
    packed: VecDeque<(String, Packed)>,
    bytes: usize,
}

static KEPT: Mutex<Kept> = Mutex::new(Kept { packed: VecDeque::new(), bytes: 0 });

fn kept() -> MutexGuard<'static, Kept> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kept {
    fn insert(&mut self, file: String, packed: Packed) {
        self.bytes += packed.0.len();
        self.packed.push_back((file, packed));
        while self.bytes > ROOM && self.packed.len() > 1 {
            self.bytes -= self.packed.pop_front().map_or(0, |(_, oldest)| oldest.0.len());
        }
    }
}

/// A file, packed: read and compressed by whoever asks first, while others wait.
fn packed(file: &str) -> Result<Packed, String> {
    let mut kept = kept();
    if let Some((_, packed)) = kept.packed.iter().find(|(name, _)| name == file) {
        return Ok(packed.clone());
    }
    let bytes = fs::read(file).map_err(|e| format!("{file} cannot be read: {e}"))?;
    let packed = Packed(compress_prepend_size(&bytes).into());
    kept.insert(file.to_owned(), packed.clone());
    Ok(packed)
}

/// Whether every host has a library, found by its name.
fn is_of_system(library: &str) -> bool {
    let system = ["/lib/", "/lib64/", "/usr/lib/", "/usr/lib64/"];
    !library.contains('/') || system.iter().any(|folder| library.starts_with(folder))
}

/// Whether a library is one of those with which every process of the session starts.
fn is_from_start(library: &str) -> bool {
    let name = library.rsplit('/').next().unwrap_or_default();
    name.starts_with("libparcell") && objects::named(name).is_some()
}

/// The path of a file that only this process has.
fn in_memory(bytes: &[u8]) -> Result<String, String> {
    let failed = |e: std::io::Error| format!("no memory for {} bytes of code: {e}", bytes.len());
    let file = memfd_create("parcell-module", MemfdFlags::CLOEXEC);
    let mut file = File::from(file.map_err(|e| failed(e.into()))?);
    file.write_all(bytes).map_err(failed)?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    // Open for good: debuggers and backtraces read it again.
    let _ = file.into_raw_fd();
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_arrive_as_they_were() {
        let folder = std::env::temp_dir();
        let name = |kind| folder.join(format!("parcell-carried-{kind}-{}", std::process::id()));
        let (module, library) = (name("module"), name("library"));
        fs::write(&module, [7; 5000]).unwrap();
        fs::write(&library, "a library").unwrap();
        let code = Code {
            number: 1,
            file: module.display().to_string(),
            symbol: String::new(),
            needs: Vec::new(),
            libraries: vec!["libm.so.6".into(), library.display().to_string()],
        };
        let files = Files::pack(&code, &code.file, &[]).unwrap();
        let again = Files::pack(&code, &code.file, &code.libraries).unwrap();
        assert!(again.libraries.is_empty() && again.bytes() < files.bytes());
        assert!(Arc::ptr_eq(&files.module.0, &again.module.0), "it is packed once");
        fs::remove_file(&module).unwrap();
        fs::remove_file(&library).unwrap();
        let sent = postcard::to_stdvec(&files).unwrap();
        let files: Files = postcard::from_bytes(&sent).unwrap();
        let key = Sha256::digest([7; 5000]).into();
        let here = files.unpack(code.clone(), &key, false).unwrap();
        assert_eq!(fs::read(&here.file).unwrap(), [7; 5000]);
        assert_eq!(here.libraries[0], "libm.so.6");
        assert_eq!(fs::read(&here.libraries[1]).unwrap(), b"a library");
        assert!(held().contains(&code.libraries[1]));
        let twice = files.unpack(code.clone(), &key, false).unwrap();
        assert_eq!(twice.libraries, here.libraries, "a library is here once");
        assert_eq!(Files::pack(&code, &here.file, &[]).unwrap(), files, "passed on as they came");
        assert!(files.unpack(code.clone(), &[0; 32], false).unwrap_err().contains("hash"));
        let lost = Files::pack(&code, "/nowhere/module.so", &[]);
        assert!(lost.unwrap_err().contains("cannot be read"));
    }

    #[test]
    fn the_oldest_gives_way() {
        let mut kept = Kept { packed: VecDeque::new(), bytes: 0 };
        for n in 0..10 {
            kept.insert(n.to_string(), Packed(vec![0; ROOM / 4].into()));
        }
        let names: Vec<&str> = kept.packed.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!((names, kept.bytes), (vec!["6", "7", "8", "9"], ROOM));
        kept.insert("large".to_owned(), Packed(vec![0; 2 * ROOM].into()));
        assert_eq!(kept.packed.len(), 1);
    }
}
