//! The modules that this process knows: what it needs to load them, and where their code lies. An
//! address in a module means the same in all processes as the module and the offset from its base.
//!
//! # Invariants
//! 1. A loaded module is never unloaded, so its code and its base stay valid.
//! 2. A module was compiled against this very library by the session's kernel, and exports its
//!    symbol as `extern "C-unwind" fn()`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::c_void;
use std::io;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};

use libloading::os::unix::Library;
use parcell_link::Code;
use sha2::{Digest, Sha256};

/// The function that a module exports.
pub(crate) type Entry = extern "C-unwind" fn();

/// The SHA-256 of a module's file.
pub(crate) type Hash = [u8; 32];

/// A module that this process knows, loaded or not.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) code: Code,
    entry: OnceLock<Entry>,
    hash: OnceLock<Hash>,
}

static MODULES: LazyLock<Mutex<Modules>> = LazyLock::new(Mutex::default);

#[derive(Debug, Default)]
struct Modules {
    by_number: BTreeMap<u64, Arc<Loaded>>,
    /// Numbers of loaded modules by the address at which they begin.
    by_base: BTreeMap<usize, u64>,
    libraries: BTreeSet<String>,
}

fn modules() -> MutexGuard<'static, Modules> {
    MODULES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes up what is known of a module; a number that is known already stays what it was.
pub(crate) fn record(code: &Code) -> Arc<Loaded> {
    let new = || {
        let (entry, hash) = (OnceLock::new(), OnceLock::new());
        Arc::new(Loaded { code: code.clone(), entry, hash })
    };
    Arc::clone(modules().by_number.entry(code.number).or_insert_with(new))
}

/// As [`record`], of a module whose file has this hash.
pub(crate) fn record_as(code: &Code, hash: Hash) -> Arc<Loaded> {
    let module = record(code);
    module.hash.get_or_init(|| hash);
    module
}

/// The module of this number.
pub(crate) fn by_number(number: u64) -> Option<Arc<Loaded>> {
    modules().by_number.get(&number).cloned()
}

/// The loaded module in which an address lies, and how far from its beginning.
pub(crate) fn by_address(address: usize) -> Option<(Arc<Loaded>, usize)> {
    let base = base_of(address)?;
    let modules = modules();
    let module = modules.by_number.get(modules.by_base.get(&base)?)?;
    Some((Arc::clone(module), address - base))
}

/// The module whose file has this hash. Reads the files of those that were never asked for theirs;
/// a file that cannot be read is none of this hash.
pub(crate) fn by_hash(hash: &Hash) -> Option<Arc<Loaded>> {
    let all: Vec<Arc<Loaded>> = modules().by_number.values().rev().cloned().collect();
    let known = all.iter().find(|module| module.hash.get() == Some(hash)).cloned();
    known.or_else(|| all.into_iter().find(|module| module.hash().is_ok_and(|own| own == *hash)))
}

impl Loaded {
    /// The SHA-256 of its file, which is read once.
    ///
    /// # Errors
    /// Those of reading it.
    pub(crate) fn hash(&self) -> io::Result<Hash> {
        if let Some(hash) = self.hash.get() {
            return Ok(*hash);
        }
        let hash = Sha256::digest(std::fs::read(&self.code.file)?).into();
        Ok(*self.hash.get_or_init(|| hash))
    }

    /// Loads the module, before it those that it needs; once.
    ///
    /// # Errors
    /// What the loader says; a needed module that this process does not know.
    pub(crate) fn load(&self) -> Result<(), String> {
        if self.entry.get().is_some() {
            return Ok(());
        }
        for number in &self.code.needs {
            let needed = by_number(*number).ok_or_else(|| {
                format!("it needs module {number}, which this process does not know")
            })?;
            needed.load()?;
        }
        for library in &self.code.libraries {
            load_once(library)?;
        }
        let library = open(&self.code.file)?;
        // SAFETY: invariant 2.
        let entry = unsafe { library.get::<Entry>(self.code.symbol.as_bytes()) };
        let entry = *entry.map_err(|e| e.to_string())?;
        if let Some(base) = base_of(entry as usize) {
            modules().by_base.insert(base, self.code.number);
        }
        self.entry.get_or_init(|| entry);
        Ok(())
    }

    /// The function that it exports, once it is loaded.
    pub(crate) fn entry(&self) -> Option<Entry> {
        self.entry.get().copied()
    }

    /// The address at which it begins, once it is loaded.
    pub(crate) fn base(&self) -> Option<usize> {
        base_of(self.entry()? as usize)
    }
}

/// Loads what modules link without naming it, and what the C library keeps beside itself.
fn load_once(library: &str) -> Result<(), String> {
    if !modules().libraries.contains(library) {
        open(library)?;
        modules().libraries.insert(library.to_owned());
    }
    Ok(())
}

fn open(file: &str) -> Result<&'static Library, String> {
    // Global, since modules name what other modules define: statics, and the cell library itself.
    let how = libc::RTLD_NOW | libc::RTLD_GLOBAL;
    // SAFETY: invariant 2; a module has no initialisers of its own. It is leaked, which is
    // invariant 1.
    let library = unsafe { Library::open(Some(file), how) }.map_err(|e| e.to_string())?;
    Ok(Box::leak(Box::new(library)))
}

/// The address at which the object begins that holds this address.
fn base_of(address: usize) -> Option<usize> {
    // SAFETY: the struct is plain data, which `dladdr` fills if it returns other than 0; any address
    // may be asked about.
    let (found, info) = unsafe {
        let mut info: libc::Dl_info = std::mem::zeroed();
        (libc::dladdr(address as *const c_void, &raw mut info), info)
    };
    (found != 0).then_some(info.dli_fbase as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A library that is there on every machine stands for a module; nothing in it is called.
    fn module(number: u64, needs: Vec<u64>) -> Code {
        let (file, symbol) = ("libm.so.6".to_owned(), "cos".to_owned());
        Code { number, file, symbol, needs, libraries: vec!["libc.so.6".to_owned()] }
    }

    #[test]
    fn addresses_lead_to_loaded_modules() {
        let first = record(&module(1_000_001, Vec::new()));
        assert!(first.entry().is_none() && first.base().is_none());
        let second = record(&module(1_000_002, vec![1_000_001]));
        second.load().unwrap();
        assert!(first.entry().is_some(), "what a module needs is loaded with it");
        let entry = second.entry().unwrap() as usize;
        let (found, offset) = by_address(entry).unwrap();
        assert_eq!(found.code.file, "libm.so.6");
        assert_eq!(second.base().unwrap() + offset, entry);
        assert!(by_address(record as *const () as usize).is_none(), "the test is no module");
        assert!(by_address(1).is_none());
    }

    #[test]
    fn modules_that_cannot_be_loaded_say_why() {
        let unknown = record(&module(1_000_003, vec![1_000_009]));
        let why = unknown.load().unwrap_err();
        assert_eq!(why, "it needs module 1000009, which this process does not know");
        let file = "/nowhere/module.so".to_owned();
        let lost = record(&Code { file, ..module(1_000_004, Vec::new()) });
        assert!(lost.load().unwrap_err().contains("/nowhere/module.so"));
        assert!(lost.hash().is_err());
    }

    #[test]
    fn the_hash_is_that_of_the_file() {
        let file = std::env::temp_dir().join(format!("parcell-hash-{}", std::process::id()));
        std::fs::write(&file, "abc").unwrap();
        let code = Code { file: file.display().to_string(), ..module(1_000_005, Vec::new()) };
        let hash = record(&code).hash().unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(hash[..4], [0xba, 0x78, 0x16, 0xbf]);
        assert_eq!(by_hash(&hash).unwrap().code.number, 1_000_005, "it was kept");
        assert!(by_hash(&[0; 32]).is_none());
    }
}
