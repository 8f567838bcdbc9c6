//! The seam to SQLite's C interface, and the only file with `unsafe`.
//!
//! It owns three things: a virtual file system (VFS) through which SQLite reads and writes scratch images, a look at the first
//! bytes of a database through the handle that SQLite itself holds, and the limit of SQLite's heap. All decisions are made in [`super::image`], in safe code;
//! here C arguments become Rust values and results become SQLite codes. The VFS knows no shared memory, so WAL works only in
//! exclusive locking mode, and no locks: an image belongs to this process, and has one writing connection at most.
#![allow(unsafe_code)] // SQLite has no other interface for file systems than C function tables

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::sync::OnceLock;

use rusqlite::{Connection, ffi};

use super::image::{self, ImageFile};

/// The name under which SQLite knows this VFS.
pub(super) const VFS_NAME: &CStr = c"airkeep-scratch";

/// Registers the VFS once per process; false if SQLite refused.
pub(super) fn register() -> bool {
    static IS_REGISTERED: OnceLock<bool> = OnceLock::new();
    *IS_REGISTERED.get_or_init(|| {
        // SAFETY: looking up the default VFS needs no more than an initialised library, which the call itself ensures.
        let system = unsafe { ffi::sqlite3_vfs_find(ptr::null()) };
        if system.is_null() {
            return false;
        }
        let vfs = Box::leak(Box::new(scratch_vfs(system)));
        // SAFETY: the structure is leaked, so it is valid and unmoved for the rest of the process, as registering demands;
        // its functions below follow the contracts of sqlite3_vfs version 2.
        unsafe { ffi::sqlite3_vfs_register(vfs, 0) == ffi::SQLITE_OK }
    })
}

/// Reads the start of the main database file through SQLite's own handle, so that no lock of this process is touched.
///
/// # Source
/// <https://sqlite.org/c3ref/c_fcntl_begin_atomic_write.html>, `SQLITE_FCNTL_FILE_POINTER`.
pub(super) fn read_through_handle(connection: &Connection, buffer: &mut [u8]) -> bool {
    let mut file: *mut ffi::sqlite3_file = ptr::null_mut();
    let Ok(count) = c_int::try_from(buffer.len()) else { return false };
    // SAFETY: the connection is open for as long as it is borrowed; FILE_POINTER stores one pointer at the address given,
    // which is a live local. The file behind it lives as long as the connection, and nothing runs between the two calls
    // (the connection is not Sync). xRead writes at most `count` bytes into a buffer of that size.
    unsafe {
        let target = (&raw mut file).cast::<c_void>();
        if ffi::sqlite3_file_control(connection.handle(), c"main".as_ptr(), ffi::SQLITE_FCNTL_FILE_POINTER, target) != ffi::SQLITE_OK {
            return false;
        }
        let Some(methods) = file.as_ref().and_then(|file| file.pMethods.as_ref()) else { return false };
        let Some(read) = methods.xRead else { return false };
        matches!(read(file, buffer.as_mut_ptr().cast(), count, 0), ffi::SQLITE_OK | ffi::SQLITE_IOERR_SHORT_READ)
    }
}

/// Sets the limit of SQLite's heap in this process, if one is given (0 means none), and tells what it was.
///
/// The pragma of the same name can only lower it.
///
/// # Source
/// <https://sqlite.org/c3ref/hard_heap_limit64.html>: a negative number asks.
pub(super) fn heap_limit_bytes(limit_bytes: Option<i64>) -> i64 {
    // SAFETY: the function takes a number, touches only SQLite's own state, and is thread-safe.
    unsafe { ffi::sqlite3_hard_heap_limit64(limit_bytes.unwrap_or(-1)) }
}

/// Bytes of SQLite's heap in use by this process.
pub(super) fn heap_used_bytes() -> i64 {
    // SAFETY: the function has no arguments, reads SQLite's own state, and is thread-safe.
    unsafe { ffi::sqlite3_memory_used() }
}

/// What SQLite allocates for each open file: its own head, then our pointer.
#[repr(C)]
struct OpenFile {
    head: ffi::sqlite3_file,
    image_file: *mut ImageFile,
}

fn scratch_vfs(system: *mut ffi::sqlite3_vfs) -> ffi::sqlite3_vfs {
    ffi::sqlite3_vfs {
        iVersion: 2,
        szOsFile: size_of::<OpenFile>() as c_int,
        mxPathname: MAX_PATH_BYTES,
        pNext: ptr::null_mut(),
        zName: VFS_NAME.as_ptr(),
        pAppData: system.cast(),
        xOpen: Some(open),
        xDelete: Some(delete),
        xAccess: Some(access),
        xFullPathname: Some(full_path_name),
        xDlOpen: None,
        xDlError: None,
        xDlSym: None,
        xDlClose: None,
        xRandomness: Some(randomness),
        xSleep: Some(sleep),
        xCurrentTime: Some(current_time),
        xGetLastError: None,
        xCurrentTimeInt64: Some(current_time_int64),
        xSetSystemCall: None,
        xGetSystemCall: None,
        xNextSystemCall: None,
    }
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(lock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

const MAX_PATH_BYTES: c_int = 4096;

/// Gives the file that `open` put behind a handle.
///
/// # Safety
/// `file` must be a handle that `open` filled in and `close` has not seen, and no other reference into it may be alive.
unsafe fn image_file<'a>(file: *mut ffi::sqlite3_file) -> &'a ImageFile {
    // SAFETY: by the caller's promise this is our OpenFile, whose pointer came from Box::into_raw and is still owned by it.
    // Only shared references to the ImageFile are ever made, so connections on several threads do not conflict.
    unsafe { &*(*file.cast::<OpenFile>()).image_file }
}

/// Reads a C path as text; names that are not UTF-8 are none of ours, and their real files are looked up by bytes.
///
/// # Safety
/// `name` must be null or a zero-terminated string that outlives the result.
unsafe fn path_bytes<'a>(name: *const c_char) -> Option<&'a [u8]> {
    // SAFETY: the pointer is not null, and zero-terminated by the caller's promise.
    (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_bytes())
}

unsafe extern "C" fn open(
    _vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite hands over szOsFile writable bytes; the head must be null when opening fails, or xClose would be called.
    unsafe { (*file).pMethods = ptr::null() };
    // SAFETY: SQLite's file names are null or zero-terminated and live until xClose.
    let Some(name) = (unsafe { path_bytes(name) }) else { return ffi::SQLITE_CANTOPEN };
    let opened = if flags & ffi::SQLITE_OPEN_SUPER_JOURNAL != 0 {
        Some(ImageFile::nothing())
    } else {
        image::open_file(name, flags & ffi::SQLITE_OPEN_CREATE != 0)
    };
    let Some(opened) = opened else { return ffi::SQLITE_CANTOPEN };
    // SAFETY: the same bytes, which are an OpenFile by szOsFile; the box is given back in `close`. flags_out may be null.
    unsafe {
        let target = file.cast::<OpenFile>();
        (&raw mut (*target).image_file).write(Box::into_raw(Box::new(opened)));
        (*target).head.pMethods = &raw const METHODS;
        if let Some(flags_out) = flags_out.as_mut() {
            *flags_out = flags;
        }
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes a handle once, and only one that `open` filled in; the pointer came from Box::into_raw.
    unsafe {
        let target = file.cast::<OpenFile>();
        drop(Box::from_raw((*target).image_file));
        (*target).image_file = ptr::null_mut();
        (*target).head.pMethods = ptr::null();
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, buffer: *mut c_void, count: c_int, offset: i64) -> c_int {
    let (Ok(count), Ok(offset)) = (usize::try_from(count), u64::try_from(offset)) else { return ffi::SQLITE_IOERR_READ };
    // SAFETY: the handle is open; SQLite's buffer has `count` bytes and is not used by anybody else during the call. It may be
    // uninitialised, so it is zeroed before a slice of it is made.
    let (file, buffer) = unsafe {
        ptr::write_bytes(buffer.cast::<u8>(), 0, count);
        (image_file(file), std::slice::from_raw_parts_mut(buffer.cast::<u8>(), count))
    };
    match file.read_at(offset, buffer) {
        Some(read) if read == count => ffi::SQLITE_OK,
        Some(_) => ffi::SQLITE_IOERR_SHORT_READ,
        None => ffi::SQLITE_IOERR_READ,
    }
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, data: *const c_void, count: c_int, offset: i64) -> c_int {
    let (Ok(count), Ok(offset)) = (usize::try_from(count), u64::try_from(offset)) else { return ffi::SQLITE_IOERR_WRITE };
    // SAFETY: the handle is open; SQLite's data has `count` initialised bytes that do not change during the call.
    let (file, data) = unsafe { (image_file(file), std::slice::from_raw_parts(data.cast::<u8>(), count)) };
    if file.write_at(offset, data) { ffi::SQLITE_OK } else { ffi::SQLITE_FULL }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    let Ok(size) = u64::try_from(size) else { return ffi::SQLITE_IOERR_TRUNCATE };
    // SAFETY: the handle is open.
    if unsafe { image_file(file) }.set_len(size) { ffi::SQLITE_OK } else { ffi::SQLITE_IOERR_TRUNCATE }
}

/// Nothing in scratch outlives the process, so nothing needs to reach the disk.
unsafe extern "C" fn sync(_file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, size: *mut i64) -> c_int {
    // SAFETY: the handle is open and SQLite passes the address of a 64-bit integer.
    unsafe { *size = i64::try_from(image_file(file).len()).unwrap_or(i64::MAX) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn lock(_file: *mut ffi::sqlite3_file, _level: c_int) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(_file: *mut ffi::sqlite3_file, result: *mut c_int) -> c_int {
    // SAFETY: SQLite passes the address of an integer.
    unsafe { *result = 0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(_file: *mut ffi::sqlite3_file, _operation: c_int, _argument: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_file: *mut ffi::sqlite3_file) -> c_int {
    4096
}

unsafe extern "C" fn device_characteristics(_file: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn delete(_vfs: *mut ffi::sqlite3_vfs, name: *const c_char, _sync_folder: c_int) -> c_int {
    // SAFETY: SQLite passes a zero-terminated name.
    if let Some(name) = unsafe { path_bytes(name) } {
        image::delete_file(name);
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn access(_vfs: *mut ffi::sqlite3_vfs, name: *const c_char, _flags: c_int, result: *mut c_int) -> c_int {
    // SAFETY: SQLite passes a zero-terminated name and the address of an integer.
    unsafe { *result = c_int::from(path_bytes(name).is_some_and(image::file_exists)) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn full_path_name(_vfs: *mut ffi::sqlite3_vfs, name: *const c_char, size: c_int, out: *mut c_char) -> c_int {
    // SAFETY: SQLite passes a zero-terminated name.
    let Some(name) = (unsafe { path_bytes(name) }) else { return ffi::SQLITE_CANTOPEN };
    if usize::try_from(size).map_or(true, |size| name.len() >= size) {
        return ffi::SQLITE_CANTOPEN;
    }
    // SAFETY: `out` has `size` bytes, more than the name and its terminator, and does not overlap the name.
    unsafe {
        ptr::copy_nonoverlapping(name.as_ptr().cast::<c_char>(), out, name.len());
        *out.add(name.len()) = 0;
    }
    ffi::SQLITE_OK
}

/// Gives the system's own VFS, to which everything that is no file is passed on.
///
/// # Safety
/// `vfs` must be the structure that `register` made.
unsafe fn system<'a>(vfs: *mut ffi::sqlite3_vfs) -> (*mut ffi::sqlite3_vfs, &'a ffi::sqlite3_vfs) {
    // SAFETY: `register` stored the default VFS there, found not null; SQLite's built-in VFSes are never freed.
    unsafe {
        let system = (*vfs).pAppData.cast::<ffi::sqlite3_vfs>();
        (system, &*system)
    }
}

unsafe extern "C" fn randomness(vfs: *mut ffi::sqlite3_vfs, count: c_int, out: *mut c_char) -> c_int {
    // SAFETY: the arguments are passed on as SQLite gave them, to the function that belongs to the structure passed.
    unsafe {
        let (system, table) = system(vfs);
        table.xRandomness.map_or(0, |call| call(system, count, out))
    }
}

unsafe extern "C" fn sleep(vfs: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
    // SAFETY: as in `randomness`.
    unsafe {
        let (system, table) = system(vfs);
        table.xSleep.map_or(0, |call| call(system, microseconds))
    }
}

unsafe extern "C" fn current_time(vfs: *mut ffi::sqlite3_vfs, out: *mut f64) -> c_int {
    // SAFETY: as in `randomness`.
    unsafe {
        let (system, table) = system(vfs);
        table.xCurrentTime.map_or(ffi::SQLITE_ERROR, |call| call(system, out))
    }
}

unsafe extern "C" fn current_time_int64(vfs: *mut ffi::sqlite3_vfs, out: *mut i64) -> c_int {
    // SAFETY: as in `randomness`; a VFS of version 1 has no such function, and its table may end before it.
    unsafe {
        let (system, table) = system(vfs);
        if table.iVersion < 2 {
            return ffi::SQLITE_ERROR;
        }
        table.xCurrentTimeInt64.map_or(ffi::SQLITE_ERROR, |call| call(system, out))
    }
}
