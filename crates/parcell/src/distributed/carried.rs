//! The files of a module on their way to another host, where they never touch a disk.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lz4_flex::{compress_prepend_size, decompress_size_prepended};
use parcell_link::Code;
use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::modules::ModuleKey;
use super::objects;

/// The files that a module's [`Code`] names, compressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Files {
    module: Vec<u8>,
    /// Of those libraries that are not the system's, by the name in the code.
    libraries: Vec<(String, Vec<u8>)>,
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
    /// Reads the files, without those libraries that the receiver has: those that it holds, and those
    /// that every process has from its start.
    pub(crate) fn pack(code: &Code, held: &[String]) -> Result<Files, String> {
        let read = |file: &str| {
            let bytes = fs::read(file).map_err(|e| format!("{file} cannot be read: {e}"))?;
            Ok::<_, String>(compress_prepend_size(&bytes))
        };
        let wanted = |library: &&String| {
            !is_of_system(library) && !is_from_start(library) && !held.contains(library)
        };
        let own = code.libraries.iter().filter(wanted);
        let libraries = own.map(|library| Ok((library.clone(), read(library)?)));
        let libraries = libraries.collect::<Result<_, String>>()?;
        Ok(Files { module: read(&code.file)?, libraries })
    }

    /// Makes files of this process alone of them; the code that names these. They live as long as the
    /// process.
    pub(crate) fn unpack(self, code: Code, key: &ModuleKey) -> Result<Code, String> {
        let damaged = |e| format!("the code of a call arrived damaged: {e}");
        let module = decompress_size_prepended(&self.module).map_err(damaged)?;
        if Sha256::digest(&module)[..] != key[..] {
            return Err("the code of a call is not what its hash says".to_owned());
        }
        let mut held = held_here();
        for (name, bytes) in self.libraries {
            let bytes = decompress_size_prepended(&bytes).map_err(damaged)?;
            held.insert(name, in_memory(&bytes)?);
        }
        // A second copy of what was loaded at the start would have variables of its own.
        let needed = code.libraries.iter().filter(|library| !is_from_start(library));
        let libraries =
            needed.map(|library| held.get(library).unwrap_or(library).clone()).collect();
        Ok(Code { file: in_memory(&module)?, libraries, ..code })
    }
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
        let files = Files::pack(&code, &[]).unwrap();
        assert!(Files::pack(&code, &code.libraries).unwrap().libraries.is_empty());
        fs::remove_file(&module).unwrap();
        fs::remove_file(&library).unwrap();
        let key = Sha256::digest([7; 5000]).into();
        let here = files.clone().unpack(code.clone(), &key).unwrap();
        assert_eq!(fs::read(&here.file).unwrap(), [7; 5000]);
        assert_eq!(here.libraries[0], "libm.so.6");
        assert_eq!(fs::read(&here.libraries[1]).unwrap(), b"a library");
        assert!(held().contains(&code.libraries[1]));
        assert!(files.unpack(code.clone(), &[0; 32]).unwrap_err().contains("hash"));
        assert!(Files::pack(&code, &[]).unwrap_err().contains("cannot be read"));
    }
}
