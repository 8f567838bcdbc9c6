//! Installing: putting the pages of an image in the place of a database, so that whoever opens it finds the old or the new content.
//!
//! In steps, because others have work to do in between: [`Installation::lock`] keeps writers out, [`Installation::present`] shows what
//! will be replaced at exactly that state (the image may still be completed from it), [`Installation::stage`] does all that can be done without
//! touching the target, [`Installation::install`] replaces it, [`Installed::release`] lets the others in and compares. Dropping
//! a step leaves the database as it was before that step. Pages are copied by SQLite's backup interface, never row by row, so that no
//! trigger fires; nothing beside the database is ever deleted but by SQLite itself.
//!
//! | way | when | how |
//! |---|---|---|
//! | exclusive | nobody else is connected | one connection that keeps the exclusive lock |
//! | online | in use, in WAL mode, same page size; on request | the backup interface's own write lock |
//! | replace | nothing is there, or SQLite cannot open it | a new file, the old one moved aside with its sidecars |
//!
//! A kill during the exclusive way into a WAL database of another page size can leave the old content in journal mode DELETE.

mod compare;
mod error;
mod exclusive;
mod online;
mod replace;
mod report;
mod standing;
mod target;

pub use error::InstallError;
pub use report::{Before, Comparison, InstallReport, Way};
pub use standing::{Standing, is_new_cookie, keep_journal_mode, standing_of};

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

use super::header::{HEADER_BYTES, Header};
use super::source::Source;
use super::{Access, Cancelled, Image, live};
use crate::crypto::Entropy;
use compare::{Content, Witness};
use exclusive::{Exclusive, Refusal};
use online::Online;
use replace::Replace;
use target::Target;

/// Whether the target may have more than one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// Symbolic and hard links are refused.
    Refuse,
    /// The file that the path leads to is the target, whatever other names it has; a hard-linked file is still never replaced.
    Follow,
}

/// What becomes of others who have the database open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// As long as there are some, the installation is refused.
    Refuse,
    /// They stay connected, where the database allows it. What they keep in their own memory will not fit the new content.
    Keep,
}

/// How an image is to be installed.
pub struct InstallOptions<'a> {
    /// Whether links are followed.
    pub links: Links,
    /// Whether others may stay connected.
    pub others: Others,
    /// How long to wait for a lock.
    pub busy_timeout: Duration,
    /// Whether somebody wants it to stop; asked many times a second.
    pub cancelled: Cancelled<'a>,
}

/// A target that is locked or prepared, and not yet changed.
pub struct Installation<'i> {
    held: Held,
    content: Connection,
    image: &'i Image,
}

/// A target that has the new content, and is not yet open to others.
pub struct Installed {
    held: Held,
    content: Connection,
}

enum Held {
    Exclusive(Exclusive),
    Online(Online),
    Replace(Replace),
}

/// Finds out what can be known of a target before anything is locked, and gives its resolved path.
///
/// # Errors
/// Links, no permission, no space, an image that is no database.
pub fn foresee(path: &Path, image: &Image, links: Links) -> Result<PathBuf, InstallError> {
    look(path, image, links).map(|target| target.path)
}

fn look(path: &Path, image: &Image, links: Links) -> Result<Target, InstallError> {
    let target = Target::resolve(path, links)?;
    let mut bytes = [0; HEADER_BYTES];
    let count = image.read_at(0, &mut bytes)?;
    if !image.is_empty() && Header::of(&bytes[..count]).page_size().is_none() {
        return Err(InstallError::NotAnImage { path: target.path });
    }
    target.require_writable()?;
    target.require_space(image.len())?;
    Ok(target)
}

impl<'i> Installation<'i> {
    /// Finds the way and keeps writers out.
    ///
    /// A hot journal at the target is rolled back, and a WAL taken in, as by anyone who opens the database.
    ///
    /// # Errors
    /// Any [`InstallError`]; [`super::DatabaseError::Locked`] names the processes that have the database open.
    pub fn lock(path: &Path, image: &'i Image, options: &InstallOptions<'_>, entropy: &mut dyn Entropy) -> Result<Self, InstallError> {
        let target = look(path, image, options.links)?;
        let held = match &target.source {
            None => Held::Replace(Replace::prepare(target, entropy)?),
            Some(source) => match Exclusive::lock(source, options) {
                Ok(exclusive) => Held::Exclusive(exclusive),
                Err(Refusal::InUse) => Held::Online(Online::lock(source, image, options)?),
                Err(Refusal::Unopenable) => Held::Replace(Replace::prepare(target, entropy)?),
                Err(Refusal::Other(error)) => return Err(error),
            },
        };
        let content = image.open(Access::ReadOnly).map_err(|error| held.explain("read the image for", error))?;
        Ok(Self { held, content, image })
    }

    /// The way it takes.
    #[must_use]
    pub fn way(&self) -> Way {
        self.held.way()
    }

    /// The resolved path of the target.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.held.path()
    }

    /// Whether the target is in WAL mode, which a kill at the wrong moment can change.
    #[must_use]
    pub fn is_wal(&self) -> bool {
        match &self.held {
            Held::Exclusive(exclusive) => exclusive.is_wal,
            Held::Online(_) => true,
            Held::Replace(_) => false,
        }
    }

    /// What the target is before anything changes; nothing if there is no file.
    ///
    /// # Errors
    /// It is no longer there, or cannot be read.
    pub fn before(&self) -> Result<Option<Before>, InstallError> {
        let source = match &self.held {
            Held::Exclusive(exclusive) => Some(&exclusive.source),
            Held::Online(online) => Some(&online.source),
            Held::Replace(replace) => replace.source(),
        };
        let Some(source) = source else { return Ok(None) };
        let found = source.metadata()?;
        let ask = |connection: &Connection| {
            let application_id = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
            Ok((live::schema_version(connection)?, exclusive::page_size(connection)?, application_id))
        };
        let asked = self.present().map(ask).transpose().map_err(|error| self.held.explain("read", error))?;
        Ok(Some(Before {
            device: source.device,
            inode: source.inode,
            size_bytes: found.len(),
            is_wal: self.is_wal(),
            schema_cookie: asked.map(|(cookie, ..)| cookie),
            page_size: asked.map(|(_, page_size, _)| page_size),
            application_id: asked.map(|(_, _, id)| id),
        }))
    }

    /// Where the file that cannot be opened will lie, if there is one.
    #[must_use]
    pub fn aside(&self) -> Option<PathBuf> {
        match &self.held {
            Held::Replace(replace) => replace.aside_path(),
            _ => None,
        }
    }

    /// The state that will be replaced, on a connection of which only reading is expected; nothing if it cannot be read.
    ///
    /// It must be left without an open transaction.
    #[must_use]
    pub fn present(&self) -> Option<&Connection> {
        match &self.held {
            Held::Exclusive(exclusive) => Some(&exclusive.connection),
            Held::Online(online) => Some(&online.connection),
            Held::Replace(_) => None,
        }
    }

    /// Prepares what can be prepared while the target is as it was: on the replacing way the new file, synced and read back. From here
    /// on the image must not change.
    ///
    /// # Errors
    /// No space, or the file system fails.
    pub fn stage(&mut self, options: &InstallOptions<'_>, entropy: &mut dyn Entropy) -> Result<(), InstallError> {
        match &mut self.held {
            Held::Replace(replace) => replace.stage(self.image, options, entropy),
            Held::Exclusive(_) | Held::Online(_) => Ok(()),
        }
    }

    /// Replaces the content, durably, and compares it page by page where SQLite wrote it; prepares it first if nobody has.
    ///
    /// # Errors
    /// SQLite or the file system fails, or somebody cancels: the old content is there then. [`InstallError::Unconfirmed`] is the exception:
    /// the new content is there, and what had to follow failed.
    pub fn install(mut self, options: &InstallOptions<'_>, entropy: &mut dyn Entropy) -> Result<Installed, InstallError> {
        self.stage(options, entropy)?;
        match &mut self.held {
            Held::Exclusive(exclusive) => exclusive.install(&self.content, self.image, options.cancelled)?,
            Held::Online(online) => online.install(self.image, options.cancelled)?,
            Held::Replace(replace) => replace.install(entropy)?,
        }
        Ok(Installed { held: self.held, content: self.content })
    }
}

impl Installed {
    /// Lets the others in, and compares schema and tables with the image's on a fresh connection.
    ///
    /// # Errors
    /// [`InstallError::Unconfirmed`]: the new content is there, and is another one ([`InstallError::Different`]) or cannot be compared.
    pub fn release(self) -> Result<InstallReport, InstallError> {
        let path = self.held.path().to_owned();
        self.compare().map_err(|error| error.after_commit(&path))
    }

    fn compare(self) -> Result<InstallReport, InstallError> {
        let (way, path) = (self.held.way(), self.held.path().to_owned());
        let expected = Content::of(&self.content).map_err(|error| self.held.explain("read the image for", error))?;
        let aside = match &self.held {
            Held::Replace(replace) => replace.aside_path(),
            _ => None,
        };
        let source = Source::resolve(&path)?;
        let comparison = match self.held {
            Held::Online(online) => {
                let comparison = compare::compare(&source, &expected, || Ok(online.is_last()))?;
                online.release()?;
                comparison
            }
            other => {
                // Only times that are older than a tick of the file system's clock change with every later write.
                std::thread::sleep(compare::LONGER_THAN_A_TICK);
                let witness = Witness::of(&source)?;
                if let Held::Exclusive(exclusive) = other {
                    exclusive.release()?;
                }
                compare::compare(&source, &expected, || Ok(Witness::of(&source)? == witness))?
            }
        };
        Ok(InstallReport { way, path, comparison, uncompared: expected.unhashed(), aside })
    }
}

impl Held {
    fn way(&self) -> Way {
        match self {
            Held::Exclusive(_) => Way::Exclusive,
            Held::Online(_) => Way::Online,
            Held::Replace(_) => Way::Replace,
        }
    }

    fn path(&self) -> &Path {
        match self {
            Held::Exclusive(exclusive) => &exclusive.source.path,
            Held::Online(online) => &online.source.path,
            Held::Replace(replace) => replace.path(),
        }
    }

    fn explain(&self, action: &'static str, source: rusqlite::Error) -> InstallError {
        super::DatabaseError::Sqlite { path: self.path().to_owned(), action, source }.into()
    }
}
