//! Which shared object holds an address, and where an object lies. The same file lies elsewhere in
//! every process, but what is in it keeps its distance from where it begins.

use std::ffi::{CStr, c_int, c_void};

/// An object of this process.
pub(crate) struct Object {
    /// The last part of its path; empty for the program itself.
    pub(crate) name: String,
    pub(crate) base: usize,
}

struct Search<'a> {
    wanted: &'a dyn Fn(&libc::dl_phdr_info) -> bool,
    found: Option<Object>,
}

/// The files of all objects of this process, in the order in which they were loaded.
pub(crate) fn paths() -> Vec<String> {
    let paths = std::cell::RefCell::new(Vec::new());
    search(&|info| {
        paths.borrow_mut().push(path_of(info));
        false
    });
    paths.into_inner()
}

/// The object that holds an address.
pub(crate) fn holding(address: usize) -> Option<Object> {
    search(&|info| {
        // SAFETY: the loader gives a table of `dlpi_phnum` entries.
        let segments =
            unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
        segments.iter().any(|segment| {
            let start = info.dlpi_addr.wrapping_add(segment.p_vaddr) as usize;
            let length = segment.p_memsz as usize;
            segment.p_type == libc::PT_LOAD && (start..start + length).contains(&address)
        })
    })
}

/// The object of this name.
pub(crate) fn named(name: &str) -> Option<Object> {
    search(&|info| name_of(info) == name)
}

fn search(wanted: &dyn Fn(&libc::dl_phdr_info) -> bool) -> Option<Object> {
    let mut search = Search { wanted, found: None };
    // SAFETY: `visit` gets back the pointer to `search`, which lives until the call returns.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut search).cast()) };
    search.found
}

/// # Safety
/// Called by `dl_iterate_phdr` with the `Search` that `search` gave it.
unsafe extern "C" fn visit(
    info: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    search: *mut c_void,
) -> c_int {
    // SAFETY: see above; `info` is valid for this call.
    let (info, search) = unsafe { (&*info, &mut *search.cast::<Search<'_>>()) };
    if !(search.wanted)(info) {
        return 0;
    }
    search.found = Some(Object { name: name_of(info), base: info.dlpi_addr as usize });
    1
}

fn name_of(info: &libc::dl_phdr_info) -> String {
    path_of(info).rsplit('/').next().unwrap_or_default().to_owned()
}

fn path_of(info: &libc::dl_phdr_info) -> String {
    if info.dlpi_name.is_null() {
        return String::new();
    }
    // SAFETY: the loader keeps a C string there as long as the object.
    unsafe { CStr::from_ptr(info.dlpi_name) }.to_string_lossy().into_owned()
}
