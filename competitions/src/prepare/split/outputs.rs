//! What is written: loose files at once, archives at the end.

use std::collections::BTreeMap;

use crate::archive::safe_path;
use crate::frame::{CsvStyle, Frame, Quoting};
use crate::prepare::{Packer, Prepare, PrepareError};
use crate::spec::split::SplitQuoting;
use crate::spec::split::check::archive_in;

use super::Run;

/// Adds members to an archive.
type Pack<'a> = Box<dyn FnOnce(&mut Packer<'a>) -> Result<(), PrepareError> + 'a>;

/// The written files of a preparation.
pub(super) struct Outputs<'a> {
    ctx: &'a Prepare<'a>,
    quoting: Quoting,
    /// What goes into each archive, in order.
    packed: BTreeMap<String, Vec<Pack<'a>>>,
}

impl<'a> Outputs<'a> {
    pub(super) fn new(run: &Run<'a>) -> Self {
        let quoting = match run.split.quoting {
            SplitQuoting::Minimal => Quoting::Minimal,
            SplitQuoting::Nonnumeric => Quoting::NonNumeric,
        };
        Self { ctx: run.ctx, quoting, packed: BTreeMap::new() }
    }

    /// Writes a table, into an archive if the path leads through one.
    pub(super) fn table(&mut self, path: &str, table: Frame) -> Result<(), PrepareError> {
        let separator = if path.ends_with(".tsv") { b'\t' } else { b',' };
        let style = CsvStyle { separator, quoting: self.quoting, ..CsvStyle::default() };
        let Some((archive, member)) = archive_in(path) else {
            return self.ctx.write_csv_with(path, &table, &style);
        };
        let member = member.to_owned();
        self.pack(archive, Box::new(move |packer| packer.add_csv(&member, &table, &style)));
        Ok(())
    }

    /// Keeps what is to be added to an archive.
    pub(super) fn pack(&mut self, archive: &str, pack: Pack<'a>) {
        self.packed.entry(archive.to_owned()).or_default().push(pack);
    }

    /// Makes the archives.
    pub(super) fn finish(self) -> Result<(), PrepareError> {
        for (archive, packs) in self.packed {
            let name = archive.to_ascii_lowercase();
            let mut packer = match () {
                () if name.ends_with(".zip") => self.ctx.zip(&archive)?,
                () if name.ends_with(".7z") => self.ctx.seven_zip(&archive)?,
                () if name.ends_with(".tar") => self.ctx.tar(&archive)?,
                () => self.ctx.tar_gz(&archive)?,
            };
            for pack in packs {
                pack(&mut packer)?;
            }
            packer.finish()?;
        }
        Ok(())
    }
}

/// The name of a member, which the values of a table may have made.
pub(super) fn safe_member(archive: &str, member: String) -> Result<String, PrepareError> {
    match safe_path(&member) {
        Ok(_) => Ok(member.trim_end_matches('/').to_owned()),
        Err(what) => Err(PrepareError::BadTarget { file: format!("{archive}/{member}"), what }),
    }
}
