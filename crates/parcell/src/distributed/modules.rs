//! Code that means the same in every process: a shared object and the distance from its beginning.
//!
//! What every process has from its start (the program, the cell library, the standard library) goes
//! by its name. A cell's module goes by the hash of its contents; a process that has not loaded it
//! fetches it, see [`supply`].

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::blob::BlobReader;
use super::error::RemoteError;
use super::function::{Callable, FunctionRef, Trampoline};
use super::node::me;
use super::{carried, objects, supply};
use crate::loaded::{self, Hash, Loaded};
use parcell_link::Code;

/// A module by its contents.
pub(crate) type ModuleKey = Hash;

/// How to get a module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ModuleSource {
    /// Enough for a process on the same host.
    pub(crate) code: Code,
    /// What must be loaded before.
    pub(crate) needs: Vec<ModuleKey>,
    /// The files that `code` names, for a process of another host.
    pub(crate) files: Option<carried::Files>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Object {
    Module(ModuleKey),
    /// The name of its file; empty for the program.
    FromStart(String),
}

/// A place in code.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct CodeRef {
    object: Object,
    offset: u64,
}

#[derive(Default)]
struct Known {
    references: HashMap<usize, CodeRef>,
    bases: HashMap<Object, usize>,
}

static KNOWN: Mutex<Option<Known>> = Mutex::new(None);

fn known() -> MutexGuard<'static, Option<Known>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The place of an address of this process.
pub(crate) fn refer(address: usize) -> Result<CodeRef, RemoteError> {
    if let Some(found) = known().get_or_insert_default().references.get(&address) {
        return Ok(found.clone());
    }
    let place = find_place(address)?;
    known().get_or_insert_default().references.insert(address, place.clone());
    Ok(place)
}

fn find_place(address: usize) -> Result<CodeRef, RemoteError> {
    let failed = |what: String| RemoteError::NotPortable { worker: me() as usize, what };
    if let Some((module, offset)) = loaded::by_address(address) {
        let unreadable = |e| failed(format!("the module {} cannot be read: {e}", module.code.file));
        let key = module.hash().map_err(unreadable)?;
        return Ok(CodeRef { object: Object::Module(key), offset: offset as u64 });
    }
    let object = objects::holding(address)
        .ok_or_else(|| failed(format!("no loaded code lies at address {address:#x}")))?;
    let offset = (address - object.base) as u64;
    Ok(CodeRef { object: Object::FromStart(object.name), offset })
}

/// The address of a place in this process. Blocks while the module is fetched and loaded.
fn address(place: &CodeRef) -> Result<usize, RemoteError> {
    let known_base = known().get_or_insert_default().bases.get(&place.object).copied();
    let base = match known_base {
        Some(base) => base,
        None => {
            let base = base_of(&place.object)?;
            known().get_or_insert_default().bases.insert(place.object.clone(), base);
            base
        }
    };
    let offset = usize::try_from(place.offset).expect("processes of one kind");
    Ok(base + offset)
}

fn base_of(object: &Object) -> Result<usize, RemoteError> {
    let failed = |what: String| RemoteError::NotPortable { worker: me() as usize, what };
    match object {
        Object::FromStart(name) => {
            let found = objects::named(name).map(|object| object.base);
            found.ok_or_else(|| failed(format!("this process has not loaded `{name}`")))
        }
        Object::Module(key) => {
            get(key)?.base().ok_or_else(|| failed("the module is not loaded".into()))
        }
    }
}

/// A module, loaded; fetched first if this process never heard of it. Blocks meanwhile.
pub(crate) fn get(key: &ModuleKey) -> Result<Arc<Loaded>, RemoteError> {
    let failed = |what| RemoteError::NotPortable { worker: me() as usize, what };
    let module = match loaded::by_hash(key) {
        Some(module) => module,
        None => supply::fetch(*key)?,
    };
    module.load().map_err(failed)?;
    Ok(module)
}

/// What arrived with its files, as it was sent.
static ARRIVED: Mutex<BTreeMap<ModuleKey, (Code, Vec<ModuleKey>)>> = Mutex::new(BTreeMap::new());

fn arrived() -> MutexGuard<'static, BTreeMap<ModuleKey, (Code, Vec<ModuleKey>)>> {
    ARRIVED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes up a module that was sent, after those that it needs. With `keep`, others will ask for it.
pub(crate) fn take_up(key: ModuleKey, source: ModuleSource, keep: bool) -> Result<(), String> {
    let ModuleSource { code, needs, files } = source;
    let here = match files {
        Some(files) => {
            let here = files.unpack(code.clone(), &key, keep)?;
            arrived().insert(key, (code, needs));
            here
        }
        None => code,
    };
    loaded::record_as(&here, key);
    Ok(())
}

/// How others get a module of this process, with its files if they are on another host than the
/// driver, where they hold some libraries. With files, blocks while these are read and packed.
pub(crate) fn source(
    key: &ModuleKey,
    elsewhere: Option<&[String]>,
) -> Result<Option<ModuleSource>, RemoteError> {
    let Some(module) = loaded::by_hash(key) else { return Ok(None) };
    let as_sent = arrived().get(key).cloned();
    let (code, needs) = as_sent.unwrap_or_else(|| (module.code.clone(), needs_of(&module)));
    let files = elsewhere.map(|held| carried::Files::pack(&code, &module.code.file, held));
    let failed = |what| RemoteError::NotPortable { worker: me() as usize, what };
    Ok(Some(ModuleSource { needs, files: files.transpose().map_err(failed)?, code }))
}

fn needs_of(module: &Loaded) -> Vec<ModuleKey> {
    let needed = module.code.needs.iter().filter_map(|number| loaded::by_number(*number));
    needed.filter_map(|needed| needed.hash().ok()).collect()
}

/// Makes sure that the code of a function is here. Blocks while it is fetched.
pub(crate) fn fetch(function: &FunctionRef) -> Result<(), RemoteError> {
    address(&function.trampoline).map(drop)
}

/// Makes a function of its code and its captures.
pub(crate) fn make(
    function: &FunctionRef,
    captures: &mut BlobReader<'_>,
) -> Result<Arc<dyn Callable>, RemoteError> {
    let trampoline = address(&function.trampoline)?;
    // SAFETY: the place was made by `refer` of a `Trampoline`, in this process or in one that has
    // loaded the same object: the hash tells for modules, and for what is loaded at the start that
    // all processes of a session are started from the same program and library.
    let trampoline = unsafe { std::mem::transmute::<usize, Trampoline>(trampoline) };
    trampoline(captures).map_err(super::jobs::not_read)
}
